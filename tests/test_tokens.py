"""The token estimator: against exact counts, real bills, and hostile prompts."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import _core
from llmbalance._fleet._tokens import FAMILIES, estimate_tokens, family_of

RECORDED = os.environ.get("LLMBALANCE_RECORDED")
needs_recorded = pytest.mark.skipif(
    not RECORDED, reason="needs LLMBALANCE_RECORDED, the folder of recorded data"
)
O200K, CL100K, CLAUDE, CLAUDE_NEW, GEMINI, LLAMA = range(len(FAMILIES))


def user(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return "data:image/png;base64," + base64.b64encode(head + b"\x08\x06").decode()


def picture(url: str, **extra: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url, **extra}}


# ---- accuracy ----------------------------------------------------------------


def mean_error(pairs: list[tuple[float, float]]) -> float:
    return fmean(abs(got / want - 1) for got, want in pairs)


@needs_recorded
@pytest.mark.parametrize("family", ["o200k", "cl100k"])
@pytest.mark.parametrize(
    ("measure", "limit"), [("measure_full", 0.06), ("measure", 0.085)]
)
def test_synthetic_samples_are_estimated_within_the_promised_error(
    family: str, measure: str, limit: float
):
    samples = json.loads(Path(RECORDED, "token_samples.json").read_text())["samples"]
    estimate = getattr(_core, measure)
    error = mean_error(
        [
            (estimate(s["text"], None, FAMILIES.index(family)), s[family])
            for s in samples
        ]
    )
    assert error <= limit, f"{error:.1%}"


def recorded_bills() -> list[dict]:
    lines = Path(RECORDED, "token_counts_real.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    distinct = {(r["model"], *r["texts"]): r for r in rows if r["bytes"] >= 150}
    return list(distinct.values())


@needs_recorded
@pytest.mark.parametrize("family", ["o200k", "cl100k"])
@pytest.mark.parametrize(
    ("measure", "limit"), [("measure_full", 0.06), ("measure", 0.085)]
)
def test_recorded_prompts_are_estimated_within_the_promised_error(
    family: str, measure: str, limit: float
):
    estimate = getattr(_core, measure)
    error = mean_error(
        [
            (estimate(r["texts"], None, FAMILIES.index(family)), r[family])
            for r in recorded_bills()
        ]
    )
    assert error <= limit, f"{error:.1%}"


@needs_recorded
@pytest.mark.parametrize(
    ("provider", "limit"), [("openai", 0.03), ("anthropic", 0.12), ("gemini", 0.05)]
)
def test_real_bills_are_met_with_chat_format_and_family(provider: str, limit: float):
    rows = [row for row in recorded_bills() if row["provider"] == provider]
    pairs = []
    for row in rows:
        messages = [{"role": "user", "content": text} for text in row["texts"]]
        got = estimate_tokens(messages, f"{provider}/{row['model']}")
        pairs.append((got, row["reported_input_tokens"]))
    assert len(pairs) >= 15
    assert mean_error(pairs) <= limit, f"{mean_error(pairs):.1%}"


def test_english_is_near_a_token_per_word():
    text = "Please summarise the following article in three short sentences. " * 20
    for model in ("gpt-4o", "gpt-4", "claude-sonnet-4-5", "gemini-2.5-pro", "llama3.1"):
        assert 180 <= estimate_tokens(text, model) <= 300


# ---- what counts -------------------------------------------------------------


def test_no_prompt_costs_nothing():
    assert _core.measure("") == _core.measure([]) == _core.measure_full([]) == 0


def test_messages_add_the_chat_format_and_bare_texts_do_not():
    assert estimate_tokens(user("")) == 7
    assert estimate_tokens(user("") * 3) == 15
    text = "How tall is the highest mountain of Peru?"
    assert estimate_tokens(user(text)) == estimate_tokens(text) + 7
    assert estimate_tokens([text, text]) == pytest.approx(2 * estimate_tokens(text), 1)


def test_a_text_part_counts_as_the_same_string():
    text = "naïve café 中文 😀"
    assert _core.measure(user([{"type": "text", "text": text}])) == _core.measure(
        user(text)
    )


def test_tool_calls_and_names_count():
    call = {"function": {"name": "get_weather", "arguments": '{"city": "Berlin"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert _core.measure([message]) > _core.measure(
        [{"role": "assistant", "content": None, "tool_calls": None}]
    )
    named = {"role": "user", "name": "bob_the_builder", "content": "Hi"}
    assert _core.measure([named]) > _core.measure(user("Hi"))


def test_tools_count_by_their_schema_and_claude_adds_its_own_text():
    schema = {"type": "object", "properties": {"city": {"type": "string", "n": 1.5}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    plain = _core.measure(user("Hi"))
    assert 10 <= _core.measure(user("Hi"), tools) - plain <= 60
    assert _core.measure(user("Hi"), []) == _core.measure(user("Hi"), None) == plain
    claude = _core.measure(user("Hi"), family=CLAUDE)
    assert _core.measure(user("Hi"), tools, CLAUDE) - claude > 346


def test_pictures_cost_by_their_pixels_not_by_their_base64():
    def cost(url: str, family: int = O200K, **extra: str) -> int:
        with_picture = user([picture(url, **extra)])
        return _core.measure(with_picture, family=family) - _core.measure(
            user(""), family=family
        )

    assert cost(png(1024, 1024)) == 765
    assert cost(png(1024, 1024) + "A" * 100_000) == 765
    assert cost(png(1024, 1024), detail="low") == 85
    assert cost(png(512, 512), CLAUDE) == 361
    assert cost(png(384, 300), GEMINI) == 258
    assert cost("https://example.org/a.png") == 765
    bare = user([{"type": "image_url", "image_url": png(512, 512)}])
    assert _core.measure(bare) == 7 + 255


def test_sound_and_files_cost_by_length_and_pages():
    rate = struct.pack("<I", 48_000)
    wav = b"RIFF\0\0\0\0WAVEfmt " + bytes(12) + rate + bytes(96_012)
    data = base64.b64encode(wav).decode()
    audio = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    assert _core.measure(user([audio])) == 7 + 20
    assert _core.measure(user([audio]), family=GEMINI) == 1 + 64
    pdf = "data:application/pdf;base64," + base64.b64encode(bytes(120_000)).decode()
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}
    assert _core.measure(user([file]), family=GEMINI) == 1 + 3 * 258
    text = "data:text/plain;base64," + base64.b64encode(b"word " * 80).decode()
    file = {"type": "file", "file": {"file_data": text}}
    assert _core.measure(user([file])) == 7 + 100


def test_an_unknown_part_counts_by_its_strings():
    part = {"type": "later_invention", "body": {"words": ["some", "words"], "n": 3}}
    assert _core.measure(user([part])) > _core.measure(user(""))


# ---- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (5, "messages must be a string or a list of messages, not int"),
        ([7.0], 'messages[0] must be a dict with "role" and "content", not float'),
        ([[7, "a"]], "messages[0] must be a text or a list of token numbers, not str"),
        (
            [*user("a"), {"content": 3}],
            "messages[1].content must be a string or a list of parts, not int",
        ),
        (
            user(["a"]),
            'messages[0].content[0] must be a dict such as {"type": "text", ...},'
            " not str",
        ),
        (
            user([{"type": "text", "text": 4}]),
            "messages[0].content[0].text must be a string, not int",
        ),
        (
            user([picture("a"), {"image_url": {}}]),
            "messages[0].content[1].image_url must be a URL or a dict with a string"
            ' "url", not NoneType',
        ),
        (
            user([{"input_audio": "abc"}]),
            "messages[0].content[0].input_audio must be a dict, not str",
        ),
        (user([{1: 2}]), "messages[0].content[0].a key must be a string, not int"),
        (
            [{"content": "", "name": b"x"}],
            "messages[0].name must be a string, not bytes",
        ),
    ],
)
def test_a_wrong_type_is_named_with_its_position(prompt: object, message: str):
    with pytest.raises(TypeError) as caught:
        _core.measure(prompt)
    assert str(caught.value) == message


def test_a_key_that_is_no_unicode_is_nobodys_name():
    plain = [{"role": "user", "content": "hi"}]
    assert _core.measure([{**plain[0], "\ud800": "x"}]) == _core.measure(plain)


def test_half_a_surrogate_pair_is_refused_without_quoting_the_text():
    with pytest.raises(ValueError, match="content holds half") as caught:
        _core.measure(user("secret \ud800"))
    assert str(caught.value).startswith("messages[0].content holds half")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_tools_must_be_a_list_of_json_types_nested_less_than_64_deep():
    with pytest.raises(TypeError, match="tools must be a list of dicts, not str"):
        _core.measure("", "tools")
    with pytest.raises(TypeError, match="tools must be made of JSON types, not set"):
        _core.measure("", [{"a": {1}}])
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="tools is nested deeper than 64 levels"):
        _core.measure("", deep)
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested deeper"):
        _core.measure("", loop)


@pytest.mark.parametrize("family", [-1, len(FAMILIES), 10**6])
def test_an_unknown_family_is_refused(family: int):
    with pytest.raises(ValueError, match=f"family must be 0 to 5, not {family}"):
        _core.measure("", None, family)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values, st.sampled_from(range(len(FAMILIES))))
def test_any_json_is_measured_or_refused_but_never_crashes(value: object, family: int):
    for prompt in (value, [value], user(value), user([value])):
        for measure in (_core.measure, _core.measure_full):
            try:
                assert measure(prompt, None, family) >= 0
            except (TypeError, ValueError) as refused:
                assert str(refused)


@given(st.text(), st.text())
def test_longer_texts_never_cost_less(a: str, b: str):
    assert _core.measure(a + b) >= _core.measure(a)


# ---- families ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o", "o200k"),
        ("openai/gpt-4o-mini-2024-07-18", "o200k"),
        ("gpt-4.1-nano", "o200k"),
        ("gpt-5.6-sol", "o200k"),
        ("o3-mini", "o200k"),
        ("groq/openai/gpt-oss-120b", "o200k"),
        ("something-new", "o200k"),
        ("gpt-4", "cl100k"),
        ("gpt-4-turbo-2024-04-09", "cl100k"),
        ("azure/gpt-35-turbo", "cl100k"),
        ("gpt-3.5-turbo", "cl100k"),
        ("text-embedding-3-small", "cl100k"),
        ("claude-3-5-haiku-20241022", "claude"),
        ("claude-3-opus-latest", "claude"),
        ("anthropic/claude-sonnet-4-5-20250929", "claude"),
        ("claude-sonnet-4-20250514", "claude"),
        ("claude-sonnet-4-0", "claude"),
        ("bedrock/us.anthropic.claude-opus-4-6-v1:0", "claude"),
        ("claude-2.1", "claude"),
        ("claude-opus-4-7", "claude_new"),
        ("openrouter/anthropic/claude-opus-4.8", "claude_new"),
        ("claude-sonnet-5", "claude_new"),
        ("claude-fable-5-1", "claude_new"),
        ("google/gemini-2.5-flash", "gemini"),
        ("ollama/gemma3:27b", "gemini"),
        ("openai_compatible/llama3.1", "llama"),
        ("mistral/mistral-large-latest", "llama"),
        ("deepseek-chat", "llama"),
        ("together/Qwen/Qwen2.5-72B-Instruct", "llama"),
    ],
)
def test_the_family_follows_from_the_name_of_the_model(model: str, family: str):
    assert FAMILIES[family_of(model)] == family


def test_families_price_the_same_text_differently():
    text = "Explain the difference between a process and a thread. " * 10
    counts = [_core.measure_full(text, None, f) for f in range(len(FAMILIES))]
    assert counts[CLAUDE_NEW] > 1.2 * counts[CLAUDE]
    assert abs(counts[LLAMA] / counts[CL100K] - 1) < 0.1

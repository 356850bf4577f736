"""The scripted model and the script: what is said, how long it is, what goes wrong."""

from __future__ import annotations

import json

import pytest

from llmbalance.testing import Ask, MockProvider, Script
from llmbalance.testing._cache import PromptCache
from llmbalance.testing._dialects._base import duration
from llmbalance.testing._exchange import Model
from llmbalance.testing._words import Prose, clip, count, example, pieces


def model(reply=None, seed=0, length=8):
    return Model(seed, reply, lambda ask, number: length)


@pytest.mark.parametrize("tokens", [1, 2, 33, 4096, 10_000])
def test_generated_text_has_exactly_the_tokens_it_is_asked_for(tokens):
    text = Prose(3).text(17, tokens)
    assert count(text) == tokens == len(list(pieces(text)))
    assert len(text) == 4 * tokens


def test_the_same_seed_writes_the_same_words_and_another_seed_others():
    assert Prose(1).text(5, 50) == Prose(1).text(5, 50)
    assert Prose(1).text(5, 50) != Prose(2).text(5, 50)
    assert Prose(1).text(5, 50) != Prose(1).text(6, 50)


@pytest.mark.parametrize("text", ["", "abc", "naïve café", "漢字かな交じり文", "a😀b"])
def test_pieces_join_to_the_text_and_split_no_character(text):
    assert "".join(pieces(text)) == text
    assert len(list(pieces(text))) <= max(count(text), 0)


def test_clip_never_splits_a_character():
    assert clip("漢字", 1) == "漢"
    assert count(clip("naïve café, à la carte", 3)) <= 3


def test_example_fits_its_schema():
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 3, "maximum": 9},
            "word": {"type": "string", "minLength": 5},
            "kind": {"enum": ["a", "b"]},
            "rows": {"type": "array", "items": {"type": "number"}, "minItems": 2},
            "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "gone": {"type": ["null", "string"]},
        },
    }
    value = example(schema)
    assert 3 <= value["n"] <= 9
    assert len(value["word"]) >= 5
    assert value["kind"] == "a"
    assert len(value["rows"]) == 2
    assert value["maybe"] is True
    assert value["gone"] is None


def test_max_tokens_cuts_and_says_so():
    (reply,), _ = model(length=50).answer(Ask("chat", max_tokens=7), 1)
    assert (reply.finish, reply.tokens, count(reply.text)) == ("length", 7, 7)
    (reply,), _ = model("x" * 400).answer(Ask("chat", max_tokens=7), 1)
    assert (reply.finish, reply.tokens) == ("length", 7)


def test_a_stop_sequence_ends_the_text_before_itself():
    (reply,), _ = model("one STOP two").answer(Ask("chat", stop=("STOP",)), 1)
    assert (reply.text, reply.finish, reply.stop_sequence) == ("one ", "stop", "STOP")


def test_a_function_is_asked_and_none_means_generated_text():
    said = model(lambda ask: f"you said {ask.prompt}" if ask.prompt else None)
    assert said.answer(Ask("chat", prompt="hi"), 1)[0][0].text == "you said hi"
    assert said.answer(Ask("chat"), 1)[0][0].tokens == 8


def test_a_wrong_reply_names_the_key_and_the_remedy():
    with pytest.raises(ValueError, match=r"unknown keys \['txt'\].*text"):
        model({"txt": "hi"}).answer(Ask("chat"), 1)
    with pytest.raises(ValueError, match="finish_reason='done'"):
        model({"text": "hi", "finish_reason": "done"}).answer(Ask("chat"), 1)
    with pytest.raises(ValueError, match="needs a 'name'"):
        MockProvider(reply={"tool_calls": [{}]})
    with pytest.raises(TypeError, match="must be a str"):
        model(lambda ask: 7).answer(Ask("chat"), 1)


def test_json_is_valid_and_deterministic():
    (reply,), _ = model().answer(Ask("chat", wants_json=True), 1)
    assert isinstance(json.loads(reply.text), dict)


@pytest.mark.parametrize(
    ("ns", "digits", "text"),
    [
        (0, 3, "0s"),
        (999_999, 3, "0s"),
        (12_000_000, 3, "12ms"),
        (8_640_000_000, 3, "8.64s"),
        (73_588_000_000, 3, "1m13.588s"),
        (864_000_000_000, 3, "14m24s"),
        (4_105_745_000_000, 3, "1h8m25.745s"),
        (299_439_057_000_000, 3, "83h10m39.057s"),
        (17_563_999_999, 9, "17.563999999s"),
    ],
)
def test_durations_are_written_as_the_vendors_write_them(ns, digits, text):
    assert duration(ns, digits) == text


def test_rules_apply_from_start_until_stop_and_the_latest_wins():
    script = Script().outage(2, 4).outage(3, 5, status=500)
    seen = [script.active("outage", t) for t in (1.9, 2.0, 3.0, 4.5, 5.0)]
    assert [r and r.args["status"] for r in seen] == [None, 503, 500, 500, None]


def test_a_counted_rule_is_used_up():
    script = Script().fail_next(2)
    used = [script.active("fail", 0, use=True) for _ in range(3)]
    assert [r is not None for r in used] == [True, True, False]


def test_an_adopted_script_stays_as_it_was():
    script = Script().fail_next(1)
    provider = MockProvider(script=script)
    assert provider.active("fail", 0, use=True) is not None
    assert provider.active("fail", 0, use=True) is None
    assert script.active("fail", 0) is not None
    provider.recover()
    assert script.scripted


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.outage(4, 2), r"stop=2: give a time after start \(4\)"),
        (lambda s: s.outage(-1, 2), "start=-1"),
        (lambda s: s.outage(status=200), "status=200"),
        (lambda s: s.slow(factor=0), "factor=0"),
        (lambda s: s.throttle(0, 1), "at least one limit"),
        (lambda s: s.cut_stream(after_tokens=1, how="bang"), "how='bang'"),
        (lambda s: s.garbage(kind="x"), "kind='x'"),
        (lambda s: s.fail_next(0), "n=0"),
    ],
)
def test_a_wrong_rule_names_field_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call(Script())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "opnai"}, "dialect='opnai'.*choose one of"),
        ({"rpm": 0}, "rpm=0: give a whole number >= 1"),
        ({"tpm": 1.5}, "tpm=1.5"),
        ({"ttft": -1}, "ttft=-1"),
        ({"error_rate": 1.5}, "error_rate=1.5"),
        ({"charge": "free"}, "charge='free'"),
        ({"price": (1,)}, "price="),
        ({"output_tokens": (9, 3)}, "output_tokens="),
    ],
)
def test_a_wrong_option_names_field_value_and_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        MockProvider(**options)


def test_the_prompt_cache_knows_whole_messages_for_five_minutes_and_is_bounded():
    cache, long = PromptCache(), "x" * 8000
    assert cache.use([long, "a"], 0) == (0, 1920)
    assert cache.use([long, "b"], 10) == (1920, 1920)
    assert cache.use([long, "c"], 400) == (0, 1920)
    assert cache.use(["short"], 0) == (0, 0)
    for i in range(10_000):
        cache.use([f"{i}"], 500)
    assert len(cache._seen) <= 4096


def test_no_key_stands_in_a_repr():
    assert "secret" not in repr(MockProvider(api_key="secret"))

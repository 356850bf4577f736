"""What is sent: one call, written anew for every provider and model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmbalance._errors import ConfigError, InvalidRequestError
from llmbalance._types import Call, ChatReply, Choice, Function, Message, ToolCall
from llmbalance.providers import PROVIDERS, Dialect, dialect

KEY = "a-key-of-mine"
OPTIONS = {"region": "here", "project": "mine"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Look up a and b."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{q}",
                "type": "function",
                "function": {"name": "look", "arguments": json.dumps({"q": q})},
            }
            for q in "ab"
        ],
    },
    {"role": "tool", "tool_call_id": "call_a", "content": "1"},
    {"role": "tool", "tool_call_id": "call_b", "content": '{"x":2}'},
]


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    base = "http://127.0.0.1:9/v1" if name == "openai_compatible" else None
    if name == "azure":
        base = "https://res.openai.azure.com"
    every = {**OPTIONS, **options}
    return dialect(name)(model=model, base_url=base, api_key=KEY, options=every)


def sent(
    name: str, model: str = "m", messages: Any = "hi", /, **params: Any
) -> dict[str, Any]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    request = make(name, model).chat(Call(messages=messages, params=params))
    body: dict[str, Any] = json.loads(request.body)
    body["warnings"] = request.warnings
    return body


# --- every provider ------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_writes_a_whole_conversation(name: str) -> None:
    for stream in (False, True):
        call = Call(
            messages=HISTORY,
            params={"max_tokens": 50, "tools": [TOOL]},
            stream=stream,
        )
        request = make(name).chat(call)
        assert request.target.startswith("/")
        assert (request.stream != 0) == stream == bool(request.marks)
        assert len(request.marks) <= 8
        text = request.body.decode()
        for word in ("Be brief.", "Look up a and b.", "look"):
            assert word in text
        assert KEY not in text and KEY not in request.target


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_callers_messages_stay_as_they_are(name: str) -> None:
    before = json.dumps(HISTORY)
    make(name).chat(Call(messages=HISTORY, params={"response_format": JSON_SCHEMA}))
    assert json.dumps(HISTORY) == before


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_reply_of_any_provider_can_be_the_next_turn(name: str) -> None:
    call = ToolCall(
        "c1",
        Function("look", '{"q":"a"}'),
        extra_content={"google": {"thought_signature": "sig"}},
    )
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    reply = ChatReply(
        choices=[
            Choice(
                Message(
                    "ok",
                    tool_calls=[call],
                    thinking_blocks=[block],
                    reasoning_content="hm",
                    parsed=object(),
                )
            )
        ]
    )
    messages = [
        {"role": "user", "content": "hi"},
        reply.choices[0].message,
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    body = make(name).chat(Call(messages=messages)).body.decode()
    assert '"ok"' in body
    assert "parsed" not in body
    assert ("signature" in body.lower()) == (
        name in ("anthropic", "google", "vertex", "bedrock")
    )


@pytest.mark.parametrize("name", PROVIDERS)
def test_credentials_stand_in_headers_only_and_never_in_a_repr(name: str) -> None:
    target = make(name)
    assert any(KEY in line for line in target.headers())
    assert KEY not in repr(target)
    assert all("\n" not in line and ": " in line for line in target.headers())


def test_a_key_from_a_function_goes_with_every_request() -> None:
    keys = iter(["one", "two"])
    target = dialect("openai")(model="m", api_key=lambda: next(keys))
    assert not any("Authorization" in line for line in target.headers())
    assert target.request_headers() == ["Authorization: Bearer one"]
    assert target.request_headers() == ["Authorization: Bearer two"]


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ("hello", "messages"),
        ([{"role": "wizard", "content": "x"}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([3], "messages[0]"),
    ],
)
def test_what_is_no_conversation_is_refused_by_name(
    name: str, messages: Any, field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make(name).chat(Call(messages=messages))
    assert caught.value.field == field
    assert caught.value.remedy


@pytest.mark.parametrize("name", PROVIDERS)
def test_extra_body_reaches_the_wire(name: str) -> None:
    assert sent(name, extra_body={"only_here": 1})["only_here"] == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_unknown_parameters_are_dropped_with_a_word_or_refused(name: str) -> None:
    call = Call(
        messages=[{"role": "user", "content": "x"}], params={"prediction": {"a": 1}}
    )
    if "prediction" in json.loads(make(name).chat(call).body):
        return  # this host takes it
    assert any("prediction" in w for w in make(name).chat(call).warnings)
    with pytest.raises(InvalidRequestError) as caught:
        make(name, unsupported="refuse").chat(call)
    assert caught.value.field == "prediction"


def test_an_unknown_provider_and_a_bad_address_are_refused() -> None:
    with pytest.raises(ConfigError, match="openrouter"):
        dialect("openai2")
    for url in ("api.openai.com", "ftp://x", "http://"):
        with pytest.raises(ConfigError, match="base_url"):
            dialect("openai")(model="m", base_url=url)
    with pytest.raises(ConfigError) as caught:
        dialect("openai")(model="m", base_url="https://me:word@host/v1")
    assert "word" not in str(caught.value)
    with pytest.raises(ConfigError, match="unsupported"):
        dialect("openai")(model="m", options={"unsupported": "maybe"})


def test_addresses_come_from_the_environment_as_the_sdks_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.0.0.1:8080/custom/")
    target = dialect("openai")(model="m")
    assert (target.origin_url, target.path) == ("http://10.0.0.1:8080", "/custom")
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0")
    assert dialect("ollama")(model="m").origin_url == "http://127.0.0.1:11434"


# --- OpenAI and its copies -----------------------------------------------------------


def test_openai_gets_the_call_as_it_is() -> None:
    body = sent("openai", "gpt-4o", temperature=0.3, stop=["a"], seed=1, user="u")
    assert body.pop("warnings") == []
    assert body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.3,
        "stop": ["a"],
        "seed": 1,
        "user": "u",
    }


def test_a_stream_asks_for_its_usage() -> None:
    call = Call(
        messages=HISTORY,
        params={"stream_options": {"include_obfuscation": False}},
        stream=True,
    )
    body = json.loads(make("openai").chat(call).body)
    assert body["stream"] is True
    assert body["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_reasoning_models_never_get_what_they_refuse() -> None:
    given = {"temperature": 0.2, "top_p": 0.5, "stop": "x", "logprobs": True}
    for model in ("o3-mini", "gpt-5", "gpt-5-mini", "openai/o1"):
        body = sent("openai", model, max_tokens=9, **given)
        assert body["max_completion_tokens"] == 9
        assert not body.keys() & {"max_tokens", *given}
        assert len(body["warnings"]) == 4
    body = sent("openai", "gpt-4o", max_tokens=9, **given)
    assert body.keys() >= given.keys()
    assert body["warnings"] == []


def test_a_neutral_parameter_is_dropped_without_a_word() -> None:
    assert sent("openai", "gpt-5", temperature=1)["warnings"] == []


def test_newer_reasoning_models_sample_when_they_do_not_reason() -> None:
    for model, effort, samples in (
        ("gpt-5.1", "none", True),
        ("gpt-5.1", None, True),  # reasons on request only
        ("gpt-5.1", "low", False),
        ("gpt-5.6-sol", "none", True),
        ("gpt-5.6-sol", None, False),
        ("gpt-5", "none", False),  # always reasons
        ("gpt-4o-2024-08-06", None, True),
        ("gpt-audio-mini-2025-12-15", None, True),
    ):
        body = sent("openai", model, temperature=0.2, reasoning_effort=effort)
        assert ("temperature" in body) is samples, (model, effort)


@pytest.mark.parametrize(
    ("model", "asked", "sent_as"),
    [
        ("o3", "xhigh", "high"),
        ("o3", "none", "low"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5-codex", "minimal", "low"),
        ("gpt-5-pro", "low", "high"),
        ("gpt-5.1", "none", "none"),
        ("gpt-5.1", "max", "high"),
        ("gpt-5.1-codex-max", "xhigh", "xhigh"),
        ("gpt-5.2", "minimal", "low"),
        ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.2-pro", "low", "medium"),
        ("gpt-5.6-terra", "max", "max"),
        ("gpt-6-astra", "none", "low"),
        ("gpt-6.1-sol", "none", "none"),
        ("gpt-5.3-chat-latest", "low", None),
        ("gpt-5-chat-latest", "low", None),
        ("gpt-5", "some-new-word", "some-new-word"),
    ],
)
def test_effort_is_the_nearest_that_an_openai_model_takes(
    model: str, asked: str, sent_as: str | None
) -> None:
    body = sent("openai", model, reasoning_effort=asked)
    assert body.get("reasoning_effort") == sent_as
    assert bool(body["warnings"]) is (asked != sent_as)


def test_effort_is_not_sent_to_models_that_do_not_reason() -> None:
    body = sent("openai", "gpt-4o", reasoning_effort="low")
    assert "reasoning_effort" not in body
    assert "reasoning_effort" in body["warnings"][0]


def test_what_one_provider_signed_is_not_shown_to_another() -> None:
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}],
        "thinking_blocks": [{}],
        "reasoning_content": "hm",
    }
    body = sent("openai", "gpt-4o", [message])
    part = {"type": "text", "text": "x"}
    assert body["messages"] == [{"role": "assistant", "content": [part]}]


def test_developer_messages_are_system_messages_where_hosts_know_no_others() -> None:
    message = [{"role": "developer", "content": "x"}]
    assert sent("openai", "m", message)["messages"][0]["role"] == "developer"
    assert sent("groq", "m", message)["messages"][0]["role"] == "system"


def test_groq_is_spared_what_it_answers_with_400() -> None:
    named = [{"role": "user", "name": "bob", "content": "x"}]
    body = sent("groq", "m", named, logprobs=True, n=1, max_tokens=5)
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert not body.keys() & {"logprobs", "n", "max_tokens"}
    assert body["max_completion_tokens"] == 5
    with pytest.raises(InvalidRequestError, match="one answer"):
        sent("groq", n=2)


def test_mistral_takes_ids_of_nine_characters_only() -> None:
    body = sent("mistral", "m", HISTORY, seed=3, tools=[TOOL], tool_choice="required")
    ids = [call["id"] for call in body["messages"][2]["tool_calls"]]
    assert all(len(i) == 9 and i.isalnum() for i in ids)
    assert [m["tool_call_id"] for m in body["messages"][3:]] == ids
    assert body["random_seed"] == 3
    assert body["tool_choice"] == "any"


def test_deepseek_gets_a_schema_as_an_instruction() -> None:
    body = sent("deepseek", "m", response_format=JSON_SCHEMA, reasoning_effort="none")
    assert body["response_format"] == {"type": "json_object"}
    assert '"integer"' in body["messages"][0]["content"]
    assert body["thinking"] == {"type": "disabled"}
    assert "instruction" in body["warnings"][0]


def test_openrouter_keeps_what_it_passes_on() -> None:
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}],
        "reasoning_details": [{"type": "reasoning.text"}],
    }
    body = sent("openrouter", "m", [message])
    assert body["messages"] == [message]
    assert body["usage"] == {"include": True}
    lines = make("openrouter", app_name="mine").headers()
    assert "X-Title: mine" in lines


def test_xais_reasoning_models_refuse_stops() -> None:
    assert "stop" not in sent("xai", "grok-4", stop="x", reasoning_effort="low")
    assert "stop" in sent("xai", "grok-4-1-fast-non-reasoning", stop="x")


def test_azure_stands_at_three_kinds_of_address() -> None:
    cls, hello = dialect("azure"), [{"role": "user", "content": "x"}]
    host = "https://res.openai.azure.com"
    classic = cls(model="my gpt", base_url=host, options={"api_version": "2024-10-21"})
    assert classic.chat(Call(messages=hello)).target == (
        "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    )
    for url in (host, f"{host}/openai/v1/"):
        assert cls(model="d", base_url=url).chat(Call(messages=hello)).target == (
            "/openai/v1/chat/completions"
        )
    services = cls(model="d", base_url="https://res.services.ai.azure.com/models")
    assert services.chat(Call(messages=hello)).target.startswith(
        "/models/chat/completions?api-version="
    )
    assert cls(model="d", base_url=host, api_key=KEY).headers()[-1] == f"api-key: {KEY}"
    entra = cls(model="d", base_url=host, api_key=lambda: "token")
    assert entra.request_headers() == ["Authorization: Bearer token"]


def test_azure_learns_the_rules_of_the_model_behind_a_deployment() -> None:
    call = Call(messages=HISTORY, params={"max_tokens": 5, "temperature": 0.1})
    options = {"base_model": "gpt-5"}
    target = dialect("azure")(model="prod", base_url="https://r", options=options)
    body = json.loads(target.chat(call).body)
    assert body["max_completion_tokens"] == 5
    assert "temperature" not in body
    plain = json.loads(make("azure", "prod").chat(call).body)
    assert plain["max_tokens"] == 5


# --- Anthropic -----------------------------------------------------------------------


def test_anthropic_gets_turns_blocks_and_a_limit() -> None:
    body = sent("anthropic", "claude-sonnet-4-5", HISTORY, tools=[TOOL])
    assert body["system"] == "Be brief."
    assert body["max_tokens"] == 64_000
    roles = [turn["role"] for turn in body["messages"]]
    assert roles == ["user", "assistant", "user"]
    uses = body["messages"][1]["content"]
    assert uses[0] == {
        "type": "tool_use",
        "id": "call_a",
        "name": "look",
        "input": {"q": "a"},
    }
    results = body["messages"][2]["content"]
    assert [r["tool_use_id"] for r in results] == ["call_a", "call_b"]
    assert body["tools"][0]["input_schema"]["type"] == "object"


def test_tool_results_come_first_in_the_users_turn() -> None:
    messages = [*HISTORY[:3], {"role": "user", "content": "quick!"}, *HISTORY[3:]]
    body = sent("anthropic", "claude-sonnet-4-5", messages)
    kinds = [block["type"] for block in body["messages"][2]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]


def test_anthropic_takes_images_documents_and_cache_marks() -> None:
    content = [
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "file", "file": {"file_data": "QUJD", "filename": "a.pdf"}},
    ]
    body = sent(
        "anthropic", "claude-sonnet-4-5", [{"role": "user", "content": content}]
    )
    text, data, url, document = body["messages"][0]["content"]
    assert text["cache_control"] == {"type": "ephemeral"}
    assert data["source"]["media_type"] == "image/png"
    assert url["source"] == {"type": "url", "url": "https://x/y.png"}
    assert document["source"]["media_type"] == "application/pdf"
    with pytest.raises(InvalidRequestError, match="input_audio"):
        sent("anthropic", "m", [{"role": "user", "content": [{"type": "input_audio"}]}])


@pytest.mark.parametrize(
    ("choice", "native"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        (
            {"type": "function", "function": {"name": "look"}},
            {"type": "tool", "name": "look"},
        ),
    ],
)
def test_anthropics_tool_choices(choice: Any, native: Any) -> None:
    body = sent("anthropic", "claude-sonnet-4-5", tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == native


def test_one_tool_at_a_time_is_a_property_of_the_choice() -> None:
    body = sent("anthropic", "m", tools=[TOOL], parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_newer_claude_models_do_not_get_sampling() -> None:
    old = sent("anthropic", "claude-opus-4-1-20250805", temperature=0.5)
    new = sent("anthropic", "claude-opus-4-7", temperature=0.5)
    assert old["temperature"] == 0.5
    assert "temperature" not in new and "temperature" in new["warnings"][0]
    assert sent("anthropic", "claude-3-5-haiku", temperature=1.7)["temperature"] == 1


@pytest.mark.parametrize(
    ("model", "together"),
    [
        ("claude-3-7-sonnet", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", False),
        ("claude-sonnet-4-5", False),
        ("claude-opus-4-6", False),
    ],
)
def test_temperature_and_top_p_go_together_only_with_older_claudes(
    model: str, together: bool
) -> None:
    body = sent("anthropic", model, temperature=0.5, top_p=0.9)
    assert body["temperature"] == 0.5 and ("top_p" in body) is together
    assert bool(body["warnings"]) is not together
    inference = sent("bedrock", model, temperature=0.5, top_p=0.9)["inferenceConfig"]
    assert inference["temperature"] == 0.5 and ("topP" in inference) is together


def test_a_forced_tool_yields_to_a_thinking_budget_on_bedrock_too() -> None:
    body = sent(
        "bedrock",
        "claude-sonnet-4-5",
        reasoning_effort="low",
        tools=[TOOL],
        tool_choice="required",
    )
    assert body["toolConfig"]["toolChoice"] == {"auto": {}} and body["warnings"]


@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock", "ollama"])
def test_an_answer_to_be_stored_is_not_forgotten_in_silence(name: str) -> None:
    hints: dict[str, Any] = {"prompt_cache_key": "k", "stream_options": {}}
    assert sent(name, store=False, **hints)["warnings"] == []
    (warning,) = sent(name, store=True, **hints)["warnings"]
    assert "store" in warning


def test_effort_becomes_what_each_claude_takes() -> None:
    budget = sent("anthropic", "claude-sonnet-4-5", reasoning_effort="high")
    assert budget["thinking"] == {"type": "enabled", "budget_tokens": 16_384}
    small = sent(
        "anthropic", "claude-sonnet-4-5", reasoning_effort="high", max_tokens=2000
    )
    assert small["thinking"]["budget_tokens"] < 2000
    adaptive = sent("anthropic", "claude-opus-4-6", reasoning_effort="medium")
    assert adaptive["thinking"] == {"type": "adaptive"}
    assert adaptive["output_config"] == {"effort": "medium"}
    none = sent("anthropic", "claude-3-5-haiku", reasoning_effort="low")
    assert "thinking" not in none and none["warnings"]
    for model, asked, effort in (
        ("claude-opus-4-5", "max", "high"),
        ("claude-opus-4-6", "xhigh", "max"),
        ("claude-opus-4-7", "xhigh", "xhigh"),
        ("claude-sonnet-5-5", "minimal", "low"),
        ("claude-mythos-preview", "none", "low"),
    ):
        body = sent("anthropic", model, reasoning_effort=asked)
        assert body["output_config"] == {"effort": effort}, model
    off = sent("anthropic", "claude-opus-5", reasoning_effort="none")
    assert off["thinking"] == {"type": "disabled"} and "output_config" not in off


def test_thinking_is_put_in_the_words_of_the_model_it_goes_to() -> None:
    budget = {"type": "enabled", "budget_tokens": 3000, "display": "omitted"}
    assert sent("anthropic", "claude-opus-4-6", thinking=budget)["thinking"] == budget
    newer = sent("anthropic", "claude-opus-4-7", thinking=budget)
    assert newer["thinking"] == {"type": "adaptive", "display": "omitted"}
    older = sent("anthropic", "claude-sonnet-4-5", thinking={"type": "adaptive"})
    assert older["thinking"] == {"type": "enabled", "budget_tokens": 10_000}
    assert newer["warnings"] and older["warnings"]


def test_a_forced_tool_goes_with_adaptive_thinking_but_not_with_every_claude() -> None:
    ask: Any = {"tools": [TOOL], "tool_choice": "required"}
    adapting = sent("anthropic", "claude-opus-4-7", reasoning_effort="low", **ask)
    assert adapting["tool_choice"] == {"type": "any"}
    fable = sent("anthropic", "claude-fable-5-1", **ask)
    assert fable["tool_choice"] == {"type": "auto"} and fable["warnings"]


def test_anthropics_own_tools_pass_and_those_of_others_are_refused() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    body = sent("anthropic", "claude-opus-5", tools=[search, TOOL])
    assert body["tools"][0] == search and body["tools"][1]["input_schema"]
    for provider in ("openai", "azure", "google", "bedrock"):
        with pytest.raises(InvalidRequestError, match=r"tools\[0\]"):
            sent(provider, "claude-opus-5", tools=[search])
    custom = {"type": "custom", "custom": {"name": "sql"}}
    for provider in ("anthropic", "google", "bedrock"):
        with pytest.raises(InvalidRequestError, match=r"tools\[1\]"):
            sent(provider, "claude-opus-5", tools=[TOOL, custom])


def test_thinking_goes_with_neither_temperature_nor_a_forced_tool() -> None:
    body = sent(
        "anthropic",
        "claude-sonnet-4-5",
        reasoning_effort="low",
        temperature=0.3,
        tools=[TOOL],
        tool_choice="required",
    )
    assert "temperature" not in body
    assert body["tool_choice"] == {"type": "auto"}
    assert len(body["warnings"]) == 2


def test_a_schema_is_native_a_forced_tool_or_an_instruction() -> None:
    native = sent("anthropic", "claude-sonnet-4-5", response_format=JSON_SCHEMA)
    assert native["output_config"]["format"] == {
        "type": "json_schema",
        "schema": SCHEMA,
    }
    forced = sent("anthropic", "claude-3-5-haiku", response_format=JSON_SCHEMA)
    assert forced["tool_choice"]["name"] == forced["tools"][0]["name"]
    assert "forced tool" in forced["warnings"][0]
    beside = sent(
        "anthropic", "claude-3-5-haiku", response_format=JSON_SCHEMA, tools=[TOOL]
    )
    assert '"integer"' in beside["system"]


def test_what_anthropic_cannot_give_is_refused() -> None:
    for params in ({"n": 2}, {"logprobs": True}):
        with pytest.raises(InvalidRequestError):
            sent("anthropic", "m", **params)


def test_anthropics_small_rules() -> None:
    body = sent("anthropic", "m", stop=["a", " "], user="u", service_tier="default")
    assert body["stop_sequences"] == ["a"]
    assert body["metadata"] == {"user_id": "u"}
    assert body["service_tier"] == "standard_only"
    assistant = [{"role": "assistant", "content": "x"}]
    assert sent("anthropic", "m", assistant)["messages"][0]["role"] == "user"
    with pytest.raises(InvalidRequestError, match="user message"):
        sent("anthropic", "m", [{"role": "system", "content": "x"}])


def test_anthropic_counts_tokens_for_free() -> None:
    target = dialect("anthropic")(model="claude-x", api_key=KEY)
    request = target.count_tokens(Call(messages=HISTORY, params={"tools": [TOOL]}))
    assert request.target == "/v1/messages/count_tokens"
    assert "max_tokens" not in json.loads(request.body)


# --- Google --------------------------------------------------------------------------


def test_google_gets_contents_declarations_and_results_by_name() -> None:
    body = sent("google", "gemini-2.5-flash", HISTORY, tools=[TOOL])
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [c["role"] for c in body["contents"]] == ["user", "model", "user"]
    call = body["contents"][1]["parts"][0]["functionCall"]
    assert call == {"name": "look", "args": {"q": "a"}}
    results = [p["functionResponse"] for p in body["contents"][2]["parts"]]
    assert [r["name"] for r in results] == ["look", "look"]
    assert [r["response"]["output"] for r in results] == ["1", {"x": 2}]
    (tool,) = body["tools"]
    assert tool["functionDeclarations"][0]["parametersJsonSchema"]["properties"]


def test_gemini_3_gets_a_signature_with_the_first_call_of_a_turn() -> None:
    body = sent("google", "gemini-3-flash-preview", HISTORY)
    signatures = [p.get("thoughtSignature") for p in body["contents"][1]["parts"]]
    assert signatures == ["skip_thought_signature_validator", None]
    signed = json.loads(json.dumps(HISTORY))
    extra = {"google": {"thought_signature": "mine"}}
    signed[2]["tool_calls"][0]["extra_content"] = extra
    body = sent("google", "gemini-3-flash-preview", signed)
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == "mine"


def test_googles_parameters_have_their_own_names() -> None:
    body = sent(
        "google",
        "gemini-2.5-flash",
        max_tokens=5,
        top_p=0.5,
        stop="x",
        n=2,
        seed=1,
        response_format=JSON_SCHEMA,
        reasoning_effort="none",
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 5,
        "topP": 0.5,
        "stopSequences": ["x"],
        "candidateCount": 2,
        "seed": 1,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "thinkingConfig": {"thinkingBudget": 0},
    }


def test_effort_is_a_level_on_gemini_3() -> None:
    body = sent("google", "gemini-3-pro", reasoning_effort="xhigh")
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH"}
    raised = sent("google", "gemini-3-pro", reasoning_effort="none")
    assert "always reasons" in raised["warnings"][0]


def test_google_takes_data_but_fetches_no_addresses_outside_vertex() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.webp?a=b"}}
    inline = {"type": "image_url", "image_url": {"url": PIXEL}}
    sound = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}
    body = sent("google", "m", [{"role": "user", "content": [inline, sound]}])
    parts = body["contents"][0]["parts"]
    assert [p["inlineData"]["mimeType"] for p in parts] == ["image/png", "audio/mp3"]
    with pytest.raises(InvalidRequestError, match="fetches none"):
        sent("google", "m", [{"role": "user", "content": [picture]}])
    body = sent("vertex", "gemini-2.5-pro", [{"role": "user", "content": [picture]}])
    uri = body["contents"][0]["parts"][0]["fileData"]
    assert uri == {"fileUri": "https://x/y.webp?a=b", "mimeType": "image/webp"}


def test_a_tool_result_must_answer_a_call() -> None:
    lost = [{"role": "tool", "tool_call_id": "nowhere", "content": "x"}]
    with pytest.raises(InvalidRequestError, match="nowhere"):
        sent("google", "m", lost)


def test_an_old_gemini_gets_an_openapi_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "who": {"$ref": "#/$defs/Who"},
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "kind": {"const": "x"},
            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        },
        "additionalProperties": False,
        "$defs": {"Who": {"type": "object", "properties": {"n": {"type": "string"}}}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = sent("google", "gemini-2.0-flash", response_format=asked)
    properties = body["generationConfig"]["responseSchema"]["properties"]
    assert properties["who"]["properties"] == {"n": {"type": "string"}}
    assert properties["age"] == {"type": "integer", "nullable": True}
    assert properties["kind"] == {"type": "string", "enum": ["x"]}
    assert properties["tags"]["nullable"] is True
    assert "additionalProperties" not in json.dumps(body)


def test_a_recursive_schema_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {**node, "$defs": {"Node": node}}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert sent("google", "gemini-2.0-flash", response_format=asked)


# --- Vertex, Bedrock, Ollama, Responses ----------------------------------------------


def test_vertex_speaks_googles_words_to_gemini_and_anthropics_to_claude() -> None:
    gemini = make("vertex", "gemini-2.5-pro", region="europe-west4")
    assert gemini.origin_url == "https://europe-west4-aiplatform.googleapis.com"
    assert gemini.chat(Call(messages=HISTORY)).target == (
        "/v1/projects/mine/locations/europe-west4/publishers/google/models/"
        "gemini-2.5-pro:generateContent"
    )
    claude = make("vertex", "claude-sonnet-4-5@20250929", region="global")
    assert claude.origin_url == "https://aiplatform.googleapis.com"
    request = claude.chat(Call(messages=HISTORY, stream=True))
    assert request.target == (
        "/v1/projects/mine/locations/global/publishers/anthropic/models/"
        "claude-sonnet-4-5@20250929:streamRawPredict"
    )
    body = json.loads(request.body)
    assert "model" not in body
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert not any(line.startswith("anthropic-version") for line in claude.headers())
    europe = make("vertex", "gemini-2.5-pro", region="eu")
    assert europe.origin_url == "https://aiplatform.eu.rep.googleapis.com"


def test_vertex_without_a_project_takes_only_an_api_key() -> None:
    express = dialect("vertex")(model="gemini-2.5-pro", api_key="AIzaSomething")
    assert "x-goog-api-key: AIzaSomething" in express.headers()
    assert express.chat(Call(messages=HISTORY)).target == (
        "/v1/publishers/google/models/gemini-2.5-pro:generateContent"
    )
    with pytest.raises(ConfigError, match="project"):
        dialect("vertex")(model="gemini-2.5-pro", api_key="ya29.x").headers()


def test_bedrock_converses() -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    messages = [*HISTORY, {"role": "user", "content": "and?"}]
    messages[0] = {**messages[0], "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    call = Call(messages=messages, params={"tools": [TOOL], "temperature": 0.5})
    request = make("bedrock", model, region="us-east-1").chat(call)
    assert request.target == (
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    )
    body = json.loads(request.body)
    assert body["system"] == [
        {"text": "Be brief."},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]
    assert body["inferenceConfig"]["temperature"] == 0.5
    use = body["messages"][1]["content"][0]["toolUse"]
    assert use == {"toolUseId": "call_a", "name": "look", "input": {"q": "a"}}
    results = body["messages"][2]["content"]
    assert results[0]["toolResult"]["toolUseId"] == "call_a"
    assert results[2] == {"text": "and?"}
    assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]


def test_bedrock_signs_when_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert make("bedrock").sigv4() is None
    options = {"region": "us-east-1", "access_key": "A", "secret_key": "S"}
    signed = dialect("bedrock")(model="m", options=options)
    assert signed.sigv4() == ("aws:amz:us-east-1:bedrock", "A:S")
    with pytest.raises(ConfigError, match="AWS_BEARER_TOKEN_BEDROCK"):
        dialect("bedrock")(model="m", options={"region": "r"}).sigv4()
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ConfigError, match="AWS_REGION"):
        dialect("bedrock")(model="m")


def test_bedrock_invokes_claude_in_its_own_words() -> None:
    model = "anthropic.claude-opus-4-1-20250805-v1:0"
    target = make("bedrock", model, api="invoke", betas="a,b")
    request = target.chat(Call(messages=HISTORY, stream=True))
    body = json.loads(request.body)
    assert request.target.endswith("/invoke-with-response-stream")
    assert body["anthropic_version"] == "bedrock-2023-05-31"
    assert body["anthropic_beta"] == ["a", "b"]
    assert not body.keys() & {"model", "stream"}
    with pytest.raises(ConfigError, match="Claude"):
        make("bedrock", "amazon.nova-pro-v1:0", api="invoke")


def test_ollama_gets_options_images_and_results_by_name() -> None:
    inline = {"type": "image_url", "image_url": {"url": PIXEL}}
    messages = [{"role": "user", "content": [inline]}, *HISTORY[1:]]
    call = Call(
        messages=messages,
        params={"max_tokens": 5, "tools": [TOOL], "response_format": JSON_SCHEMA},
    )
    body = json.loads(make("ollama", "llama3", num_ctx=8192).chat(call).body)
    assert body["options"] == {"num_predict": 5, "num_ctx": 8192}
    assert body["messages"][0]["images"] == ["iVBORw0KGgo="]
    assert body["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"q": "a"}
    assert body["messages"][3]["tool_name"] == "look"
    assert body["format"] == SCHEMA
    assert body["stream"] is False
    assert sent("ollama", "qwen3", reasoning_effort="none")["think"] is False


def test_the_responses_api_gets_items() -> None:
    target = make("openai", "gpt-5", api="responses")
    call = Call(
        messages=HISTORY,
        params={
            "max_tokens": 50,
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "response_format": JSON_SCHEMA,
            "reasoning_effort": "low",
        },
    )
    request = target.chat(call)
    body = json.loads(request.body)
    assert request.target == "/v1/responses"
    assert body["instructions"] == "Be brief."
    kinds = [item.get("type", item.get("role")) for item in body["input"]]
    assert kinds == ["user", *["function_call"] * 2, *["function_call_output"] * 2]
    assert body["max_output_tokens"] == 50
    assert body["tools"][0]["name"] == "look"
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert body["text"]["format"]["schema"] == SCHEMA
    assert body["reasoning"] == {"effort": "low"}
    assert body["store"] is False
    with pytest.raises(ConfigError, match="api"):
        make("openai", api="telegraph")


# --- embeddings and health -----------------------------------------------------------


def embedded(name: str, texts: Any, model: str = "m", **params: Any) -> Any:
    request = make(name, model).embed(Call(kind="embed", input=texts, params=params))
    return request.target, json.loads(request.body)


def test_embeddings_are_written_as_each_provider_takes_them() -> None:
    target, body = embedded("openai", ["a", "b"], dimensions=8)
    assert target == "/v1/embeddings"
    assert body == {"model": "m", "input": ["a", "b"], "dimensions": 8}
    target, body = embedded("google", "a", "gemini-embedding-001", dimensions=8)
    assert target == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert body["requests"][0]["content"] == {"parts": [{"text": "a"}]}
    assert body["requests"][0]["outputDimensionality"] == 8
    target, body = embedded("vertex", ["a"], "gemini-embedding-001")
    assert target.endswith(":predict")
    assert body == {"instances": [{"content": "a"}]}
    target, body = embedded("ollama", ["a"])
    assert (target, body["input"]) == ("/api/embed", ["a"])


def test_too_many_texts_and_none_are_refused() -> None:
    for name, most in (("openai", 2048), ("google", 100), ("vertex", 250)):
        with pytest.raises(InvalidRequestError, match=str(most)):
            embedded(name, ["x"] * (most + 1))
        with pytest.raises(InvalidRequestError):
            embedded(name, [])


def test_providers_without_embeddings_say_so() -> None:
    for name in ("anthropic", "bedrock"):
        with pytest.raises(InvalidRequestError, match="no embeddings"):
            make(name).embed(Call(kind="embed", input="x"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_health_probe_never_generates(name: str) -> None:
    request = make(name).health()
    if request is not None:
        assert request.method == "GET"
        assert request.body == b""
    assert (request is None) == (make(name).supports.get("health") == "refused")

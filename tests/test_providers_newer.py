"""What the vendors' interfaces have learnt: probabilities, own tools, more hosts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from faults import FaultServer, reply

from llmbalance import Backend, Price, Router
from llmbalance._errors import ConfigError, InvalidRequestError, ServerError
from llmbalance._types import Call, ChatChunk, ChatReply, Message
from llmbalance.providers import PROVIDERS, Dialect, dialect

OPTIONS = {"region": "here", "project": "mine", "access_key": "a", "secret_key": "s"}
ASK = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,AAAA"


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    every = {**OPTIONS, **options}
    return dialect(name)(
        model=model, base_url="http://h/v1", api_key="k", options=every
    )


def sent(
    target: Dialect, messages: Any = ASK, *, stream: bool = False, **params: Any
) -> tuple[str, dict[str, Any], list[str]]:
    """Path, body and warnings of a call."""
    request = target.chat(Call(messages=messages, params=params, stream=stream))
    return request.target, json.loads(request.body), request.warnings


def read(target: Dialect, answer: Any) -> ChatReply:
    return target.chat_reply(200, {}, json.dumps(answer).encode())


def streamed(target: Dialect, *events: Any) -> tuple[list[ChatChunk], ChatChunk]:
    reader = target.stream()
    chunks = []
    for event in events:
        name, value = event if isinstance(event, tuple) else ("", event)
        chunks += reader.feed(name, json.dumps(value).encode())
    return chunks, reader.end()


def again(reply: ChatReply) -> list[Any]:
    """The next turn's messages, with the answer as it came."""
    return [*ASK, reply.choices[0].message, {"role": "user", "content": "go on"}]


# -- Google -------------------------------------------------------------------------


def token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logProbability": logprob, "tokenId": 7}


LOGPROBS = {
    "chosenCandidates": [token("Pa", -0.5), token("ris", 0)],
    "topCandidates": [{"candidates": [token("Pa", -0.5), token("Ly", -2)]}],
}
OPENAI_LOGPROBS = {
    "content": [
        {
            "token": "Pa",
            "logprob": -0.5,
            "bytes": [80, 97],
            "top_logprobs": [
                {"token": "Pa", "logprob": -0.5, "bytes": [80, 97]},
                {"token": "Ly", "logprob": -2.0, "bytes": [76, 121]},
            ],
        },
        {"token": "ris", "logprob": 0.0, "bytes": [114, 105, 115], "top_logprobs": []},
    ],
    "refusal": None,
}


@pytest.mark.parametrize("name", ["google", "vertex"])
def test_google_tells_probabilities_in_openais_shape(name: str) -> None:
    target = make(name, "gemini-2.5-flash")
    _, body, warnings = sent(target, logprobs=True, top_logprobs=2)
    told = {"responseLogprobs": True, "logprobs": 2}
    assert body["generationConfig"] == told and warnings == []
    _, body, _ = sent(target, logprobs=False)
    assert "generationConfig" not in body
    one = {
        "content": {"parts": [{"text": "Paris"}]},
        "finishReason": "STOP",
        "logprobsResult": LOGPROBS,
    }
    assert read(target, {"candidates": [one]}).choices[0].logprobs == OPENAI_LOGPROBS
    chunks, last = streamed(target, {"candidates": [one]})
    assert chunks[0].text == "Paris"
    assert chunks[0].choices[0].logprobs == OPENAI_LOGPROBS
    assert last.choices[0].finish_reason == "stop"


def test_a_google_stream_without_alt_sse_joins_its_probabilities() -> None:
    def piece(text: str) -> dict[str, Any]:
        chosen = {"chosenCandidates": [token(text, -1)]}
        content = {"parts": [{"text": text}]}
        return {"content": content, "logprobsResult": chosen, "finishReason": "STOP"}

    body = json.dumps([{"candidates": [piece("a")]}, {"candidates": [piece("b")]}])
    reply = make("google").chat_reply(200, {}, body.encode())
    found = reply.choices[0].logprobs
    assert found is not None
    assert [t["token"] for t in found["content"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CONTINUATION", "length"),
        ("ESCALATION", "content_filter"),
        ("PUP_LIMITED_DISABLED", "content_filter"),
    ],
)
def test_googles_newer_reasons_have_openais_names(said: str, reason: str) -> None:
    answer = {"candidates": [{"content": {"parts": []}, "finishReason": said}]}
    assert read(make("google"), answer).choices[0].finish_reason == reason


@pytest.mark.parametrize("said", ["MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"])
def test_a_broken_answer_of_google_is_a_failure_that_others_may_avoid(
    said: str,
) -> None:
    answer = {"candidates": [{"content": {"parts": []}, "finishReason": said}]}
    with pytest.raises(ServerError) as caught:
        read(make("google"), answer)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("traffic", "tier"),
    [
        ("ON_DEMAND", "standard"),
        ("ON_DEMAND_FLEX", "flex"),
        ("ON_DEMAND_PRIORITY", "priority"),
        ("PROVISIONED_THROUGHPUT", None),
        (None, None),
    ],
)
def test_vertex_says_the_tier_as_a_kind_of_traffic(traffic: Any, tier: Any) -> None:
    usage = {"promptTokenCount": 1, "trafficType": traffic}
    one = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
    target = make("vertex")
    assert read(target, {"candidates": [one], "usageMetadata": usage}).service_tier == (
        tier
    )


def test_pictures_go_back_to_google_with_their_signatures() -> None:
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    parts = [
        {"text": "see", "thoughtSignature": "s1"},
        {**blob, "thoughtSignature": "s2"},
    ]
    one = {"content": {"parts": parts}, "finishReason": "STOP"}
    target = make("google", "gemini-3-pro-image")
    _, body, _ = sent(target, again(read(target, {"candidates": [one]})))
    assert body["contents"][1] == {"role": "model", "parts": parts}
    chunks, _ = streamed(target, {"candidates": [one]})
    assert chunks[-1].choices[-1].delta.images == [
        {
            "type": "image_url",
            "image_url": {"url": PNG},
            "extra_content": {"google": {"thought_signature": "s2"}},
        }
    ]


def test_pictures_that_tools_return_reach_google() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    shown = [{"type": "text", "text": "ok"}, {"type": "image_url", "image_url": PNG}]
    turns = [
        *ASK,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": shown},
    ]
    _, body, _ = sent(make("google"), turns)
    result, picture = body["contents"][-1]["parts"]
    assert result["functionResponse"]["response"] == {"output": "ok"}
    assert picture == {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("model", "effort", "level"),
    [
        ("gemini-3-pro", "minimal", "LOW"),
        ("gemini-3-flash", "minimal", "MINIMAL"),
        ("gemini-3-flash", "none", "MINIMAL"),
        ("gemini-3-flash", "max", "HIGH"),
    ],
)
def test_gemini_thinks_as_little_as_it_can(model: str, effort: str, level: str) -> None:
    _, body, _ = sent(make("google", model), reasoning_effort=effort)
    assert body["generationConfig"] == {"thinkingConfig": {"thinkingLevel": level}}


@pytest.mark.parametrize("texts", [["a"], ["a", "b"]])
@pytest.mark.parametrize("config", [{}, {"dimensions": 64, "input_type": "CLUSTERING"}])
def test_googles_own_client_asks_vertex_for_embeddings_as_we_do(
    texts: list[str], config: dict[str, Any]
) -> None:
    genai = pytest.importorskip("google.genai", reason="needs google-genai")
    from google.oauth2.credentials import Credentials

    target = make("vertex", "gemini-embedding-2")
    ours = target.embed(Call(kind="embed", input=texts, params=config))
    vectors = [{"values": [float(at), 1.0]} for at, _ in enumerate(texts)]
    used = {"usageMetadata": {"promptTokenCount": 5}}
    one = {"embedding": vectors[0], **used}
    answer = json.dumps(one if len(texts) == 1 else {"embeddings": vectors, **used})
    with FaultServer() as server:
        server.on("*", lambda peer: peer.send(reply(answer.encode())))
        client = genai.Client(
            vertexai=True,
            project="mine",
            location="here",
            credentials=Credentials("token"),
            http_options={"base_url": server.url},
        )
        names = {"dimensions": "output_dimensionality", "input_type": "task_type"}
        theirs = client.models.embed_content(
            model="gemini-embedding-2",
            contents=[{"role": "user", "parts": [{"text": text}]} for text in texts],
            config={names[name]: value for name, value in config.items()},
        )
        client.close()
    (sent_by_them,) = server.requests
    assert json.loads(ours.body) == json.loads(sent_by_them.body)
    assert ours.target.rpartition("/")[2] == sent_by_them.target.rpartition("/")[2]
    read_by_us = target.embed_reply(200, {}, answer.encode())
    assert read_by_us.vectors == [one.values for one in theirs.embeddings]
    assert read_by_us.usage is not None and read_by_us.usage.prompt_tokens == 5


@pytest.mark.parametrize("name", ["google", "vertex"])
def test_what_a_text_is_embedded_for_reaches_google(name: str) -> None:
    params = {"input_type": "RETRIEVAL_QUERY"}
    request = make(name).embed(Call(kind="embed", input=["a"], params=params))
    assert b"RETRIEVAL_QUERY" in request.body and request.warnings == []


def test_googles_embeddings_may_say_what_they_used() -> None:
    body = {
        "embeddings": [{"values": [1.0, 2.0]}],
        "usageMetadata": {"promptTokenCount": 5},
    }
    reply = make("google").embed_reply(200, {}, json.dumps(body).encode())
    assert reply.usage is not None and reply.usage.prompt_tokens == 5


# -- Anthropic ----------------------------------------------------------------------

SEARCHED = [
    {"type": "text", "text": "I look. "},
    {
        "type": "server_tool_use",
        "id": "s",
        "name": "web_search",
        "input": {"query": "q"},
    },
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
    {"type": "text", "text": "Found."},
]


def test_what_anthropics_own_tools_did_goes_back_as_it_came() -> None:
    target = make("anthropic", "claude-opus-5")
    answer = {"content": SEARCHED, "stop_reason": "pause_turn"}
    reply = read(target, answer)
    assert reply.text == "I look. Found." and reply.warnings
    assert reply.choices[0].message.tool_calls is None
    _, body, _ = sent(target, again(reply))
    assert body["messages"][1] == {"role": "assistant", "content": SEARCHED}
    _, elsewhere, _ = sent(make("openai"), again(reply))
    assert elsewhere["messages"][1] == {"role": "assistant", "content": reply.text}


def test_the_input_of_anthropics_own_tools_is_no_part_of_a_call() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f"}
    own = {"type": "server_tool_use", "id": "s", "name": "web_search"}

    def piece(index: int, text: str) -> dict[str, Any]:
        delta = {"type": "input_json_delta", "partial_json": text}
        return {"type": "content_block_delta", "index": index, "delta": delta}

    chunks, last = streamed(
        make("anthropic"),
        {"type": "content_block_start", "index": 0, "content_block": use},
        piece(0, '{"a":1}'),
        {"type": "content_block_start", "index": 1, "content_block": own},
        piece(1, '{"query":"q"}'),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    )
    deltas = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
    assert "".join(d.function.arguments or "" for d in deltas) == '{"a":1}'
    assert last.choices[0].finish_reason == "tool_calls"


def test_a_stream_keeps_what_anthropics_own_tools_did() -> None:
    """Block by block, in pieces: the next turn takes it as if it had come whole."""
    cited = {"type": "web_search_result_location", "url": "u"}
    whole = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        *SEARCHED[:3],
        {"type": "text", "text": "Found.", "citations": [cited]},
    ]

    def delta(index: int, kind: str, **piece: Any) -> dict[str, Any]:
        told = {"type": kind, **piece}
        return {"type": "content_block_delta", "index": index, "delta": told}

    bare = [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {**SEARCHED[1], "input": {}},
        SEARCHED[2],
        {"type": "text", "text": ""},
    ]
    starts = [
        {"type": "content_block_start", "index": at, "content_block": block}
        for at, block in enumerate(bare)
    ]
    target = make("anthropic", "claude-opus-5")
    chunks, last = streamed(
        target,
        starts[0],
        delta(0, "thinking_delta", thinking="h"),
        delta(0, "thinking_delta", thinking="m"),
        delta(0, "signature_delta", signature="sig"),
        starts[1],
        delta(1, "text_delta", text="I "),
        delta(1, "text_delta", text="look. "),
        starts[2],
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"query"'),
        delta(2, "input_json_delta", partial_json=':"q"}'),
        starts[3],
        starts[4],
        delta(4, "citations_delta", citation=cited),
        delta(4, "text_delta", text="Found."),
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}},
    )
    assert last.warnings and last.choices[0].finish_reason == "stop"
    extra = chunks[-1].choices[0].delta.extra_content
    assert extra == {"anthropic": {"content": whole}}
    turn = {"role": "assistant", "content": "I look. Found.", "extra_content": extra}
    _, body, _ = sent(target, [*ASK, turn, {"role": "user", "content": "go on"}])
    assert body["messages"][1]["content"] == whole


def test_fast_inference_is_a_tier_of_its_own() -> None:
    used = {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard"}
    answer: dict[str, Any] = {"content": [], "stop_reason": "end_turn"}
    for speed, tier in (("fast", "fast"), ("standard", "standard"), (None, "standard")):
        answer["usage"] = {**used, "speed": speed}
        assert read(make("anthropic"), answer).service_tier == tier


# -- Bedrock ------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
JSON = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def test_newer_claudes_get_their_schema_from_converse_itself() -> None:
    _, body, warnings = sent(make("bedrock", "claude-opus-4-6"), response_format=JSON)
    told = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(told["schema"]) == SCHEMA and told["name"] == "n"
    assert warnings == [] and "toolConfig" not in body
    _, older, _ = sent(make("bedrock", "claude-3-7-sonnet"), response_format=JSON)
    assert "outputConfig" not in older and "toolConfig" in older


def test_cited_texts_and_pictures_of_converse_are_read() -> None:
    cited = {"content": [{"text": "Paris"}, {"text": "."}], "citations": [{}]}
    picture = {"format": "png", "source": {"bytes": "AAAA"}}
    own = {"toolUseId": "s", "name": "search", "input": {}, "type": "server_tool_use"}
    blocks = [{"citationsContent": cited}, {"image": picture}, {"toolUse": own}]
    answer = {"output": {"message": {"content": blocks}}, "stopReason": "end_turn"}
    message = read(make("bedrock"), answer).choices[0].message
    assert message.content == "Paris." and message.tool_calls is None
    assert message.images == [{"type": "image_url", "image_url": {"url": PNG}}]
    start = {"contentBlockIndex": 0, "start": {"toolUse": own}}
    piece = {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}
    chunks, _ = streamed(
        make("bedrock"),
        ("contentBlockStart", start),
        ("contentBlockDelta", piece),
        ("messageStop", {"stopReason": "end_turn"}),
    )
    assert chunks == []


@pytest.mark.parametrize("api", ["converse", "invoke"])
def test_bedrock_counts_tokens(api: str) -> None:
    target = make("bedrock", "claude-opus-4-6", api=api)
    request = target.count_tokens(Call(messages=ASK, params={"temperature": 0.5}))
    assert request is not None
    assert request.target == "/v1/model/claude-opus-4-6/count-tokens"
    (kind, inner), *rest = json.loads(request.body)["input"].items()
    assert rest == []
    if api == "converse":
        assert kind == "converse" and "inferenceConfig" not in inner
        assert inner["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]
    else:
        assert kind == "invokeModel"
        assert json.loads(base64.b64decode(inner["body"]))["messages"] == ASK
    assert target.counted_tokens(b'{"inputTokens": 8}') == 8


# -- the Responses API, and who else has it -----------------------------------------

HOSTS = ("groq", "deepseek", "openrouter", "xai", "vllm", "openai_compatible")


@pytest.mark.parametrize("name", HOSTS)
def test_other_hosts_speak_the_responses_api_too(name: str) -> None:
    target = make(name, "some-model", api="responses")
    system = {"role": "system", "content": "Be brief."}
    path, body, _ = sent(target, [system, *ASK], max_tokens=50, seed=1)
    assert path == "/v1/responses"
    assert body["instructions"] == "Be brief."
    text = {"type": "input_text", "text": "hi"}
    assert body["input"] == [{"role": "user", "content": [text]}]
    assert body["max_output_tokens"] == 50
    assert body.keys() & {"messages", "usage", "seed", "stream_options"} == set()
    answer = {
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "content": [{"type": "reasoning_text", "text": "hm"}],
            },
            {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]},
        ],
    }
    reply = read(target, answer)
    assert reply.text == "Hi."
    assert reply.choices[0].message.reasoning_content == "hm"


def test_each_host_keeps_its_ways_in_the_responses_api() -> None:
    xai = make("xai", "grok-4.3", api="responses")
    _, body, _ = sent(xai, reasoning_effort="low", stop="x")
    assert body["store"] is False and body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low"} and "stop" not in body
    groq = make("groq", "openai/gpt-oss-120b", api="responses")
    _, body, warnings = sent(groq, prompt_cache_key="k", reasoning_effort="xhigh")
    assert body.keys() == {"model", "input", "reasoning"} and len(warnings) == 1
    assert body["reasoning"] == {"effort": "high"}
    deepseek = make("deepseek", api="responses")
    _, body, _ = sent(deepseek, response_format=JSON, reasoning_effort="none")
    assert body["text"]["format"]["type"] == "json_schema"
    assert body["reasoning"] == {"effort": "none"} and "thinking" not in body
    azure = make("azure", "mine", base_model="gpt-5", api="responses")
    _, body, _ = sent(azure)
    assert body["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("name", ["mistral", "together"])
def test_a_host_without_the_responses_api_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="no Responses API"):
        make(name, api="responses")
    with pytest.raises(ConfigError, match='use "chat" or "responses"'):
        make("xai", api="assistants")


def test_the_responses_api_tells_probabilities() -> None:
    target = make("openai", "gpt-4o", api="responses")
    _, body, _ = sent(target, logprobs=True, top_logprobs=2)
    assert body["include"] == ["message.output_text.logprobs"]
    assert body["top_logprobs"] == 2
    told = OPENAI_LOGPROBS["content"]
    part = {"type": "output_text", "text": "Paris", "logprobs": told}
    answer = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    assert read(target, answer).choices[0].logprobs == OPENAI_LOGPROBS
    chunks, _ = streamed(
        target,
        {"type": "response.output_text.delta", "delta": "Paris", "logprobs": told},
        {"type": "response.output_text.delta", "delta": ".", "logprobs": []},
        {"type": "response.completed", "response": answer},
    )
    assert chunks[0].choices[0].logprobs == OPENAI_LOGPROBS
    assert chunks[1].choices[0].logprobs is None


def test_searches_of_the_responses_api_are_counted() -> None:
    used = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    answer = {
        "status": "completed",
        "output": [],
        "usage": used,
        "tool_usage": {"web_search": {"num_requests": 2}},
    }
    target = make("openai", api="responses")
    usage = read(target, answer).usage
    assert usage is not None and usage.web_search_requests == 2
    _, last = streamed(target, {"type": "response.completed", "response": answer})
    assert last.usage == usage


def test_pictures_that_tools_return_reach_the_responses_api() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f"}}
    shown = [{"type": "text", "text": "ok"}, {"type": "image_url", "image_url": PNG}]
    turns = [
        *ASK,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": shown},
    ]
    _, body, _ = sent(make("openai", api="responses"), turns)
    assert body["input"][-1]["output"] == [
        {"type": "input_text", "text": "ok"},
        {"type": "input_image", "image_url": PNG},
    ]


# -- OpenAI's custom tools ----------------------------------------------------------

CUSTOM = {"type": "custom", "custom": {"name": "sql", "description": "Runs SQL."}}
CUSTOM_CALL = {
    "id": "c1",
    "type": "custom",
    "custom": {"name": "sql", "input": "select 1"},
}


def check_custom(message: Message) -> list[Any]:
    (call,) = message.tool_calls or ()
    assert (call.type, call.function.name) == ("custom", "sql")
    assert call.function.arguments == "select 1"
    done = {"role": "tool", "tool_call_id": "c1", "content": "1"}
    return [*ASK, message, done]


def test_custom_tools_are_called_with_free_text_and_go_back_as_they_came() -> None:
    target = make("openai")
    message = {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]}
    reply = read(target, {"choices": [{"message": message, "finish_reason": "stop"}]})
    turns = check_custom(reply.choices[0].message)
    _, body, _ = sent(target, turns, tools=[CUSTOM])
    assert body["messages"][1]["tool_calls"] == [CUSTOM_CALL]
    assert body["tools"] == [CUSTOM]


def test_custom_tools_work_in_the_responses_api() -> None:
    target = make("openai", api="responses")
    item = {
        "type": "custom_tool_call",
        "call_id": "c1",
        "name": "sql",
        "input": "select 1",
    }
    answer = {"status": "completed", "output": [item]}
    reply = read(target, answer)
    assert reply.choices[0].finish_reason == "tool_calls"
    turns = check_custom(reply.choices[0].message)
    chosen = {"type": "custom", "custom": {"name": "sql"}}
    allowed = {"mode": "auto", "tools": [chosen]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    _, body, _ = sent(target, turns, tools=[CUSTOM], tool_choice=choice)
    assert body["tools"] == [{"type": "custom", **CUSTOM["custom"]}]  # type: ignore[dict-item]
    assert body["input"][1] == item
    done = {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"}
    assert body["input"][2] == done
    assert body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "custom", "name": "sql"}],
    }
    begun = {**item, "input": ""}
    delta = {"type": "response.custom_tool_call_input.delta", "output_index": 0}
    chunks, last = streamed(
        target,
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {**delta, "delta": "select"},
        {**delta, "delta": " 1"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": answer},
    )
    calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
    assert calls[0].type == "custom"
    assert (
        "".join(c.function.arguments or "" for c in calls if c.function) == "select 1"
    )
    assert last.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "name", ["openai", "anthropic", "google", "bedrock", "ollama", "responses"]
)
def test_a_refusal_stays_in_the_conversation_whoever_goes_on(name: str) -> None:
    api = {"api": "responses"} if name == "responses" else {}
    target = make("openai" if api else name, **api)
    turns = [
        *ASK,
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {"role": "user", "content": "Why?"},
    ]
    assert "I will not." in json.dumps(sent(target, turns)[1])


# -- hosts --------------------------------------------------------------------------


def test_efforts_and_tiers_have_each_hosts_own_names() -> None:
    _, body, _ = sent(
        make("groq", "openai/gpt-oss-20b"),
        reasoning_effort="minimal",
        service_tier="priority",
    )
    assert body["reasoning_effort"] == "low" and body["service_tier"] == "performance"
    _, body, _ = sent(make("mistral"), reasoning_effort="low", service_tier="default")
    assert body["reasoning_effort"] == "low"
    assert body["service_tier"] == "standard_only"
    _, body, warnings = sent(make("mistral"), service_tier="flex", logprobs=True)
    assert "service_tier" not in body and len(warnings) == 1 and body["logprobs"]
    _, body, _ = sent(make("xai", "grok-4.3"), reasoning_effort="low")
    assert body["reasoning_effort"] == "low"
    _, body, warnings = sent(make("xai", "grok-4-0709"), reasoning_effort="low")
    assert "reasoning_effort" not in body and warnings


def test_mistrals_vectors_are_shortened_under_its_own_name() -> None:
    call = Call(kind="embed", input=["a"], params={"dimensions": 256})
    body = json.loads(make("mistral").embed(call).body)
    assert body["output_dimension"] == 256 and "dimensions" not in body


@pytest.mark.parametrize("name", [n for n in PROVIDERS if n != "ollama"])
def test_more_than_one_answer_is_given_or_refused_never_forgotten(name: str) -> None:
    try:
        _, body, _ = sent(make(name), n=2)
    except InvalidRequestError as error:
        assert "n = 2" in str(error)
    else:
        given = body.get("n") or body["generationConfig"]["candidateCount"]
        assert given == 2


@pytest.mark.parametrize("name", [n for n in HOSTS if n != "openrouter"])
async def test_the_responses_api_of_a_host_answers_a_router(
    llm_provider: Any, name: str
) -> None:
    provider = llm_provider(name, name="a", model="m", reply="Four words are here.")
    backend = Backend(
        f"{name}/m",
        name="a",
        api_key="test-key",
        base_url=provider.base_url,
        price=Price(1, 2),
        options={"api": "responses"},
    )
    async with Router([backend]) as router:
        whole = await router.chat("a", ASK)
        chunks = [c async for c in await router.chat("a", ASK, stream=True)]
    assert whole.text == "".join(c.text for c in chunks) == "Four words are here."
    assert whole.usage == chunks[-1].usage and whole.cost == chunks[-1].cost > 0
    assert whole.choices[0].finish_reason == "stop"

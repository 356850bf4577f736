"""AWS's own client as the judge of Bedrock: what it sends, what it reads.

Both clients talk to the same server, which checks signatures. What our dialect wrote
is given to botocore as arguments, in its own types; it must find nothing unknown,
nothing missing, and send the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from exchanges import frame
from faults import FaultServer, Peer, reply

from llmbalance import Backend, Price, Router
from llmbalance._types import Call
from llmbalance.providers import dialect
from llmbalance.providers._bedrock_wire import WireUsage
from llmbalance.providers.bedrock import FINISH_REASONS

pytest.importorskip("botocore", reason="needs botocore")

CLAUDE = "us.anthropic.claude-opus-4-6-v1"
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": SCHEMA},
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA"}}
LONG: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {
        "role": "user",
        "content": [{"type": "text", "text": "See."}, PICTURE, FILE],
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    },
    {
        "role": "assistant",
        "content": "I look.",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "AAAA"},
        ],
        "tool_calls": [
            {
                "id": "t1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"q":"x"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "found", "is_error": True},
]
CALLS: list[tuple[str, Any, dict[str, Any]]] = [
    ("plain", ASK, {}),
    ("sampling", ASK, {"max_tokens": 9, "temperature": 0.5, "stop": "x"}),
    ("all kinds of turns", LONG, {"tools": [TOOL], "tool_choice": "required"}),
    ("one tool", ASK, {"tools": [TOOL], "tool_choice": TOOL}),
    ("reasoning", ASK, {"reasoning_effort": "high"}),
    ("schema", ASK, {"response_format": FORMAT}),
    ("tier and labels", ASK, {"service_tier": "priority", "metadata": {"a": 1}}),
]
ANSWER = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                {"text": "Paris."},
                {"toolUse": {"toolUseId": "t", "name": "look", "input": {"q": "x"}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {
        "inputTokens": 13,
        "outputTokens": 3,
        "totalTokens": 19,
        "cacheReadInputTokens": 2,
        "cacheWriteInputTokens": 1,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 1}],
    },
    "metrics": {"latencyMs": 5},
    "serviceTier": {"type": "priority"},
}
FRAMES = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Par"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "is."}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": ANSWER["usage"], "metrics": {"latencyMs": 5}}),
]


def serve(peer: Peer) -> None:
    if peer.request.target.endswith("count-tokens"):
        peer.send(reply(b'{"inputTokens": 8}'))
    elif peer.request.target.endswith("converse-stream"):
        body = b"".join(frame(name, json.dumps(v).encode()) for name, v in FRAMES)
        kind = "Content-Type: application/vnd.amazon.eventstream"
        peer.send(reply(body, 200, kind))
    else:
        kind = "Content-Type: application/json"
        peer.send(reply(json.dumps(ANSWER).encode(), 200, kind))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer() as server:
        server.on("*", serve)
        yield server


@pytest.fixture(scope="module")
def model() -> Any:
    """What AWS says of the service."""
    from botocore.session import get_session

    return get_session().get_service_model("bedrock-runtime")


def theirs(server: FaultServer) -> Any:
    from botocore.config import Config
    from botocore.session import get_session

    config = Config(retries={"total_max_attempts": 1})
    return get_session().create_client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=server.url,
        config=config,
    )


def ours(server: FaultServer) -> Router:
    backend = Backend(
        f"bedrock/{CLAUDE}", name="b", base_url=server.url, price=Price(3, 15)
    )
    return Router([backend])


def arguments(shape: Any, value: Any) -> Any:
    """JSON as botocore wants it said: bytes for blobs; unknown names are an error."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        assert value.keys() <= shape.members.keys(), shape.name
        return {k: arguments(shape.members[k], v) for k, v in value.items()}
    if shape.type_name == "list":
        return [arguments(shape.member, one) for one in value]
    return base64.b64decode(value) if shape.type_name == "blob" else value


@pytest.mark.parametrize(("case", "messages", "params"), CALLS)
async def test_botocore_sends_what_our_dialect_writes(
    aws: FaultServer, model: Any, case: str, messages: Any, params: dict[str, Any]
) -> None:
    async with ours(aws) as router:
        await router.chat("b", messages, **params)
        [_ async for _ in await router.chat("b", messages, stream=True, **params)]
    whole, stream = (json.loads(request.body) for request in aws.requests)
    assert whole == stream
    shape = model.operation_model("Converse").input_shape
    client = theirs(aws)
    client.converse(modelId=CLAUDE, **arguments(shape, whole))
    sent = aws.requests[-1]
    assert json.loads(sent.body) == whole, case
    assert sent.target == aws.requests[0].target
    assert sent.method == aws.requests[0].method


async def test_botocore_counts_what_our_dialect_counts(
    aws: FaultServer, model: Any
) -> None:
    async with ours(aws) as router:
        counted = await router.count_tokens("b", ASK, tools=[TOOL])
    assert (counted, counted.exact) == (8, True)
    told = json.loads(aws.requests[0].body)
    shape = model.operation_model("CountTokens").input_shape
    answer = theirs(aws).count_tokens(modelId=CLAUDE, **arguments(shape, told))
    assert answer["inputTokens"] == 8
    assert json.loads(aws.requests[-1].body) == told
    assert aws.requests[-1].target == aws.requests[0].target


async def test_botocore_reads_what_our_dialect_reads(aws: FaultServer) -> None:
    async with ours(aws) as router:
        reply = await router.chat("b", ASK)
        chunks = [c async for c in await router.chat("b", ASK, stream=True)]
    client = theirs(aws)
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    whole = client.converse(modelId=CLAUDE, messages=messages)
    blocks = whole["output"]["message"]["content"]
    message = reply.choices[0].message
    assert message.content == blocks[1]["text"]
    assert (
        message.reasoning_content
        == (blocks[0]["reasoningContent"]["reasoningText"]["text"])
    )
    (call,) = message.tool_calls or ()
    assert json.loads(call.function.arguments) == blocks[2]["toolUse"]["input"]
    assert reply.choices[0].finish_reason == FINISH_REASONS[whole["stopReason"]]
    assert reply.service_tier == whole["serviceTier"]["type"]
    used = whole["usage"]
    assert reply.usage is not None
    assert reply.usage.total_tokens == used["totalTokens"]
    assert reply.usage.cached_tokens == used["cacheReadInputTokens"]
    assert reply.usage.cache_write_1h_tokens == used["cacheDetails"][0]["inputTokens"]
    events = list(client.converse_stream(modelId=CLAUDE, messages=messages)["stream"])
    deltas = [e["contentBlockDelta"] for e in events if "contentBlockDelta" in e]
    text = "".join(delta["delta"]["text"] for delta in deltas)
    assert text == "".join(chunk.text for chunk in chunks) == "Paris."
    assert events[-1]["metadata"]["usage"] == used
    assert chunks[-1].usage == reply.usage


def test_every_reason_to_stop_that_aws_knows_is_known_here(model: Any) -> None:
    failures = {"malformed_model_output", "malformed_tool_use"}
    assert set(model.shape_for("StopReason").enum) == FINISH_REASONS.keys() | failures
    assert set(model.shape_for("ServiceTierType").enum) == {
        *("default", "flex", "priority", "reserved")
    }


def test_every_count_that_aws_tells_is_read(model: Any) -> None:
    told = set(model.shape_for("TokenUsage").members)
    read = {field.encode_name for field in _fields(WireUsage)}
    assert told == read | {"totalTokens"}


def _fields(struct: Any) -> Any:
    from msgspec.structs import fields

    return fields(struct)


def test_a_body_with_an_unknown_name_would_be_noticed(model: Any) -> None:
    target = dialect("bedrock")(
        model=CLAUDE, base_url="http://h", api_key="k", options={"region": "r"}
    )
    call = Call(messages=ASK, params={"extra_body": {"nonsense": 1}})
    shape = model.operation_model("Converse").input_shape
    with pytest.raises(AssertionError, match="ConverseRequest"):
        arguments(shape, json.loads(target.chat(call).body))

"""Recorded exchanges through the whole router: bytes over a socket, in bad pieces.

A loopback server serves what a provider once answered, byte by byte or cut anywhere;
the Router must come to the text, calls, usage, finish reason and error that the same
bytes give when they are read whole. `test_providers_recorded` holds that reading
against the native bodies. Exchanges written by hand are of the same kinds, so that
nothing here depends on recordings.
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from exchanges import Exchange, frame, told
from faults import FaultServer, Peer, chunk, head
from test_providers_recorded import INSIDE, NAMES, all_of, speaker

from llmbalance import (
    Backend,
    LLMBalanceError,
    Price,
    ProviderError,
    Router,
    StreamInterruptedError,
    Timeouts,
)
from llmbalance._errors import ProtocolError
from llmbalance._types import ChatReply

ASK = [{"role": "user", "content": "Hello?"}]
_SMALL = 3000  # bytes; larger bodies come in pieces of several bytes
# Headers that describe a framing which is not the loopback server's.
_FRAMING = ("content-length", "transfer-encoding", "content-encoding", "connection")
STREAMS = ("sse", "ndjson", "eventstream")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of attempts follow each other at once."""
    monkeypatch.setattr("llmbalance._call._walk._BACKOFF", (0.0, 0.0))


def serve(server: FaultServer, seen: Exchange, rng: random.Random) -> None:
    """Answer every request with the exchange, in awkward pieces."""
    lines = [
        f"{name}: {value}"
        for name, value in seen.headers.items()
        if name not in _FRAMING and value.isascii() and name.isascii()
    ]

    def route(peer: Peer) -> None:
        peer.send(head(seen.status, *lines, chunked=True))
        at, body = 0, seen.body
        sizes = (1,) if len(body) <= _SMALL else (1, 2, 7, 61, 997, 4001)
        while at < len(body):
            size = rng.choice(sizes)
            peer.send(chunk(body[at : at + size]))
            at += size
        peer.send(b"0\r\n\r\n")

    server.on("*", route)


def router_to(server: FaultServer, seen: Exchange) -> Router:
    name = NAMES.get(seen.provider, seen.provider)
    options: dict[str, Any] = {"region": "r", "project": "p", "api_version": "2024-02"}
    if seen.url.endswith("/responses"):
        name, options["api"] = "openai", "responses"
    backend = Backend(
        f"{name}/m",
        name="b",
        api_key="k",
        base_url=server.url,
        price=Price(1, 2),
        options=options,
    )
    return Router([backend], timeouts=Timeouts(total=20), seed=1)


def directly(seen: Exchange) -> Any:
    """What the dialect makes of the whole bytes: an answer, a story or an error."""
    target = speaker(seen)
    if seen.status >= 400:
        return target.failure(seen.status, seen.headers, seen.body)
    try:
        if seen.kind == "json":
            return target.chat_reply(seen.status, seen.headers, seen.body)
        return told(target, seen.events())
    except ProviderError as error:
        return error


def calls_of(reply: ChatReply) -> list[tuple[str, Any]]:
    return [
        (call.function.name, json.loads(call.function.arguments))
        for call in reply.tool_calls
    ]


async def check(server: FaultServer, seen: Exchange, rng: random.Random) -> None:
    serve(server, seen, rng)
    expected = directly(seen)
    stream = seen.kind in STREAMS
    if seen.status >= 400:
        for streamed in (False, True):
            async with router_to(server, seen) as router:
                await check_failure(router, seen, expected.kind, stream=streamed)
        return
    async with router_to(server, seen) as router:
        if isinstance(expected, ProviderError):
            await check_failure(router, seen, expected.kind, stream=stream)
        elif stream:
            await check_stream(router, seen, expected)
        else:
            await check_answer(router, seen, expected)
        assert router.stats()["backends"]["b"]["in_flight"] == 0


async def check_failure(
    router: Router, seen: Exchange, kind: str, *, stream: bool
) -> None:
    with pytest.raises(LLMBalanceError) as caught:
        answer = await router.chat("b", ASK, stream=stream, wait=False, timeout=20)
        if stream:
            [chunk async for chunk in answer]
    error = caught.value
    if isinstance(error, StreamInterruptedError):  # something was delivered before
        assert isinstance(error.__cause__, ProviderError), seen.name
        error = error.__cause__
    assert isinstance(error, ProviderError), (seen.name, error)
    assert error.kind == kind, seen.name
    assert "Bearer k" not in str(error)


async def check_answer(router: Router, seen: Exchange, expected: ChatReply) -> None:
    reply = await router.chat("b", ASK)
    assert reply.text == expected.text, seen.name
    assert reply.usage == expected.usage, seen.name
    assert calls_of(reply) == calls_of(expected), seen.name
    reasons = [choice.finish_reason for choice in reply.choices]
    assert reasons == [choice.finish_reason for choice in expected.choices], seen.name
    assert reply.raw_body == seen.body, seen.name
    if expected.usage is not None:
        assert reply.cost_nano_usd is not None


async def check_stream(router: Router, seen: Exchange, story: Any) -> None:
    chunks = [c async for c in await router.chat("b", ASK, stream=True)]
    last = chunks[-1]
    assert "".join(c.text for c in chunks) == story.text, seen.name
    assert last.choices[0].finish_reason == story.reason, seen.name
    assert last.usage == story.last.usage, seen.name
    got = story._replace(chunks=chunks[:-1]).calls
    assert got == story.calls, seen.name


async def test_every_recorded_exchange_survives_the_wire(recorded: Path) -> None:
    rng = random.Random(3)
    exchanges = [one for one in all_of(recorded) if one.kind != "other"]
    assert len(exchanges) >= 100
    with FaultServer() as server:
        for one in exchanges:
            await asyncio.wait_for(check(server, one, rng), 30)


@pytest.mark.parametrize("name", INSIDE)
async def test_recorded_errors_inside_a_200_come_out(recorded: Path, name: str) -> None:
    one = next(e for e in all_of(recorded) if e.name == name)
    assert isinstance(directly(one), ProviderError)
    with FaultServer() as server:
        await check(server, one, random.Random(1))


# -- the same kinds, written by hand ---------------------------------------------


def own(
    provider: str, kind: str, body: bytes, status: int = 200, path: str = "/chat"
) -> Exchange:
    url = f"https://host{path}"
    return Exchange(provider, provider, url, status, kind, {}, body, None)


def sse_of(*values: Any, done: bool = False, names: bool = False) -> bytes:
    lines = []
    for value in values:
        if names:
            lines.append(f"event: {value['type']}\n")
        lines.append(f"data: {json.dumps(value, ensure_ascii=False)}\n\n")
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def openai_chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


def google_part(part: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}}
    if reason:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5}
    return {"candidates": [candidate], "usageMetadata": usage}


OPENAI_CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Zürich 東京"}'},
}
CLAUDE_START = {
    "type": "message_start",
    "message": {"id": "m", "model": "c", "usage": {"input_tokens": 9}},
}
CLAUDE_TEXT = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Grüezi, 東京!"},
}
CLAUDE_END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 4},
}
CONVERSE = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Grüezi"}}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}),
]
GOOGLE_ERROR = json.dumps(
    {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
    indent=2,
)
OWN = {
    "an OpenAI answer with a call": own(
        "openai",
        "json",
        json.dumps(
            {
                "id": "c",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "tool_calls": [OPENAI_CALL]},
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
            }
        ).encode(),
    ),
    "an OpenAI stream with a call": own(
        "openai",
        "sse",
        sse_of(
            openai_chunk(role="assistant", content="Grüezi "),
            openai_chunk(tool_calls=[OPENAI_CALL]),
            openai_chunk("tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
            done=True,
        ),
    ),
    "a stream with an error inside": own(
        "groq",
        "sse",
        sse_of(openai_chunk(content="So"), {"error": {"message": "boom", "code": 500}}),
    ),
    "a Claude stream": own(
        "anthropic",
        "sse",
        sse_of(
            CLAUDE_START, CLAUDE_TEXT, CLAUDE_END, {"type": "message_stop"}, names=True
        ),
    ),
    "a Claude stream that is overloaded": own(
        "anthropic",
        "sse",
        sse_of(
            CLAUDE_START,
            {"type": "error", "error": {"type": "overloaded_error", "message": "o"}},
            names=True,
        ),
    ),
    "a Google stream": own(
        "google",
        "sse",
        sse_of(
            google_part({"text": "Grüezi"}),
            google_part({"functionCall": {"name": "f", "args": {"a": 1}}}, "STOP"),
        ),
    ),
    "a Google stream whose error has no data": own(
        "google",
        "sse",
        sse_of(google_part({"text": "So"})) + GOOGLE_ERROR.encode() + b"\n",
    ),
    "a Google stream whose error comes after its end": own(
        "google",
        "sse",
        sse_of(google_part({"text": "So"}, "STOP")) + GOOGLE_ERROR.encode() + b"\n",
    ),
    "a Google stream whose error ends without a line end": own(
        "google",
        "sse",
        sse_of(google_part({"text": "So"})) + GOOGLE_ERROR.encode(),
    ),
    "a Converse stream": own(
        "bedrock",
        "eventstream",
        b"".join(frame(name, json.dumps(v).encode()) for name, v in CONVERSE),
    ),
    "a Converse stream that is throttled": own(
        "bedrock",
        "eventstream",
        frame("throttlingException", b'{"message":"slow down"}', "exception"),
    ),
    "an Ollama stream": own(
        "ollama",
        "ndjson",
        b'{"message":{"content":"Gr\xc3\xbc"},"done":false}\n'
        b'{"message":{"content":"ezi"},"done":true,"done_reason":"stop",'
        b'"prompt_eval_count":4,"eval_count":2}\n',
    ),
    "a refused key": own(
        "openai",
        "json",
        b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}',
        401,
    ),
    "too long a prompt": own(
        "anthropic",
        "json",
        b'{"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"prompt is too long: 210000 tokens > 200000 maximum"}}',
        400,
    ),
    "an outage": own("google", "json", b"<html>Bad gateway</html>", 502),
}


@pytest.mark.parametrize("what", OWN)
@pytest.mark.parametrize("seed", [1, 2])
async def test_what_was_written_by_hand_survives_the_wire(what: str, seed: int) -> None:
    with FaultServer() as server:
        await check(server, OWN[what], random.Random(seed))


@pytest.mark.parametrize(
    "what", [name for name, one in OWN.items() if one.kind == "sse"]
)
async def test_a_stream_that_is_cut_is_never_taken_for_whole(what: str) -> None:
    """Cut after each event: an error, or what was finished before the cut."""
    whole = OWN[what]
    pieces = whole.body.split(b"\n\n")
    with FaultServer() as server:
        for count in range(len(pieces) - 1):
            body = b"".join(piece + b"\n\n" for piece in pieces[:count])
            cut = whole._replace(body=body)
            expected = directly(cut)
            serve(server, cut, random.Random(count))
            async with router_to(server, cut) as router:
                if isinstance(expected, ProtocolError | ProviderError):
                    await check_failure(router, cut, expected.kind, stream=True)
                else:
                    await check_stream(router, cut, expected)

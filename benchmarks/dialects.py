"""What a dialect costs: writing a call and reading its answer, per provider.

    python benchmarks/dialects.py [--json FILE]

Cases: a chat of 1 kB, the same with tools, streams by the event, and how time grows
with the size of the prompt and the number of messages. Best of several repeats, in
one process, nothing sent. ``OPENAI_API_VERSION`` and the like are not looked at.
"""

from __future__ import annotations

import argparse
import base64
import json
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmbalance._types import Call
from llmbalance.providers import PROVIDERS, Dialect, dialect

Row = dict[str, Any]
TEXT = "The quick brown fox jumps over the lazy dog and runs on. " * 5
SETTINGS: dict[str, Any] = {
    "base_url": "http://127.0.0.1:1",
    "api_key": "none",
    "options": {"region": "here", "project": "mine", "api_version": "v1"},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{i}",
            "description": "Looks something up.",
            "parameters": {
                "type": "object",
                "properties": {"q": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["q"],
            },
        },
    }
    for i in range(4)
]


def row(case: str, subject: str, metric: str, value: float, unit: str) -> Row:
    return {
        "bench": "dialects",
        "case": case,
        "subject": subject,
        "metric": metric,
        "value": round(value, 3),
        "unit": unit,
    }


def best(call: Callable[[], object], target: float = 0.03) -> float:
    """Seconds of one call: the best of seven repeats of about *target* seconds."""
    once = max(timeit.timeit(call, number=3) / 3, 1e-8)
    number = max(1, int(target / once))
    return min(timeit.repeat(call, number=number, repeat=7)) / number


def chat(messages: int = 4, size: int = 250) -> Call:
    text = (TEXT * (size // len(TEXT) + 1))[:size]
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i in range(messages - 1)]
    return Call(
        messages=[{"role": "system", "content": text}, *turns],
        params={"max_tokens": 200, "temperature": 0.5},
    )


def answers(name: str, *, tools: bool) -> bytes:
    """A plain answer of *name* in its own shape, with a tool call when asked for."""
    arguments = {"q": "what", "n": 3}
    if name == "anthropic":
        block = {"type": "tool_use", "id": "toolu_1", "name": "tool_1"}
        content = [{"type": "text", "text": TEXT}]
        content += [{**block, "input": arguments}] if tools else []
        usage = {"input_tokens": 250, "output_tokens": 60, "service_tier": "standard"}
        value: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": content,
            "stop_reason": "tool_use" if tools else "end_turn",
            "usage": usage,
        }
    elif name in ("google", "vertex"):
        parts: list[Any] = [{"text": TEXT}]
        parts += [{"functionCall": {"name": "t", "args": arguments}}] if tools else []
        value = {
            "candidates": [
                {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
            ],
            "usageMetadata": {"promptTokenCount": 250, "candidatesTokenCount": 60},
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r1",
        }
    elif name == "bedrock":
        use = {"toolUseId": "t1", "name": "tool_1", "input": arguments}
        blocks: list[Any] = [{"text": TEXT}] + ([{"toolUse": use}] if tools else [])
        value = {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": "tool_use" if tools else "end_turn",
            "usage": {"inputTokens": 250, "outputTokens": 60, "totalTokens": 310},
        }
    elif name == "ollama":
        calls = [{"function": {"name": "tool_1", "arguments": arguments}}]
        message = {"role": "assistant", "content": TEXT}
        value = {
            "model": "llama3",
            "message": {**message, "tool_calls": calls} if tools else message,
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 250,
            "eval_count": 60,
        }
    else:
        function = {"name": "tool_1", "arguments": json.dumps(arguments)}
        call = {"id": "call_1", "type": "function", "function": function}
        message = {"role": "assistant", "content": TEXT}
        told: Any = {**message, "tool_calls": [call]} if tools else message
        value = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "gpt-4o",
            "choices": [{"index": 0, "message": told, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 250,
                "completion_tokens": 60,
                "total_tokens": 310,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }
    return json.dumps(value, separators=(",", ":")).encode()


def piece(name: str) -> tuple[str, bytes]:
    """One event that carries one token."""
    value: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": " fox"}, "finish_reason": None}],
    }
    event = ""
    if name == "anthropic":
        delta = {"type": "text_delta", "text": " fox"}
        value = {"type": "content_block_delta", "index": 0, "delta": delta}
    elif name in ("google", "vertex"):
        content = {"role": "model", "parts": [{"text": " fox"}]}
        value = {"candidates": [{"content": content, "index": 0}]}
    elif name == "bedrock":
        event, value = (
            "contentBlockDelta",
            {"contentBlockIndex": 0, "delta": {"text": " fox"}},
        )
    elif name == "ollama":
        value = {"model": "m", "message": {"content": " fox"}, "done": False}
    return event, json.dumps(value, separators=(",", ":")).encode()


def make(name: str) -> Dialect:
    model = "claude-sonnet-4-5" if name in ("anthropic", "bedrock") else "gpt-4o"
    return dialect(name)(model=model, **SETTINGS)


def per_call() -> Iterator[Row]:
    headers = {"x-request-id": "r", "content-type": "application/json"}
    plain = chat()
    params = {**plain.params, "tools": TOOLS, "tool_choice": "auto"}
    with_tools = Call(messages=plain.messages, params=params)
    for name in PROVIDERS:
        target = make(name)
        for case, call in (("chat of 1 kB", plain), ("with 4 tools", with_tools)):
            body = answers(name, tools=call is with_tools)
            written = best(lambda t=target, c=call: t.chat(c))
            read = best(lambda t=target, b=body: t.chat_reply(200, headers, b))
            yield row(case, name, "write", written * 1e6, "us")
            yield row(case, name, "read", read * 1e6, "us")
            yield row(case, name, "write + read", (written + read) * 1e6, "us")
        event, data = piece(name)
        reader = target.stream()
        spent = best(lambda r=reader, e=event, d=data: r.feed(e, d))
        yield row("stream", name, "read one token", spent * 1e6, "us")


def growth() -> Iterator[Row]:
    """Time per unit must stay level: nothing may be quadratic."""
    image = base64.b64encode(bytes(750_000)).decode()
    url = {"url": f"data:image/png;base64,{image}"}
    picture = {"type": "image_url", "image_url": url}
    seen = [{"role": "user", "content": [{"type": "text", "text": "?"}, picture]}]
    for name in ("openai", "anthropic", "google", "bedrock", "ollama"):
        target = make(name)
        for size in (10_000, 100_000, 1_000_000):
            call = chat(2, size // 2)
            spent = best(lambda t=target, c=call: t.chat(c))
            each = spent * 1e9 / size
            yield row(f"prompt of {size} bytes", name, "write, per byte", each, "ns")
        for count in (10, 100, 1000):
            call = chat(count, 100)
            spent = best(lambda t=target, c=call: t.chat(c))
            each = spent * 1e6 / count
            yield row(f"{count} messages", name, "write, per message", each, "us")
        call = Call(messages=seen)
        spent = best(lambda t=target, c=call: t.chat(c))
        yield row("image of 1 MB", name, "write", spent * 1e6, "us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    rows = [*per_call(), *growth()]
    for line in rows:
        print(
            f"{line['case']:<24} {line['subject']:<18} {line['metric']:<20}"
            f"{line['value']:>10.2f} {line['unit']}"
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

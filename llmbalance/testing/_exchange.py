"""What a mock provider is asked, and what its model answers.

The dialects translate both ways between these and the wire; the provider works on them
alone:   wire -> Ask -> [Reply, ...] + Usage -> wire
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._words import Prose, clip, count, example

FINISH = ("stop", "length", "tool_calls", "content_filter")
_REPLY_KEYS = frozenset(
    ("text", "tool_calls", "finish_reason", "reasoning", "cached_tokens")
)


@dataclass(slots=True)
class Tool:
    """A tool offered by the caller."""

    name: str
    schema: Any = None


@dataclass(slots=True)
class Ask:
    """One request, in the words of no provider in particular."""

    kind: str  # chat | embed | count | models | health
    model: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    prompt: str = ""  # text of the last user message
    text_bytes: int = 0  # UTF-8 bytes of all text, system and tools included
    text_chars: int = 0
    messages: int = 0
    images: int = 0
    max_tokens: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    must_call: str | None = None  # "" = any tool, a name = this one, None = free
    wants_json: bool = False
    schema: Any = None  # JSON schema of the answer
    include_usage: bool = True  # a stream ends with usage
    inputs: tuple[str, ...] = ()  # texts to embed
    prefixes: tuple[str, ...] = ()  # texts in order, for the prompt cache
    cache_marked: bool = False  # the caller asked for prompt caching
    form: str = ""  # which of the vendor's APIs was called, "" = the usual one

    def read(self, text: str) -> None:
        """Count a piece of prompt."""
        self.text_chars += len(text)
        self.text_bytes += len(text) if text.isascii() else len(text.encode())


@dataclass(slots=True)
class Call:
    """A tool call of the model."""

    name: str
    arguments: str  # JSON text


@dataclass(slots=True)
class Reply:
    """One answer (one choice)."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    reasoning: str = ""
    stop_sequence: str | None = None
    tokens: int = 0  # everything produced: reasoning, text, calls
    reasoning_tokens: int = 0


@dataclass(slots=True)
class Usage:
    """Tokens of one exchange; `input` includes what came from or went to the cache."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(slots=True)
class Refused(Exception):
    """A request that the provider answers with an error of its own.

    `kind`: bad_request | auth | auth_missing | not_found | no_route | context |
    too_large | overloaded | concurrency | server
    """

    kind: str
    message: str = ""
    param: str | None = None
    status: int | None = None  # only for kind "server": any status
    form: str = ""  # the API that was called, as in Ask

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


ReplyLike = str | Mapping[str, Any]
Scripted = ReplyLike | Callable[[Ask], ReplyLike | None] | None


class Model:
    """The scripted model: turns an Ask into Replies, deterministically by seed."""

    def __init__(
        self, seed: int, scripted: Scripted, length: Callable[[Ask, int], int]
    ) -> None:
        self._prose = Prose(seed)
        self._scripted = scripted
        if scripted is not None and not callable(scripted):
            _scripted_reply(scripted)  # a mistake shows before the first request
        self._length = length

    def answer(self, ask: Ask, number: int) -> tuple[list[Reply], int | None]:
        """The replies to request `number`, and the cached tokens if scripted."""
        said: ReplyLike | None
        said = self._scripted(ask) if callable(self._scripted) else self._scripted
        if said is None:
            return [self._own(ask, number + i) for i in range(ask.n)], None
        reply, cached = _scripted_reply(said)
        _limit(reply, ask)
        return [reply] * ask.n, cached

    def _own(self, ask: Ask, number: int) -> Reply:
        if ask.must_call is not None and ask.tools:
            chosen = [t for t in ask.tools if t.name == ask.must_call] or [ask.tools[0]]
            arguments = _compact(_fitting(chosen[0].schema) or {})
            reply = Reply(calls=(Call(chosen[0].name, arguments),), finish="tool_calls")
        elif ask.wants_json:
            value = {"answer": "yes"} if ask.schema is None else _fitting(ask.schema)
            reply = Reply(_compact(value))
        else:
            wanted = self._length(ask, number)
            if ask.max_tokens is not None and wanted > ask.max_tokens:
                reply = Reply(self._prose.text(number, ask.max_tokens), finish="length")
            else:
                reply = Reply(self._prose.text(number, wanted))
        _limit(reply, ask)
        return reply


def _fitting(schema: Any) -> Any:
    try:
        return example(schema)
    except (AttributeError, TypeError, KeyError, ValueError) as exc:
        raise Refused("bad_request", f"Invalid schema: {exc}") from None


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _scripted_reply(said: ReplyLike) -> tuple[Reply, int | None]:
    if isinstance(said, str):
        return Reply(said), None
    if not isinstance(said, Mapping):
        raise TypeError(f"reply must be a str, a dict or a callable, not {said!r}")
    unknown = set(said) - _REPLY_KEYS
    if unknown:
        raise ValueError(
            f"reply has unknown keys {sorted(unknown)}: use {sorted(_REPLY_KEYS)}"
        )
    calls = tuple(_call(c) for c in said.get("tool_calls") or ())
    finish = said.get("finish_reason") or ("tool_calls" if calls else "stop")
    if finish not in FINISH:
        raise ValueError(f"reply finish_reason={finish!r}: choose one of {FINISH}")
    reply = Reply(
        said.get("text") or "", calls, finish, reasoning=said.get("reasoning") or ""
    )
    return reply, said.get("cached_tokens")


def _call(said: Mapping[str, Any]) -> Call:
    arguments = said.get("arguments", {})
    if "name" not in said:
        raise ValueError(f"reply tool_calls entry {dict(said)!r} needs a 'name'")
    return Call(
        said["name"], arguments if isinstance(arguments, str) else _compact(arguments)
    )


def _limit(reply: Reply, ask: Ask) -> None:
    """Apply stop sequences and max_tokens, then count what was produced."""
    for stop in ask.stop:
        at = reply.text.find(stop) if stop else -1
        if at >= 0:
            reply.text, reply.stop_sequence = reply.text[:at], stop
            reply.finish, reply.calls = "stop", ()
    reply.reasoning_tokens = count(reply.reasoning)
    left = None if ask.max_tokens is None else ask.max_tokens - reply.reasoning_tokens
    if left is not None and left < count(reply.text):
        reply.text, reply.calls, reply.finish = clip(reply.text, left), (), "length"
    called = sum(count(c.name) + count(c.arguments) for c in reply.calls)
    reply.tokens = reply.reasoning_tokens + count(reply.text) + called

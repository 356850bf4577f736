"""Streams in numbered blocks, as Anthropic and Bedrock send them.

start of a block    a tool and its name, or nothing to tell yet
pieces              of text, of a tool's arguments, of a thought
end of a block      arguments that never came are ``{}``; a thought is signed
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from .._types import ChatChunk, Delta, FunctionDelta, ToolCallDelta
from ._anthropic_request import JSON_TOOL
from ._base import Dialect, StreamReader
from ._reasons import ended


class BlockStream(StreamReader):
    """Keeps what is known of the blocks of one answer."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._tools: dict[int, int] = {}  # block -> number of its tool call
        self._json_blocks: set[int] = set()  # blocks of the forced JSON tool
        self._untouched: set[int] = set()  # tool calls that got no arguments yet
        self._thoughts: dict[int, list[str]] = {}  # block -> pieces of its thought

    def tool(self, index: int, identity: str | None, name: str) -> list[ChatChunk]:
        """A block begins in which a tool is called."""
        if name == JSON_TOOL:
            self._json_blocks.add(index)
            return []
        number = self._tools[index] = len(self._tools)
        self._untouched.add(index)
        call = ToolCallDelta(number, identity, FunctionDelta(name, ""), "function")
        return self.add(Delta(tool_calls=[call]))

    def arguments(self, index: int, piece: str | None) -> list[ChatChunk]:
        """More of a tool's arguments; nothing for tools that run at the provider."""
        if not piece:
            return []
        if index in self._json_blocks:
            return self.add(Delta(piece))
        if index not in self._tools:
            return []
        self._untouched.discard(index)
        call = ToolCallDelta(self._tools[index], None, FunctionDelta(None, piece))
        return self.add(Delta(tool_calls=[call]))

    def thought(self, index: int, text: str) -> list[ChatChunk]:
        """More of a thought."""
        self._thoughts.setdefault(index, []).append(text)
        return self.add(Delta(reasoning_content=text))

    def signed(self, index: int, signature: str | None) -> list[ChatChunk]:
        """A thought is whole: what goes back in the next turn."""
        text = "".join(self._thoughts.pop(index, ()))
        return self.add(Delta(thinking_blocks=[thinking_block(text, signature)]))

    def stop(self, index: int) -> list[ChatChunk]:
        """A block ends; a tool without arguments got "", which is no JSON."""
        return self.arguments(index, "{}") if index in self._untouched else []

    def finish(
        self, said: str, known: Mapping[str, str], failures: Container[str] = ()
    ) -> None:
        """The answer ends; calling the tool that carries JSON is no call."""
        reason = ended(
            self.dialect,
            said,
            known,
            failures,
            self.warnings,
            came=self._started,
            called=bool(self._tools),
        )
        called = reason == "tool_calls"
        self.reasons[0] = "stop" if called and not self._tools else reason


def thinking_block(text: str | None, signature: str | None) -> dict[str, Any]:
    """A thought as it travels in ``Message.thinking_blocks``."""
    return {"type": "thinking", "thinking": text or "", "signature": signature or ""}

"""Answers in which tools of Anthropic's own took part, such as web search.

Their blocks stand between those of the text, and must go back in that order when the
conversation goes on (a paused turn does not continue without them). So the content of
such an answer travels whole, in ``Message.extra_content["anthropic"]["content"]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import _messages
from ._anthropic_wire import WireDelta
from ._bodies import decode_object

# Blocks that a Message has places for.
USUAL = frozenset(("text", "tool_use", "thinking", "redacted_thinking"))


def content_of(body: bytes) -> dict[str, Any]:
    """The content of a complete answer, as ``extra_content`` carries it."""
    return {"anthropic": {"content": decode_object(body)["content"]}}


def content_in(
    starts: Iterable[tuple[int, bytes]], deltas: Iterable[tuple[int, WireDelta]]
) -> dict[str, Any]:
    """The same of a stream: ``starts`` are the events that begin blocks."""
    blocks = {index: decode_object(data)["content_block"] for index, data in starts}
    pieces: dict[tuple[int, str], list[str]] = {}
    for index, delta in deltas:
        if index not in blocks:
            continue
        for name in ("text", "thinking", "signature", "partial_json"):
            piece = getattr(delta, name)
            if piece:
                pieces.setdefault((index, name), []).append(piece)
        if delta.citation is not None:
            cited = blocks[index].get("citations") or []
            blocks[index]["citations"] = [*cited, delta.citation]
    for (index, name), found in pieces.items():
        text = "".join(found)
        if name == "partial_json":
            made = {"function": {"arguments": text}}  # cut off, it is no JSON
            blocks[index]["input"] = _messages.arguments_of(made)
        else:
            blocks[index][name] = text
    return {"anthropic": {"content": [blocks[index] for index in sorted(blocks)]}}

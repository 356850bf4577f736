"""How an answer ended, always in one of OpenAI's four words.

    the provider's word
      known              stop, length, tool_calls or content_filter
      known as a failure an error: another backend may do better
      unknown            something came: "stop" or "tool_calls", told in the warnings
                         nothing came: an error as well

So code that compares with the four words stays right when a provider finds a fifth,
which still stands in ``reply.raw``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from .._types import Message
from ._base import Dialect


def ended(
    dialect: Dialect,
    said: str,
    known: Mapping[str, str],
    failures: Container[str],
    warnings: list[str],
    *,
    came: bool,
    called: bool,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Return one of the four words; raises where the word tells of a failure.

    ``came``: whether there is any answer; ``called``: whether a tool is called in it;
    ``detail``: what the provider says of a failure.
    """
    reason = known.get(said)
    if reason is not None:
        return reason
    if said in failures or not (came or called):
        message = detail or f"the answer ended with {said}"
        error = {"message": message, "code": said, "type": "tool_use_failed"}
        raise dialect.error_inside(headers or {}, {"error": error})
    reason = "tool_calls" if called else "stop"
    warnings.append(f"the answer ended with {said!r}, which is read as {reason!r}")
    return reason


def is_something(message: Message) -> bool:
    """Whether a message has anything in it for the caller."""
    parts: tuple[Any, ...] = (
        *(message.content, message.tool_calls, message.refusal, message.audio),
        *(message.reasoning_content, message.images, message.thinking_blocks),
    )
    return any(parts)

"""Which conversation is this? A key from how it begins.

A conversation grows at its end and keeps its beginning: instructions and the first
message of the user. Calls that begin alike share a provider's prompt cache, whether
they are one conversation or not, so this is the key of ``Router(auto_session=True)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._hash import stable_hash
from ._rules import text_of

_HEAD = 2000  # characters of each message that tell it from others


def session_of(model: str, messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the key of a conversation: the messages up to the first of the user."""
    parts = [model]
    for message in messages:
        text = text_of(message.get("content"))
        parts += (str(message.get("role")), str(len(text)), text[:_HEAD])
        if message.get("role") == "user":
            break
    return stable_hash(*parts)

"""What becomes of a complete answer before the caller gets it.

    text of every choice --postprocess steps--> text --response_format type--> parsed

Steps make the answers of different models look alike; a type turns them into objects.
Streams are handed on as they come: no step touches them, only their end is parsed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._errors import ConfigError, ServerError

if TYPE_CHECKING:
    from ._types import ChatReply

Step = Callable[[str], str]
STEPS = ("trim", "strip_fences")


def read_steps(given: Iterable[str | Step]) -> tuple[Step, ...]:
    """Return post-processing steps as functions; ConfigError for what is none."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError("postprocess", given, 'give a list such as ["trim"]')
    return tuple(_step(step) for step in given)


def _step(step: str | Step) -> Step:
    if callable(step):
        return functools.partial(_checked, step)
    if step not in STEPS:
        known = ", ".join(STEPS)
        raise ConfigError("postprocess", step, f"give one of {known}, or a function")
    from .providers import _structured  # its regular expression takes a while

    named: Step = getattr(_structured, step)
    return named


def _checked(step: Step, text: str) -> str:
    result = step(text)
    if not isinstance(result, str):
        raise ConfigError("postprocess", step, f"it must return a text, not {result!r}")
    return result


def shape(reply: ChatReply, steps: tuple[Step, ...], wanted: type[Any] | None) -> None:
    """Tidy the texts of a reply, and read them as ``wanted``, in place.

    Raises ServerError of kind "malformed" when a text is no such object, and whatever
    a step raises: a ServerError of that kind sends the call to another backend.
    """
    for choice in reply.choices:
        message = choice.message
        if message.content:
            for step in steps:
                message.content = step(message.content)
        refused = message.refusal or message.tool_calls
        if wanted is not None and not refused:
            message.parsed = parsed(wanted, message.content, choice.finish_reason)


def parsed(wanted: type[Any], text: str | None, finish_reason: str | None) -> Any:
    """Return the object in an answer; None where the provider filtered it away.

    Raises ServerError of kind "malformed" when the text is no such object.
    """
    if finish_reason == "content_filter":
        return None
    from .providers._structured import parse

    try:
        return parse(wanted, text or "")
    except ServerError as error:
        if finish_reason != "length":
            raise
        raise ServerError(
            f"the answer reached its token limit before {wanted.__name__} was whole;"
            " raise max_tokens",
            status=200,
            kind="malformed",
        ) from error

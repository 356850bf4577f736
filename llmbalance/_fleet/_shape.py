"""What becomes of an answer's text before the caller gets it.

    text of every choice --postprocess steps--> text --response_format type--> parsed

Steps make the answers of different models look alike; a type turns them into objects.
A backend's steps come first, then its group's, then the router's. Streams are handed
on as they come unless the call asks for the steps (``postprocess=True``); then only
steps that can work on pieces may be there: see ``_steps.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError, ServerError
from .._types import ChunkChoice, Delta

if TYPE_CHECKING:
    from .._steps import Chain
    from .._types import ChatChunk, ChatReply

Step = Callable[[str], str]
STEPS = ("trim", "strip_fences")


class Shaping:
    """One step of ``postprocess``: a function, and what does the same to a stream.

    ``stream`` makes an object with ``feed(piece) -> text`` and ``end() -> text``;
    None: the step needs the whole text.
    """

    __slots__ = ("name", "stream", "whole")

    def __init__(self, given: str | Step) -> None:
        self.name = given if isinstance(given, str) else _name_of(given)
        self.whole: Step
        self.stream: Callable[[], Any] | None
        if callable(given):
            self.whole = functools.partial(_checked, given)
            self.stream = getattr(given, "stream", None)
        elif given in STEPS:
            from .._steps import NAMED  # its regular expressions take a while

            self.whole, self.stream = NAMED[given]
        else:
            known = ", ".join(STEPS)
            raise ConfigError(
                "postprocess", given, f"give one of {known}, or a function"
            )


def _name_of(step: object) -> str:
    return getattr(step, "__name__", type(step).__name__)


def read_steps(given: Iterable[str | Step]) -> tuple[Shaping, ...]:
    """Return post-processing steps as they are done; ConfigError for what is none."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError("postprocess", given, 'give a list such as ["trim"]')
    return tuple(Shaping(step) for step in given)


def _checked(step: Step, text: str) -> str:
    result = step(text)
    if not isinstance(result, str):
        raise ConfigError("postprocess", step, f"it must return a text, not {result!r}")
    return result


def shape(
    reply: ChatReply, steps: tuple[Shaping, ...], wanted: type[Any] | None
) -> None:
    """Tidy the texts of a reply, and read them as ``wanted``, in place.

    Raises ServerError of kind "malformed" when a text is no such object, and whatever
    a step raises: a ServerError of that kind sends the call to another backend.
    """
    for choice in reply.choices:
        message = choice.message
        if message.content:
            for step in steps:
                message.content = step.whole(message.content)
        refused = message.refusal or message.tool_calls
        if wanted is not None and not refused:
            message.parsed = parsed(wanted, message.content, choice.finish_reason)


def parsed(wanted: type[Any], text: str | None, finish_reason: str | None) -> Any:
    """Return the object in an answer; None where the provider filtered it away.

    Raises ServerError of kind "malformed" when the text is no such object.
    """
    if finish_reason == "content_filter":
        return None
    from ..providers._structured import parse

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


class StreamShaper:
    """Does the steps to the texts of one streamed answer, choice by choice."""

    def __init__(self, steps: tuple[Shaping, ...]) -> None:
        self._steps = steps
        self._chains: dict[int, Chain] = {}
        self._said: list[str] = []  # of the first choice
        self._role: set[int] = set()  # choices whose role was not handed on yet

    @property
    def text(self) -> str:
        """What was handed on of the first choice."""
        return "".join(self._said)

    def feed(self, chunks: list[ChatChunk]) -> list[ChatChunk]:
        """Return the chunks with their texts tidied, less those left empty."""
        for chunk in chunks:
            chunk.choices = [c for c in chunk.choices if self._keep(c)]
        return [chunk for chunk in chunks if chunk.choices]

    def _keep(self, choice: ChunkChoice, *, tidy: bool = True) -> bool:
        delta = choice.delta
        if delta.content and tidy:
            delta.content = self._tidy(choice.index, delta.content) or None
        if delta.role is not None:
            self._role.add(choice.index)
            delta.role = None
        kept = choice.logprobs is not None or any(
            getattr(delta, name) for name in delta.__struct_fields__
        )
        if kept and choice.index in self._role:
            self._role.remove(choice.index)
            delta.role = "assistant"
        return kept

    def _tidy(self, index: int, piece: str) -> str:
        chain = self._chains.get(index)
        if chain is None:
            from .._steps import Chain

            made = [step.stream() for step in self._steps if step.stream is not None]
            chain = self._chains[index] = Chain(made)
        return self._say(index, chain.feed(piece))

    def _say(self, index: int, text: str) -> str:
        if index == 0 and text:
            self._said.append(text)
        return text

    def rest(self) -> list[ChunkChoice]:
        """Return what is left of every text when the stream is over."""
        left = []
        for index, chain in sorted(self._chains.items()):
            text = self._say(index, chain.end())
            choice = ChunkChoice(Delta(text), index)
            if text and self._keep(choice, tidy=False):
                left.append(choice)
        return left

"""Tidying texts, whole or while they come: what the steps of ``postprocess`` do.

    whole     step(text) -> text
    stream    filter = step.stream(); filter.feed(piece) -> text, ...; filter.end()

What a filter cannot yet judge it holds back: white space until more text follows it,
three backticks until it is known that nothing does. The pieces it hands on make up
what the step makes of the whole text, with one exception: a fence that opens a text is
taken off at once, so a text that has one only at its beginning loses it too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

Step = Callable[[str], str]
# No language has a longer name; without a bound a stream could hold back anything.
_NAME = r"[\w-]{0,64}"
_FENCE = re.compile(rf"\A\s*```{_NAME}\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_OPENING = re.compile(rf"\s*```{_NAME}\s*\n(?=[^\S\n]*\S)")
_PERHAPS = re.compile(rf"\s*(`{{0,2}}|```{_NAME}\s*)")


class Filter(Protocol):
    """One step at work on one streamed text."""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what can be handed on now, perhaps ""."""

    def end(self) -> str:
        """Return what is left when the text is over."""


def strip_fences(text: str) -> str:
    """Take a Markdown code fence off that encloses the whole text."""
    found = _FENCE.match(text)
    return found.group(1) if found else text


def trim(text: str) -> str:
    """Take white space off both ends."""
    return text.strip()


class Trimming:
    """``trim`` of a text that comes in pieces."""

    def __init__(self) -> None:
        self._begun = False
        self._held: list[str] = []  # white space that may end the text

    def feed(self, piece: str) -> str:
        """Return the piece without the white space that may be at an end."""
        if not self._begun:
            piece = piece.lstrip()
            self._begun = bool(piece)
        body = piece.rstrip()
        if not body:
            self._held.append(piece)
            return ""
        result = "".join((*self._held, body))
        self._held = [piece[len(body) :]]
        return result

    def end(self) -> str:
        """Nothing: what is held back is white space at the end."""
        return ""


class Unfencing:
    """``strip_fences`` of a text that comes in pieces."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._inside: bool | None = None  # None: the first line is not whole yet

    def feed(self, piece: str) -> str:
        """Return the piece without what may be a fence."""
        if self._inside is False:
            return piece
        self._held.append(piece)
        if not piece or piece.isspace():
            return ""  # judged together with what follows: joining each is quadratic
        text = "".join(self._held)
        if self._inside is None:
            opening = _OPENING.match(text)
            if opening is None:
                if _PERHAPS.fullmatch(text):
                    return ""
                self._inside, self._held = False, []
                return text
            self._inside, text = True, text[opening.end() :]
        at = _closing(text)
        self._held = [text[at:]]
        return text[:at]

    def end(self) -> str:
        """Return what was no fence after all."""
        text = "".join(self._held)
        body = text.rstrip()
        return "" if self._inside and body.endswith("```") else text


def _closing(text: str) -> int:
    """Where the part of a fenced text begins that may belong to its closing fence."""
    body = text.rstrip()
    ticks = min(len(body) - len(body.rstrip("`")), 3)
    if ticks < 3 and len(body) < len(text):
        return len(body)  # one or two backticks that go no further
    return len(body[: len(body) - ticks].rstrip())


NAMED: dict[str, tuple[Step, Callable[[], Filter]]] = {
    "trim": (trim, Trimming),
    "strip_fences": (strip_fences, Unfencing),
}


class Chain:
    """The filters of several steps, one behind the other."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = filters

    def feed(self, piece: str) -> str:
        """Send a piece through all of them."""
        for one in self._filters:
            if not piece:
                break
            piece = one.feed(piece)
        return piece

    def end(self) -> str:
        """End them in order: what one still had, the next ones see."""
        piece = ""
        for one in self._filters:
            piece = (one.feed(piece) if piece else "") + one.end()
        return piece

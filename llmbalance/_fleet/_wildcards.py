"""Names with a ``*`` in them, and what they stand for.

    pattern    "claude-*"                a name a backend serves (its model, its groups)
    asked for  "claude-opus-4-5"         "*" stands for "opus-4-5"
    sent       "anthropic/claude-*"  ->  "anthropic/claude-opus-4-5"

A ``*`` stands for one character or more. Exact names always win; of several patterns
the one with the longest literal part does (then the one with fewer stars). A model is
filled from the pattern that matched, star by star, so both have equally many.

Names that no backend has may come from the users of a service. Before one reaches an
address, a label or a table it must look like a model's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._errors import ConfigError, UnknownModelError

STAR = "*"
_LONGEST = 200  # characters of a name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+~=,-]*")
_STEPS = frozenset(("", ".", ".."))  # what no part of a path may be


def check_pattern(field: str, pattern: str) -> None:
    """Refuse stars side by side: nobody could tell what each stands for."""
    if "**" in pattern:
        raise ConfigError(field, pattern, "write one * where anything may stand")


def fill(pattern: str, stood_for: Iterable[str]) -> str:
    """Put what the stars stand for into a pattern; it has equally many."""
    parts, words = pattern.split(STAR), [*stood_for, ""]
    return "".join(
        text for pair in zip(parts, words, strict=True) for text in pair if text
    )


class Pattern:
    """One name with stars."""

    __slots__ = ("_first", "_last", "_middle", "literal", "stars", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._first, *self._middle, self._last = text.split(STAR)
        self.stars = text.count(STAR)
        self.literal = len(text) - self.stars

    def match(self, name: str) -> tuple[str, ...] | None:
        """Return what each star stands for, the first ones as little as may be."""
        at, end = len(self._first), len(name) - len(self._last)
        if not (name.startswith(self._first) and name.endswith(self._last)):
            return None
        found = []
        for part in self._middle:
            here = name.find(part, at + 1, max(end, 0))
            if here < 0:
                return None
            found.append(name[at:here])
            at = here + len(part)
        if at >= end:
            return None
        return (*found, name[at:end])


class Wildcards:
    """The patterns of one router, the most specific first."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = sorted(
            map(Pattern, dict.fromkeys(patterns)),
            key=lambda p: (-p.literal, p.stars),
        )

    def find(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the pattern that a name falls under and what its stars stand for.

        None: under no one. UnknownModelError: it cannot be the name of a model.
        """
        if not self._patterns:
            return None
        check_name(name)
        for pattern in self._patterns:
            stood_for = pattern.match(name)
            if stood_for is not None:
                return pattern.text, stood_for
        return None


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model."""
    if len(name) > _LONGEST:
        why = f"longer than {_LONGEST} characters"
    elif not _NAME.fullmatch(name):
        why = "only letters, digits and . _ : / @ + ~ = , - make a name"
    elif not _STEPS.isdisjoint(name.split("/")):
        why = "a part between slashes is missing, or dots alone"
    else:
        return
    raise UnknownModelError(f"model = {shown(name)}: {why}")


def shown(name: object) -> str:
    """Return a name as errors show it: whatever it is, in one short line."""
    text = repr(name)
    return text if len(text) <= _LONGEST else text[: _LONGEST // 2] + "...'"


def is_known(name: object, names: Iterable[str]) -> bool:
    """Whether a name is one of these, or falls under a pattern among them."""
    known = list(names)
    if name in known:
        return True
    if not isinstance(name, str):
        return False
    try:
        check_name(name)
    except UnknownModelError:
        return False
    return any(Pattern(one).match(name) for one in known if STAR in one)

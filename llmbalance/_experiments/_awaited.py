"""The newest answered calls, by the ids of their answers: a reward may name them.

    put("chatcmpl-7", trial)    the oldest goes when there are too many
    get("chatcmpl-7") ─▶ trial

Every call of an experiment comes by here, and most are never asked for: a dict, and the
order they came in. A dict alone looks for its first key among all that were taken out
before it, and an OrderedDict takes twice as long.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Awaited(Generic[T]):
    """At most ``most`` things by their names; the oldest name goes first."""

    __slots__ = ("_most", "_names", "_things")

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: dict[str, T] = {}
        self._names: deque[str] = deque()  # of those, each once, the oldest first

    def put(self, name: str, thing: T) -> None:
        """Remember a thing; of two with one name the later one, as old as the first."""
        things = self._things
        if name not in things:
            self._names.append(name)
        things[name] = thing
        if len(things) > self._most:
            things.pop(self._names.popleft(), None)

    def get(self, name: str) -> T | None:
        """Return the thing of a name; None when it is unknown or forgotten."""
        return self._things.get(name)

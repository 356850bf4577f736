"""Is this backend, or this key, failing more than it usually does?

The share of failures and of 429s in the last minute is held against the backend's own
history, which forgets by half in an hour:

    spike when   n >= 20   and   share >= usual + 0.1
                 and   (share - usual) / sqrt(usual (1 - usual) / n)  >=  4

The history is smoothed by one bad and 49 good attempts, so that the first failure of a
spotless backend is no news. What was told is told again once the share had come half
way back. Time is that of the events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

_SLOT, _SLOTS = 10.0, 6  # the last minute, in tens of seconds
_HALF_LIFE = 3600.0
_LEAST = 20  # attempts
_LIFT = 0.1  # share above the usual
_SIGMAS = 4.0
_PRIOR_BAD, _PRIOR_ALL = 1.0, 50.0
WHAT = ("failed", "rate_limited")
_FAILED = frozenset(("failed", "timed_out", "broken", "timeout", "broken_stream"))


class _Attempt(Protocol):
    @property
    def at(self) -> float: ...
    @property
    def backend(self) -> str: ...
    @property
    def outcome(self) -> str: ...


class _History:
    """Counts of one backend: [attempts, failed, rate limited], recent and decayed."""

    __slots__ = ("aged", "slot", "slots", "told")

    def __init__(self) -> None:
        self.slot = 0
        self.slots = [[0, 0, 0] for _ in range(_SLOTS)]
        self.aged = [0.0, 0.0, 0.0]
        self.told = [False, False]

    def turn(self, slot: int) -> None:
        """Move what is older than a minute into the history."""
        steps = min(slot - self.slot, 100 * _SLOTS)
        for step in range(1, min(steps, _SLOTS) + 1):
            old = self.slots[(self.slot + step) % _SLOTS]
            for i in range(3):
                self.aged[i] += old[i]
                old[i] = 0
        keep = 0.5 ** (steps * _SLOT / _HALF_LIFE)
        self.aged = [count * keep for count in self.aged]
        self.slot = slot


class Spikes:
    """Watches the attempts of all backends, or of all keys."""

    def __init__(self) -> None:
        self._all: dict[str, _History] = {}

    def note(
        self, event: _Attempt, name: str | None = None
    ) -> Iterator[tuple[str, float, float]]:
        """Count an attempt; yields (what, share, usual) for every spike it begins.

        ``name``: under which it counts (default: its backend's).
        """
        name = name or event.backend
        if event.outcome in ("cancelled", "rejected"):
            return
        slot = int(event.at / _SLOT)
        history = self._all.get(name)
        if history is None:
            history = self._all[name] = _History()
            history.slot = slot
        if slot > history.slot:
            history.turn(slot)
        counts = history.slots[history.slot % _SLOTS]
        bad = -1
        if event.outcome in _FAILED:
            bad = 0
        elif event.outcome == "rate_limited":
            bad = 1
        counts[0] += 1
        if bad >= 0:
            counts[bad + 1] += 1
        elif not any(history.told):
            return  # a good attempt begins no spike
        yield from _compare(history)


def _compare(history: _History) -> Iterator[tuple[str, float, float]]:
    recent = [sum(column) for column in zip(*history.slots, strict=True)]
    n = recent[0]
    for i, what in enumerate(WHAT):
        share = recent[i + 1] / n
        usual = (history.aged[i + 1] + _PRIOR_BAD) / (history.aged[0] + _PRIOR_ALL)
        if history.told[i]:
            history.told[i] = share > usual + _LIFT / 2
            continue
        noise = math.sqrt(usual * (1 - usual) / n)
        lifted = share >= usual + _LIFT and share - usual >= _SIGMAS * noise
        if n >= _LEAST and lifted:
            history.told[i] = True
            yield what, share, usual

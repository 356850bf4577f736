"""Which arm a unit is in: a hash of its name against shares.

    hash(unit, experiment) ──▶ enters, which: two places in [0, 1)

    0 ├── treated ──▶ ─────┼────────────── control ──────────────────────┤ 1   enters
    0 ├── cheap ──────┼───────── mid ────────────────────────────────────┤ 1   which

The share of the treated grows from one end: who is in stays in, in every process and
after every restart, with nothing stored. Only the shares of a bandit move both ways;
there a unit keeps its arm for as long as it is remembered (_study.py). Experiments hash
differently, so what one deals says nothing of what another does.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from ._experiment import Experiment, read_ramp

_REMEMBERED = 16_384  # places of units, to hash those at work once
_UNIT = 2.0**-53  # of 53 bits, which a float holds: never rounded up to 1
_TWO = struct.Struct("<QQ")


class Split:
    """The shares of the arms of one experiment, and where a place in [0, 1) lies."""

    __slots__ = (
        *("_edges", "_name", "_steps", "_times", "arms", "places", "shares"),
        "treated",
    )

    def __init__(self, experiment: Experiment) -> None:
        self._name = f"{experiment.name}\0"
        self.arms = list(experiment.arms)
        count = len(self.arms)
        given = experiment.weights
        weights = [given.get(a, 0.0) if given else 1.0 for a in self.arms]
        steps = read_ramp(experiment.ramp) if experiment.ramp is not None else None
        self._steps, self._times = steps, [after for after, _ in steps or ()]
        whole, others = sum(weights), sum(weights[1:])
        self._edges = [0.0] * (count - 1)
        if others:
            self._edges = [edge / others for edge in accumulate(weights[1:])]
        self.treated = 0.0 if steps else others / whole
        self.shares = self._shares()
        self.places = lru_cache(_REMEMBERED)(self._places)

    def at(self, seconds: float) -> None:
        """Let the ramp be where it is so many seconds after its beginning."""
        if self._steps is not None:
            passed = bisect_right(self._times, seconds)
            self.treated = self._steps[passed - 1][1] if passed else 0.0
            self.shares = self._shares()

    def set(self, shares: list[float]) -> None:
        """Take the shares of a bandit."""
        self.treated = 1 - shares[0]
        if self.treated > 0:
            self._edges = [e / self.treated for e in accumulate(shares[1:])]
        self.shares = shares

    def _places(self, unit: str) -> tuple[float, float]:
        """Return where a unit lies, always the same for the same name."""
        digest = hashlib.blake2b(
            (self._name + unit).encode("utf-8", "surrogatepass"), digest_size=16
        ).digest()
        enters, which = _TWO.unpack(digest)
        return (enters >> 11) * _UNIT, (which >> 11) * _UNIT

    def arm(self, enters: float, which: float) -> int:
        """Return the number of the arm of a unit that lies there."""
        if enters >= self.treated:
            return 0
        if len(self._edges) == 1:
            return 1
        return 1 + min(bisect_right(self._edges, which), len(self._edges) - 1)

    def _shares(self) -> list[float]:
        edges: list[Any] = [0.0, *self._edges]
        parts = [b - a for a, b in pairwise(edges)]
        return [1 - self.treated, *(self.treated * part for part in parts)]

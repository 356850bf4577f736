"""Shares that follow results: discounted Thompson sampling.

What is known of an arm is a distribution of what it earns. Each arm gets the share of
calls with which a draw from its distribution is the best of all draws: what is surely
worse gets nothing, what is little known is tried.

    arm A   940 good, 60 bad    Beta(941, 61)       ─╮ 200 draws of each, about
    arm B   180 good, 20 bad    Beta(181, 21)       ─╯ once a second ─▶ 0.97, 0.03

Every call makes all earlier ones count ``gamma`` times as much, so that arms that have
changed are found out: 20,000 calls of arms that succeed at 95 and 90 % and change
places half-way cost 500 successes when split evenly, 100 with gamma = 0.999.

Rewards of 0..1 are drawn from a Beta (a reward of 0.3 is 0.3 of a success); with cost
or latency in them, from a normal around the mean, whose spread is that of all arms.

Source: Thompson (1933); Raj and Kalyani, "Taming Non-stationary Bandits" (2017).
"""

from __future__ import annotations

import math
from random import Random

_DRAWS = 200
_HUGE = 1e100


class Thompson:
    """What the arms of one bandit earn, and the shares that follow from it."""

    __slots__ = ("_beta", "_count", "_floor", "_gamma", "_rng", "_square", "_sum", "_w")

    def __init__(
        self, arms: int, *, gamma: float, min_share: float, bounded: bool, rng: Random
    ) -> None:
        self._gamma = gamma
        self._floor = min_share
        self._beta = bounded  # all rewards are 0..1
        self._rng = rng
        # Discounted sums, in units of the newest call's weight ``_w``, which grows
        # instead of all others shrinking.
        self._w = 1.0
        self._count = [0.0] * arms
        self._sum = [0.0] * arms
        self._square = [0.0] * arms

    def learn(self, arm: int, value: float) -> None:
        """Take note of what one call of an arm earned."""
        self._w /= self._gamma
        w = self._w
        self._count[arm] += w
        self._sum[arm] += w * value
        self._square[arm] += w * value * value
        if w > _HUGE:
            for sums in (self._count, self._sum, self._square):
                sums[:] = [x / w for x in sums]
            self._w = 1.0

    def shares(self) -> list[float]:
        """Return how likely each arm is the best, at least ``min_share`` each."""
        arms = range(len(self._count))
        draw = self._draw_beta if self._beta else self._draw_normal
        columns = [draw(arm) for arm in arms]
        wins = [0] * len(columns)
        for row in zip(*columns, strict=True):
            wins[row.index(max(row))] += 1
        rest = 1 - self._floor * len(wins)
        return [self._floor + rest * won / _DRAWS for won in wins]

    def known(self, arm: int) -> tuple[float, float]:
        """Return the calls of an arm that still count, and what they earned each."""
        count = self._count[arm]
        return count / self._w, self._sum[arm] / count if count else math.nan

    def state(self) -> list[list[float]]:
        """Return what is known, for ``resume`` of another one of as many arms."""
        sums = (self._count, self._sum, self._square)
        return [[x / self._w for x in each] for each in sums]

    def resume(self, state: list[list[float]]) -> None:
        """Go on from a ``state``; ValueError when it is of other arms."""
        count, total, square = ([float(x) for x in each] for each in state)
        if not len(count) == len(total) == len(square) == len(self._count):
            raise ValueError("the state is of another number of arms")
        self._count, self._sum, self._square = count, total, square
        self._w = 1.0

    def _draw_beta(self, arm: int) -> list[float]:
        count, good = self._count[arm] / self._w, self._sum[arm] / self._w
        a, b = 1 + good, 1 + max(count - good, 0.0)
        return [self._rng.betavariate(a, b) for _ in range(_DRAWS)]

    def _draw_normal(self, arm: int) -> list[float]:
        everything = sum(self._count)
        if not everything:
            return [self._rng.gauss(0, 1) for _ in range(_DRAWS)]
        centre = sum(self._sum) / everything
        variance = max(sum(self._square) / everything - centre * centre, 0.0)
        # One call's worth of "like all the others" stands for what is not known.
        count = self._count[arm] / self._w
        mean = (centre + self._sum[arm] / self._w) / (1 + count)
        deviation = math.sqrt(variance / (1 + count)) or 1e-9
        return [self._rng.gauss(mean, deviation) for _ in range(_DRAWS)]

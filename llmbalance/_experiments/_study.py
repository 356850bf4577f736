"""One running experiment: deals arms, hears how calls went, says what follows.

    deal(unit) ─▶ arm      hear(...) ─▶ queue ── once a second ──▶ tallies, bandit,
                                                                   verdicts, history

A call only puts a tuple into a queue. What is in it is worked off by whichever call
comes a second later, by a report, or when 2,048 wait: one thread at a time, the others
go on. ``now`` is in seconds of any clock that does not jump.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import NamedTuple

from msgspec import Struct

from ._bandit import Thompson
from ._experiment import Experiment
from ._sequential import apart, evidence, p_b_beats_a, radius
from ._split import Split
from ._tally import Tally, metric_of

_EVERY = 1.0  # seconds between two looks
_MOST_WAITING = 2048  # outcomes in the queue
_MOST_UNITS = 65_536  # remembered; who comes back later counts as somebody new
_LEAST = 30  # observations of an arm before anything is concluded
_LOOKS = 600  # points in the history, which is thinned when it is full
_HIGHER = ("success", "reward")  # metrics of which more is better


class Outcome(NamedTuple):
    """How one call of an arm went. ``good`` None: its caller left it."""

    arm: int
    unit: str | None
    good: bool | None
    nano: int
    seconds: float
    reward: float | None = None  # given later, for a call that was counted already


class Comparison(Struct, frozen=True, kw_only=True):
    """One arm against another. ``lift``, ``low``, ``high``: relative, of the metric.

    ``p``: always valid; ``verdict``: "better", "worse", "undecided".
    """

    verdict: str
    p: float
    lift: float | None
    low: float | None
    high: float | None


class Look(NamedTuple):
    """The state at one time, for the picture; ``half``: of the interval of the mean."""

    at: float
    shares: list[float]
    means: list[float]
    halves: list[float]


class Study:
    """The state of one experiment."""

    def __init__(
        self, experiment: Experiment, now: float, rng: Random, age: float = 0.0
    ) -> None:
        """``age``: seconds since the ramp began."""
        self.experiment = experiment
        self.running = experiment.running
        self.winner: int | None = None  # whose options all calls get once it is over
        self.split = Split(experiment)
        self.tallies = [
            Tally(binary=experiment.metric == "success") for _ in experiment.arms
        ]
        self.history: list[Look] = []
        self._rng = rng
        self._queue: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._units: dict[str, list[float]] = {}  # unit -> arm, calls, sum of metric
        self._peaks: dict[tuple[int, int], float] = {}  # pair -> the highest ln L
        self._gap = _EVERY
        self._due = self._next_look = now
        self.started = now - age
        bandit = experiment.bandit
        self._bandit = None
        if bandit is not None:
            self._bandit = Thompson(
                len(experiment.arms),
                gamma=bandit.gamma,
                min_share=bandit.min_share,
                bounded=not (bandit.cost_weight or bandit.latency_weight),
                rng=rng,
            )
        self.split.at(age)

    # -- calls ---------------------------------------------------------------

    def deal(self, unit: str | None, now: float) -> int:
        """Return the number of the arm of a unit; None is dealt anew."""
        if now >= self._due:
            self.work(now)
        split = self.split
        if unit is None:
            return split.arm(self._rng.random(), self._rng.random())
        if self._bandit is not None and (seat := self._units.get(unit)) is not None:
            return int(seat[0])
        return split.arm(*split.places(unit))

    def hear(self, outcome: Outcome, now: float) -> None:
        """Take note of how a call went."""
        self._queue.append(outcome)
        if now >= self._due or len(self._queue) >= _MOST_WAITING:
            self.work(now)

    def start(self, now: float) -> None:
        """Begin, or go on; a ramp without a date begins now."""
        if not self.running:
            self.running, self.winner = True, None
            if self.experiment.since is None:
                self.started = now
            self._due = now

    # -- once a second -------------------------------------------------------

    def work(self, now: float) -> None:
        """Take in what has come and draw the conclusions."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._due = now + _EVERY
            queue = self._queue
            for _ in range(len(queue)):
                self._take(queue.popleft())
            if not self.running:
                return
            self.split.at(now - self.started)
            if self._bandit is not None:
                self.split.set(self._bandit.shares())
            self._test()
            if now >= self._next_look:
                self._look(now)
        finally:
            self._lock.release()

    def _take(self, outcome: Outcome) -> None:
        arm, _, good, nano, seconds, reward = outcome
        tally, metric = self.tallies[arm], self.experiment.metric
        if reward is not None:
            tally.rewards += reward
            tally.rewarded += 1
            if metric == "reward":
                tally.note(reward, self._seat(outcome))
            self._earn(arm, reward, nano, seconds, feedback=True)
            return
        tally.nano += nano
        seat = self._seat(outcome)
        if good is None:
            tally.cancelled += 1
            return
        tally.calls += 1
        if good:
            tally.good += 1
            tally.recent.append(seconds)
        value = metric_of(metric, good, nano, seconds)
        if value is not None:
            tally.note(value, seat)
        self._earn(arm, float(good), nano, seconds, feedback=False)

    def _seat(self, outcome: Outcome) -> list[float] | None:
        """The sums of a unit in its arm; None where each call is on its own."""
        arm, unit = outcome.arm, outcome.unit
        if self.experiment.unit == "call":
            self.tallies[arm].units += outcome.reward is None
            return None
        units = self._units
        seat = units.get(unit) if unit is not None else None
        if seat is None or seat[0] != arm:
            seat = [arm, 0, 0.0]
            if outcome.reward is not None:  # late, of an arm that the unit has left
                return seat
            self.tallies[arm].units += 1
            if unit is not None:
                if unit not in units and len(units) >= _MOST_UNITS:
                    del units[next(iter(units))]
                units[unit] = seat
        return seat

    def _earn(
        self, arm: int, reward: float, nano: int, seconds: float, *, feedback: bool
    ) -> None:
        """Tell the bandit what a call was worth, once that is known."""
        bandit = self.experiment.bandit
        if self._bandit is None or bandit is None:
            return
        # Where people judge, an answer waits for them; a failure does not.
        if feedback != (bandit.reward == "feedback") and (feedback or reward):
            return
        value = reward - bandit.cost_weight * nano / 1e9
        self._bandit.learn(arm, value - bandit.latency_weight * seconds)

    # -- conclusions ---------------------------------------------------------

    def _tau2(self) -> float:
        """The square of a difference worth finding."""
        if self.experiment.effect is not None:
            return self.experiment.effect**2
        seen = [(t.n, t.spread()) for t in self.tallies if t.n]
        whole = sum(n for n, _ in seen)
        return 0.01 * sum(n * spread for n, spread in seen) / whole if whole else 1.0

    def _pairs(self) -> Iterator[tuple[int, int]]:
        enough = [i for i, t in enumerate(self.tallies) if t.weight >= _LEAST]
        return combinations(enough, 2)

    def _test(self) -> None:
        """Look at every pair of arms, and keep the strongest evidence ever seen."""
        tau2 = self._tau2()
        for pair in self._pairs():
            a, b = (self.tallies[i] for i in pair)
            first, second = a.variance(), b.variance()
            gap = b.mean - a.mean
            if self._bandit is None:
                found = evidence(gap, first + second, tau2)
            else:
                found = apart(gap, first, second, tau2)
            if found > abs(self._peaks.get(pair, 0.0)):
                self._peaks[pair] = math.copysign(found, gap)

    def compare(self, arm: int, other: int) -> Comparison:
        """Return how an arm stands against another one."""
        low, high = sorted((arm, other))
        peak = self._peaks.get((low, high), 0.0)
        if arm == low:
            peak = -peak
        count = len(self.tallies)
        pairs = count * (count - 1) / 2
        p = min(1.0, pairs * math.exp(-abs(peak)))
        verdict = "undecided"
        if p <= self.experiment.alpha:
            higher = self.experiment.metric in _HIGHER
            verdict = "better" if (peak > 0) == higher else "worse"
        a, b = self.tallies[other], self.tallies[arm]
        if min(a.weight, b.weight) < 2:
            return Comparison(verdict=verdict, p=p, lift=None, low=None, high=None)
        gap, half = b.mean - a.mean, self._half(a, b, self.experiment.alpha / pairs)
        low_, mid, high_ = (self._relative(gap + x, a.mean) for x in (-half, 0.0, half))
        return Comparison(verdict=verdict, p=p, lift=mid, low=low_, high=high_)

    def _half(self, a: Tally, b: Tally, alpha: float) -> float:
        tau2 = self._tau2()
        first, second = a.variance(), b.variance()
        if self._bandit is None:
            return radius(first + second, tau2, alpha)
        return radius(first, tau2, alpha / 2) + radius(second, tau2, alpha / 2)

    def _relative(self, gap: float, base: float) -> float | None:
        if self.experiment.metric == "latency":
            return math.expm1(min(gap, 700.0))
        return gap / abs(base) if base else None

    def best(self) -> int | None:
        """Return the arm that is found better than each of the others."""
        count = range(len(self.tallies))
        for arm in count:
            others = (self.compare(arm, other) for other in count if other != arm)
            if all(found.verdict == "better" for found in others):
                return arm
        return None

    def beats(self, arm: int) -> float | None:
        """Return P(success rate of the arm > that of the control), flat priors."""
        a, b = self.tallies[0], self.tallies[arm]
        if not (a.calls and b.calls):
            return None
        return p_b_beats_a(
            1 + a.good, 1 + a.calls - a.good, 1 + b.good, 1 + b.calls - b.good
        )

    def _look(self, now: float) -> None:
        """Remember shares and means; twice as rarely whenever the history is full."""
        tau2, alpha = self._tau2(), self.experiment.alpha
        halves = [
            radius(t.variance(), tau2, alpha) if t.weight > 1 else math.nan
            for t in self.tallies
        ]
        means = [t.mean if t.n else math.nan for t in self.tallies]
        self.history.append(
            Look(now - self.started, list(self.split.shares), means, halves)
        )
        if len(self.history) >= _LOOKS:
            del self.history[1::2]
            self._gap *= 2
        self._next_look = now + self._gap

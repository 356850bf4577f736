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
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import NamedTuple

from msgspec import Struct

from ._bandit import Thompson
from ._experiment import Experiment
from ._sequential import apart, evidence, p_b_beats_a, radius
from ._split import Split
from ._tally import Tally

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


Heard = tuple[int, str | None, bool | None, int, float, float | None]  # an Outcome


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
        self.turned_away = [0 for _ in experiment.arms]  # calls its budget forbade
        self.history: list[Look] = []
        self._rng = rng
        self.queue: deque[Heard] = deque()
        self._lock = threading.Lock()
        # unit -> arm, calls, sum of metric; the oldest are found at once, as in no dict
        self._units: OrderedDict[str, list[float]] = OrderedDict()
        self.peaks: dict[tuple[int, int], float] = {}  # pair -> the highest ln L
        self._gap = _EVERY
        self.due = self._next_look = now
        self.started = now - age
        self._by_call = experiment.unit == "call"
        bandit = experiment.bandit
        self.bandit = None
        if bandit is not None:
            self.bandit = Thompson(
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
        if now >= self.due:
            self.work(now)
        split = self.split
        if unit is None:
            place, treated = self._rng.random(), split.treated
            return split.arm(place, place / treated) if place < treated else 0
        if self.bandit is not None and (seat := self._units.get(unit)) is not None:
            return int(seat[0])
        enters, which = split.places(unit)
        return 0 if enters >= split.treated else split.arm(enters, which)

    def hear(self, outcome: Heard, now: float) -> None:
        """Take note of how a call went."""
        self.queue.append(outcome)
        if now >= self.due or len(self.queue) >= _MOST_WAITING:
            self.work(now)

    def turn_away(self, arm: int) -> None:
        """Count a call of an arm that had no money for it: the control serves it."""
        with self._lock:
            self.turned_away[arm] += 1

    def start(self, now: float) -> None:
        """Begin, or go on; a ramp without a date begins now."""
        if not self.running:
            self.running, self.winner = True, None
            if self.experiment.since is None:
                self.started = now
            self.due = now

    # -- once a second -------------------------------------------------------

    def work(self, now: float) -> None:
        """Take in what has come and draw the conclusions."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self.due = now + _EVERY
            queue = self.queue
            self._take([queue.popleft() for _ in range(len(queue))])
            self._test()
            if not self.running:
                return
            self.split.at(now - self.started)
            if self.bandit is not None:
                self.split.set(self.bandit.shares())
            if now >= self._next_look:
                self._look(now)
        finally:
            self._lock.release()

    def _take(self, heard: list[Heard]) -> None:
        """Add outcomes to the figures, arm by arm: a sum is cheaper than its steps."""
        ended: list[list[Heard]] = [[] for _ in self.tallies]
        for outcome in heard:
            if outcome[5] is not None:
                self._reward(outcome)
            elif outcome[2] is None:
                tally = self.tallies[outcome[0]]
                tally.cancelled += 1
                tally.nano += outcome[3]
            else:
                ended[outcome[0]].append(outcome)
        for arm, outcomes in enumerate(ended):
            if outcomes:
                self._add(arm, outcomes)
        if self.bandit is not None:
            self._earn(self.bandit, heard)

    def _add(self, arm: int, outcomes: list[Heard]) -> None:
        """Calls of one arm that ended by themselves."""
        tally = self.tallies[arm]
        answered = [outcome[4] for outcome in outcomes if outcome[2]]
        tally.calls += len(outcomes)
        tally.good += len(answered)
        tally.recent.extend(answered)
        tally.nano += sum([outcome[3] for outcome in outcomes])
        measured = outcomes
        match self.experiment.metric:
            case "success":
                values = [1.0 if outcome[2] else 0.0 for outcome in outcomes]
            case "cost":
                values = [outcome[3] / 1e9 for outcome in outcomes]
            case "latency":  # a failure is not fast
                measured = [outcome for outcome in outcomes if outcome[2]]
                values = [math.log(max(seconds, 1e-6)) for seconds in answered]
            case _:  # is told later
                measured, values = [], []
        tally.note(values)
        if self._by_call:
            tally.units += len(outcomes)
            return
        if len(measured) < len(outcomes):
            self._seats(arm, outcomes)
        tally.note_units(values, self._seats(arm, measured))

    def _seats(self, arm: int, outcomes: list[Heard]) -> list[list[float]]:
        """The sums of the units of an arm's calls; see ``_seat``."""
        known, seats = self._units.get, []
        for outcome in outcomes:
            unit = outcome[1]
            seat = known(unit) if unit is not None else None
            if seat is None or seat[0] != arm:
                seat = self._seat(outcome)
            seats.append(seat)
        return seats

    def _reward(self, outcome: Heard) -> None:
        """A reward of a call that was counted already."""
        reward = outcome[5]
        assert reward is not None
        tally = self.tallies[outcome[0]]
        tally.rewards += reward
        tally.rewarded += 1
        if self.experiment.metric == "reward":
            tally.note([reward])
            if not self._by_call:
                tally.note_units([reward], [self._seat(outcome)])

    def _seat(self, outcome: Heard) -> list[float]:
        """The sums of a unit in its arm; a call without a unit is one of its own."""
        arm, unit = outcome[0], outcome[1]
        units = self._units
        seat = units.get(unit) if unit is not None else None
        if seat is None or seat[0] != arm:
            seat = [arm, 0, 0.0]
            if outcome[5] is not None:  # late, of an arm that the unit has left
                return seat
            self.tallies[arm].units += 1
            if unit is not None:
                if unit not in units and len(units) >= _MOST_UNITS:
                    units.popitem(last=False)
                units[unit] = seat
        return seat

    def _earn(self, bandit: Thompson, heard: list[Heard]) -> None:
        """Tell the bandit what calls were worth, as soon as that is known."""
        rule = self.experiment.bandit
        assert rule is not None
        judged = rule.reward == "feedback"
        by_cost, by_time = rule.cost_weight / 1e9, rule.latency_weight
        for arm, _, good, nano, seconds, reward in heard:
            if reward is None:
                # Where people judge, an answer waits for them; a failure does not.
                if good is None or (good and judged):
                    continue
                reward = 1.0 if good else 0.0
            elif not judged:
                continue
            bandit.learn(arm, reward - by_cost * nano - by_time * seconds)

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
            gap = b.mean - a.mean
            if self.bandit is None:
                found = evidence(gap, self._variance(a, b), tau2)
            else:
                found = apart(gap, a.variance(), b.variance(), tau2)
            if found > abs(self.peaks.get(pair, 0.0)):
                self.peaks[pair] = math.copysign(found, gap)

    def compare(self, arm: int, other: int) -> Comparison:
        """Return how an arm stands against another one."""
        low, high = sorted((arm, other))
        peak = self.peaks.get((low, high), 0.0)
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
        if self.bandit is None:
            return radius(self._variance(a, b), tau2, alpha)
        halves = (radius(t.variance(), tau2, alpha / 2) for t in (a, b))
        return sum(halves)

    def _variance(self, a: Tally, b: Tally) -> float:
        """The variance of the difference of two means.

        A small arm that has not failed yet knows little of how often it may, so rates
        are taken to vary as those of both arms together do, calls of one unit alike.
        """
        if self.experiment.metric != "success":
            return a.variance() + b.variance()
        alike = (a.n * a.spread() + b.n * b.spread()) / (a.n + b.n)
        return alike * (a.variance() / a.spread() + b.variance() / b.spread())

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
            radius(t.variance(), tau2, alpha) if t.weight >= _LEAST else math.nan
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

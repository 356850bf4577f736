"""The least any strategy could have paid: a linear program and its prices.

1. Requests of a window of time that are alike form a class; a share x[c, b, d] of class
   c goes to backend b, d = 0, 1, ... windows after its own:

       minimise    sum cost[c, b] * x[c, b, d]
       such that   sum over b, d of x[c, b, d] <= 1     and enough is served
                   level[w + 1] <= level[w] + refill - used[w]    for every limit,
                   0 <= level <= burst                            a bucket over windows

   What a bucket lets through between any two windows is burst + rate * time, as with
   the providers' own, but it need not come in order within a window: finer windows
   make a higher bound.

2. Its dual variables say what a unit of every limit is worth in every window. With any
   such prices, letting every single request choose what is cheapest for it gives a
   lower bound of the cost (_lagrange.py), and with these nearly the best one:

       sum over requests of min over b, d of (cost + prices * units)  -  prices * room

   Requests that share prompts choose together, since a prompt is found only where its
   likes went before (_reuse.py).

It knows the future, fails nowhere, and no request waits longer for a limit than
``patience``, rounded up to windows. No strategy of that patience is cheaper at the same
success; none need be able to reach it. Latency plays no part in it. One thing is taken
simply: the tokens of an answer count when its request is let in, while providers that
charge what was used count them at its end, and let a limit be overdrawn until then by
the answers under way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil, inf
from statistics import fmean as mean
from typing import TYPE_CHECKING, Any, NamedTuple

from .._checks import positive, seconds_of
from .._config import Limit, Limits
from .._errors import ConfigError
from ._lagrange import Lagrange, Room
from ._program import Program
from ._reuse import MOST_BACKENDS, Reuse, reuse

if TYPE_CHECKING:
    from .._core import PriceRow
    from ._fleet import Fleet
    from ._result import Result
    from ._trace import Trace

_FEW_WINDOWS, _MANY_WINDOWS = 800, 2000
_WORK = 14_000_000  # requests * windows: fewer requests have finer windows
_FINEST = 2  # windows in a request's patience


class Bound(NamedTuple):
    """The bound: USD, and the share of requests each backend would serve."""

    cost: float
    share: dict[str, float]


class _Request(NamedTuple):
    window: int
    group: str
    input: int
    output: int
    cold: tuple[int, ...]  # nano-USD at each backend
    warm: tuple[int, ...]  # the same where its family went before


class _Class:
    """Requests of one window and group that are alike, added up."""

    __slots__ = ("cost", "count", "group", "input", "output", "window")

    def __init__(self, window: int, group: str, backends: int) -> None:
        self.window = window
        self.group = group
        self.count = self.input = self.output = 0
        self.cost = [0] * backends

    def add(self, one: _Request, cost: Iterable[int]) -> None:
        self.count += 1
        self.input += one.input
        self.output += one.output
        for b, nano in enumerate(cost):
            self.cost[b] += nano


class _Bucket(NamedTuple):
    """A limit and the backends that share it."""

    limit: Limit
    charge: str
    backends: list[int]

    def units(self, count: int, input: int, output: int) -> int:
        what = self.limit.what
        if what == "requests":
            return count
        if what == "input_tokens" or (what == "tokens" and self.charge == "chars4"):
            return input
        return output if what == "output_tokens" else input + output

    @property
    def burst(self) -> float:
        return float(self.limit.burst or self.limit.amount)

    def refill(self, width: float) -> float:
        return self.limit.amount * width / seconds_of("per", self.limit.per)


def lower_bound(
    trace: Trace, fleet: Fleet, *, success: float = 1.0, patience: float = 5.0
) -> Bound:
    """Return the least cost of serving a share ``success`` of ``trace``.

    ``patience``: how long a request may wait for a limit, s. Needs SciPy. Raises
    ConfigError when the limits do not allow so much success.
    """
    positive("patience", patience)
    if not 0 < success <= 1:
        raise ConfigError("success", success, "give a share above 0, at most 1")
    if not len(trace):
        return Bound(0.0, dict.fromkeys(fleet.names, 0.0))
    windows = min(max(_FEW_WINDOWS, _WORK // len(trace)), _MANY_WINDOWS)
    width = max(patience / _FINEST, trace.seconds / windows)
    found = reuse(trace, fleet, patience)
    requests = _requests(trace, fleet, width, patience, found)
    walks = found if len(fleet.backends) <= MOST_BACKENDS else None
    return _Problem(requests, fleet, width, patience, success, walks).bound()


def _requests(
    trace: Trace, fleet: Fleet, width: float, patience: float, found: Reuse | None
) -> list[_Request]:
    rows = [fleet.price_rows(b, trace.seconds) for b in fleet.backends]
    requests = []
    for i, at in enumerate(trace.at):
        prompt, answer = trace.input[i], trace.output[i]
        cold, warm = [], []
        for b, schedule in enumerate(rows):
            valid = _valid(schedule, at / 1e9, at / 1e9 + patience)
            cold.append(_least(valid, prompt, found.cold[i][b] if found else 0, answer))
            warm.append(_least(valid, prompt, found.warm[i][b] if found else 0, answer))
        name, window = trace.name_of(i), int(at / 1e9 / width)
        requests.append(
            _Request(window, name, prompt, answer, tuple(cold), tuple(warm))
        )
    return requests


def _least(rows: Iterable[PriceRow], prompt: int, hit: int, answer: int) -> int:
    """The least nano-USD of a request at one of these prices, ``hit`` tokens found."""
    return min(
        row.cost(input=prompt - h, cache_read=h, output=answer, requests=1) or 0
        for row in rows
        for h in {0, hit}
    )


def _valid(
    schedule: Sequence[tuple[float, PriceRow]], begin: float, end: float
) -> list[PriceRow]:
    """The prices that hold at some time in [begin, end]."""
    if len(schedule) == 1:
        return [schedule[0][1]]
    ends = [at for at, _ in schedule[1:]] + [float("inf")]
    return [
        row
        for (at, row), until in zip(schedule, ends, strict=True)
        if at <= end and until > begin
    ]


def _buckets(fleet: Fleet) -> list[_Bucket]:
    """The providers' true limits; those that backends share, once."""
    buckets: list[_Bucket] = []
    shared: dict[str, list[_Bucket]] = {}
    for i, backend in enumerate(fleet.backends):
        limits = fleet.limits(backend)
        if not isinstance(limits, Limits):
            continue
        if limits.shared in shared:
            for bucket in shared[limits.shared or ""]:
                bucket.backends.append(i)
            continue
        charge = fleet.charge(backend, limits)
        own = [_Bucket(limit, charge, [i]) for limit in limits.all()]
        if limits.shared is not None:
            shared[limits.shared] = own
        buckets += own
    return buckets


def _closed(fleet: Fleet, width: float) -> set[tuple[int, int]]:
    """(window, backend) during all of which the backend answers nobody."""
    closed = set()
    for event in fleet.troubles:
        if event.kind == "slow" or event.share < 1:
            continue
        first = -int(-event.start // width)
        last = int((event.start + event.seconds) // width)
        b = fleet.names.index(event.backend)
        closed |= {(window, b) for window in range(first, last)}
    return closed


class _Problem:
    """The two steps: the program over classes, then its prices over requests."""

    def __init__(
        self,
        requests: list[_Request],
        fleet: Fleet,
        width: float,
        patience: float,
        success: float,
        found: Reuse | None,
    ) -> None:
        self.requests = requests
        self.fleet = fleet
        self.width = width
        self.success = success
        self.served = success * len(requests) * (1 - 1e-12)
        self.found = found
        self.steps = ceil(patience / width - 1e-9)
        self.last = max(one.window for one in requests) + self.steps + 1
        self.closed = _closed(fleet, width)
        self.buckets = _buckets(fleet)
        # The solver's tolerances are absolute: a request costs, and uses, about one.
        self.nano = max(1.0, mean(mean(one.warm) for one in requests))
        count, input, output = len(requests), 0, 0
        for one in requests:
            input += one.input
            output += one.output
        self.sizes = [
            max(1.0, bucket.units(count, input, output) / count)
            for bucket in self.buckets
        ]
        names = {one.group for one in requests}
        self.members = {name: fleet.members(name) for name in names}

    def _choices(self, one: _Request | _Class) -> list[tuple[int, int]]:
        """The (window, backend) that may serve it."""
        return [
            (window, b)
            for b in self.members[one.group]
            for window in range(one.window, one.window + self.steps + 1)
            if (window, b) not in self.closed
        ]

    def _classes(self) -> list[_Class]:
        classes: dict[tuple[Any, ...], _Class] = {}
        for one in self.requests:
            sizes = one.input.bit_length() // 2, one.output.bit_length() // 2
            key = (one.window, one.group, *sizes)
            if key not in classes:
                classes[key] = _Class(one.window, one.group, len(one.cold))
            classes[key].add(one, one.warm)
        return list(classes.values())

    def bound(self) -> Bound:
        program = Program()
        used: dict[tuple[int, int], list[tuple[int, _Class]]] = defaultdict(list)
        everything: list[tuple[int, float]] = []
        for one in self._classes():
            mine: list[tuple[int, float]] = []
            for place in self._choices(one):
                column = program.column(one.cost[place[1]] / self.nano)
                used[place].append((column, one))
                mine.append((column, 1.0))
                everything.append((column, -float(one.count)))
            program.row(mine, 1.0)
        enough = program.row(everything, -self.served)
        rows = [
            self._fill(program, bucket, size, used)
            for bucket, size in zip(self.buckets, self.sizes, strict=True)
        ]
        found = program.solve()
        if found.status != 0:
            raise ConfigError(
                "success",
                self.success,
                f"the limits do not allow it ({found.message})",
            )
        prices = [max(0.0, -float(m)) * self.nano for m in found.ineqlin.marginals]
        cost = self._lagrange(
            prices[enough],
            [
                [prices[row] / size for row in line]
                for line, size in zip(rows, self.sizes, strict=True)
            ],
        )
        share = [0.0] * len(self.fleet.names)
        for (_, b), columns in used.items():
            served = sum(float(found.x[c]) * one.count for c, one in columns)
            share[b] += served / len(self.requests)
        return Bound(cost, dict(zip(self.fleet.names, share, strict=True)))

    def _fill(
        self,
        program: Program,
        bucket: _Bucket,
        size: float,
        used: dict[tuple[int, int], list[tuple[int, _Class]]],
    ) -> list[int]:
        """A bucket from window to window; its level is one more column for each."""
        level = program.column(0.0, bucket.burst / size)
        rows = []
        for window in range(self.last):
            after = program.column(0.0, bucket.burst / size)
            terms = [(after, 1.0), (level, -1.0)]
            for b in bucket.backends:
                for column, one in used[window, b]:
                    units = bucket.units(one.count, one.input, one.output)
                    terms.append((column, units / size))
            rows.append(program.row(terms, bucket.refill(self.width) / size))
            level = after
        return rows

    def _lagrange(self, worth: float, prices: list[list[float]]) -> float:
        """USD at which nobody can serve enough, by prices of capacity.

        ``worth``: nano-USD of serving one request; ``prices``: of a unit of every
        bucket in every window.
        """
        import numpy as np

        own = [self.members[one.group] for one in self.requests]
        bound = Lagrange(
            [_at(one.cold, mine) for one, mine in zip(self.requests, own, strict=True)],
            [_at(one.warm, mine) for one, mine in zip(self.requests, own, strict=True)],
            [one.window for one in self.requests],
            self.steps,
            self.closed,
            [
                Room(
                    bucket.backends,
                    [bucket.units(1, one.input, one.output) for one in self.requests],
                    bucket.burst,
                    bucket.refill(self.width),
                )
                for bucket in self.buckets
            ],
            self.served,
            self.found,
        )
        lines = [np.array(line) for line in prices]
        best = bound.value(worth, lines)
        if self.found is not None:
            best = bound.climb(worth, lines)
        return max(best, 0.0) / 1e9


def _at(cost: tuple[int, ...], backends: list[int]) -> tuple[float, ...]:
    """The costs at these backends; infinite at others."""
    return tuple(nano if b in backends else inf for b, nano in enumerate(cost))


class Regret(NamedTuple):
    """How far a result is from what could have been.

    ``optimum``, ``cheapest``: USD of the lower bound, and of sending everything to the
    one backend that is cheapest, were it without limits; ``fastest``: p95 (s) of
    sending everything to the one that is fastest, likewise. ``cost``: cost of the
    result over the optimum, minus 1; ``p95``: its p95 over the fastest, minus 1.
    """

    optimum: float
    cheapest: float
    fastest: float
    cost: float
    p95: float


def regret(trace: Trace, fleet: Fleet, result: Result) -> Regret:
    """Compare a result of run() with the offline optimum and the two extremes."""
    from ._run import run

    alone = [
        run(trace, fleet.alone(name), strategy="round_robin", seed=result.seed)
        for name in fleet.names
    ]
    optimum = lower_bound(trace, fleet, success=max(result.success, 1e-9)).cost
    cheapest = min(one.cost for one in alone)
    fastest = min(one.p95 for one in alone)
    return Regret(
        optimum,
        cheapest,
        fastest,
        result.cost / optimum - 1 if optimum > 0 else 0.0,
        result.p95 / fastest - 1 if fastest > 0 else 0.0,
    )

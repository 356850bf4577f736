"""The least any strategy could have paid: a linear program and its prices.

1. Requests of a window of time that are alike form a class; a share x[c, b, d] of class
   c goes to backend b, d = 0 or 1 windows after its own:

       minimise    sum cost[c, b] * x[c, b, d]
       such that   sum over b, d of x[c, b, d] <= 1     and enough is served
                   level[w + 1] <= level[w] + refill - used[w]    for every limit,
                   0 <= level <= burst                            a bucket over windows

2. Its dual variables say what a unit of every limit is worth in every window. With any
   such prices, letting every single request choose what is cheapest for it gives a
   lower bound of the cost (Lagrange), and with these nearly the best one:

       sum over requests of min over b, d of (cost + prices * units)  -  prices * room

It is a bound, because it knows the future, fails nowhere, finds every prompt cached
that some backend could have kept, and lets limits average out within a window. No
strategy is cheaper at the same success; none need be able to reach it. Latency plays
no part in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._checks import positive, seconds_of
from .._config import Limit, Limits
from .._errors import ConfigError

if TYPE_CHECKING:
    from .._core import PriceRow
    from ._fleet import Fleet
    from ._result import Result
    from ._trace import Trace

_MOST_WINDOWS = 800


class Bound(NamedTuple):
    """The bound: USD, and the share of requests each backend would serve."""

    cost: float
    share: dict[str, float]


class _Request(NamedTuple):
    window: int
    group: str
    input: int
    output: int
    cost: tuple[int, ...]  # nano-USD at each backend


class _Class:
    """Requests of one window and group that are alike, added up."""

    __slots__ = ("cost", "count", "group", "input", "output", "window")

    def __init__(self, window: int, group: str, backends: int) -> None:
        self.window = window
        self.group = group
        self.count = self.input = self.output = 0
        self.cost = [0] * backends

    def add(self, one: _Request) -> None:
        self.count += 1
        self.input += one.input
        self.output += one.output
        for b, nano in enumerate(one.cost):
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
    width = max(patience, trace.seconds / _MOST_WINDOWS)
    requests = _requests(trace, fleet, width, patience)
    return _Problem(requests, fleet, width, success).bound()


def _requests(
    trace: Trace, fleet: Fleet, width: float, patience: float
) -> list[_Request]:
    hits = _hits(trace)
    keeps = [fleet.service(b.label).core(b)["cache_life"] > 0 for b in fleet.backends]
    rows = [fleet.price_rows(b, trace.seconds) for b in fleet.backends]
    requests = []
    for i, at in enumerate(trace.at):
        prompt, answer = trace.input[i], trace.output[i]
        cost = []
        for b, schedule in enumerate(rows):
            hit = hits[i] if keeps[b] else 0
            found = [
                row.cost(input=prompt - hit, cache_read=hit, output=answer, requests=1)
                for row in _valid(schedule, at / 1e9, at / 1e9 + patience)
            ]
            cost.append(min(nano or 0 for nano in found))
        window = int(at / 1e9 / width)
        name = trace.name_of(i)
        requests.append(_Request(window, name, prompt, answer, tuple(cost)))
    return requests


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


def _hits(trace: Trace) -> list[int]:
    """Tokens of each prompt that some backend could have cached by then."""
    hits = []
    known: set[int] = set()
    last: dict[int, int] = {}
    for i in range(len(trace)):
        hit = 0
        if trace.block is not None and trace.blocks is not None:
            blocks = trace.block[trace.blocks[i] : trace.blocks[i + 1]]
            for block in blocks:
                if block not in known:
                    break
                hit += trace.block_tokens
            known.update(blocks)
        elif trace.session is not None and trace.session[i]:
            hit = last.get(trace.session[i], 0)
            last[trace.session[i]] = trace.input[i] + trace.output[i]
        hits.append(min(hit, trace.input[i]))
    return hits


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


class _Program:
    """A linear program as it grows: columns, and rows of (column, factor)."""

    def __init__(self) -> None:
        self.price: list[float] = []
        self.most: list[float | None] = []
        self.rows: list[tuple[list[tuple[int, float]], float]] = []  # sum <= right side

    def column(self, price: float, most: float | None = None) -> int:
        self.price.append(price)
        self.most.append(most)
        return len(self.price) - 1

    def row(self, terms: list[tuple[int, float]], right: float) -> int:
        self.rows.append((terms, right))
        return len(self.rows) - 1

    def solve(self) -> Any:
        try:
            from scipy.optimize import linprog  # type: ignore[import, unused-ignore]
            from scipy.sparse import csr_matrix  # type: ignore[import, unused-ignore]
        except ImportError:
            raise ConfigError("bound", True, "pip install scipy") from None
        at = [r for r, (terms, _) in enumerate(self.rows) for _ in terms]
        terms = [term for terms, _ in self.rows for term in terms]
        shape = (len(self.rows), len(self.price))
        matrix = csr_matrix(([f for _, f in terms], (at, [c for c, _ in terms])), shape)
        return linprog(
            self.price,
            A_ub=matrix,
            b_ub=[right for _, right in self.rows],
            bounds=[(0, most) for most in self.most],
            method="highs",
        )


class _Problem:
    """The two steps: the program over classes, then its prices over requests."""

    def __init__(
        self, requests: list[_Request], fleet: Fleet, width: float, success: float
    ) -> None:
        self.requests = requests
        self.fleet = fleet
        self.width = width
        self.success = success
        self.served = success * len(requests) * (1 - 1e-12)
        self.last = max(one.window for one in requests) + 2
        self.closed = _closed(fleet, width)
        self.buckets = _buckets(fleet)
        names = {one.group for one in requests}
        self.members = {name: fleet.members(name) for name in names}

    def _choices(self, one: _Request | _Class) -> list[tuple[int, int]]:
        """The (window, backend) that may serve it."""
        return [
            (window, b)
            for b in self.members[one.group]
            for window in (one.window, one.window + 1)
            if (window, b) not in self.closed
        ]

    def _classes(self) -> list[_Class]:
        classes: dict[tuple[Any, ...], _Class] = {}
        for one in self.requests:
            sizes = one.input.bit_length() // 2, one.output.bit_length() // 2
            key = (one.window, one.group, *sizes)
            if key not in classes:
                classes[key] = _Class(one.window, one.group, len(one.cost))
            classes[key].add(one)
        return list(classes.values())

    def bound(self) -> Bound:
        program = _Program()
        used: dict[tuple[int, int], list[tuple[int, _Class]]] = defaultdict(list)
        everything: list[tuple[int, float]] = []
        for one in self._classes():
            mine: list[tuple[int, float]] = []
            for place in self._choices(one):
                column = program.column(one.cost[place[1]] / 1e9)
                used[place].append((column, one))
                mine.append((column, 1.0))
                everything.append((column, -float(one.count)))
            program.row(mine, 1.0)
        enough = program.row(everything, -self.served)
        rows = [self._fill(program, bucket, used) for bucket in self.buckets]
        found = program.solve()
        if found.status != 0:
            raise ConfigError(
                "success",
                self.success,
                f"the limits do not allow it ({found.message})",
            )
        prices = [max(0.0, -float(m)) * 1e9 for m in found.ineqlin.marginals]
        cost = self._lagrange(prices[enough], [[prices[r] for r in x] for x in rows])
        share = [0.0] * len(self.fleet.names)
        for (_, b), columns in used.items():
            served = sum(float(found.x[c]) * one.count for c, one in columns)
            share[b] += served / len(self.requests)
        return Bound(cost, dict(zip(self.fleet.names, share, strict=True)))

    def _fill(
        self,
        program: _Program,
        bucket: _Bucket,
        used: dict[tuple[int, int], list[tuple[int, _Class]]],
    ) -> list[int]:
        """A bucket from window to window; its level is one more column for each."""
        level = program.column(0.0, bucket.burst)
        rows = []
        for window in range(self.last):
            after = program.column(0.0, bucket.burst)
            terms = [(after, 1.0), (level, -1.0)]
            for b in bucket.backends:
                for column, one in used[window, b]:
                    units = bucket.units(one.count, one.input, one.output)
                    terms.append((column, float(units)))
            rows.append(program.row(terms, bucket.refill(self.width)))
            level = after
        return rows

    def _lagrange(self, worth: float, prices: list[list[float]]) -> float:
        """USD at which nobody can serve enough, by prices of capacity.

        ``worth``: nano-USD of serving one request; ``prices``: of a unit of every
        bucket in every window.
        """
        total = worth * self.served
        for bucket, line in zip(self.buckets, prices, strict=True):
            before = 0.0
            for price in line:
                total -= price * bucket.refill(self.width)
                total += bucket.burst * min(0.0, before - price)
                before = price
        by_backend: list[list[tuple[_Bucket, list[float]]]] = [
            [
                (bucket, line)
                for bucket, line in zip(self.buckets, prices, strict=True)
                if b in bucket.backends
            ]
            for b in range(len(self.fleet.names))
        ]
        for one in self.requests:
            best = 0.0
            for window, b in self._choices(one):
                nano = one.cost[b] - worth
                for bucket, line in by_backend[b]:
                    if line[window]:
                        nano += line[window] * bucket.units(1, one.input, one.output)
                best = min(best, nano)
            total += best
        return max(total, 0.0) / 1e9


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

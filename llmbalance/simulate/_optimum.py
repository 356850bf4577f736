"""The least any strategy could have paid: a linear program over time windows.

Requests of a window fall into classes of the same group and similar size; a share
x[c, b, d] of class c goes to backend b, d = 0 or 1 windows after its own:

    minimise    sum cost[c, b] * x[c, b, d]
    such that   sum over b, d of x[c, b, d] = 1        every request is served
                level[w + 1] <= level[w] + refill - used[w]     for every limit,
                0 <= level <= burst                             a bucket over windows

It is a lower bound, because it knows the future, splits requests, fails nowhere, finds
every prompt cached that some backend could have kept, and lets limits average out
within a window, which is as long as a request may wait. No strategy is cheaper at the
same success; none need be able to reach it. Latency plays no part in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._config import Limit, Limits, positive, seconds_of
from .._errors import ConfigError

if TYPE_CHECKING:
    from .._core import PriceRow
    from ._fleet import Fleet
    from ._trace import Trace

_MOST_WINDOWS = 240


class Bound(NamedTuple):
    """The relaxed optimum: USD, and the share of requests each backend serves."""

    cost: float
    share: dict[str, float]


class _Class:
    """Requests of one window and group that are alike."""

    __slots__ = ("cost", "count", "group", "input", "output", "window")

    def __init__(self, window: int, group: str, backends: int) -> None:
        self.window = window
        self.group = group
        self.count = self.input = self.output = 0
        self.cost = [0] * backends  # nano-USD of all of them, at each backend


class _Bucket(NamedTuple):
    """A limit and the backends that share it."""

    limit: Limit
    charge: str
    backends: list[int]


def lower_bound(
    trace: Trace, fleet: Fleet, *, success: float = 1.0, patience: float = 60.0
) -> Bound:
    """Return the least cost of serving a share ``success`` of ``trace``.

    ``patience``: how long a request may wait, s. Needs SciPy. Raises ConfigError when
    the limits do not allow so much success.
    """
    positive("patience", patience)
    if not 0 < success <= 1:
        raise ConfigError("success", success, "give a share above 0, at most 1")
    if not len(trace):
        return Bound(0.0, dict.fromkeys(fleet.names, 0.0))
    width = max(patience, trace.seconds / _MOST_WINDOWS)
    classes = _classes(trace, fleet, width, patience)
    return _solve(classes, fleet, width, success, len(trace))


def _classes(trace: Trace, fleet: Fleet, width: float, patience: float) -> list[_Class]:
    classes: dict[tuple[int, str, int, int], _Class] = {}
    hits = _hits(trace)
    keeps = [fleet.service(b.label).core(b)["cache_life"] > 0 for b in fleet.backends]
    rows = [fleet.price_rows(b, trace.seconds) for b in fleet.backends]
    for i, at in enumerate(trace.at):
        window = int(at / 1e9 / width)
        prompt, answer = trace.input[i], trace.output[i]
        sizes = prompt.bit_length(), answer.bit_length()
        key = (window, trace.name_of(i), *sizes)
        one = classes.get(key)
        if one is None:
            one = classes[key] = _Class(window, key[1], len(rows))
        one.count += 1
        one.input += prompt
        one.output += answer
        for b, schedule in enumerate(rows):
            hit = hits[i] if keeps[b] else 0
            one.cost[b] += min(
                row.cost(input=prompt - hit, cache_read=hit, output=answer, requests=1)
                or 0
                for row in _valid(schedule, at / 1e9, at / 1e9 + patience)
            )
    return list(classes.values())


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


def _units(bucket: _Bucket, one: _Class) -> int:
    what = bucket.limit.what
    if what == "requests":
        return one.count
    if what == "input_tokens" or (what == "tokens" and bucket.charge == "chars4"):
        return one.input
    return one.output if what == "output_tokens" else one.input + one.output


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
    """The linear program as it grows: columns, and rows of (column, factor)."""

    def __init__(self) -> None:
        self.price: list[float] = []
        self.most: list[float | None] = []
        self.rows: list[tuple[list[tuple[int, float]], float]] = []  # sum <= right side

    def column(self, price: float, most: float | None = None) -> int:
        self.price.append(price)
        self.most.append(most)
        return len(self.price) - 1

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


def _solve(
    classes: list[_Class], fleet: Fleet, width: float, success: float, total: int
) -> Bound:
    program = _Program()
    last = max(one.window for one in classes) + 1
    closed = _closed(fleet, width)
    used: dict[tuple[int, int], list[tuple[int, _Class]]] = defaultdict(list)
    everything: list[tuple[int, float]] = []
    for one in classes:
        mine: list[tuple[int, float]] = []
        for b in fleet.members(one.group):
            for window in (one.window, one.window + 1):
                if (window, b) in closed:
                    continue
                column = program.column(one.cost[b] / 1e9)
                used[window, b].append((column, one))
                mine.append((column, 1.0))
                everything.append((column, -float(one.count)))
        program.rows.append((mine, 1.0))
    program.rows.append((everything, -success * total * (1 - 1e-12)))
    for bucket in _buckets(fleet):
        _fill(program, bucket, used, last, width)
    found = program.solve()
    if found.status != 0:
        raise ConfigError(
            "success", success, f"the limits do not allow it ({found.message})"
        )
    share = [0.0] * len(fleet.names)
    for (_, b), columns in used.items():
        share[b] += sum(float(found.x[c]) * one.count for c, one in columns) / total
    return Bound(float(found.fun), dict(zip(fleet.names, share, strict=True)))


def _fill(
    program: _Program,
    bucket: _Bucket,
    used: dict[tuple[int, int], list[tuple[int, _Class]]],
    last: int,
    width: float,
) -> None:
    """A bucket from window to window; its level is one more column for each."""
    burst = float(bucket.limit.burst or bucket.limit.amount)
    refill = bucket.limit.amount * width / seconds_of("per", bucket.limit.per)
    level = program.column(0.0, burst)
    for window in range(last + 1):
        after = program.column(0.0, burst)
        terms = [(after, 1.0), (level, -1.0)]
        for b in bucket.backends:
            terms += [(c, float(_units(bucket, one))) for c, one in used[window, b]]
        program.rows.append((terms, refill))
        level = after

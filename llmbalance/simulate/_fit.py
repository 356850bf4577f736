"""Calibration: a service model from requests that were measured.

    ttft    = base * exp(spread * N)  +  prefill * input      N: standard normal
    token   = (total - ttft) / (output - 1), median and spread

The slope of ttft over input is Theil and Sen's (the median of slopes between pairs), so
that a few hanging calls do not tilt it; spreads come from the quartiles of logarithms.
What lies beyond four of these spreads is the tail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from os import PathLike
from statistics import median
from typing import Any, NamedTuple

from msgspec.structs import replace

from .._errors import ConfigError
from ._formats import table
from ._service import MOST, Service

_PAIRS = 20_000
_QUARTILES = 1.349  # between the quartiles of a standard normal, in sigmas
_LEAST = 8  # requests


class Measured(NamedTuple):
    """One measured request: tokens, and seconds to the first token and in all."""

    input: int
    output: int
    ttft: float
    seconds: float


class Fit:
    """A fitted service model with what it was fitted to.

    ``service``: the model; ``requests``: what was measured.
    """

    def __init__(self, service: Service, requests: Sequence[Measured]) -> None:
        self.service = service
        self.requests = list(requests)

    def check(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Return quantiles (s): name -> (measured, simulated on the same lengths)."""
        simulated = simulate(self.service, self.requests, seed)
        table = {}
        for name in ("ttft", "seconds"):
            pair = [
                sorted(getattr(one, name) for one in some)
                for some in (self.requests, simulated)
            ]
            for p in (0.5, 0.9, 0.95, 0.99):
                table[f"{name} p{100 * p:g}"] = _at(pair[0], p), _at(pair[1], p)
        return table

    def plot(self) -> Any:
        """Draw measured against simulated distributions; a matplotlib Figure."""
        from ._plot import plot_fit

        return plot_fit(self.requests, simulate(self.service, self.requests, 0))

    def __repr__(self) -> str:
        lines = [
            f"{name:<12} measured {a:7.3f} s   simulated {b:7.3f} s"
            for name, (a, b) in self.check().items()
        ]
        return "\n".join([repr(self.service), *lines])


def fit_service(
    source: str | PathLike[str] | Iterable[Sequence[float]],
    *,
    backend: str | None = None,
    where: dict[str, str] | None = None,
    base: Service | None = None,
    **columns: str,
) -> Fit:
    """Fit a Service to measured requests.

    ``source``: a ledger (with ``backend`` its name), a CSV file, or rows of (input,
    output, ttft s, seconds). Of a CSV, ``input``, ``output``, ``ttft`` and ``seconds``
    name columns, and ``where`` keeps the lines whose columns have these texts.
    ``base``: where everything else comes from. Raises ConfigError for less than 8
    complete requests.
    """
    if not isinstance(source, str | PathLike):
        rows = [_measured(row) for row in source]
    elif is_ledger(source):
        rows = _from_ledger(source, backend)
    else:
        rows = _from_csv(source, where or {}, columns)
    good = [
        r
        for r in rows
        if r.input >= 0 and r.output > 0 and 0 < r.ttft <= r.seconds < MOST
    ]
    if len(good) < _LEAST:
        raise ConfigError("source", len(good), f"give {_LEAST} complete requests")
    return Fit(_fit(good, base or Service()), good)


def _measured(row: Sequence[float]) -> Measured:
    try:
        tokens, output, ttft, seconds = row
        return Measured(int(tokens), int(output), float(ttft), float(seconds))
    except (TypeError, ValueError):
        told = "give rows of (input, output, ttft s, seconds)"
        raise ConfigError("source", row, told) from None


def _fit(rows: list[Measured], base: Service) -> Service:
    slope = max(0.0, _theil_sen([(r.input, r.ttft) for r in rows]))
    rest = [r.ttft - slope * r.input for r in rows]
    floor = 0.05 * median(r.ttft for r in rows)
    bases = sorted(max(x, floor) for x in rest)
    typical, spread = median(bases), _spread(bases)
    edge = typical * math.exp(4 * max(spread, 0.05))
    tail = [x for x in bases if x > edge]
    paces = sorted(
        (r.seconds - r.ttft) / (r.output - 1)
        for r in rows
        if r.output > 1 and r.seconds > r.ttft
    )
    return replace(
        base,
        ttft=typical,
        ttft_spread=spread,
        tail_share=len(tail) / len(bases),
        tail_factor=median(tail) / typical if tail else 1.0,
        prefill=1000 * slope,
        token=median(paces) if paces else 0.0,
        token_spread=_spread(paces) if paces else 0.0,
    )


def _theil_sen(points: list[tuple[int, float]]) -> float:
    """The median slope between pairs of points; of many, a fixed draw."""
    draw = random.Random(0)
    slopes = []
    for _ in range(_PAIRS):
        (x1, y1), (x2, y2) = draw.choice(points), draw.choice(points)
        if x1 != x2:
            slopes.append((y2 - y1) / (x2 - x1))
    return median(slopes) if slopes else 0.0


def _spread(values: list[float]) -> float:
    """Sigma of the logarithm, from the quartiles."""
    low, high = _at(values, 0.25), _at(values, 0.75)
    return math.log(high / low) / _QUARTILES if 0 < low < high else 0.0


def _at(values: Sequence[float], p: float) -> float:
    return values[min(len(values) - 1, int(p * len(values)))]


def simulate(service: Service, rows: Sequence[Measured], seed: int) -> list[Measured]:
    """Draw the same requests again from a model, one at a time, by the core."""
    from .._config import Backend
    from .._price import Price
    from ._fleet import Fleet
    from ._run import run
    from ._trace import Trace

    trace = Trace(
        range(0, len(rows) * 10**13, 10**13),
        [max(1, r.input) for r in rows],
        [r.output for r in rows],
    )
    alone = replace(service, limits=None, failure_rate=0.0, cache_life=0.0)
    backend = Backend("openai_compatible/fitted", price=Price(0, 0))
    fleet = Fleet([backend], services={"*": alone})
    found = run(trace, fleet, seed=seed, timeout=9000, samples=True, slices=1)
    return [
        Measured(row.input, row.output, told["ttft"], told["seconds"])
        for row, told in zip(rows, found.requests(), strict=True)
    ]


def is_ledger(path: str | PathLike[str]) -> bool:
    """Return whether a file is a database, as ledgers are."""
    with open(path, "rb") as file:
        return file.read(15) == b"SQLite format 3"


def is_streamed(path: str | PathLike[str]) -> bool:
    """Return whether most answers of a ledger tell of their first token, as streams do.

    Its last 10,000 answers are looked at.
    """
    import sqlite3

    last = "SELECT coalesce(ttft_s, 0) > 0 AS told FROM attempts WHERE status = 'ok'"
    sql = f"SELECT avg(told) > 0.5 FROM ({last} ORDER BY id DESC LIMIT 10000)"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return bool(connection.execute(sql).fetchone()[0])
    except sqlite3.Error as error:
        raise ConfigError("source", str(path), f"no ledger: {error}") from None
    finally:
        connection.close()


def _from_ledger(path: str | PathLike[str], backend: str | None) -> list[Measured]:
    import sqlite3

    from .._money._ledger import _INPUT, _OUTPUT

    sql = f"SELECT {_INPUT} - cache_read, {_OUTPUT}, ttft_s, latency_s FROM attempts"
    sql += " WHERE status = 'ok' AND ttft_s > 0 AND latency_s > 0"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        if backend is None:
            names = connection.execute("SELECT DISTINCT backend FROM attempts")
            found = sorted(name for (name,) in names)
            if len(found) != 1:
                raise ConfigError("backend", None, f"one of {', '.join(found)}")
            backend = found[0]
        rows = connection.execute(f"{sql} AND backend = ?", (backend,)).fetchall()
    except sqlite3.Error as error:
        raise ConfigError("source", str(path), f"no ledger: {error}") from None
    finally:
        connection.close()
    return [Measured(*row) for row in rows]


def _from_csv(
    path: str | PathLike[str], where: dict[str, str], columns: dict[str, str]
) -> list[Measured]:
    names = {name: name for name in Measured._fields} | columns
    if names.keys() != set(Measured._fields):
        raise ConfigError("columns", sorted(columns), f"known are {Measured._fields}")
    rows = []
    with table(path) as reader:
        lacking = {*names.values(), *where} - set(reader.fieldnames or ())
        if lacking:
            raise ConfigError("columns", sorted(lacking), f"not in {path}")
        for line in reader:
            if any(line[key] != value for key, value in where.items()):
                continue
            try:
                figures = [float(line[names[name]]) for name in Measured._fields]
            except (TypeError, ValueError):
                continue  # a failed request has holes
            rows.append(Measured(int(figures[0]), int(figures[1]), *figures[2:]))
    return rows

"""What the history of a ledger lets one expect: speed, load, and when limits are full.

    History --judge each series--> Study    which way of telling, how good it is
                                     |-- usual(backend, when)  s, where they can be told
                                     |-- load(name, when)      calls, tokens a minute
                                     '-- used_up(limit, ...)   when its bucket overflows

What comes an hour later decides: so old is easily what a router knows of a backend that
it did not ask for a while. Limits refill within a minute, so
for load the EWMA nearly always stays.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from ._history import DAY, WIDTH, History, Track
from ._series import Model, Verdict, judge

MOST_STUDIED = 32  # backends and groups, the busiest ones
AHEAD = (1, 6)  # bins: ten minutes and an hour
DECIDE = 6
_PARTS = (24, DAY)  # a season's hours, or each ten minutes of it
_STEADY = 12  # bins that must agree on a growth
_CARRIED = 18  # bins for which it is taken to go on
_SURE = 3.0  # standard errors that make a growth one
_PER_MINUTE = 60 / WIDTH
SPEEDS, LOADS = ("ttft", "itl"), ("calls", "tokens", "input", "output")


class Line(Struct):
    """One series: the verdict on it, the model that goes on, its growth per bin."""

    verdict: Verdict
    model: Model
    growth: float = 0.0

    @property
    def told(self) -> bool:
        """Whether the time of day tells more than what came last."""
        return self.verdict.best == "holt_winters"

    def at(self, steps: int) -> float | None:
        """Return the value ``steps`` bins after the last one."""
        value = self.model.tell(max(steps, 1))
        if value is None or self.told:
            return value
        return max(value + self.growth * min(steps, _CARRIED), 0.0)


class Study(Struct):
    """Forecasts from ``end`` (epoch s) on; ``lines``: (name, figure) -> its line."""

    end: float
    days: float
    attempts: int
    backends: list[str]
    groups: list[str]
    lines: dict[tuple[str, str, str], Line]

    def steps(self, when: float) -> int:
        """Return how many bins after the history's last one ``when`` (epoch s) lies."""
        return max(int((when - self.end) // WIDTH) + 1, 1)

    def usual(self, backend: str, when: float) -> tuple[float, float]:
        """Return s to the first token and s a token at ``when``; 0 where not known."""
        found = []
        for figure in SPEEDS:
            line = self.lines.get(("backend", backend, figure))
            value = line.at(self.steps(when)) if line and line.told else None
            found.append(value or 0.0)
        return found[0], found[1]

    def load(self, scope: str, name: str, figure: str, when: float) -> float:
        """Return one of LOADS, a minute, of a "backend" or a "group" at ``when``."""
        line = self.lines.get((scope, name, figure))
        value = line.at(self.steps(when)) if line else None
        return (value or 0.0) * _PER_MINUTE

    @property
    def helps(self) -> bool:
        """Whether the time of day tells how fast some backend is."""
        return any(
            line.told for (_, _, figure), line in self.lines.items() if figure in SPEEDS
        )


def study(
    history: History,
    *,
    speeds_only: bool = False,
    rest: Callable[[], None] = lambda: None,
) -> Study:
    """Judge the series of the busiest backends and groups, with ``rest`` now and then.

    ``speeds_only``: leave their load out.
    """
    lines: dict[tuple[str, str, str], Line] = {}
    chosen = {}
    for scope, tracks in (("backend", history.backends), ("group", history.groups)):
        busy = sorted(tracks, key=lambda name: (-sum(tracks[name].calls), name))
        chosen[scope] = busy[:MOST_STUDIED]
        for name in chosen[scope]:
            figures = () if speeds_only else LOADS
            for figure in (*figures, *SPEEDS) if scope == "backend" else figures:
                lines[scope, name, figure] = _line(tracks[name], figure, rest)
    return Study(
        history.end,
        history.days,
        history.attempts,
        chosen["backend"],
        chosen["group"],
        lines,
    )


def _line(track: Track, figure: str, rest: Callable[[], None]) -> Line:
    values = getattr(track, figure)
    verdict, model = judge(
        values,
        DAY,
        ahead=AHEAD,
        decide=DECIDE,
        parts=_PARTS,
        longer=7 * DAY,
        rest=rest,
    )
    return Line(verdict, model, growth_of(values) if figure in LOADS else 0.0)


def growth_of(values: Sequence[float]) -> float:
    """Return the slope of the last two hours per bin, 0 where it may be chance.

    It must be three of its standard errors (ordinary least squares) away from 0.
    """
    late = values[-_STEADY:]
    n = len(late)
    if n < _STEADY:
        return 0.0
    middle, mean = (n - 1) / 2, statistics.fmean(late)
    spread = sum((k - middle) ** 2 for k in range(n))
    slope = sum((k - middle) * (y - mean) for k, y in enumerate(late)) / spread
    rest = sum((y - mean - slope * (k - middle)) ** 2 for k, y in enumerate(late))
    error = (rest / (n - 2) / spread) ** 0.5
    return slope if abs(slope) > _SURE * error else 0.0


def used_up(
    limit: dict[str, Any],
    rate: Callable[[int], float],
    now: float,
    end: float,
    bins: int = DAY,
) -> float | None:
    """Return when (epoch s) a limit's bucket will be full, None: not in ``bins``.

    ``limit``: as Pool.limit() tells it; ``rate``: units a minute, of a bin after
    ``end``. What is used now counts, and what comes back in the meantime.
    """
    burst, back = limit["burst"], limit["limit"] / limit["window"]
    level = min(limit["used"], 1.0) * burst
    first = max(int((now - end) // WIDTH) + 1, 1)
    for step in range(first, first + bins):
        begin = max(end + (step - 1) * WIDTH, now)
        width = end + step * WIDTH - begin
        net = rate(step) / 60 - back
        if net > 0 and level + net * width >= burst:
            return float(begin + (burst - level) / net)
        level = max(level + net * width, 0.0)
    return None

"""What comes next in a series of figures, and which way of telling that was best.

    x   9  12  30  28  | 10  13  31  29  | 11  14  ?        one value each 10 minutes
        '- a season -'   '- the next --'   '- now: 33?

Four ways: the last value; an average that forgets (EWMA); the same time yesterday; and
Holt and Winters' three averages, of the level, the damped trend and what each hour of
the season adds. They are compared by walking forward: every forecast uses only what
came before it, and the settings of a way are found on the first part of the series and
judged on the rest. WAPE is the sum of misses over the sum of values.

Holt-Winters must beat the EWMA by more than 5 % to be believed: on most traffic it
does not (Winters 1960; damped: Gardner, McKenzie 1985). None is a value nobody saw.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

Series = Sequence[float | None]

MARGIN = 0.05  # what Holt-Winters must be better by
LEAST_SEASONS = 3  # two to learn from, one to be judged on
_USUAL = 0.7  # of an EWMA, for ten minutes: best on two weeks of public traffic
_EWMA = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
_LEVEL, _SEASON = (0.05, 0.2, 0.5, 0.8), (0.05, 0.2)
_TREND = ((0.0, 1.0), (0.05, 0.9))  # how fast it is learned, how much of it is kept
_WARM = 6  # values before the first forecast counts
_FEW = 24  # test values below which a comparison says nothing
_WILD = 8.0  # times the median: beyond that a value is a mishap, not a forecast's


class Smooth:
    """An EWMA: the level forgets ``1 - alpha`` of itself with each value."""

    __slots__ = ("alpha", "level")

    def __init__(self, alpha: float, level: float | None = None) -> None:
        self.alpha = alpha
        self.level = level

    def learn(self, value: float | None) -> None:
        """Take the next value in; None: nobody saw it."""
        if value is None:
            return
        if self.level is None:
            self.level = value
        else:
            self.level += self.alpha * (value - self.level)

    def tell(self, ahead: int) -> float | None:
        """Return the value ``ahead`` (>= 1) steps after the newest; None: unknown."""
        return self.level


class HoltWinters:
    """Level, damped trend and season, each an average that forgets.

    ``seasonal``: what the parts of a season add to the level, the next value's first;
    each lasts ``span`` values. ``beta``, ``phi``: how fast the trend is learned, and
    which part of it is kept from step to step (0..1).
    """

    __slots__ = (
        *("alpha", "beta", "gamma", "level", "phi"),
        *("seasonal", "span", "step", "trend"),
    )

    def __init__(
        self,
        alpha: float,
        beta: float,
        gamma: float,
        phi: float,
        level: float,
        trend: float,
        seasonal: Sequence[float],
        span: int = 1,
    ) -> None:
        self.alpha, self.beta, self.gamma, self.phi = alpha, beta, gamma, phi
        self.level, self.trend = level, trend
        self.seasonal = list(seasonal)
        self.span = span
        self.step = 0  # of the next value, from the start of the season

    @classmethod
    def begin(
        cls,
        first: Series,
        span: int,
        parts: int,
        settings: tuple[float, float, float, float],
    ) -> HoltWinters:
        """Start after whole seasons of values; ``settings``: alpha, beta, gamma, phi.

        Each season's own mean is taken off before its parts are averaged.
        """
        length = span * parts
        known = [x for x in first if x is not None]
        whole = statistics.fmean(known) if known else 0.0
        adds: list[list[float]] = [[] for _ in range(parts)]
        level = whole
        for at in range(0, len(first) - length + 1, length):
            season = first[at : at + length]
            seen = [x for x in season if x is not None]
            level = statistics.fmean(seen) if seen else whole
            for k, value in enumerate(season):
                if value is not None:
                    adds[k // span].append(value - level)
        seasonal = [statistics.fmean(part) if part else 0.0 for part in adds]
        alpha, beta, gamma, phi = settings
        return cls(alpha, beta, gamma, phi, level, 0.0, seasonal, span)

    def learn(self, value: float | None) -> None:
        """Take the next value in; None: nobody saw it, but time went on."""
        part = self.step // self.span
        self.step = (self.step + 1) % (self.span * len(self.seasonal))
        damped = self.phi * self.trend
        if value is None:
            self.level += damped
            self.trend = damped
            return
        season = self.seasonal[part]
        before = self.level
        self.level = (1 - self.alpha) * (before + damped) + self.alpha * (
            value - season
        )
        self.trend = (1 - self.beta) * damped + self.beta * (self.level - before)
        # The season's share of the miss, which the level has not taken up.
        self.seasonal[part] += (
            self.gamma * (1 - self.alpha) * (value - season - before - damped)
        )

    def tell(self, ahead: int) -> float | None:
        """Return the value ``ahead`` (>= 1) steps after the newest, never below 0."""
        at = (self.step + ahead - 1) % (self.span * len(self.seasonal))
        phi = self.phi
        if phi == 1.0:
            growth = self.trend * ahead
        else:
            growth = self.trend * phi * (1 - phi**ahead) / (1 - phi)
        return max(self.level + growth + self.seasonal[at // self.span], 0.0)


Model = Smooth | HoltWinters


class Verdict(Struct, frozen=True):
    """How well a series could be told, by walking forward through its second part.

    ``wape``: way -> steps ahead -> sum of misses / sum of values, of "last", "ewma",
    "yesterday" and "holt_winters"; ``best``: "ewma" or "holt_winters"; ``gain``: the
    part of the EWMA's misses that Holt-Winters saves at the deciding distance (below
    0: adds); ``low``, ``high``: four of five values lay between these multiples of
    the forecast; ``tested``: values it was judged on; ``why`` in words.
    """

    wape: dict[str, dict[int, float]]
    best: str
    gain: float | None
    low: float
    high: float
    tested: int
    why: str


def tame(series: Series) -> list[float | None]:
    """Return the series with mishaps cut to a multiple of its median."""
    known = [x for x in series if x is not None]
    if not known:
        return list(series)
    most = _WILD * statistics.median(known)
    if most <= 0:
        return list(series)
    return [None if x is None else min(x, most) for x in series]


def judge(
    series: Series,
    season: int,
    *,
    ahead: Sequence[int] = (1, 6),
    decide: int = 6,
    parts: Sequence[int] = (24,),
    longer: int = 0,
    rest: Callable[[], None] = lambda: None,
) -> tuple[Verdict, Model]:
    """Compare all ways on a series; return the verdict and the best way, up to date.

    ``season``: values in one, ``parts``: pieces of it that are told apart (what proves
    best of these); ``longer``: values in a season of seasons, such as a week, tried
    too where there are three of it; ``ahead``: steps to be judged at, of which
    ``decide`` decides; ``rest`` is called every few milliseconds. The model has seen
    all values.
    """
    values = tame(series)
    n = len(values)
    shapes = [(season, pieces) for pieces in parts]
    if longer:
        shapes.append((longer, parts[0] * longer // season))
    shapes = [shape for shape in shapes if n >= LEAST_SEASONS * shape[0]]
    begin = max((_learned(n, length) for length, _ in shapes), default=0)
    whole = max((length for length, _ in shapes), default=_WARM)
    split = max(n // 2, begin + whole)
    ways = {"last": _smooth(1.0)}
    ways["ewma"] = _steady(values, split, decide, rest)
    if shapes:
        settings = itertools.product(shapes, _LEVEL, _TREND, _SEASON)
        winters = (
            _winters(_learned(n, length), length // pieces, pieces, (a, b, c, phi))
            for (length, pieces), a, (b, phi), c in settings
        )
        ways["holt_winters"] = _best(winters, values, begin, split, decide, rest)
    told = {
        name: {steps: _wape(_walk(way, values, split, steps)) for steps in ahead}
        for name, way in ways.items()
    }
    if n > season:
        told["yesterday"] = {
            steps: _wape(_same_hour(values, season, split)) for steps in ahead
        }
    best, gain, why = _choose(told, decide, season)
    pairs = _walk(ways[best], values, split, decide)
    low, high = _spread(pairs)
    verdict = Verdict(told, best, gain, low, high, len(pairs), why)
    model, start = ways[best](values)
    for value in values[start:]:
        model.learn(value)
    return verdict, model


# -- ways: what starts a model, and the place from which it learns ----------------

Way = Callable[[Series], tuple[Model, int]]


def _smooth(alpha: float) -> Way:
    return lambda values: (Smooth(alpha), 0)


def _learned(n: int, season: int) -> int:
    """How many of ``n`` values a season's first shape is taken from."""
    return 2 * season if n >= 6 * season else season


def _winters(
    first: int, span: int, parts: int, settings: tuple[float, float, float, float]
) -> Way:
    return lambda values: (
        HoltWinters.begin(values[:first], span, parts, settings),
        first,
    )


def _steady(values: Series, end: int, steps: int, rest: Callable[[], None]) -> Way:
    """The usual EWMA, unless the first part of the series clearly asks for another."""
    usual = _smooth(_USUAL)
    other = _best(map(_smooth, _EWMA), values, _WARM, end, steps, rest)
    plain = _wape(_walk(usual, values[:end], _WARM, steps))
    rival = _wape(_walk(other, values[:end], _WARM, steps))
    return other if rival < (1 - MARGIN) * plain else usual


def _best(
    ways: Iterable[Way],
    values: Series,
    begin: int,
    end: int,
    steps: int,
    rest: Callable[[], None],
) -> Way:
    """The way with the fewest misses on the part [begin, end)."""

    def misses(way: Way) -> float:
        rest()
        return _wape(_walk(way, values[:end], begin, steps))

    return min(ways, key=misses)


# -- judging ----------------------------------------------------------------------

Pairs = list[tuple[float, float]]  # forecast, value


def _walk(way: Way, values: Series, begin: int, steps: int) -> Pairs:
    """Forecasts made ``steps`` before, and the values from ``begin`` on."""
    model, start = way(values)
    learn, tell = model.learn, model.tell
    pairs = []
    for at in range(start, len(values) - steps):
        learn(values[at])
        value = values[at + steps]
        if at + steps >= begin and value is not None:
            forecast = tell(steps)
            if forecast is not None:
                pairs.append((forecast, value))
    return pairs


def _same_hour(values: Series, season: int, begin: int) -> Pairs:
    return [
        (then, now)
        for then, now in zip(values, values[season:], strict=False)
        if then is not None and now is not None
    ][max(begin - season, 0) :]


def _wape(pairs: Pairs) -> float:
    """The sum of misses over the sum of values; inf when there is nothing to miss."""
    total = sum(value for _, value in pairs)
    if total <= 0:
        return math.inf
    return sum(abs(forecast - value) for forecast, value in pairs) / total


def _choose(
    told: dict[str, dict[int, float]], decide: int, season: int
) -> tuple[str, float | None, str]:
    plain = told["ewma"][decide]
    if "holt_winters" not in told:
        return "ewma", None, f"less than {LEAST_SEASONS} days of history"
    if not 0 < plain < math.inf:
        return "ewma", None, "nothing to forecast"
    gain = 1 - told["holt_winters"][decide] / plain
    why = f"Holt-Winters misses {abs(gain):.1%} {'less' if gain > 0 else 'more'}"
    if gain > MARGIN:
        return "holt_winters", gain, why
    return "ewma", gain, f"{why}; more than {MARGIN:.0%} less is asked"


def _spread(pairs: Pairs) -> tuple[float, float]:
    """The multiples of the forecast between which four of five values lay."""
    ratios = sorted(value / forecast for forecast, value in pairs if forecast > 0)
    if len(ratios) < _FEW:
        return 0.0, math.inf
    return ratios[len(ratios) // 10], ratios[len(ratios) - 1 - len(ratios) // 10]

"""Traffic that is made up: arrival processes and lengths, from a seed."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable

from .._checks import one_of, positive
from .._errors import ConfigError
from ._trace import Trace

# A fixed number of tokens, or (median, sigma of the logarithm).
Lengths = int | tuple[float, float]
_MOST = 1_000_000  # tokens of a text
_NS = 1e9
_ROUGHEST = 100.0  # beyond this cv most of a gamma's gaps are no numbers any more


def drawer(field: str, lengths: Lengths, draw: random.Random) -> Callable[[], int]:
    """Return a function that draws a length, 1 to a million tokens."""
    if isinstance(lengths, int):
        positive(field, lengths)
        return lambda: lengths
    try:
        median, sigma = lengths
        mu = math.log(median)
        good = math.isfinite(mu) and 0 <= sigma <= 5
    except (TypeError, ValueError):
        raise ConfigError(field, lengths, "give tokens, or (median, sigma)") from None
    if not good:
        raise ConfigError(field, lengths, "give a median > 0, and sigma within 0 and 5")
    return lambda: min(_MOST, max(1, round(draw.lognormvariate(mu, sigma))))


def made(
    times: array[int], draw: random.Random, input: Lengths, output: Lengths, group: str
) -> Trace:
    """Give every arrival a prompt and an answer."""
    prompt, answer = drawer("input", input, draw), drawer("output", output, draw)
    return Trace(
        times,
        array("i", (prompt() for _ in times)),
        array("i", (answer() for _ in times)),
        groups=(group,),
    )


def renewal(gap: Callable[[], float], seconds: float) -> array[int]:
    """Return arrivals (ns) with independent gaps (s) until ``seconds``."""
    times = array("q")
    now = gap()
    while now < seconds:
        times.append(int(now * _NS))
        now += gap()
    return times


def poisson(
    rate: float,
    seconds: float,
    seed: int,
    input: Lengths,
    output: Lengths,
    group: str,
    turns: float,
    think: float,
) -> Trace:
    positive("rate", rate)
    positive("seconds", seconds)
    positive("think", think)
    if not turns >= 1:
        raise ConfigError("turns", turns, "give a mean of 1 or more")
    draw = random.Random(seed)
    if turns == 1:
        times = renewal(lambda: draw.expovariate(rate), seconds)
        return made(times, draw, input, output, group)
    prompt, answer = drawer("input", input, draw), drawer("output", output, draw)
    rows: list[tuple[float, int, int, int]] = []
    now, session = draw.expovariate(rate / turns), 0
    while now < seconds:
        session += 1
        at, history = now, 0
        while True:
            asked, told = min(prompt() + history, _MOST), answer()
            rows.append((at, asked, told, session))
            history = asked + told
            at += draw.expovariate(1 / think)
            if at >= seconds or draw.random() * turns < 1:
                break
        now += draw.expovariate(rate / turns)
    rows.sort()
    return Trace(
        [int(at * _NS) for at, _, _, _ in rows],
        [asked for _, asked, _, _ in rows],
        [told for _, _, told, _ in rows],
        session=[number for _, _, _, number in rows],
        groups=(group,),
    )


def bursty(
    rate: float,
    seconds: float,
    cv: float,
    shape: str,
    seed: int,
    input: Lengths,
    output: Lengths,
    group: str,
) -> Trace:
    positive("rate", rate)
    positive("seconds", seconds)
    positive("cv", cv)
    one_of("shape", shape, ("gamma", "weibull"))
    draw = random.Random(seed)
    if shape == "gamma":
        if cv > _ROUGHEST:
            raise ConfigError("cv", cv, f"give at most {_ROUGHEST:g}")
        alpha = 1 / cv**2
        times = renewal(lambda: draw.gammavariate(alpha, 1 / (alpha * rate)), seconds)
    else:
        beta = weibull_shape(cv)
        scale = 1 / (rate * math.gamma(1 + 1 / beta))
        times = renewal(lambda: draw.weibullvariate(scale, beta), seconds)
    return made(times, draw, input, output, group)


def weibull_shape(cv: float) -> float:
    """Return the shape whose standard deviation is ``cv`` times the mean."""
    low, high = 0.1, 50.0

    def cv_of(beta: float) -> float:
        ratio = math.lgamma(1 + 2 / beta) - 2 * math.lgamma(1 + 1 / beta)
        return math.sqrt(math.expm1(ratio))

    if not cv_of(high) <= cv <= cv_of(low):
        raise ConfigError(
            "cv", cv, f"a Weibull has {cv_of(high):.2g}..{cv_of(low):.2g}"
        )
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if cv_of(middle) > cv else (low, middle)
    return low


def daily(
    rate: float,
    days: float,
    swing: float,
    peak: float,
    seed: int,
    input: Lengths,
    output: Lengths,
    group: str,
) -> Trace:
    positive("rate", rate)
    positive("days", days)
    if not 0 <= swing <= 1:
        raise ConfigError("swing", swing, "give a share, 0 to 1")
    if not 0 <= peak <= 24:
        raise ConfigError("peak", peak, "give an hour of the day, 0 to 24")
    draw = random.Random(seed)

    def now_rate(second: float) -> float:
        return rate * (1 + swing * math.cos(math.tau * (second / 86400 - peak / 24)))

    times = thinned(now_rate, rate * (1 + swing), days * 86400, draw)
    return made(times, draw, input, output, group)


def thinned(
    rate_at: Callable[[float], float], most: float, seconds: float, draw: random.Random
) -> array[int]:
    """Return Poisson arrivals (ns) of a rate that changes (Lewis, Shedler 1979)."""
    times = array("q")
    if not most > 0:  # nobody ever comes
        return times
    now = draw.expovariate(most)
    while now < seconds:
        if draw.random() * most < rate_at(now):
            times.append(int(now * _NS))
        now += draw.expovariate(most)
    return times

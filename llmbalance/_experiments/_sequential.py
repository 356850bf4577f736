"""A verdict that may be read at any time: the mixture sequential probability ratio.

Looking at a classical test again and again until it says "significant" makes it say so
of equals every third time. This one may be looked at after every call:

    L = sqrt(V / (V + t2)) * exp(d^2 t2 / (2 V (V + t2)))

``d`` is the difference of two means, ``V`` its variance, ``t2`` the square of the
difference that would be worth knowing. L has mean 1 as long as both are equal, so it
passes 1/alpha ever, at any time, with probability alpha at most; 1/max(L) is a p-value
that stays valid, and the differences that L would not refuse are an interval that
does. With n calls in each arm and variance s2 of one, V = 2 s2 / n:

    n = 1000, d = 0.2, s2 = 1, t2 = 0.01   ->   V = 0.002, L = 1698

Source: Johari, Koomen, Pekelis, Walsh, "Peeking at A/B Tests" (KDD 2017); the interval
is Robbins' normal mixture. Where shares follow results, the arms are not compared but
bounded one by one (``apart``), which holds however their calls were chosen.
"""

from __future__ import annotations

import math

_LONGEST = 10_000  # terms of the exact sum, beyond which normal is exact enough
_HUGE = 1e250


def evidence(difference: float, variance: float, tau2: float) -> float:
    """Return ln L; > ln(1/alpha) says that two means differ. ``variance`` > 0."""
    both = variance + tau2
    square = difference * difference
    return 0.5 * (
        math.log(variance) - math.log(both) + square * tau2 / (variance * both)
    )


def radius(variance: float, tau2: float, alpha: float) -> float:
    """Return half the width of the always-valid interval of level 1 - ``alpha``."""
    both = variance + tau2
    odds = math.log(both / variance) - 2 * math.log(alpha)
    return math.sqrt(variance * both / tau2 * odds)


def apart(difference: float, first: float, second: float, tau2: float) -> float:
    """Return ln(1/alpha) for the smallest alpha at which two arms' own intervals, each
    of level 1 - alpha/2, lie apart. ``first``, ``second``: variances of their means.
    """
    low, high = 0.0, 700.0  # of ln(1/alpha)
    gap = abs(difference)
    for _ in range(40):
        middle = (low + high) / 2
        alpha = math.exp(-middle) / 2
        if radius(first, tau2, alpha) + radius(second, tau2, alpha) < gap:
            low = middle
        else:
            high = middle
    return low


def p_b_beats_a(a: float, b: float, c: float, d: float) -> float:
    """Return P(Beta(c, d) > Beta(a, b)): is B's rate of success above A's?

    With 1 + successes and 1 + failures of each. Exact (Evan Miller's sum over the
    smallest whole number among them) up to 10,000 terms, beyond that by the normal.
    """
    shortest = min(a, b, c, d)
    if shortest > _LONGEST:
        return _by_normal(a, b, c, d)
    if shortest == c:
        return _summed(a, b, c, d)
    if shortest == a:  # the other way round
        return 1 - _summed(c, d, a, b)
    if shortest == b:  # of failures instead of successes, which turns it round too
        return _summed(d, c, b, a)
    return 1 - _summed(b, a, d, c)


def _summed(a: float, b: float, c: float, d: float) -> float:
    """P(Beta(c, d) > Beta(a, b)) as a sum of c terms, each from the one before.

    The first may be too small for a float: they are summed in units of it.
    """
    unit = _ln_beta(a, b + d) - _ln_beta(1, d) - _ln_beta(a, b) - math.log(d)
    term = total = 1.0
    for i in range(round(c) - 1):
        term *= (a + i) / (a + b + d + i) * (d + i) / (i + 1)
        total += term
        if total > _HUGE:
            term, total, unit = term / _HUGE, total / _HUGE, unit + math.log(_HUGE)
    return min(math.exp(math.log(total) + unit), 1.0)


def _ln_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _by_normal(a: float, b: float, c: float, d: float) -> float:
    def spread(x: float, y: float) -> float:
        return x * y / ((x + y) ** 2 * (x + y + 1))

    gap = c / (c + d) - a / (a + b)
    deviation = math.sqrt(spread(a, b) + spread(c, d))
    return 0.5 * math.erfc(-gap / deviation / math.sqrt(2))

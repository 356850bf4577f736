"""What one arm has seen: sums, a mean with its variance, a median.

Calls of one user or session are alike, so a hundred calls of one say less than one call
each of a hundred. Where units are more than calls, the variance of the mean is that of
a ratio of sums over units (the "delta method"):

    V = U / (U - 1) * sum over units (Y_u - mean * N_u)^2 / N^2

``N_u`` calls of a unit, ``Y_u`` the sum over them. The three sums it takes are kept up
to date with every call.

Source: Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics" (KDD 2018).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

RECENT = 1000  # calls whose median is told
_LEAST_SPREAD = 1e-6  # of the mean; calls that all cost the same have none


FIGURES = (
    *("calls", "cancelled", "good", "nano", "units", "rewards", "rewarded", "n"),
    *("_sum", "_square", "_met", "_nn", "_ny", "_yy"),
)


class Tally:
    """The figures of one arm; ``calls`` are those that ended by themselves."""

    __slots__ = (*FIGURES, "_binary", "recent")

    def __init__(self, *, binary: bool) -> None:
        self.calls = self.cancelled = self.good = self.nano = 0
        self.units = 0  # different ones; of calls dealt anew each is one
        self.recent: deque[float] = deque(maxlen=RECENT)  # seconds of answers
        self.rewards, self.rewarded = 0.0, 0  # sum and number
        # The metric that decides.
        self._binary = binary
        self.n = 0
        self._sum = self._square = 0.0
        self._met = 0  # units with the metric
        self._nn = self._ny = self._yy = 0.0

    def note(self, values: Sequence[float]) -> None:
        """Take values of the metric."""
        self.n += len(values)
        self._sum += sum(values)
        self._square += sum([value * value for value in values])

    def note_units(self, values: Sequence[float], seats: Sequence[list[float]]) -> None:
        """Say of these values whose they are: the sums of each one's unit (arm, calls,
        sum of the metric), which are brought up to date."""
        met, nn, ny, yy = self._met, self._nn, self._ny, self._yy
        for value, seat in zip(values, seats, strict=True):
            _, count, total = seat
            if not count:
                met += 1
            after, sum_after = count + 1, total + value
            nn += count + after
            ny += count * value + sum_after
            yy += (total + sum_after) * value
            seat[1], seat[2] = after, sum_after
        self._met, self._nn, self._ny, self._yy = met, nn, ny, yy

    @property
    def weight(self) -> int:
        """How many independent observations there are: units, or calls."""
        return self._met or self.n

    @property
    def mean(self) -> float:
        """The metric's mean; 0 without a call."""
        return self._sum / self.n if self.n else 0.0

    def spread(self) -> float:
        """Return the variance of one call's metric, never 0 once there is a call."""
        n, mean = self.n, self.mean
        if self._binary:  # as if one had succeeded and one failed: never surely 0 or 1
            rate = (self._sum + 1) / (n + 2)
            return max(rate * (1 - rate), self._scatter())
        return max(self._scatter(), (_LEAST_SPREAD * mean) ** 2, 1e-30)

    def _scatter(self) -> float:
        if self.n < 2:
            return 0.0
        return max(self._square - self.n * self.mean**2, 0.0) / (self.n - 1)

    def variance(self) -> float:
        """Return the variance of the mean; of units where there are any."""
        alone = self.spread() / max(self.n, 1)
        met, mean = self._met, self.mean
        if met < 2:
            return alone
        sums = self._yy - 2 * mean * self._ny + mean * mean * self._nn
        return max(sums * met / (met - 1) / self.n**2, alone)

    def median(self) -> float | None:
        """Return the median seconds of the newest answers."""
        recent = sorted(self.recent)
        return recent[len(recent) // 2] if recent else None

    def success(self) -> float | None:
        """Return the share of calls that were answered."""
        return self.good / self.calls if self.calls else None

    def reward(self) -> float | None:
        """Return the mean of what ``router.reward`` said."""
        return self.rewards / self.rewarded if self.rewarded else None

    def cost(self) -> float | None:
        """Return USD a call, those that the caller left included."""
        calls = self.calls + self.cancelled
        return self.nano / 1e9 / calls if calls else None

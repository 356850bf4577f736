"""How much of the load may be retries, so that an outage does not multiply it.

    deposit    every call                           share (0.2)
    withdraw   going on to another backend          1
               asking the same backends again       2   only while the balance covers it

The balance runs over the last ten seconds and begins at `floor`, so that a quiet router
may retry too. Going on to a backend that was not tried is never refused, it only
leaves less for repetition: a failure that another backend can absorb reaches nobody.
Source: Finagle's RetryBudget, with costs in place of a flat one.
"""

from __future__ import annotations

from .._checks import positive
from .._errors import ConfigError

ELSEWHERE, AGAIN = 1.0, 2.0
_SLOTS = 10  # of a second each


class Retries:
    """The retry budget of one router; ``now`` is monotonic seconds."""

    __slots__ = ("_at", "_slots", "floor", "refused", "share")

    def __init__(self, share: float = 0.2, floor: float = 3.0) -> None:
        positive("retry_budget", share, zero=True)
        if share > 10:
            raise ConfigError("retry_budget", share, "a share of all calls, e.g. 0.2")
        self.share = share
        self.floor = floor
        self.refused = 0  # repetitions that were not allowed
        self._slots = [0.0] * _SLOTS
        self._at = 0  # second of the newest slot

    def deposit(self, now: float) -> None:
        """A call begins."""
        self._slot(now)
        self._slots[self._at % _SLOTS] += self.share

    def withdraw(self, now: float, amount: float = ELSEWHERE) -> None:
        """A call goes on elsewhere, whatever the balance."""
        self._slot(now)
        self._slots[self._at % _SLOTS] -= amount

    def allow(self, now: float, amount: float = AGAIN) -> bool:
        """Withdraw if the balance covers it; False: it does not."""
        self._slot(now)
        if self.balance(now) < amount:
            self.refused += 1
            return False
        self._slots[self._at % _SLOTS] -= amount
        return True

    def balance(self, now: float) -> float:
        """What the last ten seconds leave, the floor included; may be negative."""
        self._slot(now)
        return self.floor + sum(self._slots) + 1e-9  # ten times 0.2 is 2

    def _slot(self, now: float) -> None:
        second = int(now)
        if second > self._at:
            for step in range(max(self._at, second - _SLOTS) + 1, second + 1):
                self._slots[step % _SLOTS] = 0.0
            self._at = second

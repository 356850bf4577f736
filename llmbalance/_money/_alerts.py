"""Who tells when money goes: shares of a budget passed, a pace never seen before.

    budget of 50 USD a day, alert_at = (0.5, 0.8, 1.0)

    spent  0 ------- 25 --------- 40 ------ 50        midnight: from the beginning
                     told         told      told      once each

Callbacks run on the thread of the call that passed the mark, after it was settled; one
that raises is logged and harms no call. Every alert is also a warning of the logger
``llmbalance``, with ``event`` and ``data`` in the record for handlers that want them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .._config import Budget
from .._core import Pool
from .._events import BudgetEvent
from ._windows import window

_NEAR = 0.5  # seconds
_log = logging.getLogger("llmbalance")


class Meter:
    """A budget, its place in the pool, and what was told of it in this window."""

    __slots__ = (
        *("_lock", "_rolls", "_silent_until", "_start", "_turned"),
        *("budget", "first", "index", "marks", "told"),
    )

    def __init__(self, budget: Budget, index: int) -> None:
        self.budget = budget
        self.index = index
        self.marks = _marks(budget)
        self.first = self._first()  # nano-USD of the lowest mark
        self._start = math.inf  # epoch second of the window, once known
        self._turned = 0  # windows that had ended then
        self.told = 0  # marks already told
        self._rolls = 0  # of the window they were told in
        self._silent_until = 0.0  # rolling: when all may be told again
        self._lock = threading.Lock()  # two threads may pass one mark together

    def follow(self, budget: Budget, pool: Pool) -> None:
        """Go on as the meter of the same budget with other amounts or marks.

        A share that was told is told again only when it is yet to be passed now.
        """
        spent, _ = pool.spent(self.index)
        with self._lock:
            told = {share for _, share in self.marks[: self.told]}
            self.budget, self.marks = budget, _marks(budget)
            self.first = self._first()
            self.told = 0
            for nano, share in self.marks:
                if share not in told or nano > spent:
                    break
                self.told += 1

    def _first(self) -> int:
        return self.marks[0][0] if self.marks else 0

    def turn(self, pool: Pool, wall: float) -> float:
        """Keep the pool's window in step with the calendar at ``wall`` (epoch s).

        Returns the epoch second to come again. The pool ends a window by its own
        clock; that one stands still while a machine sleeps.
        """
        start, ends_in, period = window(self.budget, wall)
        if ends_in < _NEAR:  # the two clocks may differ by so much
            return wall + ends_in
        if start > self._start and pool.spent(self.index)[1] == self._turned:
            pool.set_window(self.index, period, 1e-9)
        pool.set_window(self.index, period, ends_in)
        self._start, self._turned = start, pool.spent(self.index)[1]
        return wall + ends_in

    def check(
        self,
        pool: Pool,
        now: float,
        *,
        silent: bool = False,
        emit: Callable[[BudgetEvent], None] | None = None,
    ) -> None:
        """Tell the marks that were passed; ``now`` is monotonic seconds.

        ``silent`` takes note of them only: what a former process told is not told
        again by its successor.
        """
        spent, rolls = pool.spent(self.index, now)
        if not self.told and spent < self.first:
            return
        with self._lock:
            passed = self._passed(spent, rolls, now)
        if not silent:
            for share in passed:
                self._tell(share, spent)
                if emit is not None:
                    emit(self._event(share, spent))

    def _passed(self, spent: int, rolls: int, now: float) -> list[float]:
        """The shares to tell now; they count as told."""
        if self.budget.rolling:
            if now >= self._silent_until:
                self.told = 0
        elif rolls > self._rolls:
            self._rolls, self.told = rolls, 0
        first = self.told
        while self.told < len(self.marks) and spent >= self.marks[self.told][0]:
            self.told += 1
        if self.budget.rolling and first == 0 and self.told:
            self._silent_until = now + self.budget.seconds
        return [share for _, share in self.marks[first : self.told]]

    def _event(self, share: float, spent: int) -> BudgetEvent:
        label = self.budget.label
        return BudgetEvent(at=time.time(), budget=label, share=share, spent=spent / 1e9)

    def _tell(self, share: float, spent: int) -> None:
        budget = self.budget
        text = f"{budget.label} has used {share:.0%} of ${budget.usd:g}"
        data = {"budget": budget.label, "share": share, "spent": spent / 1e9}
        tell("budget", text, data, budget.on_alert, budget, share)


def _marks(budget: Budget) -> list[tuple[int, float]]:
    cap = round(budget.usd * 1e9)
    return [(max(round(cap * x), 1), x) for x in sorted(budget.alert_at)]


class Anomaly(Struct, frozen=True, kw_only=True):
    """Money goes faster than ever before in the known history.

    Rates are USD an hour: of the present minute, of the average minute of the last
    day or so, and of the dearest minute until now.
    """

    usd_per_hour: float
    usual_usd_per_hour: float
    highest_usd_per_hour: float


class Pulse:
    """Spending by the minute, judged against its own history.

    A minute is strange when it costs more than twice the dearest one of the history
    and more than six standard deviations above the mean (both forget within a day),
    and an hour of history is there to compare with. It is told once an hour at most.
    Times are monotonic seconds, so that no step of the clock looks like a pace.
    """

    __slots__ = (
        *("_highest", "_lock", "_mean", "_minutes", "_now", "_quiet", "_square"),
        "_start",
    )

    WIDTH = 60.0
    MEMORY = 1440  # minutes
    NEEDED = 60  # minutes of history

    def __init__(self, now: float) -> None:
        self._start = now
        self._now = 0  # nano-USD in this minute
        self._minutes = 0
        self._mean = self._square = self._highest = 0.0
        self._quiet = 0  # minutes in which nothing is told any more
        self._lock = threading.Lock()

    def add(self, nano: int, now: float) -> Anomaly | None:
        """Count a cost; returns what is strange about this minute, if anything is."""
        with self._lock:
            return self._add(nano, now)

    def _add(self, nano: int, now: float) -> Anomaly | None:
        if now - self._start >= self.WIDTH:
            self._turn(now)
        self._now += nano
        if self._quiet or self._minutes < self.NEEDED or self._highest == 0:
            return None
        if self._now <= 2 * self._highest:
            return None
        spread = max(self._square - self._mean**2, 0.0) ** 0.5
        if self._now <= self._mean + 6 * spread:
            return None
        self._quiet = 60
        hourly = 3600 / self.WIDTH / 1e9
        return Anomaly(
            usd_per_hour=self._now * hourly,
            usual_usd_per_hour=self._mean * hourly,
            highest_usd_per_hour=self._highest * hourly,
        )

    def _turn(self, now: float) -> None:
        """End this minute, and those without any spending that followed it."""
        passed = int((now - self._start) / self.WIDTH)
        self._start += passed * self.WIDTH
        for spent in [self._now, *([0] * min(passed - 1, 2 * self.MEMORY))]:
            self._minutes += 1
            w = max(1 / self._minutes, 1 / self.MEMORY)
            self._mean += w * (spent - self._mean)
            self._square += w * (spent**2 - self._square)
            self._highest = max(self._highest * (1 - 0.1 / self.MEMORY), spent)
        self._quiet = max(self._quiet - passed, 0)
        self._now = 0

    def state(self) -> dict[str, float]:
        """Return what a successor needs to know."""
        return {
            "minutes": self._minutes,
            "mean": self._mean,
            "square": self._square,
            "highest": self._highest,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from the state of a former process."""
        self._minutes = int(state["minutes"])
        self._mean = float(state["mean"])
        self._square = float(state["square"])
        self._highest = float(state["highest"])


def tell(
    event: str,
    text: str,
    data: dict[str, Any],
    callback: Callable[..., None] | None,
    *arguments: Any,
) -> None:
    """Log an alert and call back; what the callback raises is logged."""
    _log.warning(text, extra={"event": event, "data": data})
    if callback is None:
        return
    try:
        callback(*arguments)
    except Exception:
        _log.exception("the callback for %r failed", event)

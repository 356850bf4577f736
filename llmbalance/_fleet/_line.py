"""Who waits for room, in which order: the fair queue before a group.

    call ── nothing fits ──▶ Ticket ──▶ line of its group: by priority, then arrival
                                          head asks again when a call ends or its
                                          own wait is over; the others sleep

Calls that come later do not overtake: they join the line of those that ask for the
same (group, tags, abilities). One head per line asks again, so a hundred waiters cost
what one does. With ``max_waiting`` the line is bounded: who comes when it is full is
refused at once, unless it comes before the last, who is refused then. Refused at once
is also who would surely wait too long: the line moves on at a known pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count
from math import inf, sqrt
from statistics import median

_PACES = 15  # times between two calls served that a line remembers
_LAST = 1 << 62  # a number behind all others
_LOOK = 0.1  # seconds between two looks for those without a chance
_KNOWN = 5  # of them at least before anybody is refused for them


class Ticket:
    """The place of one waiting call."""

    __slots__ = (
        *("called", "deadline", "key", "least", "order", "rouse", "shed", "until"),
    )

    def __init__(
        self, key: Hashable, order: tuple[int, int], deadline: float = inf
    ) -> None:
        self.key = key
        self.deadline = deadline  # monotonic
        self.order = order  # least first
        self.called = False  # may ask now
        self.shed = False  # had to make room for another, or has no chance
        self.least = 0.0  # then: seconds it would have had to wait still
        self.until = 0.0  # monotonic time when it expects room
        self.rouse: Callable[[], None] | None = None

    def call(self) -> None:
        """Let the waiter ask."""
        self.called = True
        rouse = self.rouse
        if rouse is not None:
            rouse()


class Turn(float):
    """Seconds to wait at most, and the ticket that may end it sooner."""

    __slots__ = ("ticket",)
    ticket: Ticket

    def __new__(cls, seconds: float, ticket: Ticket) -> Turn:
        turn = super().__new__(cls, seconds)
        turn.ticket = ticket
        return turn


class _Line(list[Ticket]):
    """Those who wait for the same, the next one first.

    Room often comes in bursts: the median of the gaps between two that were served,
    and two standard deviations off, keep everybody in line who may have a chance.
    """

    def __init__(self) -> None:
        self.served_at = 0.0  # monotonic; 0: nobody yet
        self.looked_at = 0.0
        self.gaps: deque[float] = deque(maxlen=_PACES)

    def serve(self, now: float) -> None:
        """One of them got room."""
        if self.served_at:
            self.gaps.append(now - self.served_at)
        self.served_at = now

    def least_wait(self, place: int) -> float:
        """Seconds that the first ``place`` calls will surely take."""
        if len(self.gaps) < _KNOWN:
            return 0.0
        return max(place - 2 * sqrt(place), 0.0) * median(self.gaps)

    def part(self, now: float) -> list[Ticket]:
        """Take out and return those whose time will surely be over before their turn.

        Looks at most ten times a second.
        """
        if len(self.gaps) < _KNOWN or now - self.looked_at < _LOOK:
            return []
        self.looked_at = now
        gap = median(self.gaps)
        kept, hopeless = list[Ticket](), list[Ticket]()
        for ticket in self:
            before = len(kept)
            if (before - 2 * sqrt(before)) * gap > ticket.deadline - now:
                ticket.shed, ticket.least = True, before * gap
                hopeless.append(ticket)
            else:
                kept.append(ticket)
        self[:] = kept
        return hopeless


class Lines:
    """All waiting calls of one router; any thread may use it."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.waiting = 0
        self._lines: dict[Hashable, _Line] = {}
        self._numbers = count()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self.waiting > 0

    def busy(self, key: Hashable, priority: int, until: float) -> bool:
        """Whether a newcomer would overtake somebody.

        One whose deadline ``until`` comes before the head expects room may ask: it
        can only be refused, or be served where the head cannot.
        """
        with self._lock:
            line = self._lines.get(key)
            if not line or line[0].order[0] > -priority:
                return False
            return line[0].until < until

    def join(
        self, key: Hashable, priority: int, deadline: float = inf
    ) -> Ticket | None:
        """Take a place; None: the line is full."""
        shed = None
        with self._lock:
            ticket = Ticket(key, (-priority, next(self._numbers)), deadline)
            if self.most is not None and self.waiting >= self.most:
                shed = self._last()
                if shed is None or shed.order < ticket.order:
                    return None
                self._remove(shed)
                shed.shed = True
            line = self._lines.setdefault(key, _Line())
            line.append(ticket)
            line.sort(key=lambda t: t.order)
            self.waiting += 1
        if shed is not None:
            shed.call()
        return ticket

    def _last(self) -> Ticket | None:
        ends = [line[-1] for line in self._lines.values()]
        return max(ends, key=lambda t: t.order, default=None)

    def is_head(self, ticket: Ticket) -> bool:
        """Whether this one may ask before the others of its line."""
        line = self._lines.get(ticket.key)
        return line is not None and line[0] is ticket

    def least_wait(self, key: Hashable, priority: int) -> float:
        """Seconds that a newcomer would surely wait; 0 where nothing is known."""
        with self._lock:
            line = self._lines.get(key)
            if line is None:
                return 0.0
            place = bisect_left(line, (-priority, _LAST), key=lambda t: t.order)
            return line.least_wait(place)

    def leave(self, ticket: Ticket, served: float | None = None) -> None:
        """Give up a place, ``served`` (now, monotonic) or not; the next may ask."""
        with self._lock:
            line = self._lines.get(ticket.key)
            if served is not None and line is not None:
                line.serve(served)
            self._remove(ticket)
            line = self._lines.get(ticket.key)
            head = line[0] if line else None
            hopeless = line.part(served) if line and served is not None else []
            self.waiting -= len(hopeless)
        for other in hopeless:
            other.call()
        if head is not None:
            head.call()

    def _remove(self, ticket: Ticket) -> None:
        line = self._lines.get(ticket.key)
        if line is not None and ticket in line:
            line.remove(ticket)
            self.waiting -= 1
            if not line:
                del self._lines[ticket.key]

    def room(self) -> None:
        """A call has ended: the heads may ask."""
        with self._lock:
            heads = [line[0] for line in self._lines.values()]
        for head in heads:
            head.call()


async def rest(pause: float) -> None:
    """Sleep for a pause, or until its ticket is called."""
    if not isinstance(pause, Turn):
        await asyncio.sleep(pause)
        return
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def rouse() -> None:  # from whichever thread
        with contextlib.suppress(RuntimeError):  # that loop is closed
            loop.call_soon_threadsafe(wake)

    ticket = pause.ticket
    timer = loop.call_later(pause, wake)
    ticket.rouse = rouse
    try:
        if not ticket.called:
            await waiter
        else:
            await asyncio.sleep(0)
    finally:
        timer.cancel()
        ticket.rouse = None
        ticket.called = False


def rest_blocking(pause: float) -> None:
    """The same for a thread without a loop."""
    event = threading.Event()
    if not isinstance(pause, Turn):
        event.wait(pause)
        return
    pause.ticket.rouse = event.set
    if not pause.ticket.called:
        event.wait(pause)
    pause.ticket.rouse = None
    pause.ticket.called = False

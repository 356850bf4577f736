"""Who waits for room, in which order: the fair queue before a group.

    call ── nothing fits ──▶ Ticket ──▶ line of its group: by priority, then arrival
                                          head asks again when a call ends or its
                                          own wait is over; the others sleep

Calls that come later do not overtake: they join the line of those that ask for the
same (group, tags, abilities). One head per line asks again, so a hundred waiters cost
what one does. With ``max_waiting`` the line is bounded: who comes when it is full is
refused at once, unless it comes before the last, who is refused then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from itertools import count


class Ticket:
    """The place of one waiting call."""

    __slots__ = ("called", "key", "order", "rouse", "shed", "until")

    def __init__(self, key: Hashable, order: tuple[int, int]) -> None:
        self.key = key
        self.order = order  # least first
        self.called = False  # may ask now
        self.shed = False  # had to make room for another
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


class Lines:
    """All waiting calls of one router; any thread may use it."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.waiting = 0
        self._lines: dict[Hashable, list[Ticket]] = {}
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

    def join(self, key: Hashable, priority: int) -> Ticket | None:
        """Take a place; None: the line is full."""
        shed = None
        with self._lock:
            ticket = Ticket(key, (-priority, next(self._numbers)))
            if self.most is not None and self.waiting >= self.most:
                shed = self._last()
                if shed is None or shed.order < ticket.order:
                    return None
                self._remove(shed)
                shed.shed = True
            line = self._lines.setdefault(key, [])
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

    def leave(self, ticket: Ticket) -> None:
        """Give up a place, served or not; the next one may ask at once."""
        with self._lock:
            self._remove(ticket)
            line = self._lines.get(ticket.key)
            head = line[0] if line else None
        if head is not None:
            head.call()

    def _remove(self, ticket: Ticket) -> None:
        line = self._lines.get(ticket.key, [])
        if ticket in line:
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

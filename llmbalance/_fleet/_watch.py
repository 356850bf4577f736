"""Active health: backends asked by interval for what is free, never a generation.

    two bad answers in a row, one if its breaker is not closed  ->  no calls to it
    a good answer                                               ->  its breaker decides

So an outage costs no caller an attempt once it is seen, and no call is spent to find
out that a backend is still away. A bad answer is none at all, a 5xx, or a refused key;
what a list of models says otherwise (404, 403, 429) proves nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..providers._failures import KINDS
from ._health import ask_all

if TYPE_CHECKING:
    from .._transport import Transport
    from ._fleet import Fleet

_log = logging.getLogger("llmbalance")
_OPEN, _AUTO = 1, 0  # orders to a breaker
_BAD = frozenset(
    name for name, kind in KINDS.items() if kind.outcome in ("failed", "timeout")
) | {"auth"}


class Watch:
    """Looks after a fleet every ``interval`` seconds while an event loop runs."""

    def __init__(self, fleet: Fleet, transport: Transport, interval: float) -> None:
        self.interval = interval
        self._fleet, self._transport = fleet, transport
        self._bad: dict[int, int] = {}  # backend -> bad answers in a row
        self._held: set[int] = set()  # backends this watch keeps out
        self._by_hand: set[int] = set()  # backends the user keeps out
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin on the running loop, unless it goes on already."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:
            self._end()
            self._task = loop.create_task(self._go_on())

    def close(self) -> None:
        """Look no more; what is kept out is left to its breaker again."""
        self._end()
        for index in self._held:
            self._fleet.pool.order(index, _AUTO)
        self._held.clear()
        self._bad.clear()

    def _end(self) -> None:
        task, self._task = self._task, None
        if task is None or task.get_loop().is_closed():
            return
        try:
            here = asyncio.get_running_loop() is task.get_loop()
        except RuntimeError:
            here = False
        if here:
            task.cancel()
        else:  # from another thread: a reload, or the end of the router
            task.get_loop().call_soon_threadsafe(task.cancel)

    def ordered(self, index: int, order: int) -> None:
        """The user opened or released a breaker: that counts more than any look."""
        self._held.discard(index)
        if order == _OPEN:
            self._by_hand.add(index)
        else:
            self._by_hand.discard(index)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            try:
                await self.look()
            except Exception as error:  # such as a key function's own
                _log.warning("health could not be asked: %s", type(error).__name__)

    async def look(self) -> None:
        """Ask every backend once and draw the conclusions."""
        report = await ask_all(self._fleet, self._transport)
        for target in list(self._fleet.targets):
            row = report.get(target.name)
            if row is not None and row["ok"] is not None:
                self._judge(target.index, bool(row["ok"]), str(row["problem"]))

    def _judge(self, index: int, good: bool, problem: str) -> None:
        if index in self._by_hand:
            return
        if good or problem not in _BAD:
            self._bad.pop(index, None)
            if index in self._held:
                self._held.discard(index)
                self._fleet.pool.order(index, _AUTO)
            return
        self._bad[index] = self._bad.get(index, 0) + 1
        state = self._fleet.pool.backend(index)["breaker"]["state"]
        if index not in self._held and (self._bad[index] >= 2 or state != "closed"):
            self._held.add(index)
            self._fleet.pool.order(index, _OPEN)

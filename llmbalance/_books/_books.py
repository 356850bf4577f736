"""A router's books: what every attempt cost goes in, what a restart needs comes out.

    a lease is settled ── note ──> entry, kept back until it is clear whether it was
            │                      the last attempt of its call ──> ledger
            ├──> meters of budgets: alerts
            └──> pulse: is money going faster than ever?

    start   ledger ──> what budgets spent in their windows, what was learned ──> pool
    close   pool ──> what was learned (also once an hour) ──> ledger

The books of a router without ledger hold alerts only; without these there are none.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError
from .._money._alerts import Anomaly, Meter, Pulse, tell
from .._money._windows import window

if TYPE_CHECKING:
    from .._call._story import Shot, Story
    from .._config import Budget
    from .._experiments._studies import Studies
    from .._fleet._fleet import Fleet
    from .._money._ledger import Book, Entry

_log = logging.getLogger("llmbalance")
_SLOTS = 32  # parts a rolling window forgets one by one, see lb_budget.h


def open_book(ledger: Any) -> tuple[Book | None, bool]:
    """Return the book that ``Router(ledger=)`` means, and whether to close it."""
    if ledger is None:
        return None, False
    if isinstance(ledger, str | Path):
        from .._money._ledger import Ledger  # SQLite is loaded by those who use it

        return Ledger(ledger), True
    needed = ("record", "learn", "learned", "spent", "costs", "entries", "flush")
    missing = [name for name in (*needed, "close") if not hasattr(ledger, name)]
    if missing:
        raise ConfigError(
            "ledger", ledger, f"give a path or a Ledger; this lacks {missing[0]}()"
        )
    return ledger, False


class Books:
    """Books of one router; ``book`` None keeps nothing and only alerts."""

    def __init__(
        self,
        fleet: Fleet,
        ledger: Any,
        on_anomaly: Callable[[Anomaly], None] | None = None,
    ) -> None:
        self.fleet = fleet
        self.started = time.time()
        self.book, self._owned = open_book(ledger)
        self.keeps = self.book is not None
        self._on_anomaly = on_anomaly
        self._meters = [meter for meter in fleet.meters if meter.marks]
        self._paid = self._near = 0  # nano-USD since the marks were looked at; to go
        self._look_at = 0.0  # when they are looked at in any case
        self._pulse: Pulse | None = None
        if self.book is not None or on_anomaly is not None:
            self._pulse = Pulse(time.monotonic())
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)
        self._pid = os.getpid()
        self._lessons: dict[str, Any] = {}  # what the ledger had to teach
        self._news = False  # something was written since the last save
        self.studies: Studies | None = None
        if self.book is not None:
            from .._money._ledger import Entry

            self._entry = Entry
            self._resume(self.book)

    def __bool__(self) -> bool:
        """Whether there is anything to do after a call."""
        return bool(self.book or self._meters or self._pulse)

    def follow(self, fresh: Iterable[Meter]) -> bool:
        """Watch the fleet's budgets of now; ``fresh`` ones learn what was spent.

        Returns whether there is anything to do after a call.
        """
        wall, now = self.fleet.wall(), time.monotonic()
        for meter in fresh:
            if self.book is not None:
                self._spent_before(self.book, meter, wall)
            if self.book is not None and meter.marks:
                meter.check(self.fleet.pool, now, silent=True)
        self._meters = [meter for meter in self.fleet.meters if meter.marks]
        self._near = 0
        return bool(self)

    # -- an attempt ----------------------------------------------------------

    def note(
        self,
        story: Story,
        shot: Shot,
        status: str,
        counts: tuple[int, ...] | None,
        nano: int,
        known: bool,
        seconds: float | None,
        ttft: float | None,
    ) -> Entry:
        """Take note of a settled attempt; returns its entry, to be given to ``write``.

        ``nano`` is what budgets were charged, ``known`` whether the price was.
        """
        assert self.book is not None
        options, target, fleet = story.options, shot.target, self.fleet
        if story.id == "":
            story.id = f"{self._prefix}-{os.getpid()}-{next(self._numbers)}"
        return self._entry(
            time.time(),
            story.id,
            fleet.group_names[shot.lease.group],
            target.name,
            target.backend.model,
            options.task,
            options.labels,
            options.kind or (story.call.kind if shot.request.target else "lease"),
            status,
            len(story.attempts) or 1,
            False,
            counts or (),
            nano if known else None,
            seconds,
            ttft or None,
            options.user,
            None if known else nano,
        )

    def write(self, entry: Entry, last: bool) -> None:
        """Put an entry into the ledger; ``last`` says that it ended its call."""
        assert self.book is not None
        entry.last = last
        self._news = True
        try:
            self.book.record(entry)
        except Exception:  # the call itself is done, whatever its ledger says
            _log.exception("the ledger refused an entry")

    def watch(self, nano: int) -> None:
        """Look whether what an attempt cost is to be told of."""
        now = time.monotonic()
        if self._meters:
            self._paid = paid = self._paid + nano
            if paid >= self._near or now >= self._look_at:
                self._look(now)
        if self._pulse is not None:
            strange = self._pulse.add(nano, now)
            if strange is not None:
                self._warn(strange)

    def _warn(self, strange: Anomaly) -> None:
        text = (
            f"spending at ${strange.usd_per_hour:.4g} an hour; usual are"
            f" ${strange.usual_usd_per_hour:.4g}, the most ever was"
            f" ${strange.highest_usd_per_hour:.4g}"
        )
        data = {"usd_per_hour": strange.usd_per_hour}
        tell("anomaly", text, data, self._on_anomaly, strange)

    def _look(self, now: float) -> None:
        """Tell the marks that were passed, and see how far off the next one is.

        No budget spends more than all calls do, so until they have spent that, none
        need be asked; once a second they are, for leases that nobody settled.
        """
        pool, near = self.fleet.pool, sys.maxsize
        self._paid = 0
        for meter in self._meters:
            meter.check(pool, now, emit=self.fleet.events.emit)
            left = meter.first - pool.spent(meter.index, now)[0]
            near = min(near, 0 if meter.told else left)
        self._near, self._look_at = near, now + 1.0

    # -- over a restart ------------------------------------------------------

    def _resume(self, book: Book) -> None:
        wall, now = time.time(), time.monotonic()
        for meter in self.fleet.meters:
            self._spent_before(book, meter, wall)
        for meter in self._meters:
            meter.check(self.fleet.pool, now, silent=True)
        self._lessons = dict(book.learned())
        for key in list(self._lessons):
            self.recall(key)

    def _spent_before(self, book: Book, meter: Meter, wall: float) -> None:
        """Charge a budget with what its window has seen already."""
        budget, pool = meter.budget, self.fleet.pool
        if not budget.rolling or budget.per == "total":
            start = window(budget, wall).start
            pool.book(meter.index, self._spent(book, budget, start))
            return
        width = budget.seconds / _SLOTS
        for k in range(_SLOTS - 1):
            begin, end = wall - (k + 1) * width, wall - k * width
            nano = self._spent(book, budget, begin, end)
            pool.book(meter.index, nano, (k + 0.5) * width)

    def _spent(
        self, book: Book, budget: Budget, begin: float, end: float | None = None
    ) -> int:
        """What calls under a budget cost, those through its wildcard and variants."""
        if budget.scope is None:
            return book.spent(begin, end)
        scope, name = budget.scope
        names = [name]
        if scope in ("backend", "group") and self.fleet.kin:
            rows = book.costs(scope, begin, end)
            others = (row.key for row in rows)
            names += [n for n in others if self.fleet.kin.counts(scope, name, n)]
        return sum(book.spent(begin, end, **{scope: each}) for each in set(names))

    def recall(self, key: str) -> None:
        """Tell the pool what the ledger knows of a backend or group, if it is there."""
        state = self._lessons.get(key)
        if state is None:
            return
        try:
            self._recall(key, state, time.time())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("the ledger's %r is of no use: %s", key, error)

    def _recall(self, key: str, state: Mapping[str, Any], wall: float) -> None:
        kind, _, name = key.partition("/")
        fleet = self.fleet
        age = max(wall - state["at"], 0.0)
        if kind == "pulse" and self._pulse is not None:
            self._pulse.resume(dict(state))
        elif kind == "group" and name in fleet.groups:
            fleet.pool.teach("group", fleet.groups[name], state["learned"], age)
        elif kind == "backend":
            for target in fleet.targets:
                if target.name == name and target.backend.model == state["model"]:
                    fleet.pool.teach("backend", target.index, state["learned"], age)

    def keep(self, studies: Studies) -> None:
        """Keep what experiments have found as well, and give them what was kept."""
        if self.book is not None:
            self.studies = studies
            studies.recall(self.book.learned())

    def save(self) -> None:
        """Keep what was learned in the ledger."""
        if self.book is None:
            return
        wall, fleet = time.time(), self.fleet
        for target in fleet.targets:
            learned = fleet.pool.learned("backend", target.index)
            if learned["samples"]:
                state = {"at": wall, "model": target.backend.model, "learned": learned}
                self.book.learn(f"backend/{target.name}", state)
        for name, index in fleet.groups.items():
            learned = fleet.pool.learned("group", index)
            if any(mean for mean, _, _ in learned["output"]):
                self.book.learn(f"group/{name}", {"at": wall, "learned": learned})
        if self._pulse is not None:
            self.book.learn("pulse", {"at": wall, **self._pulse.state()})
        if self.studies is not None:
            for key, known in self.studies.lessons(wall):
                self.book.learn(key, known)

    def close(self) -> None:
        """Keep what was learned and write everything down; a call reopens the book.

        A forked child leaves that to its parent: it learned only half.
        """
        if self.book is None or os.getpid() != self._pid:
            return
        if self._news:
            self.save()
            self._news = False
            self.book.flush()
        if self._owned:
            self.book.close()

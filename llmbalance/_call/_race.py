"""Two attempts of one call at once: the first to deliver wins, the other is left.

    first   ──────────────────────────────────────── left: cancelled, settled, noted
                        │ due
    rival               └─────────────▶ delivers: the answer, or the first chunks

One story for loops and threads, as in _tell.py, with two more steps: ``Change`` waits
until something comes for one of several requests, ``Won`` hands the open stream of the
winner to the driver. Whatever happens, each attempt is settled once, and nothing that
was sent goes on behind the caller's back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._errors import LLMBalanceError, ProviderError
from .._figures import OUTCOME
from .._fleet._line import rest, rest_blocking
from .._transport import Inbox, Transport, first_change, first_change_blocking
from ._drive import parcel
from ._run import Run
from ._story import Shot
from ._tell import Broken, Steps, Telling

if TYPE_CHECKING:
    from .._core import Lease
    from .._fleet._hedge import Contest, Hedger

Enter = Callable[..., Inbox]


class Change(NamedTuple):
    """Wait until something comes for one of these, at most so many seconds."""

    inboxes: list[Inbox]
    seconds: float | None


class Won(NamedTuple):
    """The stream of the winner, open."""

    inbox: Inbox


class Racer:
    """One attempt in a race; ``first`` is the one that was not sent as a hedge."""

    __slots__ = (
        *("contest", "error", "first", "inbox", "result", "run", "shot", "telling"),
    )

    def __init__(
        self, run: Run, contest: Contest, shot: Shot, enter: Enter, *, first: bool
    ) -> None:
        self.run, self.contest, self.shot, self.first = run, contest, shot, first
        self.telling = Telling(run, shot) if run.call.stream else None
        self.error: LLMBalanceError | None = None  # on its way to the stream's end
        self.result: Any = None  # an answer, or the first chunks
        request = shot.request
        try:
            self.inbox = enter(
                *parcel(shot),
                mode=request.stream if run.call.stream else 0,
                marks=request.marks if run.call.stream else (),
            )
        except BaseException:
            run.cancel(shot)
            raise

    def look(self) -> bool:
        """Read what has come; returns whether the attempt is over or has delivered.

        Then ``result`` is what it delivered, None when it failed.
        """
        if self.telling is None:
            if self.inbox.end is None:
                return False
            self._part()
            self.result = self.run.land(self.shot, self.inbox.end)
            return True
        return self._listen(self.telling)

    def _listen(self, telling: Telling) -> bool:
        inbox, end = self.inbox, self.inbox.end
        if end is not None and end is inbox.head:  # refused: there is no stream
            self._part()
            self.run.land(self.shot, end)
            return True
        try:
            if self.error is None and inbox.events:
                chunks = telling.hear(inbox.take())
                if telling.heard:
                    self._part()
                    self.contest.overtake()
                    self.result = chunks
                    return True
            if end is None:
                return False
            self._part()
            if self.error is not None:
                raise self.error
            self.result = telling.finish(end)
        except (ProviderError, Broken) as error:
            if end is None:  # what it took is known when it is closed
                self.error = error
                inbox.cancel()
                return False
            self._part()
            telling.fail(error, end)
        return True

    def _part(self) -> None:
        """Those still in flight are the others now."""
        self.contest.racing = [r for r in self.contest.racing if r is not self]

    def leave(self, overtaken: bool = False) -> None:
        """End it, and account for what it has cost."""
        self.inbox.cancel()
        if not self.shot.lease.live:
            return
        reader = self.telling.reader if self.telling is not None else None
        self.run.cancel(
            self.shot,
            text=reader.text if reader else "",
            usage=reader.usage if reader else None,
            overtaken=overtaken,
        )


def race(run: Run, shot: Shot, enter: Enter) -> Generator[Change, None, Racer | None]:
    """Send an attempt and, when it is due, a second one; returns who delivered.

    None: nobody did, and another backend may be asked. Raises as ``Run.land``.
    """
    contest = run.contest
    assert contest is not None
    due = None if contest.sent else contest.hedger.due(shot, run.call.stream)
    field = [Racer(run, contest, shot, enter, first=True)]
    contest.racing = tuple(field)
    try:
        while contest.racing:
            left = None if due is None else max(due - time.monotonic(), 0.0)
            racing = [racer for racer in field if racer in contest.racing]
            yield Change([racer.inbox for racer in racing], left)
            late = due is not None and time.monotonic() >= due
            if late:  # what a busy loop has not fetched is no silence
                field[0].inbox.poll()
            for racer in racing:
                if racer.look() and racer.result is not None:
                    contest.hedger.won += not racer.first
                    field.remove(racer)
                    return racer
            if late and contest.racing:
                due = None
                rival = _rival(run, shot, contest.hedger)
                if rival is not None:
                    contest.sent = True
                    field.append(Racer(run, contest, rival, enter, first=False))
                    contest.racing = tuple(field)
        return None
    finally:
        contest.racing = ()
        for racer in field:
            racer.leave()


def _rival(run: Run, shot: Shot, hedger: Hedger) -> Shot | None:
    """Return a second attempt that may go out now; None: there shall be none."""
    if run.fleet.lines or run.exhausted(shot.lease.group):
        return None
    most = hedger.rule.max_price_ratio * shot.lease.cost
    if run.options.max_cost is not None:  # both will have to be paid
        most = min(most, run.options.max_cost - shot.lease.cost)
    if not _anybody(shot.lease, most, run.fleet.shift_at):
        return None
    if not hedger.window.take(time.monotonic(), hedger.rule.budget):
        hedger.skipped += 1
        return None
    lease = shot.lease.again(shot.lease.group, False)
    rival = None
    if lease.backend >= 0:
        if _fits(lease, most, run.fleet.shift_at):
            rival = run.second(lease)
        else:
            lease.settle(OUTCOME["cancelled"], sent=False)
    if rival is None:
        hedger.window.give_back()
    else:
        hedger.sent += 1
    return rival


def _anybody(lease: Lease, most: float, below: float) -> bool:
    """Whether another one might do, by the record of the first choice."""
    record = lease.decision
    lines = record["candidates"]
    if len(lines) < record["members"]:
        return True  # not all of them were written down
    return any(
        line["backend"] != lease.backend
        and line["reason"] in ("eligible", "order")
        and line["cost"] * 1e9 <= most * (1 + 1e-6) + 1
        and line["used"] < below
        for line in lines
    )


def _fits(lease: Lease, most: float, below: float) -> bool:
    """Whether the chosen second one keeps the terms."""
    if lease.probe or lease.cost > most:
        return False
    lines = lease.decision["candidates"]
    return any(
        line["backend"] == lease.backend and line["used"] < below for line in lines
    )


def answer(run: Run, enter: Enter) -> Generator[Any, None, Any]:
    """The steps of a call that is not streamed; returns its answer."""
    _begin(run)
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                yield shot
                continue
            winner = yield from race(run, shot, enter)
            if winner is not None:
                return winner.result
    finally:
        run.end()


def tell_race(run: Run, enter: Enter) -> Steps:
    """The steps of a streamed call, as ``tell``: the race is for its first token."""
    _begin(run)
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                yield shot
                continue
            winner = yield from race(run, shot, enter)
            if winner is None:
                continue
            telling = winner.telling
            assert telling is not None
            try:
                yield Won(winner.inbox)
                if winner.result:
                    yield winner.result
                if not winner.shot.lease.live or (yield from telling.follow()):
                    return True
            finally:
                telling.cancel()
    finally:
        run.end()


def _begin(run: Run) -> None:
    assert run.contest is not None
    run.contest.hedger.begin()


async def drive_race(run: Run, transport: Transport) -> Any:
    """As ``drive``, with a second attempt where the call's hedger wants one."""
    steps = answer(run, transport.enter)
    try:
        while True:
            step = next(steps)
            if isinstance(step, float):
                await rest(step)
            else:
                await first_change(*step)
    except StopIteration as over:
        return over.value
    finally:
        steps.close()


def drive_race_blocking(run: Run, transport: Transport) -> Any:
    """The same for a thread without a loop."""
    steps = answer(run, partial(transport.enter, blocking=True))
    try:
        while True:
            step = next(steps)
            if isinstance(step, float):
                rest_blocking(step)
            else:
                first_change_blocking(*step)
    except StopIteration as over:
        return over.value
    finally:
        steps.close()

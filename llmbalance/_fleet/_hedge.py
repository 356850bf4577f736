"""Hedging: when a second backend is asked for a call that is under way.

    sent ───── p95 of calls like it ─────▶ nothing came: another backend is asked too;
                                           the first to deliver wins, the other is left

Off by default. A second attempt goes out only where all of this is true:

    pays      the backend's p99 is 4 times its p50; where it is steadier, only when the
              call takes longer than 4 p50 and 2 p99 together would let expect: it hangs
    budget    less than a share of the calls of the last ten minutes was hedged
    whom      an untried backend of the same group is free, at most so much dearer, and
              below the mark where choices shift; nobody waits in line for it

Where it pays and what for: Dean and Barroso, The Tail at Scale (2013), Finagle's
BackupRequestFilter (a share of the load as budget, none in reserve).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from .._checks import MOST_SECONDS, positive
from .._errors import ConfigError
from .._fields import check_fields

if TYPE_CHECKING:
    from .._call._story import Shot, Story

_SLOTS, _WIDTH = 60, 10  # of the window: ten minutes in steps of ten seconds
_STALLED = 2.0  # times the p99: a steady backend hangs
_LEAST = 0.001  # seconds before anybody else is asked


class Hedge(Struct, frozen=True, kw_only=True):
    """When a second backend is asked, before the first token or the whole answer.

    ``after``: seconds without it; None: the 95 % quantile that was learned of the
    backend for calls of this size, from 20 answers on. ``budget``: at most so many of
    the calls of the last ten minutes. ``max_price_ratio``: how many times the expected
    price of the first one the second may cost. ``tail``: where it pays: p99 / p50 of
    the backend, at least.
    """

    after: float | None = None
    budget: float = 0.05
    max_price_ratio: float = 1.5
    tail: float = 4.0

    def __post_init__(self) -> None:
        check_fields(self)
        positive("after", self.after, most=MOST_SECONDS)
        for field in ("max_price_ratio", "tail", "budget"):
            positive(field, getattr(self, field))
        if self.budget > 1:
            raise ConfigError("budget", self.budget, "a share of all calls, e.g. 0.05")
        if self.tail < 1:
            raise ConfigError("tail", self.tail, "a p99 is at least once the p50")


class Window:
    """Calls, and those of them that were hedged, of the last ten minutes."""

    __slots__ = ("_at", "_calls", "_lock", "_sent", "calls", "sent")

    def __init__(self) -> None:
        self.calls = self.sent = 0
        self._calls = [0] * _SLOTS
        self._sent = [0] * _SLOTS
        self._at = 0
        self._lock = threading.Lock()

    def call(self, now: float) -> None:
        """A call begins."""
        with self._lock:
            self._turn(now)
            self._calls[self._at % _SLOTS] += 1
            self.calls += 1

    def take(self, now: float, share: float) -> bool:
        """Count a hedge if the share allows one more."""
        with self._lock:
            self._turn(now)
            if self.sent + 1 > share * self.calls + 1e-9:
                return False
            self._sent[self._at % _SLOTS] += 1
            self.sent += 1
            return True

    def give_back(self) -> None:
        """The hedge that was just counted was not sent."""
        with self._lock:
            slot = self._at % _SLOTS
            if self._sent[slot]:
                self._sent[slot] -= 1
                self.sent -= 1

    def _turn(self, now: float) -> None:
        slot = int(now / _WIDTH)
        if slot > self._at:
            for step in range(max(self._at, slot - _SLOTS) + 1, slot + 1):
                self.calls -= self._calls[step % _SLOTS]
                self.sent -= self._sent[step % _SLOTS]
                self._calls[step % _SLOTS] = self._sent[step % _SLOTS] = 0
            self._at = slot


class Hedger:
    """One Hedge at work; any thread may use it."""

    __slots__ = ("calls", "lost_nano", "rule", "sent", "skipped", "window", "won")

    def __init__(self, rule: Hedge) -> None:
        self.rule = rule
        self.window = Window()
        self.calls = 0  # that might have been hedged
        self.sent = 0  # second attempts
        self.won = 0  # of them, those that delivered first
        self.skipped = 0  # times the budget was spent
        self.lost_nano = 0  # nano-USD billed for attempts that were overtaken

    def begin(self) -> None:
        """A call begins that may be hedged."""
        self.calls += 1
        self.window.call(time.monotonic())

    def due(self, shot: Shot, first: bool) -> float | None:
        """The monotonic time to ask another one; None: too little is known.

        ``first``: it is the first token that is waited for.
        """
        if self.rule.after is not None:
            return shot.sent_at + self.rule.after
        learned = shot.lease.tail(first)
        if learned is None:
            return None
        p50, p95, p99 = learned
        far = self.rule.tail * p50
        pays = p99 >= far
        wait = min(p95, far) if pays else max(far, _STALLED * p99)
        return shot.sent_at + max(wait, _LEAST)


class Racer(Protocol):
    """One of the attempts of a call that are in flight at once; see ``_race.py``."""

    @property
    def first(self) -> bool:
        """Whether it was not sent as a hedge."""

    @property
    def run(self) -> Story:
        """The call it is an attempt of."""

    def leave(self, overtaken: bool = False) -> None:
        """End it, and account for what it has cost."""


class Contest:
    """The hedging of one call: by whom, and which attempts are in flight at once."""

    __slots__ = ("hedger", "racing", "sent")

    def __init__(self, hedger: Hedger) -> None:
        self.hedger = hedger
        self.racing: Sequence[Racer] = ()
        self.sent = False  # one second attempt for each call

    def overtake(self) -> None:
        """One of two attempts delivers: the other is given up."""
        others, self.racing = self.racing, ()
        for racer in others:
            racer.leave(overtaken=True)
            self.hedger.lost_nano += racer.run.attempts[-1].cost_nano_usd

    def refuse(self) -> None:
        """An attempt failed for good: if it was the first, the second is given up.

        If it was the second, the first decides: nobody had been asked otherwise.
        """
        if not any(racer.first for racer in self.racing):
            others, self.racing = self.racing, ()
            for racer in others:
                racer.leave()


class Hedges:
    """The hedging of one router: its own rule, those of groups, and what came of it."""

    def __init__(
        self, own: Any = None, groups: Mapping[int, Any] | None = None
    ) -> None:
        rule = as_hedge("hedge", own)
        self._own = Hedger(rule) if rule else None
        self._plain: Hedger | None = None  # for calls that ask where there is no rule
        self._groups: dict[int, Hedger | None] = {}
        for number, asked in (groups or {}).items():
            given = as_hedge("hedge", asked)
            use_own = asked is True and self._own is not None
            self._groups[number] = (
                self._own if use_own else Hedger(given) if given else None
            )

    def inherit(self, group: int, other: int) -> None:
        """Hedge a group's calls as those of another one, if it has no rule itself."""
        if other in self._groups:
            self._groups.setdefault(group, self._groups[other])

    def contest(self, group: int, asked: bool | None) -> Contest | None:
        """Return the hedging of a call of this group; ``asked``: by the call itself."""
        hedger = None if asked is False else self._hedger(group, asked)
        return None if hedger is None else Contest(hedger)

    def _hedger(self, group: int, asked: bool | None) -> Hedger | None:
        hedger = self._groups.get(group, self._own)
        if hedger is None and asked:
            hedger = self._own or self._plain
            if hedger is None:
                hedger = self._plain = Hedger(Hedge())
        return hedger

    def figures(self) -> dict[str, Any]:
        """Return calls, hedges sent and won, those the budget refused, their cost.

        ``cost``: USD billed for attempts that another one overtook.
        """
        every = {id(h): h for h in (self._own, self._plain, *self._groups.values())}
        all_ = [h for h in every.values() if h is not None]
        return {
            "calls": sum(h.calls for h in all_),
            "sent": sum(h.sent for h in all_),
            "won": sum(h.won for h in all_),
            "skipped": sum(h.skipped for h in all_),
            "cost": sum(h.lost_nano for h in all_) / 1e9,
        }


def as_hedge(field: str, value: Any) -> Hedge | None:
    """Return the rule that True, False, None or a Hedge stands for."""
    if value is None or value is False:
        return None
    if value is True:
        return Hedge()
    if not isinstance(value, Hedge):
        raise ConfigError(field, value, "give Hedge(...), True or False")
    return value

"""Where a call goes next: its chain of groups, the line of those who wait, rounds.

    the group, then its fallbacks, each once     a live lease
    nothing fits                                 the seconds to wait, in line
    everything was tried                         again after a pause, or the end

``Walk`` is the half of a Run that looks for a backend; it raises the error the caller
gets when there is nowhere left to go.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from .._core import Lease
from .._errors import (
    InvalidRequestError,
    LLMBalanceError,
    NoBackendError,
    ProviderError,
    RateLimitedError,
    RequestTimeoutError,
)
from .._fleet._groups import whole_chain
from .._fleet._line import Ticket, Turn
from .._types import Call
from ..providers._failures import KINDS
from ._decision import refusal
from ._story import Story

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet
    from .._fleet._target import Target
    from ._routing import Options

_MOST_ATTEMPTS = 16  # of one call, over all backends and rounds
_ROUNDS = 3  # how often a backend may be tried when no other is left
_BACKOFF = (0.5, 8.0)  # first and longest pause between rounds, seconds
_BUSY_WAIT = 0.005  # look again so soon when only a call in flight can make room


class Walk(Story):
    """The state of one call's search for a backend."""

    __slots__ = (
        "back_at",
        "chain",
        "deadline",
        "error",
        "first",
        "fleet",
        "gone",
        "lease",
        "round",
        "spare",
        "ticket",
        "tried",
        "visits",
    )

    def __init__(self, fleet: Fleet, call: Call, options: Options, now: float) -> None:
        self.call = call
        self.options = options
        self.began = now
        self.attempts = []
        self.verdict = "cancelled"
        self.id = ""
        self.number = 0
        self.fleet = fleet
        self.deadline = now + options.timeout
        self.error: LLMBalanceError | None = None  # of the newest attempt
        self.lease: Lease | None = None
        self.chain: Sequence[int] = self._chain()
        self.gone: list[int] = []  # groups left for good by a special chain
        self.first: dict[int, str] = {}  # kind of a group's first failure, likewise
        self.visits: dict[int, list[float]] = {}  # times of attempts, where it matters
        self.ticket: Ticket | None = None  # its place in the line of those who wait
        self.tried = 0  # attempts of this round
        self.back_at: float | None = None  # when the first of them may be asked again
        self.round = 0
        # Makes it another call where there is no money for this one.
        self.spare: Callable[[Any], None] | None = None
        if now >= fleet.due:
            fleet.refresh()

    def next_lease(self) -> Lease | float:
        """Walk the chain of groups; then wait, start over, or raise."""
        if len(self.attempts) >= _MOST_ATTEMPTS:
            self._stop()
        left = self.deadline - time.monotonic()
        if left <= 0:
            self._time_out()
        if self.fleet.lines and not self.tried and self.options.wait:
            turn = self._in_line(left)
            if turn is not None:
                return turn
        refusals: list[Lease] = []
        for group in self.chain:
            if self.visits and self.exhausted(group):
                continue
            lease = self._pick(group)
            self.lease = lease
            if lease.backend >= 0:
                return self._taken(lease)
            if self.fleet.group_terms and self._overflows(lease):
                return self.next_lease()
            refusals.append(lease)
        if self.spare is not None and self._gives_way(refusals):
            return self.next_lease()
        for refused in refusals:  # all breakers open: better a try than none
            if refused.decision["refused"].get("breaker"):
                lease = refused.again(None, True)
                if lease.backend >= 0:
                    self.lease = lease
                    return self._taken(lease)
        if not refusals:  # no group has time or attempts left
            self._stop()
        return self._pause(refusals, left)

    def _taken(self, lease: Lease) -> Lease:
        self.tried += 1
        if self.ticket is not None:
            self._leave_line(time.monotonic())
        retries = self.fleet.retries
        if retries is not None:
            if self.tried > 1:
                retries.withdraw(time.monotonic())
            elif self.round == 0:
                retries.deposit(time.monotonic())
        if self.options.attempts is not None or self.fleet.group_terms:
            self._visit(lease.group)
        return lease

    def _visit(self, group: int) -> None:
        """Note an attempt in a group, where somebody counts them."""
        terms = self.fleet.group_terms
        if self.options.attempts is not None or (terms and group in terms):
            self.visits.setdefault(group, []).append(time.monotonic())

    def exhausted(self, group: int) -> bool:
        """Whether the call has spent its time or attempts in a group."""
        visits = self.visits.get(group)
        if not visits:
            return False
        most = self._most(group)
        if most is not None and len(visits) >= most:
            return True
        terms = self.fleet.group_terms.get(group)
        if terms is None or terms.timeout is None:
            return False
        return time.monotonic() - visits[0] >= terms.timeout

    def _most(self, group: int) -> int | None:
        """How many attempts there may be in a group; None: nobody says."""
        if self.options.attempts is not None:
            return self.options.attempts
        terms = self.fleet.group_terms.get(group)
        return None if terms is None else terms.most(self.first.get(group))

    def _gives_way(self, refusals: list[Lease]) -> bool:
        """Whether a call without money, of which nothing was sent, became another."""
        spent = any(lease.decision["refused"].get("budget") for lease in refusals)
        if self.spare is None or self.attempts or not spent:
            return False
        if self.ticket is not None:
            self._leave_line()
        spare, self.spare = self.spare, None
        spare(self)
        self.chain, self.lease = self._chain(), None
        return True

    def _overflows(self, lease: Lease) -> bool:
        """Whether the prompt is too long for all of a group, and another is named."""
        refused = lease.decision["refused"]
        too_long = refused.get("context", 0)
        if not too_long or sum(refused.values()) != too_long:
            return False
        return self._divert(lease.group, "context_length")

    def _divert(self, group: int, kind: str) -> bool:
        """Take the chain that a group has for this kind of failure; False: none."""
        terms = self.fleet.group_terms.get(group)
        chain = terms.chain(kind) if terms is not None else []
        if not chain or self.options.fallbacks in ([], [self.options.group]):
            return False
        rest = self.chain if self.gone else []  # the general chain is left at once
        self.gone.append(group)
        merged = dict.fromkeys((*chain, *rest))
        self.chain = [g for g in merged if g not in self.gone]
        return bool(self.chain)

    def _chain(self) -> Sequence[int]:
        """The call's group and, behind it, its fallbacks and theirs, each once."""
        fleet, options = self.fleet, self.options
        group = options.group
        if options.fallbacks is None:
            chain = fleet.chains.get(group) or (group,)
        else:
            chain = whole_chain(fleet.fallbacks, group, options.fallbacks)
        return chain if options.tuned is None else self._tuned(chain)

    def _tuned(self, chain: Sequence[int]) -> Sequence[int]:
        """Before each group those of its backends' endpoints that were tuned so."""
        variant, variants = str(self.options.tuned), self.fleet.variants
        found = [(variants.get((group, variant)), group) for group in chain]
        if not any(number is not None for number, _ in found):
            known = ", ".join(sorted({name for _, name in variants})) or "none"
            name = self.fleet.group_names[self.options.group]
            remedy = f"no backend behind {name!r} was tuned so; known are {known}"
            raise InvalidRequestError("tuned", variant, remedy)
        return [g for pair in found for g in pair if g is not None]

    def targets(self, *, overflow: bool = False) -> list[Target]:
        """All that may serve the call: the group's in their order, then fallbacks'.

        ``overflow``: those as well that a prompt goes to that is too long.
        """
        members, names = self.fleet.members(), self.fleet.group_names
        chain = list(self.chain)
        if overflow and self.options.fallbacks not in ([], [self.options.group]):
            terms = (self.fleet.group_terms.get(group) for group in self.chain)
            chain += [g for one in terms if one is not None for g in one.context]
        found = dict.fromkeys(i for group in chain for i in members[names[group]])
        return [self.fleet.targets[i] for i in found]

    def stay(self) -> None:
        """Go nowhere but to the call's own group, whatever happens there."""
        self.options.fallbacks = []
        self.chain = self._chain()

    def _pick(self, group: int) -> Lease:
        if self.lease is not None:
            return self.lease.again(group, False)
        o, call = self.options, self.call
        prompt = call.messages if call.kind == "chat" else call.input
        try:
            return self.fleet.pool.pick(group, prompt, *o.ask(call.params.get("tools")))
        except (TypeError, ValueError) as error:
            field = "messages" if call.kind == "chat" else "input"
            raise InvalidRequestError(field, "(see there)", str(error)) from None

    def _pause(self, refusals: list[Lease], left: float) -> float:
        """Nothing fits now: how long to wait, or raise when waiting is no use."""
        wait = min(lease.wait for lease in refusals)
        if self.tried:
            return self._next_round(left, wait if self.options.wait else math.inf)
        if not self.options.wait or wait >= left:
            self._refuse(refusals, wait)
        if wait < _BUSY_WAIT:
            wait = _BUSY_WAIT
        # Not all at the same instant: whoever waits comes back at its own moment.
        wait = min(wait * (1 + 0.1 * random.random()), left)
        if self.ticket is None:
            self._join_line(left, wait)
        assert self.ticket is not None
        self.ticket.until = time.monotonic() + wait
        head = self.fleet.lines.is_head(self.ticket)
        return Turn(wait if head else left, self.ticket)

    def _in_line(self, left: float) -> Turn | None:
        """The turn of a call that has to let others ask first; None: it may ask."""
        lines, ticket = self.fleet.lines, self.ticket
        if ticket is None:
            until = time.monotonic() + left
            if not lines.busy(self._line(), self.options.rank, until):
                return None
            ticket = self._join_line(left)
        if ticket.shed:
            self._shed(ticket.least or None, hopeless=ticket.least > 0)
        return None if lines.is_head(ticket) else Turn(left, ticket)

    def _line(self) -> Hashable:
        """Calls that ask for the same stand in the same line."""
        return (*self.chain, self.options.tags, self.options.needs)

    def _join_line(self, left: float, wait: float | None = None) -> Ticket:
        lines, key, rank = self.fleet.lines, self._line(), self.options.rank
        least = lines.least_wait(key, rank)
        if least > left:
            self._shed(least, hopeless=True)
        self.ticket = lines.join(key, rank, self.deadline)
        if self.ticket is None:
            self._shed(wait)
        assert self.ticket is not None
        return self.ticket

    def _leave_line(self, served: float | None = None) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            self.fleet.lines.leave(ticket, served)

    def _shed(self, wait: float | None = None, *, hopeless: bool = False) -> None:
        """Refuse a call before it has waited: there are too many before it."""
        self.verdict = RateLimitedError.__name__
        why = "as many as max_waiting allows"
        if hopeless:
            why = f"more than can be served within its {self.options.timeout:g} s"
        raise RateLimitedError(
            f"{self.fleet.lines.waiting} calls wait already, {why}", retry_after=wait
        )

    def _next_round(self, left: float, wait: float) -> float:
        """Everything was tried: the same again after a pause, if that may help.

        ``wait``: seconds until somebody untried has room, if anybody has.
        """
        self.round += 1
        back_at, self.back_at = self.back_at, None
        if back_at is not None:  # who comes back first, not who failed last
            wait = min(wait, back_at - time.monotonic())
        rounds = max(_ROUNDS, *(self._most(group) or 0 for group in self.chain))
        if self.round >= rounds:
            self._stop()
        first, longest = _BACKOFF
        pause = random.uniform(0, min(longest, first * 2**self.round))
        pause = max(pause, wait)
        if pause >= left:
            self._stop()
        retries = self.fleet.retries
        if retries is not None and not retries.allow(time.monotonic()):
            self._stop()
        self.lease = None
        self.tried = 0
        return pause

    def _failed(self, error: LLMBalanceError) -> None:
        """An attempt has failed; its backend may be asked again when it said so."""
        self.error = error
        if _may_recover(error):
            back_at = time.monotonic() + (error.retry_after or 0.0)
            self.back_at = min(back_at, self.back_at or back_at)

    # -- the end -------------------------------------------------------------

    def _stop(self) -> NoReturn:
        """Raise the newest error, with everything that was tried."""
        error = self.error or NoBackendError("no backend took the call")
        self.verdict = type(error).__name__
        error.attempts = self.attempts
        raise error

    def _time_out(self) -> None:
        if self.error is not None:
            self._stop()
        if self.ticket is not None:
            self.verdict = RateLimitedError.__name__
            raise RateLimitedError(
                f"no room within {self.options.timeout:g} s: others wait as well"
            )
        self.verdict = RequestTimeoutError.__name__
        raise RequestTimeoutError(
            f"no backend answered within {self.options.timeout:g} s",
            attempts=self.attempts,
        )

    def refuse_now(self) -> None:
        """Raise what ``aim`` would wait for."""
        assert self.lease is not None
        self._refuse([self.lease], self.lease.wait)

    def _refuse(self, refusals: list[Lease], wait: float) -> None:
        """Say who was refused and why, and when it is worth coming back."""
        if self.error is not None:
            self._stop()
        names = [target.name for target in self.fleet.targets]
        reasons: dict[str, str] = {}
        for lease in refusals:
            for line in lease.decision["candidates"]:
                reasons[names[line["backend"]]] = line["reason"]
        group = self.fleet.group_names[self.options.group]
        error = refusal(group, reasons, wait)
        self.verdict = type(error).__name__
        raise error


def _may_recover(error: LLMBalanceError) -> bool:
    """Whether the same backend may answer a little later."""
    if isinstance(error, ProviderError):
        return KINDS[error.kind].outcome in ("failed", "timeout", "rate_limited")
    return not isinstance(error, InvalidRequestError)

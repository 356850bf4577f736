"""One call on its way down and back: decides everything, does no I/O.

    run = Run(fleet, call, ...)
    while True:
        shot = run.aim()          the next attempt: lease, target, request, time-outs
        ...send it...             or the seconds to wait before asking again
        reply = run.land(shot, response)
        if reply is not None: return reply

``aim`` chooses through the pool and writes the request in the target's dialect;
``land`` reads the answer, settles the lease and says whether to go on. Both raise the
error the caller gets when nothing is left to try. The async and the blocking router
and streams drive the same Run, so there is one policy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from ._core import OUTCOMES, UNITS, Lease, PriceRow, measure
from ._cost import kinds_of
from ._decision import Attempt, Decision, refusal
from ._errors import (
    InvalidRequestError,
    LLMBalanceError,
    NoBackendError,
    ProviderError,
    RateLimitedError,
    RequestTimeoutError,
)
from ._line import Ticket, Turn
from ._price import standard_tier
from ._shape import shape
from ._types import (
    Call,
    ChatReply,
    EmbeddingReply,
    Failure,
    LimitReading,
    Request,
    Usage,
)
from .providers._failures import KINDS, TRANSPORT_KINDS, exception_of

if TYPE_CHECKING:
    from ._fleet import Fleet, Target
    from ._ledger import Entry
    from ._options import Options

OUTCOME = {name: i for i, name in enumerate(OUTCOMES)}
# Words of the error table that the breaker knows under another name.
OUTCOME |= {
    "timeout": OUTCOME["timed_out"],
    "incapable": OUTCOME["rejected"],
    "broken_stream": OUTCOME["broken"],
}
_DONE = OUTCOME["done"]
_CANCELLED = OUTCOME["cancelled"]
_UNIT = {name: i for i, name in enumerate(UNITS)}
_MOST_ATTEMPTS = 16  # of one call, over all backends and rounds
_ROUNDS = 3  # how often a backend may be tried when no other is left
_BACKOFF = (0.5, 8.0)  # first and longest pause between rounds, seconds
_NO_TIMEOUTS = (0.0, 0.0, 0.0, 0.0, 0.0)
_BUSY_WAIT = 0.005  # look again so soon when only a call in flight can make room
_PHASES = {
    "connect_timeout": "connect",
    "first_byte_timeout": "first_byte",
    "first_token_timeout": "first_token",
    "idle_timeout": "idle",
    "total_timeout": "total",
}


class Shot(NamedTuple):
    """One attempt ready to be sent."""

    lease: Lease
    target: Target
    request: Request
    timeouts: tuple[float, float, float, float, float]
    sent_at: float


class Run:
    """The state of one call between its attempts."""

    __slots__ = (
        "attempts",
        "began",
        "call",
        "chain",
        "deadline",
        "entry",
        "error",
        "fleet",
        "gone",
        "id",
        "lease",
        "number",
        "options",
        "round",
        "ticket",
        "tried",
        "verdict",
        "visits",
    )

    def __init__(self, fleet: Fleet, call: Call, options: Options) -> None:
        self.fleet = fleet
        self.call = call
        self.options = options
        self.began = now = time.monotonic()
        self.deadline = now + options.timeout
        self.attempts: list[Attempt] = []
        self.error: LLMBalanceError | None = None  # of the newest attempt
        self.lease: Lease | None = None
        self.id = ""  # in the ledger
        self.number = 0  # in events
        self.verdict: str | None = "cancelled"  # the error's name, None: answered
        self.entry: Entry | None = None  # of the newest attempt, not yet in the ledger
        self.chain = self._chain()
        self.gone: list[int] = []  # groups left for good by a special chain
        self.visits: dict[int, list[float]] = {}  # times of attempts, where it matters
        self.ticket: Ticket | None = None  # its place in the line of those who wait
        self.tried = 0  # attempts of this round
        self.round = 0
        if now >= fleet.due:
            fleet.refresh()

    # -- the way down --------------------------------------------------------

    def aim(self, *, write: bool = True) -> Shot | float:
        """Return the next attempt, or the seconds to wait before calling again.

        Without ``write`` the request stays empty: the caller sends his own.
        """
        while True:
            lease = self._next_lease()
            if isinstance(lease, float):
                return lease
            if self.entry is not None:
                self._write(last=False)
            target = self.fleet.targets[lease.backend]
            if not write:
                request = Request(target="")
                return Shot(lease, target, request, _NO_TIMEOUTS, time.monotonic())
            try:
                request = (
                    target.dialect.chat(self.call)
                    if self.call.kind == "chat"
                    else target.dialect.embed(self.call)
                )
                request.headers += target.dialect.request_headers()
            except InvalidRequestError as error:
                # This target cannot express the call; another one may.
                self._give_back(lease, target, error)
                continue
            except BaseException:
                lease.settle(_CANCELLED, sent=False)
                raise
            return Shot(
                lease, target, request, self._timeouts(lease, target), time.monotonic()
            )

    def _give_back(self, lease: Lease, target: Target, error: LLMBalanceError) -> None:
        lease.settle(OUTCOME["rejected"], sent=False)
        error.backend = target.name
        self.attempts.append(Attempt(target.name, "rejected", 0, "unsupported"))
        if self.error is None:
            self.error = error

    def _next_lease(self) -> Lease | float:
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
            if self.visits and self._exhausted(group):
                continue
            lease = self._pick(group)
            self.lease = lease
            if lease.backend >= 0:
                return self._taken(lease)
            refusals.append(lease)
        if self.fleet.group_terms and self._overflows(refusals):
            return self._next_lease()
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
            self._leave_line()
        retries = self.fleet.retries
        if retries is not None:
            if self.tried > 1:
                retries.withdraw(time.monotonic())
            elif self.round == 0:
                retries.deposit(time.monotonic())
        if self.fleet.group_terms and lease.group in self.fleet.group_terms:
            self.visits.setdefault(lease.group, []).append(time.monotonic())
        return lease

    def _exhausted(self, group: int) -> bool:
        """Whether the call has spent its time or attempts in a group."""
        visits = self.visits.get(group)
        if not visits:
            return False
        terms = self.fleet.group_terms[group]
        if terms.max_attempts is not None and len(visits) >= terms.max_attempts:
            return True
        spent = time.monotonic() - visits[0]
        return terms.timeout is not None and spent >= terms.timeout

    def _overflows(self, refusals: list[Lease]) -> bool:
        """Whether the prompt is too long for all of a group, and another is named."""
        for lease in refusals:
            refused = lease.decision["refused"]
            if refused.get("context") and sum(refused.values()) == refused["context"]:
                return self._divert(lease.group, "context_length")
        return False

    def _divert(self, group: int, kind: str) -> bool:
        """Take the chain that a group has for this kind of failure; False: none."""
        terms = self.fleet.group_terms.get(group)
        chain = terms.chain(kind) if terms is not None else []
        if not chain:
            return False
        rest = self.chain if self.gone else []  # the general chain is left at once
        self.gone.append(group)
        merged = dict.fromkeys((*chain, *rest))
        self.chain = [g for g in merged if g not in self.gone]
        return bool(self.chain)

    def _chain(self) -> list[int]:
        """The call's group and, behind it, its fallbacks and theirs, each once."""
        chain = [self.options.group]
        for group in chain:
            more = self.fleet.fallbacks.get(group, [])
            if group == self.options.group and self.options.fallbacks:
                more = self.options.fallbacks
            chain += [g for g in more if g not in chain]
        return chain

    def targets(self) -> list[Target]:
        """All that may serve the call: the group's in their order, then fallbacks'."""
        members, names = self.fleet._members(), self.fleet.group_names
        found = dict.fromkeys(i for group in self.chain for i in members[names[group]])
        return [self.fleet.targets[i] for i in found]

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
        if self.tried:
            return self._next_round(left)
        wait = min(lease.wait for lease in refusals)
        if not self.options.wait or wait >= left:
            self._refuse(refusals, wait)
        if wait < _BUSY_WAIT:
            wait = _BUSY_WAIT
        # Not all at the same instant: whoever waits comes back at its own moment.
        wait = min(wait * (1 + 0.1 * random.random()), left)
        if self.ticket is None:
            self._join_line(wait)
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
            ticket = self._join_line()
        if ticket.shed:
            self._shed()
        return None if lines.is_head(ticket) else Turn(left, ticket)

    def _line(self) -> Hashable:
        """Calls that ask for the same stand in the same line."""
        return (*self.chain, self.options.tags, self.options.needs)

    def _join_line(self, wait: float | None = None) -> Ticket:
        lines = self.fleet.lines
        self.ticket = lines.join(self._line(), self.options.rank)
        if self.ticket is None:
            self._shed(wait)
        assert self.ticket is not None
        return self.ticket

    def _leave_line(self) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            self.fleet.lines.leave(ticket)

    def _shed(self, wait: float | None = None) -> None:
        self.verdict = RateLimitedError.__name__
        raise RateLimitedError(
            f"{self.fleet.lines.waiting} calls wait already, as many as max_waiting"
            " allows",
            retry_after=wait,
        )

    def _next_round(self, left: float) -> float:
        """Everything was tried: the same again after a pause, if that may help."""
        self.round += 1
        again = self.error is not None and _may_recover(self.error)
        if not again or self.round >= _ROUNDS:
            self._stop()
        first, longest = _BACKOFF
        pause = random.uniform(0, min(longest, first * 2**self.round))
        retry_after = self.error.retry_after if self.error else None
        if retry_after is not None:
            pause = max(pause, retry_after)
        if pause >= left:
            self._stop()
        retries = self.fleet.retries
        if retries is not None and not retries.allow(time.monotonic()):
            self._stop()
        self.lease = None
        self.tried = 0
        return pause

    def _timeouts(
        self, lease: Lease, target: Target
    ) -> tuple[float, float, float, float, float]:
        """Time-outs of this attempt; half of what is left while others could help."""
        t = self.options.timeouts or target.timeouts or self.fleet.timeouts
        left = max(self.deadline - time.monotonic(), 0.001)
        share = left
        if lease.rivals or len(self.chain) > 1:
            share = min(left, max(left / 2, 3 * lease.seconds))
        if self.visits and (visits := self.visits.get(lease.group)):
            most = self.fleet.group_terms[lease.group].timeout
            if most is not None:
                share = min(share, max(visits[0] + most - time.monotonic(), 0.001))
        first_token = t.first_token or 0.0
        total = min(t.total or left, left)
        if self.call.stream:
            first_token = min(first_token or share, share)
        else:
            total = min(total, share)
        return (
            t.connect or 0.0,
            t.first_byte or 0.0,
            first_token,
            t.idle or 0.0,
            total,
        )

    # -- the way back --------------------------------------------------------

    def land(self, shot: Shot, response: Any) -> ChatReply | EmbeddingReply | None:
        """Read the answer to ``shot``; None: it failed, aim again."""
        if response.error is not None:
            self.fail(shot, self.transport_failure(response), response)
            return None
        dialect = shot.target.dialect
        if not 200 <= response.status < 300:
            failure = dialect.failure(response.status, response.headers, response.body)
            self.fail(shot, failure, response)
            return None
        read = dialect.chat_reply if self.call.kind == "chat" else dialect.embed_reply
        try:
            reply: ChatReply | EmbeddingReply = read(
                response.status, response.headers, response.body
            )
        except ProviderError as error:
            self.fail(shot, failure_of(error), response)
            return None
        if self.fleet.group_terms and self._withheld(shot, reply, response):
            return None
        shaped = shot.target.steps or self.options.wanted is not None
        if (
            shaped
            and self.call.kind == "chat"
            and not self._shape(shot, reply, response)
        ):
            return None
        self.succeed(shot, reply, response)
        return reply

    def _shape(self, shot: Shot, reply: Any, response: Any) -> bool:
        """Tidy an answer and read it as what was asked for; False: aim again.

        Whatever comes of it, the answer was given and is paid for.
        """
        try:
            shape(reply, shot.target.steps, self.options.wanted)
        except ProviderError as error:
            failure, used = failure_of(error), reply.usage
            self.fail(shot, failure, response, text=reply.text, usage=used, cause=error)
            return False
        except BaseException:  # a step of the caller's own fails
            self.succeed(shot, reply, response)
            raise
        return True

    def _withheld(self, shot: Shot, reply: Any, response: Any) -> bool:
        """Whether an answer was held back by a filter and another group is named."""
        terms = self.fleet.group_terms.get(shot.lease.group)
        if terms is None or not terms.filtered or self.call.kind != "chat":
            return False
        if not any(c.finish_reason == "content_filter" for c in reply.choices):
            return False
        message = "the provider withheld the answer (content_filter)"
        failure = Failure(
            kind="content_filter", message=message, status=response.status
        )
        self.fail(shot, failure, response, text=reply.text, usage=reply.usage)
        return True

    def succeed(self, shot: Shot, reply: Any, response: Any) -> None:
        """Settle a complete answer and fill in what only the router knows."""
        usage: Usage | None = reply.usage
        tier = getattr(reply, "service_tier", None)
        cost, metered, known = self._cost(shot, usage, tier)
        counts = counts_of(usage or self._guess(shot, getattr(reply, "text", "")))
        headers = response.headers
        readings = shot.target.dialect.limits(headers, time.time())
        seconds = response.total
        nano = shot.lease.settle(
            _DONE,
            counts,
            response.ttft,
            seconds,
            True,
            metered,
            cost,
            None,
            told_of(readings) if readings else None,
        )
        self.attempts.append(
            Attempt(
                shot.target.name,
                "done",
                response.status,
                None,
                seconds,
                response.ttft,
                nano,
            )
        )
        self._note(shot, "ok", counts, nano, known, seconds, response.ttft)
        self.verdict = None
        reply.backend = shot.target.name
        reply.attempts = self.attempts
        reply.decision = Decision(shot.lease, [t.name for t in self.fleet.targets])
        if known and not any(
            a.backend in self.fleet.unpriced for a in self.attempts[:-1]
        ):
            reply.cost_nano_usd = sum(a.cost_nano_usd for a in self.attempts)
            reply.cost = reply.cost_nano_usd / 1e9
        if shot.request.warnings:
            reply.warnings = reply.warnings + shot.request.warnings

    def _cost(
        self, shot: Shot, usage: Usage | None, tier: str | None
    ) -> tuple[int | None, bool, bool]:
        """Nano-USD when the pool's own row does not say it; was it metered? is it
        the whole price? ``tier`` is the service tier that was billed."""
        known = shot.target.name not in self.fleet.unpriced
        if usage is None:
            return None, False, known
        if usage.cost_usd is not None:  # what the provider says wins
            return nano_of(usage.cost_usd), True, True
        other = tier is not None and standard_tier(tier) != standard_tier(
            shot.target.backend.service_tier
        )
        if not other and not usage.web_search_requests:
            return None, True, known
        row = self.fleet.row(shot.target, tier if other else None)
        kinds = kinds_of(usage)
        cost = row.cost(**kinds)
        if cost is None:  # no price for a search: the tokens at least are billed
            kinds.pop("searches", None)
            return row.cost(**kinds), True, False
        return cost, True, known

    def _guess(self, shot: Shot, text: str) -> Usage:
        """Tokens of an answer whose provider does not say them."""
        output = measure(text) if text else 0
        return Usage(shot.lease.input_tokens, output, shot.lease.input_tokens + output)

    def fail(
        self,
        shot: Shot,
        failure: Failure,
        response: Any,
        *,
        text: str = "",
        usage: Usage | None = None,
        cause: LLMBalanceError | None = None,
    ) -> None:
        """Settle a failed attempt; raise when no other attempt can help."""
        kind = KINDS[failure.kind]
        error = cause or exception_of(failure, backend=shot.target.name)
        if isinstance(error, RequestTimeoutError) and response is not None:
            error.phase = _PHASES.get(response.error or "", error.phase)
        error.backend = shot.target.name
        error.retry_after = failure.retry_after
        used = usage or (self._guess(shot, text) if text else None)
        counts = counts_of(used) if used else self._seen(shot, response)
        stated = usage.cost_usd if usage else None
        seconds = response.total if response is not None else 0.0
        nano = shot.lease.settle(
            OUTCOME[kind.outcome],
            counts,
            None,
            None,
            response is None or response.sent,
            usage is not None,
            None if stated is None else nano_of(stated),
            min(failure.retry_after, 9e8) if failure.retry_after else None,
            told_of(failure.limits) if failure.limits else None,
        )
        self.attempts.append(
            Attempt(
                shot.target.name,
                kind.outcome,
                failure.status,
                failure.kind,
                seconds,
                0.0,
                nano,
            )
        )
        known = (
            counts is None
            or stated is not None
            or shot.target.name not in self.fleet.unpriced
        )
        self._note(shot, failure.kind, counts, nano, known, seconds, None)
        self.error = error
        if self.fleet.group_terms and self._divert(shot.lease.group, failure.kind):
            return
        if kind.action == "never":
            self._stop()

    def _seen(self, shot: Shot, response: Any) -> tuple[int, ...] | None:
        """A time-out after the request went out: the prompt is billed all the same."""
        late = response is not None and response.error in (
            "first_byte_timeout",
            "first_token_timeout",
            "idle_timeout",
            "total_timeout",
        )
        return (shot.lease.input_tokens,) if late else None

    def cancel(self, shot: Shot, *, text: str = "", usage: Usage | None = None) -> None:
        """The caller left: settle with what was seen so far."""
        if not shot.lease.live:
            return
        counts = counts_of(usage or self._guess(shot, text))
        stated = None if usage is None else usage.cost_usd
        nano = shot.lease.settle(
            _CANCELLED,
            counts,
            metered=usage is not None,
            cost=None if stated is None else nano_of(stated),
        )
        seconds, name = time.monotonic() - shot.sent_at, shot.target.name
        self.attempts.append(
            Attempt(name, "cancelled", 0, "cancelled", seconds, 0.0, nano)
        )
        known = stated is not None or name not in self.fleet.unpriced
        self._note(shot, "cancelled", counts, nano, known, seconds, None)

    # -- the ledger ----------------------------------------------------------

    def _note(
        self,
        shot: Shot,
        status: str,
        counts: tuple[int, ...] | None,
        nano: int,
        known: bool,
        seconds: float | None,
        ttft: float | None,
    ) -> None:
        """A settled attempt, for the ledger, for alerts, for who listens or waits."""
        if self.fleet.lines:
            self.fleet.lines.room()
        events = self.fleet.events
        if events.active:
            good = status == "ok"
            events.attempt(
                self,
                shot,
                "done" if good else KINDS[status].outcome,
                None if good else status,
                self.attempts[-1].status if self.attempts else 0,
                counts,
                nano,
                seconds,
                ttft,
            )
        books = self.fleet.books
        if books is not None:
            self.entry = books.note(
                self, shot, status, counts, nano, known, seconds, ttft
            )

    def end(self) -> None:
        """The call is over, however it ended: its last attempt can be written."""
        if self.ticket is not None:
            self._leave_line()
        if self.entry is not None:
            self._write(last=True)
        if self.fleet.events.active:
            self.fleet.events.call(self)

    def _write(self, last: bool) -> None:
        entry, self.entry = self.entry, None
        assert entry is not None
        assert self.fleet.books is not None
        self.fleet.books.write(entry, last)

    def transport_failure(self, response: Any) -> Failure:
        """What the engine reported, as a row of the error table."""
        detail = response.detail or response.error.replace("_", " ")
        return Failure(
            kind=TRANSPORT_KINDS.get(response.error, "transport"),
            message=f"{detail} (after {response.offset} bytes of the answer)"
            if response.offset
            else detail,
            status=response.status,
        )

    # -- the end -------------------------------------------------------------

    def _stop(self) -> None:
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
                f"no room within {self.options.timeout:g} s: others wait as well",
                retry_after=_BUSY_WAIT,
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
        retry_after = wait if wait < 9e8 else None
        error = refusal(group, reasons, retry_after)
        self.verdict = type(error).__name__
        raise error


def _may_recover(error: LLMBalanceError) -> bool:
    """Whether the same backend may answer a little later."""
    if isinstance(error, ProviderError):
        return KINDS[error.kind].outcome in ("failed", "timeout", "rate_limited")
    return not isinstance(error, InvalidRequestError)


def failure_of(error: ProviderError) -> Failure:
    """An error found inside an answer, as a failure."""
    return Failure(
        kind=error.kind,
        message=error.message,
        status=error.status or 200,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )


def nano_of(usd: float) -> int:
    """An amount a provider states, in nano-USD; by its digits, rounded half up."""
    return PriceRow.parse(repr(float(usd)), 9)


def counts_of(usage: Usage) -> tuple[int, ...]:
    """Usage as the core counts it: in the order of KINDS, no token twice."""
    if usage.web_search_requests:
        return (*usage.disjoint().values(), 1, 0, 0, usage.web_search_requests)
    return (*usage.disjoint().values(), 1)


def told_of(readings: list[LimitReading]) -> list[tuple[int, int, int, float, float]]:
    """Header readings as the core takes them: -1 for what is not said."""
    return [
        (
            _UNIT[r.kind],
            -1 if r.limit is None else int(r.limit),
            -1 if r.remaining is None else int(r.remaining),
            -1.0 if r.reset_seconds is None else r.reset_seconds,
            -1.0 if r.window_seconds is None else r.window_seconds,
        )
        for r in readings
    ]

"""One call on its way down and back: decides everything, does no I/O.

    run = Run(fleet, call, ...)
    while True:
        shot = run.aim()          the next attempt: lease, target, request, time-outs
        ...send it...             or the seconds to wait before asking again
        reply = run.land(shot, response)
        if reply is not None: return reply

``aim`` chooses through the pool and writes the request in the target's dialect (see
``_walk.py`` and ``_aim.py``); ``land`` reads the answer, settles the lease and says
whether to go on. Both raise the error the caller gets when nothing is left to try. The
async and the blocking router and streams drive the same Run: there is one policy.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .._core import measure
from .._errors import LLMBalanceError, ProviderError, RequestTimeoutError
from .._figures import OUTCOME, counts_of, failure_of, nano_of, told_of
from .._fleet._shape import shape
from .._money._cost import kinds_of
from .._price import standard_tier
from .._types import Call, ChatReply, EmbeddingReply, Failure, Usage
from ..providers._failures import KINDS, TRANSPORT_KINDS, exception_of
from ._aim import Aim
from ._decision import Attempt, Decision
from ._story import Shot

if TYPE_CHECKING:
    from .._experiments._studies import Trial
    from .._fleet._fleet import Fleet
    from .._fleet._hedge import Contest
    from .._fleet._shape import Shaping
    from ._routing import Options
    from ._story import Listener

_DONE = OUTCOME["done"]
_CANCELLED = OUTCOME["cancelled"]
_PHASES = {
    "connect_timeout": "connect",
    "first_byte_timeout": "first_byte",
    "first_token_timeout": "first_token",
    "idle_timeout": "idle",
    "total_timeout": "total",
}


class Run(Aim):
    """One call between its attempts: what it sends, what came back, what it cost."""

    __slots__ = ("contest", "mirror", "trial")

    def __init__(self, fleet: Fleet, call: Call, options: Options) -> None:
        self.entry = self.held = None
        self.trial: Trial | None = None  # its part in experiments
        self.mirror: Listener | None = None  # to be copied once it is answered
        self.contest: Contest | None = None  # where it may be hedged
        super().__init__(fleet, call, options, time.monotonic())

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
        wanted = self.options.wanted is not None
        shaped = wanted or shot.target.steps or self.fleet.group_steps
        if (
            shaped
            and self.call.kind == "chat"
            and not self._shape(shot, reply, response)
        ):
            return None
        self.succeed(shot, reply, response)
        return reply

    def steps(self, shot: Shot) -> tuple[Shaping, ...]:
        """What is done to the text of an answer."""
        return self.fleet.steps(shot.target, shot.lease.group)

    def _shape(self, shot: Shot, reply: Any, response: Any) -> bool:
        """Tidy an answer and read it as what was asked for; False: aim again.

        Whatever comes of it, the answer was given and is paid for.
        """
        try:
            on = self.options.postprocess is not False
            shape(reply, self.steps(shot) if on else (), self.options.wanted)
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
        if self.contest is not None:
            self.contest.overtake()
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
        warnings = shot.request.warnings
        reply.decision = Decision(shot.lease, self.fleet.targets, warnings)
        if known and not any(
            a.backend in self.fleet.rates.unpriced for a in self.attempts[:-1]
        ):
            reply.cost_nano_usd = sum(a.cost_nano_usd for a in self.attempts)
            reply.cost = reply.cost_nano_usd / 1e9
        if warnings:
            reply.warnings = reply.warnings + warnings
        if self.trial is not None:
            self.trial.answered(reply)
        if self.mirror is not None:
            self.mirror.answered(reply)

    def _cost(
        self, shot: Shot, usage: Usage | None, tier: str | None
    ) -> tuple[int | None, bool, bool]:
        """Nano-USD when the pool's own row does not say it; was it metered? is it
        the whole price? ``tier`` is the service tier that was billed; the region is
        the one that the usage names, else the one that was asked for."""
        known = shot.target.name not in self.fleet.rates.unpriced
        if usage is None:
            return None, False, known
        if usage.cost_usd is not None:  # what the provider says wins
            return nano_of(usage.cost_usd), True, True
        other = tier is not None and standard_tier(tier) != standard_tier(
            shot.target.backend.service_tier
        )
        region = usage.region or shot.request.region
        usual = shot.target.backend.region or "global"
        elsewhere = region is not None and region != usual
        if not other and not elsewhere and not usage.web_search_requests:
            return None, True, known
        row = self.fleet.rates.of(
            shot.target, tier if other else None, region if elsewhere else None
        )
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
        if self.contest is not None and kind.action == "never":
            self.contest.refuse()
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
            or shot.target.name not in self.fleet.rates.unpriced
        )
        self._note(shot, failure.kind, counts, nano, known, seconds, None)
        self._failed(error)
        if self.visits:
            self.first.setdefault(shot.lease.group, failure.kind)
        if self.fleet.group_terms and self._divert(shot.lease.group, failure.kind):
            return
        if kind.action == "never" and not (self.contest and self.contest.racing):
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

    def cancel(
        self,
        shot: Shot,
        *,
        text: str = "",
        usage: Usage | None = None,
        overtaken: bool = False,
    ) -> None:
        """The caller left, or another was faster: settle with what was seen so far."""
        if not shot.lease.live:
            return
        counts = counts_of(usage or self._guess(shot, text))
        stated = None if usage is None else usage.cost_usd
        seconds, name = time.monotonic() - shot.sent_at, shot.target.name
        nano = shot.lease.settle(
            _CANCELLED,
            counts,
            seconds if overtaken and self.call.stream else None,
            seconds if overtaken else None,
            metered=usage is not None,
            cost=None if stated is None else nano_of(stated),
        )
        self.attempts.append(
            Attempt(name, "cancelled", 0, "cancelled", seconds, 0.0, nano)
        )
        known = stated is not None or name not in self.fleet.rates.unpriced
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
                self.fleet.group_names[shot.lease.group],
                self.fleet.sharing(shot.target.name),
                "done" if good else KINDS[status].outcome,
                None if good else status,
                self.attempts[-1].status if self.attempts else 0,
                counts,
                nano,
                seconds,
                ttft,
            )
        books = self.fleet.books
        if books is None:
            return
        books.watch(nano)
        if books.keeps:
            if self.entry is not None:  # of the other of two attempts
                self._write(last=False)
            self.entry = books.note(
                self, shot, status, counts, nano, known, seconds, ttft
            )

    def end(self) -> None:
        """The call is over, however it ended: its last attempt can be written."""
        if self.held is not None:  # the caller left while a key was on its way
            self.held.settle(_CANCELLED, sent=False)
            self.held = None
        if self.ticket is not None:
            self._leave_line()
        if self.entry is not None:
            self._write(last=True)
        if self.fleet.events.active:
            group = self.fleet.group_names[self.options.group]
            self.fleet.events.call(self, group)
        if self.trial is not None:
            self.trial.over(self)
        if self.mirror is not None:
            self.mirror.over(self)

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

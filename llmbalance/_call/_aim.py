"""The next attempt of a call: a lease, and the request its backend is sent.

    next_lease ──▶ key, request in the target's dialect, time-outs ──▶ a Shot
        ▲                │ cannot be asked for this
        └────────────────┘ or has no key

``Aim`` is the half of a Run that goes down, above the ``Walk`` that finds who is asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import Lease
from .._errors import AuthenticationError, InvalidRequestError, LLMBalanceError
from .._figures import OUTCOME
from .._fleet._parameters import with_params
from .._types import Request
from ..providers._base import KeyPending
from ..providers._failures import KINDS
from ._decision import Attempt
from ._story import Shot
from ._walk import Walk

if TYPE_CHECKING:
    from .._fleet._target import Target
    from .._money._ledger import Entry

_CANCELLED = OUTCOME["cancelled"]
_NO_TIMEOUTS = (0.0, 0.0, 0.0, 0.0, 0.0)
_LONGEST = 6  # times the expected time: 99 of 100 answers, whose lengths vary by e


class Aim(Walk):
    """A call on its way to a backend, attempt by attempt."""

    __slots__ = ("entry", "held")

    entry: Entry | None  # of the newest attempt, not yet in the ledger
    held: Lease | None  # chosen, and waiting for its backend's key

    def aim(self, *, write: bool = True) -> Shot | float:
        """Return the next attempt, or the seconds to wait before calling again.

        Without ``write`` the request stays empty: the caller sends his own.
        """
        while True:
            lease = self.next_lease() if self.held is None else self._taken_up()
            if isinstance(lease, float):
                return lease
            if self.entry is not None:
                self._write(last=False)
            target = self.fleet.targets[lease.backend]
            if not write:
                request = Request(target="")
                return Shot(lease, target, request, _NO_TIMEOUTS, time.monotonic())
            try:
                shot = self._shot(lease, target)
            except KeyPending as pending:
                self.held = lease
                return pending.seconds
            if shot is not None:
                return shot

    def second(self, lease: Lease) -> Shot | None:
        """Make an attempt of a lease that was taken beside one in flight."""
        self.lease = lease
        self._visit(lease.group)
        try:
            return self._shot(lease, self.fleet.targets[lease.backend])
        except KeyPending:
            lease.settle(_CANCELLED, sent=False)
            return None

    def _shot(self, lease: Lease, target: Target) -> Shot | None:
        params, call = target.backend.params, self.call
        if params:
            call = with_params(call, params)
        try:
            key = target.dialect.request_headers()
            request = (
                target.dialect.chat(call)
                if call.kind == "chat"
                else target.dialect.embed(call)
            )
            request.headers += key
        except InvalidRequestError as error:
            # This target cannot express the call; another one may.
            self._give_back(lease, target, error)
            return None
        except AuthenticationError as error:  # there is no key; others have theirs
            self._give_back(lease, target, error, "auth")
            return None
        except KeyPending:
            raise
        except BaseException:
            lease.settle(_CANCELLED, sent=False)
            raise
        return Shot(
            lease, target, request, self._timeouts(lease, target), time.monotonic()
        )

    def _taken_up(self) -> Lease:
        """The choice that was waiting for a key, while there is time."""
        lease, self.held = self.held, None
        assert lease is not None
        if time.monotonic() >= self.deadline:
            lease.settle(_CANCELLED, sent=False)
            self._time_out()
        return lease

    def _give_back(
        self,
        lease: Lease,
        target: Target,
        error: LLMBalanceError,
        kind: str = "unsupported",
    ) -> None:
        outcome = KINDS[kind].outcome
        lease.settle(OUTCOME[outcome], sent=False)
        error.backend = target.name
        self.attempts.append(Attempt(target.name, outcome, 0, kind))
        if self.error is None:
            self.error = error

    def _timeouts(
        self, lease: Lease, target: Target
    ) -> tuple[float, float, float, float, float]:
        """Time-outs of this attempt; half of what is left while others could help."""
        t = self.options.timeouts or target.timeouts or self.fleet.timeouts
        left = max(self.deadline - time.monotonic(), 0.001)
        share = left
        if lease.rivals or len(self.chain) > 1:
            # An expected time that a hanging backend stretches must not take it all.
            share = max(left / 2, min(_LONGEST * lease.seconds, 0.75 * left))
        if self.visits and (visits := self.visits.get(lease.group)):
            terms = self.fleet.group_terms.get(lease.group)
            if terms is not None and terms.timeout is not None:
                rest = visits[0] + terms.timeout - time.monotonic()
                share = min(share, max(rest, 0.001))
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

    def _write(self, last: bool) -> None:
        entry, self.entry = self.entry, None
        assert entry is not None
        assert self.fleet.books is not None
        self.fleet.books.write(entry, last)

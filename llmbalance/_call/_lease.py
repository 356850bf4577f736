"""Bring your own client: the choice, the reservation and the accounting alone.

    with router.acquire("frontier", messages, max_tokens=500) as lease:
        answer = my_client(lease.model).create(...)
        lease.settle(usage=answer.usage, status=200, headers=answer.headers)

A lease that is not settled settles itself when the block ends: by the exception that
left it, or with the tokens it reserved.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from .._config import Backend
from .._errors import InvalidRequestError, LeaseError
from .._figures import OUTCOME, counts_of, told_of
from .._fleet._line import rest
from .._money._cost import as_usage
from ..providers._failures import KINDS
from ._decision import Attempt, Decision
from ._run import Run
from ._story import Shot


class AcquiredLease:
    """What one call of your own holds of the router until it is settled."""

    def __init__(self, run: Run) -> None:
        if run.options.postprocess is not None:
            remedy = "the text comes from your own client: leave it out"
            raise InvalidRequestError("postprocess", run.options.postprocess, remedy)
        if run.options.hedge:
            raise InvalidRequestError("hedge", True, "a lease is one attempt")
        self._run = run
        self._shot: Shot | None = None
        self._settled = False
        self.cost: float | None = None

    # -- what was chosen -----------------------------------------------------

    @property
    def shot(self) -> Shot:
        if self._shot is None:
            raise LeaseError("use the lease in a `with` or `async with` block")
        return self._shot

    @property
    def backend(self) -> str:
        """Name of the chosen backend."""
        return self.shot.target.name

    @property
    def model(self) -> str:
        """The provider's name of the chosen model."""
        return self.shot.target.dialect.model

    @property
    def provider(self) -> str:
        """The provider, e.g. "openai"."""
        return self.config.provider

    @property
    def base_url(self) -> str:
        """Where the chosen backend answers."""
        dialect = self.shot.target.dialect
        return dialect.origin_url + dialect.path

    @property
    def config(self) -> Backend:
        """The Backend as it was written down."""
        return self.shot.target.backend

    @property
    def decision(self) -> Decision:
        """Why it was chosen."""
        return Decision(self.shot.lease, self._run.fleet.targets)

    @property
    def estimated_cost(self) -> float:
        """Expected cost in USD."""
        return self.shot.lease.cost / 1e9

    @property
    def params(self) -> dict[str, Any]:
        """What the call asks of the model: max_tokens, temperature, ..."""
        return dict(self._run.call.params)

    @property
    def experiments(self) -> dict[str, str]:
        """Experiment -> the arm this call was dealt."""
        return {} if self._run.trial is None else self._run.trial.arms()

    # -- settling ------------------------------------------------------------

    def settle(
        self,
        *,
        usage: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | dict[str, Any] = b"",
        ttft: float | None = None,
        seconds: float | None = None,
        error: str | None = None,
        service_tier: str | None = None,
    ) -> float:
        """Say what really happened; returns the cost in USD.

        usage: tokens as the provider billed them, OpenAI's or Anthropic's shape;
        status, headers, body: of the answer (limits and errors are read from them);
        ttft, seconds: measured by you (default: since the lease was taken); error: a
        row of the error table ("timeout", "connect", ...) when no answer came;
        service_tier: the one that was billed, if the answer names it.
        """
        shot = self.shot
        if self._settled:
            raise LeaseError("this lease is settled already", backend=self.backend)
        if error is not None and error not in KINDS:
            raise InvalidRequestError("error", error, f"use one of {', '.join(KINDS)}")
        for name, value in (("ttft", ttft), ("seconds", seconds)):
            if value is not None and not 0 <= value < 1e6:
                raise InvalidRequestError(name, value, "seconds, from 0 to a million")
        fields = {k.lower(): v for k, v in (headers or {}).items()}
        outcome, retry_after = "done", None
        readings = shot.target.dialect.limits(fields, time.time()) if fields else []
        if error is None and not 200 <= status < 300:
            failure = shot.target.dialect.failure(status, fields, body)
            error, retry_after = failure.kind, failure.retry_after
            readings = failure.limits
        if error is not None:
            outcome = KINDS[error].outcome
        counts = None
        used = None if usage is None else as_usage(usage)
        cost, metered, known = self._run._cost(shot, used, service_tier)
        if used is not None:
            counts = counts_of(used)
        elif outcome == "done":
            counts = (shot.lease.input_tokens, *[0] * 5, shot.lease.output_tokens)
        if seconds is None and outcome == "done":
            seconds = time.monotonic() - shot.sent_at
        self._settled = True
        nano = shot.lease.settle(
            OUTCOME[outcome],
            counts,
            ttft,
            seconds,
            True,
            metered,
            cost,
            retry_after,
            told_of(readings) if readings else None,
        )
        self._run.attempts.append(
            Attempt(
                self.backend, outcome, status, error, seconds or 0.0, ttft or 0.0, nano
            )
        )
        self._run._note(shot, error or "ok", counts, nano, known, seconds, ttft)
        self._run.verdict = error
        self._run.end()
        self.cost = nano / 1e9
        return self.cost

    def release(self) -> None:
        """Nothing was sent: give everything back.

        No attempt was made, so there is none in events and ledger; the call has ended
        as "cancelled".
        """
        if not self._settled:
            shot = self.shot
            self._settled = True
            shot.lease.settle(OUTCOME["cancelled"], sent=False)
            if self._run.fleet.lines:
                self._run.fleet.lines.room()
            self._run.end()

    # -- as a block ----------------------------------------------------------

    def __enter__(self) -> AcquiredLease:
        self._run.options.wait = False
        try:
            shot = self._run.aim(write=False)
            if isinstance(shot, float):
                self._run.refuse_now()
        except BaseException:
            self._run.end()
            raise
        assert isinstance(shot, Shot)
        self._shot = shot
        return self

    async def __aenter__(self) -> AcquiredLease:
        try:
            while isinstance(shot := self._run.aim(write=False), float):
                await rest(shot)
        except BaseException:
            self._run.end()  # or its place in the line would stay taken
            raise
        self._shot = shot
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._settled or self._shot is None:
            return
        if error is None:
            self.settle()
        elif isinstance(error, TimeoutError):
            self.settle(error="request_timeout")
        elif isinstance(status := getattr(error, "status_code", None), int):
            answer = getattr(error, "response", None)
            self.settle(status=status, headers=getattr(answer, "headers", None))
        elif isinstance(error, OSError) or "Connection" in type(error).__name__:
            self.settle(error="transport")
        else:  # cancelled, interrupted, a mistake of the caller's: not the backend's
            self.settle(error="cancelled")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

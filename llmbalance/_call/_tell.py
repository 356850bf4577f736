"""The story of one streamed call, as steps that a driver carries out.

    a float        a pause
    a Shot         to be opened; the answer is its head
    NEXT           the next events; the end, when there are none
    CLOSE          end the transfer; the answer is its end
    list of chunks to be handed to the caller

So there is one story for loops and for threads (_stream.py). Until the first content a
failed attempt is tried elsewhere; after it the caller is told what he got.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from .._errors import LLMBalanceError, ProviderError, StreamInterruptedError
from .._figures import failure_of
from .._fleet._shape import StreamShaper, parsed
from .._types import ChatChunk, Failure, Usage
from ._run import Run
from ._story import Shot

NEXT, CLOSE = "next", "close"
_TELL_EVERY = 16  # chunks between two reports of progress to the pool
Steps = Generator[Any, Any, bool]


def tell(run: Run) -> Steps:
    """The steps of one streamed call; closing it settles what is still open."""
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                yield shot
                continue
            telling = Telling(run, shot)
            try:
                if (yield from telling.steps()):
                    return True
            finally:
                telling.cancel()  # changes nothing once the attempt is settled
    finally:
        run.end()


class Telling:
    """What one attempt's events say; settles its lease however it ends."""

    __slots__ = ("delivered", "heard", "reader", "run", "shaper", "shot")

    def __init__(self, run: Run, shot: Shot) -> None:
        self.run = run
        self.shot = shot
        self.reader = shot.target.dialect.stream()
        steps = run.steps(shot) if run.options.postprocess else ()
        self.shaper = StreamShaper(steps) if steps else None
        self.delivered = False
        self.heard = 0  # chunks so far: about one token each

    def steps(self) -> Steps:
        """Tell this attempt to a driver; returns whether it was the last one."""
        item = yield self.shot
        if not isinstance(item, list) and item.done:
            self.run.land(self.shot, item)
            return False
        return (yield from self.follow())

    def follow(self) -> Steps:
        """The same for one that is open already."""
        while True:
            item = yield NEXT
            try:
                over = not isinstance(item, list)
                chunks = self.finish(item) if over else self.hear(item)
            except (ProviderError, Broken) as error:
                self.fail(error, item if over else (yield CLOSE))
                return False
            if chunks:
                yield chunks
            if over:
                return True

    def hear(self, events: list[tuple[str, bytes]]) -> list[ChatChunk]:
        """Return the chunks some events give; ProviderError for an error inside."""
        chunks: list[ChatChunk] = []
        for name, data in events:
            chunks += self.reader.feed(name, data)
        if chunks:
            before, self.heard = self.heard, self.heard + len(chunks)
            if before // _TELL_EVERY != self.heard // _TELL_EVERY:
                self.shot.lease.progress(self.heard)
            if self.shaper is not None:
                chunks = self.shaper.feed(chunks)
            for chunk in chunks:
                self.delivered = True
                chunk.backend = self.shot.target.name
        return chunks

    @property
    def text(self) -> str:
        """What the caller has got of the first choice."""
        return self.reader.text if self.shaper is None else self.shaper.text

    def finish(self, end: Any) -> list[ChatChunk]:
        """The stream is over: settle it and return the last chunks.

        Raises the failure when it ended without a finish signal or by an error.
        """
        if end.error is not None and not self.reader.finished:
            raise Broken(self.run.transport_failure(end))
        last = self.reader.end()
        chunks = [] if self.shaper is None else self._left(self.shaper)
        wanted = self.run.options.wanted
        reason = self.reader.reasons.get(0)
        if wanted is not None and reason != "tool_calls" and not self.reader.refused:
            last.parsed = parsed(wanted, self.text, reason)
        reply = _Told(last, self.reader.text)
        self.run.succeed(self.shot, reply, end)
        last.backend = self.shot.target.name
        last.attempts, last.decision = reply.attempts, reply.decision
        last.cost, last.cost_nano_usd = reply.cost, reply.cost_nano_usd
        last.warnings, last.experiments = reply.warnings, reply.experiments
        return [*chunks, last]

    def _left(self, shaper: StreamShaper) -> list[ChatChunk]:
        """The texts that steps held back to the end."""
        choices, reader = shaper.rest(), self.reader
        if not choices:
            return []
        chunk = ChatChunk(
            choices=choices, id=reader.id, created=reader.created, model=reader.model
        )
        chunk.backend = self.shot.target.name
        return [chunk]

    def fail(self, error: LLMBalanceError, end: Any) -> None:
        """Settle a broken attempt; returns when another one may be tried."""
        failure = _failure(error)
        if not self.delivered:
            cause = error if isinstance(error, ProviderError) else None
            held = self.reader.text  # by steps: nobody got it, but it is paid for
            usage = self.reader.usage if held else None
            self.run.fail(self.shot, failure, end, text=held, usage=usage, cause=cause)
            return
        usage = self.reader.usage
        broken = StreamInterruptedError(
            f"the stream of {self.shot.target.name!r} broke after"
            f" {len(self.text)} characters: {failure.message}",
            text=self.text,
        )
        broken.__cause__ = error
        told = Failure(
            kind="broken_stream", message=failure.message, status=failure.status
        )
        try:
            self.run.fail(
                self.shot, told, end, text=self.reader.text, usage=usage, cause=broken
            )
        finally:
            guess = usage or self.run._guess(self.shot, self.reader.text)
            broken.usage = guess
            broken.cost = sum(a.cost_nano_usd for a in self.run.attempts) / 1e9

    def cancel(self) -> None:
        """The caller left."""
        self.run.cancel(self.shot, text=self.reader.text, usage=self.reader.usage)


class _Told:
    """The finished answer as `Run.succeed` expects it."""

    def __init__(self, last: ChatChunk, text: str) -> None:
        self.last = last
        self.id = last.id
        self.usage: Usage | None = last.usage
        self.service_tier = last.service_tier
        self.text = text
        self.backend = ""
        self.attempts: list[Any] = []
        self.decision: Any = None
        self.cost: float | None = None
        self.cost_nano_usd: int | None = None
        self.warnings: list[str] = list(last.warnings)
        self.experiments: dict[str, str] = {}


class Broken(LLMBalanceError):
    """A failure of the transport, on its way to the one place that handles it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _failure(error: LLMBalanceError) -> Failure:
    if isinstance(error, Broken):
        return error.failure
    assert isinstance(error, ProviderError)
    return failure_of(error)

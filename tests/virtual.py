"""The real Router and the mock providers on a virtual clock: an hour of calls in
seconds, and the same hour however busy the machine is.

Everything decides as it always does; what is replaced is the ground:

    event loop      skips to its next timer instead of sleeping
    time.monotonic  is the loop's time, and the pool is told it
    transport       hands requests to the providers' connections, without sockets
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, TypeVar
from unittest.mock import patch

from llmbalance import ChatChunk, ChatReply, LLMBalanceError, Router
from llmbalance._transport import Ask, Timeouts
from llmbalance.simulate import Trace
from llmbalance.testing import MockProvider
from llmbalance.testing._server import Connection

T = TypeVar("T")
DAWN = 1.0  # s; where simulations begin too
# Seconds that a request is on its way. Headers tell whole milliseconds, and who comes
# back at the very one would often come too early.
WAY = 0.002


class _Skipping(selectors.SelectSelector):
    """Time passes only here, when everybody waits, and at once."""

    now = DAWN

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("everybody waits and nobody will come")
        if not found and timeout:
            self.now += timeout
        return found


def virtual_run(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function where time is virtual and begins at DAWN."""
    clock = _Skipping()
    random.seed(1)  # pauses between rounds
    with (
        patch("time.monotonic", lambda: clock.now),
        patch("time.monotonic_ns", lambda: round(clock.now * 1e9)),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(clock)) as runner,
    ):
        return runner.run(main())  # type: ignore[arg-type]


# -- the pool is told the time ------------------------------------------------


class _Told:
    """An object of the core, some of whose methods are told the time."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class _Lease(_Told):
    def again(self, *given: Any) -> _Lease:
        return _Lease(self._core.again(*given, now=_now()))

    def settle(self, *given: Any, **named: Any) -> Any:
        return self._core.settle(*given, **named, now=_now())


class _Pool(_Told):
    def pick(self, *given: Any) -> _Lease:
        return _Lease(self._core.pick(*given, now=_now()))


def _now() -> float:
    return asyncio.get_running_loop().time()


# -- requests arrive without sockets ------------------------------------------


@dataclass
class Answer:
    """What the engine would report of a request."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None
    detail: str = ""
    offset: int = 0
    sent: bool = True
    done: bool = False
    ttft: float = 0.0
    total: float = 0.0


class _Wire(asyncio.Transport):
    """The providers' end of a connection with one request on it, and what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.reset = False
        self.changed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.data += bytes(data)
        self.changed.set()

    def abort(self) -> None:
        self.reset = True
        self.changed.set()

    close = abort

    def is_closing(self) -> bool:
        return self.reset

    async def more(self, until: float) -> str | None:
        """Wait for more; what ended that, if anything did: "reset" or "timeout"."""
        try:
            async with asyncio.timeout_at(until):
                await self.changed.wait()
        except TimeoutError:
            return "timeout"
        self.changed.clear()
        return "reset" if self.reset else None

    def answer(self) -> Answer | None:
        """Its head, and the body so far; None: it is not all here."""
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return None
        status, *named = head.decode().split("\r\n")
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in named)}
        length = fields.get("content-length")
        if length is not None and len(body) < int(length):
            return None
        return Answer(int(status.split(" ")[1]), fields, body)


class VirtualStream:
    """The answer to one request, event by event."""

    def __init__(
        self, connection: Connection, wire: _Wire, timeouts: Timeouts, marks: Any
    ) -> None:
        self.connection, self.wire, self.marks = connection, wire, marks
        self.began = asyncio.get_running_loop().time()
        _, first_byte, first_token, _, total = timeouts
        self.until = {"total": self.began + total}
        self.until |= {"first_byte": self.began + first_byte} if first_byte else {}
        self.until |= {"first_token": self.began + first_token} if first_token else {}
        self.head = Answer()
        self.end: Answer | None = None
        self.ttft = 0.0
        self.read = 0  # bytes of the body

    def over(self, error: str | None = None) -> Answer:
        now = asyncio.get_running_loop().time()
        self.connection.connection_lost(None)
        times = {"ttft": self.ttft, "total": now - self.began}
        self.end = replace(self.head, error=error, done=True, **times)
        return self.end

    async def more(self) -> bool:
        """Wait for more; False: it is over."""
        phase, until = min(self.until.items(), key=itemgetter(1))
        told = await self.wire.more(until)
        if told is not None:
            end = self.over(f"{phase}_timeout" if told == "timeout" else told)
            self.head = self.head if self.head.status else end
        return told is None

    async def whole(self) -> Answer:
        """Return an answer in one piece."""
        while (answer := self.wire.answer()) is None:
            if not await self.more():
                assert self.end is not None
                return self.end
        self.head = answer
        return self.over()

    async def begin(self) -> VirtualStream:
        """Return when the head is here; all of the answer if it is no stream."""
        while (answer := self.wire.answer()) is None:
            if not await self.more():
                return self
        self.head = answer
        self.until.pop("first_byte", None)
        if "content-length" in answer.headers:
            self.head = self.over()
        return self

    def __aiter__(self) -> VirtualStream:
        return self

    async def __anext__(self) -> list[tuple[str, bytes]]:
        while self.end is None:
            chunks = self.wire.data.partition(b"\r\n\r\n")[2][self.read :]
            self.read += len(chunks)
            found = [("", line[6:]) for line in chunks.split(b"\n") if _told(line)]
            if not self.ttft and any(m in d for _, d in found for m in self.marks):
                self.ttft = asyncio.get_running_loop().time() - self.began
                self.until.pop("first_token", None)
            if chunks.endswith(b"0\r\n\r\n"):
                self.over()
            if found:
                return found
            if self.end is None:
                await self.more()
        raise StopAsyncIteration

    async def aclose(self) -> Answer | None:
        return self.end or self.over("cancelled")


def _told(line: bytes) -> bool:
    """Whether a line of a stream is that of an event."""
    return line.startswith(b"data: ")


class VirtualTransport:
    """Hands requests to mock providers by the address they were meant for."""

    def __init__(self, hosts: Mapping[Any, MockProvider]) -> None:
        self.hosts = hosts

    async def _open(self, ask: Ask, marks: Any = ()) -> VirtualStream:
        origin, method, target, headers, body, timeouts = ask
        provider = self.hosts[origin]
        assert provider._desk is not None
        connection, wire = Connection(provider._desk), _Wire()
        stream = VirtualStream(connection, wire, timeouts, marks)
        lines = [f"{method} {target} HTTP/1.1", *(headers or ())]
        lines.append(f"Content-Length: {len(body or b'')}")
        await asyncio.sleep(WAY)
        connection.connection_made(wire)
        connection.data_received("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return stream

    async def send(self, *ask: *Ask) -> Answer:
        return await (await self._open(ask)).whole()

    async def stream(self, *ask: *Ask, mode: int, marks: Any) -> VirtualStream:
        return await (await self._open(ask, marks)).begin()

    def close(self) -> None:
        """There is nothing to close."""


def ground(router: Router, mocks: Mapping[str, MockProvider]) -> Router:
    """Put a router on the virtual clock; ``mocks``: who answers, by backend."""
    fleet = router._fleet
    fleet.pool = _Pool(fleet.pool)  # type: ignore[assignment]
    hosts = {target.origin: mocks[target.name] for target in fleet.targets}
    router._transport = VirtualTransport(hosts)  # type: ignore[assignment]
    return router


@dataclass
class Outcome:
    """What became of one call."""

    seconds: float
    reply: ChatReply | None = None
    chunks: list[ChatChunk] = field(default_factory=list)  # of a stream, instead
    error: LLMBalanceError | None = None

    @property
    def backend(self) -> str | None:
        told = self.reply or (self.chunks[-1] if self.chunks else None)
        return None if told is None else told.backend

    @property
    def attempts(self) -> int:
        told = self.reply or self.error or self.chunks[-1]
        return len(told.attempts)


def for_real(
    trace: Trace,
    mocks: Sequence[MockProvider],
    make: Callable[[dict[str, str]], Router],
    **options: Any,
) -> list[Outcome]:
    """Send a trace through the Router that ``make`` makes of the mocks' addresses.

    Prompts are as many tokens as the trace says, by any measure, and ask for the
    answer's length in their first word (see ``said``).
    """

    async def main() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        for mock in mocks:
            await mock.start(origin=DAWN)
        router = make({mock.name: mock.base_url for mock in mocks})
        ground(router, {mock.name: mock for mock in mocks})

        async def one(i: int) -> Outcome:
            await asyncio.sleep(DAWN + trace.at[i] / 1e9 - loop.time())
            text = f"{trace.output[i]} {prose(trace.input[i])}"
            group = trace.groups[trace.group[i] if trace.group is not None else 0]
            began, outcome = loop.time(), Outcome(0)
            try:
                ask = [{"role": "user", "content": text}]
                reply = await router.chat(group, ask, **options)
                if options.get("stream"):
                    outcome.chunks = [chunk async for chunk in reply]
                else:
                    outcome.reply = reply
            except LLMBalanceError as error:
                outcome.error = error
            outcome.seconds = loop.time() - began
            return outcome

        outcomes = await asyncio.gather(*(one(i) for i in range(len(trace))))
        for mock in mocks:
            await mock.stop()
        return outcomes

    return virtual_run(main)


def said(ask: Any) -> int:
    """How long an answer was asked for: ``MockProvider(output_tokens=said)``."""
    return int(ask.prompt.split()[0])


def prose(tokens: int) -> str:
    """Text that the router's estimator and the mocks measure alike, within 2 %."""
    return ("x, yx, yAb cx, y" * (tokens // 4 + 1))[: 4 * tokens]

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
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

from llmbalance import ChatReply, LLMBalanceError, Router
from llmbalance._transport import Ask
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
    ttft: float = 0.0
    total: float = 0.0


class _Wire(asyncio.Transport):
    """The providers' end of a connection with one request on it."""

    def __init__(self, heard: asyncio.Future[bytes]) -> None:
        super().__init__()
        self.heard = heard
        self.data = b""

    def write(self, data: Any) -> None:
        self.data += bytes(data)
        head, end, body = self.data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length) and not self.heard.done():
            self.heard.set_result(self.data)

    def abort(self) -> None:
        if not self.heard.done():
            self.heard.set_exception(ConnectionResetError())

    close = abort

    def is_closing(self) -> bool:
        return self.heard.done()


class VirtualTransport:
    """Hands requests to mock providers by the address they were meant for."""

    def __init__(self, hosts: Mapping[Any, MockProvider]) -> None:
        self.hosts = hosts

    async def send(self, *ask: *Ask) -> Answer:
        origin, method, target, headers, body, timeouts = ask
        provider = self.hosts[origin]
        loop = asyncio.get_running_loop()
        assert provider._desk is not None
        connection = Connection(provider._desk)
        wire = _Wire(loop.create_future())
        lines = [f"{method} {target} HTTP/1.1", *(headers or ())]
        lines.append(f"Content-Length: {len(body or b'')}")
        began = loop.time()
        await asyncio.sleep(WAY)
        connection.connection_made(wire)
        connection.data_received("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        _, first_byte, _, _, total = timeouts  # a whole answer comes at once
        early = 0 < first_byte < total
        try:
            async with asyncio.timeout(first_byte if early else total):
                data = await wire.heard
        except TimeoutError:
            phase = "first_byte" if early else "total"
            return Answer(error=f"{phase}_timeout", total=loop.time() - began)
        except ConnectionResetError:
            return Answer(error="reset", total=loop.time() - began)
        finally:
            connection.connection_lost(None)
        head, _, body = data.partition(b"\r\n\r\n")
        status, *named = head.decode().split("\r\n")
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in named)}
        return Answer(
            int(status.split(" ")[1]), fields, body, total=loop.time() - began
        )

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
    error: LLMBalanceError | None = None

    @property
    def backend(self) -> str | None:
        return None if self.reply is None else self.reply.backend


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
                outcome.reply = await router.chat(group, ask, **options)
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

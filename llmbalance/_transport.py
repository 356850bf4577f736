"""The transport seen from Python: one mailbox an event loop, one a thread.

The I/O thread (csrc/net_engine.h) moves the bytes, runs the timers and cuts the
streams.  What is left here is who waits for what::

    task --- submit() ---> I/O thread        one thread a process, no interpreter
      ^                        |
      |                     Port (mailbox)   one a loop, one a blocking thread
      '-- future / inbox <-----'             filled by the loop's own reader

Failures are values, not exceptions: a Response says in `.error` what ended it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from ._core import Origin, Port, Response, engine_stop
from ._errors import ConnectionLostError

# connect, first_byte, first_token, idle, total; 0 means no limit.
Timeouts = tuple[float, float, float, float, float]
# What every call takes: where to and with which keys, the method, the target (path and
# query), header lines, the body, and how long each step may take.
Ask = tuple[Origin, str, str, list[str] | None, bytes | None, Timeouts]
Events = list[tuple[str, bytes]]

# Bytes of events a consumer may leave lying before its stream stops reading.
_LATE_BYTES = 1 << 20

# The thread must be gone before the TLS library's own exit handlers run.
atexit.register(engine_stop, 2.0)


class Inbox:
    """What has come for one request and not been fetched; the Port's token."""

    __slots__ = (
        *("end", "events", "head", "id", "late", "lost", "paused", "port", "waiter"),
    )

    def __init__(self, port: Port) -> None:
        self.port = port
        self.id = 0
        self.head: Response | None = None
        self.end: Response | None = None
        self.events: Events = []
        self.late = 0
        self.paused = False
        self.lost = False  # its mailbox was closed: nothing will come
        self.waiter: asyncio.Future[None] | None = None

    def receive(self, item: Events | Response) -> None:
        if isinstance(item, Response):
            self.head = self.head or item
            if item.done:
                self.end = item
        elif not self.events:
            self.events = item
        else:
            self.late += sum(len(data) for _, data in item)
            self.events += item
            if self.late > _LATE_BYTES and not self.paused:
                self.paused = True
                self.port.pause(self.id)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def take(self) -> Events:
        events, self.events = self.events, []
        self.late = 0
        if self.paused:
            self.paused = False
            self.port.resume(self.id)
        return events

    async def change(self) -> None:
        """Wait until something comes; being cancelled here ends the transfer."""
        if self.lost:
            raise _closed()
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        except BaseException:
            self.cancel()
            raise
        finally:
            self.waiter = None

    def wait(self) -> None:
        """The same for a thread without a loop."""
        if self.lost:
            raise _closed()
        try:
            self.port.wait()
        except BaseException:
            self.cancel()
            raise
        _deliver(self.port)

    def poll(self) -> None:
        """Fetch what lies in the mailbox, for this request and others."""
        _deliver(self.port)

    def cancel(self) -> None:
        if self.end is None:
            self.port.cancel(self.id)

    def lose(self) -> None:
        self.lost = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(_closed())


def _closed() -> ConnectionLostError:
    return ConnectionLostError("the router was closed while this call was in flight")


def _deliver(port: Port) -> None:
    for token, item in port.drain():
        if isinstance(token, Inbox):
            token.receive(item)
        elif not token.done():
            token.set_result(item)


async def first_change(inboxes: Sequence[Inbox], seconds: float | None) -> None:
    """Wait until something comes for one of several requests, or so long.

    Nothing must lie in them unread. Being cancelled here ends none of them.
    """
    if any(inbox.lost for inbox in inboxes):
        raise _closed()
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = None if seconds is None else loop.call_later(seconds, wake)
    for inbox in inboxes:
        inbox.waiter = waiter
    try:
        await waiter
    finally:
        for inbox in inboxes:
            inbox.waiter = None
        if timer is not None:
            timer.cancel()


def first_change_blocking(inboxes: Sequence[Inbox], seconds: float | None) -> None:
    """The same for a thread without a loop; its requests share its mailbox."""
    if inboxes[0].lost:
        raise _closed()
    port = inboxes[0].port
    port.wait(seconds)
    _deliver(port)


class _StreamBase:
    """A reply in events: its headers at once, its end when it is over.

    head : the headers; the whole reply where it was not 2xx or never came
    end : None while the stream goes on, then status, error, times and counts
    """

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def head(self) -> Response:
        head = self._inbox.head
        assert head is not None  # a stream is handed out once its headers are here
        return head

    @property
    def end(self) -> Response | None:
        return self._inbox.end

    def __del__(self) -> None:
        # A reply that nobody will read is money: stop it.
        self._inbox.cancel()


class Stream(_StreamBase):
    """Iterate with ``async for events in stream``: lists of (name, data).

    Each list is what has come since the last one, so a loop that is late gets
    fewer, larger lists.  Cancelling the task that iterates ends the transfer.
    """

    __slots__ = ()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Events:
        inbox = self._inbox
        while not inbox.events:
            if inbox.end is not None:
                raise StopAsyncIteration
            await inbox.change()
        return inbox.take()

    async def aclose(self) -> Response | None:
        """End the transfer if it goes on; return its end.  Takes milliseconds.

        None when the transport was closed before: nobody hears of the end.
        """
        inbox = self._inbox
        inbox.cancel()
        while inbox.end is None and not inbox.lost:
            inbox.take()
            await inbox.change()
        return inbox.end


class BlockingStream(_StreamBase):
    """The same for a thread without a loop: ``for events in stream``."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Events]:
        return self

    def __next__(self) -> Events:
        inbox = self._inbox
        while not inbox.events:
            if inbox.end is not None:
                raise StopIteration
            inbox.wait()
        return inbox.take()

    def close(self) -> Response | None:
        """End the transfer if it goes on; return its end, as aclose()."""
        inbox = self._inbox
        inbox.cancel()
        while inbox.end is None and not inbox.lost:
            inbox.take()
            inbox.wait()
        return inbox.end


class Transport:
    """Send requests from any number of loops and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = (
            WeakKeyDictionary()
        )
        self._thread = threading.local()

    def _loop_port(self, loop: asyncio.AbstractEventLoop) -> Port:
        port = self._loops.get(loop)
        if port is not None:
            return port
        port = Port()
        loop.add_reader(port.fileno(), _deliver, port)
        with self._lock:
            for other in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(other).close()
            self._loops[loop] = port
        return port

    def _thread_port(self) -> Port:
        port: Port | None = getattr(self._thread, "port", None)
        if port is None:
            port = self._thread.port = Port()
        return port

    async def send(self, *ask: *Ask) -> Response:
        """Send a request and wait for the whole reply.

        Cancelling the task ends the transfer and waits for nothing.
        """
        loop = asyncio.get_running_loop()
        port = self._loop_port(loop)
        future: asyncio.Future[Response] = loop.create_future()
        ident = port.submit(future, *ask)
        try:
            return await future
        except BaseException:
            port.cancel(ident)
            raise

    async def stream(
        self, *ask: *Ask, mode: int = 1, marks: Sequence[bytes] = ()
    ) -> Stream:
        """Send a request; return once the headers of its reply are here.

        mode : 1 SSE, 2 JSON lines, 3 AWS event stream
        marks : the first event containing one of them is the first content;
            without marks any event is
        """
        inbox = self.enter(*ask, mode=mode, marks=marks)
        while inbox.head is None:
            await inbox.change()
        return Stream(inbox)

    def send_blocking(self, *ask: *Ask) -> Response:
        """As send(), for a thread without a loop; other threads go on meanwhile."""
        inbox = self.enter(*ask, blocking=True)
        while inbox.end is None:
            inbox.wait()
        return inbox.end

    def stream_blocking(
        self, *ask: *Ask, mode: int = 1, marks: Sequence[bytes] = ()
    ) -> BlockingStream:
        """As stream(), for a thread without a loop; read it in that same thread."""
        inbox = self.enter(*ask, mode=mode, marks=marks, blocking=True)
        while inbox.head is None:
            inbox.wait()
        return BlockingStream(inbox)

    def enter(
        self,
        *ask: *Ask,
        mode: int = 0,
        marks: Sequence[bytes] = (),
        blocking: bool = False,
    ) -> Inbox:
        """Send a request and return at once; what comes will lie in its Inbox.

        mode, marks : as for stream(); 0: the whole reply in one
        blocking : for this thread, not for the running loop
        """
        port = (
            self._thread_port()
            if blocking
            else self._loop_port(asyncio.get_running_loop())
        )
        inbox = Inbox(port)
        inbox.id = port.submit(inbox, *ask, mode, tuple(marks))
        return inbox

    def close(self) -> None:
        """Cancel what is in flight for any loop, and this thread's own.

        Whoever waits for it gets ConnectionLostError. Call it where no loop but the
        running one is active.
        """
        with self._lock:
            loops = list(self._loops.items())
            self._loops.clear()
        for loop, port in loops:
            if not loop.is_closed():
                loop.remove_reader(port.fileno())
                _lose(port.close())
            else:
                port.close()
        mine: Port | None = getattr(self._thread, "port", None)
        if mine is not None:
            del self._thread.port
            _lose(mine.close())


def _lose(tokens: list[Inbox | asyncio.Future[Response]]) -> None:
    for token in tokens:
        if isinstance(token, Inbox):
            token.lose()
        elif not token.done():
            token.set_exception(_closed())

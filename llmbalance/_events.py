"""What happens, as it happens: one event per attempt and per call, and alerts.

    Run ──event──▶ Events ──┬─ queue ─▶ callback   on a thread of their own
                            └─ queue ─▶ async for  on the loop that iterates

A call never waits for a listener: every listener has a queue of bounded length that
loses its oldest events when it is late, and counts them. While nobody listens, a call
looks at one attribute and nothing is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ._core import KINDS
from ._spikes import Spikes

if TYPE_CHECKING:
    from ._call._story import Shot, Story

_log = logging.getLogger("llmbalance")
_log.addHandler(logging.NullHandler())

_QUEUE = 4096  # events a listener may be behind
_INPUT = KINDS.index("output")  # kinds of tokens before it are the prompt's
_TOKENS = KINDS.index("image_out") + 1
_IDLE = 1.0  # seconds without events after which the thread of the callbacks ends


class AttemptEvent(Struct, frozen=True, kw_only=True, tag="attempt"):
    """One attempt at one backend is over.

    ``at``: epoch seconds; ``outcome``: "done" or what the breaker was told; ``error``:
    the kind of failure, None for none; ``seconds``, ``ttft``: 0 where not known;
    ``labels``: the call's.
    """

    at: float
    call: int
    group: str
    backend: str
    outcome: str
    status: int = 0
    error: str | None = None
    seconds: float = 0.0
    ttft: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    stream: bool = False
    labels: tuple[str, ...] = ()


class CallEvent(Struct, frozen=True, kw_only=True, tag="call"):
    """One call is over, with all its attempts.

    ``model``: what the caller asked for; ``backend``: who answered, None for nobody;
    ``error``: the exception's name, "cancelled" when the caller left, None for none;
    ``seconds``: from the call to its end, waiting included; ``kind``: chat, embed or
    mirror; ``labels``: its tags, and "experiment.NAME=ARM" for each of its arms.
    """

    at: float
    call: int
    kind: str
    model: str
    group: str
    backend: str | None
    error: str | None
    attempts: int
    seconds: float
    cost_nano_usd: int
    stream: bool = False
    task: str | None = None
    labels: tuple[str, ...] = ()


class AlertEvent(Struct, frozen=True, kw_only=True, tag="alert"):
    """A backend's share of failures or of 429s is far above its own history.

    ``what``: "failed" or "rate_limited"; ``share``: of the last minute's attempts;
    ``usual``: of its history. ``key``: the backends that share one key, where the
    share is that of all of them together; empty where it is that of ``backend``.
    """

    at: float
    backend: str
    what: str
    share: float
    usual: float
    key: tuple[str, ...] = ()


class BudgetEvent(Struct, frozen=True, kw_only=True, tag="budget"):
    """Spending has passed one of a budget's ``alert_at`` shares, told once a window.

    ``budget``: its label; ``share``: the mark passed; ``spent``: USD in the window.
    """

    at: float
    budget: str
    share: float
    spent: float


class ReloadEvent(Struct, frozen=True, kw_only=True, tag="reload"):
    """The router's file was read again.

    ``source``: the file; ``ok``: whether the router follows it now; ``errors``: why
    not, each with file and line; nothing has changed then.
    """

    at: float
    source: str
    ok: bool
    errors: tuple[str, ...] = ()


Event = AttemptEvent | CallEvent | AlertEvent | BudgetEvent | ReloadEvent
Callback = Callable[[Event], Any]


class _Listener:
    """A callback and what it has still to hear."""

    __slots__ = ("callback", "complained", "dropped", "queue")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.queue: deque[Event] = deque(maxlen=_QUEUE)
        self.dropped = 0
        self.complained = False

    def put(self, event: Event) -> None:
        if len(self.queue) == _QUEUE:
            self.dropped += 1
        self.queue.append(event)

    def deliver(self) -> None:
        while self.queue:
            event = self.queue.popleft()
            try:
                self.callback(event)
            except Exception:
                if not self.complained:
                    self.complained = True
                    _log.exception("a listener failed; it is not reported again")


class EventStream:
    """``async for event in router.events``: ends when the router is closed.

    ``dropped`` counts the events that came while 4,096 others were not yet fetched.
    """

    def __init__(self) -> None:
        self._queue: deque[Event] = deque(maxlen=_QUEUE)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.dropped = 0

    def _put(self, event: Event) -> None:
        if len(self._queue) == _QUEUE:
            self.dropped += 1
        self._queue.append(event)
        if self._waiter is not None:
            self._rouse()

    def _close(self) -> None:
        self._closed = True
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            # The waiter is there before the look, so that no event falls between.
            self._waiter = self._loop.create_future()
            try:
                if self._queue:
                    return self._queue.popleft()
                if self._closed:
                    raise StopAsyncIteration
                await self._waiter
            finally:
                self._waiter = None


class Events:
    """The events of one router: subscribe a function, or iterate over them."""

    def __init__(self) -> None:
        self.active = False
        self._lock = threading.Lock()
        self._listeners: list[_Listener] = []
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._spikes, self._keys = Spikes(), Spikes()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._numbers = count(1)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` for every event, on a thread of the listeners.

        Returns the function that ends it. An exception of the callback is logged, once.
        """
        listener = _Listener(callback)
        with self._lock:
            self._listeners = [*self._listeners, listener]
            self.active = True

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = [x for x in self._listeners if x is not listener]
                self.active = bool(self._listeners or self._streams)

        return unsubscribe

    def __aiter__(self) -> EventStream:
        stream = EventStream()
        with self._lock:
            self._streams.add(stream)
            self.active = True
        return stream

    @property
    def dropped(self) -> int:
        """Events that present listeners lost because they were late."""
        late = sum(listener.dropped for listener in self._listeners)
        return late + sum(stream.dropped for stream in self._streams)

    # -- what the calls tell -------------------------------------------------

    def attempt(
        self,
        story: Story,
        shot: Shot,
        group: str,
        key: tuple[str, ...],
        outcome: str,
        error: str | None,
        status: int,
        counts: tuple[int, ...] | None,
        nano: int,
        seconds: float | None,
        ttft: float | None,
    ) -> None:
        """Tell that an attempt was settled; ``counts`` in the order of KINDS.

        ``key``: as ``emit`` takes it.
        """
        tokens = counts or ()
        self.emit(
            AttemptEvent(
                at=time.time(),
                call=self._number(story),
                group=group,
                backend=shot.target.name,
                outcome=outcome,
                status=status,
                error=error,
                seconds=seconds or 0.0,
                ttft=ttft or 0.0,
                input_tokens=sum(tokens[:_INPUT]),
                output_tokens=sum(tokens[_INPUT:_TOKENS]),
                cost_nano_usd=nano,
                stream=story.call.stream,
                labels=story.options.labels,
            ),
            key,
        )

    def call(self, story: Story, group: str) -> None:
        """Tell that a call is over."""
        done = story.verdict is None
        self.emit(
            CallEvent(
                at=time.time(),
                call=self._number(story),
                kind=story.options.kind or story.call.kind,
                model=story.call.model,
                group=group,
                backend=story.attempts[-1].backend if done and story.attempts else None,
                error=story.verdict,
                attempts=len(story.attempts),
                seconds=time.monotonic() - story.began,
                cost_nano_usd=sum(a.cost_nano_usd for a in story.attempts),
                stream=story.call.stream,
                task=story.options.task,
                labels=story.options.labels,
            )
        )

    def _number(self, story: Story) -> int:
        if story.number == 0:
            story.number = next(self._numbers)
        return story.number

    # -- delivery ------------------------------------------------------------

    def emit(self, event: Event, key: tuple[str, ...] = ()) -> None:
        """Hand an event to every listener; takes microseconds, never raises.

        ``key``: of an attempt, all backends that have the key it was made with, if
        there are several.
        """
        self._hand_out(event)
        if isinstance(event, AttemptEvent):
            for spike in self._spikes.note(event):
                self._alert(event, (), *spike)
            for spike in self._keys.note(event, key[0]) if key else ():
                self._alert(event, key, *spike)

    def _alert(
        self,
        event: AttemptEvent,
        key: tuple[str, ...],
        what: str,
        share: float,
        usual: float,
    ) -> None:
        _log.warning(
            "%s: %.0f %% %s in the last minute, usually %.1f %%",
            f"the key of {', '.join(key)}" if key else event.backend,
            100 * share,
            what.replace("_", " "),
            100 * usual,
        )
        self._hand_out(
            AlertEvent(
                at=event.at,
                backend=event.backend,
                what=what,
                share=share,
                usual=usual,
                key=key,
            )
        )

    def _hand_out(self, event: Event) -> None:
        streams = list(self._streams)
        for stream in streams:
            stream._put(event)
        listeners = self._listeners
        for listener in listeners:
            listener.put(event)
        if listeners:
            self._wake.set()
            thread = self._thread
            if thread is None or not thread.is_alive():
                self._start()
        elif not streams:  # the last stream was dropped without a word
            self.active = False

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._deliver, name="llmbalance-events", daemon=True
                )
                self._thread.start()

    def _deliver(self) -> None:
        """Deliver until nothing comes for a while: an idle router has no thread."""
        while True:
            came = self._wake.wait(_IDLE)
            self._wake.clear()
            for listener in self._listeners:
                listener.deliver()
            if not came:
                with self._lock:
                    if not self._wake.is_set():
                        self._thread = None
                        return

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until the callbacks have heard everything; False: not in that time."""
        deadline = time.monotonic() + timeout
        while any(listener.queue for listener in self._listeners):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def close(self) -> None:
        """End the iterators; callbacks stay."""
        with self._lock:
            streams = list(self._streams)
            self._streams.clear()
            self.active = bool(self._listeners)
        for stream in streams:
            stream._close()

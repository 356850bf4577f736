"""Copies of calls, sent to another group where nobody waits for them.

    chat("frontier") ──▶ answer ──▶ caller
                           ╰─ a share of them ─▶ the same again to "mid", not streamed
                                                   ╰─ compare(reply, mirrored) ─▶ report

A copy starts when its call has been answered, so it never competes with it. It goes to
backends with the tags of its call, does not wait for room and has no fallbacks, and its
failure is a number in the report. It is real
money: limits, budgets and the ledger see it as a call of kind "mirror" with the label
"mirror=NAME", so that ``Budget(usd=5, tag="mirror=NAME")`` bounds it; the labels, task
and user of the call, and so their budgets, are not charged. More than ``max_in_flight``
at once are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from .._call._drive import drive
from .._call._options import choose_budgets
from .._call._routing import Options
from .._call._run import Run
from .._errors import ConfigError
from .._report import Report
from .._types import Call, ChatReply, Choice, Message
from ._glass import COLUMNS, Glass
from ._mirror import Mirror

if TYPE_CHECKING:
    from .._call._story import Story
    from .._fleet._fleet import Fleet
    from .._transport import Transport

_PATIENCE = 2.0  # seconds for copies to end
_STEP = 0.02  # seconds between two looks whether one has


class Original:
    """A call that is to be copied, once it is answered."""

    __slots__ = ("_glasses", "_mirrors", "nano", "reply", "seconds")

    def __init__(self, mirrors: Mirrors, glasses: list[Glass]) -> None:
        self._mirrors = mirrors
        self._glasses = glasses
        self.reply: Any = None
        self.nano = 0
        self.seconds = 0.0

    def answered(self, reply: Any) -> None:
        self.reply = reply

    def over(self, story: Story) -> None:
        """The call has ended: its copies begin, if there is something to copy."""
        if story.verdict is not None or self.reply is None:
            return
        self.seconds = time.monotonic() - story.began
        self.nano = sum(attempt.cost_nano_usd for attempt in story.attempts)
        self.reply = _whole(self.reply)
        for glass in self._glasses:
            self._mirrors.start(glass, self, story)


class Mirrors:
    """The mirrors of one router."""

    def __init__(
        self,
        fleet: Fleet,
        transport: Transport,
        mirrors: Iterable[Mirror],
        *,
        timeout: float,
        seed: int | None,
    ) -> None:
        self._fleet, self._transport = fleet, transport
        self._rng = Random(None if seed is None else f"{seed}/mirrors")
        self._glasses: list[Glass] = []
        self._tasks: set[asyncio.Task[str | None]] = set()
        # Those of calls without a loop: a thread each, and its task once it runs.
        self._threads: dict[threading.Thread, asyncio.Task[Any] | None] = {}
        self.follow(mirrors, timeout)

    def follow(self, mirrors: Iterable[Mirror], timeout: float) -> None:
        """Go on with these; those that are as before keep their figures.

        ConfigError when one is wrong: nothing changes then.
        """
        old = {glass.mirror.label: glass for glass in self._glasses}
        glasses: dict[str, Glass] = {}
        for mirror in mirrors:
            if not isinstance(mirror, Mirror):
                raise ConfigError("mirrors", mirror, "give Mirror objects")
            if mirror.label in glasses:
                remedy = "two mirrors have this name; give each its own name=..."
                raise ConfigError("name", mirror.label, remedy)
            glass = old.get(mirror.label)
            if glass is None or glass.mirror != mirror:
                glass = Glass(self._fleet, mirror)
            else:
                glass.refit(self._fleet)  # an alias may lead elsewhere now
            glasses[mirror.label] = glass
        self._glasses, self._timeout = list(glasses.values()), timeout

    def sample(
        self, kind: str, model: str, options: Mapping[str, Any]
    ) -> Original | None:
        """Return the call as one to be copied; None for most."""
        chosen = [
            glass
            for glass in self._glasses
            if (kind == "chat" or glass.scope.models)
            and self._rng.random() < glass.mirror.share
            and glass.scope.has(model, options)
        ]
        return Original(self, chosen) if chosen else None

    def start(self, glass: Glass, original: Original, story: Story) -> None:
        """Send a copy, on the running loop or on a thread of its own."""
        if not glass.enter():
            return
        copy = self._copy(glass, story)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._start_alone(glass, original, copy)
            return
        task = loop.create_task(self._send(glass, original, copy))
        self._tasks.add(task)

        def over(task: asyncio.Task[str | None]) -> None:
            self._tasks.discard(task)
            # One that is cancelled before its first step never comes to its own end.
            glass.leave(copy, "cancelled" if task.cancelled() else task.result())

        task.add_done_callback(over)

    def _copy(self, glass: Glass, story: Story) -> Run:
        """The same request to another group, as a call of its own that never waits."""
        call, asked = story.call, story.options
        routing = Options(
            group=glass.group,
            fallbacks=[],
            max_tokens=asked.max_tokens,
            needs=asked.needs,
            tags=asked.tags,  # what may not leave a region is not copied out of it
            timeout=glass.mirror.timeout or self._timeout,
            wait=False,
            labels=(f"mirror={glass.mirror.label}",),
            kind="mirror",
        )
        if self._fleet.call_budgets:
            choose_budgets(self._fleet, routing)
        # The caller may write the answer into his list of messages before this is sent.
        messages = [dict(m) if type(m) is dict else m for m in call.messages]
        params = {k: v for k, v in call.params.items() if k != "stream_options"}
        same = Call(
            kind=call.kind,
            model=glass.mirror.to,
            messages=messages,
            input=call.input,
            params=params,
        )
        return Run(self._fleet, same, routing)

    async def _send(self, glass: Glass, original: Original, copy: Run) -> str | None:
        """Send a copy; returns the name of what went wrong."""
        try:
            mirrored = await drive(copy, self._transport)
        except Exception as error:
            return type(error).__name__
        glass.won(copy, original.nano, original.seconds)
        if glass.mirror.compare is not None:
            # The answer counts although nobody waits for what it is compared to.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.to_thread(glass.judge, original.reply, mirrored)
        return None

    def _start_alone(self, glass: Glass, original: Original, copy: Run) -> None:
        thread = threading.Thread(
            target=self._send_alone,
            args=(glass, original, copy),
            name="llmbalance-mirror",
            daemon=True,
        )
        self._threads[thread] = None
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: the caller has his answer
            del self._threads[thread]
            glass.leave(copy, type(error).__name__)

    def _send_alone(self, glass: Glass, original: Original, copy: Run) -> None:
        """Send a copy on a loop of this thread's own, so that it can be ended."""
        failure: str | None = "cancelled"

        async def send() -> str | None:
            task = asyncio.current_task()
            assert task is not None
            self._threads[threading.current_thread()] = task
            return await self._send(glass, original, copy)

        try:
            failure = asyncio.run(send())
        except asyncio.CancelledError:
            pass
        finally:
            glass.leave(copy, failure)
            self._threads.pop(threading.current_thread(), None)

    def close(self) -> None:
        """End the copies of blocking calls; their leases are settled."""
        until = time.monotonic() + _PATIENCE
        for thread in list(self._threads):
            if thread is threading.current_thread():
                continue
            while thread.is_alive() and time.monotonic() < until:
                task = self._threads.get(thread)
                if task is not None:
                    with contextlib.suppress(RuntimeError):  # its loop is closed
                        task.get_loop().call_soon_threadsafe(task.cancel)
                thread.join(_STEP)

    async def aclose(self) -> None:
        """End the copies in flight on this loop and on threads, and settle them."""
        loop = asyncio.get_running_loop()
        mine = [task for task in self._tasks if task.get_loop() is loop]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        if self._threads:
            await asyncio.to_thread(self.close)

    def report(self) -> Report:
        """Return how the copies went; see ``Router.mirrors``."""
        rows = [glass.row() for glass in self._glasses]
        return Report({row["mirror"]: row for row in rows}, rows, COLUMNS, chart="sent")


def _whole(reply: Any) -> Any:
    """A streamed answer as the ChatReply it would have been."""
    told = getattr(reply, "last", None)
    if told is None:
        return reply
    reasons = {choice.index: choice.finish_reason for choice in told.choices}
    message = Message(content=reply.text)
    return ChatReply(
        choices=[Choice(message=message, finish_reason=reasons.get(0))],
        id=told.id,
        created=told.created,
        model=told.model,
        usage=reply.usage,
        service_tier=reply.service_tier,
        backend=reply.backend,
        cost=reply.cost,
        cost_nano_usd=reply.cost_nano_usd,
        attempts=reply.attempts,
        decision=reply.decision,
    )

"""A streamed answer: fails over until the first token, then tells what it got.

    before content   a failed attempt is tried elsewhere, or raised by ``start``
    content          chunks as they come; the last carries usage, cost, attempts
    a break          StreamInterruptedError with the text and the tokens so far

What happens is told by _tell.py; ``ChatStream`` carries it out on an event loop,
``BlockingChatStream`` in a thread.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

from .._fleet._line import rest, rest_blocking
from .._transport import (
    BlockingStream,
    Stream,
    first_change,
    first_change_blocking,
)
from .._types import ChatChunk
from ._drive import parcel
from ._race import Change, Won, tell_race
from ._run import Run
from ._tell import CLOSE, NEXT, tell


class ChatStream:
    """An asynchronous iterator of ChatChunk; close it early with ``aclose()``."""

    def __init__(self, run: Run, transport: Any) -> None:
        self._steps = (
            tell(run) if run.contest is None else tell_race(run, transport.enter)
        )
        self._transport = transport
        self._stream: Any = None
        self._ready: deque[ChatChunk] = deque()

    async def start(self) -> ChatStream:
        """Attempt until content arrives; errors before it are raised here."""
        await self._pull()
        return self

    async def _pull(self) -> None:
        """Carry out steps until there are chunks, or the end."""
        result: Any = None
        try:
            while True:
                step = self._steps.send(result)
                if isinstance(step, list):
                    self._ready.extend(step)
                    return
                result = await self._do(step)
        except StopIteration:
            return
        except BaseException:
            await self.aclose()
            raise

    async def _do(self, step: Any) -> Any:
        if step is NEXT:
            async for events in self._stream:
                return events
            return self._stream.end
        if step is CLOSE:
            return await self._stream.aclose()
        if isinstance(step, float):
            return await rest(step)
        if isinstance(step, Change):
            return await first_change(*step)
        if isinstance(step, Won):
            self._stream = Stream(step.inbox)
            return None
        self._stream = await self._transport.stream(
            *parcel(step), mode=step.request.stream, marks=step.request.marks
        )
        return self._stream.head

    def __aiter__(self) -> ChatStream:
        return self

    async def __anext__(self) -> ChatChunk:
        if not self._ready:
            await self._pull()
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        """End the transfer and settle with the tokens seen so far."""
        self._steps.close()
        if self._stream is not None:
            await self._stream.aclose()

    async def __aenter__(self) -> ChatStream:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class BlockingChatStream:
    """An iterator of ChatChunk for code without an event loop; ``close()`` ends it."""

    def __init__(self, run: Run, transport: Any) -> None:
        self._steps = (
            tell(run)
            if run.contest is None
            else tell_race(run, partial(transport.enter, blocking=True))
        )
        self._transport = transport
        self._stream: Any = None
        self._ready: deque[ChatChunk] = deque()

    def start(self) -> BlockingChatStream:
        """Attempt until content arrives; errors before it are raised here."""
        self._pull()
        return self

    def _pull(self) -> None:
        """Carry out steps until there are chunks, or the end."""
        result: Any = None
        try:
            while True:
                step = self._steps.send(result)
                if isinstance(step, list):
                    self._ready.extend(step)
                    return
                result = self._do(step)
        except StopIteration:
            return
        except BaseException:
            self.close()
            raise

    def _do(self, step: Any) -> Any:
        if step is NEXT:
            events = next(self._stream, None)
            return self._stream.end if events is None else events
        if step is CLOSE:
            return self._stream.close()
        if isinstance(step, float):
            return rest_blocking(step)
        if isinstance(step, Change):
            return first_change_blocking(*step)
        if isinstance(step, Won):
            self._stream = BlockingStream(step.inbox)
            return None
        self._stream = self._transport.stream_blocking(
            *parcel(step), mode=step.request.stream, marks=step.request.marks
        )
        return self._stream.head

    def __iter__(self) -> BlockingChatStream:
        return self

    def __next__(self) -> ChatChunk:
        if not self._ready:
            self._pull()
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def close(self) -> None:
        """End the transfer and settle with the tokens seen so far."""
        self._steps.close()
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> BlockingChatStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

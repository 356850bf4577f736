"""Several mock providers on one clock, in the caller's loop or in their own thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from ._provider import MockProvider


class MockFleet:
    """`async with` runs the providers in the caller's loop, `with` in a thread.

    Second 0 of every script is the same moment: the start of the fleet. Raises
    ValueError when there is no provider or two have the same name.
    """

    def __init__(self, providers: Sequence[MockProvider]) -> None:
        names = [p.name for p in providers]
        if not names:
            raise ValueError("providers=[]: give at least one MockProvider")
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"providers: name {twice[0]!r} is used twice: rename one")
        self.providers = list(providers)
        self._origin = 0.0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __getitem__(self, name: str) -> MockProvider:
        for provider in self.providers:
            if provider.name == name:
                return provider
        known = ", ".join(p.name for p in self.providers)
        raise KeyError(f"no provider {name!r} in this fleet: it has {known}")

    def __iter__(self) -> Iterator[MockProvider]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    def clock(self) -> float:
        """Seconds since the start of the fleet."""
        return time.monotonic() - self._origin

    # --- in the caller's loop ------------------------------------------------

    async def start(self) -> Self:
        """Start every provider; if one fails, those already started are stopped."""
        self._origin = time.monotonic()
        try:
            for provider in self.providers:
                await provider.start(origin=self._origin)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Stop every provider; an error of one is raised when all are stopped."""
        stops = [provider.stop() for provider in self.providers]
        outcomes = await asyncio.gather(*stops, return_exceptions=True)
        await asyncio.sleep(0)  # lets closed sockets go before a loop ends
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- in a thread ---------------------------------------------------------

    def open(self) -> Self:
        """Start in a thread of its own; returns when every provider listens."""
        if self._thread is not None:
            raise RuntimeError("this fleet is already running")
        loop = self._loop = asyncio.new_event_loop()
        name = "llmbalance-mock"
        self._thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
        self._thread.start()
        try:
            self._call(self.start())
        except BaseException:
            self._join()
            raise
        return self

    def close(self) -> None:
        """Stop every provider and the thread."""
        if self._thread is None:
            return
        try:
            self._call(self.stop())
        finally:
            self._join()

    def _call(self, work: Coroutine[Any, Any, object]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def _join(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=10)
            loop.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

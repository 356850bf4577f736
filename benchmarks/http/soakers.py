"""Who makes the calls of a soak, and how it accounts for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from serve import BODY, MESSAGES, STREAM, TARGET

from llmbalance import Backend, LLMBalanceError, Price, Router
from llmbalance._core import Origin, engine_stats
from llmbalance._transport import Transport

LIMITS = (5.0, 5.0, 5.0, 5.0, 10.0)
IMPATIENT = (5.0, 0.05, 5.0, 5.0, 10.0)
DEAD = "http://127.0.0.1:1"


class Soaker(ABC):
    """The kinds of calls a soak makes; each says in a word how it ended."""

    @abstractmethod
    def __init__(self, quick: str, slow: str) -> None: ...
    @abstractmethod
    async def call(self) -> str: ...
    @abstractmethod
    async def slow(self) -> str: ...
    @abstractmethod
    async def refused(self) -> str: ...
    @abstractmethod
    async def late(self) -> str: ...
    @abstractmethod
    async def stream(self) -> str: ...
    @abstractmethod
    async def left(self) -> str:
        """A stream that is left after its first piece."""

    @abstractmethod
    def forget(self) -> None:
        """A call was cancelled while it was under way."""

    @abstractmethod
    async def close(self) -> None: ...
    @abstractmethod
    def account(self) -> dict[str, Any]: ...
    @abstractmethod
    def unaccounted(self) -> list[str]:
        """What the account does not explain."""


class ThroughTransport(Soaker):
    """Bare requests: as many completions as submissions."""

    def __init__(self, quick: str, slow: str) -> None:
        self.transport = Transport()
        self.origins = {name: Origin(u) for name, u in (("q", quick), ("s", slow))}
        self.dead = Origin(DEAD)

    async def send(self, origin: Origin, limits: tuple[float, ...] = LIMITS) -> str:
        r = await self.transport.send(origin, "POST", TARGET, None, BODY, limits)
        return r.error or "ok"

    async def call(self) -> str:
        return await self.send(self.origins["q"])

    async def slow(self) -> str:
        return await self.send(self.origins["s"])

    async def refused(self) -> str:
        return await self.send(self.dead)

    async def late(self) -> str:
        return await self.send(self.origins["s"], IMPATIENT)

    async def stream(self) -> str:
        got = 0
        async for events in await self.open("q"):
            got += len(events)
        return f"stream of {got}"

    async def left(self) -> str:
        opened = await self.open("s")
        async for _ in opened:
            break
        return (await opened.aclose()).error or "stream"

    def forget(self) -> None:
        """The engine counts every end by itself."""

    async def open(self, name: str) -> Any:
        origin = self.origins[name]
        return await self.transport.stream(origin, "POST", TARGET, None, STREAM, LIMITS)

    async def close(self) -> None:
        self.transport.close()

    def account(self) -> dict[str, Any]:
        return engine_stats()

    def unaccounted(self) -> list[str]:
        stats = engine_stats()
        lost = stats["submitted"] - stats["completed"]
        return [f"{lost} requests never completed"] if lost else []


class ThroughRouter(Soaker):
    """Router.chat; its statistics must say what its callers saw, to the nano-dollar.

    Two quick backends, one that is slow, one that refuses connections; "shaky" calls
    begin at the last, while its breaker lets them, and go over to a quick one.
    """

    def __init__(self, quick: str, slow: str) -> None:
        def backend(name: str, url: str, price: float, *groups: str) -> Backend:
            return Backend(
                "openai_compatible/bench",
                name=name,
                base_url=f"{url}/v1",
                api_key="k",
                groups=list(groups),
                price=Price(price, price),
            )

        self.router = Router(
            [
                backend("quick-1", quick, 1, "quick", "shaky"),
                backend("quick-2", quick, 1, "quick"),
                backend("slow", slow, 1, "slow"),
                backend("dead", DEAD, 0.1, "shaky"),
            ],
            seed=7,
        )
        self.attempts = 0  # that callers were told of, or left
        self.nano_usd = 0  # billed to callers of the quick backends
        self.flip = False

    async def send(self, model: str, **options: Any) -> str:
        try:
            reply = await self.router.chat(model, MESSAGES, **options)
        except LLMBalanceError as error:
            self.attempts += len(error.attempts)
            return type(error).__name__
        self.hear(reply)
        return "ok" if len(reply.attempts) == 1 else "ok, elsewhere"

    def hear(self, last: Any) -> None:
        self.attempts += len(last.attempts)
        if last.backend != "slow":
            self.nano_usd += last.cost_nano_usd

    async def call(self) -> str:
        return await self.send("quick", max_tokens=200)

    async def slow(self) -> str:
        return await self.send("slow")

    async def refused(self) -> str:
        self.flip = not self.flip
        if self.flip:
            return await self.send("shaky")
        return await self.send("dead", timeout=0.05)

    async def late(self) -> str:
        return await self.send("slow", timeout=0.05)

    async def stream(self) -> str:
        chunks = [c async for c in await self.open("quick")]
        self.hear(chunks[-1])
        return f"stream of {len(chunks)}"

    async def left(self) -> str:
        opened = await self.open("slow")
        await anext(opened)
        await opened.aclose()
        self.forget()
        return "cancelled"

    async def open(self, model: str) -> Any:
        return await self.router.chat(model, MESSAGES, stream=True)

    def forget(self) -> None:
        self.attempts += 1

    async def close(self) -> None:
        await self.router.aclose()

    def account(self) -> dict[str, Any]:
        total: dict[str, Any] = self.router.stats()["total"]
        return {**total, "attempts seen by callers": self.attempts}

    def unaccounted(self) -> list[str]:
        stats = self.router.stats()
        total, found = stats["total"], []
        if total["requests"] != self.attempts:
            found.append(f"{total['requests']} attempts, {self.attempts} seen")
        ended = total["succeeded"] + total["failed"] + total["cancelled"]
        if ended != total["requests"] or total["in_flight"]:
            found.append(f"{total['in_flight']} in flight, {ended} ended")
        rows = [stats["backends"][name] for name in ("quick-1", "quick-2")]
        billed = sum(round(row["cost"] * 1e9) for row in rows)
        if billed != self.nano_usd:
            found.append(f"{billed} nano-USD billed, {self.nano_usd} told")
        engine = engine_stats()
        lost = engine["submitted"] - engine["completed"]
        return [*found, f"{lost} requests never completed"] if lost else found


SOAKERS: dict[str, type[Soaker]] = {
    "transport": ThroughTransport,
    "router": ThroughRouter,
}

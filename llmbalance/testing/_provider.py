"""A mock provider: one account of one LLM vendor, served on loopback.

client --HTTP--> Connection -> Desk -> Answer -> Connection
                               |        |
                      faults, key,    time, stream,
                      limits, bill    cuts
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._desk import Desk, Seen
from ._dialects import find
from ._exchange import Ask, Model, Reply, Scripted
from ._script import Script
from ._server import Connection

if TYPE_CHECKING:
    from ._fleet import MockFleet

CHARGES = ("chars4", "max", "input", "actual")
OutputTokens = int | tuple[int, int] | Callable[[Ask], int]
Prices = Sequence[float | str | Decimal]


class MockProvider(Script):
    """A provider that can be started, asked, counted and made to fail.

    dialect: openai anthropic google groq deepseek mistral openrouter xai vllm ollama
        openai_compatible
    model: the one it serves, or several; any other is answered 404. None = all.
    api_key: the one it accepts, None = no check.
    ttft, per_token: seconds to the first token, and for each further one.
    jitter: standard deviation of the logarithm of both (0.2 = mostly within 20 %).
    output_tokens: length of generated answers: a number, a range, or a function.
    reply: what the model says: a text, a dict (text, tool_calls, finish_reason,
        reasoning, cached_tokens) or a function of the `Ask` that returns either.
    rpm, tpm, otpm, rpd: requests, tokens, output tokens per minute; requests per day.
    charge: what counts towards tpm: "chars4" (characters / 4, on arrival), "max"
        (prompt + max_tokens, on arrival), "input" (the prompt), "actual" (prompt on
        arrival, output at the end). None = as this vendor does.
    burst: seconds' worth of rpm and tpm that can be used at once (60 = all).
    max_concurrency: requests answered at once; the next wait (at most `max_queue`:
        vllm 10,000, ollama 512), or get a 429 where the vendor has no queue.
    context_window: tokens of the longest prompt.
    price: USD per million tokens as (input, output) or (input, output, cached).
    error_rate: share of random 500s.
    prompt_cache: recognise repeated beginnings of prompts and report cached tokens.
    record: how many requests are kept in `requests` (bodies: 64 MiB in all).
    seed: of every random choice.

    A token of a mock is four bytes: ceil(bytes / 4), in prompts and in answers, plus
    the vendor's frame around messages (OpenAI 4 per message + 3, Anthropic 7, Google
    1 per content). ValueError names the field that is wrong.

    Counters: `served` whole answers, `rejected` 429s, `errors` 5xx and broken answers,
    `refused` other 4xx, `cancelled` clients that left; `tokens_in`, `tokens_out`,
    `in_flight`, `peak`, `billed_usd`.
    """

    def __init__(
        self,
        dialect: str = "openai",
        *,
        name: str | None = None,
        model: str | Sequence[str] | None = None,
        api_key: str | None = "test-key",
        ttft: float = 0.0,
        per_token: float = 0.0,
        jitter: float = 0.0,
        output_tokens: OutputTokens = 32,
        reply: Scripted = None,
        rpm: int | None = None,
        tpm: int | None = None,
        otpm: int | None = None,
        rpd: int | None = None,
        charge: str | None = None,
        burst: float = 60.0,
        max_concurrency: int | None = None,
        max_queue: int | None = None,
        context_window: int | None = None,
        price: Prices | None = None,
        error_rate: float = 0.0,
        prompt_cache: bool = False,
        script: Script | None = None,
        record: int = 10_000,
        port: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        kind = find(dialect)
        self.name, self.dialect = name or dialect, dialect
        self.models = (model,) if isinstance(model, str) else tuple(model or ())
        self.api_key = api_key
        self.ttft = _at_least_zero("ttft", ttft)
        self.per_token = _at_least_zero("per_token", per_token)
        self.jitter = _at_least_zero("jitter", jitter)
        self.rpm, self.tpm = _limit("rpm", rpm), _limit("tpm", tpm)
        self.otpm, self.rpd = _limit("otpm", otpm), _limit("rpd", rpd)
        self.charge = _one_of("charge", charge or kind.charge, CHARGES)
        self.burst = _at_least_zero("burst", burst)
        self.max_concurrency = _limit("max_concurrency", max_concurrency)
        self.max_queue = kind.max_queue if max_queue is None else max_queue
        self.context_window = _limit("context_window", context_window)
        self.price = _pico(price)
        self.error_rate = _at_least_zero("error_rate", error_rate)
        if self.error_rate > 1 or self.burst == 0:
            raise ValueError(
                f"error_rate={error_rate!r}, burst={burst!r}: give a share in 0..1 and "
                "a number of seconds > 0"
            )
        self.prompt_cache = prompt_cache
        self.record, self.seed = record, seed
        self.speaks = kind(self.models, api_key, self.context_window)
        self.speaks.price = self.price
        length = _length(output_tokens, random.Random(f"llmbalance-length-{seed}"))
        self._model = Model(seed, reply, length)
        if script is not None:
            self.adopt(script)
        self.port = self._wanted_port = port
        self.mistake: Exception | None = None  # of the reply function
        self._fleet: MockFleet | None = None
        self._server: asyncio.Server | None = None
        self._desk: Desk | None = None
        self._origin = 0.0
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget what was counted and recorded (not what is in flight)."""
        self.requests: deque[Seen] = deque()
        self.recorded_bytes = 0
        self.served = self.rejected = self.errors = self.refused = self.cancelled = 0
        self.tokens_in = self.tokens_out = 0
        self.billed_pico_usd = 0
        self.peak = self.in_flight

    # --- life ----------------------------------------------------------------

    async def start(self, *, origin: float | None = None) -> Self:
        """Listen on loopback; `origin` is the time.monotonic() of second 0."""
        if self._server is not None:
            raise RuntimeError(f"mock provider {self.name!r} is already running")
        loop = asyncio.get_running_loop()
        self.in_flight = 0
        self.clear()
        desk = Desk(self, loop, self.seed)
        self._origin = time.monotonic() if origin is None else origin
        self._server = await loop.create_server(
            lambda: Connection(desk), "127.0.0.1", self._wanted_port, backlog=1024
        )
        self._desk = desk
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and drop every connection; what was counted stays.

        Raises RuntimeError when a `reply` or `output_tokens` function failed meanwhile
        (the client was told 500).
        """
        server, desk = self._server, self._desk
        self._server = self._desk = None
        if server is None or desk is None:
            return
        server.close()
        desk.close()
        await server.wait_closed()
        mistake, self.mistake = self.mistake, None
        if mistake is not None:
            raise RuntimeError(
                f"mock provider {self.name!r}: its reply or output_tokens function "
                f"failed: {mistake!r}"
            ) from mistake

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        """Run in a thread of its own, for code without an event loop."""
        from ._fleet import MockFleet

        self._fleet = MockFleet([self]).__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            fleet.close()

    # --- what others need to know --------------------------------------------

    @property
    def running(self) -> bool:
        return self._server is not None

    @property
    def base_url(self) -> str:
        """What an SDK for this dialect takes as its base URL."""
        return f"http://127.0.0.1:{self.port}{self.speaks.prefix}"

    @property
    def model(self) -> str:
        """The (first) model that is served."""
        return self.models[0] if self.models else "mock-model"

    @property
    def billed_usd(self) -> float:
        """What this account has been billed so far, in USD; 0.0 without a price."""
        return self.billed_pico_usd / 1e12

    def clock(self) -> float:
        """Seconds since the start (of the fleet, if it belongs to one)."""
        return time.monotonic() - self._origin

    def _now(self) -> float:
        return self.clock() if self.running else 0.0

    def set_price(self, price: Prices | None) -> None:
        """Bill requests at another price from now on; see ``price``."""
        self.price = self.speaks.price = _pico(price)

    def model_answers(self, ask: Ask, number: int) -> tuple[list[Reply], int | None]:
        """What the scripted model says to request `number`."""
        return self._model.answer(ask, number)

    def __repr__(self) -> str:
        where = f"port {self.port}" if self.running else "stopped"
        return f"MockProvider({self.dialect!r}, name={self.name!r}, {where})"


def _at_least_zero(name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value!r}: give a number >= 0")
    return value


def _limit(name: str, value: int | None) -> int | None:
    if value is not None and (value != int(value) or value < 1):
        raise ValueError(f"{name}={value!r}: give a whole number >= 1, or None")
    return None if value is None else int(value)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name}={value!r}: choose one of {', '.join(known)}")
    return value


def _pico(price: Prices | None) -> tuple[int, int, int] | None:
    """USD per million tokens -> pico-USD per token, exactly (1 USD/M = 1e6 pico)."""
    if price is None:
        return None
    if len(price) not in (2, 3):
        raise ValueError(f"price={price!r}: give (input, output) or (.., cached)")
    values = [Decimal(str(p)) * 1_000_000 for p in price]
    if any(v < 0 or v != int(v) for v in values):
        raise ValueError(f"price={price!r}: give USD per million, >= 0, <= 6 decimals")
    pico = [int(v) for v in values]
    return pico[0], pico[1], pico[2] if len(pico) == 3 else pico[0]


def _length(wanted: OutputTokens, rng: random.Random) -> Callable[[Ask, int], int]:
    """A function that says how long the answer to a request is."""
    if callable(wanted):
        return lambda ask, number: wanted(ask)
    low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
    if not 0 <= low <= high:
        raise ValueError(f"output_tokens={wanted!r}: give n, or (low, high), >= 0")
    return lambda ask, number: low if low == high else rng.randint(low, high)

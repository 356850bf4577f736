"""What the C core offers to Python; the docstrings are in the module itself.

Backends, groups, limits and budgets are indices; so are the members of STRATEGIES,
REASONS, OUTCOMES, KINDS, UNITS and CHARGES. Money is nano-USD, times are seconds on
time.monotonic()'s clock. tests/test_stub.py holds this file to the module.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

# A text, several texts, or messages in OpenAI's shape.
_Prompt = str | Sequence[Any]
_Tools = Sequence[Mapping[str, Any]]
# in_a_row, min_calls, failure_rate, slow_rate, probe_share, probes_to_close, then the
# seconds window, cooldown, cooldown_max, ramp, and timeouts_in_a_row.
_Rules = tuple[float, ...]
# Columns of machine numbers.
_Buffer = bytes | memoryview | array[int]
# unit, limit, remaining, reset seconds, window seconds; -1 for what is not said.
_Told = tuple[int, int, int, float, float]

STRATEGIES: tuple[str, ...]
REASONS: tuple[str, ...]
OUTCOMES: tuple[str, ...]
KINDS: tuple[str, ...]
UNITS: tuple[str, ...]
CHARGES: tuple[str, ...]

class Pool:
    def __init__(
        self,
        backends: int,
        limits: int,
        budgets: int,
        groups: int,
        members: int,
        sessions: int = 0,
        seed: int = 0,
    ) -> None: ...
    def add_backend(
        self,
        price: PriceRow,
        *,
        id: int = 0,
        tags: int = 0,
        can: int = 0,
        context: int = 0,
        max_output: int = 0,
        max_calls: int = 0,
        weight: float = 1.0,
        min_share: float = 0.0,
        order: int = 0,
        quality: int = 0,
        family: int = 0,
        cache_life: float = 0.0,
        breaker: _Rules | None = None,
    ) -> int: ...
    def set_terms(
        self,
        backend: int,
        price: PriceRow,
        *,
        id: int = 0,
        tags: int = 0,
        can: int = 0,
        context: int = 0,
        max_output: int = 0,
        max_calls: int = 0,
        weight: float = 1.0,
        min_share: float = 0.0,
        order: int = 0,
        quality: int = 0,
        family: int = 0,
        cache_life: float = 0.0,
        breaker: _Rules | None = None,
    ) -> None: ...
    def set_weight(self, backend: int, weight: float) -> None: ...
    def set_price(self, backend: int, price: PriceRow) -> None: ...
    def add_limit(
        self,
        backend: int,
        unit: int,
        charge: int,
        limit: int,
        window: float,
        burst: int = 0,
    ) -> int: ...
    def set_limit(
        self,
        limit: int,
        amount: int,
        window: float = 60.0,
        burst: int = 0,
        now: float | None = None,
    ) -> None: ...
    def share_limit(self, backend: int, limit: int) -> None: ...
    def share_calls(self, backend: int, other: int) -> None: ...
    def add_budget(
        self,
        kind: int,
        cap: int,
        hard: bool = True,
        period: float = 0.0,
        ends_in: float = 0.0,
        now: float | None = None,
    ) -> int: ...
    def set_budget(self, budget: int, cap: int, hard: bool = True) -> None: ...
    def set_usual(self, backend: int, ttft: float, itl: float) -> None: ...
    def set_window(
        self, budget: int, period: float, ends_in: float, now: float | None = None
    ) -> None: ...
    def charge(self, scope: str, index: int, budget: int) -> None: ...
    def add_group(
        self, members: list[int], strategy: int, value: float = -1.0
    ) -> int: ...
    def set_group(
        self, group: int, members: list[int], strategy: int, value: float = -1.0
    ) -> None: ...
    def order(self, backend: int, order: int, now: float | None = None) -> None: ...
    def set_policy(
        self,
        shift: float = 0.8,
        stop: float = 0.95,
        ceiling: float = 1.0,
        horizon: float = 10.0,
    ) -> None: ...
    def pick(
        self,
        group: int,
        prompt: _Prompt,
        max_tokens: int | None = None,
        tools: _Tools | None = None,
        needs: int | None = None,
        tags: int | None = None,
        session: int | None = None,
        max_cost: int | None = None,
        max_latency: float | None = None,
        value: float | None = None,
        strategy: int | None = None,
        quality: int | None = None,
        priority: bool | None = None,
        last_resort: bool | None = None,
        tried: tuple[int, ...] | None = None,
        budgets: tuple[int, ...] | None = None,
        now: float | None = None,
    ) -> Lease: ...
    def explain(
        self,
        group: int,
        prompt: _Prompt,
        max_tokens: int | None = None,
        tools: _Tools | None = None,
        needs: int | None = None,
        tags: int | None = None,
        session: int | None = None,
        max_cost: int | None = None,
        max_latency: float | None = None,
        value: float | None = None,
        strategy: int | None = None,
        quality: int | None = None,
        priority: bool | None = None,
        last_resort: bool | None = None,
        tried: tuple[int, ...] | None = None,
        budgets: tuple[int, ...] | None = None,
        now: float | None = None,
    ) -> list[dict[str, Any]]: ...
    def backend(self, index: int, now: float | None = None) -> dict[str, Any]: ...
    def budget(self, index: int, now: float | None = None) -> dict[str, Any]: ...
    def limit(self, index: int, now: float | None = None) -> dict[str, Any]: ...
    def output(self, group: int) -> list[tuple[float, float]]: ...
    def usage(self) -> dict[str, int]: ...
    def learned(
        self, scope: str, index: int, now: float | None = None
    ) -> dict[str, Any]: ...
    def teach(
        self,
        scope: str,
        index: int,
        lesson: dict[str, Any],
        age: float = 0.0,
        now: float | None = None,
    ) -> None: ...
    def book(
        self, budget: int, nano: int, ago: float = 0.0, now: float | None = None
    ) -> None: ...
    def spent(self, budget: int, now: float | None = None) -> tuple[int, int]: ...

class Lease:
    backend: int
    live: bool
    group: int
    started: float
    input_tokens: int
    output_tokens: int
    cost: int
    hold: int
    seconds: float
    rivals: int
    wait: float
    probe: bool
    desperate: bool
    @property
    def decision(self) -> dict[str, Any]: ...
    def settle(
        self,
        outcome: int,
        usage: tuple[int, ...] | None = None,
        ttft: float | None = None,
        seconds: float | None = None,
        sent: bool = True,
        metered: bool = False,
        cost: int | None = None,
        retry_after: float | None = None,
        told: list[_Told] | None = None,
        now: float | None = None,
    ) -> int: ...
    def again(
        self,
        group: int | None = None,
        last_resort: bool | None = None,
        now: float | None = None,
    ) -> Lease: ...
    def progress(self, output_tokens: int) -> None: ...
    def tail(self, first: bool) -> tuple[float, float, float] | None: ...

class PriceRow:
    def __init__(
        self,
        rates: Mapping[str, int | None],
        tiers: Sequence[tuple[int, Mapping[str, int | None]]] = (),
        *,
        inclusive: bool = False,
        marginal: bool = False,
        uplift_ppm: int = 0,
    ) -> None: ...
    def cost(
        self,
        input: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        audio_in: int = 0,
        image_in: int = 0,
        output: int = 0,
        reasoning: int = 0,
        audio_out: int = 0,
        image_out: int = 0,
        requests: int = 0,
        images: int = 0,
        milliseconds: int = 0,
        searches: int = 0,
    ) -> int | None: ...
    def cost_pico(
        self,
        input: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        audio_in: int = 0,
        image_in: int = 0,
        output: int = 0,
        reasoning: int = 0,
        audio_out: int = 0,
        image_out: int = 0,
        requests: int = 0,
        images: int = 0,
        milliseconds: int = 0,
        searches: int = 0,
    ) -> int | None: ...
    def is_guess(
        self,
        input: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        audio_in: int = 0,
        image_in: int = 0,
        output: int = 0,
        reasoning: int = 0,
        audio_out: int = 0,
        image_out: int = 0,
        requests: int = 0,
        images: int = 0,
        milliseconds: int = 0,
        searches: int = 0,
    ) -> bool: ...
    def lines(
        self,
        input: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        audio_in: int = 0,
        image_in: int = 0,
        output: int = 0,
        reasoning: int = 0,
        audio_out: int = 0,
        image_out: int = 0,
        requests: int = 0,
        images: int = 0,
        milliseconds: int = 0,
        searches: int = 0,
    ) -> list[tuple[str, int, int | None]]: ...
    def estimate(self, input: int, cached: int, output: int) -> int | None: ...
    def pico(self, kind: str) -> int | None: ...
    @staticmethod
    def parse(text: str, shift: int) -> int: ...

class Origin:
    def __init__(
        self,
        url: str,
        *,
        headers: Sequence[str] = [],
        http_version: str = "auto",
        verify: bool | str = True,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        proxy: str | None = None,
        unix_socket: str | None = None,
        sigv4: str | None = None,
        sigv4_key: str | None = None,
        max_body: int = 67108864,
        max_event: int = 4194304,
        max_header: int = 262144,
    ) -> None: ...

class Port:
    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def submit(
        self,
        token: object,
        origin: Origin,
        method: str,
        target: str,
        headers: Sequence[str] | None,
        body: bytes | None,
        timeouts: tuple[float, float, float, float, float],
        stream: int = 0,
        marks: Sequence[bytes] = (),
    ) -> int: ...
    def cancel(self, id: int, /) -> None: ...
    def pause(self, id: int, /) -> None: ...
    def resume(self, id: int, /) -> None: ...
    def drain(self) -> list[tuple[Any, Any]]: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> list[Any]: ...

class Response:
    status: int
    headers: dict[str, str]
    body: bytes
    done: bool
    error: str | None
    detail: str
    offset: int
    events: int
    sent: bool
    reused: bool
    http_version: str
    connect: float
    ttfb: float
    ttft: float
    total: float
    started: float
    ended: float

class Simulation:
    def __init__(
        self,
        pool: Pool,
        chain: list[list[int]],
        at: _Buffer,
        input: _Buffer,
        output: _Buffer,
        *,
        group: _Buffer | None = None,
        most: _Buffer | None = None,
        session: _Buffer | None = None,
        block: _Buffer | None = None,
        blocks: _Buffer | None = None,
        seed: int = 0,
        rule: str | None = None,
        timeout: float = 600.0,
        stream: bool = False,
        slice: float = 60.0,
        slices: int = 100,
        mismeasure: float = 0.0,
        samples: bool = False,
        block_tokens: int = 512,
        wait: bool = True,
        max_waiting: int = -1,
        retries: float = 0.2,
    ) -> None: ...
    def service(
        self,
        backend: int,
        *,
        ttft: float = 0.0,
        ttft_spread: float = 0.0,
        tail_share: float = 0.0,
        tail_factor: float = 1.0,
        prefill: float = 0.0,
        token: float = 0.0,
        token_crowd: float = 0.0,
        token_spread: float = 0.0,
        failure: float = 0.0,
        failure_after: float = 0.0,
        refusal_after: float = 0.0,
        slots: int = 0,
        queue: int = -1,
        most_output: int = 0,
        cache_least: int = 0,
        cache_life: float = 0.0,
        exponential: bool = False,
        serial: bool = False,
        headers: bool = False,
        retry_after: bool = False,
    ) -> None: ...
    def limit(
        self,
        backend: int,
        unit: int,
        charge: int,
        limit: int,
        window: float,
        burst: int = 0,
    ) -> int: ...
    def share_limit(self, backend: int, limit: int) -> None: ...
    def fault(
        self,
        backend: int,
        trouble: str,
        start: float,
        end: float,
        share: float = 1.0,
        factor: float = 1.0,
    ) -> None: ...
    def price(self, backend: int, at: float, price: PriceRow) -> None: ...
    def peer(
        self, backend: int, weight: float, price: float, rpm: int = 0, tpm: int = 0
    ) -> None: ...
    def terms(
        self,
        group: int,
        *,
        timeout: float = 0.0,
        most: int = 0,
        failure: int = 0,
        refusal: int = 0,
        lateness: int = 0,
        longer: Sequence[int] = (),
    ) -> None: ...
    def patience(
        self, backend: int, *, first_token: float = 0.0, total: float = 0.0
    ) -> None: ...
    def run(self, requests: int) -> bool: ...
    def totals(self) -> dict[str, Any]: ...
    def quantile(self, what: str, p: float) -> float: ...
    def cells(self) -> list[tuple[Any, ...]]: ...
    def samples(self) -> bytes: ...

def measure(messages: _Prompt, tools: _Tools | None = None, family: int = 0) -> int: ...
def measure_full(
    messages: _Prompt, tools: _Tools | None = None, family: int = 0
) -> int: ...
def engine_stats() -> dict[str, int]: ...
def engine_stop(timeout: float, /) -> bool: ...

"""The desk of a mock provider: what happens to a request, from arrival to the bill.

Every request passes, in this order: outage, hang, garbage, scripted failure, key,
understanding, random errors, context window, slots, rate limits; then the model
answers. Requests that are refused cost nothing and take nothing from the limits.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from ._answer import Answer, Hanging
from ._bucket import SECOND, Limiter, Refusal
from ._cache import PromptCache
from ._dialects._base import Target, Turn
from ._exchange import Ask, Refused, Usage
from ._script import Rule
from ._server import Connection, Request

if TYPE_CHECKING:
    from ._provider import MockProvider

_SECRET = frozenset(
    ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie")
)
_KEPT_BYTES = 64 << 20  # of request bodies
_HTML = b"<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"
_KINDS = {400: "bad_request", 401: "auth", 404: "not_found", 413: "too_large"}


class Seen:
    """A request that arrived: when, what, and the status it was answered with."""

    __slots__ = ("body", "headers", "method", "path", "status", "time")

    def __init__(self, at: float, request: Request) -> None:
        self.time = at  # seconds since the start
        self.method = request.method
        self.path = _without_key(request.target)
        self.headers = {k: v for k, v in request.headers.items() if k not in _SECRET}
        self.body = request.body
        self.status = 0  # 0 = not answered (yet)

    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Seen({self.time:.3f}s {self.method} {self.path} -> {self.status})"


class Desk:
    """Everything that lives while a provider runs; counters belong to the provider."""

    def __init__(
        self, provider: MockProvider, loop: asyncio.AbstractEventLoop, seed: int
    ) -> None:
        self.provider = provider
        self.loop = loop
        self.dialect = provider.speaks
        self.connections: set[Connection] = set()
        self.limiter = Limiter(
            rpm=provider.rpm,
            tpm=provider.tpm,
            otpm=provider.otpm,
            rpd=provider.rpd,
            burst=provider.burst,
            now=time.monotonic_ns(),
        )
        self._rng = random.Random(seed)
        name = f"llmbalance-keys-{seed}-{provider.name}"
        self._salt = random.Random(name).getrandbits(96)
        self._cache = PromptCache() if provider.prompt_cache else None
        self._queue: deque[Answer] = deque()
        self._number = 0

    def close(self) -> None:
        """Drop every connection and forget who waits."""
        self._queue.clear()
        for conn in list(self.connections):
            answering = conn.answering
            conn.drop(reset=True)
            if answering is not None:
                answering.stop()

    # --- arrival -------------------------------------------------------------

    def handle(self, conn: Connection, request: Request) -> None:
        """Answer one request; called by its connection."""
        seen = self._note(request)
        self._number += 1
        key = f"{(self._number * 0x9E3779B97F4A7C15F39CC061 ^ self._salt) % 2**96:024x}"
        target = Target.parse(request.method, request.target)
        try:
            if self.provider.scripted and self._break(conn, seen, key, target):
                return
            self.dialect.authorise(request.headers, target)
            ask = self._read(target, request)
            rate = self.provider.error_rate
            if rate and self._rng.random() < rate:
                raise Refused("server", status=500)
            self._admit(conn, ask, seen, key)
        except Refused as refused:
            refused.form = self.dialect.form(target)
            status, body = self.dialect.error(refused, key)
            self._refuse(conn, seen, status, body, key)

    def _read(self, target: Target, request: Request) -> Ask:
        try:
            return self.dialect.read(target, request.headers, request.body)
        except (AttributeError, TypeError, KeyError, IndexError, ValueError) as exc:
            raise Refused("bad_request", f"a field has a wrong type: {exc}") from None

    def _note(self, request: Request) -> Seen:
        seen = Seen(self.provider.clock(), request)
        provider = self.provider
        kept = provider.requests
        if provider.record:
            kept.append(seen)
            provider.recorded_bytes += len(seen.body)
            while len(kept) > provider.record or provider.recorded_bytes > _KEPT_BYTES:
                provider.recorded_bytes -= len(kept.popleft().body)
        return seen

    # --- faults --------------------------------------------------------------

    def _break(self, conn: Connection, seen: Seen, key: str, target: Target) -> bool:
        """Apply the script's faults; True when the request is dealt with."""
        active, now = self.provider.active, seen.time
        rule = active("outage", now)
        if rule is None and active("hang", now, use=True) is not None:
            conn.answering = Hanging(self)
            return True
        if rule is None:
            garbage = active("garbage", now)
            if garbage is not None and garbage.args["how"] != "truncated":
                active("garbage", now, use=True)
                self._garbage(conn, seen, garbage.args["how"])
                return True
            rule = active("fail", now, use=True)
        if rule is None:
            return False
        if rule.args["status"] is None:
            self.provider.errors += 1
            conn.drop(reset=True)
        else:
            self._fail(conn, seen, rule, key, self.dialect.form(target))
        return True

    def _fail(
        self, conn: Connection, seen: Seen, rule: Rule, key: str, form: str
    ) -> None:
        status, body, wait = (rule.args[k] for k in ("status", "body", "retry_after"))
        lines: list[str] = []
        if body is None and status == 429:
            limit = self.provider.rpm or 60
            nanos = round((1.0 if wait is None else wait) * SECOND)
            refusal = Refusal("requests", limit, limit, 1, nanos, False)
            ask = Ask("chat", self.provider.model)
            _, body, lines = self.dialect.limited(refusal, ask, key)
            lines = [] if wait is None else lines
        else:
            if body is None:
                model, kind = self.provider.model, _KINDS.get(status, "server")
                text = model if kind == "not_found" else "scripted failure"
                refused = Refused(kind, text, status=status, form=form)
                _, body = self.dialect.error(refused, key)
            elif isinstance(body, str):
                body = body.encode()
            elif not isinstance(body, bytes):
                body = msgspec.json.encode(body)
            if wait is not None:
                body, lines = self.dialect.with_retry(body, wait)
        self._refuse(conn, seen, status, body, key, lines)

    def _garbage(self, conn: Connection, seen: Seen, how: str) -> None:
        self.provider.errors += 1
        seen.status = 200
        if how == "noise":
            seen.status = 0
            conn.raw(b"\x00" + self._rng.randbytes(255))
        elif how == "html":
            conn.respond(200, (), "text/html", _HTML)
        else:
            conn.respond(200, (), self.dialect.json_type, b"")

    def _refuse(
        self,
        conn: Connection,
        seen: Seen,
        status: int,
        body: bytes,
        key: str,
        lines: list[str] | None = None,
    ) -> None:
        """Answer with an error and count it."""
        if status == 429:
            self.provider.rejected += 1
        elif status >= 500:
            self.provider.errors += 1
        else:
            self.provider.refused += 1
        seen.status = status
        head = self.dialect.headers(key, 0.0) + (lines or [])
        conn.respond(status, head, self.dialect.json_type, body)

    # --- admission -----------------------------------------------------------

    def _admit(self, conn: Connection, ask: Ask, seen: Seen, key: str) -> None:
        usage = Usage()
        if ask.kind in ("models", "health", "count"):
            if ask.kind == "count":
                usage.input = self.dialect.input_tokens(ask)
            turn = Turn(ask, (), usage, key, int(time.time()))
            body = self.dialect.unary(turn) if ask.kind != "health" else b""
            seen.status = 200
            head = self.dialect.headers(key, 0.0)
            conn.respond(200, head, self.dialect.json_type, body)
            return
        usage.input = self.dialect.input_tokens(ask)
        self.dialect.check_context(usage.input)
        self._look_up(ask, usage, seen.time)
        if not self._has_room(conn, ask, seen, key):
            return
        now = time.monotonic_ns()
        rule = self.provider.active("throttle", seen.time)
        args = rule.args if rule is not None else {"rpm": None, "tpm": None}
        self.limiter.throttle(args["rpm"], args["tpm"], now)
        tokens = self.dialect.at_admission(ask, usage, self.provider.charge)
        refusal = self.limiter.admit(tokens, now)
        if refusal is not None:
            self._over(conn, ask, seen, key, refusal)
            return
        self._begin(conn, ask, usage, seen, key, now)

    def _look_up(self, ask: Ask, usage: Usage, now: float) -> None:
        """Ask the prompt cache."""
        if self._cache is None or (self.dialect.marks_cache and not ask.cache_marked):
            return
        found, whole = self._cache.use(ask.prefixes, now)
        usage.cached = min(found, usage.input)
        if self.dialect.marks_cache:
            usage.cache_write = min(whole, usage.input) - usage.cached

    def _has_room(self, conn: Connection, ask: Ask, seen: Seen, key: str) -> bool:
        provider = self.provider
        slots = provider.max_concurrency
        if slots is None or provider.in_flight < slots:
            return True
        if provider.max_queue == 0:
            wait = round(SECOND * max(1.0, provider.ttft))
            refusal = Refusal("concurrency", slots, provider.in_flight, 1, wait, False)
            self._over(conn, ask, seen, key, refusal)
            return False
        if len(self._queue) >= provider.max_queue:
            raise Refused("overloaded")
        return True

    def _over(
        self, conn: Connection, ask: Ask, seen: Seen, key: str, refusal: Refusal
    ) -> None:
        status, body, lines = self.dialect.limited(refusal, ask, key)
        lines = lines + self._limits(time.monotonic_ns())
        self._refuse(conn, seen, status, body, key, lines)

    def _limits(self, now: int) -> list[str]:
        if not self.limiter.buckets:
            return []
        return self.dialect.limit_headers(self.limiter, now, time.time())

    def _begin(
        self, conn: Connection, ask: Ask, usage: Usage, seen: Seen, key: str, now: int
    ) -> None:
        if ask.kind == "chat":
            try:
                replies, cached = self.provider.model_answers(ask, self._number)
            except Refused:
                raise
            except Exception as exc:
                self.provider.mistake = exc
                raise Refused("server", status=500) from exc
            usage.output = sum(reply.tokens for reply in replies)
            usage.reasoning = sum(reply.reasoning_tokens for reply in replies)
            if cached is not None:
                # Vendors that do not count cached tokens give them back.
                before = self.dialect.at_admission(ask, usage, self.provider.charge)
                usage.cached, usage.cache_write = min(cached, usage.input), 0
                after = self.dialect.at_admission(ask, usage, self.provider.charge)
                self.limiter.settle(after - before, 0, now)
        else:
            replies = []
        turn = Turn(ask, replies, usage, key, int(time.time()))
        pace = self._pace(seen.time)
        active = self.provider.active
        cut = active("cut", seen.time, use=True) if ask.stream else None
        garbage = active("garbage", seen.time, use=True) is not None
        answer = Answer(self, conn, seen, turn, self._limits(now), pace, cut, garbage)
        turn.took = answer.took()
        answer.lines += self.dialect.headers(key, turn.took)
        conn.answering = answer
        slots = self.provider.max_concurrency
        if slots is not None and self.provider.in_flight >= slots:
            self._queue.append(answer)
        else:
            self._start(answer)

    def _pace(self, now: float) -> tuple[float, float]:
        """Seconds to the first token and per further token, for one request."""
        provider = self.provider
        ttft, per_token = provider.ttft, provider.per_token
        if provider.jitter and (ttft or per_token):
            ttft *= math.exp(self._rng.gauss(0.0, provider.jitter))
            per_token *= math.exp(self._rng.gauss(0.0, provider.jitter))
        rule = provider.active("slow", now)
        factor = 1.0 if rule is None else rule.args["factor"]
        return ttft * factor, per_token * factor

    # --- the end of an answer ------------------------------------------------

    def _start(self, answer: Answer) -> None:
        provider = self.provider
        provider.in_flight += 1
        provider.peak = max(provider.peak, provider.in_flight)
        answer.started = True
        answer.turn.queued = provider.clock() - answer.seen.time
        answer.start()

    def completed(self, answer: Answer) -> None:
        """The answer is whole."""
        self.provider.served += 1
        answer.seen.status = 200
        self._settle(answer)

    def broken(self, answer: Answer) -> None:
        """The script broke the answer off."""
        self.provider.errors += 1
        answer.seen.status = 200
        self._settle(answer)

    def abandoned(self, answer: Answer) -> None:
        """The client left."""
        self.provider.cancelled += 1
        if answer.started:
            self._settle(answer)

    def _settle(self, answer: Answer) -> None:
        """Charge and bill what was produced, and give the slot to the next one."""
        provider, usage = self.provider, answer.turn.usage
        output = answer.produced
        if provider.charge == "actual" or "output" in self.limiter.buckets:
            more = output if provider.charge == "actual" else 0
            self.limiter.settle(more, output, time.monotonic_ns())
        provider.tokens_in += usage.input
        provider.tokens_out += output
        if provider.price is not None:
            paid_in, paid_out, paid_cached = provider.price
            fresh = usage.input - usage.cached
            provider.billed_pico_usd += (
                fresh * paid_in + usage.cached * paid_cached + output * paid_out
            )
        provider.in_flight -= 1
        slots = provider.max_concurrency
        while self._queue and slots is not None and provider.in_flight < slots:
            waiting = self._queue.popleft()
            if not waiting.gone:
                self._start(waiting)


def _without_key(target: str) -> str:
    """The path with its query, except `key=`."""
    path, mark, query = target.partition("?")
    kept = "&".join(p for p in query.split("&") if not p.startswith("key="))
    return f"{path}{mark}{kept}" if kept else path

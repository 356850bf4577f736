"""The Router: choose a backend for every call, send it, account for it.

chat / generate / embed      one call: Run decides, Transport carries
acquire                      a lease for those who bring their own client
stats / costs / explain      what happened, what it cost, why it was so
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec

from ._config import (
    ABILITIES,
    Backend,
    Breaker,
    Budget,
    Timeouts,
    check_strategy,
    positive,
)
from ._errors import InvalidRequestError
from ._fleet import Fleet, stable_hash
from ._lease import AcquiredLease
from ._price import Price
from ._prices import PriceTable
from ._reports import Report, cost_report, explanation, stats_report
from ._run import Options, Run
from ._stream import ChatStream
from ._transport import Transport
from ._types import Call, ChatReply, EmbeddingReply

if TYPE_CHECKING:
    from ._sync import SyncRouter

Messages = Sequence[Mapping[str, Any] | Any]

_TOOLS, _JSON = 1 << ABILITIES.index("tools"), 1 << ABILITIES.index("json")

# OpenAI's names; what a provider calls otherwise, its dialect translates.
PARAMETERS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"),
        *("min_p", "n", "stop", "seed", "logprobs", "top_logprobs", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
        *("reasoning_effort", "thinking", "verbosity", "modalities", "audio"),
        *("user", "safety_identifier", "metadata", "store", "service_tier"),
        *("prompt_cache_key", "prompt_cache_retention", "prediction"),
        *("web_search_options", "stream_options", "cache_control", "extra_body"),
        *("dimensions", "encoding_format", "input_type", "prompt_cache_options"),
    )
)


class Router:
    """Balances calls over backends.

    ``strategy``: round_robin, weighted, least_busy, latency, cost, p2c, composite or
    predictive. ``v``: USD a second of waiting is worth; with it composite minimises
    price + v * seconds. ``fallbacks``: group -> groups to go on with. ``timeout``:
    seconds for a whole call, ``timeouts``: for the phases of one attempt. ``wait``:
    when all limits are used up, wait within the time-out (False: raise at once).
    ``prices``: the price table; ``unknown_price``: "dearest", "refuse" or a Price for
    backends without one. ``sessions``: conversations to remember (a power of two).
    ``seed`` makes choices repeatable.

    Raises ConfigError when anything is wrong; nothing is sent at construction.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        strategy: str = "composite",
        v: float | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        budgets: Iterable[Budget] = (),
        timeout: float = 600.0,
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        wait: bool = True,
        prices: PriceTable | None = None,
        unknown_price: str | Price = "dearest",
        sessions: int = 4096,
        seed: int | None = None,
    ) -> None:
        positive("timeout", timeout)
        positive("v", v, zero=True)
        self._fleet = Fleet(
            backends,
            strategy=strategy,
            value=v,
            fallbacks=fallbacks,
            budgets=budgets,
            prices=prices,
            unknown_price=unknown_price,
            timeouts=timeouts,
            breaker=breaker,
            sessions=sessions,
            seed=seed,
        )
        self._timeout = float(timeout)
        self._wait = wait
        self._transport = Transport()
        self._sync: SyncRouter | None = None

    # -- calls ---------------------------------------------------------------

    @overload
    async def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        **options: Any,
    ) -> ChatReply: ...
    @overload
    async def chat(
        self, model: str, messages: Messages, *, stream: Literal[True], **options: Any
    ) -> ChatStream: ...
    async def chat(
        self, model: str, messages: Messages, *, stream: bool = False, **options: Any
    ) -> ChatReply | ChatStream:
        """Answer a conversation; with ``stream`` return its chunks as they come.

        ``model``: a group, a model ("openai/gpt-4o") or a backend's name. Options are
        OpenAI's parameters (max_tokens, temperature, tools, ...) and these for the
        choice: ``max_cost`` (USD, with the longest allowed answer), ``max_latency`` (s,
        expected), ``timeout`` (s, the whole call), ``timeouts`` (Timeouts of an
        attempt), ``session`` (str: keep a conversation where its prompt cache is),
        ``tags`` (backends must have all), ``fallbacks`` (group names), ``strategy``,
        ``v``, ``min_quality``, ``priority`` (may use what is kept free for it).

        Raises InvalidRequestError before anything is sent; NoBackendError and its kin
        when nobody can take the call; otherwise the error of the last attempt, with
        all attempts in ``.attempts``.
        """
        run = self._run("chat", model, messages, stream, options)
        if stream:
            return await ChatStream(run, self._transport).start()
        reply: ChatReply = await self._drive(run)
        return reply

    async def generate(self, prompt: str, *, model: str, **options: Any) -> ChatReply:
        """Answer one prompt; options as for ``chat``."""
        return await self.chat(model, as_messages(prompt), **options)

    async def embed(
        self, model: str, input: str | Sequence[str], **options: Any
    ) -> EmbeddingReply:
        """Return the embeddings of one or several texts; options as for ``chat``."""
        run = self._run("embed", model, input, False, options)
        reply: EmbeddingReply = await self._drive(run)
        return reply

    async def _drive(self, run: Run) -> Any:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                await asyncio.sleep(shot)
                continue
            request = shot.request
            try:
                response = await self._transport.send(
                    shot.target.origin,
                    request.method,
                    request.target,
                    request.headers,
                    request.body,
                    shot.timeouts,
                )
            except BaseException:
                run.cancel(shot)
                raise
            reply = run.land(shot, response)
            if reply is not None:
                return reply

    def acquire(
        self, model: str, messages: Messages | str, **options: Any
    ) -> AcquiredLease:
        """Choose and reserve for a call that you send with a client of your own.

        Use as ``with`` (raises when nothing fits now) or ``async with`` (waits within
        the time-out). Options as for ``chat``.
        """
        if isinstance(messages, str):
            messages = as_messages(messages)
        return AcquiredLease(self._run("chat", model, messages, False, options))

    # -- what a call asks for ------------------------------------------------

    def _run(
        self,
        kind: Literal["chat", "embed"],
        model: str,
        content: Any,
        stream: bool,
        options: dict[str, Any],
    ) -> Run:
        routing = Options(
            group=self._fleet.group(model),
            fallbacks=[],
            timeout=self._timeout,
            wait=self._wait,
        )
        if kind == "chat":
            content = checked_messages(content)
        elif not content or not isinstance(content, str | list | tuple):
            raise InvalidRequestError(
                "input", content, "give a text or a list of texts"
            )
        params = self._route(routing, options, model) if options else {}
        call = Call(
            kind=kind,
            model=model,
            messages=content if kind == "chat" else (),
            input=content if kind == "embed" else (),
            params=params,
            stream=stream,
        )
        return Run(self._fleet, call, routing)

    def _route(
        self, routing: Options, options: dict[str, Any], model: str
    ) -> dict[str, Any]:
        """Take the routing options out of ``options``; the rest goes to the model."""
        params: dict[str, Any] = {}
        for name, value in options.items():
            if name in PARAMETERS:
                params[name] = value
                continue
            reader = _ROUTING.get(name)
            if reader is None:
                near = difflib.get_close_matches(name, (*PARAMETERS, *_ROUTING), n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise InvalidRequestError(
                    name, value, f"{hint}put what only one provider knows in extra_body"
                )
            if value is not None:
                reader(self._fleet, routing, value, model)
        limit = params.get("max_tokens") or params.get("max_completion_tokens")
        if limit is not None:
            if not isinstance(limit, int) or limit <= 0:
                raise InvalidRequestError(
                    "max_tokens", limit, "give a whole number > 0"
                )
            routing.max_tokens = limit
        if params.get("tools"):
            routing.needs |= _TOOLS
        return params

    # -- reports -------------------------------------------------------------

    def stats(self) -> Report:
        """Return per backend: requests, success rate, latency, cost, share, breaker."""
        return stats_report(self._fleet)

    def costs(self) -> Report:
        """Return per backend and in total: requests, total, average, percentage."""
        return cost_report(self._fleet)

    def explain(self, model: str, messages: Messages | str, **options: Any) -> Report:
        """Return how every backend stands for a call, without sending it."""
        if isinstance(messages, str):
            messages = as_messages(messages)
        return explanation(self._run("chat", model, messages, False, options))

    # -- operation -----------------------------------------------------------

    def set_weight(self, backend: str, weight: float) -> None:
        """Change a backend's share while running; 0 drains it."""
        positive("weight", weight, zero=True)
        self._fleet.pool.set_weight(self._fleet.index(backend), float(weight))

    def open_breaker(self, backend: str) -> None:
        """Stop calling a backend until ``reset_breaker``."""
        self._fleet.pool.order(self._fleet.index(backend), 1)

    def reset_breaker(self, backend: str) -> None:
        """Let a backend's breaker decide again, beginning closed."""
        self._fleet.pool.order(self._fleet.index(backend), 0)

    @property
    def backends(self) -> list[str]:
        """Names of all backends."""
        return [target.name for target in self._fleet.targets]

    @property
    def sync(self) -> SyncRouter:
        """The same calls for code without an event loop."""
        if self._sync is None:
            from ._sync import SyncRouter

            self._sync = SyncRouter(self)
        return self._sync

    async def aclose(self) -> None:
        """End what is in flight on this loop; the router can be used again."""
        self._transport.close()

    async def __aenter__(self) -> Router:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Router({', '.join(self.backends)})"


def as_messages(prompt: str) -> list[dict[str, Any]]:
    """Return a prompt as a conversation of one message."""
    if not isinstance(prompt, str) or not prompt:
        raise InvalidRequestError("prompt", prompt, "give a text that is not empty")
    return [{"role": "user", "content": prompt}]


def checked_messages(messages: Any) -> list[Any]:
    """Return messages as a list of dicts; replies of earlier turns are welcome."""
    if isinstance(messages, str | bytes | Mapping) or not messages:
        raise InvalidRequestError(
            "messages",
            messages,
            'give a list such as [{"role": "user", "content": ...}]',
        )
    for message in messages:
        if type(message) is not dict:
            break
    else:
        return messages if type(messages) is list else list(messages)
    return [_as_dict(i, message) for i, message in enumerate(messages)]


def _as_dict(index: int, message: Any) -> dict[str, Any]:
    if isinstance(message, Mapping):
        return dict(message)
    if isinstance(message, msgspec.Struct):
        plain: dict[str, Any] = msgspec.to_builtins(message)
        return plain
    dump = getattr(message, "model_dump", None)
    if dump is None:
        raise InvalidRequestError(
            f"messages[{index}]", message, 'give a dict with "role" and "content"'
        )
    return dict(dump(exclude_none=True))


# -- routing options: how each is read into the core's terms ---------------------


def _money(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("max_cost", value, zero=True)
    o.max_cost = round(value * 1e9)


def _latency(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("max_latency", value)
    o.max_latency = float(value)


def _timeout(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("timeout", value)
    o.timeout = float(value)


def _timeouts(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, Timeouts):
        raise InvalidRequestError("timeouts", value, "give Timeouts(...)")
    o.timeouts = value


def _session(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.session = stable_hash(model, str(value))


def _tags(fleet: Fleet, o: Options, value: Any, model: str) -> None:
    names = [value] if isinstance(value, str) else list(value)
    bits, budgets = 0, list(o.budgets or ())
    for name in names:
        budgets += fleet.tag_budgets.get(name, [])
        if name in fleet.tags:
            bits |= fleet.tags[name]
        elif name not in fleet.tag_budgets:
            known = ", ".join((*fleet.tags, *fleet.tag_budgets)) or "none"
            raise InvalidRequestError(
                "tags", name, f"no backend or budget has it: {known}"
            )
    o.tags, o.budgets = bits, tuple(budgets)


def _fallbacks(fleet: Fleet, o: Options, value: Any, model: str) -> None:
    if isinstance(value, str):
        raise InvalidRequestError("fallbacks", value, "give a list of group names")
    o.fallbacks = [fleet.group(name) for name in value]


def _strategy(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.strategy = check_strategy("strategy", value)


def _value(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("v", value, zero=True)
    o.value = float(value)


def _quality(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, int) or not 0 <= value <= 255:
        raise InvalidRequestError("min_quality", value, "give a whole number 0 to 255")
    o.quality = value


def _priority(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.priority = bool(value)


def _waiting(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.wait = bool(value)


def _number(field: str, value: Any, *, zero: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < 9e9 or (value == 0 and not zero):
        raise InvalidRequestError(
            field, value, f"give a number {'>=' if zero else '>'} 0"
        )


_ROUTING = {
    "max_cost": _money,
    "max_latency": _latency,
    "timeout": _timeout,
    "timeouts": _timeouts,
    "session": _session,
    "tags": _tags,
    "fallbacks": _fallbacks,
    "strategy": _strategy,
    "v": _value,
    "min_quality": _quality,
    "priority": _priority,
    "wait": _waiting,
}

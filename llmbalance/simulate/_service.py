"""How providers really behave, for a simulation: speed, limits, caches, bad days.

What is written here is the truth of the simulated world. The router does not see it;
it learns, as in production, from what comes back.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .._checks import one_of, positive, whole_numbers
from .._config import Backend, Limits
from .._errors import ConfigError
from .._price import Price

# Medians and spreads of hosted APIs: first token within half a second, 70 tokens a
# second; of 16 measured provider-model pairs the middle half lies within 0.2-1.2 s and
# 30-110 tokens a second.
_TTFT, _TOKEN = 0.5, 1 / 70
# Providers that keep prompts, and for how many seconds after the last use.
_CACHE_LIFE = {"anthropic": 300.0, "bedrock": 300.0, "openai": 300.0, "azure": 300.0}
# Seconds, calls or tokens: what the core has room for, and more than anybody needs.
MOST = 1_000_000_000
_BOUNDED = (
    *("ttft", "prefill", "token", "token_crowd", "failure_after", "refusal_after"),
    *("slots", "queue", "most_output", "cache_least", "cache_life"),
    *("ttft_spread", "token_spread", "tail_factor"),
)
_TROUBLES = ("fail", "hang", "slow", "refuse")


def of_kind(field: str, value: object, kind: type) -> None:
    """Refuse what is not of a class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ConfigError(field, value, f"give {article} {kind.__name__}")


def share_of(field: str, value: float) -> None:
    """Refuse what is no share, 0 to 1."""
    positive(field, value, zero=True)
    if value > 1:
        raise ConfigError(field, value, "give a share, 0 to 1")


class Service(Struct, frozen=True, kw_only=True):
    """The service model of one backend; times in seconds.

    ``ttft``: median time to first token without load, ``ttft_spread`` the sigma of its
    logarithm; ``tail_share`` of the calls takes ``tail_factor`` times as long.
    ``prefill``: more per 1,000 uncached input tokens; with ``serial`` prompts are read
    one after the other. ``token``: per output token, ``token_crowd`` more for each call
    in service, ``token_spread`` the sigma of a call's own pace. ``slots``: calls in
    service at once (None: no bound); ``queue``: calls that may wait for a slot (None:
    no bound), beyond that 429. ``exponential``: draws are exponential, with ``ttft``
    and ``token`` as means. ``failure_rate``: share answered 5xx after
    ``failure_after``. Refusals (429) come after ``refusal_after``.

    ``limits``: what the provider really allows; "configured": what the Backend says;
    None: everything. ``headers``, ``retry_after``: whether answers tell limits, and
    refusals when to come back. ``most_output``: what a "max" limit charges without
    max_tokens. ``cache_life``: how long prompts are kept (None: the provider's habit,
    0: never), ``cache_least`` tokens or more.
    """

    ttft: float = _TTFT
    ttft_spread: float = 0.3
    tail_share: float = 0.0
    tail_factor: float = 1.0
    prefill: float = 0.02
    serial: bool = False
    token: float = _TOKEN
    token_crowd: float = 0.0
    token_spread: float = 0.15
    slots: int | None = None
    queue: int | None = None
    exponential: bool = False
    failure_rate: float = 0.0
    failure_after: float = 0.1
    refusal_after: float = 0.05
    limits: Limits | str | None = "configured"
    headers: bool = True
    retry_after: bool = True
    most_output: int = 4096
    cache_life: float | None = None
    cache_least: int = 1024

    def __post_init__(self) -> None:
        for name in (
            *("ttft", "ttft_spread", "tail_factor", "prefill", "token", "token_crowd"),
            *("token_spread", "failure_after", "refusal_after", "cache_life"),
            *("most_output", "cache_least", "queue"),
        ):
            positive(name, getattr(self, name), zero=True)
        positive("slots", self.slots)
        for name in ("tail_share", "failure_rate"):
            share_of(name, getattr(self, name))
        for name in ("slots", "queue", "most_output", "cache_least"):
            whole_numbers(**{name: getattr(self, name)})
        for name in _BOUNDED:
            if (getattr(self, name) or 0) > MOST:
                told = f"give at most {MOST:.0e}"
                raise ConfigError(name, getattr(self, name), told)
        if not isinstance(self.limits, Limits | None) and self.limits != "configured":
            raise ConfigError("limits", self.limits, 'Limits, None or "configured"')

    def core(self, backend: Backend) -> dict[str, Any]:
        """Return the fields as the core's Simulation.service() takes them."""
        life = self.cache_life
        if life is None:
            life = backend.cache_life
        if life is None:
            life = _CACHE_LIFE.get(backend.provider, 0.0)
        return {
            "ttft": self.ttft,
            "ttft_spread": self.ttft_spread,
            "tail_share": self.tail_share,
            "tail_factor": self.tail_factor,
            "prefill": self.prefill / 1000,
            "token": self.token,
            "token_crowd": self.token_crowd,
            "token_spread": self.token_spread,
            "failure": self.failure_rate,
            "failure_after": self.failure_after,
            "refusal_after": self.refusal_after,
            "slots": self.slots or 0,
            "queue": -1 if self.queue is None else self.queue,
            "most_output": self.most_output,
            "cache_least": self.cache_least,
            "cache_life": life,
            "exponential": self.exponential,
            "serial": self.serial,
            "headers": self.headers,
            "retry_after": self.retry_after,
        }


class Trouble(Struct, frozen=True):
    """A bad spell of one backend: from ``start`` for ``seconds``.

    ``kind``: "fail" (5xx), "hang" (no answer ever), "slow" (everything takes ``factor``
    times as long) or "refuse" (429 with Retry-After ``factor`` seconds). ``share`` of
    the calls sent meanwhile are hit.
    """

    backend: str
    start: float
    seconds: float
    kind: str = "fail"
    share: float = 1.0
    factor: float = 5.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, _TROUBLES)
        positive("start", self.start, zero=True)
        positive("seconds", self.seconds)
        positive("factor", self.factor, zero=True)
        if self.factor > MOST:
            raise ConfigError("factor", self.factor, f"give at most {MOST:.0e}")
        share_of("share", self.share)
        positive("share", self.share)


class PriceChange(Struct, frozen=True):
    """From ``at`` seconds on ``backend`` costs ``price``; the router is told."""

    backend: str
    at: float
    price: Price

    def __post_init__(self) -> None:
        positive("at", self.at, zero=True)
        of_kind("price", self.price, Price)

"""What the user writes down: backends, their limits, budgets, time-outs, breakers.

All are frozen values that check themselves: a wrong one raises ConfigError naming the
field, the value and the remedy, before anything is started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct, structs

from ._checks import MOST_SECONDS, MOST_USD, one_of, positive, seconds_of, within_one
from ._core import CHARGES
from ._errors import ConfigError
from ._fields import check_fields
from ._fleet._wildcards import STAR, check_pattern
from ._price import Price


class Limit(Struct, frozen=True):
    """One rate limit: ``amount`` of ``what`` per ``per``, ``burst`` of it at once.

    ``what``: requests, tokens, input_tokens or output_tokens; ``per``: seconds or
    "minute", "10s", ...; ``burst`` None: the whole amount. One unit comes back within
    30 days, the burst within 30 years.
    """

    what: str
    amount: int
    per: float | str = "minute"
    burst: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("what", self.what, WHAT)
        positive("amount", self.amount)
        positive("burst", self.burst)
        unit = seconds_of("per", self.per) / self.amount
        if unit > 30 * _DAY:
            raise ConfigError("per", self.per, "at most 30 days for each of `amount`")
        if (self.burst or self.amount) * unit > 30 * 365 * _DAY:
            remedy = "more than comes back within 30 years: give less"
            raise ConfigError("burst", self.burst or self.amount, remedy)


_DAY = 86400.0
_MOST_COUNT = 2**31 - 1  # tokens of a call, calls in flight
_MOST_WEIGHT = 1e6
_SHORTEST, _LONGEST = 1e-6, 3650 * _DAY  # times of a breaker
WHAT = ("requests", "tokens", "input_tokens", "output_tokens")
_SHORT = {
    "rps": ("requests", "second"),
    "rpm": ("requests", "minute"),
    "rph": ("requests", "hour"),
    "rpd": ("requests", "day"),
    "tpm": ("tokens", "minute"),
    "tph": ("tokens", "hour"),
    "tpd": ("tokens", "day"),
    "itpm": ("input_tokens", "minute"),
    "otpm": ("output_tokens", "minute"),
}


class Limits(Struct, frozen=True, kw_only=True):
    """The rate limits of one account, as its provider states them.

    rps, rpm, rph, rpd: requests; tpm, tph, tpd: tokens in and out; itpm, otpm: tokens
    in, tokens out; all > 0. ``concurrency``: calls in flight. ``more``: any other
    Limit, at most 8 in all. ``burst_seconds``: how many seconds' worth of a limit may
    go at once (default: the whole window; Azure checks requests over 1 to 10 s).
    ``charge``: how the provider counts tokens at admission: "actual", "chars4" or
    "max" (default: the provider's habit). ``shared``: backends that name the same
    word are under the same limits (two keys of one organisation).
    """

    rps: int | None = None
    rpm: int | None = None
    rph: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    tph: int | None = None
    tpd: int | None = None
    itpm: int | None = None
    otpm: int | None = None
    concurrency: int | None = None
    more: tuple[Limit, ...] = ()
    burst_seconds: float | None = None
    charge: str | None = None
    shared: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in (*_SHORT, "burst_seconds"):
            positive(name, getattr(self, name))
        positive("concurrency", self.concurrency, most=_MOST_COUNT)
        if self.charge is not None:
            one_of("charge", self.charge, CHARGES)
        if len(self.all()) > 8:
            raise ConfigError("limits", len(self.all()), "at most 8 for one backend")

    def all(self) -> list[Limit]:
        """Return every rate limit in its long form."""
        return [
            Limit(what, amount, per, self._burst(amount, per))
            for name, (what, per) in _SHORT.items()
            if (amount := getattr(self, name)) is not None
        ] + list(self.more)

    def _burst(self, amount: int, per: str) -> int | None:
        seconds = seconds_of("per", per)
        if self.burst_seconds is None or self.burst_seconds >= seconds:
            return None
        return max(1, int(amount * self.burst_seconds / seconds))


class Timeouts(Struct, frozen=True, kw_only=True):
    """Time-outs of one attempt, in seconds; None means none.

    ``connect``: name, connection, handshake; ``first_byte``: until the status line;
    ``first_token``: until the first content of a stream; ``idle``: between bytes;
    ``total``: the whole attempt. While another backend could take over, an attempt
    moreover gets at most half of what is left of the call's own time-out, up to three
    quarters where it is expected to take so long.
    """

    connect: float | None = 5.0
    first_byte: float | None = None
    first_token: float | None = None
    idle: float | None = 120.0
    total: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.__struct_fields__:
            positive(name, getattr(self, name), most=MOST_SECONDS)


class Breaker(Struct, frozen=True, kw_only=True):
    """When to stop calling a backend that fails, and how to come back.

    It opens after ``in_a_row`` failures in a row (``timeouts_in_a_row``, if above 0,
    when the last of them timed out), or when ``failure_rate`` of at least ``min_calls``
    calls within ``window`` seconds failed, or ``slow_rate`` of at least twice as many
    were far too slow. Open for ``cooldown`` seconds, doubling to
    ``cooldown_max``; then ``probe_share`` of the calls are let through until ``probes``
    of them succeeded; then its share grows from a tenth to all within ``ramp`` seconds.
    """

    in_a_row: int = 5
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    probe_share: float = 0.1
    probes: int = 3
    window: float = 30.0
    cooldown: float = 5.0
    cooldown_max: float = 60.0
    ramp: float = 30.0
    timeouts_in_a_row: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        positive("in_a_row", self.in_a_row, zero=True, most=_MOST_COUNT)
        late = self.timeouts_in_a_row
        positive("timeouts_in_a_row", late, zero=True, most=2**15 - 1)
        positive("min_calls", self.min_calls, most=_MOST_COUNT // 2)
        positive("probes", self.probes, most=255)
        for name in ("window", "cooldown", "cooldown_max", "ramp"):
            positive(name, getattr(self, name), most=_LONGEST)
        for name in ("window", "cooldown"):
            if getattr(self, name) < _SHORTEST:
                remedy = f"give at least {_SHORTEST:g} s"
                raise ConfigError(name, getattr(self, name), remedy)
        for name in ("failure_rate", "slow_rate", "probe_share"):
            within_one(name, getattr(self, name))
        if self.cooldown_max < self.cooldown:
            raise ConfigError("cooldown_max", self.cooldown_max, "at least `cooldown`")

    def rules(self) -> tuple[float, ...]:
        """Return the figures in the order the core takes them."""
        return tuple(getattr(self, name) for name in self.__struct_fields__)


class _Model(Struct, frozen=True):
    model: str


class Backend(_Model, frozen=True, kw_only=True):
    """One place that answers: a model at a provider under one account.

    ``model``: "provider/model", e.g. "openai/gpt-4o"; with a * ("openai/*") it stands
    for all models that no other backend names, see docs/routing.md. ``name``: how it is
    called here (default: the model), unique. ``groups``: the logical models it serves;
    it can always be asked for under its name and its model too. ``tuned``: what was
    tuned from this model, {"support": "ft:gpt-4o:acme::x1"}, for calls with
    tuned="support". ``api_key``: "env:NAME", the
    key, or a function that returns it (default: the provider's usual variable).
    ``base_url``: where (default: the provider's address). ``weight``: relative share,
    1e-6 to 1e6; 0 takes no calls. ``min_share`` 0..1: of a group's calls that it could
    take it gets at least so many, whatever the strategy; together at most 1.
    ``order``: lower ones are used up first (prepaid capacity).
    ``quality`` 0..255: higher is better. ``price``: overrides the price table.
    ``context``, ``max_output``: tokens, override the table. ``can``: the abilities it
    has (default: the table's, else all of ABILITIES). ``tags``: labels calls may ask
    for. ``params``: parameters of calls that do not give them themselves (temperature,
    ...). ``options``: settings of the dialect (api_version, region, ...). ``dialect``:
    a Dialect subclass for a provider of your own. ``proxy``, ``verify``: see Origin.
    ``postprocess``: what is done to the text of complete answers, in order: "trim",
    "strip_fences" (a code fence around all of it) or functions of the text; one that
    raises ServerError(kind="malformed") has another backend tried. In streams only when
    a call asks for it with postprocess=True; a function then needs a method ``stream``.
    """

    name: str = ""
    groups: tuple[str, ...] | list[str] = ()
    tuned: Mapping[str, str] = {}
    api_key: str | Callable[[], str] | None = None
    base_url: str | None = None
    limits: Limits | None = None
    price: Price | None = None
    weight: float = 1.0
    min_share: float = 0.0
    order: int = 0
    quality: int = 0
    context: int | None = None
    max_output: int | None = None
    can: tuple[str, ...] | list[str] | None = None
    tags: tuple[str, ...] | list[str] = ()
    service_tier: str | None = None
    region: str | None = None
    timeouts: Timeouts | None = None
    breaker: Breaker | None = None
    cache_life: float | None = None
    params: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    dialect: Any = None
    proxy: str | None = None
    verify: bool | str = True
    http_version: str = "auto"
    unix_socket: str | None = None
    postprocess: tuple[str | Callable[[str], str], ...] | list[Any] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        provider, slash, model = self.model.partition("/")
        if not (provider and slash and model):
            raise ConfigError(
                "model", self.model, 'write "provider/model", e.g. "openai/gpt-4o"'
            )
        check_weight(self.weight)
        within_one("min_share", self.min_share, zero=True)
        positive("context", self.context, most=_MOST_COUNT)
        positive("max_output", self.max_output, most=_MOST_COUNT)
        positive("cache_life", self.cache_life, zero=True, most=_LONGEST)
        one_of("http_version", self.http_version, _HTTP_VERSIONS)
        for name in ("order", "quality"):
            value = getattr(self, name)
            if not 0 <= value <= 255:
                raise ConfigError(name, value, "give a whole number 0 to 255")
        for ability in self.can or ():
            one_of("can", ability, ABILITIES)
        if self.tuned or any(STAR in name for name in (self.model, *self.groups)):
            _check_kin(self)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for many models: no call goes to it itself."""
        return STAR in self.model

    @property
    def provider(self) -> str:
        """The part of ``model`` before the first slash."""
        return self.model.partition("/")[0]

    @property
    def label(self) -> str:
        """The name it goes by: ``name``, or the model."""
        return self.name or self.model

    def key(self, variables: Iterable[str], needed: bool) -> Any:
        """Return the key itself; ConfigError says which variable to set."""
        if callable(self.api_key):
            return self.api_key
        if self.api_key is not None and self.api_key.startswith("env:"):
            variables, needed = (self.api_key[4:],), True
        elif self.api_key is not None:
            return self.api_key
        names = tuple(variables)
        for name in names:
            if os.environ.get(name):
                return os.environ[name]
        if needed and names:
            raise ConfigError(
                "api_key",
                None,
                f"backend {self.label!r}: set the environment variable {names[0]}, "
                'or pass api_key="env:NAME" or the key itself',
                backend=self.label,
            )
        return None

    def __repr__(self) -> str:
        shown = [repr(self.model)]
        for field in structs.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name == "api_key" and value is not None:
                named = isinstance(value, str) and value.startswith("env:")
                shown.append(f"api_key={value!r}" if named else "api_key=(hidden)")
            elif field.name == "proxy" and value:
                shown.append("proxy=(hidden)")
            elif field.name == "options" and value:
                shown.append(f"options=({', '.join(value)})")
            elif value and value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"Backend({', '.join(shown)})"


def check_weight(weight: float) -> None:
    """Refuse what is no weight: 0, or a millionth to a million."""
    positive("weight", weight, zero=True, most=_MOST_WEIGHT)
    if 0 < weight < 1 / _MOST_WEIGHT:
        raise ConfigError("weight", weight, "give at least 1e-6, or 0 for no calls")


def _check_kin(backend: Backend) -> None:
    """Refuse names with stars, and tuned endpoints, that say not what they mean."""
    stars = backend.model.count(STAR)
    if STAR in backend.provider:
        raise ConfigError("model", backend.model, 'name the provider: "openai/*"')
    check_pattern("model", backend.model)
    for name in backend.groups:
        check_pattern("groups", name)
        if stars and name.count(STAR) != stars:
            remedy = f"give as many * as {backend.model!r} has; or is it no wildcard?"
            raise ConfigError("groups", name, remedy)
    for variant, model in backend.tuned.items():
        if stars or not variant or not model or STAR in model:
            remedy = "name the variant, the model, and no wildcard"
            raise ConfigError("tuned", {variant: model}, remedy)


_HTTP_VERSIONS = ("auto", "1.1", "2")
# What a call may need of a backend; the bit of each is its place in this list.
ABILITIES = ("tools", "vision", "json", "audio", "files", "reasoning", "embeddings")


class Budget(Struct, frozen=True, kw_only=True):
    """Money that may be spent in a window.

    ``usd`` >= 0 per ``per`` ("hour", "day", "week", "month", seconds, or "total"), in
    calendar windows of ``timezone``, or with ``rolling`` over the last ``per``.
    It holds for the calls of one ``backend``, ``group``, ``tag``, ``task`` or
    ``user``; without any of these for every call. ``hard`` budgets refuse calls, soft
    ones only tell; of both ``on_alert(budget, share)`` is called once a window as
    spending passes each share in ``alert_at``, beside a warning in the log.
    """

    usd: float
    per: float | str = "day"
    rolling: bool = False
    backend: str | None = None
    group: str | None = None
    tag: str | None = None
    task: str | None = None
    user: str | None = None
    hard: bool = True
    timezone: str = "UTC"
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    on_alert: Callable[[Budget, float], None] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        positive("usd", self.usd, zero=True, most=MOST_USD)
        if self.per != "total":
            seconds_of("per", self.per)
        scopes = [name for name in SCOPES if getattr(self, name) is not None]
        if len(scopes) > 1:
            raise ConfigError(
                scopes[1],
                getattr(self, scopes[1]),
                f"{scopes[0]} is given already: use one of {', '.join(SCOPES)}",
            )
        for share in self.alert_at:
            if not 0 < share <= 1000:
                raise ConfigError("alert_at", share, "give shares such as 0.8")

    @property
    def scope(self) -> tuple[str, str] | None:
        """What it holds for, e.g. ("group", "frontier"); None: every call."""
        for name in SCOPES:
            if (value := getattr(self, name)) is not None:
                return name, value
        return None

    @property
    def seconds(self) -> float:
        """The length of a window in seconds; infinite for "total"."""
        return math.inf if self.per == "total" else seconds_of("per", self.per)

    @property
    def label(self) -> str:
        """A name to read, such as "budget per day of group 'frontier'"."""
        scope = f" of {self.scope[0]} {self.scope[1]!r}" if self.scope else ""
        every = self.per if isinstance(self.per, str) else f"{self.per:g} s"
        return ("budget in " if every == "total" else "budget per ") + every + scope


# What a budget can hold for.
SCOPES = ("backend", "group", "tag", "task", "user")

"""From what the user wrote down to what the core works on.

    Backend, Budget, fallbacks  --Fleet-->  Pool (indices)  +  Target (how to call)

The pool knows numbers only. A Fleet gives every name its number once, at
construction, and checks everything that can be checked before the first call.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._alerts import Meter
from ._config import (
    ABILITIES,
    Backend,
    Breaker,
    Budget,
    Timeouts,
    check_strategy,
    one_of,
    seconds_of,
)
from ._core import CHARGES, UNITS, Origin, Pool, PriceRow
from ._errors import ConfigError, UnknownModelError
from ._events import Events
from ._groups import Group, add_aliases, all_fallbacks, by_name, terms_of
from ._hash import stable_hash
from ._line import Lines
from ._price import Price
from ._prices import ModelInfo, PriceTable
from ._retries import Retries
from ._shape import Step, read_steps
from ._tokens import family_of
from ._transport import environment_settings
from ._windows import window
from .providers import PROVIDERS, dialect
from .providers._base import Dialect

if TYPE_CHECKING:
    from ._books import Books

_log = logging.getLogger("llmbalance")

# How providers charge a token limit when a request arrives.
_CHARGE = {"openai": "chars4", "azure": "max", "bedrock": "max"}
# How long providers keep a prompt cache after its last use, in seconds.
_CACHE_LIFE = {"anthropic": 300.0, "bedrock": 300.0, "openai": 300.0, "azure": 300.0}
_LIMITS = 8  # of one backend, those it learns from headers included
_SPARE = 16  # backends that may join while the router runs


# The remedy for a price that is not known.
_SAY = "give the backend price=Price(input, output) in USD per million tokens"


class Target:
    """One backend, ready to be called."""

    __slots__ = (
        "backend",
        "dialect",
        "index",
        "name",
        "origin",
        "rows",
        "steps",
        "timeouts",
    )

    def __init__(
        self, backend: Backend, index: int, steps: tuple[Step, ...] = ()
    ) -> None:
        self.backend = backend
        self.index = index
        self.name = backend.label
        self.dialect = make_dialect(backend)
        self.timeouts = backend.timeouts
        self.steps = read_steps(backend.postprocess) + steps
        self.rows: dict[str, PriceRow] = {}  # price rows of other service tiers
        self.origin = _origin(self.dialect, backend)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.origin!r})"


def _dearest(known: list[PriceRow]) -> PriceRow:
    if not known:
        raise ConfigError("price", None, f"unknown for all backends; {_SAY}")
    return max(known, key=lambda row: row.cost(input=1000, output=1000) or 0)


def make_dialect(backend: Backend) -> Dialect:
    """Bind a backend's dialect to its model, address and key."""
    if backend.dialect is not None:
        if not (
            isinstance(backend.dialect, type) and issubclass(backend.dialect, Dialect)
        ):
            raise ConfigError("dialect", backend.dialect, "give a subclass of Dialect")
        cls = backend.dialect
    else:
        one_of("provider", backend.provider, PROVIDERS)
        cls = dialect(backend.provider)
    return cls(
        model=backend.model.partition("/")[2],
        base_url=backend.base_url,
        api_key=backend.key(cls.key_env, cls.needs_key),
        options=backend.options,
    )


def _origin(dialect: Dialect, backend: Backend) -> Origin:
    """The pooled connections to a backend; its settings win over the environment."""
    settings: dict[str, Any] = dict(
        environment_settings(dialect.origin_url, os.environ)
    )
    if backend.proxy is not None:
        settings["proxy"] = backend.proxy
    signing = dialect.sigv4()
    if signing is not None:
        settings["sigv4"], settings["sigv4_key"] = signing
    try:
        return Origin(
            dialect.origin_url,
            headers=dialect.headers(),
            http_version=backend.http_version,
            verify=backend.verify,
            unix_socket=backend.unix_socket,
            **settings,
        )
    except ValueError as error:
        raise ConfigError("backend", backend.label, str(error)) from None


class Spare:
    """Places of the pool that are left for what joins while the router runs."""

    __slots__ = ("backends", "groups", "members")

    def __init__(self, backends: int, groups: int, members: int) -> None:
        self.backends = backends
        self.groups = groups
        self.members = members


def _context(info: ModelInfo | None) -> int:
    """The longest prompt in tokens; of embeddings it limits each text, not the call."""
    if info is None or info.kind == "embedding":
        return 0
    return info.context or 0


class Fleet:
    """All backends of one router: names, numbers, the pool."""

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        strategy: str = "composite",
        value: float | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        groups: Iterable[Group] = (),
        aliases: Mapping[str, str] | None = None,
        budgets: Iterable[Budget] = (),
        prices: PriceTable | None = None,
        unknown_price: str | Price = "dearest",
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        postprocess: Sequence[str | Step] = (),
        sessions: int = 4096,
        seed: int | None = None,
    ) -> None:
        self.backends = list(backends)
        self.budgets = list(budgets)
        self.prices = prices or PriceTable()
        self.timeouts = timeouts or Timeouts()
        self.breaker = breaker or Breaker()
        self.strategy = check_strategy("strategy", strategy)
        self.value = value
        self._check_names()
        self.tags = self._number_tags()
        self._settings = by_name(groups)
        members = self._members()
        self._check_shares(members)
        self.groups = {name: i for i, name in enumerate(members)}
        self.group_terms = terms_of(self._settings, self.groups)
        self.group_names = list(members)
        self.pool = self._make_pool(members, sessions, seed)
        self._infos = [
            self.prices.lookup(b.provider, b.model.partition("/")[2])
            for b in self.backends
        ]
        self._prices = [
            b.price or (info.price if info else None)
            for b, info in zip(self.backends, self._infos, strict=True)
        ]
        steps = read_steps(postprocess)
        self.targets = [Target(b, i, steps) for i, b in enumerate(self.backends)]
        self._rows = self._price_rows(unknown_price)
        for target, row in zip(self.targets, self._rows, strict=True):
            self.add(target, row)
        self._shared: dict[str, list[int]] = {}  # limits by the word they share
        self.add_limits()
        for name, indices in members.items():
            self.pool.add_group(indices, *self.rule(name))
        # Budgets that a call chooses by what it carries: ("tag", "batch") -> indices.
        self.call_budgets: dict[tuple[str, str], list[int]] = {}
        self.meters = [self._add_budget(b) for b in self.budgets]
        self.books: Books | None = None
        self.events = Events()
        self.retries: Retries | None = Retries()
        self.lines = Lines()
        self.fallbacks = self._check_fallbacks(
            all_fallbacks(self._settings, fallbacks or {})
        )
        add_aliases(self.groups, aliases or {})
        self.due = 0.0  # monotonic time of the next change of prices or windows
        self.refresh()

    # -- names ---------------------------------------------------------------

    def _check_names(self) -> None:
        if not self.backends:
            raise ConfigError("backends", [], "give at least one Backend")
        seen: set[str] = set()
        for backend in self.backends:
            if not isinstance(backend, Backend):
                raise ConfigError("backends", backend, "give Backend objects")
            if backend.label in seen:
                raise ConfigError(
                    "name",
                    backend.label,
                    "two backends have this name; give each its own name=...",
                )
            seen.add(backend.label)

    def _number_tags(self) -> dict[str, int]:
        names = sorted({tag for b in self.backends for tag in b.tags})
        if len(names) > 64:
            raise ConfigError("tags", len(names), "at most 64 different tags")
        return {name: 1 << i for i, name in enumerate(names)}

    def _members(self) -> dict[str, list[int]]:
        """Return every name that can be asked for, with the backends behind it."""
        members: dict[str, list[int]] = {}
        for i, backend in enumerate(self.backends):
            for name in dict.fromkeys((*backend.groups, backend.model, backend.label)):
                members.setdefault(name, []).append(i)
        for group in self._settings.values():
            if group.min_quality and group.name in members:
                members[group.name] = good = [
                    i
                    for i in members[group.name]
                    if self.backends[i].quality >= group.min_quality
                ]
                if not good:
                    remedy = f"no backend of group {group.name!r} is as good"
                    raise ConfigError("min_quality", group.min_quality, remedy)
        return members

    def rule(self, name: str) -> tuple[int, float]:
        """Return strategy and v of a group as the pool takes them."""
        group = self._settings.get(name)
        value = self.value if group is None or group.v is None else group.v
        strategy = self.strategy
        if group is not None and group.strategy is not None:
            strategy = check_strategy("strategy", group.strategy)
        return strategy, -1.0 if value is None else float(value)

    def group(self, name: str) -> int:
        """Return the number of a group, model or backend name."""
        index = self.groups.get(name)
        if index is None:
            known = ", ".join(sorted(self.groups))
            raise UnknownModelError(
                f"model = {name!r}: no group, model or backend has this name; "
                f"known are {known}"
            )
        return index

    def index(self, name: str) -> int:
        """Return the number of a backend; ConfigError names the known ones."""
        names = [backend.label for backend in self.backends]
        one_of("backend", name, names)
        return names.index(name)

    def _check_fallbacks(
        self, fallbacks: Mapping[str, Sequence[str]]
    ) -> dict[int, list[int]]:
        result: dict[int, list[int]] = {}
        for name, others in fallbacks.items():
            if isinstance(others, str):
                raise ConfigError("fallbacks", others, f'write {{"{name}": [...]}}')
            for each in (name, *others):
                one_of("fallbacks", each, self.groups)
            result[self.groups[name]] = [self.groups[other] for other in others]
        return result

    # -- pool ----------------------------------------------------------------

    def _make_pool(
        self, members: Mapping[str, Sequence[int]], sessions: int, seed: int | None
    ) -> Pool:
        if sessions & (sessions - 1):
            raise ConfigError("sessions", sessions, "give a power of two, or 0")
        count, listed = len(self.backends), sum(map(len, members.values()))
        self.spare = Spare(_SPARE, 4 * _SPARE, listed + 8 * _SPARE)
        return Pool(
            backends=count + self.spare.backends,
            limits=min(_LIMITS * (count + self.spare.backends), 65535),
            budgets=len(self.budgets),
            groups=len(members) + self.spare.groups,
            members=listed + self.spare.members,
            sessions=sessions,
            seed=time.monotonic_ns() if seed is None else seed,
        )

    def _price_rows(self, unknown: str | Price) -> list[PriceRow]:
        """Return a row for every backend; what is unknown follows the setting."""
        now = time.time()
        rows = [self._row(i, now) for i in range(len(self.backends))]
        missing = [
            b.label for b, row in zip(self.backends, rows, strict=True) if not row
        ]
        self.unpriced = frozenset(missing)
        if not missing:
            return [row for row in rows if row]
        if unknown == "refuse":
            raise ConfigError(
                "price", None, f"unknown for {', '.join(missing)}; {_SAY}"
            )
        if isinstance(unknown, Price):
            stand_in, how = unknown.row(at=now), "at unknown_price"
        elif "/" in unknown and (info := self.prices.find(unknown)) is not None:
            stand_in, how = info.price.row(at=now), f"like {unknown}"
        else:
            one_of("unknown_price", unknown, ("refuse", "dearest"))
            stand_in, how = _dearest([row for row in rows if row]), "as the dearest"
        _log.warning("price unknown for %s: counted %s", ", ".join(missing), how)
        return [row or stand_in for row in rows]

    def _row(self, index: int, at: float, tier: str | None = None) -> PriceRow | None:
        backend, price = self.backends[index], self._prices[index]
        if price is None:
            return None
        return price.row(
            service_tier=tier or backend.service_tier, region=backend.region, at=at
        )

    def row(self, target: Target, tier: str | None = None) -> PriceRow:
        """Return a backend's price row of now; ``tier``: of another service tier."""
        if tier is None:
            return self._rows[target.index]
        row = target.rows.get(tier)
        if row is None:
            row = self._row(target.index, time.time(), tier)
            row = target.rows[tier] = row or self._rows[target.index]
        return row

    def set_price(self, index: int, price: Price) -> None:
        """Change a backend's price from the next call on."""
        self._prices[index] = price
        self.unpriced -= {self.targets[index].name}
        self._put_price(index, time.time())
        self.due = 0.0  # the new price may have another calendar

    def _put_price(self, index: int, wall: float) -> None:
        row = self._row(index, wall)
        assert row is not None
        self._rows[index] = row
        self.targets[index].rows.clear()
        self.pool.set_price(index, row)

    def _check_shares(self, members: Mapping[str, list[int]]) -> None:
        for name, indices in members.items():
            total = sum(self.backends[i].min_share for i in indices)
            if total > 1 + 1e-9:
                remedy = f"let those in {name!r} add up to at most 1"
                raise ConfigError("min_share", total, remedy)

    def add(self, target: Target, row: PriceRow) -> None:
        """Put a backend into the pool, as the next one."""
        self.pool.add_backend(row, **self.terms(target))

    def terms(self, target: Target) -> dict[str, Any]:
        """Return what the pool is to know of a backend, beside its price."""
        backend, info = target.backend, self._infos[target.index]
        abilities = backend.can
        if abilities is None and info is not None and info.source != "set":
            no = {"tools": not info.tools, "vision": not info.vision}
            abilities = [a for a in ABILITIES if not no.get(a, False)]
        elif abilities is None:
            abilities = ABILITIES
        life = backend.cache_life
        if life is None:
            life = _CACHE_LIFE.get(backend.provider, 0.0)
        limits = backend.limits
        return {
            "id": stable_hash(backend.label),
            "tags": sum(self.tags[tag] for tag in set(backend.tags)),
            "can": sum(1 << ABILITIES.index(a) for a in set(abilities)),
            "context": backend.context or _context(info),
            "max_output": backend.max_output or (info and info.max_output) or 0,
            "max_calls": (limits and limits.concurrency) or 0,
            "weight": float(backend.weight),
            "min_share": float(backend.min_share),
            "order": backend.order,
            "quality": backend.quality,
            "family": family_of(backend.model),
            "cache_life": life,
            "breaker": (backend.breaker or self.breaker).rules(),
        }

    def add_limits(self, first: int = 0) -> None:
        """Give the backends from number ``first`` on their rate limits."""
        shared = self._shared
        for i, backend in enumerate(self.backends[first:], first):
            limits = backend.limits
            if limits is None:
                continue
            if limits.shared is not None and limits.shared in shared:
                for index in shared[limits.shared]:
                    self.pool.share_limit(i, index)
                continue
            charge = limits.charge or _CHARGE.get(backend.provider, "actual")
            made = [
                self.pool.add_limit(
                    i,
                    UNITS.index(limit.what),
                    CHARGES.index(charge),
                    limit.amount,
                    seconds_of("per", limit.per),
                    limit.burst or 0,
                )
                for limit in limits.all()
            ]
            if limits.shared is not None:
                shared[limits.shared] = made

    # -- budgets and the calendar --------------------------------------------

    def _add_budget(self, budget: Budget) -> Meter:
        cap = round(budget.usd * 1e9)
        if budget.per == "total":
            index = self.pool.add_budget(0, cap, budget.hard)
        else:
            _, ends_in, period = window(budget, time.time())
            kind = 2 if budget.rolling else 1
            index = self.pool.add_budget(kind, cap, budget.hard, period, ends_in)
        scope, name = budget.scope or ("all", "")
        try:
            if scope == "backend":
                self.pool.charge(scope, self.index(name), index)
            elif scope == "group":
                one_of("group", name, self.groups)
                self.pool.charge(scope, self.groups[name], index)
            elif scope == "all":
                self.pool.charge(scope, 0, index)
            else:
                self.call_budgets.setdefault((scope, name), []).append(index)
        except OverflowError:
            raise ConfigError(
                "budgets", budget.label, "at most 4 budgets for the same thing"
            ) from None
        return Meter(budget, index)

    def refresh(self) -> None:
        """Bring prices and calendar windows up to date; called when `due` has come."""
        wall = time.time()
        changes = [wall + 3600.0]
        for i, price in enumerate(self._prices):
            if price is None or not price.deals:
                continue
            self._put_price(i, wall)
            changes.append(price.next_change(wall) or changes[0])
        for meter in self.meters:
            if meter.budget.per != "total" and not meter.budget.rolling:
                changes.append(meter.turn(self.pool, wall))
        if self.books is not None:
            self.books.save()
        self.due = time.monotonic() + max(min(changes) - wall, 0.0) + 0.001

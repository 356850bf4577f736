"""From what the user wrote down to what the core works on.

    Backend, Budget, fallbacks  --Fleet-->  Pool (indices)  +  Target (how to call)

The pool knows numbers only. A Fleet gives every name its number once, at
construction, and checks everything that can be checked before the first call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from .._checks import check_marks, check_strategy, positive
from .._config import Backend, Breaker, Budget, Timeouts
from .._core import Pool
from .._errors import ConfigError
from .._events import Events
from .._fields import check_all, check_kind
from .._hash import stable_hash
from .._money._alerts import Meter
from .._money._prices import PriceTable
from .._price import Price
from ._groups import Group, add_aliases, all_fallbacks, by_name, terms_of
from ._hedge import Contest, Hedges
from ._join import open_all, open_name, settle
from ._kin import Kin, Roster, variant_name
from ._line import Lines
from ._names import (
    check_backends,
    check_fallbacks,
    check_shares,
    members_of,
    number_tags,
)
from ._pool import Pooled, Spare
from ._prices import Rates
from ._retries import Retries
from ._shape import Shaping, Step, read_steps
from ._target import Target
from ._terms import RateLimits

_LIMITS = 8  # of one backend, those it learns from headers included
_SPARE = (16, 64)  # backends that may join while it runs: as many again, within these
_SPARE_BUDGETS = 16
_MOST_SESSIONS = 1 << 24  # 24 bytes each
_KINDS: Mapping[str, Any] = {
    "backends": Iterable,
    "fallbacks": Mapping[str, Any] | None,
    "groups": Iterable,
    "aliases": Mapping[str, str] | None,
    "max_models": int,
    "budgets": Iterable,
    "prices": PriceTable | None,
    "timeouts": Timeouts | None,
    "breaker": Breaker | None,
    "shift_at": float,
    "stop_at": float,
    "sessions": int,
}


class Forecast(Protocol):
    """Who tells the pool what history lets expect; see ``Outlook``."""

    def tick(self, wall: float) -> float:
        """Hand over what is usual now; returns the seconds until the next time."""


class Fleet(Pooled):
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
        max_models: int = 256,
        budgets: Iterable[Budget] = (),
        prices: PriceTable | None = None,
        unknown_price: str | Price = "dearest",
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        postprocess: Sequence[str | Step] = (),
        shift_at: float = 0.8,
        stop_at: float = 0.95,
        sessions: int = 4096,
        seed: int | None = None,
    ) -> None:
        given = locals()
        for field, kind in _KINDS.items():
            check_kind(field, given[field], kind)
        positive("sessions", sessions, zero=True, most=_MOST_SESSIONS)
        before = backends if isinstance(backends, Roster) else None
        self.backends = list(backends)
        self.budgets = list(budgets)
        check_all("budgets", self.budgets, Budget)
        self.timeouts = timeouts or Timeouts()
        self.breaker = breaker or Breaker()
        self.strategy = check_strategy("strategy", strategy)
        self.value = value
        check_backends(self.backends)
        self.tags = number_tags(self.backends)
        self.settings = by_name(groups)
        bases = before.bases if before is not None else {}
        self.kin = Kin(self.backends, aliases or {}, max_models, bases)
        self.kin.check(self.settings.values())
        members = self.members()
        check_shares(self.backends, members)
        self.groups = {name: i for i, name in enumerate(members)}
        self.group_names = list(members)
        check_marks(shift_at, stop_at)
        self.shift_at = shift_at
        self.pool = self._make_pool(members, sessions, seed)
        # A session comes back: those the pool remembers are hashed once.
        self.session_key = lru_cache(sessions)(stable_hash)
        self.last_steps = read_steps(postprocess)
        self.targets = self._make_targets()
        self.marks = (shift_at, stop_at, stop_at)
        self.pool.set_policy(*self.marks)
        table = prices or PriceTable()
        self.rates = Rates(self.backends, table, unknown_price, self.wall)
        for target, row in zip(self.targets, self.rates.rows, strict=True):
            self.add(target, row)
        self.limits = RateLimits()
        self.add_limits()
        for name, indices in members.items():
            self.pool.add_group(indices, *self.rule(name))
        self.charges, self.call_budgets = {}, {}
        self.fallbacks, self.chains, self.variants = {}, {}, {}
        self.group_terms, self.group_steps = {}, {}
        self.books, self.hedges = None, None
        self.growing = threading.RLock()
        self.other_fallbacks = dict(fallbacks or {})  # beside those of `settings`
        chains = all_fallbacks(self.settings, self.other_fallbacks)
        open_all(self, before, chains, aliases or {})
        self.aliases = {
            a: to for a, to in (aliases or {}).items() if a not in self.kin.aliases
        }
        add_aliases(self.groups, self.aliases)
        self.retired: list[Meter] = []  # of budgets that a newer file has no more
        self.meters = [self.add_budget(b) for b in self.budgets]
        self.outlook: Forecast | None = None
        self._saved = 0.0  # epoch s of the last time the books kept what was learned
        self.events = Events()
        # Who shares a key, and of which fleet that was told.
        self._sharing: tuple[Any, int, dict[str, tuple[str, ...]]] = (None, 0, {})
        self.retries: Retries | None = Retries()
        self.lines = Lines()
        self._set_terms(chains)
        self.due = 0.0
        self.refresh()

    def _make_targets(self) -> list[Target]:
        made: list[Target] = []
        for i, backend in enumerate(self.backends):
            base = self.kin.bases.get(i)
            made_from = None if base is None or base > i else made[base]
            made.append(Target(backend, i, self.last_steps, made_from))
        return made

    def _set_terms(self, chains: Mapping[str, Sequence[str]]) -> None:
        """Read what groups have of their own, by their numbers."""
        self.set_fallbacks(check_fallbacks(chains, self.groups))
        self.group_terms = terms_of(self.settings, self.groups)
        self.group_steps = {
            self.groups[name]: read_steps(group.postprocess)
            for name, group in self.settings.items()
            if group.postprocess
        }
        settle(self)

    # -- names ---------------------------------------------------------------

    def members(self) -> dict[str, list[int]]:
        """Return every name that can be asked for, with the backends behind it."""
        found = members_of(self.backends, self.settings, self.kin.bases)
        for name, indices in self.kin.names().items():
            found.setdefault(name, indices)
        for (group, variant), indices in self.kin.variants(found).items():
            name = variant_name(group, variant)
            if found.setdefault(name, indices) is not indices:
                raise ConfigError("groups", name, "this is what a variant is called")
        return found

    def set_hedges(self, own: Any) -> None:
        """Let calls be hedged by the router's rule and those that groups have."""
        rules = {
            self.groups[name]: group.hedge
            for name, group in self.settings.items()
            if group.hedge is not None
        }
        if own or rules:
            self.hedges = Hedges(own, rules)
            settle(self)

    def contest(self, group: int, asked: bool | None) -> Contest | None:
        """Return the hedging of a call; one that asks for it needs no rule."""
        if self.hedges is None:
            self.hedges = Hedges()
        return self.hedges.contest(group, asked)

    def group(self, name: str, field: str = "model") -> int:
        """Return the number of a group, model or backend name that a field gives."""
        try:
            index = self.groups.get(name)
        except TypeError:  # a list, perhaps: no name at all
            index = None
        return open_name(self, name, field) if index is None else index

    def groups_of(self, name: str) -> tuple[int, ...]:
        """Return the number of a name and, if it came through one, of its wildcard."""
        number = self.group(name)
        opened = self.kin.opened.get(self.group_names[number])
        return (number,) if opened is None else (number, self.groups[opened.pattern])

    def steps(self, target: Target, group: int) -> tuple[Shaping, ...]:
        """Return what is done to a backend's answers to calls of a group, in order."""
        between = self.group_steps.get(group)
        if between is None:
            return target.steps
        return target.own_steps + between + self.last_steps

    def sharing(self, name: str) -> tuple[str, ...]:
        """Return the names of all backends that have a backend's key, if several."""
        made_of, kin, targets = self._sharing[0], self.kin, self.targets
        if made_of is not kin or self._sharing[1] != len(targets):
            found: dict[Any, list[str]] = {}
            for target in targets:
                dialect = target.dialect
                if dialect.api_key:
                    who = (type(dialect), dialect.origin_url, dialect.api_key)
                    found.setdefault(who, []).append(target.name)
            keys = [tuple(names) for names in found.values() if len(names) > 1]
            own = {each: names for names in keys for each in names}
            self._sharing = kin, len(targets), own
        return self._sharing[2].get(name, ())

    # -- pool ----------------------------------------------------------------

    def _make_pool(
        self, members: Mapping[str, Sequence[int]], sessions: int, seed: int | None
    ) -> Pool:
        if sessions & (sessions - 1):
            raise ConfigError("sessions", sessions, "give a power of two, or 0")
        count, listed = len(self.backends), sum(map(len, members.values()))
        models, places = self.kin.places
        groups = self.kin.most if models else 0
        least, most = _SPARE
        more = min(max(count, least), most)
        self.spare = Spare(
            more + models,
            3 * more + least + groups,
            listed + 8 * more + places,
            _SPARE_BUDGETS,
        )
        return Pool(
            backends=count + self.spare.backends,
            limits=min(_LIMITS * (count + self.spare.backends), 65535),
            budgets=len(self.budgets) + self.spare.budgets,
            groups=len(members) + self.spare.groups,
            members=listed + self.spare.members,
            sessions=sessions,
            seed=time.monotonic_ns() if seed is None else seed,
        )

    # -- budgets and the calendar --------------------------------------------

    def refresh(self) -> None:
        """Bring prices and calendar windows up to date; called when `due` has come."""
        wall = self.wall()
        changes = [wall + 3600.0]
        changes += self.rates.follow(self.targets, self.pool, wall)
        for meter in self.meters:
            if meter.budget.per != "total" and not meter.budget.rolling:
                changes.append(meter.turn(self.pool, wall))
        if self.outlook is not None:
            changes.append(wall + self.outlook.tick(wall))
        if self.books is not None and wall - self._saved >= 3599.0:
            self._saved = wall
            self.books.save()
        self.due = time.monotonic() + max(min(changes) - wall, 0.0) + 0.001

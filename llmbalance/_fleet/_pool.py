"""What a fleet has in its pool: who stands at which number, and on what terms.

    Backend, its price and limits     at its number, for good
    a budget                          at its own, with those whose calls it is charged

A ``Fleet`` fills it when it is made; what joins later comes in the same way, see
``_join.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._checks import check_strategy, one_of
from .._config import Backend, Breaker, Budget
from .._core import Pool, PriceRow
from .._errors import ConfigError
from .._money._alerts import Meter
from .._money._windows import window
from .._price import Price
from ._groups import Group, Terms, whole_chain
from ._hedge import Hedges
from ._kin import Kin
from ._prices import Rates
from ._shape import Shaping
from ._target import Target
from ._terms import RateLimits, pool_terms

if TYPE_CHECKING:
    from .._call._story import Scribe


class Spare:
    """Places of the pool that are left for what joins while the router runs."""

    __slots__ = ("backends", "budgets", "groups", "members")

    def __init__(self, backends: int, groups: int, members: int, budgets: int) -> None:
        self.backends = backends
        self.groups = groups
        self.members = members
        self.budgets = budgets


class Pooled:
    """Backends, groups and budgets by their numbers, and the pool that has them.

    ``targets`` and ``backends`` go by the number of a backend, ``group_names`` and the
    keys of ``fallbacks``, ``group_terms`` and ``group_steps`` by that of a group;
    ``variants`` has the group that stands for another one's tuned endpoints.
    """

    pool: Pool
    spare: Spare
    backends: list[Backend]
    targets: list[Target]
    tags: dict[str, int]  # name -> bit
    breaker: Breaker
    rates: Rates
    limits: RateLimits
    strategy: int
    value: float | None
    settings: dict[str, Group]  # as they were given
    kin: Kin
    groups: dict[str, int]  # of every name that can be asked for
    group_names: list[str]
    fallbacks: Mapping[int, list[int]]  # see set_fallbacks
    chains: dict[int, tuple[int, ...]]  # of these groups, and all they lead to
    group_terms: dict[int, Terms]
    group_steps: dict[int, tuple[Shaping, ...]]
    last_steps: tuple[Shaping, ...]
    variants: dict[tuple[int, str], int]
    hedges: Hedges | None
    budgets: list[Budget]
    # What budgets hold for: ("group", number) or ("backend", number) -> indices.
    charges: dict[tuple[str, int], list[int]]
    # Budgets that a call chooses by what it carries: "tag" -> "batch" -> indices.
    call_budgets: dict[str, dict[str, list[int]]]
    books: Scribe | None
    growing: threading.RLock  # one name is opened at a time
    due: float  # monotonic time of the next change of prices or windows

    # -- backends and groups -------------------------------------------------

    def index(self, name: str) -> int:
        """Return the number of a backend; ConfigError names the known ones."""
        names = [backend.label for backend in self.backends]
        one_of("backend", name, names)
        return names.index(name)

    def indices(self, name: str) -> list[int]:
        """Return a backend's number and, of a wildcard, of all that came from it."""
        index = self.index(name)
        made = self.kin.of(index) if self.backends[index].is_wildcard else ()
        return [index, *made]

    def rule(self, name: str) -> tuple[int, float]:
        """Return strategy and v of a group as the pool takes them."""
        group = self.settings.get(name)
        value = self.value if group is None or group.v is None else group.v
        strategy = self.strategy
        if group is not None and group.strategy is not None:
            strategy = check_strategy("strategy", group.strategy)
        return strategy, -1.0 if value is None else float(value)

    def set_price(self, index: int, price: Price) -> None:
        """Change a backend's price from the next call on."""
        if self.backends[index].is_wildcard:
            name = self.backends[index].label
            raise ConfigError("backend", name, "is many models: name one of them")
        self.rates.set(self.targets[index], price, self.pool)
        self.due = 0.0  # the new price may have another calendar

    def add(self, target: Target, row: PriceRow) -> None:
        """Put a backend into the pool, as the next one."""
        self.pool.add_backend(row, **self.terms(target))

    def terms(self, target: Target) -> dict[str, Any]:
        """Return what the pool is to know of a backend, beside its price."""
        info = self.rates.infos[target.index]
        return pool_terms(target.backend, info, self.tags, self.breaker)

    def add_limits(self, first: int = 0) -> None:
        """Give the backends from number ``first`` on their rate limits."""
        self.limits.add(self.pool, self.backends, first, self.kin.bases)

    def set_fallbacks(self, fallbacks: Mapping[int, list[int]]) -> None:
        """Say who comes after whom; calls find the whole chain of their group ready."""
        self.fallbacks = fallbacks
        self.chains = {
            group: whole_chain(fallbacks, group, after)
            for group, after in fallbacks.items()
        }

    # -- budgets -------------------------------------------------------------

    def add_budget(self, budget: Budget) -> Meter:
        """Put calls under a budget; returns its meter."""
        cap = round(budget.usd * 1e9)
        if budget.per == "total":
            index = self.pool.add_budget(0, cap, budget.hard)
        else:
            _, ends_in, period = window(budget, self.wall())
            kind = 2 if budget.rolling else 1
            index = self.pool.add_budget(kind, cap, budget.hard, period, ends_in)
        scope, name = budget.scope or ("all", "")
        try:
            if scope == "backend":
                for each in self.indices(name):
                    self.charge(scope, each, index)
            elif scope == "group":
                one_of("group", name, self.groups)
                self.charge(scope, self.groups[name], index)
            elif scope == "all":
                self.pool.charge(scope, 0, index)
            else:
                self.chosen_budgets(scope, name).append(index)
        except OverflowError:
            raise ConfigError(
                "budgets", budget.label, "at most 4 budgets for the same thing"
            ) from None
        return Meter(budget, index)

    def chosen_budgets(self, scope: str, name: str) -> list[int]:
        """Return the budgets of a tag, task or user, as calls find them."""
        return self.call_budgets.setdefault(scope, {}).setdefault(name, [])

    def charge(self, scope: str, number: int, budget: int) -> None:
        """Put the calls of a group or a backend under a budget."""
        self.pool.charge(scope, number, budget)
        self.charges.setdefault((scope, number), []).append(budget)

    def wall(self) -> float:
        """Return the time that prices and calendars go by, in epoch seconds."""
        return time.time()

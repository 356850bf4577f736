"""Rate limits and budgets of a running router get other amounts.

    configured          in the pool                        what is used of it
    rpm = 60 -> 90      the same unit and window           stays used
    rpm = 60 -> rps = 1 the same unit, another window      stays used, in units
    tpm added           a new limit, or a lifted one       nothing
    rpm removed         lifted: admits everything          forgotten

Leases know limits by their places, so places are never given up. Budgets are told apart
by what they hold for and by their window; amount, hardness and marks may change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._checks import seconds_of
from .._config import Backend, Budget, Limit, Limits
from .._core import CHARGES, UNITS
from .._fleet._terms import charge_of
from .._money._alerts import Meter

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet

_MOST = 8  # limits of one backend
_MOST_BUDGETS = 4  # of one backend, one group, or all calls
_NO_CAP = (1 << 63) - 1

Faults = list[tuple[str, str]]


class Amounts:
    """What a fleet's limits and budgets have to become; ``faults`` says what cannot be.

    Made before anything changes.
    """

    def __init__(
        self, fleet: Fleet, backends: Sequence[Backend], budgets: Sequence[Budget]
    ) -> None:
        self.fleet = fleet
        self.faults: Faults = []
        self._limits = self._changed_limits(backends)
        self._kept, self._new, self._gone = self._matched(budgets)
        self._check_places()

    def set_limits(self) -> None:
        """Change the rate limits; ``faults`` are none, so nothing can fail."""
        for members, wanted in self._limits:
            self._set_limits(members, wanted)

    def set_budgets(self) -> list[Meter]:
        """Change the budgets, too; returns the meters of new ones."""
        fleet = self.fleet
        for meter, budget in self._kept:
            self._set_budget(meter, budget)
        for meter in self._gone:
            fleet.pool.set_budget(meter.index, _NO_CAP, False)
            if (chosen := self._chosen(meter.budget)) is not None:
                chosen.remove(meter.index)
            fleet.retired.append(meter)
        fresh = [fleet.add_budget(budget) for budget in self._new]
        fleet.spare.budgets -= len(fresh)
        fleet.meters = [*(meter for meter, _ in self._kept), *fresh]
        fleet.budgets = [meter.budget for meter in fleet.meters]
        return fresh

    # -- rate limits ---------------------------------------------------------

    def _changed_limits(
        self, backends: Sequence[Backend]
    ) -> list[tuple[list[int], Backend]]:
        """Which backends, by number, get the limits that which one names."""
        old = {
            b.label: (i, b)
            for i, b in enumerate(self.fleet.backends)
            if i not in self.fleet.kin.bases
        }
        changed: list[tuple[list[int], Backend]] = []
        words: set[str] = set()
        for backend in backends:
            if backend.label not in old:
                continue
            index, before = old[backend.label]
            word = backend.limits.shared if backend.limits else None
            if word != (before.limits.shared if before.limits else None):
                why = "is to share its rate limits with others: give it a new name"
                self.faults.append((backend.label, why))
            elif word is None and rates_of(before.limits) != rates_of(backend.limits):
                changed.append(([index, *self.fleet.kin.of(index)], backend))
            elif word is not None and word not in words:
                words.add(word)
                members = [
                    i for i, b in enumerate(self.fleet.backends) if _word(b) == word
                ]
                if rates_of(self.fleet.limits.stated(word)) != rates_of(backend.limits):
                    changed.append((members, backend))
        for members, backend in changed:
            self._check_room(members, backend)
        return changed

    def _check_room(self, members: Iterable[int], backend: Backend) -> None:
        for index in members:
            have = self.fleet.pool.backend(index)["limits"]
            more = [line for line, _ in _pairs(have, backend) if line is None]
            if len(have) + len(more) > _MOST:
                why = "no place for another rate limit: give it a new name"
                self.faults.append((self.fleet.backends[index].label, why))

    def _set_limits(self, members: list[int], wanted: Backend) -> None:
        pool, first = self.fleet.pool, members[0]
        have = pool.backend(first)["limits"]
        pairs = _pairs(have, wanted)
        used = {line["index"] for line, _ in pairs if line is not None}
        made = []
        for line, limit in pairs:
            seconds, burst = seconds_of("per", limit.per), limit.burst or 0
            if line is not None:
                pool.set_limit(line["index"], limit.amount, seconds, burst)
                made.append(line["index"])
                continue
            unit, charge = UNITS.index(limit.what), _charge(wanted)
            index = pool.add_limit(
                first, unit, CHARGES.index(charge), limit.amount, seconds, burst
            )
            made.append(index)
            for other in members[1:]:
                pool.share_limit(other, index)
        for line in have:
            if line["index"] not in used and not line["learned"]:
                pool.set_limit(line["index"], 0)
        if wanted.limits is not None and wanted.limits.shared is not None:
            self.fleet.limits.share(wanted.limits, made)

    # -- budgets -------------------------------------------------------------

    def _matched(
        self, budgets: Sequence[Budget]
    ) -> tuple[list[tuple[Meter, Budget]], list[Budget], list[Meter]]:
        """The meters that go on, the budgets that need one, the meters without any."""
        free = [*self.fleet.meters, *self.fleet.retired]
        kept, new = [], []
        for budget in budgets:
            meter = next((m for m in free if _key(m.budget) == _key(budget)), None)
            if meter is None:
                new.append(budget)
            else:
                free.remove(meter)
                kept.append((meter, budget))
        return kept, new, [m for m in free if m not in self.fleet.retired]

    def _check_places(self) -> None:
        if len(self._new) > self.fleet.spare.budgets:
            why = f"{len(self._new)} new ones, {self.fleet.spare.budgets} places: "
            self.faults.append(("budget", why + "make a new router"))
        attached: dict[Any, int] = {}
        for meter in (*self.fleet.meters, *self.fleet.retired):
            scope = meter.budget.scope
            attached[scope] = attached.get(scope, 0) + 1
        for budget in self._new:
            attached[budget.scope] = attached.get(budget.scope, 0) + 1
            chosen = self._chosen(budget) is not None
            if not chosen and attached[budget.scope] > _MOST_BUDGETS:
                why = "no place for another one there: make a new router"
                self.faults.append((budget.label, why))

    def _set_budget(self, meter: Meter, budget: Budget) -> None:
        revived = meter in self.fleet.retired
        if revived:
            self.fleet.retired.remove(meter)
            if (chosen := self._chosen(budget)) is not None:
                chosen.append(meter.index)
        if revived or meter.budget != budget:
            self.fleet.pool.set_budget(
                meter.index, round(budget.usd * 1e9), budget.hard
            )
            meter.follow(budget, self.fleet.pool)

    def _chosen(self, budget: Budget) -> list[int] | None:
        """The list that calls find it in, if calls choose it by what they carry."""
        if budget.scope is None or budget.scope[0] in ("backend", "group"):
            return None
        return self.fleet.chosen_budgets(*budget.scope)


def rates_of(limits: Limits | None) -> tuple[Any, ...]:
    """What of a backend's limits stands in the pool's table of limits."""
    return (limits.all(), limits.charge, limits.shared) if limits else ([], None, None)


def _word(backend: Backend) -> str | None:
    return backend.limits.shared if backend.limits else None


def _charge(backend: Backend) -> str:
    assert backend.limits is not None
    return charge_of(backend, backend.limits)


def _key(budget: Budget) -> tuple[Any, ...]:
    per = budget.per if budget.per == "total" else budget.seconds
    calendar = None if budget.rolling or per == "total" else budget.timezone
    return (budget.scope, budget.per, per, budget.rolling, calendar)


def _pairs(
    have: Sequence[Mapping[str, Any]], backend: Backend
) -> list[tuple[Mapping[str, Any] | None, Limit]]:
    """Each wanted limit with the line of the pool it takes over, None: a new one.

    The same unit and window come first, then the same unit.
    """
    wanted = backend.limits.all() if backend.limits else []
    lines = list(have)
    pairs: list[tuple[Mapping[str, Any] | None, Limit]] = []
    rest = []
    for limit in wanted:
        line = next((x for x in lines if _same(x, limit, backend)), None)
        if line is None:
            rest.append(limit)
        else:
            lines.remove(line)
            pairs.append((line, limit))
    for limit in rest:
        like = [x for x in lines if _like(x, limit, backend)]
        if like:
            lines.remove(like[0])
        pairs.append((like[0] if like else None, limit))
    return pairs


def _same(line: Mapping[str, Any], limit: Limit, backend: Backend) -> bool:
    window = abs(line["window"] - seconds_of("per", limit.per)) < 1e-6
    return window and line["unit"] == limit.what and _charges(line, limit, backend)


def _like(line: Mapping[str, Any], limit: Limit, backend: Backend) -> bool:
    same = line["unit"] == limit.what and _charges(line, limit, backend)
    return same and not line["learned"]


def _charges(line: Mapping[str, Any], limit: Limit, backend: Backend) -> bool:
    return limit.what == "requests" or line["charge"] == _charge(backend)

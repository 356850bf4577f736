"""A running router takes a changed file without losing what it knows.

    old fleet  ---- same models, rate limits, budgets? room for the new? ----  new plan
        |                        no: ConfigFileError, nothing changes
        v                        yes:
    pool.set_terms, add_backend, set_group; new time-outs, keys, addresses, fallbacks

The pool stays: leases, latencies, breakers, filled limits and spent budgets go on.
Numbers stay, too: a backend that is gone keeps its own and is drained, new ones come
behind. The new settings are tried on a fleet of their own first, so that a mistake
shows before anything has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import msgspec

from .._config import Backend
from .._fleet import Fleet
from .._fleet_names import check_fallbacks
from .._target import Target
from ._load import Plan
from ._places import ConfigFileError, Note

if TYPE_CHECKING:
    from .._router import Router

# Options of a Router that the pool or the ledger was made with.
_FIXED = ("sessions", "seed", "ledger")
# Fields of a Backend that its connections were made with.
_WIRE = (
    *("api_key", "base_url", "options", "proxy", "verify", "http_version"),
    "unix_socket",
)


class Source:
    """Where a router came from, and the plan it follows."""

    def __init__(
        self,
        place: str | FilePath | Mapping[str, Any],
        load: Callable[[str | FilePath | Mapping[str, Any]], Plan],
    ) -> None:
        self._place, self._load = place, load
        self.plan = load(place)
        self._room: dict[str, int] = {}  # members a group has had at most

    def build(self, make: Callable[..., Router]) -> Router:
        """Make the router that the plan describes."""
        router = self.plan.build(make)
        router.notes = self.plan.notes
        router._source = self
        return router

    def reload(
        self, router: Router, place: str | FilePath | Mapping[str, Any] | None
    ) -> None:
        """Read the place again, or another one, and follow what it says.

        ConfigFileError when it is wrong or needs a new router; nothing changes then.
        """
        plan = self._load(self._place if place is None else place)
        fleet = router._fleet
        _refuse(plan, self._faults(fleet, plan))
        fresh = self._tried(fleet, plan)
        members = fresh.members()
        _refuse(plan, self._room_faults(fleet, fresh, members))
        _take_over(fleet, fresh, members)
        plan.set_groups(router)
        fallbacks = plan.options.get("fallbacks") or {}
        fleet.fallbacks = check_fallbacks(fallbacks, fleet.groups)
        fleet.refresh()
        router._intake.timeout = float(plan.options.get("timeout", 600.0))
        router._intake.wait = bool(plan.options.get("wait", True))
        router.notes = plan.notes
        self.plan = plan

    def _faults(self, fleet: Fleet, plan: Plan) -> list[tuple[str, str]]:
        """Everything that the pool cannot take over."""
        found, new = [], 0
        old = {backend.label: backend for backend in fleet.backends}
        for backend in plan.backends:
            before = old.get(backend.label)
            if before is None:
                new += 1
            elif before.model != backend.model:
                found.append((backend.label, "has another model: give it a new name"))
            elif _rates(before) != _rates(backend):
                found.append((backend.label, "other rate limits: give it a new name"))
        if new > fleet.spare.backends:
            why = f"{new} new ones, {fleet.spare.backends} places: make a new router"
            found.append(("backend", why))
        if list(plan.options.get("budgets", ())) != fleet.budgets:
            found.append(("budget", "has changed: make a new router"))
        for name in _FIXED:
            if plan.options.get(name) != self.plan.options.get(name):
                found.append((f"router.{name}", "has changed: make a new router"))
        if plan.finish != self.plan.finish:
            what = "budgets of providers, cooldowns or tag filtering"
            found.append((what, "have changed: make a new router"))
        return found

    def _tried(self, fleet: Fleet, plan: Plan) -> Fleet:
        """The plan as a fleet of its own, with the old one's numbers for backends.

        A backend that the plan no longer has stays under its own name, drained.
        """
        wanted = {backend.label: backend for backend in plan.backends}
        backends = [
            wanted.pop(old.label)
            if old.label in wanted
            else msgspec.structs.replace(old, weight=0.0, groups=())
            for old in fleet.backends
        ]
        backends += wanted.values()
        options = dict(plan.options)
        for name in ("timeout", "wait", "ledger"):
            options.pop(name, None)
        options["value"] = options.pop("v", None)
        try:
            return Fleet(backends, **options)
        except (ValueError, OverflowError) as error:  # of the core: out of its range
            field = getattr(error, "field", "(fleet)")
            raise ConfigFileError([Note(plan.file, 0, field, str(error))]) from error

    def _room_faults(
        self, fleet: Fleet, fresh: Fleet, members: Mapping[str, list[int]]
    ) -> list[tuple[str, str]]:
        """Say where the pool's spare places do not suffice; else take them."""
        found = []
        if len(fleet.tags.keys() | fresh.tags.keys()) > 64:
            found.append(("tags", "at most 64 different tags"))
        for name, indices in fleet.members().items():
            self._room[name] = max(self._room.get(name, 0), len(indices))
        new = members.keys() - set(fleet.group_names)
        moved = {
            name: len(indices)
            for name, indices in members.items()
            if len(indices) > self._room.get(name, 0)
        }
        spare = fleet.spare
        if len(new) > spare.groups or sum(moved.values()) > spare.members:
            found.append(("group", "no places left for so many: make a new router"))
        if not found:
            self._room |= moved
            spare.groups -= len(new)
            spare.members -= sum(moved.values())
            spare.backends -= len(fresh.targets) - len(fleet.targets)
        return found


def _refuse(plan: Plan, faults: list[tuple[str, str]]) -> None:
    if faults:
        raise ConfigFileError([Note(plan.file, 0, *fault) for fault in faults])


def _take_over(fleet: Fleet, fresh: Fleet, members: Mapping[str, list[int]]) -> None:
    """Everything was checked: from here on nothing can fail."""
    for name in fresh.tags:
        fleet.tags.setdefault(name, 1 << len(fleet.tags))
    fleet.timeouts, fleet.breaker = fresh.timeouts, fresh.breaker
    fleet.strategy, fleet.value = fresh.strategy, fresh.value
    old = len(fleet.targets)
    for i, target in enumerate(fresh.targets[:old]):
        kept = fleet.targets[i]
        if _wire(kept) == _wire(target):
            target = _renewed(kept, target)  # its connections are warm
        fleet.targets[i] = target
    fleet.targets += fresh.targets[old:]
    fleet.backends[:] = fresh.backends
    fleet.rates.take(fresh.rates)
    for target, row in zip(fleet.targets, fleet.rates.rows, strict=True):
        if target.index < old:
            fleet.pool.set_terms(target.index, row, **fleet.terms(target))
        else:
            fleet.add(target, row)
    fleet.add_limits(old)
    _set_groups(fleet, members)


def _set_groups(fleet: Fleet, members: Mapping[str, list[int]]) -> None:
    """Groups keep their numbers for good: calls under way know them by these."""
    value = -1.0 if fleet.value is None else fleet.value
    for name in fleet.groups.keys() - members.keys():
        fleet.pool.set_group(fleet.groups.pop(name), [], fleet.strategy, value)
    for name, indices in members.items():
        if name in fleet.group_names:
            fleet.groups[name] = fleet.group_names.index(name)
            number = fleet.groups[name]
            fleet.pool.set_group(number, indices, fleet.strategy, value)
        else:
            fleet.groups[name] = fleet.pool.add_group(indices, fleet.strategy, value)
            fleet.group_names.append(name)


def _renewed(kept: Target, target: Target) -> Target:
    kept.backend, kept.timeouts = target.backend, target.timeouts
    kept.steps, kept.own_steps = target.steps, target.own_steps
    kept.rows.clear()
    return kept


def _wire(target: Target) -> tuple[Any, ...]:
    """What a target's connections were made with; the key as it was then."""
    fields = [getattr(target.backend, name) for name in _WIRE]
    return (*fields, target.dialect.api_key)


def _rates(backend: Backend) -> tuple[Any, ...]:
    limits = backend.limits
    return (limits.all(), limits.charge, limits.shared) if limits else ([], None, None)

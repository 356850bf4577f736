"""A running router takes a changed file without losing what it knows.

    old fleet  ---- same models? room for the new? one that works? ----  new plan
        |                        no: ConfigFileError, nothing changes
        v                        yes:
    pool.set_terms, set_limit, set_budget, add_backend, set_group; then what calls read

The pool stays: leases, latencies, breakers, filled limits and spent budgets go on.
Numbers stay, too: a backend that is gone keeps its own and is drained, new ones come
behind. The new settings are tried on a router of their own first, so that a mistake
shows before anything has changed. Calls may be under way on other threads: everything
they look up by number is there before the pool can name it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .._config import Backend
from .._errors import ConfigError
from .._events import ReloadEvent
from .._fleet._fleet import Fleet
from .._fleet._groups import add_aliases, all_fallbacks, terms_of
from .._fleet._join import settle
from .._fleet._kin import Roster, follow
from .._fleet._names import MOST_TAGS, check_fallbacks
from .._fleet._target import Target
from ._amounts import Amounts
from ._load import Plan
from ._places import ConfigFileError, Note
from ._trials import (
    changed_experiments,
    follow_experiments,
    follow_mirrors,
    orphaned_experiments,
)

if TYPE_CHECKING:
    from .._router_operation import Operation

_R = TypeVar("_R", bound="Operation")
_log = logging.getLogger("llmbalance")

# Options of a Router that it can follow; any other one needs a new router.
FOLLOWED = frozenset(
    (
        *("strategy", "v", "timeout", "timeouts", "breaker", "health_interval"),
        *("wait", "max_waiting", "shift_at", "stop_at", "retry_budget", "hedge"),
        *("unknown_price", "prices", "postprocess", "tasks", "default_task"),
        *("classifier", "shadow_classifier", "aliases", "groups", "fallbacks"),
        *("budgets", "auto_session", "experiments", "mirrors"),
    )
)
# Those that a router only for looking is made without, and what needs them.
NEED_LEDGER = ("ledger", "predict")
# Fields of a Backend that its connections were made with.
_WIRE = (
    *("api_key", "base_url", "options", "proxy", "verify", "http_version"),
    "unix_socket",
)


# A file's time, size and place on its disk; None: it is not there.
Stamps = dict[str, tuple[int, int, int] | None]


def stamps_of(files: Iterable[str]) -> Stamps:
    """Return how files stand now."""
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class Source:
    """Where a router came from, and the plan it follows."""

    def __init__(
        self,
        place: str | FilePath | Mapping[str, Any],
        load: Callable[[str | FilePath | Mapping[str, Any]], Plan],
    ) -> None:
        self._place, self._load = place, load
        self._lock = threading.Lock()
        self._files: tuple[str, ...] = (
            () if isinstance(place, Mapping) else (str(place),)
        )
        self._seen: Stamps = {}
        self.plan = self._read(place)
        self._room: dict[str, int] = {}  # members a group has had at most

    def build(self, make: Callable[..., _R]) -> _R:
        """Make the router that the plan describes."""
        router = self.plan.build(make)
        router.notes = self.plan.notes
        return router

    def reload(
        self,
        router: Operation,
        place: str | FilePath | Mapping[str, Any] | None = None,
    ) -> None:
        """Read the place again, or another one, and follow what it says.

        ConfigFileError when it is wrong or needs a new router, OSError when it cannot
        be read; nothing changes then. Both ways a ReloadEvent tells of it.
        """
        place = self._place if place is None else place
        name = "(dict)" if isinstance(place, Mapping) else str(place)
        with self._lock:
            try:
                plan = self._read(place)
                with router._fleet.growing:
                    self._follow(router, plan)
            except (ConfigError, OSError) as error:
                faults = getattr(error, "errors", None) or [error]
                reasons = tuple(str(fault) for fault in faults)
                _log.warning("%s changes nothing: %s", name, "; ".join(reasons))
                self._tell(router, name, reasons)
                raise
            self.plan = plan
        _log.info("%s was read again", name)
        self._tell(router, name, ())

    def _read(self, place: str | FilePath | Mapping[str, Any]) -> Plan:
        """The plan of a place; that of the own one is remembered as seen."""
        if place is not self._place:
            return self._load(place)
        before = stamps_of(self._files)
        try:
            plan = self._load(place)
        except ConfigFileError as error:
            self._files = tuple(dict.fromkeys((*self._files, *error.files)))
            raise
        else:
            self._files = plan.files
            return plan
        finally:
            self._seen = stamps_of(self._files) | before

    @staticmethod
    def _tell(router: Operation, name: str, errors: tuple[str, ...]) -> None:
        router._fleet.events.emit(
            ReloadEvent(at=time.time(), source=name, ok=not errors, errors=errors)
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files it was read from; none for a dict."""
        return self._files

    def changed(self) -> Stamps | None:
        """How the files stand now, if not as when they were last read."""
        now = stamps_of(self._files)
        return None if now == self._seen else now

    def _follow(self, router: Operation, plan: Plan) -> None:
        fleet = router._fleet
        _refuse(plan, self._faults(router, plan))
        amounts = Amounts(fleet, plan.backends, plan.options.get("budgets", ()))
        _refuse(plan, amounts.faults)
        fresh = self._tried(router, plan)
        files = (self.plan.options, plan.options)
        _refuse(plan, orphaned_experiments(router, fresh, *files))
        members = fresh._fleet.members()
        _refuse(plan, self._room_faults(fleet, fresh._fleet, members))
        _take_over(fleet, fresh._fleet, members, amounts)
        _set_calls(router, fresh)
        if _hedges(plan) != _hedges(self.plan):
            fleet.hedges = None
            fleet.set_hedges(plan.options.get("hedge"))
        if router._books.follow(amounts.set_budgets()):
            fleet.books = router._books
        settle(fleet)
        fleet.refresh()
        follow_experiments(router, plan.options, self.plan.options)
        follow_mirrors(router, plan.options)
        router._look_after(plan.options.get("health_interval"))
        router.notes, router._ways = plan.notes, plan.ways

    def _faults(self, router: Operation, plan: Plan) -> list[tuple[str, str]]:
        """What no pool can take over, beside amounts and room."""
        fleet, new = router._fleet, 0
        found: list[tuple[str, str]] = []
        old = {
            backend.label: backend
            for i, backend in enumerate(fleet.backends)
            if i not in fleet.kin.bases
        }
        for backend in plan.backends:
            before = old.get(backend.label)
            if before is None:
                new += 1
            elif before.model != backend.model:
                found.append((backend.label, "has another model: give it a new name"))
        if new > fleet.spare.backends:
            why = f"{new} new ones, {fleet.spare.backends} places: make a new router"
            found.append(("backend", why))
        for name in sorted((plan.options.keys() | self.plan.options) - FOLLOWED):
            if plan.options.get(name) != self.plan.options.get(name):
                found.append((f"router.{name}", "has changed: make a new router"))
        found += changed_experiments(router, plan.options)
        if plan.finish != self.plan.finish:
            what = "budgets of providers, or whether there are cooldowns"
            found.append((what, "have changed: make a new router"))
        return found

    def _tried(self, router: Operation, plan: Plan) -> Operation:
        """The plan as a router of its own, with the old one's numbers for backends.

        A backend that the plan no longer has stays under its own name, drained.
        """
        wanted = {backend.label: backend for backend in plan.backends}
        backends: list[Backend] = []
        kin = router._fleet.kin
        for i, old in enumerate(router._fleet.backends):
            if i in kin.bases:
                new = follow(old, backends[kin.bases[i]], wanted)
            else:
                new = wanted.pop(old.label, None)
            drained = {"weight": 0.0, "groups": (), "tuned": {}}
            backends.append(new or msgspec.structs.replace(old, **drained))
        backends += wanted.values()
        # Without the ledger: what is only tried leaves nothing behind.
        options = dict(plan.options)
        for name in NEED_LEDGER:
            options.pop(name, None)
        try:
            make: Callable[..., Operation] = type(router)
            return make(Roster(backends, kin), **options)
        except (ValueError, OverflowError) as error:  # of the core: out of its range
            field = getattr(error, "field", "(fleet)")
            raise ConfigFileError([Note(plan.file, 0, field, str(error))]) from error

    def _room_faults(
        self, fleet: Fleet, fresh: Fleet, members: Mapping[str, list[int]]
    ) -> list[tuple[str, str]]:
        """Say where the pool's spare places do not suffice; else take them."""
        found = []
        if len(fleet.tags.keys() | fresh.tags.keys()) > MOST_TAGS:
            found.append(("tags", f"at most {MOST_TAGS} different tags"))
        for name, indices in fleet.members().items():
            self._room[name] = max(self._room.get(name, 0), len(indices))
        joining = len(fresh.targets) - len(fleet.targets)
        if joining > fleet.spare.backends:
            found.append(("backend", f"no places left for {joining} more"))
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


def _take_over(
    fleet: Fleet, fresh: Fleet, members: Mapping[str, list[int]], amounts: Amounts
) -> None:
    """Everything was checked: from here on nothing can fail."""
    for name in fresh.tags:
        fleet.tags.setdefault(name, 1 << len(fleet.tags))
    fleet.timeouts, fleet.breaker = fresh.timeouts, fresh.breaker
    fleet.strategy, fleet.value = fresh.strategy, fresh.value
    fleet.last_steps = fresh.last_steps
    amounts.set_limits()
    old = len(fleet.targets)
    for i, target in enumerate(fresh.targets[:old]):
        kept = fleet.targets[i]
        if _wire(kept) == _wire(target):
            target = _renewed(kept, target)  # its connections are warm
        fleet.targets[i] = target
    fleet.targets += fresh.targets[old:]
    fleet.backends[:] = fresh.backends
    fresh.kin.follow(fleet.backends)
    fleet.kin = fresh.kin
    fleet.rates.take(fresh.rates)
    for target, row in zip(fleet.targets, fleet.rates.rows, strict=True):
        if target.index < old:
            fleet.pool.set_terms(target.index, row, **fleet.terms(target))
        else:
            fleet.add(target, row)
    fleet.add_limits(old)
    _set_groups(fleet, fresh, members)


def _set_groups(fleet: Fleet, fresh: Fleet, members: Mapping[str, list[int]]) -> None:
    """Groups keep their numbers for good: calls under way know them by these."""
    fleet.settings = fresh.settings
    numbers = {name: i for i, name in enumerate(fleet.group_names)}
    for name in [name for name in numbers if name not in members]:
        fleet.pool.set_group(numbers.pop(name), [], *fleet.rule(name))
    for name, indices in members.items():
        if name in numbers:
            fleet.pool.set_group(numbers[name], indices, *fleet.rule(name))
        else:
            fleet.group_names.append(name)
            numbers[name] = fleet.pool.add_group(indices, *fleet.rule(name))
    numbers = {name: numbers[name] for name in members}
    add_aliases(numbers, fresh.aliases)
    fleet.aliases, fleet.groups = fresh.aliases, numbers
    fleet.group_terms = terms_of(fleet.settings, numbers)
    fleet.group_steps = {
        numbers[name]: fresh.group_steps[i]
        for name, i in fresh.groups.items()
        if i in fresh.group_steps and name in members
    }
    chains = all_fallbacks(fleet.settings, fresh.other_fallbacks)
    fleet.other_fallbacks = fresh.other_fallbacks
    fleet.set_fallbacks(check_fallbacks(chains, numbers))


def _hedges(plan: Plan) -> tuple[Any, ...]:
    groups = plan.options.get("groups", ())
    own = {group.name: group.hedge for group in groups if group.hedge is not None}
    return plan.options.get("hedge"), own


def _set_calls(router: Operation, fresh: Operation) -> None:
    """What calls read when they begin, wait or ask again."""
    fleet, other = router._fleet, fresh._fleet
    fleet.pool.set_policy(*other.marks)
    fleet.marks, fleet.shift_at = other.marks, other.shift_at
    fleet.lines.most = other.lines.most
    if other.retries is None or fleet.retries is None:
        fleet.retries = other.retries
    else:
        fleet.retries.share = other.retries.share
    mine, theirs = router._intake, fresh._intake
    if mine.tasks is not None and theirs.tasks is not None:
        theirs.tasks.counts = mine.tasks.counts
    mine.timeout, mine.wait = theirs.timeout, theirs.wait
    mine.auto_session, mine.tasks = theirs.auto_session, theirs.tasks


def _renewed(kept: Target, target: Target) -> Target:
    kept.backend, kept.name = target.backend, target.name
    kept.timeouts = target.timeouts
    kept.steps, kept.own_steps = target.steps, target.own_steps
    kept.rows.clear()
    return kept


def _wire(target: Target) -> tuple[Any, ...]:
    """What a target's connections were made with; the key as it was then."""
    fields = [getattr(target.backend, name) for name in _WIRE]
    return (*fields, target.dialect.api_key)

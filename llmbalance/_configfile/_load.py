"""A configuration file becomes the arguments of a Router; all its faults at once.

    Document --Reader--> Plan(backends, options, groups)  or  ConfigFileError

A backend's table is laid over its provider's, that one over the defaults; tables in
them (limits, timeouts, options, ...) are merged key by key. Every value is read by the
type of its field, every class checks itself, and what is wrong is noted with its line
while reading goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from .._config import Backend, Budget
from .._core import STRATEGIES
from .._errors import ConfigError
from .._prices import PriceTable
from .._target import make_dialect
from .._windows import window
from ._places import ConfigFileError, Document, Note, Path, read
from ._schema import SECTIONS, GroupTable, RouterTable
from ._tables import Tables, kind_of, suggestion

if TYPE_CHECKING:
    from .._router import Router


class Plan(Struct, frozen=True):
    """What a file asks for: a Router's arguments, and what groups have of their own.

    ``options`` are Router's keyword arguments; ``groups`` maps a name to its strategy
    and v, None: the router's; ``finish`` are steps for when the router stands;
    ``notes`` say what was not taken as it stands.
    """

    file: str
    backends: list[Backend]
    options: dict[str, Any]
    groups: dict[str, tuple[str | None, float | None]] = {}
    finish: tuple[Callable[[Router], None], ...] = ()
    notes: tuple[Note, ...] = ()

    def build(self, make: Callable[..., Router]) -> Router:
        """Construct the Router; ConfigFileError when its parts do not fit together."""
        try:
            router = make(self.backends, **self.options)
        except ConfigFileError:
            raise
        except (ValueError, OverflowError) as error:  # of the core: out of its range
            field = getattr(error, "field", "(fleet)")
            raise ConfigFileError([Note(self.file, 0, field, str(error))]) from error
        self.set_groups(router)
        for step in self.finish:
            step(router)
        return router

    def set_groups(self, router: Router) -> None:
        """Give each group the strategy and v it has of its own."""
        fleet = router._fleet
        members = fleet.members()
        for name, (strategy, v) in self.groups.items():
            own = fleet.strategy if strategy is None else STRATEGIES.index(strategy)
            value = fleet.value if v is None else v
            fleet.pool.set_group(
                fleet.groups[name], members[name], own, -1.0 if value is None else value
            )


def load(source: str | FilePath | Mapping[str, Any]) -> Plan:
    """Read a configuration; ConfigFileError lists all its faults with their lines."""
    document = read(source)
    reader = Reader(document)
    plan = reader.plan()
    if reader.faults:
        raise ConfigFileError(sorted(reader.faults, key=lambda fault: fault.line))
    return plan


class Reader(Tables):
    """Reads a whole configuration."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        # Names as they stand in the file, those of faulty backends too: who refers to
        # a backend with a typing error in it makes no mistake.
        self.labels: dict[str, int] = {}
        self.names: set[str] = set()

    def plan(self) -> Plan:
        """Read everything; the plan is of use only when there are no faults."""
        data = self.document.data
        for path in self.document.twice:
            self.fault(path, "is given twice")
        for name in data:
            if name not in SECTIONS:
                self.fault((name,), f"unknown table; {suggestion(name, SECTIONS)}")
        router = self.table(("router",), data.get("router", {}), RouterTable)
        groups = self._groups()
        backends = self._join(self._backends(), groups)
        for name in groups:
            if name not in self.names:
                hint = suggestion(name, self.names)
                self.fault(("group", name), f"has no backends; {hint}")
        budgets = self._budgets()
        fallbacks = self._fallbacks(groups)
        options = self._options(router) if router is not None else {}
        return Plan(
            self.document.file,
            backends,
            {**options, "budgets": budgets, "fallbacks": fallbacks},
            {
                name: (group.strategy, group.v)
                for main, group in groups.items()
                for name in (main, *group.aliases)
                if group.strategy is not None or group.v is not None
            },
        )

    def _origin(self, path: Path) -> Path:
        """Where a backend's value was inherited from, if it is not its own."""
        if path[:1] != ("backend",) or len(path) < 3 or path in self.document.lines:
            return path
        table = self.document.data["backend"][path[1]]
        provider = str(table.get("model", "")).partition("/")[0]
        for start in (("provider", provider), ("defaults",)):
            if (*start, *path[2:]) in self.document.lines:
                return (*start, *path[2:])
        return path

    # -- sections ------------------------------------------------------------

    def _options(self, router: RouterTable) -> dict[str, Any]:
        options = {name: getattr(router, name) for name in router.__struct_fields__}
        if router.ledger is not None:
            options["ledger"] = self.document.folder / router.ledger
        sources = router.prices
        options["prices"] = table = PriceTable()
        for source in (sources,) if isinstance(sources, str) else sources:
            web = source.startswith(("http://", "https://"))
            try:
                table.overlay(source if web else self.document.folder / source)
            except (ConfigError, OSError) as error:
                self.fault(("router", "prices"), str(error))
        return options

    def _group_tables(self) -> Mapping[str, Any]:
        data = self.document.data.get("group", {})
        if isinstance(data, Mapping):
            return data
        self.fault(("group",), "write one table for each: [group.NAME]")
        return {}

    def _groups(self) -> dict[str, GroupTable]:
        made = {
            name: self.table(("group", name), value, GroupTable)
            for name, value in self._group_tables().items()
        }
        return {name: group for name, group in made.items() if group is not None}

    def _backends(self) -> list[Backend]:
        data = self.document.data
        tables = data.get("backend")
        if not isinstance(tables, list) or not tables:
            self.fault(("backend",), "give at least one [[backend]]")
            return []
        defaults = self._inherited(("defaults",), data.get("defaults", {}))
        providers = data.get("provider", {})
        if not isinstance(providers, Mapping):
            self.fault(("provider",), "write one table for each: [provider.NAME]")
            providers = {}
        for name, table in providers.items():
            self._inherited(("provider", name), table)
        made = []
        for i, table in enumerate(tables):
            path: Path = ("backend", i)
            if not isinstance(table, Mapping):
                self.fault(path, f"must be a table, not {kind_of(table)}")
                continue
            provider = str(table.get("model", "")).partition("/")[0]
            below = providers.get(provider, {})
            merged = merge(
                merge(defaults, below if isinstance(below, Mapping) else {}), table
            )
            self._name(path, i, merged)
            keyed = self._keyed(path, merged)
            backend = self.table(path, merged, Backend)
            if backend is not None and keyed and self._callable(path, backend):
                made.append(backend)
        return made

    def _keyed(self, path: Path, table: Mapping[str, Any]) -> bool:
        """Whether the variable that holds the key is set; it is not read here."""
        key = table.get("api_key")
        if not isinstance(key, str) or not key.startswith("env:"):
            return True
        if not os.environ.get(key[4:]):
            where = (*path, "api_key")
            self.fault(where, f"the environment variable {key[4:]} is not set")
            return False
        return True

    def _name(self, path: Path, index: int, table: Mapping[str, Any]) -> None:
        """Note the names a backend goes by; its own must be its alone."""
        field = "name" if table.get("name") else "model"
        label = str(table.get(field, ""))
        groups = table.get("groups")
        self.names |= {label, str(table.get("model", ""))} - {""}
        self.names |= {str(g) for g in groups} if isinstance(groups, list) else set()
        if label and self.labels.setdefault(label, index) != index:
            line = self.document.line(("backend", self.labels[label]))
            self.fault(
                (*path, field),
                f"{label!r} is taken{f' (line {line})' if line else ''}; "
                "give each backend its own name",
            )

    def _inherited(self, path: Path, table: Any) -> Mapping[str, Any]:
        self.table(path, table, Backend, partial=True)
        if not isinstance(table, Mapping):
            return {}
        for name in ("model", "name"):
            if name in table:
                self.fault((*path, name), "belongs to one backend, not to several")
        return table

    def _callable(self, path: Path, backend: Backend) -> bool:
        """Whether the dialect takes it: provider, address, key, options."""
        try:
            make_dialect(backend)
        except ConfigError as error:
            field = {"provider": "model"}.get(error.field, error.field)
            self.fault((*path, field), str(error))
            return False
        return True

    def _join(
        self, backends: list[Backend], groups: Mapping[str, GroupTable]
    ) -> list[Backend]:
        """Put the backends into the groups that name them, and under all aliases."""
        joined = {backend.label: list(backend.groups) for backend in backends}
        for name, i, label in self._listed("backends"):
            if label in self.labels:
                self.names.add(name)
                joined.get(label, []).append(name)
            else:
                hint = suggestion(label, self.labels)
                path = ("group", name, "backends", i)
                self.fault(path, f"no backend {label!r}; {hint}")
        for group in groups.values():
            self.names |= set(group.aliases)
        for backend in backends:
            names = joined[backend.label]
            for name in dict.fromkeys((*names, backend.model, backend.label)):
                names += groups[name].aliases if name in groups else ()
        return [
            msgspec.structs.replace(b, groups=tuple(dict.fromkeys(joined[b.label])))
            for b in backends
        ]

    def _listed(self, field: str) -> Iterator[tuple[str, int, str]]:
        """The names in a field of all groups, faulty groups included."""
        for name, table in self._group_tables().items():
            listed = table.get(field) if isinstance(table, Mapping) else None
            for i, other in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(other, str):
                    yield name, i, other

    def _fallbacks(self, groups: Mapping[str, GroupTable]) -> dict[str, list[str]]:
        for name, i, other in self._listed("fallbacks"):
            if other not in self.names:
                hint = suggestion(other, self.names)
                self.fault(
                    ("group", name, "fallbacks", i),
                    f"no group, model or backend {other!r}; {hint}",
                )
        return {
            alias: list(group.fallbacks)
            for name, group in groups.items()
            for alias in (name, *group.aliases)
            if group.fallbacks
        }

    def _budgets(self) -> list[Budget]:
        data = self.document.data.get("budget", [])
        if not isinstance(data, Mapping | list):
            self.fault(("budget",), "write [[budget]] or [budget.NAME]")
            return []
        pairs: Iterable[tuple[Any, Any]] = (
            data.items() if isinstance(data, Mapping) else enumerate(data)
        )
        made = []
        for key, table in pairs:
            path: Path = ("budget", key)
            budget = self.table(path, table, Budget)
            for field, known in (("backend", self.labels), ("group", self.names)):
                name = table.get(field) if isinstance(table, Mapping) else None
                if isinstance(name, str) and name not in known:
                    hint = suggestion(name, known)
                    self.fault((*path, field), f"no {field} {name!r}; {hint}")
            if budget is not None:
                made.append(budget)
                self._calendar(path, budget)
        return made

    def _calendar(self, path: Path, budget: Budget) -> None:
        try:
            if budget.per != "total":
                window(budget, time.time())
        except ConfigError as error:
            self.fault((*path, error.field), str(error))


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another, tables in them key by key."""
    made = dict(below)
    for key, value in above.items():
        old = made.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        made[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return made

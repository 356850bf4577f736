"""A configuration file becomes the arguments of a Router; all its faults at once.

    Document --Reader--> Plan(backends, options, groups)  or  ConfigFileError

Tables are laid over those that they inherit from (_inherit). Every value is read by the
type of its field, every class checks itself, and what is wrong is noted with its line
while reading goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from .._config import Backend, Budget
from .._errors import ConfigError
from .._experiments._experiment import Experiment
from .._experiments._mirror import Mirror
from .._fleet._groups import CHAINS
from .._fleet._target import make_dialect
from .._fleet._wildcards import STAR, is_known
from .._money._prices import PriceTable
from .._money._windows import window
from .._tasks._rules import Rule
from .._tasks._task import Task
from ..providers import PROVIDERS
from ._arms import check_arms
from ._inherit import GROUPS, OF_ONE, lay_over, merge
from ._places import ConfigFileError, Document, Note, Path, read
from ._schema import SECTIONS, GroupTable, RouterTable
from ._tables import Tables, kind_of, suggestion

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet
    from .._router_operation import Operation

_S = TypeVar("_S", bound=Struct)
_R = TypeVar("_R", bound="Operation")


class Plan(Struct, frozen=True):
    """What a file asks for: a Router's arguments.

    ``options`` are Router's keyword arguments; ``finish`` are steps for when the fleet
    stands; ``notes`` say what was not taken as it stands; ``files`` are all that was
    read; ``ways``: what a LiteLLM file says of calls.
    """

    file: str
    backends: list[Backend]
    options: dict[str, Any]
    finish: tuple[Callable[[Fleet], None], ...] = ()
    notes: tuple[Note, ...] = ()
    files: tuple[str, ...] = ()
    ways: Any = None

    def build(self, make: Callable[..., _R]) -> _R:
        """Construct the Router; ConfigFileError when its parts do not fit together."""
        try:
            router = make(self.backends, **self.options)
        except ConfigFileError:
            raise
        except (ValueError, OverflowError) as error:  # of the core: out of its range
            field = getattr(error, "field", "(fleet)")
            raise ConfigFileError([Note(self.file, 0, field, str(error))]) from error
        router._ways = self.ways
        for step in self.finish:
            step(router._fleet)
        return router


def load(source: str | FilePath | Mapping[str, Any]) -> Plan:
    """Read a configuration; ConfigFileError lists all its faults with their lines."""
    document = read(source)
    reader = Reader(document)
    plan = reader.plan()
    if reader.faults:
        faults = sorted(reader.faults, key=lambda fault: fault.line)
        raise ConfigFileError(faults, reader.files())
    return plan


class Reader(Tables):
    """Reads a whole configuration."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        # Names as they stand in the file, those of faulty backends too: who refers to
        # a backend with a typing error in it makes no mistake.
        self.labels: dict[str, int] = {}
        self.names: set[str] = set()
        self.tables: list[str] = []  # files with prices

    def plan(self) -> Plan:
        """Read everything; the plan is of use only when there are no faults."""
        data = self.document.data
        for path in self.document.twice:
            self.fault(path, "is given twice")
        for name in data:
            if name not in SECTIONS:
                self.fault((name,), f"unknown table; {suggestion(name, SECTIONS)}")
        router = self.table(("router",), data.get("router", {}), RouterTable)
        backends = self._join(self._backends())
        groups = self._groups(backends)
        for group in groups:
            if not is_known(group.name, self.names):
                hint = suggestion(group.name, self.names)
                self.fault(("group", group.name), f"has no backends; {hint}")
        aliases = self._aliases()
        self._chains()
        options = self._options(router) if router is not None else {}
        return Plan(
            self.document.file,
            backends,
            {
                **options,
                **self._calls(data.get("router", {})),
                "experiments": self._each("experiment", Experiment),
                "mirrors": self._each("mirror", Mirror),
                "groups": groups,
                "aliases": aliases,
                "budgets": self._budgets(),
            },
            files=self.files(),
        )

    def _origin(self, path: Path) -> Path:
        """Where a backend's value was inherited from, if it is not its own."""
        if len(path) < 3 or path in self.document.lines:
            return path
        if path[0] == "group" and (*GROUPS, *path[2:]) in self.document.lines:
            return (*GROUPS, *path[2:])
        if path[0] != "backend":
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
        if router.retry_budget is False:
            options["retry_budget"] = None
        if router.ledger is not None:
            options["ledger"] = self.document.folder / router.ledger
        sources = router.prices
        options["prices"] = table = PriceTable()
        for source in (sources,) if isinstance(sources, str) else sources:
            web = source.startswith(("http://", "https://"))
            if not web:
                self.tables.append(str(self.document.folder / source))
            try:
                table.overlay(source if web else self.tables[-1])
            except (ConfigError, OSError) as error:
                self.fault(("router", "prices"), str(error))
        return options

    def files(self) -> tuple[str, ...]:
        """Everything that was read; nothing of a dict."""
        own = () if self.document.file == "(dict)" else (self.document.file,)
        return (*own, *self.tables)

    def _named(self, section: str) -> Mapping[str, Any]:
        data = self.document.data.get(section, {})
        if isinstance(data, Mapping):
            return data
        self.fault((section,), f"write one table for each: [{section}.NAME]")
        return {}

    def _groups(self, backends: list[Backend]) -> list[GroupTable]:
        """Each [group.NAME]; with [defaults.group] all groups that backends name."""
        tables, below = self._named("group"), self._group_defaults()
        if not below:
            return self._each("group", GroupTable)
        self.table(GROUPS, below, GroupTable, partial=True)
        for field in OF_ONE:
            if field in below:
                self.fault((*GROUPS, field), "belongs to one group, not to several")
        named: dict[str, Any] = {n: {} for b in backends for n in b.groups}
        made = [
            self.table(("group", name), lay_over(below, name, table), GroupTable)
            for name, table in {**named, **tables}.items()
        ]
        return [group for group in made if group is not None]

    def _group_defaults(self) -> Mapping[str, Any]:
        defaults = self.document.data.get("defaults", {})
        table = defaults.get("group", {}) if isinstance(defaults, Mapping) else {}
        if isinstance(table, Mapping):
            return table
        self.fault(GROUPS, f"must be a table, not {kind_of(table)}")
        return {}

    def _each(self, section: str, shape: type[_S]) -> list[_S]:
        """The tables [section.NAME]; what they name must be known."""
        tables = self._named(section)
        made = [self.table((section, n), t, shape) for n, t in tables.items()]
        for name, table in tables.items():
            if shape is Experiment:
                check_arms((section, name), table, self.fault, self._known)
            for field in (
                ("group", "to", "models") if isinstance(table, Mapping) else ()
            ):
                value = table.get(field)
                for i, goal in enumerate(value) if isinstance(value, list) else ():
                    if isinstance(goal, str):
                        self._known((section, name, field, i), goal)
                if isinstance(value, str):
                    self._known((section, name, field), value)
        return [one for one in made if one is not None]

    def _aliases(self) -> dict[str, str]:
        """All other names and what they stand for; from here on they are known."""
        pairs: list[tuple[Path, str, str]] = [
            (("group", name, "aliases", i), alias, name)
            for name, i, alias in self._listed("aliases")
        ]
        router = self.document.data.get("router", {})
        own = router.get("aliases", {}) if isinstance(router, Mapping) else {}
        for alias, name in own.items() if isinstance(own, Mapping) else ():
            path: Path = ("router", "aliases", alias)
            if isinstance(name, str) and self._known(path, name):
                pairs.append((path, alias, name))
        made: dict[str, str] = {}
        for path, alias, name in pairs:
            if alias in self.names or made.get(alias, name) != name:
                self.fault(path, f"{alias!r} is taken; give another name")
            made[alias] = name
        self.names |= made.keys()
        return made

    def _known(self, path: Path, name: str) -> bool:
        """Whether something can be asked for by this name; a fault if not."""
        if is_known(name.replace(STAR, "x"), self.names) or name in self.names:
            return True
        hint = suggestion(name, self.names)
        self.fault(path, f"no group, model or backend {name!r}; {hint}")
        return False

    def _chains(self) -> None:
        """Every fallback must lead somewhere."""
        for field in CHAINS:
            for name, i, other in self._listed(field):
                self._known(("group", name, field, i), other)
            inherited = self._group_defaults().get(field)
            for i, other in enumerate(inherited if isinstance(inherited, list) else ()):
                if isinstance(other, str):
                    self._known((*GROUPS, field, i), other)

    # -- tasks ---------------------------------------------------------------

    def _calls(self, router: Any) -> dict[str, Any]:
        """What calls are for, and who tells it."""
        default = router.get("default_task") if isinstance(router, Mapping) else None
        if isinstance(default, str):
            self._is_task(("router", "default_task"), default)
        return {
            "tasks": self._each("task", Task),
            "classifier": self._rules("rule") or None,
            "shadow_classifier": self._rules("shadow_rule") or None,
        }

    def _rules(self, section: str) -> list[Rule]:
        tables = self.document.data.get(section, [])
        if not isinstance(tables, list):
            self.fault((section,), f"write [[{section}]]")
            return []
        rules = [
            self.table((section, i), table, Rule) for i, table in enumerate(tables)
        ]
        for i, table in enumerate(tables):
            task = table.get("task") if isinstance(table, Mapping) else None
            if isinstance(task, str):
                self._is_task((section, i, "task"), task)
        return [rule for rule in rules if rule is not None]

    def _is_task(self, path: Path, name: str) -> None:
        tasks = self._named("task")
        if name not in tasks:
            self.fault(path, f"no task {name!r}; {suggestion(name, tasks)}")

    # -- backends ------------------------------------------------------------

    def _backends(self) -> list[Backend]:
        data = self.document.data
        tables = data.get("backend")
        if not isinstance(tables, list) or not tables:
            self.fault(("backend",), "give at least one [[backend]]")
            return []
        below = data.get("defaults", {})
        if isinstance(below, Mapping):
            below = {name: value for name, value in below.items() if name != "group"}
        defaults = self._inherited(("defaults",), below)
        providers = data.get("provider", {})
        if not isinstance(providers, Mapping):
            self.fault(("provider",), "write one table for each: [provider.NAME]")
            providers = {}
        for name, table in providers.items():
            if name not in PROVIDERS:
                hint = suggestion(name, PROVIDERS)
                self.fault(("provider", name), f"no provider {name!r}; {hint}")
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
            make_dialect(backend).sigv4()  # says what keys are missing
        except ConfigError as error:
            field = {"provider": "model"}.get(error.field, error.field)
            self.fault((*path, field), str(error))
            return False
        return True

    def _join(self, backends: list[Backend]) -> list[Backend]:
        """Put the backends into the groups that name them."""
        joined = {backend.label: list(backend.groups) for backend in backends}
        for name, i, label in self._listed("backends"):
            if label in self.labels:
                self.names.add(name)
                joined.get(label, []).append(name)
            else:
                hint = suggestion(label, self.labels)
                path = ("group", name, "backends", i)
                self.fault(path, f"no backend {label!r}; {hint}")
        made = []
        for backend in backends:
            groups = tuple(dict.fromkeys(joined[backend.label]))
            try:
                made.append(msgspec.structs.replace(backend, groups=groups))
            except ConfigError as error:  # a wildcard in a group that is none
                self.fault(("backend", self.labels[backend.label]), str(error))
        return made

    def _listed(self, field: str) -> Iterator[tuple[str, int, str]]:
        """The names in a field of all groups, faulty groups included."""
        for name, table in self._named("group").items():
            listed = table.get(field) if isinstance(table, Mapping) else None
            for i, other in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(other, str):
                    yield name, i, other

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
                if isinstance(name, str) and not is_known(name, known):
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

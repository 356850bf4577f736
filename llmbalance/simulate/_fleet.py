"""The router's own configuration on a virtual clock, with the truth behind it.

    Fleet([Backend, ...], services={...}, troubles=[...])
        |  make(seed)                      the very Fleet of the Router, keys left out
        v
    Pool + Simulation                      one of each for every run

Nothing is sent anywhere: backends need no keys and no addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import Any, ClassVar

import msgspec

from .._checks import one_of, positive
from .._config import Backend, Breaker, Budget, Limits, Timeouts
from .._core import PriceRow, Simulation
from .._errors import ConfigError, UnknownModelError
from .._fleet._fleet import Fleet as RouterFleet
from .._fleet._groups import Group
from .._fleet._terms import add_limits, charge_of
from .._money._prices import PriceTable
from .._money._windows import window
from .._price import Price
from ..providers import Dialect
from ._conduct import Conduct
from ._file import left_out, read_fleet, warn
from ._service import MOST, PriceChange, Service, Trouble, of_kind
from ._trace import ANY, Trace

_DAWN = 1.0  # the virtual clock's first second
_WEEK = 7 * 86400.0  # after the last arrival nothing matters any more
_JUST = 0.001  # s


class _Silent(Dialect):
    """The dialect of backends that are never called."""

    name: ClassVar[str] = "simulated"
    needs_key: ClassVar[bool] = False
    default_base_url: ClassVar[str] = "http://127.0.0.1:9"


class _Virtual(RouterFleet):
    """The Router's fleet, as of a moment of one's choice."""

    def __init__(self, backends: list[Backend], begins: float, **options: Any) -> None:
        self.begins = begins
        super().__init__(backends, **options)

    def wall(self) -> float:
        return self.begins

    def refresh(self) -> None:
        """Let windows begin on the virtual clock."""
        for meter in self.meters:
            budget = meter.budget
            if budget.per == "total":
                continue
            _, ends_in, period = window(budget, self.begins)
            ends_in = period / 32 if budget.rolling else ends_in  # of a slot
            self.pool.set_window(meter.index, period, ends_in, _DAWN)

    def turns(self, seconds: float) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield when (s) calendar windows of uneven length end, with what to do then.

        The pool itself turns a window into one of the same length.
        """
        for meter in self.meters:
            budget = meter.budget
            if budget.rolling or budget.per not in ("day", "week", "month"):
                continue
            if budget.timezone == "UTC" and budget.per != "month":
                continue
            at = window(budget, self.begins).ends_in + _JUST
            while at < seconds:
                _, ends_in, period = window(budget, self.begins + at)
                now = _DAWN + at
                yield (
                    at,
                    partial(self.pool.set_window, meter.index, period, ends_in, now),
                )
                at += ends_in


class Fleet:
    """Backends with their service models, ready to be simulated any number of times.

    ``services``: how each backend really behaves, by name ("*": all others; default
    Service()). ``troubles``, ``price_changes``: what happens meanwhile. ``start``: the
    date and time (UTC) at which traces begin, for calendar budgets and prices that
    depend on the time. The rest is the Router's: value (its v), fallbacks, groups,
    aliases, budgets, prices, unknown_price, breaker, shift_at, stop_at, sessions,
    timeout, timeouts, wait, max_waiting, retry_budget. The group "*" holds all
    backends. A group's own strategy and v come before those of run(), as before the
    Router's; only REFERENCES replace them.

    What a Router has and a simulation has not: priorities; where refused contents go;
    budgets of tags, tasks and users; hedging, health checks, experiments, mirrors.
    ``left_out`` has what was asked for of these.
    Raises ConfigError as the Router does, and for names that are no backend.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        services: Mapping[str, Service] | None = None,
        troubles: Iterable[Trouble] = (),
        price_changes: Iterable[PriceChange] = (),
        start: str = "2026-01-05",
        value: float | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        groups: Iterable[Group] = (),
        aliases: Mapping[str, str] | None = None,
        budgets: Iterable[Budget] = (),
        prices: PriceTable | None = None,
        unknown_price: str | Price = "dearest",
        breaker: Breaker | None = None,
        shift_at: float = 0.8,
        stop_at: float = 0.95,
        sessions: int = 4096,
        timeout: float = 600.0,
        timeouts: Timeouts | None = None,
        wait: bool = True,
        max_waiting: int | None = None,
        retry_budget: float | None = 0.2,
    ) -> None:
        self.backends = list(backends)
        for backend in self.backends:
            of_kind("backends", backend, Backend)
            if backend.is_wildcard:
                remedy = "name each model: a simulation knows no others"
                raise ConfigError("model", backend.model, remedy)
        of_kind("services", services or {}, Mapping)
        self.services = dict(services or {})
        self.troubles = list(troubles)
        self.price_changes = list(price_changes)
        for field, kind, listed in (
            ("services", Service, self.services.values()),
            ("troubles", Trouble, self.troubles),
            ("price_changes", PriceChange, self.price_changes),
        ):
            for one in listed:
                of_kind(field, one, kind)
        positive("value", value, zero=True)
        self.value = value
        self.conduct = Conduct(timeout, timeouts, wait, max_waiting, retry_budget)
        self._options: dict[str, Any] = {
            "fallbacks": fallbacks,
            "groups": list(groups),
            "aliases": aliases,
            "budgets": list(budgets),
            "prices": prices or PriceTable(),
            "unknown_price": unknown_price,
            "breaker": breaker,
            "shift_at": shift_at,
            "stop_at": stop_at,
            "sessions": sessions,
        }
        try:
            moment = datetime.fromisoformat(start)
        except (TypeError, ValueError):
            raise ConfigError("start", start, 'write "2026-01-05"') from None
        self._begins = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        made = self.make("composite", None, 0)  # says at once what is wrong
        self._members = made.members()
        self._links = {
            name: [made.group_names[i] for i in made.fallbacks.get(number, ())]
            for name, number in made.groups.items()
        }
        self._aliases = made.aliases
        self.left_out = tuple(left_out(self._options["groups"], made.budgets))
        self.names = [backend.label for backend in self.backends]
        for name in self.services:
            one_of("services", name, (*self.names, "*"))
        for event in self.troubles:
            one_of("backend", event.backend, self.names)
        for change in self.price_changes:
            one_of("backend", change.backend, self.names)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **options: Any) -> Fleet:
        """Read a Router's configuration file; keys need not be set.

        ``options`` are this class's own (services, troubles, ...). Strategies are
        left to run(). What the file asks for and a simulation does not do stands in
        ``left_out`` and in the log. Raises ConfigFileError with all faults of the file.
        """
        backends, own, told = read_fleet(path)
        fleet = cls(backends, **(own | options))
        fleet.left_out = (*told, *fleet.left_out)
        warn(path, fleet.left_out)
        return fleet

    def service(self, name: str) -> Service:
        """Return the service model of a backend."""
        return self.services.get(name) or self.services.get("*") or Service()

    def limits(self, backend: Backend) -> Limits | None:
        """Return what a backend's provider really allows."""
        limits = self.service(backend.label).limits
        return limits if isinstance(limits, Limits | None) else backend.limits

    def charge(self, backend: Backend, limits: Limits) -> str:
        """Return how a provider charges tokens: one of CHARGES."""
        return charge_of(backend, limits)

    def members(self, group: str) -> list[int]:
        """Return the backends a group's calls may end at, fallbacks included."""
        walk = [self._aliases.get(group, group)]
        for name in walk:
            walk += [other for other in self._links[name] if other not in walk]
        found = {i for name in walk for i in self._members[name]}
        return [i for i in sorted(found) if self.backends[i].weight > 0]

    def replace(self, **changes: Any) -> Fleet:
        """Return the same fleet with other backends, services, troubles, ..."""
        options = {
            "services": self.services,
            "troubles": self.troubles,
            "price_changes": self.price_changes,
            "start": datetime.fromtimestamp(self._begins, UTC).isoformat(),
            "value": self.value,
            **self._options,
            **self.conduct.options(),
        }
        return Fleet(changes.pop("backends", self.backends), **(options | changes))

    def alone(self, name: str) -> Fleet:
        """Return a fleet of one backend, without limits, budgets and troubles.

        It answers for every group of this one.
        """
        one_of("backend", name, self.names)
        backend = self.backends[self.names.index(name)]
        groups = dict.fromkeys(
            group for b in self.backends for group in (*b.groups, b.model, b.label)
        )
        own = {backend.model, backend.label}
        free = msgspec.structs.replace(
            backend, limits=None, weight=1.0, groups=[g for g in groups if g not in own]
        )
        return self.replace(
            backends=[free],
            services={name: self.service(name)},
            troubles=[],
            price_changes=[c for c in self.price_changes if c.backend == name],
            budgets=[],
            fallbacks=None,
            groups=[],
        )

    def make(self, strategy: str, value: float | None, seed: int) -> _Virtual:
        """Make a fresh pool, with the router's configuration in it."""
        silent = [
            msgspec.structs.replace(
                backend,
                dialect=_Silent,
                api_key=None,
                base_url=None,
                proxy=None,
                groups=(*backend.groups, ANY),
                tuned={},
            )
            for backend in self.backends
        ]
        return _Virtual(
            silent,
            self._begins,
            strategy=strategy,
            value=self.value if value is None else value,
            seed=seed,
            **self._options,
        )

    def furnish(self, simulation: Simulation, made: _Virtual, seconds: float) -> None:
        """Give the stations of a simulation their truth, and calls their conduct."""
        self.conduct.tell(simulation, made, self.backends)
        shared: dict[str, list[int]] = {}
        for i, backend in enumerate(self.backends):
            service = self.service(backend.label)
            simulation.service(i, **service.core(backend))
            limits = self.limits(backend)
            if limits is not None:
                self._limit(simulation, i, backend, limits, shared)
            self._introduce(simulation, i, backend)
            for at, row in self.price_rows(backend, seconds)[1:]:
                simulation.price(i, at, row)
        for event in self.troubles:
            if event.start > seconds + _WEEK:
                continue
            simulation.fault(
                self.names.index(event.backend),
                event.kind,
                event.start,
                event.start + min(event.seconds, MOST),
                event.share,
                event.factor,
            )

    def _limit(
        self,
        simulation: Simulation,
        i: int,
        backend: Backend,
        limits: Limits,
        shared: dict[str, list[int]],
    ) -> None:
        """Put a station under its account's limits, as the pool is."""
        if limits.shared is not None and limits.shared in shared:
            for index in shared[limits.shared]:
                simulation.share_limit(i, index)
            return
        charge = self.charge(backend, limits)
        made = add_limits(simulation.limit, i, limits, charge)
        if limits.shared is not None:
            shared[limits.shared] = made

    def _price(self, backend: Backend) -> Price | None:
        if backend.price is not None:
            return backend.price
        prices: PriceTable = self._options["prices"]
        info = prices.lookup(backend.provider, backend.model.partition("/")[2])
        return info.price if info is not None else None

    def _price_at(self, backend: Backend, moment: float) -> PriceRow | None:
        price = self._price(backend)
        if price is None:
            return None
        return price.row(
            service_tier=backend.service_tier, region=backend.region, at=moment
        )

    def _introduce(self, simulation: Simulation, i: int, backend: Backend) -> None:
        """What other routers' rules are told of a backend."""
        limits = backend.limits or Limits()
        rpm, tpm = limits.rpm or 0, limits.tpm or 0
        plain = all(b.weight == 1 for b in self.backends)
        weight = float(rpm or tpm or 1) if plain else backend.weight
        row = self._price_at(backend, self._begins)
        nano = row.cost(input=1000, output=1000) if row is not None else None
        simulation.peer(i, max(weight, 1e-9), (nano or 0) * 1e-12, rpm, tpm)

    def price_rows(
        self, backend: Backend, seconds: float
    ) -> list[tuple[float, PriceRow]]:
        """Return when (s) a backend takes which price within ``seconds``.

        The first is that at 0; a price that nobody knows is left to the Router.
        """
        price, moment = self._price(backend), self._begins
        row = self._price_at(backend, moment)
        if row is None:
            row = PriceRow({"input": 0, "output": 0})
        rows = [(0.0, row)]
        while price is not None:
            change = price.next_change(moment)
            if change is None or change > self._begins + seconds:
                break
            moment = change
            row = self._price_at(backend, moment)
            assert row is not None
            rows.append((moment - self._begins, row))
        rows += [
            (change.at, change.price.row(at=self._begins + change.at))
            for change in self.price_changes
            if change.backend == backend.label and change.at <= seconds + _WEEK
        ]
        return sorted(rows, key=lambda pair: pair[0])

    def chain(self, made: _Virtual) -> list[list[int]]:
        """Return for every group the groups to walk: itself, then its fallbacks."""
        chains = []
        for group in range(len(made.group_names)):
            chain = [group]
            for link in chain:
                chain += [g for g in made.fallbacks.get(link, []) if g not in chain]
            chains.append(chain)
        return chains

    def groups_of(self, trace: Trace, made: _Virtual) -> list[int]:
        """Return the number of each of the trace's groups; UnknownModelError."""
        for name in trace.groups:
            if name not in made.groups:
                known = ", ".join(sorted(made.groups.keys() - {ANY}))
                raise UnknownModelError(f"group = {name!r}: known are {known}")
        return [made.groups[name] for name in trace.groups]

    def __repr__(self) -> str:
        return f"Fleet({', '.join(self.names)})"

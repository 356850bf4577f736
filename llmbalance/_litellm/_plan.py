"""LiteLLM proxy configurations, loaded as they are: ``Router.from_litellm(path)``.

    model_list        rows of one model_name are one group      _litellm_rows
    router_settings   strategy, fallbacks, time-outs, cooldowns
    litellm_settings  the same keys, where router_settings lacks them
    the rest          belongs to the proxy and is ignored

Nothing disappears silently: every row that is dropped and every key that is ignored or
read in another way is a note with file and line. docs/configuration.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import msgspec

from .._config import Backend
from .._configfile._load import Plan
from .._configfile._places import Path
from .._configfile._tables import suggestion
from .._money._prices import PriceTable
from .._price import Price
from ._budgets import Budgets
from ._fails import allowed_by, breaker_of
from ._names import STRATEGIES
from ._own import Own
from ._routes import ONLY, Routes
from ._row_figures import Habits
from ._rows import Deployment, deployments
from ._sets import Sets
from ._sheet import Sheet
from ._terms import phases
from ._unread import SETTINGS, SHARED

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet

# Keys of router_settings that are honoured.
_SETTINGS = frozenset(
    (
        *("routing_strategy", "timeout", "stream_timeout", "cooldown_time"),
        *("allowed_fails", "allowed_fails_policy", "disable_cooldowns"),
        *("default_max_parallel_requests", "routing_groups"),
        *("default_litellm_params", "model_group_alias", "default_fallbacks"),
        *("provider_budget_config", "enable_tag_filtering", "fallbacks", *ONLY),
        *("tag_filtering_match_any", "default_priority", "optional_pre_call_checks"),
        *("num_retries", "retry_policy", "model_group_retry_policy"),
    )
)
# Of these litellm_settings, too, where router_settings says nothing.
_SHARED = frozenset(
    (
        *("fallbacks", *ONLY, "default_fallbacks", "allowed_fails"),
        *("request_timeout", "num_retries"),
    )
)
_REFUSE = "block_requests_for_models_without_pricing"
_OWN = frozenset(
    ("drop_params", "max_budget", "budget_duration", "tag_budget_config", _REFUSE)
)
_LEAST = 1e-6  # weight
_READ = ("model_list", "router_settings", "litellm_settings", "environment_variables")


def load_litellm(
    source: str | FilePath | Mapping[str, Any], *, strict: bool = False
) -> Plan:
    """Read a LiteLLM configuration (YAML, or a dict).

    ``strict``: raise ConfigFileError when anything that concerns routing is dropped or
    cannot be honoured; otherwise that is only noted. It is raised in any case when no
    row is left.
    """
    sheet = Sheet(source)
    plan = _Reader(sheet).plan()
    sheet.notes.sort(key=lambda n: (n.file != sheet.document.file, n.file, n.line))
    if not plan.backends and not any(n.kind == "fault" for n in sheet.notes):
        sheet.note(("model_list",), "has no rows")
    if not plan.backends or (strict and any(n.kind == "fault" for n in sheet.notes)):
        raise sheet.stop()
    return msgspec.structs.replace(plan, notes=tuple(sheet.notes))


class _Reader:
    """Reads one sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.router = self._resolved("router_settings")
        self.shared = self._resolved("litellm_settings")

    def plan(self) -> Plan:
        """Read everything that concerns routing; note the rest."""
        self._note_keys()
        timeout = self._seconds("timeout")
        habits = self._habits(timeout)
        rows = deployments(self.sheet, habits)
        backends = self._named(rows)
        names = {name for b in backends for name in (*b.groups, b.label, b.model)}
        routes = Routes(self.sheet, names)
        routes.read_aliases(self.router.get("model_group_alias"))
        sets = Sets(self.sheet, self.router.get("routing_groups"), routes)
        backends = routes.join(backends)
        reader = Budgets(self.sheet, self.router, self.shared, self._number)
        budgets, finish = reader.read(backends, rows)
        if self.router.get("disable_cooldowns"):
            finish.append(_keep_closed)
        own = Own(self.sheet, self.router, self._setting)
        options: dict[str, Any] = {
            "strategy": self._strategy(),
            "fallbacks": sets.chains(
                routes.chains(
                    backends,
                    self._setting("fallbacks"),
                    self._setting("default_fallbacks"),
                )
            ),
            "groups": own.groups(routes, backends, rows, sets.strategies),
            "mirrors": own.mirrors(routes, rows),
            "aliases": routes.others,
            "budgets": budgets,
            "breaker": habits.breaker,
            "timeouts": habits.timeouts,
            "unknown_price": self._unknown_price(backends),
        }
        if own.repeats():
            options["retry_budget"] = None
        if own.sticks():
            options["auto_session"] = True
        if timeout is not None:
            tries = 1 + (2 if own.retries is None else own.retries)
            options["timeout"] = timeout * max(2, tries)
        if any(b.limits and (b.limits.rpm or b.limits.tpm) for b in backends):
            self.sheet.note(
                ("model_list",),
                "rpm and tpm are kept exactly, with every strategy",
                "changed",
            )
        return Plan(
            self.sheet.document.file,
            backends,
            options,
            finish=tuple(finish),
            files=tuple(self.sheet.files),
            ways=own.ways(routes, backends, reader.tags),
        )

    # -- keys ----------------------------------------------------------------

    def _resolved(self, section: str) -> dict[str, Any]:
        """A section with its references resolved, as far as it concerns routing."""
        made = {}
        for key, value in self.sheet.section(section).items():
            made[key], wrong = self.sheet.resolve(value)
            routes = key in _SETTINGS | _SHARED | _OWN
            if wrong and routes:
                self.sheet.note((section, key), wrong)
        return made

    def _setting(self, key: str) -> tuple[Any, tuple[str, str]]:
        """A setting and where it stands: router_settings, else litellm_settings."""
        if self.router.get(key) is not None:
            return self.router[key], ("router_settings", key)
        other = "request_timeout" if key == "timeout" else key
        if other in _SHARED and self.shared.get(other) is not None:
            return self.shared[other], ("litellm_settings", other)
        return None, ("router_settings", key)

    def _seconds(self, key: str) -> float | None:
        value, place = self._setting(key)
        return self._number(value, place)

    def _number(self, value: Any, place: Path) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if 0 <= number < 9e8:
            return number
        self.sheet.note(place, f"{value!r} is no number >= 0: left out")
        return None

    def _note_keys(self) -> None:
        for key in self.router:
            place = ("router_settings", key)
            if key in SETTINGS:
                self.sheet.note(place, *SETTINGS[key])
            elif key not in _SETTINGS:
                hint = suggestion(key, _SETTINGS)
                self.sheet.note(place, f"unknown key; {hint}")
        for key in self.shared:
            place = ("litellm_settings", key)
            if key not in _SHARED | _OWN:
                why = SHARED.get(key, ("belongs to the proxy", "ignored"))
                self.sheet.note(place, *why)
            elif key in _SHARED and self.router.get(key) is not None:
                self.sheet.note(place, "router_settings says it, too", "ignored")
        for section in self.sheet.sections():
            if section in ("general_settings",):
                for key in self.sheet.section(section):
                    self.sheet.note((section, key), "belongs to the proxy", "ignored")
            elif section not in (*_READ, "credential_list"):
                self.sheet.note((section,), "belongs to the proxy", "ignored")

    # -- settings ------------------------------------------------------------

    def _habits(self, timeout: float | None) -> Habits:
        stream = self._number(
            self.router.get("stream_timeout"), ("router_settings", "stream_timeout")
        )
        fails, place = self._setting("allowed_fails")
        allowed = self._number(fails, place)
        calls = self._seconds("default_max_parallel_requests")
        params = self.router.get("default_litellm_params")
        return Habits(
            timeouts=phases(timeout, stream) if timeout or stream else None,
            breaker=breaker_of(
                allowed_by(
                    None if allowed is None else int(allowed),
                    self.router.get("allowed_fails_policy"),
                    self._note_policy,
                ),
                self._seconds("cooldown_time"),
            ),
            concurrency=int(calls) if calls else None,
            params=params if isinstance(params, dict) else {},
            refuse_unknown=self.shared.get("drop_params") is False,
        )

    def _note_policy(self, name: str, why: str, kind: str) -> None:
        place: Path = ("router_settings", "allowed_fails_policy")
        self.sheet.note((*place, name) if name else place, why, kind)

    def _strategy(self) -> str:
        name = self.router.get("routing_strategy") or "simple-shuffle"
        ours = STRATEGIES.get(str(name))
        if ours is None:
            self.sheet.note(
                ("router_settings", "routing_strategy"),
                f"{name!r} is unknown, simple-shuffle is used; "
                + suggestion(name, STRATEGIES),
            )
            return "weighted"
        return ours

    def _unknown_price(self, backends: list[Backend]) -> str | Price:
        if self.shared.get(_REFUSE):
            return "refuse"
        table = PriceTable()
        plain = [b for b in backends if not b.is_wildcard]
        unpriced = [
            b.label
            for b in plain
            if b.price is None
            and not b.is_wildcard
            and table.lookup(b.provider, b.model.partition("/")[2]) is None
        ]
        listed = {info.provider for info in table}
        strange = (b.is_wildcard and b.provider not in listed for b in backends)
        if not plain and any(strange):
            why = "no price known for its models: counted as free"
            self.sheet.note(("model_list",), why, "changed")
            return Price(0, 0)
        if not unpriced:
            return "dearest"
        none_known = len(unpriced) == len(plain)
        counted = "free" if none_known else "the dearest"
        self.sheet.note(
            ("model_list",),
            f"no price known, counted as {counted}: {', '.join(unpriced)}",
            "changed",
        )
        return Price(0, 0) if none_known else "dearest"

    # -- rows in their groups ------------------------------------------------

    def _named(self, rows: list[Deployment]) -> list[Backend]:
        """Give each backend its name, its share and its place in the order."""
        groups: dict[str, list[Deployment]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        taken: set[str] = set()
        for group, members in groups.items():
            shares = self._shares(members)
            orders = sorted({m.order for m in members if m.order is not None})
            for i, (member, share) in enumerate(zip(members, shares, strict=True)):
                own = group if len(members) == 1 else f"{group}#{i + 1}"
                name = member.id or own
                if name in taken or (member.id in groups and member.id != group):
                    name = own
                while name in taken:
                    name += "'"
                taken.add(name)
                last = len(orders)  # who has no order comes after those who have one
                order = last if member.order is None else orders.index(member.order)
                member.backend = msgspec.structs.replace(
                    member.backend, name=name, weight=share, order=min(order, 255)
                )
        for row in rows:
            self._note_shadow(row, groups)
        return [row.backend for row in rows]

    def _shares(self, members: list[Deployment]) -> list[float]:
        """By weight if any row has one, else by rpm or tpm if all have it."""
        if any(m.weight is not None for m in members):
            shares = [1.0 if m.weight is None else m.weight for m in members]
            if any(shares):
                return _in_range(shares)
            self.sheet.note_row(members[0].row, (), "all weights are 0: taken as equal")
            return [1.0] * len(members)
        for rates in ([m.rpm for m in members], [m.tpm for m in members]):
            known = [rate for rate in rates if rate]
            if len(known) == len(members):
                top = max(known)
                return _in_range([rate / top for rate in known])
        return [1.0] * len(members)

    def _note_shadow(self, row: Deployment, groups: Mapping[str, Any]) -> None:
        model = row.backend.model
        if model in groups and model != row.group:
            self.sheet.note_row(
                row.row,
                ("litellm_params", "model"),
                f"calls of group {model!r} may come here, too: it has this name",
            )


def _in_range(shares: list[float]) -> list[float]:
    """Shares as they stand if weights may be like that, else in parts of the largest;
    what is less than a millionth of that is a millionth."""
    if all(share == 0 or _LEAST <= share <= 1 / _LEAST for share in shares):
        return shares
    top = max(shares)
    return [max(share / top, _LEAST) if share else 0.0 for share in shares]


def _keep_closed(fleet: Fleet) -> None:
    for target in fleet.targets:
        fleet.pool.order(target.index, 2)

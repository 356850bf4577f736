"""What groups and calls of a LiteLLM configuration have of their own.

context_window_fallbacks, retries    Group       per group, or per row where all agree
silent_model                         Mirror      copies of a group's calls
tags, priorities, unknown names      Ways        what acompletion has to know
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._config import Backend
from .._configfile._places import Path
from .._configfile._tables import suggestion
from .._experiments._mirror import Mirror
from .._fleet._groups import Group
from ._call import Ways
from ._retries import MOST, Policies
from ._routes import ONLY, Routes
from ._rows import Deployment
from ._sheet import Sheet

Setting = Callable[[str], tuple[Any, Path]]


class Own:
    """Reads one sheet; ``setting`` returns a router setting and where it stands."""

    def __init__(
        self, sheet: Sheet, router: Mapping[str, Any], setting: Setting
    ) -> None:
        self.sheet, self.router, self._setting = sheet, router, setting
        self.policies = Policies(sheet, router)
        value, place = setting("num_retries")
        self.retries = self.policies.number(place, value)  # of all; None: nobody says

    def repeats(self) -> bool:
        """Whether repetitions are asked for by number: then they are made."""
        policies = ("retry_policy", "model_group_retry_policy")
        return bool(self.retries) or any(self.router.get(name) for name in policies)

    def groups(
        self,
        routes: Routes,
        backends: list[Backend],
        rows: list[Deployment],
        strategies: Mapping[str, str],
    ) -> list[Group]:
        """What groups have of their own: strategy, special fallbacks, attempts."""
        context, filtered = (
            routes.special(backends, self._setting(kind)) for kind in ONLY
        )
        names = dict.fromkeys(
            name
            for b in backends
            for name in (*b.groups, "" if b.is_wildcard else b.label)
            if name
        )
        own = self._own_retries(rows)
        made = []
        for name in names:
            tries = self.policies.of(name, own.get(name, self.retries))
            if tries or any(name in has for has in (context, filtered, strategies)):
                made.append(
                    Group(
                        name=name,
                        strategy=strategies.get(name),
                        max_attempts=tries.most,
                        attempts=tries.kinds,
                        context_fallbacks=context.get(name, ()),
                        content_filter_fallbacks=filtered.get(name, ()),
                    )
                )
        self.policies.check(set(names))
        return made

    def _own_retries(self, rows: list[Deployment]) -> dict[str, int]:
        """The number of a group whose rows agree on one."""
        found: dict[str, list[Deployment]] = {}
        for row in rows:
            found.setdefault(row.group, []).append(row)
        made = {}
        for group, members in found.items():
            place = ("litellm_params", "num_retries")
            first = members[0].retries
            if first is not None and all(m.retries == first for m in members):
                made[group] = min(first, MOST)
                if first > MOST:
                    why = f"a call makes {MOST + 1} attempts at most"
                    self.sheet.note_row(members[0].row, place, why, "changed")
                continue
            for member in members:
                if member.retries is not None:
                    why = "left out: the rows of its group do not all say so"
                    self.sheet.note_row(member.row, place, why)
        return made

    def mirrors(self, routes: Routes, rows: list[Deployment]) -> list[Mirror]:
        """Rows with a silent_model have the calls of their group copied."""
        made: dict[tuple[str, str], float] = {}
        for row in rows:
            if row.silent is None:
                continue
            place = ("litellm_params", "silent_model")
            if row.silent not in routes.names:
                hint = suggestion(row.silent, routes.names)
                self.sheet.note_row(row.row, place, f"no group {row.silent!r}; {hint}")
                continue
            members = [other for other in rows if other.group == row.group]
            weights = [m.backend.weight for m in members if m.silent == row.silent]
            share = sum(weights) / (sum(m.backend.weight for m in members) or 1)
            if len(weights) < len(members):
                why = f"{share:.0%} of the calls of {row.group!r} are copied, by weight"
                self.sheet.note_row(row.row, place, why, "changed")
            if share > 0:
                made[row.group, row.silent] = min(share, 1.0)
        return [
            Mirror(to=to, share=share, models=(group,), name=f"silent-{number}")
            for number, ((group, to), share) in enumerate(made.items(), 1)
        ]

    def sticks(self) -> bool:
        """Whether calls are to go where their prompt's beginning is cached."""
        checks = self.router.get("optional_pre_call_checks") or []
        place = ("router_settings", "optional_pre_call_checks")
        names = [str(c) for c in checks] if isinstance(checks, list) else [str(checks)]
        for name in names:
            if name == "prompt_caching":
                why = "calls that begin alike stay together while that is cheaper"
                self.sheet.note(place, f"{name}: {why}", "changed")
            else:
                self.sheet.note(place, f"{name}: use session= to stay with a backend")
        return "prompt_caching" in names

    def ways(
        self, routes: Routes, backends: list[Backend], spending: Iterable[str]
    ) -> Ways:
        """What calls in LiteLLM's words have to know."""
        routed = bool(self.router.get("enable_tag_filtering"))
        tags: dict[str, tuple[frozenset[str], ...]] = {}
        for backend in backends if routed else ():
            for name in (*backend.groups, backend.label):
                tags[name] = (*tags.get(name, ()), frozenset(backend.tags))
        any_tag = self.router.get("tag_filtering_match_any") is not False
        if routes.everywhere:
            _, place = self._setting("default_fallbacks")
            why = "of acompletion and completion; chat refuses names that nobody has"
            self.sheet.note(place, f"serve unknown names {why}", "changed")
        place = ("router_settings", "default_priority")
        own = {tag for backend in backends for tag in backend.tags}
        for tag in sorted(own.intersection(() if routed else spending)):
            here = ("litellm_settings", "tag_budget_config", tag)
            why = "rows have this tag, too: calls with it go to them"
            self.sheet.note(here, why, "changed")
        return Ways(
            tags_route=routed,
            any_tag=any_tag,
            tags=tags,
            spending=frozenset(spending),
            unknown=tuple(routes.everywhere),
            priority=self.policies.number(place, self.router.get("default_priority")),
        )

"""Aliases and fallbacks of a LiteLLM configuration: names that lead to names.

    fallbacks: [{"a": ["b"]}]          a's calls go on to b
    default_fallbacks: ["c"]           so do those of groups without fallbacks, to c
    model_group_alias: {"x": "a"}      x is a, with its fallbacks

Cycles are legal: a call visits each group once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from .._config import Backend
from .._configfile._places import Path
from .._configfile._tables import suggestion
from .._fleet._wildcards import STAR, is_known
from ._sheet import Sheet

# Fallbacks for one kind of failure only.
ONLY = ("context_window_fallbacks", "content_policy_fallbacks")


class Routes:
    """The names of one sheet and where they lead; ``names`` grows by the aliases."""

    def __init__(self, sheet: Sheet, names: set[str]) -> None:
        self.sheet = sheet
        self.names = names
        self.aliases: dict[str, list[str]] = {}
        self.everywhere: list[str] = []  # default fallbacks
        self.others: dict[str, str] = {}  # aliases of models behind wildcards

    def read_aliases(self, value: Any) -> None:
        """Read model_group_alias: {name: group} or {name: {model, hidden}}."""
        place = ("router_settings", "model_group_alias")
        if value is not None and not isinstance(value, dict):
            self.sheet.note(place, "give a mapping: left out")
            return
        for alias, target in (value or {}).items():
            goals = target.get("model") if isinstance(target, dict) else target
            if isinstance(goals, list):
                why = "a list is a group of all its members; LiteLLM refuses it"
                self.sheet.note((*place, alias), why, "changed")
            for goal in goals if isinstance(goals, list) else [goals]:
                if not isinstance(goal, str):
                    self.sheet.note((*place, alias), f"{goal!r} is no name: left out")
                elif goal in self.names and (STAR not in goal or STAR in str(alias)):
                    self.aliases.setdefault(str(alias), []).append(goal)
                elif is_known(goal, self.names) and not isinstance(goals, list):
                    self.others[str(alias)] = goal
                else:
                    hint = suggestion(goal, self.names)
                    self.sheet.note((*place, alias), f"no group {goal!r}; {hint}")
        self.names |= {*self.aliases, *self.others}

    def join(self, backends: list[Backend]) -> list[Backend]:
        """Put the backends of a group under its aliases as well."""
        made = []
        for backend in backends:
            own = {*backend.groups, backend.label, backend.model}
            more = [alias for alias, goals in self.aliases.items() if own & set(goals)]
            groups = tuple(dict.fromkeys((*backend.groups, *more)))
            made.append(msgspec.structs.replace(backend, groups=groups))
        return made

    def special(
        self, backends: list[Backend], setting: tuple[Any, Path]
    ) -> dict[str, list[str]]:
        """Return where calls go on after one kind of failure, by group."""
        made, everywhere = self._read(setting)
        return self._for_all(backends, made, everywhere)

    def chains(
        self,
        backends: list[Backend],
        generic: tuple[Any, Path],
        default: tuple[Any, Path],
    ) -> dict[str, list[str]]:
        """Return where each group's calls go on; settings come with their places."""
        made, everywhere = self._read(generic)
        self.everywhere = everywhere = self._targets(*default) or everywhere
        return self._for_all(backends, made, everywhere)

    def _read(
        self, setting: tuple[Any, Path]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """The chains that a setting names, and the one of "*"."""
        made: dict[str, list[str]] = {}
        for here, group, others in self._entries(*setting):
            called = [group] if group == "*" else self._called(group)
            for name in called:
                made[name] = self._targets(others, here)
            if not called:
                hint = suggestion(group, self.names)
                self.sheet.note(here, f"no group {group!r}: left out; {hint}")
        return made, made.pop("*", [])

    def _called(self, group: str) -> list[str]:
        """Groups of this name, or with a provider before it."""
        if group in self.names:
            return [group]
        longer = sorted(name for name in self.names if name.endswith(f"/{group}"))
        return longer or ([group] if is_known(group, self.names) else [])

    def _for_all(
        self,
        backends: list[Backend],
        made: dict[str, list[str]],
        everywhere: list[str],
    ) -> dict[str, list[str]]:
        for alias, goals in self.aliases.items():
            chain = [name for goal in goals for name in made.get(goal, ())]
            made.setdefault(alias, list(dict.fromkeys(chain)))
        for name in dict.fromkeys(name for b in backends for name in b.groups):
            if not made.get(name):
                made[name] = [other for other in everywhere if other != name]
        return {name: chain for name, chain in made.items() if chain}

    def _entries(self, value: Any, place: Path) -> Iterator[tuple[Path, str, Any]]:
        """Each {"group": others} of a list; everything else is noted and left out."""
        for i, entry in enumerate(value if isinstance(value, list) else []):
            if isinstance(entry, dict):
                for group, others in entry.items():
                    yield (*place, i, group), str(group), others
            else:
                why = f"{entry!r} says not for whom: write {{group: [...]}}"
                self.sheet.note((*place, i), why)
        if value is not None and not isinstance(value, list):
            self.sheet.note(place, "write a list of {group: [...]}: left out")

    def _targets(self, value: Any, place: Path) -> list[str]:
        made = []
        if value is not None and not isinstance(value, str | list):
            self.sheet.note(place, f"{value!r} is no list of groups: left out")
            return []
        for other in [value] if isinstance(value, str) else value or ():
            if isinstance(other, dict) and "model" in other:
                own = ", ".join(str(key) for key in other if key != "model")
                if own:
                    why = f"{own}: left out, fallbacks get the call as it is"
                    self.sheet.note(place, f"{other['model']!r}: its {why}")
                other = other["model"]
            if is_known(other, self.names):
                made.append(str(other))
            else:
                hint = suggestion(other, self.names)
                self.sheet.note(place, f"no group {other!r}: left out; {hint}")
        return made

"""LiteLLM's routing_groups: models that share a strategy, under a name of their own.

- group_name: fast                    Group(name="a", strategy="latency"), b as well,
  models: [a, b]                      and a group "fast" of all their backends
  routing_strategy: latency-based-routing

- group_name: tiers                   "tiers" is a (and b, of one priority);
  models: [a, b, c]                   its fallbacks are what has the next ones
  routing_strategy: priority
  model_priorities: {a: 1, b: 1, c: 2}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._configfile._places import Path
from .._configfile._tables import suggestion
from .._fleet._wildcards import STAR
from ._names import STRATEGIES
from ._routes import Routes
from ._sheet import Sheet

_PLACE = ("router_settings", "routing_groups")
_KEYS = (
    *("group_name", "models", "routing_strategy"),
    *("routing_strategy_args", "model_priorities"),
)
_PRIORITY = "priority"
_NO_NUMBER = 10**9  # a model without a priority comes last


class Sets:
    """The routing groups of one sheet; ``routes`` learns the names they add.

    ``strategies``: those of single groups, by name.
    """

    def __init__(self, sheet: Sheet, value: Any, routes: Routes) -> None:
        self.sheet, self.routes = sheet, routes
        self.strategies: dict[str, str] = {}
        self._next: dict[str, list[str]] = {}  # group -> what has later priorities
        if value is not None and not isinstance(value, list):
            sheet.note(_PLACE, "give a list: left out")
            return
        for i, entry in enumerate(value or ()):
            if isinstance(entry, dict):
                self._read((*_PLACE, i), entry)
            else:
                sheet.note((*_PLACE, i), f"{entry!r} is no mapping: left out")

    def chains(self, generic: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Put later priorities before a group's other fallbacks."""
        made = {name: list(chain) for name, chain in generic.items()}
        for name, later in self._next.items():
            made[name] = list(dict.fromkeys((*later, *made.get(name, ()))))
        return made

    def _read(self, place: Path, entry: dict[str, Any]) -> None:
        for key in entry:
            if key not in _KEYS:
                hint = suggestion(key, _KEYS)
                self.sheet.note((*place, key), f"unknown key; {hint}")
        if entry.get("routing_strategy_args"):
            here = (*place, "routing_strategy_args")
            self.sheet.note(here, "latencies are weighted by their age", "changed")
        name = str(entry.get("group_name") or "")
        models = self._models(place, entry.get("models"))
        strategy = entry.get("routing_strategy")
        ours = STRATEGIES.get(str(strategy))
        if not name or not models:
            self.sheet.note(place, "needs a group_name and models: left out")
        elif strategy == _PRIORITY:
            self._by_priority(place, name, models, entry.get("model_priorities"))
        elif ours is None:
            hint = suggestion(strategy, (*STRATEGIES, _PRIORITY))
            here = (*place, "routing_strategy")
            self.sheet.note(here, f"{strategy!r} is unknown: left out; {hint}")
        else:
            for model in models:
                if self.strategies.setdefault(model, ours) != ours:
                    why = f"{model!r} has a strategy from another group already"
                    self.sheet.note((*place, "models"), why)
            self._name(place, name, models, ours)

    def _models(self, place: Path, value: Any) -> list[str]:
        made: list[str] = []
        for model in value if isinstance(value, list) else ():
            if model in self.routes.names:
                made.append(str(model))
            else:
                hint = suggestion(model, self.routes.names)
                self.sheet.note((*place, "models"), f"no group {model!r}; {hint}")
        return list(dict.fromkeys(made))

    def _name(self, place: Path, name: str, models: list[str], strategy: str) -> bool:
        """Let all backends of some models be called by a name of their own."""
        here = (*place, "group_name")
        if name in self.routes.names:
            why = f"{name!r} is a model or an alias: it goes on meaning that"
            self.sheet.note(here, why, "changed")
            return False
        plain = [model for model in models if STAR not in model]
        if len(plain) < len(models):
            why = f"{name!r} leaves out wildcards, which are many models"
            self.sheet.note(here, why, "changed")
        if not plain:
            return False
        self.routes.aliases[name] = plain
        self.routes.names.add(name)
        self.strategies[name] = strategy
        return True

    def _by_priority(
        self, place: Path, name: str, models: list[str], priorities: Any
    ) -> None:
        """The least number comes first; the next one is where its calls go on."""
        given = priorities if isinstance(priorities, dict) else {}
        levels: dict[int, list[str]] = {}
        for model in models:
            number = given.get(model)
            if type(number) is not int or number < 1:
                why = f"{model!r} needs a whole number >= 1: it comes last"
                self.sheet.note((*place, "model_priorities"), why)
                number = _NO_NUMBER
            levels.setdefault(number, []).append(model)
        first, *rest = (levels[number] for number in sorted(levels))
        if not self._name(place, name, first, "weighted"):
            return
        self._next[name] = []
        for i, level in enumerate(rest, 2):
            later = level[0] if len(level) == 1 else f"{name}#{i}"
            if len(level) == 1 or self._name(place, later, level, "weighted"):
                self._next[name].append(later)

"""Which calls something is about: of these models, for these tasks, with these tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError, UnknownModelError

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet


class Scope:
    """The calls that an Experiment or a Mirror is about; an empty one is about all."""

    __slots__ = ("_fleet", "_groups", "_tags", "_tasks", "everything", "models")

    def __init__(self, fleet: Fleet, given: Any) -> None:
        self._fleet = fleet
        self.models = frozenset(given.models)
        self._groups = frozenset(group_of(fleet, "models", m) for m in given.models)
        self._tasks = frozenset(given.tasks)
        self._tags = frozenset(given.tags)
        self.everything = not (self._groups or self._tasks or self._tags)

    def has(self, model: str, options: Mapping[str, Any]) -> bool:
        """Whether a call belongs to it; UnknownModelError for a model nobody has."""
        if self._groups and self._groups.isdisjoint(self._fleet.groups_of(model)):
            return False
        if self._tasks and options.get("task") not in self._tasks:
            return False
        if not self._tags:
            return True
        tags = options.get("tags") or ()
        return not self._tags.isdisjoint((tags,) if isinstance(tags, str) else tags)

    def meets(self, other: Scope) -> bool:
        """Whether there may be calls that belong to both."""
        return not (
            (self._groups and other._groups and not self._groups & other._groups)
            or (self._tasks and other._tasks and not self._tasks & other._tasks)
        )


def group_of(fleet: Fleet, field: str, name: Any) -> int:
    """Return the number of a group, model or backend; ConfigError for none."""
    try:
        return fleet.group(name)
    except UnknownModelError:
        known = ", ".join(sorted(fleet.groups))
        raise ConfigError(field, name, f"use one of {known}") from None

"""Every name that can be asked for, and the backends behind it, by their numbers."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from .._checks import one_of
from .._config import Backend
from .._errors import ConfigError
from .._fields import check_all
from ._groups import Group

MOST_TAGS = 63  # bits of 64; the last one says that any of them will do
ANY_TAG = 1 << MOST_TAGS


def check_backends(backends: Sequence[Backend]) -> None:
    """Refuse an empty fleet, what is no Backend, and names that stand twice."""
    if not backends:
        raise ConfigError("backends", [], "give at least one Backend")
    seen: set[str] = set()
    check_all("backends", backends, Backend)
    for backend in backends:
        if backend.label in seen:
            raise ConfigError(
                "name",
                backend.label,
                "two backends have this name; give each its own name=...",
            )
        seen.add(backend.label)


def number_tags(backends: Sequence[Backend]) -> dict[str, int]:
    """Give each tag a bit of its own."""
    names = sorted({tag for b in backends for tag in b.tags})
    if len(names) > MOST_TAGS:
        raise ConfigError("tags", len(names), f"at most {MOST_TAGS} different tags")
    return {name: 1 << i for i, name in enumerate(names)}


def members_of(
    backends: Sequence[Backend],
    settings: Mapping[str, Group],
    made: Container[int] = (),
) -> dict[str, list[int]]:
    """Return every name that backends give themselves, with those behind it.

    Left out are wildcards, and what was ``made`` from others.
    """
    members: dict[str, list[int]] = {}
    for i, backend in enumerate(backends):
        if i in made or backend.is_wildcard:
            continue
        for name in dict.fromkeys((*backend.groups, backend.model, backend.label)):
            members.setdefault(name, []).append(i)
    for group in settings.values():
        if group.min_quality and group.name in members:
            members[group.name] = good = [
                i
                for i in members[group.name]
                if backends[i].quality >= group.min_quality
            ]
            if not good:
                remedy = f"no backend of group {group.name!r} is as good"
                raise ConfigError("min_quality", group.min_quality, remedy)
    return members


def check_shares(
    backends: Sequence[Backend], members: Mapping[str, Sequence[int]]
) -> None:
    """Refuse least shares that a group cannot give all at once."""
    for name, indices in members.items():
        total = sum(backends[i].min_share for i in indices)
        if total > 1 + 1e-9:
            remedy = f"let those in {name!r} add up to at most 1"
            raise ConfigError("min_share", total, remedy)


def check_fallbacks(
    fallbacks: Mapping[str, Sequence[str]], groups: Mapping[str, int]
) -> dict[int, list[int]]:
    """Return the fallbacks by the numbers of groups; every name must be known."""
    result: dict[int, list[int]] = {}
    for name, others in fallbacks.items():
        for each in (name, *others):
            one_of("fallbacks", each, groups)
        result[groups[name]] = [groups[other] for other in others]
    return result

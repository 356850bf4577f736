"""What a group has of its own, beside its backends: how to choose, where to go on.

    frontier ── fails ─────────▶ fallbacks                 ["mid"]
        ├────── prompt too long ─▶ context_fallbacks         ["long"]
        └────── content refused ─▶ content_filter_fallbacks  ["open"]

A call stays in its group until nobody there can take it; it goes elsewhere only where
a fallback says so, and never twice to the same group, so circles are legal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from .._checks import MOST_SECONDS, MOST_USD, check_strategy, one_of, positive
from .._errors import ConfigError
from .._fields import check_all, check_fields
from ..providers._failures import KINDS
from ._hedge import Hedge

CHAINS = ("fallbacks", "context_fallbacks", "content_filter_fallbacks")


class Group(Struct, frozen=True, kw_only=True):
    """The settings of one group.

    ``name``: as backends name it. ``strategy``, ``v``: as for Router, which they
    override. ``fallbacks``: groups to go on with when nobody here can take the call.
    ``context_fallbacks``: instead of those and of the others here, when the prompt is
    too long; ``content_filter_fallbacks``: when the provider refuses the content,
    which without them is the caller's to handle. ``timeout``: seconds that a call may
    spend here, from its first attempt on, before it goes on to its fallbacks.
    ``max_attempts``: attempts of one call here; ``attempts``: how many instead after a
    first failure of some kind, e.g. {"rate_limit": 5, "auth": 1} (kinds as in
    ``attempts`` of replies). ``min_quality``: backends below it do
    not belong to the group, whatever they say themselves. ``postprocess``: what is done
    to the text of answers from here, after the backend's own steps and before the
    router's (see Backend). ``hedge``: as for Router, which it overrides.
    """

    name: str
    strategy: str | None = None
    v: float | None = None
    fallbacks: tuple[str, ...] | list[str] = ()
    context_fallbacks: tuple[str, ...] | list[str] = ()
    content_filter_fallbacks: tuple[str, ...] | list[str] = ()
    timeout: float | None = None
    max_attempts: int | None = None
    attempts: Mapping[str, int] = {}
    min_quality: int = 0
    postprocess: tuple[str | Callable[[str], str], ...] | list[Any] = ()
    hedge: Hedge | bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.strategy is not None:
            check_strategy("strategy", self.strategy)
        positive("v", self.v, zero=True, most=MOST_USD)
        positive("timeout", self.timeout, most=MOST_SECONDS)
        positive("max_attempts", self.max_attempts)
        for kind, most in self.attempts.items():
            one_of("attempts", kind, KINDS)
            positive("attempts", most)
        if not 0 <= self.min_quality <= 255:
            raise ConfigError(
                "min_quality", self.min_quality, "give a whole number 0 to 255"
            )


class Terms(Struct, frozen=True):
    """What a call must know of a group; chains as the numbers of groups."""

    timeout: float | None
    max_attempts: int | None
    attempts: Mapping[str, int]
    context: list[int]
    filtered: list[int]

    def most(self, kind: str | None) -> int | None:
        """Return how many attempts there may be after a first failure of this kind."""
        return self.attempts.get(kind or "", self.max_attempts)

    def chain(self, kind: str) -> list[int]:
        """Return where a failure of this kind leads; empty: nowhere special."""
        if kind in ("context_length", "too_large"):
            return self.context
        return self.filtered if kind == "content_filter" else []


def by_name(groups: Iterable[Group]) -> dict[str, Group]:
    """Return the groups by their names, each of which may stand once."""
    found: dict[str, Group] = {}
    groups = list(groups)
    check_all("groups", groups, Group)
    for group in groups:
        if group.name in found:
            raise ConfigError("groups", group.name, "this group is there twice")
        found[group.name] = group
    return found


def terms_of(
    groups: Mapping[str, Group], numbers: Mapping[str, int]
) -> dict[int, Terms]:
    """Return the terms of those groups that have any."""
    terms = {}
    for group in groups.values():
        one_of("groups", group.name, numbers)
        chains = [
            [_number(field, name, numbers) for name in getattr(group, field)]
            for field in CHAINS[1:]
        ]
        if group.timeout or group.max_attempts or group.attempts or any(chains):
            terms[numbers[group.name]] = Terms(
                group.timeout, group.max_attempts, group.attempts, *chains
            )
    return terms


def all_fallbacks(
    groups: Mapping[str, Group], others: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the fallbacks of all groups; they may stand in one place only."""
    for name, chain in others.items():
        if not isinstance(chain, list | tuple):
            raise ConfigError("fallbacks", chain, f'write {{"{name}": [...]}}')
    chains = dict(others)
    for group in groups.values():
        if group.fallbacks:
            if group.name in chains:
                remedy = f"group {group.name!r} has fallbacks of its own: drop one"
                raise ConfigError("fallbacks", chains[group.name], remedy)
            chains[group.name] = group.fallbacks
    return chains


def whole_chain(
    fallbacks: Mapping[int, Sequence[int]], first: int, after: Sequence[int]
) -> tuple[int, ...]:
    """Return a group, behind it its fallbacks (``after``), and theirs, each once."""
    chain = [first]
    for group in chain:
        for other in after if group == first else fallbacks.get(group, ()):
            if other not in chain:
                chain.append(other)
    return tuple(chain)


def add_aliases(numbers: dict[str, int], aliases: Mapping[str, str]) -> None:
    """Let further names stand for groups, models or backends."""
    goals = {alias: _number("aliases", to, numbers) for alias, to in aliases.items()}
    for alias, goal in goals.items():
        if alias in numbers:
            raise ConfigError("aliases", alias, "this name is taken")
        numbers[alias] = goal


def _number(field: str, name: str, numbers: Mapping[str, int]) -> int:
    one_of(field, name, numbers)
    return numbers[name]

"""How a fleet grows while it runs: a name that a wildcard serves, asked for first.

    "openai/o3"  --falls under-->  "openai/*"   one backend or more
        each makes a backend for openai/o3, in the pool's spare places
        together they are the group "openai/o3", with the terms of "openai/*"

From the second call on the name is as good as any other. What is asked for in vain
leaves nothing behind, and what may be asked for is bounded (``Kin.most``).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from .._errors import (
    ConfigError,
    InvalidRequestError,
    LLMBalanceError,
    UnknownModelError,
)
from ._kin import Opened, Roster, kin_of, model_for, variant_name
from ._names import members_of
from ._target import Target
from ._wildcards import STAR, fill, shown

if TYPE_CHECKING:
    from ._pool import Pooled

_log = logging.getLogger("llmbalance")
_ORDERS = {"open": 1, "closed": 2}  # to breakers, as pool.order takes them


def number_of(fleet: Pooled, name: str) -> int:
    """Return the number of a group, model or backend name."""
    number = fleet.groups.get(name)
    return open_name(fleet, name) if number is None else number


def open_name(fleet: Pooled, name: object, field: str = "model") -> int:
    """Return the number of a name that is not there yet; ``field``: where it stands.

    UnknownModelError: nor can it be; InvalidRequestError: it is no name.
    """
    kin = fleet.kin
    if not name or not isinstance(name, str):
        raise InvalidRequestError(
            field,
            name,
            "give the name of a group, model or backend, or a task that has a group",
        )
    found = kin.find(name)
    if found is not None and found[0] in kin.aliases:
        goal = kin.aliases[found[0]]
        name = fill(goal, found[1]) if STAR in goal else goal
        if name in fleet.groups:
            return fleet.groups[name]
        found = kin.find(name, aliases=False)
    if found is None:
        known = ", ".join(sorted(fleet.groups.keys() - kin.opened.keys()))
        raise UnknownModelError(
            f"{field} = {shown(name)}: no group, model or backend has this name; "
            f"known are {known}"
        )
    pattern, stood_for = found
    if pattern not in kin.templates:
        return fleet.groups[pattern]
    with fleet.growing:
        number = fleet.groups.get(name, kin.pending.get(name))
        if number is not None:
            return number
        try:
            members = _serving(fleet, name, pattern, stood_for)
        except UnknownModelError as error:
            told = f"{field} = {shown(name)}: {error}"
            raise UnknownModelError(told) from error.__cause__
        return _open(fleet, name, pattern, stood_for, members)


def _open(
    fleet: Pooled,
    name: str,
    pattern: str,
    stood_for: tuple[str, ...],
    members: list[int],
) -> int:
    kin = fleet.kin
    rule = fleet.rule(name if name in fleet.settings else pattern)
    number = fleet.pool.add_group(members, *rule)
    fleet.spare.groups -= 1
    fleet.spare.members -= len(members)
    fleet.group_names.append(name)
    kin.opened[name] = Opened(pattern, stood_for, members)
    kin.pending[name] = number  # its fallbacks may lead back to it
    try:
        inherit(fleet, number, fleet.groups[pattern], stood_for)
    finally:
        del kin.pending[name]
    fleet.groups[name] = number
    _warn_early(len(kin.opened), kin.most)
    return number


def _warn_early(opened: int, most: int) -> None:
    """Say it while there is time that names are running out, once or twice."""
    if opened in (most * 3 // 4, most):
        _log.warning(
            "%d of max_models=%d models came through wildcards; more are refused then: "
            "give Router(max_models=...) more (a place takes about 4 kB)",
            opened,
            most,
        )


def _serving(
    fleet: Pooled, name: str, pattern: str, stood_for: tuple[str, ...]
) -> list[int]:
    """Return who serves a name, after making those who are not there."""
    kin = fleet.kin
    group = fleet.settings.get(name) or fleet.settings.get(pattern)
    least = group.min_quality if group is not None else 0
    bases = [i for i in kin.templates[pattern] if fleet.backends[i].quality >= least]
    others = members_of(fleet.backends, fleet.settings, kin.bases).get(pattern, [])
    room = min(fleet.spare.backends - len(bases), fleet.spare.groups - 1)
    if (
        len(kin.opened) >= kin.most
        or room < 0
        or fleet.spare.members < len(bases + others)
    ):
        raise UnknownModelError(
            f"{len(kin.opened)} models came through wildcards, "
            f"and there is no room for more (max_models={kin.most}); give "
            f"Router(max_models=...) more, or name the ones you need as backends"
        )
    found, problem = list(others), None
    for base in bases:
        model = model_for(fleet.backends[base], stood_for)
        made = kin.made(base, model)
        try:
            found.append(_join(fleet, base, model) if made is None else made)
        except (ConfigError, UnknownModelError) as error:
            problem = error
    if not found:
        why = problem or f"no backend of {pattern!r} is good enough (min_quality)"
        raise UnknownModelError(str(why)) from problem
    return found


def _join(fleet: Pooled, base: int, model: str) -> int:
    """Make a backend from another one and put it into the pool; its number."""
    index = len(fleet.targets)
    taken = {target.name for target in fleet.targets}
    backend = kin_of(fleet.backends[base], model, taken)
    target = Target(backend, index, fleet.last_steps, fleet.targets[base])
    terms = fleet.rates.look(backend)
    # Everything that may go wrong has gone right.
    fleet.backends.append(backend)
    row = fleet.rates.append(backend, *terms)
    fleet.kin.bases[index] = base
    fleet.spare.backends -= 1
    fleet.add(target, row)
    fleet.add_limits(index)
    for budget in fleet.charges.get(("backend", base), ()):
        fleet.charge("backend", index, budget)
    view = fleet.pool.backend(base)
    fleet.pool.set_weight(index, view["weight"])
    order = _ORDERS.get(view["breaker"]["order"])
    if order is not None:
        fleet.pool.order(index, order)
    fleet.targets.append(target)
    if fleet.books is not None:
        fleet.books.recall(f"backend/{backend.label}")
    return index


def inherit(
    fleet: Pooled, number: int, other: int, stood_for: tuple[str, ...] = ()
) -> None:
    """Give a group the terms of another one, where it has none of its own.

    Fallbacks of a wildcard to a wildcard lead to the same model there.
    """
    chain = fleet.fallbacks.get(other)
    if chain and number not in fleet.fallbacks:
        chain = _filled(fleet, chain, stood_for)
        fleet.set_fallbacks({**fleet.fallbacks, number: chain})
    terms = fleet.group_terms.get(other)
    if terms is not None and number not in fleet.group_terms:
        fleet.group_terms[number] = structs.replace(
            terms,
            context=_filled(fleet, terms.context, stood_for),
            filtered=_filled(fleet, terms.filtered, stood_for),
        )
    if other in fleet.group_steps:
        fleet.group_steps.setdefault(number, fleet.group_steps[other])
    if fleet.hedges is not None:
        fleet.hedges.inherit(number, other)
    for budget in fleet.charges.get(("group", other), ()):
        if budget not in fleet.charges.get(("group", number), ()):
            fleet.charge("group", number, budget)


def _filled(fleet: Pooled, chain: list[int], stood_for: tuple[str, ...]) -> list[int]:
    made = []
    for number in chain:
        name = fleet.group_names[number]
        if name in fleet.kin.templates:
            if name.count(STAR) != len(stood_for):
                continue
            try:
                number = number_of(fleet, fill(name, stood_for))
            except LLMBalanceError:  # not there: the call goes on without it
                continue
        made.append(number)
    return made


def open_all(
    fleet: Pooled,
    before: Roster | None,
    chains: Mapping[str, Sequence[str]],
    aliases: Mapping[str, str],
) -> None:
    """Open the names that are spoken of, and those of the fleet that was ``before``.

    What does not fall under a wildcard is for others to refuse.
    """
    names = [*(before.opened if before is not None else ()), *chains]
    names += [*aliases.values(), *fleet.settings]
    for chain in chains.values():
        names += chain
    for group in fleet.settings.values():
        names += (*group.context_fallbacks, *group.content_filter_fallbacks)
    for budget in fleet.budgets:
        names += [name for name in (budget.group, budget.backend) if name]
    for name in names:
        if fleet.kin.templates and name not in fleet.groups and name not in aliases:
            with contextlib.suppress(UnknownModelError):
                open_name(fleet, name)


def settle(fleet: Pooled) -> None:
    """Give variants, and names that came through wildcards, the terms of theirs."""
    _check_chains(fleet)
    for alias, goal in fleet.kin.aliases.items():
        sample = goal.replace(STAR, "x")
        if goal not in fleet.groups and not fleet.kin.find(sample, aliases=False):
            remedy = f"{alias!r} must lead to a name, or to a wildcard's"
            raise ConfigError("aliases", goal, remedy)
    static = members_of(fleet.backends, fleet.settings, fleet.kin.bases)
    fleet.variants = {}
    for (group, variant), members in fleet.kin.variants(static).items():
        number = fleet.groups[variant_name(group, variant)]
        fleet.pool.set_group(number, members, *fleet.rule(group))
        fleet.variants[fleet.groups[group], variant] = number
        inherit(fleet, number, fleet.groups[group])
    for name, one in list(fleet.kin.opened.items()):
        pattern = fleet.groups[one.pattern]
        inherit(fleet, fleet.groups[name], pattern, one.stood_for)


def _check_chains(fleet: Pooled) -> None:
    """Refuse fallbacks to a wildcard that say not to which of its models."""
    terms = fleet.group_terms
    chains = [
        *fleet.fallbacks.items(),
        *((g, one.context) for g, one in terms.items()),
        *((g, one.filtered) for g, one in terms.items()),
    ]
    for number, chain in chains:
        name = fleet.group_names[number]
        for other in (fleet.group_names[g] for g in chain):
            if other in fleet.kin.templates and name.count(STAR) != other.count(STAR):
                remedy = f"a wildcard is many models: write the one {name!r} goes to"
                raise ConfigError("fallbacks", other, remedy)

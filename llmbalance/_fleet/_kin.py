"""Backends made from others: one account, another model.

    Backend("openai/*")                     openai/gpt-4o, openai/o3, ...   on first use
    Backend("openai/gpt-4o", tuned={...})   openai/ft:gpt-4o:acme::x1       at once

The new one has a price, a latency and a breaker of its own. What belongs to the
account it shares with the backend it was made from: key, connections, rate limits,
calls in flight. ``Kin`` says who was made from whom, and which names and groups of
variants there are through it; the pool is the Fleet's to change.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from msgspec import Struct, structs

from .._config import Backend
from .._errors import ConfigError, UnknownModelError
from ._groups import Group
from ._wildcards import STAR, Pattern, Wildcards, check_pattern, fill

_ROOM = 16384  # places that wildcards may take in a pool, at most


class Roster(list[Backend]):
    """The backends of a fleet that another one is to follow, with their kin."""

    def __init__(self, backends: Iterable[Backend], kin: Kin) -> None:
        super().__init__(backends)
        self.bases, self.opened = kin.bases, list(kin.opened)


class Opened(Struct, frozen=True):
    """A name that came through a wildcard, and who serves it."""

    pattern: str
    stood_for: tuple[str, ...]
    members: list[int]


class Kin:
    """Who of a fleet was made from whom.

    ``bases``: number of a made backend -> of the one it was made from. ``opened``:
    names that wildcards serve, since they were first asked for. ``aliases``: of those
    with a star, where they lead. ``most``: how many names may be opened.
    """

    def __init__(
        self,
        backends: list[Backend],
        aliases: Mapping[str, str],
        most: int,
        bases: Mapping[int, int] | None = None,
    ) -> None:
        self.bases = dict(bases or {})
        self.opened: dict[str, Opened] = {}
        self.most = most
        self.pending: dict[str, int] = {}  # names whose terms are being read
        self._backends = backends
        for i in range(len(backends)):
            if i not in self.bases:
                self._tune(i)
        self.aliases = {a: to for a, to in aliases.items() if STAR in a}
        for alias, to in self.aliases.items():
            check_pattern("aliases", alias)
            if to.count(STAR) not in (0, alias.count(STAR)):
                raise ConfigError("aliases", to, f"give as many * as in {alias!r}")
        # Pattern -> the wildcard backends that serve what falls under it.
        self.templates: dict[str, list[int]] = {}
        patterns = list(self.aliases)
        for i, backend in enumerate(backends):
            if i not in self.bases:
                for name in _patterns_of(backend):
                    patterns.append(name)
                    if backend.is_wildcard:
                        self.templates.setdefault(name, []).append(i)
        self._each = max(map(len, self.templates.values()), default=1)
        if not isinstance(most, int) or not 0 <= most <= _ROOM // self._each:
            remedy = f"give a whole number 0 to {_ROOM // self._each}"
            raise ConfigError("max_models", most, remedy)
        self._wildcards = Wildcards(patterns)
        self._others = Wildcards(p for p in patterns if p not in self.aliases)

    def __bool__(self) -> bool:
        """Whether anybody was or may be made from another one."""
        return bool(self.bases or self.templates)

    def _tune(self, base: int) -> None:
        """Make the tuned endpoints of a backend, as far as they are not there."""
        backend = self._backends[base]
        for variant in backend.tuned.values():
            model = f"{backend.provider}/{variant}"
            if self.made(base, model) is None:
                taken = {b.label for b in self._backends}
                self.bases[len(self._backends)] = base
                self._backends.append(kin_of(backend, model, taken))

    def made(self, base: int, model: str) -> int | None:
        """Return the number of what was made from a backend for a model, or None."""
        for i, other in self.bases.items():
            if other == base and self._backends[i].model == model:
                return i
        return None

    def of(self, base: int) -> list[int]:
        """Return the backends that were made from one."""
        return [i for i, other in self.bases.items() if other == base]

    def follow(self, backends: list[Backend]) -> None:
        """Go on with another list of the same backends."""
        self._backends = backends

    @property
    def places(self) -> tuple[int, int]:
        """How many backends, and members of groups, may still join the pool."""
        if not self.templates:
            return 0, 0
        backends = self.most * self._each
        return backends, backends + self.most * len(self._backends)

    # -- names ---------------------------------------------------------------

    def find(
        self, name: str, *, aliases: bool = True
    ) -> tuple[str, tuple[str, ...]] | None:
        """Return the pattern a name falls under; see Wildcards.find."""
        return (self._wildcards if aliases else self._others).find(name)

    def names(self) -> dict[str, list[int]]:
        """Return the names that are there through kin: patterns, endpoints, opened."""
        found: dict[str, list[int]] = {pattern: [] for pattern in self.templates}
        for i, base in self.bases.items():
            if not self._backends[base].is_wildcard:
                for name in {self._backends[i].model, self._backends[i].label}:
                    found.setdefault(name, []).append(i)
        return found | {name: one.members for name, one in self.opened.items()}

    def variants(
        self, members: Mapping[str, Sequence[int]]
    ) -> dict[tuple[str, str], list[int]]:
        """Return the tuned endpoints of each group, by group and variant."""
        found: dict[tuple[str, str], list[int]] = {}
        for name, indices in members.items():
            for i in indices:
                backend = self._backends[i]
                for variant, model in backend.tuned.items():
                    made = self.made(i, f"{backend.provider}/{model}")
                    if made is not None:
                        found.setdefault((name, variant), []).append(made)
        return found

    def counts(self, scope: str, name: str, other: str) -> bool:
        """Whether calls a ledger knows under ``other`` fall under a budget of ``name``.

        ``scope``: "backend" or "group". They may be of an earlier process.
        """
        own = [b for i, b in enumerate(self._backends) if i not in self.bases]
        if any(other in (b.label, b.model, *b.groups) for b in own):
            return False
        if scope == "backend":
            found = (b for b in own if b.label == name and b.is_wildcard)
            return any(is_kin_label(b, other) for b in found)
        if any(other == variant_name(name, v) for b in own for v in b.tuned):
            return True
        try:
            under = self.find(other, aliases=False)
        except UnknownModelError:
            return False
        return under is not None and under[0] == name

    def check(self, settings: Iterable[Group]) -> None:
        """Refuse what wildcards cannot share out."""
        least = {group.name: group.min_quality for group in settings}
        for name, indices in self.templates.items():
            found = [self._backends[i] for i in indices]
            if sum(b.min_share for b in found) > 1 + 1e-9:
                remedy = f"let those of {name!r} add up to at most 1"
                raise ConfigError("min_share", found[-1].min_share, remedy)
            if max(b.quality for b in found) < least.get(name, 0):
                remedy = f"no backend of group {name!r} is as good"
                raise ConfigError("min_quality", least[name], remedy)


def _patterns_of(backend: Backend) -> list[str]:
    names = (*backend.groups, backend.model if backend.is_wildcard else "")
    return [name for name in dict.fromkeys(names) if STAR in name]


def variant_name(group: str, variant: str) -> str:
    """Return what the tuned endpoints of a group are called as a group."""
    return f"{group}[{variant}]"


def model_for(base: Backend, stood_for: Sequence[str]) -> str:
    """Return the model a wildcard backend is asked for."""
    return fill(base.model, stood_for)


def kin_of(base: Backend, model: str, taken: Container[str]) -> Backend:
    """Return the backend for another model ("provider/model") of the same account.

    It is called by the model if ``base`` is, else by the name of ``base`` with its
    stars filled, or with the model behind it.
    """
    label = model
    if base.label != base.model:
        stood_for = Pattern(base.model).match(model) if base.is_wildcard else None
        if stood_for and base.label.count(STAR) == len(stood_for):
            label = fill(base.label, stood_for)
        else:
            label = f"{base.label}/{model.partition('/')[2]}"
    if label in taken:
        label = f"{label} ({base.label})"
    return renewed(base, model, label)


def is_kin_label(base: Backend, label: str) -> bool:
    """Whether a backend of this name was made from a wildcard, by ``kin_of``."""
    plain = label.removesuffix(f" ({base.label})")
    if STAR in base.label and base.label.count(STAR) == base.model.count(STAR):
        return Pattern(base.label).match(plain) is not None
    return plain.startswith(f"{base.label}/")


def follow(old: Backend, base: Backend, taken: Container[str]) -> Backend | None:
    """Return a made backend as its base is now; None: the base has it no more.

    A name that others have ``taken`` meanwhile is theirs.
    """
    provider, _, model = old.model.partition("/")
    if base.provider != provider or base.weight == 0:
        return None
    if base.is_wildcard:
        serves = Pattern(base.model).match(old.model) is not None
    else:
        serves = model in base.tuned.values()
    label = f"{old.label} ({base.label})" if old.label in taken else old.label
    return renewed(base, old.model, label) if serves else None


def renewed(base: Backend, model: str, label: str) -> Backend:
    """Return the backend as ``base`` is now, under the name it has already.

    A price is that of one model: a wildcard's holds for all it stands for, that of a
    base model not for what was tuned from it.
    """
    price = base.price if base.is_wildcard else None
    return structs.replace(
        base, model=model, name=label, groups=(), tuned={}, price=price
    )

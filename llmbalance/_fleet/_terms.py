"""What the pool is to know of a backend beside its price: abilities, rate limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._checks import seconds_of
from .._config import ABILITIES, Backend, Breaker, Limits
from .._core import CHARGES, UNITS, Pool
from .._hash import stable_hash
from .._money._price_rows import ModelInfo
from ._tokens import family_of

# How providers charge a token limit when a request arrives.
_CHARGE = {"openai": "chars4", "azure": "max", "bedrock": "max"}
# How long providers keep a prompt cache after its last use, in seconds.
_CACHE_LIFE = {"anthropic": 300.0, "bedrock": 300.0, "openai": 300.0, "azure": 300.0}


def pool_terms(
    backend: Backend,
    info: ModelInfo | None,
    tags: Mapping[str, int],
    breaker: Breaker,
) -> dict[str, Any]:
    """Return the arguments of Pool.add_backend; ``breaker``: if it has none itself."""
    abilities = backend.can
    if abilities is None and info is not None and info.source != "set":
        no = {"tools": not info.tools, "vision": not info.vision}
        abilities = [a for a in ABILITIES if not no.get(a, False)]
    elif abilities is None:
        abilities = ABILITIES
    life = backend.cache_life
    if life is None:
        life = _CACHE_LIFE.get(backend.provider, 0.0)
    limits = backend.limits
    return {
        "id": stable_hash(backend.label),
        "tags": sum(tags[tag] for tag in set(backend.tags)),
        "can": sum(1 << ABILITIES.index(a) for a in set(abilities)),
        "context": backend.context or _context(info),
        "max_output": backend.max_output or (info and info.max_output) or 0,
        "max_calls": (limits and limits.concurrency) or 0,
        "weight": float(backend.weight),
        "min_share": float(backend.min_share),
        "order": backend.order,
        "quality": backend.quality,
        "family": family_of(backend.model),
        "cache_life": life,
        "breaker": (backend.breaker or breaker).rules(),
    }


def charge_of(backend: Backend, limits: Limits) -> str:
    """Return how a backend's provider charges tokens: one of CHARGES."""
    return limits.charge or _CHARGE.get(backend.provider, "actual")


def add_limits(
    add: Callable[..., int], i: int, limits: Limits, charge: str
) -> list[int]:
    """Add every limit of a backend by a method of its pool; return their numbers."""
    return [
        add(
            i,
            UNITS.index(limit.what),
            CHARGES.index(charge),
            limit.amount,
            seconds_of("per", limit.per),
            limit.burst or 0,
        )
        for limit in limits.all()
    ]


def _context(info: ModelInfo | None) -> int:
    """The longest prompt in tokens; of embeddings it limits each text, not the call."""
    if info is None or info.kind == "embedding":
        return 0
    return info.context or 0


class RateLimits:
    """The rate limits of a fleet in its pool; one account's are there once."""

    def __init__(self) -> None:
        # By the word they share: who said them first, and their numbers.
        self._shared: dict[str, tuple[Limits, list[int]]] = {}

    def add(
        self,
        pool: Pool,
        backends: Sequence[Backend],
        first: int,
        bases: Mapping[int, int],
    ) -> None:
        """Give the backends from number ``first`` on their rate limits.

        Those that were made from others (``bases``) are under the same limits.
        """
        shared = self._shared
        for i, backend in enumerate(backends[first:], first):
            limits = backend.limits
            if i in bases:
                pool.share_calls(i, bases[i])
                for one in pool.backend(bases[i])["limits"]:
                    if not one["learned"]:
                        pool.share_limit(i, one["index"])
                continue
            if limits is None:
                continue
            if limits.shared is not None and limits.shared in shared:
                for index in shared[limits.shared][1]:
                    pool.share_limit(i, index)
                continue
            charge = charge_of(backend, limits)
            self.share(limits, add_limits(pool.add_limit, i, limits, charge))

    def share(self, limits: Limits, made: list[int]) -> None:
        """Note the numbers of limits for others that share them."""
        if limits.shared is not None:
            self._shared[limits.shared] = (limits, made)

    def stated(self, word: str) -> Limits | None:
        """Return what the limits that share a word were made of."""
        return self._shared[word][0] if word in self._shared else None

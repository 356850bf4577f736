"""What requests would choose, were limits for sale: a lower bound of what they cost.

Let a unit of every limit have a price in every window of time, and a request that is
not served cost ``worth``. Then the limits need not be looked at any more, and

    sum of what every request, or family of them, pays at the least, prices included
        - price of all the room the limits have, + worth of all that must be served

is not above the cost of any way to serve so many within the limits (weak duality), for
any prices >= 0. Requests that share no prompts choose alone; a family walks through the
sets of backends that are warm (_reuse.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._reuse import Reuse

_SCALES = (0.5, 0.8, 0.93, 1.07, 1.25, 2.0)
_ROUNDS = 4


class Room(NamedTuple):
    """A limit: the backends under it, units of every request, room in a window."""

    backends: list[int]
    units: list[int]
    burst: float
    refill: float


class Lagrange:
    """The bound as a function of the prices; amounts in nano-USD.

    ``cold``, ``warm``: cost of each request at each backend (infinite where it may not
    go); ``window``: its first window, of ``steps`` + 1 it may be sent in; ``closed``:
    (window, backend) that serve nobody; ``served``: requests that must be.
    """

    def __init__(
        self,
        cold: list[tuple[float, ...]],
        warm: list[tuple[float, ...]],
        window: list[int],
        steps: int,
        closed: set[tuple[int, int]],
        rooms: list[Room],
        served: float,
        found: Reuse | None,
    ) -> None:
        import numpy as np

        self.np = np
        self.cold = np.array(cold, dtype=float)
        saved = np.array(warm, dtype=float)
        saved[np.isfinite(saved)] -= self.cold[np.isfinite(saved)]
        self.saved = np.where(np.isfinite(saved), np.maximum(-saved, 0.0), 0.0)
        self.places = np.array(window)[:, None] + np.arange(steps + 1)[None, :]
        self.shut = np.zeros((int(self.places.max()) + 1, self.cold.shape[1]))
        for at, b in closed:
            if at < len(self.shut):
                self.shut[at, b] = np.inf
        self.rooms = rooms
        self.units = [np.array(room.units, dtype=float) for room in rooms]
        self.served = served
        self.found = found
        self.turns = self._turns() if found is not None else []

    def _turns(self) -> list[tuple[Any, Any, Any]]:
        """The requests that are first, second, ... of their families."""
        np, found = self.np, self.found
        assert found is not None
        turn, family = np.array(found.turn), np.array(found.family)
        fresh = np.array(found.fresh)
        order = np.argsort(turn, kind="stable")
        ends = np.cumsum(np.bincount(turn))
        return [
            (rows, family[rows], fresh[rows]) for rows in np.split(order, ends[:-1])
        ]

    def value(self, worth: float, prices: Any) -> float:
        """The bound with these prices: one row of windows for each of the limits."""
        np = self.np
        total = worth * self.served
        for room, line in zip(self.rooms, prices, strict=True):
            before = np.concatenate(([0.0], line[:-1]))
            total -= room.refill * line.sum()
            total += room.burst * np.minimum(0.0, before - line).sum()
        pays = self._pays(worth, prices)
        if self.found is None:
            return float(total + np.minimum(pays.min(axis=1), 0.0).sum())
        return float(total + self._walk(pays, max(self.found.family) + 1))

    def _pays(self, worth: float, prices: Any) -> Any:
        """What every request pays at every backend, cold, at its best window."""
        pays = self.cold - worth
        for b in range(pays.shape[1]):
            rent = self.shut[self.places, b]
            for room, units, line in zip(self.rooms, self.units, prices, strict=True):
                if b in room.backends and line.any():
                    rent = rent + line[self.places] * units[:, None]
            pays[:, b] += rent.min(axis=1)
        return pays

    def _walk(self, pays: Any, families: int) -> Any:
        """The least all families pay: cost[f, s] with the set s of backends warm."""
        np = self.np
        backends = pays.shape[1]
        sets = np.arange(1 << backends)
        cost = np.full((families, len(sets)), np.inf)
        cost[:, 0] = 0.0
        for rows, family, fresh in self.turns:
            before = cost[family]
            before[fresh, 0] = before[fresh].min(axis=1)
            before[fresh, 1:] = np.inf
            after = before.copy()
            for b in range(backends):
                has = sets[(sets >> b) & 1 == 1]
                cold = pays[rows, b][:, None]
                come = before[:, has ^ (1 << b)] + cold
                stay = before[:, has] + cold - self.saved[rows, b][:, None]
                after[:, has] = np.minimum(after[:, has], np.minimum(come, stay))
            cost[family] = after
        return cost.min(axis=1).sum()

    def climb(self, worth: float, prices: Any) -> float:
        """The best bound with multiples of these prices, limit by limit."""
        # What a class of warm requests costs may be less than serving a cold one.
        most = float(self.cold[self.np.isfinite(self.cold)].max())
        best, worth = max((self.value(w, prices), w) for w in (worth, worth + most))
        for _ in range(_ROUNDS):
            begun = best
            for k, line in enumerate(prices):
                if not line.any():
                    continue
                for scale in _SCALES:
                    tried = [*prices[:k], line * scale, *prices[k + 1 :]]
                    value = self.value(worth, tried)
                    if value > best:
                        best, prices = value, tried
            for scale in _SCALES:
                value = self.value(worth * scale, prices)
                if value > best:
                    best, worth = value, worth * scale
            if best <= begun * (1 + 1e-5):
                break
        return best

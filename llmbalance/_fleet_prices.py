"""What the backends of a fleet cost now: their own price, the table's, or a stand-in.

    Backend(price=...)  else  PriceTable  else  unknown_price   -->  PriceRow  -->  pool

A row holds for a moment: prices with a calendar (off-peak hours, dated changes) are
looked up again by ``follow`` when the fleet's calendar says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from ._config import Backend, one_of
from ._core import Pool, PriceRow
from ._errors import ConfigError
from ._price import Price
from ._prices import PriceTable
from ._target import Target

_log = logging.getLogger("llmbalance")

# The remedy for a price that is not known.
_SAY = "give the backend price=Price(input, output) in USD per million tokens"


class Rates:
    """Prices, price rows and facts of the backends, by their numbers.

    ``table`` is where they come from, ``infos`` what it knows of each model (None:
    nothing), ``unpriced`` the names of backends whose price is a stand-in.
    """

    def __init__(
        self,
        backends: list[Backend],
        table: PriceTable,
        unknown: str | Price = "dearest",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backends = backends
        self._clock = clock  # epoch seconds
        self.table = table
        self.infos = [
            table.lookup(b.provider, b.model.partition("/")[2]) for b in backends
        ]
        self.prices = [
            b.price or (info.price if info else None)
            for b, info in zip(backends, self.infos, strict=True)
        ]
        self.unpriced: frozenset[str] = frozenset()
        self.rows = self._first_rows(unknown)

    def _first_rows(self, unknown: str | Price) -> list[PriceRow]:
        """Return a row for every backend; what is unknown follows the setting."""
        now = self._clock()
        rows = [self._row(i, now) for i in range(len(self._backends))]
        missing = [
            b.label for b, row in zip(self._backends, rows, strict=True) if not row
        ]
        self.unpriced = frozenset(missing)
        if not missing:
            return [row for row in rows if row]
        if unknown == "refuse":
            raise ConfigError(
                "price", None, f"unknown for {', '.join(missing)}; {_SAY}"
            )
        if isinstance(unknown, Price):
            stand_in, how = unknown.row(at=now), "at unknown_price"
        elif "/" in unknown and (info := self.table.find(unknown)) is not None:
            stand_in, how = info.price.row(at=now), f"like {unknown}"
        else:
            one_of("unknown_price", unknown, ("refuse", "dearest"))
            stand_in, how = _dearest([row for row in rows if row]), "as the dearest"
        _log.warning("price unknown for %s: counted %s", ", ".join(missing), how)
        return [row or stand_in for row in rows]

    def _row(self, index: int, at: float, tier: str | None = None) -> PriceRow | None:
        backend, price = self._backends[index], self.prices[index]
        if price is None:
            return None
        return price.row(
            service_tier=tier or backend.service_tier, region=backend.region, at=at
        )

    def of(self, target: Target, tier: str | None = None) -> PriceRow:
        """Return a backend's price row of now; ``tier``: of another service tier."""
        if tier is None:
            return self.rows[target.index]
        row = target.rows.get(tier)
        if row is None:
            row = self._row(target.index, self._clock(), tier)
            row = target.rows[tier] = row or self.rows[target.index]
        return row

    def set(self, target: Target, price: Price, pool: Pool) -> None:
        """Change a backend's price from the next call on."""
        self.prices[target.index] = price
        self.unpriced -= {target.name}
        self._put(target, pool, self._clock())

    def _put(self, target: Target, pool: Pool, wall: float) -> None:
        row = self._row(target.index, wall)
        assert row is not None
        self.rows[target.index] = row
        target.rows.clear()
        pool.set_price(target.index, row)

    def follow(self, targets: Sequence[Target], pool: Pool, wall: float) -> list[float]:
        """Bring prices with a calendar up to date; return when they change again."""
        changes = []
        for target, price in zip(targets, self.prices, strict=True):
            if price is None or not price.deals:
                continue
            self._put(target, pool, wall)
            change = price.next_change(wall)
            if change:
                changes.append(change)
        return changes

    def take(self, other: Rates) -> None:
        """Take over everything that another fleet's rates say; numbers are the same."""
        self.table, self.unpriced = other.table, other.unpriced
        self.infos[:], self.prices[:] = other.infos, other.prices
        self.rows[:] = other.rows


def _dearest(known: list[PriceRow]) -> PriceRow:
    if not known:
        raise ConfigError("price", None, f"unknown for all backends; {_SAY}")
    return max(known, key=lambda row: row.cost(input=1000, output=1000) or 0)

"""What the backends of a fleet cost now: their own price, the table's, or a stand-in.

    Backend(price=...)  else  PriceTable  else  unknown_price   -->  PriceRow  -->  pool

A row holds for a moment: prices with a calendar (off-peak hours, dated changes) are
looked up again by ``follow`` when the fleet's calendar says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from .._checks import one_of
from .._config import Backend
from .._core import Pool, PriceRow
from .._errors import ConfigError
from .._money._price_rows import ModelInfo
from .._money._prices import PriceTable
from .._price import Price
from ._target import Target

_log = logging.getLogger("llmbalance")

_MOST_ROWS = 64  # of service tiers and regions that a backend keeps

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
        self._unknown = unknown
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
        self.rows = self._first_rows()

    def _first_rows(self) -> list[PriceRow]:
        """Return a row for every backend; what is unknown follows the setting."""
        now = self._clock()
        rows = [
            _row(b, price, now)
            for b, price in zip(self._backends, self.prices, strict=True)
        ]
        nothing = PriceRow({})  # of wildcards: no call goes to them
        missing = [
            b.label
            for b, row in zip(self._backends, rows, strict=True)
            if not row and not b.is_wildcard
        ]
        self.unpriced = frozenset(missing)
        if not missing:
            return [row or nothing for row in rows]
        stand_in = self._stand_in(missing, [row for row in rows if row], now)
        return [
            row or (nothing if b.is_wildcard else stand_in)
            for b, row in zip(self._backends, rows, strict=True)
        ]

    def _stand_in(
        self, missing: list[str], known: list[PriceRow], now: float
    ) -> PriceRow:
        """Return what to count for backends without a price; ConfigError: nothing."""
        unknown = self._unknown
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
            stand_in, how = _dearest(known), "as the dearest"
        _log.warning("price unknown for %s: counted %s", ", ".join(missing), how)
        return stand_in

    def look(self, backend: Backend) -> tuple[ModelInfo | None, Price | None, PriceRow]:
        """Return what ``append`` wants to know of a backend that joins.

        The dearest of those known, or where none is, of its provider, stands in for a
        price that is not; ConfigError when nothing does.
        """
        now = self._clock()
        info = self.table.lookup(backend.provider, backend.model.partition("/")[2])
        price = backend.price or (info.price if info else None)
        row = _row(backend, price, now)
        if row is None:
            known = [
                row
                for b, row in zip(self._backends, self.rows, strict=False)
                if b.label not in self.unpriced and row.cost(input=1) is not None
            ]
            row = self._stand_in(
                [backend.label], known or self._listed(backend.provider), now
            )
        return info, price, row

    def _listed(self, provider: str) -> list[PriceRow]:
        """Return the prices of all chat models that the table lists for a provider."""
        return [
            info.price.row()
            for info in self.table
            if info.provider == provider and info.kind == "chat"
        ]

    def append(
        self,
        backend: Backend,
        info: ModelInfo | None,
        price: Price | None,
        row: PriceRow,
    ) -> PriceRow:
        """Add what ``look`` found as that of the next backend."""
        self.infos.append(info)
        self.prices.append(price)
        self.rows.append(row)
        if price is None:
            self.unpriced |= {backend.label}
        return row

    def of(
        self, target: Target, tier: str | None = None, region: str | None = None
    ) -> PriceRow:
        """Return a backend's price row of now, of another service tier or region."""
        if tier is None and region is None:
            return self.rows[target.index]
        row = target.rows.get((tier, region))
        if row is None:
            row = self._now(target, self._clock(), tier, region)
            row = row or self.rows[target.index]
            if len(target.rows) < _MOST_ROWS:  # names are what a provider answers
                target.rows[tier, region] = row
        return row

    def set(self, target: Target, price: Price, pool: Pool) -> None:
        """Change a backend's price from the next call on."""
        self.prices[target.index] = price
        self.unpriced -= {target.name}
        self._put(target, pool, self._clock())

    def _now(
        self,
        target: Target,
        at: float,
        tier: str | None = None,
        region: str | None = None,
    ) -> PriceRow | None:
        i = target.index
        return _row(self._backends[i], self.prices[i], at, tier, region)

    def _put(self, target: Target, pool: Pool, wall: float) -> None:
        row = self._now(target, wall)
        assert row is not None
        self.rows[target.index] = row
        target.rows.clear()
        pool.set_price(target.index, row)

    def follow(self, targets: Sequence[Target], pool: Pool, wall: float) -> list[float]:
        """Bring prices with a calendar up to date; return when they change again."""
        changes = []
        for target in list(targets):  # others may join meanwhile
            price = self.prices[target.index]
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


def _row(
    backend: Backend,
    price: Price | None,
    at: float,
    tier: str | None = None,
    region: str | None = None,
) -> PriceRow | None:
    if price is None:
        return None
    tier, region = tier or backend.service_tier, region or backend.region
    return price.row(service_tier=tier, region=region, at=at)


def _dearest(known: list[PriceRow]) -> PriceRow:
    if not known:
        raise ConfigError("price", None, f"unknown for all backends; {_SAY}")
    return max(known, key=lambda row: row.cost(input=1000, output=1000) or 0)

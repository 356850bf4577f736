"""What one model costs: rates as published, and the row of integers they become.

A ``Price`` is what people write: dollars per million tokens. A ``PriceRow`` is what the
core computes with: integer pico-dollars for one service tier, region and time.

    Price(2.5, 10, cache_read=1.25, tiers={"batch": 0.5}, deals=[...])
        |
        |  row(service_tier="batch", region=None, at=now)
        v
    PriceRow: input 1,250,000  cache_read 625,000  output 5,000,000  pico-USD a token

Amounts are read by their decimal digits, never through binary fractions: 0.1 means
exactly one tenth of a dollar.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ._checks import positive, switches, whole_numbers
from ._core import PriceRow
from ._errors import ConfigError

if TYPE_CHECKING:
    from decimal import Decimal

    Amount = float | int | str | Decimal
else:
    Amount = float | str  # what a configuration file can hold

TOKEN_KINDS = (
    *("input", "cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in"),
    *("output", "reasoning", "audio_out", "image_out"),
)
# Fields priced by the piece: field of Price -> kind of PriceRow, power of ten that
# makes pico-USD of a dollar (a second has 1,000 milliseconds).
_PIECES = {
    "request": ("requests", 12),
    "image": ("images", 12),
    "second": ("milliseconds", 9),
    "search": ("searches", 12),
}
_PPM = 1_000_000
_DEAREST = 1_000_000_000  # pico-USD a token: 1,000 USD per million
_DEAREST_PIECE = 100 * 10**12  # pico-USD a request, an image, ...: 100 USD
_MOST_FACTOR = 1000
_CHEAPEST = 100  # 0.0001 USD per million: below lies who wrote USD per token


class Deal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other rates for a time: a promotion, an announced change, an off-peak window.

    ``start`` and ``until`` are dates or times in UTC ("2026-12-01",
    "2026-12-01T16:00"), the first from which it holds and the first from which it no
    longer does; ``daily`` narrows it to a time of day in UTC (("16:30", "00:30") runs
    over midnight). ``factor`` multiplies every rate; ``price`` holds instead of the
    whole price, save its tiers and regions.
    """

    factor: Amount | None = None
    price: Price | None = None
    start: str | None = None
    until: str | None = None
    daily: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.price is None):
            raise ConfigError(
                "deal", self.factor, "give either a factor or a price, not both"
            )
        for field in ("start", "until"):
            _moment(field, getattr(self, field))
        if self.daily is not None:
            if not isinstance(self.daily, tuple | list) or len(self.daily) != 2:
                remedy = 'give two times of day, such as ("16:30", "00:30")'
                raise ConfigError("daily", self.daily, remedy)
            for clock in self.daily:
                _minute(clock)
        if self.price is not None:
            _inside("price", self.price)
            _refuse("deal", self.price)
        if self.factor is not None:
            _factor("factor", self.factor)

    def holds(self, at: float) -> bool:
        """Whether the deal is on at ``at`` (epoch seconds)."""
        start, until = _moment("start", self.start), _moment("until", self.until)
        if (start is not None and at < start) or (until is not None and at >= until):
            return False
        if self.daily is None:
            return True
        begin, end = (_minute(clock) for clock in self.daily)
        minute = int(at // 60) % 1440
        return begin <= minute < end if begin <= end else not end <= minute < begin

    def next_change(self, at: float) -> float | None:
        """Return the first moment after ``at`` when it may begin or end, or None."""
        moments = [_moment("start", self.start), _moment("until", self.until)]
        until = moments[1]
        if self.daily is not None and not (until is not None and at >= until):
            midnight = at // 86400 * 86400
            for clock in self.daily:
                today = midnight + _minute(clock) * 60
                moments.append(today if today > at else today + 86400)
        return min((m for m in moments if m is not None and m > at), default=None)


class _TwoRates(Struct, frozen=True, repr_omit_defaults=True):
    input: Amount | None = None
    output: Amount | None = None


class Price(
    _TwoRates,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """Rates of one model in USD per million tokens; ``Price(0, 0)`` is free.

    Amounts may be float, int, text ("2.50") or Decimal; None means unknown. What is
    missing is borrowed: cache rates and audio or image input from ``input``, one-hour
    cache writes from ``cache_write``, reasoning and the rest from ``output``.
    ``request``, ``image``, ``second`` and ``search`` are USD apiece.

    ``above`` maps numbers of input tokens to the rates that hold beyond them, for the
    whole request, or with ``marginal`` only for the tokens beyond; ``inclusive`` makes
    them hold from that number on. ``tiers`` maps a service tier (batch, flex, priority)
    and ``regions`` a region (us, eu; "*" for every other) to a factor or, for tiers, a
    Price; ``deals`` are tried in order, the first that holds applies.

    Raises ConfigError for amounts that are none, negative, dearer than 1,000 USD per
    million tokens or 100 USD apiece (with the dearest tier and deal), or so small that
    they must be USD per token.
    """

    cache_read: Amount | None = None
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    audio_in: Amount | None = None
    image_in: Amount | None = None
    reasoning: Amount | None = None
    audio_out: Amount | None = None
    image_out: Amount | None = None
    request: Amount | None = None
    image: Amount | None = None
    second: Amount | None = None
    search: Amount | None = None
    above: dict[int, Price] = {}
    marginal: bool = False
    inclusive: bool = False
    tiers: dict[str, Price | Amount] = {}
    regions: dict[str, Amount] = {}
    deals: tuple[Deal, ...] = ()

    def __post_init__(self) -> None:
        rates = self._rates()
        switches(marginal=self.marginal, inclusive=self.inclusive)
        for field in ("above", "tiers", "regions"):
            if not isinstance(getattr(self, field), Mapping):
                raise ConfigError(field, getattr(self, field), "give a dict")
        if self.above:
            self._check_above()
        for name, factor in (*self.tiers.items(), *self.regions.items()):
            if isinstance(factor, Price):
                _refuse(f"tiers[{name!r}]", factor, "tiers")
            else:
                _factor(f"factor of {name}", factor)
        if not isinstance(self.deals, tuple | list):
            raise ConfigError("deals", self.deals, "give a list of Deal(...)")
        if self.deals or self.tiers:
            self._check_dearest(rates)

    def _check_above(self) -> None:
        if len(self.above) > 3:
            raise ConfigError("above", list(self.above), "at most 3 thresholds")
        for tokens, price in self.above.items():
            whole_numbers(above=tokens)
            positive("above", tokens)
            _inside("above", price)
            _refuse("above", price, "tiers", "above", *_PIECES)

    def _check_dearest(self, rates: Mapping[str, int]) -> None:
        """Refuse what no row can hold once the dearest tier and deal meet."""
        prices, factors = [self], [1.0]
        for deal in self.deals:
            if not isinstance(deal, Deal):
                raise ConfigError("deals", deal, "give a list of Deal(...)")
            if deal.price is not None:
                prices.append(deal.price)
            else:
                factors.append(float(deal.factor or 0))
        tiers = [1.0]
        for tier in self.tiers.values():
            if isinstance(tier, Price):
                prices.append(tier)
            else:
                tiers.append(float(tier))
        factor = max(factors) * max(tiers)
        for price in (*prices, *(p for one in prices for p in one.above.values())):
            for kind, pico in price._rates().items():
                most = _DEAREST if kind in TOKEN_KINDS else _DEAREST_PIECE
                if pico * factor > most:
                    remedy = f"makes {kind} too dear, see Price: write USD per million"
                    raise ConfigError("factor", factor, remedy)

    def row(
        self,
        *,
        service_tier: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> PriceRow:
        """Return the row for a service tier, region and time (epoch seconds).

        A batch without a price of its own costs half, every other unknown tier or
        region the standard price. Without ``at`` no deal applies.
        """
        rates, above, factor = self._rates(), self._above(), _PPM
        deal = self.deal(at)
        if deal is not None and deal.price is not None:
            rates, above = deal.price._rates(), deal.price._above()
        elif deal is not None and deal.factor is not None:
            factor = _pico("factor", deal.factor, 6)
        tier = self.tier(service_tier, at)
        if isinstance(tier, Price):
            rates, above = _merged(rates, above, tier)
        elif tier is not None:
            factor = (factor * _pico("tier", tier, 6) + _PPM // 2) // _PPM
        uplift = _regional(self.regions, region)
        return PriceRow(
            _scaled(rates, factor),
            [(n, _scaled(above[n], factor)) for n in sorted(above)],
            inclusive=self.inclusive,
            marginal=self.marginal,
            uplift_ppm=0 if uplift is None else _pico("region", uplift, 6) - _PPM,
        )

    def deal(self, at: float | None) -> Deal | None:
        """Return the deal that is on at ``at`` (epoch seconds), or None."""
        if at is None:
            return None
        return next((deal for deal in self.deals if deal.holds(at)), None)

    def tier(self, name: str | None, at: float | None = None) -> Price | Amount | None:
        """Return the price or factor of a service tier; None for the standard one."""
        name = standard_tier(name)
        if name is None:
            return None
        deal = self.deal(at)
        if deal is not None and deal.price is not None and name in deal.price.tiers:
            return deal.price.tiers[name]
        return self.tiers.get(name, 0.5 if name == "batch" else None)

    def next_change(self, at: float) -> float | None:
        """Return the first moment after ``at`` when a deal may begin or end, or None.

        Both in epoch seconds; whoever holds a row asks for a new one then.
        """
        moments = (deal.next_change(at) for deal in self.deals)
        return min((m for m in moments if m is not None), default=None)

    def _rates(self) -> dict[str, int]:
        rates = {}
        for kind in TOKEN_KINDS:
            amount = getattr(self, kind)
            if amount is not None:
                rates[kind] = _token_pico(kind, amount)
        for field, (kind, shift) in _PIECES.items():
            amount = getattr(self, field)
            if amount is not None:
                rates[kind] = _pico(field, amount, shift)
                if rates[kind] > 100 * 10**shift:
                    raise ConfigError(field, amount, "at most 100 USD apiece")
        return rates

    def _above(self) -> dict[int, dict[str, int]]:
        return {n: price._rates() for n, price in self.above.items()}


def standard_tier(name: str | None) -> str | None:
    """Return a service tier under one name for all providers; None = standard."""
    if name is None or name in _STANDARD:
        return None
    return _TIER_NAMES.get(name, name)


_STANDARD = frozenset(("", "auto", "default", "standard", "standard_only", "on_demand"))
_TIER_NAMES = {"batches": "batch", "batch_api": "batch", "flexible": "flex"}


def _merged(
    rates: dict[str, int], above: dict[int, dict[str, int]], price: Price
) -> tuple[dict[str, int], dict[int, dict[str, int]]]:
    """Lay ``price`` over rates: what it does not name stays."""
    merged = dict(above)
    for n, rest in price._above().items():
        merged[n] = {**above.get(n, {}), **rest}
    return {**rates, **price._rates()}, merged


def _scaled(rates: dict[str, int], ppm: int) -> dict[str, int]:
    if ppm == _PPM:
        return rates
    return {kind: (pico * ppm + _PPM // 2) // _PPM for kind, pico in rates.items()}


def _regional(regions: Mapping[str, Amount], region: str | None) -> Amount | None:
    """Find "us-east-1" under its own name, under "us" or under "*"."""
    names = (region, region.partition("-")[0], "*") if region else ("*",)
    return next((regions[name] for name in names if name in regions), None)


def _refuse(where: str, price: Price, *fields: str) -> None:
    """Refuse what a price inside another one cannot say."""
    for field in (*fields, "regions", "deals", "marginal", "inclusive"):
        value = getattr(price, field)
        if value or (value is not None and field in _PIECES):
            raise ConfigError(field, value, f"has no meaning in a price in {where}")


def _pico(field: str, amount: Any, shift: int) -> int:
    if isinstance(amount, bool) or amount is None:
        raise ConfigError(field, amount, "give an amount such as 2.50")
    try:
        text = repr(amount) if isinstance(amount, float) else str(amount)
        return PriceRow.parse(text, shift)
    except ValueError:
        raise ConfigError(
            field, amount, "give an amount >= 0 in plain digits, such as 2.50"
        ) from None


def _factor(field: str, amount: Any) -> None:
    if _pico(field, amount, 6) > _MOST_FACTOR * _PPM:
        raise ConfigError(field, amount, f"give a factor of at most {_MOST_FACTOR}")


def _inside(field: str, price: Any) -> None:
    if not isinstance(price, Price):
        raise ConfigError(field, price, "give Price(...)")


def _token_pico(field: str, amount: Any) -> int:
    pico = _pico(field, amount, 6)
    if pico > _DEAREST:
        raise ConfigError(
            field, amount, "prices are in USD per million tokens, at most 1,000"
        )
    if field in ("input", "output") and pico < _CHEAPEST and float(amount) > 0:
        raise ConfigError(
            field, amount, "prices are in USD per million tokens, not per token"
        )
    return pico


def _moment(field: str, text: str | None) -> float | None:
    """Epoch seconds of an ISO date or time; UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(
            field, text, 'give a date or time such as "2026-12-01"'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _minute(clock: str) -> int:
    try:
        hours, _, minutes = clock.partition(":")
        minute = int(hours) * 60 + int(minutes or 0)
    except (AttributeError, TypeError, ValueError):
        minute = -1
    if not 0 <= minute <= 1440:
        raise ConfigError("daily", clock, 'give times of day such as "16:30"')
    return minute

"""What was spent, what it would have been elsewhere, and what the month will cost.

Without a ledger the pool's own sums answer: by backend, since the start. Everything
else is read from the ledger: any time, any label, also of a service that is running.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .._core import KINDS, PriceRow
from .._errors import ConfigError
from .._money._windows import next_start, since_when, start_of
from .._report import Report, Rows

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet
    from .._money._ledger import Book, CostRow
    from ._books import Books

Since = float | str | date | None
_DAY = 86400.0
_HISTORY = 28  # days a forecast learns from
_PLURAL = {"status": "statuses"}
_COLUMNS = {
    "requests": "n",
    "total": "$",
    "average": "$",
    "percentage": "%",
    "input_tokens": "n",
    "output_tokens": "n",
    "cost_per_1k_tokens": "$",
}
_NO_LEDGER = 'is answered by a ledger: Router(..., ledger="costs.db")'


# -- costs -----------------------------------------------------------------------


def cost_report(books: Books, by: str, since: Since) -> Report:
    """Costs by anything; see ``Router.costs``."""
    if books.book is not None:
        return ledger_costs(books.book, by, _begin(books, since))
    if by != "backend":
        raise ConfigError("by", by, _NO_LEDGER)
    if since is not None:
        raise ConfigError("since", since, _NO_LEDGER)
    rows = [_pool_row(books.fleet, target.index) for target in books.fleet.targets]
    return _report("backend", rows, books.started, {})


def _begin(books: Books, since: Since) -> float:
    return books.started if since is None else since_when(since, time.time())


def ledger_costs(
    book: Book, by: str, since: float = 0.0, until: float | None = None
) -> Report:
    """Costs from a ledger, dearest first; times are epoch seconds.

    A request is one attempt; ``calls`` counts those that ended there.
    """
    key = by.partition(":")[2] or by
    rows = [_ledger_row(key, row) for row in book.costs(by, since, until)]
    total: dict[str, Any] = {}
    if by == "tag" or by.startswith("tag:"):  # a call counts under each of its tags
        whole = [_ledger_row(key, row) for row in book.costs("all", since, until)]
        total = whole[0] if whole else {}
    return _report(key, rows, since, total)


def _pool_row(fleet: Fleet, index: int) -> dict[str, Any]:
    view = fleet.pool.backend(index)
    tokens = view["tokens"]
    output = sum(n for kind, n in tokens.items() if kind in _OUTPUT)
    return {
        "backend": fleet.targets[index].name,
        "requests": view["calls"],
        "total_nano_usd": view["cost"],
        "input_tokens": sum(tokens.values()) - output,
        "output_tokens": output,
    }


_OUTPUT = ("output", "reasoning", "audio_out", "image_out")


def _ledger_row(key: str, row: CostRow) -> dict[str, Any]:
    return {
        key: row.key,
        "requests": row.attempts,
        "total_nano_usd": row.cost_nano,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "calls": row.calls,
        "failed": row.failed,
        "unpriced": row.unpriced,
    }


def _report(key: str, rows: Rows, since: float, total: Mapping[str, Any]) -> Report:
    sums = ["requests", "total_nano_usd", "input_tokens", "output_tokens"]
    if rows:
        sums = [name for name in rows[0] if name != key]
    whole = {name: total.get(name, sum(r[name] for r in rows)) for name in sums}
    whole = {key: "total", **whole}
    for row in (*rows, whole):
        nano, tokens = row["total_nano_usd"], row["input_tokens"] + row["output_tokens"]
        row["total"] = nano / 1e9
        row["average"] = nano / 1e9 / row["requests"] if row["requests"] else 0.0
        spent = whole["total_nano_usd"]
        row["percentage"] = nano / spent if spent else 0.0
        row["tokens"] = tokens
        row["cost_per_1k_tokens"] = nano / 1e6 / tokens if tokens else 0.0
    data = {
        _PLURAL.get(key, key + "s"): {row[key]: row for row in rows},
        "total": whole,
        "since": since,
    }
    return Report(data, [*rows, whole], {key: "", **_COLUMNS}, chart="total")


# -- savings ---------------------------------------------------------------------


def savings_report(books: Books, reference: int, since: Since) -> Report:
    """What the same calls would have cost at one backend; see ``Router.savings``."""
    fleet = books.fleet
    target = fleet.targets[reference]
    if target.name in fleet.rates.unpriced:
        raise ConfigError(
            "reference", target.name, "its price is unknown: name another backend"
        )
    row = fleet.rates.of(target)
    if books.book is None:
        if since is not None:
            raise ConfigError("since", since, _NO_LEDGER)
        actual, calls, other = _from_pool(fleet, row)
    else:
        actual, calls, other = _from_ledger(books.book, row, _begin(books, since))
    if other is None:
        raise ConfigError(
            *("reference", target.name),
            "it has no price for something that was used: name another backend",
        )
    saved = other - actual
    line = {
        "reference": target.name,
        "calls": calls,
        "actual": actual / 1e9,
        "reference_cost": other / 1e9,
        "saved": saved / 1e9,
        "saved_nano_usd": saved,
        "saved_share": saved / other if other else 0.0,
    }
    columns = {"reference": "", "calls": "n", "actual": "$", "reference_cost": "$"}
    return Report(line, [line], columns | {"saved": "$", "saved_share": "%"})


def _from_pool(fleet: Fleet, row: PriceRow) -> tuple[int, int, int | None]:
    """From sums: as if no call had been long enough for another rate."""
    views = [fleet.pool.backend(target.index) for target in fleet.targets]
    tokens = {k: sum(view["tokens"][k] for view in views) for k in views[0]["tokens"]}
    calls = sum(view["calls"] for view in views)
    parts = [(row.cost_pico(requests=1), calls)]
    parts += [(row.cost_pico(**{kind: 1}), n) for kind, n in tokens.items() if n]
    actual = sum(view["cost"] for view in views)
    if any(pico is None for pico, _ in parts):
        return actual, calls, None
    return actual, calls, (sum((pico or 0) * n for pico, n in parts) + 500) // 1000


def _from_ledger(
    book: Book, row: PriceRow, since: float
) -> tuple[int, int, int | None]:
    actual = calls = pico = 0
    for entry in book.entries(since):
        actual += entry.cost_nano or 0
        tokens = entry.tokens
        if not isinstance(tokens, dict):
            tokens = dict(zip(KINDS, tokens, strict=False))
        used = {kind: n for kind, n in tokens.items() if n}
        if entry.last and used:
            price = row.cost_pico(**used, requests=1)
            if price is None:
                return actual, calls, None
            calls += 1
            pico += price
    return actual, calls, (pico + 500) // 1000


# -- forecast --------------------------------------------------------------------


def forecast_report(books: Books, now: float | None = None) -> Report:
    """What the month will have cost; see ``Router.forecast``."""
    if books.book is None:
        raise ConfigError("forecast", "this month", _NO_LEDGER)
    return ledger_forecast(books.book, time.time() if now is None else now)


def ledger_forecast(book: Book, now: float) -> Report:
    """What this month (UTC) will have cost at its end, from the days of a ledger.

    ``low`` and ``high`` enclose four of five outcomes if days go on to vary as they
    did; all amounts are USD.
    """
    today = start_of(datetime.fromtimestamp(now, UTC), "day")
    month, end = start_of(today, "month"), next_start(today, "month")
    begin = today - timedelta(days=_HISTORY)
    days = _days(book.costs("day", begin.timestamp(), now), begin, today)
    spent = book.spent(month.timestamp(), now) / 1e9
    usual = _usual_days(days)
    rest = (today.timestamp() + _DAY - now) / _DAY
    ahead = [(today, rest)]
    day = today + timedelta(days=1)
    while day < end:
        ahead.append((day, 1.0))
        day += timedelta(days=1)
    coming = sum(usual[day.weekday()] * share for day, share in ahead)
    misses = [usd - usual[day.weekday()] for day, usd in days.items()]
    spread = statistics.pstdev(misses) if len(misses) > 1 else 0.0
    margin = 1.28 * spread * sum(share**2 for _, share in ahead) ** 0.5
    line = {
        "month": f"{today:%Y-%m}",
        "spent": spent,
        "forecast": spent + coming,
        "low": spent + max(coming - margin, 0.0),
        "high": spent + coming + margin,
        "per_day": sum(usual) / 7,
        "days_of_history": len(days),
    }
    columns = {"month": "", "spent": "$", "forecast": "$", "low": "$", "high": "$"}
    return Report(line, [line], columns | {"per_day": "$", "days_of_history": "n"})


def _days(
    rows: Iterable[CostRow], begin: datetime, today: datetime
) -> dict[datetime, float]:
    """USD of each whole day from the first with any spending on, idle ones too.

    Of a ledger that began today, today is all there is to learn from.
    """
    spent = {row.key: row.usd for row in rows}
    days = [begin + timedelta(days=n) for n in range(_HISTORY)]
    first = next((day for day in days if f"{day:%Y-%m-%d}" in spent), today)
    whole = [day for day in days if day >= first] or [today]
    return {day: spent.get(f"{day:%Y-%m-%d}", 0.0) for day in whole}


def _usual_days(days: Mapping[datetime, float]) -> list[float]:
    """USD of a usual Monday .. Sunday."""
    if len(days) < 14:
        return [statistics.fmean(days.values())] * 7
    by_day: list[list[float]] = [[] for _ in range(7)]
    for day, usd in days.items():
        by_day[day.weekday()].append(usd)
    return [statistics.fmean(values) for values in by_day]

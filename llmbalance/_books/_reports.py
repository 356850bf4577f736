"""How the backends are doing, and how they stand for one call, as tables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._call._decision import known_wait
from .._report import Report, Rows

if TYPE_CHECKING:
    from .._call._run import Run
    from .._fleet._fleet import Fleet
    from .._money._alerts import Meter


def stats_report(fleet: Fleet) -> Report:
    """Requests, success rate, latency, cost, share and breaker of every backend.

    A request is one attempt at one backend; calls that the caller left are not
    counted as failures.
    """
    views = [(t.name, fleet.pool.backend(t.index)) for t in fleet.targets]
    everything = sum(view["calls"] for _, view in views)
    rows = [_stats_row(name, view, everything) for name, view in views]
    total = {
        "backend": "total",
        "requests": everything,
        "succeeded": sum(r["succeeded"] for r in rows),
        "failed": sum(r["failed"] for r in rows),
        "cancelled": sum(r["cancelled"] for r in rows),
        "rate_limited": sum(r["rate_limited"] for r in rows),
        "cost": sum(view["cost"] for _, view in views) / 1e9,
        "in_flight": sum(r["in_flight"] for r in rows),
    }
    total["success_rate"] = _rate(total)
    line = {**dict.fromkeys(rows[0]), **total, "share": 1.0 if everything else 0.0}
    columns = {
        "backend": "",
        "breaker": "",
        "requests": "n",
        "success_rate": "%",
        "mean": "s",
        "p50": "s",
        "p95": "s",
        "rate_limited": "n",
        "cost": "$",
        "share": "%",
    }
    data = {"backends": {row["backend"]: row for row in rows}, "total": total}
    if fleet.hedges is not None:
        data["hedges"] = fleet.hedges.figures()
    if fleet.kin.templates:
        data["models"] = {"opened": len(fleet.kin.opened), "most": fleet.kin.most}
    return Report(data, [*rows, line], columns, chart="requests")


def _stats_row(name: str, view: dict[str, Any], everything: int) -> dict[str, Any]:
    outcomes, latency = view["outcomes"], view["latency"]
    good = outcomes["done"] + outcomes["slow"]
    row = {
        "backend": name,
        "breaker": view["breaker"]["state"],
        "requests": view["calls"],
        "succeeded": good,
        "failed": view["calls"] - good - outcomes["cancelled"],
        "cancelled": outcomes["cancelled"],
        "rate_limited": outcomes["rate_limited"],
        "mean": latency["mean"],
        "p50": latency["p50"],
        "p95": latency["p95"],
        "p99": latency["p99"],
        "ttft_p50": latency["ttft_p50"],
        "ttft_p95": latency["ttft_p95"],
        "cost": view["cost"] / 1e9,
        "share": view["calls"] / everything if everything else 0.0,
        "in_flight": view["in_flight"],
        "weight": view["weight"],
        "headroom": 1 - max((limit["used"] for limit in view["limits"]), default=0.0),
        "outcomes": outcomes,
        "tokens": view["tokens"],
    }
    row["success_rate"] = _rate(row)
    return row


def _rate(row: Mapping[str, Any]) -> float | None:
    ended = row["succeeded"] + row["failed"]
    return row["succeeded"] / ended if ended else None


def budgets_report(fleet: Fleet) -> Report:
    """What every budget has spent and holds, in the order they were given."""
    now = time.monotonic()
    if now >= fleet.due:
        fleet.refresh()
    rows = [_budget_row(fleet, meter, now) for meter in fleet.meters]
    columns = {
        "budget": "",
        "usd": "$",
        "spent": "$",
        "held": "$",
        "left": "$",
        "share": "%",
    }
    return Report({"budgets": rows}, rows, columns, chart="share")


def _budget_row(fleet: Fleet, meter: Meter, now: float) -> dict[str, Any]:
    budget, view = meter.budget, fleet.pool.budget(meter.index, now)
    turns = budget.per != "total" and not budget.rolling
    scope, name = budget.scope or ("all", None)
    return {
        "budget": budget.label,
        "scope": scope,
        "name": name,
        "hard": budget.hard,
        "usd": view["cap"] / 1e9,
        "spent": view["spent"] / 1e9,
        "held": view["reserved"] / 1e9,
        "left": view["free"] / 1e9,
        "share": view["spent"] / view["cap"] if view["cap"] else None,
        "ends_at": fleet.wall() + view["ends_in"] if turns else None,
    }


def explanation(run: Run) -> Report:
    """How every backend of the call's chain stands for it, without reserving."""
    fleet, call = run.fleet, run.call
    rows: Rows = []
    for group in run.chain:
        asked = run.options.ask(call.params.get("tools"))
        for line in fleet.pool.explain(group, call.messages, *asked):
            name = fleet.targets[line["backend"]].name
            line["wait"] = known_wait(line["wait"])
            rows.append({**line, "group": fleet.group_names[group], "backend": name})
    columns = {
        "backend": "",
        "group": "",
        "reason": "",
        "cost": "$",
        "seconds": "s",
        "used": "%",
        "in_flight": "n",
        "input_tokens": "n",
    }
    return Report({"candidates": rows}, rows, columns)

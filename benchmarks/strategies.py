"""Strategies on real traffic: what each would have cost and delivered.

    LLMBALANCE_RECORDED=DATA python benchmarks/strategies.py [--json FILE] [--plot FILE]

DATA/traces holds the public traces (azure2023_conv.csv and azure2023_code.csv of
AzurePublicDataset, mooncake_conversation.jsonl of Mooncake, servegen_rate_10min.csv
summed from ServeGen); without it a daily and a bursty trace of the same shape are made.
Every strategy meets the same luck; figures are means over seeds with half a 95 %
interval. The bound is the offline optimum's cost (a linear program, needs SciPy).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmbalance import Backend, Limits, Price
from llmbalance.simulate import (
    REFERENCES,
    Comparison,
    Fleet,
    Service,
    Trace,
    Trouble,
    compare,
)

Row = dict[str, Any]

# Five hosts of one open model (70B class): prices in USD per million tokens, speeds and
# limits of the order such hosts publish for small accounts, scaled to the traces.
HOSTS = {
    "bargain": (Price(0.23, 0.40), 0.90, 1 / 32, Limits(rpm=120, tpm=180_000)),
    "quick": (Price(0.59, 0.79), 0.25, 1 / 250, Limits(rpm=100, tpm=150_000)),
    "cloud": (Price(0.72, 0.72), 0.60, 1 / 45, Limits(rpm=800, tpm=600_000)),
    "steady": (Price(0.88, 0.88), 0.45, 1 / 85, Limits(rpm=600, tpm=1_000_000)),
    "grand": (Price(1.20, 1.20), 0.35, 1 / 110, Limits(rpm=3000, tpm=4_000_000)),
}
POLICIES: list[Any] = [
    *("composite", "predictive"),
    *({"strategy": "composite", "value": v} for v in (0, 1e-5, 1e-4, 1e-3)),
    *("cost", "latency", "least_busy", "p2c", "round_robin", "weighted"),
    *REFERENCES,
]


def fleet(scale: float, troubles: list[Trouble], keep: bool) -> Fleet:
    """The five hosts, with limits times ``scale``."""
    backends, services = [], {}
    for name, (price, ttft, token, limits) in HOSTS.items():
        if keep:
            price = Price(price.input, price.output, cache_read=float(price.input) / 4)
        scaled = Limits(
            rpm=round((limits.rpm or 0) * scale), tpm=round((limits.tpm or 0) * scale)
        )
        backends.append(
            Backend(
                f"openai_compatible/{name}",
                name=name,
                price=price,
                limits=scaled,
                cache_life=300.0 if keep else 0.0,
            )
        )
        services[name] = Service(
            ttft=ttft,
            ttft_spread=0.35,
            tail_share=0.01,
            tail_factor=8,
            prefill=0.03,
            token=token,
            token_spread=0.2,
            failure_rate=0.003,
        )
    return Fleet(backends, services=services, troubles=troubles)


def bad_day(seconds: float) -> list[Trouble]:
    """The bargain fails, the quick one refuses, the cloud is slow: a tenth each."""
    tenth = seconds / 10
    return [
        Trouble("bargain", 2 * tenth, tenth, "fail"),
        Trouble("quick", 5 * tenth, tenth, "refuse", factor=10),
        Trouble("cloud", 7 * tenth, tenth, "slow", factor=6),
    ]


def scenarios(data: str | None) -> dict[str, tuple[Trace, Fleet]]:
    """Name -> traffic and fleet."""
    if data is None:
        day = Trace.daily(4, 0.25, seed=1, input=(900, 0.8), output=(170, 0.7))
        burst = Trace.bursty(3, 3600, cv=6, seed=2, input=(1800, 0.8), output=(15, 1.0))
        return {
            "made-up day": (day, fleet(1.0, [], False)),
            "made-up bursts": (burst, fleet(1.5, [], False)),
            "made-up day, bad": (day, fleet(1.0, bad_day(day.seconds), False)),
        }
    traces = Path(data) / "traces"
    talk = Trace.from_azure(traces / "azure2023_conv.csv")
    code = Trace.from_azure(traces / "azure2023_code.csv")
    moon = Trace.from_mooncake(traces / "mooncake_conversation.jsonl")
    week = Trace.from_servegen(
        traces / "servegen_rate_10min.csv",
        "m-small",
        scale=0.002,
        seed=1,
        seconds=86400,
    )
    return {
        "conversation": (talk, fleet(1.0, [], False)),
        "conversation, bad day": (talk, fleet(1.2, bad_day(talk.seconds), False)),
        "code": (code, fleet(1.5, [], False)),
        "long prompts, cached": (moon, fleet(6.0, [], True)),
        "a day of ServeGen": (week, fleet(0.35, [], False)),
    }


def rows_of(case: str, found: Comparison) -> list[Row]:
    units = {"cost": "USD", "p95": "s", "success": "share", "ttft_p50": "s"}
    rows = []
    for line in found.rows():
        for figure in ("cost", "p95", "success", "ttft_p50", "refusals", "cache_hit"):
            rows.append(
                {
                    "bench": "strategies",
                    "case": case,
                    "subject": line["strategy"],
                    "metric": figure,
                    "value": line[figure],
                    "unit": units.get(figure, "1"),
                }
            )
    if found.bound is None:
        return rows
    bound = {"bench": "strategies", "case": case, "subject": "offline optimum"}
    rows.append(bound | {"metric": "cost", "value": found.bound, "unit": "USD"})
    return rows


def show(case: str, trace: Trace, found: Comparison, seconds: float) -> None:
    print(f"\n{case}: {trace!r}, bound ${found.bound or 0:.3f} [{seconds:.1f} s]")
    print(
        "| strategy | cost USD | over the bound | p95 s | TTFT p50 s | success "
        "| 429s | frontier |\n|---|--:|--:|--:|--:|--:|--:|:-:|"
    )
    for line in found.rows():
        regret = "" if line["regret"] is None else f"{line['regret']:+.1%}"
        print(
            f"| {line['strategy']} | {line['cost']:.3f} ± {line['cost_pm']:.3f} "
            f"| {regret} | {line['p95']:.2f} ± {line['p95_pm']:.2f} "
            f"| {line['ttft_p50']:.2f} | {line['success']:.3%} "
            f"| {line['refusals']:.0f} | {'*' if line['frontier'] else ''} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the last")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", metavar="CASE")
    options = parser.parse_args()
    data = os.environ.get("LLMBALANCE_RECORDED")
    if data is None:
        print("LLMBALANCE_RECORDED names no folder: made-up traffic", file=sys.stderr)
    rows: list[Row] = []
    for case, (trace, hosts) in scenarios(data).items():
        if options.only and case != options.only:
            continue
        start = time.perf_counter()
        found = compare(
            trace,
            hosts,
            strategies=POLICIES,
            repeats=options.repeats,
            bound=find_spec("scipy") is not None,
        )
        show(case, trace, found, time.perf_counter() - start)
        rows += rows_of(case, found)
        if options.plot is not None:
            found.plot().savefig(options.plot)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How fast a simulated day passes.

    python benchmarks/simulate.py [--json FILE]

500,000 requests of a day on five backends, each under RPM, TPM and a budget, with
headers, breakers and learned latencies: the whole policy. The best of five runs counts
(simulating is pure computation; whatever is slower was disturbed).
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from llmbalance import Backend, Budget, Limits, Price
from llmbalance._core import STRATEGIES
from llmbalance.simulate import REFERENCES, Fleet, Service, Trace, run

Row = dict[str, Any]
LIMITS = Limits(rpm=10_000, tpm=20_000_000)


def fleet(crowd: float) -> Fleet:
    return Fleet(
        [
            Backend(
                "openai_compatible/model",
                name=f"host{i}",
                price=Price(2.5 + 0.1 * i, 10),
                limits=LIMITS,
            )
            for i in range(5)
        ],
        services={
            f"host{i}": Service(token=0.01 + 0.001 * i, token_crowd=crowd)
            for i in range(5)
        },
        budgets=[Budget(usd=1e6, per="day")],
    )


def row(case: str, subject: str, metric: str, value: float, unit: str) -> Row:
    print(f"{case:<28} {subject:<24} {metric:<12} {value:>14,.3f} {unit}", flush=True)
    return {
        "bench": "simulate",
        "case": case,
        "subject": subject,
        "metric": metric,
        "value": value,
        "unit": unit,
    }


def fastest(trace: Trace, hosts: Fleet, repeats: int, **options: Any) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run(trace, hosts, **options)
        seconds.append(time.perf_counter() - start)
        assert result.totals["requests"] == len(trace)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--requests", type=int, default=500_000, help="of the day")
    options = parser.parse_args()
    start = time.perf_counter()
    trace = Trace.poisson(rate=options.requests / 86400, seconds=86400, seed=1)
    made = time.perf_counter() - start
    rows = [row("a day's trace", "Trace.poisson", "time", made, "s")]
    for strategy in (*STRATEGIES, *REFERENCES):
        took = fastest(trace, fleet(0), 5, strategy=strategy)
        case = "a day on five backends"
        rows.append(row(case, strategy, "time", took, "s"))
        rate = len(trace) / took / 1e6
        rows.append(row(case, strategy, "throughput", rate, "million requests/s"))
    took = fastest(trace, fleet(1e-4), 3)
    rate = len(trace) / took / 1e6
    case = "processor sharing"
    rows.append(row(case, "composite", "throughput", rate, "million requests/s"))
    rows += memory(options.requests)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def memory(most: int) -> list[Row]:
    """What a run adds to the process: nothing that grows with the requests."""
    rows = []
    hosts = fleet(0)
    for requests in (most // 5, 2 * most):
        trace = Trace.poisson(rate=10, seconds=requests / 10, seed=2)
        run(trace.cut(0, 100), hosts)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(trace, hosts)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        subject = f"{requests:,} requests"
        rows.append(row("memory", subject, "growth", grown / 1024, "MiB"))
    return rows


if __name__ == "__main__":
    main()

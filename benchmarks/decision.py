"""What one routing decision costs, here and elsewhere.

    python benchmarks/decision.py [--json FILE] [--rounds N]

A decision is: estimate a prompt of 1 kB, choose among N backends that all have a
request limit, a token limit, a concurrency limit, a budget and a breaker, reserve on
all of these, and settle with the bill.  Subjects:

    llmbalance            Pool.pick() and Lease.settle() from Python: all of it
    llmbalance, measured  the same without the estimate: the next choice for a prompt
                          that was measured before (Lease.again), as after a failure
    llmbalance, choice    of that the choice alone: reserved, then given back unsent
    core                  choose, reserve, settle in C alone (core/bench_core.c)
    naive                 all of it by a router in plain Python, written from the
                          definition (below); a prompt is a quarter of its characters
    litellm STRATEGY      litellm.Router.get_available_deployment(): it checks limits
                          and chooses, but neither reserves nor settles; left out
                          unless installed: pip install litellm

Every subject runs once in every round, so that a slow moment of the machine meets all
of them; the rows are medians over the rounds, wall-clock time and CPU time apart.  Each
of ours is compared with the others by CPU time.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from llmbalance._core import (
    CHARGES,
    OUTCOMES,
    STRATEGIES,
    UNITS,
    Lease,
    Pool,
    PriceRow,
)
from llmbalance._core import measure as measure_prompt

Row = dict[str, Any]
TOP = Path(__file__).parents[1]
TEXT = ("The quick brown fox jumps over the lazy dog. " * 23)[:1000]
MESSAGES = [{"role": "user", "content": TEXT}]
USAGE = (250, 0, 0, 0, 0, 0, 100)
LITELLM_STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
)


# -- ours ------------------------------------------------------------------------------


def make_pool(n: int, strategy: str) -> Pool:
    pool = Pool(n, 2 * n, 1, 2, n, 0, 1)
    price = PriceRow({"input": 2_500_000, "output": 10_000_000})
    charge = CHARGES.index("actual")
    for i in range(n):
        pool.add_backend(price, id=i + 1, context=128_000, max_calls=100_000)
        pool.add_limit(i, UNITS.index("requests"), charge, 10_000_000, 60.0)
        pool.add_limit(i, UNITS.index("tokens"), charge, 2_000_000_000, 60.0)
    pool.charge("all", 0, pool.add_budget(1, 10**15, True, 86400.0, 86400.0))
    pool.add_group(list(range(n)), STRATEGIES.index(strategy))
    pool.add_group([], STRATEGIES.index(strategy))
    return pool


def our_decision(n: int, strategy: str) -> Callable[[], object]:
    pick, done = make_pool(n, strategy).pick, OUTCOMES.index("done")

    def decide() -> None:
        pick(0, MESSAGES, 500).settle(done, USAGE, 0.2, 1.0, True, True)

    return decide


def our_measured(n: int, strategy: str) -> Callable[[], object]:
    again, done = measured(n, strategy), OUTCOMES.index("done")

    def decide() -> None:
        again(0).settle(done, USAGE, 0.2, 1.0, True, True)

    return decide


def our_choice(n: int, strategy: str) -> Callable[[], object]:
    again, cancelled = measured(n, strategy), OUTCOMES.index("cancelled")

    def decide() -> None:
        again(0).settle(cancelled, None, None, None, False)

    return decide


def measured(n: int, strategy: str) -> Callable[[int], Lease]:
    """What chooses for a prompt that was measured when a group of nobody was asked."""
    return make_pool(n, strategy).pick(1, MESSAGES, 500).again


# -- the naive router ------------------------------------------------------------------


@dataclass
class Server:
    """A backend of the naive router: one object, plain attributes."""

    name: str
    price_in: float = 2.5e-6
    price_out: float = 10e-6
    rpm: int = 10_000_000
    tpm: int = 2_000_000_000
    most: int = 100_000
    requests: float = 0.0
    tokens: float = 0.0
    stamp: float = 0.0
    calls: int = 0
    seconds: float = 1.0
    failures: int = 0
    open_until: float = 0.0
    recent: list[tuple[float, bool]] = field(default_factory=list)

    def refill(self, now: float) -> None:
        """Two token buckets: what was used comes back evenly."""
        part = (now - self.stamp) / 60.0
        self.requests = max(0.0, self.requests - part * self.rpm)
        self.tokens = max(0.0, self.tokens - part * self.tpm)
        self.stamp = now

    def admits(self, tokens: int, now: float) -> bool:
        self.refill(now)
        return (
            now >= self.open_until
            and self.calls < self.most
            and self.requests + 1 <= self.rpm
            and self.tokens + tokens <= self.tpm
        )


class NaiveRouter:
    """The cheapest that may serve, among equals the fastest; EWMA, simple breaker."""

    def __init__(self, n: int) -> None:
        self.servers = [Server(f"s{i}") for i in range(n)]
        self.cap, self.spent, self.reserved = 1e6, 0.0, 0.0

    def pick(self, messages: list[dict[str, str]], max_tokens: int) -> tuple[Any, ...]:
        now = time.monotonic()
        tokens = sum(len(m["content"]) for m in messages) // 4
        open_ = [s for s in self.servers if s.admits(tokens + max_tokens, now)]
        priced = sorted(
            ((tokens * s.price_in + max_tokens * s.price_out, s) for s in open_),
            key=lambda pair: pair[0],
        )
        cheap = [pair for pair in priced if pair[0] <= priced[0][0] * 1.1]
        cost, best = min(cheap, key=lambda pair: pair[1].seconds * (pair[1].calls + 1))
        if self.spent + self.reserved + cost > self.cap:
            raise RuntimeError("over budget")
        self.reserved += cost
        best.requests += 1
        best.tokens += tokens + max_tokens
        best.calls += 1
        return best, tokens + max_tokens, cost, now

    def settle(self, held: tuple[Any, ...], used: int, cost: float, ok: bool) -> None:
        server, reserved, expected, _ = held
        now = time.monotonic()
        server.calls -= 1
        server.tokens += used - reserved
        self.reserved -= expected
        self.spent += cost
        server.recent.append((now, ok))
        server.recent = [call for call in server.recent[-20:] if call[0] > now - 30]
        if ok:
            server.failures = 0
            server.seconds += 0.1 * (1.0 - server.seconds)
        else:
            server.failures += 1
        if server.failures >= 5:
            server.open_until = now + 5.0


def naive_decision(n: int) -> Callable[[], object]:
    router = NaiveRouter(n)

    def decide() -> None:
        held = router.pick(MESSAGES, 500)
        router.settle(held, 350, 350 * 2.5e-6, True)

    return decide


# -- litellm ---------------------------------------------------------------------------


def litellm_decision(n: int, strategy: str) -> Callable[[], object]:
    import litellm

    litellm.suppress_debug_info = True
    router = litellm.Router(
        model_list=[
            {
                "model_name": "group",
                "litellm_params": {
                    "model": "openai/gpt-4o",
                    "api_key": "none",
                    "api_base": f"http://127.0.0.1:{9000 + i}",
                    "rpm": 10_000_000,
                    "tpm": 2_000_000_000,
                },
            }
            for i in range(n)
        ],
        routing_strategy=strategy,
    )

    def decide() -> object:
        return router.get_available_deployment(model="group", messages=MESSAGES)

    decide()
    return decide


# -- measuring -------------------------------------------------------------------------


@dataclass
class Case:
    """One subject of one case: how often a round calls it, what the rounds gave."""

    case: str
    subject: str
    decide: Callable[[], object]
    calls: int = 0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def warm_up(self, seconds: float) -> None:
        """Choose a number of calls that takes about so long."""
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            self.decide()
            calls += 1
        self.calls = calls

    def run(self) -> None:
        """One round."""
        decide = self.decide
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(self.calls):
            decide()
        self.wall.append((time.perf_counter() - wall) / self.calls * 1e9)
        self.cpu.append((time.process_time() - cpu) / self.calls * 1e9)


def row(case: str, subject: str, metric: str, value: float, unit: str = "ns") -> Row:
    return {
        "bench": "decision",
        "case": case,
        "subject": subject,
        "metric": metric,
        "value": round(value, 1),
        "unit": unit,
    }


def core_rows() -> list[Row]:
    """The C calls alone, by the small program that measures every core function."""
    names = {
        "decide_5": "5 backends",
        "decide_200": "200 backends",
        "decide_p2c_16": "p2c of 16",
        "decide_p2c_10000": "p2c of 10,000",
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bench_core"
        sources = [TOP / "benchmarks/core/bench_core.c", *TOP.glob("csrc/lb_*.c")]
        compiler = [os.environ.get("CC", "cc"), "-std=c11", "-O3", "-flto"]
        subprocess.run(
            [*compiler, f"-I{TOP / 'csrc'}", *sources, "-lm", "-o", program], check=True
        )
        for name, case in names.items():
            runs = []
            for _ in range(5):
                out = subprocess.run(
                    [program, name, "200000"],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                runs += [float(r["value"]) for r in csv.DictReader(out.splitlines())]
            rows.append(row(case, "core", "wall", median(runs)))
    return rows


def floor_cases() -> list[Case]:
    """What can not be avoided, of which a decision has 2 calls and 2 clocks."""
    lease = make_pool(1, "composite").pick(0, "", 1)
    return [
        Case("floor", "empty call", lambda: None),
        Case("floor", "C method", lambda: lease.progress(0)),
        Case("floor", "clock", time.monotonic),
        Case("floor", "estimate of 1 kB", lambda: measure_prompt(MESSAGES)),
    ]


def all_cases() -> list[Case]:
    cases = floor_cases()
    for n in (5, 200):
        case = f"{n} backends"
        cases.append(Case(case, "llmbalance", our_decision(n, "composite")))
        cases.append(Case(case, "llmbalance, measured", our_measured(n, "composite")))
        cases.append(Case(case, "llmbalance, choice", our_choice(n, "composite")))
        cases.append(Case(case, "naive", naive_decision(n)))
    cases.append(Case("p2c of 16", "llmbalance", our_decision(16, "p2c")))
    cases.append(Case("p2c of 10,000", "llmbalance", our_decision(10_000, "p2c")))
    if importlib.util.find_spec("litellm") is None:
        print("litellm is not installed, and left out: pip install litellm")
        return cases
    # Its price table comes from the network unless told otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    for n in (5, 200):
        for strategy in LITELLM_STRATEGIES:
            try:
                decide = litellm_decision(n, strategy)
            except Exception as error:
                print(f"litellm {strategy} of {n} left out: {error}")
                continue
            cases.append(Case(f"{n} backends", f"litellm {strategy}", decide))
    return cases


def measure(rounds: int) -> list[Row]:
    cases = all_cases()
    for case in cases:
        case.warm_up(0.05)
    for _ in range(rounds):
        for case in cases:
            case.run()
    rows = []
    for case in cases:
        rows.append(row(case.case, case.subject, "wall", median(case.wall)))
        rows.append(row(case.case, case.subject, "cpu", median(case.cpu)))
        rows.append(row(case.case, case.subject, "fastest round", min(case.wall)))
    return rows + core_rows() + ratios(rows)


def ratios(rows: list[Row]) -> list[Row]:
    """How many times as long the others take, by CPU time."""
    cpu = {(r["case"], r["subject"]): r["value"] for r in rows if r["metric"] == "cpu"}
    return [
        row(case, subject, f"times {ours}", value / cpu[case, ours], "x")
        for ours in ("llmbalance", "llmbalance, measured", "llmbalance, choice")
        for (case, subject), value in cpu.items()
        if (case, ours) in cpu and not subject.startswith("llmbalance")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a routing decision.")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there"
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N")
    options = parser.parse_args()
    rows = measure(options.rounds)
    for r in rows:
        print(
            f"{r['case']:<15} {r['subject']:<32} {r['metric']:<26}"
            f" {r['value']:>12,.1f} {r['unit']}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

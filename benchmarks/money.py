"""What money costs: pricing a call, reading the table, keeping the ledger.

    python benchmarks/money.py [--json FILE]

The C part is compiled on the spot and left out, with a word, where there is no
compiler. Times are the best of several repeats, rates are sustained.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmbalance import Backend, Budget, Router
from llmbalance._core import PriceRow
from llmbalance._figures import counts_of
from llmbalance._money._ledger import Entry, Ledger
from llmbalance._money._prices import PriceTable
from llmbalance._types import Usage

Row = dict[str, Any]

ROOT = Path(__file__).parents[1]
USAGE = Usage(
    prompt_tokens=1808,
    completion_tokens=300,
    cached_tokens=1024,
    reasoning_tokens=128,
)


def row(case: str, subject: str, metric: str, value: float, unit: str) -> Row:
    return {
        "bench": "money",
        "case": case,
        "subject": subject,
        "metric": metric,
        "value": round(value, 3),
        "unit": unit,
    }


def best(call: Callable[[], object], target: float = 0.05) -> float:
    """Seconds of one call: the best of nine repeats of about *target* seconds."""
    once = max(timeit.timeit(call, number=3) / 3, 1e-8)
    number = max(1, int(target / once))
    return min(timeit.repeat(call, number=number, repeat=9)) / number


def in_c() -> Iterator[Row]:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        print("no C compiler: the C part is left out", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "money"
        sources = [ROOT / "benchmarks/money.c", ROOT / "csrc/lb_price.c"]
        command = [compiler, "-std=c11", "-O3", f"-I{ROOT / 'csrc'}", "-o", program]
        subprocess.run([*command, *sources], check=True)
        lines = subprocess.check_output([program], text=True).splitlines()
    for line in lines:
        function, nanoseconds = line.split()
        yield row(
            "price of a call", function, "time per call", float(nanoseconds), "ns"
        )


def in_python() -> Iterator[Row]:
    price = PriceTable().row("openai", "gpt-5.4")
    assert isinstance(price, PriceRow)
    kinds = USAGE.disjoint()
    for subject, call in {
        "PriceRow.cost": lambda: price.cost(input=784, cache_read=1024, output=172),
        "PriceRow.cost(**Usage.disjoint())": lambda: price.cost(**USAGE.disjoint()),
        "PriceRow.cost(**kinds)": lambda: price.cost(**kinds),
    }.items():
        yield row("price of a call", subject, "time per call", best(call) * 1e9, "ns")
    table = PriceTable()
    whole = best(lambda: table.cost("openai/gpt-5.4", USAGE))
    yield row("price of a call", "PriceTable.cost", "time per call", whole * 1e6, "us")
    first = best(lambda: PriceTable().lookup("openai", "gpt-5.4"))
    yield row("price table", "first lookup", "time", first * 1e3, "ms")
    every = best(lambda: list(PriceTable()))
    yield row("price table", "every row", "time", every * 1e3, "ms")


def entry(number: int) -> Entry:
    return Entry(
        time=time.time(),
        call_id="01234567-89ab-cdef",
        group="frontier",
        backend="openai/gpt-5.4",
        model="gpt-5.4",
        task="summarise",
        tags=("team=search",),
        tokens=USAGE.disjoint(),
        cost_nano=number,
        latency_s=0.8,
        ttft_s=0.2,
    )


def ledger(folder: Path) -> Iterator[Row]:
    case = "ledger"
    with Ledger(folder / "alone.db", interval=60) as book:
        ready = entry(1)
        alone = min(timeit.repeat(lambda: book.record(ready), number=20_000, repeat=9))
        yield row(case, "record", "time per call", alone / 20_000 * 1e9, "ns")
        made = min(timeit.repeat(lambda: book.record(entry(1)), number=9000, repeat=9))
        yield row(case, "make and record", "time per call", made / 9000 * 1e9, "ns")
        waiting = 20_000 * 9 + 9000 * 9
        start = time.perf_counter()
        book.flush()
        took = time.perf_counter() - start
        yield row(case, "one transaction", "throughput", waiting / took, "rows/s")
    yield from sustained(folder / "paced.db", 20_000, seconds=5.0)


def router(folder: Path) -> Iterator[Row]:
    """What the books of a router add to a call that is settled."""
    messages = [{"role": "user", "content": "Hello"}]
    backends = [Backend("openai/gpt-4o", api_key="k")]
    budgets = [Budget(usd=1e6, per="day"), Budget(usd=1e6, per="month")]
    with Ledger(folder / "router.db") as book:
        routers = {
            "no ledger, no budget": Router(backends),
            "two budgets with alerts": Router(backends, budgets=budgets),
            "a ledger": Router(backends, ledger=book),
        }
        for subject, each in routers.items():
            with each.acquire("openai/gpt-4o", messages, max_tokens=500) as lease:
                lease.settle(usage=USAGE)
            run, shot, counts = lease._run, lease.shot, counts_of(USAGE)

            def note(run: Any = run, shot: Any = shot, counts: Any = counts) -> None:
                run.id = ""  # each one is a call of its own
                run._note(shot, "ok", counts, 1000, True, 1.0, 0.1)
                run.end()

            spent = min(timeit.repeat(note, number=9000, repeat=9)) / 9000
            yield row("books of a call", subject, "time per call", spent * 1e9, "ns")


def sustained(path: Path, rate: int, seconds: float) -> Iterator[Row]:
    """Record *rate* calls a second in steps of 5 ms, while the thread writes."""
    case = f"ledger at {rate} calls/s"
    step = rate // 200
    spent = 0.0
    with Ledger(path) as book:
        writer = book._writer
        start, cpu = time.perf_counter(), time.process_time()
        for tick in range(int(seconds * 200)):
            begin = time.perf_counter()
            for number in range(step):
                book.record(entry(number))
            spent += time.perf_counter() - begin
            time.sleep(max(0.0, start + (tick + 1) * 0.005 - time.perf_counter()))
        took = time.perf_counter() - start
        waiting = len(writer._waiting)
        cpu = time.process_time() - cpu
        calls = int(seconds * 200) * step
        [report] = book.costs("all")
        assert report.attempts == calls
    yield row(case, "achieved", "throughput", calls / took, "calls/s")
    yield row(case, "make and record", "time per call", spent / calls * 1e6, "us")
    yield row(case, "whole process", "CPU", cpu / took * 100, "% of a core")
    yield row(case, "waiting at the end", "entries", waiting, "entries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there"
    )
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for part in (in_c(), in_python(), ledger(Path(folder)), router(Path(folder))):
            for item in part:
                rows.append(item)
                name = f"{item['case']}: {item['subject']}, {item['metric']}"
                print(f"{name:<68} {item['value']:>14,.3f} {item['unit']}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

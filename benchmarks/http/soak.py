"""A million calls with faults among them: memory, descriptors, and nothing lost.

    python benchmarks/http/soak.py [CALLS] [--json FILE]

Of a hundred calls one fails to connect or times out, three are cancelled at a
random moment, four are streams.  Memory and descriptors are read at every tenth;
it fails if the last half of the run grew by more than 1 MB or lost a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from serve import BODY, STREAM, TARGET, Server, compile_helpers

from llmbalance._core import Origin, engine_stats
from llmbalance._transport import Transport

LIMITS = (5.0, 5.0, 5.0, 5.0, 10.0)
IMPATIENT = (5.0, 0.05, 5.0, 5.0, 10.0)
WORKERS = 64


def resident() -> float:
    """Megabytes of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Soak:
    def __init__(self, quick: str, slow: str) -> None:
        self.transport = Transport()
        self.quick, self.slow = Origin(quick), Origin(slow)
        self.dead = Origin("http://127.0.0.1:1")
        self.ended: Counter[str] = Counter()
        self.begun = 0
        self.readings: list[tuple[float, int]] = []

    async def send(self, origin: Origin, limits: tuple[float, ...]) -> str:
        r = await self.transport.send(origin, "POST", TARGET, None, BODY, limits)
        return r.error or "ok"

    async def cancelled(self, after: float) -> str:
        task = asyncio.create_task(self.send(self.slow, LIMITS))
        await asyncio.sleep(after)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    async def stream(self) -> str:
        opened = await self.transport.stream(
            self.quick, "POST", TARGET, None, STREAM, LIMITS
        )
        got = 0
        async for events in opened:
            got += len(events)
        return f"stream of {got}"

    async def one(self, chance: float, moment: float) -> str:
        if chance < 0.005:
            return await self.send(self.dead, LIMITS)
        if chance < 0.01:
            return await self.send(self.slow, IMPATIENT)
        if chance < 0.04:
            return await self.cancelled(moment * 0.002)
        if chance < 0.08:
            return await self.stream()
        return await self.send(self.quick, LIMITS)

    async def worker(self, calls: int, rng: random.Random) -> None:
        while self.begun < calls:
            self.begun += 1
            if self.begun % (calls // 10) == 0:
                self.readings.append((resident(), descriptors()))
                memory, files = self.readings[-1]
                print(
                    f"{self.begun:9,} calls  {memory:.1f} MB  {files} files", flush=True
                )
            self.ended[await self.one(rng.random(), rng.random())] += 1

    async def run(self, calls: int) -> None:
        rng = random.Random(7)
        await asyncio.gather(*(self.worker(calls, rng) for _ in range(WORKERS)))
        await asyncio.sleep(0.2)
        self.transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compile_helpers(Path(folder))
        with (
            Server(Path(folder), 0, 20, 0) as quick,
            Server(Path(folder), 500, 20, 50) as slow,
        ):
            soak = Soak(quick.url, slow.url)
            asyncio.run(soak.run(options.calls))
    stats = engine_stats()
    drift = soak.readings[-1][0] - soak.readings[len(soak.readings) // 2 - 1][0]
    print(dict(soak.ended), f"drift in the last half {drift:+.2f} MB")
    print(stats)
    if options.json:
        names = {"memory drift": (drift, "MB"), "calls": (soak.ended.total(), "1")}
        rows = [
            {
                "bench": "soak",
                "case": "1 % faults",
                "subject": "transport",
                "metric": metric,
                "value": value,
                "unit": unit,
            }
            for metric, (value, unit) in names.items()
        ]
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    lost = stats["submitted"] - stats["completed"]
    if drift > 1.0 or lost or soak.ended.total() != soak.begun:
        sys.exit(f"failed: drift {drift:.2f} MB, {lost} calls lost")


if __name__ == "__main__":
    main()

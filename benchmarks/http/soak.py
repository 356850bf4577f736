"""Very many calls with faults among them: memory, descriptors, and nothing lost.

    python benchmarks/http/soak.py [CALLS] [--through SUBJECT] [--json FILE]

SUBJECT: transport (the default) or router (Router.chat over four backends). Of a
hundred calls one fails to connect or times out, three are cancelled at a random
moment, four are streams; one stream in fifty is left in the middle. Memory and
descriptors are read at every tenth. It fails if a call is not accounted for exactly
once, or if the last half of 100,000 calls or more (fewer are all warm-up) grew by more
than 1 MB or by more descriptors than there are workers.
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

from serve import Server, compile_helpers
from soakers import SOAKERS, Soaker

WORKERS = 64
WARM = 100_000  # calls from which on memory is expected to stay as it is


def resident() -> float:
    """Megabytes of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Soak:
    """The calls of one run and how they ended."""

    def __init__(self, soaker: Soaker, calls: int) -> None:
        self.soaker = soaker
        self.calls = calls
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self.readings: list[tuple[float, int]] = []

    async def one(self, chance: float, moment: float) -> str:
        soaker = self.soaker
        if chance < 0.005:
            return await soaker.refused()
        if chance < 0.01:
            return await soaker.late()
        if chance < 0.04:
            return await self.cancelled(moment * 0.002)
        if chance < 0.0408:
            return await soaker.left()
        if chance < 0.08:
            return await soaker.stream()
        return await soaker.call()

    async def cancelled(self, after: float) -> str:
        task = asyncio.create_task(self.soaker.slow())
        await asyncio.sleep(after)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():  # this run itself is ended
                raise
            self.soaker.forget()
            return "cancelled"

    async def worker(self, rng: random.Random) -> None:
        while self.begun < self.calls:
            self.begun += 1
            if self.begun % (self.calls // 10) == 0:
                self.read()
            self.ended[await self.one(rng.random(), rng.random())] += 1

    def read(self) -> None:
        memory, files = resident(), descriptors()
        self.readings.append((memory, files))
        print(f"{self.begun:9,} calls  {memory:.1f} MB  {files} files", flush=True)

    async def run(self) -> None:
        rng = random.Random(7)
        await asyncio.gather(*(self.worker(rng) for _ in range(WORKERS)))
        await asyncio.sleep(0.2)  # what was cancelled comes to its end
        await self.soaker.close()

    def faults(self) -> list[str]:
        """What is wrong, in words; [] when all is well."""
        found = self.soaker.unaccounted()
        if self.ended.total() != self.begun:
            found.append(f"{self.begun - self.ended.total()} calls never ended")
        return found if self.calls < WARM else found + self.growth()

    def growth(self) -> list[str]:
        found = []
        if self.drift() > 1.0:
            found.append(f"memory grew by {self.drift():.2f} MB in the last half")
        half = self.readings[len(self.readings) // 2 - 1 :]
        # A connection more or less is open at any moment; a leak goes on and on.
        if half[-1][1] > half[0][1] + WORKERS:
            found.append(f"descriptors grew from {half[0][1]} to {half[-1][1]}")
        return found

    def drift(self) -> float:
        return self.readings[-1][0] - self.readings[len(self.readings) // 2 - 1][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calls", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--through", choices=tuple(SOAKERS), default="transport")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.calls < 10:
        parser.error("CALLS must be 10 or more: it is read at every tenth")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_helpers(folder)
        with Server(folder, 0, 20, 0) as quick, Server(folder, 500, 20, 50) as slow:
            soak = Soak(SOAKERS[options.through](quick.url, slow.url), options.calls)
            asyncio.run(soak.run())
    print(dict(soak.ended), f"drift in the last half {soak.drift():+.2f} MB")
    print(soak.soaker.account())
    if options.json:
        figures = {
            "calls": (soak.ended.total(), "1"),
            "memory drift": (soak.drift(), "MB"),
            "descriptors": (soak.readings[-1][1], "1"),
        }
        rows = [
            {
                "bench": "soak",
                "case": "1 % faults",
                "subject": options.through,
                "metric": metric,
                "value": value,
                "unit": unit,
            }
            for metric, (value, unit) in figures.items()
        ]
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    if faults := soak.faults():
        sys.exit(f"failed: {'; '.join(faults)}")


if __name__ == "__main__":
    main()

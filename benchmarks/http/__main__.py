"""What one HTTP call costs: CPU, latency, calls in flight, streamed events.

    python benchmarks/http [--json FILE] [--seconds S] [SUBJECT ...]

Subjects: curl (a bare C loop on libcurl, the yardstick), transport, and httpx and
aiohttp where they are installed.  Each case runs every subject in a process of its
own against the same C server on loopback, in turn, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from serve import BODY, STREAM, TARGET, Server, compile_helpers

SUBJECTS = ("curl", "transport", "aiohttp", "httpx")
JSON_LINE = {"Content-Type": "application/json"}

Send = Callable[[], Awaitable[None]]
Stream = Callable[[], AsyncIterator[int]]  # yields how many events have come


def transport_client(url: str) -> tuple[Send, Stream]:
    from llmbalance._core import Origin
    from llmbalance._transport import Transport

    transport, origin = Transport(), Origin(url, headers=["Authorization: Bearer k"])
    lines, limits = ["Content-Type: application/json"], (5.0, 60.0, 60.0, 60.0, 120.0)

    async def send() -> None:
        r = await transport.send(origin, "POST", TARGET, lines, BODY, limits)
        assert r.status == 200 and len(r.body) == 723, r.detail

    async def stream() -> AsyncIterator[int]:
        opened = await transport.stream(origin, "POST", TARGET, lines, STREAM, limits)
        async for events in opened:
            yield len(events)

    return send, stream


def aiohttp_client(url: str) -> tuple[Send, Stream]:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def send() -> None:
        async with session.post(url + TARGET, data=BODY, headers=JSON_LINE) as r:
            assert r.status == 200 and len(await r.read()) == 723

    async def stream() -> AsyncIterator[int]:
        async with session.post(url + TARGET, data=STREAM, headers=JSON_LINE) as r:
            async for line in r.content:
                if line.startswith(b"data:"):
                    yield 1

    return send, stream


def httpx_client(url: str) -> tuple[Send, Stream]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(limits=limits, timeout=60, trust_env=False)

    async def send() -> None:
        r = await client.post(url + TARGET, content=BODY, headers=JSON_LINE)
        assert r.status_code == 200 and len(r.content) == 723

    async def stream() -> AsyncIterator[int]:
        async with client.stream(
            "POST", url + TARGET, content=STREAM, headers=JSON_LINE
        ) as r:
            async for line in r.aiter_lines():
                if line.startswith("data:"):
                    yield 1

    return send, stream


CLIENTS = {
    "transport": transport_client,
    "aiohttp": aiohttp_client,
    "httpx": httpx_client,
}


def spread(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return {"p50": p50 * 1e6, "p99": p99 * 1e6}


async def closed_loop(send: Send, concurrent: int, seconds: float) -> dict[str, float]:
    """Each of *concurrent* callers asks again as soon as it is answered."""
    samples: list[float] = []
    end = 0.0

    async def caller(keep: bool) -> None:
        while (begun := time.perf_counter()) < end:
            await send()
            if keep:
                samples.append(time.perf_counter() - begun)

    end = time.perf_counter() + 0.3  # connections, caches
    await asyncio.gather(*(caller(False) for _ in range(concurrent)))
    cpu, begun = time.process_time(), time.perf_counter()
    end = begun + seconds
    await asyncio.gather(*(caller(True) for _ in range(concurrent)))
    cpu, took = time.process_time() - cpu, time.perf_counter() - begun
    rate = len(samples) / took
    return {"cpu": cpu / len(samples) * 1e6, "rate": rate, **spread(samples)}


async def open_loop(
    send: Send, per_second: int, delay: float, seconds: float
) -> dict[str, float]:
    """Calls begin on a clock, answered or not; *delay* is the server's own part."""
    samples: list[float] = []

    async def call() -> None:
        begun = time.perf_counter()
        await send()
        samples.append(time.perf_counter() - begun - delay)

    async def arrivals(count: int) -> None:
        tasks, begun = [], time.perf_counter()
        for i in range(count):
            wait = begun + i / per_second - time.perf_counter()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(call()))
        await asyncio.gather(*tasks)

    await arrivals(per_second)
    samples.clear()
    cpu = time.process_time()
    await arrivals(int(per_second * seconds))
    cpu = time.process_time() - cpu
    return {"cpu": cpu / len(samples) * 1e6, **spread(samples)}


async def streams(stream: Stream, concurrent: int) -> dict[str, float]:
    got = 0

    async def reader() -> None:
        nonlocal got
        async for events in stream():
            got += events

    cpu = time.process_time()
    await asyncio.gather(*(reader() for _ in range(concurrent)))
    cpu = time.process_time() - cpu
    return {"cpu": cpu / got * 1e6, "events": float(got)}


# name: what the server does (delay ms, events, gap ms), and the case itself
Case = Callable[[Send, Stream, float], Awaitable[dict[str, float]]]
CASES: dict[str, tuple[tuple[int, int, int], Case]] = {
    **{
        f"closed c={c}": ((0, 0, 0), lambda send, _, s, c=c: closed_loop(send, c, s))
        for c in (1, 16, 64, 256)
    },
    "open 2000/s, 1000 in flight": (
        (500, 0, 0),
        lambda send, _, s: open_loop(send, 2000, 0.5, s),
    ),
    "200 streams": ((0, 100, 20), lambda _, stream, s: streams(stream, 200)),
}
# Measured once: its pool walks all connections for each request, 20 ms of CPU here.
TOO_MUCH_FOR_HTTPX = ("closed c=256", "open 2000/s, 1000 in flight")
UNITS = {
    "cpu": "us",
    "p50": "us",
    "p99": "us",
    "rate": "1/s",
    "events": "",
    "event": "ns",
}


def run_here(subject: str, case: str, url: str, seconds: float) -> None:
    async def main() -> dict[str, float]:
        send, stream = CLIENTS[subject](url)
        return await CASES[case][1](send, stream, seconds)

    print(json.dumps(asyncio.run(main())), flush=True)
    os._exit(0)  # the peers' clients are left as they are


def run_curl(folder: Path, case: str, url: str, seconds: float) -> dict[str, float]:
    concurrent = case.partition("c=")[2]
    command = [str(folder / "curl_loop"), url + TARGET, concurrent, str(seconds)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, cpu, p50, p99 = (float(word) for word in words.split())
    return {"cpu": cpu, "rate": count / seconds, "p50": p50, "p99": p99}


def parser_rows(folder: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    for piece in (0, 1400, 100):
        command = [str(folder / "sse"), str(piece)]
        ns = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        case = f"events in pieces of {piece} bytes" if piece else "events, one piece"
        yield case, "parser", {"event": float(ns)}


def all_rows(
    folder: Path, subjects: list[str], seconds: float
) -> Iterator[tuple[str, str, dict[str, float]]]:
    yield from parser_rows(folder)
    for case in CASES:
        for subject in subjects:
            result = run_case(folder, subject, case, seconds)
            if result is not None:
                yield case, subject, result


def run_case(
    folder: Path, subject: str, case: str, seconds: float
) -> dict[str, float] | None:
    if subject == "curl" and "c=" not in case:
        return None
    if subject == "httpx" and case in TOO_MUCH_FOR_HTTPX:
        return None
    with Server(folder, *CASES[case][0]) as server:
        if subject == "curl":
            return run_curl(folder, case, server.url, seconds)
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "--here",
                subject,
                case,
                server.url,
                str(seconds),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        sys.exit(f"{subject}, {case}: {done.stderr.strip()[-400:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], default=[])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--here", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        subject, case, url, seconds = options.here
        run_here(subject, case, url, float(seconds))
    subjects = options.subjects or [
        name
        for name in SUBJECTS
        if name in ("curl", "transport") or importlib.util.find_spec(name)
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        compile_helpers(Path(folder))
        for case, subject, result in all_rows(Path(folder), subjects, options.seconds):
            shown = "  ".join(f"{k} {v:,.1f} {UNITS[k]}" for k, v in result.items())
            print(f"{case:32} {subject:10} {shown}", flush=True)
            rows += [
                {
                    "bench": "http",
                    "case": case,
                    "subject": subject,
                    "metric": metric,
                    "value": value,
                    "unit": UNITS[metric],
                }
                for metric, value in result.items()
            ]
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What one HTTP call costs: CPU, latency, calls in flight, streamed events.

    python benchmarks/http [--json FILE] [--seconds S] [--rounds N] [--case TEXT]
                           [SUBJECT ...]

Subjects: curl (a bare C loop on libcurl, the yardstick), router (Router.chat: choice,
encoding, HTTP, decoding, settlement, typed reply), transport (what router stands on),
and the peers openai, litellm, litellm_router, aiohttp and httpx where they are
installed. Every round runs every subject in turn, in a process of its own against the
same C server on loopback; medians of the rounds are told. The server stays on the last
core; "one core" keeps the client to the first. Ratios are to router.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from clients import CLIENTS, SUBJECTS, is_here, package_of
from loads import CASES, Case, Result, keep_to_one_core
from serve import TARGET, Server, TlsServer, compile_helpers

TOP = Path(__file__).resolve().parents[2]
UNITS = {
    "cpu": "us",
    "p50": "us",
    "p99": "us",
    "added p50": "us",
    "added p99": "us",
    "p99/p50": "x",
    "cpu to router": "x",
    "rate": "1/s",
    "events": "1",
    "event": "ns",
}
PIECES = {"SSE, one piece": 0, "SSE, 1400 B pieces": 1400, "SSE, 100 B pieces": 100}


def run_here(subject: str, case: str, url: str, seconds: float) -> None:
    """Measure in this process and print the result."""
    if CASES[case].one_core:
        keep_to_one_core()

    async def main() -> Result:
        send, stream = CLIENTS[subject](url)
        return await CASES[case].run(send, stream, seconds)

    print(json.dumps(asyncio.run(main())), flush=True)
    os._exit(0)  # the peers' clients are left as they are


def environment(case: Case, server: Server) -> dict[str, str]:
    """This process's, without proxies and without traffic that nobody asked for."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    path = os.pathsep.join(filter(None, (str(TOP), kept.get("PYTHONPATH"))))
    kept |= {"PYTHONPATH": path, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    if isinstance(server, TlsServer):
        kept["SSL_CERT_FILE"] = str(server.bundle)
    return kept


def run_curl(folder: Path, case: str, url: str, seconds: float) -> Result:
    concurrent = case.partition("c=")[2].partition(",")[0]
    command = [str(folder / "curl_loop"), url + TARGET, concurrent, str(seconds)]
    if CASES[case].one_core and hasattr(os, "sched_setaffinity"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, cpu, p50, p99 = (float(word) for word in words.split())
    rate = count / seconds
    return {"cpu": cpu, "rate": rate, "p50": p50, "p99": p99, "p99/p50": p99 / p50}


def run_case(folder: Path, subject: str, name: str, seconds: float) -> Result:
    case = CASES[name]
    with TlsServer(folder) if case.tls else Server(folder, *case.server) as server:
        if subject == "curl":
            return run_curl(folder, name, server.url, seconds)
        here = ["--here", subject, name, server.url, str(seconds)]
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent), *here],
            capture_output=True,
            text=True,
            env=environment(case, server),
        )
    if done.returncode != 0:
        sys.exit(f"{subject}, {name}: {done.stderr.strip()[-600:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(results: list[Result]) -> Result:
    return {k: statistics.median(r[k] for r in results) for k in results[0]}


def parser_results(folder: Path, rounds: int) -> Iterator[tuple[str, str, Result]]:
    for case, piece in PIECES.items():
        command = [str(folder / "sse"), str(piece)]
        results = [
            {"event": float(subprocess.check_output(command, text=True))}
            for _ in range(rounds)
        ]
        yield case, "parser", medians(results)


def plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def takes(case: str, subject: str) -> bool:
    if subject == "curl":
        return case.startswith("closed")
    return subject not in CASES[case].leave_out


def all_results(
    folder: Path, subjects: Iterable[str], cases: list[str], seconds: float, rounds: int
) -> Iterator[tuple[str, str, Result]]:
    for case in cases:
        results: dict[str, list[Result]] = {s: [] for s in subjects if takes(case, s)}
        for _ in range(rounds):
            for subject, found in results.items():
                found.append(run_case(folder, subject, case, seconds))
        told = {subject: medians(found) for subject, found in results.items()}
        for subject, result in told.items():
            if "router" in told and subject != "router":
                result["cpu to router"] = result["cpu"] / told["router"]["cpu"]
            yield case, subject, result


def chosen(named: list[str]) -> list[str]:
    """The subjects to measure; says how to get those that are missing."""
    missing = [name for name in named or SUBJECTS if not is_here(name)]
    for name in missing:
        print(f"{name} left out; python -m pip install {package_of(name)}")
    return [name for name in named or SUBJECTS if name not in missing]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], default=[])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--here", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        subject, case, url, seconds = options.here
        run_here(subject, case, url, float(seconds))
    subjects, rows = chosen(options.subjects), []
    cases = [name for name in CASES if options.case in name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_helpers(folder)
        found = all_results(folder, subjects, cases, options.seconds, options.rounds)
        parsed = () if options.case else parser_results(folder, options.rounds)
        for case, subject, result in chain(parsed, found):
            shown = "  ".join(f"{k} {plain(v)} {UNITS[k]}" for k, v in result.items())
            print(f"{case:28} {subject:14} {shown}", flush=True)
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

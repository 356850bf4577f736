"""What importing costs: time and memory beside bare Python with msgspec.

    python benchmarks/import.py [--json FILE] [--rounds N] [SUBJECT ...]

Every sample is a process of its own that has imported msgspec before (the one thing
this project needs) and finds compiled modules, as after an installation; rounds go
through all subjects in turn. Peers that are not installed are left out. Medians;
"memory" is resident memory added by the import. asyncio, which all of
them load and which is part of each figure, is told by itself too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
STATEMENTS = {
    "llmbalance": "from llmbalance import Router, Backend",
    "asyncio": "import asyncio",
    "openai": "from openai import AsyncOpenAI",
    "litellm": "from litellm import Router, acompletion",
    "aiohttp": "import aiohttp",
    "httpx": "import httpx",
}
SAMPLE = """\
import json, sys, time
import msgspec
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
modules, memory, begun = len(sys.modules), resident(), time.perf_counter()
{statement}
took = time.perf_counter() - begun
memory, modules = resident() - memory, len(sys.modules) - modules
print(json.dumps({{"time": took * 1e3, "memory": memory / 1024, "modules": modules}}))
"""
UNITS = {"time": "ms", "memory": "MiB", "modules": "1"}
TARGETS = {"time": 50.0, "memory": 15.0}


def environment(compiled: str) -> dict[str, str]:
    """This process's, with this checkout in front, and no traffic while importing.

    ``compiled``: where the byte code of all subjects is kept, even if the machine is
    told to write none.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(TOP), kept.get("PYTHONPATH"))))
    return kept | {
        "PYTHONPATH": path,
        "PYTHONPYCACHEPREFIX": compiled,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def sample(subject: str, env: dict[str, str]) -> dict[str, float]:
    code = SAMPLE.format(statement=STATEMENTS[subject])
    command = [sys.executable, "-c", code]
    found: dict[str, float] = json.loads(
        subprocess.check_output(command, text=True, env=env)
    )
    return found


def measure(subjects: list[str], rounds: int) -> dict[str, dict[str, float]]:
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as compiled:
        env = environment(compiled)
        for name in subjects:
            sample(name, env)  # writes the byte code, fills the file cache
        for _ in range(rounds):
            for name in subjects:
                samples[name].append(sample(name, env))
    return {
        name: {key: statistics.median(s[key] for s in found) for key in UNITS}
        for name, found in samples.items()
    }


def chosen(named: list[str]) -> list[str]:
    """The subjects to measure, ours first; says how to get those that are missing."""
    subjects = ["llmbalance"]
    for name in named or STATEMENTS:
        if name in subjects:
            continue
        if importlib.util.find_spec(name):
            subjects.append(name)
        else:
            print(f"{name} left out; python -m pip install {name}")
    return subjects


def rows(results: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "bench": "import",
            "case": STATEMENTS[subject],
            "subject": subject,
            "metric": metric,
            "value": round(value, 3),
            "unit": UNITS[metric],
        }
        for subject, result in results.items()
        for metric, value in result.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("subjects", nargs="*", choices=[[], *STATEMENTS], default=[])
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("resident memory is read from /proc: run this on Linux")
    results = measure(chosen(options.subjects), options.rounds)
    ours = results["llmbalance"]
    for subject, result in results.items():
        shown = "  ".join(f"{k} {v:9,.1f} {UNITS[k]}" for k, v in result.items())
        ratio = f"time {result['time'] / ours['time']:.1f} x ours"
        print(f"{subject:12} {shown}  {ratio}")
    for metric, most in TARGETS.items():
        word = "met" if ours[metric] <= most else "MISSED"
        print(f"target {metric} <= {most:g} {UNITS[metric]}: {word}")
    if options.json:
        Path(options.json).write_text(json.dumps(rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()

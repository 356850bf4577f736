"""Every benchmark runs in its smallest size and writes well-formed rows.

Nothing here looks at a time: what a machine under test measures says nothing.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[1]
BENCHMARKS = TOP / "benchmarks"
KEYS = {"bench", "case", "subject", "metric", "value", "unit"}

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None or sys.platform != "linux",
    reason="its server is C for Linux and is compiled on the spot",
)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command makes certificates"
)


def run(*command: str, fails: bool = False) -> str:
    """The output of a benchmark; its exit code must be as expected."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def rows(tmp_path: Path, *command: str) -> list[dict[str, Any]]:
    """The rows that a benchmark writes, each of them checked."""
    file = tmp_path / "rows.json"
    run(*command, "--json", str(file))
    found: list[dict[str, Any]] = json.loads(file.read_text())
    assert found
    for row in found:
        assert row.keys() == KEYS
        words = [row[key] for key in ("bench", "case", "subject", "metric", "unit")]
        assert all(isinstance(word, str) and word for word in words), row
        assert isinstance(row["value"], int | float) and math.isfinite(row["value"])
    names = [(r["case"], r["subject"], r["metric"]) for r in found]
    assert len(names) == len(set(names))
    return found


def of(found: list[dict[str, Any]], subject: str) -> dict[str, float]:
    return {r["metric"]: r["value"] for r in found if r["subject"] == subject}


def http(tmp_path: Path, case: str, *subjects: str) -> list[dict[str, Any]]:
    tiny = ("--seconds", "0.05", "--rounds", "1", "--case", case)
    return rows(tmp_path, "benchmarks/http", *tiny, *subjects)


@needs_compiler
def test_whole_calls_are_measured_beside_the_bare_loop(tmp_path: Path) -> None:
    found = http(tmp_path, "c=64, one core", "curl", "transport", "router")
    for subject in ("curl", "transport", "router"):
        result = of(found, subject)
        assert result["cpu"] > 0 and result["rate"] > 0
        assert result["p99"] >= result["p50"] > 0
    cpu = of(found, "router")["cpu"]
    ratio = of(found, "transport")["cpu to router"]
    assert ratio == pytest.approx(of(found, "transport")["cpu"] / cpu)


@needs_compiler
def test_streams_are_counted_to_the_last_event(tmp_path: Path) -> None:
    found = http(tmp_path, "streams", "router", "transport")
    assert of(found, "router")["events"] == 200 * 101  # the last tells the usage
    assert of(found, "transport")["events"] == 200 * 102  # finish reason and [DONE]


@needs_compiler
def test_calls_on_a_clock_are_measured(tmp_path: Path) -> None:
    assert of(http(tmp_path, "open", "router"), "router").keys() == {
        *("cpu", "added p50", "added p99"),
    }


@needs_compiler
@needs_openssl
def test_new_tls_connections_are_measured(tmp_path: Path) -> None:
    found = http(tmp_path, "TLS", "router", "transport")
    assert all(of(found, s)["cpu"] > 0 for s in ("router", "transport"))


@needs_compiler
@pytest.mark.parametrize("subject", ["openai", "litellm", "litellm_router", "httpx"])
def test_a_peer_is_measured_or_left_out_by_name(subject: str, tmp_path: Path) -> None:
    package = subject.partition("_")[0]
    if importlib.util.find_spec(package) is None:
        out = run("benchmarks/http", "--case", "c=1", "--rounds", "1", subject)
        assert f"{subject} left out; python -m pip install {package}" in out
        return
    found = http(tmp_path, "closed c=1", subject)
    assert of(found, subject)["cpu"] > 0


@needs_compiler
@needs_linux
@pytest.mark.parametrize("through", ["transport", "router"])
def test_a_short_soak_accounts_for_every_call(through: str, tmp_path: Path) -> None:
    command = ("benchmarks/http/soak.py", "2000", "--through", through)
    found = of(rows(tmp_path, *command), through)
    assert found["calls"] == 2000


@needs_compiler
def test_a_soak_that_cannot_be_read_is_refused() -> None:
    assert "10 or more" in run("benchmarks/http/soak.py", "5", fails=True)


@needs_linux
def test_the_import_is_measured(tmp_path: Path) -> None:
    command = ("benchmarks/import.py", "--rounds", "1", "llmbalance")
    found = of(rows(tmp_path, *command), "llmbalance")
    assert found["modules"] > 1 and found["time"] > 0 and found["memory"] > 0


@pytest.mark.parametrize(
    "script",
    ["http", "http/soak.py", "storm", *sorted(p.name for p in BENCHMARKS.glob("*.py"))],
)
def test_every_benchmark_says_what_it_takes_and_writes(script: str) -> None:
    out = run(str(BENCHMARKS / script), "--help")
    assert "--json" in out


def test_what_experiments_add_is_measured(tmp_path: Path) -> None:
    tiny = ("--calls", "50", "--repeats", "1")
    found = rows(tmp_path, "benchmarks/experiments.py", *tiny)
    assert {row["case"] for row in found} >= {"none", "by user", "bandit", "mirror"}


def test_what_the_policy_of_a_call_costs_is_measured(tmp_path: Path) -> None:
    found = rows(tmp_path, "benchmarks/policy.py", "--rounds", "1", "--calls", "20")
    cases = {row["case"] for row in found}
    assert cases >= {"plain", "tiers", "chain", "session", "task", "budgets"}
    assert cases >= {"experiment", "hedge", "all", "classify 4000 characters"}

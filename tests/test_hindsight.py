"""The planner of benchmarks/hindsight.py: what it plans can be paid."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmbalance.simulate import Trace, lower_bound

TOP = Path(__file__).parents[1]
SUBJECTS = [
    *(f"planner, foresight {n}" for n in ("all", 2, 1, 0)),
    "composite",
    "composite, sessions of one call unnamed",
    "composite, no sessions",
]


@pytest.fixture
def hindsight(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))
    return importlib.import_module("hindsight")


def talks(seconds: float = 400) -> Trace:
    return Trace.poisson(4, seconds, seed=3, input=(6000, 0.3), turns=3)


def test_a_plan_costs_what_the_simulator_pays(hindsight: Any) -> None:
    trace = talks()
    for foresight in (0, 1, hindsight.ALL):
        planned, chosen = hindsight.plan(
            trace, hindsight.Prices(0.2, 0.05, 0.2), foresight
        )
        paid = hindsight.sent(trace, chosen, seed=1)
        assert planned == pytest.approx(paid, rel=0.05)
        assert len(set(chosen)) > 1


def test_who_knows_what_comes_pays_less_and_not_less_than_the_bound(
    hindsight: Any,
) -> None:
    pytest.importorskip("scipy")
    trace = talks(240)
    paid = [
        hindsight.sent(trace, hindsight.best_plan(trace, foresight), seed=1)
        for foresight in (0, hindsight.ALL)
    ]
    bound = lower_bound(trace, hindsight.fleet(hindsight.SCALE, [], True)).cost
    assert paid[0] >= paid[1] >= bound


def test_what_a_prompt_finds_is_what_was_answered_there_of_late(hindsight: Any) -> None:
    at = [round(1e9 * second) for second in (0, 1, 100, 600)]
    trace = Trace(at, [2000] * 4, [10] * 4, session=[1] * 4)
    talk = hindsight.Talk(trace, [0, 1, 2, 3])
    talk.sent[0].append((5.0, 0))
    assert talk.found(1, 0, 1.0) == 0  # not answered yet
    assert talk.found(2, 0, 100.0) == 1999
    assert talk.found(2, 1, 100.0) == 0
    assert talk.found(3, 0, 600.0) == 0  # forgotten


def test_the_benchmark_writes_a_row_for_everyone(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    script = str(TOP / "benchmarks" / "hindsight.py")
    options = ("--requests", "60", "--repeats", "1", "--json", str(file))
    subprocess.run(
        [sys.executable, script, *options],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        check=True,
        timeout=100,
    )
    rows = json.loads(file.read_text())
    assert [
        row["subject"] for row in rows if row["subject"] != "offline bound"
    ] == SUBJECTS
    assert all(row["value"] > 0 and row["unit"] == "USD" for row in rows)

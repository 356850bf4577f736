"""Calibration, regret, the pytest fixture and the command line of the simulator."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, ConfigError, Limits, Price
from llmbalance.__main__ import main
from llmbalance._money._ledger import Entry, Ledger
from llmbalance.simulate import (
    Fleet,
    Service,
    Trace,
    Trouble,
    fit_service,
    regret,
    run,
)
from llmbalance.simulate._cli import run as command
from llmbalance.simulate._fit import is_streamed
from llmbalance.simulate._pytest import Checked, Simulate

CHEAP, DEAR = "openai_compatible/cheap", "openai_compatible/dear"
TRACE = Trace.poisson(rate=4, seconds=300, seed=1)
FLEET = Fleet(
    [Backend(CHEAP, price=Price(1, 4)), Backend(DEAR, price=Price(3, 12))],
    services={CHEAP: Service(token=0.03), DEAR: Service(token=0.005)},
)
TOML = """
[[backend]]
model = "openai/gpt-4o-mini"
groups = ["chat"]

[[backend]]
model = "anthropic/claude-haiku-4-5"
groups = ["chat"]
limits = {rpm = 50}
"""


def measured(n: int = 4000, tail: float = 0.0) -> list[tuple[int, int, float, float]]:
    """Requests of a provider whose model is known."""
    draw, rows = random.Random(3), []
    for _ in range(n):
        tokens, out = draw.randint(100, 20_000), draw.randint(2, 500)
        base = 0.4 * math.exp(0.25 * draw.gauss(0, 1))
        base *= 30 if draw.random() < tail else 1
        ttft = base + 0.05 * tokens / 1000
        pace = 0.012 * math.exp(0.1 * draw.gauss(0, 1))
        rows.append((tokens, out, ttft, ttft + (out - 1) * pace))
    return rows


@pytest.mark.parametrize("tail", [0.0, 0.02])
def test_a_known_model_is_found_again(tail: float) -> None:
    service = fit_service(measured(tail=tail)).service
    assert service.ttft == pytest.approx(0.4, rel=0.05)
    assert service.ttft_spread == pytest.approx(0.25, rel=0.1)
    assert service.prefill == pytest.approx(0.05, rel=0.05)
    assert service.token == pytest.approx(0.012, rel=0.02)
    assert service.token_spread == pytest.approx(0.1, rel=0.1)
    assert service.tail_share == pytest.approx(tail, abs=0.005)
    if tail:
        assert service.tail_factor == pytest.approx(30, rel=0.15)


def test_a_fitted_model_simulates_what_was_measured() -> None:
    for name, (real, simulated) in fit_service(measured()).check().items():
        assert simulated == pytest.approx(real, rel=0.06), name


def test_measured_requests_come_from_a_csv_or_a_ledger(tmp_path: Path) -> None:
    rows = measured(200)
    lines = [f"a,{i},{o},{t},{s}" for i, o, t, s in rows] + ["b,1,1,1,1", "a,,,,"]
    (tmp_path / "m.csv").write_text("host,in,output,ttft,seconds\n" + "\n".join(lines))
    by_csv = fit_service(tmp_path / "m.csv", input="in", where={"host": "a"})
    assert len(by_csv.requests) == 200
    with Ledger(tmp_path / "book.db") as book:
        for k, (tokens, output, ttft, seconds) in enumerate(rows):
            book.record(
                Entry(
                    time=1e9 + k,
                    call_id=str(k),
                    group="chat",
                    backend="b",
                    model="m",
                    tokens={"input": tokens, "output": output},
                    latency_s=seconds,
                    ttft_s=ttft,
                )
            )
        book.flush()
    by_ledger = fit_service(tmp_path / "book.db", backend="b")
    assert by_ledger.service == by_csv.service == fit_service(rows).service
    trace = Trace.from_ledger(tmp_path / "book.db")
    assert len(trace) == 200
    assert trace.groups == ("chat",)
    assert sorted(trace.input) == sorted(row[0] for row in rows)


def test_too_few_requests_fit_nothing() -> None:
    with pytest.raises(ConfigError, match="8 complete requests"):
        fit_service(measured(7))


@pytest.mark.parametrize("row", [(1, 2, 3), ("a", 2, 0.1, 1), 5])
def test_measured_rows_have_four_numbers(row: Any) -> None:
    with pytest.raises(ConfigError, match="rows of"):
        fit_service([row] * 20)


def test_measured_providers_are_fitted_within_a_tenth(recorded: Path) -> None:
    path = recorded / "traces" / "llmperf_2023_requests.csv"
    fit = fit_service(
        path,
        where={"provider": "anyscale", "model_size": "13b"},
        input="input_tokens",
        output="output_tokens",
        ttft="ttft_s",
        seconds="e2e_s",
    )
    for name in ("ttft p50", "seconds p50", "seconds p90"):
        real, simulated = fit.check()[name]
        assert simulated == pytest.approx(real, rel=0.1), name
    pytest.importorskip("matplotlib")
    assert len(fit.plot().axes) == 2


def test_regret_is_measured_against_the_best_of_all_worlds() -> None:
    pytest.importorskip("scipy")
    told = regret(TRACE, FLEET, run(TRACE, FLEET, strategy="cost"))
    assert told.cost == pytest.approx(0, abs=0.01)
    assert told.optimum == pytest.approx(told.cheapest, rel=0.01)
    assert told.p95 > 1
    fast = regret(TRACE, FLEET, run(TRACE, FLEET, strategy="latency"))
    assert fast.p95 < 0.3 and fast.cost > 1


def test_a_fleet_of_one_answers_for_every_group() -> None:
    fleet = Fleet(
        [
            Backend(CHEAP, price=Price(1, 4), groups=["a"], limits=Limits(rpm=1)),
            Backend(DEAR, price=Price(3, 12), groups=["b"]),
        ],
        fallbacks={"a": ["b"]},
    )
    trace = TRACE.in_group("a").splice(TRACE.in_group("b"))
    assert run(trace, fleet.alone(CHEAP)).success == 1


def test_the_fixture_simulates_and_asserts(llm_sim: Simulate) -> None:
    day = llm_sim(FLEET, TRACE, strategy="cost", seed=4)
    cost, p95 = day.result.cost, day.result.p95
    day.assert_cost_below(cost * 1.01)
    day.assert_p95_below(p95 * 1.01)
    day.assert_ttft_p95_below(5)
    day.assert_no_failed()
    day.assert_success_at_least(1)


def test_an_assertion_that_fails_says_what_to_change_and_shows_the_table(
    llm_sim: Simulate,
) -> None:
    late = Fleet([Backend(CHEAP, price=Price(1, 4), limits=Limits(rpm=1))])
    day: Checked = llm_sim(late, TRACE, timeout=30)
    for claim, remedy in (
        (lambda: day.assert_cost_below(0), "are openai_compatible/cheap's; lower v"),
        (lambda: day.assert_p95_below(0.1), "raise v, or the limits"),
        (lambda: day.assert_ttft_p95_below(0.1), "raise v, or the limits"),
        (lambda: day.assert_no_failed(), "found no room or budget; add backends"),
        (lambda: day.assert_success_at_least(0.5), "found no room or budget"),
    ):
        with pytest.raises(pytest.fail.Exception, match=f"(?s){remedy}.*composite"):
            claim()


def test_nothing_can_be_claimed_of_answers_that_never_came(llm_sim: Simulate) -> None:
    down = Fleet([Backend(CHEAP, price=Price(1, 4))], troubles=[Trouble(CHEAP, 0, 1e6)])
    dead = llm_sim(down, TRACE, timeout=5)
    for claim in (dead.assert_p95_below, dead.assert_ttft_p95_below):
        with pytest.raises(pytest.fail.Exception, match="no answers"):
            claim(60)
    empty = llm_sim(FLEET, Trace([], [], []))
    for check in (
        lambda: empty.assert_cost_below(1),
        lambda: empty.assert_p95_below(1),
        lambda: empty.assert_no_failed(),
        lambda: empty.assert_success_at_least(0),
    ):
        with pytest.raises(pytest.fail.Exception, match="the trace is empty"):
            check()


def test_a_bound_that_is_none_is_refused(llm_sim: Simulate) -> None:
    day = llm_sim(FLEET, TRACE)
    for check in (
        lambda: day.assert_cost_below(float("nan")),
        lambda: day.assert_p95_below("3"),  # type: ignore[arg-type]
        lambda: day.assert_success_at_least(99),
    ):
        with pytest.raises(ConfigError):
            check()


def test_the_command_compares_strategies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    (tmp_path / "fleet.toml").write_text(TOML)
    (tmp_path / "day.csv").write_text(
        "at,input,output\n" + "".join(f"{k},{100 + k},{50}\n" for k in range(200))
    )
    words = [str(tmp_path / "fleet.toml"), "--trace", str(tmp_path / "day.csv")]
    assert command([*words, "--group", "chat", "--p95", "60", "--repeats", "1"]) == 0
    told = capsys.readouterr().out
    assert "composite" in told and "cheapest with p95 of 60 s" in told
    more = ["--json", "--strategies", "cost,latency", "--csv", str(tmp_path / "t.csv")]
    assert command([*words, *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["requests"] == 200
    assert (tmp_path / "t.csv").read_text().count("\n") == 3


def test_the_command_makes_up_a_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.toml").write_text(TOML)
    words = [str(tmp_path / "fleet.toml"), "--rate", "0.1", "--for", "1h"]
    assert command([*words, "--strategies", "all", "--repeats", "1"]) == 0
    assert "litellm_simple_shuffle" in capsys.readouterr().out


def test_the_command_tells_what_it_found_before_a_goal_that_is_not_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.toml").write_text(TOML + "[router]\nhedge = true\n")
    words = [str(tmp_path / "fleet.toml"), "--rate", "0.1", "--for", "600"]
    words += ["--strategies", "cost", "--repeats", "1", "--timeout", "20"]
    assert main(["simulate", *words, "--p95", "0.001"]) == 1
    told = capsys.readouterr()
    assert "not simulated: hedge: late calls are not sent twice\n" in told.out
    assert "worth considering: cost\n" in told.out
    assert "none reaches it; fastest is 'cost'" in told.err


def test_the_command_learns_speeds_from_a_ledger_and_tells_the_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy")
    (tmp_path / "fleet.toml").write_text(TOML)
    slow = "openai/gpt-4o-mini"
    with Ledger(tmp_path / "book.db") as book:
        for k in range(100):
            book.record(
                Entry(
                    time=1e9 + 5 * k,
                    call_id=str(k),
                    group="chat",
                    backend=slow,
                    model=slow,
                    tokens={"input": 100, "output": 10},
                    latency_s=40.0 + k % 7,
                    ttft_s=30.0 + k % 5,
                )
            )
        book.flush()
    words = [str(tmp_path / "fleet.toml"), "--strategies", "cost,latency"]
    words += ["--trace", str(tmp_path / "book.db"), "--bound"]
    assert command(words) == 0
    told = capsys.readouterr().out
    assert f"measured speed: {slow}\n" in told
    assert "no strategy costs less than $" in told
    assert command([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["p95"] > 30 > 10 > found["latency"]["p50"]
    assert found["cost"]["regret"] < found["latency"]["regret"]


@pytest.mark.parametrize("ttft", [None, 0.5])
def test_a_ledger_tells_whether_its_calls_were_streams(
    tmp_path: Path, ttft: float | None
) -> None:
    path = tmp_path / "book.db"
    with Ledger(path) as book:
        for k in range(5):
            book.record(
                Entry(
                    time=1e9 + k,
                    call_id=str(k),
                    group="chat",
                    backend="a",
                    model="m",
                    latency_s=1.0,
                    ttft_s=ttft,
                )
            )
        book.flush()
    assert is_streamed(path) == (ttft is not None)
    (tmp_path / "none.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(ConfigError, match="no ledger"):
        is_streamed(tmp_path / "none.db")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fleet.toml", "--measured", "fleet.toml"], "is no ledger"),
        (["nowhere.toml"], "nowhere.toml"),
        (["fleet.toml", "--trace", "nowhere.csv"], "nowhere.csv"),
        (["fleet.toml", "--csv", "nowhere/t.csv"], "nowhere/t.csv"),
        (["fleet.toml", "--plot", "t.nothing"], "t.nothing"),
        (["fleet.toml", "--p95", "0.001"], "none reaches it"),
        (["fleet.toml", "--group", "nobody"], "nobody"),
    ],
)
def test_the_command_says_what_is_wrong_in_a_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    Path("fleet.toml").write_text(TOML)
    small = ["--rate", "0.1", "--for", "10m", "--strategies", "cost", "--repeats", "1"]
    assert main(["simulate", *words, *small]) == 1
    told = capsys.readouterr().err
    assert told.startswith("llmbalance: ") and message in told


@pytest.mark.parametrize(
    "words",
    [
        ["simulate.py", "--requests", "2000"],
        ["strategies.py", "--repeats", "1", "--only", "made-up bursts"],
    ],
)
def test_the_benchmarks_run_small_and_write_rows(
    words: list[str], tmp_path: Path
) -> None:
    top = Path(__file__).parents[1]
    script, *options = words
    file = tmp_path / "rows.json"
    env = {**os.environ, "PYTHONPATH": str(top)}
    env.pop("LLMBALANCE_RECORDED", None)
    subprocess.run(
        [sys.executable, top / "benchmarks" / script, *options, "--json", file],
        check=True,
        env=env,
        capture_output=True,
        timeout=100,
    )
    rows = json.loads(file.read_text())
    assert {row["subject"] for row in rows} >= {"composite", "p2c_peak_ewma"}
    for row in rows:
        assert row.keys() == {"bench", "case", "subject", "metric", "value", "unit"}
        assert math.isfinite(row["value"])

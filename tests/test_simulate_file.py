"""A router's file, simulated: what decides is taken, what is not simulated is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from llmbalance import Backend, Budget, Group, Price
from llmbalance._configfile._load import load
from llmbalance.simulate import Fleet, Trace, run
from llmbalance.simulate._file import IDLE, LEFT_OUT, TAKEN

PLAIN = """
[[backend]]
model = "openai_compatible/m"
name = "one"
base_url = "http://127.0.0.1:1/v1"
api_key = "env:LLMBALANCE_TEST_NOT_SET"
groups = ["chat", "plan"]
price = {input = 1, output = 2}
limits = {rpm = 60, burst_seconds = 1}
"""
RICH = (
    """
[router]
hedge = true
health_interval = 30
predict = "auto"
ledger = "calls.db"
timeout = 7
wait = false
max_waiting = 5
retry_budget = false
timeouts = {total = 3}

[group.chat]
hedge = true
timeout = 4
max_attempts = 2
content_filter_fallbacks = ["plan"]

[group.plan]
hedge = false

[task.quick]
group = "chat"

[[rule]]
task = "quick"
longer = 10

[budget.ada]
usd = 1
user = "ada"

[budget.all]
usd = 100

[experiment.cheaper]
arms = {control = {}, warm = {temperature = 1.0}}

[mirror.plan]
to = "plan"
"""
    + PLAIN
)


def written(folder: Path, text: str) -> Path:
    path = folder / "llmbalance.toml"
    path.write_text(text)
    return path


def test_every_option_of_the_router_is_taken_or_told_or_idle(tmp_path: Path) -> None:
    text = PLAIN.replace("env:LLMBALANCE_TEST_NOT_SET", "key") + "[router]\n"
    options = load(written(tmp_path, text)).options.keys()
    assert options - {"v"} == {*TAKEN, *LEFT_OUT, *IDLE}
    assert len(options) - 1 == len(TAKEN) + len(LEFT_OUT) + len(IDLE)


def test_what_is_not_simulated_is_told_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmbalance"):
        fleet = Fleet.from_file(written(tmp_path, RICH))
    told = [line.partition(":")[0] for line in fleet.left_out]
    assert told == [
        "hedge",
        "health_interval",
        "predict",
        "tasks",
        "classifier",
        "experiments",
        "mirrors",
        "hedge of group 'chat'",
        "content_filter_fallbacks of group 'chat'",
        "budget per day of user 'ada'",
    ]
    assert len(caplog.records) == 1
    assert "hedge: late calls are not sent twice" in caplog.text


def test_a_plain_file_leaves_nothing_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Fleet.from_file(written(tmp_path, PLAIN)).left_out == ()
    assert caplog.records == []


def test_a_fleet_tells_what_it_leaves_out_as_well() -> None:
    fleet = Fleet(
        [Backend("openai_compatible/m", groups=["all"], price=Price(1, 1))],
        groups=[Group(name="all", hedge=True)],
        budgets=[Budget(usd=1, tag="batch")],
    )
    assert len(fleet.left_out) == 2
    assert fleet.replace(groups=[]).left_out == fleet.left_out[1:]


def test_a_file_says_how_calls_are_treated(tmp_path: Path) -> None:
    fleet = Fleet.from_file(written(tmp_path, RICH))
    conduct = fleet.conduct.options()
    assert conduct.pop("timeouts").total == 3
    assert conduct == {
        "timeout": 7,
        "wait": False,
        "max_waiting": 5,
        "retry_budget": None,
    }
    assert fleet.replace(wait=True).conduct.options()["max_waiting"] == 5


def test_the_time_out_of_the_file_holds_unless_the_run_says_another(
    tmp_path: Path,
) -> None:
    """One call a second is allowed, and two come."""
    text = PLAIN + "[router]\ntimeout = 3\n"
    fleet = Fleet.from_file(written(tmp_path, text))
    trace = Trace.poisson(2, 60, seed=1).in_group("chat")
    short, long = run(trace, fleet), run(trace, fleet, timeout=600)
    assert short.success < 0.7
    assert long.success == 1

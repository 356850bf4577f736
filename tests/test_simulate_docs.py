"""Every example of docs/simulation.md runs and gives what it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from llmbalance import simulate
from llmbalance.simulate._cli import run as command
from llmbalance.simulate._pytest import Simulate

PAGE = Path(__file__).parents[1] / "docs/simulation.md"
TEXT = PAGE.read_text()
TOML = """
[[backend]]
model = "openai_compatible/m"
price = {input = 0.05, output = 0.2}
"""


def test_the_examples_of_the_page_on_simulation_give_what_they_show() -> None:
    text = TEXT.replace("```", "")  # a fence is no expected output
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner().run(test, out=told.append)
    assert result.failed == 0, "".join(told)
    assert result.attempted > 12


def test_the_test_and_the_command_of_the_page_run_as_they_stand(
    llm_sim: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("llmbalance.toml").write_text(TOML)
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict[str, Any] = {"Fleet": simulate.Fleet, "Trace": simulate.Trace}
    exec(compile(code, str(PAGE), "exec"), names)
    names["test_a_day_stays_affordable"](llm_sim)
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib")
    [line] = re.findall(r"^    llmbalance simulate (.*)$", TEXT, re.M)
    Path("calls.csv").write_text("at,input,output\n0,10,5\n9,10,5\n")
    words = line.replace("calls.db", "calls.csv").replace("--p95 3", "--p95 60")
    assert command([*words.split(), "--repeats", "1"]) == 0
    assert "no strategy costs less than" in capsys.readouterr().out
    assert Path("frontier.png").stat().st_size > 1000

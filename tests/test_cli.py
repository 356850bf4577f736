"""The command line: costs of a ledger, prices, and what is no command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmbalance import Price, PriceTable, Router
from llmbalance.__main__ import COMMANDS, main
from llmbalance._money._ledger import Entry, Ledger
from llmbalance.testing import MockProvider

DAY = 86400


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three attempts: today, three days ago and a month ago."""
    path = tmp_path / "costs.db"
    with Ledger(path) as book:
        for days, backend, task, nano in (
            (0.001, "a", "sum", 2_000_000_000),
            (3, "b", "sum", 500_000_000),
            (30, "a", None, 4_000_000_000),
        ):
            when = time.time() - days * DAY
            tokens = {"input": 900_000, "output": 100_000}
            book.record(
                Entry(
                    *(when, "c", "g", backend, "openai/gpt-4o", task),
                    tokens=tokens,
                    cost_nano=nano,
                )
            )
    return path


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_costs_of_the_last_week_are_told_by_backend(ledger: Path, capsys) -> None:
    assert main(["costs", str(ledger)]) == 0
    lines = told(capsys).splitlines()
    assert [line.split()[0] for line in lines] == ["backend", "a", "b", "total"]
    assert "$2.5000" in lines[-1]
    assert "80.0%" in lines[1]


def test_costs_are_told_by_anything_since_any_time(ledger: Path, capsys) -> None:
    assert main(["costs", "--since", "1d", "--by", "task", str(ledger)]) == 0
    assert told(capsys).splitlines()[1].split()[:3] == ["sum", "1", "$2.0000"]
    assert main(["costs", "--since", "90d", "--json", str(ledger)]) == 0
    report = json.loads(told(capsys))
    assert report["total"]["total_nano_usd"] == 6_500_000_000
    assert report["backends"]["a"]["requests"] == 2


def test_costs_go_into_a_csv_file(ledger: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.csv"
    assert main(["costs", str(ledger), "--csv", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["backend"] for row in rows] == ["a", "b", "total"]


def test_a_forecast_is_told(ledger: Path, capsys) -> None:
    assert main(["costs", "--forecast", str(ledger)]) == 0
    assert told(capsys).splitlines()[0].split()[:3] == ["month", "spent", "forecast"]


def test_a_running_service_can_be_asked(llm_provider, tmp_path: Path, capsys) -> None:
    provider: MockProvider = llm_provider("openai", name="live", model="gpt-4o")
    from llmbalance import Backend

    target = Backend(
        "openai/gpt-4o",
        name="live",
        api_key="test-key",
        base_url=provider.base_url,
        price=Price(1, 1),
    )
    path = tmp_path / "live.db"
    router = Router([target], ledger=path)
    router.sync.generate("Hello", model="live")
    assert router.costs()["total"]["requests"] == 1  # it is in the file by now
    command = [sys.executable, "-m", "llmbalance", "costs", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[1].startswith("live")
    router.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["costs", "no-such-file.db"], "there is no such file"),
        (["costs", "--by", "colour", "LEDGER"], "by = 'colour'"),
        (["costs", "--since", "soon", "LEDGER"], "since = 'soon'"),
        (["prices", "diff", "no-such-file.json"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(ledger, capsys, words, complaint) -> None:
    words = [str(ledger) if word == "LEDGER" else word for word in words]
    assert main(words) == 1
    assert complaint in capsys.readouterr().err
    assert not Path("no-such-file.db").exists()


def test_a_price_is_shown_with_its_source(capsys) -> None:
    assert main(["prices", "show", "openai/gpt-4o"]) == 0
    text = told(capsys)
    assert "openai/gpt-4o (chat)" in text
    assert "input" in text
    assert "2.5" in text
    assert "source:" in text
    assert main(["prices", "show", "openai/gpt-5o"]) == 1
    assert "openai/gpt-4o" in capsys.readouterr().err


def test_every_price_of_the_table_can_be_shown(capsys) -> None:
    for info in PriceTable():
        assert main(["prices", "show", f"{info.provider}/{info.model}"]) == 0
    assert told(capsys).count("source:") == len(PriceTable())


LITELLM = {
    "gpt-4o": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 4e-6,
        "cache_read_input_token_cost": 5e-7,
        "max_input_tokens": 128000,
    },
    "brand-new": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 7e-6,
        "output_cost_per_token": 21e-6,
        "input_cost_per_token_above_200k_tokens": 14e-6,
        "supports_function_calling": True,
    },
    "absurd": {"litellm_provider": "openai", "input_cost_per_token": 2.0},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps(LITELLM))
    return path


def test_a_table_of_others_is_compared(source: Path, capsys) -> None:
    assert main(["prices", "diff", str(source)]) == 0
    lines = told(capsys).splitlines()
    assert lines[0] == "+ openai/brand-new  7.0/21.0 and more"
    assert lines[1].startswith("~ openai/gpt-4o  2.5")
    assert "-> 1.0/4.0" in lines[1]
    assert lines[2].startswith("! openai/absurd")
    assert lines[3] == "1 added, 1 changed, 1 refused"


def test_a_table_of_others_is_taken_over(source: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "ours.json"
    assert main(["prices", "update", str(source), "--out", str(out)]) == 0
    assert "PriceTable.load" in told(capsys)
    table = PriceTable.load(out)
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    assert table.cost("openai/brand-new", usage).usd == 14
    assert table.cost("openai/gpt-4o", usage).usd == 1
    known = table.find("openai/brand-new")
    assert known is not None
    assert known.tools
    assert known.source == str(source)
    assert list(tmp_path.glob("ours.json.*")) == []
    assert main(["prices", "show", "brand-new", "--prices", str(out)]) == 0
    assert "more than 200,000 input tokens" in told(capsys)


def test_help_names_every_command_and_a_typo_gets_a_hint(capsys) -> None:
    assert main(["--help"]) == 0
    text = told(capsys)
    assert all(name in text for name in COMMANDS)
    assert main([]) == 2
    assert main(["cost"]) == 2
    assert "did you mean 'costs'" in capsys.readouterr().err


def test_chat_without_keys_says_which_it_looks_for(capsys, monkeypatch) -> None:
    import os

    for name in list(os.environ):
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    assert main(["chat", "Hello"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_chat_asks_the_model_that_is_named(llm_provider, capsys, monkeypatch) -> None:
    provider: MockProvider = llm_provider("openai", model="gpt-4o", reply="Paris.")
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
    for extra in ([], ["--stream"]):
        assert main(["chat", "Capital?", "--model", "openai/gpt-4o", *extra]) == 0
        out, err = capsys.readouterr()
        assert out.strip() == "Paris."
        assert "openai/gpt-4o, $0.0" in err

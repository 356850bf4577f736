"""Would prediction have helped? Yes where days repeat, no where they do not."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbalance import ConfigError, Ledger
from llmbalance.__main__ import main
from llmbalance._history._history import WIDTH
from llmbalance._money._ledger import Entry
from llmbalance.simulate import Backtest, backtest
from llmbalance.simulate._replay import history_of, make_replay, until

DAY, DAYS, CALLS = 86400.0, 6, 12_000
BEGIN = 1_800_000_000.0 - 1_800_000_000.0 % DAY
Slow = Callable[[str, float], float]


def seasonal(name: str, day: float) -> float:
    """alpha is slow in the afternoon, beta at night."""
    peak = 15 / 24 if name == "alpha" else 3 / 24
    return 1 + 0.8 * math.cos(math.tau * (day - peak))


def noise(name: str, day: float) -> float:
    return 1.0


def drift(name: str, day: float) -> float:
    """Slower from day to day, whatever the hour."""
    return 1 + day / 3 if name == "alpha" else 1.0


def write(path: Path, slow: Slow, *, calls: int = CALLS, model: str = "") -> Path:
    draw = random.Random(7)
    with Ledger(path) as book:
        for i in range(calls):
            at = (i + draw.random()) / calls * DAYS
            name = draw.choice(["alpha", "beta"])
            factor = slow(name, at)
            ttft = 0.4 * factor * math.exp(0.3 * draw.gauss(0, 1))
            output = 1 + int(100 * math.exp(0.5 * draw.gauss(0, 1)))
            itl = 0.015 * factor * math.exp(0.1 * draw.gauss(0, 1))
            entry = Entry(
                *(BEGIN + at * DAY, f"c{i}", "chat", name, model or "openai/gpt-4o"),
                status="server" if draw.random() < 0.02 else "ok",
                tokens={"input": 500, "output": output},
                cost_nano=2_000 * (500 + output),
                latency_s=ttft + (output - 1) * itl,
                ttft_s=ttft,
            )
            book.record(entry)
    return path


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ledgers")
    return {
        slow.__name__: write(folder / f"{slow.__name__}.db", slow)
        for slow in (seasonal, noise, drift)
    }


@pytest.fixture(scope="module")
def found(ledgers: dict[str, Path]) -> dict[str, Backtest]:
    return {name: backtest(path, seeds=4) for name, path in ledgers.items()}


def test_a_season_of_speed_is_worth_knowing(found: dict[str, Backtest]) -> None:
    one = found["seasonal"]
    assert one.helps and one.use["predict"] == "auto"
    change, half = one.change("composite + history", "p95")
    assert change + half < -0.02 * one.comparison.mean("composite", "p95")
    assert one.change("composite + history", "cost")[0] == pytest.approx(0, abs=0.05)
    assert one.verdict.startswith("Prediction would have helped")
    assert "predict='auto'" in one.verdict


@pytest.mark.parametrize("name", ["noise", "drift"])
def test_without_a_season_history_stays_off(
    found: dict[str, Backtest], name: str
) -> None:
    one = found[name]
    assert one.comparison.labels == ["composite", "predictive"]
    assert all(row["best"] == "ewma" for row in one.errors())
    assert one.use["predict"] is None


def test_where_nothing_repeats_the_default_is_kept(found: dict[str, Backtest]) -> None:
    one = found["noise"]
    assert not one.helps
    assert one.use == {"strategy": "composite", "predict": None}
    assert one.verdict.startswith("Prediction would not have helped")
    assert "leave predict off" in one.verdict


def test_what_is_told_is_finite_and_complete(found: dict[str, Backtest]) -> None:
    told = json.loads(json.dumps(found["seasonal"].to_dict(), allow_nan=False))
    assert told["attempts"] == CALLS - 1 or told["attempts"] <= CALLS
    assert told["replayed"]["calls"] == pytest.approx(CALLS / 3, rel=0.05)
    of = {(row["of"], row["figure"]) for row in told["errors"]}
    assert ("backend alpha", "ttft") in of and ("group chat", "calls") in of
    for row in told["settings"]:
        assert row["success"] > 0.99  # failures are there, and absorbed
        assert row["cost"] > 0 and row["cost_pm"] >= 0
    text = repr(found["seasonal"])
    assert "holt-winters" in text and found["seasonal"].verdict in text


def test_the_same_ledger_gives_the_same_answer(
    ledgers: dict[str, Path], found: dict[str, Backtest]
) -> None:
    again = backtest(ledgers["noise"], seeds=4)
    assert again.to_dict() == found["noise"].to_dict()


# -- no peeping ------------------------------------------------------------------


def test_nothing_is_known_before_it_happened(
    ledgers: dict[str, Path], tmp_path: Path
) -> None:
    """Another second part, the same first one: what was learned is the same."""
    edge = DAYS * 2 / 3

    def turned(name: str, day: float) -> float:
        return seasonal(name, day) if day < edge else 3 - seasonal(name, day)

    other = write(tmp_path / "turned.db", turned)
    pair = []
    for path in (ledgers["seasonal"], other):
        pair.append(make_replay(path, history_of(path, 28), None))
    for name in ("alpha", "beta"):
        for figure in ("ttft", "itl"):
            lines = [one.study.lines["backend", name, figure] for one in pair]
            assert lines[0].verdict == lines[1].verdict
    hour = 3000.0  # then the first hour of the second part is known
    early = [[row for row in one.usual if row[0] < hour] for one in pair]
    assert early[0] == early[1] != []
    assert pair[0].usual != pair[1].usual  # what came later is learned later
    assert [row[0] for row in pair[0].usual] == sorted(row[0] for row in pair[0].usual)
    troubles = [one.fleet.troubles for one in pair]
    assert troubles[0] != troubles[1]  # but the world is what it was


def test_a_history_cut_short_ends_where_it_was_cut(ledgers: dict[str, Path]) -> None:
    whole = history_of(ledgers["noise"], 28)
    part = until(whole, whole.begin + 100 * WIDTH + 1)
    assert part.bins == 100 and part.end == whole.begin + 100 * WIDTH
    for name, track in part.backends.items():
        assert track.calls == whole.backends[name].calls[:100]
        assert len(track.itl) == 100


def test_services_are_fitted_to_what_was_measured(ledgers: dict[str, Path]) -> None:
    fleet = make_replay(
        ledgers["seasonal"], history_of(ledgers["seasonal"], 28), None
    ).fleet
    for name in ("alpha", "beta"):
        service = fleet.service(name)
        assert service.ttft == pytest.approx(0.4, rel=0.1)
        assert service.token == pytest.approx(0.015, rel=0.1)
        assert service.ttft_spread == pytest.approx(0.3, abs=0.06)  # without the season
        assert service.failure_rate == pytest.approx(0.02, abs=0.005)
    slow = [t.factor for t in fleet.troubles if t.backend == "alpha"]
    assert min(slow) < 0.4 and max(slow) > 1.6


# -- what is given ---------------------------------------------------------------


def test_a_model_of_unknown_price_costs_what_the_ledger_paid(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", noise, calls=2000, model="openai/nobody-knows-it")
    one = backtest(path, seeds=2)
    tokens = one.comparison["composite"].totals
    usd = 2e-6 * (tokens["input_tokens"] + tokens["output_tokens"])
    assert one.comparison.mean("composite", "cost") == pytest.approx(usd, rel=0.05)


def test_a_configuration_brings_limits(
    ledgers: dict[str, Path], tmp_path: Path
) -> None:
    config = tmp_path / "llmbalance.toml"
    config.write_text(
        """
[[backend]]
model = "openai/gpt-4o"
name = "alpha"
groups = ["chat"]
limits = { rpm = 1 }

[[backend]]
model = "openai/gpt-4o"
name = "beta"
groups = ["chat"]
limits = { rpm = 2 }
"""
    )
    one = backtest(ledgers["noise"], config=config, seeds=2)
    row = one.to_dict()["settings"][0]
    assert row["waits"] > 0
    config.write_text('[[backend]]\nmodel = "openai/gpt-4o"\nname = "gamma"\n')
    with pytest.raises(ConfigError, match="gamma"):
        backtest(ledgers["noise"], config=config)


def test_too_little_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", noise, calls=200)
    with pytest.raises(ConfigError, match="100 are needed"):
        backtest(path)
    with Ledger(tmp_path / "b.db"):
        pass
    with pytest.raises(ConfigError, match="no attempt"):
        backtest(tmp_path / "b.db")


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        backtest(tmp_path / "none.db")
    (tmp_path / "a.db").write_text("not a data base, but a text of some length")
    with pytest.raises(ConfigError, match="no ledger"):
        backtest(tmp_path / "a.db")


@pytest.mark.parametrize("options", [{"days": 0}, {"seeds": 1}, {"value": -1.0}])
def test_options_out_of_range_are_refused(
    ledgers: dict[str, Path], options: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        backtest(ledgers["noise"], **options)  # type: ignore[arg-type]


# -- the command -----------------------------------------------------------------


def test_the_command_ends_with_the_sentence(
    ledgers: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", str(ledgers["noise"]), "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("of 6.0 days")
    assert lines[-1].startswith("Prediction would")


def test_the_command_speaks_json(
    ledgers: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", str(ledgers["noise"]), "--seeds", "2", "--days", "3"]
    assert main([*words, "--v", "0.001", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["days"] == pytest.approx(3, abs=0.1)
    assert told["verdict"].endswith(".")


def test_the_command_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", str(tmp_path / "none.db")]) == 1
    assert "there is no such file" in capsys.readouterr().err

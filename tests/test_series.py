"""Forecasts of a series: the oracle, and when which way is believed."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path

import pytest

from llmbalance._history._series import HoltWinters, Smooth, judge, tame

DAY = 144


def day_of(t: int) -> float:
    return math.cos(math.tau * t / DAY)


def made(kind: str, days: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    walk, values = 0.0, []
    for t in range(days * DAY):
        walk += draw.gauss(0, 0.02)
        noise = draw.gauss(0, 1)
        value = {
            "noise": 1 + 0.3 * noise,
            "drift": 1 + t / (days * DAY) + 0.1 * noise,
            "walk": math.exp(walk),
            "season": 1 + 0.5 * day_of(t) + 0.1 * noise,
        }[kind]
        values.append(max(value, 0.0))
    return values


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.0, 0.4])
def test_a_line_with_a_season_is_told_without_any_miss(
    alpha: float, beta: float, gamma: float
) -> None:
    season = [5.0, -3.0, 1.0, -3.0]
    model = HoltWinters(alpha, beta, gamma, 1.0, 10 - 0.5, 0.5, season)
    for t in range(24):
        value = 10 + 0.5 * t + season[t % 4]
        assert model.tell(1) == pytest.approx(value, abs=1e-12)
        assert model.tell(7) == pytest.approx(
            10 + 0.5 * (t + 6) + season[(t + 6) % 4], abs=1e-12
        )
        model.learn(value)


def test_the_published_series_is_told_without_any_miss(recorded: Path) -> None:
    values = json.loads((recorded / "oracles.json").read_text())["holt_winters_exact"]
    season = [values["x"][t] - 10 - 0.5 * t for t in range(4)]
    model = HoltWinters(0.4, 0.2, 0.3, 1.0, 10 - 0.5, 0.5, season)
    for value in values["x"]:
        assert model.tell(1) == pytest.approx(value, abs=1e-12)
        model.learn(value)


def test_a_damped_trend_ends() -> None:
    model = HoltWinters(0.5, 0.1, 0.1, 0.9, 10.0, 1.0, [0.0] * 4)
    assert model.tell(1) == pytest.approx(10.9)
    assert model.tell(2) == pytest.approx(10.9 + 0.81)
    assert model.tell(10_000) == pytest.approx(19.0)


def test_time_goes_on_over_values_nobody_saw() -> None:
    model = HoltWinters(0.5, 0.0, 0.1, 1.0, 10.0, 0.0, [0.0, 4.0])
    model.learn(None)
    assert model.tell(1) == 14.0
    plain = Smooth(0.5)
    assert plain.tell(1) is None
    plain.learn(None)
    plain.learn(8.0)
    plain.learn(None)
    assert plain.tell(3) == 8.0


def test_no_forecast_is_below_nothing() -> None:
    assert HoltWinters(0.5, 0.0, 0.1, 1.0, 1.0, 0.0, [-3.0]).tell(1) == 0.0


@pytest.mark.parametrize("days", [4, 7, 14])
@pytest.mark.parametrize("seed", range(4))
def test_a_season_is_found_where_there_is_one(days: int, seed: int) -> None:
    verdict, model = judge(made("season", days, seed), DAY)
    assert verdict.best == "holt_winters"
    assert verdict.gain is not None and verdict.gain > 0.2
    now = days * DAY
    for ahead in (1, 36, 72, 108):
        value = model.tell(ahead)
        assert value == pytest.approx(1 + 0.5 * day_of(now + ahead - 1), abs=0.25)


@pytest.mark.parametrize("kind", ["noise", "drift", "walk"])
@pytest.mark.parametrize("days", [3, 4, 14])
@pytest.mark.parametrize("seed", range(6))
def test_no_season_is_found_where_there_is_none(
    kind: str, days: int, seed: int
) -> None:
    verdict, model = judge(made(kind, days, seed), DAY)
    assert verdict.best == "ewma"
    assert isinstance(model, Smooth)


def test_days_of_the_week_are_told_apart_after_three_weeks() -> None:
    draw = random.Random(4)

    def value(t: int) -> float:
        free = t // DAY % 7 >= 5
        return (0.3 if free else 1 + 0.5 * day_of(t)) * math.exp(draw.gauss(0, 0.1))

    values = [value(t) for t in range(26 * DAY)]
    daily, _ = judge(values, DAY)
    weekly, model = judge(values, DAY, longer=7 * DAY)
    assert weekly.best == "holt_winters"
    found, plain = weekly.wape["holt_winters"][6], daily.wape["holt_winters"][6]
    assert found < 0.75 * plain
    noon = 2 * DAY + 1  # two days after a Friday's end it is Monday
    assert model.tell(noon) == pytest.approx(1.5, abs=0.3)
    assert model.tell(noon - DAY) == pytest.approx(0.3, abs=0.15)
    two, _ = judge(values[: 14 * DAY], DAY, longer=7 * DAY)
    assert two.wape == judge(values[: 14 * DAY], DAY)[0].wape


def test_less_than_three_days_are_not_enough_for_a_season() -> None:
    verdict, _ = judge(made("season", 3, 1)[:-1], DAY)
    assert verdict.best == "ewma"
    assert "holt_winters" not in verdict.wape
    assert "less than 3 days" in verdict.why


@pytest.mark.parametrize("values", [[], [None], [None] * 600, [0.0] * 600, [3.0]])
def test_next_to_nothing_is_judged_too(values: list[float | None]) -> None:
    verdict, model = judge(values, DAY)
    assert verdict.best == "ewma"
    assert model.tell(1) == next((v for v in values if v is not None), None)


def test_holes_are_no_values() -> None:
    values: list[float | None] = list(made("season", 7, 2))
    for t in range(0, len(values), 3):
        values[t] = None
    verdict, _ = judge(values, DAY)
    assert verdict.best == "holt_winters"
    assert verdict.tested < len(values) // 2


def test_a_mishap_is_cut_to_a_multiple_of_the_median() -> None:
    assert tame([1.0, 1.0, None, 500.0, 2.0]) == [1.0, 1.0, None, 12.0, 2.0]


def test_four_of_five_values_lie_within_the_range() -> None:
    values = made("noise", 7, 5)
    verdict, _ = judge(values, DAY)
    assert verdict.low < 0.75 and verdict.high > 1.25
    assert verdict.wape["ewma"][6] < verdict.wape["last"][6]


@pytest.mark.parametrize(
    ("column", "last", "ewma", "best"),
    [
        ("m-large", (13.3, 23.5), (13.2, 23.4), "ewma"),
        ("m-mid", (9.5, 19.1), (9.4, 19.1), "ewma"),
        ("m-small", (11.4, 22.8), (11.9, 22.6), "holt_winters"),
    ],
)
def test_two_weeks_of_public_traffic_give_the_known_figures(
    recorded: Path,
    column: str,
    last: tuple[float, float],
    ewma: tuple[float, float],
    best: str,
) -> None:
    """WAPE in % at ten minutes and an hour, on the second week."""
    with open(recorded / "traces" / "servegen_rate_10min.csv", newline="") as file:
        values = [float(row[column]) for row in csv.DictReader(file) if row[column]]
    verdict, _ = judge(values, DAY, parts=(24, DAY))
    for way, told in (("last", last), ("ewma", ewma)):
        found = tuple(round(100 * verdict.wape[way][steps], 1) for steps in (1, 6))
        assert found == told
    assert verdict.best == best

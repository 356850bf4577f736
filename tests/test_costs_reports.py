"""Reports of money: costs by anything, savings, forecasts, the published examples."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from leases import USAGE, backend, call

from llmbalance import Backend, ConfigError, Price, Router
from llmbalance._money._ledger import Entry, Ledger


@pytest.fixture
def ledger():
    with Ledger(":memory:", interval=0.01) as ledger:
        yield ledger


# -- reports ---------------------------------------------------------------------


def spread(router: Router) -> None:
    """Ten calls: 7 to `cheap`, 3 to `dear`, under several labels."""
    for number in range(10):
        name = "cheap" if number < 7 else "dear"
        call(
            router,
            name,
            task="sum" if number % 2 else None,
            user="ann" if number < 4 else "bob",
            tags=[f"team={'web' if number < 5 else 'ads'}", "all=1"],
        )


@pytest.fixture
def two(ledger: Ledger) -> Router:
    backends = [backend("cheap", Price(1, 2)), backend("dear", Price(3, 6))]
    return Router(backends, ledger=ledger)


CHEAP, DEAR = 1500 * 1000 + 500 * 2000, 1500 * 3000 + 500 * 6000


@pytest.mark.parametrize(
    ("by", "key", "requests"),
    [
        ("backend", "backends", {"dear": 3, "cheap": 7}),
        ("group", "groups", {"dear": 3, "cheap": 7}),
        ("model", "models", {"openai/gpt-4o": 10}),
        ("task", "tasks", {"sum": 5, "": 5}),
        ("user", "users", {"ann": 4, "bob": 6}),
        ("tag:team", "teams", {"web": 5, "ads": 5}),
        ("tag", "tags", {"team=web": 5, "team=ads": 5, "all=1": 10}),
        ("kind", "kinds", {"lease": 10}),
        ("status", "statuses", {"ok": 10}),
    ],
)
def test_costs_by_anything_add_up(two: Router, by: str, key: str, requests: Any):
    spread(two)
    report = two.costs(by)
    assert {k: row["requests"] for k, row in report[key].items()} == requests
    total = report["total"]
    assert total["total_nano_usd"] == 7 * CHEAP + 3 * DEAR
    assert total["requests"] == total["calls"] == 10
    assert total["tokens"] == 20_000
    assert total["cost_per_1k_tokens"] == pytest.approx(total["total"] / 20)
    assert total["average"] == pytest.approx(total["total"] / 10)
    if by != "tag":
        assert sum(r["percentage"] for r in report[key].values()) == pytest.approx(1)


def test_costs_without_a_ledger_are_by_backend_and_say_so() -> None:
    router = Router([backend("cheap", Price(1, 2)), backend("dear", Price(3, 6))])
    spread(router)
    report = router.costs()
    assert report["backends"]["dear"]["total_nano_usd"] == 3 * DEAR
    assert report["backends"]["dear"]["percentage"] == pytest.approx(
        3 * DEAR / (7 * CHEAP + 3 * DEAR)
    )
    assert report["total"]["input_tokens"] == 15_000
    assert report["total"]["output_tokens"] == 5_000
    for wrong in (
        lambda: router.costs("task"),
        lambda: router.costs(since="7d"),
        lambda: router.savings("dear", since="7d"),
        router.forecast,
    ):
        with pytest.raises(ConfigError, match="ledger="):
            wrong()


def test_costs_of_a_time_leave_out_what_was_before(two: Router, ledger: Ledger):
    old = Entry(time.time() - 3 * 86400, "old", "g", "cheap", "m", cost_nano=5)
    ledger.record(old)
    call(two, "dear")
    assert two.costs()["total"]["total_nano_usd"] == DEAR
    assert two.costs(since="2d")["total"]["total_nano_usd"] == DEAR
    assert two.costs(since="4d")["total"]["total_nano_usd"] == DEAR + 5
    assert two.costs(since=0)["total"]["requests"] == 2
    with pytest.raises(ConfigError, match="since"):
        two.costs(since="yesterday or so")
    with pytest.raises(ConfigError, match="by"):
        two.costs("colour")


def test_a_report_is_a_dict_a_table_a_csv_a_frame_and_a_plot(
    two: Router, tmp_path: Path
) -> None:
    spread(two)
    report = two.costs()
    assert "cheap" in str(report)
    assert report._repr_html_().count("<tr>") == 4
    report.to_csv(tmp_path / "costs.csv")
    with open(tmp_path / "costs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["backend"] for row in rows] == ["dear", "cheap", "total"]
    assert int(rows[0]["total_nano_usd"]) == 3 * DEAR
    two.stats().to_csv(tmp_path / "stats.csv")
    assert "outcomes" not in (tmp_path / "stats.csv").read_text().splitlines()[0]
    with pytest.raises(ConfigError, match="column"):
        report.plot("colour")


def test_a_report_becomes_a_data_frame(two: Router) -> None:
    pandas = pytest.importorskip("pandas")
    spread(two)
    frame = two.costs().to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["requests"]) == [3, 7, 10]


def test_a_report_draws_itself(two: Router) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    spread(two)
    axes = two.costs().plot()
    assert [bar.get_width() for bar in axes.patches] == [
        pytest.approx(3 * DEAR / 1e9),
        pytest.approx(7 * CHEAP / 1e9),
    ]
    assert two.stats().plot("cost", ax=axes) is axes
    matplotlib.pyplot.close("all")


def test_an_empty_ledger_is_reported_as_nothing(two: Router) -> None:
    report = two.costs("task")
    assert report["total"]["requests"] == 0
    assert report["total"]["percentage"] == 0
    assert "total" in str(report)


@pytest.mark.parametrize("kept", [True, False])
def test_savings_tell_what_the_same_calls_would_have_cost(kept: bool) -> None:
    backends = [backend("cheap", Price(1, 2)), backend("dear", Price(3, 6))]
    router = Router(backends, ledger=":memory:" if kept else None)
    spread(router)
    report = router.savings("dear")
    assert report["actual"] == pytest.approx((7 * CHEAP + 3 * DEAR) / 1e9)
    assert report["reference_cost"] == pytest.approx(10 * DEAR / 1e9)
    assert report["saved_nano_usd"] == 7 * (DEAR - CHEAP)
    assert report["calls"] == 10
    assert router.savings("cheap")["saved"] < 0
    with pytest.raises(ConfigError, match="backend"):
        router.savings("nobody")


def test_savings_price_every_call_in_its_own_tier(ledger: Ledger) -> None:
    tiered = Price(1, 0, above={1000: Price(input=10)})
    backends = [backend("flat", Price(5, 0)), backend("tiered", tiered)]
    router = Router(backends, ledger=ledger)
    for tokens in (500, 800, 2000):
        call(router, "flat", usage={"prompt_tokens": tokens, "completion_tokens": 0})
    report = router.savings("tiered")
    assert report["reference_cost"] == pytest.approx((500 + 800 + 2000 * 10) / 1e6)


def test_savings_do_not_bill_the_reference_for_what_failed_here(
    ledger: Ledger,
) -> None:
    router = Router([backend("a", Price(1, 1))], ledger=ledger)
    now = time.time()
    tokens = {"input": 1_000_000}
    for number, (status, last) in enumerate([("server", False), ("ok", True)]):
        ledger.record(
            Entry(
                *(now + number, "c", "all", "x", "m"),
                status=status,
                last=last,
                tokens=tokens,
                cost_nano=3_000_000_000,
            )
        )
    report = router.savings("a")
    assert (report["actual"], report["reference_cost"]) == (6, 1)


@pytest.mark.parametrize("kept", [True, False])
def test_a_reference_of_unknown_price_is_refused(kept: bool) -> None:
    own = Backend("vllm/own-model", name="own", base_url="http://127.0.0.1:9/v1")
    half = backend("half", Price(input=1), groups=[])
    router = Router(
        [backend("a", Price(1, 1)), own, half], ledger=":memory:" if kept else None
    )
    call(router)
    for name in ("own", "half"):
        with pytest.raises(ConfigError, match=f"reference = '{name}'"):
            router.savings(name)


# -- the published examples ------------------------------------------------------


def mixed(shares: dict[str, tuple[int, Price]], usage: dict[str, int]) -> Router:
    """Calls of one size over backends by whole-number weights."""
    backends = [
        backend(name, price, weight=weight) for name, (weight, price) in shares.items()
    ]
    router = Router(backends, strategy="weighted", ledger=":memory:")
    for _ in range(sum(weight for weight, _ in shares.values())):
        call(router, usage=usage)
    return router


def test_seventy_thirty_of_ten_and_fifteen_cents_blend_to_eleven_and_a_half() -> None:
    shares = {"a": (7, Price(0.10, 0.10)), "b": (3, Price(0.15, 0.15))}
    router = mixed(shares, {"prompt_tokens": 1_000_000, "completion_tokens": 0})
    total = router.costs()["total"]
    assert total["total_nano_usd"] / total["requests"] == 115_000_000
    assert total["cost_per_1k_tokens"] * 1000 == pytest.approx(0.115)
    assert round(router.savings("b")["saved_share"], 2) == 0.23


def test_eighty_twenty_of_1_25_and_3_dollars_blend_to_1_60() -> None:
    shares = {"a": (4, Price(1.25, 0)), "b": (1, Price(3, 0))}
    router = mixed(shares, {"prompt_tokens": 1_000_000, "completion_tokens": 0})
    assert router.costs()["total"]["average"] == pytest.approx(1.60)
    assert round(router.savings("b")["saved_share"], 2) == 0.47


def test_half_a_million_calls_a_day_save_68_625_dollars_a_month() -> None:
    shares = {"a": (2, Price(3, 15)), "b": (3, Price(1.25, 5))}
    report = mixed(shares, USAGE).savings("a")
    factor = 500_000 // report["calls"]
    assert report["reference_cost"] * factor == pytest.approx(6_000)
    assert report["actual"] * factor == pytest.approx(3_712.50)
    assert report["saved_nano_usd"] * factor * 30 == 68_625 * 10**9


# -- forecast --------------------------------------------------------------------

MARCH = 1_772_323_200.0  # 2026-03-01, a Sunday
DAY = 86400.0


def spend(ledger: Ledger, day: float, usd: float) -> None:
    when = MARCH + day * DAY
    ledger.record(Entry(when, "c", "g", "b", "m", cost_nano=round(usd * 1e9)))


def forecast(ledger: Ledger, day: float) -> Any:
    router = Router([backend("a", Price(1, 1))], ledger=ledger)
    return router.forecast(now=MARCH + day * DAY)


def test_a_steady_month_is_forecast_exactly(ledger: Ledger) -> None:
    for day in range(10):
        spend(ledger, day + 0.25, 10)
    report = forecast(ledger, 10)
    assert report["month"] == "2026-03"
    assert report["spent"] == pytest.approx(100)
    assert report["forecast"] == pytest.approx(310)
    assert report["low"] == pytest.approx(310) == report["high"]
    assert report["days_of_history"] == 10


def test_weekends_are_forecast_as_weekends(ledger: Ledger) -> None:
    def usual(day: int) -> float:
        return 0.0 if day % 7 in (0, 6) else 20.0  # the first is a Sunday

    for day in range(-28, 10):
        spend(ledger, day + 0.5, usual(day))
    report = forecast(ledger, 10)
    assert report["forecast"] == pytest.approx(sum(usual(day) for day in range(31)))


def test_the_rest_of_today_is_part_of_the_forecast(ledger: Ledger) -> None:
    for day in range(20):
        spend(ledger, day, 4)
    assert forecast(ledger, 19.5)["forecast"] == pytest.approx(80 + 11.5 * 4)


def test_days_that_vary_widen_the_forecast(ledger: Ledger) -> None:
    for day in range(10):
        spend(ledger, day + 0.25, 10 + (-1) ** day * 5)
    report = forecast(ledger, 10)
    assert report["low"] < report["forecast"] < report["high"]
    assert report["forecast"] == pytest.approx(310)
    assert report["high"] - report["forecast"] == pytest.approx(1.28 * 5 * 21**0.5)


def test_a_ledger_without_history_forecasts_from_its_first_day(ledger: Ledger) -> None:
    assert forecast(ledger, 30.5)["forecast"] == 0
    spend(ledger, 30.25, 8)
    assert forecast(ledger, 30.5)["spent"] == 8

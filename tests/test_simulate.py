"""Fleets, runs and comparisons in the simulator, as a notebook uses them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, Budget, ConfigError, Limits, Price, UnknownModelError
from llmbalance._checks import check_strategy
from llmbalance._core import STRATEGIES
from llmbalance._price import Deal
from llmbalance.simulate import (
    REFERENCES,
    Fleet,
    PriceChange,
    Service,
    Trace,
    Trouble,
    compare,
    lower_bound,
    run,
    sweep,
)

CHEAP, DEAR = "openai_compatible/cheap", "openai_compatible/dear"
EVERY = (*STRATEGIES, *REFERENCES)


def two(**options: Any) -> Fleet:
    """A cheap slow backend and a dear fast one."""
    services = {
        CHEAP: Service(ttft=1.0, token=0.02),
        DEAR: Service(ttft=0.3, token=0.005),
    } | options.pop("services", {})
    limits = options.pop("limits", None)
    return Fleet(
        [
            Backend(CHEAP, price=Price(1, 4), limits=limits),
            Backend(DEAR, price=Price(3, 12), groups=["best"]),
        ],
        services=services,
        **options,
    )


TRACE = Trace.poisson(rate=5, seconds=600, seed=1)


@pytest.mark.parametrize("strategy", EVERY)
def test_every_strategy_answers_everything_on_a_quiet_day(strategy: str) -> None:
    result = run(TRACE, two(), strategy=strategy)
    told = result.to_dict()
    assert told["requests"] == told["attempts"] == len(TRACE)
    assert result.success == 1
    assert sum(told["share"].values()) == pytest.approx(1)
    assert sum(told["spending"].values()) == pytest.approx(told["cost"])
    assert 0 < told["ttft_p50"] < told["p50"] < told["p95"] < told["p99"]


@pytest.mark.parametrize("strategy", EVERY)
def test_a_run_can_be_repeated_to_the_last_byte(strategy: str) -> None:
    troubles = [Trouble(CHEAP, 100, 100, share=0.5)]

    def outcome() -> Any:
        result = run(TRACE, two(troubles=troubles), strategy=strategy, samples=True)
        return result.to_dict(), result.rows(), result.requests()

    assert outcome() == outcome()


def test_the_cost_is_that_of_every_request_at_its_backend() -> None:
    result = run(TRACE, two(), strategy="round_robin", samples=True)
    rates = {CHEAP: (1.0, 4.0), DEAR: (3.0, 12.0)}
    total = 0.0
    for i, row in enumerate(result.requests()):
        a, b = rates[row["backend"]]
        cost = (TRACE.input[i] * a + TRACE.output[i] * b) / 1e6
        assert row["cost"] == pytest.approx(cost, abs=1e-9)
        total += cost
    assert result.cost == pytest.approx(total)


def test_the_cheapest_backend_is_used_when_money_counts_and_the_fastest_else() -> None:
    assert run(TRACE, two(), strategy="cost").to_dict()["share"][CHEAP] > 0.99
    assert run(TRACE, two(), strategy="latency").to_dict()["share"][DEAR] > 0.9
    worth = {v: run(TRACE, two(), value=v).to_dict()["share"][DEAR] for v in (0, 1)}
    assert worth[0] < 0.01 and worth[1] > 0.9


def test_an_outage_is_absorbed_by_the_other_backend() -> None:
    fleet = two(troubles=[Trouble(CHEAP, 100, 200)])
    result = run(TRACE, fleet, strategy="composite", slices=60)
    told = result.to_dict()
    assert result.success == 1
    assert told["absorbed"] > 0
    assert told["failures"] < 0.02 * len(TRACE)
    rows = result.rows()[::2]
    assert {r["breaker"] for r in rows if 150 <= r["start"] < 250} <= {
        "open",
        "half_open",
    }
    assert rows[-1]["breaker"] == "closed"
    assert rows[-1]["done"] > 0


def test_a_hanging_backend_is_left_after_its_share_of_the_time() -> None:
    fleet = two(troubles=[Trouble(CHEAP, 100, 200, "hang")])
    result = run(TRACE, fleet, strategy="least_busy", timeout=60)
    assert result.success == 1
    assert 0 < result.to_dict()["time_outs"] < 0.02 * len(TRACE)


@pytest.mark.parametrize("strategy", ["composite", "cost", "round_robin", "weighted"])
def test_a_hanging_backend_is_left_by_rules_that_do_not_count_seconds(
    strategy: str,
) -> None:
    """5 calls a second hang for 200 s; the breaker alone opens after 30 s of it."""
    fleet = two(troubles=[Trouble(CHEAP, 100, 200, "hang")])
    told = run(TRACE, fleet, strategy=strategy, timeout=60).to_dict()
    assert told["success"] == 1
    assert 0 < told["time_outs"] < 0.07 * len(TRACE)


def test_a_slow_spell_moves_calls_to_where_they_are_faster() -> None:
    fleet = two(troubles=[Trouble(DEAR, 0, 600, "slow", factor=50)])
    assert run(TRACE, fleet, strategy="latency").to_dict()["share"][CHEAP] > 0.9


def test_refusals_are_waited_for_and_absorbed() -> None:
    fleet = two(troubles=[Trouble(CHEAP, 100, 100, "refuse", factor=20)])
    told = run(TRACE, fleet, strategy="cost").to_dict()
    assert told["success"] == 1
    assert 0 < told["refusals"] < 40


def test_a_call_comes_back_to_who_can_help_first() -> None:
    """The cheap one stumbles once; the dear one wants to be left alone for long."""
    troubles = [
        Trouble(CHEAP, 0, 0.05, "fail"),
        Trouble(DEAR, 0, 500, "refuse", factor=200),
    ]
    one = Trace([0], [100], [10])
    told = run(one, two(troubles=troubles), strategy="cost", samples=True).requests()
    assert told[0]["end"] == "done" and told[0]["attempts"] > 2
    assert told[0]["seconds"] < 10


def test_known_limits_are_kept_without_a_single_refusal() -> None:
    told = run(TRACE, two(limits=Limits(rpm=60)), strategy="composite").to_dict()
    assert told["refusals"] == 0
    # Ten minutes of 60, after the 57 of 60 that calls without priority find at once.
    assert told["share"][CHEAP] * len(TRACE) == pytest.approx(60 * 10 + 57, abs=2)


def test_the_marks_of_limits_are_the_routers() -> None:
    fleet = two(limits=Limits(rpm=60), stop_at=1.0)
    told = run(TRACE, fleet, strategy="composite").to_dict()
    assert told["share"][CHEAP] * len(TRACE) == pytest.approx(60 * 10 + 60, abs=2)
    with pytest.raises(ConfigError, match="shift_at"):
        two(shift_at=0.9, stop_at=0.8)


def test_hidden_limits_are_learned_from_what_comes_back() -> None:
    services = {CHEAP: Service(limits=Limits(rpm=60))}
    told = run(TRACE, two(services=services), strategy="composite").to_dict()
    assert told["success"] == 1
    assert told["refusals"] < 0.05 * len(TRACE)
    blind = run(TRACE, two(services=services), strategy="litellm_cost_based").to_dict()
    assert blind["refusals"] > 3 * told["refusals"]


def test_two_keys_of_one_organisation_share_its_limit() -> None:
    limits = Limits(rpm=30, shared="org")
    fleet = Fleet(
        [Backend(CHEAP, name=n, price=Price(1, 4), limits=limits) for n in ("a", "b")],
        max_waiting=20,  # or those who are served have no time left for the answer
    )
    told = run(TRACE, fleet, timeout=60).to_dict()
    last = 600 + 20 / 0.5  # s: the line is through
    assert told["attempts"] == pytest.approx(30 + 0.5 * last, abs=4)
    assert told["refusals"] == 0


def test_a_budget_stops_the_spending() -> None:
    free = run(TRACE, two()).cost
    fleet = two(budgets=[Budget(usd=free / 2, per="total")])
    result = run(TRACE, fleet, timeout=5)
    assert result.cost <= free / 2 * 1.01
    assert result.success < 0.6
    [budget] = result.to_dict()["budgets"]
    assert budget["spent"] == pytest.approx(result.cost)


def test_calendar_budgets_begin_anew_on_the_virtual_calendar() -> None:
    trace = Trace.poisson(rate=1, seconds=7200, seed=1)
    fleet = two(start="2026-03-01T23:00", budgets=[Budget(usd=0.5, per="day")])
    rows = run(trace, fleet, timeout=30).rows()
    first = sum(row["cost"] for row in rows if row["start"] < 3500)
    second = sum(row["cost"] for row in rows if row["start"] >= 3500)
    assert [first, second] == pytest.approx([0.5, 0.5], rel=0.02)


def test_a_price_that_changes_moves_the_calls() -> None:
    changes = [PriceChange(CHEAP, 300, Price(10, 40))]
    rows = run(TRACE, two(price_changes=changes), strategy="cost", slices=10).rows()
    early = [r["sent"] for r in rows if r["start"] < 290]
    late = [r["sent"] for r in rows if r["start"] > 310]
    assert sum(early[0::2]) > 0.99 * sum(early)
    assert sum(late[0::2]) == 0


def test_a_deal_of_the_price_holds_on_the_virtual_calendar() -> None:
    deal = Deal(factor=0.5, start="2026-01-05T00:05")
    fleet = Fleet(
        [Backend(CHEAP, price=Price(1, 4, deals=(deal,)))],
        start="2026-01-05",
    )
    result = run(TRACE, fleet, samples=True)
    for i, row in enumerate(result.requests()):
        full = (TRACE.input[i] + 4 * TRACE.output[i]) / 1e6
        if TRACE.at[i] > 350e9:
            assert row["cost"] == pytest.approx(full / 2, abs=2e-9)
        if TRACE.at[i] < 250e9:
            assert row["cost"] == pytest.approx(full, abs=2e-9)


def test_conversations_stay_where_their_prompt_is_cached() -> None:
    trace = Trace.poisson(rate=3, seconds=1200, turns=6, input=(1500, 0.5), seed=4)
    price = Price(3, 12, cache_read=0.3)
    fleet = Fleet(
        [
            Backend(CHEAP, name=name, price=price, cache_life=300.0)
            for name in ("a", "b", "c")
        ]
    )
    told = run(trace, fleet, strategy="composite").to_dict()
    assert told["stickiness"] > 0.9
    assert told["cache_hit"] > 0.4
    spread = run(trace, fleet, strategy="p2c_least_busy").to_dict()
    assert spread["stickiness"] < 0.5
    assert spread["cost"] > 1.2 * told["cost"]


def test_fallback_groups_take_over() -> None:
    fleet = Fleet(
        [
            Backend(CHEAP, price=Price(1, 4), groups=["first"]),
            Backend(DEAR, price=Price(3, 12), groups=["second"]),
        ],
        fallbacks={"first": ["second"]},
        troubles=[Trouble(CHEAP, 0, 600)],
    )
    for strategy in ("composite", "litellm_simple_shuffle"):
        told = run(TRACE.in_group("first"), fleet, strategy=strategy).to_dict()
        assert told["share"][DEAR] == 1, strategy


def test_a_group_the_fleet_has_not_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="nobody"):
        run(TRACE.in_group("nobody"), two())


def test_a_strategy_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'composite'"):
        run(TRACE, two(), strategy="composit")
    with pytest.raises(ConfigError):
        check_strategy("strategy", REFERENCES[0])  # for the simulator only


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": {"nobody": Service()}},
        {"troubles": [Trouble("nobody", 0, 1)]},
        {"price_changes": [PriceChange("nobody", 0, Price(1, 1))]},
        {"start": "yesterday"},
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        two(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttft": -1},
        {"slots": 0},
        {"failure_rate": 2},
        {"tail_share": -0.1},
        {"limits": "none"},
    ],
)
def test_a_service_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Service(**wrong)


def test_a_comparison_finds_the_frontier_and_the_cheapest_for_a_goal() -> None:
    found = compare(
        TRACE, two(), strategies=["cost", "latency", "round_robin"], repeats=3
    )
    assert found.labels == ["cost", "latency", "round_robin"]
    assert {"cost", "latency"} <= set(found.frontier)
    assert found.best() == "cost"
    goal = found.mean("latency", "p95") * 1.05
    assert found.best(p95=goal) == "latency"
    with pytest.raises(ConfigError, match="none reaches it"):
        found.best(p95=0.01)
    assert found.interval("cost", "p95") > 0
    assert len({r.p95 for r in found.results["cost"]}) == 3


def test_a_sweep_of_the_dial_trades_money_for_time() -> None:
    found = sweep(TRACE, two(), v=[0, 1e-4, 1e-2])
    costs = [found.mean(label, "cost") for label in found.labels]
    p95s = [found.mean(label, "p95") for label in found.labels]
    assert costs == sorted(costs) and costs[0] < costs[-1]
    assert p95s == sorted(p95s, reverse=True) and p95s[0] > p95s[-1]
    weighed = sweep(TRACE, two(), v=[0], weights=[{CHEAP: 0.0}, {DEAR: 0.0}])
    assert len(weighed.labels) == 2
    assert weighed[weighed.labels[0]].to_dict()["share"][CHEAP] == 0
    with pytest.raises(ConfigError, match="nobody"):
        sweep(TRACE, two(), weights=[{"nobody": 1}])


@pytest.mark.parametrize("limits", [None, Limits(rpm=60), Limits(tpm=60_000)])
def test_no_strategy_is_cheaper_than_the_bound(limits: Limits | None) -> None:
    pytest.importorskip("scipy")
    fleet = two(limits=limits)
    bound = lower_bound(TRACE, fleet)
    for strategy in EVERY:
        result = run(TRACE, fleet, strategy=strategy)
        assert result.success == 1
        assert result.cost >= bound.cost * (1 - 1e-9)
    if limits is None:
        assert run(TRACE, fleet, strategy="cost").cost == pytest.approx(
            bound.cost, rel=0.01
        )


def test_a_bound_that_the_limits_forbid_is_refused() -> None:
    pytest.importorskip("scipy")
    fleet = Fleet([Backend(CHEAP, price=Price(1, 4), limits=Limits(rpm=10))])
    with pytest.raises(ConfigError, match="limits do not allow"):
        lower_bound(TRACE, fleet)
    assert lower_bound(TRACE, fleet, success=0.03).cost > 0


def test_results_go_to_csv_and_html(tmp_path: Path) -> None:
    result = run(TRACE, two(), slices=7)
    result.to_csv(tmp_path / "run.csv")
    with open(tmp_path / "run.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 2
    assert sum(int(row["done"]) for row in rows) == len(TRACE)
    found = compare(TRACE, two(), strategies=["cost", "latency"])
    found.to_csv(tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().count("\n") == 3
    for shown in (result._repr_html_(), found._repr_html_()):
        assert shown.startswith("<table>") and "cost" in shown
    assert "latency" in repr(found)


def test_results_are_data_frames_and_figures() -> None:
    pytest.importorskip("pandas")
    result = run(TRACE, two(troubles=[Trouble(CHEAP, 60, 60)]), samples=True)
    assert result.to_pandas()["done"].sum() == len(TRACE)
    assert len(result.to_pandas(requests=True)) == len(TRACE)
    assert len(TRACE.to_pandas()) == len(TRACE)
    pytest.importorskip("matplotlib")
    assert len(result.plot().axes) == 4
    found = compare(TRACE, two(), strategies=["cost", "latency"])
    assert len(found.plot().axes) == 1


def test_an_empty_trace_is_no_error() -> None:
    result = run(Trace([], [], []), two())
    assert result.cost == 0 and result.to_dict()["requests"] == 0


def test_tuned_endpoints_stay_out_of_a_simulation_and_wildcards_are_refused() -> None:
    tuned = Backend(CHEAP, price=Price(1, 4), tuned={"v": "ft:x"})
    other = Fleet([tuned, Backend(DEAR, price=Price(3, 12))])
    assert other.make("cost", None, 0).pool.usage()["backends"] == 2
    assert run(TRACE, other, strategy="cost").to_dict()["share"][CHEAP] == 1
    with pytest.raises(ConfigError, match="name each model"):
        Fleet([Backend("openai/*")])


ROUTER = """
[router]
v = 10.0
aliases = {smart = "front"}

[group.front]
fallbacks = ["rear"]
min_quality = 5

[group.thrifty]
strategy = "cost"

[[backend]]
name = "cheap"
model = "openai_compatible/cheap"
price = {input = 1, output = 4}
groups = ["front", "thrifty", "any"]
quality = 9

[[backend]]
name = "dear"
model = "openai_compatible/dear"
price = {input = 3, output = 12}
groups = ["front", "rear", "thrifty", "any"]
quality = 1
"""


def from_file(folder: Path, **options: Any) -> Fleet:
    (folder / "router.toml").write_text(ROUTER)
    services = {"cheap": Service(token=0.02), "dear": Service(token=0.005)}
    return Fleet.from_file(folder / "router.toml", services=services, **options)


def test_a_configuration_file_is_simulated_as_the_router_reads_it(
    tmp_path: Path,
) -> None:
    fleet = from_file(tmp_path)

    def dear(group: str, **options: Any) -> float:
        told = run(TRACE.in_group(group), fleet, **options).to_dict()
        assert told["success"] == 1
        return float(told["share"]["dear"])

    assert dear("any") > 0.9  # the file's v
    assert dear("any", value=0.0) < 0.01  # is replaced by the run's
    assert dear("thrifty") < 0.01  # the group's own strategy comes before both
    assert dear("thrifty", strategy="latency") < 0.01
    assert dear("front") == dear("smart") == 0  # not good enough
    down = from_file(tmp_path, troubles=[Trouble("cheap", 0, 1e9)])
    for strategy in ("composite", "litellm_simple_shuffle"):
        told = run(TRACE.in_group("smart"), down, strategy=strategy).to_dict()
        assert told["share"]["dear"] == told["success"] == 1  # by the group's fallback


def test_the_bound_of_a_fleet_knows_its_groups(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    fleet = from_file(tmp_path)
    assert fleet.members("front") == fleet.members("smart") == [0, 1]
    assert fleet.members("rear") == [1]
    assert lower_bound(TRACE.in_group("smart"), fleet).cost > 0
    assert run(TRACE.in_group("smart"), fleet.alone("dear")).success == 1


def test_months_have_their_own_lengths() -> None:
    """Ten calls a month; the third month of the year begins after 59 days, and the
    fourth after 31 more."""
    per_day = Trace(
        range(0, 110 * 24 * 3600 * 10**9, 24 * 3600 * 10**9), [100_000] * 110, [1] * 110
    )
    fleet = Fleet(
        [Backend(CHEAP, price=Price(1, 0))],
        start="2026-01-01T12:00",
        budgets=[Budget(usd=1.05, per="month")],
    )
    result = run(per_day, fleet, timeout=30, samples=True, estimate_error=0)
    answered = [i for i, row in enumerate(result.requests()) if row["end"] == "done"]
    firsts = [0, 31, 59, 90]  # days of January, February and March
    assert answered == [first + k for first in firsts for k in range(10)]


def test_days_follow_their_time_zone() -> None:
    """In Berlin the 29th of March 2026 has 23 hours."""
    hourly = Trace(range(0, 72 * 3600 * 10**9, 3600 * 10**9), [100_000] * 72, [1] * 72)
    fleet = Fleet(
        [Backend(CHEAP, price=Price(1, 0))],
        start="2026-03-27T23:30",  # half past midnight there
        budgets=[Budget(usd=0.55, per="day", timezone="Europe/Berlin")],
    )
    result = run(hourly, fleet, timeout=30, samples=True, estimate_error=0)
    answered = [i for i, row in enumerate(result.requests()) if row["end"] == "done"]
    assert answered == [first + k for first in (0, 24, 47, 71) for k in range(5)][:16]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"value": float("nan")}, "value"),
        ({"value": -1}, "value"),
        ({"seed": "1"}, "seed"),
        ({"timeout": 1e12}, "timeout"),
        ({"slices": 0}, "slices"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_by_name(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{field} = "):
        run(TRACE, two(), **options)


def test_what_is_no_trace_fleet_or_service_is_refused_by_name() -> None:
    backend = Backend(CHEAP, price=Price(1, 4))
    for field, make in {
        "trace": lambda: run(two(), TRACE),  # type: ignore[arg-type]
        "fleet": lambda: run(TRACE, [backend]),  # type: ignore[arg-type]
        "backends": lambda: Fleet([CHEAP]),  # type: ignore[list-item]
        "services": lambda: Fleet([backend], services={CHEAP: {"ttft": 1}}),  # type: ignore[dict-item]
        "troubles": lambda: two(troubles=[(CHEAP, 0, 1)]),
        "price": lambda: PriceChange(CHEAP, 0, 3),  # type: ignore[arg-type]
        "share": lambda: Trouble(CHEAP, 0, 1, share=2),
        "factor": lambda: Trouble(CHEAP, 0, 1, factor=1e12),
        "slots": lambda: Service(slots=1.5),  # type: ignore[arg-type]
        "ttft": lambda: Service(ttft=1e12),
        "limits": lambda: Service(limits={"rpm": 1}),  # type: ignore[arg-type]
        "v": lambda: sweep(TRACE, two(), v=[]),
        "weights": lambda: sweep(TRACE, two(), weights={CHEAP: 1}),  # type: ignore[arg-type]
    }.items():
        with pytest.raises(ConfigError, match=f"^{field} = "):
            make()


def test_what_comes_long_after_the_trace_does_not_matter() -> None:
    late = two(
        troubles=[Trouble(CHEAP, 1e12, 1e12), Trouble(DEAR, 0, 1e12, "slow", 1.0, 2)],
        price_changes=[PriceChange(CHEAP, 1e12, Price(9, 9))],
    )
    assert run(TRACE, late, strategy="cost").cost == pytest.approx(
        run(TRACE, two(), strategy="cost").cost
    )


def test_a_comparison_loses_no_strategy_of_the_same_name() -> None:
    short = {"strategy": "cost", "timeout": 5}
    found = compare(TRACE, two(), strategies=["cost", short], repeats=2)
    assert found.labels == ["cost", "cost timeout=5"]
    assert found.mean("cost timeout=5", "timed_out") > 0
    assert found.mean("cost", "timed_out") == 0
    assert compare(TRACE, two(), strategies="cost").labels == ["cost"]
    with pytest.raises(ConfigError, match=r"'cost'.*twice"):
        compare(TRACE, two(), strategies=["cost", "cost"])
    with pytest.raises(ConfigError, match="safest is 'cost' with p95"):
        found.best(p95=0.01)
    for wrong in (lambda: found["cots"], lambda: found.mean("cost", "p94")):
        with pytest.raises(ConfigError, match="did you mean"):
            wrong()


def test_intervals_stand_beside_the_means() -> None:
    one, several = (
        compare(TRACE, two(), strategies=["latency"], repeats=n) for n in (1, 3)
    )
    half = f"±{several.interval('latency', 'p95'):.2f}"
    assert half in repr(several) and half in several._repr_html_()
    assert "±" not in repr(one)


def test_headroom_is_what_was_left_at_the_tightest() -> None:
    told = run(TRACE, two(limits=Limits(rpm=60)), strategy="cost").to_dict()
    assert told["headroom"][CHEAP] < 0.2
    assert told["headroom"][DEAR] == 1


def test_a_run_without_answers_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    down = two(troubles=[Trouble(CHEAP, 0, 1e6), Trouble(DEAR, 0, 1e6)])
    for result in (run(Trace([], [], []), two()), run(TRACE, down, timeout=5)):
        assert result.plot()._repr_png_().startswith(b"\x89PNG")


def test_troubles_are_drawn_within_the_time_of_the_trace() -> None:
    pytest.importorskip("matplotlib")
    troubles = [Trouble(CHEAP, 60, 1e6), Trouble(DEAR, 1e7, 60)]
    share = run(TRACE, two(troubles=troubles)).plot().axes[0]
    assert len(share.patches) == 1
    assert share.get_xlim()[1] < 11  # minutes


def test_pictures_tell_long_times_in_hours_and_days() -> None:
    pytest.importorskip("matplotlib")
    for seconds, name in ((600, "minutes"), (86400, "hours"), (864000, "days")):
        trace = Trace.poisson(rate=0.01, seconds=seconds, seed=1)
        assert run(trace, two()).plot().axes[0].get_xlabel() == name


def test_names_in_the_picture_of_a_comparison_hide_no_other() -> None:
    pytest.importorskip("matplotlib")
    found = compare(TRACE, two(), strategies=EVERY)
    figure = found.plot()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == len(found.labels)
    pairs = [(a, b) for k, a in enumerate(boxes) for b in boxes[:k]]
    hidden = [
        min(a.x1, b.x1) - max(a.x0, b.x0)
        for a, b in pairs
        if min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0) + 2
    ]
    assert len(hidden) <= 2  # more than there is room for


def test_requests_are_tables_only_of_runs_that_kept_them() -> None:
    with pytest.raises(ConfigError, match="samples=True"):
        run(TRACE, two()).to_pandas(requests=True)


def test_a_progress_bar_ends_with_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    trace = Trace.poisson(rate=60, seconds=1000, seed=1, input=50, output=5)
    assert len(trace) > 50_000  # more than one step
    plain = run(trace, two(), strategy="cost")
    told = run(trace, two(), strategy="cost", progress=True)
    assert told.to_dict() == plain.to_dict()
    assert "cost" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["pandas", "matplotlib", "tqdm"])
def test_who_lacks_the_extra_is_told_its_name(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (module, f"{module}.figure", f"{module}.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    use = {
        "pandas": lambda: run(TRACE, two()).to_pandas(),
        "matplotlib": lambda: run(TRACE, two()).plot(),
        "tqdm": lambda: run(TRACE, two(), progress=True),
    }[module]
    with pytest.raises(ImportError, match=rf"{module}: pip install .*\[notebook\]"):
        use()

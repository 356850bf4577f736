"""Ten bad minutes: nothing fails that a backend of its tier could have served.

Once over sockets, thirty times as fast as the clock, and once on a virtual clock. The
yardstick is tried as well: a router that gives up too early is found out by it.
"""

from __future__ import annotations

import asyncio
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, Budget, Limits, Price
from llmbalance.simulate import Fleet, PriceChange, Service, Trace, Trouble, run

FOLDER = Path(__file__).parents[1] / "benchmarks" / "storm"


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that holds the story."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import story

    return story


@pytest.fixture
def play(story: Any) -> Callable[[Any], None]:
    """What plays a story from its beginning to its end."""
    played = runpy.run_path(str(FOLDER / "__main__.py"), run_name="storm")
    return lambda told: asyncio.run(played["play"](told))


def test_a_storm_costs_no_call_that_somebody_could_have_served(
    story: Any, play: Callable[[Any], None]
) -> None:
    told = story.Story(speed=30, seed=1)
    play(told)
    figures = {name: value for name, (value, _) in told.figures().items()}
    assert told.avoidable() == []
    assert told.violations() == []
    assert told.kept()
    # It was a storm, and everything that was to happen did.
    assert figures["calls"] > 1000
    for name in ("google", "groq", "local"):
        assert told.trouble[name] >= 1, name
    assert figures["refused or broken by providers"] >= 8
    assert sum(told.asked["late"].values()) > 20
    assert figures["answered by another attempt"] >= 3
    assert figures["refused by their budget"] > 10
    # Money: what was reserved, what was told and what was billed are the same.
    assert figures["billed by the providers"] == pytest.approx(
        figures["cost by the router"], rel=0.005
    )
    assert figures["spent of its budget"] <= story.SMALL
    # Conversations stayed where their prompt is cached.
    assert figures["turns on the backend of the turn before"] > 0.75
    assert figures["saved by caches"] > 0.25 * figures["cost by the router"]


def test_giving_up_early_is_found_out(
    story: Any, play: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(story.Story):  # type: ignore[misc]
        """One attempt, and no breaker that keeps from the next one."""

        def config(self, fleet: Any, *, later: bool) -> dict[str, Any]:
            data: dict[str, Any] = super().config(fleet, later=later)
            for group in data["group"].values():
                group["max_attempts"] = 1
            data["defaults"]["breaker"] |= {"in_a_row": 0, "min_calls": 10_000}
            return data

    monkeypatch.setattr(story, "END", 240.0)
    monkeypatch.setattr(story, "RELOAD", 200.0)
    told = Stubborn(speed=60, seed=1)
    play(told)
    assert len(told.avoidable()) >= 3
    assert not told.kept()


def test_a_call_is_only_blamed_where_somebody_was_up(story: Any) -> None:
    def call(tier: str, began: float, ended: float) -> Any:
        error = RuntimeError("failed")
        fields = {"talk": None, "text": "hello", "small": False, "stream": False}
        return story.Call(began, tier, **fields, began=began, ended=ended, error=error)

    told = story.Story(speed=1, seed=1)
    assert told.could(call("frontier", 100, 101)) == ["openai", "anthropic"]
    assert told.could(call("frontier", 170, 182)) == ["openai", "anthropic"]
    assert told.could(call("frontier", 170, 186)) == ["openai", "anthropic", "google"]
    assert "late" not in told.could(call("economy", 299, 303))
    assert told.could(call("economy", 310, 320)) == ["mistral", "vllm", "late"]
    poor = call("mid", 310, 311)
    poor.left = 0.0001
    assert told.could(poor) == []
    told.calls = [call("frontier", 100, 101)]
    assert told.avoidable() == told.calls


# -- the same ten minutes on a virtual clock -------------------------------------------


def weather(story: Any) -> list[Trouble]:
    name, start, stop, factor = story.SLOW
    spells = {"google": "fail", "groq": "fail", "local": "refuse"}
    return [Trouble(name, start, stop - start, "slow", factor=factor)] + [
        Trouble(name, story.DOWN[name][0], _length(story.DOWN[name]), kind)
        for name, kind in spells.items()
    ]


def _length(span: tuple[float, float]) -> float:
    return span[1] - span[0]


def simulated(story: Any, seed: int, share: int = 1) -> tuple[Trace, Any]:
    """``share``: how many times the calls there are."""
    draw = random.Random(seed)
    plans = []
    for part in range(share):
        told = story.Story(speed=1, seed=seed + 1000 * part)
        told.plan()
        plans += [(call.at, part, call) for call in told.calls]
    plans.sort(key=lambda plan: plan[0])
    calls = [call for _, _, call in plans]
    tiers = list(story.CHAINS)
    trace = Trace(
        [int(call.at * 1e9) for call in calls],
        [len(call.text) // 4 + 10 for call in calls],
        [draw.randint(10, 90) for _ in calls],
        group=[tiers.index(call.tier) for call in calls],
        groups=tiers,
        session=[
            0 if call.talk is None else 1 + part * 100_000 + call.talk
            for _, part, call in plans
        ],
    )
    backends = [
        Backend(
            f"{dialect}/{model}",
            name=name,
            groups=[tier],
            base_url="http://127.0.0.1:9/v1",
            price=Price(*price[:2], cache_read=price[2]),
            limits=Limits(rpm=rpm * share, burst_seconds=20),
            cache_life=300,
        )
        for name, (dialect, model, tier, rpm, price) in story.FLEET.items()
    ]
    name, at, price = story.DEARER
    fleet = Fleet(
        backends,
        services={"*": Service(ttft=0.5, token=0.02)},
        troubles=weather(story),
        price_changes=[PriceChange(name, at, Price(*price[:2], cache_read=price[2]))],
        fallbacks={tier: more for tier, more in story.CHAINS.items() if more},
        budgets=[Budget(usd=story.ALL * share, per="total")],
    )
    return trace, run(trace, fleet, seed=seed, timeout=story.TIMEOUT, samples=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [1, 10])
def test_ten_minutes_on_a_virtual_clock_cost_no_call_either(
    story: Any, seed: int, share: int
) -> None:
    trace, result = simulated(story, seed, share)
    figures = result.to_dict()
    assert figures["failures"] > 5 and figures["refusals"] > 0  # it was a storm
    assert figures["success"] == 1.0
    assert trace.group is not None
    for number, request in zip(trace.group, result.requests(), strict=True):
        tier = story.FLEET[request["backend"]][2]
        assert tier in story.allowed(trace.groups[number])
    assert figures["stickiness"] > 0.75
    assert figures["cache_hit"] > 0.25
    assert all(b["spent"] <= b["usd"] for b in figures["budgets"])

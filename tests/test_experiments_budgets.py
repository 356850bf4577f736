"""An arm whose budget is spent: its calls are the control's, and fail nobody."""

from __future__ import annotations

from typing import Any

import pytest

from llmbalance import Backend, Budget, BudgetExceededError, Experiment, Price, Router

ASK = [{"role": "user", "content": "What is the capital of France?"}]
NONE = Budget(usd=0.0, tag="experiment.size=small")


@pytest.fixture
def make(llm_provider: Any) -> Any:
    def build(*experiments: Experiment, **options: Any) -> Router:
        backends = [
            Backend(
                "openai/gpt-4o",
                name=f"b-{name}",
                groups=[name],
                api_key="test-key",
                base_url=llm_provider("openai", name=name, model="gpt-4o").base_url,
                price=Price(10, 20) if name == "big" else Price(1, 2),
            )
            for name in ("big", "small")
        ]
        return Router(backends, experiments=experiments, **({"seed": 7} | options))

    return build


def split(**changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "name": "size",
        "models": ["big"],
        "arms": {"control": {}, "small": {"model": "small"}},
        "weights": {"small": 1},
    }
    return Experiment(**(fields | changes))


def arms_of(router: Router, name: str = "size") -> dict[str, tuple[int, int]]:
    """Calls that were counted, and those that were turned away."""
    rows = router.experiments()[name]["arms"]
    return {arm: (row["calls"], row["turned_away"]) for arm, row in rows.items()}


async def test_a_call_of_an_arm_without_money_is_the_controls_and_counted_apart(make):
    router = make(split(), budgets=[NONE])
    async with router:
        reply = await router.chat("big", ASK)
        assert reply.backend == "b-big"
        assert reply.experiments == {}
        assert not router.reward(reply, 1)
    assert arms_of(router) == {"control": (0, 0), "small": (0, 1)}


async def test_an_arm_spends_its_budget_and_not_more(make):
    router = make(split(), budgets=[Budget(usd=0.0005, tag=NONE.tag)])
    async with router:
        replies = [
            await router.chat("big", ASK, max_tokens=100, wait=False) for _ in range(12)
        ]
        own = [r for r in replies if r.backend == "b-small"]
        assert 1 <= len(own) < 12
        assert 0 < sum(r.cost for r in own) <= 0.0005
        assert [r.experiments for r in own] == [{"size": "small"}] * len(own)
        assert {r.backend for r in replies[len(own) :]} == {"b-big"}
    assert arms_of(router)["small"] == (len(own), 12 - len(own))


async def test_streams_leases_and_embeddings_give_way_as_well(make):
    router = make(split(), budgets=[NONE])
    async with router:
        stream = await router.chat("big", ASK, stream=True)
        *_, last = [chunk async for chunk in stream]
        assert last.backend == "b-big"
        with router.acquire("big", ASK) as lease:
            assert lease.backend == "b-big"
            lease.settle(usage={"prompt_tokens": 3, "completion_tokens": 2})
        assert (await router.embed("big", "a text")).backend == "b-big"
    assert arms_of(router)["small"] == (0, 3)


def test_blocking_calls_give_way_as_well(make):
    router = make(split(), budgets=[NONE])
    assert router.sync.chat("big", ASK).backend == "b-big"
    router.close()


async def test_nobody_waits_for_a_window_in_which_the_arm_has_money(make):
    budget = Budget(usd=0.0, per="minute", tag=NONE.tag)
    router = make(split(), budgets=[budget])
    async with router:
        reply = await router.chat("big", ASK, timeout=600)
    assert reply.backend == "b-big"


async def test_the_control_s_own_options_hold_then_and_other_experiments_go_on(make):
    arms = {"control": {"max_tokens": 7}, "small": {"model": "small", "max_tokens": 9}}
    warm = Experiment(
        name="warm",
        arms={"cold": {"temperature": 0.0}, "hot": {"temperature": 1.0}},
        weights={"hot": 1},
    )
    router = make(split(arms=arms), warm, budgets=[NONE])
    async with router:
        with router.acquire("big", ASK) as lease:
            params = lease.params
            lease.settle(usage={"prompt_tokens": 3, "completion_tokens": 2})
        reply = await router.chat("big", ASK, max_tokens=3)
    assert params == {"max_tokens": 7, "temperature": 1.0}
    assert reply.experiments == {"warm": "hot"}
    assert arms_of(router)["small"] == (0, 2)
    assert arms_of(router, "warm")["hot"] == (2, 0)


async def test_costs_of_what_was_turned_away_are_nobodys(make, tmp_path):
    router = make(split(), budgets=[NONE], ledger=tmp_path / "costs.db")
    async with router:
        await router.chat("big", ASK, tags=["team=a"])
        rows = router.costs(by="tag:experiment.size").rows()
        assert all(row["experiment.size"] != "small" for row in rows)
        assert router.costs(by="tag:team").rows()[0]["team"] == "a"


async def test_who_is_turned_away_is_known_after_a_restart(make, tmp_path):
    both = {"weights": {"control": 1, "small": 1}}
    for calls in (8, 0):
        router = make(split(**both), budgets=[NONE], ledger=tmp_path / "costs.db")
        async with router:
            for _ in range(calls):
                await router.chat("big", ASK)
            counted, away = arms_of(router)["control"][0], arms_of(router)["small"][1]
    assert counted + away == 8
    assert away > 0


@pytest.mark.parametrize(
    "budget",
    [
        Budget(usd=0.0, tag="experiment.size=control"),
        Budget(usd=0.0, group="big"),
    ],
)
async def test_the_budget_of_the_control_bounds_its_calls(make, budget):
    router = make(split(weights={"control": 1}), budgets=[budget, NONE])
    async with router:
        with pytest.raises(BudgetExceededError):
            await router.chat("big", ASK)
    assert arms_of(router) == {"control": (1, 0), "small": (0, 0)}


async def test_parts_of_one_embedding_call_stay_in_one_arm(make):
    router = make(split(), budgets=[NONE])
    async with router:
        with pytest.raises(BudgetExceededError):
            await router.embed("big", [f"text {i}" for i in range(3000)])

"""LiteLLM's allowed_fails_policy: how many failures of which class open a breaker."""

from __future__ import annotations

from typing import Any

import pytest

from llmbalance import Breaker, Router
from llmbalance._configfile._load import Plan
from llmbalance._figures import OUTCOME
from llmbalance._litellm._plan import load_litellm

FAILED, LATE = OUTCOME["failed"], OUTCOME["timed_out"]


def config(**given: Any) -> dict[str, Any]:
    """One row; ``info`` and ``params`` are its own, the rest router_settings."""
    row = {
        "model_name": "g",
        "litellm_params": {"model": "ollama/x", **given.pop("params", {})},
        "model_info": given.pop("info", {}),
    }
    return {"model_list": [row], "router_settings": given}


def policy(**fails: int) -> dict[str, int]:
    return {f"{name}AllowedFails": n for name, n in fails.items()}


def told(plan: Plan, kind: str = "fault") -> dict[str, str]:
    return {
        note.field.rpartition(".")[2]: note.message
        for note in plan.notes
        if note.kind == kind and "allowed_fails_policy" in note.field
    }


@pytest.mark.parametrize(
    ("said", "breaker"),
    [
        (policy(InternalServerError=2), Breaker(in_a_row=3)),
        (policy(TimeoutError=1), Breaker(timeouts_in_a_row=2)),
        (policy(TimeoutError=0), Breaker(timeouts_in_a_row=1)),
        (
            policy(InternalServerError=20, TimeoutError=30),
            Breaker(in_a_row=21, timeouts_in_a_row=31, min_calls=31),
        ),
        (
            policy(InternalServerError=10**12, TimeoutError=10**12),
            Breaker(in_a_row=32001, timeouts_in_a_row=32001, min_calls=32001),
        ),
        ({}, None),
    ],
)
def test_classes_of_failures_become_rules_of_the_breaker(
    said: dict[str, int], breaker: Breaker | None
) -> None:
    plan = load_litellm(config(allowed_fails_policy=said))
    assert plan.options["breaker"] == breaker
    assert told(plan) == told(plan, "changed") == {}


def test_allowed_fails_hold_for_classes_that_the_policy_leaves_out() -> None:
    late = policy(TimeoutError=1)
    plan = load_litellm(config(allowed_fails=3, allowed_fails_policy=late))
    assert plan.options["breaker"] == Breaker(in_a_row=4, timeouts_in_a_row=2)


def test_a_row_s_policy_is_laid_over_the_router_s() -> None:
    info = {"allowed_fails_policy": policy(TimeoutError=0), "cooldown_time": 7}
    plan = load_litellm(config(allowed_fails=2, info=info))
    (backend,) = plan.backends
    assert backend.breaker == Breaker(
        in_a_row=3, timeouts_in_a_row=1, cooldown=7.0, cooldown_max=7.0
    )
    plan = load_litellm(config(info={"allowed_fails": 8}))
    assert plan.backends[0].breaker == Breaker(in_a_row=9)


def test_what_is_no_matter_of_counting_is_told() -> None:
    said = policy(RateLimitError=5, AuthenticationError=1, BadRequestError=9)
    plan = load_litellm(config(allowed_fails_policy=said))
    assert plan.options["breaker"] is None
    changed = told(plan, "changed")
    assert "429" in changed["RateLimitErrorAllowedFails"]
    assert "at once" in changed["AuthenticationErrorAllowedFails"]
    assert "never counted" in changed["BadRequestErrorAllowedFails"]


def test_errors_of_servers_are_one_class_and_the_least_number_holds() -> None:
    said = policy(InternalServerError=5, ServiceUnavailableError=2, BadGatewayError=2)
    plan = load_litellm(config(allowed_fails_policy=said))
    assert plan.options["breaker"] == Breaker(in_a_row=3)
    assert told(plan, "changed") == {
        "InternalServerErrorAllowedFails": "counts as the other errors of a server: 2"
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"TimeoutErrorAllowedFail": 1}, "did you mean 'TimeoutErrorAllowedFails'?"),
        ({"TimeoutErrorAllowedFails": -1}, "no whole number"),
        ({"TimeoutErrorAllowedFails": "2"}, "no whole number"),
        ("TimeoutError", "give a mapping"),
    ],
)
def test_a_policy_that_makes_no_sense_is_told(said: Any, why: str) -> None:
    for given in (
        {"allowed_fails_policy": said},
        {"info": {"allowed_fails_policy": said}},
    ):
        plan = load_litellm(config(**given))
        assert plan.options["breaker"] is None
        assert plan.backends[0].breaker is None
        assert any(why in message for message in told(plan).values())


@pytest.mark.parametrize(("outcome", "bears"), [(LATE, 1), (FAILED, 4)])
def test_time_outs_open_a_breaker_sooner_than_other_failures(
    outcome: int, bears: int
) -> None:
    said = policy(InternalServerError=4, TimeoutError=1)
    router = Router.from_litellm(config(allowed_fails_policy=said, cooldown_time=60))
    pool, now = router._fleet.pool, 100.0
    for _ in range(bears):
        pool.pick(0, "hi", now=now).settle(outcome, now=now)
        assert pool.backend(0, now)["breaker"]["state"] == "closed"
    pool.pick(0, "hi", now=now).settle(outcome, now=now)
    assert pool.backend(0, now)["breaker"]["state"] == "open"


def test_a_time_out_counts_the_failures_before_it() -> None:
    said = policy(TimeoutError=2)
    router = Router.from_litellm(config(allowed_fails_policy=said, cooldown_time=60))
    pool, now = router._fleet.pool, 100.0
    for outcome in (FAILED, FAILED, LATE):
        assert pool.backend(0, now)["breaker"]["state"] == "closed"
        pool.pick(0, "hi", now=now).settle(outcome, now=now)
    assert pool.backend(0, now)["breaker"]["state"] == "open"

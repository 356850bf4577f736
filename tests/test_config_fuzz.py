"""Whatever stands in a file, the answer is a plan or its faults, never a crash."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbalance import ConfigFileError, Router
from llmbalance._configfile._check import check_config
from llmbalance._litellm._plan import load_litellm

EXAMPLE = tomllib.loads(
    (Path(__file__).parents[1] / "examples" / "llmbalance.toml").read_text("utf-8")
)
LITELLM: dict[str, Any] = {
    "model_list": [
        {
            "model_name": "g",
            "rpm": 9,
            "litellm_params": {
                "model": "openai/gpt-4o",
                "api_base": "http://127.0.0.1:9/v1",
                "api_key": "k",
                "tpm": 1000,
                "weight": 2,
                "order": 1,
                "timeout": 3,
                "stream_timeout": 2,
                "cooldown_time": 9,
                "allowed_fails": 2,
                "tags": ["a"],
                "max_budget": 2,
                "budget_duration": "1d",
                "organization": ["x", "y"],
                "input_cost_per_token": 1e-6,
                "max_parallel_requests": 3,
                "num_retries": 2,
                "silent_model": "h",
                "temperature": 0.5,
            },
            "model_info": {"id": "d", "mode": "chat", "max_input_tokens": 10},
        },
        {"model_name": "h", "litellm_params": {"model": "ollama/x"}},
    ],
    "router_settings": {
        "routing_strategy": "least-busy",
        "fallbacks": [{"g": ["h"]}],
        "default_fallbacks": ["h"],
        "context_window_fallbacks": [{"g": ["h"]}],
        "model_group_alias": {"x": "g", "y": {"model": "h", "hidden": True}},
        "timeout": 9,
        "num_retries": 2,
        "allowed_fails": 3,
        "provider_budget_config": {"openai": {"budget_limit": 1, "time_period": "1d"}},
        "default_litellm_params": {"tpm": 3},
        "retry_policy": {"TimeoutErrorRetries": 2, "BadRequestErrorRetries": 1},
        "model_group_retry_policy": {"g": {"DefaultRetries": 1}},
        "enable_tag_filtering": True,
        "tag_filtering_match_any": True,
        "default_priority": 2,
        "optional_pre_call_checks": ["prompt_caching"],
        "content_policy_fallbacks": [{"*": ["h"]}],
    },
    "litellm_settings": {"request_timeout": 3, "max_budget": 3, "drop_params": True},
    "environment_variables": {"A": "b"},
    "credential_list": [{"credential_name": "c", "credential_values": {}}],
    "general_settings": {"master_key": "os.environ/NOT_THERE"},
}
WORDS = st.sampled_from(
    ["", "a", "*", "env:NOT_THERE", "os.environ/NOT_THERE", "g", "1d", "openai/", "/x"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | WORDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    result = copy.deepcopy(data)
    inner = result
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return result


@pytest.fixture(scope="module", autouse=True)
def keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "k")
        patch.setenv("ANTHROPIC_API_KEY", "k")
        yield


def test_the_unchanged_configurations_are_good() -> None:
    assert check_config(EXAMPLE).ok
    assert check_config(LITELLM).ok


@settings(max_examples=400)
@given(st.sampled_from(list(places(EXAMPLE))), VALUES)
def test_a_changed_value_makes_a_plan_or_a_list_of_faults(
    path: tuple[Any, ...], value: Any
) -> None:
    report = check_config(changed(EXAMPLE, path, value))
    assert report.ok or all(error.message for error in report.errors)


@settings(max_examples=400)
@given(st.sampled_from(list(places(LITELLM))), VALUES)
def test_a_changed_litellm_value_makes_a_router_or_a_list_of_faults(
    path: tuple[Any, ...], value: Any
) -> None:
    data = changed(LITELLM, path, value)
    try:
        plan = load_litellm(data)
        plan.build(Router)
    except ConfigFileError as error:
        assert error.errors


# -- a running router --------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2, 7, 0.5, 100, 5000])


def without(data: Any, path: tuple[Any, ...]) -> Any:
    result = copy.deepcopy(data)
    inner = result
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return result


def state(router: Router) -> tuple[Any, ...]:
    """What a reload that is refused must leave as it was."""
    fleet = router._fleet
    pool, now = fleet.pool, 1e6
    return (
        [pool.backend(i, now) for i in range(len(fleet.targets))],
        [pool.budget(meter.index, now) for meter in fleet.meters],
        list(fleet.backends),
        dict(fleet.groups),
        dict(fleet.fallbacks),
        dict(fleet.group_terms),
        dict(fleet.tags),
        [m.budget for m in fleet.meters],
        router._intake.timeout,
    )


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(places(EXAMPLE))), NUMBERS | VALUES | st.just(...)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_reload_takes_everything_or_nothing_and_loses_no_lease(
    steps: list[tuple[tuple[Any, ...], Any]],
) -> None:
    router = Router.from_file(EXAMPLE)
    fleet = router._fleet
    held = [
        fleet.pool.pick(fleet.group(name), "hello", 10)
        for name in ("frontier", "economy", "own")
    ]
    for path, value in steps:
        data = without(EXAMPLE, path) if value is ... else changed(EXAMPLE, path, value)
        before = state(router)
        try:
            router.reload(data)
        except ConfigFileError as error:
            assert error.errors
            assert state(router) == before
        assert fleet.pool.usage()["in_flight"] == len(held)
    router.reload(EXAMPLE)
    for lease in held:
        assert lease.live
        lease.settle(0, (5, 0, 0, 0, 0, 0, 5), 0.1, 0.2)
    assert fleet.pool.usage()["in_flight"] == 0
    for meter in fleet.meters:
        assert fleet.pool.budget(meter.index)["reserved"] == 0
    wanted = Router.from_file(EXAMPLE)._fleet
    assert set(fleet.groups) == set(wanted.groups)
    assert [m.budget for m in fleet.meters] == [m.budget for m in wanted.meters]
    for name in wanted.groups:
        assert members(fleet, name) == members(wanted, name)


def members(fleet: Any, name: str) -> list[tuple[Any, ...]]:
    """What stands behind a name: backends, their weights and their limits."""
    found = []
    for quote in fleet.pool.explain(fleet.group(name), "hello"):
        view = fleet.pool.backend(quote["backend"])
        limits = sorted(
            (line["unit"], line["limit"], line["window"], line["burst"])
            for line in view["limits"]
            if line["limit"]
        )
        label = fleet.backends[quote["backend"]].label
        found.append((label, view["weight"], limits))
    return found

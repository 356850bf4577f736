"""Wildcards and tuned endpoints as files say them, this project's and LiteLLM's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmbalance import ConfigFileError, Router, UnknownModelError, check_config
from llmbalance._litellm._plan import load_litellm

ASK = [{"role": "user", "content": "What is the capital of France?"}]

FILE = """
[router]
max_models = 6
aliases = { mini = "openai/gpt-4o-mini", "gpt/*" = "openai/gpt-*" }
default_task = "fast"

[defaults]
api_key = "test-key"
base_url = "ADDRESS"

[[backend]]
model = "openai/*"
limits = { rpm = 600 }

[[backend]]
model = "openai/gpt-4o"
groups = ["frontier"]
tuned = { support = "ft:gpt-4o:acme::x1" }

[group.frontier]
fallbacks = ["openai/o3"]

[group."openai/*"]
strategy = "cost"
fallbacks = ["frontier"]

[task.fast]
group = "openai/gpt-4.1-nano"

[[budget]]
usd = 5
group = "openai/*"

[[budget]]
usd = 5
backend = "openai/o1"
"""


@pytest.fixture
def server(llm_provider: Any) -> Any:
    """A provider that answers for every model."""
    return llm_provider("openai", name="any")


def asked_for(server: Any) -> list[str]:
    return [json.loads(seen.body)["model"] for seen in server.requests]


def test_a_file_may_speak_of_what_wildcards_serve(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "llmbalance.toml"
    path.write_text(FILE.replace("ADDRESS", server.base_url))
    assert check_config(path).ok
    router = Router.from_file(path)
    for name in ("mini", "gpt/5", "frontier"):
        router.sync.chat(name, ASK)
    router.sync.chat("frontier", ASK, tuned="support")
    router.sync.chat(messages=ASK, task="fast")
    assert asked_for(server) == [
        *("gpt-4o-mini", "gpt-5", "gpt-4o", "ft:gpt-4o:acme::x1", "gpt-4.1-nano")
    ]
    with router.acquire("openai/o3-mini", ASK) as lease:
        assert lease.decision.to_dict()["strategy"] == "cost"
        lease.release()
    with pytest.raises(UnknownModelError, match="max_models"):
        for i in range(9):
            router.explain(f"openai/m{i}", ASK)
    router.reload(path)
    assert router.sync.chat("gpt/5", ASK).backend == "openai/gpt-5"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"openai/o3"]', '"nobody/o3"]', "group.frontier.fallbacks[0]"),
        ('mini = "openai/gpt-4o-mini"', 'mini = "who"', "router.aliases.mini"),
        ('model = "openai/*"', 'model = "openai/*"\ngroups = ["all"]', "backend[0]"),
        ('backend = "openai/o1"', 'backend = "who"', "budget[1].backend"),
        ('[group."openai/*"]', '[group."azure/*"]', "group.azure/*"),
        ('support = "ft', 'support = "*ft', "backend[1]"),
        (
            'fallbacks = ["openai/o3"]',
            'backends = ["openai/*"]',
            "backend[0]",
        ),
    ],
)
def test_what_a_file_says_wrong_of_them_is_told_with_its_line(old, new, field):
    text = FILE.replace("ADDRESS", "http://127.0.0.1:9/v1").replace(old, new, 1)
    import tomllib

    with pytest.raises(ConfigFileError) as caught:
        Router.from_file(tomllib.loads(text))
    assert any(fault.field.startswith(field) for fault in caught.value.errors), str(
        caught.value
    )


# -- LiteLLM ----------------------------------------------------------------------


def row(group: str, model: str, server: Any = None, **more: Any) -> dict[str, Any]:
    params = {"model": model, "api_key": "test-key", **more}
    if server is not None:
        params["api_base"] = server.base_url
    return {"model_name": group, "litellm_params": params}


def litellm(*rows: dict[str, Any], **settings: Any) -> Router:
    return Router.from_litellm({"model_list": list(rows), "router_settings": settings})


def test_rows_with_wildcards_serve_what_falls_under_them(server: Any) -> None:
    router = litellm(
        row("*", "custom_openai/*", server),
        row("anthropic/*", "custom_openai/anthropic/*", server),
        row("claude-*", "custom_openai/us.claude-*", server),
        row("fo::*:static::*", "custom_openai/fo::*:static::*", server),
        row("gpt-*", "custom_openai/gpt-one", server),
    )
    for name in (
        *("llama3", "anthropic/x", "claude-opus", "fo::hi::static::hello"),
        *("gpt-99", "gpt-1"),
    ):
        router.completion(name, ASK)
    assert asked_for(server) == [
        *("llama3", "anthropic/x", "us.claude-opus", "fo::hi::static::hello"),
        *("gpt-one", "gpt-one"),
    ]
    assert "claude-opus" in router.backends  # by LiteLLM's name of the group
    assert not [note for note in router.notes if note.kind == "fault"]


def test_exact_rows_win_and_rows_of_one_wildcard_are_balanced(server: Any) -> None:
    router = litellm(
        row("x/*", "custom_openai/*", server),
        row("x/*", "custom_openai/*", server),
        row("x/one", "custom_openai/two", server),
        routing_strategy="simple-shuffle",
    )
    router.completion("x/one", ASK)
    assert asked_for(server) == ["two"]
    found = {router.completion("x/other", ASK).backend for _ in range(40)}
    assert found == {"x/other#1", "x/other#2"}


def test_aliases_and_fallbacks_of_litellm_reach_wildcards(
    llm_provider: Any, server: Any
) -> None:
    down = llm_provider("openai", name="down", error_rate=1.0)
    router = litellm(
        row("a/*", "custom_openai/*", server),
        row("b", "custom_openai/b", down),
        row("c/*", "custom_openai/*", down),
        model_group_alias={"mine": "a/m", "again": {"model": "b", "hidden": True}},
        fallbacks=[{"b": ["a/n"]}, {"c/*": ["mine"]}],
    )
    assert router.completion("mine", ASK).backend == "a/m"
    assert router.completion("b", ASK).backend == "a/n"
    assert router.completion("again", ASK).backend == "a/n"
    assert router.completion("c/z", ASK).backend == "a/m"


def test_disabled_cooldowns_hold_for_what_comes_later(llm_provider: Any) -> None:
    down = llm_provider("openai", name="down", error_rate=1.0)
    router = litellm(row("a/*", "custom_openai/*", down), disable_cooldowns=True)
    router.explain("a/m", ASK)
    index = router._fleet.index("a/m")
    assert router._fleet.pool.backend(index)["breaker"]["order"] == "closed"


def test_provider_budgets_hold_for_what_comes_later(server: Any) -> None:
    budget = {"openai": {"budget_limit": 1e-12, "time_period": "1d"}}
    router = litellm(
        row("gpt-4o-mini", "openai/gpt-4o-mini", None),
        row("a/*", "openai/*", None, organization="o"),
        provider_budget_config=budget,
    )
    router.explain("a/gpt-4o", ASK)
    lease = router._fleet.pool.pick(router._fleet.group("a/gpt-4o"), "hello")
    assert lease.backend < 0
    assert lease.decision["refused"] == {"budget": 1}


def test_a_star_that_names_no_provider_is_told() -> None:
    plan = load_litellm({"model_list": [row("*", "*"), row("a", "openai/gpt-4o")]})
    assert [b.model for b in plan.backends] == ["openai/gpt-4o"]
    assert any("a row for each" in note.message for note in plan.notes)

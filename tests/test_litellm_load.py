"""LiteLLM configurations load as they are; what cannot be honoured is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Breaker,
    Budget,
    ConfigFileError,
    Limits,
    Price,
    Router,
    Timeouts,
)
from llmbalance._configfile._load import Plan
from llmbalance._litellm._plan import load_litellm

KEYED = ("OPENAI", "ANTHROPIC", "GEMINI", "GROQ", "AZURE", "OPENROUTER", "MISTRAL")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYED:
        monkeypatch.setenv(f"{name}_API_KEY", "k")
    for name in ("AZURE_API_BASE", "LITELLM_ENVIRONMENT", "NOT_THERE"):
        monkeypatch.delenv(name, raising=False)


def row(group: str, model: str = "openai/gpt-4o", **params: Any) -> dict[str, Any]:
    extra = {
        key: params.pop(key) for key in ("model_info", "rpm_beside") if key in params
    }
    made = {"model_name": group, "litellm_params": {"model": model, **params}}
    if "rpm_beside" in extra:
        made["rpm"] = extra.pop("rpm_beside")
    return made | extra


def plan_of(*rows: dict[str, Any], **sections: Any) -> Plan:
    return load_litellm({"model_list": list(rows), **sections})


def settings(**router: Any) -> dict[str, Any]:
    return {"router_settings": router}


def told(plan: Plan, kind: str = "fault") -> dict[str, str]:
    return {n.field: n.message for n in plan.notes if n.kind == kind}


def only(plan: Plan) -> Backend:
    (backend,) = plan.backends
    return backend


# -- rows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "model", "base_url"),
    [
        ({"model": "openai/gpt-4o"}, "openai/gpt-4o", None),
        ({"model": "gpt-4o"}, "openai/gpt-4o", None),
        ({"model": "gpt-99-new"}, "openai/gpt-99-new", None),
        ({"model": "claude-sonnet-4-5"}, "anthropic/claude-sonnet-4-5", None),
        ({"model": "gemini/gemini-2.5-pro"}, "google/gemini-2.5-pro", None),
        ({"model": "groq/llama-3.1-8b-instant"}, "groq/llama-3.1-8b-instant", None),
        (
            {"model": "x", "custom_llm_provider": "groq"},
            "groq/x",
            None,
        ),
        (
            {"model": "openai/any", "api_base": "http://127.0.0.1:9/v1"},
            "openai_compatible/any",
            "http://127.0.0.1:9/v1",
        ),
        (
            {"model": "openai/a/b", "api_base": "https://openrouter.ai/api/v1"},
            "openrouter/a/b",
            "https://openrouter.ai/api/v1",
        ),
        (
            {"model": "hosted_vllm/qwen", "api_base": "http://127.0.0.1:9/v1"},
            "vllm/qwen",
            "http://127.0.0.1:9/v1",
        ),
        (
            {"model": "ollama_chat/llama3", "api_base": "http://127.0.0.1:9"},
            "ollama/llama3",
            "http://127.0.0.1:9",
        ),
        (
            {"model": "cerebras/llama", "api_key": "k"},
            "openai_compatible/llama",
            "https://api.cerebras.ai/v1",
        ),
        (
            {
                "model": "azure/prod",
                "api_base": "https://x.openai.azure.com",
                "api_version": "2024-10-21",
            },
            "azure/prod",
            "https://x.openai.azure.com",
        ),
        (
            {"model": "mistralai/m", "api_base": "https://openrouter.ai/api/v1"},
            "openrouter/mistralai/m",
            "https://openrouter.ai/api/v1",
        ),
        (
            {"model": "bedrock/converse/a.b", "api_key": "k", "aws_region_name": "x"},
            "bedrock/a.b",
            None,
        ),
    ],
)
def test_models_find_their_provider(
    params: dict[str, Any], model: str, base_url: str | None
) -> None:
    backend = only(plan_of({"model_name": "g", "litellm_params": params}))
    assert (backend.model, backend.base_url) == (model, base_url)
    assert backend.groups == ("g",)
    assert backend.name == "g"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row("x", "sagemaker/jumpstart"), "no such provider"),
        (row("x", "zhipu/glm-4-flash"), "no such provider"),
        (row("x", "m", custom_llm_provider="sagemaker"), "no dialect for provider"),
        (row("x", "who-knows"), "provider/model"),
        (row("x", "openai/*"), "as many"),
        (row("*", "*"), "a row for each"),
        (row("*/*", "openai/*"), "as many"),
        (row("x", api_key="os.environ/NOT_THERE"), "NOT_THERE is not set"),
        (row("x", api_base="os.environ/NOT_THERE"), "NOT_THERE is not set"),
        (row("x", model_info={"mode": "image_generation"}), "image_generation"),
        (row("x", model_info={"blocked": True}), "blocked"),
        (row("x", rpm="many"), "rpm"),
        (row("x", litellm_credential_name="no"), "credential_list"),
        ({"model_name": "x"}, "litellm_params"),
        ({"litellm_params": {"model": "openai/x"}}, "model_name"),
    ],
)
def test_a_row_that_cannot_be_served_is_dropped_and_told(
    bad: dict[str, Any], why: str
) -> None:
    plan = plan_of(bad, row("good"))
    assert [b.name for b in plan.backends] == ["good"]
    dropped = [
        m for field, m in told(plan).items() if field.startswith("model_list[0]")
    ]
    assert any(m.startswith("dropped:") and why in m for m in dropped), dropped
    with pytest.raises(ConfigFileError, match="dropped"):
        load_litellm({"model_list": [bad, row("good")]}, strict=True)


def test_when_no_row_is_left_that_is_an_error() -> None:
    with pytest.raises(ConfigFileError, match="no such provider"):
        plan_of(row("x", "sagemaker/y"))
    with pytest.raises(ConfigFileError, match="has no rows"):
        load_litellm({"model_list": []})


def test_rows_of_one_name_are_one_group_with_names_of_their_own() -> None:
    plan = plan_of(
        row("g"),
        row("g", "anthropic/claude-sonnet-4-5"),
        row("g", model_info={"id": 7}),
    )
    assert [b.name for b in plan.backends] == ["g#1", "g#2", "7"]
    assert {b.groups for b in plan.backends} == {("g",)}


def test_an_id_that_is_another_groups_name_does_not_join_it() -> None:
    plan = plan_of(row("a", model_info={"id": "b"}), row("b"))
    assert [b.name for b in plan.backends] == ["a", "b"]


def test_keys_stay_in_the_environment() -> None:
    plan = plan_of(row("g", api_key="os.environ/GROQ_API_KEY"))
    assert only(plan).api_key == "env:GROQ_API_KEY"


def test_variables_of_the_file_hold_for_the_file_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    plan = plan_of(
        row("g", api_key="os.environ/OWN_KEY", api_base="os.environ/OWN_BASE"),
        environment_variables={"OWN_KEY": "s3cret", "OWN_BASE": "http://127.0.0.1:9"},
    )
    assert only(plan).api_key == "s3cret"
    assert only(plan).base_url == "http://127.0.0.1:9"
    assert "OWN_KEY" not in os.environ
    assert "s3cret" not in repr(plan)


def test_shell_style_references_are_read_and_told() -> None:
    plan = plan_of(row("g", api_key="${GROQ_API_KEY}"))
    assert only(plan).api_key == "env:GROQ_API_KEY"
    assert "os.environ/" in str(told(plan, "changed"))


def test_credentials_are_taken_from_their_list() -> None:
    plan = plan_of(
        row("g", litellm_credential_name="mine"),
        credential_list=[
            {
                "credential_name": "mine",
                "credential_values": {
                    "api_key": "os.environ/GROQ_API_KEY",
                    "api_base": "http://127.0.0.1:9",
                },
            }
        ],
    )
    assert only(plan).api_key == "env:GROQ_API_KEY"
    assert only(plan).base_url == "http://127.0.0.1:9"


def test_an_organization_list_makes_one_backend_each() -> None:
    plan = plan_of(row("g", organization=["org-a", "org-b"]))
    assert [b.options for b in plan.backends] == [
        {"organization": "org-a"},
        {"organization": "org-b"},
    ]
    assert [b.name for b in plan.backends] == ["g#1", "g#2"]


def test_supported_environments_exclude(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ENVIRONMENT", "production")
    staging = row("a", model_info={"supported_environments": ["staging"]})
    both = row("b", model_info={"supported_environments": ["staging", "production"]})
    assert [b.name for b in plan_of(staging, both).backends] == ["b"]


# -- limits, shares, orders ------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (row("g"), None),
        (row("g", rpm=6, tpm=1000), Limits(rpm=6, tpm=1000, concurrency=6)),
        (row("g", rpm_beside=7), Limits(rpm=7, concurrency=7)),
        (row("g", model_info={"tpm": 9}), Limits(tpm=9, concurrency=1)),
        (row("g", tpm=10_500), Limits(tpm=10_500, concurrency=63)),
        (row("g", rpm="6"), Limits(rpm=6, concurrency=6)),
        (row("g", max_parallel_requests=3), Limits(concurrency=3)),
        (row("g", rpm=6, max_parallel_requests=3), Limits(rpm=6, concurrency=3)),
        (row("g", rpm=0), None),
    ],
)
def test_rates_and_calls_in_flight_become_limits(
    given: dict[str, Any], limits: Limits | None
) -> None:
    assert only(plan_of(given)).limits == limits


def test_the_default_of_calls_in_flight_holds_where_no_rate_bounds_them() -> None:
    plan = plan_of(
        row("a"),
        row("b", rpm=5),
        row("c", max_parallel_requests=2),
        **settings(default_max_parallel_requests=9),
    )
    assert [b.limits for b in plan.backends] == [
        Limits(concurrency=9),
        Limits(rpm=5, concurrency=5),
        Limits(concurrency=2),
    ]


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        ([{"weight": 9}, {"weight": 1}], [9, 1]),
        ([{}, {"weight": 9}], [1, 9]),
        ([{"rpm": 900}, {"rpm": 10}], [1, 10 / 900]),
        ([{"tpm": 500}, {"tpm": 1000}], [0.5, 1]),
        ([{"rpm": 900}, {}], [1, 1]),
        ([{"weight": 0}, {"weight": 0}], [1, 1]),
        ([{"weight": 0}, {"weight": 2}], [0, 2]),
    ],
)
def test_shares_come_from_weights_wherever_they_stand_then_from_rates(
    rows: list[dict[str, Any]], shares: list[float]
) -> None:
    plan = plan_of(*(row("g", **params) for params in rows))
    assert [b.weight for b in plan.backends] == shares


def test_rates_are_kept_exactly_and_that_is_told() -> None:
    assert "exactly" in told(plan_of(row("g", rpm=1)), "changed")["model_list"]


def test_orders_are_ranked_and_rows_without_one_come_last() -> None:
    plan = plan_of(row("g", order=500), row("g"), row("g", order=2), row("h"))
    assert [b.order for b in plan.backends] == [1, 2, 0, 0]


# -- time-outs, cooldowns --------------------------------------------------------


def test_a_time_out_holds_for_each_phase_and_the_call_has_time_for_its_retries() -> (
    None
):
    plan = plan_of(
        row("a"),
        row("b", timeout=2),
        row("c", stream_timeout=1),
        **settings(timeout=10, num_retries=3),
    )
    each = Timeouts(connect=5.0, first_byte=10.0, first_token=10.0, idle=10.0)
    assert plan.options["timeouts"] == each
    assert plan.options["timeout"] == 40
    assert [b.timeouts for b in plan.backends] == [
        None,
        Timeouts(connect=2.0, first_byte=2.0, first_token=2.0, idle=2.0),
        Timeouts(connect=5.0, first_byte=10.0, first_token=1.0, idle=10.0),
    ]


def test_without_a_time_out_ours_hold() -> None:
    options = plan_of(row("a")).options
    assert options["timeouts"] is None
    assert "timeout" not in options


@pytest.mark.parametrize(
    ("said", "breaker"),
    [
        ({}, None),
        ({"allowed_fails": 3}, Breaker(in_a_row=4)),
        ({"allowed_fails": 0}, Breaker(in_a_row=1)),
        ({"allowed_fails": 100}, Breaker(in_a_row=101, min_calls=101)),
        ({"cooldown_time": 60}, Breaker(cooldown=60.0, cooldown_max=60.0)),
        (
            {"allowed_fails": 1, "cooldown_time": 0.5},
            Breaker(in_a_row=2, cooldown=0.5, cooldown_max=0.5),
        ),
    ],
)
def test_cooldowns_become_breakers(
    said: dict[str, Any], breaker: Breaker | None
) -> None:
    assert plan_of(row("g"), **settings(**said)).options["breaker"] == breaker
    assert only(plan_of(row("g", **said))).breaker == breaker


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ([1, 9], [1.0, 9.0]),
        ([9e15, 3e15, 0], [1.0, pytest.approx(1 / 3), 0.0]),
        ([1e-9, 1e-9], [1.0, 1.0]),
        ([2e6, 1e-3], [1.0, 1e-6]),
    ],
)
def test_weights_of_any_size_are_shares(given: list[float], weights: list[Any]) -> None:
    plan = plan_of(*(row("g", weight=weight) for weight in given))
    assert [backend.weight for backend in plan.backends] == weights
    assert told(plan) == {}


def test_rates_that_are_far_apart_are_shares() -> None:
    plan = plan_of(row("g", rpm=1), row("g", rpm=10**8))
    assert [backend.weight for backend in plan.backends] == [1e-6, 1.0]


@pytest.mark.parametrize(("said", "cooldown"), [(1e-12, 1e-3), (8e8, 3e8)])
def test_cooldowns_of_any_length_are_taken(said: float, cooldown: float) -> None:
    breaker = plan_of(row("g"), **settings(cooldown_time=said)).options["breaker"]
    assert (breaker.cooldown, breaker.cooldown_max) == (cooldown, cooldown)


def test_a_row_s_cooldown_is_laid_over_the_router_s() -> None:
    plan = plan_of(
        row("g", cooldown_time=9), **settings(allowed_fails=2, cooldown_time=60)
    )
    assert only(plan).breaker == Breaker(in_a_row=3, cooldown=9.0, cooldown_max=9.0)


def test_disabled_cooldowns_keep_every_breaker_closed() -> None:
    router = Router.from_litellm(
        {"model_list": [row("g")], **settings(disable_cooldowns=True)}
    )
    fleet = router._fleet
    for _ in range(50):
        lease = fleet.pool.pick(fleet.group("g"), "hello")
        assert lease.backend == 0
        lease.settle(2)  # failed
    assert fleet.pool.pick(fleet.group("g"), "hello").backend == 0


# -- prices ----------------------------------------------------------------------


def test_prices_of_a_row_are_its_own() -> None:
    plan = plan_of(
        row("a", input_cost_per_token=1e-6, output_cost_per_token="0.000002"),
        row("b", model_info={"input_cost_per_token": 0, "output_cost_per_token": 0}),
        row("c"),
    )
    first, second, third = (b.price for b in plan.backends)
    assert first is not None
    assert (first.input, first.output) == (1.0, 2.0)
    assert second is not None
    assert second.row().cost(input=1000, output=1000) == 0
    assert third is None


def test_the_base_model_prices_an_azure_deployment() -> None:
    base = {"api_base": "https://x.openai.azure.com", "api_version": "2024-10-21"}
    known = plan_of(row("g", "openai/gpt-4o"))
    info = Router.from_litellm({"model_list": [row("g")]})._fleet.rates.prices[0]
    plan = plan_of(
        row(
            "g",
            "azure/my-deployment",
            **base,
            model_info={"base_model": "azure/gpt-4o"},
        )
    )
    assert only(known).price is None
    assert only(plan).price == info
    assert only(plan).options["base_model"] == "gpt-4o"


def test_an_unknown_price_is_never_silently_free() -> None:
    some = plan_of(row("a"), row("b", "openai/own", api_base="http://127.0.0.1:9"))
    assert some.options["unknown_price"] == "dearest"
    assert "the dearest: b" in str(told(some, "changed"))
    none = plan_of(row("b", "openai/own", api_base="http://127.0.0.1:9"))
    assert none.options["unknown_price"] == Price(0, 0)
    assert "free: b" in str(told(none, "changed"))


def test_facts_of_model_info_are_taken() -> None:
    info = {
        "max_input_tokens": 1000,
        "max_output_tokens": 50,
        "supports_vision": False,
        "supports_function_calling": True,
    }
    backend = only(plan_of(row("g", model_info=info)))
    assert (backend.context, backend.max_output) == (1000, 50)
    assert backend.can is not None
    assert "tools" in backend.can
    assert "vision" not in backend.can


# -- settings --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (None, "weighted"),
        ("simple-shuffle", "weighted"),
        ("least-busy", "least_busy"),
        ("latency-based-routing", "latency"),
        ("usage-based-routing", "p2c"),
        ("usage-based-routing-v2", "p2c"),
        ("cost-based-routing", "cost"),
    ],
)
def test_strategies_have_their_counterparts(name: str | None, ours: str) -> None:
    plan = plan_of(row("g"), **settings(routing_strategy=name))
    assert plan.options["strategy"] == ours
    assert told(plan) == {}


def test_an_unknown_strategy_is_told() -> None:
    plan = plan_of(row("g"), **settings(routing_strategy="simple"))
    assert plan.options["strategy"] == "weighted"
    assert "'simple-shuffle'" in told(plan)["router_settings.routing_strategy"]


def test_litellm_settings_hold_where_router_settings_are_silent() -> None:
    shared = {
        "fallbacks": [{"a": ["b"]}],
        "request_timeout": 7,
        "allowed_fails": 1,
        "num_retries": 0,
    }
    plan = plan_of(row("a"), row("b"), litellm_settings=shared)
    assert plan.options["fallbacks"] == {"a": ["b"]}
    assert plan.options["timeout"] == 14
    assert plan.options["breaker"] == Breaker(in_a_row=2)
    assert {g.name: g.max_attempts for g in plan.options["groups"]} == {"a": 1, "b": 1}
    plan = plan_of(
        row("a"),
        row("b"),
        litellm_settings=shared,
        router_settings={"fallbacks": [{"b": ["a"]}], "timeout": 9},
    )
    assert plan.options["fallbacks"] == {"b": ["a"]}
    assert plan.options["timeout"] == 18


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [
        ("router_settings", "redis_host", "ignored"),
        ("router_settings", "enable_pre_call_checks", "changed"),
        ("router_settings", "retry_policy", "fault"),
        ("router_settings", "rooting_strategy", "fault"),
        ("litellm_settings", "success_callback", "ignored"),
        ("general_settings", "master_key", "ignored"),
    ],
)
def test_every_key_without_effect_is_told(section: str, key: str, kind: str) -> None:
    plan = plan_of(row("g"), **{section: {key: "x"}})
    assert f"{section}.{key}" in told(plan, kind)


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"tools": []}, "fault"),
        ({"silent_model": "x"}, "fault"),
        ({"max_retries": 3}, "changed"),
        ({"rmp": 3}, "fault"),
    ],
)
def test_every_key_of_a_row_without_effect_is_told(
    params: dict[str, Any], kind: str
) -> None:
    plan = plan_of(row("g", **params))
    assert any(
        field.endswith(f"{next(iter(params))} (g)") for field in told(plan, kind)
    )


def test_default_params_lie_below_every_row() -> None:
    plan = plan_of(
        row("a"), row("b", rpm=3), **settings(default_litellm_params={"rpm": 9})
    )
    assert [b.limits for b in plan.backends] == [
        Limits(rpm=9, concurrency=9),
        Limits(rpm=3, concurrency=3),
    ]


def test_dropping_parameters_can_be_forbidden() -> None:
    plan = plan_of(
        row("a"), row("b", drop_params=True), litellm_settings={"drop_params": False}
    )
    assert [b.options.get("unsupported") for b in plan.backends] == ["refuse", None]


# -- budgets ---------------------------------------------------------------------


def test_budgets_of_the_proxy_and_of_rows_are_kept() -> None:
    plan = plan_of(
        row("a", max_budget=2, budget_duration="1d"),
        litellm_settings={"max_budget": 9, "budget_duration": "1mo"},
    )
    assert plan.options["budgets"] == [
        Budget(usd=9.0, per="month"),
        Budget(usd=2.0, per="1d", backend="a"),
    ]


def test_a_provider_s_budget_counts_all_its_backends() -> None:
    config = {"openai": {"budget_limit": 1e-9, "time_period": "1d"}}
    router = Router.from_litellm(
        {
            "model_list": [row("g"), row("g"), row("h", "anthropic/claude-sonnet-4-5")],
            **settings(provider_budget_config=config),
        }
    )
    pool = router._fleet.pool
    refused = pool.pick(router._fleet.group("g"), "hello", 100)
    assert refused.backend == -1
    assert set(refused.decision["refused"]) == {"budget"}
    assert pool.pick(router._fleet.group("h"), "hello", 100).backend == 2


# -- files -----------------------------------------------------------------------


def test_included_files_add_rows_and_replace_settings(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "main.yaml").write_text(
        "include: [more.yaml, gone.yaml, main.yaml]\n"
        "credential_list: [{credential_name: x, credential_values: {}}]\n"
        "model_list:\n"
        "  - model_name: a\n    litellm_params: {model: openai/gpt-4o}\n"
        "router_settings: {routing_strategy: least-busy}\n"
    )
    (tmp_path / "more.yaml").write_text(
        "credential_list: [{credential_name: y, credential_values: {}}]\n"
        "model_list:\n"
        "  - model_name: b\n"
        "    litellm_params:\n"
        "      model: openai/gpt-4o\n"
        "      frobnicate: 1\n"
        "      litellm_credential_name: x\n"
        "router_settings: {routing_strategy: latency-based-routing}\n"
    )
    plan = load_litellm(tmp_path / "main.yaml")
    assert [b.name for b in plan.backends] == ["a", "b"]
    assert plan.options["strategy"] == "latency"
    places = {(Path(n.file).name, n.line) for n in plan.notes if n.kind == "fault"}
    assert places == {("main.yaml", 1), ("more.yaml", 6)}


def test_the_router_shows_the_notes_with_file_and_line(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list:\n"
        "  - model_name: a\n    litellm_params: {model: openai/gpt-4o}\n"
        "  - model_name: b\n    litellm_params: {model: sagemaker/x}\n"
        "general_settings:\n  master_key: sk-1\n"
    )
    router = Router.from_litellm(path)
    assert [(note.line, note.kind) for note in router.notes] == [
        (4, "fault"),
        (7, "ignored"),
    ]
    assert str(router.notes[0]).startswith(f"{path}:4: model_list[1] (b): dropped:")
    assert "sk-1" not in repr(router.notes)

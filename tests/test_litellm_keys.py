"""Every key that LiteLLM's Router and files know is honoured, or told with its place.

The names are those of LiteLLM 1.106: arguments of its Router, fields of the tables of
its configuration, and the settings that its library reads.
"""

from __future__ import annotations

from typing import Any

import pytest

from llmbalance import InvalidRequestError, Limits, Router
from llmbalance._configfile._load import Plan
from llmbalance._litellm._call import chat_options
from llmbalance._litellm._plan import load_litellm

ROUTER = """
assistants_config search_tools guardrail_list redis_url redis_host redis_port
redis_password redis_db cache_responses cache_kwargs caching_groups client_ttl
polling_interval default_priority num_retries max_fallbacks timeout stream_timeout
default_litellm_params default_max_parallel_requests set_verbose debug_level
default_fallbacks fallbacks context_window_fallbacks content_policy_fallbacks
model_group_alias enable_pre_call_checks enable_tag_filtering tag_filtering_match_any
tag_routing_prefix plugins retry_after retry_policy model_group_retry_policy
allowed_fails allowed_fails_policy cooldown_time disable_cooldowns routing_strategy
optional_pre_call_checks routing_strategy_args routing_groups provider_budget_config
alerting_config router_general_settings deployment_affinity_ttl_seconds
model_group_affinity_config ignore_invalid_deployments enable_health_check_routing
health_check_staleness_threshold health_check_ignore_transient_errors
background_health_check_model_groups enable_weighted_failover fallback_access_check
fallback_budget_check auto_router_capability_limit max_retries model_list
"""

# What is honoured without a word, and a value that asks for something.
HONOURED: dict[str, Any] = {
    "default_priority": 1,
    "num_retries": 1,
    "timeout": 5,
    "stream_timeout": 5,
    "default_litellm_params": {"temperature": 0.5},
    "default_max_parallel_requests": 7,
    "default_fallbacks": ["other"],
    "fallbacks": [{"g": ["other"]}],
    "context_window_fallbacks": [{"g": ["other"]}],
    "content_policy_fallbacks": [{"g": ["other"]}],
    "model_group_alias": {"nick": "g"},
    "enable_tag_filtering": True,
    "tag_filtering_match_any": False,
    "retry_policy": {"RateLimitErrorRetries": 1},
    "model_group_retry_policy": {"g": {"RateLimitErrorRetries": 1}},
    "allowed_fails": 2,
    "allowed_fails_policy": {"TimeoutErrorAllowedFails": 1},
    "cooldown_time": 9,
    "disable_cooldowns": True,
    "routing_strategy": "least-busy",
    "optional_pre_call_checks": ["prompt_caching"],
    "routing_groups": [
        {"group_name": "x", "models": ["g"], "routing_strategy": "least-busy"}
    ],
    "provider_budget_config": {"ollama": {"budget_limit": 1, "time_period": "1d"}},
}

ROWS = """
itpm otpm timeout_by_service_tier stream_timeout_by_service_tier tag_regex
provider_affinity_header use_chat_completions_api keepalive_seconds
allow_client_keepalive_override use_in_pass_through merge_reasoning_content_in_choices
azure_ad_token tenant_id client_id client_secret azure_scope azure_username
azure_password aws_web_identity_token aws_role_name aws_profile_name use_litellm_proxy
use_xai_oauth auto_router_config complexity_router_config adaptive_router_config
quality_router_config anthropic_federation_rule_id anthropic_identity_token
anthropic_issuer_url anthropic_keycloak_scope openai_identity_provider_id s3_bucket_name
gcs_bucket_name aws_batch_role_arn milvus_db_name valkey_host vector_store_id
litellm_trace_id default_api_key_tpm_limit default_api_key_rpm_limit retry_policy
configurable_clientside_auth_params max_retries vertex_credentials mock_response
"""
READ_FROM_ROWS = {"itpm", "otpm", "azure_ad_token"}

SHARED = """
num_retries_per_request max_fallbacks modify_params model_alias_map cost_discount_config
cost_margin_config max_end_user_budget priority_reservation
enable_anthropic_prompt_caching openai_system_messages_first custom_prompt_dict
route_all_chat_openai_to_responses ssl_verify ssl_certificate api_key api_base headers
anthropic_key vertex_project vertex_location max_tokens
"""


def row(group: str, **params: Any) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {"model": f"ollama/{group}", **params},
    }


def plan_of(*rows: dict[str, Any], **sections: Any) -> Plan:
    return load_litellm({"model_list": [*rows, row("other")], **sections})


def told(plan: Plan) -> dict[str, str]:
    return {note.field: f"{note.kind}: {note.message}" for note in plan.notes}


@pytest.mark.parametrize("key", ROUTER.split())
def test_every_argument_of_litellm_s_router_is_honoured_or_told(key: str) -> None:
    value = HONOURED.get(key, "x")
    plan = plan_of(row("g"), router_settings={key: value})
    place = f"router_settings.{key}"
    if key in HONOURED:
        plain = {"optional_pre_call_checks"}  # told how, too
        assert place not in told(plan) or key in plain or key == "default_fallbacks"
        usual = plan_of(row("g"))
        changed = plan.options != usual.options or plan.backends != usual.backends
        assert changed or plan.ways != usual.ways or plan.finish != usual.finish
    else:
        assert "unknown key" not in told(plan)[place]


@pytest.mark.parametrize("key", ROWS.split())
def test_every_parameter_of_a_row_is_honoured_or_told(key: str) -> None:
    plan = plan_of(row("g", **{key: 1}))
    notes = {f: m for f, m in told(plan).items() if f.endswith(f"{key} (g)")}
    if key in READ_FROM_ROWS:
        assert notes == {}
    else:
        assert notes
        assert "unknown key" not in "".join(notes.values())


@pytest.mark.parametrize("key", SHARED.split())
def test_every_setting_of_the_library_that_changes_calls_is_told(key: str) -> None:
    plan = plan_of(row("g"), litellm_settings={key: "x"})
    assert not told(plan)[f"litellm_settings.{key}"].startswith("ignored")


@pytest.mark.parametrize("key", ["access_windows", "team_id", "enable_tag_filtering"])
def test_where_and_when_a_row_serves_is_told_if_it_is_not_honoured(key: str) -> None:
    plan = plan_of(row("g") | {"model_info": {key: "x", "tier": "free"}})
    notes = told(plan)
    assert notes[f"model_list[0].model_info.{key} (g)"].startswith("fault")
    assert notes["model_list[0].model_info.tier (g)"].startswith("ignored")


@pytest.mark.parametrize("where", ["litellm_params", "model_info", None])
def test_tokens_in_and_out_a_minute_are_rate_limits(where: str | None) -> None:
    given, limits = row("g"), {"itpm": 9000, "otpm": 300}
    if where is None:
        given |= {"rpm": 60}
        given["litellm_params"] |= limits
    else:
        given[where] = {**given.get(where, {}), **limits, "rpm": 60}
    plan = plan_of(given)
    assert plan.backends[0].limits == Limits(
        rpm=60, itpm=9000, otpm=300, concurrency=60
    )


def test_a_token_for_azure_is_its_key() -> None:
    params = {"model": "azure/x", "api_base": "https://a.openai.azure.com"}
    plan = plan_of(row("g", **params, azure_ad_token="eyJ.a.b"))
    assert plan.backends[0].api_key == "eyJ.a.b"
    assert "azure_ad_token (g)" not in " ".join(told(plan))
    plan = plan_of(row("g", **params, azure_ad_token="eyJ.a.b", api_key="k"))
    assert plan.backends[0].api_key == "k"


def test_the_endpoint_of_bedrock_is_its_address() -> None:
    params = {
        "model": "bedrock/anthropic.claude-3-haiku",
        "aws_bedrock_runtime_endpoint": "https://bedrock.example",
        "aws_region_name": "eu-west-1",
        "api_key": "k",
    }
    plan = plan_of(row("g", **params))
    assert plan.backends[0].base_url == "https://bedrock.example"
    assert not any("runtime_endpoint" in field for field in told(plan))


def test_models_without_a_price_can_be_refused() -> None:
    shared = {"block_requests_for_models_without_pricing": True}
    plan = plan_of(row("g"), litellm_settings=shared)
    assert plan.options["unknown_price"] == "refuse"
    assert told(plan) == {}


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("functions", [{"name": "f"}], "give tools"),
        ("extra_headers", {"a": "b"}, "options={'headers'"),
        ("stream_timeout", 3, "timeouts=Timeouts"),
        ("deployment_id", "x", "name of the backend"),
        ("model_list", [{}], "Router.from_litellm"),
        ("fallbacks", [{"model": "b", "messages": []}], "as it is"),
    ],
)
def test_what_a_call_cannot_ask_for_is_refused_with_the_way_to_do_it(
    name: str, value: Any, remedy: str
) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        chat_options("g", {name: value})
    assert remedy in str(caught.value)


def test_a_refusal_shows_no_key_that_stands_in_a_table() -> None:
    entry = {"model": "b", "api_key": "sk-very-secret"}
    rows = [{"model_name": "g", "litellm_params": entry}]
    headers = {"Authorization": "sk-very-secret"}
    for given in (
        {"fallbacks": [entry]},
        {"model_list": rows},
        {"extra_headers": headers},
    ):
        with pytest.raises(InvalidRequestError) as caught:
            chat_options("g", given)
        assert "secret" not in f"{caught.value} {caught.value.value!r}"


@pytest.mark.parametrize(
    "name", ["litellm_call_id", "litellm_trace_id", "no-log", "allowed_openai_params"]
)
def test_what_is_for_loggers_is_not_sent_and_told(name: str) -> None:
    made, warnings = chat_options("g", {name: "x"})
    assert made == {}
    assert warnings[0].startswith(f"{name}: ")


def test_a_fallback_of_a_call_may_be_a_mapping_with_its_model() -> None:
    made, _ = chat_options("g", {"fallbacks": ["a", {"model": "b"}]})
    assert made["fallbacks"] == ["a", "b"]


def test_a_router_of_all_honoured_settings_stands() -> None:
    source = {
        "model_list": [row("g"), row("other")],
        "router_settings": HONOURED,
    }
    router = Router.from_litellm(source, strict=True)
    assert router.explain("x", "hello").rows()[0]["backend"] == "g"

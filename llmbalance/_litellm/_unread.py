"""What LiteLLM's files may say and a router here does not act on, and why.

    "fault"    what was asked for is not done: strict=True refuses the file
    "changed"  it is done, in another way
    "ignored"  it is of no concern to a router

Tables by section, held to LiteLLM 1.106; keys that are in none are unknown words in
``router_settings`` and rows, and the proxy's own elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

Reason = tuple[str, str]  # why, and the kind of note

_CACHE = ("answers are not cached", "ignored")
_LOG = ("use logging", "ignored")
_PROXY = ("belongs to the proxy", "ignored")
_STATE = ("state is kept in the process", "ignored")
_STAY = ("use session= to stay with a backend", "fault")
_HEALTH = ("breakers learn from the calls; see Router(health_interval=...)", "changed")
_TASKS = ("there are no such routers; see tasks and classifiers", "fault")
_TIER = ("time-outs do not depend on the tier", "fault")
_LOGIN = ("give a token as api_key, or a function that fetches one", "fault")
_BATCHES = ("files and batches are not served", "ignored")
_ROW = ("is the rows' to say, and nothing reads it here", "fault")
_TLS = ("certificates are checked, by SSL_CERT_FILE if that is set", "fault")

SETTINGS: Mapping[str, Reason] = {
    "model_list": ("stands at the top of the file, not here", "fault"),
    "enable_pre_call_checks": ("limits and context are always checked", "changed"),
    "max_fallbacks": ("each group is visited once", "changed"),
    "max_retries": ("the client repeats nothing by itself: num_retries", "changed"),
    "retry_after": ("no pause while another backend is left", "changed"),
    "routing_strategy_args": ("latencies are weighted by their age", "changed"),
    "enable_weighted_failover": ("failover is always by weight", "changed"),
    "tag_routing_prefix": ("tags of calls are taken whole", "fault"),
    "plugins": ("there are none", "fault"),
    "auto_router_capability_limit": _TASKS,
    "deployment_affinity_ttl_seconds": _STAY,
    "model_group_affinity_config": _STAY,
    "enable_health_check_routing": _HEALTH,
    "health_check_staleness_threshold": _HEALTH,
    "health_check_ignore_transient_errors": _HEALTH,
    "background_health_check_model_groups": _HEALTH,
    "caching_groups": _CACHE,
    "cache_responses": _CACHE,
    "cache_kwargs": _CACHE,
    "client_ttl": ("connections live as long as the router", "ignored"),
    "polling_interval": ("waiting needs no polling", "ignored"),
    "set_verbose": _LOG,
    "debug_level": _LOG,
    "alerting_config": ("no alerts are sent", "ignored"),
    "router_general_settings": ("there is one kind of client", "ignored"),
    "ignore_invalid_deployments": ("see strict=", "ignored"),
    "assistants_config": _PROXY,
    "search_tools": _PROXY,
    "guardrail_list": _PROXY,
    "fallback_access_check": _PROXY,
    "fallback_budget_check": _PROXY,
    **dict.fromkeys(
        ("redis_url", "redis_host", "redis_port", "redis_password", "redis_db"),
        _STATE,
    ),
}

# litellm_settings that change calls; what is not here is for the proxy and its loggers.
SHARED: Mapping[str, Reason] = {
    "num_retries_per_request": ("num_retries holds in each group", "fault"),
    "max_fallbacks": ("each group is visited once", "changed"),
    "modify_params": ("messages are translated as each provider needs", "changed"),
    "model_alias_map": ("write it as model_group_alias", "fault"),
    "cost_discount_config": ("give prices: Backend(price=...)", "fault"),
    "cost_margin_config": ("give prices: Backend(price=...)", "fault"),
    "max_end_user_budget": ("budgets are for named users: Budget(user=...)", "fault"),
    "priority_reservation": ("give priorities with calls; see stop_at", "fault"),
    "enable_anthropic_prompt_caching": ("mark what to cache in messages", "fault"),
    "openai_system_messages_first": ("messages go in their order", "fault"),
    "custom_prompt_dict": ("messages go as messages", "fault"),
    "route_all_chat_openai_to_responses": (
        "api_base and provider say which API is called",
        "fault",
    ),
    "ssl_verify": _TLS,
    "ssl_certificate": _TLS,
    **dict.fromkeys(
        (
            *("api_key", "api_base", "api_version", "headers", "organization"),
            *("openai_key", "azure_key", "anthropic_key", "groq_key", "xai_key"),
            *("openrouter_key", "togetherai_api_key", "ollama_key", "max_tokens"),
            *("vertex_project", "vertex_location"),
        ),
        _ROW,
    ),
}

# litellm_params.
PARAMS: Mapping[str, Reason] = {
    "max_retries": (
        "the client here repeats nothing by itself: num_retries",
        "changed",
    ),
    "mock_response": ("real backends only; see llmbalance.testing", "fault"),
    "mock_timeout": ("real backends only; see llmbalance.testing", "fault"),
    "retry_policy": ("belongs to router_settings, for all or a group", "fault"),
    "configurable_clientside_auth_params": ("keys do not come with calls", "ignored"),
    "use_in_pass_through": ("there are no pass-through endpoints", "ignored"),
    "use_chat_completions_api": ("the provider's dialect says which API", "changed"),
    "realtime_protocol": ("realtime sessions are not served", "ignored"),
    "timeout_by_service_tier": _TIER,
    "stream_timeout_by_service_tier": _TIER,
    "tag_regex": ("tags of calls are compared as they are", "fault"),
    "provider_affinity_header": ("no header of an answer is sent again", "fault"),
    "merge_reasoning_content_in_choices": ("reasoning stays by itself", "fault"),
    "use_litellm_proxy": ("write litellm_proxy/ before the model", "fault"),
    "keepalive_seconds": ("is between the proxy and its callers", "ignored"),
    "allow_client_keepalive_override": ("is for the proxy's callers", "ignored"),
    "default_api_key_rpm_limit": _PROXY,
    "default_api_key_tpm_limit": _PROXY,
    "litellm_trace_id": _PROXY,
    "vertex_credentials": ("give an access token as api_key", "fault"),
    "aws_profile_name": ("give keys, or set AWS_BEARER_TOKEN_BEDROCK", "fault"),
    "aws_role_name": ("give keys, or set AWS_BEARER_TOKEN_BEDROCK", "fault"),
    "aws_web_identity_token": ("give keys, or set AWS_BEARER_TOKEN_BEDROCK", "fault"),
    **dict.fromkeys(
        (
            *("tenant_id", "client_id", "client_secret", "azure_scope"),
            *("azure_username", "azure_password", "use_xai_oauth"),
        ),
        _LOGIN,
    ),
}
# litellm_params by their beginnings.
FAMILIES: Mapping[str, Reason] = {
    "auto_router_": _TASKS,
    "complexity_router_": _TASKS,
    "adaptive_router_": _TASKS,
    "quality_router_": _TASKS,
    "anthropic_federation_": _LOGIN,
    "anthropic_identity_": _LOGIN,
    "anthropic_issuer_": _LOGIN,
    "anthropic_keycloak_": _LOGIN,
    "openai_identity_": _LOGIN,
    "s3_": _BATCHES,
    "gcs_": _BATCHES,
    "aws_batch_": _BATCHES,
    "milvus_": _PROXY,
    "valkey_": _PROXY,
    "vector_": _PROXY,
}

# model_info that says where or when a row serves; the rest describes it.
INFO: Mapping[str, Reason] = {
    "access_windows": ("rows serve at all hours", "fault"),
    "team_id": ("there are no teams: it serves everybody", "fault"),
    "enable_tag_filtering": ("router_settings say it for all", "fault"),
}


def of_param(key: str) -> Reason | None:
    """Why a key of ``litellm_params`` is not read; None: it is no known one."""
    found = PARAMS.get(key)
    if found is None:
        starts = (why for start, why in FAMILIES.items() if key.startswith(start))
        found = next(starts, None)
    return found

"""What LiteLLM calls things, and what they are here.

Tables only: providers by prefix and by address, strategies, abilities, keys of a row.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Host(NamedTuple):
    """A provider here, and what LiteLLM takes for granted about it."""

    provider: str
    base_url: str | None = None  # where LiteLLM calls when the row names no address
    key: str | None = None  # the environment variable LiteLLM reads


# "prefix/model" -> who that is.
PREFIXES = {
    "openai": Host("openai"),
    "azure": Host("azure", None, "AZURE_API_KEY"),
    "azure_ai": Host("azure", None, "AZURE_AI_API_KEY"),
    "anthropic": Host("anthropic"),
    "gemini": Host("google", None, "GEMINI_API_KEY"),
    "vertex_ai": Host("vertex"),
    "vertex_ai_beta": Host("vertex"),
    "bedrock": Host("bedrock"),
    "bedrock_converse": Host("bedrock"),
    "groq": Host("groq"),
    "mistral": Host("mistral"),
    "deepseek": Host("deepseek"),
    "together_ai": Host("together", None, "TOGETHERAI_API_KEY"),
    "openrouter": Host("openrouter"),
    "xai": Host("xai"),
    "ollama": Host("ollama"),
    "ollama_chat": Host("ollama"),
    "hosted_vllm": Host("vllm", None, "HOSTED_VLLM_API_KEY"),
    "openai_like": Host("openai_compatible", None, "OPENAI_LIKE_API_KEY"),
    "custom_openai": Host("openai_compatible"),
    "litellm_proxy": Host("openai_compatible", None, "LITELLM_PROXY_API_KEY"),
    "lm_studio": Host("openai_compatible", None, "LM_STUDIO_API_KEY"),
    "llamafile": Host("openai_compatible", "http://127.0.0.1:8080/v1"),
    "cerebras": Host(
        "openai_compatible", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"
    ),
    "deepinfra": Host(
        "openai_compatible",
        "https://api.deepinfra.com/v1/openai",
        "DEEPINFRA_API_KEY",
    ),
    "fireworks_ai": Host(
        "openai_compatible",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_AI_API_KEY",
    ),
    "moonshot": Host(
        "openai_compatible", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"
    ),
    "nvidia_nim": Host(
        "openai_compatible",
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_NIM_API_KEY",
    ),
    "perplexity": Host(
        "openai_compatible", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"
    ),
    "sambanova": Host(
        "openai_compatible", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"
    ),
}

# "openai/..." with one of these addresses is really that provider.
_ADDRESSES = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.together.xyz": "together",
    "api.x.ai": "xai",
}


def provider_at(address: str) -> str:
    """Return the provider that answers at an OpenAI-style address."""
    return _ADDRESSES.get(urlsplit(address).hostname or "", "openai_compatible")


_VENDORS = {
    "claude-": "anthropic",
    "gpt-": "openai",
    "chatgpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4-": "openai",
    "text-embedding-": "openai",
}


def vendor_of(model: str) -> str | None:
    """Return whose model a bare name is, by its beginning, or None."""
    starts = (vendor for start, vendor in _VENDORS.items() if model.startswith(start))
    return next(starts, None)


# routing_strategy -> ours. Usage-based routing looks for the deployment with the most
# room left; p2c weighs what is in flight, at once and not a minute late.
STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "latency",
    "usage-based-routing": "p2c",
    "usage-based-routing-v2": "p2c",
    "cost-based-routing": "cost",
    "provider-budget-routing": "weighted",
}

# litellm_params -> options of the dialect.
OPTIONS = {
    "api_version": "api_version",
    "aws_region_name": "region",
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
    "vertex_project": "project",
    "vertex_ai_project": "project",
    "vertex_location": "region",
    "vertex_ai_location": "region",
    "extra_headers": "headers",
    "headers": "headers",
    "num_ctx": "num_ctx",
}

# Keys of litellm_params that are read in _litellm_rows.
PARAMS = frozenset(
    (
        *("model", "api_key", "api_base", "base_url", "custom_llm_provider"),
        *(
            "organization",
            "rpm",
            "tpm",
            "itpm",
            "otpm",
            "order",
            "weight",
            "max_parallel_requests",
        ),
        *("timeout", "request_timeout", "stream_timeout", "cooldown_time"),
        *(
            "allowed_fails",
            "allowed_fails_policy",
            "tags",
            "max_budget",
            "budget_duration",
            "region_name",
        ),
        *("service_tier", "litellm_credential_name", "drop_params", *OPTIONS),
        *("num_retries", "silent_model", "azure_ad_token"),
        "aws_bedrock_runtime_endpoint",
    )
)
# Keys of model_info that are read.
INFO = frozenset(
    (
        *(
            "id",
            "base_model",
            "mode",
            "rpm",
            "tpm",
            "itpm",
            "otpm",
            "max_input_tokens",
            "max_tokens",
        ),
        *("max_output_tokens", "supports_function_calling", "supports_vision"),
        *("supported_environments", "blocked"),
        *("allowed_fails", "allowed_fails_policy", "cooldown_time"),
    )
)
MODES = ("chat", "completion", "embedding", "responses")

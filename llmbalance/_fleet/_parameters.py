"""What goes to the model: OpenAI's parameters, and those a backend adds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import structs

if TYPE_CHECKING:
    from .._types import Call

# OpenAI's names; what a provider calls otherwise, its dialect translates.
PARAMETERS = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"),
        *("min_p", "n", "stop", "seed", "logprobs", "top_logprobs", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
        *("reasoning_effort", "thinking", "verbosity", "modalities", "audio"),
        *("user", "safety_identifier", "metadata", "store", "service_tier"),
        *("prompt_cache_key", "prompt_cache_retention", "prediction"),
        *("web_search_options", "stream_options", "cache_control", "extra_body"),
        *("dimensions", "encoding_format", "input_type", "prompt_cache_options"),
    )
)

# Of these a backend may have its own (Backend.params); the others say what a call is.
_A_CALLS = ("tools", "tool_choice", "response_format", "user", "metadata")
DEFAULTS = PARAMETERS.difference((*_A_CALLS, "stream_options", "prompt_cache_key"))
_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def with_params(call: Call, params: Mapping[str, Any]) -> Call:
    """Return a call with what a backend's own parameters say and itself leaves open."""
    said = {name: value for name, value in call.params.items() if value is not None}
    own = {k: v for k, v in params.items() if _TWINS.get(k) not in said}
    return structs.replace(call, params={**own, **said})

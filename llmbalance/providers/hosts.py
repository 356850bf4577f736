"""The hosts that speak OpenAI's dialect with an accent of their own.

Each class says only what is different there. Sources: the hosts' own documentation and
recorded exchanges; see the warnings' texts for what each one refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from .._errors import InvalidRequestError
from .._types import LimitReading, Request
from ._base import NATIVE, REFUSED, TRANSLATED
from ._limits import mistral_limits, openai_limits, per_minute, together_limits
from ._models import EFFORTS, fit_effort, version_in
from .openai_compatible import FEATURES, OpenAICompatible

# OpenAI's service tiers under Groq's names.
_GROQ_TIERS = {"default": "on_demand", "priority": "performance"}
_NONE = "this host has no such parameter"
# What only OpenAI, or only Anthropic, knows.
_OTHERS = (
    *("cache_control", "web_search_options", "audio"),
    *("prompt_cache_options", "prompt_cache_retention"),
)


def one_answer(body: dict[str, Any], host: str) -> None:
    """Take ``n`` out where a host gives one answer; refuse to give fewer than asked."""
    n = body.pop("n", 1)
    if n != 1:
        raise InvalidRequestError("n", n, f"{host} gives one answer; make n calls")


class Groq(OpenAICompatible):
    """api.groq.com: refuses log probabilities, several answers and names."""

    name = "groq"
    key_env = ("GROQ_API_KEY",)
    base_env = ("GROQ_BASE_URL",)
    default_base_url = "https://api.groq.com/openai/v1"
    needs_key = True
    max_tokens_name = "max_completion_tokens"
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "n": REFUSED,
        "logprobs": REFUSED,
        "input_audio": REFUSED,
        "file": REFUSED,
        "embed_tokens": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = {
        name: "Groq refuses it" for name in ("logprobs", "top_logprobs", "logit_bias")
    } | dict.fromkeys(
        (
            *("store", "prediction", "verbosity", "top_k", "min_p", "modalities"),
            *("repetition_penalty", "safety_identifier", "prompt_cache_key"),
            *("thinking", *_OTHERS),
        ),
        _NONE,
    )

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Drop what Groq answers with status 400."""
        super().adapt(body, warnings)
        one_answer(body, "Groq")
        tier = body.get("service_tier")
        if body.get("reasoning_effort") in ("none", *EFFORTS):
            self._fit_effort(body, warnings)
        if tier is not None:
            body["service_tier"] = _GROQ_TIERS.get(tier, tier)

    def _fit_effort(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Ask for an amount this model takes: older Qwens reason or do not."""
        effort, name = body["reasoning_effort"], self.model
        if "qwen" in name and effort == "none":
            return
        if "gpt-oss" in name or "qwen3.8" in name:
            body["reasoning_effort"] = fit_effort(effort, EFFORTS[1:4], warnings)
        elif "qwen" in name:
            body["reasoning_effort"] = "default"
            warnings.append(f"reasoning_effort {effort} sent as default, its only one")
        else:
            del body["reasoning_effort"]
            if effort != "none":
                why = f"{name} does not take it at Groq"
                self.leave_out("reasoning_effort", why, warnings)

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Without ``name``, which Groq refuses."""
        result = super().message(message)
        if result["role"] != "tool":
            result.pop("name", None)
        return result


class Mistral(OpenAICompatible):
    """api.mistral.ai: strict about fields, tool-call ids of nine letters or digits."""

    name = "mistral"
    key_env = ("MISTRAL_API_KEY",)
    base_env = ("MISTRAL_BASE_URL",)
    default_base_url = "https://api.mistral.ai/v1"
    needs_key = True
    max_tokens_name = "max_tokens"
    asks_usage = False  # usage always comes
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "embed_tokens": REFUSED,
        "responses": REFUSED,
    }
    renames: ClassVar[Mapping[str, str]] = {
        "seed": "random_seed",
        "dimensions": "output_dimension",
    }
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("logit_bias", "user", "store", "stream_options", "verbosity"),
            *("modalities", "safety_identifier", "min_p", "thinking", *_OTHERS),
        ),
        _NONE,
    )

    def embed_limits(self) -> tuple[int, int]:
        """512 inputs of 16,384 tokens in all."""
        return 512, 16_384

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Mistral's word for a forced tool is "any"."""
        super().adapt(body, warnings)
        if body.get("tool_choice") == "required":
            body["tool_choice"] = "any"
        if body.get("service_tier") == "default":
            body["service_tier"] = "standard_only"
        elif body.get("service_tier") not in (None, "auto", "standard_only"):
            tier = body.pop("service_tier")
            self.leave_out("service_tier", f"Mistral has no tier {tier!r}", warnings)
        if "reasoning_effort" in body and "magistral" in self.model:
            del body["reasoning_effort"]  # these always reason and take no amount
            why = "this model always reasons"
            self.leave_out("reasoning_effort", why, warnings)

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """With ids of other providers' tool calls replaced by ones Mistral takes."""
        result = super().message(message)
        if result.get("tool_call_id"):
            result["tool_call_id"] = short_id(result["tool_call_id"])
        if result.get("tool_calls"):
            result["tool_calls"] = [
                {**call, "id": short_id(call.get("id") or "")}
                for call in result["tool_calls"]
            ]
        return result

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """The window stands in the header's name."""
        return mistral_limits(headers)


def short_id(identity: str) -> str:
    """An id of nine letters and digits, the same for the same id."""
    if len(identity) == 9 and identity.isascii() and identity.isalnum():
        return identity
    return hashlib.sha256(identity.encode()).hexdigest()[:9]


class DeepSeek(OpenAICompatible):
    """api.deepseek.com: JSON mode without schema; reasoning goes back with tools."""

    name = "deepseek"
    key_env = ("DEEPSEEK_API_KEY",)
    base_env = ("DEEPSEEK_BASE_URL",)
    default_base_url = "https://api.deepseek.com"
    needs_key = True
    max_tokens_name = "max_tokens"
    json_schema = False
    wants_back: ClassVar[frozenset[str]] = frozenset(("reasoning_content",))
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "json_schema": TRANSLATED,
        "reasoning_effort": TRANSLATED,
        "n": REFUSED,
        "seed": REFUSED,
        "image_url": REFUSED,
        "image_data": REFUSED,
        "input_audio": REFUSED,
        "file": REFUSED,
        "embeddings": REFUSED,
        "embed_tokens": REFUSED,
        "service_tier": REFUSED,
        "rate_limit_headers": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("seed", "logit_bias", "store", "service_tier", "prediction", "top_k"),
            *("parallel_tool_calls", "verbosity", "modalities", "metadata"),
            *("min_p", "repetition_penalty", *_OTHERS),
        ),
        _NONE,
    )

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Switch thinking on and off by DeepSeek's own parameter."""
        super().adapt(body, warnings)
        one_answer(body, "DeepSeek")
        effort = body.get("reasoning_effort")
        if effort is not None:
            kind = "disabled" if effort == "none" else "enabled"
            body.setdefault("thinking", {"type": kind})
            if effort == "none":
                del body["reasoning_effort"]


class Together(OpenAICompatible):
    """api.together.xyz: a rate per second that moves with the load."""

    name = "together"
    key_env = ("TOGETHER_API_KEY",)
    base_env = ("TOGETHER_BASE_URL",)
    default_base_url = "https://api.together.xyz/v1"
    needs_key = True
    max_tokens_name = "max_tokens"
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "service_tier": REFUSED,
        "embed_tokens": REFUSED,
        "responses": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("store", "service_tier", "prediction", "verbosity", "metadata"),
            *("thinking", "modalities", *_OTHERS),
        ),
        _NONE,
    )

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """``remaining`` may exceed ``limit``: it is said as it is."""
        return together_limits(headers)


class OpenRouter(OpenAICompatible):
    """openrouter.ai: says what each call cost; options site_url and app_name."""

    name = "openrouter"
    key_env = ("OPENROUTER_API_KEY",)
    base_env = ("OPENROUTER_BASE_URL",)
    default_base_url = "https://openrouter.ai/api/v1"
    needs_key = True
    health_path = "/key"  # the list of models is open to everybody
    wants_back: ClassVar[frozenset[str]] = frozenset(
        ("reasoning_details", "cache_control")
    )
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "cache_control": NATIVE,
        "service_tier": REFUSED,
        "rate_limit_headers": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("store", "service_tier"), _NONE
    )

    def headers(self) -> list[str]:
        """The common lines, and who is asking when that is set."""
        lines = super().headers()
        for option, header in (("site_url", "HTTP-Referer"), ("app_name", "X-Title")):
            if self.options.get(option):
                lines.append(f"{header}: {self.options[option]}")
        return lines

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Ask for the cost with the usage."""
        super().adapt(body, warnings)
        if "messages" in body:
            body.setdefault("usage", {"include": True})


class XAI(OpenAICompatible):
    """api.x.ai: limits per minute without resets; reasoning models refuse stops."""

    name = "xai"
    key_env = ("XAI_API_KEY",)
    base_env = ("XAI_BASE_URL",)
    default_base_url = "https://api.x.ai/v1"
    needs_key = True
    max_tokens_name = "max_completion_tokens"
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "input_audio": REFUSED,
        "embeddings": REFUSED,
        "embed_tokens": REFUSED,
        "service_tier": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("logit_bias", "store", "service_tier", "prediction", "metadata", "top_k"),
            *("thinking", "min_p", "repetition_penalty", "modalities", *_OTHERS),
        ),
        _NONE,
    )

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Grok from version 3 mini on reasons unless its name says otherwise."""
        super().adapt(body, warnings)
        if self._reasons():
            for name in ("stop", "presence_penalty", "frequency_penalty"):
                if name in body:
                    del body[name]
                    self.leave_out(name, f"{self.model} refuses it", warnings)
        effort, taken = body.get("reasoning_effort"), self._efforts()
        if effort is not None and not taken:
            del body["reasoning_effort"]
            self.leave_out("reasoning_effort", f"{self.model} refuses it", warnings)
        elif effort in ("none", *EFFORTS) and effort not in taken:
            amounts = [one for one in taken if one != "none"]
            body["reasoning_effort"] = fit_effort(effort, amounts, warnings)

    def _reasons(self) -> bool:
        if "non-reasoning" in self.model:
            return False
        names = ("grok-3-mini", "grok-4", "grok-5", "grok-code", "grok-latest")
        return self.model.startswith(names)

    def _efforts(self) -> tuple[str, ...]:
        """The amounts of reasoning this model takes; () where it refuses them."""
        version = version_in(self.model)
        if "multi-agent" in self.model:
            return EFFORTS[1:5]
        if not self._reasons() or version == (4, 20):
            return ()
        if version == (3, 0):  # grok-3-mini
            return ("low", "high")
        if version < (4, 3) and "latest" not in self.model:
            return ()
        rests = version == (4, 3) or self.model == "grok-latest"
        return ("none", "low", "medium", "high") if rests else ("low", "medium", "high")

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """OpenAI's names without a reset: counted by the minute."""
        return per_minute(openai_limits(headers))


class VLLM(OpenAICompatible):
    """A vLLM or llama.cpp server of one's own."""

    name = "vllm"
    key_env = ("VLLM_API_KEY",)
    base_env = ("VLLM_BASE_URL",)
    default_base_url = "http://127.0.0.1:8000/v1"
    wants_back: ClassVar[frozenset[str]] = frozenset(("reasoning_content",))
    supports: ClassVar[Mapping[str, str]] = {
        **FEATURES,
        "rate_limit_headers": REFUSED,
        "service_tier": REFUSED,
    }
    rejects: ClassVar[Mapping[str, str]] = {"service_tier": _NONE}

    def health(self) -> Request | None:
        """``/health`` lies beside the versioned path; it answers 503 while loading."""
        return Request(method="GET", target=f"{self.path.removesuffix('/v1')}/health")

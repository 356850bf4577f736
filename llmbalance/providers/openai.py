"""OpenAI itself: chat completions, with the rules of its reasoning models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._models import EFFORTS, OpenAIModel, fit_effort, openai_model
from .openai_compatible import OpenAICompatible, rename_max_tokens

_SAMPLING = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
_NEUTRAL = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


class OpenAI(OpenAICompatible):
    """api.openai.com; options organization and project."""

    name = "openai"
    key_env: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    base_env: ClassVar[tuple[str, ...]] = ("OPENAI_BASE_URL",)
    default_base_url = "https://api.openai.com/v1"
    needs_key = True
    developer_role = True
    tool_kinds: ClassVar[frozenset[str]] = frozenset(("function", "custom"))

    rejects: ClassVar[Mapping[str, str]] = {
        "top_k": "OpenAI has no such parameter",
        "min_p": "OpenAI has no such parameter",
        "repetition_penalty": "OpenAI has presence_penalty and frequency_penalty",
        "input_type": "OpenAI has no such parameter",
        "cache_control": "OpenAI caches by itself; see prompt_cache_key",
        "thinking": "OpenAI has reasoning_effort instead",
    }

    def headers(self) -> list[str]:
        """The common lines, with organisation and project when they are set."""
        lines = super().headers()
        for option, header in (
            ("organization", "OpenAI-Organization"),
            ("project", "OpenAI-Project"),
        ):
            if self.options.get(option):
                lines.append(f"{header}: {self.options[option]}")
        return lines

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Rename the token limit and drop what this model refuses."""
        super().adapt(body, warnings)
        adapt_to_model(self, body, warnings)


def adapt_to_model(
    dialect: OpenAICompatible,
    body: dict[str, Any],
    warnings: list[str],
    *,
    name: str = "",
    tokens: str = "max_completion_tokens",
) -> None:
    """Put a body right for OpenAI's model ``name``: reasoning models refuse sampling.

    ``tokens`` is what models without reasoning call the token limit here.
    """
    name = name or dialect.model
    model = openai_model(name)
    if not model.reasoning:
        rename_max_tokens(body, tokens)
        if "reasoning_effort" in body:
            if body["reasoning_effort"] != "none":
                dialect.leave_out(
                    "reasoning_effort", f"{name} does not reason", warnings
                )
            del body["reasoning_effort"]
        return
    rename_max_tokens(body, "max_completion_tokens")
    why = f"{name} is a reasoning model and refuses it"
    if "reasoning_effort" in body:
        _fit_effort(dialect, model, body, warnings)
    if not model.samples(body.get("reasoning_effort")):
        for parameter in _SAMPLING:
            if parameter in body:
                value = body.pop(parameter)
                if parameter not in _NEUTRAL or value != _NEUTRAL[parameter]:
                    dialect.leave_out(parameter, why, warnings)
    if "stop" in body:
        dialect.leave_out("stop", why, warnings)
        del body["stop"]
    if not model.system and "messages" in body:
        body["messages"] = [
            {**message, "role": "user"}
            if message["role"] in ("system", "developer")
            else message
            for message in body["messages"]
        ]


def _fit_effort(
    dialect: OpenAICompatible,
    model: OpenAIModel,
    body: dict[str, Any],
    warnings: list[str],
) -> None:
    """Ask for the amount of reasoning that is nearest to what this model takes."""
    asked = body["reasoning_effort"]
    if asked in model.efforts or (asked == "none" and model.rests):
        return
    if not model.efforts:
        del body["reasoning_effort"]
        why = f"{dialect.model} reasons as much as it likes"
        dialect.leave_out("reasoning_effort", why, warnings)
    elif asked == "none" or asked in EFFORTS:
        taken = model.efforts[:1] if asked == "none" else model.efforts
        body["reasoning_effort"] = fit_effort(asked, taken, warnings)

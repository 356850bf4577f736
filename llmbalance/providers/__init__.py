"""The dialects of all providers, found by name and imported when asked for.

    from llmbalance.providers import dialect
    Anthropic = dialect("anthropic")

A provider of one's own needs no registry: pass a ``Dialect`` subclass to ``Backend``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from .._errors import ConfigError
from ._base import Dialect
from ._failures import KINDS, TRANSPORT_KINDS, exception_of

# name -> (module, class)
_WHERE: Mapping[str, tuple[str, str]] = {
    "openai": ("openai", "OpenAI"),
    "azure": ("azure", "Azure"),
    "anthropic": ("anthropic", "Anthropic"),
    "google": ("google", "Google"),
    "vertex": ("vertex", "Vertex"),
    "bedrock": ("bedrock", "Bedrock"),
    "groq": ("hosts", "Groq"),
    "mistral": ("hosts", "Mistral"),
    "deepseek": ("hosts", "DeepSeek"),
    "together": ("hosts", "Together"),
    "openrouter": ("hosts", "OpenRouter"),
    "xai": ("hosts", "XAI"),
    "ollama": ("ollama", "Ollama"),
    "vllm": ("hosts", "VLLM"),
    "openai_compatible": ("openai_compatible", "OpenAICompatible"),
}

PROVIDERS: tuple[str, ...] = tuple(_WHERE)


def dialect(name: str) -> type[Dialect]:
    """Return the dialect class of provider ``name``; ConfigError when unknown."""
    where = _WHERE.get(name)
    if where is None:
        raise ConfigError("provider", name, f"use one of {', '.join(PROVIDERS)}")
    module, cls = where
    found: type[Dialect] = getattr(import_module(f".{module}", __name__), cls)
    return found


__all__ = [
    "KINDS",
    "PROVIDERS",
    "TRANSPORT_KINDS",
    "Dialect",
    "dialect",
    "exception_of",
]

"""The dialects a mock provider can speak, looked up by name and imported on demand."""

from __future__ import annotations

from importlib import import_module

from ._base import Dialect

_HOME = {
    "openai": ("openai", "OpenAI"),
    "openai_compatible": ("compatible", "Compatible"),
    "groq": ("compatible", "Groq"),
    "vllm": ("compatible", "VLLM"),
    "ollama": ("compatible", "Ollama"),
    "deepseek": ("compatible", "DeepSeek"),
    "mistral": ("hosted", "Mistral"),
    "openrouter": ("hosted", "OpenRouter"),
    "xai": ("hosted", "XAI"),
    "anthropic": ("anthropic", "Anthropic"),
    "google": ("google", "Google"),
}
NAMES = tuple(_HOME)


def find(name: str) -> type[Dialect]:
    """The dialect class of that name; ValueError names the known ones."""
    if name not in _HOME:
        raise ValueError(f"dialect={name!r} is unknown: choose one of {NAMES}")
    module, cls = _HOME[name]
    found: type[Dialect] = getattr(import_module(f".{module}", __name__), cls)
    return found

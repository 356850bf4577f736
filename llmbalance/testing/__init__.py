"""Mock LLM providers for tests, demos and benchmarks: real HTTP on loopback.

    from llmbalance.testing import MockProvider

    with MockProvider("openai", model="gpt-4o", ttft=0.02, rpm=60) as provider:
        client = openai.OpenAI(base_url=provider.base_url, api_key="test-key")

`MockProvider` is one account of one vendor, `MockFleet` several on one clock, `Script`
a timeline of faults. The pytest fixtures `llm_provider` and `llm_fleet` start them for
a test. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._exchange import Ask
    from ._fleet import MockFleet
    from ._provider import MockProvider
    from ._script import Script

__all__ = ["Ask", "MockFleet", "MockProvider", "Script"]

_HOME = {
    "Ask": "_exchange",
    "MockFleet": "_fleet",
    "MockProvider": "_provider",
    "Script": "_script",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Backends that are mock providers, as most tests want them."""

from __future__ import annotations

from typing import Any

from llmbalance import Backend, Price
from llmbalance.testing import MockProvider


def backend(provider: MockProvider, **options: Any) -> Backend:
    """In the group "all", at $1 and $2 a million tokens, unless options say else."""
    settings: dict[str, Any] = {
        "name": provider.name,
        "groups": ["all"],
        "api_key": "test-key",
        "base_url": provider.base_url,
        "price": Price(1, 2),
    }
    return Backend(f"{provider.dialect}/{provider.model}", **settings | options)

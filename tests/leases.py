"""Calls without a network: leases that are settled with whatever a test says."""

from __future__ import annotations

from typing import Any

from llmbalance import Backend, Price, Router

USAGE = {"prompt_tokens": 1500, "completion_tokens": 500}


def backend(name: str, price: Price | None, **options: Any) -> Backend:
    """A backend for leases: nothing is ever sent to it."""
    return Backend(
        "openai/gpt-4o",
        name=name,
        **{"groups": ["all"], "api_key": "k", "price": price} | options,
    )


def call(router: Router, model: str = "all", usage: Any = USAGE, **options: Any) -> str:
    """One call with a client of one's own; returns who took it."""
    with router.acquire(model, "Hello", max_tokens=500, **options) as lease:
        lease.settle(usage=usage, ttft=0.1, seconds=1.0)
        return lease.backend

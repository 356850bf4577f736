"""Pytest fixtures `llm_provider`, `llm_fleet`, `llm_sim`; importing this is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from llmbalance.simulate._pytest import Simulate
    from llmbalance.testing import MockFleet, MockProvider


class ProviderFactory(Protocol):
    """Starts a provider; takes what MockProvider takes."""

    def __call__(self, dialect: str = "openai", **options: Any) -> MockProvider: ...


class FleetFactory(Protocol):
    """Starts providers on one clock."""

    def __call__(self, *providers: MockProvider) -> MockFleet: ...


@pytest.fixture
def llm_fleet() -> Iterator[FleetFactory]:
    """`llm_fleet(MockProvider(...), ...)` runs them in a thread until the test ends."""
    from llmbalance.testing import MockFleet

    running: list[MockFleet] = []

    def start(*providers: MockProvider) -> MockFleet:
        fleet = MockFleet(providers).open()
        running.append(fleet)
        return fleet

    yield start
    for fleet in running:
        fleet.close()


@pytest.fixture
def llm_provider(llm_fleet: FleetFactory) -> ProviderFactory:
    """`llm_provider("anthropic", ttft=0.02, ...)` runs one until the test ends."""
    from llmbalance.testing import MockProvider

    def start(dialect: str = "openai", **options: Any) -> MockProvider:
        provider = MockProvider(dialect, **options)
        llm_fleet(provider)
        return provider

    return start


@pytest.fixture
def llm_sim() -> Simulate:
    """`llm_sim(fleet, trace, strategy=..., seed=...)` simulates; then assert."""
    from llmbalance.simulate._pytest import simulate

    return simulate

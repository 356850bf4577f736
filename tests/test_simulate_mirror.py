"""What the router does around a choice, and whether the simulator does the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from virtual import Outcome, for_real, said

from llmbalance import Backend, Price, Router
from llmbalance.simulate import Fleet, Result, Service, Trace, run
from llmbalance.testing import MockProvider

PRICE = Price(1, 4)


class Host:
    """One provider, as a mock, as a backend and as a service model."""

    def __init__(
        self,
        name: str,
        ttft: float = 0.1,
        token: float = 0.01,
        *,
        groups: tuple[str, ...] = ("all",),
        price: Price = PRICE,
        rpm: int | None = None,
        burst: float = 60.0,
        **told: Any,
    ) -> None:
        self.mock = MockProvider(
            "openai_compatible",
            name=name,
            model="m",
            api_key=None,
            ttft=ttft,
            per_token=token,
            rpm=rpm,
            burst=burst,
            output_tokens=said,
        )
        self.told = {"groups": groups, "price": price, "name": name, **told}
        self.service = Service(
            ttft=ttft,
            ttft_spread=0,
            prefill=0,
            token=token,
            token_spread=0,
            failure_after=0,
            refusal_after=0,
        )

    def backend(self, url: str | None = None) -> Backend:
        return Backend(
            "openai_compatible/m", base_url=url, api_key="test-key", **self.told
        )


def both(
    trace: Trace, hosts: list[Host], timeout: float = 600.0, **terms: Any
) -> tuple[Result, list[Outcome]]:
    """The same trace through the simulator and through the Router."""
    strategy = terms.pop("strategy", "composite")

    def make(urls: dict[str, str]) -> Router:
        backends = [host.backend(urls[host.mock.name]) for host in hosts]
        return Router(backends, strategy=strategy, seed=1, **terms)

    outcomes = for_real(trace, [host.mock for host in hosts], make, timeout=timeout)
    services = {host.mock.name: host.service for host in hosts}
    fleet = Fleet([host.backend() for host in hosts], services=services, **terms)
    how: Any = {"strategy": strategy, "timeout": timeout}
    result = run(trace, fleet, seed=1, estimate_error=0, samples=True, **how)
    return result, outcomes


def shares(outcomes: list[Outcome]) -> dict[str | None, float]:
    counts = Counter(outcome.backend for outcome in outcomes)
    return {name: n / len(outcomes) for name, n in counts.items()}


def test_answers_in_one_piece_do_not_tell_when_their_first_token_came() -> None:
    """So the router splits their time as it does for hosts it does not know, and sends
    short calls to a host that is slow to begin."""
    trace = Trace.poisson(20, 120, seed=4, input=(200, 0.5), output=(60, 1.0))
    hosts = [Host("late", 1.0, 0.002), Host("early", 0.1, 0.02)]
    result, outcomes = both(trace.in_group("all"), hosts, strategy="latency")
    real = shares(outcomes)
    for name, share in result.to_dict()["share"].items():
        assert share == pytest.approx(real[name], abs=0.02)

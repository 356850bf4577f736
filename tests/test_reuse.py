"""Conversations begin where the rest of them will be cheap."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmbalance import Backend, Limits, Price, Router
from llmbalance.simulate import Fleet, Trace, run

# Within 10 % of each other for a prompt; cached tokens at a half and at a tenth.
HALF = Price(2.5, 10, cache_read=1.25)
TENTH = Price(2.6, 10, cache_read=0.26)
PROMPT = "one word after another " * 1000


def host(name: str, price: Price, **changed: Any) -> Backend:
    options: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "groups": ["all"]}
    options |= {"cache_life": 300.0} | changed
    return Backend("openai_compatible/m", name=name, price=price, **options)


def share_of(name: str, hosts: list[Backend], turns: float, strategy: str) -> float:
    trace = Trace.poisson(rate=3, seconds=1800, seed=1, turns=turns)
    result = run(trace, Fleet(hosts), strategy=strategy, seed=1)
    share: dict[str, float] = result.to_dict()["share"]
    return share[name]


def begin(router: Router, session: str | None) -> str:
    """A long prompt that is answered at once; where it went."""
    with router.acquire("all", PROMPT, max_tokens=10, session=session) as lease:
        usage = {"prompt_tokens": 4000, "completion_tokens": 10}
        lease.settle(usage=usage, status=200, seconds=1.0)
        return str(lease.backend)


def homes(router: Router, names: list[str]) -> Counter[str]:
    return Counter(begin(router, name) for name in names)


def test_conversations_go_to_the_cheap_cache_and_single_calls_to_both() -> None:
    hosts = [host("half", HALF), host("tenth", TENTH)]
    for strategy in ("composite", "predictive"):
        assert share_of("tenth", hosts, 4, strategy) > 0.95
        assert 0.3 < share_of("tenth", hosts, 1, strategy) < 0.7
    assert share_of("tenth", hosts, 4, "cost") < 0.2


def test_who_keeps_no_prompts_gets_the_calls_that_nobody_follows() -> None:
    hosts = [host("bare", Price(2.5, 10), cache_life=0.0), host("tenth", TENTH)]
    assert share_of("tenth", hosts, 4, "composite") > 0.95
    assert 0.3 < share_of("tenth", hosts, 1, "composite") < 0.7


def test_a_scarce_limit_is_kept_for_calls_that_nobody_follows() -> None:
    price = Price(1, 4, cache_read=0.25)
    small = host("small", price, limits=Limits(tpm=100_000))
    large = host("large", Price(2, 8, cache_read=0.5))
    fleet = Fleet([small, large])
    single = Trace.poisson(rate=2, seconds=1800, seed=1, input=2000)
    talks = Trace.poisson(rate=0.5, seconds=1800, seed=2, input=2000, turns=8)
    mixed = single.splice(talks, at=0)
    assert mixed.session is not None
    result = run(mixed, fleet, strategy="composite", seed=1, samples=True)
    went: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for request, session in zip(result.requests(), mixed.session, strict=True):
        went[bool(session)][request["backend"]] += 1
    of_single = went[False]["small"] / went[False].total()
    of_talks = went[True]["small"] / went[True].total()
    assert of_single > 2 * of_talks


def test_a_router_learns_from_leases_that_conversations_come_back() -> None:
    router = Router([host("half", HALF), host("tenth", TENTH)], seed=1)
    before = homes(router, [f"new {i}" for i in range(40)])
    assert min(before["half"], before["tenth"]) > 5
    for i in range(40):
        for _ in range(4):
            begin(router, f"long {i}")
    assert homes(router, [f"later {i}" for i in range(20)]) == {"tenth": 20}
    alone = Counter(begin(router, None) for _ in range(40))
    assert min(alone["half"], alone["tenth"]) > 5
    router.close()

"""What one backend is told of a limit holds for all that are under it.

The limits of an account are in the pool once; a refusal that names the limit which is
used up fills that one, so that nobody else asks in vain.
"""

from __future__ import annotations

from typing import Any

import pytest

from llmbalance import Backend, Limits, Price, RateLimitedError, Router

ASK = [{"role": "user", "content": "What is the capital of France?"}]
NAMED = {
    "error": {
        "message": "Too fast: on tokens per min (TPM): Limit 6000, Used 6000, "
        "Requested 20. Please try again in 200ms.",
        "code": "rate_limit_exceeded",
    }
}
TOLD = {
    "x-ratelimit-limit-tokens": "6000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "60s",
    "retry-after": "1",
}
NOTHING = {"error": {"message": "Too fast.", "code": "rate_limit_exceeded"}}


def account(**shared: Any) -> Router:
    """Two backends, as alike as two keys of one organisation."""
    limits = Limits(tpm=6000, rpm=600, **shared)
    backends = [
        Backend(
            "openai/gpt-4o",
            name=name,
            groups=["all"],
            api_key="k",
            price=Price(1, 1),
            limits=limits,
        )
        for name in ("a", "b")
    ]
    return Router(backends, wait=False, stop_at=1)


def refused(router: Router, body: Any, headers: Any = None) -> str:
    """Have one call refused; the name of the other backend."""
    with router.acquire("all", ASK, max_tokens=10) as lease:
        lease.settle(status=429, body=body, headers=headers)
    return "b" if lease.backend == "a" else "a"


@pytest.mark.parametrize(("body", "headers"), [(NAMED, None), (NOTHING, TOLD)])
def test_a_refusal_that_names_a_shared_limit_holds_for_all_who_share_it(
    body: Any, headers: Any
) -> None:
    router = account(shared="org")
    other = refused(router, body, headers)
    with pytest.raises(RateLimitedError) as caught:
        router.acquire("all", ASK, max_tokens=10).__enter__()
    assert caught.value.reasons[other] == "rate"
    # Some tokens come back before the pause of the other is over.
    assert 0 < (caught.value.retry_after or 0) < 0.3


def test_a_refusal_that_names_nothing_stops_the_one_who_got_it() -> None:
    router = account(shared="org")
    other = refused(router, NOTHING)
    with router.acquire("all", ASK, max_tokens=10) as lease:
        assert lease.backend == other


def test_a_refusal_of_one_account_leaves_another_alone() -> None:
    router = account()
    other = refused(router, NAMED, TOLD)
    with router.acquire("all", ASK, max_tokens=10) as lease:
        assert lease.backend == other

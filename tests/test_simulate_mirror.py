"""What the router does around a choice, and whether the simulator does the same."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import WAY, Outcome, for_real, said

from llmbalance import (
    Backend,
    Group,
    Limits,
    Price,
    RateLimitedError,
    RequestTimeoutError,
    Router,
    Timeouts,
)
from llmbalance.simulate import Fleet, Service, Trace, Trouble, run
from llmbalance.testing import MockProvider


class Host:
    """One provider, as a mock, as a backend and as a service model."""

    def __init__(
        self,
        name: str,
        ttft: float = 0.1,
        token: float = 0.01,
        *,
        limits: Limits | None = None,
        groups: tuple[str, ...] = ("all",),
        price: Price = Price(1, 4),  # noqa: B008
        **told: Any,
    ) -> None:
        self.name = name
        self.mock = MockProvider(
            "openai_compatible",
            name=name,
            model="m",
            api_key=None,
            ttft=ttft,
            per_token=token,
            rpm=limits and limits.rpm,
            burst=limits.burst_seconds or 60.0 if limits else 60.0,
            output_tokens=said,
        )
        self.told = {"groups": groups, "price": price, "limits": limits, **told}
        self.troubles: list[Trouble] = []
        self.service = Service(
            ttft=ttft + WAY,
            ttft_spread=0,
            prefill=0,
            token=token,
            token_spread=0,
            failure_after=WAY,
            refusal_after=WAY,
        )

    def fails(self, start: float, seconds: float) -> Host:
        self.mock.outage(start, start + seconds, status=500)
        self.troubles.append(Trouble(self.name, start, seconds, "fail"))
        return self

    def hangs(self, start: float, seconds: float) -> Host:
        self.mock.hang(start, start + seconds)
        self.troubles.append(Trouble(self.name, start, seconds, "hang"))
        return self

    def refuses(self, start: float, seconds: float, after: float) -> Host:
        body = {"error": {"message": "too many", "code": "rate_limit_exceeded"}}
        self.mock.outage(
            start, start + seconds, status=429, body=body, retry_after=after
        )
        trouble = Trouble(self.name, start, seconds, "refuse", factor=after)
        self.troubles.append(trouble)
        return self

    def backend(self, url: str | None = None) -> Backend:
        return Backend(
            "openai_compatible/m",
            name=self.name,
            base_url=url,
            api_key="test-key",
            **self.told,
        )


def ended(outcome: Outcome, timeout: float) -> str:
    """A call has timed out when its own time is over, not that of an attempt."""
    if outcome.error is None:
        return "done"
    if isinstance(outcome.error, RateLimitedError):
        return "refused"
    late = isinstance(outcome.error, RequestTimeoutError)
    return "timed_out" if late and outcome.seconds >= timeout - WAY else "failed"


def real_rows(outcomes: list[Outcome], timeout: float) -> list[dict[str, Any]]:
    return [
        {
            "end": ended(outcome, timeout),
            "backend": outcome.backend,
            "seconds": outcome.seconds,
            "attempts": outcome.attempts,
        }
        for outcome in outcomes
    ]


def both(
    trace: Trace, hosts: list[Host], **terms: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What became of the calls of a trace, by the simulator and by the Router."""
    strategy = terms.pop("strategy", "composite")
    stream = terms.pop("stream", False)

    def make(urls: dict[str, str]) -> Router:
        backends = [host.backend(urls[host.name]) for host in hosts]
        return Router(backends, strategy=strategy, seed=1, **terms)

    mocks = [host.mock for host in hosts]
    outcomes = for_real(trace, mocks, make, **({"stream": True} if stream else {}))
    fleet = Fleet(
        [host.backend() for host in hosts],
        services={host.name: host.service for host in hosts},
        troubles=[trouble for host in hosts for trouble in host.troubles],
        **terms,
    )
    how: Any = {"strategy": strategy, "stream": stream}
    how |= {"estimate_error": 0, "samples": True}
    return run(trace, fleet, seed=1, **how).requests(), real_rows(
        outcomes, terms.get("timeout", 600)
    )


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of ends and of backends, attempts a call, seconds of the answers."""
    n = len(rows)
    done = sorted(row["seconds"] for row in rows if row["end"] == "done")
    told = {
        f"end {end}": sum(row["end"] == end for row in rows) / n
        for end in ("done", "failed", "timed_out", "refused")
    }
    for name in sorted({row["backend"] for row in rows} - {None}):
        told[f"at {name}"] = sum(row["backend"] == name for row in rows) / n
    told["attempts"] = sum(row["attempts"] for row in rows) / n
    told["mean"] = sum(done) / max(len(done), 1)
    told["p95"] = done[int(0.95 * len(done))] if done else 0.0
    return told


def apart(
    simulated: list[dict[str, Any]], real: list[dict[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Shares more than 2 points apart, and seconds or attempts more than 5 %."""
    ours, theirs = figures(simulated), figures(real)
    most = {
        name: 0.02 if " " in name else max(0.05 * theirs.get(name, 0), 0.01)
        for name in ours | theirs
    }
    return {
        name: (ours.get(name, 0), theirs.get(name, 0))
        for name, bound in most.items()
        if abs(ours.get(name, 0) - theirs.get(name, 0)) > bound
    }


def calls(rate: float, seconds: float, **lengths: Any) -> Trace:
    told: Any = {"input": (200, 0.5), "output": (50, 0.5), "seed": 4} | lengths
    return Trace.poisson(rate, seconds, **told).in_group("all")


def test_answers_in_one_piece_do_not_tell_when_their_first_token_came() -> None:
    """So the router splits their time as it does for hosts it does not know, and sends
    short calls to a host that is slow to begin. Streams tell."""
    trace = calls(20, 120, output=(60, 1.0))
    hosts = [Host("late", 1.0, 0.002), Host("early", 0.1, 0.02)]
    ours, real = both(trace, hosts, strategy="latency")
    simulated, share = figures(ours)["at late"], figures(real)["at late"]
    assert simulated == pytest.approx(share, abs=0.15)
    services = {host.name: host.service for host in hosts}
    fleet = Fleet([host.backend() for host in hosts], services=services)
    streams = run(trace, fleet, strategy="latency", stream=True).to_dict()
    assert streams["share"]["late"] > simulated + 0.2


CROWDED = Limits(rpm=600, burst_seconds=4)


@pytest.mark.parametrize(
    "terms",
    [
        {"timeout": 60},
        {"timeout": 5},
        {"timeout": 60, "max_waiting": 10},
        {"wait": False},
    ],
    ids=str,
)
def test_calls_wait_in_line_as_long_and_as_many_as_they_really_do(terms: Any) -> None:
    """Half as many again as the limit allows: 15 calls a second for 10."""
    ours, real = both(calls(15, 60), [Host("one", limits=CROWDED)], **terms)
    assert apart(ours, real) == {}
    assert figures(real)["mean"] > 2 or figures(real)["end refused"] > 0.2


def test_who_comes_first_is_served_first() -> None:
    ours, real = both(calls(15, 30), [Host("one", token=0, limits=CROWDED)])
    for rows in (ours, real):
        ends = [
            at / 1e9 + row["seconds"]
            for at, row in zip(calls(15, 30).at, rows, strict=True)
        ]
        assert ends == sorted(ends)


def front_and_back(**terms: Any) -> dict[str, Any]:
    """A group and its fallback."""
    return {"groups": [Group(name="all", fallbacks=["back"], **terms)], "timeout": 60}


def two_groups(slow: float = 0.05) -> list[Host]:
    return [
        Host("first", 0.2, slow),
        Host("second", 0.3, slow, price=Price(2, 8)),
        Host("behind", 0.1, 0.01, groups=("back",), price=Price(3, 12)),
    ]


def test_a_group_keeps_a_call_no_longer_than_its_time_out() -> None:
    """Answers take 0.2 s and 20 ms a token: the longest are left after 2 s."""
    ours, real = both(calls(5, 300), two_groups(0.02), **front_and_back(timeout=2))
    assert apart(ours, real) == {}
    assert 0.02 < figures(real)["at behind"] < 0.8


@pytest.mark.parametrize(
    "terms",
    [{}, {"max_attempts": 1}, {"max_attempts": 5}, {"attempts": {"server": 1}}],
    ids=str,
)
def test_a_group_makes_no_more_attempts_than_it_may(terms: dict[str, Any]) -> None:
    hosts = two_groups(0.01)
    hosts[0].fails(20, 60)
    hosts[1].hangs(40, 60)
    ours, real = both(calls(5, 120), hosts, **front_and_back(**terms))
    assert apart(ours, real) == {}
    assert figures(real)["at behind"] > 0.02


def test_attempts_are_counted_by_the_kind_of_the_first_failure() -> None:
    terms = {"attempts": {"rate_limit": 1, "server": 2}, "max_attempts": 3}
    hosts = two_groups(0.01)
    hosts[0].refuses(10, 30, after=2).fails(60, 30)
    hosts[1].fails(20, 60)
    ours, real = both(calls(5, 120), hosts, **front_and_back(**terms))
    assert apart(ours, real) == {}


@pytest.mark.parametrize("budget", [0.2, 0.0, 2.0, None], ids=str)
def test_repetitions_are_as_many_as_the_retry_budget_allows(
    budget: float | None,
) -> None:
    """Two hosts fail, each for a while alone and for a while with the other."""
    hosts = [Host("first", 0.2).fails(10, 40), Host("second", 0.2).fails(30, 40)]
    ours, real = both(calls(10, 90), hosts, retry_budget=budget)
    assert apart(ours, real) == {}
    assert 0.02 < figures(real)["end failed"] < 0.5


def test_prompts_that_are_too_long_go_where_their_group_sends_them() -> None:
    """And from there on, if they are too long for that group as well."""
    hosts = [
        Host("short", context=300),
        Host("long", groups=("long",), context=500, price=Price(2, 8)),
        Host("longest", groups=("longest",), price=Price(3, 12)),
        Host("other", groups=("other",)),
    ]
    groups = [
        Group(name="all", fallbacks=["other"], context_fallbacks=["long"]),
        Group(name="long", context_fallbacks=["longest"]),
    ]
    ours, real = both(calls(5, 120), hosts, groups=groups)
    assert apart(ours, real) == {}
    assert 0.1 < figures(real)["at long"] < 0.5
    assert 0.01 < figures(real)["at longest"] < 0.2


def test_an_attempt_takes_no_longer_than_time_outs_allow() -> None:
    hosts = two_groups(0.04)
    terms = front_and_back() | {"timeouts": Timeouts(total=2)}
    hosts[2] = Host("behind", groups=("back",), timeouts=Timeouts(first_byte=0.5))
    ours, real = both(calls(5, 200), hosts, **terms)
    assert apart(ours, real) == {}
    assert 0.2 < figures(real)["end failed"] < 0.8


@pytest.mark.parametrize("strategy", ["composite", "least_busy"])
def test_streams_go_where_they_really_go_and_take_as_long(strategy: str) -> None:
    hosts = [
        Host("cheap", 0.3, 0.02, limits=Limits(rpm=300, burst_seconds=10)),
        Host("dear", 0.1, 0.005, price=Price(2, 8)),
    ]
    trace = calls(20, 30, output=(30, 1.0))
    ours, real = both(trace, hosts, strategy=strategy, stream=True, timeout=20)
    assert apart(ours, real) == {}
    assert 0.1 < figures(real)["at cheap"] < 0.9


def test_streams_are_left_when_their_first_token_does_not_come() -> None:
    """By hosts that fail, hang, or are slower than `first_token` allows."""
    hosts = two_groups(0.01)
    hosts[0].fails(10, 10).hangs(25, 5)
    hosts[1] = Host("second", 2.0, 0.01, price=Price(2, 8)).hangs(15, 10)
    terms = front_and_back(timeout=4) | {"timeouts": Timeouts(first_token=1)}
    ours, real = both(calls(5, 40, output=(30, 0.5)), hosts, stream=True, **terms)
    assert apart(ours, real) == {}
    assert figures(real)["attempts"] > 1.02

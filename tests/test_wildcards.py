"""Wildcards: which pattern a name falls under, what is sent, what is shared."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import (
    Backend,
    Budget,
    BudgetExceededError,
    ConfigError,
    Experiment,
    Group,
    Limits,
    NoBackendError,
    Price,
    RateLimitedError,
    Router,
    UnknownModelError,
)
from llmbalance._fleet._wildcards import Pattern, Wildcards, fill
from llmbalance._types import Call

ASK = [{"role": "user", "content": "What is the capital of France?"}]
FREE = Price(0, 0)


@pytest.fixture
def server(llm_provider: Any) -> Any:
    """A provider that answers for every model."""
    return llm_provider("openai", name="any")


def wild(server: Any, model: str = "openai/*", **options: Any) -> Backend:
    return Backend(model, api_key="test-key", base_url=server.base_url, **options)


def asked_for(server: Any) -> list[str]:
    return [json.loads(seen.body)["model"] for seen in server.requests]


# -- patterns ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "stood_for"),
    [
        ("openai/*", "openai/gpt-4o", ("gpt-4o",)),
        ("openai/*", "openai/ft:gpt-4o:acme::x1", ("ft:gpt-4o:acme::x1",)),
        ("*", "anything", ("anything",)),
        ("a-*-b", "a-x-b", ("x",)),
        ("a-*-b", "a--b", None),
        ("openai/*", "openai/", None),
        ("*/*", "meta/llama/3", ("meta", "llama/3")),
        ("fo::*:static::*", "fo::bar:static::baz", ("bar", "baz")),
        ("*a*", "aaa", ("a", "a")),
        ("ab*ba", "aba", None),
        ("openai/*", "azure/gpt-4o", None),
    ],
)
def test_a_star_stands_for_one_character_or_more(pattern, name, stood_for):
    assert Pattern(pattern).match(name) == stood_for


@given(
    words=st.lists(st.text("abx/", min_size=1, max_size=4), min_size=1, max_size=4),
    between=st.lists(st.text("abx/", max_size=3), min_size=5, max_size=5),
)
def test_what_a_pattern_is_filled_with_falls_under_it(words, between):
    inner = [part or "-" for part in between[1 : len(words)]]
    pattern = "*".join([between[0], *inner, between[4]])
    name = fill(pattern, words)
    stood_for = Pattern(pattern).match(name)
    assert stood_for is not None and fill(pattern, stood_for) == name


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("openai/gpt-4o", "openai/gpt-*"),
        ("openai/o3", "openai/*"),
        ("openai/gpt-4o-mini", "*-mini"),
        ("else", "*"),
    ],
)
def test_the_longest_literal_part_wins(name, pattern):
    table = Wildcards(["*", "openai/*", "openai/gpt-*", "*-mini", "openai/gpt-*-pro"])
    if pattern == "*-mini":  # "openai/gpt-" is longer
        pattern = "openai/gpt-*"
    found = table.find(name)
    assert found is not None and found[0] == pattern


@pytest.mark.parametrize(
    "name",
    [
        "openai/a b",
        "openai/a\nX-Evil: 1",
        "openai/\x00",
        "openai/../admin",
        "openai//admin",
        "openai/a?key=1",
        "openai/a#b",
        "openai/a%2e",
        "openai/*",
        "openai/é",
        "/openai/x",
        "openai/" + "x" * 200,
    ],
)
async def test_a_name_that_is_none_goes_nowhere(server, name):
    async with Router([wild(server)]) as router:
        before = router.backends
        with pytest.raises((UnknownModelError, NoBackendError)) as caught:
            await router.chat(name, ASK)
        assert len(str(caught.value)) < 400
        assert router.backends == before
    assert not server.requests


# -- calls ------------------------------------------------------------------------


async def test_a_model_nobody_names_goes_to_the_wildcard(server):
    async with Router([wild(server)]) as router:
        reply = await router.chat("openai/gpt-4o-mini", ASK)
        assert reply.backend == "openai/gpt-4o-mini"
        assert reply.cost is not None and reply.cost > 0  # by the price table
        again = await router.chat("openai/gpt-4o-mini", ASK)
        assert again.backend == reply.backend
        assert router.backends == ["openai/*", "openai/gpt-4o-mini"]
        stats = router.stats()["backends"]
        assert stats["openai/gpt-4o-mini"]["requests"] == 2
        assert stats["openai/*"]["requests"] == 0
        row = router.costs()["backends"]["openai/gpt-4o-mini"]
        assert row["requests"] == 2
    assert asked_for(server) == ["gpt-4o-mini"] * 2


async def test_exact_names_win_over_wildcards(llm_provider, server):
    own = llm_provider("openai", name="own", model="gpt-4o")
    backends = [wild(server), wild(own, "openai/gpt-4o", name="own")]
    async with Router(backends) as router:
        assert (await router.chat("openai/gpt-4o", ASK)).backend == "own"
        assert (await router.chat("openai/o3", ASK)).backend == "openai/o3"


async def test_what_the_star_stood_for_is_put_into_the_model(server):
    backends = [wild(server, "openai/claude-*", groups=["claude-*", "best/*"])]
    async with Router(backends) as router:
        reply = await router.chat("claude-opus-4-5", ASK)
        assert reply.backend == "openai/claude-opus-4-5"
        other = await router.chat("best/opus-4-5", ASK)
        assert other.backend == "openai/claude-opus-4-5"
        assert router.stats()["backends"][reply.backend]["requests"] == 2
    assert asked_for(server) == ["claude-opus-4-5"] * 2


async def test_a_star_alone_catches_everything_else(llm_provider, server):
    last = llm_provider("openai", name="last", model="gpt-4o")
    backends = [wild(server), wild(last, "openai/gpt-4o", groups=["*"], name="last")]
    async with Router(backends) as router:
        assert (await router.chat("what-ever", ASK)).backend == "last"
        assert (await router.chat("openai/o3", ASK)).backend == "openai/o3"
        assert router.backends == ["openai/*", "last", "openai/o3"]


async def test_wildcards_of_one_name_are_one_group(llm_provider):
    servers = [llm_provider("openai", name=n) for n in ("a", "b")]
    backends = [wild(s, name=s.name, price=FREE) for s in servers]
    async with Router(backends, strategy="round_robin") as router:
        found = [(await router.chat("openai/x", ASK)).backend for _ in range(4)]
    assert sorted(found) == ["a/x", "a/x", "b/x", "b/x"]


async def test_another_account_takes_over_when_one_fails(llm_provider):
    bad = llm_provider("openai", name="a", error_rate=1.0)
    good = llm_provider("openai", name="b")
    backends = [wild(bad, name="a", price=FREE), wild(good, name="b", price=FREE)]
    async with Router(backends, strategy="round_robin", seed=1) as router:
        for _ in range(4):
            assert (await router.chat("openai/x", ASK)).backend == "b/x"


async def test_streams_embeddings_and_leases_come_through_wildcards(server):
    async with Router([wild(server)]) as router:
        text = ""
        stream = await router.chat("openai/gpt-4o", ASK, stream=True)
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        assert text
        reply = await router.embed("openai/text-embedding-3-small", ["a", "b"])
        assert reply.backend == "openai/text-embedding-3-small"
        with router.acquire("openai/gpt-4o-mini", ASK) as lease:
            assert (lease.model, lease.provider) == ("gpt-4o-mini", "openai")
            lease.settle(status=200, usage={"prompt_tokens": 5, "completion_tokens": 1})
        told = router.explain("openai/o3", ASK)
        assert "openai/o3" in str(told)
        counted = await router.count_tokens("openai/gpt-4.1", ASK)
        assert counted.backend == "openai/gpt-4.1"


def test_blocking_calls_come_through_wildcards(server):
    router = Router([wild(server)])
    assert router.sync.chat("openai/gpt-4o", ASK).backend == "openai/gpt-4o"


def test_many_threads_open_one_name_once(server):
    router = Router([wild(server)])
    barrier, wrong = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        for i in range(20):
            try:
                with router.acquire(f"openai/m-{i}", ASK) as lease:
                    lease.release()
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(router.backends) == sorted(
        ["openai/*", *(f"openai/m-{i}" for i in range(20))]
    )


# -- one account ------------------------------------------------------------------


async def test_rate_limits_are_those_of_the_account(server):
    backends = [wild(server, limits=Limits(rpm=3))]
    async with Router(backends, wait=False, stop_at=1.0) as router:
        for name in ("gpt-4o", "o3", "gpt-4.1"):
            await router.chat(f"openai/{name}", ASK)
        with pytest.raises(RateLimitedError):
            await router.chat("openai/gpt-4o-mini", ASK)
        with pytest.raises(RateLimitedError):
            await router.chat("openai/gpt-4o", ASK)


async def test_calls_in_flight_are_those_of_the_account(server):
    backends = [wild(server, limits=Limits(concurrency=2))]
    async with Router(backends, wait=False) as router:
        with router.acquire("openai/a", ASK), router.acquire("openai/b", ASK) as held:
            with pytest.raises(RateLimitedError), router.acquire("openai/c", ASK):
                pass
            held.release()
            with router.acquire("openai/c", ASK) as third:
                third.release()


async def test_connections_are_those_of_the_account(server):
    async with Router([wild(server)]) as router:
        for name in ("a", "b", "c"):
            await router.chat(f"openai/{name}", ASK)
        origins = {id(t.origin) for t in router._fleet.targets}
    assert len(origins) == 1


async def test_breakers_and_latencies_are_each_models_own(server):
    async with Router([wild(server, price=FREE)]) as router:
        await router.chat("openai/a", ASK)
        await router.chat("openai/b", ASK)
        router.open_breaker("openai/a")
        with pytest.raises(NoBackendError):
            await router.chat("openai/a", ASK)
        assert (await router.chat("openai/b", ASK)).backend == "openai/b"


async def test_what_is_done_to_a_wildcard_is_done_to_all_its_models(server):
    async with Router([wild(server, price=FREE)], wait=False) as router:
        await router.chat("openai/a", ASK)
        router.set_weight("openai/*", 0)
        for name in ("openai/a", "openai/later"):
            with pytest.raises(NoBackendError):
                await router.chat(name, ASK)
        router.set_weight("openai/*", 1)
        for name in ("openai/a", "openai/later"):
            assert (await router.chat(name, ASK)).backend == name
        router.open_breaker("openai/*")
        for name in ("openai/a", "openai/last"):
            with pytest.raises(NoBackendError):
                await router.chat(name, ASK)
        router.reset_breaker("openai/*")
        assert (await router.chat("openai/last", ASK)).backend == "openai/last"
        with pytest.raises(ConfigError, match="many models"):
            router.set_price("openai/*", FREE)
        router.set_price("openai/a", Price(1, 1))


async def test_health_asks_an_account_once(server):
    async with Router([wild(server, price=FREE)]) as router:
        for name in ("a", "b"):
            await router.chat(f"openai/{name}", ASK)
        server.clear()
        report = await router.health()
        assert [row["ok"] for row in report.rows()] == [True] * 3
        assert len(server.requests) == 1


# -- money ------------------------------------------------------------------------


async def test_a_wildcards_own_price_holds_for_all_its_models(server):
    async with Router([wild(server, price=Price(1000, 1000))]) as router:
        reply = await router.chat("openai/gpt-4o-mini", ASK)
        used = reply.usage
        assert reply.cost == pytest.approx(1e-3 * used.total_tokens)


async def test_unknown_prices_follow_the_policy(server):
    plain = wild(server, "openai/gpt-4o")
    async with Router([wild(server), plain]) as router:
        reply = await router.chat("openai/never-heard-of", ASK)
        assert reply.cost is None  # counted as the dearest, not known
    async with Router([wild(server), plain], unknown_price="refuse") as router:
        with pytest.raises(UnknownModelError, match="price"):
            await router.chat("openai/never-heard-of", ASK)
        assert len(router.backends) == 2
    async with Router([wild(server)], unknown_price=Price(5, 5)) as router:
        assert (await router.chat("openai/never-heard-of", ASK)).cost is None
    async with Router([wild(server)]) as router:  # the dearest of all of OpenAI's
        assert (await router.chat("openai/never-heard-of", ASK)).cost is None
        index = router._fleet.index("openai/never-heard-of")
        row = router._fleet.rates.rows[index]
        assert row.cost(input=1_000_000) >= 10_000_000_000
    nobody = wild(server, "openai_compatible/*")
    async with Router([nobody]) as router:
        with pytest.raises(UnknownModelError, match="price"):
            await router.chat("openai_compatible/never-heard-of", ASK)


@pytest.mark.parametrize("scope", ["backend", "group"])
async def test_a_wildcards_budget_is_for_all_its_models_together(server, scope):
    budget = Budget(usd=0.0015, per="total", **{scope: "openai/*"})
    backends = [wild(server, price=Price(10, 10))]
    async with Router(backends, budgets=[budget]) as router:
        await router.chat("openai/a", ASK, max_tokens=50)
        with pytest.raises(BudgetExceededError):
            for i in range(20):
                await router.chat(f"openai/b{i}", ASK, max_tokens=50)
        spent = router._fleet.pool.spent(router._fleet.meters[0].index)[0]
    assert 0 < spent <= 1_500_000


@pytest.mark.parametrize("scope", ["backend", "group"])
@pytest.mark.parametrize("name", ["", "acct", "mine-*"])
async def test_a_wildcards_budget_survives_a_restart(server, scope, name, tmp_path):
    scoped = {"group": "openai/*", "backend": name or "openai/*"}[scope]
    options: dict[str, Any] = {
        "budgets": [Budget(usd=5, per="day", **{scope: scoped})],
        "ledger": tmp_path / "ledger.sqlite",
    }
    backends = [
        wild(server, price=Price(10, 10), name=name),
        wild(server, "openai/own", name="own", price=Price(10, 10)),
    ]
    async with Router(backends, **options) as router:
        for model in ("openai/a", "openai/b", "own"):
            await router.chat(model, ASK)
        before = router._fleet.pool.spent(router._fleet.meters[0].index)[0]
    async with Router(backends, **options) as router:
        after = router._fleet.pool.spent(router._fleet.meters[0].index)[0]
    assert before == after > 0


async def test_a_restart_remembers_how_fast_a_model_was(server, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    async with Router([wild(server, price=FREE)], ledger=ledger) as router:
        for _ in range(3):
            await router.chat("openai/a", ASK)
    async with Router([wild(server, price=FREE)], ledger=ledger) as router:
        router.explain("openai/a", ASK)
        index = router._fleet.index("openai/a")
        assert router._fleet.pool.learned("backend", index)["samples"] > 0


# -- bounds -----------------------------------------------------------------------


async def test_names_are_not_opened_without_end(server):
    async with Router([wild(server, price=FREE)], max_models=3) as router:
        for i in range(3):
            await router.chat(f"openai/m{i}", ASK)
        with pytest.raises(UnknownModelError, match="max_models=3"):
            await router.chat("openai/m3", ASK)
        assert (await router.chat("openai/m1", ASK)).backend == "openai/m1"
        assert len(router.backends) == 4


def test_who_runs_out_of_names_is_told_before(server, caplog):
    router = Router([wild(server, price=FREE)], max_models=8)
    told = []
    for i in range(8):
        router.explain(f"openai/m{i}", ASK)
        router.explain(f"openai/m{i}", ASK)
        told.append(len([r for r in caplog.records if "max_models=8" in r.message]))
    assert told == [0, 0, 0, 0, 0, 1, 1, 2]
    assert router.stats()["models"] == {"opened": 8, "most": 8}


def test_a_fleet_without_wildcards_says_nothing_of_names():
    assert "models" not in Router([Backend("ollama/a")]).stats()


async def test_a_thousand_bad_names_leave_nothing_behind(server):
    async with Router([wild(server, price=FREE)], max_models=8) as router:
        for i in range(1000):
            with pytest.raises(UnknownModelError):
                router.explain(f"nobody/m{i}", ASK)
            with pytest.raises(UnknownModelError):
                router.explain(f"openai/m {i}", ASK)
        assert router.backends == ["openai/*"]
        assert router.explain("openai/good", ASK)


def test_the_error_for_an_unknown_name_lists_no_opened_ones(server):
    router = Router([wild(server, price=FREE)])
    router.explain("openai/secret-project", ASK)
    with pytest.raises(UnknownModelError) as caught:
        router.explain("nobody/x", ASK)
    assert "secret-project" not in str(caught.value)


# -- groups -----------------------------------------------------------------------


async def test_a_wildcards_terms_hold_for_each_of_its_models(llm_provider, server):
    down = llm_provider("openai", name="down", error_rate=1.0)
    backends = [
        wild(down, price=FREE, name="down-*"),
        wild(server, "openai/own", groups=["rest"], name="own", price=FREE),
    ]
    groups = [Group(name="openai/*", fallbacks=["rest"], max_attempts=1)]
    async with Router(backends, groups=groups) as router:
        reply = await router.chat("openai/a", ASK)
    assert [a.backend for a in reply.attempts] == ["down-a", "own"]


async def test_a_wildcard_falls_back_to_the_same_model_elsewhere(llm_provider, server):
    down = llm_provider("openai", name="down", error_rate=1.0)
    backends = [
        wild(down, price=FREE),
        wild(server, "openai_compatible/*", price=FREE),
    ]
    chains = {"openai/*": ["openai_compatible/*"], "openai_compatible/*": ["openai/*"]}
    async with Router(backends, fallbacks=chains) as router:
        reply = await router.chat("openai/a", ASK)
        assert reply.backend == "openai_compatible/a"
        router.explain("openai_compatible/b", ASK)
        chain = router._fleet.fallbacks
        number = router._fleet.groups["openai_compatible/b"]
        [other] = chain[number]
        assert router._fleet.group_names[other] == "openai/b"


async def test_fallbacks_aliases_and_groups_may_name_what_a_wildcard_serves(
    llm_provider, server
):
    down = llm_provider("openai", name="down", model="gpt-4o", error_rate=1.0)
    backends = [
        wild(server, price=FREE),
        wild(down, "openai/gpt-4o", groups=["best"], name="down", price=FREE),
    ]
    async with Router(
        backends,
        fallbacks={"best": ["openai/o3"]},
        aliases={"mini": "openai/gpt-4o-mini", "gpt/*": "openai/gpt-*"},
        groups=[Group(name="openai/o1", strategy="cost")],
    ) as router:
        assert (await router.chat("best", ASK)).backend == "openai/o3"
        assert (await router.chat("mini", ASK)).backend == "openai/gpt-4o-mini"
        assert (await router.chat("gpt/9", ASK)).backend == "openai/gpt-9"
        told = router.explain("openai/o1", ASK)
        assert told
        assert (await router.chat("openai/zzz", ASK, fallbacks=["openai/y"])).backend


def test_strategy_and_quality_of_a_wildcard_group(server):
    backends = [
        wild(server, name="good", quality=5, price=FREE),
        wild(server, name="bad", quality=1, price=FREE),
    ]
    groups = [Group(name="openai/*", strategy="cost", min_quality=3)]
    router = Router(backends, groups=groups)
    with router.acquire("openai/x", ASK) as lease:
        assert lease.backend == "good/x"
        assert lease.decision.to_dict()["strategy"] == "cost"
        lease.release()


def test_tags_and_min_quality_of_a_call_hold_for_what_came_through(server):
    backends = [
        wild(server, name="eu", tags=["eu"], quality=2, price=FREE),
        wild(server, name="us", tags=["us"], quality=9, price=FREE),
    ]
    router = Router(backends)
    with router.acquire("openai/x", ASK, tags=["eu"]) as lease:
        assert lease.backend == "eu/x"
        lease.release()
    with router.acquire("openai/x", ASK, min_quality=5) as lease:
        assert lease.backend == "us/x"
        lease.release()


async def test_an_experiment_may_be_about_a_wildcard(server):
    backends = [
        wild(server, price=FREE),
        wild(server, "openai/own", name="own", price=FREE),
    ]
    split = Experiment(
        name="e", arms={"a": {"model": "own"}, "b": {}}, models=["openai/*"]
    )
    async with Router(backends, experiments=[split], seed=1) as router:
        found = {(await router.chat(f"openai/m{i}", ASK)).backend for i in range(20)}
        assert "own" in found and len(found) > 5


# -- what is refused at once ------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "field"),
    [
        ("*/gpt-4o", {}, "model"),
        ("openai/a**", {}, "model"),
        ("openai/*", {"groups": ["frontier"]}, "groups"),
        ("openai/*", {"groups": ["*/*"]}, "groups"),
        ("openai/gpt-4o", {"groups": ["a**"]}, "groups"),
        ("openai/*", {"tuned": {"a": "b"}}, "tuned"),
        ("openai/gpt-4o", {"tuned": {"a": ""}}, "tuned"),
        ("openai/gpt-4o", {"tuned": {"a": "ft:*"}}, "tuned"),
        ("openai/gpt-4o", {"tuned": "x"}, "tuned"),
    ],
)
def test_patterns_that_say_not_what_they_mean_are_refused(model, options, field):
    with pytest.raises(ConfigError) as caught:
        Backend(model, api_key="k", **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"fallbacks": {"own": ["openai/*"]}}, "fallbacks"),
        ({"aliases": {"a/*": "*/*"}}, "aliases"),
        ({"aliases": {"a": "nobody/x"}}, "aliases"),
        ({"aliases": {"a/*": "nobody/x"}}, "aliases"),
        ({"aliases": {"a/*": "nobody/*"}}, "aliases"),
        ({"groups": [Group(name="openai/*", min_quality=9)]}, "min_quality"),
        ({"max_models": -1}, "max_models"),
        ({"max_models": 1 << 20}, "max_models"),
        ({"max_models": 2.5}, "max_models"),
        ({"groups": [Group(name="elsewhere/*")]}, "groups"),
    ],
)
def test_settings_of_wildcards_that_cannot_be_are_refused(server, options, field):
    backends = [wild(server), wild(server, "openai/own", name="own", price=FREE)]
    with pytest.raises(ConfigError) as caught:
        Router(backends, **options)
    assert caught.value.field == field


def test_a_router_with_opened_names_is_freed_when_it_is_dropped(server):
    router = Router([wild(server, price=FREE)])
    router.explain("openai/a", ASK)
    fleet = weakref.ref(router._fleet)
    del router
    gc.collect()
    assert fleet() is None


PLACES: list[tuple[str, dict[str, Any], str]] = [
    ("anthropic/*", {}, "claude-opus-4-5"),
    ("google/*", {}, "gemini-2.5-pro"),
    ("vertex/*", {"options": {"project": "p", "region": "r"}}, "gemini-2.5-pro"),
    ("vertex/*", {"options": {"project": "p", "region": "r"}}, "claude-opus-4-5"),
    ("azure/*", {"base_url": "https://x.openai.azure.com"}, "gpt-4o"),
    ("bedrock/*", {"options": {"region": "us-east-1"}}, "us.anthropic.claude-x-v1:0"),
    ("ollama/*", {}, "llama3.1:8b"),
    ("groq/*", {}, "meta-llama/llama-4"),
    ("openrouter/*", {}, "openai/gpt-4o"),
    ("mistral/*", {}, "mistral-large-latest"),
    ("xai/*", {}, "grok-4"),
]


@pytest.mark.parametrize(("model", "options", "name"), PLACES)
def test_every_provider_takes_wildcards(model, options, name):
    router = Router([Backend(model, api_key="k", price=FREE, **options)])
    called = model.replace("*", name)
    with router.acquire(called, ASK) as lease:
        assert lease.backend == called
        assert lease.model == name
        lease.release()
    base, made = router._fleet.targets
    assert made.origin is base.origin
    plain = Router([Backend(called, api_key="k", price=FREE, **options)])
    [same] = plain._fleet.targets
    assert type(made.dialect) is type(same.dialect)
    call = Call(kind="chat", model=called, messages=ASK)
    ours, theirs = made.dialect.chat(call), same.dialect.chat(call)
    assert (ours.target, ours.body) == (theirs.target, theirs.body)

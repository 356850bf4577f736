"""Mirrors: copies of calls that nobody waits for and nobody is hurt by."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Budget,
    CallEvent,
    ConfigError,
    Group,
    Ledger,
    Limits,
    Mirror,
    Price,
    ProviderError,
    Router,
)

ASK = [{"role": "user", "content": "What is the capital of France?"}]
ALL = Mirror(to="mid", share=1.0, models=["big"])


@pytest.fixture
def make(llm_provider: Any) -> Any:
    def build(
        *mirrors: Mirror, limits: Limits | None = None, **options: Any
    ) -> tuple[dict[str, Any], Router]:
        providers = {
            name: llm_provider("openai", name=name, model="gpt-4o")
            for name in ("big", "mid")
        }
        backends = [
            Backend(
                "openai/gpt-4o",
                name=f"b-{name}",
                groups=[name],
                api_key="test-key",
                base_url=provider.base_url,
                price=Price(10, 20) if name == "big" else Price(1, 2),
                limits=limits if name == "mid" and limits else Limits(),
            )
            for name, provider in providers.items()
        ]
        return providers, Router(
            backends, mirrors=mirrors, seed=1, **({"timeout": 20} | options)
        )

    return build


async def done(router: Router, name: str = "mid") -> dict[str, Any]:
    """The figures of a mirror once nothing of it is in flight."""
    return await asyncio.to_thread(done_blocking, router, name)


def done_blocking(
    router: Router, name: str = "mid", good: Callable[[Any], bool] = bool
) -> dict[str, Any]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        row = router.mirrors()[name]
        if not row["in_flight"] and good(row):
            return dict(row)
        time.sleep(0.005)
    raise AssertionError(f"a copy is still in flight: {row}")


async def test_an_answered_call_is_sent_again_elsewhere(make):
    providers, router = make(ALL)
    async with router:
        reply = await router.chat("big", ASK, max_tokens=40, temperature=0.3)
        await router.chat("mid", ASK)
        row = await done(router)
    assert reply.backend == "b-big"
    first, second = (json.loads(providers["mid"].requests[i].body) for i in (0, 1))
    sent = first if "temperature" in first else second
    assert sent["messages"] == ASK
    assert sent["temperature"] == 0.3
    assert 40 in sent.values()
    assert len(providers["mid"].requests) == 2
    assert (row["sent"], row["answered"], row["failed"]) == (1, 1, 0)
    assert row["original_cost"] == pytest.approx(reply.cost)
    assert 0 < row["cost"] < reply.cost
    assert row["p50"] > 0


async def test_a_share_of_the_calls_is_copied_and_no_other_ones(make):
    mirror = Mirror(to="mid", share=0.3, tags=["team=a"], name="shadow")
    _, router = make(mirror)
    async with router:
        for _ in range(100):
            await router.chat("big", ASK, tags="team=a")
            await router.chat("big", ASK)
        row = await done(router, "shadow")
    assert 15 <= row["sent"] + row["dropped"] <= 45


async def test_failures_and_delays_of_copies_never_reach_the_caller(make):
    providers, router = make(ALL)
    async with router:
        providers["mid"].fail_next(3, status=500)
        await router.chat("big", ASK)
        await done(router)
        providers["mid"].hang()
        began = time.monotonic()
        for _ in range(3):
            assert (await router.chat("big", ASK)).backend == "b-big"
        assert time.monotonic() - began < 5
        assert router.mirrors()["mid"]["in_flight"] == 3
    row = await done(router)
    assert row["failed"] == 4
    assert row["failures"]["cancelled"] == 3
    assert router.stats()["backends"]["b-mid"]["in_flight"] == 0


@pytest.mark.parametrize("end", ["close", "aclose", "drop"])
def test_copies_of_blocking_calls_end_with_their_router(make, tmp_path, end):
    providers, router = make(ALL, ledger=tmp_path / "costs.db")
    providers["mid"].hang()
    for _ in range(3):
        router.sync.chat("big", ASK)
    until = time.monotonic() + 5
    while len(providers["mid"].requests) < 3 and time.monotonic() < until:
        time.sleep(0.005)
    if end == "close":
        router.close()
    elif end == "aclose":
        asyncio.run(router.aclose())
    if end != "drop":
        row = router.mirrors()["mid"]
        assert (row["failures"], row["in_flight"]) == ({"cancelled": 3}, 0)
        assert router.stats()["backends"]["b-mid"]["in_flight"] == 0
    del router
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "llmbalance-mirror"]
    book = Ledger(tmp_path / "costs.db")
    rows = [entry for entry in book.entries() if entry.kind == "mirror"]
    assert [entry.status for entry in rows] == ["cancelled"] * 3
    assert all(entry.cost_nano for entry in rows)  # what was sent is billed
    book.close()


async def test_a_copy_that_is_too_long_for_its_group_goes_nowhere_else(make):
    groups = [Group(name="mid", context_fallbacks=["big"])]
    providers, router = make(ALL, groups=groups)
    async with router:
        body = {"error": {"code": "context_length_exceeded", "message": "too long"}}
        providers["mid"].fail_next(1, status=400, body=json.dumps(body))
        await router.chat("big", ASK)
        row = await done(router)
    assert row["failures"] == {"ContextLengthError": 1}
    assert len(providers["big"].requests) == 1


async def test_copies_beyond_the_bound_are_dropped_and_counted(make):
    mirror = Mirror(to="mid", share=1.0, models=["big"], max_in_flight=2)
    providers, router = make(mirror)
    providers["mid"].hang()
    async with router:
        for _ in range(5):
            await router.chat("big", ASK)
        row = router.mirrors()["mid"]
        assert (row["sent"], row["dropped"], row["in_flight"]) == (2, 3, 2)


async def test_a_failed_call_and_one_that_is_left_are_not_copied(make):
    providers, router = make(ALL)
    async with router:
        providers["big"].fail_next(1, status=400)
        with pytest.raises(ProviderError):
            await router.chat("big", ASK)
        providers["big"].hang()
        call = asyncio.create_task(router.chat("big", ASK))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert router.mirrors()["mid"]["sent"] == 0


async def test_a_copy_does_not_wait_for_room_nor_go_to_fallbacks(make):
    providers, router = make(
        ALL, limits=Limits(rpm=1), fallbacks={"mid": ["big"]}, timeout=30
    )
    async with router:
        for _ in range(3):
            await router.chat("big", ASK)
            row = await done(router)
    assert (row["answered"], row["failed"]) == (1, 2)
    assert row["failures"] == {"RateLimitedError": 2}
    assert len(providers["big"].requests) == 3


async def test_a_copy_goes_only_to_backends_with_the_tags_of_its_call(llm_provider):
    provider = llm_provider("openai", name="p", model="gpt-4o")
    backends = [
        Backend(
            "openai/gpt-4o",
            name=name,
            groups=[name[:3]],
            tags=tags,
            api_key="test-key",
            base_url=provider.base_url,
            price=Price(1, 2),
        )
        for name, tags in (("big", ["eu"]), ("mid-us", []), ("mid-eu", ["eu"]))
    ]
    heard: list[Any] = []
    mirror = Mirror(to="mid", share=1.0, models=["big"])
    async with Router(backends, mirrors=[mirror]) as router:
        router.events.subscribe(heard.append)
        for _ in range(10):
            await router.chat("big", ASK, tags="eu")
            await done(router)
        assert router.events.flush(5)
    copies = {c.backend for c in heard if isinstance(c, CallEvent) and c.kind != "chat"}
    assert copies == {"mid-eu"}


async def test_a_copy_is_real_money_under_its_own_label(make, tmp_path):
    _, router = make(ALL, ledger=tmp_path / "costs.db")
    heard: list[Any] = []
    async with router:
        router.events.subscribe(heard.append)
        await router.chat("big", ASK, user="u", task="t", tags=["team=a"])
        row = await done(router)
        assert router.events.flush(5)
        kinds = {r["kind"]: r["total"] for r in router.costs(by="kind").rows()}
        assert kinds["mirror"] == pytest.approx(row["total_cost"])
        labels = {r["mirror"]: r for r in router.costs(by="tag:mirror").rows()}
        assert labels["mid"]["total"] == pytest.approx(row["total_cost"])
        for by in ("user", "task", "tag:team"):
            first = router.costs(by=by).rows()[0]
            assert first["total"] == pytest.approx(kinds["chat"])
    calls = [event for event in heard if isinstance(event, CallEvent)]
    assert [(c.kind, c.labels) for c in calls] == [
        ("chat", ("team=a",)),
        ("mirror", ("mirror=mid",)),
    ]


async def test_a_budget_of_its_own_bounds_it_and_nobody_else(make):
    budgets = [Budget(usd=0, tag="mirror=mid"), Budget(usd=1, user="u")]
    _, router = make(ALL, budgets=budgets)
    async with router:
        assert (await router.chat("big", ASK, user="u")).backend == "b-big"
        row = await done(router)
    assert row["failures"] == {"BudgetExceededError": 1}


async def test_streams_are_copied_whole_and_compared(make):
    pairs: list[Any] = []

    def compare(reply: Any, mirrored: Any) -> float:
        pairs.append((reply, mirrored))
        return float(reply.text == mirrored.text)

    providers, router = make(
        Mirror(to="mid", share=1.0, models=["big"], compare=compare)
    )
    async with router:
        stream = await router.chat("big", ASK, stream=True)
        text = "".join([chunk.text async for chunk in stream])
        row = await asyncio.to_thread(
            done_blocking, router, "mid", lambda row: row["scored"]
        )
    [(reply, mirrored)] = pairs
    assert reply.text == text
    assert reply.choices[0].finish_reason == "stop"
    assert (reply.backend, mirrored.backend) == ("b-big", "b-mid")
    assert reply.cost > mirrored.cost > 0
    assert "stream" not in json.loads(providers["mid"].requests[-1].body)
    assert row["score"] in (0.0, 1.0)


def test_blocking_calls_are_copied_on_a_thread(make):
    scores = iter([1.0, 0.0, 1.0, None])
    mirror = Mirror(
        to="mid", share=1.0, models=["big"], compare=lambda a, b: next(scores)
    )
    providers, router = make(mirror)
    for _ in range(4):
        router.sync.chat("big", ASK)
        done_blocking(router)
    row = done_blocking(router, good=lambda row: row["scored"] == 3)
    assert row["answered"] == 4
    assert row["score"] == pytest.approx(2 / 3)
    assert row["low"] < 2 / 3 < row["high"]
    providers["mid"].hang()
    began = time.monotonic()
    router.sync.chat("big", ASK)
    assert time.monotonic() - began < 5


async def test_the_caller_may_go_on_writing_into_his_messages(make):
    providers, router = make(ALL)
    messages = [dict(message) for message in ASK]
    async with router:
        reply = await router.chat("big", messages)
        messages[0]["content"] = "changed"
        messages.append({"role": "assistant", "content": reply.text})
        await done(router)
    assert json.loads(providers["mid"].requests[-1].body)["messages"] == ASK


async def test_a_compare_that_fails_is_told_once(make, caplog):
    def compare(reply: Any, mirrored: Any) -> float:
        raise ZeroDivisionError

    _, router = make(Mirror(to="mid", share=1.0, models=["big"], compare=compare))
    with caplog.at_level(logging.ERROR, "llmbalance"):
        async with router:
            for _ in range(3):
                await router.chat("big", ASK)
            row = await done(router)
            await asyncio.sleep(0.05)
    assert row["score"] is None
    assert row["answered"] == 3
    assert len([r for r in caplog.records if "compare" in r.message]) == 1


async def test_embeddings_are_copied_where_models_names_them(llm_provider):
    provider = llm_provider("openai", name="p", model="text-embedding-3-small")
    backends = [
        Backend(
            "openai/text-embedding-3-small",
            name=name,
            api_key="test-key",
            base_url=provider.base_url,
            price=Price(1, 0),
        )
        for name in ("one", "two")
    ]
    named = Mirror(to="two", share=1.0, models=["one"], name="named")
    other = Mirror(to="two", share=1.0, name="other")
    async with Router(backends, mirrors=[named, other]) as router:
        await router.embed("one", ["a", "b"])
        assert (await done(router, "named"))["answered"] == 1
        assert router.mirrors()["other"]["sent"] == 0


def test_the_report_is_a_table(make):
    _, router = make(ALL, Mirror(to="mid", name="second"))
    report = router.mirrors()
    assert list(report) == ["mid", "second"]
    assert "original_cost" in str(report)
    assert "<td>second</td>" in report._repr_html_()
    _, plain = make()
    with pytest.raises(ConfigError, match="Mirror"):
        plain.mirrors()


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"to": ""}, "to", "name of a group"),
        ({"to": "mid", "share": 0}, "share", "> 0"),
        ({"to": "mid", "share": 2}, "share", "at most 1"),
        ({"to": "mid", "models": "big"}, "models", "list"),
        ({"to": "mid", "max_in_flight": 0}, "max_in_flight", "> 0"),
        ({"to": "mid", "timeout": -1}, "timeout", "> 0"),
        ({"to": "mid", "name": "a=b"}, "name", "letters"),
        ({"to": "mid", "compare": 5}, "compare", "two replies"),
    ],
)
def test_a_wrong_mirror_names_field_and_remedy(fields, field, says):
    with pytest.raises(ConfigError) as caught:
        Mirror(**fields)
    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("mirrors", "field"),
    [
        ([Mirror(to="nobody")], "to"),
        ([Mirror(to="mid", models=["nobody"])], "models"),
        ([ALL, ALL], "name"),
        (["mid"], "mirrors"),
    ],
)
def test_a_mirror_that_cannot_be_is_refused_at_construction(make, mirrors, field):
    with pytest.raises(ConfigError) as caught:
        make(*mirrors)
    assert caught.value.field == field

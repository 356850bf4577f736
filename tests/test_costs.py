"""What a router writes down of its calls, and what it reports of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leases import USAGE, backend, call

from llmbalance import (
    Backend,
    ConfigError,
    Deal,
    Price,
    PriceTable,
    RequestTimeoutError,
    Router,
    ServerError,
    Timeouts,
    Usage,
)
from llmbalance._money._ledger import Entry, Ledger
from llmbalance.testing import MockProvider

SECRET = "the-prompt-nobody-may-keep"
ASK = [{"role": "user", "content": f"What is {SECRET}?"}]
Provider = Callable[..., MockProvider]


def at(provider: MockProvider, **options: Any) -> Backend:
    """A backend that points at a mock provider."""
    return Backend(
        f"{provider.dialect}/{provider.model}",
        name=provider.name,
        groups=["all"],
        api_key="test-key",
        base_url=provider.base_url,
        **{"price": Price(1, 5)} | options,
    )


@pytest.fixture
def ledger():
    with Ledger(":memory:", interval=0.01) as ledger:
        yield ledger


# -- what is written down --------------------------------------------------------


async def test_every_attempt_is_kept_with_its_call(
    llm_provider: Provider, ledger: Ledger
):
    first = llm_provider("openai", name="first", model="gpt-4o")
    second = llm_provider("openai", name="second", model="gpt-4o", output_tokens=20)
    first.outage(status=503)
    backends = [at(first), at(second, price=Price(2, 10))]
    async with Router(backends, ledger=ledger, seed=1) as router:
        reply = await router.chat(
            "all", ASK, max_tokens=50, task="facts", user="ann", tags=["team=web"]
        )
    failed, good = ledger.entries()
    assert failed.call_id == good.call_id
    assert (failed.backend, failed.status, failed.attempt) == ("first", "overloaded", 1)
    assert (good.backend, good.status, good.attempt) == ("second", "ok", 2)
    assert (failed.last, good.last) == (False, True)
    assert good.model == "openai/gpt-4o"
    assert (good.group, good.kind) == ("all", "chat")
    assert (good.task, good.user, good.tags) == ("facts", "ann", ("team=web",))
    assert good.tokens["input"] == reply.usage.prompt_tokens
    assert good.tokens["output"] == 20
    assert (failed.cost_nano or 0) + good.cost_nano == reply.cost_nano_usd
    assert 0 < good.latency_s < 10
    assert good.ttft_s is None  # an answer in one piece has no first token
    assert abs(good.time - time.time()) < 60


async def test_calls_have_ids_of_their_own(llm_provider: Provider, ledger: Ledger):
    provider = llm_provider("openai", name="a", model="gpt-4o")
    routers = [Router([at(provider)], ledger=ledger) for _ in range(2)]
    await asyncio.gather(*(r.chat("all", ASK) for r in routers * 5))
    assert len({entry.call_id for entry in ledger.entries()}) == 10


async def test_neither_prompts_nor_answers_are_kept(
    llm_provider: Provider, tmp_path: Path
):
    provider = llm_provider("openai", model="gpt-4o", reply=f"It is {SECRET}!")
    path = tmp_path / "costs.db"
    async with Router([at(provider)], ledger=path) as router:
        assert SECRET in (await router.chat("all", ASK)).text
        assert [c async for c in await router.chat("all", ASK, stream=True)]
    assert "gpt-4o" in kept_in(tmp_path)
    assert SECRET not in kept_in(tmp_path)


def kept_in(folder: Path) -> str:
    return b"".join(file.read_bytes() for file in folder.iterdir()).decode("latin-1")


async def test_a_stream_is_kept_with_its_first_token(
    llm_provider: Provider, ledger: Ledger
):
    provider = llm_provider("openai", model="gpt-4o", output_tokens=20, ttft=0.02)
    async with Router([at(provider)], ledger=ledger) as router:
        chunks = [c async for c in await router.chat("all", ASK, stream=True)]
    [entry] = ledger.entries()
    assert (entry.status, entry.last) == ("ok", True)
    assert entry.cost_nano == chunks[-1].cost_nano_usd
    assert 0.02 <= entry.ttft_s <= entry.latency_s


async def test_what_the_caller_left_is_kept_with_what_it_had_cost(
    llm_provider: Provider, ledger: Ledger
):
    provider = llm_provider("openai", model="gpt-4o", output_tokens=50, per_token=0.01)
    async with Router([at(provider)], ledger=ledger) as router:
        stream = await router.chat("all", ASK, stream=True)
        await anext(stream)
        await stream.aclose()
        spent = router.stats()["total"]["cost"]
    [entry] = ledger.entries()
    assert (entry.status, entry.last) == ("cancelled", True)
    assert entry.cost_nano == round(spent * 1e9) > 0
    assert entry.tokens["output"] > 0


async def test_a_call_that_fails_for_good_ends_with_its_last_attempt(
    llm_provider: Provider, ledger: Ledger
):
    providers = [llm_provider("openai", name=n, model="gpt-4o") for n in "ab"]
    for provider in providers:
        provider.outage(status=500)
    async with Router([at(p) for p in providers], ledger=ledger) as router:
        with pytest.raises((ServerError, RequestTimeoutError)) as caught:
            await router.chat("all", ASK, timeout=1)  # whichever comes last
    entries = list(ledger.entries())
    assert len(entries) == len(caught.value.attempts) >= 2
    assert [entry.last for entry in entries] == [False] * (len(entries) - 1) + [True]


async def test_a_call_given_up_between_two_attempts_is_one_call(
    llm_provider: Provider, ledger: Ledger
):
    provider = llm_provider("openai", model="gpt-4o")
    provider.fail_next(1, status=429, retry_after=30)
    async with Router([at(provider)], ledger=ledger) as router:
        task = asyncio.create_task(router.chat("all", ASK))
        await asyncio.sleep(0.3)
        assert provider.rejected == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    [row] = ledger.costs("all")
    assert (row.calls, row.attempts, row.failed) == (1, 1, 1)


async def test_no_more_tiers_are_kept_than_anybody_has(llm_provider: Provider):
    async with Router([at(llm_provider("openai"))]) as router:
        fleet = router._fleet
        plain = fleet.rates.of(fleet.targets[0])
        for i in range(1000):  # whatever a provider answers
            row = fleet.rates.of(fleet.targets[0], f"tier-{i}")
            assert row.cost(1000, output=10) == plain.cost(1000, output=10)
        assert len(fleet.targets[0].rows) == 64


async def test_a_timed_out_attempt_is_billed_for_its_prompt(
    llm_provider: Provider, ledger: Ledger
):
    slow = llm_provider("openai", name="slow", model="gpt-4o")
    good = llm_provider("openai", name="good", model="gpt-4o")
    slow.hang()
    backends = [at(slow), at(good, price=Price(2, 10))]
    async with Router(
        backends, ledger=ledger, timeouts=Timeouts(total=0.2), seed=1
    ) as router:
        reply = await router.chat("all", ASK)
    lost, won = ledger.entries()
    assert lost.status == "request_timeout"
    assert lost.cost_nano == lost.tokens["input"] * 1000 > 0
    assert reply.cost_nano_usd == lost.cost_nano + won.cost_nano


def test_blocking_calls_and_leases_are_kept_too(llm_provider: Provider, ledger: Ledger):
    provider = llm_provider("openai", name="a", model="gpt-4o")
    router = Router([at(provider)], ledger=ledger)
    router.sync.chat("all", ASK)
    list(router.sync.chat("all", ASK, stream=True))
    call(router)
    with pytest.raises(RuntimeError), router.acquire("all", ASK):
        raise RuntimeError("a mistake of the caller's")
    kinds = [(entry.kind, entry.status, entry.last) for entry in ledger.entries()]
    assert kinds == [
        ("chat", "ok", True),
        ("chat", "ok", True),
        ("lease", "ok", True),
        ("lease", "cancelled", True),
    ]


class Notebook:
    """The smallest book."""

    def __init__(self) -> None:
        self.entries_kept: list[Entry] = []
        self.lessons: dict[str, Any] = {}
        self.closed = 0

    def record(self, entry: Entry) -> bool:
        self.entries_kept.append(entry)
        return True

    def learn(self, key: str, value: Any) -> None:
        self.lessons[key] = value

    def learned(self) -> dict[str, Any]:
        return self.lessons

    def spent(self, since: float, until: float | None = None, **only: str) -> int:
        return 0

    def costs(self, by: str = "backend", since: float = 0.0, until: Any = None):
        return []

    def entries(self, since: float = 0.0, until: Any = None):
        return iter(self.entries_kept)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


async def test_any_object_like_a_ledger_can_be_one() -> None:
    book = Notebook()
    async with Router([backend("a", Price(1, 1))], ledger=book) as router:
        call(router)
    [entry] = book.entries_kept
    assert (entry.backend, entry.cost_nano) == ("a", 2_000_000)
    assert "backend/a" in book.lessons
    assert book.closed == 0  # it belongs to whoever made it
    with pytest.raises(ConfigError, match="ledger"):
        Router([backend("a", Price(1, 1))], ledger=object())


def test_a_broken_book_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    book = Notebook()
    book.record = lambda entry: 1 / 0  # type: ignore[assignment]
    router = Router([backend("a", Price(1, 1))], ledger=book)
    assert call(router) == "a"
    assert "ledger refused" in caplog.text


async def test_a_ledger_given_as_a_path_is_closed_and_reopened_at_need(
    tmp_path: Path,
) -> None:
    path = tmp_path / "costs.db"
    router = Router([backend("a", Price(1, 1))], ledger=str(path))
    call(router)
    await router.aclose()
    assert not path.with_name("costs.db-wal").exists()
    call(router)
    router.close()
    with Ledger(path) as ledger:
        [row] = ledger.costs("all")
    assert row.calls == 2


# -- what is unknown, stated or billed otherwise ---------------------------------


def test_unknown_prices_can_be_refused() -> None:
    known, strange = backend("a", Price(1, 1)), Backend("vllm/own", name="own")
    with pytest.raises(ConfigError, match=r"unknown for own.*price=Price"):
        Router([known, strange], unknown_price="refuse")
    for wrong in ("free", "openai/no-such-model"):
        with pytest.raises(ConfigError, match="unknown_price"):
            Router([known, strange], unknown_price=wrong)
    with pytest.raises(ConfigError, match="unknown for all"):
        Router([strange])


@pytest.mark.parametrize(
    ("setting", "nano"),
    [
        ("dearest", 1500 * 3000 + 500 * 9000),
        ("openai/gpt-4o", 1500 * 2500 + 500 * 10000),
        (Price(1, 2), 2500000),
    ],
)
def test_an_unknown_price_is_assumed_for_budgets_and_told_as_unknown(
    ledger: Ledger, setting: Any, nano: int
) -> None:
    known = backend("known", Price(3, 9))
    own = Backend("vllm/own-model", name="own", base_url="http://127.0.0.1:9/v1")
    router = Router([known, own], unknown_price=setting, ledger=ledger)
    call(router, "own")
    assert router.stats()["backends"]["own"]["cost"] == nano / 1e9
    [entry] = ledger.entries()
    assert (entry.cost_nano, entry.assumed_nano) == (None, nano)
    assert ledger.spent(0) == nano
    assert router.costs()["total"]["unpriced"] == 1
    assert router.costs()["total"]["total_nano_usd"] == 0


async def test_a_reply_of_unknown_price_has_no_cost(llm_provider: Provider) -> None:
    provider = llm_provider("vllm", name="own", model="own-model")
    backends = [at(provider, price=None), backend("known", Price(1, 1), groups=[])]
    reply = await Router(backends).chat("all", ASK)
    assert reply.cost is None
    assert reply.cost_nano_usd is None


def test_what_the_provider_states_wins(ledger: Ledger) -> None:
    router = Router([backend("a", Price(1, 1))], ledger=ledger)
    call(router, usage={**USAGE, "cost": 0.1234567895})
    [entry] = ledger.entries()
    assert entry.cost_nano == 123_456_790  # by its digits, rounded half up
    assert router.stats()["total"]["cost"] == 0.12345679


async def test_a_stated_cost_is_known_where_the_table_knows_nothing(
    llm_provider: Provider, ledger: Ledger
) -> None:
    provider = llm_provider(
        "openrouter", name="or", model="some/new-model", price=(4, 8), output_tokens=10
    )
    backends = [at(provider, price=None), backend("known", Price(1, 1), groups=[])]
    async with Router(backends, ledger=ledger) as router:
        reply = await router.chat("all", ASK)
    expected = reply.usage.prompt_tokens * 4000 + 10 * 8000
    assert reply.cost_nano_usd == expected
    assert next(iter(ledger.entries())).cost_nano == expected


async def test_the_tier_that_was_billed_is_the_one_that_is_paid(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai", model="gpt-4o", output_tokens=10)
    dear = at(provider, price=Price(1, 5, tiers={"priority": 2}))
    plain = await Router([dear]).chat("all", ASK)
    asked = msgspec.structs.replace(dear, service_tier="priority")
    router = Router([asked])  # the mock bills "default", whatever was wished for
    lease = router.acquire("all", ASK)
    with lease:
        assert lease.settle(usage=plain.usage) == pytest.approx(2 * plain.cost)
    reply = await router.chat("all", ASK)
    assert reply.service_tier == "default"
    assert reply.cost_nano_usd == plain.cost_nano_usd


def test_a_search_without_a_price_does_not_make_the_tokens_free(
    ledger: Ledger,
) -> None:
    router = Router([backend("a", Price(1, 1))], ledger=ledger)
    usage = {"prompt_tokens": 1000, "web_search_requests": 1}
    call(router, usage=usage)
    [entry] = ledger.entries()
    assert (entry.cost_nano, entry.assumed_nano) == (None, 1_000_000)


def test_a_new_price_moves_the_next_call_and_is_what_it_costs() -> None:
    router = Router([backend("a", Price(1, 1)), backend("b", Price(2, 2))])
    assert {call(router) for _ in range(5)} == {"a"}
    router.set_price("a", Price(9, 9))
    assert {call(router) for _ in range(5)} == {"b"}
    router.set_price("b", Price(9.5, 9.5, tiers={"batch": 0.1}))
    router.set_price("b", Price(0, 0))
    assert call(router) == "b"
    costs = router.costs()["backends"]
    assert costs["b"]["total_nano_usd"] == 5 * 2000 * 2000
    with pytest.raises(ConfigError, match="price"):
        router.set_price("a", 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="backend"):
        router.set_price("c", Price(1, 1))


def test_a_promotion_begins_and_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall, mono = time.time(), time.monotonic()

    def go_to(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: wall + seconds)
        monkeypatch.setattr(time, "monotonic", lambda: mono + seconds)

    def moment(seconds: float) -> str:
        return datetime.fromtimestamp(wall + seconds, UTC).isoformat()

    deal = Deal(factor=0.1, start=moment(600), until=moment(1200))
    router = Router(
        [backend("a", Price(3, 3, deals=(deal,))), backend("b", Price(2, 2))]
    )
    assert call(router) == "b"
    go_to(599)
    assert call(router) == "b"
    go_to(601)
    assert call(router) == "a"
    assert router.costs()["backends"]["a"]["total_nano_usd"] == 2000 * 300
    go_to(1199)
    assert call(router) == "a"
    go_to(1201)
    assert call(router) == "b"
    assert router.costs()["backends"]["b"]["total_nano_usd"] == 3 * 2000 * 2000


GEO = {"extra_body": {"inference_geo": "us"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_where_an_answer_says_it_ran_is_what_is_paid(
    llm_provider: Provider, stream: bool
) -> None:
    provider = llm_provider("anthropic", model="claude-opus-5", output_tokens=10)
    price = Price(5, 25, regions={"us": 1.1})
    here = at(provider, price=price)
    us = msgspec.structs.replace(here, region="us")

    async def cost(backend: Backend, **options: Any) -> int:
        async with Router([backend]) as router:
            if not stream:
                return (await router.chat("all", ASK, **options)).cost_nano_usd or 0
            chunks = await router.chat("all", ASK, stream=True, **options)
            return [chunk async for chunk in chunks][-1].cost_nano_usd or 0

    plain = await cost(here)
    assert await cost(here, **GEO) == pytest.approx(1.1 * plain)
    assert await cost(us, **GEO) == pytest.approx(1.1 * plain)
    assert await cost(us) == pytest.approx(1.1 * plain)
    anywhere = {"extra_body": {"inference_geo": "global"}}
    assert await cost(us, **anywhere) == await cost(here, **anywhere) == plain
    own = msgspec.structs.replace(here, params=GEO)
    assert await cost(own) == pytest.approx(1.1 * plain)


def test_where_a_call_was_asked_to_run_is_paid_when_the_answer_is_silent() -> None:
    price = Price(5, 25, regions={"us": 1.1})
    claude = Backend(
        "anthropic/claude-opus-5", groups=["all"], api_key="k", price=price
    )
    router = Router([claude])
    run = router._intake.run("chat", "all", ASK, False, dict(GEO))
    shot = run.aim()
    silent = Usage(prompt_tokens=1000, completion_tokens=100, total_tokens=1100)
    cost, metered, known = run._cost(shot, silent, None)
    assert (metered, known) == (True, True)
    assert cost == 8_250_000  # 1.1 * (1,000 * 5,000 + 100 * 25,000)
    told = msgspec.structs.replace(silent, region="global")
    assert run._cost(shot, told, None) == (None, True, True)  # by the pool's own row


def test_a_lease_is_billed_where_its_usage_says_that_it_ran() -> None:
    price = Price(5, 25, regions={"us": 1.1})
    claude = Backend("anthropic/claude-opus-5", api_key="k", price=price)
    router = Router([claude])
    usage = {"input_tokens": 1000, "output_tokens": 100}
    costs = []
    for where in ("global", "not_available", "us"):
        with router.acquire(claude.model, ASK) as lease:
            costs.append(lease.settle(usage={**usage, "inference_geo": where}))
    assert costs == [0.0075, 0.0075, pytest.approx(0.00825)]
    told = PriceTable().cost(
        "anthropic/claude-opus-5", {**usage, "inference_geo": "us"}
    )
    assert told.usd == pytest.approx(0.00825)

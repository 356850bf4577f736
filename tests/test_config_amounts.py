"""A reload changes rate limits and budgets, and what is used of them stays used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbalance import (
    BudgetEvent,
    ConfigFileError,
    Ledger,
    Router,
)
from llmbalance._core import Lease
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
PRICE = {"input": 1, "output": 1}


def config(
    a: dict[str, Any] | None = None,
    b: dict[str, Any] | None = None,
    budgets: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Backends a and b in group all under these limits."""
    rows = [
        {"name": name, "model": f"ollama/{name}", "groups": ["all"], "price": PRICE}
        | ({"limits": limits} if limits else {})
        for name, limits in (("a", a), ("b", b))
    ]
    return {"backend": rows, "budget": budgets or [], **more}


def taken(router: Router, name: str, most: int = 50) -> list[Lease]:
    """As many leases as a backend gives."""
    pool, group = router._fleet.pool, router._fleet.group(name)
    leases = []
    for _ in range(most):
        lease = pool.pick(group, "hello")
        if lease.backend < 0:
            break
        leases.append(lease)
    return leases


def limits(router: Router, index: int = 0) -> dict[str, int]:
    view = router._fleet.pool.backend(index)
    return {line["unit"]: line["free"] for line in view["limits"] if line["limit"]}


def test_a_limit_that_grows_admits_as_many_more_and_one_that_shrinks_stays_used() -> (
    None
):
    router = Router.from_file(config({"rpm": 10}))
    held = taken(router, "a")
    assert len(held) == 10
    router.reload(config({"rpm": 20}))
    held += taken(router, "a")
    assert len(held) == 19  # the last 5 % are kept for calls with priority
    router.reload(config({"rpm": 15}))
    assert limits(router) == {"requests": 0}
    assert taken(router, "a") == []


def test_leases_in_flight_settle_under_the_new_limit() -> None:
    router = Router.from_file(config({"rpm": 10, "tpm": 10**6}))
    held = taken(router, "a", 4)
    router.reload(config({"rpm": 40, "itpm": 500}))
    assert limits(router)["requests"] == 36
    for lease in held:
        lease.settle(5, sent=False)
    assert limits(router) == {"requests": 40, "input_tokens": 500}
    assert router._fleet.pool.backend(0)["in_flight"] == 0


def test_another_window_of_the_same_unit_keeps_what_is_used() -> None:
    router = Router.from_file(config({"rpm": 60}))
    held = taken(router, "a", 5)
    router.reload(config({"rph": 100}))
    assert len(held) + len(taken(router, "a", 100)) == 95


def test_a_limit_may_go_and_come_again_without_using_up_places() -> None:
    router = Router.from_file(config({"rpm": 10}))
    for _ in range(30):
        router.reload(config())
        assert len(taken(router, "a")) == 50
        router.reload(config({"rpm": 10, "tpd": 10**6}))
        assert len(taken(router, "a")) == 10
    assert len(router._fleet.pool.backend(0)["limits"]) == 2


def test_backends_that_share_a_limit_share_its_new_amount() -> None:
    shared = {"rpm": 10, "shared": "org"}
    router = Router.from_file(config(shared, shared))
    held = taken(router, "a", 5) + taken(router, "b", 2)
    more = shared | {"rpm": 20, "tpm": 10**6}
    router.reload(config(more, more))
    assert len(taken(router, "b")) == 19 - len(held)
    assert limits(router, 0)["requests"] == limits(router, 1)["requests"] == 1
    # and so does one that joins now
    data = config(more, more)
    data["backend"].append(data["backend"][0] | {"name": "c", "model": "ollama/c"})
    router.reload(data)
    assert taken(router, "c") == []
    # the word stands although who said it first is gone
    del data["backend"][0]
    for backend in data["backend"]:
        backend["limits"] = shared | {"rpm": 30}
    router.reload(data)
    assert limits(router, 1)["requests"] == 11
    for backend in data["backend"]:
        backend["limits"] = more
    router.reload(data)
    assert limits(router, 1)["requests"] == 1


def test_a_limit_too_many_is_refused_by_the_name_of_its_backend() -> None:
    every = ["rps", "rpm", "rph", "rpd", "tpm", "tph", "tpd"]
    router = Router.from_file(config(dict.fromkeys(every, 10**6)))
    router.reload(config({"itpm": 9}))
    with pytest.raises(ConfigFileError, match="a: no place for another rate limit"):
        router.reload(config({"otpm": 9, "itpm": 9, "tpm": 9, "charge": "max"}))
    assert limits(router)["input_tokens"] == 9


# -- budgets ---------------------------------------------------------------------


def spend(router: Router, usd: float) -> None:
    pool = router._fleet.pool
    lease = pool.pick(router._fleet.group("all"), "hello")
    assert lease.backend >= 0
    lease.settle(0, (1,), 0.1, 0.1, True, True, round(usd * 1e9))


def refused(router: Router) -> bool:
    reasons = {row["reason"] for row in router.explain("all", "hello").rows()}
    return reasons == {"budget"}


def test_a_budget_gets_another_amount_and_what_is_spent_stays_spent() -> None:
    day = {"usd": 1, "per": "day"}
    router = Router.from_file(config(budgets=[day]))
    spend(router, 1.5)
    assert refused(router)
    router.reload(config(budgets=[day | {"usd": 2}]))
    assert not refused(router)
    router.reload(config(budgets=[day | {"usd": 1.2}]))
    assert refused(router)
    router.reload(config(budgets=[day | {"usd": 1.2, "hard": False}]))
    assert not refused(router)


def test_budgets_come_go_and_come_again_with_what_they_had_spent() -> None:
    day, hour = {"usd": 1, "per": "day"}, {"usd": 3, "per": "hour"}
    router = Router.from_file(config(budgets=[day]))
    spend(router, 0.5)
    router.reload(config(budgets=[hour]))
    spend(router, 0.9)
    assert [m.budget.per for m in router._fleet.meters] == ["hour"]
    router.reload(config(budgets=[hour, day]))
    assert refused(router)
    spent = [router._fleet.pool.budget(m.index)["spent"] for m in router._fleet.meters]
    assert spent == [900_000_000, 1_400_000_000]
    for _ in range(20):
        router.reload(config())
        assert not refused(router)
        router.reload(config(budgets=[day, hour]))
        assert refused(router)


def test_a_new_budget_of_a_tag_is_chosen_by_calls_that_carry_it() -> None:
    router = Router.from_file(config())
    router.reload(config(budgets=[{"usd": 0, "tag": "batch"}]))
    rows = router.explain("all", "hello", tags=["batch"]).rows()
    assert {row["reason"] for row in rows} == {"budget"}
    assert not refused(router)
    for _ in range(12):
        router.reload(config())
        router.reload(config(budgets=[{"usd": 0, "tag": "batch"}]))
    rows = router.explain("all", "hello", tags=["batch"]).rows()
    assert {row["reason"] for row in rows} == {"budget"}


@pytest.mark.parametrize("scope", ["tag", "task", "user"])
def test_budgets_that_calls_choose_come_go_and_come_again(scope: str) -> None:
    name = "tags" if scope == "tag" else scope
    given, other = {name: "batch"}, {name: "team=x"}

    def reasons(options: dict[str, Any]) -> set[str]:
        rows = router.explain("all", "hello", **options).rows()
        return {row["reason"] for row in rows}

    router = Router.from_file(config())
    for _ in range(2):
        router.reload(config(budgets=[{"usd": 0, scope: "batch"}]))
        assert reasons(given) == {"budget"}
        assert reasons(other) == reasons({}) == {"eligible"}
        router.reload(config())
        assert reasons(given) == {"eligible"}


def test_a_new_budget_knows_from_the_ledger_what_was_spent(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    data = config(router={"ledger": str(path)})
    router = Router.from_file(data)
    with pytest.raises(ConfigFileError, match=r"router.ledger: has changed"):
        router.reload(config())
    book = router._books.book
    assert isinstance(book, Ledger)
    book.spent = lambda *_, **__: 5 * 10**9  # type: ignore[method-assign]
    router.reload(data | {"budget": [{"usd": 6, "per": "day"}]})
    meter = router._fleet.meters[0]
    assert router._fleet.pool.budget(meter.index)["spent"] == 5 * 10**9
    router.close()


def test_marks_that_were_told_are_not_told_again_for_a_new_amount() -> None:
    day = {"usd": 1, "per": "day", "alert_at": [0.5, 0.8]}
    router = Router.from_file(config(budgets=[day]))
    told: list[float] = []
    router.events.subscribe(
        lambda e: told.append(e.share) if isinstance(e, BudgetEvent) else None
    )
    books = router._books
    spend(router, 0.6)
    books.watch(0)
    router.reload(config(budgets=[day | {"usd": 1.1}]))
    books.watch(0)
    spend(router, 0.3)
    books.watch(0)
    router.events.flush()
    assert told == [0.5, 0.8]


# -- experiments and mirrors -------------------------------------------------------


def test_experiments_and_mirrors_come_go_and_keep_their_figures() -> None:
    arms = {"control": {}, "cheap": {"strategy": "cost"}}
    split, copy = {"e": {"arms": arms}}, {"m": {"to": "a"}}
    router = Router.from_file(config())
    router.reload(config(experiment=split, mirror=copy))
    studies, mirrors = router._intake.studies, router._intake.mirrors
    assert studies is not None
    assert mirrors is not None
    assert studies.find("e").running
    glass = mirrors._glasses[0]
    router.reload(config(experiment=split, mirror=copy | {"n": {"to": "b"}}))
    assert mirrors._glasses[0] is glass
    assert set(router.mirrors()) == {"m", "n"}
    router.reload(config(experiment={"e": {"arms": arms, "running": False}}))
    assert not studies.find("e").running
    assert mirrors._glasses == []
    router.reload(config(experiment=split))
    assert studies.find("e").running
    router.stop_experiment("e", winner="cheap")
    router.reload(config(experiment=split))
    assert studies.find("e").winner == 1
    with pytest.raises(ConfigFileError, match=r"experiment.e: has changed"):
        router.reload(config(experiment={"e": {"arms": arms, "metric": "cost"}}))
    router.reload(config(experiment={"f": {"arms": arms}}))
    assert [s.running for s in studies.all.values()] == [False, True]


# -- in the middle of traffic ----------------------------------------------------


async def test_calls_under_way_end_well_while_everything_changes(
    llm_provider: Callable[..., MockProvider],
) -> None:
    provider = llm_provider("openai", ttft=0.02)

    def data(step: int) -> dict[str, Any]:
        rows = [
            {
                "name": f"p{k}",
                "model": "openai_compatible/gpt-4o",
                "base_url": provider.base_url,
                "api_key": "test-key",
                "groups": ["all", f"g{step % 3}"],
                "price": PRICE,
                "weight": 1 + (step + k) % 3,
                "limits": {"rpm": 6000 + step, "tpm": 10**7, "concurrency": 50 + step},
            }
            for k in range(2 + step % 2)
        ]
        return {
            "router": {"strategy": ["p2c", "cost", "least_busy"][step % 3]},
            "backend": rows,
            "group": {"all": {"max_attempts": 3 + step % 2} if step % 4 else {}},
            "budget": [{"usd": 100 + step, "per": "day"}],
        }

    async with Router.from_file(data(0)) as router:
        calls = []
        for step in range(40):
            calls += [asyncio.ensure_future(router.chat("all", ASK)) for _ in range(5)]
            await asyncio.sleep(0.005)
            router.reload(data(step))
        replies = await asyncio.gather(*calls)
        pool = router._fleet.pool
        assert len(replies) == 200
        assert pool.usage()["in_flight"] == 0
        assert pool.budget(0)["reserved"] == 0
        done = sum(pool.backend(i)["outcomes"]["done"] for i in range(3))
        assert done == 200
        assert pool.budget(0)["spent"] == sum(r.cost_nano_usd for r in replies)
        for index in range(3):
            used = {x["unit"]: x["charged"] for x in pool.backend(index)["limits"]}
            assert used["requests"] == pool.backend(index)["calls"]

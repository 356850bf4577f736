"""A router follows its file while running; a bad file changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbalance import (
    Backend,
    ConfigError,
    ConfigFileError,
    Experiment,
    InvalidRequestError,
    NoBackendError,
    Price,
    Router,
    UnknownModelError,
)
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
Provider = Callable[..., MockProvider]
MANY = [{"what": "requests", "amount": 9, "per": f"{i}s"} for i in range(1, 10)]


def config(**changes: Any) -> dict[str, Any]:
    """Two backends in group all, one of them also in group big."""
    data: dict[str, Any] = {
        "router": {"strategy": "weighted", "seed": 1},
        "backend": [
            {"name": "a", "model": "ollama/x", "groups": ["all", "big"]},
            {"name": "b", "model": "ollama/y", "groups": ["all"]},
        ],
        "budget": [{"usd": 1, "per": "day"}],
    }
    return data | changes


def backends(a: dict[str, Any], b: dict[str, Any] | None = None) -> dict[str, Any]:
    first, second = config()["backend"]
    return {"backend": [first | a, second | (b or {})]}


def many(new: int, groups: int = 0) -> list[dict[str, Any]]:
    """The two backends and new ones, each in so many groups of its own."""
    made: list[dict[str, Any]] = config()["backend"]
    for i in range(new):
        own = [f"g{i}-{k}" for k in range(groups)]
        name, limits = f"n{i}", {"rpm": 60, "shared": "org"}
        made.append(
            {
                "name": name,
                "model": f"ollama/{i}",
                "groups": ["all", *own],
                "limits": limits,
            }
        )
    return made


def rule(router: Router, group: str) -> str:
    fleet = router._fleet
    return str(fleet.pool.pick(fleet.group(group), "hello").decision["strategy"])


def shares(router: Router, group: str, calls: int = 40) -> dict[str, int]:
    fleet = router._fleet
    counts = dict.fromkeys(router.backends, 0)
    for _ in range(calls):
        lease = fleet.pool.pick(fleet.group(group), "hello")
        counts[router.backends[lease.backend]] += 1
        lease.settle(0, (10, 10), 0.01, 0.02)
    return counts


def test_weights_change_and_nothing_learned_is_lost() -> None:
    router = Router.from_file(config())
    assert shares(router, "all") == {"a": 20, "b": 20}
    before = router._fleet.pool.backend(0)
    router.reload(config(**backends({"weight": 3})))
    assert router._fleet.pool.backend(0) == before | {"weight": 3.0}
    assert shares(router, "all") == {"a": 30, "b": 10}


def test_prices_and_abilities_change() -> None:
    router = Router.from_file(config())
    price = {"input": 5, "output": 10}
    router.reload(config(**backends({"price": price, "context": 10, "can": ["json"]})))
    target = router._fleet.targets[0]
    assert target.backend.price == Price(5.0, 10.0)
    assert router._fleet.rates.of(target).cost(input=1_000_000) == 5_000_000_000
    refused = {
        row["backend"]: row["reason"]
        for row in router.explain("all", "many words " * 50).rows()
    }
    assert refused["a"] == "context"


def test_a_lease_taken_before_is_settled_after() -> None:
    router = Router.from_file(config())
    lease = router._fleet.pool.pick(router._fleet.group("big"), "hello")
    assert router._fleet.pool.backend(0)["in_flight"] == 1
    router.reload(config(**backends({"weight": 2})))
    assert router._fleet.pool.backend(0)["in_flight"] == 1
    lease.settle(0, (10, 10), 0.01, 0.02)
    view = router._fleet.pool.backend(0)
    assert (view["in_flight"], view["outcomes"]["done"]) == (0, 1)


def test_spent_money_stays_spent() -> None:
    price = {"input": 1, "output": 2}
    router = Router.from_file(config(**backends({"price": price}, {"price": price})))
    shares(router, "all", 10)
    spent = router._fleet.pool.budget(0)["spent"]
    assert spent > 0
    router.reload(config(**backends({"price": price, "weight": 9}, {"price": price})))
    assert router._fleet.pool.budget(0)["spent"] == spent


def test_groups_change_rule_fallbacks_and_members() -> None:
    router = Router.from_file(config())
    router.reload(
        config(
            router={"strategy": "p2c", "seed": 1, "timeout": 9, "wait": False},
            group={"big": {"strategy": "latency", "fallbacks": ["b"]}},
        )
    )
    assert (rule(router, "big"), rule(router, "all")) == ("latency", "p2c")
    chain = [row["backend"] for row in router.explain("big", "hi").rows()]
    assert chain == ["a", "b"]
    assert (router._intake.timeout, router._intake.wait) == (9.0, False)
    moved = backends({"groups": ["all"]}, {"groups": ["all", "big"]})
    router.reload(config(**moved))
    assert shares(router, "big", 4) == {"a": 0, "b": 4}
    assert rule(router, "big") == "weighted"


def reached(router: Router, name: str) -> list[str]:
    """The backends that a call may get to, in their order."""
    return [row["backend"] for row in router.explain(name, "hi").rows()]


def test_calls_take_the_chain_of_fallbacks_that_holds_now() -> None:
    single = backends({"groups": ["big"]}, {"groups": ["mid"]})
    third = {"name": "c", "model": "ollama/z", "groups": ["small"]}
    single["backend"].append(third)
    router = Router.from_file(config(**single))
    assert reached(router, "big") == ["a"]
    chain = {"big": {"fallbacks": ["mid"]}, "mid": {"fallbacks": ["small", "big"]}}
    router.reload(config(**single, group=chain))
    assert reached(router, "big") == ["a", "b", "c"]
    assert reached(router, "mid") == ["b", "c", "a"]
    router.reload(config(**single, group={"big": {"fallbacks": ["small"]}}))
    assert (reached(router, "big"), reached(router, "mid")) == (["a", "c"], ["b"])
    router.reload(config(**single))
    assert reached(router, "big") == ["a"]


def test_tags_keep_their_meaning_and_new_ones_join() -> None:
    router = Router.from_file(config(**backends({"tags": ["m"]}, {"tags": ["z"]})))
    router.reload(config(**backends({"tags": ["m", "a"]}, {"tags": ["z"]})))

    def serving(tag: str) -> list[str]:
        rows = router.explain("all", "hi", tags=[tag]).rows()
        return [row["backend"] for row in rows if row["reason"] == "eligible"]

    assert [serving(tag) for tag in ("m", "z", "a")] == [["a"], ["b"], ["a"]]


def test_a_backend_that_is_gone_gets_no_more_calls_and_may_come_back() -> None:
    router = Router.from_file(config())
    data = config()
    del data["backend"][1]
    router.reload(data)
    assert shares(router, "all") == {"a": 40, "b": 0}
    router.reload(config())
    assert shares(router, "all") == {"a": 20, "b": 20}


def test_new_backends_join_with_their_limits_and_groups() -> None:
    router = Router.from_file(config())
    shares(router, "all", 10)
    router.reload(config(backend=many(2, groups=1)))
    assert router.backends == ["a", "b", "n0", "n1"]
    assert router._fleet.pool.backend(0)["outcomes"]["done"] == 5
    assert shares(router, "all") == dict.fromkeys(router.backends, 10)
    assert shares(router, "g1-0", 4)["n1"] == 4
    # 60 a minute for both together, 57 before the mark: 24 of them are used.
    pool, group = router._fleet.pool, router._fleet.group("ollama/0")
    taken = [pool.pick(group, "hello") for _ in range(40)]
    assert sum(lease.backend == 2 for lease in taken) == 33


def test_places_are_used_up_once_and_for_all() -> None:
    router = Router.from_file(config())
    router.reload(config(backend=many(16)))
    assert len(router.backends) == 18
    router.reload(config())
    assert shares(router, "all", 10) == dict.fromkeys(router.backends, 0) | {
        "a": 5,
        "b": 5,
    }
    router.reload(config(backend=many(16)))
    with pytest.raises(ConfigFileError, match="1 new ones, 0 places"):
        router.reload(config(backend=many(17)))


def test_as_many_backends_again_may_join_as_there_were() -> None:
    def data(count: int) -> dict[str, Any]:
        return {
            "backend": [
                {"name": f"b{i}", "model": f"ollama/{i}", "groups": ["all", f"g{i}"]}
                for i in range(count)
            ]
        }

    router = Router.from_file(data(40))
    router.reload(data(80))
    assert len(router.backends) == 80
    assert shares(router, "g79", 1)["b79"] == 1
    with pytest.raises(ConfigFileError, match="1 new ones, 0 places"):
        router.reload(data(81))


def test_groups_come_go_and_come_again() -> None:
    router = Router.from_file(config())
    for _ in range(100):
        router.reload(config(**backends({"groups": ["all"]}, {"groups": ["new"]})))
        assert shares(router, "new", 2) == {"a": 0, "b": 2}
        with pytest.raises(UnknownModelError, match="big"):
            router.explain("big", "hello")
        router.reload(config())
        assert shares(router, "big", 2) == {"a": 2, "b": 0}
        with pytest.raises(UnknownModelError, match="new"):
            router.explain("new", "hello")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"router": {"strategy": "x"}}, "router.strategy"),
        ({"router": {"strategy": "weighted", "seed": 2}}, "router.seed: has changed"),
        (backends({"model": "ollama/z"}), "a: has another model"),
        (backends({"limits": {"rpm": 3, "shared": "x"}}), "a: is to share"),
        ({"budget": [{"usd": 1, "per": f"{d}d"} for d in range(2, 20)]}, "18 new ones"),
        ({"budget": [{"usd": 1, "per": f"{d}d"} for d in range(2, 6)]}, "no place for"),
        (backends({"limits": {"more": MANY}}), "at most 8"),
        ({"task": {"t": {"group": "no"}}}, "no group, model or backend 'no'"),
        ({"group": {"big": {"fallbacks": ["no"]}}}, "no group, model or backend 'no'"),
        ({"backend": many(17)}, "backend: 17 new ones, 16 places"),
        ({"backend": many(2, groups=40)}, "group: no places left"),
        ({"router": {"strategy": "weighted", "seed": 1, "sessions": 8}}, "sessions"),
    ],
)
def test_what_needs_a_new_router_is_refused_and_changes_nothing(
    changes: dict[str, Any], why: str
) -> None:
    router = Router.from_file(config())
    fleet = router._fleet
    before = (list(fleet.targets), list(fleet.backends), dict(fleet.groups))
    with pytest.raises(ConfigFileError) as caught:
        router.reload(config(**changes))
    assert why in str(caught.value)
    assert (fleet.targets, fleet.backends, fleet.groups) == before
    assert shares(router, "all") == {"a": 20, "b": 20}


def test_calls_in_flight_may_be_bounded_anew_where_rates_stay() -> None:
    rates = {"rpm": 600}
    router = Router.from_file(config(**backends({"limits": rates})))
    router.reload(config(**backends({"limits": rates | {"concurrency": 1}})))
    pool, group = router._fleet.pool, router._fleet.group("big")
    held = pool.pick(group, "hello")
    assert held.backend == 0
    assert pool.pick(group, "hello").backend == -1


def test_the_file_itself_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "llmbalance.toml"
    text = '[[backend]]\nname = "a"\nmodel = "ollama/x"\nweight = 1\n'
    path.write_text(text)
    router = Router.from_file(path)
    path.write_text(text.replace("weight = 1", "weight = 7"))
    router.reload()
    assert router._fleet.backends[0].weight == 7
    path.write_text(text.replace("weight = 1", "wieght = 7"))
    with pytest.raises(ConfigFileError, match=r"toml:4: backend\[0\].wieght"):
        router.reload()
    assert router._fleet.backends[0].weight == 7


def test_a_router_that_has_no_file_cannot_be_reloaded() -> None:
    with pytest.raises(ConfigError, match="from_file"):
        Router([Backend("ollama/x")]).reload()


def test_a_litellm_configuration_is_followed_as_well() -> None:
    def data(**router: Any) -> dict[str, Any]:
        rows = [
            {"model_name": "g", "litellm_params": {"model": f"ollama/{m}"}}
            for m in "xy"
        ]
        return {"model_list": rows, "router_settings": router}

    router = Router.from_litellm(data())
    router.reload(data(routing_strategy="least-busy", plugins=[]))
    assert rule(router, "g") == "least_busy"
    assert [note.field for note in router.notes] == ["router_settings.plugins"]
    router.reload(data(enable_tag_filtering=True, num_retries=0))
    assert router._ways is not None
    assert router._ways.tags_route
    assert router._fleet.group_terms[router._fleet.group("g")].max_attempts == 1
    with pytest.raises(ConfigFileError, match="cooldowns"):
        router.reload(data(disable_cooldowns=True))


async def test_a_new_key_and_address_are_used_and_warm_connections_kept(
    llm_provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = llm_provider("openai"), llm_provider("openai")

    def data(url: str, weight: float = 1) -> dict[str, Any]:
        return {
            "backend": [
                {
                    "name": "a",
                    "model": "openai_compatible/gpt-4o",
                    "base_url": url,
                    "api_key": "env:KEY_OF_A",
                    "price": {"input": 1, "output": 2},
                    "weight": weight,
                }
            ]
        }

    monkeypatch.setenv("KEY_OF_A", "test-key")
    async with Router.from_file(data(old.base_url)) as router:
        await router.chat("a", ASK)
        kept = router._fleet.targets[0]
        router.reload(data(old.base_url, 2))
        assert router._fleet.targets[0] is kept
        router.reload(data(new.base_url))
        assert router._fleet.targets[0] is not kept
        await router.chat("a", ASK)
        assert (len(old.requests), len(new.requests)) == (1, 1)
        moved = router._fleet.targets[0]
        monkeypatch.setenv("KEY_OF_A", "another")
        router.reload()
        assert router._fleet.targets[0] is not moved


FREE = {"input": 0, "output": 0}
WILD = {"name": "w", "model": "openai/*", "api_key": "test-key", "price": FREE}
FREE_BASE = {"name": "t", "model": "openai/t", "groups": ["all"], "price": FREE}


def wilder(address: str, **changes: Any) -> dict[str, Any]:
    """The two backends, a wildcard, and one with a tuned endpoint."""
    base = {**FREE_BASE, "api_key": "test-key", "base_url": address}
    base["tuned"] = changes.pop("tuned", {"v": "ft:t:a"})
    made = [*config()["backend"], {**WILD, "base_url": address} | changes, base]
    return config(backend=made)


def test_what_came_through_a_wildcard_follows_its_changes(
    llm_provider: Provider,
) -> None:
    server = llm_provider("openai")
    router = Router.from_file(wilder(server.base_url))
    assert router.sync.chat("openai/x", ASK).backend == "w/x"
    assert router.sync.chat("all", ASK, tuned="v").backend == "t/ft:t:a"
    index, kept = router._fleet.index("w/x"), router._fleet.targets[4]
    router.reload(wilder(server.base_url, tags=["eu"], price={"input": 5, "output": 5}))
    assert router._fleet.index("w/x") == index
    assert router._fleet.targets[4] is kept  # its connections are warm
    reply = router.sync.chat("openai/x", ASK, tags=["eu"])
    assert reply.backend == "w/x" and reply.cost > 0
    assert router.stats()["backends"]["w/x"]["requests"] == 2
    assert router.sync.chat("openai/y", ASK, tags=["eu"]).backend == "w/y"
    assert router.sync.chat("all", ASK, tuned="v").backend == "t/ft:t:a"


def test_a_wildcard_that_is_gone_serves_no_more(llm_provider: Provider) -> None:
    server = llm_provider("openai")
    router = Router.from_file(wilder(server.base_url))
    router.sync.chat("openai/x", ASK)
    router.reload(config())
    for name in ("openai/x", "openai/y"):
        with pytest.raises(NoBackendError):
            router.sync.chat(name, ASK)
    with pytest.raises(InvalidRequestError):
        router.sync.chat("all", ASK, tuned="v")
    router.reload(wilder(server.base_url))
    assert router.sync.chat("openai/x", ASK).backend == "w/x"


def test_a_model_that_came_through_a_wildcard_may_be_named(
    llm_provider: Provider,
) -> None:
    server = llm_provider("openai")
    data = wilder(server.base_url)
    del data["backend"][2]["name"]
    router = Router.from_file(data)
    assert router.sync.chat("openai/x", ASK).backend == "openai/x"
    own = {**data["backend"][2], "model": "openai/x", "tags": ["own"]}
    more = {**data, "backend": [*data["backend"], own]}
    router.reload(more)
    assert router.sync.chat("openai/x", ASK, tags=["own"]).backend == "openai/x"
    assert router.sync.chat("openai/y", ASK).backend == "openai/y"
    router.reload(more)
    assert "openai/x (openai/*)" in router.backends


def test_an_accounts_limits_change_for_all_its_models(llm_provider: Provider) -> None:
    server = llm_provider("openai")
    limits = {"rpm": 60, "tpm": 600_000}
    router = Router.from_file(wilder(server.base_url, limits=limits))
    router.sync.chat("openai/x", ASK)
    wider = {"rpm": 90, "tpm": 600_000, "rpd": 500}
    router.reload(wilder(server.base_url, limits=wider))
    router.sync.chat("openai/y", ASK)
    pool, index = router._fleet.pool, router._fleet.index
    for name in ("w/x", "w/y"):
        lines = pool.backend(index(name))["limits"]
        assert [line["limit"] for line in lines] == [90, 600_000, 500]


def test_wildcards_and_variants_may_join(llm_provider: Provider) -> None:
    server = llm_provider("openai")
    router = Router.from_file(config())
    router.reload(wilder(server.base_url))
    assert router.sync.chat("openai/x", ASK).backend == "w/x"
    assert router.sync.chat("all", ASK, tuned="v").backend == "t/ft:t:a"
    router.reload(wilder(server.base_url, tuned={"v": "ft:t:b", "u": "ft:t:a"}))
    assert router.sync.chat("all", ASK, tuned="v").backend == "t/ft:t:b"
    assert router.sync.chat("all", ASK, tuned="u").backend == "t/ft:t:a"


def test_a_file_may_not_take_what_an_experiment_begun_by_hand_is_about() -> None:
    big = {"name": "e", "models": ["all"], "arms": {"control": {}, "big": {}}}
    for changes in (
        {"arms": {"control": {}, "big": {"model": "big"}}},
        {"arms": {"control": {}, "big": {"fallbacks": ["big"]}}},
        {"models": ["big"]},
    ):
        router = Router.from_file(config())
        router.start_experiment(Experiment(**(big | changes)))
        with pytest.raises(ConfigFileError, match=r"experiment\.e: .*by hand.*'big'"):
            router.reload(config(**backends({"groups": ["all"]})))
        for _ in range(8):  # nothing has changed
            with router.acquire("all", ASK) as lease:
                lease.release()
        router.stop_experiment("e")
        router.reload(config(**backends({"groups": ["all"]})))
        with pytest.raises(UnknownModelError):
            router.acquire("big", ASK)
        with pytest.raises(ConfigError, match="big"):
            router.start_experiment("e")


def test_experiments_and_mirrors_follow_an_alias(llm_provider: Provider) -> None:
    server = llm_provider("ollama")

    def pointing(to: str) -> dict[str, Any]:
        data = config(experiment={"e": {"models": ["x"], "arms": {"a": {}, "b": {}}}})
        for table in data["backend"]:
            table |= {"base_url": server.base_url, "api_key": "test-key"}
        data["mirror"] = {"m": {"to": "x", "models": ["all"], "share": 1}}
        data["backend"][1]["groups"] = ["all", "small"]
        return data | {"router": {"aliases": {"x": to}}}

    router = Router.from_file(pointing("big"))
    assert router.sync.chat("big", ASK).experiments
    router.reload(pointing("small"))
    assert router.sync.chat("small", ASK).experiments
    assert not router.sync.chat("big", ASK).experiments
    glass = router._intake.mirrors._glasses[0]  # type: ignore[union-attr]
    assert glass.group == router._fleet.groups["small"]

"""Experiments through a router: who gets which arm, and what becomes of it."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import pickle
import re
import textwrap
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import llmbalance
from llmbalance import (
    Backend,
    Bandit,
    Budget,
    CallEvent,
    ConfigError,
    Experiment,
    InvalidRequestError,
    Price,
    ProviderError,
    Router,
    Task,
)
from llmbalance._experiments._memory import knowledge_of

ASK = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def make(llm_provider: Any) -> Any:
    def build(
        *experiments: Experiment, ttft: float = 0.0, **options: Any
    ) -> tuple[dict[str, Any], Router]:
        providers = {
            name: llm_provider("openai", name=name, model="gpt-4o", ttft=ttft)
            for name in ("big", "small")
        }
        backends = [
            Backend(
                "openai/gpt-4o",
                name=f"b-{name}",
                groups=[name],
                api_key="test-key",
                base_url=provider.base_url,
                price=Price(10, 20) if name == "big" else Price(1, 2),
            )
            for name, provider in providers.items()
        ]
        router = Router(backends, experiments=experiments, **({"seed": 7} | options))
        return providers, router

    return build


def split(**changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "name": "size",
        "models": ["big"],
        "arms": {"control": {}, "small": {"model": "small"}},
    }
    return Experiment(**(fields | changes))


def body(provider: Any, at: int = -1) -> dict[str, Any]:
    return dict(json.loads(provider.requests[at].body))


async def test_an_arm_sends_its_calls_elsewhere_and_the_reply_says_so(make):
    _, router = make(split())
    async with router:
        replies = [await router.chat("big", ASK) for _ in range(40)]
        other = await router.chat("small", ASK)
    seen = {(reply.experiments["size"], reply.backend) for reply in replies}
    assert seen == {("control", "b-big"), ("small", "b-small")}
    assert other.experiments == {}
    report = router.experiments()
    arms = report["size"]["arms"]
    count = Counter(reply.experiments["size"] for reply in replies)
    assert {name: arm["calls"] for name, arm in arms.items()} == count
    assert arms["small"]["cost"] < arms["control"]["cost"] / 5
    assert all(arm["success"] == 1.0 for arm in arms.values())
    assert sum(arm["total_cost"] for arm in arms.values()) == pytest.approx(
        sum(reply.cost for reply in replies)
    )


async def test_options_of_the_call_win_over_the_arms_and_those_over_the_tasks(make):
    arms = {"control": {}, "warm": {"temperature": 0.9, "max_completion_tokens": 70}}
    experiment = Experiment(name="heat", arms=arms, weights={"warm": 1})
    tasks = [Task(name="t", group="big", max_tokens=30)]
    providers, router = make(experiment, tasks=tasks)
    async with router:
        await router.chat("big", ASK)
        assert body(providers["big"])["temperature"] == 0.9
        await router.chat("big", ASK, temperature=0.1, max_tokens=5)
        sent = body(providers["big"])
        assert sent["temperature"] == 0.1
        assert 70 not in sent.values()
        reply = await router.chat(messages=ASK, task="t")
        sent = body(providers["big"])
        assert 30 not in sent.values()
        assert 70 in sent.values()
        assert reply.experiments == {"heat": "warm"}


async def test_a_session_and_a_user_stay_in_their_arm(make):
    everything = {"weights": {"control": 1, "small": 1}}
    for unit in ("session", "user"):
        _, router = make(split(unit=unit, **everything))
        async with router:
            arms = {
                who: {
                    (await router.chat("big", ASK, **{unit: who})).experiments["size"]
                    for _ in range(3)
                }
                for who in map(str, range(20))
            }
            assert all(len(seen) == 1 for seen in arms.values())
            assert len(set.union(*arms.values())) == 2
        lines = router.experiments()["size"]["arms"].values()
        assert sum(line["units"] for line in lines) == 20
        assert sum(line["calls"] for line in lines) == 60


async def test_without_a_session_the_beginning_of_the_conversation_tells(make):
    _, router = make(split(unit="session"), auto_session=True)
    async with router:
        seen = {(await router.chat("big", ASK)).experiments["size"] for _ in range(6)}
    assert len(seen) == 1
    assert sum(a["units"] for a in router.experiments()["size"]["arms"].values()) == 1


async def test_only_calls_in_scope_take_part(make):
    arms = {"control": {}, "b": {"temperature": 0.5}}
    by_task = Experiment(name="task", arms=arms, tasks=["t"])
    by_tag = Experiment(
        name="tag", arms={"control": {}, "b": {"top_p": 0.5}}, tags=["team=a"]
    )
    _, router = make(by_task, by_tag, tasks=[Task(name="t", group="big")])
    async with router:
        assert (await router.chat("big", ASK)).experiments == {}
        reply = await router.chat(messages=ASK, task="t", tags=["team=a", "x=1"])
        assert set(reply.experiments) == {"task", "tag"}
        assert set((await router.chat("big", ASK, tags="team=a")).experiments) == {
            "tag"
        }
        assert (await router.chat("big", ASK, tags="team=b")).experiments == {}


async def test_streams_and_blocking_calls_and_leases_take_part(make):
    _, router = make(split(weights={"small": 1}))
    async with router:
        last = None
        async for chunk in await router.chat("big", ASK, stream=True):
            last = chunk
        assert last.experiments == {"size": "small"}
        assert last.backend == "b-small"
        async with router.acquire("big", ASK, max_tokens=9) as lease:
            assert lease.experiments == {"size": "small"}
            assert lease.params == {"max_tokens": 9}
            lease.settle(usage={"prompt_tokens": 10, "completion_tokens": 5})
        assert router.reward(lease, 1.0)
    blocking = router.sync.chat("big", ASK)
    assert blocking.experiments == {"size": "small"}
    *_, end = router.sync.chat("big", ASK, stream=True)
    assert end.experiments == {"size": "small"}
    arm = router.experiments()["size"]["arms"]["small"]
    assert (arm["calls"], arm["success"], arm["rewarded"]) == (4, 1.0, 1)
    assert arm["total_cost"] > 4 * (10 + 5) / 1e6 / 2


async def test_embeddings_take_part_where_models_names_them_and_stay_together(
    llm_provider,
):
    provider = llm_provider("openai", name="p", model="text-embedding-3-small")
    backends = [
        Backend(
            "openai/text-embedding-3-small",
            name=name,
            groups=[name],
            api_key="test-key",
            base_url=provider.base_url,
            price=Price(1, 0),
        )
        for name in ("one", "two")
    ]
    arms = {"control": {}, "other": {"model": "two"}}
    everywhere = Experiment(name="all", arms={"control": {}, "b": {"top_p": 0.1}})
    router = Router(
        backends,
        experiments=[Experiment(name="e", arms=arms, models=["one"]), everywhere],
        seed=1,
    )
    seen = set()
    async with router:
        for _ in range(8):
            reply = await router.embed("one", ["text"] * 3000)
            assert len(reply.vectors) == 3000
            served = {attempt.backend for attempt in reply.attempts}
            assert len(reply.attempts) > 1
            arm = reply.experiments["e"]
            assert served == {"two" if arm == "other" else "one"}
            assert set(reply.experiments) == {"e"}
            seen.add(arm)
    assert seen == {"control", "other"}


async def test_a_failed_call_counts_for_the_arm_it_was_dealt(make):
    """The fallback answers, yet it is the arm's success; without one its failure."""
    providers, router = make(split(weights={"small": 1}), fallbacks={"small": ["big"]})
    async with router:
        providers["small"].fail_next(1, status=400)
        with pytest.raises(ProviderError):
            await router.chat("big", ASK)
        providers["small"].fail_next(1, status=503)
        reply = await router.chat("big", ASK)
        assert (reply.backend, reply.experiments) == ("b-big", {"size": "small"})
        providers["small"].hang()
        call = asyncio.create_task(router.chat("big", ASK))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    arm = router.experiments()["size"]["arms"]["small"]
    assert (arm["calls"], arm["success"], arm["cancelled"]) == (2, 0.5, 1)


async def test_arms_are_labels_of_costs_events_and_budgets(make, tmp_path):
    experiment = split(weights={"small": 1})
    budget = Budget(usd=0.0, tag="experiment.size=small")
    _, router = make(experiment, ledger=tmp_path / "costs.db")
    heard: list[Any] = []
    async with router:
        router.events.subscribe(heard.append)
        await router.chat("big", ASK, tags=["team=a"])
        costs = router.costs(by="tag:experiment.size")
        assert costs.rows()[0]["experiment.size"] == "small"
        assert next(r["team"] for r in router.costs(by="tag:team").rows()) == "a"
        assert router.events.flush(5)
    labels = ("team=a", "experiment.size=small")
    assert [event.labels for event in heard] == [labels, labels]
    assert isinstance(heard[-1], CallEvent)
    _, broke = make(experiment, budgets=[budget])
    async with broke:
        assert (await broke.chat("big", ASK)).backend == "b-big"


async def test_rewards_come_later_by_reply_or_by_id_and_once(make):
    _, router = make(split(metric="reward"))
    async with router:
        reply = await router.chat("big", ASK)
        assert router.reward(reply, 0.25)
        assert not router.reward(reply, 0.5)
        other = await router.chat("big", ASK)
        assert router.reward(other.id, 1)
        assert not router.reward(other.id, 1)
        assert not router.reward("nobody", 1)
        untold = await router.chat("small", ASK)
        assert not router.reward(untold, 1)
        for wrong in (-0.1, 1.5, True, None):
            with pytest.raises(InvalidRequestError, match="0 to 1"):
                router.reward(reply, wrong)
        with pytest.raises(InvalidRequestError, match="reply or its id"):
            router.reward(17, 1)
    arms = router.experiments()["size"]["arms"].values()
    assert sum(arm["rewarded"] for arm in arms) == 2
    told = [arm["reward"] for arm in arms if arm["rewarded"]]
    assert sum(told) in (1.25, 0.625)


async def test_a_stream_is_rewarded_by_its_last_chunk_or_its_id(make):
    _, router = make(split())
    async with router:
        for by_id in (False, True):
            *_, last = [c async for c in await router.chat("big", ASK, stream=True)]
            assert router.reward(last.id if by_id else last, 1)
            assert not router.reward(last, 1)
    arms = router.experiments()["size"]["arms"].values()
    assert sum(arm["rewarded"] for arm in arms) == 2


async def test_what_was_in_flight_when_it_stopped_still_counts(make):
    _, router = make(split(weights={"small": 1}), ttft=0.15)
    async with router:
        call = asyncio.create_task(router.chat("big", ASK))
        await asyncio.sleep(0.05)
        router.stop_experiment("size")
        assert not call.done()
        await call
    assert router.experiments()["size"]["arms"]["small"]["calls"] == 1


def test_a_dropped_router_leaves_nothing_behind(make):
    _, router = make(split(unit="user"))
    router.sync.chat("big", ASK, user="u")
    gone = weakref.ref(router._intake.studies)
    del router, _
    gc.collect()
    assert gone() is None


async def test_a_reply_may_leave_the_process(make):
    _, router = make(split())
    async with router:
        reply = await router.chat("big", ASK)
    again = pickle.loads(pickle.dumps(reply.experiments))
    assert type(again) is dict
    assert again == reply.experiments == copy.deepcopy(reply.experiments)


async def test_an_experiment_starts_and_stops_while_calls_go_on(make):
    _, router = make()
    async with router:
        assert router.experiments() == {}
        assert (await router.chat("big", ASK)).experiments == {}
        router.start_experiment(split(running=False, weights={"small": 1}))
        assert (await router.chat("big", ASK)).experiments == {}
        router.start_experiment("size")
        assert (await router.chat("big", ASK)).backend == "b-small"
        router.stop_experiment("size")
        assert (await router.chat("big", ASK)).backend == "b-big"
        router.stop_experiment("size", winner="small")
        reply = await router.chat("big", ASK)
        assert (reply.backend, reply.experiments) == ("b-small", {})
        assert router.experiments()["size"]["arms"]["small"]["calls"] == 1
        router.start_experiment("size")
        await router.chat("big", ASK)
        assert router.experiments()["size"]["arms"]["small"]["calls"] == 2
        for wrong in (
            lambda: router.start_experiment("sise"),
            lambda: router.stop_experiment("size", winner="tiny"),
            lambda: router.start_experiment(split()),
        ):
            with pytest.raises(ConfigError):
                wrong()


async def test_a_bandit_leaves_the_arm_that_fails(make):
    providers, router = make(split(bandit=Bandit(min_share=0.1)))
    providers["small"].fail_next(500, status=400)
    study = router._intake.studies.find("size")
    counts: Counter[str] = Counter()
    async with router:
        for i in range(200):
            try:
                await router.chat("big", ASK)
                counts["big"] += 1
            except ProviderError:
                counts["small"] += 1
            if i % 20 == 19:
                study.work(time.monotonic())
    assert counts["small"] < 60
    assert router.experiments()["size"]["arms"]["small"]["share"] < 0.2


async def test_explaining_a_call_does_not_count_it(make):
    _, router = make(split())
    async with router:
        router.explain("big", ASK)
        await router.count_tokens("big", ASK)
    assert all(a["units"] == 0 for a in router.experiments()["size"]["arms"].values())


def test_threads_lose_no_call(make):
    _, router = make(split())

    def work() -> None:
        for _ in range(25):
            router.sync.chat("big", ASK)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(a["calls"] for a in router.experiments()["size"]["arms"].values()) == 100


def test_the_report_prints_and_shows_in_a_notebook(make, tmp_path):
    _, router = make(split())
    router.sync.chat("big", ASK)
    report = router.experiments()
    text, page = str(report), report._repr_html_()
    assert "size/control" in text
    assert "undecided" in text
    assert "<td>size/small</td>" in page
    assert {row["verdict"] for row in report.rows()} == {"control", "undecided"}
    assert report["size"]["winner"] is None
    report.to_csv(tmp_path / "some.csv")
    assert "size/small" in (tmp_path / "some.csv").read_text()
    _, none = make()
    none.experiments().to_csv(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().startswith("arm,units")


def test_the_picture_shows_shares_and_the_metric_over_time(make):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    _, router = make(split())
    study = router._intake.studies.find("size")
    for second in range(5):
        router.sync.chat("big", ASK)
        study.work(time.monotonic() + second)
    figure = router.experiments().plot()
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 2
    assert len(left.lines[0].get_xdata()) >= 5
    assert right.get_title() == "success"
    bars = router.experiments().plot("calls")
    assert len(bars.patches) == 2


ARMS = {"control": {}, "b": {}}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"arms": ARMS, "name": "a b"}, "name", "letters"),
        ({"arms": {"control": {}}}, "arms", "2 to 20"),
        ({"arms": ["a", "b"]}, "arms", "2 to 20"),
        ({"arms": {"control": {}, "b": "cost"}}, "arms['b']", "dict of options"),
        ({"arms": {"control": {}, "b": {"user": "x"}}}, "arms['b']", "leave it out"),
        ({"arms": ARMS, "unit": "day"}, "unit", "session"),
        ({"arms": ARMS, "metric": "speed"}, "metric", "latency"),
        ({"arms": ARMS, "models": "big"}, "models", "list"),
        ({"arms": ARMS, "weights": {"c": 1}}, "weights", "use one of control, b"),
        ({"arms": ARMS, "weights": {"b": -1}}, "weights['b']", ">= 0"),
        ({"arms": ARMS, "weights": {"b": 0}}, "weights", "more than 0"),
        ({"arms": ARMS, "ramp": []}, "ramp", "steps"),
        ({"arms": ARMS, "ramp": [(0, 1.5)]}, "ramp", "0 to 1"),
        ({"arms": ARMS, "ramp": [(0, 0.5), ("1h", 0.1)]}, "ramp", "rise"),
        ({"arms": ARMS, "ramp": [("soon", 0.5)]}, "ramp", "minute"),
        ({"arms": ARMS, "ramp": [(None, 0.5)]}, "ramp", "steps"),
        ({"arms": ARMS, "since": "2026-01-01"}, "since", "ramp"),
        ({"arms": ARMS, "ramp": [(0, 1)], "since": "soon"}, "since", "date"),
        ({"arms": ARMS, "ramp": [(0, 1)], "bandit": Bandit()}, "bandit", "drop one"),
        ({"arms": ARMS, "bandit": Bandit(min_share=0.5)}, "min_share", "too much"),
        ({"arms": ARMS, "bandit": {"gamma": 1}}, "bandit", "Bandit(...)"),
        ({"arms": ARMS, "alpha": 0}, "alpha", "0.05"),
        ({"arms": ARMS, "effect": -1}, "effect", "> 0"),
    ],
)
def test_a_wrong_experiment_names_field_and_remedy(fields, field, says):
    with pytest.raises(ConfigError) as caught:
        Experiment(**({"name": "x"} | fields))
    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("reward", "joy"), ("gamma", 0.1), ("cost_weight", -1), ("min_share", 1)],
)
def test_a_wrong_bandit_names_the_field(field, value):
    with pytest.raises(ConfigError) as caught:
        Bandit(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("experiments", "field", "says"),
    [
        ([split(arms={"control": {}, "b": {"model": "huge"}})], "model", "big"),
        ([split(models=["huge"])], "models", "big"),
        ([split(arms={"control": {}, "b": {"temprature": 1}})], "temprature", "did"),
        ([split(arms={"control": {}, "b": {"strategy": "x"}})], "strategy", "use"),
        ([split(arms={"control": {}, "b": {"v": -1}})], "v", ">= 0"),
        ([split(), split()], "experiments", "twice"),
        ([split(), split(name="other")], "experiments", "sets 'model'"),
        (["size"], "experiment", "use one of none"),
        ([{"name": "size"}], "experiments", "Experiment objects"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused_at_construction(
    make, experiments, field, says
):
    with pytest.raises(ConfigError) as caught:
        make(*experiments)
    assert caught.value.field.rpartition(".")[2].endswith(field)
    assert says in str(caught.value)


def test_experiments_of_different_calls_may_set_the_same(make):
    make(split(), split(name="other", models=["small"]))


DOCS = (Path(__file__).parents[1] / "docs/routing.md").read_text()


@pytest.mark.parametrize(
    ("section", "shown"), [("Experiments", "cheaper/mid"), ("Mirrors", "original_p50")]
)
async def test_the_example_of_the_documentation_runs(section, shown, make, capsys):
    text = DOCS.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    code = textwrap.indent(re.findall(r"```python\n(.*?)```", text, re.S)[0], "    ")
    _, some = make()
    backends = [
        msgspec.structs.replace(backend, groups=[group])
        for backend, group in zip(
            some._fleet.backends, ("frontier", "mid"), strict=True
        )
    ]
    names: dict[str, Any] = {
        name: getattr(llmbalance, name) for name in llmbalance.__all__
    }
    names |= {"backends": backends, "messages": ASK, "similarity": lambda a, b: 1.0}
    exec(f"async def example():\n{code}    return router\n", names)
    async with await names["example"]():
        assert shown in capsys.readouterr().out


async def test_what_was_found_outlives_the_process_with_a_ledger(make, tmp_path):
    ledger = tmp_path / "costs.db"
    experiment = split(bandit=Bandit(), unit="user", metric="cost")
    _, router = make(experiment, ledger=ledger)
    async with router:
        for i in range(200):
            await router.chat("big", ASK, user=str(i))
        before = router.experiments()["size"]
        shares = router._intake.studies.find("size").bandit.state()
    _, again = make(experiment, ledger=ledger)
    async with again:
        after = again.experiments()["size"]
        for name, arm in before["arms"].items():
            there = after["arms"][name]
            for field in ("calls", "units", "success", "cost", "p50", "metric", "p"):
                assert there[field] == pytest.approx(arm[field]), (name, field)
        assert before["arms"]["small"]["verdict"] == "better"
        assert after["arms"]["small"]["verdict"] == "better"
        assert after["winner"] == "small"
        assert after["seconds"] >= before["seconds"]
        kept = again._intake.studies.find("size").bandit.state()
        assert kept == [pytest.approx(row) for row in shares]
    _, later = make(ledger=ledger)
    async with later:
        later.start_experiment(experiment)
        assert later.experiments()["size"]["arms"]["small"]["verdict"] == "better"


async def test_a_changed_experiment_begins_anew_and_damage_is_told(
    make, tmp_path, caplog
):
    ledger = tmp_path / "costs.db"
    _, router = make(split(), ledger=ledger)
    async with router:
        await router.chat("big", ASK)
    arms = {"control": {}, "small": {"model": "small", "temperature": 0.5}}
    _, changed = make(split(arms=arms), ledger=ledger)
    async with changed:
        figures = changed.experiments()["size"]["arms"].values()
        assert sum(arm["calls"] for arm in figures) == 0
        studies = changed._intake.studies
        known = knowledge_of(studies.find("size"), time.monotonic())
        del known["evidence"]
        with caplog.at_level(logging.WARNING, "llmbalance"):
            studies.recall({"experiment/size": {"at": 0.0} | known})
        assert "'size' is damaged: 'evidence'" in caplog.text
        await changed.chat("big", ASK)


async def test_an_experiment_in_the_way_of_another_does_not_start_again(make):
    _, router = make(split())
    router.stop_experiment("size")
    router.start_experiment(split(name="other"))
    with pytest.raises(ConfigError, match="sets 'model'"):
        router.start_experiment("size")
    router.stop_experiment("other")
    router.start_experiment("size")


def test_an_arm_may_only_ask_for_what_there_is():
    backend = Backend("openai/gpt-4o", api_key="k", tuned={"law": "ft:gpt-4o:a::b"})
    other = Backend("openai/gpt-4.1", api_key="k")

    def split(**arm: Any) -> Experiment:
        return Experiment(name="e", arms={"control": {}, "new": arm})

    for arm, says in (
        ({"tuned": "lwa"}, "did you mean 'law'"),
        ({"tuned": "law", "model": "openai/gpt-4.1"}, "known are law"),
        ({"fallbacks": ["openai/gpt-4"]}, "use one of"),
        ({"strategy": "csot"}, "did you mean 'cost'"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            Router([backend, other], experiments=[split(**arm)])
        assert caught.value.field.startswith("experiments['e'].arms['new'].")
    Router([backend, other], experiments=[split(tuned="law", model="openai/gpt-4o")])


@pytest.mark.parametrize("nobody", [None, ""])
def test_calls_of_nobody_are_dealt_anew(make, nobody):
    _, router = make(split(unit="user"))
    arms = set()
    for _ in range(40):
        with router.acquire("big", ASK, user=nobody) as lease:
            arms.add(lease.experiments["size"])
    assert arms == {"control", "small"}

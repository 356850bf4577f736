"""What LiteLLM's files say of groups and calls: retries, tags, priorities, copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    Backend,
    BadRequestError,
    BudgetExceededError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    RateLimitError,
    Router,
    ServerError,
    UnknownModelError,
)
from llmbalance._call import _walk as walk
from llmbalance._configfile._load import Plan
from llmbalance._litellm._plan import load_litellm
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TOO_LONG = {
    "error": {"code": "context_length_exceeded", "message": "maximum context length"}
}
FILTERED = {"error": {"code": "content_filter", "message": "refused by the filter"}}
Provider = Callable[..., MockProvider]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_BACKOFF", (0.001, 0.002))


def config(*rows: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Rows given as {"group", other litellm_params}."""
    made = []
    for i, given in enumerate(rows):
        params = {"model": f"ollama/{i}", **given}
        made.append({"model_name": params.pop("group", "g"), "litellm_params": params})
    return {"model_list": made, "router_settings": settings}


def plan_of(*rows: dict[str, Any], **settings: Any) -> Plan:
    return load_litellm(config(*rows, **settings))


def at(provider: MockProvider, **params: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{provider.model}",
        "api_base": provider.base_url,
        "api_key": "test-key",
        **params,
    }


def told(plan: Plan, kind: str = "fault") -> dict[str, str]:
    return {note.field: note.message for note in plan.notes if note.kind == kind}


def groups(plan: Plan) -> dict[str, Any]:
    return {group.name: group for group in plan.options["groups"]}


async def attempts_of(
    router: Router, error: type[Exception], **options: Any
) -> list[str]:
    async with router:
        with pytest.raises(error) as caught:
            await router.acompletion("g", ASK, timeout=20, **options)
    return [a.backend for a in caught.value.attempts]  # type: ignore[attr-defined]


# -- retries ---------------------------------------------------------------------


def test_numbers_of_retries_are_attempts_of_groups() -> None:
    plan = plan_of(
        {"group": "a"},
        {"group": "b", "num_retries": 5},
        {"group": "c"},
        num_retries=1,
        retry_policy={"RateLimitErrorRetries": 4, "TimeoutErrorRetries": 0},
        model_group_retry_policy={"c": {"DefaultRetries": 2}},
    )
    made = groups(plan)
    assert [made[name].max_attempts for name in "abc"] == [2, 6, 3]
    kinds = {"rate_limit": 5, "tier_capacity": 5, "quota": 5}
    kinds |= {"request_timeout": 1, "timeout": 1}
    assert made["a"].attempts == made["b"].attempts == kinds
    assert made["c"].attempts == {}
    assert plan.options["retry_budget"] is None
    assert told(plan) == {}


@pytest.mark.parametrize(
    ("settings", "field", "why"),
    [
        ({"retry_policy": {"Timeout": 1}}, "retry_policy.Timeout", "unknown key"),
        ({"retry_policy": "x"}, "retry_policy", "mapping"),
        ({"num_retries": "many"}, "num_retries", "whole number"),
        ({"model_group_retry_policy": {"x": {}}}, "policy.x", "no group 'x'"),
    ],
)
def test_numbers_that_cannot_be_meant_are_told(
    settings: dict[str, Any], field: str, why: str
) -> None:
    found = told(plan_of({}, **settings))
    assert any(field in key and why in text for key, text in found.items()), found


def test_numbers_that_are_read_otherwise_are_told() -> None:
    policy = {"BadRequestErrorRetries": 3, "RateLimitErrorRetries": 99}
    rows = ({"num_retries": 1}, {"num_retries": 2})
    changed = told(plan_of(*rows, retry_policy=policy), "changed")
    assert (
        "asked once" in changed["router_settings.retry_policy.BadRequestErrorRetries"]
    )
    assert (
        "16 attempts" in changed["router_settings.retry_policy.RateLimitErrorRetries"]
    )
    faults = told(plan_of(*rows))
    assert any("do not all say so" in text for text in faults.values())


async def test_a_policy_for_server_errors_counts_even_without_other_retries(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    provider.outage(status=500)
    settings = {"retry_policy": {"InternalServerErrorRetries": 3}, "num_retries": 0}
    router = Router.from_litellm(config(at(provider), **settings))
    assert len(await attempts_of(router, ServerError)) == 4
    provider.recover().outage(status=429)
    router = Router.from_litellm(config(at(provider), **settings))
    assert len(await attempts_of(router, RateLimitError)) == 1
    provider.recover().outage(status=400)
    router = Router.from_litellm(config(at(provider), num_retries=3))
    assert len(await attempts_of(router, BadRequestError)) == 1


async def test_a_retry_goes_to_who_was_not_tried_and_the_call_s_number_wins(
    llm_provider: Provider,
) -> None:
    providers = [llm_provider("openai") for _ in range(3)]
    for provider in providers:
        provider.outage(status=500)
    rows = [at(provider) for provider in providers]
    router = Router.from_litellm(config(*rows, num_retries=1))
    assert len(set(await attempts_of(router, ServerError))) == 2
    router = Router.from_litellm(config(*rows, num_retries=1))
    assert len(await attempts_of(router, ServerError, num_retries=0)) == 1


# -- special fallbacks -----------------------------------------------------------


async def test_special_fallbacks_serve_their_kind_and_disabled_ones_nobody(
    llm_provider: Provider,
) -> None:
    a, b, c = (llm_provider("openai") for _ in range(3))
    rows = [at(p, group=g) for p, g in ((a, "g"), (b, "b"), (c, "c"))]
    data = config(
        *rows,
        fallbacks=[{"g": ["b"]}],
        context_window_fallbacks=[{"g": ["c"]}],
        content_policy_fallbacks=[{"g": ["c"]}],
    )
    a.fail_next(4, status=400, body=TOO_LONG)
    async with Router.from_litellm(data) as router:
        assert (await router.acompletion("g", ASK)).backend == "c"
        with pytest.raises(ContextLengthError):
            await router.acompletion("g", ASK, disable_fallbacks=True)
        a.recover().fail_next(2, status=400, body=FILTERED)
        assert (await router.acompletion("g", ASK)).backend == "c"
        with pytest.raises(ContentFilterError):
            await router.acompletion("g", ASK, disable_fallbacks=True)
        a.recover().outage(status=500)
        assert (await router.acompletion("g", ASK)).backend == "b"


async def test_default_fallbacks_serve_names_that_nobody_has(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    rows = [at(provider, group="g"), at(provider, group="h")]
    data = config(*rows, default_fallbacks=["h"])
    async with Router.from_litellm(data) as router:
        assert (await router.acompletion("unknown", ASK)).backend == "h"
        with pytest.raises(UnknownModelError):
            await router.chat("unknown", ASK)
    async with Router.from_litellm(config(*rows)) as router:
        with pytest.raises(UnknownModelError, match="unknown"):
            await router.acompletion("unknown", ASK)


def test_wildcards_serve_the_most_specific_row_and_keep_their_settings() -> None:
    router = Router.from_litellm(
        config(
            {"group": "*", "model": "openai/*", "api_key": "k"},
            {"group": "ollama/*", "model": "ollama/*"},
            {"group": "gpt-*", "model": "ollama/own"},
            {"group": "b", "model": "ollama/b"},
            fallbacks=[{"ollama/special": ["b"]}],
            default_fallbacks=["ollama/last"],
            num_retries=1,
        )
    )
    assert [note.field for note in router.notes if note.kind == "fault"] == []

    def chain(name: str) -> list[str]:
        rows = router.explain(name, "hi").rows()
        return [
            router._fleet.backends[router._fleet.index(r["backend"])].model
            for r in rows
        ]

    assert chain("ollama/x") == ["ollama/x", "ollama/last"]
    assert chain("ollama/special") == ["ollama/special", "ollama/b", "ollama/last"]
    assert chain("gpt-9") == ["ollama/own", "ollama/last"]
    assert chain("o3") == ["openai/o3", "ollama/last"]
    terms = router._fleet.group_terms[router._fleet.group("ollama/x")]
    assert terms.max_attempts == 2


# -- tags ------------------------------------------------------------------------


def tagged(**settings: Any) -> dict[str, Any]:
    rows = [{"tags": ["free"]}, {"tags": ["paid", "eu"]}, {"tags": ["default"]}]
    return config(*rows, enable_tag_filtering=True, **settings)


@pytest.mark.parametrize(
    ("asked", "any_of", "all_of"),
    [
        (None, ["default"], ["default"]),
        (["free"], ["free"], ["free"]),
        (["paid", "eu"], ["paid", "eu"], ["paid", "eu"]),
        (["eu", "free"], ["eu", "free"], ["default"]),
        (["unknown", "free"], ["free"], ["default"]),
        (["unknown"], ["default"], ["default"]),
    ],
)
def test_tags_choose_by_any_or_all_and_default_is_for_the_others(
    asked: list[str] | None, any_of: list[str], all_of: list[str]
) -> None:
    metadata = {"tags": asked} if asked else None
    for match_any, expected in ((True, any_of), (False, all_of)):
        router = Router.from_litellm(tagged(tag_filtering_match_any=match_any))
        _, chosen, _ = router._in_our_words("g", {"metadata": metadata})
        assert chosen["tags"] == expected
        rows = router.explain("g", "hi", **chosen).rows()
        served = {r["backend"] for r in rows if r["reason"] == "eligible"}
        tags = [set(backend.tags) for backend in router._fleet.backends]
        wanted = [t & set(expected) if match_any else t >= set(expected) for t in tags]
        names = zip(router.backends, wanted, strict=True)
        assert served == {name for name, good in names if good}


def test_one_of_several_tags_is_enough_for_a_call_of_the_router_too() -> None:
    backends = [
        Backend(f"ollama/{tag}", groups=["g"], tags=[tag]) for tag in ("a", "b", "c")
    ]
    router = Router(backends)
    for options in (
        {"tags": ["a", "c"], "any_tag": True},
        {"any_tag": True, "tags": ["a", "c"]},
    ):
        rows = router.explain("g", "hi", **options).rows()
        assert [r["reason"] for r in rows] == ["eligible", "tag", "eligible"]
    rows = router.explain("g", "hi", tags=["a", "c"], any_tag=False).rows()
    assert {r["reason"] for r in rows} == {"tag"}
    rows = router.explain("g", "hi", any_tag=True).rows()
    assert {r["reason"] for r in rows} == {"eligible"}


# -- priorities, copies, parameters ----------------------------------------------


async def test_the_least_priority_comes_first(llm_provider: Provider) -> None:
    provider = llm_provider("openai", ttft=0.05)
    data = config(at(provider, max_parallel_requests=1), default_priority=3)
    order: list[str] = []

    async with Router.from_litellm(data) as router:

        async def ask(name: str, **options: Any) -> None:
            await router.acompletion("g", ASK, timeout=20, **options)
            order.append(name)

        calls = [asyncio.ensure_future(ask("first"))]
        await asyncio.sleep(0.01)
        for name, options in (
            ("none", {}),
            ("one", {"priority": 1}),
            ("zero", {"priority": 0}),
        ):
            calls.append(asyncio.ensure_future(ask(name, **options)))
            await asyncio.sleep(0.002)
        await asyncio.gather(*calls)
        with pytest.raises(InvalidRequestError, match="0 is first"):
            await router.acompletion("g", ASK, priority=-1)
    assert order == ["first", "zero", "one", "none"]


async def test_a_silent_model_gets_a_copy_of_every_call(llm_provider: Provider) -> None:
    loud, silent = llm_provider("openai"), llm_provider("openai")
    rows = at(loud, silent_model="s"), at(silent, group="s")
    async with Router.from_litellm(config(*rows)) as router:
        assert told(load_litellm(config(*rows))) == {}
        for _ in range(5):
            assert (await router.acompletion("g", ASK)).backend == "g"
        for _ in range(200):
            if router.mirrors()["silent-1"]["answered"] == 5:
                break
            await asyncio.sleep(0.01)
        assert router.mirrors()["silent-1"]["answered"] == 5
    assert len(silent.requests) == 5


def test_rows_with_a_silent_model_among_others_copy_their_share() -> None:
    rows = ({"silent_model": "s", "weight": 1}, {"weight": 3}, {"group": "s"})
    plan = plan_of(*rows)
    (mirror,) = plan.options["mirrors"]
    assert (mirror.to, mirror.share, mirror.models) == ("s", 0.25, ("g",))
    assert any("25% of the calls" in text for text in told(plan, "changed").values())


async def test_parameters_of_a_row_and_of_all_rows_fill_what_calls_leave_open(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    data = config(
        at(provider, temperature=0.5), default_litellm_params={"seed": 7, "top_p": 0.9}
    )
    assert told(load_litellm(data)) == {}
    async with Router.from_litellm(data) as router:
        await router.acompletion("g", ASK, top_p=0.1)
    sent = provider.requests[0].json()
    assert (sent["temperature"], sent["seed"], sent["top_p"]) == (0.5, 7, 0.1)


def test_prompt_caching_keeps_calls_that_begin_alike_together() -> None:
    plan = plan_of({}, optional_pre_call_checks=["prompt_caching", "router_budget"])
    assert plan.options["auto_session"] is True
    found = told(plan)["router_settings.optional_pre_call_checks"]
    assert found.startswith("router_budget")


def test_a_provider_s_budget_refuses_its_backends_and_no_others() -> None:
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    router = Router.from_litellm(
        config(
            {"model": "openai/a", "api_key": "k", **price},
            {"model": "openai/b", "api_key": "k", **price},
            {"model": "ollama/c", **price},
            provider_budget_config={
                "openai": {"budget_limit": 1e-12, "time_period": "1d"}
            },
        )
    )
    reasons = [row["reason"] for row in router.explain("g", "hello").rows()]
    assert reasons == ["budget", "budget", "eligible"]


# -- budgets of tags, embeddings ---------------------------------------------------


async def test_calls_of_a_tag_are_under_its_budget_and_no_others(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    source = config(at(provider, **price))
    budget = {"budget_limit": 1e-12, "time_period": "1d"}
    source["litellm_settings"] = {"tag_budget_config": {"team-a": budget}}
    router = Router.from_litellm(source, strict=True)
    spent = {"metadata": {"tags": ["team-a", "other"]}}
    async with router:
        with pytest.raises(BudgetExceededError):
            await router.acompletion("g", ASK, **spent)
        reply = await router.acompletion("g", ASK, metadata={"tags": ["other"]})
    assert reply.backend == "g"
    assert reply.warnings == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"a": {}}, "no budget_limit"),
        ({"a": {"max_budget": 1, "budget_duration": "soon"}}, "budget left out"),
        (["a"], "give a mapping"),
    ],
)
def test_budgets_of_tags_that_make_no_sense_are_told(given: Any, why: str) -> None:
    source = config({"group": "g"})
    source["litellm_settings"] = {"tag_budget_config": given}
    plan = load_litellm(source)
    assert plan.options["budgets"] == []
    assert any(why in text for text in told(plan).values())


def test_a_tag_with_a_budget_that_rows_have_as_well_is_told() -> None:
    source = config({"group": "g", "tags": ["paid"]})
    source["litellm_settings"] = {"tag_budget_config": {"paid": {"max_budget": 5}}}
    plan = load_litellm(source)
    notes = told(plan, "changed")
    assert "go to them" in notes["litellm_settings.tag_budget_config.paid"]
    source["router_settings"]["enable_tag_filtering"] = True
    notes = told(load_litellm(source), "changed")
    assert "litellm_settings.tag_budget_config.paid" not in notes


async def test_embeddings_in_litellm_s_words_are_answered(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    router = Router.from_litellm(config(at(provider)))
    async with router:
        reply = await router.aembedding(
            "g", ["a", "b"], num_retries=1, is_async=True, timeout=20
        )
        with pytest.raises(InvalidRequestError, match="api_key"):
            await router.aembedding("g", "a", api_key="x")
    assert len(reply.data) == 2
    assert [w.partition(":")[0] for w in reply.warnings] == ["is_async"]


def test_blocking_embeddings_in_litellm_s_words_are_answered(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("openai")
    router = Router.from_litellm(config(at(provider)))
    assert len(router.embedding("g", input=["a"]).data) == 1
    router.close()

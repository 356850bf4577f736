"""Embedding more texts than one request holds, and counting tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from llmbalance import (
    Backend,
    CostLimitError,
    Group,
    InvalidRequestError,
    Price,
    Router,
    ServerError,
    Task,
)
from llmbalance._call._embed import cut
from llmbalance._types import Call
from llmbalance.providers import PROVIDERS, dialect
from llmbalance.testing import MockProvider

Provider = Callable[..., MockProvider]


def backend(provider: MockProvider, model: str = "", **options: Any) -> Backend:
    settings: dict[str, Any] = {
        "name": provider.name,
        "groups": ["all"],
        "api_key": "test-key",
        "base_url": provider.base_url,
        "price": Price(1, 0),
    }
    name = model or provider.models[0]
    return Backend(f"{provider.dialect}/{name}", **settings | options)


def embedder(make: Provider, kind: str = "openai", name: str = "a") -> MockProvider:
    model = "gemini-embedding-001" if kind == "google" else "text-embedding-3-small"
    return make(kind, name=name, model=model)


@pytest.mark.parametrize("kind", ["openai", "google", "mistral"])
async def test_many_texts_come_back_in_order_in_as_few_requests_as_allowed(
    llm_provider: Provider, kind: str
) -> None:
    provider = embedder(llm_provider, kind)
    texts = [f"text number {i}" for i in range(1100)]
    async with Router([backend(provider)]) as router:
        reply = await router.embed("all", texts)
        single = await router.embed("all", texts[777])
    most = {"openai": 2048, "google": 100, "mistral": 512}[kind]
    assert provider.served - 1 == -(-1100 // most)
    assert [item.index for item in reply.data] == list(range(1100))
    assert len({tuple(vector) for vector in reply.vectors}) == 1100
    assert reply.vectors[777] == single.vectors[0]
    assert reply.backend == "a"
    if kind == "google":  # says no usage
        assert reply.usage is None
    else:
        assert reply.usage.prompt_tokens == provider.tokens_in - 4
        assert reply.cost_nano_usd == reply.usage.prompt_tokens * 1000
    assert reply.cost_nano_usd == sum(a.cost_nano_usd for a in reply.attempts)
    assert len(reply.attempts) == provider.served - 1


async def test_ollama_embeds_by_its_own_endpoint_and_by_openais(
    llm_provider: Provider,
) -> None:
    provider = llm_provider("ollama", name="a", model="nomic-embed-text")
    native = backend(provider)
    copied = msgspec.structs.replace(native, model="openai_compatible/nomic-embed-text")
    replies = []
    for one, path in ((native, "/api/embed"), (copied, "/v1/embeddings")):
        target = Router([one])._fleet.targets[0]
        request = target.dialect.embed(Call(kind="embed", input=["a"]))
        assert request.target.endswith(path)
        async with Router([one]) as router:
            replies.append(await router.embed("all", ["a", "b"], dimensions=8))
    own, other = replies
    assert own.vectors == other.vectors
    assert [len(vector) for vector in own.vectors] == [8, 8]
    assert own.usage.prompt_tokens == other.usage.prompt_tokens > 0
    assert own.model == other.model == "nomic-embed-text"


def test_blocking_calls_are_cut_too(llm_provider: Provider) -> None:
    provider = embedder(llm_provider, "google")
    router = Router([backend(provider)])
    texts = [f"text {i}" for i in range(250)]
    reply = router.sync.embed("all", texts)
    assert provider.served == 3
    assert reply.vectors[201] == router.sync.embed("all", texts[201]).vectors[0]
    router.close()


async def test_the_narrowest_of_a_group_decides_and_parts_fail_over(
    llm_provider: Provider,
) -> None:
    """Same model at two hosts: a part that fails at one goes to the other."""
    wide = llm_provider("openai", name="wide", model="e")
    narrow = llm_provider("mistral", name="narrow", model="e")
    wide.fail_next(1, status=500)
    backends = [backend(wide), backend(narrow, price=Price(2, 0))]
    async with Router(backends, seed=1) as router:
        reply = await router.embed("all", [f"t{i}" for i in range(1030)])
    assert len(reply.data) == 1030
    assert [a.error for a in reply.attempts].count("server") == 1
    assert set(reply.backend.split(", ")) == {"wide", "narrow"}
    assert max(len(json.loads(s.body)["input"]) for s in wide.requests) <= 512


async def test_in_a_group_of_several_models_one_model_gives_all_vectors(
    llm_provider: Provider,
) -> None:
    one = embedder(llm_provider, "openai", "one")
    two = embedder(llm_provider, "google", "two")
    backends = [backend(one, price=Price(5, 0)), backend(two)]
    async with Router(backends, strategy="round_robin", seed=1) as router:
        for _ in range(4):
            reply = await router.embed("all", ["text"] * 350)
            assert reply.backend in ("one", "two")
            assert len({tuple(vector) for vector in reply.vectors}) == 1
    assert one.served and two.served


def test_blocking_calls_keep_to_one_model_too(llm_provider: Provider) -> None:
    one = embedder(llm_provider, "openai", "one")
    two = embedder(llm_provider, "google", "two")
    router = Router([backend(one), backend(two)], strategy="round_robin", seed=1)
    for _ in range(3):
        reply = router.sync.embed("all", [f"t{i}" for i in range(250)])
        assert reply.backend in ("one", "two")
        assert len(reply.data) == 250
    router.close()


async def test_one_failing_part_fails_the_call_and_ends_the_others(
    llm_provider: Provider,
) -> None:
    provider = embedder(llm_provider, "google")
    provider.outage(status=500)
    async with Router([backend(provider)]) as router:
        with pytest.raises(ServerError):
            await router.embed("all", ["text"] * 900, timeout=1)
        assert router.stats()["backends"]["a"]["in_flight"] == 0


async def test_a_limit_of_cost_holds_for_the_whole_call(llm_provider: Provider) -> None:
    provider = embedder(llm_provider, "google")
    texts = ["word " * 40] * 400
    async with Router([backend(provider)]) as router:
        fits = await router.embed("all", texts, max_cost=0.05)
        assert len(fits.data) == 400
        with pytest.raises(CostLimitError):
            await router.embed("all", texts, max_cost=fits.cost / 2)


@pytest.mark.parametrize("blocking", [False, True])
async def test_no_part_overflows_to_another_model(
    llm_provider: Provider, blocking: bool
) -> None:
    small = llm_provider("openai", name="small", model="text-embedding-3-small")
    large = llm_provider("openai", name="large", model="text-embedding-3-large")
    body = {"error": {"code": "context_length_exceeded", "message": "too long"}}
    backends = [backend(small), backend(large, groups=["long"])]
    groups = [Group(name="all", context_fallbacks=["long"])]
    texts = [str(i) for i in range(3000)]
    async with Router(backends, groups=groups) as router:
        call = partial(asyncio.to_thread, router.sync.embed) if blocking else None
        whole = await (call or router.embed)("all", texts)
        assert whole.backend == "small"
        small.fail_next(1, status=400, body=json.dumps(body))
        moved = await (call or router.embed)("all", texts)
    assert moved.backend == "large"  # the first part overflowed, and all the others


async def test_a_task_bounds_an_embedding(llm_provider: Provider) -> None:
    provider = embedder(llm_provider)
    tasks = [
        Task(name="index", group="all", max_cost=0.015, max_tokens=5),
        Task(name="cheap", group="all", max_cost=0),
    ]
    async with Router([backend(provider)], tasks=tasks) as router:
        reply = await router.embed("", ["a text"] * 5, task="index")
        assert reply.backend == "a"
        with pytest.raises(CostLimitError):
            await router.embed("all", ["a text"] * 5, task="cheap")
        with pytest.raises(CostLimitError):  # of all parts together
            await router.embed("all", ["a text of several words"] * 4000, task="index")
        with pytest.raises(InvalidRequestError, match="name the task"):
            await router.embed("all", "a text", task="auto")


def test_texts_are_cut_by_number_and_by_tokens() -> None:
    assert cut("abcde", [1] * 5, 2, 100) == ["ab", "cd", "e"]
    assert cut("abcde", [4, 4, 4, 1, 1], 9, 8) == ["ab", "cde"]
    assert cut("abc", [1, 99, 1], 9, 8) == ["a", "b", "c"]  # too long for any: alone
    assert cut("abc", [1, 1, 1], 9, 9) == ["abc"]


async def test_what_is_no_text_is_refused_by_name(llm_provider: Provider) -> None:
    async with Router([backend(embedder(llm_provider))]) as router:
        for wrong in (["a", 5], [], [1, 2.5], {"a": 1}):
            with pytest.raises(InvalidRequestError, match="input"):
                await router.embed("all", wrong)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_dialect_takes_as_many_texts_as_it_says(name: str) -> None:
    options = {"region": "r", "project": "p", "access_key": "a", "secret_key": "b"}
    target = dialect(name)(model="m", base_url="http://h", api_key="k", options=options)
    most, tokens = target.embed_limits()
    assert most >= 1 and tokens >= 8192
    if target.supports["embeddings"] == "refused":
        return
    target.embed(Call(kind="embed", input=["a"] * most))
    if name != "ollama":  # sets no limit of its own
        with pytest.raises(InvalidRequestError, match=str(most)):
            target.embed(Call(kind="embed", input=["a"] * (most + 1)))


# -- counting --------------------------------------------------------------------

ASK = [{"role": "user", "content": "How many tokens are in this very question?"}]


@pytest.mark.parametrize(
    ("kind", "model"),
    [("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro")],
)
async def test_providers_that_count_are_asked(
    llm_provider: Provider, kind: str, model: str
) -> None:
    provider = llm_provider(kind, name="a", model=model)
    async with Router([backend(provider)]) as router:
        counted = await router.count_tokens("all", ASK)
        reply = await router.chat("all", ASK)
    assert counted == reply.usage.prompt_tokens
    assert counted.exact and counted.backend == "a"
    assert "exact" in repr(counted)
    assert reply.cost_nano_usd == router.costs()["backends"]["a"]["total"] * 1e9


async def test_others_are_estimated_and_the_count_says_so(
    llm_provider: Provider,
) -> None:
    openai = llm_provider("openai", name="a", model="gpt-4o")
    claude = llm_provider("anthropic", name="b", model="claude-sonnet-4-5")
    async with Router([backend(openai), backend(claude)]) as router:
        assert (await router.count_tokens("all", ASK)).backend == "b"
        guess = await router.count_tokens("a", "How many?")
        assert not guess.exact and guess.backend == "a" and 2 <= guess <= 20
        claude.outage(status=500)
        fallen = await router.count_tokens("all", ASK)
    assert not fallen.exact and fallen.backend == "a"
    assert openai.served == 0


def test_vertex_counts_by_the_prompt_itself() -> None:
    target = dialect("vertex")(
        model="gemini-2.5-pro",
        api_key="k",
        options={"region": "r", "project": "p"},
    )
    request = target.count_tokens(Call(messages=ASK))
    assert request is not None and request.target.endswith(":countTokens")
    assert list(json.loads(request.body)) == ["contents"]


# -- tokens ------------------------------------------------------------------------


async def test_tokens_are_embedded_where_the_provider_takes_them(
    llm_provider: Provider,
) -> None:
    provider = embedder(llm_provider)
    async with Router([backend(provider)]) as router:
        one = await router.embed("all", [101, 102, 103])
        two = await router.embed("all", [[101, 102], [103]])
    assert [len(one.vectors), len(two.vectors)] == [1, 2]
    assert one.usage.prompt_tokens == two.usage.prompt_tokens == 3
    assert one.cost_nano_usd == 3000


async def test_many_lists_of_tokens_are_cut_like_texts(llm_provider: Provider) -> None:
    provider = embedder(llm_provider)
    inputs = [[i, i + 1] for i in range(3000)]
    async with Router([backend(provider)]) as router:
        reply = await router.embed("all", inputs)
    assert provider.served == 2
    assert [item.index for item in reply.data] == list(range(3000))
    assert reply.usage.prompt_tokens == 6000


async def test_a_backend_that_takes_texts_only_is_passed_over(
    llm_provider: Provider,
) -> None:
    texts_only = embedder(llm_provider, "mistral", "texts")
    both = embedder(llm_provider, "openai", "both")
    backends = [backend(texts_only, order=0), backend(both, order=1)]
    async with Router(backends) as router:
        reply = await router.embed("all", [[1, 2]])
        assert reply.backend == "both" and texts_only.served == 0
        with pytest.raises(InvalidRequestError, match="mistral embeds texts only"):
            await router.embed("texts", [1, 2])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["a", [1]], "not both"),
        ([[1], []], "none empty"),
        ([True], "none empty"),
        ([[1, "a"]], "token numbers"),
    ],
)
async def test_what_is_neither_text_nor_tokens_is_refused(
    llm_provider: Provider, wrong: Any, said: str
) -> None:
    provider = embedder(llm_provider)
    async with Router([backend(provider)]) as router:
        with pytest.raises(InvalidRequestError, match=said):
            await router.embed("all", wrong)
    assert provider.served == 0


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_takes_tokens_or_says_that_it_does_not(name: str) -> None:
    address = {"base_url": "http://h/v1", "api_key": "k"}
    target = dialect(name)(model="m", **address, options={"project": "p"})
    call = Call(kind="embed", input=[[1, 2], [3]])
    if target.supports.get("embed_tokens") == "native":
        assert json.loads(target.embed(call).body)["input"] == [[1, 2], [3]]
        return
    with pytest.raises(InvalidRequestError, match=r"texts only|no embeddings"):
        target.embed(call)

"""completion() and acompletion(): LiteLLM's words, this router's calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import InvalidRequestError, Router
from llmbalance._litellm._call import chat_options
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]

Provider = Callable[..., MockProvider]


def router_of(*providers: MockProvider, **settings: Any) -> Router:
    rows = [
        {
            "model_name": "gpt-4o",
            "litellm_params": {
                "model": f"{provider.dialect}/{provider.model}",
                "api_base": provider.base_url,
                "api_key": "test-key",
                "tags": [f"t{i}"],
            },
        }
        for i, provider in enumerate(providers)
    ]
    return Router.from_litellm({"model_list": rows, "router_settings": settings})


async def test_a_call_in_litellm_s_words_is_answered(llm_provider: Provider) -> None:
    provider = llm_provider("openai")
    async with router_of(provider) as router:
        reply = await router.acompletion(
            model="gpt-4o",
            messages=ASK,
            temperature=0.2,
            max_tokens=20,
            num_retries=3,
            max_retries=2,
            request_timeout=20,
            drop_params=True,
            metadata={"trace_id": "x"},
        )
    assert reply.choices[0].message.content
    assert reply.usage.prompt_tokens > 0
    assert reply.backend == "gpt-4o"
    assert [w.partition(":")[0] for w in reply.warnings] == ["max_retries", "metadata"]


async def test_streams_come_in_chunks_and_warnings_go_to_the_log(
    llm_provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider = llm_provider("openai")
    async with router_of(provider) as router:
        with caplog.at_level(logging.WARNING, "llmbalance"):
            stream = await router.acompletion("gpt-4o", ASK, stream=True, max_retries=1)
        text = "".join(
            [
                chunk.choices[0].delta.content or ""
                async for chunk in stream
                if chunk.choices
            ]
        )
    assert text
    assert "max_retries" in caplog.text


async def test_the_blocking_twin_answers_too(llm_provider: Provider) -> None:
    provider = llm_provider("openai")
    router = router_of(provider)
    reply = await asyncio.to_thread(lambda: router.completion("gpt-4o", ASK))
    assert reply.text


async def test_metadata_tags_choose_backends_only_when_filtering_is_on(
    llm_provider: Provider,
) -> None:
    first, second = llm_provider("openai"), llm_provider("openai")
    async with router_of(first, second, enable_tag_filtering=True) as router:
        replies = [
            await router.acompletion("gpt-4o", ASK, metadata={"tags": ["t1"]})
            for _ in range(6)
        ]
    assert {reply.backend for reply in replies} == {"gpt-4o#2"}
    async with router_of(first, second) as router:
        replies = [
            await router.acompletion("gpt-4o", ASK, metadata={"tags": ["t1"]})
            for _ in range(6)
        ]
    assert {reply.backend for reply in replies} == {"gpt-4o#1", "gpt-4o#2"}
    assert "tags" in replies[0].warnings[0]


def test_what_is_for_the_model_or_the_router_passes_unchanged() -> None:
    given = {"temperature": 0, "tools": [], "timeout": 3, "session": "a", "seed": 1}
    assert chat_options("g", given) == (given, [])


def test_nothing_said_is_nothing_asked() -> None:
    assert chat_options("g", {"api_key": None, "timeout": None}) == ({}, [])


@pytest.mark.parametrize(
    ("given", "fallbacks"),
    [
        ({"fallbacks": ["b", "c"]}, ["b", "c"]),
        ({"fallbacks": "b"}, ["b"]),
        ({"fallbacks": [{"g": ["b"]}]}, ["b"]),
        ({"disable_fallbacks": True}, ["g"]),
        ({"disable_fallbacks": True, "fallbacks": ["b"]}, ["g"]),
        ({"disable_fallbacks": False, "fallbacks": ["b"]}, ["b"]),
    ],
)
def test_fallbacks_of_a_call_are_understood(
    given: dict[str, Any], fallbacks: list[str]
) -> None:
    assert chat_options("g", given)[0] == {"fallbacks": fallbacks}


def test_disabled_fallbacks_leave_the_call_in_its_group() -> None:
    rows = [
        {"model_name": name, "litellm_params": {"model": f"ollama/{name}"}}
        for name in "ab"
    ]
    router = Router.from_litellm(
        {"model_list": rows, "router_settings": {"fallbacks": [{"a": ["b"]}]}}
    )
    chosen, _ = chat_options("a", {"disable_fallbacks": True})
    chain = [row["backend"] for row in router.explain("a", "hello", **chosen).rows()]
    assert chain == ["a"]


def test_numbers_of_a_call_are_read_as_litellm_means_them() -> None:
    given = {"num_retries": 2, "priority": 1, "specific_deployment": True}
    made, told = chat_options("g", given)
    assert made == {"max_attempts": 3, "priority": -1}
    assert [text.partition(":")[0] for text in told] == ["specific_deployment"]


def test_parameters_can_be_dropped_by_name() -> None:
    given = {"temperature": 1, "seed": 2, "additional_drop_params": ["seed"]}
    assert chat_options("g", given) == ({"temperature": 1}, [])


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "sk-12345"},
        {"api_base": "http://x"},
        {"mock_response": "x"},
        {"priority": -5},
        {"priority": True},
        {"num_retries": -1},
        {"retry_policy": {"TimeoutErrorRetries": 2}},
        {"drop_params": False},
        {"fallbacks": [{"model": "b", "api_key": "k"}]},
        {"context_window_fallbacks": [{"a": ["b"]}]},
        {"metadata": "x"},
    ],
)
def test_what_only_a_backend_can_be_told_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat_options("g", given)
    assert caught.value.field == next(iter(given))
    assert "sk-12345" not in str(caught.value)


async def test_an_unknown_parameter_is_refused_by_name(llm_provider: Provider) -> None:
    async with router_of(llm_provider("openai")) as router:
        with pytest.raises(InvalidRequestError, match="temperatur"):
            await router.acompletion("gpt-4o", ASK, temperatur=1)

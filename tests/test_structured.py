"""Types as answers and tidied texts, through the whole router."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from backends import backend

from llmbalance import (
    ConfigError,
    InvalidRequestError,
    NoBackendError,
    Price,
    Router,
    ServerError,
    StreamInterruptedError,
)
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "Where is Bern? Answer in json."}]
Provider = Callable[..., MockProvider]
SPEAKERS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "google": "gemini-2.5-pro",
    "groq": "llama-3.3-70b",
    "mistral": "mistral-large",
    "deepseek": "deepseek-chat",
    "openrouter": "openai/gpt-4o",
    "xai": "grok-3",
    "vllm": "llama",
    "ollama": "llama",
    "openai_compatible": "llama",
}


class Place(msgspec.Struct):
    city: str
    people: int = 0


@dataclass
class Spot:
    city: str


BERN = '{"city": "Bern", "people": 130000}'


def one(make: Provider, reply: str = BERN, **options: Any) -> Router:
    return Router(
        [backend(make("openai", name="a", model="m", reply=reply), **options)]
    )


def pair(make: Provider, bad: str, **options: Any) -> Router:
    """The cheaper one answers ``bad``, the other one well."""
    first = make("openai", name="a", model="gpt-4o", reply=bad)
    second = make("google", name="b", model="gemini-2.5-pro", reply=BERN)
    return Router(
        [backend(first, **options), backend(second, price=Price(10, 20), **options)],
        seed=1,
    )


@pytest.mark.parametrize("name", SPEAKERS)
async def test_every_provider_answers_with_the_object(
    llm_provider: Provider, name: str
) -> None:
    provider = llm_provider(name, name=name, model=SPEAKERS[name], reply=BERN)
    async with Router([backend(provider)]) as router:
        reply = await router.chat("all", ASK, response_format=Place)
    assert reply.choices[0].message.parsed == Place("Bern", 130000)
    assert reply.text == BERN
    sent = provider.requests[-1].body
    assert b"people" in sent  # the schema went out, in whatever form


async def test_what_was_not_native_is_stated(llm_provider: Provider) -> None:
    """A forced tool and an instruction are said, a native schema needs no word."""
    said = {}
    for name, model in (
        ("openai", "gpt-4o"),
        ("anthropic", "claude-3-5-haiku-20241022"),
        ("deepseek", "deepseek-chat"),
    ):
        provider = llm_provider(name, name=name, model=model, reply=BERN)
        async with Router([backend(provider)]) as router:
            reply = await router.chat("all", ASK, response_format=Spot)
        said[name] = " ".join(reply.decision.translated)
        assert reply.decision.to_dict()["translated"] == reply.warnings
        assert all(note in repr(reply.decision) for note in reply.warnings)
    assert said["openai"] == ""
    assert "forced tool" in said["anthropic"]
    assert "instruction" in said["deepseek"]


@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
async def test_an_own_schema_fills_the_object_that_a_mock_makes_up(
    llm_provider: Provider, name: str
) -> None:
    provider = llm_provider(name, name=name, model=SPEAKERS[name])
    async with Router([backend(provider)]) as router:
        reply = await router.chat("all", ASK, response_format=Place)
    assert isinstance(reply.choices[0].message.parsed, Place)


async def test_pydantic_models_are_taken_and_validated(llm_provider: Provider) -> None:
    pydantic = pytest.importorskip("pydantic", reason="needs pip install pydantic")

    class Town(pydantic.BaseModel):
        city: str
        people: int = pydantic.Field(ge=1)

    async with one(llm_provider) as router:
        reply = await router.chat("all", ASK, response_format=Town)
        assert reply.choices[0].message.parsed == Town(city="Bern", people=130000)
    async with one(llm_provider, '{"city": "Bern", "people": 0}') as router:
        with pytest.raises(ServerError, match="Town"):
            await router.chat("all", ASK, response_format=Town)


@pytest.mark.parametrize("bad", ["I do not know.", '{"city": 5}', '{"town": "Bern"}'])
async def test_a_failed_parse_is_paid_for_and_tried_elsewhere(
    llm_provider: Provider, bad: str
) -> None:
    async with pair(llm_provider, bad) as router:
        reply = await router.chat("all", ASK, response_format=Place)
        stats = router.stats()["backends"]
    assert reply.backend == "b"
    assert reply.choices[0].message.parsed == Place("Bern", 130000)
    failed, done = reply.attempts
    assert (failed.backend, failed.error, failed.status) == ("a", "malformed", 200)
    assert failed.cost_nano_usd > 0
    assert reply.cost_nano_usd == failed.cost_nano_usd + done.cost_nano_usd
    assert stats["a"]["breaker"] == "closed"  # the server did nothing wrong


async def test_when_nobody_gives_the_object_the_error_says_so(
    llm_provider: Provider,
) -> None:
    async with one(llm_provider, "Bern") as router:
        with pytest.raises(ServerError, match="no valid Place") as caught:
            await router.chat("all", ASK, response_format=Place)
    assert caught.value.kind == "malformed"
    assert caught.value.backend == "a"
    assert caught.value.attempts[0].cost_nano_usd > 0


async def test_an_object_cut_by_max_tokens_is_told_as_such(
    llm_provider: Provider,
) -> None:
    cut = {"text": '{"city": "Be', "finish_reason": "length"}
    async with one(llm_provider, cut) as router:
        with pytest.raises(ServerError, match="raise max_tokens"):
            await router.chat("all", ASK, response_format=Place)


async def test_a_refusal_and_tool_calls_are_no_failed_parse(
    llm_provider: Provider,
) -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    }
    calls = {"text": None, "tool_calls": [{"name": "f", "arguments": {}}]}
    async with one(llm_provider, calls) as router:
        reply = await router.chat("all", ASK, response_format=Place, tools=[tool])
        assert reply.tool_calls and reply.choices[0].message.parsed is None
        stream = await router.chat(
            "all", ASK, response_format=Place, tools=[tool], stream=True
        )
        assert [chunk async for chunk in stream][-1].parsed is None
    filtered = {"text": "no", "finish_reason": "content_filter"}
    async with one(llm_provider, filtered) as router:
        reply = await router.chat("all", ASK, response_format=Place)
        assert reply.choices[0].message.parsed is None


async def test_all_choices_are_parsed(llm_provider: Provider) -> None:
    async with one(llm_provider) as router:
        reply = await router.chat("all", ASK, response_format=Spot, n=2)
    assert [c.message.parsed for c in reply.choices] == [Spot("Bern")] * 2


async def test_the_last_chunk_of_a_stream_has_the_object(
    llm_provider: Provider,
) -> None:
    async with one(llm_provider) as router:
        stream = await router.chat("all", ASK, response_format=Place, stream=True)
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].parsed == Place("Bern", 130000)
    assert {chunk.parsed for chunk in chunks[:-1]} == {None}


async def test_a_stream_that_gives_no_object_breaks_with_its_text_and_cost(
    llm_provider: Provider,
) -> None:
    async with one(llm_provider, "It is in Switzerland.") as router:
        stream = await router.chat("all", ASK, response_format=Place, stream=True)
        with pytest.raises(StreamInterruptedError) as caught:
            [chunk async for chunk in stream]
    error = caught.value
    assert error.text == "It is in Switzerland."
    assert error.usage.completion_tokens > 0 and error.cost > 0
    assert isinstance(error.__cause__, ServerError)


def test_blocking_calls_and_generate_parse_too(llm_provider: Provider) -> None:
    router = one(llm_provider)
    reply = router.sync.generate("Where?", model="all", response_format=Place)
    assert reply.choices[0].message.parsed.city == "Bern"
    chunks = list(router.sync.chat("all", ASK, response_format=Place, stream=True))
    assert chunks[-1].parsed.city == "Bern"


@pytest.mark.parametrize("asked", [int, list[Place], 5, str])
async def test_what_is_no_such_type_is_refused_before_anything_is_sent(
    llm_provider: Provider, asked: Any
) -> None:
    async with one(llm_provider) as router:
        with pytest.raises(InvalidRequestError, match="dataclass"):
            await router.chat("all", ASK, response_format=asked)


async def test_json_goes_to_those_who_can(llm_provider: Provider) -> None:
    router = one(llm_provider, can=["tools"])
    with pytest.raises(NoBackendError, match="cannot do"):
        await router.chat("all", ASK, response_format={"type": "json_object"})
    reply = await router.chat("all", ASK, response_format={"type": "text"})
    assert reply.choices[0].message.parsed is None


# -- post-processing -------------------------------------------------------------

FENCED = "  ```json\n" + BERN + "\n```  "


async def test_steps_are_done_in_order_backends_first(llm_provider: Provider) -> None:
    provider = llm_provider("openai", name="a", model="m", reply=FENCED)
    steps = [lambda text: text + "-backend", "trim"]
    router = Router(
        [backend(provider, postprocess=steps)],
        postprocess=[lambda text: text + "-router"],
    )
    reply = await router.chat("all", ASK)
    assert reply.text == FENCED.strip() + "  -backend-router"
    assert json.loads(reply.raw_body)["choices"][0]["message"]["content"] == FENCED


async def test_fences_and_white_space_come_off_before_parsing(
    llm_provider: Provider,
) -> None:
    async with one(
        llm_provider, FENCED, postprocess=["trim", "strip_fences"]
    ) as router:
        reply = await router.chat("all", ASK, response_format=Place, n=2)
    assert [c.message.content for c in reply.choices] == [BERN, BERN]
    assert reply.choices[1].message.parsed == Place("Bern", 130000)


async def test_streams_are_handed_on_untouched(llm_provider: Provider) -> None:
    async with one(llm_provider, FENCED, postprocess=["strip_fences"]) as router:
        stream = await router.chat("all", ASK, stream=True)
        assert "".join([chunk.text async for chunk in stream]) == FENCED


async def test_a_step_may_send_the_call_elsewhere(llm_provider: Provider) -> None:
    def no_excuses(text: str) -> str:
        if "cannot" in text:
            raise ServerError("an excuse", kind="malformed")
        return text

    async with pair(llm_provider, "I cannot.", postprocess=[no_excuses]) as router:
        reply = await router.chat("all", ASK)
    assert [a.error for a in reply.attempts] == ["malformed", None]
    assert reply.text == BERN


@pytest.mark.parametrize("wrong", [lambda text: 1 / 0, lambda text: None])
async def test_a_step_that_fails_is_raised_and_the_answer_paid_for(
    llm_provider: Provider, wrong: Any
) -> None:
    router = one(llm_provider, postprocess=[wrong])
    with pytest.raises((ZeroDivisionError, ConfigError)):
        await router.chat("all", ASK)
    assert router.stats()["backends"]["a"]["requests"] == 1
    assert router.costs()["backends"]["a"]["total"] > 0
    await router.aclose()


@pytest.mark.parametrize("wrong", ["trim", ["tirm"], [5], 7])
def test_unknown_steps_are_refused(llm_provider: Provider, wrong: Any) -> None:
    provider = llm_provider("openai", name="a", model="m")
    with pytest.raises(ConfigError, match="postprocess"):
        Router([backend(provider)], postprocess=wrong)
    with pytest.raises(ConfigError, match="postprocess"):
        Router([backend(provider, postprocess=wrong)])


def test_a_file_names_steps(llm_provider: Provider) -> None:
    provider = llm_provider("openai", name="a", model="m", reply=FENCED)
    router = Router.from_file(
        {
            "router": {"postprocess": ["strip_fences"]},
            "backend": [
                {
                    "model": "openai/m",
                    "name": "a",
                    "api_key": "test-key",
                    "base_url": provider.base_url,
                    "price": {"input": 1, "output": 2},
                    "postprocess": ["trim"],
                }
            ],
        }
    )
    assert router.sync.chat("a", ASK).text == BERN

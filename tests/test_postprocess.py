"""Steps that tidy texts: of backends, groups and routers, whole and in streams."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from backends import backend
from hypothesis import given
from hypothesis import strategies as st

from llmbalance import (
    ConfigError,
    Group,
    InvalidRequestError,
    Router,
    StreamInterruptedError,
)
from llmbalance._steps import NAMED, Chain
from llmbalance.testing import MockProvider

Provider = Callable[..., MockProvider]
ASK = [{"role": "user", "content": "What is the capital of Switzerland?"}]
FENCED = '\n ```json\n  {"name": "Bern"}\n\n``` \n'
BARE = '  {"name": "Bern"}'


@dataclass
class Place:
    name: str


def add(tail: str) -> Callable[[str], str]:
    return lambda text: text + tail


def provider_of(make: Provider, reply: str = FENCED, **script: Any) -> MockProvider:
    return make("openai", name="a", model="m", reply=reply, **script)


async def streamed(router: Router, **options: Any) -> list[Any]:
    stream = await router.chat("all", ASK, stream=True, **options)
    return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- whose steps ------------------------------------------------------------------


async def test_backends_come_first_then_groups_then_routers(
    llm_provider: Provider,
) -> None:
    router = Router(
        [backend(provider_of(llm_provider, "x"), postprocess=[add("-backend")])],
        groups=[Group(name="all", postprocess=[add("-group")])],
        postprocess=[add("-router")],
    )
    async with router:
        assert (await router.chat("all", ASK)).text == "x-backend-group-router"
        assert (await router.chat("a", ASK)).text == "x-backend-router"
        off = await router.chat("all", ASK, postprocess=False)
    assert off.text == "x"


async def test_a_groups_steps_alone_do_too(llm_provider: Provider) -> None:
    router = Router(
        [backend(provider_of(llm_provider))],
        groups=[Group(name="all", postprocess=["strip_fences"])],
    )
    async with router:
        reply = await router.chat("all", ASK, response_format=Place)
    assert reply.text == BARE
    assert reply.choices[0].message.parsed == Place("Bern")
    assert router.sync.chat("all", ASK).text == BARE


def test_a_newer_file_brings_its_own_steps(llm_provider: Provider) -> None:
    provider = provider_of(llm_provider, " ```\n x\n``` ")
    file: dict[str, Any] = {
        "backend": [
            {
                "model": "openai/m",
                "name": "a",
                "groups": ["all"],
                "api_key": "test-key",
                "base_url": provider.base_url,
                "price": {"input": 1, "output": 2},
            }
        ],
        "group": {"all": {"postprocess": ["strip_fences"]}},
    }
    router = Router.from_file(file)
    assert router.sync.chat("all", ASK).text == " x"
    router.reload({**file, "router": {"postprocess": ["trim"]}})
    assert router.sync.chat("all", ASK).text == "x"
    router.reload({k: v for k, v in file.items() if k != "group"})
    assert router.sync.chat("all", ASK).text.startswith(" ```")


@pytest.mark.parametrize("wrong", ["trim", ["tirm"], [5]])
def test_a_group_with_unknown_steps_is_refused(
    llm_provider: Provider, wrong: Any
) -> None:
    with pytest.raises(ConfigError, match="postprocess"):
        Router(
            [backend(provider_of(llm_provider))],
            groups=[Group(name="all", postprocess=wrong)],
        )


async def test_what_has_no_text_of_ours_is_refused(llm_provider: Provider) -> None:
    router = Router([backend(provider_of(llm_provider))])
    with pytest.raises(InvalidRequestError, match="embeddings have no text"):
        await router.embed("all", ["a"], postprocess=True)
    with pytest.raises(InvalidRequestError, match="your own client"):
        router.acquire("all", ASK, postprocess=False)
    with pytest.raises(InvalidRequestError, match="give False for no steps"):
        await router.chat("all", ASK, postprocess=["trim"])


# -- streams ----------------------------------------------------------------------


async def test_streams_are_tidied_only_when_a_call_asks(llm_provider: Provider) -> None:
    router = Router(
        [backend(provider_of(llm_provider), postprocess=["strip_fences"])],
        groups=[Group(name="all", postprocess=["trim"])],
    )
    async with router:
        plain = await streamed(router)
        tidy = await streamed(router, postprocess=True, response_format=Place)
    assert text_of(plain) == FENCED
    assert text_of(tidy) == BARE.strip()
    assert all(chunk.text for chunk in tidy[:-1])
    assert tidy[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].delta.role for c in tidy[1:]] == [None] * (len(tidy) - 1)
    assert tidy[-1].parsed == Place("Bern")
    assert tidy[-1].choices[0].finish_reason == "stop"
    assert {chunk.backend for chunk in tidy} == {"a"}
    blocking = router.sync.chat("all", ASK, stream=True, postprocess=True)
    assert text_of(list(blocking)) == BARE.strip()


async def test_a_text_held_back_to_the_end_has_a_chunk_of_its_own(
    llm_provider: Provider,
) -> None:
    provider = provider_of(llm_provider, "`")
    router = Router([backend(provider, postprocess=["strip_fences"])])
    async with router:
        first, last = await streamed(router, postprocess=True)
    assert first.text == "`" and first.choices[0].delta.role == "assistant"
    assert first.id == last.id and first.backend == "a"
    assert last.usage is not None and last.text == ""


async def test_a_function_that_needs_the_whole_text_is_refused_in_streams(
    llm_provider: Provider,
) -> None:
    def shout(text: str) -> str:
        return text.upper()

    provider = provider_of(llm_provider, "a b")
    others = {"groups": ["other"], "name": "b"}
    router = Router(
        [backend(provider), backend(provider, **others, postprocess=[shout])],
        groups=[Group(name="all", content_filter_fallbacks=["other"])],
    )
    async with router:
        with pytest.raises(InvalidRequestError, match="'shout' of backend 'b'"):
            await streamed(router, postprocess=True)
        assert text_of(await streamed(router)) == "a b"
    assert provider.served == 1


async def test_a_function_with_a_stream_of_its_own_works_in_both(
    llm_provider: Provider,
) -> None:
    class Shout:
        def __call__(self, text: str) -> str:
            return text.upper()

        def stream(self) -> Shouting:
            return Shouting()

    class Shouting:
        def feed(self, piece: str) -> str:
            return piece.upper()

        def end(self) -> str:
            return "!"

    provider = provider_of(llm_provider, "who is there")
    router = Router([backend(provider, postprocess=[Shout(), "trim"])])
    async with router:
        assert (await router.chat("all", ASK)).text == "WHO IS THERE"
        assert text_of(await streamed(router, postprocess=True)) == "WHO IS THERE!"


async def test_a_break_tells_what_was_handed_on(llm_provider: Provider) -> None:
    words = "  " + " ".join(["word"] * 50)
    provider = provider_of(llm_provider, words)
    provider.cut_stream(after_tokens=10)
    router = Router([backend(provider, postprocess=["trim"])])
    got = []
    async with router:
        with pytest.raises(StreamInterruptedError) as caught:
            async for chunk in await router.chat(
                "all", ASK, stream=True, postprocess=True
            ):
                got.append(chunk)
    assert caught.value.text == text_of(got) != ""
    assert caught.value.text.startswith("word")
    assert caught.value.usage.completion_tokens > 0


# -- the filters themselves -------------------------------------------------------


def cut(text: str, seed: int) -> list[str]:
    """The text in pieces of random length, some of them empty."""
    rng, pieces, at = random.Random(seed), [], 0
    while at < len(text):
        size = rng.choice((0, 1, 1, 2, 3, 7))
        pieces.append(text[at : at + size])
        at += size
    return pieces


def run(names: list[str], text: str, seed: int) -> str:
    chain = Chain([NAMED[name][1]() for name in names])
    return "".join(map(chain.feed, cut(text, seed))) + chain.end()


def whole(names: list[str], text: str) -> str:
    for name in names:
        text = NAMED[name][0](text)
    return text


BITS = st.lists(
    st.sampled_from(["```", "``", "`", "\n", " ", "\t", "json", "{}", "a b", "é-_"])
).map("".join)
STEPS = st.lists(st.sampled_from(list(NAMED)), min_size=1, max_size=3)


@given(BITS, st.integers())
def test_trimming_a_stream_is_trimming_the_text(text: str, seed: int) -> None:
    assert run(["trim"], text, seed) == text.strip()


@given(STEPS, BITS, st.integers(), st.sampled_from(["", "json", "c++"]))
def test_pieces_of_a_fenced_text_add_up_to_what_the_steps_make_of_it(
    names: list[str], text: str, seed: int, language: str
) -> None:
    for fenced in (f" ```{language}\n{text}\n```\n", f"no fence {text}", text + "\n."):
        tidy = whole(names, fenced)
        opened = tidy.lstrip().startswith("```") and "strip_fences" in names
        if not opened:  # a fence that is never closed is taken off all the same
            assert run(names, fenced, seed) == tidy


@given(st.sampled_from(["```json\n{", "```\nx\n``` done"]), st.integers())
def test_a_fence_that_only_opens_a_stream_is_taken_off(text: str, seed: int) -> None:
    assert whole(["strip_fences"], text) == text
    assert run(["strip_fences"], text, seed) == text.partition("\n")[2]


@pytest.mark.parametrize("name", list(NAMED))
@pytest.mark.parametrize("piece", [" ", "\n", "`", " `", "a "])
def test_a_filter_does_not_slow_down_over_a_long_text(name: str, piece: str) -> None:
    """A million characters: joining all of them at each piece would take hours."""
    made = NAMED[name][1]()
    for start in ("", "```json\n"):
        made = NAMED[name][1]()
        made.feed(start)
        length = sum(len(made.feed(piece)) for _ in range(1_000_000 // len(piece)))
        assert length + len(made.end()) <= 1_000_008

"""A server that none of us wrote, with a model that we made up.

llama.cpp's server speaks OpenAI's chat completions, the Responses API and Anthropic's
messages over one model, so three dialects have the same judge.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmbalance import (
    Backend,
    BadRequestError,
    ContextLengthError,
    Price,
    Router,
    ServerError,
)

ASK = [{"role": "user", "content": "Say something."}]
EXACT = {"temperature": 0, "seed": 1, "max_tokens": 16}
HERE = Path(__file__).parent
# How each dialect is spoken to this server: model, path, options.
SPOKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "chat": ("openai_compatible/tiny", "/v1", {}),
    "vllm": ("vllm/tiny", "/v1", {}),
    "responses": ("openai_compatible/tiny", "/v1", {"api": "responses"}),
    "messages": ("anthropic/tiny", "", {}),
}


@dataclass
class Verdict:
    good: bool


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a random model."""
    for package in ("xllamacpp", "gguf"):
        pytest.importorskip(package, reason=f"needs {package}")
    path = str(tmp_path_factory.mktemp("llama") / "tiny.gguf")
    maker = [sys.executable, str(HERE / "tiny_model.py"), path]
    subprocess.run(maker, check=True, timeout=60)
    return path


def running(*arguments: str) -> Iterator[str]:
    command = [sys.executable, str(HERE / "llama_server.py"), *arguments]
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    with server.stdin, server.stdout:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture(scope="module")
def llama(model: str) -> Iterator[str]:
    """The address of a running server."""
    yield from running(model)


@pytest.fixture(scope="module")
def embedder(model: str) -> Iterator[str]:
    """The address of a server that embeds."""
    yield from running(model, "--embedding")


def router_to(url: str, spoken: str = "chat", **options: Any) -> Router:
    name, path, settings = SPOKEN[spoken]
    backend = Backend(
        name,
        name="t",
        base_url=url + path,
        api_key="none",
        price=Price(1, 2),
        options=settings | options,
    )
    return Router([backend])


@pytest.mark.parametrize("spoken", list(SPOKEN))
async def test_a_real_server_answers_whole_and_in_a_stream_alike(
    llama: str, spoken: str
) -> None:
    exact: dict[str, Any] = dict(EXACT)
    if spoken == "messages":  # Claude, for which this dialect is, takes neither
        exact = {"max_tokens": 16, "extra_body": {"temperature": 0, "seed": 1}}
    async with router_to(llama, spoken) as router:
        whole = await router.chat("t", ASK, **exact)
        stream = await router.chat("t", ASK, stream=True, **exact)
        chunks = [chunk async for chunk in stream]
    assert whole.text
    told = "".join(chunk.text for chunk in chunks)
    assert told.replace("\ufffd", "") == whole.text.replace("\ufffd", "")
    assert len(chunks) > 2
    reasons = {whole.choices[0].finish_reason, chunks[-1].choices[0].finish_reason}
    assert reasons <= {"length", "stop"} and len(reasons) == 1
    used, streamed = whole.usage, chunks[-1].usage
    assert used is not None and streamed is not None
    assert (used.prompt_tokens, used.completion_tokens) == (
        streamed.prompt_tokens,
        streamed.completion_tokens,
    )
    assert used.prompt_tokens > 20 and used.completion_tokens == 16
    nano = used.prompt_tokens * 1000 + used.completion_tokens * 2000
    assert whole.cost_nano_usd == chunks[-1].cost_nano_usd == nano
    assert whole.model == chunks[-1].model == "tiny"


async def test_a_type_asked_for_is_kept_by_the_servers_grammar(llama: str) -> None:
    async with router_to(llama) as router:
        reply = await router.chat("t", ASK, response_format=Verdict, max_tokens=200)
    assert isinstance(reply.choices[0].message.parsed, Verdict)


async def test_a_schema_given_as_an_instruction_binds_nobody(llama: str) -> None:
    async with router_to(llama, json_schema=False) as router:
        with pytest.raises(ServerError) as caught:  # the model only babbles
            await router.chat("t", ASK, response_format=Verdict, max_tokens=3)
    assert caught.value.kind == "malformed"


async def test_probabilities_come_in_openais_shape(llama: str) -> None:
    async with router_to(llama) as router:
        reply = await router.chat("t", ASK, logprobs=True, top_logprobs=2, **EXACT)
    told = reply.choices[0].logprobs["content"]
    assert len(told) > 3
    assert all(one["logprob"] <= 0 and len(one["top_logprobs"]) == 2 for one in told)


@pytest.mark.parametrize("spoken", list(SPOKEN))
async def test_too_long_a_prompt_is_told_as_such(llama: str, spoken: str) -> None:
    async with router_to(llama, spoken) as router:
        with pytest.raises(ContextLengthError):
            await router.chat("t", [{"role": "user", "content": "word " * 400}])


@pytest.mark.parametrize("spoken", ["chat", "vllm", "messages"])
async def test_the_server_is_healthy_until_it_is_not(llama: str, spoken: str) -> None:
    async with router_to(llama, spoken) as router:
        assert (await router.health())["t"]["ok"] is True
    async with router_to("http://127.0.0.1:9", spoken) as router:
        assert (await router.health())["t"]["problem"] == "connect"


async def test_the_server_counts_what_it_bills(llama: str) -> None:
    async with router_to(llama, "messages") as router:
        counted = await router.count_tokens("t", ASK)
        reply = await router.chat("t", ASK, **EXACT)
    assert counted.exact and counted == reply.usage.prompt_tokens


async def test_texts_and_tokens_are_embedded(embedder: str) -> None:
    async with router_to(embedder) as router:
        texts = await router.embed("t", ["a", "word"])
        tokens = await router.embed("t", [[5, 6, 7], [8]])
        one = await router.embed("t", [5, 6, 7])
    assert [len(v) for v in texts.vectors] == [64, 64]
    assert tokens.vectors[0] == pytest.approx(one.vectors[0])
    assert tokens.vectors[0] != pytest.approx(tokens.vectors[1])
    assert tokens.usage is not None and tokens.usage.prompt_tokens >= 4


async def test_a_server_that_cannot_embed_is_no_broken_one(llama: str) -> None:
    async with router_to(llama) as router:
        with pytest.raises(BadRequestError, match="does not support embeddings") as e:
            await router.embed("t", "a")
    assert e.value.kind == "incapable"

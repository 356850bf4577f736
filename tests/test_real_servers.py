"""A server that none of us wrote, with a model that we made up.

llama-cpp-python's OpenAI server must be built from source, so it is no part of the
test extra: LLMBALANCE_LLAMA_PYTHON names a Python in which
``pip install 'llama-cpp-python[server]' gguf`` was done (this one counts too).
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, ContextLengthError, Price, Router, ServerError
from llmbalance.providers._structured import response_format

ASK = [{"role": "user", "content": "Say something."}]
EXACT = {"temperature": 0, "seed": 1, "max_tokens": 12}


@dataclass
class Verdict:
    good: bool


def python_with_llama() -> str:
    named = os.environ.get("LLMBALANCE_LLAMA_PYTHON")
    if named:
        return named
    if all(importlib.util.find_spec(name) for name in ("llama_cpp", "gguf")):
        return sys.executable
    pytest.skip("needs pip install 'llama-cpp-python[server]' gguf (builds llama.cpp)")


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start (exit {server.poll()})")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    python = python_with_llama()
    model = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    maker = Path(__file__).with_name("tiny_model.py")
    subprocess.run([python, str(maker), str(model)], check=True, timeout=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = {
        "model": str(model),
        "model_alias": "tiny",
        "host": "127.0.0.1",
        "port": port,
        "n_ctx": "512",
        "chat_format": "chatml",
    }
    command = [python, "-m", "llama_cpp.server"]
    for name, value in arguments.items():
        command += [f"--{name}", value]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def router_to(url: str, **options: Any) -> Router:
    backend = Backend(
        "openai_compatible/tiny", name="t", base_url=url, price=Price(1, 2), **options
    )
    return Router([backend])


async def test_a_real_server_answers_whole_and_in_a_stream_alike(llama: str) -> None:
    async with router_to(llama) as router:
        whole = await router.chat("t", ASK, **EXACT)
        stream = await router.chat("t", ASK, stream=True, **EXACT)
        chunks = [chunk async for chunk in stream]
    assert whole.text
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) > 2
    reasons = {whole.choices[0].finish_reason, chunks[-1].choices[0].finish_reason}
    assert reasons == {"length"}
    assert whole.usage.prompt_tokens > 20 and whole.usage.completion_tokens > 5
    used = whole.usage
    nano = used.prompt_tokens * 1000 + used.completion_tokens * 2000
    assert whole.cost_nano_usd == nano
    assert chunks[-1].cost_nano_usd > 0  # guessed where the server says no usage
    assert whole.model == "tiny"


async def test_the_servers_own_schema_passes_and_our_types_are_instructions(
    llama: str,
) -> None:
    """This server has schemas as grammars, but not under OpenAI's name."""
    asked = {
        "type": "json_object",
        "schema": response_format(Verdict)["json_schema"]["schema"],
    }
    async with router_to(llama) as router:
        reply = await router.chat("t", ASK, response_format=asked, max_tokens=200)
        assert set(json.loads(reply.text)) == {"good"}
    async with router_to(llama, options={"json_schema": False}) as router:
        with pytest.raises(ServerError) as caught:  # the model only babbles
            await router.chat("t", ASK, response_format=Verdict, max_tokens=20)
    assert caught.value.kind == "malformed"


async def test_too_long_a_prompt_is_told_as_such(llama: str) -> None:
    async with router_to(llama) as router:
        with pytest.raises(ContextLengthError):
            await router.chat("t", [{"role": "user", "content": "word " * 400}])


async def test_the_server_is_healthy_until_it_is_not(llama: str) -> None:
    async with router_to(llama) as router:
        assert (await router.health())["t"]["ok"] is True
    async with router_to("http://127.0.0.1:9/v1") as router:
        assert (await router.health())["t"]["problem"] == "connect"

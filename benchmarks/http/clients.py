"""The subjects: each client as one function that calls and one that streams.

All ask the same of the same server and read the whole answer; the typed ones (router,
openai, litellm, litellm_router) hand out objects, the others bytes.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from serve import BODY, MESSAGES, STREAM, TARGET

JSON_LINE = {"Content-Type": "application/json"}
ANSWER = 723  # bytes
PLACES = 3  # backends that routers choose among, all the one server

Send = Callable[[], Awaitable[None]]
Stream = Callable[[], AsyncIterator[int]]  # yields how many events have come


def router_client(url: str) -> tuple[Send, Stream]:
    from llmbalance import Backend, Limits, Price, Router

    router = Router(
        [
            Backend(
                "openai_compatible/bench",
                name=f"place-{i}",
                base_url=f"{url}/v1",
                api_key="k",
                groups=["bench"],
                limits=Limits(rpm=10**8, tpm=10**9),
                price=Price(1, 2),
            )
            for i in range(PLACES)
        ]
    )

    async def send() -> None:
        reply = await router.chat("bench", MESSAGES, max_tokens=500)
        assert reply.choices[0].message.content and reply.cost

    async def stream() -> AsyncIterator[int]:
        async for chunk in await router.chat("bench", MESSAGES, stream=True):
            assert chunk.choices[0].delta.content or chunk.cost
            yield 1

    return send, stream


def transport_client(url: str) -> tuple[Send, Stream]:
    from llmbalance._core import Origin
    from llmbalance._transport import Transport

    transport, origin = Transport(), Origin(url, headers=["Authorization: Bearer k"])
    if url.startswith("https"):
        origin = Origin(url, ca=os.environ["SSL_CERT_FILE"])
    lines, limits = ["Content-Type: application/json"], (5.0, 60.0, 60.0, 60.0, 120.0)

    async def send() -> None:
        r = await transport.send(origin, "POST", TARGET, lines, BODY, limits)
        assert r.status == 200 and len(r.body) == ANSWER, r.detail

    async def stream() -> AsyncIterator[int]:
        opened = await transport.stream(origin, "POST", TARGET, lines, STREAM, limits)
        async for events in opened:
            yield len(events)

    return send, stream


def openai_client(url: str) -> tuple[Send, Stream]:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    create = client.chat.completions.create

    async def send() -> None:
        reply = await create(model="bench", messages=MESSAGES, max_tokens=500)
        assert reply.choices[0].message.content

    async def stream() -> AsyncIterator[int]:
        async for chunk in await create(model="bench", messages=MESSAGES, stream=True):
            assert chunk.choices
            yield 1

    return send, stream


def litellm_client(url: str) -> tuple[Send, Stream]:
    import litellm

    common = {"model": "openai/bench", "api_base": f"{url}/v1", "api_key": "k"}
    return _litellm(lambda **more: litellm.acompletion(**common, **more))


def litellm_router_client(url: str) -> tuple[Send, Stream]:
    import litellm

    common = {"model": "openai/bench", "api_base": f"{url}/v1", "api_key": "k"}
    limits = {"rpm": 10**8, "tpm": 10**9}
    router = litellm.Router(
        [
            {"model_name": "bench", "litellm_params": {**common, **limits}}
            for _ in range(PLACES)
        ],
        num_retries=0,
    )
    return _litellm(lambda **more: router.acompletion(model="bench", **more))


def _litellm(complete: Callable[..., Awaitable[AsyncIterator]]) -> tuple[Send, Stream]:
    async def send() -> None:
        reply = await complete(messages=MESSAGES, max_tokens=500)
        assert reply.choices[0].message.content

    async def stream() -> AsyncIterator[int]:
        async for chunk in await complete(messages=MESSAGES, stream=True):
            assert chunk.choices
            yield 1

    return send, stream


def aiohttp_client(url: str) -> tuple[Send, Stream]:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def send() -> None:
        async with session.post(url + TARGET, data=BODY, headers=JSON_LINE) as r:
            assert r.status == 200 and len(await r.read()) == ANSWER

    async def stream() -> AsyncIterator[int]:
        async with session.post(url + TARGET, data=STREAM, headers=JSON_LINE) as r:
            async for line in r.content:
                if line.startswith(b"data:"):
                    yield 1

    return send, stream


def httpx_client(url: str) -> tuple[Send, Stream]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(limits=limits, timeout=60)

    async def send() -> None:
        r = await client.post(url + TARGET, content=BODY, headers=JSON_LINE)
        assert r.status_code == 200 and len(r.content) == ANSWER

    async def stream() -> AsyncIterator[int]:
        async with client.stream(
            "POST", url + TARGET, content=STREAM, headers=JSON_LINE
        ) as r:
            async for line in r.aiter_lines():
                if line.startswith("data:"):
                    yield 1

    return send, stream


CLIENTS = {
    "router": router_client,
    "transport": transport_client,
    "openai": openai_client,
    "litellm": litellm_client,
    "litellm_router": litellm_router_client,
    "aiohttp": aiohttp_client,
    "httpx": httpx_client,
}
SUBJECTS = ("curl", *CLIENTS)  # curl: the C loop, a program of its own
_PACKAGES = {"litellm_router": "litellm", "router": "", "transport": "", "curl": ""}


def package_of(subject: str) -> str:
    """The package that a subject needs besides this project; "" for none."""
    return _PACKAGES.get(subject, subject)


def is_here(subject: str) -> bool:
    """Whether what a subject needs is installed."""
    package = package_of(subject)
    return not package or importlib.util.find_spec(package) is not None

"""Every way a server can fail, over real sockets: the right kind, and no harm done.

After each fault the same origin must serve the next request.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
from faults import FaultServer, Peer, Route, chunk, head, reply

from llmbalance._core import Origin, Response, engine_stats
from llmbalance._transport import Timeouts, Transport

LIMITS = (2.0, 2.0, 2.0, 2.0, 5.0)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("/well", lambda peer: peer.send(reply(b"well")))
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    for _ in range(300):
        if engine_stats()["in_flight"] == 0:
            break
        await asyncio.sleep(0.01)
    assert engine_stats()["in_flight"] == 0
    transport.close()


async def fetch(
    transport: Transport,
    server: FaultServer,
    route: Route,
    *,
    timeouts: Timeouts = LIMITS,
    stream: int = 0,
    origin: Origin | None = None,
) -> Response:
    """The end of a request to *route*; the origin is well afterwards."""
    server.on("/bad", route)
    origin = origin or Origin(server.url)
    if stream:
        opened = await transport.stream(
            origin, "POST", "/bad", None, b"{}", timeouts, mode=stream
        )
        async for _ in opened:
            pass
        end = opened.end
        assert end is not None
    else:
        end = await transport.send(origin, "POST", "/bad", None, b"{}", timeouts)
    after = await transport.send(origin, "GET", "/well", None, None, LIMITS)
    assert (after.status, after.body, after.error) == (200, b"well", None)
    return end


def say(data: bytes, then: str | None = None) -> Route:
    def route(peer: Peer) -> str | None:
        peer.send(data)
        return then

    return route


WHOLE = head(200, "X-A: b", length=10) + b"0123456789"


@pytest.mark.parametrize("at", range(len(WHOLE)))
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_connection_lost_at_any_byte(
    server: FaultServer, transport: Transport, at: int, how: str
) -> None:
    body_at = len(WHOLE) - 10
    r = await fetch(transport, server, say(WHOLE[:at], how))
    expected = {"reset"} if at == 0 else {"reset", "truncated", "protocol"}
    assert r.error in expected
    if how == "close" and at >= body_at:
        assert r.error == "truncated"
    if at >= body_at:
        assert r.status == 200 and r.offset <= at - body_at
    assert r.sent


async def test_bytes_of_a_cut_body_are_counted(
    server: FaultServer, transport: Transport
) -> None:
    r = await fetch(transport, server, say(head(length=100) + b"x" * 40, "close"))
    assert (r.error, r.status, r.offset) == ("truncated", 200, 40)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\1\2\3garbage\r\n\r\n", "protocol"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "protocol"),
        (b"HTTP/1.1 abc\r\n\r\n", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (b"<html>no header at all</html>", "protocol"),
        (head(200, "no colon here", length=0), "protocol"),
        (head(200, "X: a\0b", length=0), "protocol"),
        (head(200, "Content-Length: x"), "protocol"),
        (head(200, "Content-Length: -1"), "protocol"),
        (head(chunked=True) + b"zz\r\nabc\r\n0\r\n\r\n", "protocol"),
        (head(chunked=True) + b"5\r\nabcdefgh\r\n0\r\n\r\n", "protocol"),
        (head(chunked=True) + b"ffffffffffffffffff\r\nabc", "protocol"),
        (head(chunked=True) + b"5\r\nab", "truncated"),
        (head(chunked=True) + b"3\r\nabc\r\n", "truncated"),
        (b"", "reset"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "reset"),
        (b"HTTP/1.1 200 OK\r\nX-A", "truncated"),
        (head(200, "Content-Encoding: gzip", length=5) + b"abcde", "encoding"),
        (head(200, "Content-Encoding: rot13", length=5) + b"abcde", "encoding"),
    ],
)
async def test_bytes_that_are_no_reply(
    server: FaultServer, transport: Transport, data: bytes, kind: str
) -> None:
    r = await fetch(transport, server, say(data, "close"))
    assert r.error == kind, r.detail
    assert r.detail.isascii() and r.detail.isprintable()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (head(200, "X-Big: " + "x" * 90_000) * 1, "too_large"),
        (head(200, "X-Big: " + "x" * 500_000), "too_large"),
        (head(200, *[f"X-{i}: {'x' * 100}" for i in range(2000)]), "too_large"),
        (b"HTTP/1.1 103 Hints\r\nX: " + b"x" * 5000 + b"\r\n\r\n", "too_large"),
        (head(length=10**15) + b"x", "too_large"),
        (head(chunked=True) + chunk(b"x" * 60_000) * 20, "too_large"),
        (head(200) + b"x" * 1_200_000, "too_large"),
    ],
)
async def test_what_is_too_large_is_refused(
    server: FaultServer, transport: Transport, data: bytes, kind: str
) -> None:
    def route(peer: Peer) -> str:
        peer.send(data * (100 if b"103" in data[:20] else 1))
        return "close"

    origin = Origin(server.url, max_body=1_000_000, max_header=80_000)
    r = await fetch(transport, server, route, origin=origin)
    assert r.error == kind, r.detail
    assert r.offset <= 1_000_000


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br-unknown"])
async def test_a_compressed_body_is_undone_and_a_bomb_is_capped(
    server: FaultServer, transport: Transport, coding: str
) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}.get(coding, bytes)
    line = "Content-Encoding: " + coding
    origin = Origin(server.url, max_body=100_000)
    r = await fetch(
        transport, server, say(reply(pack(b"x" * 90_000), 200, line)), origin=origin
    )
    if coding == "br-unknown":
        assert r.error == "encoding"
        return
    assert r.error is None and r.body == b"x" * 90_000
    bomb = say(reply(pack(bytes(50_000_000)), 200, line))
    r = await fetch(transport, server, bomb, origin=origin)
    assert r.error == "too_large" and r.offset <= 100_000


async def test_bytes_after_the_end_do_not_reach_the_next_reply(
    server: FaultServer, transport: Transport
) -> None:
    origin = Origin(server.url)
    for _ in range(5):
        r = await fetch(
            transport, server, say(reply(b"one") + reply(b"evil")), origin=origin
        )
        assert (r.error, r.body) == (None, b"one")


async def test_interim_replies_are_passed_over(
    server: FaultServer, transport: Transport
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3
    r = await fetch(transport, server, say(hints + reply(b"done")))
    assert (r.error, r.status, r.body) == (None, 200, b"done")
    assert "link" not in r.headers


async def test_a_redirect_is_an_answer_and_not_followed(
    server: FaultServer, transport: Transport
) -> None:
    away = say(reply(b"", 307, "Location: http://127.0.0.1:1/elsewhere"))
    r = await fetch(transport, server, away)
    assert (r.error, r.status) == (None, 307)


def wait_then(seconds: float, data: bytes) -> Route:
    def route(peer: Peer) -> str:
        peer.wait(seconds)
        peer.send(data)
        return "hang"

    return route


def slow_body(peer: Peer) -> None:
    peer.send(head(length=10))
    peer.drip(b"0123456789", 0.3)


@pytest.mark.parametrize(
    ("timeouts", "route", "kind"),
    [
        ((0.0, 0.2, 0.0, 0.0, 0.0), say(b"", "hang"), "first_byte_timeout"),
        (
            (0.0, 0.2, 0.0, 0.0, 0.0),
            say(b"HTTP/1.1 103 H\r\n\r\n", "hang"),
            "first_byte_timeout",
        ),
        (
            (0.0, 0.0, 0.0, 0.2, 0.0),
            say(b"HTTP/1.1 200 OK\r\nX:", "hang"),
            "idle_timeout",
        ),
        (
            (0.0, 0.0, 0.0, 0.2, 0.0),
            say(b"HTTP/1.1 200 OK\r\nX: 1\r\n", "hang"),
            "idle_timeout",
        ),
        ((0.0, 0.0, 0.0, 0.2, 0.0), say(head(length=5), "hang"), "idle_timeout"),
        (
            (0.0, 0.0, 0.0, 0.2, 0.0),
            say(head(length=5) + b"ab", "hang"),
            "idle_timeout",
        ),
        ((0.0, 0.0, 0.0, 0.0, 0.2), say(b"", "hang"), "total_timeout"),
        (
            (0.0, 0.0, 0.0, 0.0, 0.2),
            say(head(length=5) + b"ab", "hang"),
            "total_timeout",
        ),
        (
            (0.0, 0.0, 0.0, 0.0, 0.3),
            lambda peer: peer.drip(WHOLE * 9, 0.02),
            "total_timeout",
        ),
        ((0.0, 0.0, 0.0, 0.1, 0.0), slow_body, "idle_timeout"),
    ],
)
async def test_a_server_that_hangs_in_any_phase(
    server: FaultServer,
    transport: Transport,
    timeouts: Timeouts,
    route: Route,
    kind: str,
) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    r = await fetch(transport, server, route, timeouts=timeouts)
    assert r.error == kind
    assert 0.1 <= r.total < 0.6 and loop.time() - begun < 1.5


async def test_a_stream_that_hangs_before_its_first_token(
    server: FaultServer, transport: Transport
) -> None:
    limits = (0.0, 0.0, 0.2, 0.0, 0.0)
    r = await fetch(transport, server, say(b"", "hang"), timeouts=limits, stream=1)
    assert r.error == "first_token_timeout" and r.status == 0
    route = say(head() + b": ping\n\n", "hang")
    r = await fetch(transport, server, route, timeouts=limits, stream=1)
    assert r.error == "first_token_timeout" and r.status == 200
    route = wait_then(0.1, head() + b"data: x\n\n")
    limits = (0.0, 0.0, 0.3, 0.3, 0.0)
    r = await fetch(transport, server, route, timeouts=limits, stream=1)
    assert r.error == "idle_timeout" and r.events == 1
    route = wait_then(0.1, head(500, length=5))  # not 2xx: no token is owed
    r = await fetch(transport, server, route, timeouts=limits, stream=1)
    assert r.error == "idle_timeout" and r.status == 500


@pytest.mark.parametrize(
    ("mode", "data", "kind", "events"),
    [
        (1, head(chunked=True) + chunk(b"data: a\n\ndata: b"), "truncated", 1),
        (1, head(length=50) + b"data: a\n\n", "truncated", 1),
        (1, head() + b"data: a\n\ndata: b", None, 1),
        (1, head() + b"data: " + b"x" * 20_000, "too_large", 0),
        (1, head() + b"data: a\n\n" + b"data: xxxxxxx\n" * 2000, "too_large", 1),
        (1, head() + b"data: x\n\n" * 20_000, "too_large", 11112),
        (1, head(200, "Content-Encoding: zip") + b"data: x\n\n", "encoding", 0),
        (1, head(chunked=True) + chunk(b"data: x\n\n") + b"?\r\n", "protocol", 1),
        (2, head() + b'{"a": 1}\n{"b"', None, 2),
        (2, head() + b"x" * 20_000, "too_large", 0),
        (3, head() + b"\0\0\0\x1d\0\0\0\0\xfd\x52\x8c\x5a{'foo'", "truncated", 0),
        (3, head() + b"this is not a frame at all", "protocol", 0),
    ],
)
async def test_a_stream_that_breaks(
    server: FaultServer,
    transport: Transport,
    mode: int,
    data: bytes,
    kind: str | None,
    events: int,
) -> None:
    origin = Origin(server.url, max_event=10_000, max_body=100_008)
    r = await fetch(transport, server, say(data, "close"), stream=mode, origin=origin)
    assert r.error == kind, r.detail
    assert r.status == 200
    if events < 11112:
        assert r.events == events
    else:
        assert 0 < r.events <= events and r.offset <= 100_008


async def test_a_stream_compressed_unasked_is_undone(
    server: FaultServer, transport: Transport
) -> None:
    body = gzip.compress(b"data: a\n\ndata: b\n\n")
    r = await fetch(
        transport, server, say(reply(body, 200, "Content-Encoding: gzip")), stream=1
    )
    assert r.error is None and r.events == 2
    asked = [q.headers["accept-encoding"] for q in server.requests]
    assert asked[0] == "identity" and "gzip" in asked[1]


async def test_a_kept_connection_that_died_is_nobodys_failure(
    server: FaultServer, transport: Transport
) -> None:
    def once(how: str) -> Route:
        def route(peer: Peer) -> str | None:
            if peer.turn > 1:
                return how  # as a server that has just decided to close
            peer.send(reply(b"%d" % peer.turn))
            return None

        return route

    origin = Origin(server.url)
    for how in ("close", "reset"):
        server.on("/once", once(how))
        bodies = []
        for _ in range(4):
            r = await transport.send(origin, "POST", "/once", None, b"{}", LIMITS)
            bodies.append((r.error, r.body))
        assert bodies == [(None, b"1")] * 4


async def test_a_server_that_works_and_then_closes_is_not_asked_again(
    server: FaultServer, transport: Transport
) -> None:
    def route(peer: Peer) -> str | None:
        if peer.turn == 1:
            peer.send(reply(b"one"))
            return None
        peer.wait(1.2)
        return "close"

    server.on("/route", route)
    origin = Origin(server.url)
    await transport.send(origin, "POST", "/route", None, b"", LIMITS)
    r = await transport.send(origin, "POST", "/route", None, b"", LIMITS)
    assert (r.error, r.status, r.sent) == ("reset", 0, True), r.detail
    assert len(server.requests) == 2


async def test_a_kept_connection_that_dies_after_the_first_byte_is_told(
    server: FaultServer, transport: Transport
) -> None:
    def route(peer: Peer) -> str | None:
        peer.send(reply(b"one") if peer.turn == 1 else b"HTTP/1.1 200 OK\r\n")
        return None if peer.turn == 1 else "close"

    server.on("/route", route)
    origin = Origin(server.url)
    assert (
        await transport.send(origin, "POST", "/route", None, b"", LIMITS)
    ).error is None
    r = await transport.send(origin, "POST", "/route", None, b"", LIMITS)
    assert r.error in ("truncated", "reset") and r.reused
    assert server.connections == 1


async def test_nobody_listens(transport: Transport) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        origin = Origin(f"http://127.0.0.1:{port}")
        r = await transport.send(origin, "GET", "/", None, None, LIMITS)
    assert (r.error, r.status, r.sent) == ("connect", 0, False)


async def test_a_name_without_address(transport: Transport) -> None:
    origin = Origin("http://no-such-host.invalid")
    r = await transport.send(origin, "GET", "/", None, None, LIMITS)
    assert (r.error, r.sent) == ("dns", False)


async def test_a_connection_that_is_never_accepted(transport: Transport) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        limits = (0.3, 0.0, 0.0, 0.0, 0.0)
        origin = Origin(f"http://127.0.0.1:{address[1]}")
        r = await transport.send(origin, "GET", "/", None, None, limits)
        for filler in fillers:
            filler.close()
    assert (r.error, r.sent) == ("connect_timeout", False)
    assert 0.3 <= r.total < 0.6


async def test_a_proxy_that_is_not_there_or_says_no(
    server: FaultServer, transport: Transport
) -> None:
    dead = Origin("http://example.invalid", proxy="http://127.0.0.1:1")
    r = await transport.send(dead, "GET", "/", None, None, LIMITS)
    assert r.error == "proxy"
    lost = Origin("http://example.invalid", proxy="http://no-such-host.invalid:1")
    r = await transport.send(lost, "GET", "/", None, None, LIMITS)
    assert r.error == "proxy"
    server.on("*", lambda peer: peer.send(reply(b"no", 407)))
    refused = Origin(
        "https://example.invalid", proxy=f"http://u:pw@127.0.0.1:{server.port}"
    )
    r = await transport.send(refused, "GET", "/", None, None, LIMITS)
    assert r.error == "proxy" and "pw" not in r.detail
    assert server.requests[-1].method == "CONNECT"


async def test_a_proxy_carries_the_request(
    server: FaultServer, transport: Transport
) -> None:
    server.on("*", lambda peer: peer.send(reply(b"by proxy")))
    origin = Origin("http://example.invalid:8", proxy=f"http://127.0.0.1:{server.port}")
    r = await transport.send(origin, "GET", "/x", None, None, LIMITS)
    assert (r.error, r.body) == (None, b"by proxy")
    assert server.requests[-1].target == "http://example.invalid:8/x"


async def test_the_environments_proxy_is_not_consulted_behind_our_back(
    server: FaultServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    origin = Origin(server.url)
    r = await transport.send(origin, "GET", "/well", None, None, LIMITS)
    assert r.body == b"well"

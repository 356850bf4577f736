"""The transport over real sockets: what arrives, when, and what happens to the rest."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import time
from collections.abc import Iterator

import pytest
from faults import FaultServer, Peer, chunk, head, reply

from llmbalance._core import Origin, Port, engine_stats
from llmbalance._fleet._environment import environment_settings
from llmbalance._transport import Transport

NO_LIMITS = (0.0, 0.0, 0.0, 0.0, 0.0)
LIMITS = (5.0, 5.0, 5.0, 5.0, 10.0)


def echo(peer: Peer) -> None:
    peer.send(reply(peer.request.body, 200, "X-Method: " + peer.request.method))


def events(peer: Peer) -> None:
    peer.send(head(chunked=True))
    for i in range(5):
        peer.send(chunk(b'data: {"n": %d}\n\n' % i))
    peer.send(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("/echo", echo)
        server.on("/events", events)
        yield server


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


async def settled() -> dict[str, int]:
    """The counters once nothing is in flight any more."""
    for _ in range(500):
        stats = engine_stats()
        if stats["in_flight"] == 0:
            return stats
        await asyncio.sleep(0.01)
    raise AssertionError(f"still in flight: {stats}")


async def test_a_reply_comes_whole_with_its_times(
    server: FaultServer, transport: Transport
) -> None:
    before = time.monotonic()
    r = await transport.send(
        Origin(server.url), "POST", "/echo", ["A: b"], b"hello", LIMITS
    )
    assert (r.status, r.body, r.error, r.detail) == (200, b"hello", None, "")
    assert r.headers["x-method"] == "POST"
    assert r.done and r.sent and not r.reused
    assert (r.http_version, r.offset, r.events) == ("1.1", 5, 0)
    assert before <= r.started <= r.ended <= time.monotonic()
    assert 0 < r.connect <= r.ttfb <= r.total and r.ttft == 0.0
    assert r.total == pytest.approx(r.ended - r.started, abs=1e-6)


async def test_the_request_is_exactly_what_was_asked(
    server: FaultServer, transport: Transport
) -> None:
    origin = Origin(server.url, headers=["Authorization: Bearer k"])
    body = b"x" * 3_000_000  # large enough to tempt libcurl into Expect
    await transport.send(origin, "POST", "/echo", ["X-Call: 1"], body, LIMITS)
    await transport.send(origin, "GET", "/echo", None, None, LIMITS)
    await transport.send(origin, "DELETE", "/echo", None, None, LIMITS)
    await transport.send(origin, "PUT", "/echo", None, b"p", LIMITS)
    await transport.send(origin, "POST", "/echo", None, None, LIMITS)
    await transport.send(origin, "GET", "/a/../echo?x=%2F", None, None, LIMITS)
    r = server.requests
    assert [q.method for q in r] == ["POST", "GET", "DELETE", "PUT", "POST", "GET"]
    assert r[0].body == body and r[0].headers["x-call"] == "1"
    assert all(q.headers["authorization"] == "Bearer k" for q in r)
    assert not any("expect" in q.headers for q in r)
    assert not any("content-type" in q.headers for q in r)
    assert "x-call" not in r[1].headers
    assert r[5].target == "/a/../echo?x=%2F"
    assert server.connections == 1


async def test_head_has_no_body(server: FaultServer, transport: Transport) -> None:
    server.on("/h", lambda peer: peer.send(head(length=10**12)))
    origin = Origin(server.url)
    for _ in range(2):
        r = await transport.send(origin, "HEAD", "/h", None, None, LIMITS)
        assert (r.status, r.body, r.error) == (200, b"", None)
    assert server.connections == 1


async def test_repeated_headers_are_joined(
    server: FaultServer, transport: Transport
) -> None:
    lines = ("X-A: 1", "x-a: 2", "X-B:  caf\xe9 ", "X-Empty:")
    server.on("/h", lambda peer: peer.send(reply(b"", 200, *lines)))
    r = await transport.send(Origin(server.url), "GET", "/h", None, None, LIMITS)
    assert r.headers["x-a"] == "1, 2"
    assert r.headers["x-empty"] == ""
    assert r.headers is r.headers and r.body is r.body


async def test_a_stream_gives_headers_then_events_then_its_end(
    server: FaultServer, transport: Transport
) -> None:
    stream = await transport.stream(
        Origin(server.url), "POST", "/events", None, b"{}", LIMITS, marks=(b'"n": 2',)
    )
    assert stream.head.status == 200 and not stream.head.done
    got = [event async for batch in stream for event in batch]
    assert got == [("", b'{"n": %d}' % i) for i in range(5)]
    assert stream.end is not None and stream.end.error is None
    assert stream.end.events == 5 and stream.end.body == b""
    assert 0 < stream.end.ttfb <= stream.end.ttft <= stream.end.total


async def test_a_refused_stream_is_a_plain_reply(
    server: FaultServer, transport: Transport
) -> None:
    server.on("/no", lambda peer: peer.send(reply(b'{"error": 1}', 429)))
    stream = await transport.stream(
        Origin(server.url), "POST", "/no", None, b"", LIMITS
    )
    assert stream.head.status == 429 and stream.head.body == b'{"error": 1}'
    assert stream.head is stream.end
    assert [batch async for batch in stream] == []


async def test_a_stream_without_events_shows_what_came_instead(
    server: FaultServer, transport: Transport
) -> None:
    server.on("/json", lambda peer: peer.send(reply(b'{"error": "no stream"}')))
    stream = await transport.stream(
        Origin(server.url), "POST", "/json", None, b"", LIMITS
    )
    assert [batch async for batch in stream] == []
    assert stream.end is not None and stream.end.body == b'{"error": "no stream"}'


async def test_comments_are_life_but_no_first_token(
    server: FaultServer, transport: Transport
) -> None:
    def route(peer: Peer) -> None:
        peer.send(head(chunked=True))
        for _ in range(10):
            peer.send(chunk(b": keep-alive\n\n"))
            peer.wait(0.05)
        peer.send(chunk(b"data: x\n\n") + b"0\r\n\r\n")

    server.on("/slow", route)
    origin = Origin(server.url)
    idle = (1.0, 1.0, 0.0, 0.3, 5.0)
    stream = await transport.stream(origin, "GET", "/slow", None, None, idle)
    assert [e async for batch in stream for e in batch] == [("", b"x")]
    assert stream.end is not None and stream.end.ttft >= 0.4
    impatient = (1.0, 1.0, 0.2, 0.3, 5.0)
    stream = await transport.stream(origin, "GET", "/slow", None, None, impatient)
    assert [batch async for batch in stream] == []
    assert stream.end.error == "first_token_timeout"


async def test_a_late_consumer_holds_the_server_back(
    server: FaultServer, transport: Transport
) -> None:
    event = b"data: " + b"x" * 1000 + b"\n\n"
    total = 40_000
    sent = 0

    def route(peer: Peer) -> str:
        nonlocal sent
        peer.send(head())
        for _ in range(total // 40):
            peer.send(event * 40)
            sent += 40
        return "close"

    server.on("/flood", route)
    origin = Origin(server.url)
    stream = await transport.stream(origin, "GET", "/flood", None, None, NO_LIMITS)
    previous = -1
    while previous != sent:
        previous = sent
        await asyncio.sleep(0.3)
    assert sent < total  # it stalls: the rest stays in its own socket buffer
    got = 0
    async for batch in stream:
        got += len(batch)
    assert got == total and stream.end is not None and stream.end.error is None


async def test_a_loop_that_does_not_run_holds_the_server_back_too(
    server: FaultServer,
) -> None:
    sent = 0

    def route(peer: Peer) -> str:
        nonlocal sent
        peer.send(head())
        for _ in range(1000):
            peer.send((b"data: " + b"x" * 1000 + b"\n\n") * 40)
            sent += 40
        return "close"

    server.on("/flood", route)
    port = Port()
    port.submit("t", Origin(server.url), "GET", "/flood", None, None, NO_LIMITS, 1)
    previous = -1
    while previous != sent:
        previous = sent
        await asyncio.sleep(0.3)
    assert sent < 40_000
    got, end = 0, None
    while end is None:
        assert port.wait(10)
        for _, item in port.drain():
            if isinstance(item, list):
                got += len(item)
            elif item.done:
                end = item
    assert got == 40_000 and end.error is None


async def test_cancelling_ends_the_transfer_at_once(
    server: FaultServer, transport: Transport
) -> None:
    server.on("/hang", lambda peer: "hang")
    origin = Origin(server.url)
    tasks = [
        asyncio.create_task(
            transport.send(origin, "POST", "/hang", None, b"{}", NO_LIMITS)
        )
        for _ in range(50)
    ]
    for _ in range(500):
        if len(server.requests) == 50:
            break
        await asyncio.sleep(0.01)
    begun = time.monotonic()
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(r, asyncio.CancelledError)
        for r in await asyncio.gather(*tasks, return_exceptions=True)
    )
    await settled()
    assert time.monotonic() - begun < 0.5
    r = await transport.send(origin, "POST", "/echo", None, b"still well", LIMITS)
    assert r.body == b"still well"


async def test_a_cancelled_request_gives_its_end_to_the_port(
    server: FaultServer,
) -> None:
    server.on("/hang", lambda peer: "hang")
    port = Port()
    ident = port.submit("t", Origin(server.url), "GET", "/hang", None, None, NO_LIMITS)
    port.cancel(ident)
    assert port.wait(5)
    ((token, r),) = port.drain()
    assert (token, r.error, r.status, r.done) == ("t", "cancelled", 0, True)
    port.cancel(ident)  # harmless now
    assert not port.wait(0.05)


async def test_leaving_a_stream_ends_it(
    server: FaultServer, transport: Transport
) -> None:
    def endless(peer: Peer) -> None:
        peer.send(head(chunked=True))
        while not peer.stopped.wait(0.005):
            peer.send(chunk(b"data: x\n\n"))

    server.on("/endless", endless)
    origin = Origin(server.url)
    stream = await transport.stream(origin, "GET", "/endless", None, None, NO_LIMITS)
    async for _ in stream:
        break
    end = await stream.aclose()
    assert end.error == "cancelled" and end.status == 200
    stream = await transport.stream(origin, "GET", "/endless", None, None, NO_LIMITS)
    del stream
    gc.collect()
    await settled()

    async def consume() -> None:
        async for _ in await transport.stream(
            origin, "GET", "/endless", None, None, NO_LIMITS
        ):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled()


async def test_a_cancel_storm_leaves_nothing_behind(
    server: FaultServer, transport: Transport
) -> None:
    def maybe(peer: Peer) -> None:
        peer.wait(0.002 * (peer.turn % 3))
        echo(peer)

    server.on("/maybe", maybe)
    origin = Origin(server.url)
    for wave in range(10):
        tasks = [
            asyncio.create_task(
                transport.send(origin, "POST", "/maybe", None, b"%d" % i, LIMITS)
            )
            for i in range(40)
        ]
        for i, task in enumerate(tasks):
            if i % 4 == 0:
                await asyncio.sleep(0.0003 * (wave % 4))
            if i % 2 == 0:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i, result in enumerate(results):
            if i % 2:
                assert result.error is None and result.body == b"%d" % i
    stats = await settled()
    assert stats["submitted"] == stats["completed"]


async def test_a_busy_interpreter_causes_no_timeout_and_no_false_time(
    server: FaultServer, transport: Transport
) -> None:
    def late(peer: Peer) -> None:
        peer.wait(0.02)
        echo(peer)

    server.on("/late", late)
    origin = Origin(server.url)
    await transport.send(origin, "POST", "/late", None, b"", LIMITS)
    quick = (0.2, 0.2, 0.2, 0.2, 0.3)
    task = asyncio.create_task(
        transport.send(origin, "POST", "/late", None, b"", quick)
    )
    await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251 - the loop is held up on purpose
    r = await task
    assert r.error is None and r.total < 0.3


def test_many_runs_of_a_loop_share_the_connections(server: FaultServer) -> None:
    transport = Transport()
    origin = Origin(server.url)

    async def once(i: int) -> bytes:
        r = await transport.send(origin, "POST", "/echo", None, b"%d" % i, LIMITS)
        return r.body

    assert [asyncio.run(once(i)) for i in range(5)] == [b"%d" % i for i in range(5)]
    assert server.connections == 1
    assert len(transport._loops) <= 1
    transport.close()


def test_loops_in_many_threads_get_their_own_replies(server: FaultServer) -> None:
    transport = Transport()
    origin = Origin(server.url)
    failures: list[object] = []

    async def many(thread: int) -> None:
        for i in range(20):
            body = b"%d-%d" % (thread, i)
            r = await transport.send(origin, "POST", "/echo", None, body, LIMITS)
            if r.body != body:
                failures.append(r)

    def blocking(thread: int) -> None:
        for i in range(20):
            body = b"%d-%d" % (thread, i)
            r = transport.send_blocking(origin, "POST", "/echo", None, body, LIMITS)
            if r.body != body:
                failures.append(r)

    threads = [
        threading.Thread(target=lambda n=n: asyncio.run(many(n))) for n in range(4)
    ] + [threading.Thread(target=blocking, args=(n,)) for n in range(4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == [] and len(server.requests) == 160


def test_blocking_streams_can_be_read_in_turns(server: FaultServer) -> None:
    transport = Transport()
    origin = Origin(server.url)
    a = transport.stream_blocking(origin, "GET", "/events", None, None, LIMITS)
    b = transport.stream_blocking(origin, "GET", "/events", None, None, LIMITS)
    r = transport.send_blocking(origin, "POST", "/echo", None, b"x", LIMITS)
    assert r.body == b"x"
    assert sum(len(batch) for batch in b) == 5
    assert sum(len(batch) for batch in a) == 5
    assert a.close().error is None


async def test_a_closed_port_lets_go_of_everything(server: FaultServer) -> None:
    class Token:
        pass

    server.on("/hang", lambda peer: "hang")
    origin = Origin(server.url)
    port = Port()
    tokens = [Token() for _ in range(10)]
    for token in tokens:
        port.submit(token, origin, "GET", "/hang", None, None, NO_LIMITS)
    port.close()
    port.close()
    await settled()
    with pytest.raises(RuntimeError, match="closed"):
        port.submit(None, origin, "GET", "/", None, None, NO_LIMITS)
    with pytest.raises(RuntimeError, match="closed"):
        port.drain()
    for token in tokens:
        assert [r for r in gc.get_referrers(token) if isinstance(r, Port)] == []


async def test_a_port_that_is_dropped_cancels_what_it_asked(
    server: FaultServer,
) -> None:
    server.on("/hang", lambda peer: "hang")
    port = Port()
    port.submit(port, Origin(server.url), "GET", "/hang", None, None, NO_LIMITS)
    del port  # its own token: only the collector can find that cycle
    gc.collect()
    await settled()


async def test_an_origin_goes_with_its_last_request(
    server: FaultServer, transport: Transport
) -> None:
    origin = Origin(server.url)
    await transport.send(origin, "POST", "/echo", None, b"", LIMITS)
    before = (await settled())["origins"]
    del origin
    for _ in range(100):
        if engine_stats()["origins"] < before:
            break
        await asyncio.sleep(0.01)
    assert engine_stats()["origins"] == before - 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "ftp://h"}, "scheme"),
        ({"url": "http://user:hunter2@h"}, "scheme://host"),
        ({"url": "http://h/path"}, "after the host"),
        ({"url": "http://h?q=hunter2"}, "after the host"),
        ({"url": "http://h", "headers": ["A: hunter2\r\nB: c"]}, "header A:"),
        ({"url": "http://h", "headers": ["Authorization: hunter2\0"]}, "Authorization"),
        ({"url": "http://h", "headers": ["hunter 2"]}, "Name: value"),
        ({"url": "http://h", "headers": ["A:"]}, "no value"),
        ({"url": "http://h", "headers": ["Content-Length: 3"]}, "transport itself"),
        ({"url": "http://h", "http_version": "3"}, "http_version"),
        ({"url": "http://h", "http_version": "2"}, "http_version"),
        ({"url": "https://h", "ca": "/nowhere"}, "ca:"),
        ({"url": "https://h", "cert": "/nowhere"}, "cert:"),
        ({"url": "https://h", "key": "/nowhere"}, "key:"),
        ({"url": "https://h", "proxy": "ftp://u:hunter2@h"}, "proxy:"),
        ({"url": "https://h", "proxy": "http://u:hunter2@h:99999"}, "proxy:"),
        ({"url": "https://h", "unix_socket": "/" + "x" * 200}, "unix_socket"),
        ({"url": "http://h", "sigv4": "aws:amz:us-east-1:bedrock"}, "sigv4_key"),
        ({"url": "http://h", "max_body": 0}, "max_body"),
        ({"url": "https://h", "ca": "/a", "verify": "/b"}, "verify"),
    ],
)
def test_a_bad_setting_is_named_and_no_secret_shown(
    settings: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        Origin(**settings)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("get", "/", None, None), "method"),
        (("GET", "x", None, None), "target"),
        (("GET", "/a b", None, None), "target"),
        (("GET", "/a\r\nX: y", None, None), "target"),
        (("GET", "/caf\xe9", None, None), "target"),
        (("GET", "/", ["X: a\nY: b"], None), "header X"),
    ],
)
def test_nothing_can_be_smuggled_into_a_request(
    arguments: tuple[str, str, list[str] | None, bytes | None], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Port().submit(None, Origin("http://h"), *arguments, NO_LIMITS)


def test_an_origin_shows_its_host_alone_and_is_not_pickled() -> None:
    origin = Origin(
        "HTTP://Example.com:8080/",
        headers=["Authorization: hunter2"],
        proxy="http://u:hunter2@p:1",
    )
    assert repr(origin) == "<Origin http://Example.com:8080>"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(origin)


@pytest.mark.parametrize(
    ("url", "environ", "settings"),
    [
        ("https://a.b", {"https_proxy": "http://p"}, {"proxy": "http://p"}),
        ("https://a.b", {"HTTPS_PROXY": "http://p"}, {"proxy": "http://p"}),
        ("http://a.b", {"HTTP_PROXY": "http://p"}, {}),
        ("http://a.b", {"http_proxy": "http://p"}, {"proxy": "http://p"}),
        ("http://a.b", {"ALL_PROXY": "http://p"}, {"proxy": "http://p"}),
        ("https://a.b", {"https_proxy": "http://p", "no_proxy": "b"}, {}),
        ("https://a.b:1", {"https_proxy": "http://p", "NO_PROXY": ".a.b,x"}, {}),
        (
            "https://ab",
            {"https_proxy": "http://p", "no_proxy": "b"},
            {"proxy": "http://p"},
        ),
        ("http://10.1.2.3:8", {"http_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, {}),
        ("http://[::1]:8", {"http_proxy": "http://p", "no_proxy": "::1"}, {}),
        ("http://a", {"http_proxy": "http://p", "no_proxy": "*"}, {}),
        ("https://a", {"SSL_CERT_FILE": "/x", "SSL_CERT_DIR": "/y"}, {"ca": "/x"}),
        ("http://a", {"SSL_CERT_FILE": "/x"}, {}),
    ],
)
def test_the_environment_names_proxy_and_certificates(
    url: str, environ: dict[str, str], settings: dict[str, str]
) -> None:
    assert environment_settings(url, environ) == settings

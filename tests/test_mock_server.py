"""The mock's HTTP server, its records and its life, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time

import pytest

from llmbalance.testing import MockFleet, MockProvider

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
HEADERS = {"Authorization": "Bearer test-key", "Content-Type": "application/json"}


class Client:
    """One keep-alive connection to a provider."""

    def __init__(self, provider: MockProvider) -> None:
        self.conn = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)

    def chat(self, **more):
        body = json.dumps(CHAT | more)
        self.conn.request("POST", "/v1/chat/completions", body, HEADERS)
        return self.conn.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.conn.close()


def chat(provider, **more):
    """One request on a connection of its own; its status."""
    with Client(provider) as client, client.chat(**more) as reply:
        reply.read()
        return reply.status


def raw(provider, data, *, until=b""):
    """Send bytes, and read until the server closes or `until` has come."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=10) as sock:
        sock.sendall(data)
        got = b""
        while not until or until not in got:
            part = sock.recv(65536)
            if not part:
                break
            got += part
        return got


def request(body=None, *, head="", method="POST", path="/v1/chat/completions"):
    data = json.dumps(CHAT).encode() if body is None else body
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-key\r\n"
    return f"{lines}{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.fixture
def provider():
    with MockProvider("openai", model="m") as running:
        yield running


def wait_until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


# --- HTTP --------------------------------------------------------------------


def test_one_connection_carries_many_requests(provider):
    with Client(provider) as client:
        for _ in range(50):
            reply = client.chat()
            assert reply.status == 200
            assert json.loads(reply.read())["object"] == "chat.completion"
    assert provider.served == 50


def test_pipelined_requests_are_answered_in_order(provider):
    sent = b"".join(
        request(json.dumps(CHAT | {"max_tokens": n}).encode()) for n in (1, 2, 3)
    )
    got = raw(provider, sent + request(head="Connection: close\r\n"))
    limits = [
        json.loads(p.split(b"\r\n\r\n")[1].split(b"HTTP/1.1")[0])
        for p in got.split(b"HTTP/1.1 200 OK")[1:]
    ]
    used = [body["usage"]["completion_tokens"] for body in limits]
    assert used == [1, 2, 3, 32]


@pytest.mark.parametrize("cut", [1, 30, 100, 150])
def test_a_request_may_arrive_in_pieces(provider, cut):
    data = request(head="Connection: close\r\n")
    with socket.create_connection(("127.0.0.1", provider.port), timeout=10) as sock:
        sock.sendall(data[:cut])
        time.sleep(0.01)
        sock.sendall(data[cut:])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_chunked_request_body_is_understood(provider):
    body = json.dumps(CHAT).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer test-key\r\n"
        b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = b"%x;ext=1\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        5,
        body[:5],
        len(body) - 5,
        body[5:],
    )
    assert raw(provider, head + chunks).startswith(b"HTTP/1.1 200 OK")
    assert provider.requests[0].body == body


def test_a_client_that_asks_may_go_on(provider):
    head = "Expect: 100-continue\r\nConnection: close\r\n"
    assert raw(provider, request(head=head)).startswith(
        b"HTTP/1.1 100 Continue\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET /" + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_http_is_refused_and_closed(provider, data, status):
    assert raw(provider, data).startswith(b"HTTP/1.1 " + status)
    assert raw(provider, request(head="Connection: close\r\n"))  # it still lives


def test_a_body_of_a_megabyte_is_read(provider):
    with Client(provider) as client:
        reply = client.chat(messages=[{"role": "user", "content": "x" * (1 << 20)}])
        usage = json.loads(reply.read())["usage"]
    assert usage["prompt_tokens"] == (1 << 18) + 4 + 3


def test_a_slow_reader_holds_the_stream_back_without_harm():
    with MockProvider("openai", model="m", output_tokens=60_000) as provider:
        data = request(
            json.dumps(CHAT | {"stream": True}).encode(), head="Connection: close\r\n"
        )
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        with sock:
            sock.settimeout(10)
            sock.connect(("127.0.0.1", provider.port))
            sock.sendall(data)
            time.sleep(0.1)
            assert provider.served == 0  # it waits for the reader
            got = bytearray()
            while part := sock.recv(1 << 20):
                got += part
    assert got.endswith(b"0\r\n\r\n")
    assert got.count(b'"content":"') == 60_001
    assert provider.served == 1


# --- what is recorded --------------------------------------------------------


def test_requests_are_recorded_without_credentials(provider):
    head = "X-Api-Key: s3cret\r\nCookie: s3cret\r\nX-Mark: yes\r\nConnection: close\r\n"
    raw(provider, request(head=head, path="/v1/chat/completions?key=s3cret&a=b"))
    (seen,) = provider.requests
    assert seen.path == "/v1/chat/completions?a=b"
    assert seen.headers["x-mark"] == "yes"
    assert not {"authorization", "x-api-key", "cookie"} & seen.headers.keys()
    assert "s3cret" not in repr(seen) + str(seen.headers)
    assert seen.json() == CHAT
    assert seen.status == 200


def test_the_record_is_bounded():
    with MockProvider("openai", record=5) as provider, Client(provider) as client:
        for _ in range(12):
            client.chat().read()
    assert len(provider.requests) == 5
    assert provider.served == 12


def test_counters_tell_who_did_what_wrong():
    with (
        MockProvider("openai", model="m", price=("2.5", "10"), rpm=3) as provider,
        Client(provider) as client,
    ):
        reply = json.loads(client.chat(max_tokens=10).read())
        assert client.chat(model="other").read()
        client.chat().read()
        client.chat().read()
        assert client.chat().status == 429
    assert (provider.served, provider.refused, provider.rejected) == (3, 1, 1)
    usage = reply["usage"]
    assert usage["completion_tokens"] == 10
    assert provider.tokens_in == 3 * usage["prompt_tokens"]
    assert provider.tokens_out == 10 + 2 * 32
    cost = provider.tokens_in * 2_500_000 + provider.tokens_out * 10_000_000
    assert provider.billed_pico_usd == cost
    assert provider.billed_usd == pytest.approx(cost / 1e12)


# --- life --------------------------------------------------------------------


def test_a_fleet_runs_on_one_clock_and_finds_its_members():
    a, b = MockProvider(name="a"), MockProvider("anthropic", name="b")
    with MockFleet([a, b]) as fleet:
        assert fleet["b"] is b
        assert len(fleet) == 2
        assert abs(a.clock() - b.clock()) < 0.01
        assert a.port != b.port
        with pytest.raises(KeyError, match="no provider 'c'"):
            fleet["c"]
    assert not a.running


def test_a_fleet_refuses_twins_and_emptiness():
    with pytest.raises(ValueError, match="'openai' is used twice"):
        MockFleet([MockProvider(), MockProvider()])
    with pytest.raises(ValueError, match="at least one"):
        MockFleet([])


async def test_a_fleet_runs_in_the_callers_loop():
    async with MockFleet([MockProvider(name="a"), MockProvider(name="b")]) as fleet:
        assert all(p.running for p in fleet)
    assert not any(p.running for p in fleet)


async def test_a_thread_of_its_own_serves_a_test_that_has_a_loop():
    with MockProvider() as provider:
        assert await asyncio.to_thread(chat, provider) == 200
    assert not provider.running


def test_uvloop_serves_the_same_faults():
    uvloop = pytest.importorskip("uvloop", reason="needs pip install uvloop")
    a, b = MockProvider(name="a"), MockProvider(name="b", ttft=30)

    def leave(provider):
        with Client(provider) as client:
            body = json.dumps(CHAT | {"stream": True})
            client.conn.request("POST", "/v1/chat/completions", body, HEADERS)
            wait_until(lambda: provider.in_flight == 1)
        wait_until(lambda: provider.cancelled == 1)

    async def main():
        async with MockFleet([a, b]):
            assert await asyncio.to_thread(chat, a, stream=True) == 200
            await asyncio.to_thread(leave, b)
            a.outage(status=None)
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(chat, a)

    uvloop.run(main())
    assert (a.served, a.errors, b.in_flight) == (1, 1, 0)


def test_a_provider_can_be_started_again_and_counts_anew():
    provider = MockProvider()
    for _ in range(2):
        with provider, Client(provider) as client:
            client.chat().read()
        assert provider.served == 1


def test_stopping_leaves_no_thread_even_with_requests_in_flight():
    before = threading.active_count()
    provider = MockProvider(ttft=60)
    with provider, Client(provider) as client:
        client.conn.request("POST", "/v1/chat/completions", json.dumps(CHAT), HEADERS)
        wait_until(lambda: provider.in_flight == 1)
    assert threading.active_count() == before
    assert provider.in_flight == 0


def test_a_mistake_in_the_reply_function_is_a_500_and_shows_at_the_end():
    def reply(ask):
        raise LookupError("no such answer")

    other = MockProvider(name="other")
    with (
        pytest.raises(RuntimeError, match=r"LookupError.*no such answer"),
        MockFleet([MockProvider(name="a", reply=reply), other]) as fleet,
    ):
        assert chat(fleet["a"]) == 500
    assert not other.running


def test_a_port_in_use_is_an_error_and_leaves_nothing_running():
    before = threading.active_count()
    with (
        MockProvider() as one,
        pytest.raises(OSError, match="address"),
        MockProvider(port=one.port),
    ):
        pass
    assert threading.active_count() == before

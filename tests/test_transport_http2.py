"""HTTP/2, spoken by hand so that it can be broken on purpose.

Skipped where libcurl is too old to be trusted with it (before 8.5.0).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_transport_tls import certs, with_openssl  # noqa: F401 - a fixture

from llmbalance._core import Origin
from llmbalance._transport import Transport

LIMITS = (3.0, 3.0, 3.0, 3.0, 5.0)
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
OK = bytes([0x88])  # HPACK, static table: ":status: 200"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = struct.pack(">I", len(payload))[1:]
    return size + struct.pack(">BBI", kind, flags, stream) + payload


def whole(stream: int, body: bytes) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, OK) + frame(
        DATA, END_STREAM, stream, body
    )


class Server:
    """Calls *answer(stream)* for the bytes to send once a request has ended."""

    def __init__(self, folder: Path, answer: Callable[[int], bytes]) -> None:
        self.answer = answer
        self.connections = 0
        self.streams: list[int] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "good.pem", folder / "good.key")
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        port = self._listener.getsockname()[1]
        self.origin = Origin(f"https://localhost:{port}", ca=str(folder / "ca.pem"))

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as peer:
                peer.sendall(frame(SETTINGS, 0, 0))
                self._talk(peer)
        except OSError:
            pass  # the client has seen enough

    def _talk(self, peer: ssl.SSLSocket) -> None:
        data = b""
        skip = 24  # the client's preface
        while piece := peer.recv(65536):
            data += piece
            while len(data) >= skip + 9:
                size = int.from_bytes(data[skip : skip + 3], "big")
                kind, flags, stream = struct.unpack(">BBI", data[skip + 3 : skip + 9])
                if len(data) < skip + 9 + size:
                    break
                data = data[skip + 9 + size :]
                skip = 0
                if kind == SETTINGS and not flags & ACK:
                    peer.sendall(frame(SETTINGS, ACK, 0))
                if kind in (HEADERS, DATA) and flags & END_STREAM:
                    self.streams.append(stream)
                    peer.sendall(self.answer(stream))


@pytest.fixture
def start(certs: Path) -> Iterator[Callable[[Callable[[int], bytes]], Server]]:  # noqa: F811
    servers = []
    try:
        Origin("https://localhost", http_version="2", verify=False)
    except ValueError:
        pytest.skip("libcurl before 8.5.0 loses early replies on HTTP/2")

    def start(answer: Callable[[int], bytes]) -> Server:
        servers.append(Server(certs, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


@with_openssl
async def test_one_connection_carries_many_requests(
    start: Callable[..., Server], transport: Transport
) -> None:
    server = start(lambda stream: whole(stream, b"%d" % stream))
    replies = await asyncio.gather(
        *(
            transport.send(server.origin, "POST", "/", None, b"x" * 500, LIMITS)
            for _ in range(60)
        )
    )
    assert {r.error for r in replies} == {None}
    assert {r.http_version for r in replies} == {"2"}
    assert len({r.body for r in replies}) == 60
    assert server.connections == 1
    assert all(r.sent for r in replies)


@with_openssl
async def test_a_stream_over_http_2(
    start: Callable[..., Server], transport: Transport
) -> None:
    def answer(stream: int) -> bytes:
        parts = [frame(DATA, 0, stream, b"data: %d\n\n" % i) for i in range(50)]
        return (
            frame(HEADERS, END_HEADERS, stream, OK)
            + b"".join(parts)
            + frame(DATA, END_STREAM, stream)
        )

    server = start(answer)
    stream = await transport.stream(server.origin, "POST", "/", None, b"{}", LIMITS)
    got = [data async for batch in stream for _, data in batch]
    assert got == [b"%d" % i for i in range(50)]
    assert stream.end is not None and stream.end.error is None


@with_openssl
@pytest.mark.parametrize(
    ("broken", "kinds"),
    [
        # 2 is INTERNAL_ERROR; REFUSED_STREAM (7) would be tried again by libcurl.
        (lambda s: frame(RST_STREAM, 0, s, struct.pack(">I", 2)), {"protocol"}),
        (
            lambda s: (
                frame(HEADERS, END_HEADERS, s, OK)
                + frame(DATA, 0, s, b"half")
                + frame(RST_STREAM, 0, s, struct.pack(">I", 2))
            ),
            {"protocol", "truncated"},
        ),
        (
            lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", 0, 2)),
            {"protocol", "reset"},
        ),
        (lambda s: frame(HEADERS, END_HEADERS, s, b"\xff" * 30), {"protocol", "reset"}),
        (lambda s: b"this is no frame at all, but quite long", {"protocol", "reset"}),
    ],
)
async def test_a_broken_exchange_is_told_and_the_next_works(
    start: Callable[..., Server],
    transport: Transport,
    broken: Callable[[int], bytes],
    kinds: set[str],
) -> None:
    server = start(broken)
    r = await transport.send(server.origin, "POST", "/", None, b"{}", LIMITS)
    assert r.error in kinds, (r.error, r.detail)
    server.answer = lambda stream: whole(stream, b"well")
    # Stepped down to 1.1, which this server does not speak: the step is taken.
    r = await transport.send(server.origin, "POST", "/", None, b"{}", LIMITS)
    assert r.body == b"well" or r.http_version != "2"


@with_openssl
async def test_cancelling_one_stream_leaves_the_connection_to_the_others(
    start: Callable[..., Server], transport: Transport
) -> None:
    server = start(lambda stream: b"")
    hanging = asyncio.create_task(
        transport.send(server.origin, "POST", "/", None, b"{}", LIMITS)
    )
    for _ in range(300):
        if server.streams:
            break
        await asyncio.sleep(0.01)
    hanging.cancel()
    server.answer = lambda stream: whole(stream, b"well")
    r = await transport.send(server.origin, "POST", "/", None, b"{}", LIMITS)
    assert (r.error, r.body) == (None, b"well")
    assert server.connections == 1 and r.reused

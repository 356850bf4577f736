"""A server over real sockets that fails exactly where a test wants it to.

    with FaultServer() as server:
        server.on("/cut", lambda peer: peer.send(head(length=10) + b"12345"))
        origin = Origin(server.url)

A route is a function of one Peer: it reads nothing (the request has been read),
sends what it likes as raw bytes, and what happens to the connection when it
returns is its return value: None or "keep" for the next request, "close" for a
FIN, "reset" for a RST, "hang" to hold it open silently until the server stops.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

Route = Callable[["Peer"], str | None]


def head(
    status: int = 200,
    *lines: str,
    length: int | None = None,
    chunked: bool = False,
    version: str = "1.1",
) -> bytes:
    """A response head; *length* and *chunked* add the usual framing line."""
    rows = [f"HTTP/{version} {status} Whatever", *lines]
    if length is not None:
        rows.append(f"Content-Length: {length}")
    if chunked:
        rows.append("Transfer-Encoding: chunked")
    return ("\r\n".join(rows) + "\r\n\r\n").encode()


def reply(body: bytes, status: int = 200, *lines: str) -> bytes:
    return head(status, *lines, length=len(body)) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass
class Peer:
    """One connection, as a route sees it."""

    socket: socket.socket
    request: Request
    stopped: threading.Event
    turn: int  # 1 for the first request of this connection

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float) -> None:
        self.stopped.wait(seconds)

    def drip(self, data: bytes, gap: float) -> None:
        """One byte every *gap* seconds, until it is sent or the server stops."""
        for at in range(len(data)):
            if self.stopped.wait(gap):
                return
            self.send(data[at : at + 1])


@dataclass
class FaultServer:
    """Listens on a free loopback port, or on the unix socket *path*.

    connections : accepted so far
    closed : of these, how many the client has closed or the server let go
    requests : all that were read in full, in order
    """

    context: ssl.SSLContext | None = None
    path: str | None = None
    backlog: int = 1024
    connections: int = 0
    closed: int = 0
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = self._listen()
        self._accepter = threading.Thread(target=self._accept, daemon=True)

    def _listen(self) -> socket.socket:
        if self.path is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
        listener.listen(self.backlog)
        return listener

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        scheme = "https" if self.context is not None else "http"
        return f"{scheme}://localhost:{self.port}"

    def on(self, target: str, route: Route) -> None:
        """What to do for *target*; "*" is for every target without a route."""
        self._routes[target] = route

    def __enter__(self) -> FaultServer:
        self._accepter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._shut(self._listener)
        with self._lock:
            peers = list(self._open)
        for peer in peers:
            self._shut(peer)
        self._accepter.join(5)

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        sock = raw
        try:
            if raw.family == socket.AF_INET:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                sock = self.context.wrap_socket(raw, server_side=True)
            self._talk(sock)
        except (OSError, ValueError):
            pass  # the client went away, which is what half of the tests are about
        finally:
            with self._lock:
                self.closed += 1
                self._open.discard(raw)
            sock.close()

    def _talk(self, sock: socket.socket) -> None:
        turn = 0
        while (request := self._read(sock)) is not None:
            turn += 1
            with self._lock:
                self.requests.append(request)
            route = self._routes.get(request.target, self._routes.get("*"))
            if route is None:
                sock.sendall(reply(b"no such route", 404))
                continue
            then = route(Peer(sock, request, self._stopped, turn))
            if then == "hang":
                self._stopped.wait()
            if then == "reset":
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if then in ("close", "reset", "hang"):
                return

    @staticmethod
    def _read(sock: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return None
            data += piece
        top, _, body = data.partition(b"\r\n\r\n")
        first, *rows = top.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (row.partition(": ") for row in rows)
        headers = {name.lower(): value for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        while len(body) < length:
            piece = sock.recv(1 << 20)
            if not piece:
                return None
            body += piece
        return Request(method, target, headers, body, data)

"""A small HTTP/1.1 server on asyncio protocols: keep-alive, chunked both ways.

One `Connection` per client socket takes requests apart one after the other; while one
is being answered, the next bytes wait (and above 1 MiB the socket is not read). The
owner answers through `respond`, or `begin` / `send` / `end` for a stream, and learns by
`Answering.lost()` when the client has gone.
"""

from __future__ import annotations

import asyncio
import http
import socket
import struct
import time
from typing import Protocol, cast
from wsgiref.handlers import format_date_time

MAX_HEAD = 64 << 10
MAX_BODY = 64 << 20
_MAX_WAITING = 1 << 20
_REASONS = {s.value: s.phrase for s in http.HTTPStatus} | {
    498: "Capacity Exceeded",
    499: "Client Closed Request",
    529: "Site Overloaded",
}


class Request:
    """One request as it arrived; header names in lower case."""

    __slots__ = ("body", "headers", "method", "target")

    def __init__(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body


class Answering(Protocol):
    """Who is answering the current request."""

    def lost(self) -> None:
        """The client has gone."""

    def resume(self) -> None:
        """The client reads again; more may be sent."""

    def stop(self) -> None:
        """The server stops."""


class Owner(Protocol):
    """Who owns the server."""

    connections: set[Connection]

    def handle(self, conn: Connection, request: Request) -> None:
        """Answer a request, now or later."""


class _BadRequest(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Connection(asyncio.Protocol):
    """One client socket."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._length: int | None = 0  # of the body, None = chunked
        self._chunks = bytearray()
        self._busy = False
        self._running = False
        self._keep = True
        self._reading = True
        self.answering: Answering | None = None
        self.paused = False  # the client does not read
        self.transport: asyncio.Transport | None = None

    # --- asyncio's side ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not descend from asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self._owner.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._owner.connections.discard(self)
        answering, self.answering = self.answering, None
        if answering is not None:
            answering.lost()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.answering is not None:
            self.answering.resume()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._run()
        elif len(self._buffer) > _MAX_WAITING and self.transport and self._reading:
            self._reading = False
            self.transport.pause_reading()

    # --- requests ------------------------------------------------------------

    def _run(self) -> None:
        """Handle requests until one is not complete, or not answered at once."""
        if self._running:
            return
        self._running = True
        try:
            while not self._busy and self.transport is not None and self._take():
                pass
        except _BadRequest as exc:
            self._keep = False
            self._busy = True
            self.respond(exc.status, (), "text/plain", b"bad request")
        finally:
            self._running = False

    def _take(self) -> bool:
        if self._head is None and not self._take_head():
            return False
        body = self._take_body()
        if body is None or self._head is None:
            return False
        method, target, headers = self._head
        self._head = None
        self._busy = True
        self._owner.handle(self, Request(method, target, headers, body))
        return True

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise _BadRequest(431)
            return False
        lines = self._buffer[:end].decode("latin-1").lstrip("\r\n").split("\r\n")
        del self._buffer[: end + 4]
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise _BadRequest(400)
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise _BadRequest(400)
            headers[name.lower()] = value.strip()
        self._head = parts[0], parts[1], headers
        self._keep = parts[2] != "HTTP/1.0"
        if headers.get("connection", "").lower() == "close":
            self._keep = False
        self._length = self._body_length(headers)
        if headers.get("expect", "").lower() == "100-continue" and self.transport:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _body_length(self, headers: dict[str, str]) -> int | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunks = bytearray()
            return None
        text = headers.get("content-length", "0")
        if not text.isascii() or not text.isdigit():
            raise _BadRequest(400)
        length = int(text)
        if length > MAX_BODY:
            raise _BadRequest(413)
        return length

    def _take_body(self) -> bytes | None:
        if self._length is None:
            return self._take_chunks()
        if len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        return body

    def _take_chunks(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise _BadRequest(400)
                return None
            try:
                size = int(self._buffer[:end].partition(b";")[0], 16)
            except ValueError:
                raise _BadRequest(400) from None
            if size < 0 or size + len(self._chunks) > MAX_BODY:
                raise _BadRequest(413)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                return bytes(self._chunks)

    # --- answers -------------------------------------------------------------

    def _start(self, status: int, lines: list[str] | tuple[str, ...], kind: str) -> str:
        extra = "".join(f"{line}\r\n" for line in lines)
        keep = "" if self._keep else "Connection: close\r\n"
        return (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
            f"Date: {format_date_time(time.time())}\r\n"
            f"Content-Type: {kind}\r\n{extra}{keep}"
        )

    def respond(
        self, status: int, lines: list[str] | tuple[str, ...], kind: str, body: bytes
    ) -> None:
        """Send a whole answer."""
        if self.transport is None:
            return
        head = f"{self._start(status, lines, kind)}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode("latin-1") + body)
        self._done()

    def begin(self, status: int, lines: list[str], kind: str) -> None:
        """Send the head of a stream."""
        if self.transport is not None:
            head = (
                f"{self._start(status, lines, kind)}Transfer-Encoding: chunked\r\n\r\n"
            )
            self.transport.write(head.encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send a part of a stream, as one chunk."""
        if self.transport is not None and data:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End a stream properly."""
        if self.transport is not None:
            self.transport.write(b"0\r\n\r\n")
            self._done()

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection where it stands; `reset` throws unsent bytes away."""
        self.answering = None
        if self.transport is None:
            return
        if reset:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
                linger = struct.pack("ii", 1, 0)  # makes close() send a RST
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        else:
            self.transport.close()

    def raw(self, data: bytes) -> None:
        """Send bytes that are no HTTP, and close."""
        if self.transport is not None:
            self.transport.write(data)
            self.drop()

    def _done(self) -> None:
        self.answering = None
        if not self._keep:
            self.drop()
            return
        self._busy = False
        if not self._reading and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()
        if self._buffer:
            self._run()

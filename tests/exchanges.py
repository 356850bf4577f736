"""Reading recorded exchanges, and cutting bodies into events as the transport does."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from llmbalance._types import ChatChunk
from llmbalance.providers import Dialect
from llmbalance.providers._base import StreamReader

Events = list[tuple[str, bytes]]


def sse(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events of a server-sent event stream; JSON without ``data:`` at the end is
    handed on as one (Google reports errors so)."""
    name, data, loose = "", list[bytes](), list[bytes]()
    for line in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if not line:
            if data:
                yield name, b"\n".join(data)
            name, data = "", []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif not line.startswith((b":", b"id:", b"retry:")):
            loose.append(line)
    if data:
        yield name, b"\n".join(data)
    if loose and loose[0].startswith(b"{"):
        yield "", b"\n".join(loose)


def lines(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events of a stream of JSON lines."""
    return (("", line) for line in body.splitlines() if line.strip())


def frame(event: str, payload: bytes, message_type: str = "event") -> bytes:
    """One AWS frame."""
    kind = ":event-type" if message_type == "event" else ":exception-type"
    head = b""
    for key, value in ((":message-type", message_type), (kind, event)):
        head += bytes([len(key)]) + key.encode() + b"\x07"
        head += struct.pack(">H", len(value)) + value.encode()
    total = 16 + len(head) + len(payload)
    start = struct.pack(">II", total, len(head))
    start += struct.pack(">I", zlib.crc32(start))
    whole = start + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def frames(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The events of an AWS event stream, named as the transport names them."""
    at = 0
    while at < len(body):
        total, head = struct.unpack_from(">II", body, at)
        fields, p, end = {}, at + 12, at + 12 + head
        while p < end:
            size = body[p]
            key = body[p + 1 : p + 1 + size].decode()
            p += size + 2  # the type byte: all recorded headers are strings (7)
            (length,) = struct.unpack_from(">H", body, p)
            fields[key] = body[p + 2 : p + 2 + length].decode()
            p += 2 + length
        name = fields.get(":event-type", "")
        if fields.get(":message-type") == "exception":
            name = f"exception:{fields[':exception-type']}"
        yield name, body[end : at + total - 4]
        at += total


def told(dialect: Dialect, events: Iterator[tuple[str, bytes]] | Events) -> Told:
    """Read a whole stream; checks what holds for every dialect's chunks."""
    reader = dialect.stream()
    chunks: list[ChatChunk] = []
    for name, data in events:
        for chunk in reader.feed(name, data):
            assert carries_content(chunk), chunk
            chunks.append(chunk)
    return Told(reader, chunks, reader.end())


def carries_content(chunk: ChatChunk) -> bool:
    """Whether a chunk adds something to the message."""
    return any(
        choice.logprobs
        or any(
            getattr(choice.delta, name)
            for name in choice.delta.__struct_fields__
            if name != "role"
        )
        for choice in chunk.choices
    )


class Told(NamedTuple):
    """A stream that was read to its end."""

    reader: StreamReader
    chunks: list[ChatChunk]
    last: ChatChunk

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def reason(self) -> str | None:
        return self.last.choices[0].finish_reason

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Name and arguments of the tool calls, put together from their pieces."""
        names: dict[int, str] = {}
        texts: dict[int, str] = {}
        for chunk in self.chunks:
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or ():
                    assert call.index is not None
                    assert call.function is not None
                    if call.function.name:
                        names[call.index] = call.function.name
                    piece = call.function.arguments or ""
                    texts[call.index] = texts.get(call.index, "") + piece
        return [(names[i], json.loads(texts[i] or "{}")) for i in sorted(names)]


class Exchange(NamedTuple):
    """One recorded exchange."""

    name: str
    provider: str
    url: str
    status: int
    kind: str
    headers: dict[str, str]
    body: bytes
    sent: Any

    def events(self) -> Iterator[tuple[str, bytes]]:
        return {"ndjson": lines, "eventstream": frames}.get(self.kind, sse)(self.body)


def exchange(folder: Path, name: str) -> Exchange:
    """Load the exchange whose folder starts with *name*."""
    path = next((folder / "cassettes").glob(f"{name}*"))
    meta = json.loads((path / "meta.json").read_text())
    body = (path / "response.body").read_bytes()
    if body.startswith(b"\x1f\x8b"):
        body = gzip.decompress(body)
    fields: dict[str, str] = {}
    head = path / "response.headers"
    for line in head.read_text().splitlines() if head.exists() else ():
        key, _, value = line.partition(":")
        fields[key.strip().lower()] = value.strip()
    request = path / "request.body"
    try:
        sent = json.loads(request.read_bytes())
    except (ValueError, FileNotFoundError):
        sent = None
    return Exchange(
        path.name,
        meta["provider"],
        meta["url"],
        meta["status"],
        meta["body_kind"],
        fields,
        body,
        sent,
    )

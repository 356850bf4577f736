"""Recorded provider replies, sent over a real socket in awkward pieces.

What arrives must be what a plain reading of the whole body gives.
"""

from __future__ import annotations

import base64
import json
import random
import zlib
from pathlib import Path

import pytest
from faults import FaultServer, Peer, chunk, head, reply

from llmbalance._core import Origin
from llmbalance._transport import Transport

LIMITS = (5.0, 5.0, 5.0, 5.0, 20.0)
MODES = {"sse": 1, "ndjson": 2, "eventstream": 3}


def plain_sse(body: bytes) -> list[tuple[str, bytes]]:
    text = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text, bare, error = text.partition(b"\n{\n")  # Google's errors have no field
    lines = text.split(b"\n")
    events, name, data = [], b"", []
    for line in lines:
        if not line and data:
            events.append((name.decode(), b"\n".join(data)))
        if not line:
            name, data = b"", []
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    if bare:
        events.append(("", b"{\n" + error.rstrip(b"\n")))
    return events


def plain_frames(body: bytes) -> list[tuple[str, bytes]]:
    events = []
    while body:
        total, headers = (int.from_bytes(body[i : i + 4], "big") for i in (0, 4))
        frame, body = body[:total], body[total:]
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "big")
        rest = frame[12 : 12 + headers]
        values = {}
        while rest:
            name, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            assert rest[0] == 7  # nothing but strings was recorded
            size = int.from_bytes(rest[1:3], "big")
            values[name], rest = rest[3 : 3 + size], rest[3 + size :]
        events.append((values[b":event-type"].decode(), frame[12 + headers : -4]))
    return events


def plain_lines(body: bytes) -> list[tuple[str, bytes]]:
    return [("", line) for line in body.split(b"\n") if line.strip()]


PLAIN = {"sse": plain_sse, "ndjson": plain_lines, "eventstream": plain_frames}


async def test_every_recorded_stream_arrives_event_by_event(recorded: Path) -> None:
    cassettes = recorded / "cassettes"
    index = json.loads((cassettes / "index.json").read_text())
    streams = [entry for entry in index if entry["body_kind"] in MODES]
    assert streams
    rng = random.Random(5)
    transport = Transport()
    with FaultServer() as server:
        origin = Origin(server.url)
        for entry in streams:
            body = (cassettes / entry["id"] / "response.body").read_bytes()

            def pieces(peer: Peer, body: bytes = body) -> None:
                peer.send(head(200, chunked=True))
                at = 0
                while at < len(body):
                    size = rng.choice((1, 3, 17, 200, 5000))
                    peer.send(chunk(body[at : at + size]))
                    at += size
                peer.send(b"0\r\n\r\n")

            server.on("/", pieces)
            kind = entry["body_kind"]
            stream = await transport.stream(
                origin, "POST", "/", None, b"{}", LIMITS, mode=MODES[kind]
            )
            got = [event async for batch in stream for event in batch]
            assert stream.end is not None and stream.end.error is None, entry["id"]
            assert got == PLAIN[kind](body), entry["id"]
    transport.close()


async def test_every_recorded_body_and_status_arrives(recorded: Path) -> None:
    cassettes = recorded / "cassettes"
    index = json.loads((cassettes / "index.json").read_text())
    transport = Transport()
    with FaultServer() as server:
        origin = Origin(server.url)
        for entry in index:
            body = (cassettes / entry["id"] / "response.body").read_bytes()
            answer = reply(body, entry["status"], "X-Id: " + entry["id"])
            server.on("/", lambda peer, answer=answer: peer.send(answer))
            r = await transport.send(origin, "POST", "/", None, b"{}", LIMITS)
            assert (r.status, r.body, r.error) == (entry["status"], body, None)
            assert r.headers["x-id"] == entry["id"]
    transport.close()


@pytest.mark.parametrize("kind", ["event", "exception", "error"])
async def test_a_frame_says_what_it_is(kind: str) -> None:
    """The same without recordings: names of events, exceptions and errors."""
    names = {"event": ":event-type", "exception": ":exception-type"}
    fields = {":message-type": kind, names.get(kind, ":error-code"): "thing"}
    headers = b"".join(
        bytes([len(name)])
        + name.encode()
        + b"\x07"
        + len(value).to_bytes(2, "big")
        + value.encode()
        for name, value in fields.items()
    )
    payload = base64.b64encode(b"payload")
    total = (16 + len(headers) + len(payload)).to_bytes(4, "big")
    frame = total + len(headers).to_bytes(4, "big")
    frame += zlib.crc32(frame).to_bytes(4, "big") + headers + payload
    frame += zlib.crc32(frame).to_bytes(4, "big")
    transport = Transport()
    with FaultServer() as server:
        server.on("/", lambda peer: peer.send(reply(frame * 3)))
        stream = await transport.stream(
            Origin(server.url), "POST", "/", None, b"", LIMITS, mode=3
        )
        got = [event async for batch in stream for event in batch]
    name = "thing" if kind == "event" else f"{kind}:thing"
    assert got == [(name, payload)] * 3
    transport.close()

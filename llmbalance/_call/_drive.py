"""One Run, sent attempt by attempt, until there is an answer or nothing left to try.

    run.aim ──── a Shot ──▶ transport ──▶ run.land ──── an answer
       ▲  └─ seconds: rest      │            │
       └────────────────────────│────────────┘ failed: aim again
                                └─ cancelled: run.cancel, and on to the caller

Streams have a driver of their own (_stream.py): they deliver before they end.
"""

from __future__ import annotations

from typing import Any

from .._fleet._line import rest, rest_blocking
from .._transport import Ask, Transport
from ._run import Run
from ._story import Shot


async def drive(run: Run, transport: Transport) -> Any:
    """Return the answer to a call; raises what ``Run.aim`` and ``Run.land`` raise."""
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                await rest(shot)
                continue
            try:
                response = await transport.send(*parcel(shot))
            except BaseException:
                run.cancel(shot)
                raise
            reply = run.land(shot, response)
            if reply is not None:
                return reply
    finally:
        run.end()


def drive_blocking(run: Run, transport: Transport) -> Any:
    """The same for a thread without a loop."""
    try:
        while True:
            shot = run.aim()
            if isinstance(shot, float):
                rest_blocking(shot)
                continue
            try:
                response = transport.send_blocking(*parcel(shot))
            except BaseException:
                run.cancel(shot)
                raise
            reply = run.land(shot, response)
            if reply is not None:
                return reply
    finally:
        run.end()


def parcel(shot: Shot) -> Ask:
    """The arguments that send an attempt: where to, what, how long at most."""
    r = shot.request
    return shot.target.origin, r.method, r.target, r.headers, r.body, shot.timeouts

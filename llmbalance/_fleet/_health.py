"""Asking backends how they are, without paying: warm connections, health.

The request is the dialect's free one (a list of models). It opens the connection and
proves the key; breakers, limits and latencies do not hear of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._report import Report
from ..providers._base import Dialect, KeyPending
from ..providers._failures import TRANSPORT_KINDS
from ._wildcards import STAR

if TYPE_CHECKING:
    from .._transport import Transport
    from .._types import Request
    from ._fleet import Fleet
    from ._target import Target

_NO_ENDPOINT = "no free endpoint"
_PATIENCE = 5.0  # seconds


async def key_lines(dialect: Dialect) -> list[str]:
    """The header lines with a dialect's key, once there is one."""
    while True:
        try:
            return dialect.request_headers()
        except KeyPending as pending:
            await asyncio.sleep(pending.seconds)


async def ask_all(fleet: Fleet, transport: Transport) -> Report:
    """Ask every backend at once; a row each: backend, ok, status, seconds, problem.

    ``ok`` is None where the provider has nothing free to ask.
    """
    targets = list(fleet.targets)
    asked: dict[Any, asyncio.Task[dict[str, Any]]] = {}  # one account is asked once
    answers = []
    for target in targets:
        request = _question(target)
        key = None if request is None else (target.origin, request.target, request.body)
        if key not in asked:
            asked[key] = asyncio.ensure_future(_ask(target, request, transport))
        answers.append(asked[key])
    found = await asyncio.gather(*answers)
    rows = [
        {**row, "backend": target.name}
        for target, row in zip(targets, found, strict=True)
    ]
    columns = {"backend": "", "ok": "", "status": "", "seconds": "s", "problem": ""}
    return Report({row["backend"]: row for row in rows}, rows, columns)


def _question(target: Target) -> Request | None:
    """What a backend is asked; None: nothing is free, or it stands for many models."""
    request = target.dialect.health()
    if request is not None and target.backend.is_wildcard:
        stars = (STAR, quote(STAR))
        if any(star in request.target for star in stars):
            return None
    return request


async def _ask(
    target: Target, request: Request | None, transport: Transport
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "backend": target.name,
        "ok": None,
        "status": 0,
        "seconds": 0.0,
        "problem": _NO_ENDPOINT,
    }
    if request is None:
        return row
    response = await transport.send(
        target.origin,
        request.method,
        request.target,
        request.headers + await key_lines(target.dialect),
        request.body or None,
        (_PATIENCE, _PATIENCE, 0.0, _PATIENCE, _PATIENCE),
    )
    row |= {"status": response.status, "seconds": response.total, "problem": ""}
    row["ok"] = response.error is None and 200 <= response.status < 300
    if response.error is not None:
        row["problem"] = TRANSPORT_KINDS.get(response.error, response.error)
    elif not row["ok"]:
        row["problem"] = target.dialect.failure(
            response.status, response.headers, response.body
        ).kind
    return row

"""What is told of a call: its attempts, why a backend was chosen, why none was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .._core import REASONS, Lease
from .._errors import (
    BudgetExceededError,
    CostLimitError,
    NoBackendError,
    RateLimitedError,
)

if TYPE_CHECKING:
    from .._fleet._target import Target


class Attempt(Struct, frozen=True):
    """One attempt of a call.

    ``outcome`` is "done" or what the breaker was told, ``error`` the kind of failure
    (None: none), ``cost_nano_usd`` what was billed for it.
    """

    backend: str
    outcome: str
    status: int = 0
    error: str | None = None
    seconds: float = 0.0
    ttft: float = 0.0
    cost_nano_usd: int = 0


class Decision:
    """Why a backend was chosen: the candidates, their figures, who was refused why.

    Decoded from the lease when it is looked at. ``backend`` names the chosen one;
    ``translated`` says what its dialect left out or served in another way, such as a
    schema by a forced tool.
    """

    __slots__ = ("_lease", "_targets", "translated")

    def __init__(
        self, lease: Lease, targets: list[Target], translated: Sequence[str] = ()
    ) -> None:
        self._lease = lease
        self._targets = targets
        self.translated = translated

    @property
    def backend(self) -> str | None:
        """The name of the chosen backend; None when none fitted."""
        index = self._lease.backend
        return self._targets[index].name if index >= 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Return strategy, candidates (cost USD, seconds, used share, reason), wait
        (see ``known_wait``), backend and what was translated."""
        record = self._lease.decision
        record["wait"] = known_wait(record["wait"])
        for line in record["candidates"]:
            line["backend"] = self._targets[line["backend"]].name
        record["backend"] = self.backend
        record["translated"] = list(self.translated)
        return record

    def __repr__(self) -> str:
        record = self.to_dict()
        lines = [f"{record['strategy']} chose {record['backend'] or 'none'}"]
        for line in record["candidates"]:
            mark = ">" if line["backend"] == record["backend"] else " "
            why = "" if line["reason"] == "eligible" else f"  not: {line['reason']}"
            lines.append(
                f"{mark} {line['backend']:<28} ${line['cost']:.6f}"
                f" {line['seconds']:8.2f} s {line['used']:6.0%} used{why}"
            )
        lines += [f"  {note}" for note in self.translated]
        return "\n".join(lines)


def known_wait(wait: float) -> float | None:
    """Return the seconds the core says to wait: infinite for never.

    None where only a call in flight can make room, by ending: nobody knows when.
    """
    return None if 0 < wait <= _SOON else wait


def refusal(group: str, reasons: Mapping[str, str], wait: float) -> NoBackendError:
    """Return the error of a call that nobody can take for ``wait`` seconds."""
    known = known_wait(wait)
    retry_after = known if known is not None and known < 9e8 else None
    told = ", ".join(f"{name}: {_WHY[reason]}" for name, reason in reasons.items())
    text = f"no backend of {group!r} can take this call ({told})"
    if known is None:
        text += "; try again when a call in flight has ended"
    elif retry_after is not None:
        text += f"; try again in {retry_after:.3g} s"
    kinds = set(reasons.values())
    if kinds & {"rate", "concurrency"}:
        return RateLimitedError(text, reasons=reasons, retry_after=retry_after)
    if "budget" in kinds:
        lifts = time.time() + wait if wait < 9e8 else None
        return BudgetExceededError(
            text, reasons=reasons, retry_after=retry_after, lifts_at=lifts
        )
    if "max_cost" in kinds:
        return CostLimitError(text + "; raise max_cost", reasons=reasons)
    return NoBackendError(text, reasons=reasons, retry_after=retry_after)


_SOON = 1e-9  # the core's word for: when a call in flight has ended
_WHY = {
    "eligible": "free",
    "tag": "lacks a tag that was asked for",
    "ability": "cannot do what the call needs",
    "context": "its context window is too small",
    "quality": "below min_quality",
    "tried": "was tried",
    "drained": "drained (weight 0)",
    "price": "its price is unknown",
    "max_cost": "dearer than max_cost",
    "max_latency": "slower than max_latency",
    "burst": "larger than its rate limit ever allows",
    "concurrency": "too many calls in flight",
    "rate": "its rate limit is used up",
    "budget": "its budget is used up",
    "breaker": "its circuit breaker is open",
    "order": "kept in reserve",
    "stalled": "calls hang there",
}
assert set(_WHY) == set(REASONS)

"""LiteLLM's allowed failures, by their class, as the rules of a breaker.

    allowed_fails: 3                      opens at failure 4 in a row
    allowed_fails_policy:
      InternalServerErrorAllowedFails: 5  instead: at 6, whatever failed before
      TimeoutErrorAllowedFails: 1         and at 2 when the newest one timed out

As there, failures of all classes are counted together and the class of the newest says
how many there may be. Here an answer begins the count anew, and half of the calls
failing opens a breaker as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .._config import Breaker
from .._configfile._tables import suggestion

Note = Callable[[str, str, str], None]  # of an entry: its name, why, which kind

_MOST = 32_000  # failures that are as good as any number
_TIMES = (1e-3, 3e8)  # seconds of a cooldown that are as good as none, and as for ever
_END = "AllowedFails"
_LATE = f"TimeoutError{_END}"
# Classes that are one here: whatever else a backend does wrong.
_FAILED = tuple(
    f"{kind}Error{_END}"
    for kind in ("InternalServer", "ServiceUnavailable", "BadGateway")
)
# Classes that are no matter of counting -> what is done instead.
_OTHERS: Mapping[str, str] = {
    f"RateLimitError{_END}": "a 429 pauses its backend as long as it asks for",
    f"AuthenticationError{_END}": "a refused key opens the breaker at once",
    f"NotFoundError{_END}": "a missing model opens the breaker at once",
    f"BadRequestError{_END}": "the request is at fault: never counted",
    f"ContentPolicyViolationError{_END}": "the request is at fault: never counted",
}


class Allowed(msgspec.Struct, frozen=True):
    """How many failures are borne, of all and of time-outs; None: nobody says."""

    fails: int | None = None
    late: int | None = None


def allowed_by(fails: int | None, policy: Any, note: Note) -> Allowed:
    """Return what ``allowed_fails`` and ``allowed_fails_policy`` mean together."""
    if policy is not None and not isinstance(policy, dict):
        note("", "give a mapping: left out", "fault")
    known: dict[str, int] = {}
    for name, value in policy.items() if isinstance(policy, dict) else ():
        if name in _OTHERS:
            if value is not None:
                note(name, _OTHERS[name], "changed")
        elif name not in (*_FAILED, _LATE):
            names = (*_FAILED, _LATE, *_OTHERS)
            note(name, f"unknown key; {suggestion(name, names)}", "fault")
        elif value is not None and (type(value) is not int or value < 0):
            note(name, f"{value!r} is no whole number >= 0: left out", "fault")
        elif value is not None:
            known[name] = value
    of_all = [known[name] for name in _FAILED if name in known]
    if len(set(of_all)) > 1:
        for name in _FAILED:
            if known.get(name, min(of_all)) > min(of_all):
                why = f"counts as the other errors of a server: {min(of_all)}"
                note(name, why, "changed")
    return Allowed(min(of_all) if of_all else fails, known.get(_LATE))


def breaker_of(
    allowed: Allowed, cooldown: float | None, below: Breaker | None = None
) -> Breaker | None:
    """LiteLLM's cooldown as a breaker; None when nothing of it is said.

    It opens at failure ``allowed.fails`` + 1 in a row, or when that many calls failed
    by half; it stays open for ``cooldown`` seconds, each time.
    """
    if allowed == Allowed() and cooldown is None:
        return None
    changes: dict[str, Any] = {}
    if allowed.fails is not None:
        changes["in_a_row"] = min(allowed.fails, _MOST) + 1
        changes["min_calls"] = max(10, changes["in_a_row"])
    if allowed.late is not None:
        changes["timeouts_in_a_row"] = min(allowed.late, _MOST) + 1
        most = max(changes.get("min_calls", 10), changes["timeouts_in_a_row"])
        changes["min_calls"] = most
    if cooldown:
        seconds = min(max(cooldown, _TIMES[0]), _TIMES[1])
        changes["cooldown"] = changes["cooldown_max"] = seconds
    return msgspec.structs.replace(below or Breaker(), **changes)

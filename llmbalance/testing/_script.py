"""What goes wrong, and when: the timeline of faults of a mock provider.

    Script().outage(2, 4).slow(6, 8, factor=5).fail_next(3, status=529)

Times are seconds since the provider's (or its fleet's) start. Called on a running
`MockProvider`, which is itself a Script, a missing `start` means "from now on" and a
missing `stop` "until `recover()`". A fault applies to the requests that arrive in its
time; what is already being answered goes on.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Self

GARBAGE = ("truncated", "html", "empty", "noise")
CUTS = ("close", "reset", "end")


@dataclass(slots=True)
class Rule:
    """One fault: active from `start` to `stop`, for at most `left` requests."""

    kind: str
    start: float  # seconds
    stop: float  # seconds, inf = until recover()
    left: int | None = None  # requests it still applies to, None = all
    args: dict[str, Any] = field(default_factory=dict)


def _check(name: str, value: object, ok: bool, remedy: str) -> None:
    if not ok:
        raise ValueError(f"{name}={value!r}: {remedy}")


class Script:
    """A set of faults with their times; every method returns the script itself."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()  # tests speak to servers in other threads

    def _now(self) -> float:
        return 0.0

    def _add(
        self,
        kind: str,
        start: float | None,
        stop: float | None,
        left: int | None = None,
        **args: Any,
    ) -> Self:
        begin = self._now() if start is None else float(start)
        end = math.inf if stop is None else float(stop)
        _check("start", start, begin >= 0, "give seconds since the start, >= 0")
        _check("stop", stop, end > begin, f"give a time after start ({begin:g})")
        _check("n", left, left is None or left > 0, "give a number of requests > 0")
        with self._lock:
            self._rules.append(Rule(kind, begin, end, left, args))
        return self

    def outage(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        status: int | None = 503,
        body: bytes | str | dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> Self:
        """Every request fails with `status`; None drops the connection unanswered."""
        ok = status is None or 400 <= status <= 599
        _check("status", status, ok, "give 400..599, or None to drop connections")
        return self._add(
            "outage", start, stop, status=status, body=body, retry_after=retry_after
        )

    def hang(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        n: int | None = None,
    ) -> Self:
        """Requests are read and never answered, not even after `stop`."""
        return self._add("hang", start, stop, n)

    def slow(
        self,
        start: float | None = None,
        stop: float | None = None,
        factor: float = 10.0,
    ) -> Self:
        """All latencies are multiplied by `factor` (> 0)."""
        _check("factor", factor, factor > 0, "give a factor > 0")
        return self._add("slow", start, stop, factor=factor)

    def throttle(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
    ) -> Self:
        """The account's limits become `rpm` and `tpm`; None leaves one as it is."""
        given = (rpm, tpm) != (None, None)
        _check("rpm, tpm", (rpm, tpm), given, "give at least one limit")
        for name, value in (("rpm", rpm), ("tpm", tpm)):
            ok = value is None or value >= 0
            _check(name, value, ok, "give a limit per minute, >= 0")
        return self._add("throttle", start, stop, rpm=rpm, tpm=tpm)

    def cut_stream(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        after_tokens: int,
        how: str = "close",
        n: int | None = None,
    ) -> Self:
        """Streams break after so many tokens.

        `how`: "close" closes the connection inside the chunked body, "reset" resets
        it, "end" ends the body properly but without any finish signal.
        """
        _check("how", how, how in CUTS, f"choose one of {', '.join(CUTS)}")
        _check("after_tokens", after_tokens, after_tokens >= 0, "give a count >= 0")
        return self._add("cut", start, stop, n, after=after_tokens, how=how)

    def stream_error(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        after_tokens: int,
        n: int | None = None,
    ) -> Self:
        """Streams carry the provider's error event, under status 200, and end."""
        _check("after_tokens", after_tokens, after_tokens >= 0, "give a count >= 0")
        return self._add("cut", start, stop, n, after=after_tokens, how="error")

    def garbage(
        self,
        start: float | None = None,
        stop: float | None = None,
        *,
        kind: str = "truncated",
        n: int | None = None,
    ) -> Self:
        """Answers that are none.

        `kind`: "truncated" = half of the JSON under status 200, "html" = a proxy's
        page under 200, "empty" = 200 without a body, "noise" = no HTTP at all.
        """
        _check("kind", kind, kind in GARBAGE, f"choose one of {', '.join(GARBAGE)}")
        return self._add("garbage", start, stop, n, how=kind)

    def fail_next(
        self,
        n: int = 1,
        *,
        status: int = 500,
        body: bytes | str | dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> Self:
        """The next `n` requests fail with `status`.

        `body` None is the provider's own error body for that status; `retry_after`
        in seconds is sent in the provider's way.
        """
        _check("status", status, 400 <= status <= 599, "give 400..599")
        return self._add(
            "fail", None, None, n, status=status, body=body, retry_after=retry_after
        )

    def recover(self) -> Self:
        """Forget every rule, past, present and future."""
        with self._lock:
            self._rules.clear()
        return self

    def adopt(self, other: Script) -> Self:
        """Copy the rules of another script, which stays as it is."""
        with other._lock:
            copies = [replace(rule) for rule in other._rules]
        with self._lock:
            self._rules.extend(copies)
        return self

    @property
    def scripted(self) -> bool:
        """Whether there is any rule at all."""
        return bool(self._rules)

    def active(self, kind: str, now: float, *, use: bool = False) -> Rule | None:
        """The latest rule of this kind at `now`; `use` counts one request off it."""
        if not self._rules:
            return None
        with self._lock:
            for rule in reversed(self._rules):
                if rule.kind != kind or not rule.start <= now < rule.stop:
                    continue
                if use and rule.left is not None:
                    rule.left -= 1
                    if rule.left == 0:
                        self._rules.remove(rule)
                return rule
        return None

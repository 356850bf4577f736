"""What one mirror has shown: how copies went beside their originals."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._scope import Scope, group_of
from ._sequential import radius
from ._tally import RECENT

if TYPE_CHECKING:
    from .._call._story import Story
    from .._fleet._fleet import Fleet
    from ._mirror import Mirror

_log = logging.getLogger("llmbalance")
_ALPHA = 0.05  # how often the interval of a score may be wrong
COLUMNS = {
    "mirror": "",
    "sent": "n",
    "answered": "n",
    "failed": "n",
    "dropped": "n",
    "cost": "$",
    "original_cost": "$",
    "p50": "s",
    "original_p50": "s",
    "score": ".",
    "low": ".",
    "high": ".",
}


class Glass:
    """The figures of one mirror."""

    def __init__(self, fleet: Fleet, mirror: Mirror) -> None:
        self.mirror = mirror
        self.refit(fleet)
        self.lock = threading.Lock()
        self.in_flight = self.sent = self.answered = self.dropped = 0
        self.failed: dict[str, int] = {}  # by the exception's name
        self.nano = self.original_nano = 0
        self.seconds: deque[float] = deque(maxlen=RECENT)
        self.original_seconds: deque[float] = deque(maxlen=RECENT)
        self.scores, self.score, self.square = 0, 0.0, 0.0
        self.complained = False

    def refit(self, fleet: Fleet) -> None:
        """Look up what it names; ConfigError for what the fleet has not."""
        self.group = group_of(fleet, "to", self.mirror.to)
        self.scope = Scope(fleet, self.mirror)

    def enter(self) -> bool:
        """Take one of the places in flight; False: this copy is dropped."""
        with self.lock:
            if self.in_flight >= self.mirror.max_in_flight:
                self.dropped += 1
                return False
            self.in_flight += 1
            self.sent += 1
            return True

    def leave(self, copy: Story, failure: str | None) -> None:
        """A copy and what is done with it are over."""
        with self.lock:
            self.in_flight -= 1
            self.nano += sum(a.cost_nano_usd for a in copy.attempts)
            if failure is not None:
                self.failed[failure] = self.failed.get(failure, 0) + 1

    def won(self, copy: Story, nano: int, seconds: float) -> None:
        """A copy was answered, whose original cost so much and took so long."""
        with self.lock:
            self.answered += 1
            self.original_nano += nano
            self.seconds.append(time.monotonic() - copy.began)
            self.original_seconds.append(seconds)

    def judge(self, original: Any, mirrored: Any) -> None:
        """Compare two replies; what goes wrong is told once and changes nothing."""
        compare = self.mirror.compare
        if compare is None:
            return
        try:
            score = compare(original, mirrored)
            if score is None:
                return
            value = float(score)
            if not math.isfinite(value):
                raise ValueError(f"compare returned {value}")
        except Exception:
            if not self.complained:
                self.complained = True
                _log.exception(
                    "compare of mirror %r failed; it is not reported again",
                    self.mirror.label,
                )
            return
        with self.lock:
            self.scores += 1
            self.score += value
            self.square += value * value

    def row(self) -> dict[str, Any]:
        """Return the figures as a line of the report."""
        with self.lock:
            answered, failed = self.answered, sum(self.failed.values())
            low, mean, high = self._score()
            return {
                "mirror": self.mirror.label,
                "to": self.mirror.to,
                "sent": self.sent,
                "answered": answered,
                "failed": failed,
                "failures": dict(self.failed),
                "dropped": self.dropped,
                "in_flight": self.in_flight,
                "total_cost": self.nano / 1e9,
                "cost": self.nano / 1e9 / self.sent if self.sent else None,
                "original_cost": (
                    self.original_nano / 1e9 / answered if answered else None
                ),
                "p50": _median(self.seconds),
                "original_p50": _median(self.original_seconds),
                "scored": self.scores,
                "score": mean,
                "low": low,
                "high": high,
            }

    def _score(self) -> tuple[float | None, float | None, float | None]:
        """The mean score within an interval that may be looked at any time."""
        n = self.scores
        if not n:
            return None, None, None
        mean = self.score / n
        if n < 2:
            return None, mean, None
        variance = max((self.square - n * mean * mean) / (n - 1), 1e-12)
        half = radius(variance / n, 0.01 * variance, _ALPHA)
        return mean - half, mean, mean + half


def _median(values: Iterable[float]) -> float | None:
    inorder = sorted(values)
    return inorder[len(inorder) // 2] if inorder else None

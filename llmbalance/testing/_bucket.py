"""The mock provider's own limits: exact token buckets on integer time.

    full |--------.            a bucket of `limit` units per `window` starts full,
         |         \\   /       is emptied by requests and refills evenly:
         |          \\_/        limit / window per second, never above its capacity
         +----------------> t

Amounts are kept in units of 1/window_ns, so that a refill of one nanosecond is the
whole number `limit` and nothing is ever rounded. The wait that a provider announces is
(used + requested - limit) / (limit / window), which is what OpenAI's messages say.
"""

from __future__ import annotations

from typing import NamedTuple

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


class Bucket:
    """`limit` units per `window_ns`; at most `burst_ns` worth of them at once.

    A burst shorter than the window is a provider that enforces a limit per minute in
    slices (Azure 1 s or 10 s, xAI 1 s): its headers still speak of the whole minute.
    """

    __slots__ = ("_at", "_level", "burst_ns", "limit", "window_ns")

    def __init__(
        self, limit: int, window_ns: int, now: int, burst_ns: int | None = None
    ) -> None:
        self.limit = limit
        self.window_ns = window_ns
        self.burst_ns = window_ns if burst_ns is None else min(burst_ns, window_ns)
        self._level = limit * self.burst_ns
        self._at = now

    def _refill(self, now: int) -> int:
        if now > self._at:
            full = self.limit * self.burst_ns
            self._level = min(full, self._level + (now - self._at) * self.limit)
            self._at = now
        return self._level

    def capacity(self) -> int:
        """The largest amount that can ever be taken at once, in units."""
        return self.limit * self.burst_ns // self.window_ns

    def holds(self, amount: int, now: int) -> bool:
        """Whether `amount` units could be taken now."""
        return self._refill(now) >= amount * self.window_ns

    def charge(self, amount: int, now: int) -> None:
        """Take `amount` units (negative: give back); the level may become a debt."""
        level = self._refill(now) - amount * self.window_ns
        self._level = min(level, self.limit * self.burst_ns)

    def wait_ns(self, amount: int, now: int) -> int:
        """Nanoseconds until `amount` units can be taken, rounded up; 0 = now."""
        missing = amount * self.window_ns - self._refill(now)
        if missing <= 0:
            return 0
        return -(-missing // self.limit) if self.limit else self.window_ns

    def remaining(self, now: int) -> int:
        """Units of the window that are left, rounded down, never negative."""
        used = self.limit * self.burst_ns - self._refill(now)
        return max(0, (self.limit * self.window_ns - used) // self.window_ns)

    def full_ns(self, now: int) -> int:
        """Nanoseconds until the bucket is full again."""
        missing = self.limit * self.burst_ns - self._refill(now)
        return missing // self.limit if self.limit else 0

    def relimit(self, limit: int, now: int) -> None:
        """Change the limit; what was there stays, cut to the new capacity.

        A bucket that was full stays full, so that the end of a throttle does not
        leave an idle provider with less than its quota.
        """
        full = self._refill(now) >= self.limit * self.burst_ns
        self.limit = limit
        cap = limit * self.burst_ns
        self._level = cap if full else min(cap, self._level)


class Refusal(NamedTuple):
    """Why a request was not admitted."""

    kind: str  # requests | requests_day | tokens | output | concurrency
    limit: int
    used: int
    requested: int
    wait_ns: int  # 0 when waiting does not help
    hopeless: bool  # the request alone is larger than the limit


class Limiter:
    """All limits of one account: admitted as one, or not at all.

    `requests` and `tokens` are per minute, `requests_day` per day; `output` counts
    produced tokens and may go into debt: a request is admitted while it is positive.
    """

    def __init__(
        self,
        *,
        rpm: int | None,
        tpm: int | None,
        otpm: int | None,
        rpd: int | None,
        burst: float,
        now: int,
    ) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._burst_ns = round(burst * SECOND)
        self._base = {"requests": rpm, "tokens": tpm}
        self._throttled: tuple[int | None, int | None] = (None, None)
        for kind, limit in (("requests", rpm), ("tokens", tpm), ("output", otpm)):
            if limit is not None:
                self.buckets[kind] = Bucket(limit, MINUTE, now, self._burst_ns)
        if rpd is not None:
            self.buckets["requests_day"] = Bucket(rpd, DAY, now)

    def throttle(self, rpm: int | None, tpm: int | None, now: int) -> None:
        """Replace the limits per minute; None restores the account's own."""
        if (rpm, tpm) == self._throttled:
            return
        self._throttled = (rpm, tpm)
        for kind, forced in (("requests", rpm), ("tokens", tpm)):
            limit = self._base[kind] if forced is None else forced
            bucket = self.buckets.get(kind)
            if limit is None:
                self.buckets.pop(kind, None)
            elif bucket is None:
                self.buckets[kind] = Bucket(limit, MINUTE, now, self._burst_ns)
            else:
                bucket.relimit(limit, now)

    def admit(self, tokens: int, now: int) -> Refusal | None:
        """Take one request and `tokens` tokens, or say which limit forbids it."""
        for kind, bucket in self.buckets.items():
            amount = tokens if kind == "tokens" else 1
            if not bucket.holds(amount, now):
                return Refusal(
                    kind,
                    bucket.limit,
                    bucket.limit - bucket.remaining(now),
                    amount,
                    bucket.wait_ns(amount, now),
                    amount > bucket.capacity(),
                )
        for kind, bucket in self.buckets.items():
            if kind != "output":
                bucket.charge(tokens if kind == "tokens" else 1, now)
        return None

    def settle(self, tokens: int, output: int, now: int) -> None:
        """Charge what became known later: `tokens` more tokens, `output` produced."""
        if tokens and "tokens" in self.buckets:
            self.buckets["tokens"].charge(tokens, now)
        if output and "output" in self.buckets:
            self.buckets["output"].charge(output, now)

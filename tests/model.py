"""What the core promises, written down as naively as possible.

Every class keeps whole histories or exact fractions and computes its answers anew from
the definition; nothing here is fast, and nothing is shared with the C code but the
definitions.  Times are integer nanoseconds, money is integer nano-USD.

What the core rounds is part of its promise and is repeated here: one unit of a limit is
rounded up to 1/4096 ns, waits are rounded up to 1 ns, debts end 2**62 ns after the
origin of the clock (146 years), and shares of the breaker are compared as 32-bit
floats (so that 80 % of 20 calls are 16).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from fractions import Fraction

SECOND = 1_000_000_000
FOREVER = 2**63 - 1


def float32(x: float) -> float:
    """The nearest 32-bit float."""
    return struct.unpack("f", struct.pack("f", x))[0]


@dataclass
class SplitMix64:
    """Steele, Lea and Flood 2014: the generator of the core, as published."""

    state: int = 0

    def unit(self) -> float:
        """Uniform in [0, 1), of 53 bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        x = self.state
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return ((x ^ (x >> 31)) >> 11) * 2.0**-53


@dataclass(frozen=True)
class Reading:
    """What the headers of one response say of one limit; None: not said."""

    limit: int | None = None
    remaining: int | None = None
    reset: int | None = None
    window: int | None = None


class Bucket:
    """A token bucket: so many units free, refilled evenly up to the burst."""

    def __init__(self, limit: int, window: int, burst: int = 0) -> None:
        self.ceiling = limit
        self.charged = 0
        self.synced: int | None = None
        self.now = 0
        self._tune(limit, window, burst)
        self.level = Fraction(self.burst)

    def _tune(self, limit: int, window: int, burst: int = 0) -> None:
        self.limit, self.window, self.burst = limit, window, burst or limit
        self.unit = Fraction(math.ceil(Fraction(window * 4096, limit)), 4096)

    def _refill(self, now: int) -> None:
        self.level += (now - self.now) / self.unit
        self.level = min(self.level, Fraction(self.burst))
        self.now = now

    def _set(self, level: Fraction) -> None:
        most = (2**62 - self.now) / self.unit
        self.level = max(min(level, Fraction(self.burst)), self.burst - most)

    def wait(self, units: int, share: float, now: int) -> int:
        """Nanoseconds until `units` fit into that share of the burst."""
        self._refill(now)
        room = self.burst if share >= 1 else math.ceil(self.burst * share)
        if units == 0:
            return 0
        if units > self.burst:
            return FOREVER
        room = max(room, units)
        lack = units - (self.level - (self.burst - room))
        return max(0, math.ceil(lack * self.unit))

    def charge(self, units: int, now: int) -> None:
        """Spend, whatever is free, or give back."""
        self._refill(now)
        self.charged += units
        self._set(self.level - units)

    def free(self, now: int) -> int:
        """Whole units free."""
        self._refill(now)
        return max(0, math.floor(self.level))

    def used(self, now: int) -> Fraction:
        """Spent share of the burst, above 1 in debt."""
        self._refill(now)
        return 1 - self.level / self.burst

    def resize(self, limit: int, window: int, burst: int, now: int) -> None:
        """Another limit; what is spent stays spent, rounded up to 1/4096 ns."""
        self._refill(now)
        self._respend(limit, window, burst)
        self.ceiling = limit

    def _respend(self, limit: int, window: int, burst: int) -> None:
        spent = self.burst - self.level
        self._tune(limit, window, burst)
        spent = Fraction(math.ceil(spent * self.unit * 4096), 4096) / self.unit
        self._set(self.burst - spent)

    def block(self, wait: int, now: int) -> None:
        """Nothing for `wait`, one unit then."""
        self._refill(now)
        self._set(min(self.level, 1 - wait / self.unit))

    def sync(self, h: Reading, serial: int, mark: int, sent: int, now: int) -> bool:
        """Move the level into the range that a header leaves possible."""
        self._refill(now)
        if self.synced is not None and serial <= self.synced:
            return False
        before = (self.limit, self.window, self.burst, self.unit, self.level)
        limit = h.limit or self.limit
        learned = min(limit, self.ceiling)
        if learned != self.limit:
            burst = int(float(self.burst) * learned / self.limit + 0.5)
            self._respend(learned, self.window, max(burst, 1))
        read = self._read(h, limit)
        if read is None:
            self.limit, self.window, self.burst, self.unit, self.level = before
            return False
        self.synced = serial
        since = self.charged - mark
        passed = (now - sent) / self.unit
        if since >= 0:
            low = max(read + since - passed, Fraction(0))
            high = max(read - passed, Fraction(0)) + since
        else:
            low = high = max(max(read - passed, Fraction(0)) + since, Fraction(0))
        spent = self.burst - self.level
        if spent < low:
            spent = low
        elif spent > high and limit <= self.limit:
            spent = high
        self._set(self.burst - spent)
        return True

    def _read(self, h: Reading, limit: int) -> Fraction | None:
        """Units of ours that were spent when the header was written."""
        window = float(self.window)
        if h.window is not None and not 0.9 * window <= h.window <= 1.1 * window:
            return None
        if h.remaining is not None and h.remaining >= limit:
            return None
        consistent = False
        if h.remaining is not None and h.reset is not None:
            whole = float(limit - h.remaining) * window / limit
            consistent = 0.5 * whole - 1e6 <= h.reset <= 1.1 * whole + 1e6
        if not consistent and h.window is None:
            return None
        if limit > self.limit:
            if h.remaining is None:
                return None
            return Fraction(max(self.burst - h.remaining, 0))
        if h.reset is not None and (consistent or h.remaining is None):
            return h.reset / self.unit
        return None if h.remaining is None else Fraction(limit - h.remaining)


# What an outcome does: failures in a row, (ok, failed, slow) in the window, trips at
# once, and what it says of a probe.
OUTCOMES = {
    "done": ("reset", (1, 0, 0), False, "passes"),
    "slow": ("reset", (1, 0, 1), False, "passes"),
    "failed": ("grow", (0, 1, 0), False, "fails"),
    "broken": ("grow", (0, 1, 0), False, "fails"),
    "timed_out": ("grow", (0, 1, 1), False, "fails"),
    "rate_limited": ("keep", (0, 0, 0), False, "fails"),
    "quota": ("keep", (0, 0, 0), True, "fails"),
    "auth": ("keep", (0, 0, 0), True, "fails"),
    "missing": ("keep", (0, 0, 0), True, "fails"),
    "rejected": ("reset", (0, 0, 0), False, "nothing"),
    "cancelled": ("keep", (0, 0, 0), False, "nothing"),
}


@dataclass(frozen=True)
class Rules:
    """Thresholds of a breaker; times in ns."""

    in_a_row: int = 5
    timeouts_in_a_row: int = 0
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    probe_share: float = 0.1
    probes_to_close: int = 3
    window: int = 30 * SECOND
    cooldown: int = 5 * SECOND
    cooldown_max: int = 60 * SECOND
    ramp: int = 30 * SECOND


@dataclass
class Breaker:
    """Closed, open, half-open, ramp; every result since the last change is kept."""

    rules: Rules
    rng: SplitMix64
    state: str = "closed"
    order: str = "auto"
    generation: int = 0
    since: int = 0
    until: int = 0
    trips: int = 0
    total_trips: int = 0
    log: list[tuple[int, str]] = field(default_factory=list)
    probed: int = 0
    wanted: int = 0
    credit_used: int = 0
    probing: int = 0
    probes_ok: int = 0
    reason: str = "done"  # what tripped it last

    def _become(self, state: str, since: int, until: int) -> None:
        self.state, self.since, self.until, self.probed = state, since, until, since
        self.generation += 1
        self.log = []
        self.wanted = self.credit_used = self.probing = self.probes_ok = 0

    def at(self, now: int) -> str:
        """The state, after what time alone has changed."""
        if self.order != "auto":
            return "open" if self.order == "forced_open" else "closed"
        if self.state == "open" and now >= self.until:
            self._become("half_open", self.until, 0)
        elif self.state == "ramp" and now >= self.until:
            self.state, self.since = "closed", self.until
        elif (
            self.state == "half_open"
            and self.probing
            and now - self.probed >= self.rules.cooldown_max
        ):
            self.credit_used -= self.probing
            self.probing = 0
        return self.state

    def wait(self, now: int) -> int:
        """Nanoseconds until a request may enter; counts one that wants to."""
        state = self.at(now)
        if state == "open":
            return FOREVER if self.order == "forced_open" else self.until - now
        if state != "half_open":
            return 0
        if self.reason == "timed_out" and self.probing and not self.probes_ok:
            return max(0, self.probed + self.rules.cooldown - now)
        self.wanted += 1
        if self.credit_used <= self._part(self.rules.probe_share, self.wanted):
            return 0
        return max(0, self.probed + self.rules.cooldown - now)

    def enter(self, now: int) -> int:
        """The generation of a request that goes."""
        if self.at(now) == "half_open":
            self.credit_used += 1
            self.probing += 1
            self.probed = now
        return self.generation

    def leave(self, generation: int, outcome: str, retry_after: int, now: int) -> None:
        """A request came back."""
        state = self.at(now)
        _, counts, at_once, verdict = OUTCOMES[outcome]
        if generation != self.generation or (self.order == "auto" and state == "open"):
            return
        if state == "half_open":
            trips = verdict == "fails"
            self._judge(verdict, now)
        else:
            self.log.append((now, outcome))
            bad = at_once or (any(counts[1:]) and self._too_many(now))
            trips = bad and self.order == "auto"
        if trips:
            self._trip(outcome, retry_after, now)

    def _judge(self, verdict: str, now: int) -> None:
        known = self.probing > 0
        self.probing -= known
        if verdict == "nothing":
            self.credit_used -= known
        elif verdict == "passes":
            self.probes_ok += 1
            if self.probes_ok >= self.rules.probes_to_close:
                self._become("ramp", now, now + self.rules.ramp)

    def consecutive(self) -> int:
        """Failures since the last sign of life."""
        run = 0
        for _, outcome in self.log:
            effect = OUTCOMES[outcome][0]
            run = 0 if effect == "reset" else run + (effect == "grow")
        return run

    def counts(self, now: int) -> tuple[int, int, int]:
        """Calls, failures and slow ones in the ten newest tenths of the window."""
        width = self.rules.window // 10
        recent = [
            OUTCOMES[outcome][1]
            for then, outcome in self.log
            if now // width - then // width < 10
        ]
        ok, failed, slow = (sum(row[i] for row in recent) for i in range(3))
        return ok + failed, failed, slow

    @staticmethod
    def _part(share: float, n: int) -> float:
        return float32(float32(share) * float32(n))

    def _too_many(self, now: int) -> bool:
        rules = self.rules
        late = rules.timeouts_in_a_row if self.log[-1][1] == "timed_out" else 0
        row = late or rules.in_a_row
        if row and self.consecutive() >= row:
            return True
        calls, failed, slow = self.counts(now)
        if calls >= rules.min_calls and failed >= self._part(rules.failure_rate, calls):
            return True
        many = calls >= 2 * rules.min_calls
        return many and slow >= self._part(rules.slow_rate, calls)

    def _trip(self, outcome: str, retry_after: int, now: int) -> None:
        rules = self.rules
        if self.state == "closed" and now - self.since >= rules.window:
            self.trips = 0
        cooldown = min(rules.cooldown * 2**self.trips, rules.cooldown_max)
        opened = int(cooldown * (0.9 + 0.2 * self.rng.unit()))
        most = rules.cooldown_max
        if OUTCOMES[outcome][2]:
            opened, most = max(opened, 300 * SECOND), 3600 * SECOND
        opened = max(opened, min(retry_after, most))
        self.trips += 1
        self.total_trips += 1
        self.reason = outcome
        self._become("open", now, now + opened)

    def share(self, now: int) -> Fraction:
        """Share of the normal weight: below 1 only in the ramp."""
        if self.state != "ramp" or now >= self.until:
            return Fraction(1)
        return max(Fraction(1, 10), Fraction(now - self.since, self.rules.ramp))

    def obey(self, order: str, now: int) -> None:
        """Forced open, forced closed, or auto again: starts closed and empty."""
        self._become("closed", now, 0)
        self.order = order
        self.trips = 0
        self.reason = "done"


@dataclass
class Budget:
    """Money in a window; every cost is kept with the time it was booked."""

    kind: str
    cap: int
    period: int
    ends: int
    born: int
    hard: bool = True
    costs: list[tuple[int, int]] = field(default_factory=list)
    live: list[int] = field(default_factory=list)

    def _window(self, t: int) -> int:
        """Which window (fixed) or slot (rolling) a time lies in."""
        if self.kind == "total":
            return 0
        if self.kind == "fixed":
            return (t - self.ends) // self.period
        return (t - self.born) // (self.period // 32)

    def spent(self, now: int) -> int:
        """Booked in the current window."""
        kept = 32 if self.kind == "rolling" else 1
        return sum(
            cost
            for then, cost in self.costs
            if self._window(now) - self._window(then) < kept
        )

    def free(self, now: int) -> int:
        """What may still be promised."""
        if not self.hard:
            return FOREVER
        return max(0, self.cap - self.spent(now) - sum(self.live))

    def reserve(self, nano: int) -> None:
        """Promise."""
        self.live.append(nano)

    def settle(self, reserved: int, spent: int, now: int) -> None:
        """A promise became a cost."""
        self.live.remove(reserved)
        self.costs.append((now, spent))

    def wait(self, nano: int, now: int) -> int:
        """Until it fits, tried at the end of every window or slot to come."""
        if nano <= self.free(now):
            return 0
        if self.kind == "total" or nano > self.cap:
            return FOREVER
        booked = [] if self.kind == "fixed" else [(now, cost) for cost in self.live]
        later = Budget(
            self.kind, self.cap, self.period, self.ends, self.born, True, booked
        )
        later.costs += self.costs
        if self.kind == "fixed":
            later.live = list(self.live)
        step = self.period if self.kind == "fixed" else self.period // 32
        start = self.ends if self.kind == "fixed" else self.born
        for ahead in range(1, 34):
            then = start + (self._window(now) + ahead) * step
            if nano <= later.free(then):
                return then - now
            if self.kind == "fixed":  # the live calls are booked in that window
                later.costs += [(then, cost) for cost in later.live]
                later.live = []
        raise AssertionError("an empty window has room for everything below the cap")


@dataclass
class Histogram:
    """All samples by bucket of ratio 1.14, each weighing 1.002 times the one before."""

    weights: dict[int, float] = field(default_factory=dict)
    unit: float = 1.0

    def add(self, seconds: float) -> None:
        """One sample, clamped to the 104 buckets from 1 ms."""
        bucket = 0
        if seconds > 0:
            bucket = math.ceil(math.log(seconds * 1e3) / math.log(1.14)) - 1
        bucket = min(max(bucket, 0), 103)
        self.weights[bucket] = self.weights.get(bucket, 0.0) + self.unit
        self.unit *= 1.002

    def quantile(self, p: float) -> float:
        """The middle of the bucket in which the p-quantile lies; 0 when empty."""
        below, total = 0.0, sum(self.weights.values())
        for bucket in sorted(self.weights):
            below += self.weights[bucket]
            if below >= p * total:
                return 1e-3 * 1.14 ** (bucket + 0.5)
        return 1e-3 * 1.14 ** (max(self.weights) + 0.5) if self.weights else 0.0

"""A router written from its definition: lists of objects, no reservations but sums.

    quote    may this backend serve the call, at what price, how fast, how full
    allowed  whom the rule may choose among those (a set where chance decides)
    take     what a chosen call holds;  give_back  what stays of it

Limits, breakers and budgets are the naive ones of model.py; times are integer
nanoseconds, money is integer nano-USD.  Where the core throws dice (a cooldown, a
choice among equals) the model says what is possible and is then told what happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from model import FOREVER, SECOND, Breaker, Bucket, Budget, float32

REFUSED = {"rate_limited", "quota", "auth", "missing", "rejected"}
FAILED = {"failed", "broken", "timed_out"}
SHIFT, STOP, HORIZON, PACE_MEMORY = 0.8, 0.95, 10.0, 10.0
COST_BAND, LATENCY_BAND, COMPOSITE_BAND = 1.01, 1.2, 1.1


@dataclass
class Limit:
    """A bucket and what it counts."""

    bucket: Bucket
    unit: str
    charge: str
    pace: float = 0.0
    paced: int = 0
    working: int = 100  # % of it
    changed: int = 0
    whole: int = 0  # the limit as configured
    rent: float = 0.0  # nano-USD a unit

    def __post_init__(self) -> None:
        """Nothing refused it yet."""
        self.whole = self.bucket.limit

    def work_with(self, working: int, now: int) -> None:
        """Let so much of it come back in a window; its burst stays what it is."""
        bucket = self.bucket
        limit = max(self.whole * working // 100, 1)
        bucket.resize(limit, bucket.window, bucket.burst, now)
        self.working, self.changed = working, now

    def recover(self, now: int) -> None:
        """An answer brings back 5 % for every window since the last change."""
        windows = (now - self.changed) // self.bucket.window
        if self.working < 100 and windows > 0:
            at = self.changed + windows * self.bucket.window
            self.work_with(min(self.working + 5 * windows, 100), now)
            self.changed = at

    def units(self, load: Load) -> int:
        """What a call weighs here."""
        output = load.most if self.charge == "max" else load.output
        if self.unit == "requests":
            return 1
        if self.unit == "input_tokens":
            return load.input
        if self.unit == "output_tokens":
            return output
        if self.charge == "chars4":
            return -(-load.chars // 4) + 2 * load.messages
        return load.input + output

    def expected(self, tokens: int, output: int) -> int:
        """The same, as expected, by whatever it charges."""
        if self.unit == "requests":
            return 1
        if self.unit == "input_tokens":
            return tokens
        return output if self.unit == "output_tokens" else tokens + output

    def begin(self, saves: int, units: int, now: int) -> None:
        """A call that saves so much here takes of it: is it scarce by now?"""
        if not self.rent and units and saves > 0 and self.used(now, False) > 0.501:
            self.rent = 0.3 * saves / units

    def pace_at(self, now: int) -> float:
        """Units a second of late."""
        age = max(now - self.paced, 0) / SECOND
        return self.pace * PACE_MEMORY / (PACE_MEMORY + age)

    def spend(self, units: int, now: int) -> None:
        """Charge, or give back below 0."""
        if units > 0:
            refills = max(now - self.paced, 0) / (self.bucket.unit * self.bucket.burst)
            step = min(0.3 * float(refills), 0.5)
            self.rent *= 1 + step * (self.used(now, False) - 0.5)
            self.pace = self.pace_at(now) + units / PACE_MEMORY
            self.paced = now
        self.bucket.charge(units, now)

    def used(self, now: int, forecast: bool) -> float:
        """Spent share of the burst that is worked with, now or at the horizon."""
        used = float(self.bucket.used(now)) * 100 / self.working
        if not forecast:
            return used
        burst = self.bucket.burst * self.working / 100
        seconds = float(self.bucket.unit) * burst / SECOND
        coming = self.pace_at(now) * HORIZON / burst
        return max(used, used + coming - HORIZON / seconds)


@dataclass
class Load:
    """A call's tokens: estimated, then settled."""

    input: int
    output: int
    most: int
    chars: int
    messages: int


class Latency:
    """ttft is a line in the input; all fades to what others show."""

    def __init__(self) -> None:
        self.samples = 0
        self.learned = 0
        self.x = self.y = self.xx = self.xy = 0.0
        self.base = self.slope = self.itl = self.seconds = self.trend = 0.0
        self.load = self.nn = self.nk = 0.0
        self.live: list[Held] = []
        self.over: list[tuple[int, int]] = []  # from when until when calls took

    def _trust(self, now: int) -> float:
        rest = 1 - (now - self.learned) / (600 * SECOND)
        return max(rest, 0.0) if self.samples else 0.0

    def ttft(self, prior: Prior, tokens: int, now: int) -> float:
        """Seconds to the first token."""
        own = self.base + self.slope * tokens / 1000
        return max(prior.ttft + (own - prior.ttft) * self._trust(now), 1e-3)

    def _learn_load(
        self,
        prior: Prior,
        tokens: int,
        output: int,
        total: float,
        load: float,
        w: float,
    ) -> None:
        longer = slower = 0.0
        if self.samples:
            ttft = max(self.base + self.slope * tokens / 1000, 1e-3)
            usual = ttft + max(output - 1, 0) * (self.itl or prior.itl)
            longer = min(total / usual - 1, 3.0)
            slower = longer - self.steep() * (load - self.load)
        else:
            self.load = load
        dn = load - self.load
        self.nn += 0.02 * (dn * dn - self.nn)
        self.nk += 0.02 * (dn * longer - self.nk)
        self.load += w * dn
        self.trend += w * (slower - self.trend)

    def steep(self) -> float:
        """How much longer everything takes for each call more, as a share."""
        ridge = 0.01 * self.load**2
        steep = (self.nk + ridge / self.load) / (self.nn + ridge)
        return min(max(steep, min(0.01, 1 / self.load)), 1 / self.load)

    def mean_load(self, since: int, now: int) -> float:
        """Calls in flight between two times, on average."""
        spells = [*self.over, *((call.started, now) for call in self.live)]
        area = sum(max(min(end, now) - max(start, since), 0) for start, end in spells)
        return max(area / (now - since), 1.0) if now > since else 1.0

    def expect(self, prior: Prior, tokens: int, output: int, now: int) -> float:
        """Seconds of a call that would start now."""
        seconds = self.ttft(prior, tokens, now) + output * self._itl(prior, now)
        calls = len(self.live)
        own = 1.0
        if self.samples:
            own += self.steep() * (calls + 1 - self.load)
        crowd = calls + 1
        seconds *= crowd + (own - crowd) * self._trust(now)
        if calls == 0:
            return seconds
        excess = max(self._excess(prior, tokens, now), 0.0)
        return seconds + excess * (calls + 1) / calls

    def _itl(self, prior: Prior, now: int) -> float:
        trust = self._trust(now) if self.itl else 0.0
        return prior.itl + (self.itl - prior.itl) * trust

    def _excess(self, prior: Prior, tokens: int, now: int) -> float:
        ttft, itl = self.ttft(prior, tokens, now), self._itl(prior, now)
        calls = len(self.live)
        ages = sum(now - call.started for call in self.live) / SECOND
        ahead = sum(call.ahead for call in self.live)
        typical = max(calls * ttft + ahead * itl, calls * self.seconds)
        return ages - 2.5 * typical

    def slowing(self, now: int) -> float:
        """The share by which answers take longer of late."""
        return max(self.trend, 0.0) * self._trust(now)

    def stalls(self, prior: Prior, tokens: int, now: int) -> bool:
        """Whether three calls or more are overdue."""
        return len(self.live) >= 3 and self._excess(prior, tokens, now) > 0

    def learn(
        self,
        prior: Prior,
        tokens: int,
        output: int,
        ttft: float,
        total: float,
        load: float,
        now: int,
    ) -> None:
        """A complete answer."""
        if ttft <= 0:
            body = max(output - 1, 0) * prior.itl
            ttft = total * prior.ttft / (prior.ttft + body)
        w = max(1 / (self.samples + 1), 1 - 0.9 * self._trust(now))
        self._learn_load(prior, tokens, output, total, load, w)
        dx, dy = tokens / 1000 - self.x, ttft - self.y
        self.xx = (1 - w) * (self.xx + w * dx * dx)
        self.xy = (1 - w) * (self.xy + w * dx * dy)
        self.x += w * dx
        self.y += w * dy
        ridge = 0.01 * (1 + self.x**2)
        self.slope = self.xy / (self.xx + ridge) if self.xy > 0 else 0.0
        self.base = self.y - self.slope * self.x
        if output > 1 and total > ttft:
            itl = (total - ttft) / (output - 1)
            self.itl = self.itl + w * (itl - self.itl) if self.itl else itl
        self.seconds += w * (total - self.seconds)
        self.samples += 1
        self.learned = now


@dataclass
class Prior:
    """What is assumed of a backend nobody called yet."""

    ttft: float = 0.5
    itl: float = 0.02
    answers: int = 0


@dataclass
class Server:
    """A backend."""

    price_in: int  # nano-USD a token
    price_out: int
    breaker: Breaker
    weight: float = 1.0
    order: int = 0
    max_calls: int = 0
    limits: list[Limit] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    latency: Latency = field(default_factory=Latency)
    ratio: float | None = None  # billed / estimated by its own bills
    bills: float = 1.0  # the same as it is believed, see Router.believed
    fail: float = 0.0
    refusals: int = 0
    not_before: int = 0
    usual: Prior | None = None  # from history

    def cost(self, tokens: int, output: int) -> int:
        """Nano-USD of a call."""
        return tokens * self.price_in + output * self.price_out


@dataclass
class Group:
    """Who serves a model."""

    members: list[int]
    budgets: list[Budget] = field(default_factory=list)
    prior: Prior = field(default_factory=Prior)
    cursor: int = 0
    smooth: dict[int, float] = field(default_factory=dict)
    outputs: dict[int, tuple[float, int]] = field(default_factory=dict)


@dataclass
class Wish:
    """A call, as measured."""

    group: int
    tokens: int
    chars: int
    messages: int
    max_tokens: int
    strategy: str
    max_cost: int | None = None
    tried: list[int] = field(default_factory=list)


@dataclass
class Quote:
    """What the gates say of one server."""

    reason: str = "eligible"
    wait: int = 0
    cost: int = 0
    seconds: float = 0.0
    used: float = 0.0
    weight: float = 1.0
    ease: float = 1.0
    hold: int = 0
    stalls: bool = False
    rent: float = 0.0


@dataclass
class Held:
    """What a live call holds."""

    server: int
    group: int
    load: Load
    estimate: int
    size: int
    expected: int
    ahead: int
    started: int
    hold: int
    budgets: list[Budget]
    generation: int
    seconds: float  # expected


class Router:
    """All of it."""

    def __init__(self, servers: list[Server], groups: list[Group]) -> None:
        self.servers = servers
        self.groups = groups
        self.budgets: list[Budget] = []
        self.ratio = 1.0  # billed / estimated over all servers

    def set_weight(self, i: int, weight: float) -> None:
        """Another share; what was owed by the old ones is forgotten."""
        if weight != self.servers[i].weight:
            for group in self.groups:
                if i in group.members:
                    group.smooth.clear()
        self.servers[i].weight = weight

    def bill(self, server: Server, estimate: int, billed: int) -> None:
        """A prompt was billed."""
        own = server.ratio if self.has_bills(server) else self.ratio
        server.ratio = calibrated(own, estimate, billed)
        self.ratio += 0.1 * (server.ratio - self.ratio)

    @staticmethod
    def has_bills(server: Server) -> bool:
        """Whether it has a ratio of its own; exactly 1 counts as none."""
        return server.ratio is not None and float32(server.ratio) != 1

    def believed(self, server: Server) -> set[float]:
        """What is expected of the next bill: the own ratio, if it is clearly apart."""
        if not self.has_bills(server):
            return {self.ratio}
        apart = abs(server.ratio - self.ratio) / self.ratio
        if abs(apart - 0.05) < 1e-4:
            return {self.ratio, server.ratio}
        return {server.ratio if apart > 0.05 else self.ratio}

    # -- gates ---------------------------------------------------------------

    @staticmethod
    def size(tokens: int) -> int:
        """The input-size class."""
        return min(max(tokens, 1).bit_length() - 1, 23)

    def load(self, wish: Wish, server: Server) -> Load:
        """What the call would reserve here."""
        _, high = self.groups[wish.group].outputs.get(self.size(wish.tokens), (0, 1024))
        cap = wish.max_tokens or 2**62
        output = min(high, cap)
        most = wish.max_tokens or output
        tokens = int(wish.tokens * server.bills)
        return Load(tokens, output, most, wish.chars, wish.messages)

    def expected(self, wish: Wish) -> int:
        """Output tokens, on average."""
        outputs = self.groups[wish.group].outputs
        mean, _ = outputs.get(self.size(wish.tokens), (255, 0))
        return min(int(mean) + 1, wish.max_tokens or 2**62)

    def quote(self, wish: Wish, i: int, now: int) -> Quote:
        """All gates of one server; a half-open breaker counts the question."""
        server, group = self.servers[i], self.groups[wish.group]
        if i in wish.tried:
            return Quote("tried")
        if server.weight == 0:
            return Quote("drained")
        q, load, output = Quote(), self.load(wish, server), self.expected(wish)
        forecast = wish.strategy == "predictive"
        q.cost = server.cost(load.input, output)
        prior = server.usual or group.prior
        q.seconds = server.latency.expect(prior, load.input, output, now)
        q.stalls = server.latency.stalls(prior, load.input, now)
        if forecast:
            q.seconds *= 1 + server.latency.slowing(now)
        if wish.max_cost is not None and (
            server.cost(load.input, load.most) > wish.max_cost
        ):
            q.reason = "max_cost"
            return q
        q.weight = server.weight
        shut = list(self._timed_gates(wish, server, load, q, forecast, now))
        state = server.breaker.at(now)
        if not shut or state == "open":
            wait = server.breaker.wait(now)
            if wait:
                shut.append(("breaker", wait))
            if server.breaker.state == "ramp":
                q.ease = float32(float(server.breaker.share(now)))
                q.weight = float32(q.weight * q.ease)
        if shut:
            q.reason, q.wait = shut[0][0], max(wait for _, wait in shut)
        return q

    def _timed_gates(
        self, wish: Wish, server: Server, load: Load, q: Quote, forecast: bool, now: int
    ) -> list[tuple[str, int]]:
        shut = []
        if server.max_calls:
            calls = len(server.latency.live)
            q.used = calls / server.max_calls
            if calls >= server.max_calls:
                shut.append(("concurrency", 1))
        waits = [max(server.not_before - now, 0)]
        for limit in server.limits:
            share = limit.working / 100
            waits.append(limit.bucket.wait(limit.units(load), share, now))
            used = limit.used(now, forecast)
            q.used = max(q.used, used)
            q.rent += (
                limit.expected(load.input, self.expected(wish)) * limit.rent * used
            )
        if max(waits):
            shut.append(("burst" if max(waits) == FOREVER else "rate", max(waits)))
        budgets = self._over(wish.group, server)
        if budgets:
            q.hold = server.cost(load.input + load.input // 4 + 16, load.most)
            waits = [self._budget_wait(b, q.hold, now) for b in budgets]
            if max(waits):
                shut.append(("budget", max(waits)))
        return shut

    @staticmethod
    def _budget_wait(budget: Budget, hold: int, now: int) -> int:
        if hold <= budget.free(now):
            return 0
        promised = hold <= budget.cap - budget.spent(now)
        return 1 if promised else budget.wait(hold, now)

    def _over(self, group: int, server: Server) -> list[Budget]:
        """Every budget such a call is under, each once."""
        found: list[Budget] = []
        for b in [*self.budgets, *self.groups[group].budgets, *server.budgets]:
            if not any(b is other for other in found):
                found.append(b)
        return found

    def quotes(self, wish: Wish, now: int) -> dict[int, Quote]:
        """Of all members; only the lowest order among the eligible stays."""
        members = self.groups[wish.group].members
        quotes = {i: self.quote(wish, i, now) for i in members}
        if wish.strategy not in ("latency", "p2c"):
            free = [q for q in quotes.values() if q.reason == "eligible"]
            stalled = [q for q in free if q.stalls]
            for q in stalled if len(stalled) < len(free) else []:
                q.reason = "stalled"
        orders = [
            self.servers[i].order for i, q in quotes.items() if q.reason == "eligible"
        ]
        for i, q in quotes.items():
            if q.reason == "eligible" and self.servers[i].order > min(orders):
                q.reason = "order"
        return quotes

    # -- rules ---------------------------------------------------------------

    def allowed(self, wish: Wish, quotes: dict[int, Quote], slack: float) -> set[int]:
        """Whom the rule may choose; bands and ties are wider by `slack`."""
        open_ = {i: q for i, q in quotes.items() if q.reason == "eligible"}
        if not open_:
            return set()
        rule = wish.strategy
        if rule == "round_robin":
            return self._in_turn(wish, open_)
        if rule == "weighted":
            return self._smooth(wish, open_, slack)
        seconds = {i: q.seconds for i, q in open_.items()}
        if rule == "least_busy":
            calls = {i: self._calls(i) / q.weight for i, q in open_.items()}
            return best(calls, 1 + slack)
        if rule == "latency":
            return best(seconds, LATENCY_BAND + slack)
        if rule == "p2c":
            return {i for i in seconds if self._wins_a_pair(i, seconds, slack)}
        if rule == "cost":
            figures, band = {i: float(q.cost) for i, q in open_.items()}, COST_BAND
        else:
            figures, band = {i: crowded(q) for i, q in open_.items()}, COMPOSITE_BAND
        surely = best(figures, band - slack)
        fastest = min(seconds[i] for i in surely)
        cheap = best(figures, band + slack)
        return {i for i in cheap if seconds[i] <= fastest * (LATENCY_BAND + slack)}

    def _calls(self, i: int) -> int:
        return len(self.servers[i].latency.live)

    def _in_turn(self, wish: Wish, open_: dict[int, Quote]) -> set[int]:
        """The next one; those in a slow start on the way there may be passed over."""
        group = self.groups[wish.group]
        n = len(group.members)
        start = group.cursor if group.cursor < n else 0
        turn = [group.members[(start + k) % n] for k in range(n)]
        found: set[int] = set()
        for i in turn:
            if i in open_:
                found.add(i)
                if open_[i].ease >= 1:
                    break
        return found

    def _smooth(self, wish: Wish, open_: dict[int, Quote], slack: float) -> set[int]:
        after = self._turns(wish, open_)
        most = max(after.values())
        return {i for i in after if after[i] >= most - slack}

    def _turns(self, wish: Wish, open_: dict[int, Quote]) -> dict[int, float]:
        """What each is owed: its weight, and at most a round from before."""
        smooth = self.groups[wish.group].smooth
        total = sum(q.weight for q in open_.values())
        return {
            i: min(max(smooth.get(i, 0.0), -total), total) + q.weight
            for i, q in open_.items()
        }

    @staticmethod
    def _wins_a_pair(i: int, seconds: dict[int, float], slack: float) -> bool:
        others = [s for j, s in seconds.items() if j != i]
        return not others or seconds[i] <= max(others) * (LATENCY_BAND + slack)

    # -- reservations --------------------------------------------------------

    def take(self, wish: Wish, quotes: dict[int, Quote], i: int, now: int) -> Held:
        """The core chose `i`: move what the rule moves, hold what the call needs."""
        group, server, q = self.groups[wish.group], self.servers[i], quotes[i]
        if wish.strategy == "round_robin":
            group.cursor = group.members.index(i) + 1
        if wish.strategy == "weighted":
            open_ = {j: o for j, o in quotes.items() if o.reason == "eligible"}
            group.smooth |= self._turns(wish, open_)
            group.smooth[i] -= sum(o.weight for o in open_.values())
        load, expected = self.load(wish, server), self.expected(wish)
        saves = self._saves(quotes, i)
        for limit in server.limits:
            if wish.strategy in ("composite", "predictive"):
                limit.begin(saves, limit.expected(load.input, expected), now)
            limit.spend(limit.units(load), now)
        budgets = self._over(wish.group, server)
        for budget in budgets:
            budget.reserve(q.hold)
        held = Held(
            server=i,
            group=wish.group,
            load=load,
            estimate=wish.tokens,
            size=self.size(wish.tokens),
            expected=expected,
            ahead=expected,
            started=now,
            hold=q.hold,
            budgets=budgets,
            generation=server.breaker.enter(now),
            seconds=q.seconds,
        )
        server.latency.live.append(held)
        return held

    @staticmethod
    def _saves(quotes: dict[int, Quote], i: int) -> int:
        """Nano-USD against the next cheapest; 0 without one."""
        others = [
            q.cost for j, q in quotes.items() if j != i and q.reason == "eligible"
        ]
        return min(others) - quotes[i].cost if others else 0

    def give_back(self, held: Held, result: Result, now: int) -> int:
        """Settle; returns the nano-USD billed."""
        server = self.servers[held.server]
        for limit in server.limits:
            stays = self._stays(limit, held, result)
            limit.spend(stays - limit.units(held.load), now)
        cost = server.cost(result.input, result.output) if result.sent else 0
        for budget in held.budgets:
            budget.settle(held.hold, cost, now)
        server.latency.live = [c for c in server.latency.live if c is not held]
        server.latency.over.append((held.started, now))
        server.breaker.leave(held.generation, result.outcome, result.retry_after, now)
        self._back_off(server, held, result, now)
        if result.outcome == "done":
            self._learn(server, held, result, now)
        elif result.outcome == "cancelled" and result.sent and result.seconds > 0:
            self._learn_bound(server, held, result, now)
        if result.outcome in FAILED:
            server.fail += 0.05 * (1 - server.fail)
        elif result.outcome == "done":
            server.fail -= 0.05 * server.fail
        return cost

    @staticmethod
    def _stays(limit: Limit, held: Held, result: Result) -> int:
        if not result.sent:
            return 0
        if (
            limit.unit != "requests"
            and result.outcome in REFUSED
            and not result.metered
        ):
            return 0
        tokens = result.input if result.metered else held.load.input
        load = Load(
            tokens, result.output, result.output, held.load.chars, held.load.messages
        )
        return limit.units(load)

    @staticmethod
    def _back_off(server: Server, held: Held, result: Result, now: int) -> None:
        """A 429 without a time pauses for about a second, doubling; told is told."""
        if result.outcome == "done":
            server.refusals = 0
            for limit in server.limits:
                limit.recover(now)
            return
        wait = result.retry_after
        if result.outcome == "rate_limited":
            wait = wait or SECOND << min(server.refusals, 6)
            server.refusals += 1
            if server.refusals % 3 == 0:
                Router._throttle(server, held, now)
        if wait:
            server.not_before = max(server.not_before, now + wait)

    @staticmethod
    def _throttle(server: Server, held: Held, now: int) -> None:
        """Halve the limits of the shortest window that should have had room."""
        shortest = min((x.bucket.window for x in server.limits), default=0)
        for limit in server.limits:
            knew = limit.working < 100 and held.started < limit.changed
            spent = limit.bucket.burst - limit.bucket.free(now)
            full = 125 * spent > limit.bucket.burst * limit.working
            if limit.bucket.window == shortest and not knew and not full:
                limit.work_with(max(limit.working // 2, 10), now)

    def _learn(self, server: Server, held: Held, result: Result, now: int) -> None:
        group = self.groups[held.group]
        tokens, output = result.input, result.output
        if not result.metered and output == 0:
            tokens, output = max(tokens, held.load.input), held.expected
        if result.seconds > 0:
            latency, prior = server.latency, group.prior
            load = latency.mean_load(held.started, now)
            latency.learn(prior, tokens, output, result.ttft, result.seconds, load, now)
            prior.answers += 1
            w = max(0.02, 1 / prior.answers)
            ttft = latency.ttft(prior, tokens, now)
            itl = latency.itl or prior.itl
            prior.ttft += w * (max(ttft, 1e-6) - prior.ttft)
            prior.itl += w * (max(itl, 1e-7) - prior.itl)

    def _learn_bound(
        self, server: Server, held: Held, result: Result, now: int
    ) -> None:
        """Another attempt was faster: at least so long, if that is news."""
        latency, prior = server.latency, self.groups[held.group].prior
        total, itl = result.seconds, latency.itl or prior.itl
        if result.ttft > 0:
            total = result.ttft + itl * held.expected
        if total > 1.1 * held.seconds:
            tokens, output = held.load.input, held.expected
            load = latency.mean_load(held.started, now)
            latency.learn(prior, tokens, output, result.ttft, total, load, now)


@dataclass
class Result:
    """How a call ended."""

    outcome: str
    sent: bool = True
    metered: bool = False
    input: int = 0
    output: int = 0
    ttft: float = 0.0
    seconds: float = 0.0
    retry_after: int = 0


def best(figures: dict[int, float], band: float) -> set[int]:
    """All within `band` times the least; the least itself always."""
    least = min(figures.values())
    return {i for i, f in figures.items() if f <= least * band or f == least}


def crowded(q: Quote) -> float:
    """A cost that rises from SHIFT on, to the double at STOP."""
    over = max(q.used - SHIFT, 0.0) / (STOP - SHIFT)
    return (q.cost + q.rent + 1) * (1 + over * over)


def calibrated(ratio: float, estimate: int, billed: int) -> float:
    """The ratio of billed to estimated tokens, a tenth nearer to this bill."""
    if estimate <= 0 or billed <= 0:
        return ratio
    return min(max(ratio * (billed / (estimate * ratio)) ** 0.1, 0.25), 4.0)


def next_mean(mean: float, output: int) -> float:
    """The average answer, a twentieth nearer to this one."""
    tokens = max(output, 1)
    return mean + 0.05 * (tokens - mean) if mean > 0 else float(tokens)


def as_seconds(ns: int) -> float:
    """What the binding makes of a wait."""
    return math.inf if ns == FOREVER else ns / SECOND

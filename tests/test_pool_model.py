"""Random operations on the C pool and a naive router: equal admission, equal state.

Choices that involve chance are checked against the set of allowed ones; what the core
diced (a cooldown's jitter, a back-off) is checked against its range and then adopted.
"""

from __future__ import annotations

import math
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from model import SECOND, Breaker, Bucket, Budget, Rules, SplitMix64, float32
from pool_model import (
    Group,
    Held,
    Limit,
    Prior,
    Quote,
    Result,
    Router,
    Server,
    Wish,
    as_seconds,
    next_mean,
)

from llmbalance._core import (
    CHARGES,
    OUTCOMES,
    STRATEGIES,
    UNITS,
    Lease,
    Pool,
    PriceRow,
    measure,
)

START = 1000 * SECOND
ORDERS = ("auto", "forced_open", "forced_closed")
SLACK = 2e-3  # the core keeps averages as 32-bit floats
EXAMPLES = int(os.environ.get("LLMBALANCE_EXAMPLES", "60"))

# price in and out in nano-USD a token, order, most calls at once
SERVERS = [
    (2500, 10000, 0, 0),
    (2600, 10400, 0, 6),
    (500, 1500, 0, 3),
    (2500, 10000, 1, 0),
]
# server, what it counts, how it is charged, units a window, seconds of the window
LIMITS = [
    (0, "requests", "actual", 12, 60),
    (0, "tokens", "chars4", 9000, 60),
    (1, "tokens", "max", 40_000, 60),
    (1, "output_tokens", "actual", 3000, 10),
    (2, "input_tokens", "actual", 30_000, 3600),
    (3, "requests", "actual", 40, 1),
]
SHARED = (3, 1)  # server 3 is under the limit of index 1 as well
TEXTS = ["word " * n for n in (1, 40, 300, 2000)]

outcomes = st.sampled_from(
    [o for o in OUTCOMES if o != "slow"] + ["done"] * 6 + ["failed"] * 4
)
waits = st.sampled_from(
    [0, 1, 10**6, 10**8, SECOND, 7 * SECOND, 61 * SECOND, 400 * SECOND]
)


class PoolMachine(RuleBasedStateMachine):
    """One pool and its model, side by side."""

    @initialize(seed=st.integers(0, 2**32), tight=st.booleans())
    def make(self, seed: int, tight: bool) -> None:
        self.now = START
        self.live: list[tuple[Lease, Held]] = []
        self.wishes: dict[int, Wish] = {}
        self.pool = Pool(4, 8, 3, 2, 8, 0, seed)
        servers = []
        for price_in, price_out, order, calls in SERVERS:
            row = PriceRow({"input": price_in * 1000, "output": price_out * 1000})
            self.pool.add_backend(
                row, order=order, max_calls=calls, id=len(servers) + 1
            )
            servers.append(
                Server(
                    price_in,
                    price_out,
                    Breaker(Rules(), SplitMix64(0)),
                    order=order,
                    max_calls=calls,
                )
            )
        groups = [Group([0, 1, 2, 3]), Group([1, 0])]
        self.model = Router(servers, groups)
        self._limits()
        self._budgets(4_000_000 if tight else 60_000_000)

    def _limits(self) -> None:
        self.limits: list[Limit] = []
        for server, unit, charge, limit, window in LIMITS:
            self.pool.add_limit(
                server, UNITS.index(unit), CHARGES.index(charge), limit, window
            )
            made = Limit(Bucket(limit, window * SECOND), unit, charge)
            self.limits.append(made)
            self.model.servers[server].limits.append(made)
        self.pool.share_limit(*SHARED)
        self.model.servers[SHARED[0]].limits.append(self.limits[SHARED[1]])

    def _budgets(self, cap: int) -> None:
        now = self.now / SECOND
        self.budgets = [
            Budget("total", 40 * cap, 0, 0, START),
            Budget("fixed", cap, 60 * SECOND, START + 30 * SECOND, START),
            Budget("rolling", 2 * cap, 320 * SECOND, 0, START),
        ]
        self.pool.add_budget(0, 40 * cap, True, 0, 0, now)
        self.pool.add_budget(1, cap, True, 60, 30, now)
        self.pool.add_budget(2, 2 * cap, True, 320, 0, now)
        self.pool.charge("all", 0, 0)
        self.pool.charge("backend", 0, 1)
        self.pool.charge("backend", 3, 2)
        for members in ([0, 1, 2, 3], [1, 0]):
            self.pool.add_group(members, STRATEGIES.index("cost"))
        self.pool.charge("group", 1, 1)  # server 0 meets this one twice
        self.model.budgets = [self.budgets[0]]
        self.model.servers[0].budgets = [self.budgets[1]]
        self.model.servers[3].budgets = [self.budgets[2]]
        self.model.groups[1].budgets = [self.budgets[1]]

    # -- operations ----------------------------------------------------------

    @rule(
        group=st.integers(0, 1),
        text=st.sampled_from(TEXTS),
        max_tokens=st.sampled_from([None, 1, 60, 900]),
        strategy=st.sampled_from(STRATEGIES),
        max_cost=st.sampled_from([None, None, None, 900_000]),
    )
    def pick(
        self,
        group: int,
        text: str,
        max_tokens: int | None,
        strategy: str,
        max_cost: int | None,
    ) -> None:
        tokens = measure(text)
        wish = Wish(group, tokens, len(text), 0, max_tokens or 0, strategy, max_cost)
        lease = self.pool.pick(
            group,
            text,
            max_tokens,
            strategy=STRATEGIES.index(strategy),
            max_cost=max_cost,
            now=self.now / SECOND,
        )
        self._check_choice(wish, lease)

    @rule(at=st.integers(0, 99), group=st.sampled_from([None, 0, 1]))
    def pick_again(self, at: int, group: int | None) -> None:
        if not self.live:
            return
        lease, held = self.live[at % len(self.live)]
        before = self.wishes[id(held)]
        wish = Wish(**vars(before))
        wish.tried = [*before.tried, held.server]
        wish.group = before.group if group is None else group
        self._check_choice(wish, lease.again(group, now=self.now / SECOND))

    @rule(
        at=st.integers(0, 99),
        outcome=outcomes,
        sent=st.sampled_from([True, True, True, False]),
        metered=st.booleans(),
        tokens=st.tuples(st.integers(0, 3000), st.integers(0, 1200)),
        times=st.sampled_from([(0, 0), (0, 3.5), (0.25, 1.0), (2.0, 9.0), (0.5, 0.5)]),
        retry_after=st.sampled_from([0, 0, 0, 3 * SECOND, 700 * SECOND]),
    )
    def settle(
        self,
        at: int,
        outcome: str,
        sent: bool,
        metered: bool,
        tokens: tuple[int, int],
        times: tuple[float, float],
        retry_after: int,
    ) -> None:
        if not self.live:
            return
        lease, held = self.live.pop(at % len(self.live))
        result = Result(outcome, sent, metered, *tokens, *times, retry_after)
        cost = lease.settle(
            OUTCOMES.index(outcome),
            (tokens[0], 0, 0, 0, 0, 0, tokens[1]),
            *times,
            sent,
            metered,
            retry_after=retry_after / SECOND,
            now=self.now / SECOND,
        )
        assert lease.settle(0, now=self.now / SECOND) == 0  # once is once
        assert cost == self.model.give_back(held, result, self.now)
        self._adopt(held, result)

    @rule(group=st.integers(0, 1), times=st.integers(3, 12))
    def providers_refuse(self, group: int, times: int) -> None:
        """So often in a row that limits are throttled."""
        for _ in range(times):
            self.pick(group, TEXTS[0], 1, "round_robin", None)
            last = len(self.live) - 1
            refusal = (True, False, (0, 0), (0, 0), SECOND // 10)
            self.settle(last, "rate_limited", *refusal)
            self.now += SECOND // 5

    @rule(at=st.integers(0, 99))
    def drop(self, at: int) -> None:
        if not self.live:
            return
        lease, held = self.live.pop(at % len(self.live))
        tokens = lease.input_tokens
        # Who drops a lease tells no time: the newest that the pool was told counts.
        self.pool.pick(0, "", max_cost=0, now=self.now / SECOND)
        del lease
        result = Result("cancelled", input=tokens)
        self.model.give_back(held, result, self.now)
        self._adopt(held, result)

    @rule(at=st.integers(0, 99), tokens=st.integers(0, 2000))
    def progress(self, at: int, tokens: int) -> None:
        if self.live:
            lease, held = self.live[at % len(self.live)]
            lease.progress(tokens)
            held.ahead = max(held.expected - tokens, 0)

    @rule(ns=waits)
    def wait(self, ns: int) -> None:
        self.now += ns

    @rule(i=st.integers(0, 3), weight=st.sampled_from([0.0, 0.5, 1.0, 1.0, 3.0]))
    def set_weight(self, i: int, weight: float) -> None:
        self.pool.set_weight(i, weight)
        self.model.set_weight(i, weight)

    @rule(
        i=st.integers(0, 3),
        figures=st.sampled_from([(0.25, 0.5), (3.0, 0.0625), (0.0, 0.0)]),
    )
    def history_speaks(self, i: int, figures: tuple[float, float]) -> None:
        ttft, itl = figures
        self.pool.set_usual(i, ttft, itl)
        usual = Prior(float32(0.002) * (ttft * 500), float32(0.00002) * (itl * 50000))
        self.model.servers[i].usual = usual if ttft else None

    @rule(
        i=st.integers(0, len(LIMITS) - 1),
        amount=st.sampled_from([1, 10, 40, 600, 20_000]),
        seconds=st.sampled_from([1, 60, 3600]),
        burst=st.sampled_from([0, 0, 5]),
    )
    def set_limit(self, i: int, amount: int, seconds: int, burst: int) -> None:
        self.pool.set_limit(i, amount, seconds, burst, self.now / SECOND)
        limit = self.limits[i]
        limit.bucket.resize(amount, seconds * SECOND, burst, self.now)
        limit.working, limit.whole = 100, amount

    @rule(
        i=st.integers(0, 2),
        cap=st.sampled_from([0, 900_000, 4_000_000, 60_000_000]),
        hard=st.sampled_from([True, True, False]),
    )
    def set_budget(self, i: int, cap: int, hard: bool) -> None:
        self.pool.set_budget(i, cap, hard)
        self.budgets[i].cap, self.budgets[i].hard = cap, hard

    @rule(i=st.integers(0, 3), order=st.integers(0, 2))
    def command(self, i: int, order: int) -> None:
        self.pool.order(i, order, self.now / SECOND)
        self.model.servers[i].breaker.obey(ORDERS[order], self.now)

    @rule()
    def explaining_changes_nothing(self) -> None:
        before = [self.pool.backend(i, self.now / SECOND) for i in range(4)]
        self.pool.explain(0, TEXTS[1], now=self.now / SECOND)
        assert before == [self.pool.backend(i, self.now / SECOND) for i in range(4)]

    # -- comparing -----------------------------------------------------------

    def _adopt_ratios(self) -> None:
        for i, server in enumerate(self.model.servers):
            ratio = self.pool.backend(i, self.now / SECOND)["ratio"]
            believed = self.model.believed(server)
            assert any(math.isclose(ratio, r, rel_tol=1e-4) for r in believed)
            server.bills = ratio

    def _check_choice(self, wish: Wish, lease: Lease) -> None:
        self._adopt_ratios()
        quotes = self.model.quotes(wish, self.now)
        record = lease.decision
        members = self.model.groups[wish.group].members
        assert [line["backend"] for line in record["candidates"]] == members
        for line in record["candidates"]:
            q = quotes[line["backend"]]
            assert line["reason"] == q.reason
            if q.seconds:
                assert math.isclose(line["seconds"], q.seconds, rel_tol=SLACK)
                assert math.isclose(line["cost"], q.cost / 1e9, rel_tol=1e-6)
                assert abs(line["used"] - q.used) < SLACK or q.reason == "max_cost"
        allowed = self.model.allowed(wish, quotes, SLACK)
        if not allowed:
            assert lease.backend == -1
            assert not lease.live
            open_again = [as_seconds(q.wait) for q in quotes.values() if q.wait]
            assert record["wait"] == min(open_again, default=math.inf)
            return
        assert lease.backend in allowed
        held = self.model.take(wish, quotes, lease.backend, self.now)
        assert lease.input_tokens == held.load.input
        assert lease.output_tokens == held.load.output
        assert lease.hold == held.hold
        for budget in held.budgets:  # as it stands now, with this call
            committed = budget.spent(self.now) + sum(budget.live)
            assert not budget.hard or committed <= budget.cap
        self.wishes[id(held)] = wish
        self.live.append((lease, held))

    def _adopt(self, held: Held, result: Result) -> None:
        """Check what was diced or learned in floats, and go on from it."""
        server = self.model.servers[held.server]
        view = self.pool.backend(held.server, self.now / SECOND)
        breaker = server.breaker
        if breaker.at(self.now) == "open" and breaker.order == "auto":
            until = self.now + round(view["breaker"]["seconds_left"] * SECOND)
            nominal = min(5 * SECOND * 2 ** (breaker.trips - 1), 60 * SECOND)
            assert abs(until - breaker.until) <= 0.2 * nominal + 1
            breaker.until = until
        paused = round(view["paused"] * SECOND)
        expected = max(server.not_before - self.now, 0)
        assert 0.75 * expected <= paused <= 1.25 * expected
        server.not_before = self.now + paused if paused else server.not_before
        if result.outcome == "done" and result.metered:
            self.model.bill(server, held.estimate, result.input)
            outputs = self.model.groups[held.group].outputs
            mean, high = outputs.get(held.size, (0.0, 0))
            seen = self.pool.output(held.group)[held.size]
            assert math.isclose(seen[0], next_mean(mean, result.output), rel_tol=1e-5)
            if high and result.output < high - 1:
                assert seen[1] <= high
            elif high and result.output > high:
                assert seen[1] >= high
            outputs[held.size] = (float32(seen[0]), int(seen[1]))

    @invariant()
    def states_are_equal(self) -> None:
        if not hasattr(self, "pool"):
            return
        now = self.now / SECOND
        for i, server in enumerate(self.model.servers):
            view = self.pool.backend(i, now)
            assert view["in_flight"] == len(server.latency.live)
            ahead = sum(call.ahead for call in server.latency.live)
            assert view["tokens_in_flight"] == ahead
            assert view["breaker"]["state"] == server.breaker.at(self.now)
            assert math.isclose(view["fail"], server.fail, abs_tol=1e-5)
        for i, limit in enumerate(self.limits):
            view = self.pool.limit(i, now)
            assert view["charged"] == limit.bucket.charged
            assert view["free"] == limit.bucket.free(self.now)
            assert view["working"] == limit.working / 100
        for i, budget in enumerate(self.budgets):
            view = self.pool.budget(i, now)
            assert view["reserved"] == sum(budget.live)
            assert view["spent"] == budget.spent(self.now)

    @invariant()
    def what_is_reserved_belongs_to_live_leases(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.usage()["in_flight"] == len(self.live)
        for budget in self.budgets:
            holds = [
                lease.hold
                for lease, held in self.live
                if any(b is budget for b in held.budgets)
            ]
            assert sorted(holds) == sorted(budget.live)

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        while self.live:
            self.drop(0)
        self.states_are_equal()
        assert all(not budget.live for budget in self.budgets)
        assert self.pool.usage()["in_flight"] == 0


TestPoolAgainstModel = PoolMachine.TestCase
TestPoolAgainstModel.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None
)


def test_the_model_itself_tells_right_from_wrong() -> None:
    servers = [Server(10, 10, Breaker(Rules(), SplitMix64(0))) for _ in range(2)]
    model = Router(servers, [Group([0, 1])])
    wish = Wish(0, 100, 400, 1, 50, "least_busy")
    quotes = model.quotes(wish, START)
    assert model.allowed(wish, quotes, 0) == {0, 1}
    model.take(wish, quotes, 0, START)
    assert model.allowed(wish, model.quotes(wish, START), 0) == {1}
    servers[1].weight = 0
    assert model.allowed(wish, model.quotes(wish, START), 0) == {0}
    assert model.quote(wish, 1, START) == Quote("drained")

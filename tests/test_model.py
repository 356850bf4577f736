"""Random operations on the leaves of the core and on the naive model: equal answers.

The leaves are not Python types of their own, so they are compiled here into a shared
object and called through ctypes.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import subprocess
import sysconfig
from ctypes import c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from fractions import Fraction
from pathlib import Path

import model
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model import FOREVER, SECOND, Breaker, Bucket, Budget, Histogram, Reading, Rules

TOP = Path(__file__).parents[1]
LEAVES = ("rate", "breaker", "budget", "quantile")
MINUTE = 60 * SECOND
STATES = ("closed", "open", "half_open", "ramp")
ORDERS = ("auto", "forced_open", "forced_closed")
OUTCOMES = tuple(model.OUTCOMES)
KINDS = ("total", "fixed", "rolling")

Args = list[type[ctypes._SimpleCData]]
PROTOTYPES: dict[str, tuple[type | None, Args]] = {
    "lb_rate_init": (c_int32, [c_void_p, c_int64, c_int64, c_int64]),
    "lb_rate_resize": (c_int32, [c_void_p, c_int64, c_int64, c_int64, c_int64]),
    "lb_rate_wait": (c_int64, [c_void_p, c_int64, c_double, c_int64]),
    "lb_rate_charge": (None, [c_void_p, c_int64, c_int64]),
    "lb_rate_free": (c_int64, [c_void_p, c_int64]),
    "lb_rate_used": (c_double, [c_void_p, c_int64]),
    "lb_rate_block": (None, [c_void_p, c_int64, c_int64]),
    "door_sync": (
        ctypes.c_bool,
        [c_void_p, *[c_int64] * 4, c_uint32, *[c_int64] * 3],
    ),
    "lb_breaker_check": (c_int32, [c_void_p]),
    "lb_breaker_at": (c_int32, [c_void_p, c_void_p, c_int64]),
    "lb_breaker_wait": (c_int64, [c_void_p, c_void_p, c_int64]),
    "lb_breaker_enter": (c_uint32, [c_void_p, c_void_p, c_int64]),
    "lb_breaker_leave": (
        None,
        [c_void_p, c_void_p, c_uint32, c_int32, c_int64, c_void_p, c_int64],
    ),
    "lb_breaker_share": (c_double, [c_void_p, c_int64]),
    "lb_breaker_order": (None, [c_void_p, c_int32, c_int64]),
    "lb_breaker_window": (None, [c_void_p, c_void_p, c_int64, c_void_p, c_void_p]),
    "lb_budget_init": (
        c_int32,
        [c_void_p, c_int32, ctypes.c_bool, *[c_int64] * 4],
    ),
    "lb_budget_free": (c_int64, [c_void_p, c_int64]),
    "lb_budget_reserve": (None, [c_void_p, c_int64]),
    "lb_budget_settle": (None, [c_void_p, c_int64, c_int64, c_int64]),
    "lb_budget_wait": (c_int64, [c_void_p, c_int64, c_int64]),
    "lb_hist_add": (None, [c_void_p, c_double]),
    "lb_hist_quantile": (c_double, [c_void_p, c_double]),
    "door_rate": (c_void_p, []),
    "door_breaker": (c_void_p, []),
    "door_budget": (c_void_p, []),
    "door_hist": (c_void_p, []),
    "door_rules": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "door_rate_fields": (None, [c_void_p, c_void_p]),
    "door_breaker_fields": (None, [c_void_p, c_void_p]),
    "door_budget_fields": (None, [c_void_p, c_void_p]),
    "free": (None, [c_void_p]),
}


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The leaves as a shared object, every function with its prototype."""
    library = tmp_path_factory.mktemp("model") / "leaves.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
    sources = [TOP / "tests/c/door.c", *(TOP / f"csrc/lb_{x}.c" for x in LEAVES)]
    flags = ["-std=c11", "-O1", "-g", "-shared", "-fPIC", f"-I{TOP / 'csrc'}"]
    subprocess.run([*compiler, *flags, *sources, "-lm", "-o", library], check=True)
    core = ctypes.CDLL(str(library))
    for name, (result, arguments) in PROTOTYPES.items():
        function = getattr(core, name)
        function.restype, function.argtypes = result, arguments
    return core


class Leaf:
    """One C object; its fields are read as a list of numbers."""

    def __init__(self, core: ctypes.CDLL, kind: str, fields: int = 0) -> None:
        self.core, self.kind = core, kind
        self.at = getattr(core, f"door_{kind}")()
        self.out = (c_int64 * fields)()

    def fields(self) -> list[int]:
        getattr(self.core, f"door_{self.kind}_fields")(self.at, self.out)
        return list(self.out)

    def __enter__(self) -> Leaf:
        return self

    def __exit__(self, *_: object) -> None:
        self.core.free(self.at)


# Steps in time: none, tiny, of the order of what is tested, and far beyond it.
STEPS = st.one_of(
    st.just(0),
    st.integers(1, 1000),
    st.integers(0, 3 * SECOND),
    st.integers(0, 2 * MINUTE),
    st.integers(0, 2000 * SECOND),
)


def said(x: int | None) -> int:
    return -1 if x is None else x


def maybe(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | numbers


@settings(max_examples=150)
@given(data=st.data())
def test_a_rate_is_a_token_bucket(core: ctypes.CDLL, data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, 200) | st.integers(1, 4_000_000), "limit")
    window = data.draw(st.sampled_from([SECOND, MINUTE, 86400 * SECOND]), "window")
    burst = data.draw(st.integers(0, 2 * limit), "burst")
    bucket, now, serial = Bucket(limit, window, burst), 0, 0
    with Leaf(core, "rate", 4) as rate:
        assert core.lb_rate_init(rate.at, limit, window, burst) == 0
        for _ in range(data.draw(st.integers(1, 30), "steps")):
            now += data.draw(STEPS, "step")
            units = data.draw(st.integers(0, 2 * bucket.burst), "units")
            share = data.draw(st.sampled_from([1.0, 0.95, 0.5, 0.01]), "share")
            wait = bucket.wait(units, share, now)
            assert core.lb_rate_wait(rate.at, units, share, now) == wait
            kind = data.draw(
                st.sampled_from(["acquire", "debit", "refund", "block", "resize"])
                | st.just("sync"),
                "kind",
            )
            if (kind == "acquire" and wait == 0) or kind == "debit":
                core.lb_rate_charge(rate.at, units, now)
                bucket.charge(units, now)
            elif kind == "refund":
                core.lb_rate_charge(rate.at, -units, now)
                bucket.charge(-units, now)
            elif kind == "block":
                core.lb_rate_block(rate.at, units, now)
                bucket.block(units, now)
            elif kind == "resize":
                limit = data.draw(st.integers(1, 100_000), "limit")
                assert core.lb_rate_resize(rate.at, limit, window, 0, now) == 0
                bucket.resize(limit, window, 0, now)
            elif kind == "sync":
                serial += 1
                h, mark, sent = draw_reading(data, bucket, now)
                assert core.door_sync(
                    rate.at,
                    said(h.limit),
                    said(h.remaining),
                    said(h.reset),
                    said(h.window),
                    serial,
                    mark,
                    sent,
                    now,
                ) == bucket.sync(h, serial, mark, sent, now)
            assert core.lb_rate_free(rate.at, now) == bucket.free(now)
            used = float(bucket.used(now))
            assert core.lb_rate_used(rate.at, now) == pytest.approx(used, rel=1e-9)
            assert rate.fields() == [
                bucket.limit,
                bucket.burst,
                bucket.ceiling,
                bucket.charged,
            ]


def draw_reading(
    data: st.DataObject, bucket: Bucket, now: int
) -> tuple[Reading, int, int]:
    """A header that may be right, stale, of another window or nonsense."""
    limit = data.draw(
        st.just(bucket.limit) | maybe(st.integers(1, 2 * bucket.ceiling)), "their limit"
    )
    whole = limit or bucket.limit
    remaining = data.draw(maybe(st.integers(0, whole)), "remaining")
    window = data.draw(
        st.none() | st.sampled_from([bucket.window, 3600 * SECOND]), "named window"
    )
    reset = data.draw(maybe(st.integers(0, 2 * bucket.window)), "reset")
    if remaining is not None and data.draw(st.booleans(), "consistent"):
        reset = (whole - remaining) * bucket.window // whole
    since = data.draw(st.integers(-bucket.burst, bucket.burst), "since")
    sent = now - data.draw(st.integers(0, min(now, MINUTE)), "age")
    return Reading(limit, remaining, reset, window), bucket.charged - since, sent


@settings(max_examples=150)
@given(data=st.data())
def test_a_breaker_judges_as_its_log_does(
    core: ctypes.CDLL, data: st.DataObject
) -> None:
    cooldown = data.draw(st.integers(1, 20 * SECOND), "cooldown")
    share = st.sampled_from([0.1, 0.2, 0.5, 0.8, 1.0])
    rules = Rules(
        in_a_row=data.draw(st.integers(0, 6), "in a row"),
        timeouts_in_a_row=data.draw(st.integers(0, 3), "timeouts in a row"),
        min_calls=data.draw(st.integers(1, 12), "calls"),
        failure_rate=data.draw(share, "failure rate"),
        slow_rate=data.draw(share, "slow rate"),
        probe_share=data.draw(share | st.just(0.0), "probe share"),
        probes_to_close=data.draw(st.integers(1, 4), "probes"),
        window=data.draw(st.integers(10, 60 * SECOND), "window"),
        cooldown=cooldown,
        cooldown_max=cooldown * data.draw(st.integers(1, 64), "max"),
        ramp=data.draw(st.integers(0, 30 * SECOND), "ramp"),
    )
    counts = (c_int32 * 4)(
        rules.in_a_row, rules.min_calls, rules.probes_to_close, rules.timeouts_in_a_row
    )
    shares = (c_float * 3)(rules.failure_rate, rules.slow_rate, rules.probe_share)
    times = (c_int64 * 4)(rules.window, rules.cooldown, rules.cooldown_max, rules.ramp)
    c_rules = core.door_rules(counts, shares, times)
    seed = data.draw(st.integers(0, 2**64 - 1), "seed")
    c_rng, breaker = c_uint64(seed), Breaker(rules, model.SplitMix64(seed))
    flying: list[int] = []
    now = 0
    # Mostly failures or mostly successes, so that runs are long enough to matter.
    usual = data.draw(st.sampled_from(["failed", "done", "timed_out", "slow"]), "usual")
    with Leaf(core, "breaker", 11) as b:
        assert core.lb_breaker_check(c_rules) == 0
        for _ in range(data.draw(st.integers(1, 60), "steps")):
            now += data.draw(STEPS, "step")
            kind = data.draw(st.sampled_from("wweellllllo"), "kind")
            if kind == "w":
                wait = core.lb_breaker_wait(b.at, c_rules, now)
                assert wait == breaker.wait(now)
            elif kind == "e" or not flying:
                generation = core.lb_breaker_enter(b.at, c_rules, now)
                assert generation == breaker.enter(now)
                flying.append(generation)
            elif kind == "l":
                generation = flying.pop(
                    data.draw(st.integers(0, len(flying) - 1), "which")
                )
                outcome = data.draw(
                    st.just(usual) | st.sampled_from(OUTCOMES), "outcome"
                )
                after = data.draw(st.just(0) | st.integers(0, 5000 * SECOND), "after")
                core.lb_breaker_leave(
                    b.at,
                    c_rules,
                    generation,
                    OUTCOMES.index(outcome),
                    after,
                    ctypes.addressof(c_rng),
                    now,
                )
                breaker.leave(generation, outcome, after, now)
            elif data.draw(st.integers(0, 5), "rarely") == 0:
                order = data.draw(st.sampled_from(ORDERS), "order")
                core.lb_breaker_order(b.at, ORDERS.index(order), now)
                breaker.obey(order, now)
            state = STATES[core.lb_breaker_at(b.at, c_rules, now)]
            assert state == breaker.at(now)
            calls, failed = c_int32(), c_int32()
            core.lb_breaker_window(
                b.at, c_rules, now, ctypes.byref(calls), ctypes.byref(failed)
            )
            assert (calls.value, failed.value) == breaker.counts(now)[:2]
            weight = core.lb_breaker_share(b.at, now)
            assert weight == pytest.approx(float(breaker.share(now)), rel=1e-9)
            assert b.fields() == [
                STATES.index(breaker.state),
                breaker.generation,
                breaker.since,
                breaker.until,
                breaker.trips,
                breaker.total_trips,
                breaker.probed,
                breaker.wanted,
                breaker.credit_used,
                breaker.probing,
                breaker.probes_ok,
            ]
    core.free(c_rules)


@settings(max_examples=150)
@given(data=st.data())
def test_a_budget_adds_up_its_receipts(core: ctypes.CDLL, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS), "kind")
    hard = data.draw(st.booleans(), "hard")
    cap = data.draw(st.integers(0, 10_000), "cap")
    period = data.draw(st.integers(32, MINUTE), "period")
    now = data.draw(st.integers(0, MINUTE), "now")
    ends = now + data.draw(st.integers(1, period), "ends")
    naive = Budget(kind, cap, period, ends, now, hard)
    with Leaf(core, "budget", 4) as b:
        status = core.lb_budget_init(
            b.at, KINDS.index(kind), hard, cap, period, ends, now
        )
        assert status == 0
        for _ in range(data.draw(st.integers(1, 40), "steps")):
            now += data.draw(STEPS, "step")
            nano = data.draw(st.integers(0, 12_000), "nano")
            free = naive.free(now)
            assert core.lb_budget_free(b.at, now) == free
            assert core.lb_budget_wait(b.at, nano, now) == naive.wait(nano, now)
            if nano <= free and data.draw(st.booleans(), "reserve"):
                core.lb_budget_reserve(b.at, nano)
                naive.reserve(nano)
            elif naive.live:
                promise = data.draw(st.sampled_from(naive.live), "which")
                core.lb_budget_settle(b.at, promise, nano, now)
                naive.settle(promise, nano, now)
            core.lb_budget_wait(b.at, FOREVER, now)  # lets a soft one roll as well
            lifetime = sum(cost for _, cost in naive.costs)
            fields = b.fields()
            assert [fields[0], *fields[2:]] == [cap, sum(naive.live), lifetime]
            if hard:
                assert fields[1] == naive.spent(now)


@settings(max_examples=100)
@given(
    st.lists(st.floats(0, 2000) | st.floats(0.01, 30), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.8, 0.95, 0.99]),
)
def test_a_histogram_keeps_what_it_was_told(
    core: ctypes.CDLL, samples: list[float], p: float
) -> None:
    naive = Histogram()
    with Leaf(core, "hist") as h:
        assert core.lb_hist_quantile(h.at, p) == 0 == naive.quantile(p)
        for seconds in samples:
            core.lb_hist_add(h.at, seconds)
            naive.add(seconds)
        # The weights of the core are 32-bit floats: a tie may fall to either side.
        nearly = {naive.quantile(p * (1 + tilt)) for tilt in (-1e-4, 0, 1e-4)}
        got = core.lb_hist_quantile(h.at, p)
        assert any(got == pytest.approx(want, rel=1e-6) for want in nearly)


def test_the_model_itself_agrees_with_an_exact_trace(recorded: Path) -> None:
    """90 units a minute, capacity 20: a unit is no whole number of nanoseconds."""
    rows = json.loads((recorded / "oracles.json").read_text())["gcra_trace"]["rows"]
    bucket = Bucket(90, MINUTE, 20)
    bucket.unit = Fraction(MINUTE, 90)  # exact, without the core's rounding
    for ms, action, units, admitted in rows:
        now = ms * 1_000_000
        if action == "acquire":
            assert (bucket.wait(units, 1.0, now) == 0) == admitted
        if action != "acquire" or admitted:
            bucket.charge(-units if action == "refund" else units, now)


def test_a_rate_follows_an_exact_trace_to_the_nanosecond(
    core: ctypes.CDLL, recorded: Path
) -> None:
    rows = json.loads((recorded / "oracles.json").read_text())["gcra_trace"]["rows"]
    assert len(rows) == 400
    with Leaf(core, "rate", 4) as rate:
        core.lb_rate_init(rate.at, 90, MINUTE, 20)
        for ms, action, units, admitted in rows:
            now = ms * 1_000_000
            if action == "acquire":
                # Rounded up, a unit may come back one nanosecond after the instant.
                assert (core.lb_rate_wait(rate.at, units, 1.0, now) <= 1) == admitted
            if action != "acquire" or admitted:
                charge = -units if action == "refund" else units
                core.lb_rate_charge(rate.at, charge, now)


def test_the_period_of_recorded_headers_is_told(
    core: ctypes.CDLL, recorded: Path
) -> None:
    cases = json.loads((recorded / "oracles.json").read_text())["openai_header_period"]
    core.lb_reading_window.argtypes = [c_void_p]
    core.lb_reading_window.restype = c_int64
    for case in cases["cases"]:
        reset = round(case["reset_s"] * SECOND)
        reading = (c_int64 * 4)(case["limit"], case["remaining"], reset, -1)
        told = core.lb_reading_window(ctypes.addressof(reading))
        # Below 20 ms a header's milliseconds are too coarse to tell.
        assert told == (0 if reset < 20_000_000 else case["period"] * SECOND)

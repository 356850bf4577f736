"""The simulated world against queueing theory, and against itself."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from llmbalance._core import Pool, PriceRow, Simulation

NS = 1_000_000_000


def poisson(rate: float, requests: int, seed: int = 1) -> array[int]:
    draw, now, times = random.Random(seed), 0.0, array("q")
    for _ in range(requests):
        now += draw.expovariate(rate)
        times.append(int(now * NS))
    return times


def world(
    at: array[int], backends: int = 1, output: int = 1, **options: object
) -> Simulation:
    """A fleet of equal, free, unlimited backends under one rule."""
    pool = Pool(backends, backends, 1, 1, backends, 0, 7)
    for i in range(backends):
        pool.add_backend(PriceRow({"input": 0, "output": 0}), id=i + 1)
    pool.add_group(list(range(backends)), 0)
    ones = array("i", [1]) * len(at)
    outputs = array("i", [output]) * len(at)
    options = {"timeout": 1e8, "seed": 3} | options
    return Simulation(pool, [[0]], at, ones, outputs, **options)  # type: ignore[arg-type]


def erlang_c(servers: int, load: float) -> float:
    """Probability to wait in M/M/c (Erlang 1917), by the recursion of Erlang B."""
    b = 1.0
    for k in range(1, servers + 1):
        b = load * b / (k + load * b)
    return b / (1 - load / servers * (1 - b))


@pytest.mark.parametrize(
    ("servers", "load", "published"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (2, 1.8, 0.852632), (10, 8, 0.409180)],
)
def test_a_station_with_slots_waits_as_long_as_erlang_says(
    servers: int, load: float, published: float
) -> None:
    assert erlang_c(servers, load) == pytest.approx(published, abs=1e-6)
    simulation = world(poisson(load, 400_000))
    simulation.service(0, ttft=1.0, slots=servers, exponential=True)
    simulation.run(10**9)
    expected = 1 + published / (servers - load)  # service and waiting, 1/mu = 1 s
    assert simulation.quantile("seconds", -1) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("exponential", [True, False])
def test_a_shared_machine_is_slow_by_its_load_whatever_the_lengths(
    exponential: bool,
) -> None:
    """M/G/1 under processor sharing: E[T] = E[S] / (1 - rho), insensitive to G."""
    rho, tokens = 0.7, 100
    simulation = world(poisson(rho, 300_000), output=tokens + 1)
    simulation.service(0, token_crowd=1 / tokens, exponential=exponential)
    simulation.run(10**9)
    assert simulation.quantile("seconds", -1) == pytest.approx(1 / (1 - rho), rel=0.03)


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_two_choices_wait_as_long_as_the_supermarket_model_says(load: float) -> None:
    """Mean time sum(load ** (2**i - 2)) (Mitzenmacher 2001), for many servers."""
    servers = 200
    simulation = world(poisson(load * servers, 400_000), servers, rule="p2c_least_busy")
    for i in range(servers):
        simulation.service(i, ttft=1.0, slots=1, exponential=True)
    simulation.run(10**9)
    expected = sum(load ** (2**i - 2) for i in range(1, 20))
    assert simulation.quantile("seconds", -1) == pytest.approx(expected, rel=0.03)


def test_lognormal_draws_have_their_median_and_spread() -> None:
    simulation = world(poisson(100, 100_000))
    simulation.service(0, ttft=0.5, ttft_spread=0.4)
    simulation.run(10**9)
    assert simulation.quantile("ttft", 0.5) == pytest.approx(0.5, rel=0.01)
    p95 = 0.5 * math.exp(0.4 * 1.644854)
    assert simulation.quantile("ttft", 0.95) == pytest.approx(p95, rel=0.02)


def test_a_tail_is_as_heavy_as_it_was_asked_to_be() -> None:
    simulation = world(poisson(100, 100_000))
    simulation.service(0, ttft=0.5, tail_share=0.02, tail_factor=50)
    simulation.run(10**9)
    assert simulation.quantile("ttft", 0.97) == pytest.approx(0.5, rel=0.01)
    assert simulation.quantile("ttft", 0.99) == pytest.approx(25, rel=0.01)
    assert simulation.quantile("ttft", -1) == pytest.approx(0.5 + 0.02 * 24.5, rel=0.05)


def test_failures_come_as_often_as_they_were_asked_for() -> None:
    simulation = world(poisson(100, 50_000), 2, rule="litellm_simple_shuffle")
    for i in range(2):
        simulation.service(i, ttft=0.1, failure=0.1, failure_after=0.01)
    simulation.run(10**9)
    totals = simulation.totals()
    share = totals["attempts_failed"] / totals["attempts"]
    assert share == pytest.approx(0.1, rel=0.05)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    def outcome(seed: int) -> tuple[object, ...]:
        simulation = world(
            poisson(50, 5000), 4, seed=seed, samples=True, mismeasure=0.1
        )
        for i in range(4):
            simulation.service(i, ttft=0.5, ttft_spread=0.5, failure=0.05)
        simulation.run(10**9)
        return simulation.samples(), simulation.totals(), simulation.cells()

    assert outcome(1) == outcome(1)
    assert outcome(1)[0] != outcome(2)[0]


def test_a_run_in_pieces_is_the_run_at_once() -> None:
    def outcome(step: int) -> tuple[object, ...]:
        simulation = world(poisson(50, 5000), 3, samples=True)
        for i in range(3):
            simulation.service(i, ttft=0.5, token_crowd=0.01, slots=20)
        while not simulation.run(step):
            pass
        return simulation.samples(), simulation.totals(), simulation.cells()

    assert outcome(10**9) == outcome(1) == outcome(777)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": array("q", [2, 1])}, "ascend"),
        ({"at": array("q", [-1, 1])}, "ascend"),
        ({"input": array("i", [1])}, "input"),
        ({"input": array("i", [1, 0])}, "input"),
        ({"group": array("H", [0, 1])}, "group"),
        ({"block": array("Q", [1])}, "blocks"),
        ({"block": array("Q", [1]), "blocks": array("Q", [0, 1, 2])}, "blocks"),
        ({"chain": [[1]]}, "chain"),
        ({"chain": []}, "chain"),
        ({"rule": "luck"}, "luck"),
        ({"timeout": 0.0}, "timeout"),
        ({"slices": 0}, "slices"),
    ],
)
def test_a_column_that_makes_no_sense_is_refused(
    change: dict[str, object], message: str
) -> None:
    pool = Pool(1, 1, 0, 1, 1)
    pool.add_backend(PriceRow({"input": 0, "output": 0}))
    pool.add_group([0], 0)
    options: dict[str, object] = {
        "chain": [[0]],
        "at": array("q", [1, 2]),
        "input": array("i", [1, 1]),
        "output": array("i", [1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        Simulation(pool, **(options | change))  # type: ignore[arg-type]


MEMORY = """
import resource
from array import array
from llmbalance import Backend, Price
from llmbalance.simulate import Fleet, Trace, run

def trace(n):
    return Trace(array("q", range(0, n * 10**8, 10**8)), array("i", [9]) * n,
                 array("i", [9]) * n)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

fleet = Fleet([Backend("openai_compatible/m", price=Price(1, 1))])
few, many = trace(50_000), trace(1_000_000)
run(few, fleet)
before = peak()
run(many, fleet)
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_requests() -> None:
    """Twenty times as many take less than a byte more each."""
    top = Path(__file__).parents[1]
    told = subprocess.run(
        [sys.executable, "-c", MEMORY],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(top)},
        timeout=100,
    )
    assert int(told.stdout) < 900 * (1024 if sys.platform == "darwin" else 1)

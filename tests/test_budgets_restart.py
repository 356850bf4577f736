"""Budgets go on after a restart with what their windows had seen, crash or not."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from leases import backend, call

from llmbalance import Backend, Budget, BudgetExceededError, Price, Router
from llmbalance._money._ledger import Entry, Ledger

COST = 1500 * 1000 + 500 * 2000  # nano-USD of one call at 1 and 2 USD per million
PRICE = Price(1, 2)
INTERVAL, TRANSACTION = 0.2, 1.0  # seconds: of the ledger, of one on a busy machine


def router(path: Any, *budgets: Budget) -> Router:
    return Router([backend("a", PRICE)], budgets=budgets, ledger=path, wait=False)


def spent(of: Router) -> list[int]:
    return [of._fleet.pool.spent(meter.index)[0] for meter in of._fleet.meters]


EVERY = [
    Budget(usd=1, per="total"),
    Budget(usd=1, per="month"),
    Budget(usd=1, per="week", rolling=True),
    Budget(usd=1, per="total", backend="a"),
    Budget(usd=1, per="total", group="all"),
    Budget(usd=1, per="total", task="sum"),
    Budget(usd=1, per="total", tag="team=web"),
    Budget(usd=1, per="total", user="ann"),
    Budget(usd=1, per="total", user="bob"),
]


def test_every_kind_of_budget_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    old = router(path, *EVERY)
    for number in range(5):
        call(
            old,
            task="sum" if number < 4 else None,
            tags=["team=web"] if number < 3 else None,
            user="ann" if number < 2 else "bob",
        )
    expected = [n * COST for n in (5, 5, 5, 5, 5, 4, 3, 2, 3)]
    assert spent(old) == expected
    old.close()
    new = router(path, *EVERY)
    assert spent(new) == expected
    call(new, user="ann")
    assert spent(new)[-2] == 3 * COST
    new.close()


def test_a_budget_that_was_used_up_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    budget = Budget(usd=3.2e-9 * COST, per="month")
    old = router(path, budget)
    for _ in range(3):
        call(old)
    old.close()
    with pytest.raises(BudgetExceededError) as caught:
        call(router(path, budget))
    assert caught.value.lifts_at is not None
    assert caught.value.lifts_at > time.time()


def test_only_the_present_window_counts() -> None:
    wall = time.time()
    with Ledger(":memory:") as ledger:
        for days in (0.5 / 86400, 1, 2, 40, 400):
            when = wall - days * 86400
            ledger.record(Entry(when, "c", "all", "a", "m", cost_nano=10))
        of = router(
            ledger,
            Budget(usd=1, per=3 * 86400, rolling=True),
            Budget(usd=1, per=60, rolling=True),
            Budget(usd=1, per=365 * 86400, rolling=True),
            Budget(usd=1, per="total"),
        )
    assert spent(of) == [30, 10, 40, 50]


def test_a_rolling_window_forgets_in_time_what_was_before_the_restart() -> None:
    wall = time.time()
    with Ledger(":memory:") as ledger:
        for minutes in (5, 25, 45):
            when = wall - minutes * 60
            ledger.record(Entry(when, "c", "all", "a", "m", cost_nano=10))
        of = router(ledger, Budget(usd=1, per=3600, rolling=True))
    pool, now = of._fleet.pool, time.monotonic()
    left = [pool.spent(0, now + 60 * m)[0] for m in (0, 12, 20, 32, 40, 52, 60)]
    assert left == [30, 30, 20, 20, 10, 10, 0]


def test_what_was_assumed_of_an_unknown_price_stays_charged(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    own = Backend("vllm/own", name="own", base_url="http://127.0.0.1:9/v1")
    budget = Budget(usd=1, per="total")

    def open_router() -> Router:
        backends = [backend("a", PRICE), own]
        return Router(backends, budgets=[budget], ledger=path)

    old = open_router()
    call(old, "own")
    old.close()
    new = open_router()
    assert spent(new) == [COST]
    new.close()


def test_alerts_are_not_repeated_after_a_restart(tmp_path: Path) -> None:
    told: list[float] = []
    path = tmp_path / "costs.db"
    budget = Budget(
        usd=4e-9 * COST,
        per="month",
        hard=False,
        on_alert=lambda _, share: told.append(share),
    )
    old = router(path, budget)
    call(old)
    call(old)
    old.close()
    assert told == [0.5]
    new = router(path, budget)
    call(new)
    assert told == [0.5]
    call(new)
    assert told == [0.5, 0.8, 1.0]
    new.close()


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[2])
from leases import backend, call
from llmbalance import Budget, Price, Router

router = Router(
    [backend("a", Price(1, 2))],
    budgets=[Budget(usd=100, per="month")],
    ledger=sys.argv[1],
)
start = time.monotonic()
for number in range(1, 10_001):
    call(router)
    if number % 20 == 0:
        sys.stdout.write(f"{number} {time.monotonic()}\\n")
        sys.stdout.flush()
        time.sleep(max(0.0, start + number * 2e-4 - time.monotonic()))
"""


def test_a_killed_process_loses_the_last_interval_at_most(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    command = [sys.executable, "-c", CHILD, str(path), str(Path(__file__).parent)]
    made: list[tuple[int, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            number, when = line.split()
            made.append((int(number), float(when)))
            if made[-1][0] >= 8_000:
                killed = time.monotonic()
                child.send_signal(signal.SIGKILL)
                break
        for line in child.stdout.read().splitlines():
            if line.count(" ") == 1:
                made.append((int(line.split()[0]), float("inf")))
        child.wait(10)
    assert child.returncode == -signal.SIGKILL

    connection = sqlite3.connect(path)
    [[verdict]] = connection.execute("PRAGMA integrity_check")
    [[rows, nano]] = connection.execute("SELECT count(*), sum(cost_nano) FROM attempts")
    connection.close()
    assert verdict == "ok"
    safe = [n for n, when in made if when < killed - INTERVAL - TRANSACTION]
    assert safe, "the child was too fast for this machine to tell anything"
    assert safe[-1] <= rows <= made[-1][0] + 20
    assert nano == rows * COST

    budget = Budget(usd=nano / 1e9 + 2.2e-9 * COST, per="month")
    new = router(path, budget)
    assert spent(new) == [nano]
    call(new)
    call(new)
    with pytest.raises(BudgetExceededError):
        call(new)
    new.close()

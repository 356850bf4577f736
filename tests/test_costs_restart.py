"""What a router learned is known to the next one that opens its ledger."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from leases import backend, call

from llmbalance import Backend, Price, Router
from llmbalance._money._ledger import Ledger


@pytest.fixture
def ledger():
    with Ledger(":memory:", interval=0.01) as ledger:
        yield ledger


async def test_what_was_learned_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    backends = [backend("a", Price(1, 1)), backend("b", Price(1, 1))]
    async with Router(backends, ledger=path) as old:
        for _ in range(60):
            with old.acquire("a", "Hello " * 200) as lease:
                lease.settle(
                    usage={"prompt_tokens": 330, "completion_tokens": 77},
                    ttft=0.3,
                    seconds=2.0,
                )
        before = old._fleet.pool.learned("backend", 0)
        expected = old.explain("a", "Hello " * 200)["candidates"][0]
    new = Router(backends, ledger=path)
    after = new._fleet.pool.learned("backend", 0)
    assert after.pop("age") == pytest.approx(before.pop("age"), abs=5)
    assert after == pytest.approx(before)
    assert before["ratio"] != 1
    known = new.explain("a", "Hello " * 200)["candidates"][0]
    assert known["input_tokens"] == expected["input_tokens"]
    assert known["cost"] == pytest.approx(expected["cost"])
    assert known["seconds"] == pytest.approx(expected["seconds"], rel=0.02)
    assert new._fleet.pool.learned("backend", 1)["samples"] == 0
    new.close()


async def test_another_model_under_an_old_name_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    async with Router([backend("a", Price(1, 1))], ledger=path) as old:
        call(old)
    other = Backend("openai/gpt-4o-mini", name="a", groups=["all"], api_key="k")
    new = Router([other], ledger=path)
    assert new._fleet.pool.learned("backend", 0)["samples"] == 0
    new.close()


def test_a_damaged_lesson_is_told_and_left_out(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    ledger.learn(
        "backend/a", {"at": now, "model": "openai/gpt-4o", "learned": {"x": 1}}
    )
    ledger.learn("group/all", {"at": now, "learned": {"ttft": -1, "itl": 1}})
    ledger.learn("pulse", {"at": "never"})
    ledger.learn("something/else", 7)
    router = Router([backend("a", Price(1, 1))], ledger=ledger)
    assert caplog.text.count("is of no use") == 4
    assert call(router) == "a"


async def test_a_closed_router_leaves_its_ledger_alone(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    async with Router([backend("a", Price(1, 1))], ledger=path) as router:
        call(router)
    path.unlink()
    await router.aclose()
    del router
    assert os.listdir(tmp_path) == []


def test_a_router_that_is_dropped_keeps_its_lessons(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    router = Router([backend("a", Price(1, 1))], ledger=path)
    call(router)
    del router
    kept = sqlite3.connect(path)
    [[lessons]] = kept.execute("SELECT count(*) FROM learned WHERE key = 'backend/a'")
    [[rows]] = kept.execute("SELECT count(*) FROM attempts")
    kept.close()
    assert (lessons, rows) == (1, 1)


FORKS = """
import os, sys
sys.path.insert(0, sys.argv[2])
from leases import backend, call
from llmbalance import Price, Router

router = Router([backend("a", Price(1, 1))], ledger=sys.argv[1])
call(router)
child = os.fork()
for _ in range(3):
    call(router)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_forked_children_write_calls_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "costs.db"
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    subprocess.run(
        [*command, str(path), str(Path(__file__).parent)], check=True, timeout=60
    )
    with Ledger(path) as ledger:
        ids = [entry.call_id for entry in ledger.entries()]
        assert "backend/a" in ledger.learned()
    assert len(ids) == len(set(ids)) == 7

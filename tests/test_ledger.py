"""The ledger: exact sums, crash safety, several threads and processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbalance._errors import ConfigError
from llmbalance._money import _ledger_file
from llmbalance._money._ledger import Entry, Ledger
from llmbalance._types import Usage


def entry(**fields) -> Entry:
    usual = {
        "time": 1000.0,
        "call_id": "c",
        "group": "frontier",
        "backend": "a",
        "model": "m",
        "cost_nano": 1,
    }
    return Entry(**{**usual, **fields})


@pytest.fixture
def ledger():
    with Ledger(":memory:", interval=0.01) as ledger:
        yield ledger


def test_what_was_recorded_is_reported_by_backend_dearest_first(ledger) -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=20, cached_tokens=60)
    ledger.record(entry(backend="a", cost_nano=300, tokens=usage.disjoint()))
    ledger.record(entry(backend="b", cost_nano=600, tokens=usage.disjoint()))
    ledger.record(entry(backend="a", cost_nano=100, status="timeout", last=False))
    b, a = ledger.costs(by="backend")
    assert (a.key, a.calls, a.attempts, a.failed) == ("a", 1, 2, 1)
    assert (a.cost_nano, a.share, a.input_tokens, a.output_tokens) == (
        400,
        0.4,
        100,
        20,
    )
    assert (b.key, b.usd, b.usd_per_call) == ("b", 6e-7, 6e-7)
    assert b.usd_per_1k_tokens == pytest.approx(6e-7 / 120 * 1000)


def test_costs_are_grouped_by_every_column_and_by_tags(ledger) -> None:
    ledger.record(entry(task="sum", tags=("team=ads", "user=1"), cost_nano=2))
    ledger.record(
        entry(task=None, tags=("team=web", "user=1"), cost_nano=3, kind="embed")
    )
    ledger.record(
        entry(task="sum", tags=("Team=x", "teams=y"), cost_nano=5, time=90_000)
    )

    def grouped(by: str, **when) -> dict[str, int]:
        return {row.key: row.cost_nano for row in ledger.costs(by, **when)}

    assert grouped("task") == {"sum": 7, "": 3}
    assert grouped("kind") == {"chat": 7, "embed": 3}
    assert grouped("tag")["user=1"] == 5
    assert grouped("tag:team") == {"ads": 2, "web": 3}
    assert grouped("all") == {"all": 10}
    assert grouped("day") == {"1970-01-01": 5, "1970-01-02": 5}
    assert grouped("group", since=80_000) == {"frontier": 5}
    assert grouped("group", until=80_000) == {"frontier": 5}
    with pytest.raises(ConfigError, match="by = 'colour'"):
        ledger.costs("colour")


def test_unknown_prices_are_counted_not_taken_for_free(ledger) -> None:
    ledger.record(entry(cost_nano=None))
    ledger.record(entry(cost_nano=0))
    [row] = ledger.costs()
    assert (row.cost_nano, row.unpriced, row.attempts) == (0, 1, 2)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.sampled_from("abc"), st.floats(0, 1e6))
    )
)
def test_sums_are_exact_integers(attempts) -> None:
    with Ledger(":memory:") as ledger:
        for nano, backend, when in attempts:
            ledger.record(entry(cost_nano=nano, backend=backend, time=when))
        for start in (0.0, 500_000.0):
            late = [a for a in attempts if a[2] >= start]
            assert ledger.spent(start) == sum(a[0] for a in late)
            assert ledger.spent(start, backend="a") == sum(
                a[0] for a in late if a[1] == "a"
            )


def test_spending_is_narrowed_by_task_and_tag(ledger) -> None:
    ledger.record(entry(task="t", tags=("user=1",), cost_nano=7))
    ledger.record(entry(task="t", cost_nano=1))
    assert ledger.spent(0) == 8
    assert ledger.spent(0, task="t", tag="user=1") == 7
    assert ledger.spent(0, group="other") == 0
    with pytest.raises(ConfigError, match="colour"):
        ledger.spent(0, colour="red")


def test_what_was_learned_survives_a_restart_and_the_newest_wins(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.learn("ratio/a", 1.5)
        ledger.learn("ratio/a", 0.9)
        ledger.learn("output/g", [1, None, {"q": 80}])
    with Ledger(path) as ledger:
        assert ledger.learned() == {"ratio/a": 0.9, "output/g": [1, None, {"q": 80}]}


def test_the_thread_writes_without_being_asked(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, interval=0.01) as ledger:
        for round in (1, 2):  # the second finds the thread asleep again
            ledger.record(entry())
            assert wait_for(lambda n=round: rows(path) == n)


def rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
    finally:
        connection.close()


def wait_for(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


def writers() -> int:
    """How many ledgers of this process have a thread."""
    names = [thread.name for thread in threading.enumerate()]
    return names.count("llmbalance-ledger")


def test_threads_lose_nothing(tmp_path) -> None:
    before = writers()
    with Ledger(tmp_path / "ledger.db", interval=0.001) as ledger:

        def work(name: str) -> None:
            for _ in range(500):
                ledger.record(entry(backend=name))

        threads = [threading.Thread(target=work, args=(str(i),)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {row.attempts for row in ledger.costs()} == {500}
        assert writers() == before + 1


def test_closing_writes_what_waits_and_recording_afterwards_opens_again(
    tmp_path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, interval=60)
    ledger.record(entry())
    ledger.close()
    ledger.close()
    assert rows(path) == 1
    ledger.record(entry())
    ledger.flush()
    assert rows(path) == 2
    ledger.close()


def test_a_dropped_ledger_writes_and_ends_its_thread(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, interval=60)
    ledger.record(entry())
    thread = ledger._writer._thread
    del ledger
    assert rows(path) == 1
    assert thread is not None and not thread.is_alive()


def test_a_failed_transaction_is_tried_again(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, interval=60) as ledger:
        ledger._writer._connection.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.record(entry())
        with pytest.raises(sqlite3.OperationalError):
            ledger.flush()
        assert "locked" in str(ledger.error)
        other.execute("ROLLBACK")
        other.close()
        ledger.flush()
        assert ledger.error is None
        assert rows(path) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"time": None}, {"backend": None}, {"cost_nano": 2**70}, {"model": object()}],
)
def test_an_entry_that_cannot_be_stored_does_not_hold_back_others(
    wrong, ledger
) -> None:
    for item in (entry(), entry(**wrong), entry()):
        assert ledger.record(item)
    ledger.flush()
    assert [row.attempts for row in ledger.costs()] == [2]
    assert ledger.dropped == 1
    assert "dropped" in str(ledger.error)


def test_more_than_the_bound_is_refused_and_counted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_ledger_file, "_MOST_WAITING", 3)
    with Ledger(tmp_path / "ledger.db", interval=60) as ledger:
        assert [ledger.record(entry()) for _ in range(5)] == [True] * 3 + [False] * 2
        assert ledger.dropped == 2
        ledger.flush()
        assert ledger.record(entry())


# --- files ---------------------------------------------------------------------------


def test_a_file_of_a_newer_version_is_refused(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="schema 99 of a newer llmbalance"):
        Ledger(path)


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("dear diary, " * 100)
    with pytest.raises(ConfigError, match="is no usable file"):
        Ledger(text)
    assert text.read_text() == "dear diary, " * 100
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE precious (x)")
    connection.close()
    with pytest.raises(ConfigError, match="something else"):
        Ledger(other)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Ledger(tmp_path / "no" / "such" / "folder.db")
    with pytest.raises(ConfigError, match="interval"):
        Ledger(":memory:", interval=-1)


CHILD = """
import sys, time
from llmbalance._money._ledger import Entry, Ledger
ledger = Ledger(sys.argv[1], interval=0.05)
for i in range(int(sys.argv[2])):
    ledger.record(Entry(time=time.time(), call_id=str(i), group="g", backend="b",
                        model="m", cost_nano=i, tokens={"input": i}))
    if i % 100 == 99:
        print(i + 1, time.monotonic(), flush=True)
        time.sleep(float(sys.argv[3]))
"""


def child(path: Path, count: int, pause: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(count), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def test_kill_9_loses_at_most_the_last_interval(tmp_path) -> None:
    """10,000 calls at about 4,000 a second; killed in the middle."""
    path = tmp_path / "ledger.db"
    process = child(path, 10_000, pause=0.025)
    seen: list[tuple[int, float]] = []
    assert process.stdout is not None
    for line in process.stdout:
        count, moment = line.split()
        seen.append((int(count), float(moment)))
        if seen[-1][0] >= 8000:
            process.send_signal(signal.SIGKILL)
            break
    killed = time.monotonic()
    process.wait(10)
    process.stdout.close()

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    ids = [int(i) for (i,) in connection.execute("SELECT call_id FROM attempts")]
    connection.close()
    assert ids == list(range(len(ids)))  # a prefix: in order, without a gap
    # 0.05 s of interval, and a second for a transaction on a busy machine
    safe = max((count for count, when in seen if when < killed - 1.05), default=0)
    assert 0 < safe <= len(ids)
    with Ledger(path) as ledger:  # and the next process goes on from there
        assert ledger.spent(0) == sum(ids)
        ledger.record(entry(cost_nano=1))
        assert ledger.spent(0) == sum(ids) + 1


def test_a_process_that_ends_normally_loses_nothing(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    process = child(path, 250)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert rows(path) == 250


def test_two_processes_write_to_one_file(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    processes = [child(path, 1000) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert rows(path) == 4000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_forked_child_opens_the_file_for_itself(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path, interval=60) as ledger:
        ledger.record(entry(backend="parent"))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ledger.record(entry(backend="child"))
                ledger.flush()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        ledger.record(entry(backend="parent"))
        assert {row.key: row.attempts for row in ledger.costs()} == {
            "parent": 2,
            "child": 1,
        }

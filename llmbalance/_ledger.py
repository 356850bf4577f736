"""The ledger: every attempt with its tokens and its cost, in one SQLite file.

    record(entry)          one writer thread                  file (WAL)
    caller  ---append-->  [ e e e e e ]  --one transaction-->  attempts
    < 2 us                 a deque        every `interval`     learned

The caller never waits for the disk. What is committed survives a killed process; what
was recorded within the last ``interval`` (0.2 s, plus the time of one transaction) may
be lost with it. A power cut may take the last transactions, never the file.

One row is one attempt; the last one of a call is marked, so calls, attempts and money
all come from one table. There is no prompt and no answer in it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from ._errors import ConfigError
from ._price import TOKEN_KINDS

SCHEMA_VERSION = 1
_MOST_WAITING = 1_000_000

_CREATE = (
    f"""CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,            -- epoch seconds at the end of the attempt
    call_id TEXT NOT NULL,
    "group" TEXT NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT,
    tags TEXT NOT NULL,            -- JSON array of strings
    kind TEXT NOT NULL,            -- chat, embed, lease
    status TEXT NOT NULL,          -- ok, or why it failed
    attempt INTEGER NOT NULL,      -- 1 is the first of its call
    last INTEGER NOT NULL,         -- 1 when it ended the call
    {", ".join(f"{kind} INTEGER NOT NULL" for kind in TOKEN_KINDS)},
    cost_nano INTEGER,             -- 1e-9 USD; NULL when the price is unknown
    latency_s REAL,
    ttft_s REAL
)""",
    "CREATE INDEX attempts_time ON attempts (time)",
    """CREATE TABLE learned (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,           -- JSON
    time REAL NOT NULL
)""",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_COLUMNS = (
    *("time", "call_id", '"group"', "backend", "model", "task", "tags", "kind"),
    *("status", "attempt", "last", *TOKEN_KINDS, "cost_nano", "latency_s", "ttft_s"),
)
_INSERT = (
    f"INSERT INTO attempts ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_LEARN = "INSERT OR REPLACE INTO learned (key, value, time) VALUES (?, ?, ?)"
_BY = {
    "all": "'all'",
    "backend": "backend",
    "group": '"group"',
    "model": "model",
    "task": "coalesce(task, '')",
    "kind": "kind",
    "status": "status",
    "day": "date(time, 'unixepoch')",
    "hour": "strftime('%Y-%m-%dT%H', time, 'unixepoch')",
    "tag": "tag.value",
}
_INPUT = "input + cache_read + cache_write + cache_write_1h + audio_in + image_in"
_OUTPUT = "output + reasoning + audio_out + image_out"


class Entry(Struct, gc=False):
    """One attempt of a call.

    ``time`` is the epoch second of its end; ``attempt`` its number within the call, 1
    the first; ``last`` says that it ended the call; ``tokens`` are disjoint counts by
    kind (``Usage.disjoint()``); ``cost_nano`` in 1e-9 USD, None when unknown.
    """

    time: float
    call_id: str
    group: str
    backend: str
    model: str
    task: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "chat"
    status: str = "ok"
    attempt: int = 1
    last: bool = True
    tokens: dict[str, int] = {}
    cost_nano: int | None = None
    latency_s: float | None = None
    ttft_s: float | None = None


class CostRow(Struct, frozen=True):
    """What one backend, group, model, task or tag cost.

    ``unpriced`` counts the attempts whose price is unknown: their cost is missing in
    ``cost_nano`` (1e-9 USD). ``share`` is its part of all money in the report, 0..1.
    """

    key: str
    calls: int
    attempts: int
    failed: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    share: float

    @property
    def usd(self) -> float:
        """The cost in USD."""
        return self.cost_nano / 1e9

    @property
    def usd_per_call(self) -> float:
        """The mean cost of a call in USD, 0 when none ended."""
        return self.usd / self.calls if self.calls else 0.0

    @property
    def usd_per_1k_tokens(self) -> float:
        """The cost of a thousand tokens, input and output alike, in USD."""
        tokens = self.input_tokens + self.output_tokens
        return self.usd / tokens * 1000 if tokens else 0.0


class Book(Protocol):
    """What a router needs of a ledger; any object like this can replace it."""

    def record(self, entry: Entry) -> bool: ...
    def learn(self, key: str, value: Any) -> None: ...
    def learned(self) -> dict[str, Any]: ...
    def spent(self, since: float, **only: str) -> int: ...
    def costs(self, by: str = "backend", since: float = 0.0) -> list[CostRow]: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Ledger:
    """A ledger in the SQLite file *path*; ``":memory:"`` keeps it in this process.

    *interval* in seconds is how long an entry may wait for its transaction. Several
    processes may write to one file. Raises ConfigError when the file cannot be used.
    """

    def __init__(self, path: str | Path, *, interval: float = 0.2) -> None:
        if not interval >= 0:
            raise ConfigError("interval", interval, "give seconds >= 0")
        self.path = str(path)
        self._interval = interval
        self._inherited: list[_Writer] = []
        self._open()

    def record(self, entry: Entry) -> bool:
        """Take an entry to be written soon; False when too many wait (see dropped)."""
        writer = self._writer
        if writer.pid != os.getpid():
            writer = self._reopen()
        return writer.put(entry)

    def learn(self, key: str, value: Any) -> None:
        """Keep a JSON-able value under *key*, instead of what was there."""
        text = msgspec.json.encode(value).decode()
        self._current().put((key, text, time.time()))

    def learned(self) -> dict[str, Any]:
        """Return everything kept by ``learn``, by key."""
        rows = self._current().read("SELECT key, value FROM learned")
        return {key: msgspec.json.decode(value) for key, value in rows}

    def spent(self, since: float, **only: str) -> int:
        """Return the nano-USD spent from *since* (epoch seconds) on.

        *only* narrows it: ``backend=``, ``group=``, ``model=``, ``task=``, ``tag=``.
        """
        tables, where = "attempts", "time >= ?"
        values: list[Any] = [since]
        for name, value in only.items():
            if name not in ("backend", "group", "model", "task", "tag"):
                raise ConfigError(name, value, "is no column that money is counted by")
            if name == "tag":
                tables += ", json_each(attempts.tags) AS tag"
            where += f" AND {_BY[name]} = ?"
            values.append(value)
        sql = f"SELECT coalesce(sum(cost_nano), 0) FROM {tables} WHERE {where}"
        [[nano]] = self._current().read(sql, values)
        return int(nano)

    def costs(
        self, by: str = "backend", since: float = 0.0, until: float | None = None
    ) -> list[CostRow]:
        """Return what was spent, dearest first, from *since* to *until* (epoch s).

        *by* is backend, group, model, task, kind, status, day, hour, tag (a call counts
        under each of its tags), all, or "tag:team" for the values of tags such as
        "team=search". Days and hours are UTC.
        """
        tables, where = "attempts", "time >= ? AND time < ?"
        values: list[Any] = [since, 9e15 if until is None else until]
        column = _BY.get(by)
        if by.startswith("tag"):
            tables += ", json_each(attempts.tags) AS tag"
        if by.startswith("tag:"):
            column = "substr(tag.value, instr(tag.value, '=') + 1)"
            where += " AND substr(tag.value, 1, length(?)) = ?"
            values += [by.removeprefix("tag:") + "="] * 2
        if column is None:
            raise ConfigError("by", by, f"use one of {', '.join(_BY)} or tag:NAME")
        sql = (
            f"SELECT {column}, sum(last), count(*), sum(status != 'ok'),"
            f" sum(cost_nano IS NULL), sum({_INPUT}), sum({_OUTPUT}),"
            f" coalesce(sum(cost_nano), 0) FROM {tables} WHERE {where}"
            " GROUP BY 1 ORDER BY 8 DESC, 1"
        )
        rows = self._current().read(sql, values)
        total = sum(row[-1] for row in rows) or 1
        return [CostRow(*(*row, row[-1] / total)) for row in rows]

    def flush(self) -> None:
        """Write everything that waits, now; sqlite3.Error when that fails."""
        self._current().drain()

    def close(self) -> None:
        """Write what waits and close the file; recording afterwards reopens it."""
        self._finalizer()

    @property
    def dropped(self) -> int:
        """Entries not kept: a million were waiting already, or a field was wrong."""
        return self._writer.dropped

    @property
    def error(self) -> str | None:
        """What went wrong last (a failed transaction is tried again), or None."""
        return self._writer.error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self.path!r}>"

    def _open(self) -> _Writer:
        self._writer = _Writer(self.path, self._interval)
        # Runs when the ledger is dropped and at exit; the thread holds no ledger.
        self._finalizer = weakref.finalize(self, self._writer.finish)
        return self._writer

    def _current(self) -> _Writer:
        writer = self._writer
        return writer if writer.pid == os.getpid() else self._reopen()

    def _reopen(self) -> _Writer:
        """After a fork: SQLite must not be used, nor closed, on both sides of it."""
        if self._writer.pid:
            self._finalizer.detach()
            self._inherited.append(self._writer)
        return self._open()


# What an entry with a wrong field raises; everything else is the disk's fault.
_UNWRITABLE = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(sqlite3.DataError, OverflowError, TypeError, AttributeError),
)


class _Writer:
    """The connection, what waits for it, and the thread that brings both together."""

    def __init__(self, path: str, interval: float) -> None:
        self.pid = os.getpid()
        self.dropped = 0
        self.error: str | None = None
        self._interval = interval
        self._waiting: deque[Entry | tuple[str, str, float]] = deque()
        self._lock = threading.Lock()  # of the connection
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._asleep = True
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection = _connect(path)

    def put(self, item: Entry | tuple[str, str, float]) -> bool:
        waiting = self._waiting
        if len(waiting) >= _MOST_WAITING:
            self.dropped += 1
            return False
        waiting.append(item)
        if self._asleep:
            self._rouse()
        return True

    def _rouse(self) -> None:
        self._asleep = False
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="llmbalance-ledger", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._asleep = False
            while not self._stop.wait(self._interval):
                try:
                    self.drain()
                except sqlite3.Error:  # kept in self.error; the items wait on
                    self._stop.wait(1.0)
                if not self._waiting:
                    break
            self._asleep = True
            if self._waiting:  # recorded between the test and the nap
                self._wake.set()

    def drain(self) -> None:
        """Write what waits in one transaction; on failure it waits again."""
        with self._lock:
            items = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not items:
                return
            try:
                self._write(items)
                self.error = None
            except _UNWRITABLE:
                self._write_singly(items)
            except sqlite3.Error as error:
                self._waiting.extendleft(reversed(items))
                self.error = str(error)
                raise

    def _write(self, items: list[Entry | tuple[str, str, float]]) -> None:
        entries = [_row(item) for item in items if isinstance(item, Entry)]
        values = [item for item in items if not isinstance(item, Entry)]
        with self._connection as transaction:
            transaction.executemany(_INSERT, entries)
            transaction.executemany(_LEARN, values)

    def _write_singly(self, items: list[Entry | tuple[str, str, float]]) -> None:
        """One entry that cannot be stored must not hold back all others."""
        for item in items:
            try:
                self._write([item])
            except _UNWRITABLE as error:
                self.dropped += 1
                self.error = f"an entry was dropped: {error}"

    def read(self, sql: str, values: Any = ()) -> list[Any]:
        self.drain()
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def finish(self) -> None:
        if self.pid != os.getpid():
            return
        self._stop.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        try:
            self.drain()
        finally:
            self.pid = 0  # whoever records again opens anew
            with self._lock:
                self._connection.close()


def _row(entry: Entry) -> tuple[Any, ...]:
    count = entry.tokens.get
    return (
        entry.time,
        entry.call_id,
        entry.group,
        entry.backend,
        entry.model,
        entry.task,
        msgspec.json.encode(entry.tags).decode() if entry.tags else "[]",
        entry.kind,
        entry.status,
        entry.attempt,
        entry.last,
        *[count(kind, 0) for kind in TOKEN_KINDS],
        entry.cost_nano,
        entry.latency_s,
        entry.ttft_s,
    )


def _connect(path: str) -> sqlite3.Connection:
    """Open the file, make its tables when it is new, refuse what is not ours."""
    try:
        connection = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError("ledger", path, f"cannot be opened: {error}") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")  # two processes may both find it new
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _CREATE:
                connection.execute(statement)
        connection.commit()
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError("ledger", path, f"is no usable file: {error}") from None
    if version == 0 and tables:
        connection.close()
        raise ConfigError("ledger", path, "is the database of something else")
    if version > SCHEMA_VERSION:
        connection.close()
        raise ConfigError(
            *("ledger", path),
            f"has schema {version} of a newer llmbalance, this one knows"
            f" {SCHEMA_VERSION}: update llmbalance or name another file",
        )
    return connection

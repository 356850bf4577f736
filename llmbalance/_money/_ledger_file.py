"""The file under the ledger: its tables, and the one thread that writes to them."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from typing import Any

import msgspec
from msgspec import Struct

from .._errors import ConfigError
from .._price import TOKEN_KINDS

SCHEMA_VERSION = 1
_MOST_WAITING = 1_000_000
_KINDS = len(TOKEN_KINDS)

_CREATE = (
    f"""CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,            -- epoch seconds at the end of the attempt
    call_id TEXT NOT NULL,
    "group" TEXT NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT,
    user TEXT,
    tags TEXT NOT NULL,            -- JSON array of strings
    kind TEXT NOT NULL,            -- chat, embed, lease, mirror
    status TEXT NOT NULL,          -- ok, or why it failed
    attempt INTEGER NOT NULL,      -- 1 is the first of its call
    last INTEGER NOT NULL,         -- 1 when it ended the call
    {", ".join(f"{kind} INTEGER NOT NULL" for kind in TOKEN_KINDS)},
    cost_nano INTEGER,             -- 1e-9 USD; NULL when the price is unknown
    assumed_nano INTEGER,          -- what budgets were charged for it then
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
    *("time", "call_id", '"group"', "backend", "model", "task", "user", "tags"),
    *("kind", "status", "attempt", "last", *TOKEN_KINDS, "cost_nano", "assumed_nano"),
    *("latency_s", "ttft_s"),
)
_INSERT = (
    f"INSERT INTO attempts ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_LEARN = "INSERT OR REPLACE INTO learned (key, value, time) VALUES (?, ?, ?)"
_PATIENCE = 10.0  # seconds to wait for another process


class Entry(Struct, gc=False):
    """One attempt of a call.

    ``time`` is the epoch second of its end; ``attempt`` its number within the call, 1
    the first; ``last`` says that it ended the call; ``tokens`` are disjoint counts by
    kind (``Usage.disjoint()``), or a tuple of them in the order of TOKEN_KINDS;
    ``cost_nano`` in 1e-9 USD, None when unknown: then ``assumed_nano`` is what budgets
    were charged.
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
    tokens: dict[str, int] | tuple[int, ...] = {}
    cost_nano: int | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    user: str | None = None
    assumed_nano: int | None = None


# What an entry with a wrong field raises; everything else is the disk's fault.
_UNWRITABLE = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(sqlite3.DataError, OverflowError, TypeError, AttributeError),
)


class Writer:
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
    tokens = entry.tokens
    if isinstance(tokens, dict):
        counts = [tokens.get(kind, 0) for kind in TOKEN_KINDS]
    else:
        counts = [*tokens[:_KINDS], *[0] * (_KINDS - len(tokens))]
    return (
        entry.time,
        entry.call_id,
        entry.group,
        entry.backend,
        entry.model,
        entry.task,
        entry.user,
        msgspec.json.encode(entry.tags).decode() if entry.tags else "[]",
        entry.kind,
        entry.status,
        entry.attempt,
        entry.last,
        *counts,
        entry.cost_nano,
        entry.assumed_nano,
        entry.latency_s,
        entry.ttft_s,
    )


READ = f"SELECT {', '.join(_COLUMNS)}"


def entry_of(row: tuple[Any, ...]) -> Entry:
    """An entry from the columns of ``READ``."""
    time, call_id, group, backend, model, task, user, tags, kind, status = row[:10]
    attempt, last, *counts = row[10:-4]
    return Entry(
        time,
        call_id,
        group,
        backend,
        model,
        task,
        tuple(msgspec.json.decode(tags)) if tags != "[]" else (),
        kind,
        status,
        attempt,
        bool(last),
        dict(zip(TOKEN_KINDS, counts, strict=True)),
        row[-4],
        row[-2],
        row[-1],
        user,
        row[-3],
    )


def _connect(path: str) -> sqlite3.Connection:
    """Open the file, make its tables when it is new, refuse what is not ours."""
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError("ledger", path, f"cannot be opened: {error}") from None
    try:
        _set_wal(connection)
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


def _set_wal(connection: sqlite3.Connection) -> None:
    """Two processes that make the file at once: SQLite refuses here without waiting."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)

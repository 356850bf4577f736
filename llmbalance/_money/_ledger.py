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
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from .._errors import ConfigError
from ._ledger_file import READ, Writer, entry_of
from ._ledger_file import Entry as Entry

_BY = {
    "all": "'all'",
    "backend": "backend",
    "group": '"group"',
    "model": "model",
    "task": "coalesce(task, '')",
    "user": "coalesce(user, '')",
    "kind": "kind",
    "status": "status",
    "day": "date(time, 'unixepoch')",
    "hour": "strftime('%Y-%m-%dT%H', time, 'unixepoch')",
    "tag": "tag.value",
}
_END = 9e15  # epoch seconds, after all times
_CHUNK = 1000  # entries read at once
_INPUT = "input + cache_read + cache_write + cache_write_1h + audio_in + image_in"
_OUTPUT = "output + reasoning + audio_out + image_out"


class CostRow(Struct, frozen=True):
    """What one backend, group, model, task, user or tag cost.

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
    def spent(self, since: float, until: float | None = None, **only: str) -> int: ...
    def costs(
        self, by: str = "backend", since: float = 0.0, until: float | None = None
    ) -> list[CostRow]: ...
    def entries(
        self, since: float = 0.0, until: float | None = None
    ) -> Iterable[Entry]: ...
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
        self._inherited: list[Writer] = []
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

    def spent(self, since: float, until: float | None = None, **only: str) -> int:
        """Return the nano-USD charged to budgets from *since* to *until* (epoch s).

        Attempts of unknown price count as what was assumed of them. *only* narrows it:
        ``backend=``, ``group=``, ``model=``, ``task=``, ``user=``, ``tag=``.
        """
        tables, where = "attempts", "time >= ? AND time < ?"
        values: list[Any] = [since, _END if until is None else until]
        for name, value in only.items():
            if name not in ("backend", "group", "model", "task", "user", "tag"):
                raise ConfigError(name, value, "is no column that money is counted by")
            if name == "tag":
                tables += ", json_each(attempts.tags) AS tag"
            where += f" AND {_BY[name]} = ?"
            values.append(value)
        charged = "coalesce(sum(coalesce(cost_nano, assumed_nano)), 0)"
        sql = f"SELECT {charged} FROM {tables} WHERE {where}"
        [[nano]] = self._current().read(sql, values)
        return int(nano)

    def costs(
        self, by: str = "backend", since: float = 0.0, until: float | None = None
    ) -> list[CostRow]:
        """Return what was spent, dearest first, from *since* to *until* (epoch s).

        *by* is backend, group, model, task, user, kind, status, day, hour, tag (a call
        counts under each of its tags), all, or "tag:team" for the values of tags such
        as "team=search". Days and hours are UTC.
        """
        tables, where = "attempts", "time >= ? AND time < ?"
        values: list[Any] = [since, _END if until is None else until]
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

    def entries(
        self, since: float = 0.0, until: float | None = None
    ) -> Iterator[Entry]:
        """Yield the attempts that were kept, in the order of their keeping."""
        last = 0
        end = _END if until is None else until
        sql = f"{READ}, id FROM attempts WHERE id > ? AND time >= ? AND time < ?"
        while rows := self._current().read(
            f"{sql} ORDER BY id LIMIT {_CHUNK}", (last, since, end)
        ):
            yield from (entry_of(row[:-1]) for row in rows)
            last = rows[-1][-1]

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

    def _open(self) -> Writer:
        self._writer = Writer(self.path, self._interval)
        # Runs when the ledger is dropped and at exit; the thread holds no ledger.
        self._finalizer = weakref.finalize(self, self._writer.finish)
        return self._writer

    def _current(self) -> Writer:
        writer = self._writer
        return writer if writer.pid == os.getpid() else self._reopen()

    def _reopen(self) -> Writer:
        """After a fork: SQLite must not be used, nor closed, on both sides of it."""
        if self._writer.pid:
            self._finalizer.detach()
            self._inherited.append(self._writer)
        return self._open()

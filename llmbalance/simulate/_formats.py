"""Traffic that was recorded: CSV files, public traces, one's own ledger.

Files may be compressed by gzip, whatever they are called.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import re
import zlib
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path as FilePath
from typing import Annotated, Any

import msgspec

from .._checks import positive
from .._errors import ConfigError
from ._arrivals import Lengths, made, thinned
from ._trace import ANY, Trace

Path = str | PathLike[str]
_GZIP = b"\x1f\x8b"
# Later than this (s) lies in the year 5138: a column of milliseconds.
_LATEST = 1e11
_FRACTION = re.compile(r"(\.\d{6})\d+")


def seconds_of(text: str) -> float:
    """Return seconds: a number, or an ISO time (UTC unless it says otherwise)."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@contextmanager
def opened(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open a file that may be compressed; ConfigError for one that is damaged."""
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP
    with gzip.open(path) if packed else open(path, "rb") as file:
        try:
            yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ConfigError("file", str(path), str(error)) from None


@contextmanager
def table(path: Path) -> Iterator[csv.DictReader[str]]:
    """Read a CSV by the names of its columns; ConfigError where it is no such text."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.DictReader(text)
        try:
            yield reader
        except UnicodeDecodeError as error:
            told = f"is no UTF-8 text: {error}"
            raise ConfigError("file", str(path), told) from None
        except csv.Error as error:
            place = f"{path}:{reader.line_num}"
            raise ConfigError("file", place, str(error)) from None


def from_csv(path: Path, **columns: str) -> Trace:
    names = {
        "at": "at",
        "input": "input",
        "output": "output",
        "group": "group",
        "most": "max_tokens",
        "session": "session",
    }
    unknown = columns.keys() - names.keys()
    if unknown:
        raise ConfigError("columns", sorted(unknown), f"known are {', '.join(names)}")
    with table(path) as reader:
        found = set(reader.fieldnames or ())
        wanted = {k: v for k, v in (names | columns).items() if v in found}
        for name in (*columns, "at", "input", "output"):
            if name not in wanted:
                told = (names | columns)[name]
                raise ConfigError(name, told, f"{path}: columns are {sorted(found)}")
        rows = [_row(line, wanted, reader.line_num, path) for line in reader]
    return _from_rows(rows)


def from_file(path: Path) -> Trace:
    with opened(path) as file:
        head = file.readline(200)
    if head.startswith(b"SQLite format 3"):
        return from_ledger(path, 0.0, 9e15)
    if head.lstrip().startswith(b"{"):
        return from_mooncake(path)
    if b"ContextTokens" in head:
        return Trace.from_azure(path)
    return from_csv(path)


def _row(
    line: dict[str, str], columns: dict[str, str], number: int, path: Path
) -> dict[str, Any]:
    try:
        row: dict[str, Any] = {k: line[v] for k, v in columns.items()}
        if None in row.values():
            raise ValueError("the line ends before its last column")
        row["at"] = seconds_of(row["at"])
        if not abs(row["at"]) <= _LATEST:
            raise ValueError(f"{columns['at']} = {line[columns['at']]}: give seconds")
        for name in ("input", "output", "most"):
            if name in row:
                row[name] = int(float(row[name] or 0))
                if not 0 <= row[name] < 2**31:
                    told = f"{columns[name]} = {line[columns[name]]}"
                    raise ValueError(f"{told}: give tokens, 0 or more")
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ConfigError("file", f"{path}:{number}", str(error)) from None
    row["input"] = max(1, row["input"])
    return row


def _from_rows(rows: list[dict[str, Any]]) -> Trace:
    """Columns of rows; names of groups and sessions become numbers."""
    if not rows:
        return Trace([], [], [])
    rows.sort(key=lambda row: row["at"])
    begin = rows[0]["at"]
    groups: dict[str, int] = {}
    sessions: dict[str, int] = {"": 0}
    options: dict[str, Any] = {}
    if "group" in rows[0]:
        options["group"] = [
            groups.setdefault(row["group"] or ANY, len(groups)) for row in rows
        ]
        options["groups"] = list(groups)
    if "session" in rows[0]:
        options["session"] = [
            sessions.setdefault(row["session"] or "", len(sessions)) for row in rows
        ]
    if "most" in rows[0]:
        options["most"] = [row["most"] for row in rows]
    return Trace(
        [round((row["at"] - begin) * 1e9) for row in rows],
        [row["input"] for row in rows],
        [row["output"] for row in rows],
        **options,
    )


class _Line(msgspec.Struct):
    timestamp: float
    input_length: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    output_length: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    hash_ids: list[Annotated[int, msgspec.Meta(ge=0, lt=2**62)]] = []


def from_mooncake(path: Path) -> Trace:
    decoder = msgspec.json.Decoder(_Line)
    lines = []
    with opened(path) as file:
        for number, text in enumerate(file, 1):
            try:
                if text.strip():
                    lines.append(decoder.decode(text))
            except msgspec.DecodeError as error:
                raise ConfigError("file", f"{path}:{number}", str(error)) from None
    lines.sort(key=lambda line: line.timestamp)
    block, blocks = array("Q"), array("Q", [0])
    session, numbers = [], dict[int, int]()
    for line in lines:
        block.extend(h + 1 for h in line.hash_ids)  # 0 is no hash to the core
        blocks.append(len(block))
        if len(line.hash_ids) > 1:
            session.append(numbers.setdefault(line.hash_ids[1], len(numbers) + 1))
        else:
            session.append(0)
    begin = lines[0].timestamp if lines else 0
    return Trace(
        [round((line.timestamp - begin) * 1e6) for line in lines],
        [max(1, line.input_length) for line in lines],
        [line.output_length for line in lines],
        session=session,
        block=block,
        blocks=blocks,
        block_tokens=512,
    )


def _rate(
    line: dict[str, str], column: str, scale: float, place: str
) -> tuple[float, float]:
    """When (s), and how many requests a second."""
    try:
        at, rate = float(line["t_s"]), float(line[column])
    except (TypeError, ValueError) as error:
        raise ConfigError("file", place, str(error)) from None
    if not (0 <= rate < 1e9 and abs(at) <= _LATEST):
        told = f"t_s = {line['t_s']}, {column} = {line[column]}: give rates >= 0"
        raise ConfigError("file", place, told)
    return at, rate * scale


def from_servegen(
    path: Path,
    column: str,
    scale: float,
    seconds: float | None,
    seed: int,
    input: Lengths,
    output: Lengths,
    group: str,
) -> Trace:
    positive("scale", scale)
    positive("seconds", seconds)
    with table(path) as reader:
        names = reader.fieldnames or ()
        if "t_s" not in names or column not in names:
            raise ConfigError("column", column, f"{path}: columns are {list(names)}")
        rows = [
            _rate(line, column, scale, f"{path}:{reader.line_num}")
            for line in reader
            if line[column]
        ]
    if len(rows) < 2:
        raise ConfigError("column", column, f"{path}: needs two rates or more")
    step = rows[1][0] - rows[0][0]
    if not step > 0:
        raise ConfigError("t_s", rows[1][0], f"{path}: times must ascend")
    end = rows[-1][0] + step - rows[0][0]
    end = end if seconds is None else min(end, seconds)
    rates = [rate for _, rate in rows]
    draw = random.Random(seed)
    times = thinned(
        lambda t: rates[min(int(t / step), len(rates) - 1)], max(rates), end, draw
    )
    return made(times, draw, input, output, group)


def from_ledger(path: Path, since: float, until: float) -> Trace:
    import sqlite3

    from .._money._ledger import _INPUT, _OUTPUT

    sql = (
        f'SELECT time - coalesce(latency_s, 0), {_INPUT}, {_OUTPUT}, "group"'
        " FROM attempts WHERE last AND time >= ? AND time < ?"
    )
    address = f"{FilePath(path).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            found = connection.execute(sql, (since, until)).fetchall()
    except sqlite3.Error as error:
        raise ConfigError("path", str(path), f"no ledger: {error}") from None
    return _from_rows(
        [
            {"at": at, "input": max(1, n), "output": m, "group": group}
            for at, n, m, group in found
        ]
    )

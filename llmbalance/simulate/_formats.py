"""Traffic that was recorded: CSV files, public traces, one's own ledger."""

from __future__ import annotations

import csv
import random
import re
from array import array
from datetime import UTC, datetime
from os import PathLike
from typing import Any

import msgspec

from .._errors import ConfigError
from ._arrivals import Lengths, made, thinned
from ._trace import ANY, Trace

Path = str | PathLike[str]
_FRACTION = re.compile(r"(\.\d{6})\d+")


def seconds_of(text: str) -> float:
    """Return seconds: a number, or an ISO time (UTC unless it says otherwise)."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


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
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        found = set(reader.fieldnames or ())
        wanted = {k: v for k, v in (names | columns).items() if v in found}
        for name in (*columns, "at", "input", "output"):
            if name not in wanted:
                told = (names | columns)[name]
                raise ConfigError(name, told, f"{path}: columns are {sorted(found)}")
        rows = [_row(line, wanted, reader.line_num, path) for line in reader]
    return _from_rows(rows)


def from_file(path: Path) -> Trace:
    with open(path, "rb") as file:
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
        row["at"] = seconds_of(row["at"])
        for name in ("input", "output", "most"):
            if name in row:
                row[name] = int(float(row[name] or 0))
    except (ValueError, TypeError, KeyError) as error:
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
    input_length: int
    output_length: int
    hash_ids: list[int] = []


def from_mooncake(path: Path) -> Trace:
    decoder = msgspec.json.Decoder(_Line)
    with open(path, "rb") as file:
        try:
            lines = [decoder.decode(line) for line in file if line.strip()]
        except msgspec.DecodeError as error:
            raise ConfigError("file", str(path), str(error)) from None
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
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or ()
        if "t_s" not in names or column not in names:
            raise ConfigError("column", column, f"{path}: columns are {list(names)}")
        rows = [
            (float(line["t_s"]), float(line[column]) * scale)
            for line in reader
            if line[column]
        ]
    if len(rows) < 2:
        raise ConfigError("column", column, f"{path}: needs two rates or more")
    step = rows[1][0] - rows[0][0]
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

    from .._ledger import _INPUT, _OUTPUT

    sql = (
        f'SELECT time - coalesce(latency_s, 0), {_INPUT}, {_OUTPUT}, "group"'
        " FROM attempts WHERE last AND time >= ? AND time < ?"
    )
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute(sql, (since, until)).fetchall()
    except sqlite3.Error as error:
        raise ConfigError("path", str(path), f"no ledger: {error}") from None
    finally:
        connection.close()
    return _from_rows(
        [
            {"at": at, "input": max(1, n), "output": m, "group": group}
            for at, n, m, group in found
        ]
    )

"""What a ledger tells of load and speed: figures of every ten minutes.

    attempts  --one GROUP BY-->  backend x bin:  calls, input, output, ttft, itl
                                 group x bin:    calls, input, output

At most 28 days are read, 4,032 bins, whatever the size of the ledger: SQLite adds up a
million attempts in about a second and holds no lock of Python's meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from .._core import KINDS
from .._errors import ConfigError
from .._money._ledger import _INPUT, _OUTPUT

if TYPE_CHECKING:
    from .._money._ledger import Book, Entry

WIDTH = 600  # seconds of a bin
DAY = 86400 // WIDTH  # bins of a day
MOST_DAYS = 28
_HOUR = 3600
# A call of which only the whole was timed is split as a backend nobody knows splits it.
_TTFT, _ITL = 0.5, 0.02
_OUT = ("output", "reasoning", "audio_out", "image_out")


class Track(Struct):
    """One backend or group, a value for each bin: load, and s; None: not seen."""

    calls: list[float] = field(default_factory=list)
    input: list[float] = field(default_factory=list)
    output: list[float] = field(default_factory=list)
    ttft: list[float | None] = field(default_factory=list)
    itl: list[float | None] = field(default_factory=list)

    @property
    def tokens(self) -> list[float]:
        """Input and output tokens together."""
        return [a + b for a, b in zip(self.input, self.output, strict=True)]


class History(Struct):
    """Bins of ``WIDTH`` seconds from ``begin`` (epoch s) on; ``attempts`` were read."""

    begin: float
    bins: int
    attempts: int
    backends: dict[str, Track]
    groups: dict[str, Track]

    @property
    def end(self) -> float:
        """The end of the last bin, epoch s."""
        return self.begin + self.bins * WIDTH

    @property
    def days(self) -> float:
        """Its length in days."""
        return self.bins / DAY


# bin, backend, group, model, attempts, input, output, answers, ttft, timed tokens, s
_Row = tuple[int, str, str, str, int, int, int, int, float, int, float]


def read_history(
    book: Book | str | PathLike[str],
    now: float,
    days: float = MOST_DAYS,
    models: Mapping[str, str] | None = None,
) -> History:
    """Read the last ``days`` (at most 28) of a ledger, up to the last whole bin.

    ``now``: epoch s; ``models``: of backends, by name: what they did with another
    model is left out. Raises ConfigError when a file is no ledger.
    """
    last = now // WIDTH * WIDTH
    begin = (last - min(days, MOST_DAYS) * 86400) // _HOUR * _HOUR
    path = book if isinstance(book, str | PathLike) else getattr(book, "path", "")
    rows: Iterable[_Row]
    if path and Path(path).is_file():
        rows = _from_file(Path(path), begin, last)
    else:
        assert not isinstance(book, str | PathLike)
        rows = sorted(_from_entries(book.entries(begin, last), begin))
    served = models or {}
    return _fold(
        (row for row in rows if served.get(row[1], row[3]) == row[3]), begin, last
    )


def _from_file(path: Path, begin: float, end: float) -> Iterator[_Row]:
    split = f"{_TTFT} / ({_TTFT} + {_ITL} * max({_OUTPUT} - 1, 0))"
    good = "status = 'ok' AND coalesce(latency_s, 0) > 0 AND kind <> 'embed'"
    ttft = (
        f"CASE WHEN ttft_s > 0 THEN min(ttft_s, latency_s) ELSE latency_s * {split} END"
    )
    sql = (
        f'SELECT cast((time - ?) / {WIDTH} AS INTEGER), backend, "group", model,'
        f" count(*), sum({_INPUT}), sum({_OUTPUT}), sum({good}),"
        f" total(CASE WHEN {good} THEN {ttft} END),"
        f" coalesce(sum(CASE WHEN {good} THEN max({_OUTPUT} - 1, 0) END), 0),"
        f" total(CASE WHEN {good} AND {_OUTPUT} > 1 THEN latency_s - ({ttft}) END)"
        " FROM attempts WHERE time >= ? AND time < ? GROUP BY 1, 2, 3, 4"
        " ORDER BY 1, 2, 3, 4"
    )
    connection = None
    try:  # a connection of its own: the ledger's writer never waits for this
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        yield from connection.execute(sql, (begin, begin, end))
    except sqlite3.Error as error:
        raise ConfigError("ledger", str(path), f"no ledger: {error}") from None
    finally:
        if connection is not None:
            connection.close()


def _from_entries(entries: Iterable[Entry], begin: float) -> Iterator[_Row]:
    """The same sums, of a ledger that is no file."""
    sums: dict[tuple[int, str, str, str], list[Any]] = {}
    for entry in entries:
        at = int((entry.time - begin) // WIDTH)
        key = (at, entry.backend, entry.group, entry.model)
        row = sums.setdefault(key, [0, 0, 0, 0, 0.0, 0, 0.0])
        tokens = entry.tokens
        if not isinstance(tokens, dict):
            tokens = dict(zip(KINDS, tokens, strict=False))
        output = sum(tokens.get(kind, 0) for kind in _OUT)
        row[0] += 1
        row[1] += sum(tokens.values()) - output
        row[2] += output
        seconds = entry.latency_s or 0.0
        if entry.status != "ok" or seconds <= 0 or entry.kind == "embed":
            continue
        body = max(output - 1, 0)
        ttft = min(entry.ttft_s or 0.0, seconds)
        if ttft <= 0:
            ttft = seconds * _TTFT / (_TTFT + _ITL * body)
        row[3] += 1
        row[4] += ttft
        row[5] += body
        row[6] += seconds - ttft if body else 0.0
    for key, row in sums.items():
        yield (*key, *row)


def _fold(rows: Iterable[_Row], begin: float, end: float) -> History:
    """Rows in the order of their bins to columns; the first begins the history."""
    first, bins, attempts = 0, 0, 0
    tracks: dict[tuple[str, str], Track] = {}
    timed: dict[tuple[str, int], list[float]] = {}
    for at, backend, group, _, calls, tokens_in, tokens_out, *speed in rows:
        if not tracks:
            first = at * WIDTH // _HOUR * _HOUR // WIDTH
            bins = round((end - begin) / WIDTH) - first
        at -= first
        attempts += calls
        for key in (("backend", backend), ("group", group)):
            track = tracks.get(key)
            if track is None:
                track = tracks[key] = _empty(bins)
            track.calls[at] += calls
            track.input[at] += tokens_in
            track.output[at] += tokens_out
        sums = timed.setdefault((backend, at), [0.0] * 4)
        for k, value in enumerate(speed):
            sums[k] += value
    for (name, at), (answers, ttft, tokens, seconds) in timed.items():
        track = tracks["backend", name]
        if answers:
            track.ttft[at] = ttft / answers
        if tokens and seconds > 0:
            track.itl[at] = seconds / tokens
    named = {
        scope: {name: track for (of, name), track in tracks.items() if of == scope}
        for scope in ("backend", "group")
    }
    start = begin + first * WIDTH
    return History(start, bins, attempts, named["backend"], named["group"])


def _empty(bins: int) -> Track:
    zero, empty = [0.0] * bins, [None] * bins
    return Track(zero, zero[:], zero[:], list(empty), list(empty))

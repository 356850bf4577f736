"""A ledger's own world: its first part is learned from, its second part is replayed.

    |------------- first 2/3 --------------|------ last 1/3 ------|
     how each backend behaves (fit_service)  which calls came, and how slow each
     what a forecaster could have learned    backend really was, hour by hour

So nothing that is forecast was seen before, and what the world does is what it did: the
slow hours of the second part are those that the ledger measured then, whatever the
first part had led to expect.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .._config import Backend
from .._errors import ConfigError
from .._history._history import WIDTH, History, Track, read_history
from .._history._study import Study, study
from .._money._ledger import _INPUT, _OUTPUT
from .._money._prices import PriceTable
from .._price import Price
from ..providers._failures import KINDS
from ._fit import fit_service
from ._fleet import Fleet
from ._service import Service, Trouble
from ._trace import Trace

_BINS_OF_HOUR = 3600 // WIDTH
_MOST_FITTED = 20_000  # requests of one backend
_MOST_REPLAYED = 300_000  # requests, the latest
_LEAST_REPLAYED = 100
_BAD = ("failed", "broken", "timed_out", "timeout")
Usual = tuple[float, int, float, float]  # s, backend, s to the first token, s a token


class Replay(Struct):
    """What run() needs: ``usual`` is what history would have said, and when."""

    trace: Trace
    fleet: Fleet
    usual: list[Usual]
    study: Study
    begin: float
    end: float


def last_time(path: Path) -> float:
    """Return the epoch s of a ledger's newest attempt; ConfigError without any."""
    [[newest]] = _ask(path, "SELECT max(time) FROM attempts")
    if newest is None:
        raise ConfigError("ledger", str(path), "there is no attempt in it")
    return float(newest)


def make_replay(path: Path, history: History, config: Path | None) -> Replay:
    """Build the world of a ledger's last third.

    ``config``: a router's configuration file, for limits, prices and fallbacks; without
    it backends are as the ledger names them. Raises ConfigError when there is too
    little to replay.
    """
    split = _split(path, history)
    trace = Trace.from_ledger(path, since=split, until=history.end)
    if len(trace) < _LEAST_REPLAYED:
        told = f"its last third has {len(trace)} calls; {_LEAST_REPLAYED} are needed"
        raise ConfigError("ledger", str(path), told)
    zero = _first_arrival(path, split, history.end)
    first = until(history, split)
    fleet = Fleet.from_file(config) if config else Fleet(_backends(path, trace))
    services: dict[str, Service] = {}
    troubles: list[Trouble] = []
    for name in fleet.names:
        track = history.backends.get(name)
        if track is None:
            continue
        services[name] = _service(path, name, history, split)
        troubles += _troubles(name, track, history, split, zero)
    if not services:
        told = f"none of its backends is one of {', '.join(fleet.names)}"
        raise ConfigError("ledger", str(path), told)
    learned = study(first, speeds_only=True)
    return Replay(
        trace,
        fleet.replace(services=services, troubles=troubles),
        list(_usual(learned, history, fleet.names, zero)),
        learned,
        split,
        history.end,
    )


def _split(path: Path, history: History) -> float:
    """Where the last third begins, or the latest part that is still replayed."""
    split = history.begin + history.bins * 2 // 3 * WIDTH
    sql = "SELECT time FROM attempts WHERE last AND time < ? ORDER BY time DESC"
    found = _ask(path, f"{sql} LIMIT 1 OFFSET {_MOST_REPLAYED}", (history.end,))
    if found and found[0][0] > split:
        split = history.begin + ((found[0][0] - history.begin) // WIDTH + 1) * WIDTH
    return split


def _first_arrival(path: Path, begin: float, end: float) -> float:
    """The epoch s at which the trace of that part has its 0."""
    sql = "SELECT min(time - coalesce(latency_s, 0)) FROM attempts"
    [[first]] = _ask(path, f"{sql} WHERE last AND time >= ? AND time < ?", (begin, end))
    return float(first)


def until(history: History, end: float) -> History:
    """Return what was known of a history at ``end`` (epoch s)."""
    bins = round((end - history.begin) // WIDTH)

    def cut(tracks: dict[str, Track]) -> dict[str, Track]:
        return {
            name: Track(*(column[:bins] for column in _columns(track)))
            for name, track in tracks.items()
        }

    return replace(
        history, bins=bins, backends=cut(history.backends), groups=cut(history.groups)
    )


def _columns(track: Track) -> list[list[Any]]:
    return [getattr(track, name) for name in track.__struct_fields__]


# -- backends --------------------------------------------------------------------


def _backends(path: Path, trace: Trace) -> list[Backend]:
    """Backends as the ledger knows them: name, model, groups, price."""
    sql = (
        'SELECT backend, model, json_group_array(DISTINCT "group"), total(cost_nano),'
        f" total(CASE WHEN cost_nano IS NOT NULL THEN {_INPUT} + {_OUTPUT} END)"
        " FROM attempts GROUP BY 1, 2 ORDER BY max(time)"
    )
    table, found = PriceTable(), {}
    for name, model, groups, nano, tokens in _ask(path, sql):
        provider, _, bare = model.partition("/")
        known = table.lookup(provider, bare)
        price = None
        if (known is None or known.price is None) and tokens:
            mean = nano / tokens / 1000  # USD a million tokens, of both kinds
            price = Price(mean, mean)
        own = {name, model}
        found[name] = Backend(
            model,
            name=name,
            groups=[g for g in msgspec.json.decode(groups) if g not in own],
            price=price,
        )
    return list(found.values())


# -- how they behave -------------------------------------------------------------


def _service(path: Path, name: str, history: History, split: float) -> Service:
    """A backend's behaviour in the first part, its slow and fast hours evened out."""
    sql = (
        f"SELECT time, {_INPUT} - cache_read, {_OUTPUT}, ttft_s, latency_s"
        " FROM attempts WHERE backend = ? AND time < ? AND status = 'ok' AND ttft_s > 0"
        f" AND latency_s >= ttft_s AND {_OUTPUT} > 0 ORDER BY id DESC"
        f" LIMIT {_MOST_FITTED}"
    )
    track = history.backends[name]
    slow = _slowness(track, _means(track, history, split), history.bins)
    rows = []
    for time, tokens, output, ttft, seconds in _ask(path, sql, (name, split)):
        hour = int((time - history.begin) // WIDTH) // _BINS_OF_HOUR
        factor = slow[hour] if 0 <= hour < len(slow) else 1.0
        rows.append((tokens, output, ttft / factor, seconds / factor))
    failed = _failure_rate(path, name, split)
    if len(rows) < 8:
        ttft, itl = _means(track, history, split)
        return Service(ttft=ttft, token=itl, failure_rate=failed)
    return replace(fit_service(rows).service, failure_rate=failed)


def _failure_rate(path: Path, name: str, split: float) -> float:
    sql = "SELECT status, count(*) FROM attempts WHERE backend = ? AND time < ?"
    counts = dict(_ask(path, f"{sql} GROUP BY 1", (name, split)))
    bad = sum(
        n
        for status, n in counts.items()
        if status in KINDS and KINDS[status].outcome in _BAD
    )
    return float(bad / max(sum(counts.values()), 1))


def _means(track: Track, history: History, split: float) -> tuple[float, float]:
    """Seconds to the first token and of a token in the first part, by calls."""
    bins = round((split - history.begin) // WIDTH)
    means = []
    for column, fallback in ((track.ttft, 0.5), (track.itl, 0.02)):
        pairs = [
            (value, calls)
            for value, calls in zip(column[:bins], track.calls, strict=False)
            if value is not None
        ]
        weight = sum(calls for _, calls in pairs)
        whole = sum(value * calls for value, calls in pairs)
        means.append(whole / weight if whole > 0 else fallback)
    return means[0], means[1]


def _slowness(track: Track, means: tuple[float, float], bins: int) -> list[float]:
    """How many times longer calls took in each hour than on average.

    An hour without answers is as the same hour of the day before.
    """
    ttft_mean, itl_mean = means
    slow: list[float] = []
    for begin in range(0, bins, _BINS_OF_HOUR):
        took = usual = 0.0
        for at in range(begin, min(begin + _BINS_OF_HOUR, bins)):
            ttft, itl = track.ttft[at], track.itl[at]
            if ttft is not None:
                took += ttft * track.calls[at]
                usual += ttft_mean * track.calls[at]
            if itl is not None:
                took += itl * track.output[at]
                usual += itl_mean * track.output[at]
        if usual > 0:
            slow.append(took / usual)
        else:
            slow.append(slow[-24] if len(slow) >= 24 else 1.0)
    return slow


def _troubles(
    name: str, track: Track, history: History, split: float, zero: float
) -> Iterator[Trouble]:
    """The slow and the fast hours of the second part."""
    slow = _slowness(track, _means(track, history, split), history.bins)
    for hour, factor in enumerate(slow):
        start = history.begin + hour * 3600 - zero
        end = start + 3600
        if end > 0 and factor > 0:
            start = max(start, 0.0)
            yield Trouble(name, start, end - start, "slow", factor=factor)


# -- what history would have said --------------------------------------------------


def _usual(
    learned: Study, history: History, names: list[str], zero: float
) -> Iterator[Usual]:
    """Walk through the second part: each hour what was measured is learned."""
    walk = copy.deepcopy(learned)
    first = round((learned.end - history.begin) / WIDTH)
    for at in range(first, history.bins):
        when = history.begin + at * WIDTH
        if at > first and (at - first) % _BINS_OF_HOUR == 0:
            for (scope, name, figure), line in walk.lines.items():
                if scope == "backend" and line.told:
                    column = getattr(history.backends[name], figure)
                    for value in column[at - _BINS_OF_HOUR : at]:
                        line.model.learn(value)
            walk.end = when
        for index, name in enumerate(names):
            ttft, itl = walk.usual(name, when)
            if ttft or itl:
                yield max(when - zero, 0.0), index, ttft, itl


def _ask(path: Path, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    connection = None
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        return connection.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise ConfigError("ledger", str(path), f"no ledger: {error}") from None
    finally:
        if connection is not None:
            connection.close()


def history_of(path: Path, days: float) -> History:
    """Read a ledger's last ``days``, counted from its newest attempt."""
    return read_history(path, last_time(path) + 1, days)

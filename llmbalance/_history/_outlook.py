"""What the ledger's history says of the hours to come, told to the pool and the user.

    start     ledger --study (a thread)--> does the time of day tell how fast who is?
    a minute  if so: pool.set_usual(backend, seconds at this time of day)
    an hour   the study is made anew

A call never waits for it: a study is made beside, and once a minute some call hands the
figures of this minute to the pool, microseconds of work. Where history tells nothing
the pool keeps to what it has seen itself.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError
from .._report import Report
from ._history import WIDTH, History, read_history
from ._study import DECIDE, LOADS, SPEEDS, Line, Study, study, used_up

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet
    from .._money._ledger import Book

_log = logging.getLogger("llmbalance")
_SOON, _MINUTE, _HOUR = 1.0, 60.0, 3600.0
_NO_LEDGER = 'is told by a ledger: Router(..., ledger="costs.db")'


class Outlook:
    """Keeps a pool's usual figures up to date while a router is in use.

    ``predict``: "auto". Raises ConfigError for other words and without a ledger.
    """

    def __init__(self, predict: str, fleet: Fleet, book: Book | None) -> None:
        if predict != "auto":
            raise ConfigError("predict", predict, 'give "auto", or None')
        if book is None:
            raise ConfigError("predict", predict, _NO_LEDGER)
        self.study: Study | None = None
        self._fleet, self._book = fleet, book
        self._thread: threading.Thread | None = None
        self.begin()

    def tick(self, wall: float) -> float:
        """Hand over what is usual now; returns the seconds until the next time."""
        if time.monotonic() - self._studied >= _HOUR:
            self.begin()
        if self.study is None:
            return _SOON if self._thread is not None else _MINUTE
        pool = self._fleet.pool
        for target in self._fleet.targets:
            pool.set_usual(target.index, *self.study.usual(target.name, wall))
        return _MINUTE

    def begin(self) -> threading.Thread:
        """Start a study in a thread of its own."""
        self._studied = time.monotonic()
        self._thread = threading.Thread(
            target=self._go, name="llmbalance-outlook", daemon=True
        )
        self._thread.start()
        return self._thread

    def _go(self) -> None:
        try:
            history = _history(self._fleet, self._book, time.time())
            self.study = study(history, speeds_only=True, rest=_rest)
        except Exception as error:  # routing goes on without it
            _log.warning("the ledger's history is of no use: %s", error)
        self._thread = None


def _rest() -> None:
    time.sleep(0.001)  # an event loop must not wait for the interpreter


def _history(fleet: Fleet, book: Book, now: float) -> History:
    """What the ledger tells of a router's backends, with the models they have now."""
    models = {target.name: target.backend.model for target in fleet.targets}
    return read_history(book, now, models=models)


# -- the report ------------------------------------------------------------------


def outlook_report(fleet: Fleet, book: Book | None, now: float | None = None) -> Report:
    """What is to be expected of every backend; see ``Router.outlook``."""
    if book is None:
        raise ConfigError("outlook", "the next hours", _NO_LEDGER)
    wall = time.time() if now is None else now
    book.flush()
    made = study(_history(fleet, book, wall))
    limits = _limits(fleet, made, wall)
    rows = [
        _row(made, target.name, limits.get(target.index, []), wall)
        for target in fleet.targets
    ]
    data = {
        "backends": {row["backend"]: row for row in rows},
        "groups": {name: _loads(made, "group", name, wall) for name in made.groups},
        "days_of_history": made.days,
        "attempts": made.attempts,
        "history_helps": made.helps,
        "in_force": fleet.outlook is not None and made.helps,
    }
    columns = {"backend": "", "calls_a_minute": ".", "tokens_a_minute": "."}
    columns |= {"tokens_low": ".", "tokens_high": ".", "used_up": ""}
    columns |= {"ttft": "s", "itl": "s", "model": "", "why": ""}
    return Report(data, rows, columns, chart="tokens_a_minute")


def _loads(made: Study, scope: str, name: str, wall: float) -> dict[str, Any]:
    """Forecasts for an hour from now, with the range of four of five."""
    out: dict[str, Any] = {}
    for figure in LOADS:
        line = made.lines.get((scope, name, figure))
        value = made.load(scope, name, figure, wall + _HOUR)
        out[f"{figure}_a_minute"] = value
        out[f"{figure}_low"] = value * line.verdict.low if line else None
        out[f"{figure}_high"] = value * line.verdict.high if line else None
        out[f"{figure}_model"] = line.verdict.best if line else None
        out[f"{figure}_growth"] = line.growth * 0.6 if line else 0.0  # an hour
    return out


def _row(
    made: Study, name: str, limits: list[dict[str, Any]], wall: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"backend": name, **_loads(made, "backend", name, wall)}
    ends = [one["used_up_at"] for one in limits if one["used_up_at"] is not None]
    row["limits"] = limits
    row["used_up_at"] = min(ends, default=None)
    row["used_up"] = _clock(row["used_up_at"])
    ways, whys = [], []
    for figure in SPEEDS:
        line = made.lines.get(("backend", name, figure))
        row[figure] = line.at(made.steps(wall)) if line else None
        row[f"{figure}_wape"] = _errors(line)
        ways.append(line.verdict.best if line else "ewma")
        whys.append(line.verdict.why if line else "no history")
    row["model"] = "holt_winters" if "holt_winters" in ways else "ewma"
    at = ways.index("holt_winters") if "holt_winters" in ways else 0
    row["why"] = f"{SPEEDS[at]}: {whys[at]}"
    return row


def _errors(line: Line | None) -> dict[str, float]:
    """WAPE an hour ahead by way."""
    if line is None:
        return {}
    return {way: wape[DECIDE] for way, wape in line.verdict.wape.items()}


def _clock(when: float | None) -> str:
    if when is None:
        return "-"
    return f"{datetime.fromtimestamp(when, UTC):%a %H:%M} UTC"


_FIGURES = {"requests": "calls", "input_tokens": "input", "output_tokens": "output"}


def _limits(fleet: Fleet, made: Study, wall: float) -> dict[int, list[dict[str, Any]]]:
    """Every backend's limits, with the time at which each will be used up."""
    members: dict[int, list[str]] = {}
    views: dict[int, list[dict[str, Any]]] = {}
    for target in fleet.targets:
        views[target.index] = fleet.pool.backend(target.index)["limits"]
        for view in views[target.index]:
            members.setdefault(view["index"], []).append(target.name)

    def told(view: dict[str, Any]) -> dict[str, Any]:
        names = members[view["index"]]  # who is under it, and fills it together
        figure = _FIGURES.get(view["unit"], "tokens")

        def rate(step: int) -> float:
            when = made.end + (step - 1) * WIDTH
            return sum(made.load("backend", name, figure, when) for name in names)

        return {
            "unit": view["unit"],
            "limit": view["limit"],
            "window": view["window"],
            "used": view["used"],
            "used_up_at": used_up(view, rate, wall, made.end),
        }

    return {
        index: [told(view) for view in found if view["limit"] > 0]
        for index, found in views.items()
    }

"""Would prediction have helped? Asked of one's own ledger.

    found = backtest("costs.db")
    print(found)              # how well load and speed could be told; what it was worth
    found.helps, found.use    # False, {"strategy": "composite"}

Two questions. Could the history have told what came, by walking forward through it?
And on the last third of the ledger, replayed on a virtual clock (see _replay.py): would
calls have been cheaper, faster or more successful under ``predictive``, or with what
history says? Every setting meets the same calls with the same luck; differences are
taken seed by seed.
"""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .._checks import positive
from .._errors import ConfigError
from .._history._study import AHEAD, DECIDE, Study, study
from ._compare import _T, Comparison
from ._fit import is_streamed
from ._replay import Replay, history_of, make_replay
from ._result import Result
from ._run import run

_MINUTES = {1: "10 min", 6: "1 h"}
_WORTH = 0.01  # part of cost or p95 that a better setting must save
_HARM = 0.001  # success that it may not lose
_FIGURES = ("cost", "p95", "success")
# Label -> the Router's options that mean it.
SETTINGS: dict[str, dict[str, Any]] = {
    "composite": {"strategy": "composite", "predict": None},
    "predictive": {"strategy": "predictive", "predict": None},
    "composite + history": {"strategy": "composite", "predict": "auto"},
    "predictive + history": {"strategy": "predictive", "predict": "auto"},
}
_NOW = "composite"


class Backtest:
    """What a backtest found.

    ``study``: the ways of forecasting, judged on all of the history; ``comparison``:
    the settings on its last third; ``use``: the Router's options to use; ``helps``:
    whether they are others than the default; ``verdict`` in a sentence.
    """

    def __init__(self, whole: Study, replay: Replay, runs: Comparison) -> None:
        self.study = whole
        self.replay = replay
        self.comparison = runs
        best = self._best()
        self.use = dict(SETTINGS[best])
        self.helps = best != _NOW
        self.verdict = self._say(best)

    def change(self, label: str, figure: str) -> tuple[float, float]:
        """Return the mean change of a figure from the default, and half its 95 % range.

        The range is Student's, over differences seed by seed; inf for one seed.
        """
        pairs = zip(
            self.comparison.values(label, figure),
            self.comparison.values(_NOW, figure),
            strict=True,
        )
        apart = [a - b for a, b in pairs]
        n = len(apart)
        if n < 2:
            return mean(apart), math.inf
        t = _T[n - 2] if n - 2 < len(_T) else 1.96
        return mean(apart), t * stdev(apart) / math.sqrt(n)

    def _gain(self, label: str, figure: str) -> float:
        """The part that is surely saved (below 0: surely added), 0 when it may be luck.

        Of success: the share of calls.
        """
        change, half = self.change(label, figure)
        if abs(change) <= half:
            return 0.0
        if figure == "success":
            return change
        usual = self.comparison.mean(_NOW, figure)
        return -change / usual if usual > 0 else 0.0

    def _best(self) -> str:
        """The setting that saves most of cost and p95 together and harms nothing."""
        best, most = _NOW, 0.0
        for label in self.comparison.labels:
            gains = {figure: self._gain(label, figure) for figure in _FIGURES}
            if gains["success"] < -_HARM:
                continue
            if min(gains["cost"], gains["p95"]) < -_WORTH:
                continue
            worth = max(gains["cost"], gains["p95"])
            better = worth > _WORTH or gains["success"] > _HARM
            total = gains["cost"] + gains["p95"] + gains["success"]
            if better and total > most:
                best, most = label, total
        return best

    def _say(self, best: str) -> str:
        runs = self.comparison
        rivals = [label for label in runs.labels if label != _NOW]
        shown = best
        if best == _NOW:  # the nearest to helping
            shown = min(rivals, key=lambda label: self.change(label, "p95")[0])
        told = []
        for figure, form in (("cost", "${:.4f}"), ("p95", "{:.2f} s")):
            now, then = runs.mean(_NOW, figure), runs.mean(shown, figure)
            share = self.change(shown, figure)[0] / now if now else 0.0
            half = self.change(shown, figure)[1] / now if now else 0.0
            range_ = f" ± {half:.1%}" if half < math.inf else ""
            told.append(
                f"{figure} {form.format(then)} instead of {form.format(now)}"
                f" ({share:+.1%}{range_})"
            )
        success, half = self.change(shown, "success")
        told.append(f"success {runs.mean(shown, 'success'):.2%} ({success:+.2%})")
        calls, seeds = len(self.replay.trace), len(runs.results[_NOW])
        figures = f"{', '.join(told)} on {calls:,} calls, {seeds} seeds"
        if best == _NOW:
            return (
                f"Prediction would not have helped ({shown!r}: {figures}):"
                ' keep Router(strategy="composite") and leave predict off.'
            )
        options = ", ".join(f"{k}={v!r}" for k, v in self.use.items() if v is not None)
        return (
            f"Prediction would have helped ({shown!r}: {figures}):"
            f" use Router({options}, ledger=...)."
        )

    def errors(self) -> list[dict[str, Any]]:
        """Return a row for each figure of each backend and group: WAPE of each way.

        ``"ewma 1 h"``: the sum of misses an hour ahead over the sum of values.
        """
        rows = []
        for (scope, name, figure), line in self.study.lines.items():
            if figure in ("input", "output"):
                continue
            row: dict[str, Any] = {"of": f"{scope} {name}", "figure": figure}
            for way in ("last", "ewma", "holt_winters", "yesterday"):
                for steps in AHEAD:
                    wape = line.verdict.wape.get(way, {}).get(steps)
                    row[f"{way} {_MINUTES[steps]}"] = wape
            rows.append(row | {"best": line.verdict.best, "why": line.verdict.why})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; what is unknown or infinite is None."""
        found = {
            "verdict": self.verdict,
            "helps": self.helps,
            "use": self.use,
            "days": self.study.days,
            "attempts": self.study.attempts,
            "replayed": {
                "calls": len(self.replay.trace),
                "begin": self.replay.begin,
                "end": self.replay.end,
            },
            "errors": self.errors(),
            "settings": [
                {
                    "setting": label,
                    "options": SETTINGS[label],
                    **{
                        figure: self.comparison.mean(label, figure)
                        for figure in (*_FIGURES, "ttft_p95", "refusals", "waits")
                    },
                    **{f"{f}_change": self.change(label, f)[0] for f in _FIGURES},
                    **{f"{f}_pm": self.change(label, f)[1] for f in _FIGURES},
                }
                for label in self.comparison.labels
            ],
        }
        plain: dict[str, Any] = _finite(found)
        return plain

    def __repr__(self) -> str:
        lines = [
            f"{self.study.attempts:,} attempts of {self.study.days:.1f} days",
            "",
            "misses, as a share of the values (WAPE), "
            + " and ".join(_MINUTES[steps] for steps in AHEAD)
            + " ahead:",
            *_table(self.errors()),
            "",
            f"the last third again, {len(self.replay.trace):,} calls:",
            *_settings(self.to_dict()["settings"]),
            "",
            self.verdict,
        ]
        return "\n".join(lines)


def backtest(
    ledger: str | PathLike[str],
    *,
    days: float = 28.0,
    config: str | PathLike[str] | None = None,
    value: float | None = None,
    seeds: int = 5,
) -> Backtest:
    """Judge on a ledger whether prediction would have helped, and with which setting.

    ``days``: so many before its newest attempt, at most 28; ``config``: the Router's
    configuration file, for limits, prices and fallbacks (without it backends have the
    table's prices and no limits); ``value``: v, USD a second of waiting is worth;
    ``seeds``: runs of each setting. Raises ConfigError for files that are no ledger
    and for less than 100 calls in the last third.
    """
    positive("days", days)
    positive("value", value, zero=True)
    if not (isinstance(seeds, int) and seeds >= 2):
        raise ConfigError("seeds", seeds, "give a whole number >= 2")
    path = Path(ledger)
    if not path.is_file():
        raise ConfigError("ledger", str(path), "there is no such file")
    history = history_of(path, days)
    replay = make_replay(path, history, Path(config) if config else None)
    stream = is_streamed(path)
    results: dict[str, list[Result]] = {}
    for label, options in SETTINGS.items():
        usual = replay.usual if options["predict"] else []
        if options["predict"] and not usual:
            continue
        results[label] = [
            run(
                replay.trace,
                replay.fleet,
                strategy=options["strategy"],
                value=value,
                seed=seed,
                stream=stream,
                usual=usual,
            )
            for seed in range(seeds)
        ]
    return Backtest(study(history), replay, Comparison(results))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Ways side by side: ten minutes / an hour."""
    ways = ("last", "ewma", "holt_winters", "yesterday")
    lines = [["", "figure", *(way.replace("_", "-") for way in ways), "best"]]
    for row in rows:
        cells = []
        for way in ways:
            pair = [row[f"{way} {_MINUTES[steps]}"] for steps in AHEAD]
            cells.append(" / ".join("-" if w is None else f"{w:.1%}" for w in pair))
        lines.append([row["of"], row["figure"], *cells, row["best"].replace("_", "-")])
    return _aligned(lines)


def _settings(rows: list[dict[str, Any]]) -> list[str]:
    lines = [["", "cost $", "p95 s", "success", "429s", "waits"]]
    for row in rows:
        lines.append(
            [
                row["setting"],
                f"{row['cost']:.4f}",
                f"{row['p95']:.3f}",
                f"{row['success']:.2%}",
                f"{row['refusals']:.0f}",
                f"{row['waits']:.0f}",
            ]
        )
    return _aligned(lines)


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


assert DECIDE in _MINUTES and set(AHEAD) == set(_MINUTES)

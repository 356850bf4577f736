"""The experiments of a router as a table, and as a picture over time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from .._report import Report, Rows
from ._experiment import Experiment
from ._study import Comparison, Look, Study

_COLUMNS = {
    "arm": "",
    "units": "n",
    "calls": "n",
    "share": "%",
    "success": "%",
    "cost": "$",
    "p50": "s",
    "reward": ".",
    "lift": "%",
    "low": "%",
    "high": "%",
    "p": ".",
    "verdict": "",
}
_NOTEBOOK = "plot() needs matplotlib: pip install 'llmbalance[notebook]'"


class ExperimentsReport(Report):
    """A row for each arm; ``plot()`` draws shares and the metric over time."""

    def __init__(
        self, data: Mapping[str, Any], rows: Rows, studies: Mapping[str, Study]
    ) -> None:
        super().__init__(data, rows, _COLUMNS, chart="calls")
        self._studies = {
            name: (study.experiment, list(study.history))
            for name, study in studies.items()
        }

    def plot(self, column: str | None = None, ax: Any = None) -> Any:
        """Draw each experiment over time: shares on the left, the metric with its
        always-valid intervals on the right; returns the figure.

        With ``column``: that column as bars on ``ax``. Needs the ``notebook`` extra.
        """
        if column is not None or ax is not None:
            return super().plot(column, ax)
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError(_NOTEBOOK) from None
        count = max(len(self._studies), 1)
        figure, axes = pyplot.subplots(
            count, 2, figsize=(10, 3 * count), squeeze=False, layout="constrained"
        )
        for row, (experiment, history) in zip(
            axes, self._studies.values(), strict=False
        ):
            _draw(row, experiment, history)
        return figure


def _draw(row: Sequence[Any], experiment: Experiment, history: list[Look]) -> None:
    """One experiment: shares on the left, means within their intervals on the right."""
    left, right = row
    name = experiment.metric
    left.set(title=experiment.name, xlabel="hours", ylabel="share of calls")
    left.set_ylim(-0.02, 1.02)
    right.set(title=name, xlabel="hours", ylabel=_AXIS.get(name, name))
    if not history:
        return
    hours = [look.at / 3600 for look in history]
    ends: list[float] = []
    for i, arm in enumerate(experiment.arms):
        shares = [look.shares[i] for look in history]
        left.step(hours, shares, where="post", label=arm)
        means = [look.means[i] for look in history]
        halves = [look.halves[i] for look in history]
        low = [mean - half for mean, half in zip(means, halves, strict=True)]
        high = [mean + half for mean, half in zip(means, halves, strict=True)]
        right.plot(hours, means, label=arm)
        right.fill_between(hours, low, high, alpha=0.15)
        # The first intervals are so wide that nothing else could be seen.
        ends += [means[-1] + k * halves[-1] for k in (-2, 2)]
    known = [end for end in ends if end == end]
    if known:
        right.set_ylim(min(known), max(known))
    left.legend(fontsize="small")


_AXIS = {"cost": "USD a call", "latency": "ln seconds", "success": "share answered"}


def experiments_report(studies: Mapping[str, Study]) -> ExperimentsReport:
    """Return the state of experiments; see ``Router.experiments``."""
    now = time.monotonic()
    data: dict[str, Any] = {}
    rows: Rows = []
    for name, study in studies.items():
        study.work(now)
        experiment = study.experiment
        lines = [_row(study, i) for i in range(len(experiment.arms))]
        best = study.best()
        data[name] = {
            "metric": experiment.metric,
            "running": study.running,
            "seconds": now - study.started,
            "winner": None if best is None else study.split.arms[best],
            "arms": {line["name"]: line for line in lines},
        }
        rows += lines
    return ExperimentsReport(data, rows, studies)


def _row(study: Study, arm: int) -> dict[str, Any]:
    tally = study.tallies[arm]
    name = study.split.arms[arm]
    found: Comparison | None = study.compare(arm, 0) if arm else None
    return {
        "arm": f"{study.experiment.name}/{name}",
        "experiment": study.experiment.name,
        "name": name,
        "units": tally.units,
        "calls": tally.calls,
        "cancelled": tally.cancelled,
        "turned_away": study.turned_away[arm],
        "share": study.split.shares[arm] if study.running else 0.0,
        "success": tally.success(),
        "cost": tally.cost(),
        "total_cost": tally.nano / 1e9,
        "p50": tally.median(),
        "reward": tally.reward(),
        "rewarded": tally.rewarded,
        "metric": tally.mean if tally.n else None,
        "lift": found and found.lift,
        "low": found and found.low,
        "high": found and found.high,
        "p": found and found.p,
        "beats_control": study.beats(arm) if arm else None,
        "verdict": "control" if found is None else found.verdict,
    }

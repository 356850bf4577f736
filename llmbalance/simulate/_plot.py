"""Pictures of simulated runs, with matplotlib (the ``notebook`` extra)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ._tables import NOTEBOOK

if TYPE_CHECKING:
    from ._compare import Comparison
    from ._fit import Measured
    from ._result import Result

_OUTAGE = "0.85"  # grey
_DPI = 64


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"plot() needs matplotlib: {NOTEBOOK}") from None

    class Picture(Figure):  # type: ignore[misc, unused-ignore]
        """A figure that a notebook shows without pyplot."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            self.savefig(picture, format="png", dpi=_DPI)
            return picture.getvalue()

    figure = Picture(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _columns(result: Result, name: str) -> list[list[float]]:
    """One list over time for each backend."""
    rows, n = result.rows(), len(result.backends)
    return [[row[name] for row in rows[i::n]] for i in range(n)]


def plot_result(result: Result) -> Any:
    """Answers over time, headroom, latency, money."""
    figure, axes = _figure(2, 2, 10, 6)
    n = len(result.backends)
    times = [row["start"] / 60 for row in result.rows()[::n]]
    width = times[1] - times[0] if len(times) > 1 else 1.0
    rate = 60 * width
    share, headroom, latency, money = axes.flat

    share.stackplot(
        times,
        [[count / rate for count in column] for column in _columns(result, "done")],
        labels=result.backends,
    )
    share.set(title="answers", xlabel="minutes", ylabel="a second")
    share.legend(fontsize="x-small", loc="upper left")
    for trouble in result.fleet.troubles:
        begin, end = trouble.start / 60, (trouble.start + trouble.seconds) / 60
        if begin > times[-1]:
            continue
        end = min(end, times[-1] + width)
        share.axvspan(begin, end, color=_OUTAGE, alpha=0.5, zorder=3)

    for name, column in zip(result.backends, _columns(result, "headroom"), strict=True):
        headroom.plot(times, column, label=name)
    headroom.set(title="headroom", xlabel="minutes", ylim=(0, 1.02))

    for what, name in (("ttft", "first token"), ("seconds", "whole answer")):
        points = result.cdf(what)
        latency.plot([x for x, _ in points], [p for _, p in points], label=name)
    latency.set(title="latency", xlabel="seconds", ylabel="share")
    if result.p95 > 0:  # without a single answer there is nothing to lay out
        latency.set_xscale("log")
    latency.legend(fontsize="small")

    total = 0.0
    burn = []
    for spent in zip(*_columns(result, "cost"), strict=True):
        total += sum(spent)
        burn.append(total)
    money.plot([t + width for t in times], burn)
    money.set(title="money", xlabel="minutes", ylabel="USD", ylim=(0, None))
    figure.suptitle(f"{result.strategy}: ${result.cost:.2f}, p95 {result.p95:.2f} s")
    return figure


def plot_frontier(
    labels: Sequence[str],
    costs: Sequence[float],
    p95s: Sequence[float],
    best: Sequence[bool],
    bound: float | None = None,
) -> Any:
    """Cost against p95; the frontier is joined, a lower bound of cost is dashed."""
    figure, axes = _figure(1, 1, 7, 4.5)
    ax = axes[0][0]
    for label, cost, p95, good in zip(labels, costs, p95s, best, strict=True):
        ax.scatter([p95], [cost], color="C0" if good else "0.6", zorder=3)
        ax.annotate(
            label, (p95, cost), fontsize=8, xytext=(4, 3), textcoords="offset points"
        )
    line = sorted(
        (p95, cost) for p95, cost, good in zip(p95s, costs, best, strict=True) if good
    )
    ax.plot([x for x, _ in line], [y for _, y in line], color="C0", linewidth=1)
    if bound is not None:
        ax.axhline(bound, linestyle="--", color="C3", linewidth=1)
    ax.set(xlabel="p95, seconds", ylabel="USD", title="cost against p95")
    return figure


def plot_comparison(comparison: Comparison) -> Any:
    """The frontier of a comparison, beside the latency of its strategies."""
    return plot_frontier(
        comparison.labels,
        [comparison.mean(label, "cost") for label in comparison.labels],
        [comparison.mean(label, "p95") for label in comparison.labels],
        [label in comparison.frontier for label in comparison.labels],
        comparison.bound,
    )


def plot_fit(measured: Sequence[Measured], simulated: Sequence[Measured]) -> Any:
    """Distributions of both times, measured and simulated."""
    figure, axes = _figure(1, 2, 9, 3.5)
    for ax, name in zip(axes.flat, ("ttft", "seconds"), strict=True):
        for label, some in (("measured", measured), ("simulated", simulated)):
            values = sorted(getattr(one, name) for one in some)
            ax.plot(values, [(i + 1) / len(values) for i in range(len(values))])
            ax.lines[-1].set_label(label)
        ax.set(xlabel=f"{name}, seconds", xscale="log", ylabel="share")
        ax.legend(fontsize="small")
    return figure

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
_BESIDE = "outside right upper"
_TIMES = {"ttft": "first token", "seconds": "whole answer"}


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


def _clock(seconds: float) -> tuple[float, str]:
    """The unit (s) in which so much time is told, and its name."""
    for unit, name, most in ((60.0, "minutes", 180), (3600.0, "hours", 96)):
        if seconds <= unit * most:
            return unit, name
    return 86400.0, "days"


def _logarithmic(ax: Any) -> None:
    """Scale times, and write them as 0.5, 1, 2, 5, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def plot_result(result: Result) -> Any:
    """Answers over time, headroom, latency, money."""
    figure, axes = _figure(2, 2, 10, 6)
    n = len(result.backends)
    starts = [row["start"] for row in result.rows()[::n]]
    slice_s = starts[1] - starts[0] if len(starts) > 1 else 60.0
    unit, name = _clock(starts[-1] + slice_s)
    times, width = [start / unit for start in starts], slice_s / unit
    share, headroom, latency, money = axes.flat

    share.stackplot(
        times,
        [[count / slice_s for count in column] for column in _columns(result, "done")],
        labels=result.backends,
    )
    share.set(title="answers", xlabel=name, ylabel="a second")
    for trouble in result.fleet.troubles:
        begin, end = trouble.start / unit, (trouble.start + trouble.seconds) / unit
        if begin > times[-1]:
            continue
        end = min(end, times[-1] + width)
        share.axvspan(begin, end, color=_OUTAGE, alpha=0.5, zorder=3)
    figure.legend(*share.get_legend_handles_labels(), fontsize="small", loc=_BESIDE)

    for column in _columns(result, "headroom"):
        headroom.plot(times, column)
    headroom.set(title="headroom", xlabel=name, ylim=(0, 1.02))

    for what, told in _TIMES.items():
        points = result.cdf(what)
        latency.plot([x for x, _ in points], [p for _, p in points], label=told)
    latency.set(title="latency", xlabel="seconds", ylabel="share")
    if result.p95 > 0:  # without a single answer there is nothing to lay out
        _logarithmic(latency)
    latency.legend(fontsize="small")

    total = 0.0
    burn = []
    for spent in zip(*_columns(result, "cost"), strict=True):
        total += sum(spent)
        burn.append(total)
    money.plot([t + width for t in times], burn)
    money.set(title="money", xlabel=name, ylabel="USD", ylim=(0, None))
    figure.suptitle(f"{result.strategy}: ${result.cost:.2f}, p95 {result.p95:.2f} s")
    return figure


def _clear(boxes: list[tuple[float, ...]], box: tuple[float, ...]) -> bool:
    """Whether a box (left, low, right, high) overlaps none of the others."""
    return not any(
        box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3]
        for b in boxes
    )


def _label(
    ax: Any, labels: Sequence[str], x: Sequence[float], y: Sequence[float]
) -> None:
    """Write labels beside their points so that none hides another, if there is room."""
    letter, line = 4.6, 10.0  # points (1/72 inch) of small type
    width, height = (72 * side for side in ax.figure.get_size_inches() * 0.86)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    spots = [
        (width * (a - left) / (right - left), height * (b - low) / (high - low))
        for a, b in zip(x, y, strict=True)
    ]
    boxes: list[tuple[float, ...]] = [(a - 3, b - 3, a + 3, b + 3) for a, b in spots]
    for k in sorted(range(len(labels)), key=lambda k: spots[k]):
        (a, b), size = spots[k], letter * len(labels[k])
        offsets = [
            (dx, step * line - 3)
            for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5)
            for dx in (6.0, -size - 6)
        ]
        fits = [
            (dx, dy)
            for dx, dy in offsets
            if a + dx > 0 and a + dx + size < width and 0 < b + dy < height - line
            if _clear(boxes, (a + dx, b + dy, a + dx + size, b + dy + line))
        ]
        dx, dy = fits[0] if fits else offsets[0]
        boxes.append((a + dx, b + dy, a + dx + size, b + dy + line))
        how = {"fontsize": 8, "xytext": (dx, dy), "textcoords": "offset points"}
        ax.annotate(labels[k], (x[k], y[k]), **how)


def plot_frontier(
    labels: Sequence[str],
    costs: Sequence[float],
    p95s: Sequence[float],
    best: Sequence[bool],
    bound: float | None = None,
) -> Any:
    """Cost against p95; the frontier is joined, a lower bound of cost is dashed.

    Small differences look small: costs begin at 0, and p95 spans a fifth at least.
    """
    figure, axes = _figure(1, 1, 7, 4.5)
    ax = axes[0][0]
    colors = ["C0" if good else "0.6" for good in best]
    ax.scatter(p95s, costs, color=colors, zorder=3)
    line = sorted(
        (p95, cost) for p95, cost, good in zip(p95s, costs, best, strict=True) if good
    )
    ax.plot(
        *zip(*line, strict=True), color="C0", linewidth=1, label="worth considering"
    )
    if bound is not None:
        ax.axhline(bound, linestyle="--", color="C3", linewidth=1, label="lower bound")
    middle, (left, right) = (min(p95s) + max(p95s)) / 2, ax.get_xlim()
    ax.set_xlim(min(left, middle * 0.9), max(right, middle * 1.1))
    ax.set_ylim(0, max(costs) * 1.08 or 1.0)
    _label(ax, labels, p95s, costs)
    ax.set(xlabel="p95, seconds", ylabel="USD", title="cost against p95")
    ax.legend(fontsize="small", loc="lower left")
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
    for ax, (name, told) in zip(axes.flat, _TIMES.items(), strict=True):
        for label, some in (("measured", measured), ("simulated", simulated)):
            values = sorted(getattr(one, name) for one in some)
            ax.plot(values, [(i + 1) / len(values) for i in range(len(values))])
            ax.lines[-1].set_label(label)
        ax.set(xlabel=f"{told}, seconds", ylabel="share")
        _logarithmic(ax)
        ax.legend(fontsize="small")
    return figure

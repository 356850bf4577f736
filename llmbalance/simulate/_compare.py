"""Several strategies on the same traffic, under the same luck, several times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from statistics import mean, stdev
from typing import Any

from .._checks import one_of, positive, whole_numbers
from .._errors import ConfigError
from ._fleet import Fleet
from ._result import Result
from ._run import run
from ._tables import data_frame, html_table, table, write_csv
from ._trace import Trace

# Quantiles 0.975 of Student's t for 1, 2, ... degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
Policy = str | Mapping[str, Any]


class Comparison:
    """Results by strategy, every one for each seed.

    ``results``: label -> runs; ``frontier``: labels that no other strategy beats on
    cost, p95 and success at once; ``bound``: USD that no strategy can go below
    (None: not asked for).
    """

    def __init__(self, results: dict[str, list[Result]]) -> None:
        self.results = results
        self.labels = list(results)
        self.bound: float | None = None

    def values(self, label: str, figure: str) -> list[float]:
        """Return a figure of to_dict() for each seed."""
        one_of("label", label, self.results)
        one_of("figure", figure, self.results[label][0].to_dict())
        return [run.to_dict()[figure] for run in self.results[label]]

    def mean(self, label: str, figure: str) -> float:
        """Return its mean over the seeds."""
        return mean(self.values(label, figure))

    def interval(self, label: str, figure: str) -> float:
        """Return half its 95 % confidence interval (Student); 0 for a single run."""
        values = self.values(label, figure)
        n = len(values)
        if n < 2:
            return 0.0
        t = _T[n - 2] if n - 2 < len(_T) else 1.96
        return t * stdev(values) / math.sqrt(n)

    @property
    def frontier(self) -> list[str]:
        """Labels that no other one beats on cost, p95 and success at once."""
        points = {
            label: (
                self.mean(label, "cost"),
                self.mean(label, "p95"),
                -self.mean(label, "success"),
            )
            for label in self.labels
        }
        return [
            label
            for label, point in points.items()
            if not any(_beats(other, point) for other in points.values())
        ]

    def regret(self, label: str) -> float | None:
        """Return cost over the lower bound, minus 1; None without a bound."""
        if not self.bound:
            return None
        return self.mean(label, "cost") / self.bound - 1

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each strategy: means, and ``..._pm``, half intervals."""
        rows = []
        for label in self.labels:
            dicts = [run.to_dict() for run in self.results[label]]
            row: dict[str, Any] = {"strategy": label}
            for key, value in dicts[0].items():
                if key in ("strategy", "seed") or not isinstance(value, int | float):
                    continue
                row[key] = mean([d[key] for d in dicts])
            for key in ("cost", "p95", "success"):
                row[f"{key}_pm"] = self.interval(label, key)
            row["frontier"] = label in self.frontier
            row["regret"] = self.regret(label)
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return rows() by label."""
        return {row["strategy"]: row for row in self.rows()}

    def to_pandas(self) -> Any:
        """Return rows() as a DataFrame (needs the ``notebook`` extra)."""
        return data_frame(self.rows())

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write rows() to a file."""
        write_csv(path, self.rows())

    def plot(self) -> Any:
        """Draw cost against p95; a matplotlib Figure."""
        from ._plot import plot_comparison

        return plot_comparison(self)

    def best(self, *, p95: float | None = None, success: float | None = None) -> str:
        """Return the cheapest label with p95 (s) at most and success at least so much.

        Raises ConfigError when none reaches the goal, naming the nearest.
        """
        positive("p95", p95)
        positive("success", success, zero=True)
        good = [
            label
            for label in self.labels
            if (p95 is None or self.mean(label, "p95") <= p95)
            and (success is None or self.mean(label, "success") >= success)
        ]
        if not good:
            raise ConfigError("goal", {"p95": p95, "success": success}, self._nearest())
        return min(good, key=lambda label: self.mean(label, "cost"))

    def _nearest(self) -> str:
        told = []
        for word, figure, pick in (("fastest", "p95", min), ("safest", "success", max)):
            label = pick(self.labels, key=lambda one: self.mean(one, figure))
            p95, success = self.mean(label, "p95"), self.mean(label, "success")
            told.append(f"{word} is {label!r} with p95 {p95:.2f} s, {success:.3%}")
        return f"none reaches it; {'; '.join(told)}"

    def __getitem__(self, label: str) -> Result:
        one_of("label", label, self.results)
        return self.results[label][0]

    def __repr__(self) -> str:
        return table(self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.rows())


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def compare(
    trace: Trace,
    fleet: Fleet,
    *,
    strategies: Iterable[Policy] = ("composite", "cost", "latency", "round_robin"),
    repeats: int = 1,
    seed: int = 0,
    bound: bool = False,
    progress: bool = False,
    **options: Any,
) -> Comparison:
    """Run every strategy ``repeats`` times with seeds seed, seed + 1, ...

    ``strategies``: names, or mappings of run()'s ``strategy``, ``value`` and whatever
    else; ``bound``: also compute the offline optimum's cost (needs SciPy); the rest is
    run()'s. Labels are strategies with what else a mapping gives. Raises ConfigError
    for the same label twice.
    """
    positive("repeats", repeats)
    whole_numbers(repeats=repeats, seed=seed)
    results: dict[str, list[Result]] = {}
    for policy in [strategies] if isinstance(strategies, str) else strategies:
        chosen = {"strategy": policy} if isinstance(policy, str) else dict(policy)
        runs = [
            run(trace, fleet, seed=seed + k, progress=progress, **(options | chosen))
            for k in range(repeats)
        ]
        own = chosen.keys() - {"strategy", "value"}
        told = "".join(f" {name}={chosen[name]}" for name in sorted(own))
        for one in runs:
            one.strategy += told
        if runs[0].strategy in results:
            raise ConfigError("strategies", runs[0].strategy, "is there twice")
        results[runs[0].strategy] = runs
    if not results:
        raise ConfigError("strategies", [], "give one at least")
    comparison = Comparison(results)
    if bound:
        from ._optimum import lower_bound

        success = max(comparison.mean(label, "success") for label in results)
        comparison.bound = lower_bound(trace, fleet, success=success).cost
    return comparison


def sweep(
    trace: Trace,
    fleet: Fleet,
    *,
    v: Sequence[float] = (0.0, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2),
    weights: Sequence[Mapping[str, float]] = (),
    strategy: str = "composite",
    repeats: int = 1,
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> Comparison:
    """Try values of the dial v (USD a second), and weights of backends by name.

    Every v is tried with every entry of ``weights``. ``best(p95=3)`` of the result is
    the recommended dial for a goal, ``frontier`` the settings worth considering.
    """
    if isinstance(v, int | float) or not len(v):
        raise ConfigError("v", v, "give a list of values, one at least")
    if isinstance(weights, Mapping):
        raise ConfigError("weights", dict(weights), "give a list of such mappings")
    results: dict[str, list[Result]] = {}
    for setting in weights or [{}]:
        for name in setting:
            if name not in fleet.names:
                raise ConfigError("weights", name, f"known are {fleet.names}")
        weighted = [
            _weigh(backend, setting.get(backend.label)) for backend in fleet.backends
        ]
        changed = fleet.replace(backends=weighted) if setting else fleet
        told = "".join(f" {name}={weight:g}" for name, weight in setting.items())
        for value in v:
            found = compare(
                trace,
                changed,
                strategies=[{"strategy": strategy, "value": value}],
                repeats=repeats,
                seed=seed,
                progress=progress,
                **options,
            )
            for label, runs in found.results.items():
                for one in runs:
                    one.strategy = label + told
                results[label + told] = runs
    return Comparison(results)


def _weigh(backend: Any, weight: float | None) -> Any:
    from msgspec.structs import replace

    return backend if weight is None else replace(backend, weight=weight)

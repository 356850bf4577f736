"""What a simulated run cost and delivered."""

from __future__ import annotations

import struct
from os import PathLike
from typing import TYPE_CHECKING, Any

from .._checks import one_of
from .._core import Simulation
from .._errors import ConfigError
from ._tables import data_frame, html_table, table, write_csv

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet as RouterFleet
    from ._fleet import Fleet

_CELL = (
    *("sent", "done", "limited", "failed", "timed_out", "cost_nano_usd"),
    *("input", "cached", "output", "busy", "used", "breaker"),
)
_BREAKERS = ("closed", "open", "half_open", "ramp")
_SAMPLE = struct.Struct("=qffhBBi")
_ENDS = ("done", "failed", "timed_out", "refused")


class Result:
    """The outcome of run(): totals, quantiles, and every backend over time.

    Figures are of requests as their callers saw them, waits and failed attempts
    included; money is of all attempts. Times in seconds, money in USD.
    """

    def __init__(
        self,
        simulation: Simulation,
        made: RouterFleet,
        fleet: Fleet,
        strategy: str,
        value: float | None,
        seed: int,
        width: float,
        slices: int,
    ) -> None:
        self.strategy = strategy if value is None else f"{strategy} v={value:g}"
        self.seed = seed
        self.fleet = fleet
        self.backends = [backend.label for backend in fleet.backends]
        self.totals = simulation.totals()
        self._width = width
        self._slices = slices
        self._cells = simulation.cells()
        self._samples = simulation.samples()
        self._quantiles = {
            (what, p): simulation.quantile(what, p)
            for what in ("ttft", "seconds")
            for p in (-1.0, 0.5, 0.9, 0.95, 0.99, 1.0)
        }
        self._cdf = {
            what: [(simulation.quantile(what, i / 200), i / 200) for i in range(1, 201)]
            for what in ("ttft", "seconds")
        }
        self._budgets = [
            (meter.budget, made.pool.budget(meter.index)) for meter in made.meters
        ]

    # -- figures -------------------------------------------------------------

    @property
    def cost(self) -> float:
        """USD of all attempts."""
        return float(self.totals["cost_nano_usd"] / 1e9)

    @property
    def success(self) -> float:
        """Share of requests that were answered, 0 to 1."""
        return float(self.totals["done"] / max(self.totals["requests"], 1))

    @property
    def p95(self) -> float:
        """Seconds within which 95 % of the answers were complete."""
        return self._quantiles["seconds", 0.95]

    @property
    def failed(self) -> int:
        """Requests that were not answered."""
        return int(self.totals["requests"] - self.totals["done"])

    def to_dict(self) -> dict[str, Any]:
        """Return every figure of the run.

        cost, wasted (USD; for attempts that failed), success (share), requests,
        failed, timed_out, refused, attempts, refusals (429s received), failures,
        time_outs, absorbed (requests that succeeded after trouble), waits, waited (s),
        ttft and latency quantiles (s), tokens, cache_hit (share of input tokens read
        from a prompt cache), stickiness (share of follow-ups served where the one
        before was; None without sessions), share (of answers), utilisation (calls in
        flight on average) and headroom (least share left of the fullest limit at the
        end of a slice), by backend.
        """
        t = self.totals
        q = self._quantiles
        return {
            "strategy": self.strategy,
            "seed": self.seed,
            "requests": t["requests"],
            "success": self.success,
            "cost": self.cost,
            "cost_nano_usd": t["cost_nano_usd"],
            "wasted": t["wasted_nano_usd"] / 1e9,
            "failed": t["failed"],
            "timed_out": t["timed_out"],
            "refused": t["refused"],
            "attempts": t["attempts"],
            "refusals": t["attempts_limited"],
            "failures": t["attempts_failed"],
            "time_outs": t["attempts_timed_out"],
            "absorbed": t["absorbed"],
            "waits": t["waits"],
            "waited": t["waited"],
            "ttft_mean": q["ttft", -1.0],
            "ttft_p50": q["ttft", 0.5],
            "ttft_p95": q["ttft", 0.95],
            "ttft_p99": q["ttft", 0.99],
            "mean": q["seconds", -1.0],
            "p50": q["seconds", 0.5],
            "p90": q["seconds", 0.9],
            "p95": q["seconds", 0.95],
            "p99": q["seconds", 0.99],
            "longest": q["seconds", 1.0],
            "input_tokens": t["input_tokens"],
            "output_tokens": t["output_tokens"],
            "cached_tokens": t["cached_tokens"],
            "cache_hit": t["cached_tokens"] / max(t["input_tokens"], 1),
            "stickiness": t["sticky"] / t["follow_ups"] if t["follow_ups"] else None,
            "seconds": t["seconds"],
            "share": self._by_backend("done", t["done"]),
            "spending": self._by_backend("cost_nano_usd", 1e9),
            "utilisation": self._by_backend("busy", t["seconds"]),
            "headroom": self._lowest_headroom(),
            "budgets": [self._budget(*pair) for pair in self._budgets],
        }

    def _by_backend(self, name: str, whole: float) -> dict[str, float]:
        k, n = _CELL.index(name), len(self.backends)
        return {
            backend: sum(cell[k] for cell in self._cells[i::n]) / max(whole, 1e-12)
            for i, backend in enumerate(self.backends)
        }

    def _lowest_headroom(self) -> dict[str, float]:
        k, n = _CELL.index("used"), len(self.backends)
        return {
            backend: max(0.0, 1 - max(cell[k] for cell in self._cells[i::n]))
            for i, backend in enumerate(self.backends)
        }

    def _budget(self, budget: Any, state: Any) -> dict[str, Any]:
        return {
            "per": budget.per,
            "usd": budget.usd,
            "spent": state["spent"] / 1e9,
            "lifetime": state["lifetime"] / 1e9,
        }

    # -- tables --------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each slice of time and backend.

        start (s), sent, done, limited, failed, timed_out (attempts), cost (USD),
        input, cached, output (tokens), in_flight (mean), headroom (share left of the
        fullest limit at the end of the slice), breaker (state at its end).
        """
        rows = []
        n = len(self.backends)
        for at, cell in enumerate(self._cells):
            row = dict(zip(_CELL, cell, strict=True))
            rows.append(
                {
                    "start": at // n * self._width,
                    "backend": self.backends[at % n],
                    **{k: row[k] for k in _CELL[:5]},
                    "cost": row["cost_nano_usd"] / 1e9,
                    **{k: row[k] for k in ("input", "cached", "output")},
                    "in_flight": row["busy"] / self._width,
                    "headroom": max(0.0, 1 - row["used"]),
                    "breaker": _BREAKERS[row["breaker"]],
                }
            )
        return rows

    def requests(self) -> list[dict[str, Any]]:
        """Return what became of every request; empty unless run with samples=True."""
        names = [*self.backends, None]
        return [
            {
                "cost": cost / 1e9,
                "ttft": ttft,
                "seconds": seconds,
                "backend": names[backend],
                "attempts": attempts,
                "end": _ENDS[end],
                "cached": cached,
            }
            for cost, ttft, seconds, backend, attempts, end, cached in (
                _SAMPLE.iter_unpack(self._samples)
            )
        ]

    def cdf(self, what: str = "seconds") -> list[tuple[float, float]]:
        """Return (seconds, share answered by then), of "ttft" or "seconds"."""
        one_of("what", what, self._cdf)
        return list(self._cdf[what])

    def to_pandas(self, *, requests: bool = False) -> Any:
        """Return rows(), or requests(), as a DataFrame (needs ``notebook``)."""
        if requests and not self._samples and self.totals["requests"]:
            raise ConfigError("requests", True, "is for runs with samples=True")
        return data_frame(self.requests() if requests else self.rows())

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write rows() to a file."""
        write_csv(path, self.rows())

    def plot(self) -> Any:
        """Draw share, cost, headroom and latency; a matplotlib Figure."""
        from ._plot import plot_result

        return plot_result(self)

    def __repr__(self) -> str:
        return table([self.to_dict()])

    def _repr_html_(self) -> str:
        return html_table([self.to_dict()])

"""What a fleet, its limits and a strategy would cost and deliver, in seconds.

    from llmbalance import Backend, Limits
    from llmbalance.simulate import Fleet, Trace, run

    trace = Trace.poisson(rate=5, seconds=3600, seed=1)
    fleet = Fleet([Backend("openai/gpt-4o"), Backend("anthropic/claude-sonnet-4-5")])
    print(run(trace, fleet, strategy="composite", seed=1))

The decisions are made by the code that runs in production, on a virtual clock.
"""

from __future__ import annotations

from ._backtest import Backtest, backtest
from ._compare import Comparison, compare, sweep
from ._fit import Fit, fit_service
from ._fleet import Fleet
from ._optimum import Bound, Regret, lower_bound, regret
from ._result import Result
from ._run import run
from ._service import PriceChange, Service, Trouble
from ._strategies import REFERENCES
from ._trace import Trace

__all__ = [
    "REFERENCES",
    "Backtest",
    "Bound",
    "Comparison",
    "Fit",
    "Fleet",
    "PriceChange",
    "Regret",
    "Result",
    "Service",
    "Trace",
    "Trouble",
    "backtest",
    "compare",
    "fit_service",
    "lower_bound",
    "regret",
    "run",
    "sweep",
]

"""The strategies a simulation knows: our own, and other routers' for comparison."""

from __future__ import annotations

from .._checks import one_of
from .._core import STRATEGIES

# Rules of others, re-implemented from their documented definitions (csrc/sim_rules.h).
REFERENCES = (
    *("litellm_simple_shuffle", "litellm_usage_based", "litellm_latency_based"),
    *("litellm_cost_based", "p2c_least_busy", "p2c_peak_ewma", "lowest_average"),
)


def split(strategy: str) -> tuple[str, str | None]:
    """Return the pool's strategy and the rule of others that replaces it, if any."""
    one_of("strategy", strategy, (*STRATEGIES, *REFERENCES))
    return ("composite", strategy) if strategy in REFERENCES else (strategy, None)

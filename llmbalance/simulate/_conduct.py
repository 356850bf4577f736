"""What the router allows its calls around each choice, told to a simulation.

the router      time-outs, the line of those who wait, repetitions
a group         time and attempts there, where prompts go that are too long
a backend       time-outs of one attempt
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .._checks import positive, switches, whole_numbers
from .._config import Backend, Timeouts
from .._core import Simulation
from .._errors import ConfigError
from .._fleet._groups import Terms
from .._fleet._retries import Retries
from ._service import MOST, of_kind

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet as RouterFleet

_LONGER = 8  # groups that the core has room for
_MOST = 16  # attempts of one call, wherever


class Conduct:
    """The Router's options of these names, as a simulation keeps to them."""

    def __init__(
        self,
        timeout: float = 600.0,
        timeouts: Timeouts | None = None,
        wait: bool = True,
        max_waiting: int | None = None,
        retry_budget: float | None = 0.2,
    ) -> None:
        self.timeout = timeout_of(timeout)
        if timeouts is not None:
            of_kind("timeouts", timeouts, Timeouts)
        self.timeouts = timeouts or Timeouts()
        switches(wait=wait)
        self.wait = wait
        whole_numbers(max_waiting=max_waiting)
        positive("max_waiting", max_waiting, zero=True)
        self.max_waiting = max_waiting
        self.retries = None if retry_budget is None else Retries(retry_budget)

    def options(self) -> dict[str, Any]:
        """Return them as they were given."""
        return {
            "timeout": self.timeout,
            "timeouts": self.timeouts,
            "wait": self.wait,
            "max_waiting": self.max_waiting,
            "retry_budget": None if self.retries is None else self.retries.share,
        }

    def core(self) -> dict[str, Any]:
        """Return what the core's Simulation takes when it is made."""
        return {
            "wait": self.wait,
            "max_waiting": -1 if self.max_waiting is None else self.max_waiting,
            "retries": -1.0 if self.retries is None else self.retries.share,
        }

    def tell(
        self, simulation: Simulation, made: RouterFleet, backends: Iterable[Backend]
    ) -> None:
        """Tell a simulation what its groups and backends allow."""
        for group, terms in made.group_terms.items():
            simulation.terms(group, **_allowed(terms))
        for i, backend in enumerate(backends):
            simulation.patience(i, **_patience(backend.timeouts or self.timeouts))


def timeout_of(timeout: float) -> float:
    """Check the time-out of a call in s."""
    positive("timeout", timeout)
    if timeout > MOST:
        raise ConfigError("timeout", timeout, f"give at most {MOST:.0e} s")
    return float(timeout)


def _allowed(terms: Terms) -> Mapping[str, Any]:
    """Failures of stations are of three kinds."""
    if len(terms.context) > _LONGER:
        remedy = f"a simulation has room for {_LONGER}"
        raise ConfigError("context_fallbacks", len(terms.context), remedy)
    kinds = {
        "failure": "server",
        "refusal": "rate_limit",
        "lateness": "request_timeout",
    }
    return {
        "timeout": terms.timeout or 0.0,
        "most": min(terms.most(None) or 0, _MOST),
        **{word: min(terms.most(kind) or 0, _MOST) for word, kind in kinds.items()},
        "longer": terms.context,
    }


def _patience(timeouts: Timeouts) -> Mapping[str, float]:
    """A station says nothing before its first token."""

    def least(*bounds: float | None) -> float:
        return min((bound for bound in bounds if bound), default=0.0)

    return {
        "first_token": least(timeouts.first_byte, timeouts.first_token),
        "total": least(timeouts.first_byte, timeouts.total),
    }

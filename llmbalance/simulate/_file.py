"""A Router's configuration file, read for a simulation; what that leaves out, by name.

What decides where calls go is either simulated as the Router does it, or refused, or
stands in ``left_out``: nothing is dropped unseen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .._config import Backend, Budget
from .._configfile._load import Reader
from .._configfile._places import ConfigFileError, read
from .._fleet._groups import Group

_log = logging.getLogger("llmbalance")

TAKEN = (
    *("groups", "aliases", "budgets", "prices", "unknown_price", "breaker"),
    *("shift_at", "stop_at", "sessions"),
    *("timeout", "timeouts", "wait", "max_waiting", "retry_budget"),
)
# Options that send, hold back or repeat calls in ways a simulation does not, and what
# it does instead.
LEFT_OUT = {
    "hedge": "late calls are not sent twice",
    "health_interval": "nobody looks at backends beside the calls",
    "predict": "history is not looked at (llmbalance backtest does)",
    "tasks": "requests ask for the groups of their trace",
    "classifier": "requests ask for the groups of their trace",
    "experiments": "requests are not dealt to arms",
    "mirrors": "no request is copied",
}
# Options that change nothing of a trace's calls: run() is given a strategy and a seed,
# sessions are the trace's, wildcards are refused.
IDLE = (
    *("strategy", "seed", "auto_session", "max_models", "ledger", "postprocess"),
    *("default_task", "shadow_classifier"),
)
_CALLS = ("tag", "task", "user")


class _Keyless(Reader):
    """Reads files whose keys need not be set."""

    def _keyed(self, path: Any, table: Mapping[str, Any]) -> bool:
        return True

    def _callable(self, path: Any, backend: Backend) -> bool:
        return True


def read_fleet(
    path: str | PathLike[str],
) -> tuple[list[Backend], dict[str, Any], list[str]]:
    """Return backends, options of a simulated fleet, and what is left out of both.

    Raises ConfigFileError with all faults of the file.
    """
    reader = _Keyless(read(Path(path)))
    plan = reader.plan()
    if reader.faults:
        raise ConfigFileError(sorted(reader.faults, key=lambda fault: fault.line))
    options = {name: plan.options[name] for name in TAKEN}
    options["value"] = plan.options["v"]
    told = [f"{name}: {why}" for name, why in LEFT_OUT.items() if plan.options[name]]
    return plan.backends, options, told


def left_out(groups: Iterable[Group], budgets: Iterable[Budget]) -> Iterator[str]:
    """Yield what groups and budgets ask for and a simulation does not do."""
    for group in groups:
        if group.hedge:
            yield f"hedge of group {group.name!r}: {LEFT_OUT['hedge']}"
        if group.content_filter_fallbacks:
            name = f"content_filter_fallbacks of group {group.name!r}"
            yield f"{name}: nothing is refused for its content"
    for budget in budgets:
        scope, _ = budget.scope or ("", "")
        if scope in _CALLS:
            yield f"{budget.label}: requests have no {scope}"


def warn(path: str | PathLike[str], told: Iterable[str]) -> None:
    """Log what a simulation of a file leaves out."""
    lines = "".join(f"\n  {one}" for one in told)
    if lines:
        _log.warning("%s: not simulated:%s", path, lines)

"""What the arms of experiments in a file ask for, each option at its own place.

[experiment.cheaper.arms]
cheap = { model = "econmy", max_cots = 1 }     two faults, each with its line
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .._call._options import ROUTING
from .._core import STRATEGIES
from .._fleet._parameters import PARAMETERS
from ._places import Path
from ._tables import suggestion

_OPTIONS = PARAMETERS | ROUTING | {"model"}


def check_arms(
    path: Path,
    table: Any,
    fault: Callable[[Path, str], None],
    known: Callable[[Path, str], object],
) -> None:
    """Note what is wrong with the arms of one experiment; ``known`` notes names."""
    for place, name, value in _options(path, table):
        if name not in _OPTIONS:
            fault(place, f"no option of a call; {suggestion(name, _OPTIONS)}")
        elif name == "strategy" and value not in STRATEGIES:
            fault(place, f"no strategy {value!r}; {suggestion(value, STRATEGIES)}")
        elif name == "model" and isinstance(value, str):
            known(place, value)
        elif name == "fallbacks" and isinstance(value, list):
            for i, goal in enumerate(value):
                if isinstance(goal, str):
                    known((*place, i), goal)


def _options(path: Path, table: Any) -> Iterator[tuple[Path, str, Any]]:
    arms = table.get("arms") if isinstance(table, Mapping) else None
    for arm, options in arms.items() if isinstance(arms, Mapping) else ():
        for name, value in options.items() if isinstance(options, Mapping) else ():
            if not (isinstance(value, str) and value.startswith("env:")):
                yield (*path, "arms", arm, name), name, value

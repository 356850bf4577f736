"""Look at a configuration without using it: ``llmbalance check FILE``.

    report = check_config("llmbalance.toml")
    report.ok; report.errors; report.notes; print(report)

Nothing is sent; the Router is built and thrown away, so that what only shows when all
parts meet is found, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import Struct

from .._errors import ConfigError
from .._report import Report
from .._router import Router
from ._load import Plan, load
from ._places import ConfigFileError, Note, read
from ._reload import NEED_LEDGER


class CheckReport(Struct, frozen=True):
    """What a look at a configuration found.

    ``fleet`` has a row for every backend: groups, limits, prices in USD per million
    tokens; it is empty when there are errors.
    """

    file: str
    errors: tuple[Note, ...] = ()
    notes: tuple[Note, ...] = ()
    fleet: Report | None = None

    @property
    def ok(self) -> bool:
        """Whether a router can be made of it."""
        return not self.errors

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors]
        lines += [f"{note} ({note.kind})" for note in self.notes]
        if self.fleet is not None:
            lines += ["", str(self.fleet), ""]
        count = len(self.errors)
        verdict = f"{count} error{'s' * (count != 1)}" if count else "is good"
        return "\n".join([*lines, f"{self.file}: {verdict}"])


def check_config(
    source: str | FilePath | Mapping[str, Any], *, strict: bool = False
) -> CheckReport:
    """Look at a configuration, this project's or LiteLLM's (one with ``model_list``).

    ``strict``: what a LiteLLM configuration asks for in vain is an error, too. Raises
    nothing for what the file says; OSError when it cannot be read.
    """
    file = "(dict)" if isinstance(source, Mapping) else str(source)
    try:
        plan = _plan(source, strict)
        # Without its ledger: a look must leave no file behind.
        options = {k: v for k, v in plan.options.items() if k not in NEED_LEDGER}
        plan = msgspec.structs.replace(plan, options=options)
        router = plan.build(Router)
    except ConfigFileError as error:
        return CheckReport(file, tuple(error.errors))
    except ConfigError as error:
        return CheckReport(file, (Note(file, 0, error.field, str(error)),))
    return CheckReport(file, (), plan.notes, _fleet_report(router))


def _plan(source: str | FilePath | Mapping[str, Any], strict: bool) -> Plan:
    data = read(source).data
    if {"model_list", "litellm_settings", "router_settings"} & data.keys():
        from .._litellm._plan import load_litellm

        return load_litellm(source, strict=strict)
    return load(source)


def _fleet_report(router: Router) -> Report:
    fleet = router._fleet
    rows = []
    for target, row in zip(fleet.targets, fleet.rates.rows, strict=True):
        backend = target.backend
        limits = backend.limits.all() if backend.limits else []
        said = [f"{limit.amount} {limit.what}/{limit.per}" for limit in limits]
        if backend.limits and backend.limits.concurrency is not None:
            said.append(f"{backend.limits.concurrency} at once")
        known = target.name not in fleet.rates.unpriced
        rows.append(
            {
                "backend": target.name,
                "model": backend.model,
                "groups": ", ".join(backend.groups),
                "weight": f"{backend.weight:g}",
                "limits": ", ".join(said),
                "input": _usd(row.cost(input=1000)) if known else "unknown",
                "output": _usd(row.cost(output=1000)) if known else "unknown",
            }
        )
    columns = ("backend", "model", "groups", "weight", "limits", "input", "output")
    data = {str(row["backend"]): row for row in rows}
    return Report(data, rows, dict.fromkeys(columns, ""))


def _usd(nano: int | None) -> str:
    """USD per million tokens, of the cost of a thousand in nano-USD."""
    return "unknown" if nano is None else f"${nano / 1e6:g}"

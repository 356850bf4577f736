"""``llmbalance costs``: what a ledger says, also while a service writes to it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .._books._costs import ledger_costs, ledger_forecast
from .._errors import ConfigError
from .._money._ledger import Ledger
from .._money._windows import since_when


def run(words: Sequence[str]) -> int:
    """Carry the command out; returns the exit code."""
    parser = argparse.ArgumentParser(prog="llmbalance costs", description=__doc__)
    parser.add_argument("ledger", type=Path, help="the file named as ledger=")
    parser.add_argument(
        "--by",
        default="backend",
        help="backend, group, model, task, user, tag, tag:KEY, kind, status, day, hour",
    )
    parser.add_argument(
        "--since", default="7d", help='"24h", "7d", "month", a date (default 7d)'
    )
    parser.add_argument(
        "--forecast", action="store_true", help="what this month will have cost"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write it there")
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    options = parser.parse_args(words)
    if not options.ledger.is_file():  # a mistyped name must not become a new ledger
        raise ConfigError("ledger", str(options.ledger), "there is no such file")
    now = time.time()
    since = since_when(options.since, now)
    with Ledger(options.ledger) as ledger:
        if options.forecast:
            report = ledger_forecast(ledger, now)
        else:
            report = ledger_costs(ledger, options.by, since)
    if options.csv is not None:
        report.to_csv(options.csv)
    print(msgspec.json.encode(report).decode() if options.json else report)
    return 0

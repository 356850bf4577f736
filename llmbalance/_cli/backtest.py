"""``llmbalance backtest LEDGER``: would prediction have helped on this traffic?

Says how well load and speed could have been told from history, replays the ledger's
last third under each setting, and ends with one sentence: the setting to use.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec


def run(words: Sequence[str]) -> int:
    """Carry the command out; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="llmbalance backtest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ledger", type=Path, help="the file named as ledger=")
    parser.add_argument(
        "--days",
        type=float,
        default=28.0,
        help="so many before its newest attempt (default 28, the most)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the Router's file: limits, prices, fallbacks; without it there are no"
        " limits and the prices are the table's",
    )
    parser.add_argument(
        "--v", type=float, help="USD a second of waiting is worth, as the Router's"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="runs of each setting (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    options = parser.parse_args(words)
    from ..simulate._backtest import backtest

    found = backtest(
        options.ledger,
        days=options.days,
        config=options.config,
        value=options.v,
        seeds=options.seeds,
    )
    if options.json:
        print(
            msgspec.json.format(msgspec.json.encode(found.to_dict()), indent=1).decode()
        )
    else:
        print(found)
    return 0

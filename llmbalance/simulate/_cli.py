"""``llmbalance simulate``: what a fleet and every strategy would cost on a trace."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .._checks import seconds_of
from .._core import STRATEGIES
from .._errors import ConfigError
from ._compare import Comparison, compare
from ._fit import fit_service, is_ledger, is_streamed
from ._fleet import Fleet
from ._service import Service
from ._strategies import REFERENCES
from ._trace import Trace


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmbalance simulate", description=__doc__)
    parser.add_argument("fleet", type=Path, help="a Router's configuration file")
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="a CSV (at, input, output), a public trace, or a ledger;"
        " without it a made-up day",
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="requests a second of the made-up day"
    )
    parser.add_argument("--for", dest="span", default="1d", help="its length (1d)")
    parser.add_argument("--group", help="the group all requests ask for")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="so many times as fast"
    )
    parser.add_argument(
        "--strategies",
        default=",".join(STRATEGIES),
        help=f"with commas; also {', '.join(REFERENCES)}, or 'all'",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", help="of a request (default: the file's)")
    parser.add_argument(
        "--stream",
        action="store_true",
        help="calls are streams (of a ledger: as most of it)",
    )
    parser.add_argument("--p95", type=float, help="goal: 95 %% within so many seconds")
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="LEDGER",
        help="learn there how fast backends are (default: the trace, if it is a"
        " ledger); without it all are as hosted APIs usually are",
    )
    parser.add_argument(
        "--bound", action="store_true", help="tell what no strategy can go below"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write the table there"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost and p95")
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    return parser


def run(words: Sequence[str]) -> int:
    """Carry the command out; returns the exit code."""
    options = _parser().parse_args(words)
    try:
        _simulate(options)
    except ImportError as error:  # what the notebook extra brings
        raise ConfigError("extra", error.name, str(error)) from None
    except OSError as error:
        raise ConfigError("file", error.filename, str(error.strerror)) from None
    return 0


def _simulate(options: argparse.Namespace) -> None:
    fleet = Fleet.from_file(options.fleet)
    trace = _trace(options)
    services = _services(options, fleet)
    if services:
        fleet = fleet.replace(services=services)
    names = options.strategies.split(",")
    if options.strategies == "all":
        names = [*STRATEGIES, *REFERENCES]
    found = compare(
        trace,
        fleet,
        strategies=names,
        repeats=options.repeats,
        seed=options.seed,
        timeout=options.timeout and _seconds("timeout", options.timeout),
        stream=_streamed(options),
        bound=options.bound,
    )
    if options.json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        known = ", ".join(services) or "of none; all are as hosted APIs usually are"
        left_out = "".join(f"\nnot simulated: {one}" for one in fleet.left_out)
        print(f"{trace!r}, {fleet!r}{left_out}\nmeasured speed: {known}\n")
        print(f"{found!r}\n\n{_advice(found)}")
    if options.csv is not None:
        found.to_csv(options.csv)
    if options.plot is not None:
        _draw(found, options.plot)
    if not options.json and options.p95 is not None:
        best = found.best(p95=options.p95)
        print(f"cheapest with p95 of {options.p95:g} s at most: {best}")


def _draw(found: Comparison, path: Path) -> None:
    try:
        found.plot().savefig(path)
    except ValueError as error:  # no such format
        raise ConfigError("plot", str(path), str(error)) from None


def _trace(options: argparse.Namespace) -> Trace:
    if options.trace is not None:
        trace = Trace.from_file(options.trace)
    else:
        days = _seconds("for", options.span) / 86400
        trace = Trace.daily(options.rate, days, seed=options.seed)
    if options.group is not None:
        trace = trace.in_group(options.group)
    return trace.scale(options.scale) if options.scale != 1 else trace


def _streamed(options: argparse.Namespace) -> bool:
    path = options.measured or options.trace
    told: bool = options.stream
    return told or (path is not None and is_ledger(path) and is_streamed(path))


def _services(options: argparse.Namespace, fleet: Fleet) -> dict[str, Service]:
    """How fast backends are that a ledger has enough answers of."""
    path = options.measured or options.trace
    if path is None or not is_ledger(path):
        if options.measured is not None:
            raise ConfigError("measured", str(path), "is no ledger")
        return {}
    found = {}
    for name in fleet.names:
        with suppress(ConfigError):  # too few answers
            found[name] = fit_service(path, backend=name).service
    return found


def _seconds(field: str, text: str) -> float:
    """Read "90", "90s" or "2h"."""
    try:
        return seconds_of(field, float(text))
    except ValueError:
        return seconds_of(field, text)


def _advice(found: Comparison) -> str:
    text = f"worth considering: {', '.join(found.frontier)}"
    if found.bound is not None:
        cheapest = found.best()
        over = found.regret(cheapest) or 0.0
        text += f"\nno strategy costs less than ${found.bound:.4f}; "
        text += f"{cheapest} is {over:.1%} above"
    return text

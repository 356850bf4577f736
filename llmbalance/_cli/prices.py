"""``llmbalance prices``: look up a price, compare a table of others, take it over.

    llmbalance prices show openai/gpt-4o
    llmbalance prices diff litellm.json
    llmbalance prices update https://.../prices.json --out prices.json

A file that ``update`` wrote holds what differs from the built-in table; it is used as
``Router(prices=PriceTable.load("prices.json"))``.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from .._errors import ConfigError
from .._money._price_rows import ModelInfo
from .._money._prices import PriceTable
from .._money._prices import Report as Overlay
from .._price import TOKEN_KINDS, Price

_CAN = ("tools", "vision", "json")
_PIECES = ("request", "image", "second", "search")


def run(words: Sequence[str]) -> int:
    """Carry the command out; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="llmbalance prices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shows = commands.add_parser("show", help="what is known of a model")
    shows.add_argument("model", help="provider/model, or a model alone")
    shows.add_argument("--prices", metavar="FILE", help="lay this table over first")
    for name, text in (
        ("diff", "what a table would change"),
        ("update", "write what a table changes"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("source", help="file or http(s) address of a table")
    command.add_argument(
        "--out", type=Path, default=Path("prices.json"), metavar="FILE"
    )
    options = parser.parse_args(words)
    if options.command == "show":
        table = PriceTable.load(options.prices) if options.prices else PriceTable()
        return show(table, options.model)
    table, report = overlaid(options.source)
    print("\n".join(difference(PriceTable(), table, report)))
    if options.command == "update":
        write(options.out, table, report, options.source)
    return 0


def overlaid(source: str) -> tuple[PriceTable, Overlay]:
    """The built-in table under ``source``, and what that changed."""
    table = PriceTable()
    try:
        return table, table.overlay(source)
    except OSError as error:
        raise ConfigError("source", source, f"cannot be read: {error}") from None


# -- show ------------------------------------------------------------------------


def show(table: PriceTable, model: str) -> int:
    """Print everything known of a model; 1 when nothing is."""
    info = table.find(model)
    if info is None:
        names = [f"{each.provider}/{each.model}" for each in table]
        bare = {name.partition("/")[2]: name for name in names}
        near = difflib.get_close_matches(model, [*names, *bare], n=3)
        hint = ", ".join(dict.fromkeys(bare.get(name, name) for name in near))
        print(f"no price of {model!r} is known", file=sys.stderr)
        if hint:
            print(f"similar names: {hint}", file=sys.stderr)
        return 1
    print("\n".join(described(info)))
    return 0


def described(info: ModelInfo) -> Iterable[str]:
    """Lines about a model: rates, conditions, facts, source."""
    yield f"{info.provider}/{info.model} ({info.kind})"
    yield from rates(info.price, "USD per million tokens")
    for n, price in sorted(info.price.above.items()):
        yield from rates(price, f"for more than {n:,} input tokens")
    for name, tier in info.price.tiers.items():
        if isinstance(tier, Price):
            yield from rates(tier, f"service tier {name}")
        else:
            yield f"  service tier {name}: x {tier}"
    for name, factor in info.price.regions.items():
        yield f"  region {name}: x {factor}"
    for deal in info.price.deals:
        times = [f"from {deal.start}"] if deal.start else []
        times += [f"until {deal.until}"] if deal.until else []
        times += [f"daily {'-'.join(deal.daily)} UTC"] if deal.daily else []
        if deal.price is None:
            yield f"  {', '.join(times)}: x {deal.factor}"
        else:
            yield from rates(deal.price, ", ".join(times))
    facts = {"context": info.context, "longest answer": info.max_output}
    known = [f"{name} {n:,} tokens" for name, n in facts.items() if n]
    known += [can for can in _CAN if getattr(info, can)]
    yield f"  {', '.join(known) or 'nothing else is known'}"
    yield f"  source: {info.source or 'unknown'} {info.as_of}".rstrip()


def rates(price: Price, title: str) -> Iterable[str]:
    """Lines of the rates a price names."""
    yield f"  {title}:"
    for kind in TOKEN_KINDS:
        if (rate := getattr(price, kind)) is not None:
            yield f"    {kind:<15} {rate:>10}"
    for kind in _PIECES:
        if (rate := getattr(price, kind)) is not None:
            yield f"    {'a ' + kind:<15} {rate:>10} USD"


# -- diff and update -------------------------------------------------------------


def difference(old: PriceTable, new: PriceTable, report: Overlay) -> Iterable[str]:
    """Lines about what an overlay added (+), changed (~) and was refused (!)."""
    for name in report.added:
        yield f"+ {name}  {brief(exactly(new, name).price)}"
    for name in report.changed:
        was, now = exactly(old, name), exactly(new, name)
        if was.price != now.price:
            yield f"~ {name}  {brief(was.price)} -> {brief(now.price)}"
        else:
            yield f"~ {name}  other facts, same price"
    for name, reason in report.rejected.items():
        yield f"! {name}  {reason}"
    yield (
        f"{len(report.added)} added, {len(report.changed)} changed,"
        f" {len(report.rejected)} refused"
    )


def brief(price: Price) -> str:
    """The two main rates, and whether there is more."""
    more = price != Price(price.input, price.output)
    return f"{price.input}/{price.output}{' and more' if more else ''}"


def exactly(table: PriceTable, name: str) -> ModelInfo:
    provider, _, model = name.partition("/")
    info = table.lookup(provider, model)
    assert info is not None
    return info


def write(path: Path, table: PriceTable, report: Overlay, source: str) -> None:
    """Write the rows an overlay brought as a table of this project's own format."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for name in (*report.added, *report.changed):
        info = exactly(table, name)
        row: dict[str, Any] = {"model": name.partition("/")[2], "price": info.price}
        row["kind"] = info.kind
        row |= {"context": info.context} if info.context else {}
        row |= {"max_output": info.max_output} if info.max_output else {}
        row["can"] = " ".join(can for can in _CAN if getattr(info, can))
        row |= {"tokenizer": info.tokenizer} if info.tokenizer else {}
        groups.setdefault(name.partition("/")[0], []).append(row)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    data = [
        {"provider": provider, "source": source, "as_of": today, "models": rows}
        for provider, rows in sorted(groups.items())
    ]
    text = msgspec.json.format(msgspec.json.encode(data), indent=1)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_bytes(text + b"\n")
    os.replace(beside, path)  # whoever reads it meanwhile sees the old or the new
    print(f"written to {path}: use it as PriceTable.load({str(path)!r})")

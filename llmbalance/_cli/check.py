"""``llmbalance check FILE...``: all faults of a configuration, or its fleet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from .._configfile._check import check_config
from .._configfile._schema import config_schema


def run(words: Sequence[str]) -> int:
    """Carry out ``llmbalance check``: 0 when all files are good, 1 when not."""
    parser = argparse.ArgumentParser(
        prog="llmbalance check", description="Show all errors of a configuration."
    )
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="what a LiteLLM configuration asks for in vain is an error",
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema for editors"
    )
    parser.add_argument(
        "--reference", action="store_true", help="print a page about every key"
    )
    options = parser.parse_args(list(words))
    if options.schema:
        print(msgspec.json.format(msgspec.json.encode(config_schema())).decode())
    elif options.reference:
        from .._configfile._reference import reference

        print(reference(), end="")
    elif not options.files:
        parser.error("name a file")
    good = True
    for file in options.files:
        try:
            report = check_config(file, strict=options.strict)
        except OSError as error:
            print(f"{file}: cannot be read: {error.strerror}", file=sys.stderr)
            good = False
            continue
        print(report)
        good = good and report.ok
    return 0 if good else 1

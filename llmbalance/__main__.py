"""The command line: ``llmbalance COMMAND ...``, each command a module of its own."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from ._errors import LLMBalanceError

# Command -> the module whose ``run(words)`` carries it out, and what it is for.
COMMANDS = {
    "chat": ("._cli.chat", "ask real providers, by the keys at hand"),
    "costs": ("._cli.costs", "what a ledger says was spent"),
    "prices": ("._cli.prices", "show a price, compare or take over a table"),
    "check": ("._cli.check", "all faults of a configuration, or its fleet"),
    "backtest": ("._cli.backtest", "would prediction have helped on a ledger"),
    "simulate": (".simulate._cli", "what a strategy would have cost on a trace"),
    "demo": (".demo", "watch a fleet of mock providers under load"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; returns the exit code: 2 when it is no command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"llmbalance: no command {words[0]!r}{hint}\n{usage()}", file=sys.stderr)
        return 2
    module = import_module(COMMANDS[words[0]][0], __package__)
    try:
        code: int = module.run(words[1:])
        return code
    except LLMBalanceError as error:
        print(f"llmbalance: {error}", file=sys.stderr)
        return 1


def usage() -> str:
    """The commands, a line each."""
    lines = [f"  {name:<8} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: llmbalance COMMAND [-h] ...", *lines])


if __name__ == "__main__":
    sys.exit(main())

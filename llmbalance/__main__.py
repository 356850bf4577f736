"""The command line: ``llmbalance COMMAND ...``, each command a module of its own."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from ._errors import LLMBalanceError
<<<<<<< /tmp/team/money2/tree/./llmbalance/__main__.py
=======
from ._router import Router
from ._types import ChatChunk, ChatReply
from .providers import PROVIDERS, dialect
>>>>>>> ./llmbalance/__main__.py

# Command -> the module whose ``run(words)`` carries it out, and what it is for.
COMMANDS = {
    "chat": ("._cli.chat", "ask real providers, by the keys at hand"),
    "costs": ("._cli.costs", "what a ledger says was spent"),
    "prices": ("._cli.prices", "show a price, compare or take over a table"),
    "demo": (".demo", "watch a fleet of mock providers under load"),
}


<<<<<<< /tmp/team/money2/tree/./llmbalance/__main__.py
=======
def found_backends() -> list[Backend]:
    """One backend for every provider whose key is in the environment."""
    return [
        Backend(f"{name}/{model}", groups=["default"])
        for name, model in _MODELS.items()
        if any(os.environ.get(variable) for variable in dialect(name).key_env)
    ]


async def chat(
    question: str, models: Sequence[str], strategy: str, stream: bool
) -> int:
    """Ask; print the answer, then who gave it, what it cost and why it was chosen."""
    backends = [Backend(model, groups=["default"]) for model in models]
    backends = backends or found_backends()
    if not backends:
        variables = ", ".join(dialect(name).key_env[0] for name in _MODELS)
        print(f"No key found. Set one of {variables},", file=sys.stderr)
        print(
            "or name a model: --model ollama/llama3.1 asks a local server"
            f" (providers: {', '.join(PROVIDERS)}).",
            file=sys.stderr,
        )
        return 2
    async with Router(backends, strategy=strategy, timeout=120) as router:
        last: ChatReply | ChatChunk | None = None
        if stream:
            async for chunk in await router.chat(
                "default", [{"role": "user", "content": question}], stream=True
            ):
                print(chunk.text, end="", flush=True)
                last = chunk
            print()
        else:
            reply = await router.generate(question, model="default")
            print(reply.text)
            last = reply
        assert last is not None  # a stream that ends well has a last chunk
        cost = "price unknown" if last.cost is None else f"${last.cost:.6f}"
        print(f"\n{last.backend}, {cost}\n{last.decision!r}", file=sys.stderr)
    return 0


>>>>>>> ./llmbalance/__main__.py
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

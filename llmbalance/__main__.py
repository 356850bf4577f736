"""The command line: ``llmbalance chat``, ``llmbalance demo``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from ._config import Backend
from ._errors import LLMBalanceError
from ._router import Router
from ._types import ChatChunk, ChatReply
from .providers import PROVIDERS, dialect

# The model asked at each provider when only its key is there.
_MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "groq": "llama-3.3-70b-versatile",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "xai": "grok-3-mini",
}


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and carry it out; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["demo"]:
        from .demo import run

        return run(words[1:])
    parser = argparse.ArgumentParser(prog="llmbalance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ask = commands.add_parser("chat", help="ask real providers, by the keys at hand")
    ask.add_argument("question")
    ask.add_argument("--model", action="append", default=[], help="provider/model")
    ask.add_argument("--strategy", default="composite")
    ask.add_argument("--stream", action="store_true", help="print as it comes")
    commands.add_parser("demo", help="watch a fleet of mock providers under load")
    options = parser.parse_args(words)
    try:
        return asyncio.run(
            chat(options.question, options.model, options.strategy, options.stream)
        )
    except LLMBalanceError as error:
        print(f"llmbalance: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

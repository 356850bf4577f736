"""``llmbalance chat``: ask real providers, by the keys at hand."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from .._config import Backend
from .._router import Router
from .._types import ChatChunk, ChatReply
from ..providers import PROVIDERS, dialect

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


def run(words: Sequence[str]) -> int:
    """Carry the command out; returns the exit code."""
    parser = argparse.ArgumentParser(prog="llmbalance chat", description=__doc__)
    parser.add_argument("question")
    parser.add_argument("--model", action="append", default=[], help="provider/model")
    parser.add_argument("--strategy", default="composite")
    parser.add_argument("--stream", action="store_true", help="print as it comes")
    options = parser.parse_args(words)
    return asyncio.run(
        chat(options.question, options.model, options.strategy, options.stream)
    )


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
        last: ChatChunk | ChatReply | None = None
        if stream:
            async for chunk in await router.chat(
                "default", [{"role": "user", "content": question}], stream=True
            ):
                print(chunk.text, end="", flush=True)
                last = chunk
            print()
        else:
            last = await router.generate(question, model="default")
            print(last.text)
        assert last is not None  # a stream that ends well has a last chunk
        cost = "price unknown" if last.cost is None else f"${last.cost:.6f}"
        print(f"\n{last.backend}, {cost}\n{last.decision!r}", file=sys.stderr)
    return 0

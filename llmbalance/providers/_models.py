"""What a model's name tells of the parameters it takes.

Providers refuse parameters by model, not by API: a call that falls back from one model
to another is written anew for each. The rules read version numbers out of names, so
that models which appear later get the rule of their family's newest known version.
"""

from __future__ import annotations

from typing import NamedTuple


class OpenAIModel(NamedTuple):
    """What OpenAI's chat models take."""

    reasoning: bool  # max_completion_tokens only; takes reasoning_effort
    samples: bool  # takes temperature, top_p, penalties, logprobs
    stops: bool  # takes stop
    system: bool  # takes a system message


class ClaudeModel(NamedTuple):
    """What Anthropic's models take."""

    max_output: int  # tokens; the limit sent when the caller gives none
    samples: bool  # takes temperature, top_p, top_k
    schema: bool  # takes output_config.format
    effort: bool  # takes output_config.effort
    adaptive: bool  # thinks by {"type": "adaptive"}; before: by a token budget
    thinks: bool


class GeminiModel(NamedTuple):
    """What Google's models take."""

    levels: bool  # thinkingLevel; before: thinkingBudget
    thinks: bool
    json_schema: bool  # responseJsonSchema; before: OpenAPI subset only
    signed: bool  # refuses function calls in the history without a signature
    always_thinks: bool  # a budget of 0 is refused


def version_in(name: str) -> tuple[int, int]:
    """The first version number in a model's name, as (major, minor).

    ``claude-3-5-sonnet-20241022`` is (3, 5), ``gpt-4.1-mini`` (4, 1); numbers of four
    and more digits are dates; (0, 0) when there is none.
    """
    numbers: list[int] = []
    for piece in name.replace(".", "-").replace("@", "-").replace(":", "-").split("-"):
        if piece.isdigit() and len(piece) <= 2:
            numbers.append(int(piece))
            if len(numbers) == 2:
                break
        elif numbers:
            break
    return (numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else 0)


def openai_model(name: str) -> OpenAIModel:
    """Rules for OpenAI's names, with or without a vendor's prefix."""
    base = name.rpartition("/")[2].lower()
    if base.startswith(("o1", "o3", "o4")):
        return OpenAIModel(True, False, False, not base.startswith(("o1-mini", "o1-p")))
    if base.startswith("gpt-5") and "chat" not in base:
        return OpenAIModel(True, False, False, True)
    return OpenAIModel(False, True, True, True)


def effort_frees_sampling(name: str, effort: object) -> bool:
    """Whether a reasoning model samples after all: GPT-5.1 and later at effort none."""
    base = name.rpartition("/")[2].lower()
    return effort == "none" and version_in(base) >= (5, 1)


def claude_model(name: str) -> ClaudeModel:
    """Rules for Anthropic's names, also as Vertex and Bedrock write them."""
    at = name.find("claude")
    base = name[at:].partition("-v1:")[0].partition("-v2:")[0] if at >= 0 else name
    version = version_in(base)
    if version == (0, 0):
        version = (99, 0)  # a name without number: treat it as the newest
    if version < (3, 5):
        limit = 4096
    elif version < (3, 7):
        limit = 8192
    elif "opus" in base and version < (4, 5):
        limit = 32_000
    elif "opus" in base and version >= (4, 6):
        limit = 128_000
    else:
        limit = 64_000
    return ClaudeModel(
        max_output=limit,
        samples=version < (4, 7),
        schema=version >= (4, 5) or ("opus" in base and version >= (4, 1)),
        effort=version >= (4, 6) or ("opus" in base and version >= (4, 5)),
        adaptive=version >= (4, 6),
        thinks=version >= (3, 7),
    )


def gemini_model(name: str) -> GeminiModel:
    """Rules for Google's names; aliases without a number count as the newest."""
    base = name.rpartition("/")[2].lower()
    version = version_in(base)
    if version == (0, 0):
        version = (3, 0) if "gemini" in base else (1, 0)
    return GeminiModel(
        levels=version >= (3, 0),
        thinks=version >= (2, 5),
        json_schema=version >= (2, 5),
        signed=version >= (3, 0),
        always_thinks=version >= (3, 0) or "pro" in base,
    )

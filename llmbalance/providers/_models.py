"""What a model's name tells of the parameters it takes.

Providers refuse parameters by model, not by API: a call that falls back from one model
to another is written anew for each. The rules read version numbers out of names, so
that models which appear later get the rule of their family's newest known version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# Amounts of reasoning, least first, under OpenAI's names.
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")


class OpenAIModel(NamedTuple):
    """What OpenAI's chat models take.

    A model that is not reasoning, by itself or on request, takes temperature, top_p,
    penalties and logprobs.
    """

    reasoning: bool  # max_completion_tokens only; no stop
    unasked: bool = False  # reasons without reasoning_effort
    rests: bool = True  # takes reasoning_effort "none"
    efforts: tuple[str, ...] = ()  # the other values it takes
    system: bool = True  # takes a system message

    def samples(self, effort: object) -> bool:
        """Whether it takes sampling parameters at this effort (None: not given)."""
        if effort is None:
            return not self.unasked
        return effort == "none" and self.rests


class ClaudeModel(NamedTuple):
    """What Anthropic's models take."""

    max_output: int  # tokens; the limit sent when the caller gives none
    samples: bool  # takes temperature, top_p, top_k
    both: bool  # takes temperature and top_p together
    schema: bool  # takes output_config.format
    efforts: tuple[str, ...]  # values of output_config.effort it takes
    adaptive: bool  # thinks by {"type": "adaptive"}; before: by a token budget
    budget: bool  # thinks by a token budget
    thinks: bool
    rests: bool  # takes thinking of type "disabled"
    forced: bool  # takes a tool_choice that forces a tool


class GeminiModel(NamedTuple):
    """What Google's models take."""

    levels: bool  # thinkingLevel; before: thinkingBudget
    thinks: bool
    json_schema: bool  # responseJsonSchema; before: OpenAPI subset only
    signed: bool  # refuses function calls in the history without a signature
    always_thinks: bool  # a budget of 0 is refused
    least: str  # the lowest level or, where it always thinks, budget


def nearest(effort: str, taken: Sequence[str]) -> str:
    """The amount in ``taken`` that is nearest to ``effort``, of two the larger.

    "none" is nearest to the least.
    """
    at = EFFORTS.index(effort) if effort != "none" else -1
    return min(reversed(taken), key=lambda one: abs(EFFORTS.index(one) - at))


def fit_effort(asked: str, taken: Sequence[str], warnings: list[str]) -> str:
    """The amount in ``taken`` that is nearest; a warning says so if it is another."""
    fit = nearest(asked, taken)
    if fit != asked:
        warnings.append(f"reasoning_effort {asked} sent as {fit}, the nearest it takes")
    return fit


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
    if re.match(r"o\d|codex-mini", base):
        system = not base.startswith(("o1-mini", "o1-preview"))
        return OpenAIModel(True, True, False, EFFORTS[1:4], system)
    numbered = re.match(r"gpt-(\d+)(?:\.(\d+))?(?![\d.])", base)
    version = (int(numbered[1]), int(numbered[2] or 0)) if numbered else (0, 0)
    if base.startswith(("gpt-daybreak", "gpt-rosalind")):
        version = (99, 0)
    if version < (5, 0) or base.startswith("gpt-5-chat"):
        return OpenAIModel(False)
    if "chat" in base:  # reasons as much as it likes
        return OpenAIModel(True, True, False)
    if "pro" in base.split("-"):
        return OpenAIModel(True, True, False, EFFORTS[3 - (version > (5, 1)) : 5])
    if version < (5, 1):
        return OpenAIModel(True, True, False, EFFORTS["codex" in base : 4])
    most = 6 if version >= (5, 6) else 5 if version > (5, 1) or "max" in base else 4
    always = (version == (5, 1) and "codex" in base) or "astra" in base
    unasked = always or version >= (5, 5)
    return OpenAIModel(True, unasked, not always, EFFORTS[1:most])


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
    elif "haiku" not in base and version >= (4, 6 if "opus" in base else 7):
        limit = 128_000
    else:
        limit = 64_000
    secretive = "fable" in base or "mythos" in base
    return ClaudeModel(
        max_output=limit,
        samples=version < (4, 7),
        both=version < (4, 1) or (version < (4, 5) and "opus" not in base),
        schema=version >= (4, 5) or ("opus" in base and version >= (4, 1)),
        efforts=_claude_efforts(base, version),
        adaptive=version >= (4, 6),
        budget=(3, 7) <= version < (4, 7),
        thinks=version >= (3, 7),
        rests=version >= (3, 7) and not secretive,
        forced=not secretive,
    )


def _claude_efforts(base: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return EFFORTS[1:]
    if version >= (4, 6):
        return (*EFFORTS[1:4], "max")
    return EFFORTS[1:4] if "opus" in base and version >= (4, 5) else ()


def gemini_model(name: str) -> GeminiModel:
    """Rules for Google's names; aliases without a number count as the newest."""
    base = name.rpartition("/")[2].lower()
    version = version_in(base)
    if version == (0, 0):
        version = (3, 0) if "gemini" in base else (1, 0)
    pro = "pro" in base and "flash" not in base
    return GeminiModel(
        levels=version >= (3, 0),
        thinks=version >= (2, 5),
        json_schema=version >= (2, 5),
        signed=version >= (3, 0),
        always_thinks=version >= (3, 0) or pro,
        least="low" if pro and version >= (3, 0) else "minimal",
    )

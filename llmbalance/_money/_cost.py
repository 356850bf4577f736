"""What a call used and what it cost.

usage as reported          Usage: totals         kinds: disjoint     lines
prompt_tokens 10,000       prompt    10,000      input       1,808   $0.00452
 of these cached 8,192 ->  cached     8,192  ->  cache_read  8,192   $0.01024
completion_tokens 300      completion   300      output        300   $0.003
                                                                     --------
                                                                     $0.01776
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from .._types import Usage


class Line(Struct, frozen=True):
    """One line of a bill: ``count`` of ``kind`` for ``pico_usd`` (1e-12 USD).

    ``pico_usd`` is None when the rate is unknown, and before a regional uplift.
    """

    kind: str
    count: int
    pico_usd: int | None


class Cost(Struct, frozen=True):
    """What a call cost; None where a price is unknown.

    ``nano_usd`` is exact (1e-9 USD), ``usd`` the same as a float. ``estimated`` says
    that a rate was borrowed or the tier's price is not known; ``stated`` that the
    provider named the amount itself.
    """

    nano_usd: int | None
    lines: tuple[Line, ...] = ()
    estimated: bool = False
    stated: bool = False

    @property
    def usd(self) -> float | None:
        """The amount in USD, None when unknown."""
        return None if self.nano_usd is None else self.nano_usd / 1e9


def as_usage(usage: Usage | Mapping[str, Any] | object) -> Usage:
    """Return *usage* as a Usage: OpenAI's chat or Responses shape, or Anthropic's.

    Totals of OpenAI's shapes contain cached tokens, Anthropic's ``input_tokens`` do
    not; the result always does. Unknown fields count for nothing.
    """
    if isinstance(usage, Usage):
        return usage
    get = _reader(usage)
    prompt = _reader(get("prompt_tokens_details") or get("input_tokens_details"))
    completion = get("completion_tokens_details") or get("output_tokens_details")
    made = _reader(completion)
    lives = _reader(get("cache_creation") or prompt("cache_creation_token_details"))
    cached = _count(prompt("cached_tokens"), get("cached_tokens"))
    wrote = _count(
        prompt("cache_creation_tokens"),
        prompt("cache_write_tokens"),
        get("cache_write_tokens"),
    )
    beside = 0  # Anthropic counts caches beside its input_tokens
    if get("prompt_tokens") is None:
        read = _count(get("cache_read_input_tokens"))
        written = _count(get("cache_creation_input_tokens"))
        beside, cached, wrote = read + written, cached or read, wrote or written
    hour = _count(lives("ephemeral_1h_input_tokens"), get("cache_write_1h_tokens"))
    total = _count(get("prompt_tokens"), get("input_tokens")) + beside
    output = _count(get("completion_tokens"), get("output_tokens"))
    return Usage(
        prompt_tokens=total,
        completion_tokens=output,
        total_tokens=total + output,
        cached_tokens=cached,
        cache_write_tokens=max(wrote, hour),
        cache_write_1h_tokens=hour,
        reasoning_tokens=_count(made("reasoning_tokens"), made("thinking_tokens")),
        audio_input_tokens=_count(prompt("audio_tokens")),
        audio_output_tokens=_count(made("audio_tokens")),
        image_input_tokens=_count(prompt("image_tokens")),
        image_output_tokens=_count(made("image_tokens")),
        web_search_requests=_count(
            get("web_search_requests"),
            _reader(get("server_tool_use"))("web_search_requests"),
        ),
        cost_usd=_amount(get("cost_usd"), get("cost")),
        region=place(get("inference_geo") or get("region")),
    )


def place(said: object) -> str | None:
    """Return where a call ran as its usage says it; None where it says nothing."""
    return said if isinstance(said, str) and said not in _NOWHERE else None


_NOWHERE = ("", "not_available")  # the latter of models that know no places


def kinds_of(usage: Usage) -> dict[str, int]:
    """Return what is priced in one call, by kind of PriceRow; no token twice."""
    kinds = usage.disjoint()
    kinds["requests"] = 1
    if usage.web_search_requests:
        kinds["searches"] = usage.web_search_requests
    return kinds


def _reader(thing: object) -> Callable[[str], Any]:
    if isinstance(thing, Mapping):
        return thing.get
    return lambda name: getattr(thing, name, None)


def _count(*values: Any) -> int:
    """Return the first that is a count > 0; 0 when none is."""
    for value in values:
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return 0


def _amount(*values: Any) -> float | None:
    for value in values:
        if isinstance(value, int | float) and value >= 0:
            return float(value)
    return None

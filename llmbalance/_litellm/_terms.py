"""LiteLLM's terms in ours: prices, time-outs, cooldowns."""

from __future__ import annotations

from typing import Any

import msgspec

from .._config import Breaker, Timeouts
from .._price import Price
from .._price_sources import read_table


def is_price(key: str) -> bool:
    """Whether a key of a row is one of the many that state prices."""
    return "_cost" in key or key in ("tiered_pricing", "off_peak_pricing")


def price_of(rates: dict[str, Any]) -> tuple[Price | None, str]:
    """Return a price from LiteLLM's keys (USD per token), or None and the reason."""
    numbers = dict(rates)
    for key, value in rates.items():
        if isinstance(value, str):
            try:
                numbers[key] = float(value)
            except ValueError:
                return None, f"{key} = {value!r} is no amount"
    row = {"litellm_provider": "row", **numbers}
    infos, rejected = read_table(msgspec.json.encode({"row/x": row}))
    if infos:
        return infos[0].price, ""
    return None, next(iter(rejected.values()), "no rate for tokens")


def phases(
    seconds: float | None, stream: float | None = None, below: Timeouts | None = None
) -> Timeouts:
    """A time-out as LiteLLM's HTTP client applies it: to each phase by itself.

    Connecting, waiting for the answer and every pause within it may take ``seconds``
    each; the first token of a stream ``stream``.
    """
    below = below or Timeouts()
    if seconds is None:
        return msgspec.structs.replace(below, first_token=stream)
    return Timeouts(
        connect=min(seconds, 5.0),
        first_byte=seconds,
        first_token=stream or seconds,
        idle=seconds,
    )


def breaker_of(
    allowed_fails: int | None, cooldown: float | None, below: Breaker | None = None
) -> Breaker | None:
    """LiteLLM's cooldown as a breaker; None when neither is said.

    It opens at failure ``allowed_fails`` + 1 in a row, or when that many calls failed
    by half; it stays open for ``cooldown`` seconds, each time.
    """
    if allowed_fails is None and cooldown is None:
        return None
    base = below or Breaker()
    changes: dict[str, Any] = {}
    if allowed_fails is not None:
        changes["in_a_row"] = allowed_fails + 1
        changes["min_calls"] = max(10, allowed_fails + 1)
    if cooldown:
        changes["cooldown"] = changes["cooldown_max"] = cooldown
    return msgspec.structs.replace(base, **changes)

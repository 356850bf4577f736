"""LiteLLM's terms in ours: prices and time-outs."""

from __future__ import annotations

from typing import Any

import msgspec

from .._config import Timeouts
from .._money._price_sources import read_table
from .._price import Price


def is_price(key: str) -> bool:
    """Whether a key of a row is one of the many that state prices."""
    others = ("tiered_pricing", "off_peak_pricing")
    rate = "_cost" in key or key.startswith(("cost_per_", "regional_processing_"))
    return rate or key in others


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

"""What a row of LiteLLM's ``model_list`` says in figures: its limits, terms, prices.

    rpm, tpm, max_parallel_requests      Limits         timeout        Timeouts
    input_cost_per_token, base_model     Price          cooldown_time  Breaker

What the row is silent about the router's settings say, its ``Habits``.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from .._config import Breaker, Limits, Timeouts
from .._money._prices import PriceTable
from .._price import Price
from ._fails import allowed_by, breaker_of
from ._sheet import Sheet
from ._terms import is_price, phases, price_of

_RATES = ("rpm", "tpm", "itpm", "otpm")


class Dropped(Exception):
    """A row that cannot be served; its text says why."""


class Habits(Struct, frozen=True):
    """What the router's settings say for rows that say nothing themselves."""

    timeouts: Timeouts | None = None
    breaker: Breaker | None = None
    concurrency: int | None = None
    params: dict[str, Any] = {}
    refuse_unknown: bool = False


class Figures:
    """The numbers of one row; ``params`` and ``info`` are its two tables."""

    sheet: Sheet
    index: int  # of the row
    habits: Habits
    prices: PriceTable
    params: dict[str, Any]
    info: dict[str, Any]

    def note(self, path: tuple[str, ...], message: str, kind: str = "fault") -> None:
        """Note something about a key of this row."""
        self.sheet.note_row(self.index, path, message, kind)

    def limits(self) -> Limits | None:
        """rpm and tpm, and calls in flight: as said, else as many as a minute takes."""
        rates = {key: self.whole(key) for key in _RATES}
        calls = self.whole("max_parallel_requests") or rates["rpm"]
        if not calls and rates["tpm"]:
            calls = max(rates["tpm"] * 6 // 1000, 1)
        if not calls:
            calls = self.habits.concurrency
        if calls is None and not any(rates.values()):
            return None
        rpm, tpm, itpm, otpm = (rates[key] or None for key in _RATES)
        return Limits(rpm=rpm, tpm=tpm, itpm=itpm, otpm=otpm, concurrency=calls)

    def timeouts(self) -> Timeouts | None:
        """Time-outs of its own, laid over the usual ones."""
        given = self.number("timeout") or self.number("request_timeout")
        stream = self.number("stream_timeout")
        if given is None and stream is None:
            return None
        return phases(given, stream, self.habits.timeouts)

    def breaker(self) -> Breaker | None:
        """The breaker that its allowed failures and its cooldown mean."""
        cooldown = self.number("cooldown_time", zero=True)
        place = "litellm_params"
        policy = self.params.get("allowed_fails_policy")
        if policy is None:
            place, policy = "model_info", self.info.get("allowed_fails_policy")

        def note(name: str, why: str, kind: str) -> None:
            path = (place, "allowed_fails_policy", name)
            self.note(path if name else path[:2], why, kind)

        allowed = allowed_by(self.whole("allowed_fails"), policy, note)
        return breaker_of(allowed, cooldown, self.habits.breaker)

    def tags(self) -> tuple[str, ...]:
        """Its tags; one may stand alone."""
        tags = self.params.get("tags") or ()
        return tuple(map(str, tags)) if isinstance(tags, list | tuple) else (str(tags),)

    def abilities(self, model: str) -> tuple[str, ...] | None:
        """None: as the price table says; else what model_info denies is taken away."""
        says = {
            "tools": self.info.get("supports_function_calling"),
            "vision": self.info.get("supports_vision"),
        }
        if all(value is None for value in says.values()):
            return None
        known = self.prices.find(model)
        can = {"tools": known is None or known.tools}
        can["vision"] = known is None or known.vision
        can |= {name: bool(value) for name, value in says.items() if value is not None}
        rest = ("json", "audio", "files", "reasoning", "embeddings")
        return tuple(name for name, has in can.items() if has) + rest

    def budget(self) -> tuple[float, str] | None:
        """USD, and the time for which they are."""
        usd = self.number("max_budget", zero=True)
        if usd is None:
            return None
        return usd, str(self.params.get("budget_duration") or "total")

    # -- prices --------------------------------------------------------------

    def price(self, model: str) -> Price | None:
        """The row's own price; else of its base model; else of OpenAI's namesake."""
        own = {k: v for k, v in {**self.info, **self.params}.items() if is_price(k)}
        if any(value is not None for value in own.values()):
            price, wrong = price_of(own)
            if price is None:
                self.note(("litellm_params",), f"price not understood: {wrong}")
            else:
                return price
        provider, _, name = model.partition("/")
        base = self.info.get("base_model")
        if base:
            known = self.prices.find(str(base)) or self.prices.find(
                str(base).rpartition("/")[2]
            )
            if known is not None:
                return known.price
            self.note(("model_info", "base_model"), f"{base!r} has no known price")
        namesake = None
        if provider == "openai_compatible":
            namesake = self.prices.lookup("openai", name)
        if namesake is None:
            return None
        self.note(
            ("litellm_params", "model"),
            f"priced as openai/{name}, as LiteLLM does",
            "changed",
        )
        return namesake.price

    # -- numbers -------------------------------------------------------------

    def number(self, key: str, *, zero: bool = False) -> float | None:
        """A parameter as a number >= 0; without ``zero`` 0 counts as not given."""
        value = self.params.get(key)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise Dropped(f"{key} = {value!r}: give a number")
        if number == 0 and not zero:
            self.note(("litellm_params", key), "0 is no limit and no share", "changed")
            return None
        return number

    def whole(self, key: str) -> int | None:
        """A parameter as a whole number; rates of 0 count as not given."""
        number = self.number(key, zero=True)
        if number == 0 and key in (*_RATES, "max_parallel_requests"):
            return None
        return None if number is None else int(number)

    def count(self, key: str) -> int | None:
        """A number > 0 of model_info; None for anything else."""
        value = self.info.get(key)
        return int(value) if isinstance(value, int | float) and value > 0 else None

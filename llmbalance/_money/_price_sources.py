"""Price tables of others, read as ModelInfo: LiteLLM's and genai-prices'.

Both are JSON. LiteLLM's is an object of models whose rates are USD per token under keys
such as ``input_cost_per_token_above_272k_tokens_flex``; every threshold and tier is
taken from the key's own words, so that new ones need no change here. genai-prices' is a
list of providers whose rates are USD per million tokens (``input_mtok``), with dated
and daily prices. This project's own format is a list of groups (``prices.json``).

A row that cannot be true or cannot be read is left out and named with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .._core import PriceRow
from .._errors import ConfigError
from .._price import Deal, Price
from ._price_rows import ModelInfo, builtin_rows

_MOST_BYTES = 64 << 20
_LITELLM_PROVIDERS = {
    "gemini": "google",
    "together_ai": "together",
    "text-completion-openai": "openai",
    "bedrock_converse": "bedrock",
    "azure_ai": "azure_ai",
    "hosted_vllm": "vllm",
    "cohere_chat": "cohere",
}
_GENAI_PROVIDERS = {"aws": "bedrock", "x-ai": "xai"}
_LITELLM_RATES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_image_token": "image_out",
}
_LITELLM_PIECES = {
    "input_cost_per_request": "request",
    "input_cost_per_query": "request",
    "output_cost_per_image": "image",
    "input_cost_per_second": "second",
    "output_cost_per_second": "second",
}
_LITELLM_KEY = re.compile(
    r"(?P<rate>\w+?)(?:_above_(?P<k>\d+)k_tokens)?(?:_(?P<tier>flex|priority|batches))?"
)
_GENAI_RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
    "input_image_mtok": "image_in",
    "output_image_mtok": "image_out",
}


def read_table(source: str | Path | bytes) -> tuple[list[ModelInfo], dict[str, str]]:
    """Return the models of a table and the names that were refused, with reasons.

    *source*: path, http(s) address or JSON bytes. ConfigError when it is none of the
    known formats, OSError when it cannot be read.
    """
    data = source if isinstance(source, bytes) else _fetch(source)
    shown = "(bytes)" if isinstance(source, bytes) else str(source)
    try:
        table = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigError("prices", shown, f"is no JSON: {error}") from None
    first = table[0] if isinstance(table, list) and table else None
    if isinstance(first, dict) and "provider" in first and "models" in first:
        return _own(data, shown)
    if isinstance(first, dict) and "models" in first and "id" in first:
        return _genai(table)
    if isinstance(table, dict) and any(
        isinstance(row, dict) and "litellm_provider" in row for row in table.values()
    ):
        return _litellm(table)
    raise ConfigError(
        "prices", shown, "is neither this project's, LiteLLM's nor genai-prices' table"
    )


def _fetch(source: str | Path) -> bytes:
    if not str(source).startswith(("http://", "https://")):
        return Path(source).read_bytes()
    from urllib.request import urlopen

    with urlopen(str(source), timeout=30) as answer:
        data: bytes = answer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ConfigError("prices", str(source), "is larger than 64 MiB")
    return data


def _own(data: bytes, shown: str) -> tuple[list[ModelInfo], dict[str, str]]:
    try:
        rows = builtin_rows(data)
    except msgspec.ValidationError as error:
        raise ConfigError("prices", shown, str(error)) from None
    infos, rejected = [], {}
    for (provider, model), row in rows.items():
        try:
            infos.append(msgspec.structs.replace(row.info(), model=model))
        except (ConfigError, msgspec.ValidationError) as error:
            rejected[f"{provider}/{model}"] = str(error)
    return infos, rejected


def _litellm(table: Mapping[str, Any]) -> tuple[list[ModelInfo], dict[str, str]]:
    infos, rejected = [], {}
    for name, row in table.items():
        if not isinstance(row, dict) or name == "sample_spec":
            continue
        provider, model = _litellm_name(name, str(row.get("litellm_provider", "")))
        if not provider:
            continue
        try:
            price = _litellm_price(row)
        except (ConfigError, ValueError, TypeError) as error:
            rejected[f"{provider}/{model}"] = str(error)
            continue
        if price is not None:
            infos.append(_litellm_info(provider, model, price, row))
    return infos, rejected


def _litellm_name(name: str, provider: str) -> tuple[str, str]:
    prefix, _, rest = name.partition("/")
    ours = _LITELLM_PROVIDERS.get(provider, provider)
    if ours.startswith("vertex_ai"):
        ours = "vertex"
    if rest and prefix in (provider, ours, "vertex_ai", "bedrock"):
        return ours, rest
    return ours, name


def _litellm_price(row: Mapping[str, Any]) -> Price | None:
    """The rates of a row: rates[tier][threshold][kind] in USD per million tokens."""
    rates: dict[str, dict[int, dict[str, float]]] = {}
    pieces: dict[str, float] = {}
    for key, value in row.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if key in _LITELLM_PIECES:
            pieces.setdefault(_LITELLM_PIECES[key], value)
        match = _LITELLM_KEY.fullmatch(key)
        kind = _LITELLM_RATES.get(match["rate"]) if match else None
        if match is None or kind is None:
            continue
        tier = "batch" if match["tier"] == "batches" else match["tier"] or ""
        level = rates.setdefault(tier, {}).setdefault(int(match["k"] or 0) * 1000, {})
        if key.endswith("_cache_hit"):
            level.setdefault(kind, _per_million(value))
        else:
            level[kind] = _per_million(value)
    for first, part in enumerate(row.get("tiered_pricing") or ()):
        if "range" not in part:
            continue
        start = int(part["range"][0]) if first else 0
        rates.setdefault("", {})[start] = {
            _LITELLM_RATES[key]: _per_million(value)
            for key, value in part.items()
            if key in _LITELLM_RATES
        }
    search = row.get("search_context_cost_per_query")
    if isinstance(search, dict) and search:
        pieces["search"] = max(float(v) for v in search.values())
    if not rates and not pieces:
        return None
    return _litellm_assemble(rates, pieces, row)


def _litellm_assemble(
    rates: dict[str, dict[int, dict[str, float]]],
    pieces: dict[str, float],
    row: Mapping[str, Any],
) -> Price:
    standard = rates.pop("", {})
    extra = row.get("provider_specific_entry") or {}
    regions = {
        region: float(row[f"regional_processing_uplift_multiplier_{region}"])
        for region in ("us", "eu")
        if f"regional_processing_uplift_multiplier_{region}" in row
    }
    if isinstance(extra.get("us"), int | float):
        regions["us"] = float(extra["us"])
    if "batch" in rates:  # what a batch has no rate for costs half there, too
        for n, level in standard.items():
            halves = {kind: rate / 2 for kind, rate in level.items()}
            rates["batch"][n] = {**halves, **rates["batch"].get(n, {})}
    tiers: dict[str, Any] = {name: _price(levels) for name, levels in rates.items()}
    if isinstance(extra.get("fast"), int | float):
        tiers["fast"] = float(extra["fast"])
    price = _price(standard)
    return msgspec.structs.replace(
        price,
        **pieces,
        tiers=tiers,
        regions=regions,
        inclusive=row.get("litellm_provider") == "xai",
    )


def _price(levels: dict[int, dict[str, float]]) -> Price:
    """Base rates and the rates above thresholds; a tier is completed by the core."""
    above = {n: Price(**rates) for n, rates in levels.items() if n}  # type: ignore[arg-type]
    return Price(**levels.get(0, {}), above=above)  # type: ignore[arg-type]


def _per_million(usd_per_token: float) -> float:
    """USD per million, exact to a pico-dollar a token: no binary noise is kept."""
    pico = PriceRow.parse(repr(float(usd_per_token)), 12)
    return float(f"{pico}e-6")


def _litellm_info(
    provider: str, model: str, price: Price, row: Mapping[str, Any]
) -> ModelInfo:
    mode = row.get("mode")
    kind = {"chat": "chat", "responses": "chat", "completion": "chat"}.get(
        str(mode), "embedding" if mode == "embedding" else "other"
    )
    return ModelInfo(
        provider=provider,
        model=model,
        price=price,
        kind=kind,  # type: ignore[arg-type]
        context=_tokens(row.get("max_input_tokens")),
        max_output=_tokens(row.get("max_output_tokens")),
        tools=bool(row.get("supports_function_calling")),
        vision=bool(row.get("supports_vision")),
        json=bool(row.get("supports_response_schema")),
        source="LiteLLM",
    )


def _tokens(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _genai(table: list[Any]) -> tuple[list[ModelInfo], dict[str, str]]:
    infos, rejected = [], {}
    for group in table:
        provider = _GENAI_PROVIDERS.get(group["id"], group["id"])
        for row in group.get("models", ()):
            try:
                price = _genai_price(row.get("prices") or {})
            except (ConfigError, ValueError, TypeError, KeyError) as error:
                rejected[f"{provider}/{row.get('id')}"] = str(error)
                continue
            for name in dict.fromkeys((row["id"], *_equals(row.get("match") or {}))):
                info = ModelInfo(
                    provider=provider,
                    model=name,
                    price=price,
                    context=_tokens(row.get("context_window")),
                    source="genai-prices",
                )
                infos.append(info)
    return infos, rejected


def _genai_price(prices: Any) -> Price:
    if isinstance(prices, dict):
        return _genai_rates(prices)
    deals: list[Deal] = []
    base = Price()
    for part in prices:  # the last that is active wins, so the first is the base
        price, limit = _genai_rates(part["prices"]), part.get("constraint")
        if not limit:
            base = price
        elif "start_date" in limit:
            deals.insert(0, Deal(price=price, start=limit["start_date"]))
        else:
            window = (limit["start_time"][:5], limit["end_time"][:5])
            deals.insert(0, Deal(price=price, daily=window))
    return msgspec.structs.replace(base, deals=tuple(deals))


def _genai_rates(prices: Mapping[str, Any]) -> Price:
    base: dict[str, Any] = {}
    above: dict[int, dict[str, Any]] = {}
    for key, value in prices.items():
        kind = _GENAI_RATES.get(key)
        if kind is not None and isinstance(value, dict):
            base[kind] = value["base"]
            for tier in value["tiers"]:
                above.setdefault(int(tier["start"]), {})[kind] = tier["price"]
        elif kind is not None:
            base[kind] = value
        elif key == "requests_kcount":
            base["request"] = f"{value}e-3"
    return Price(**base, above={n: Price(**rates) for n, rates in above.items()})


def _equals(match: Mapping[str, Any]) -> list[str]:
    """The names a match clause spells out; patterns are left to the table."""
    if "equals" in match:
        return [match["equals"]]
    return [name for clause in match.get("or", ()) for name in _equals(clause)]

"""Worked costs, to the pico-dollar: our own cases and recorded ones."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from llmbalance._money._cost import as_usage, kinds_of
from llmbalance._money._prices import PriceTable
from llmbalance._price import Price

RECORDED = os.environ.get("LLMBALANCE_RECORDED")


def recorded_cases() -> list[dict]:
    if not RECORDED:
        return []
    return msgspec.json.decode((Path(RECORDED) / "cost_cases.json").read_bytes())[
        "cases"
    ]


@pytest.fixture(scope="module")
def litellm_table() -> PriceTable:
    table = PriceTable(builtin=False)
    table.overlay(Path(RECORDED or "") / "litellm_model_prices.json")
    return table


@pytest.mark.skipif(not RECORDED, reason="LLMBALANCE_RECORDED is not set")
@pytest.mark.parametrize("case", recorded_cases(), ids=lambda case: case["id"])
def test_a_recorded_case_costs_what_it_should(case, litellm_table) -> None:
    options = case["options"]
    tier = "batch" if options.get("batch") else options.get("service_tier")
    expected = case.get("recommended_for_us") or case["expected_litellm_current"]
    total = Decimal(str(expected["total"]))
    cost = litellm_table.cost(
        case["model"], case["usage"], service_tier=tier, region=options.get("region")
    )
    info = litellm_table.find(case["model"])
    row = info.price.row(service_tier=tier)
    pico = row.cost_pico(**kinds_of(as_usage(case["usage"])))
    assert pico == total * 10**12
    assert cost.nano_usd == total * 10**9
    assert sum(line.pico_usd for line in cost.lines) == pico
    assert cost.estimated == ("recommended_for_us" in case)


CACHED = {"cached_tokens": 150_000, "cache_write_tokens": 100_000}


@pytest.mark.parametrize(
    ("price", "usage", "tier", "expected"),
    [
        pytest.param(
            *(Price(2.5, 10, cache_read=1.25), (10_000, 300, {"cached_tokens": 8192})),
            *(None, "0.01776"),
            id="cached tokens are part of the prompt",
        ),
        pytest.param(
            *(Price(0.25, 2), (2000, 4096, {}, {"reasoning_tokens": 3072})),
            *(None, "0.008692"),
            id="reasoning is part of the completion and billed as output",
        ),
        pytest.param(
            Price(2.5, 15, above={272_000: Price(5, 22.5, cache_read=0.5)}),
            (272_000, 1000),
            *(None, "0.695"),
            id="at the threshold the base price holds",
        ),
        pytest.param(
            Price(2.5, 15, above={272_000: Price(5, 22.5, cache_read=0.5)}),
            (272_001, 1000, {"cached_tokens": 200_000}),
            *(None, "0.482505"),
            id="one token above it everything is dearer",
        ),
        pytest.param(
            Price(
                *(5, 30),
                cache_read=0.5,
                cache_write=6.25,
                above={272_000: Price(10, 45, cache_read=1, cache_write=12.5)},
                tiers={"flex": 0.5},
            ),
            (300_000, 10_000, CACHED, {"reasoning_tokens": 6000}),
            *("flex", "1.175"),
            id="long prompt, cache reads and writes, reasoning, flex",
        ),
        pytest.param(
            Price(1.25, 10, cache_read=0.125),
            (100_000, 20_000, {"cached_tokens": 60_000}),
            *("batch", "0.12875"),
            id="a batch costs half, cached tokens too",
        ),
        pytest.param(
            *(Price(0.5, 1.5), (10_000, 1000, {"cached_tokens": 9000})),
            *(None, "0.0065"),
            id="without a cache price cached tokens cost as much as others",
        ),
        pytest.param(
            Price(2.5, 10, audio_in=40, audio_out=80),
            (1500, 900, {"audio_tokens": 1000}, {"audio_tokens": 600}),
            *(None, "0.09225"),
            id="audio in and out",
        ),
        pytest.param(
            Price(0.3, 2.5, image_out=30),
            (300, 1390, {}, {"image_tokens": 1290}),
            *(None, "0.03904"),
            id="image tokens out",
        ),
        pytest.param(
            *(Price(0.02, 0), (8191, 0), None, "0.00016382"), id="an embedding"
        ),
        pytest.param(
            Price(2.5, 10, cache_read=1.25),
            (262_960, 1744, {"cached_tokens": 257_955, "text_tokens": 262_960}),
            *(None, "0.35239625"),
            id="text_tokens that repeat the prompt are not billed twice",
        ),
        pytest.param(
            *(Price(1, 2), (100, 10, {"cached_tokens": 500}), None, "0.00052"),
            id="more cached than prompt: the plain part is nothing, not negative",
        ),
    ],
)
def test_an_own_case_costs_what_it_should(price, usage, tier, expected) -> None:
    prompt, completion, *details = usage
    table = PriceTable(builtin=False)
    table.set("own/model", price)
    cost = table.cost(
        "own/model",
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": details[0] if details else None,
            "completion_tokens_details": details[1] if len(details) > 1 else None,
        },
        service_tier=tier,
    )
    assert cost.nano_usd == Decimal(expected) * 10**9

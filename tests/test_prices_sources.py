"""Tables of others: LiteLLM's and genai-prices' JSON, and our own format."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from llmbalance._errors import ConfigError
from llmbalance._money._prices import PriceTable
from llmbalance._price import Price

RECORDED = os.environ.get("LLMBALANCE_RECORDED")


def overlay(table: object) -> tuple[PriceTable, object]:
    prices = PriceTable(builtin=False)
    return prices, prices.overlay(msgspec.json.encode(table))


def nano(prices: PriceTable, model: str, **usage: int) -> int | None:
    tier = usage.pop("service_tier", None)
    at = usage.pop("at", None)
    provider, _, name = model.partition("/")
    return prices.row(provider, name, service_tier=tier, at=at).cost(**usage)


LITELLM = {
    "sample_spec": {"litellm_provider": "one of ...", "input_cost_per_token": 0},
    "big": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 1_000_000,
        "max_output_tokens": 1000.0,
        "supports_vision": True,
        "input_cost_per_token": 5e-06,
        "input_cost_per_token_flex": 2.5e-06,
        "input_cost_per_token_batches": 2e-06,
        "input_cost_per_token_above_777k_tokens": 1e-05,
        "input_cost_per_token_above_777k_tokens_flex": 6e-06,
        "output_cost_per_token": 3e-05,
        "output_cost_per_token_above_777k_tokens": 4.5e-05,
        "cache_creation_input_token_cost": 6.25e-06,
        "cache_creation_input_token_cost_above_1hr": 1e-05,
        "cache_creation_input_token_cost_above_1hr_above_777k_tokens": 2e-05,
        "regional_processing_uplift_multiplier_eu": 1.1,
    },
    "xai/grok": {
        "litellm_provider": "xai",
        "input_cost_per_token": 2e-07,
        "input_cost_per_token_above_128k_tokens": 4e-07,
        "output_cost_per_token": 5e-07,
        "cache_read_input_token_cost": 5e-08,
    },
    "dashscope/qwen": {
        "litellm_provider": "dashscope",
        "tiered_pricing": [
            {
                "range": [0, 100],
                "input_cost_per_token": 1e-06,
                "output_cost_per_token": 2e-06,
            },
            {
                "range": [100, 200],
                "input_cost_per_token": 3e-06,
                "output_cost_per_token": 4e-06,
            },
        ],
    },
    "old/cache": {
        "litellm_provider": "old",
        "input_cost_per_token": 1e-06,
        "input_cost_per_token_cache_hit": 1e-07,
        "output_cost_per_token": 2.9999900000000002e-06,
    },
    "mad/price": {"litellm_provider": "mad", "input_cost_per_token": 0.015},
    "no/price": {"litellm_provider": "no", "mode": "chat"},
    "gemini/free": {
        "litellm_provider": "gemini",
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
    },
}


def test_any_threshold_and_tier_is_read_from_the_key_of_litellm() -> None:
    prices, _ = overlay(LITELLM)
    big = "openai/big"
    assert nano(prices, big, input=777_000) == 3_885_000_000
    assert nano(prices, big, input=777_001) == 7_770_010_000
    assert nano(prices, big, input=777_001, service_tier="flex") == 4_662_006_000
    assert nano(prices, big, input=1000, service_tier="flex") == 2_500_000
    assert nano(prices, big, input=1000, service_tier="batch") == 2_000_000
    assert nano(prices, big, output=1000, service_tier="batch") == 15_000_000
    assert nano(prices, big, cache_write_1h=1000) == 10_000_000
    assert nano(prices, big, cache_write_1h=800_000) == 16_000_000_000
    info = prices.lookup("openai", "big")
    assert (info.context, info.max_output, info.vision) == (1_000_000, 1000, True)
    assert info.price.row(region="eu").cost(input=1000) == 5_500_000


def test_special_rules_of_vendors_in_litellm_are_kept() -> None:
    prices, _ = overlay(LITELLM)
    assert nano(prices, "xai/grok", input=127_999) == 25_599_800
    assert nano(prices, "xai/grok", input=128_000) == 51_200_000
    assert nano(prices, "xai/grok", input=127_000, cache_read=1000) == 50_850_000
    assert nano(prices, "dashscope/qwen", input=100, output=10) == 120_000
    assert nano(prices, "dashscope/qwen", input=101, output=10) == 343_000
    assert nano(prices, "dashscope/qwen", input=900, output=10) == 2_740_000
    assert nano(prices, "old/cache", cache_read=1000) == 100_000
    assert nano(prices, "old/cache", output=1_000_000) == 2_999_990_000


def test_absurd_rows_are_rejected_by_name_and_free_is_not_unknown() -> None:
    prices, report = overlay(LITELLM)
    assert list(report.rejected) == ["mad/price"]
    assert "USD per million tokens" in report.rejected["mad/price"]
    assert prices.lookup("no", "price") is None
    assert prices.cost("gemini/free", {"prompt_tokens": 5}).usd == 0
    assert prices.lookup("one of ...", "sample_spec") is None


GENAI = [
    {
        "id": "x-ai",
        "models": [
            {
                "id": "m",
                "match": {"or": [{"equals": "m-alias"}, {"starts_with": "m-"}]},
                "context_window": 1000,
                "prices": {
                    "input_mtok": {"base": 3, "tiers": [{"start": 200, "price": 6}]},
                    "output_mtok": 15,
                    "cache_read_mtok": 0.3,
                    "requests_kcount": 5,
                },
            },
            {
                "id": "dated",
                "prices": [
                    {"prices": {"input_mtok": 4, "output_mtok": 8}},
                    {
                        "constraint": {"start_date": "2026-03-13"},
                        "prices": {"input_mtok": 2, "output_mtok": 8},
                    },
                    {
                        "constraint": {
                            "start_time": "16:30:00Z",
                            "end_time": "18:00:00Z",
                        },
                        "prices": {"input_mtok": 1, "output_mtok": 8},
                    },
                ],
            },
            {"id": "wrong", "prices": {"input_mtok": 5000}},
        ],
    }
]


def test_genai_prices_with_thresholds_dates_and_hours_are_read() -> None:
    prices, report = overlay(GENAI)
    for name in ("xai/m", "xai/m-alias"):
        assert nano(prices, name, input=200, output=10) == 750_000
        assert nano(prices, name, input=201, output=10) == 1_356_000
        assert nano(prices, name, requests=1) == 5_000_000
    moments = [
        (datetime(2026, 3, 12, 17, tzinfo=UTC), 1_000_000),
        (datetime(2026, 3, 12, 9, tzinfo=UTC), 4_000_000),
        (datetime(2026, 3, 13, 9, tzinfo=UTC), 2_000_000),
        (datetime(2026, 3, 13, 18, tzinfo=UTC), 2_000_000),
    ]
    for moment, expected in moments:
        at = moment.timestamp()
        assert nano(prices, "xai/dated", input=1000, at=at) == expected
    assert list(report.rejected) == ["xai/wrong"]


def test_an_overlay_wins_over_the_own_table_and_reports_what_it_changed() -> None:
    prices = PriceTable()
    before = prices.revision
    report = prices.overlay(
        b'[{"provider": "openai", "source": "https://my.contract", "as_of":'
        b' "2026-11-01", "models": [{"model": "gpt-4o", "price": {"input": 1,'
        b' "output": 2}}, {"model": "mine", "price": {"input": 1, "output": 2}}]}]'
    )
    assert report.changed == ("openai/gpt-4o",)
    assert report.added == ("openai/mine",)
    assert prices.cost("openai/gpt-4o", {"prompt_tokens": 1000}).usd == 0.001
    assert prices.lookup("openai", "gpt-4o").source == "https://my.contract"
    assert prices.lookup("openai", "gpt-5").price.input == 1.25
    assert prices.revision > before


def test_a_table_is_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(msgspec.json.encode(LITELLM))
    assert PriceTable.load(path).lookup("openai", "big").price.input == 5.0
    assert PriceTable.load(str(path)).lookup("openai", "gpt-4o") is not None
    with pytest.raises(FileNotFoundError):
        PriceTable.load(tmp_path / "none.json")


def test_a_table_is_loaded_from_an_address(monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/prices.json" else 404)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(LITELLM))

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        try:
            table = PriceTable.load(f"{base}/prices.json")
            assert table.lookup("openai", "big").price.input == 5.0
            with pytest.raises(OSError, match="404"):
                PriceTable.load(f"{base}/nothing.json")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"{}", b'{"a": 1}', b'[{"id": 3}]', b'"x"', b"\xff"]
)
def test_what_is_no_price_table_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="prices"):
        PriceTable().overlay(data)


def test_rows_of_the_own_format_that_cannot_be_true_are_named() -> None:
    prices = PriceTable(builtin=False)
    report = prices.overlay(
        b'[{"provider": "p", "source": "s", "as_of": "d", "models": [{"model": "a",'
        b' "price": {"input": -1}}, {"model": "b", "price": {"inptu": 1}},'
        b' {"model": "c", "price": {"input": 1}}]}]'
    )
    assert sorted(report.rejected) == ["p/a", "p/b"]
    assert prices.lookup("p", "c").price == Price(1)


@pytest.mark.skipif(not RECORDED, reason="LLMBALANCE_RECORDED is not set")
def test_the_whole_table_of_litellm_loads_and_its_16_absurd_rows_are_named() -> None:
    prices = PriceTable(builtin=False)
    report = prices.overlay(Path(RECORDED or "") / "litellm_model_prices.json")
    assert len(report.added) > 2500
    assert len(report.rejected) == 16
    assert sum(name.startswith("wandb/") for name in report.rejected) == 13


@pytest.mark.skipif(not RECORDED, reason="LLMBALANCE_RECORDED is not set")
def test_the_own_table_agrees_with_litellm_wherever_both_have_a_first_party_price() -> (
    None
):
    """Standard prices of the vendors that publish one list; two lists, one market."""
    theirs = PriceTable(builtin=False)
    theirs.overlay(Path(RECORDED or "") / "litellm_model_prices.json")
    compared, different = 0, []
    for info in PriceTable():
        other = theirs.lookup(info.provider, info.model)
        if info.provider not in ("openai", "anthropic", "google", "groq", "mistral"):
            continue
        if other is None or other.price.output is None:
            continue
        compared += 1
        for used in (
            *({"input": 1000}, {"output": 1000}, {"cache_write_1h": 1000}),
            *({"input": 300_000, "output": 1000}, {"cache_write": 1000}),
        ):
            if info.price.row().cost(**used) != other.price.row().cost(**used):
                different.append((info.model, used))
    assert different == []
    assert compared >= 80

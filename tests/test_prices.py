"""One price, and the table of all prices."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbalance._core import PriceRow
from llmbalance._errors import ConfigError
from llmbalance._money._prices import PriceTable
from llmbalance._price import Deal, Price
from llmbalance._types import Usage

INPUT = ("cache_read", "cache_write_1h", "cache_write", "input", "audio_in", "image_in")
OUTPUT = ("reasoning", "output", "audio_out", "image_out")
KINDS = INPUT + OUTPUT


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def usd(model: str, usage: object, **options: object) -> float | None:
    return PriceTable().cost(model, usage, **options).usd


# --- exactness ---------------------------------------------------------------------


@given(st.decimals(min_value=0, max_value=1000, places=9))
def test_amounts_are_read_by_their_decimal_digits(amount: Decimal) -> None:
    exact = int((amount * 10**6).to_integral_value(rounding="ROUND_HALF_UP"))
    for text in (str(amount), f"{amount:f}", f"{amount:.20E}"):
        assert PriceRow.parse(text, 6) == exact


@given(st.floats(min_value=0, max_value=1000))
def test_a_float_means_the_digits_it_shows(amount: float) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(repr(amount)) * 10**6).to_integral_value("ROUND_HALF_UP")
    assert PriceRow.parse(repr(amount), 6) == exact


rates = st.fixed_dictionaries({k: st.integers(0, 10**9) for k in KINDS})
usages = st.fixed_dictionaries({k: st.integers(0, 2**31) for k in KINDS})
thresholds = st.lists(st.integers(1, 2**33), max_size=3, unique=True).map(sorted)


@settings(max_examples=300)
@given(
    base=rates,
    levels=st.lists(rates, min_size=3, max_size=3),
    above=thresholds,
    usage=usages,
    inclusive=st.booleans(),
    uplift=st.integers(-(10**6), 10**6),
)
def test_the_whole_request_pays_the_rates_of_its_tier_as_decimal_says(
    base, levels, above, usage, inclusive, uplift
) -> None:
    tiers = list(zip(above, levels, strict=False))
    row = PriceRow(base, tiers, inclusive=inclusive, uplift_ppm=uplift)
    total = sum(usage[k] for k in INPUT)
    chosen = base
    for start, level in tiers:
        if total > start or (inclusive and total == start):
            chosen = level
    with localcontext() as context:
        context.prec = 80
        pico = sum(Decimal(chosen[k]) * usage[k] for k in KINDS)
        assert row.cost_pico(**usage) == (
            pico if uplift == 0 else rounded(pico * (10**6 + uplift) / 10**6)
        )
        nano = rounded(pico * (10**6 + uplift) / 10**9)
        assert row.cost(**usage) == min(nano, 2**63 - 1)


@settings(max_examples=300)
@given(
    base=rates,
    levels=st.lists(rates, min_size=3, max_size=3),
    above=st.lists(st.integers(1, 60), max_size=3, unique=True).map(sorted),
    usage=st.fixed_dictionaries({k: st.integers(0, 20) for k in KINDS}),
)
def test_a_marginal_price_bills_token_by_token(base, levels, above, usage) -> None:
    tiers = list(zip(above, levels, strict=False))
    row = PriceRow(base, tiers, marginal=True)
    pico = 0
    for side in (INPUT, OUTPUT):
        tokens = [kind for kind in side for _ in range(usage[kind])]
        for position, kind in enumerate(tokens, start=1):
            level = base
            for start, dearer in tiers:
                if position > start:
                    level = dearer
            pico += level[kind]
    assert row.cost_pico(**usage) == pico


def rounded(amount: Decimal) -> int:
    return int(amount.to_integral_value(rounding="ROUND_HALF_UP"))


@given(
    rate=st.integers(0, 10**9),
    cached_rate=st.integers(0, 10**9),
    out=st.integers(0, 10**9),
    counts=st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
)
def test_the_estimate_of_the_hot_path_is_the_cost_of_the_same_tokens(
    rate, cached_rate, out, counts
) -> None:
    prompt, cached, output = counts
    cached = min(cached, prompt)
    row = PriceRow({"input": rate, "cache_read": cached_rate, "output": out})
    exact = row.cost(input=prompt - cached, cache_read=cached, output=output)
    assert row.estimate(prompt, cached, output) == exact


def test_the_dearest_calls_a_million_times_over_stay_exact() -> None:
    row = PriceRow({"input": 10**9, "output": 10**9})
    one = row.cost_pico(input=2**31, output=2**31)
    assert one is not None
    assert one * 10**6 == 2 * 2**31 * 10**9 * 10**6
    assert row.cost(input=2**62) == 2**63 - 1  # stops, does not wrap


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PriceRow({"inptu": 1}), ValueError, "'inptu' is no kind"),
        (lambda: PriceRow({"input": 2.5}), TypeError, "must be an int, not 2.5"),
        (lambda: PriceRow({"input": 10**9 + 1}), ValueError, "not 1000000001"),
        (lambda: PriceRow({"input": -1}), ValueError, "not -1"),
        (lambda: PriceRow({}, [(5, {"output": -3})]), ValueError, "not -3"),
        (lambda: PriceRow({}, [(5, {"images": 3})]), ValueError, "tokens only"),
        (lambda: PriceRow({}, [(5, {}), (5, {})]), ValueError, "must rise"),
        (lambda: PriceRow({}, [(n, {}) for n in (1, 2, 3, 4)]), ValueError, "most 3"),
        (lambda: PriceRow({}, [7]), TypeError, "not 7"),
        (lambda: PriceRow(3), TypeError, "not 3"),
        (lambda: PriceRow({}, uplift_ppm=-(10**6) - 1), ValueError, "uplift_ppm"),
        (lambda: PriceRow({}).cost(inptu=1), TypeError, "'inptu'"),
        (lambda: PriceRow({}).cost(1, input=1), TypeError, "'input'"),
        (lambda: PriceRow({}).cost(*range(15)), TypeError, "15 given"),
        (lambda: PriceRow({}).cost(output=-1), ValueError, "output >= 0, not -1"),
        (lambda: PriceRow({}).pico("gold"), ValueError, "'gold'"),
        (lambda: PriceRow.parse(2.5, 6), TypeError, "not 2.5"),
        (lambda: PriceRow.parse("2\x00", 6), ValueError, "no amount"),
        (lambda: PriceRow.parse("1e30", 6), ValueError, "no amount"),
    ],
)
def test_a_row_refuses_what_it_cannot_mean(make, error, words) -> None:
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


def test_counts_may_be_given_by_name_in_any_order() -> None:
    row = PriceRow({"input": 10**6, "output": 10**7, "searches": 10**10})
    assert row.cost(searches=1, output=2, input=3) == 10_023_000
    assert row.cost(3, output=2, searches=1) == 10_023_000
    assert row.lines(output=2, input=3) == [
        ("input", 3, 3_000_000),
        ("output", 2, 20_000_000),
    ]


# --- a price as people write it ----------------------------------------------------


def test_free_and_unknown_are_different() -> None:
    assert Price(0, 0).row().cost(input=5000, output=5000) == 0
    assert Price().row().cost(input=1) is None
    assert Price(1).row().cost(input=1, output=1) is None
    assert Price(1).row().cost(input=1) == 1000


def test_text_float_int_and_decimal_are_the_same_price() -> None:
    rows = [
        Price(amount, amount).row().pico("input")
        for amount in ("3", 3, 3.0, Decimal(3))
    ]
    assert rows == [3_000_000] * 4


def test_missing_rates_are_borrowed_and_the_cost_says_so() -> None:
    row = Price(3, 15, cache_write=3.75).row()
    assert row.cost(cache_read=1000) == 3_000_000
    assert row.cost(cache_write_1h=1000) == 3_750_000
    assert row.is_guess(cache_read=1)
    assert not row.is_guess(cache_write=1, reasoning=1)


def test_above_a_threshold_the_whole_request_is_dearer() -> None:
    row = Price(3, 15, above={200_000: Price(6, 22.5)}).row()
    assert row.cost(input=200_000, output=1000) == 615_000_000
    assert row.cost(input=200_001, output=1000) == 1_222_506_000


def test_service_tiers_are_factors_or_prices_and_a_batch_costs_half() -> None:
    price = Price(2, 8, cache_read=0.5, tiers={"priority": 1.75, "flex": Price(1, 5)})
    million = {"input": 10**6, "output": 10**6, "cache_read": 10**6}
    assert price.row().cost(**million) == 10_500_000_000
    assert price.row(service_tier="default").cost(**million) == 10_500_000_000
    assert price.row(service_tier="batch").cost(**million) == 5_250_000_000
    assert price.row(service_tier="priority").cost(**million) == 18_375_000_000
    assert price.row(service_tier="flex").cost(**million) == 6_500_000_000
    assert price.row(service_tier="never heard of").cost(**million) == 10_500_000_000


def test_a_region_raises_every_line_and_may_be_named_by_its_zone() -> None:
    price = Price(10, 50, regions={"us": 1.1})
    assert price.row(region="us").cost(input=1000, output=1000) == 66_000_000
    assert price.row(region="us-east-1").cost(input=1000) == 11_000_000
    assert price.row(region="eu").cost(input=1000) == 10_000_000
    anywhere = Price(10, 50, regions={"*": 1.1, "eu": 1.3})
    assert anywhere.row().cost(input=1000) == 11_000_000
    assert anywhere.row(region="eu-west-1").cost(input=1000) == 13_000_000


def test_a_promotion_holds_from_its_start_until_its_end() -> None:
    deal = Deal(factor="0.8", start="2026-12-01", until="2026-12-25T12:00")
    price = Price(10, 10, deals=(deal,))
    costs = {
        moment: price.row(at=epoch(moment)).cost(input=1000)
        for moment in (
            *("2026-11-30T23:59:59", "2026-12-01"),
            *("2026-12-25T11:59:59", "2026-12-25T12:00"),
        )
    }
    assert list(costs.values()) == [10_000_000, 8_000_000, 8_000_000, 10_000_000]
    assert price.next_change(epoch("2026-11-01")) == epoch("2026-12-01")
    assert price.next_change(epoch("2026-12-01")) == epoch("2026-12-25T12:00")
    assert price.next_change(epoch("2026-12-25T12:00")) is None


def test_off_peak_hours_may_run_over_midnight() -> None:
    price = Price(2, 2, deals=(Deal(price=Price(1, 1), daily=("16:30", "00:30")),))
    for clock, nano in (
        *(("16:29", 2_000_000), ("16:30", 1_000_000), ("23:59", 1_000_000)),
        *(("00:29", 1_000_000), ("00:30", 2_000_000)),
    ):
        assert price.row(at=epoch(f"2026-11-20T{clock}")).cost(input=1000) == nano
    assert price.next_change(epoch("2026-11-20T20:00")) == epoch("2026-11-21T00:30")
    assert price.next_change(epoch("2026-11-20T12:00")) == epoch("2026-11-20T16:30")
    assert price.row().cost(input=1000) == 2_000_000


def test_the_price_of_a_deal_replaces_long_prompt_rates_too() -> None:
    flat = Deal(price=Price(3, 15), start="2026-03-13")
    price = Price(3, 15, above={200_000: Price(6, 22.5)}, deals=(flat,))
    assert price.row(at=epoch("2026-03-12")).cost(input=300_000) == 1_800_000_000
    assert price.row(at=epoch("2026-03-13")).cost(input=300_000) == 900_000_000


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Price(-1, 2), "input = -1"),
        (lambda: Price(1, "2,50"), "output = '2,50'"),
        (lambda: Price(2.5e-06, 1e-05), "USD per million tokens, not per token"),
        (lambda: Price(1, 5000), "USD per million tokens, at most 1,000"),
        (lambda: Price(float("nan"), 1), "input = nan"),
        (lambda: Price(float("inf"), 1), "input = inf"),
        (lambda: Price(True, 1), "input = True"),
        (lambda: Price(1, 1, request=-1), "request = -1"),
        (lambda: Price(1, 1, above={0: Price(2, 2)}), "above = 0"),
        (lambda: Price(1, 1, above={n: Price(2) for n in (1, 2, 3, 4)}), "at most 3"),
        (lambda: Price(1, 1, above={9: Price(2, request=1)}), "request = 1"),
        (lambda: Price(1, 1, tiers={"flex": -0.5}), "factor of flex = -0.5"),
        (lambda: Price(1, tiers={"x": Price(1, deals=(Deal(factor=1),))}), "deals"),
        (lambda: Deal(), "deal = None"),
        (lambda: Deal(factor=1, price=Price(1)), "deal"),
        (lambda: Deal(factor=1, start="soon"), "start = 'soon'"),
        (lambda: Deal(factor=1, daily=("8", "25:00")), "daily = '25:00'"),
    ],
)
def test_what_is_no_price_is_refused_by_field_and_value(make, words) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert words in str(caught.value)


def test_a_price_can_be_written_in_a_file_and_read_back() -> None:
    price = Price(
        *(2.5, "10"),
        above={272_000: Price(5.0, 22.5)},
        tiers={"batch": 0.5, "priority": Price(4.25, 17.0)},
        deals=(Deal(factor=0.9, until="2027-01-01"),),
    )
    text = msgspec.json.encode(price)
    assert msgspec.json.decode(text, type=Price) == price


# --- the table -----------------------------------------------------------------------


def test_every_row_of_the_own_table_is_complete_and_can_be_true() -> None:
    models = list(PriceTable())
    assert 150 <= len(models) <= 250
    for info in models:
        assert info.source.startswith("https://") and info.as_of, info.model
        assert info.price.input is not None and info.price.output is not None
        assert info.tokenizer in (
            *("o200k", "cl100k", "claude", "claude_new", "gemini", "llama"),
        )
        for tier in (None, "batch", *info.price.tiers):
            cost = info.price.row(service_tier=tier, region="us").cost(
                **{kind: 1000 for kind in KINDS}
            )
            assert cost is not None and cost <= 5_000_000_000, info.model
        if info.kind == "chat" and info.price.output != 0:
            assert info.price.row().pico("output") >= info.price.row().pico("input")


def test_the_own_table_covers_every_provider_that_has_a_list_price() -> None:
    providers = {info.provider for info in PriceTable()}
    assert providers >= {
        *("openai", "azure", "anthropic", "google", "vertex", "bedrock", "groq"),
        *("mistral", "deepseek", "together", "openrouter", "xai", "ollama"),
    }


@pytest.mark.parametrize(
    ("provider", "model", "price_of"),
    [
        ("openai", "gpt-4o-2024-11-20", ("openai", "gpt-4o")),
        ("openai", "gpt-5.4-2099-01-01", ("openai", "gpt-5.4")),
        ("azure", "gpt-5-mini", ("openai", "gpt-5-mini")),
        ("anthropic", "claude-haiku-4-5@20251001", ("anthropic", "claude-haiku-4-5")),
        ("anthropic", "claude-opus-4-8-latest", ("anthropic", "claude-opus-4-8")),
        ("vertex", "gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("vertex", "claude-sonnet-4-5@20250929", ("anthropic", "claude-sonnet-4-5")),
        (
            "bedrock",
            "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("bedrock", "eu.anthropic.claude-haiku-4-5"),
        ),
        (
            "openrouter",
            "anthropic/claude-sonnet-4.5",
            ("anthropic", "claude-sonnet-4-5"),
        ),
        ("openrouter", "openai/gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("gemini", "gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("together_ai", "openai/gpt-oss-20b", ("together", "openai/gpt-oss-20b")),
    ],
)
def test_a_model_is_found_under_the_names_its_sellers_give_it(
    provider, model, price_of
) -> None:
    table = PriceTable()
    found, expected = table.lookup(provider, model), table.lookup(*price_of)
    assert found is not None and expected is not None
    assert found.price == expected.price


def test_the_name_of_a_dearer_version_is_not_shortened() -> None:
    table = PriceTable()
    assert table.lookup("openai", "gpt-4o-2024-05-13").price.input == 5
    assert table.lookup("azure", "gpt-4o-mini").price.input == 0.165


def test_on_bedrock_the_prefix_of_the_model_raises_the_price_not_the_endpoint() -> None:
    model = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    usage = {"prompt_tokens": 1000, "completion_tokens": 0}
    costs = [
        PriceTable()
        .cost(f"bedrock/{prefix}{model}", usage, region="us-east-1")
        .nano_usd
        for prefix in ("", "global.", "eu.", "us-gov.")
    ]
    assert costs == [3_000_000, 3_000_000, 3_300_000, 3_600_000]


def test_what_is_not_in_the_table_has_no_price() -> None:
    table = PriceTable()
    assert table.lookup("openai", "gpt-99") is None
    assert table.row("openai", "gpt-99") is None
    cost = table.cost("openai/gpt-99", {"prompt_tokens": 10})
    assert (cost.usd, cost.nano_usd) == (None, None)
    assert (cost.lines[0].kind, cost.lines[0].pico_usd) == ("input", None)
    assert table.cost("vllm/llama3.1", Usage(prompt_tokens=10)).usd is None
    assert table.cost("ollama/llama3.1:8b", Usage(prompt_tokens=10)).usd == 0
    assert table.cost("openrouter/x/y:free", Usage(prompt_tokens=10)).usd == 0
    assert table.cost("openrouter/x/y", Usage(prompt_tokens=10)).usd is None
    assert table.cost("llama3.1:8b", Usage(prompt_tokens=10)).usd is None


def test_threads_that_ask_first_at_once_all_get_the_whole_table() -> None:
    for _ in range(20):
        table, found = PriceTable(), []
        threads = [
            threading.Thread(
                target=lambda t=table, f=found: f.append(t.lookup("xai", "grok-4.5"))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8 and None not in found


def test_the_same_call_is_read_from_every_shape_of_usage() -> None:
    chat = {
        "prompt_tokens": 10_000,
        "completion_tokens": 300,
        "prompt_tokens_details": {"cached_tokens": 8192},
    }
    responses = {
        "input_tokens": 10_000,
        "output_tokens": 300,
        "input_tokens_details": {"cached_tokens": 8192},
    }
    anthropic = {
        "input_tokens": 1808,
        "output_tokens": 300,
        "cache_read_input_tokens": 8192,
        "cache_creation_input_tokens": 0,
    }
    own = Usage(prompt_tokens=10_000, completion_tokens=300, cached_tokens=8192)

    class Details:
        cached_tokens = 8192

    class Shape:
        prompt_tokens, completion_tokens = 10_000, 300
        prompt_tokens_details = Details()

    for usage in (chat, responses, anthropic, own, Shape()):
        cost = PriceTable().cost("gpt-4o", usage)
        assert cost.nano_usd == 17_760_000
        assert [(line.kind, line.count, line.pico_usd) for line in cost.lines] == [
            ("input", 1808, 4_520_000_000),
            ("cache_read", 8192, 10_240_000_000),
            ("output", 300, 3_000_000_000),
        ]
        assert not cost.estimated and not cost.stated


def test_one_hour_cache_writes_of_anthropic_are_dearer() -> None:
    usage = {
        "input_tokens": 1000,
        "output_tokens": 0,
        "cache_read_input_tokens": 10_000,
        "cache_creation_input_tokens": 6000,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 4000,
            "ephemeral_1h_input_tokens": 2000,
        },
    }
    # 1,000 at $3 + 10,000 at $0.30 + 4,000 at $3.75 + 2,000 at $6 per million
    assert usd("anthropic/claude-sonnet-4-5", usage) == 0.033


def test_an_amount_the_provider_states_wins() -> None:
    cost = PriceTable().cost(
        "openrouter/some/model", {"prompt_tokens": 9, "cost": 0.00123}
    )
    assert (cost.nano_usd, cost.stated) == (1_230_000, True)


def test_a_search_is_billed_by_the_piece() -> None:
    usage = Usage(prompt_tokens=1000, web_search_requests=3)
    assert usd("anthropic/claude-opus-5", usage) == 0.035


def test_an_unknown_tier_is_billed_as_standard_and_called_an_estimate() -> None:
    usage = {"prompt_tokens": 1000}
    known = PriceTable().cost("openai/gpt-5.4", usage, service_tier="flex")
    assert (known.nano_usd, known.estimated) == (1_250_000, False)
    guess = PriceTable().cost("anthropic/claude-opus-5", usage, service_tier="flex")
    assert (guess.nano_usd, guess.estimated) == (5_000_000, True)


def test_a_new_price_holds_from_the_next_question_on_and_raises_the_revision() -> None:
    table = PriceTable()
    usage = {"prompt_tokens": 1000}
    assert table.cost("openai/gpt-4o", usage).usd == 0.0025
    before = table.revision
    table.set("openai/gpt-4o", Price(2, 8))
    assert table.cost("openai/gpt-4o", usage).usd == 0.002
    assert table.revision > before
    info = table.lookup("openai", "gpt-4o")
    assert info.context == 128_000 and info.source == "set"
    with pytest.raises(ConfigError, match="name the provider"):
        table.set("gpt-4o", Price(2, 8))


# --- examples ------------------------------------------------------------------------


def blended(*shares: tuple[float, float]) -> Decimal:
    """Dollars per million tokens when traffic is shared: (share, price)."""
    total = Decimal(0)
    for share, price in shares:
        row = Price(price, 0).row()
        nano = row.cost(input=round(share * 10**6))
        total += Decimal(nano) / 10**9
    return total


def test_seventy_thirty_between_two_cheap_models_saves_23_percent() -> None:
    price = blended((0.7, 0.10), (0.3, 0.15))
    assert price == Decimal("0.115")
    assert round((1 - price / Decimal("0.15")) * 100) == 23


def test_eighty_twenty_between_cheap_and_dear_saves_47_percent() -> None:
    price = blended((0.8, 1.25), (0.2, 3.00))
    assert price == Decimal("1.60")
    assert round((1 - price / 3) * 100) == 47


def test_half_a_million_requests_a_day_save_68625_dollars_a_month() -> None:
    """1,500 + 500 tokens a request: all at $3/$15, or 60 % of them at $1.25/$5."""
    dear = Price(3, 15).row().cost(input=1500, output=500)
    cheap = Price(1.25, 5).row().cost(input=1500, output=500)
    alone = 500_000 * dear
    shared = 200_000 * dear + 300_000 * cheap
    assert (alone, shared) == (6_000 * 10**9, 3_712_500 * 10**6)
    assert (alone - shared) * 30 == 68_625 * 10**9

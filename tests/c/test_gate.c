/* Each gate alone, then what they say together: the reason and the longest wait. */
#include "check.h"
#include "pool_kit.h"

#include <math.h>
#include <string.h>

static lb_pool *p;
static lb_ask ask;
static uint32_t group;

/* One backend at $2.50 / $10, a prompt of 1,000 tokens. */
static lb_backend *
fresh(void)
{
    lb_pool_free(p);
    p = kit_pool(1);
    group = (uint32_t)kit_group(p, LB_COST);
    ask = kit_ask((int)group, 1000);
    return lb_pool_backend(p, 0);
}

static lb_quote
quote(lb_ns now)
{
    return kit_quote(p, 0, &ask, now);
}

static void
reasons_have_names(void)
{
    CHECK(strcmp(lb_reason_name(LB_ELIGIBLE), "eligible") == 0);
    CHECK(strcmp(lb_reason_name(LB_NO_ORDER), "order") == 0);
    CHECK(lb_reason_name(-1) == NULL);
    CHECK(lb_reason_name(LB_NREASONS) == NULL);
}

static void
a_call_without_needs_is_eligible_and_priced(void)
{
    (void)fresh();
    lb_quote q = quote(0);
    CHECK_EQ(q.reason, LB_ELIGIBLE);
    CHECK_EQ(q.cost, 1000 * 2500 + 256 * 10000); /* nano-USD; 256 tokens by guess */
    CHECK(fabs(q.seconds - (0.5 + 256 * 0.02)) < 1e-6);
    CHECK_EQ(q.input, 1000);
    CHECK_EQ((int64_t)q.id, 1000);
    CHECK_EQ(q.wait, 0);
    CHECK_EQ(q.hold, 0);
    CHECK(q.weight == 1 && q.ease == 1 && q.used == 0);
}

static void
what_a_backend_lacks_names_the_reason(void)
{
    lb_backend *b = fresh();
    ask.tags = 4;
    CHECK_EQ(quote(0).reason, LB_NO_TAG);
    b->terms.tags = 6;
    CHECK(quote(0).reason != LB_NO_TAG);
    ask.tags = 12; /* the backend has one of the two */
    CHECK_EQ(quote(0).reason, LB_NO_TAG);
    ask.tags = 12 | LB_ANY_TAG;
    CHECK(quote(0).reason != LB_NO_TAG);
    ask.tags = 8 | LB_ANY_TAG;
    CHECK_EQ(quote(0).reason, LB_NO_TAG);
    ask.tags = 4;
    ask.needs = LB_CAN_VISION;
    CHECK_EQ(quote(0).reason, LB_NO_ABILITY);
    b->terms.can = 3;
    b->terms.context = 1000;
    CHECK_EQ(quote(0).reason, LB_NO_CONTEXT);
    b->terms.context = 1001;
    ask.quality = 2;
    CHECK_EQ(quote(0).reason, LB_NO_QUALITY);
    b->terms.quality = 2;
    ask.tried[0] = 5;
    ask.tried[1] = 0;
    ask.ntried = 2;
    CHECK_EQ(quote(0).reason, LB_NO_RETRY);
    ask.ntried = 1;
    b->terms.weight = 0;
    CHECK_EQ(quote(0).reason, LB_NO_WEIGHT);
    CHECK_EQ(quote(0).cost, LB_UNKNOWN); /* not looked at any more */
    b->terms.weight = 1;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    CHECK_EQ(quote(0).wait, 0);
}

static void
an_unknown_price_is_no_candidate(void)
{
    (void)fresh();
    lb_price unknown;
    lb_price_init(&unknown);
    CHECK_EQ(lb_pool_set_price(p, 0, &unknown), LB_OK);
    CHECK_EQ(quote(0).reason, LB_NO_PRICE);
    unknown.pico[LB_INPUT] = 1000000; /* and of an answer nothing */
    CHECK_EQ(lb_pool_set_price(p, 0, &unknown), LB_OK);
    CHECK_EQ(quote(0).reason, LB_NO_PRICE);
}

static void
max_cost_counts_the_longest_answer(void)
{
    (void)fresh();
    ask.max_tokens = 100;
    ask.max_cost = 1000 * 2500 + 100 * 10000;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    ask.max_cost--;
    CHECK_EQ(quote(0).reason, LB_NO_COST);
}

static void
max_latency_counts_the_expected_duration(void)
{
    (void)fresh();
    ask.max_tokens = 100;
    ask.max_latency = 2501 * LB_NS_PER_MS;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    ask.max_latency = 2499 * LB_NS_PER_MS;
    CHECK_EQ(quote(0).reason, LB_NO_LATENCY);
}

static void
outputs_are_capped_by_the_call_and_the_model(void)
{
    lb_backend *b = fresh();
    lb_outlook o;
    CHECK_EQ(lb_gate_output(b, 500), 500);
    ask.max_tokens = 300;
    lb_outlook_init(p, &ask, &o, 0);
    CHECK(o.expected == 256 && o.reserve == 300 && o.most == 300);
    ask.max_tokens = 100;
    lb_outlook_init(p, &ask, &o, 0);
    CHECK(o.expected == 100 && o.reserve == 100 && o.most == 100);
    b->terms.max_output = 200;
    CHECK_EQ(lb_gate_output(b, 500), 200);
    CHECK_EQ(lb_gate_output(b, 100), 100);
}

static void
counts_beyond_all_measure_do_not_overflow(void)
{
    lb_backend *b = fresh();
    ask = kit_ask((int)group, INT64_MAX / 8);
    ask.chars = INT64_MAX;
    ask.max_tokens = INT64_MAX;
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_TOKEN, LB_CHARGE_MAX, 1000, MIN, 0), 0);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_TOKEN, LB_CHARGE_CHARS4, 1000, MIN, 0), 1);
    CHECK_EQ(quote(0).reason, LB_NO_BURST);
    CHECK_EQ(quote(0).input, LB_TOKENS_MOST);
    b->ratio = 4;
    CHECK_EQ(quote(0).reason, LB_NO_BURST);
}

static void
backends_of_one_family_share_their_figures_unless_they_differ(void)
{
    lb_backend *b = fresh();
    lb_figures own;
    lb_outlook o;
    p->ratio[0] = 1.2F;
    lb_outlook_init(p, &ask, &o, 0);
    const lb_figures *shared = &o.figures[0];
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == shared); /* knows no ratio */
    CHECK_EQ(shared->load.input, 1200);
    b->ratio = 1.23F;
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == shared);
    b->ratio = 1;
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == shared);
    b->ratio = 1.5F;
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == &own);
    CHECK_EQ(own.load.input, 1500);
    b->ratio = 1.2F;
    b->terms.max_output = 100;
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == &own);
    CHECK(own.load.output == 100 && own.expected == 100 && own.load.most == 100);
    b->terms.max_output = 1024; /* no less than it might be */
    CHECK(lb_gate_figures(p, &ask, &o, b, &own) == shared);
    CHECK_EQ(shared->load.output, 1024);
}

static void
the_learned_ratio_scales_the_prompt(void)
{
    lb_backend *b = fresh();
    b->ratio = 1.5F;
    CHECK_EQ(quote(0).input, 1500);
}

/* Units of a call of 1,000 + 200 tokens, at most 500, 4,001 characters, 3 messages. */
static void
each_unit_and_charge_counts_its_own(void)
{
    static const lb_load load = {1000, 200, 500, 4001, 3};
    static const struct {
        enum lb_unit unit;
        enum lb_charge charge;
        int64_t units;
    } cases[] = {
        {LB_PER_REQUEST, LB_CHARGE_ACTUAL, 1},  {LB_PER_TOKEN, LB_CHARGE_ACTUAL, 1200},
        {LB_PER_TOKEN, LB_CHARGE_MAX, 1500},    {LB_PER_TOKEN, LB_CHARGE_CHARS4, 1007},
        {LB_PER_INPUT, LB_CHARGE_ACTUAL, 1000}, {LB_PER_INPUT, LB_CHARGE_MAX, 1000},
        {LB_PER_OUTPUT, LB_CHARGE_ACTUAL, 200}, {LB_PER_OUTPUT, LB_CHARGE_MAX, 500},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lb_limit l = {.unit = (uint8_t)cases[i].unit,
                      .charge = (uint8_t)cases[i].charge};
        CHECK_EQ(lb_gate_units(&l, &load), cases[i].units);
    }
}

static void
concurrency_shuts_until_a_call_ends(void)
{
    lb_backend *b = fresh();
    lb_terms terms = b->terms;
    terms.max_calls = 4;
    CHECK_EQ(lb_pool_set_terms(p, 0, &terms), LB_OK);
    b->held = b->latency.calls = 3;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    CHECK(quote(0).used == 0.75F);
    b->held = b->latency.calls = 4;
    CHECK_EQ(quote(0).reason, LB_NO_CONCURRENCY);
    CHECK_EQ(quote(0).wait, 1);
}

static void
limit(enum lb_unit unit, int64_t amount)
{
    CHECK(lb_pool_add_limit(p, 0, unit, LB_CHARGE_ACTUAL, amount, MIN, 0) >= 0);
}

static void
a_used_up_limit_tells_the_wait(void)
{
    (void)fresh();
    limit(LB_PER_REQUEST, 60);
    limit(LB_PER_TOKEN, 60000);
    lb_limit_charge(lb_pool_limit(p, 0), 45, 0);
    lb_quote q = quote(0);
    CHECK_EQ(q.reason, LB_ELIGIBLE);
    CHECK(q.used == 0.75F);
    lb_limit_charge(lb_pool_limit(p, 0), 15, 0);
    q = quote(0);
    CHECK_EQ(q.reason, LB_NO_RATE);
    CHECK_EQ(q.wait, SEC);
    lb_limit_charge(lb_pool_limit(p, 1), 60000, 0);
    CHECK_EQ(quote(0).wait, 2024 * LB_NS_PER_MS); /* 1,000 + 1,024 tokens: longer */
    CHECK_EQ(quote(2024 * LB_NS_PER_MS).reason, LB_ELIGIBLE);
}

static void
the_ceiling_keeps_a_share_for_priority_traffic(void)
{
    (void)fresh();
    limit(LB_PER_REQUEST, 100);
    p->ceiling = 0.95;
    lb_limit_charge(lb_pool_limit(p, 0), 95, 0);
    CHECK_EQ(quote(0).reason, LB_NO_RATE);
    ask.priority = true;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
}

static void
what_is_larger_than_the_burst_never_fits(void)
{
    (void)fresh();
    limit(LB_PER_INPUT, 999);
    CHECK_EQ(quote(0).reason, LB_NO_BURST);
    CHECK_EQ(quote(0).wait, LB_FOREVER);
}

static void
a_retry_after_is_a_deadline(void)
{
    lb_backend *b = fresh();
    b->not_before = 5 * SEC;
    CHECK_EQ(quote(2 * SEC).reason, LB_NO_RATE);
    CHECK_EQ(quote(2 * SEC).wait, 3 * SEC);
    CHECK_EQ(quote(5 * SEC).reason, LB_ELIGIBLE);
}

static int
budget(enum lb_budget_kind kind, int64_t cap)
{
    return lb_pool_add_budget(p, kind, true, cap, MIN, MIN, 0);
}

static void
a_budget_admits_what_it_can_hold(void)
{
    lb_backend *b = fresh();
    ask.max_tokens = 100;
    int64_t hold = 1266 * 2500 + 100 * 10000;
    CHECK_EQ(lb_gate_hold(p, 0, 1000, 100), hold);
    CHECK_EQ(budget(LB_TOTAL, hold), 0);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    CHECK_EQ(quote(0).hold, hold);
    lb_pool_budget(p, 0)->cap--;
    CHECK_EQ(quote(0).reason, LB_NO_BUDGET);
    CHECK_EQ(quote(0).wait, LB_FOREVER);
    p->nbudgets = 0;
    CHECK_EQ(quote(0).hold, 0);
    CHECK_EQ(lb_pool_charge_backend(p, 0, 0), LB_OK);
    CHECK_EQ(quote(0).reason, LB_NO_BUDGET);
    lb_pool_budget(p, 0)->cap++;
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    b->nbudgets = 0;
}

static void
money_promised_to_others_comes_back_soon(void)
{
    (void)fresh();
    ask.max_tokens = 100;
    int64_t hold = lb_gate_hold(p, 0, 1000, 100);
    CHECK_EQ(budget(LB_FIXED, 2 * hold), 0);
    CHECK_EQ(lb_pool_charge_group(p, group, 0), LB_OK);
    lb_budget *b = lb_pool_budget(p, 0);
    lb_budget_reserve(b, hold + 1);
    CHECK_EQ(quote(0).reason, LB_NO_BUDGET);
    CHECK_EQ(quote(0).wait, 1);
    lb_budget_settle(b, hold + 1, hold + 1, 0); /* now it is spent */
    CHECK_EQ(quote(10 * SEC).wait, 50 * SEC);
    CHECK_EQ(quote(60 * SEC).reason, LB_ELIGIBLE);
}

static void
the_slowest_of_all_budgets_sets_the_wait(void)
{
    (void)fresh();
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(budget(LB_FIXED, 1000000000), i);
        lb_pool_budget(p, (uint32_t)i)->ends = (10 + i) * SEC;
    }
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    CHECK_EQ(lb_pool_charge_group(p, group, 1), LB_OK);
    CHECK_EQ(lb_pool_charge_backend(p, 0, 2), LB_OK);
    ask.budget[0] = 3;
    ask.nbudgets = 1;
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(quote(0).reason, i == 0 ? LB_ELIGIBLE : LB_NO_BUDGET);
        lb_budget_settle(lb_pool_budget(p, i), 0, 1000000000, 0);
        CHECK_EQ(quote(0).wait, (10 + i) * SEC);
    }
}

static void
soft_budgets_hold_money_and_refuse_nothing(void)
{
    (void)fresh();
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, false, 0, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    CHECK(quote(0).hold > 0);
}

static void
a_cache_that_is_dear_to_write_is_held_at_that_price(void)
{
    (void)fresh();
    lb_price price = kit_price(2.5, 10);
    price.pico[LB_CACHE_WRITE] = 3125000;
    CHECK_EQ(lb_pool_set_price(p, 0, &price), LB_OK);
    CHECK_EQ(lb_gate_hold(p, 0, 1000, 100), 1266 * 3125 + 100 * 10000);
    price.pico[LB_REQUESTS] = 1000000;
    CHECK_EQ(lb_pool_set_price(p, 0, &price), LB_OK);
    CHECK_EQ(lb_gate_hold(p, 0, 1000, 100), 1266 * 3125 + 100 * 10000 + 1000);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000000000, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    CHECK_EQ(quote(0).reason, LB_ELIGIBLE);
    price.ntiers = 1; /* for long prompts no price of an answer is known */
    price.tier[0] = (lb_price_tier){.above = 1100};
    for (int k = 0; k < LB_NTOKENS; k++)
        price.tier[0].pico[k] = LB_UNKNOWN;
    CHECK_EQ(lb_pool_set_price(p, 0, &price), LB_OK);
    CHECK_EQ(quote(0).reason, LB_NO_PRICE); /* only the margin reaches the tier */
}

/* The short form of a price and the whole of it must never disagree. */
static void
a_fare_is_the_price_in_short(void)
{
    (void)fresh();
    ask.max_tokens = 0;
    for (int kind = 0; kind < 6; kind++) {
        lb_price price = kit_price(2.5, 10);
        price.marginal = kind == 1;
        price.uplift_ppm = kind == 2 ? 100000 : 0;
        price.pico[LB_REQUESTS] = kind == 3 ? 5000 : 0;
        price.ntiers = kind >= 4 || kind == 1;
        price.inclusive = kind == 5;
        price.tier[0] = price.tier[1];
        price.tier[0].above = 1000;
        for (int k = 0; k < LB_NTOKENS; k++)
            price.tier[0].pico[k] = 2 * price.pico[k] + 1;
        CHECK_EQ(lb_pool_set_price(p, 0, &price), LB_OK);
        for (int64_t tokens = 1; tokens < 4000000000; tokens = tokens * 3 + 1)
            for (int64_t exact = tokens - 1; exact <= tokens; exact++) {
                ask = kit_ask((int)group, exact);
                CHECK_EQ(quote(0).cost, lb_price_estimate(&price, exact, 0, 256));
                ask = kit_ask((int)group, 998 + exact % 5);
                CHECK_EQ(quote(0).cost,
                         lb_price_estimate(&price, 998 + exact % 5, 0, 256));
                CHECK_EQ(
                    lb_gate_hold(p, 0, exact, 10 * tokens),
                    lb_price_estimate(&price, exact + exact / 4 + 16, 0, 10 * tokens));
            }
    }
}

static void
trip(lb_backend *b, lb_ns now)
{
    const lb_breaker_rules *rules = &lb_pool_record(p, 0)->rules;
    for (int i = 0; i < 5; i++) {
        uint32_t generation = lb_breaker_enter(&b->breaker, rules, now);
        lb_breaker_leave(&b->breaker, rules, generation, LB_FAILED, 0, &p->rng, now);
    }
}

static void
an_open_breaker_shuts_and_a_ramp_weighs_less(void)
{
    lb_backend *b = fresh();
    const lb_breaker_rules *rules = &lb_pool_record(p, 0)->rules;
    trip(b, 0);
    lb_quote q = quote(SEC);
    CHECK_EQ(q.reason, LB_NO_BREAKER);
    CHECK_EQ(q.wait, b->breaker.until - SEC);
    lb_ns now = b->breaker.until;
    CHECK_EQ(quote(now).reason, LB_ELIGIBLE); /* half-open: the first is a probe */
    for (int i = 0; i < 3; i++) {
        uint32_t generation = lb_breaker_enter(&b->breaker, rules, now);
        lb_breaker_leave(&b->breaker, rules, generation, LB_DONE, 0, &p->rng, now);
    }
    b->terms.weight = 4;
    q = quote(now);
    CHECK(q.ease == 0.1F && fabsf(q.weight - 0.4F) < 1e-6F);
    q = quote(now + 15 * SEC);
    CHECK(q.ease == 0.5F && q.weight == 2);
    q = quote(now + 30 * SEC);
    CHECK(q.ease == 1 && q.weight == 4);
    lb_breaker_order(&b->breaker, LB_FORCED_OPEN, now);
    CHECK_EQ(quote(now).wait, LB_FOREVER);
}

static void
who_is_refused_anyhow_is_not_counted_by_a_half_open_breaker(void)
{
    lb_backend *b = fresh();
    trip(b, 0);
    b->terms.max_calls = 1;
    b->held = b->latency.calls = 1;
    lb_ns now = b->breaker.until;
    CHECK_EQ(quote(now).reason, LB_NO_CONCURRENCY);
    CHECK_EQ(b->breaker.seen, 0);
    b->held = b->latency.calls = 0;
    CHECK_EQ(quote(now).reason, LB_ELIGIBLE);
    CHECK_EQ(b->breaker.seen, 1);
}

static void
the_first_shut_gate_names_the_reason_the_slowest_the_wait(void)
{
    lb_backend *b = fresh();
    b->terms.max_calls = 1;
    b->held = b->latency.calls = 1;
    limit(LB_PER_REQUEST, 60);
    lb_limit_charge(lb_pool_limit(p, 0), 60, 0);
    lb_quote q = quote(0);
    CHECK_EQ(q.reason, LB_NO_CONCURRENCY);
    CHECK_EQ(q.wait, SEC);
    trip(b, 0);
    q = quote(0);
    CHECK_EQ(q.reason, LB_NO_CONCURRENCY);
    CHECK_EQ(q.wait, b->breaker.until);
}

static void
the_outlook_learns_outputs_by_input_size(void)
{
    (void)fresh();
    lb_outlook o;
    lb_outlook_init(p, &ask, &o, 0);
    CHECK_EQ(o.size, 9);
    CHECK_EQ(o.expected, 256);
    CHECK_EQ(o.reserve, 1024);
    lb_group *g = lb_pool_group(p, group);
    g->output[9].mean = 40.5F;
    g->output[9].high = 77;
    lb_outlook_init(p, &ask, &o, 0);
    CHECK_EQ(o.expected, 41);
    CHECK_EQ(o.reserve, 77);
    CHECK(!o.forecast && !o.metered && o.bound == -1);
    ask.strategy = LB_PREDICTIVE;
    lb_outlook_init(p, &ask, &o, 0);
    CHECK(o.forecast);
}

static void
the_holder_of_a_session_is_quoted_what_its_cache_saves(void)
{
    (void)fresh();
    lb_price cheap = kit_price(2.5, 10);
    cheap.pico[LB_CACHE_READ] = 250000;
    CHECK_EQ(lb_pool_set_price(p, 0, &cheap), LB_OK);
    ask.session = 99;
    CHECK_EQ(quote(0).bound, 0);
    lb_affinity_bind(lb_pool_sessions(p), p->size.sessions, 99, 0, 800, 300 * SEC, 0);
    lb_quote q = quote(SEC);
    CHECK_EQ(q.bound, 1);
    CHECK_EQ(q.cost, 200 * 2500 + 800 * 250 + 256 * 10000);
    CHECK_EQ(quote(300 * SEC).bound, 0);
    p->size.sessions = 0;
    CHECK_EQ(quote(SEC).bound, 0);
    p->size.sessions = 64;
    lb_affinity_bind(lb_pool_sessions(p), p->size.sessions, 99, 0, 5000, 300 * SEC, 0);
    CHECK_EQ(quote(SEC).cost, 1000 * 250 + 256 * 10000); /* not more than there is */
}

/* 6,000 a minute drain 100 a second; charged 200 a second, of which the pace knows
 * 86 % after 20 s, the used share grows by 73 * 10 / 6,000 within the horizon. */
static void
predictive_looks_at_the_share_and_seconds_to_come(void)
{
    lb_backend *b = fresh();
    limit(LB_PER_REQUEST, 6000);
    lb_limit *l = lb_pool_limit(p, 0);
    lb_ns now = 0;
    for (int i = 0; i < 1000; i++, now += SEC / 50)
        lb_limit_charge(l, 4, now);
    double used = (double)quote(now).used;
    ask.strategy = LB_PREDICTIVE;
    double later = (double)quote(now).used;
    CHECK(fabs(later - used - 0.122) < 0.003);
    double rest = (double)quote(now + 10 * SEC).used; /* nothing more came */
    ask.strategy = -1;
    CHECK((double)quote(now + 10 * SEC).used == rest); /* it falls: not below now */
    ask.strategy = LB_PREDICTIVE;
    double seconds = quote(now).seconds;
    b->latency.trend = 2;
    CHECK(quote(now).seconds == seconds); /* nothing was learned yet */
    lb_latency_prior usual = {.ttft = 0.5F, .itl = 0.02F};
    lb_answer answer = {.input = 1000, .output = 101, .ttft = 1, .total = 2, .load = 1};
    lb_latency_learn(&b->latency, &usual, &answer, now);
    b->latency.trend = 0;
    seconds = quote(now).seconds;
    b->latency.trend = 0.5F;
    CHECK(fabs(quote(now).seconds - 1.5 * seconds) < 1e-9);
    b->latency.trend = -0.5F;
    CHECK(fabs(quote(now).seconds - seconds) < 1e-9);
}

/* After five minutes without answers half of what was learned holds, after ten
 * nothing; what history says stands in for the rest. */
static void
history_stands_in_for_what_is_not_known(void)
{
    lb_backend *b = fresh();
    lb_latency_prior first = {.ttft = 0.5F, .itl = 0.02F};
    CHECK(fabs(quote(0).seconds - (0.5 + 256 * 0.02)) < 1e-6);
    CHECK_EQ(lb_pool_set_usual(p, 0, 2, 0.1), LB_OK);
    CHECK(fabs(quote(0).seconds - (2 + 25.6)) < 1e-5);
    CHECK_EQ(lb_pool_set_usual(p, 0, 2, 0), LB_OK);
    CHECK(fabs(quote(0).seconds - (2 + 256 * 0.02)) < 1e-5);
    CHECK_EQ(lb_pool_set_usual(p, 0, 0, 0.1), LB_OK);
    CHECK(fabs(quote(0).seconds - (0.5 + 25.6)) < 1e-5);
    lb_answer answer = {1000, 101, 1, 2, 1};
    lb_latency_learn(&b->latency, &first, &answer, 100 * SEC);
    CHECK_EQ(lb_pool_set_usual(p, 0, 2, 0.1), LB_OK);
    CHECK(fabs(quote(100 * SEC).seconds - (1 + 2.56)) < 1e-5);
    CHECK(fabs(quote(400 * SEC).seconds - (1.5 + 256 * 0.055)) < 1e-5);
    CHECK(fabs(quote(700 * SEC).seconds - (2 + 25.6)) < 1e-5);
    CHECK_EQ(lb_pool_set_usual(p, 0, 0, 0), LB_OK);
    CHECK(fabs(quote(700 * SEC).seconds - (0.5 + 256 * 0.02)) < 1e-6);
}

static void
figures_of_history_are_kept_within_their_range(void)
{
    lb_backend *b = fresh();
    CHECK_EQ(lb_pool_set_usual(p, 0, 1e-9, 1e9), LB_OK);
    CHECK_EQ(b->usual_ttft, 1);
    CHECK_EQ(b->usual_itl, UINT16_MAX);
    CHECK_EQ(lb_pool_set_usual(p, 0, 0.0051, 0.00009), LB_OK);
    CHECK_EQ(b->usual_ttft, 3);
    CHECK_EQ(b->usual_itl, 5);
    CHECK_EQ(lb_pool_set_usual(p, p->used.backends, 1, 1), LB_EINVAL);
    CHECK_EQ(lb_pool_set_usual(p, 0, -1, 1), LB_EINVAL);
    CHECK_EQ(lb_pool_set_usual(p, 0, 1, (double)NAN), LB_EINVAL);
    CHECK_EQ(b->usual_ttft, 3);
}

int
main(void)
{
    CHECK_RUN(reasons_have_names);
    CHECK_RUN(a_call_without_needs_is_eligible_and_priced);
    CHECK_RUN(what_a_backend_lacks_names_the_reason);
    CHECK_RUN(an_unknown_price_is_no_candidate);
    CHECK_RUN(max_cost_counts_the_longest_answer);
    CHECK_RUN(max_latency_counts_the_expected_duration);
    CHECK_RUN(outputs_are_capped_by_the_call_and_the_model);
    CHECK_RUN(counts_beyond_all_measure_do_not_overflow);
    CHECK_RUN(backends_of_one_family_share_their_figures_unless_they_differ);
    CHECK_RUN(the_learned_ratio_scales_the_prompt);
    CHECK_RUN(each_unit_and_charge_counts_its_own);
    CHECK_RUN(concurrency_shuts_until_a_call_ends);
    CHECK_RUN(a_used_up_limit_tells_the_wait);
    CHECK_RUN(the_ceiling_keeps_a_share_for_priority_traffic);
    CHECK_RUN(what_is_larger_than_the_burst_never_fits);
    CHECK_RUN(a_retry_after_is_a_deadline);
    CHECK_RUN(a_budget_admits_what_it_can_hold);
    CHECK_RUN(money_promised_to_others_comes_back_soon);
    CHECK_RUN(the_slowest_of_all_budgets_sets_the_wait);
    CHECK_RUN(soft_budgets_hold_money_and_refuse_nothing);
    CHECK_RUN(a_cache_that_is_dear_to_write_is_held_at_that_price);
    CHECK_RUN(a_fare_is_the_price_in_short);
    CHECK_RUN(an_open_breaker_shuts_and_a_ramp_weighs_less);
    CHECK_RUN(who_is_refused_anyhow_is_not_counted_by_a_half_open_breaker);
    CHECK_RUN(the_first_shut_gate_names_the_reason_the_slowest_the_wait);
    CHECK_RUN(the_outlook_learns_outputs_by_input_size);
    CHECK_RUN(the_holder_of_a_session_is_quoted_what_its_cache_saves);
    CHECK_RUN(predictive_looks_at_the_share_and_seconds_to_come);
    CHECK_RUN(history_stands_in_for_what_is_not_known);
    CHECK_RUN(figures_of_history_are_kept_within_their_range);
    lb_pool_free(p);
    return CHECK_DONE();
}

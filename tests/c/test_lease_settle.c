/* Settling: what stays charged after every outcome, and what is learned from it. */
#include "lease_kit.h"

#include <math.h>
#include <string.h>

/* ---- settling ------------------------------------------------------------ */

/* Limit `i` after a call that reserved 1,000 + 1,024 tokens, chars/4 = 1,002. */
static void
outcomes_leave_on_the_limits_what_the_table_says(void)
{
    enum { REQ, ACT, C4, MAX, IN, OUT, N };
    static const struct {
        enum lb_outcome outcome;
        bool sent, metered;
        int64_t input, output;
        int64_t left[N];
    } cases[] = {
        {LB_DONE, true, true, 900, 50, {1, 950, 1002, 950, 900, 50}},
        {LB_DONE, true, false, 0, 60, {1, 1060, 1002, 1060, 1000, 60}},
        {LB_SLOW, true, true, 900, 50, {1, 950, 1002, 950, 900, 50}},
        {LB_BROKEN, true, false, 0, 10, {1, 1010, 1002, 1010, 1000, 10}},
        {LB_FAILED, true, false, 0, 0, {1, 1000, 1002, 1000, 1000, 0}},
        {LB_TIMED_OUT, true, false, 0, 0, {1, 1000, 1002, 1000, 1000, 0}},
        {LB_CANCELLED, true, false, 0, 7, {1, 1007, 1002, 1007, 1000, 7}},
        {LB_RATE_LIMITED, true, false, 0, 0, {1, 0, 0, 0, 0, 0}},
        {LB_QUOTA, true, false, 0, 0, {1, 0, 0, 0, 0, 0}},
        {LB_AUTH, true, false, 0, 0, {1, 0, 0, 0, 0, 0}},
        {LB_MISSING, true, false, 0, 0, {1, 0, 0, 0, 0, 0}},
        {LB_REJECTED, true, false, 0, 0, {1, 0, 0, 0, 0, 0}},
        {LB_REJECTED, true, true, 900, 3, {1, 903, 1002, 903, 900, 3}},
        {LB_FAILED, false, false, 0, 0, {0, 0, 0, 0, 0, 0}},
        {LB_CANCELLED, false, false, 5, 5, {0, 0, 0, 0, 0, 0}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        fresh(1, LB_COST);
        CHECK_EQ(limit(0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 100), REQ);
        CHECK_EQ(limit(0, LB_PER_TOKEN, LB_CHARGE_ACTUAL, 100000), ACT);
        CHECK_EQ(limit(0, LB_PER_TOKEN, LB_CHARGE_CHARS4, 100000), C4);
        CHECK_EQ(limit(0, LB_PER_TOKEN, LB_CHARGE_MAX, 100000), MAX);
        CHECK_EQ(limit(0, LB_PER_INPUT, LB_CHARGE_ACTUAL, 100000), IN);
        CHECK_EQ(limit(0, LB_PER_OUTPUT, LB_CHARGE_MAX, 100000), OUT);
        ask.max_tokens = 3000;
        CHECK_EQ(pick(0), 0);
        static const int64_t reserved[N] = {1, 2024, 1002, 4000, 1000, 3000};
        lb_result r = kit_ended(cases[c].outcome);
        r.sent = cases[c].sent;
        r.metered = cases[c].metered;
        r.usage.count[LB_INPUT] = cases[c].input;
        r.usage.count[LB_OUTPUT] = cases[c].output;
        for (int i = 0; i < N; i++)
            CHECK_EQ(spent(i), reserved[i]);
        (void)lb_lease_settle(p, &lease, &r, 0);
        for (int i = 0; i < N; i++)
            CHECK_EQ(spent(i), cases[c].left[i]);
        CHECK_EQ(lb_pool_record(p, 0)->tally.outcome[cases[c].outcome], 1);
        nothing_is_left_reserved();
    }
}

static void
what_a_cache_gave_is_free_where_use_is_charged(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(limit(0, LB_PER_INPUT, LB_CHARGE_ACTUAL, 100000), 0);
    CHECK_EQ(limit(0, LB_PER_INPUT, LB_CHARGE_MAX, 100000), 1);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(300, 10, 0, 0);
    r.usage.count[LB_CACHE_READ] = 700;
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(spent(0), 300);
    CHECK_EQ(spent(1), 1000);
}

static void
a_stated_cost_counts_and_what_is_not_sent_costs_nothing(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(900, 50, 0, 0);
    r.cost = 777;
    CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), 777);
    CHECK_EQ(pick(0), 0);
    r = kit_done(900, 50, 0, 0);
    r.sent = false;
    CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), 0);
    CHECK_EQ(pick(0), 0);
    r = kit_done(900, 50, 0, 0);
    r.usage.count[LB_SEARCHES] = 1; /* nobody knows what it costs */
    CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), 0);
    CHECK_EQ(lb_pool_record(p, 0)->tally.cost, 777);
    nothing_is_left_reserved();
}

/* Plain tokens are billed by the short form of the price, all else by the long one. */
static void
a_bill_is_what_the_price_says_whatever_was_used(void)
{
    static const int64_t counts[] = {
        0, 1, 777, 1000, 199999, 200000, 200001, INT32_MAX, (int64_t)INT32_MAX + 1};
    enum { N = sizeof counts / sizeof *counts };
    fresh(1, LB_COST);
    lb_price price = lb_pool_record(p, 0)->price;
    price.pico[LB_INPUT] = 1333333; /* halves and thirds of a nano-dollar */
    price.pico[LB_OUTPUT] = 7500500;
    for (int tiers = 0; tiers < 2; tiers++) {
        if (tiers == 1) {
            price.ntiers = 1;
            price.tier[0] = price.tier[1];
            price.tier[0].above = 200000;
            for (int k = 0; k < LB_NTOKENS; k++)
                price.tier[0].pico[k] = 2 * price.pico[k];
        }
        CHECK_EQ(lb_pool_set_price(p, 0, &price), LB_OK);
        for (int k = 0; k < 2 * N * N; k++) {
            CHECK_EQ(pick(0), 0);
            lb_result r = kit_done(counts[k / 2 % N], counts[k / 2 / N], 0, 0);
            r.usage.count[LB_CACHE_READ] = k % 2;
            int64_t bill = lb_price_cost(&price, &r.usage);
            CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), bill);
        }
    }
}

static void
a_backends_own_budget_is_enough_to_hold_money(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000000000, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_charge_backend(p, 0, 0), LB_OK);
    CHECK_EQ(pick(0), 0);
    CHECK_EQ(lb_pool_budget(p, 0)->reserved, lease.hold);
    CHECK(lease.hold > 0);
    settle_as(LB_DONE, 0);
    nothing_is_left_reserved();
}

static void
one_budget_met_twice_is_charged_once(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000000000, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000000000, 0, 0, 0), 1);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    CHECK_EQ(lb_pool_charge_group(p, group, 0), LB_OK);
    CHECK_EQ(lb_pool_charge_backend(p, 0, 1), LB_OK);
    ask.budget[0] = 1;
    ask.nbudgets = 1;
    CHECK_EQ(pick(0), 0);
    CHECK_EQ(lease.nbudgets, 2);
    CHECK_EQ(lb_pool_budget(p, 0)->reserved, lease.hold);
    CHECK_EQ(lb_pool_budget(p, 1)->reserved, lease.hold);
    lb_result r = kit_done(1000, 100, 0, 0);
    int64_t cost = lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(lb_pool_budget(p, 0)->spent, cost);
    CHECK_EQ(lb_pool_budget(p, 1)->spent, cost);
    nothing_is_left_reserved();
}

/* Held are 1,266 * 2,500 + 400 * 10,000; the cap has room for ten of these, whatever
 * they will cost. */
static void
a_budget_is_not_overspent_by_calls_at_once(void)
{
    lb_lease held[30];
    int admitted = 0;
    fresh(3, LB_LEAST_BUSY);
    int64_t hold_of_one = 1266 * 2500 + 400 * 10000;
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 10 * hold_of_one + 5, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    ask.max_tokens = 400;
    for (int i = 0; i < 30; i++) {
        admitted += pick(0) >= 0;
        held[i] = lease;
    }
    CHECK_EQ(admitted, 10);
    for (int i = 0; i < 30; i++) {
        lb_result r = kit_done(1266, 400, 0, 0); /* as dear as it may get */
        (void)lb_lease_settle(p, &held[i], &r, 0);
    }
    CHECK_EQ(lb_pool_budget(p, 0)->spent, 10 * hold_of_one);
    nothing_is_left_reserved();
}

static void
streamed_tokens_leave_the_load_once(void)
{
    fresh(1, LB_COST);
    lb_latency *l = &lb_pool_backend(p, 0)->latency;
    CHECK_EQ(pick(0), 0);
    CHECK_EQ(l->tokens, 256);
    lb_lease_progress(p, &lease, 10);
    CHECK_EQ(l->tokens, 246);
    lb_lease_progress(p, &lease, 30); /* so far, not since */
    CHECK_EQ(l->tokens, 226);
    lb_lease_progress(p, &lease, -3);
    CHECK_EQ(l->tokens, 256);
    lb_lease_progress(p, &lease, 1000);
    CHECK_EQ(l->tokens, 0);
    settle_as(LB_DONE, SEC);
    lb_lease_progress(p, &lease, 1);
    CHECK_EQ(l->tokens, 0);
    nothing_is_left_reserved();
}

/* ---- what the provider tells --------------------------------------------- */

static void
tell(lb_result *r, enum lb_unit unit, int64_t amount, int64_t remaining, lb_ns reset,
     lb_ns window)
{
    r->told[r->ntold++] = (lb_told){(uint8_t)unit, {amount, remaining, reset, window}};
}

static void
an_untold_limit_is_learned_from_headers(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 10, 0, 0);
    tell(&r, LB_PER_REQUEST, 100, 40, 36 * SEC, -1);
    tell(&r, LB_PER_TOKEN, 0, 40, 36 * SEC, -1); /* no amount */
    tell(&r, LB_PER_OUTPUT, 100, 100, 0, -1);    /* nothing spent: no window */
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(p->used.limits, 1);
    const lb_limit *l = lb_pool_limit(p, 0);
    CHECK_EQ(l->learned, 1);
    CHECK_EQ(l->rate.limit, 100);
    CHECK_EQ(l->rate.window, MIN);
    CHECK_EQ(spent(0), 60);
    CHECK(fabs(lb_limit_used(l, 0) - 0.6) < 1e-6);

    CHECK_EQ(pick(0), 0); /* a higher one is believed: nobody configured it */
    r = kit_done(1000, 10, 0, 0);
    tell(&r, LB_PER_REQUEST, 200, 100, 30 * SEC, MIN);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(p->used.limits, 1);
    CHECK_EQ(l->rate.limit, 200);
    CHECK(fabs(lb_limit_used(l, 0) - lb_rate_used(&l->rate, 0)) < 1e-6);
}

static void
a_configured_limit_is_corrected_and_another_window_is_learned_beside_it(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(limit(0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 100), 0);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 10, 0, 0);
    tell(&r, LB_PER_REQUEST, 100, 50, 30 * SEC, MIN);
    tell(&r, LB_PER_REQUEST, 1000, 999, 86 * SEC, 24 * 60 * MIN);
    tell(&r, LB_PER_REQUEST, 100, 50, 0, -1); /* some window, not said which */
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(spent(0), 50);
    CHECK_EQ(p->used.limits, 2);
    CHECK_EQ(lb_pool_limit(p, 1)->rate.window, 24 * 60 * MIN);
}

static void
without_a_place_nothing_is_learned(void)
{
    fresh(1, LB_COST);
    for (int i = 0; i < LB_LIMITS; i++)
        CHECK_EQ(limit(0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 100), i);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 10, 0, 0);
    tell(&r, LB_PER_TOKEN, 1000, 100, 54 * SEC, MIN);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(p->used.limits, LB_LIMITS);
}

/* A call that left before a limit was learned charged nothing on it, so it has
 * nothing to get back there. */
static void
a_limit_learned_meanwhile_is_not_refunded(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_lease early = lease;
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 10, 0, 0);
    tell(&r, LB_PER_TOKEN, 10000, 4000, 36 * SEC, -1);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(spent(0), 6000);
    lease = early;
    r = kit_ended(LB_REJECTED);
    tell(&r, LB_PER_TOKEN, 10000, 2000, 48 * SEC, -1);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(spent(0), 6000);
    CHECK_EQ(p->used.limits, 1);
    nothing_is_left_reserved();
}

static void
a_429_without_a_time_backs_off_ever_longer(void)
{
    fresh(1, LB_COST);
    lb_backend *b = lb_pool_backend(p, 0);
    lb_ns now = 0;
    for (int k = 0; k < 9; k++) {
        double base = k < 6 ? (double)(1 << k) : 64;
        CHECK_EQ(pick(now), 0);
        settle_as(LB_RATE_LIMITED, now);
        double wait = (double)(b->not_before - now) * 1e-9;
        CHECK(wait >= 0.75 * base && wait <= 1.25 * base);
        CHECK_EQ(pick(now), LB_NOTHING);
        CHECK_EQ(lease.decision.wait, b->not_before - now);
        now = b->not_before;
    }
    b->refusals = INT32_MAX;
    CHECK_EQ(pick(now), 0);
    settle_as(LB_RATE_LIMITED, now);
    CHECK_EQ(b->refusals, INT32_MAX);
    now = b->not_before;
    CHECK_EQ(pick(now), 0);
    settle_as(LB_DONE, now);
    CHECK_EQ(b->refusals, 0);
    nothing_is_left_reserved();
}

static void
a_retry_after_is_obeyed_whoever_says_it(void)
{
    fresh(1, LB_COST);
    lb_backend *b = lb_pool_backend(p, 0);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_ended(LB_RATE_LIMITED);
    r.retry_after = 7 * SEC;
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(b->not_before, 7 * SEC);
    CHECK_EQ(pick(7 * SEC), 0);
    r = kit_ended(LB_FAILED);
    r.retry_after = 2 * SEC;
    (void)lb_lease_settle(p, &lease, &r, 7 * SEC);
    CHECK_EQ(b->not_before, 9 * SEC);
    CHECK_EQ(pick(9 * SEC), 0);
    r = kit_ended(LB_FAILED);
    (void)lb_lease_settle(p, &lease, &r, 9 * SEC); /* no word of a time */
    CHECK_EQ(b->not_before, 9 * SEC);
    CHECK_EQ(pick(9 * SEC), 0);
    r.retry_after = LB_FOREVER - 1;
    (void)lb_lease_settle(p, &lease, &r, 9 * SEC);
    CHECK_EQ(b->not_before, LB_FOREVER); /* and no overflow */
    nothing_is_left_reserved();
}

/* ---- learning ------------------------------------------------------------ */

static void
bills_teach_the_ratio_and_the_length_of_answers(void)
{
    fresh(1, LB_COST);
    for (int k = 0; k < 200; k++) {
        CHECK_EQ(pick(0), 0);
        lb_result r = kit_done(1500, k % 10 == 0 ? 300 : 100, 0, 0);
        (void)lb_lease_settle(p, &lease, &r, 0);
    }
    CHECK(fabsf(lb_pool_backend(p, 0)->ratio - 1.5F) < 0.01F);
    const lb_output *o = &lb_pool_group(p, group)->output[9];
    CHECK(o->mean > 90 && o->mean < 160);
    CHECK(o->high > 80 && o->high < 320);
    CHECK_EQ(pick(0), 0);
    CHECK(lease.load.input >= 1490 && lease.load.input <= 1510);
    CHECK_EQ(lease.load.output, o->high);
    settle_as(LB_DONE, 0);
}

static void
an_answer_without_tokens_counts_as_one(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 0, 1, 1);
    (void)lb_lease_settle(p, &lease, &r, 0);
    const lb_group *g = lb_pool_group(p, group);
    CHECK(g->output[9].mean == 1);
    CHECK(g->prior.itl == 0.02F); /* and says nothing of the pace */
}

static void
answers_teach_times_to_their_backend_and_its_group(void)
{
    fresh(2, LB_ROUND_ROBIN);
    lb_ns now = 0;
    for (int k = 0; k < 200; k++, now += SEC) {
        (void)pick(now);
        lb_result r = kit_done(1000, 101, k % 2 ? 1.0 : 0, k % 2 ? 3.0 : 4.0);
        (void)lb_lease_settle(p, &lease, &r, now);
    }
    const lb_record *rec = lb_pool_record(p, 1);
    CHECK(fabs(lb_hist_quantile(&rec->ttft, 0.5) - 1) < 0.1);
    CHECK(fabs(lb_hist_quantile(&rec->seconds, 0.5) - 3) < 0.3);
    CHECK(lb_hist_quantile(&lb_pool_record(p, 0)->ttft, 0.5) == 0); /* never told */
    const lb_group *g = lb_pool_group(p, group);
    CHECK_EQ(g->answers, 200);
    CHECK(g->prior.ttft > 0.5F && g->prior.ttft < 2);
    CHECK(g->prior.itl > 0.01F && g->prior.itl < 0.05F);
    CHECK_EQ(lb_pool_backend(p, 1)->latency.samples, 100);
    lb_pool_group(p, group)->answers = INT32_MAX;
    (void)pick(now);
    lb_result r = kit_done(1000, 1, 1, 1); /* one token: nothing about its pace */
    (void)lb_lease_settle(p, &lease, &r, now);
    CHECK_EQ(g->answers, INT32_MAX);
}

static void
what_is_no_time_teaches_nothing(void)
{
    static const double odd[] = {NAN, INFINITY, 1e300, -5, 0};
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 100, 0.5, 2);
    (void)lb_lease_settle(p, &lease, &r, 2 * SEC);
    lb_latency before = lb_pool_backend(p, 0)->latency;
    for (int k = 0; k < 5; k++) {
        CHECK_EQ(pick(2 * SEC), 0);
        r = kit_done(1000, 100, 0.5, odd[k]);
        (void)lb_lease_settle(p, &lease, &r, 2 * SEC);
        CHECK_EQ(pick(2 * SEC), 0);
        r = kit_ended(LB_CANCELLED);
        r.seconds = odd[k];
        r.ttft = 100;
        (void)lb_lease_settle(p, &lease, &r, 2 * SEC);
    }
    CHECK_EQ(lb_pool_backend(p, 0)->latency.samples, before.samples);
    CHECK(lb_pool_backend(p, 0)->latency.seconds == before.seconds);
    for (int k = 0; k < 5; k++) {
        CHECK_EQ(pick(2 * SEC), 0);
        r = kit_done(1000, 100, odd[k], 2);
        (void)lb_lease_settle(p, &lease, &r, 2 * SEC);
    }
    CHECK_EQ(lb_pool_backend(p, 0)->latency.samples, before.samples + 5);
    CHECK(fabs((double)lb_pool_backend(p, 0)->latency.seconds - 2) < 1e-6);
    CHECK(lb_pool_record(p, 0)->ttft.total < 1.01F); /* the one that was measured */
}

static void
an_answer_nobody_counted_is_taken_as_expected(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_ended(LB_DONE);
    r.seconds = 5.62; /* 0.5 s and 256 tokens of 20 ms */
    (void)lb_lease_settle(p, &lease, &r, 0);
    const lb_latency *l = &lb_pool_backend(p, 0)->latency;
    CHECK(fabsf(l->itl - 0.02F) < 0.001F);
    CHECK(fabs(lb_latency_ttft(l, &lb_pool_group(p, group)->prior, 1000, 0) - 0.5) <
          0.02);
}

static void
the_breakers_window_is_at_least_twice_the_p99(void)
{
    fresh(1, LB_COST);
    lb_ns now = 0;
    lb_record *rec = lb_pool_record(p, 0);
    for (int k = 0; k < 32; k++, now += SEC) {
        CHECK_EQ(rec->rules.window, k < 16 ? 30 * SEC : rec->rules.window);
        CHECK_EQ(pick(now), 0);
        lb_result r = kit_done(1000, 100, 1, 50);
        (void)lb_lease_settle(p, &lease, &r, now);
    }
    CHECK(rec->rules.window > 90 * SEC && rec->rules.window < 110 * SEC);
    for (int k = 0; k < 4000; k++, now += SEC) {
        CHECK_EQ(pick(now), 0);
        lb_result r = kit_done(1000, 100, 1, 2);
        (void)lb_lease_settle(p, &lease, &r, now);
    }
    CHECK_EQ(rec->rules.window, 30 * SEC); /* and it shrinks again, to the rule */
}

static void
an_answer_is_slow_against_its_own_expectation(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_done(1000, 100, 1, 59);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(pick(0), 0);
    r = kit_done(1000, 100, 1, lease.seconds * 4 + 60);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(pick(0), 0);
    r = kit_done(1000, 100, 1, lease.seconds * 3.9); /* long, but so expected */
    CHECK(r.seconds > 60);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(lb_pool_record(p, 0)->tally.outcome[LB_SLOW], 1);
    CHECK_EQ(lb_pool_record(p, 0)->tally.outcome[LB_DONE], 2);
}

static void
only_answers_and_failures_move_the_share_of_failures(void)
{
    fresh(1, LB_COST);
    lb_backend *b = lb_pool_backend(p, 0);
    lb_breaker_order(&b->breaker, LB_FORCED_CLOSED, 0);
    static const enum lb_outcome bad[] = {LB_FAILED, LB_BROKEN, LB_TIMED_OUT};
    for (int k = 0; k < 3; k++) {
        float before = b->fail;
        CHECK_EQ(pick(0), 0);
        settle_as(bad[k], 0);
        CHECK(b->fail > before);
    }
    float before = b->fail;
    static const enum lb_outcome mute[] = {LB_REJECTED, LB_CANCELLED, LB_AUTH, LB_QUOTA,
                                           LB_MISSING};
    for (int k = 0; k < 5; k++) {
        CHECK_EQ(pick(0), 0);
        settle_as(mute[k], 0);
        CHECK(b->fail == before);
    }
    CHECK_EQ(pick(0), 0);
    settle_as(LB_SLOW, 0);
    CHECK(b->fail < before);
    nothing_is_left_reserved();
}

/* 200 answers of 1 s, every tenth of them of 5 s. */
static void
learn_a_tail(void)
{
    for (int k = 0; k < 200; k++) {
        CHECK_EQ(pick(k * MIN), 0);
        lb_result r = kit_ended(LB_DONE);
        r.metered = true;
        r.usage.count[LB_INPUT] = 1000;
        r.usage.count[LB_OUTPUT] = 101;
        r.seconds = k % 10 == 5 ? 5 : 1;
        r.ttft = r.seconds / 2;
        (void)lb_lease_settle(p, &lease, &r, k * MIN + SEC);
    }
}

static void
the_tail_is_known_after_twenty_answers_and_follows_the_size(void)
{
    lb_tail t, large;
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    CHECK(!lb_lease_tail(p, &lease, false, &t));
    settle_as(LB_CANCELLED, 0);
    learn_a_tail();
    CHECK_EQ(pick(200 * MIN), 0);
    CHECK(lb_lease_tail(p, &lease, true, &t));
    CHECK(fabs(t.p50 - 0.5) < 0.1);
    CHECK(fabs(t.p99 - 2.5) < 0.5);
    CHECK(lb_lease_tail(p, &lease, false, &t));
    CHECK(t.p99 > 4 * t.p50 && t.p95 <= t.p99);
    settle_as(LB_CANCELLED, 200 * MIN);
    lb_group *g = lb_pool_group(p, group);
    for (int k = 0; k < LB_SIZES; k++)
        g->output[k].mean = 401; /* four times as long as those seen */
    CHECK_EQ(pick(200 * MIN), 0);
    CHECK(lb_lease_tail(p, &lease, false, &large));
    CHECK(large.p50 > 1.5 * t.p50 && large.p50 < 5 * t.p50);
    settle_as(LB_CANCELLED, 200 * MIN);
}

static void
without_a_first_token_there_is_no_tail_of_it(void)
{
    lb_tail t;
    fresh(1, LB_COST);
    for (int k = 0; k < 20; k++) {
        CHECK_EQ(pick(k * MIN), 0);
        lb_result r = kit_ended(LB_DONE);
        r.seconds = 1;
        (void)lb_lease_settle(p, &lease, &r, k * MIN + SEC);
    }
    CHECK_EQ(pick(20 * MIN), 0);
    CHECK(lb_lease_tail(p, &lease, false, &t));
    CHECK(!lb_lease_tail(p, &lease, true, &t));
    settle_as(LB_CANCELLED, 20 * MIN);
}

static void
an_overtaken_call_is_the_first_lesson_only_if_it_was_sent(void)
{
    fresh(1, LB_COST);
    const lb_latency *l = &lb_pool_backend(p, 0)->latency;
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_ended(LB_CANCELLED);
    r.seconds = 60;
    r.sent = false;
    (void)lb_lease_settle(p, &lease, &r, MIN);
    CHECK_EQ(l->samples, 0);
    CHECK_EQ(pick(MIN), 0);
    r.sent = true;
    (void)lb_lease_settle(p, &lease, &r, 2 * MIN);
    CHECK_EQ(l->samples, 1);
    CHECK(l->seconds > 59);
}

static void
an_overtaken_call_teaches_that_it_took_longer_never_that_it_was_fast(void)
{
    fresh(1, LB_COST);
    learn_a_tail();
    lb_backend *b = lb_pool_backend(p, 0);
    double before = (double)b->latency.seconds;
    int32_t failed = b->breaker.consecutive;
    CHECK_EQ(pick(200 * MIN), 0);
    lb_result r = kit_ended(LB_CANCELLED);
    r.sent = true;
    r.seconds = 0.01;
    (void)lb_lease_settle(p, &lease, &r, 200 * MIN + SEC);
    CHECK(fabs((double)b->latency.seconds - before) < 1e-9);
    CHECK_EQ(pick(201 * MIN), 0);
    r.seconds = 30;
    (void)lb_lease_settle(p, &lease, &r, 202 * MIN);
    CHECK((double)b->latency.seconds > before + 2);
    before = (double)b->latency.seconds;
    CHECK_EQ(pick(203 * MIN), 0);
    r.seconds = r.ttft = 30; /* it waited for its first token */
    (void)lb_lease_settle(p, &lease, &r, 204 * MIN);
    CHECK((double)b->latency.seconds > before);
    lb_tail t;
    CHECK_EQ(pick(205 * MIN), 0);
    CHECK(lb_lease_tail(p, &lease, true, &t));
    CHECK_EQ(b->breaker.consecutive, failed);
    settle_as(LB_CANCELLED, 205 * MIN);
    nothing_is_left_reserved();
}

static void
without_times_of_its_kind_there_is_no_tail(void)
{
    lb_tail t;
    fresh(1, LB_COST);
    CHECK_EQ(pick(0), 0);
    lb_result r = kit_ended(LB_CANCELLED);
    r.seconds = r.ttft = 90; /* overtaken before a token of it was ever timed */
    (void)lb_lease_settle(p, &lease, &r, 90 * SEC);
    CHECK(lb_pool_backend(p, 0)->latency.samples == 1);
    fresh(1, LB_COST);
    for (int k = 0; k < 20; k++) {
        CHECK_EQ(pick(k * MIN), 0);
        r = kit_done(1000, 101, 0, 3);
        (void)lb_lease_settle(p, &lease, &r, k * MIN);
    }
    CHECK_EQ(pick(20 * MIN), 0);
    CHECK(!lb_lease_tail(p, &lease, true, &t)); /* answers came whole */
    CHECK(lb_lease_tail(p, &lease, false, &t));
    settle_as(LB_CANCELLED, 20 * MIN);
    nothing_is_left_reserved();
}

int
main(void)
{
    CHECK_RUN(outcomes_leave_on_the_limits_what_the_table_says);
    CHECK_RUN(what_a_cache_gave_is_free_where_use_is_charged);
    CHECK_RUN(a_stated_cost_counts_and_what_is_not_sent_costs_nothing);
    CHECK_RUN(a_bill_is_what_the_price_says_whatever_was_used);
    CHECK_RUN(a_backends_own_budget_is_enough_to_hold_money);
    CHECK_RUN(one_budget_met_twice_is_charged_once);
    CHECK_RUN(a_budget_is_not_overspent_by_calls_at_once);
    CHECK_RUN(streamed_tokens_leave_the_load_once);
    CHECK_RUN(an_untold_limit_is_learned_from_headers);
    CHECK_RUN(a_configured_limit_is_corrected_and_another_window_is_learned_beside_it);
    CHECK_RUN(without_a_place_nothing_is_learned);
    CHECK_RUN(a_limit_learned_meanwhile_is_not_refunded);
    CHECK_RUN(a_429_without_a_time_backs_off_ever_longer);
    CHECK_RUN(a_retry_after_is_obeyed_whoever_says_it);
    CHECK_RUN(bills_teach_the_ratio_and_the_length_of_answers);
    CHECK_RUN(an_answer_without_tokens_counts_as_one);
    CHECK_RUN(answers_teach_times_to_their_backend_and_its_group);
    CHECK_RUN(what_is_no_time_teaches_nothing);
    CHECK_RUN(an_answer_nobody_counted_is_taken_as_expected);
    CHECK_RUN(the_breakers_window_is_at_least_twice_the_p99);
    CHECK_RUN(an_answer_is_slow_against_its_own_expectation);
    CHECK_RUN(only_answers_and_failures_move_the_share_of_failures);
    CHECK_RUN(the_tail_is_known_after_twenty_answers_and_follows_the_size);
    CHECK_RUN(without_a_first_token_there_is_no_tail_of_it);
    CHECK_RUN(an_overtaken_call_is_the_first_lesson_only_if_it_was_sent);
    CHECK_RUN(an_overtaken_call_teaches_that_it_took_longer_never_that_it_was_fast);
    CHECK_RUN(without_times_of_its_kind_there_is_no_tail);
    lb_pool_free(p);
    return CHECK_DONE();
}

/* Choosing and reserving on whole pools; what was reserved must all come back. */
#include "lease_kit.h"

#include <math.h>
#include <string.h>

/* ---- choosing ------------------------------------------------------------ */

static void
a_pick_reserves_everything_and_a_settle_gives_it_back(void)
{
    fresh(1, LB_COST);
    CHECK_EQ(limit(0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 100), 0);
    CHECK_EQ(limit(0, LB_PER_TOKEN, LB_CHARGE_ACTUAL, 100000), 1);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000000000, 0, 0, 0), 0);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_OK);
    ask.max_tokens = 500;
    CHECK_EQ(pick(0), 0);
    CHECK(lease.live);
    CHECK_EQ(lease.load.input, 1000);
    CHECK_EQ(lease.load.output, 500);
    CHECK_EQ(spent(0), 1);
    CHECK_EQ(spent(1), 1500);
    CHECK_EQ(lb_pool_budget(p, 0)->reserved, 1266 * 2500 + 500 * 10000);
    CHECK_EQ(lb_pool_backend(p, 0)->latency.calls, 1);
    CHECK_EQ(lb_pool_backend(p, 0)->latency.tokens, 256);
    CHECK_EQ(p->calls, 1);
    lb_result r = kit_done(900, 120, 0.4, 3);
    CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), 900 * 2500 + 120 * 10000);
    CHECK_EQ(lb_lease_settle(p, &lease, &r, 0), 0); /* once is once */
    CHECK_EQ(spent(1), 1020);
    CHECK_EQ(lb_pool_budget(p, 0)->spent, 900 * 2500 + 120 * 10000);
    const lb_tally *t = &lb_pool_record(p, 0)->tally;
    CHECK_EQ(lb_tally_calls(t), 1);
    CHECK_EQ(t->outcome[LB_DONE], 1);
    CHECK_EQ(t->tokens[LB_OUTPUT], 120);
    CHECK_EQ(t->cost, 900 * 2500 + 120 * 10000);
    CHECK_EQ(t->micros, 3000000);
    nothing_is_left_reserved();
}

static void
the_record_says_who_competed_and_why_others_did_not(void)
{
    fresh(5, LB_COST);
    lb_pool_backend(p, 0)->terms.weight = 0;
    lb_breaker_order(&lb_pool_backend(p, 1)->breaker, LB_FORCED_OPEN, 0);
    kit_reprice(p, 2, 1, 1);
    CHECK_EQ(pick(0), 2);
    const lb_decision *d = &lease.decision;
    CHECK_EQ(d->members, 5);
    CHECK_EQ(d->looked, 5);
    CHECK_EQ(d->listed, 5);
    CHECK_EQ(d->strategy, LB_COST);
    CHECK_EQ(d->refused[LB_NO_WEIGHT], 1);
    CHECK_EQ(d->refused[LB_NO_BREAKER], 1);
    CHECK_EQ(d->refused[LB_ELIGIBLE], 3);
    CHECK_EQ(d->line[0].reason, LB_NO_WEIGHT);
    CHECK(d->line[0].cost < 0); /* not looked at */
    CHECK(fabsf(d->line[2].cost - 0.001256F) < 1e-7F);
    CHECK_EQ(d->wait, 0);
    settle_as(LB_DONE, 0);
    nothing_is_left_reserved();
}

static void
when_nothing_fits_the_shortest_wait_is_told(void)
{
    fresh(3, LB_COST);
    for (uint32_t i = 0; i < 3; i++) {
        int l = limit(i, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 60 / (i + 1));
        lb_limit_charge(lb_pool_limit(p, (uint32_t)l), 60 / (i + 1), 0);
    }
    CHECK_EQ(pick(0), LB_NOTHING);
    CHECK(!lease.live);
    CHECK_EQ(lease.decision.wait, SEC);
    CHECK_EQ(lease.decision.refused[LB_NO_RATE], 3);
    settle_as(LB_DONE, 0); /* nothing to settle */
    CHECK_EQ(pick(SEC), 0);
    settle_as(LB_DONE, SEC);
    ask.tags = 1;
    CHECK_EQ(pick(SEC), LB_NOTHING);
    CHECK_EQ(lease.decision.wait, LB_FOREVER);
    nothing_is_left_reserved();
}

static void
lower_orders_are_used_up_first(void)
{
    fresh(4, LB_ROUND_ROBIN);
    for (uint32_t i = 0; i < 4; i++) {
        lb_terms terms = lb_pool_backend(p, i)->terms;
        terms.order = i < 2 ? 7 : 3;
        terms.max_calls = 1;
        CHECK_EQ(lb_pool_set_terms(p, i, &terms), LB_OK);
    }
    CHECK_EQ(pick(0), 2);
    CHECK_EQ(lease.decision.refused[LB_NO_ORDER], 2);
    lb_lease held[4] = {lease};
    CHECK_EQ(pick(0), 3);
    held[1] = lease;
    CHECK_EQ(pick(0), 0);
    held[2] = lease;
    CHECK_EQ(pick(0), 1);
    held[3] = lease;
    CHECK_EQ(pick(0), LB_NOTHING);
    CHECK_EQ(lease.decision.wait, 1);
    for (int i = 0; i < 4; i++) {
        lease = held[i];
        settle_as(LB_DONE, 0);
    }
    nothing_is_left_reserved();
}

static void
an_account_admits_as_many_calls_as_it_says_over_all_its_backends(void)
{
    fresh(2, LB_ROUND_ROBIN);
    for (uint32_t i = 0; i < 2; i++) {
        lb_terms terms = lb_pool_backend(p, i)->terms;
        terms.max_calls = 2;
        CHECK_EQ(lb_pool_set_terms(p, i, &terms), LB_OK);
    }
    CHECK_EQ(lb_pool_share_calls(p, 1, 0), LB_OK);
    CHECK_EQ(pick(0), 0);
    lb_lease first = lease;
    CHECK_EQ(pick(0), 1);
    lb_lease second = lease;
    CHECK_EQ(pick(0), LB_NOTHING);
    CHECK_EQ(lease.decision.refused[LB_NO_CONCURRENCY], 2);
    lease = first;
    settle_as(LB_DONE, 0);
    CHECK(pick(0) >= 0);
    settle_as(LB_DONE, 0);
    lease = second;
    settle_as(LB_DONE, 0);
    CHECK_EQ(lb_pool_backend(p, 0)->held, 0);
    CHECK_EQ(lb_pool_backend(p, 1)->held, 0);
    nothing_is_left_reserved();
}

static void
the_call_may_ask_for_another_rule_and_value(void)
{
    fresh(2, LB_COST);
    kit_reprice(p, 1, 1, 1);
    lb_pool_backend(p, 1)->latency.calls = 9;
    CHECK_EQ(pick(0), 1);
    settle_as(LB_DONE, 0);
    ask.strategy = LB_LEAST_BUSY;
    CHECK_EQ(pick(0), 0);
    CHECK_EQ(lease.decision.strategy, LB_LEAST_BUSY);
    settle_as(LB_DONE, 0);
    ask.strategy = LB_COMPOSITE;
    lb_pool_backend(p, 1)->latency.tokens = 9 * 256;
    ask.value = 1; /* a dollar a second: busy is dearer than dear */
    CHECK_EQ(pick(0), 0);
    settle_as(LB_DONE, 0);
    ask.value = -1;
    lb_pool_group(p, group)->value = 0;
    CHECK_EQ(pick(0), 1);
    settle_as(LB_DONE, 0);
    lb_pool_backend(p, 1)->latency.calls = 0;
    lb_pool_backend(p, 1)->latency.tokens = 0;
    nothing_is_left_reserved();
}

static void
open_all(uint32_t n, lb_ns now)
{
    for (uint32_t i = 0; i < n; i++) {
        lb_backend *b = lb_pool_backend(p, i);
        const lb_breaker_rules *rules = &lb_pool_record(p, i)->rules;
        for (int k = 0; k < 5; k++) {
            uint32_t generation = lb_breaker_enter(&b->breaker, rules, now);
            lb_breaker_leave(&b->breaker, rules, generation, LB_FAILED, 0, &p->rng,
                             now);
        }
    }
}

static void
the_last_resort_is_the_breaker_that_opens_first(void)
{
    fresh(4, LB_COST);
    open_all(4, 0);
    lb_pool_backend(p, 1)->breaker.until = 2 * SEC;
    lb_pool_backend(p, 3)->breaker.until = 1 * SEC;
    lb_breaker_order(&lb_pool_backend(p, 2)->breaker, LB_FORCED_OPEN, 0);
    CHECK_EQ(pick(0), LB_NOTHING);
    CHECK_EQ(lease.decision.wait, SEC);
    ask.last_resort = true;
    CHECK_EQ(pick(0), 3);
    CHECK_EQ(lease.decision.desperate, 1);
    settle_as(LB_FAILED, 0);
    CHECK_EQ(limit(3, LB_PER_INPUT, LB_CHARGE_ACTUAL, 10), 0);
    CHECK_EQ(pick(0), 1); /* breakers may be passed over, limits not */
    settle_as(LB_CANCELLED, 0);
    lb_pool_backend(p, 0)->breaker.until = 1 * SEC;
    CHECK_EQ(pick(0), 0);
    settle_as(LB_CANCELLED, 0);
    ask.tags = 1;
    CHECK_EQ(pick(0), LB_NOTHING);
    CHECK_EQ(lease.decision.desperate, 0);
    nothing_is_left_reserved();
}

static void
a_probe_is_marked_and_closes_the_breaker(void)
{
    fresh(1, LB_COST);
    open_all(1, 0);
    lb_ns now = lb_pool_backend(p, 0)->breaker.until;
    for (int k = 0; k < 3; k++) {
        CHECK_EQ(pick(now), 0);
        CHECK_EQ(lease.decision.probe, 1);
        CHECK_EQ(lb_pool_backend(p, 0)->breaker.probing, 1);
        settle_as(LB_DONE, now);
        now += 5 * SEC;
    }
    CHECK_EQ(pick(now), 0);
    CHECK_EQ(lease.decision.probe, 0);
    settle_as(LB_DONE, now);
    nothing_is_left_reserved();
}

static void
the_chosen_one_is_always_on_the_record(void)
{
    fresh(40, LB_COST);
    kit_reprice(p, 33, 1, 1);
    CHECK_EQ(pick(0), 33);
    CHECK_EQ(lease.decision.listed, LB_CANDIDATES);
    CHECK_EQ(lease.decision.looked, 40);
    CHECK_EQ(lease.decision.line[LB_CANDIDATES - 1].backend, 33);
    settle_as(LB_DONE, 0);
}

/* ---- shares that keep a backend warm -------------------------------------- */

static void
share(uint32_t i, double min_share)
{
    CHECK_EQ(lb_pool_set_share(p, i, min_share), LB_OK);
}

/* Of `calls` at one time how many the backend gets. */
static int
got(uint32_t i, int calls)
{
    int n = 0;
    for (int k = 0; k < calls; k++) {
        n += pick(0) == (int)i;
        settle_as(LB_CANCELLED, 0);
    }
    return n;
}

static void
every_rule_gives_a_share_that_it_would_not_give(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++) {
        fresh(20, (enum lb_strategy)s);
        for (uint32_t i = 2; i < 20; i++)
            lb_pool_backend(p, i)->terms.weight = 0;
        lb_pool_backend(p, 1)->terms.weight = 1e-5F;
        kit_reprice(p, 1, 50, 200);
        share(1, 0.2);
        int n = got(1, 1000);
        CHECK(n >= 199);
        CHECK(s == LB_ROUND_ROBIN || s == LB_P2C || s == LB_LATENCY || n <= 201);
    }
}

static void
a_share_is_a_floor_and_what_the_rule_gives_counts(void)
{
    fresh(2, LB_COST);
    kit_reprice(p, 1, 50, 200);
    share(0, 0.3);
    CHECK_EQ(got(0, 100), 100);
    CHECK_EQ(lb_pool_credit(p, lb_pool_group(p, group))[0], -LB_SHARES);
    share(0, 0);
    share(1, 0.25);
    CHECK_EQ(got(1, 3), 0);
    CHECK_EQ(pick(0), 1);
    CHECK(lease.decision.owed);
    settle_as(LB_CANCELLED, 0);
    CHECK_EQ(pick(0), 0);
    CHECK(!lease.decision.owed);
    settle_as(LB_CANCELLED, 0);
}

static void
shares_of_several_are_all_kept(void)
{
    const double shares[] = {0, 0.1, 0.3, 0.6};
    int count[4] = {0};
    fresh(4, LB_COST);
    for (uint32_t i = 1; i < 4; i++) {
        kit_reprice(p, i, 50, 200);
        share(i, shares[i]);
    }
    for (int k = 0; k < 1000; k++) {
        count[pick(0)]++;
        settle_as(LB_CANCELLED, 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK(count[i] >= (int)(1000 * shares[i]) - 2 &&
              count[i] <= (int)(1000 * shares[i]) + 2);
}

static void
who_is_refused_is_owed_nothing(void)
{
    fresh(2, LB_COST);
    kit_reprice(p, 1, 50, 200);
    share(1, 0.5);
    lb_pool_backend(p, 1)->not_before = SEC;
    CHECK_EQ(got(1, 100), 0);
    lb_pool_backend(p, 1)->not_before = 0;
    CHECK_EQ(got(1, 10), 5);
    lb_pool_backend(p, 1)->terms.order = 1;
    lb_pool_group(p, group)->mixed = 1;
    CHECK_EQ(got(1, 100), 0);
}

/* ---- two choices among many ---------------------------------------------- */

static void
p2c_looks_at_two_of_many(void)
{
    int count[40] = {0};
    fresh(40, LB_P2C);
    for (int k = 0; k < 8000; k++) {
        int i = pick(0);
        CHECK(i >= 0);
        count[i]++;
        CHECK_EQ(lease.decision.looked, 2);
        CHECK_EQ(lease.decision.listed, 2);
        settle_as(LB_CANCELLED, 0);
    }
    for (int i = 0; i < 40; i++)
        CHECK(count[i] > 130 && count[i] < 280);
}

static void
p2c_looks_at_all_of_few(void)
{
    fresh(16, LB_P2C);
    CHECK(pick(0) >= 0);
    CHECK_EQ(lease.decision.looked, 16);
    settle_as(LB_CANCELLED, 0);
}

static void
p2c_of_many_bounds_the_worst_and_follows_weights(void)
{
    int worst = 0, heavy = 0;
    fresh(20, LB_P2C);
    lb_answer answer = {1000, 256, 0.01, 0.05, 1}; /* a hundred times faster */
    lb_latency_learn(&lb_pool_backend(p, 7)->latency, &lb_pool_group(p, group)->prior,
                     &answer, 0); /* a hundred times faster */
    lb_pool_backend(p, 3)->terms.weight = 9;
    for (int k = 0; k < 8000; k++) {
        int i = pick(0);
        worst += i == 7;
        heavy += i == 3;
        settle_as(LB_CANCELLED, 0);
    }
    CHECK(fabs(worst / 8000.0 - 0.1) < 0.012);
    CHECK(heavy > 600); /* 0.9 of its pairs, a tenth of all, but for the worst */
    nothing_is_left_reserved();
}

static void
p2c_takes_a_single_find_and_looks_at_all_when_there_is_none(void)
{
    fresh(60, LB_P2C);
    for (uint32_t i = 0; i < 60; i++)
        lb_pool_backend(p, i)->terms.max_calls = i == 41 ? 5 : 1;
    for (uint32_t i = 0; i < 60; i++)
        lb_pool_backend(p, i)->held = lb_pool_backend(p, i)->latency.calls = 1;
    int sampled = 0, scanned = 0;
    for (int k = 0; k < 200; k++) {
        CHECK_EQ(pick(0), 41);
        sampled += lease.decision.looked <= 16;
        scanned += lease.decision.looked == 60;
        settle_as(LB_CANCELLED, 0);
    }
    CHECK(sampled > 20 && scanned > 20 && sampled + scanned == 200);
    for (uint32_t i = 0; i < 60; i++)
        lb_pool_backend(p, i)->held = lb_pool_backend(p, i)->latency.calls = 0;
}

static void
p2c_looks_at_all_when_orders_differ(void)
{
    fresh(20, LB_P2C);
    lb_terms terms = lb_pool_backend(p, 11)->terms;
    for (uint32_t i = 0; i < 20; i++) {
        terms.order = i != 11;
        CHECK_EQ(lb_pool_set_terms(p, i, &terms), LB_OK);
    }
    for (int k = 0; k < 20; k++) {
        CHECK_EQ(pick(0), 11);
        CHECK_EQ(lease.decision.looked, 20);
        settle_as(LB_CANCELLED, 0);
    }
}

static void
a_session_draws_the_same_two_of_many(void)
{
    int different = 0;
    fresh(40, LB_P2C);
    for (uint64_t session = 1; session <= 40; session++) {
        ask.session = session * UINT64_C(0x9e3779b97f4a7c15);
        int home = pick(0);
        settle_as(LB_CANCELLED, 0);
        for (int k = 0; k < 5; k++) {
            CHECK_EQ(pick(0), home);
            settle_as(LB_CANCELLED, 0);
        }
        different += home != pick(0) || home != 0;
        settle_as(LB_CANCELLED, 0);
    }
    CHECK(different > 30);
}

/* ---- sessions ------------------------------------------------------------ */

static void
a_session_returns_to_the_cache_it_filled(void)
{
    fresh(4, LB_ROUND_ROBIN);
    for (uint32_t i = 0; i < 4; i++)
        lb_pool_backend(p, i)->terms.cache_life = 300 * SEC;
    ask.session = 42;
    int home = pick(0);
    lb_result r = kit_done(1000, 100, 0, 0);
    (void)lb_lease_settle(p, &lease, &r, 0);
    for (int k = 1; k < 10; k++) {
        CHECK_EQ(pick(k * SEC), home);
        CHECK_EQ(lease.decision.line[home].bound, 1);
        (void)lb_lease_settle(p, &lease, &r, k * SEC);
    }
    ask.session = 0;
    CHECK(pick(10 * SEC) != pick(10 * SEC));
    lb_pool_backend(p, 0)->latency.calls = 0;
}

static void
sessions_are_not_kept_where_there_is_no_cache(void)
{
    fresh(2, LB_ROUND_ROBIN);
    ask.session = 42;
    lb_result r = kit_done(1000, 100, 0, 0);
    CHECK_EQ(pick(0), 0);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(pick(0), 1); /* no cache life */
    (void)lb_lease_settle(p, &lease, &r, 0);
    lb_pool_backend(p, 0)->terms.cache_life = SEC;
    p->size.sessions = 0;
    CHECK_EQ(pick(0), 0);
    (void)lb_lease_settle(p, &lease, &r, 0);
    CHECK_EQ(pick(0), 1); /* no table */
    (void)lb_lease_settle(p, &lease, &r, 0);
    p->size.sessions = 64;
    CHECK(lb_pool_sessions(p)[42 % 64].hash == 0);
}

static void
one_session_spills_over_its_bounded_share(void)
{
    lb_lease held[64];
    int count[4] = {0};
    fresh(4, LB_COMPOSITE);
    ask.session = 42;
    for (int k = 0; k < 64; k++) {
        int i = pick(0);
        CHECK(i >= 0);
        count[i]++;
        held[k] = lease;
    }
    for (int i = 0; i < 4; i++)
        CHECK(count[i] <= 21); /* ceil(1.25 * 64 / 4) and one before it counts */
    for (int k = 0; k < 64; k++) {
        lease = held[k];
        settle_as(LB_DONE, SEC);
    }
    nothing_is_left_reserved();
}

/* ---- explaining ---------------------------------------------------------- */

static void
a_limit_gets_a_price_when_it_is_scarce_for_the_first_time(void)
{
    static const enum lb_strategy rules[] = {LB_COMPOSITE, LB_PREDICTIVE, LB_COST};
    for (int r = 0; r < 3; r++) {
        fresh(4, rules[r]);
        kit_reprice(p, 0, 1, 1);
        kit_reprice(p, 3, 9, 99);
        lb_pool_backend(p, 2)->terms.weight = 0;
        CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10, MIN, 0),
                 0);
        const lb_limit *l = lb_pool_limit(p, 0);
        for (int k = 0; k < 6; k++) {
            CHECK(l->rent == 0);
            CHECK_EQ(pick(0), 0);
        }
        CHECK_EQ(pick(0), 0); /* the first that finds more than half in use */
        CHECK((l->rent > 0) == (rules[r] != LB_COST));
        double saves = (double)(lb_pool_quotes(p)[1].cost - lb_pool_quotes(p)[0].cost);
        if (rules[r] != LB_COST)
            CHECK(fabs((double)l->rent - 0.3 * saves) < 1e-3 * saves);
        float before = l->rent; /* twice refilled and idle: half of once counts */
        (void)pick(0);          /* a price it keeps until time has passed */
        CHECK(l->rent == before);
        lb_limit_charge(lb_pool_limit(p, 0), 1, 2 * MIN);
        CHECK(fabsf(l->rent - 0.75F * before) <= 0.01F * before);
    }
}

/* An hour of two calls for each that both backends have room for, at `value`. */
static void
saturate(double value, enum lb_strategy strategy)
{
    ask.value = value;
    for (lb_ns now = SEC; now < 60 * MIN; now += SEC / 40) {
        ask.strategy = (int8_t)(now < 2 * SEC ? LB_COMPOSITE : strategy);
        if (pick(now) >= 0) {
            lb_result r = kit_done(1200, 100, 0.1, 0.2); /* more than was reserved */
            (void)lb_lease_settle(p, &lease, &r, now);
        }
    }
}

static void
a_price_does_not_wind_up_while_everything_is_in_use(void)
{
    static const struct {
        double value;
        enum lb_strategy strategy;
    } rows[] = {{-1, LB_COMPOSITE}, {1, LB_COMPOSITE}, {-1, LB_ROUND_ROBIN}};
    for (int k = 0; k < 3; k++) {
        fresh(2, LB_COMPOSITE);
        kit_reprice(p, 1, 5, 20);
        for (uint32_t i = 0; i < 2; i++) {
            CHECK(lb_pool_add_limit(p, i, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10, SEC,
                                    0) >= 0);
            CHECK(lb_pool_add_limit(p, i, LB_PER_INPUT, LB_CHARGE_ACTUAL, 11000, SEC,
                                    0) >= 0);
        }
        saturate(rows[k].value, rows[k].strategy);
        const lb_quote *q = lb_pool_quotes(p);
        const lb_limit *l = lb_pool_limit(p, 1); /* which is used up first */
        double value = lb_greater(rows[k].value, 0) * 1e9;
        double saves =
            (double)(q[1].cost - q[0].cost) + value * fabs(q[1].seconds - q[0].seconds);
        CHECK(l->rent > 0 && 1000 * (double)l->rent < 10 * saves);
        ask.strategy = -1;
        ask.value = -1;
        for (lb_ns now = 61 * MIN; now < 62 * MIN;
             now += SEC) { /* and then it is quiet */
            CHECK_EQ(pick(now), 0);
            settle_as(LB_DONE, now);
        }
    }
}

static void
a_price_that_has_fallen_to_nothing_begins_anew(void)
{
    fresh(2, LB_COMPOSITE);
    kit_reprice(p, 1, 5, 20);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10, SEC, 0), 0);
    lb_limit *l = lb_pool_limit(p, 0);
    for (int k = 0; k < 7; k++) {
        CHECK_EQ(pick(0), 0);
        settle_as(LB_DONE, 0);
    }
    float first = l->rent;
    CHECK(first > 0);
    for (int k = 2; k < 200; k += 2)
        lb_limit_charge(l, 1, k * SEC);
    CHECK(l->rent == 0);
    lb_limit_charge(l, 6, 200 * SEC);
    CHECK_EQ(pick(200 * SEC), 0);
    CHECK(l->rent == first);
}

static void
a_limit_in_debt_makes_its_price_rise_no_faster_than_a_full_one(void)
{
    lb_limit full, debt;
    fresh(1, LB_COMPOSITE);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10, SEC, 0), 0);
    full = *lb_pool_limit(p, 0);
    full.rent = 1;
    lb_limit_charge(&full, 20, 0); /* twice what there is: for a second it is full */
    debt = full;
    lb_limit_charge(&full, 1, SEC);
    lb_limit_charge(&debt, 10, SEC / 2);
    lb_limit_charge(&debt, 1, SEC);
    CHECK(full.rent > 1.1F);
    CHECK(fabsf(debt.rent - full.rent) < 0.02F);
}

static void
where_nothing_is_saved_no_limit_gets_a_price(void)
{
    fresh(1, LB_COMPOSITE);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 4, MIN, 0), 0);
    for (int k = 0; k < 4; k++)
        CHECK_EQ(pick(0), 0); /* there is nobody else */
    CHECK(lb_pool_limit(p, 0)->rent == 0);
    fresh(2, LB_COMPOSITE);
    for (uint32_t i = 0; i < 2; i++)
        CHECK_EQ(lb_pool_add_limit(p, i, LB_PER_OUTPUT, LB_CHARGE_ACTUAL, 4000, MIN, 0),
                 (int)i);
    for (int k = 0; k < 6; k++)
        (void)pick(0); /* the other one costs as much */
    CHECK(lb_pool_limit(p, 0)->rent == 0 && lb_pool_limit(p, 1)->rent == 0);
}

/* Three calls have left and do not come back. */
static void
hang(uint32_t i, lb_ns now)
{
    for (int k = 0; k < 3; k++)
        lb_latency_start(&lb_pool_backend(p, i)->latency, 100, now);
}

static void
who_stalls_yields_while_somebody_else_is_free(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++) {
        bool seconds = s == LB_LATENCY || s == LB_P2C;
        fresh(3, (enum lb_strategy)s);
        kit_reprice(p, 0, 0.1, 0.1); /* far cheaper */
        lb_pool_backend(p, 2)->terms.weight = 0;
        hang(0, 0);
        for (int k = 0; k < 6; k++) {
            CHECK_EQ(pick(10 * MIN), 1); /* those see it in the seconds */
            CHECK_EQ(lease.decision.refused[LB_NO_STALL], seconds ? 0 : 1);
            settle_as(LB_CANCELLED, 10 * MIN);
        }
        lb_quote quotes[3];
        CHECK_EQ(lb_lease_explain(p, &ask, quotes, 3, 10 * MIN), 3);
        CHECK_EQ(quotes[0].reason, seconds ? LB_ELIGIBLE : LB_NO_STALL);
        ask.value = 1; /* a second is worth a dollar: now composite counts them */
        CHECK_EQ(pick(10 * MIN), 1);
        CHECK_EQ(lease.decision.refused[LB_NO_STALL], s < LB_LATENCY || s == LB_COST);
        settle_as(LB_CANCELLED, 10 * MIN);
        ask.value = -1;
        hang(1, 0); /* nobody is sound: they compete as ever */
        CHECK(pick(10 * MIN) >= 0);
        CHECK_EQ(lease.decision.refused[LB_NO_STALL], 0);
        settle_as(LB_CANCELLED, 10 * MIN);
    }
}

static void
who_stalls_gives_way_to_a_later_order_too(void)
{
    fresh(2, LB_COST);
    lb_terms terms = lb_pool_backend(p, 1)->terms;
    terms.order = 1;
    CHECK_EQ(lb_pool_set_terms(p, 1, &terms), LB_OK);
    CHECK_EQ(pick(10 * MIN), 0);
    settle_as(LB_CANCELLED, 10 * MIN);
    hang(0, 0);
    CHECK_EQ(pick(10 * MIN), 1);
    settle_as(LB_CANCELLED, 10 * MIN);
}

static void
explaining_changes_nothing(void)
{
    fresh(3, LB_WEIGHTED);
    lb_quote quotes[8];
    open_all(1, 0);
    lb_terms terms = lb_pool_backend(p, 2)->terms;
    terms.order = 9;
    CHECK_EQ(lb_pool_set_terms(p, 2, &terms), LB_OK);
    (void)pick(0);
    settle_as(LB_DONE, 0);
    lb_ns now = lb_pool_backend(p, 0)->breaker.until + SEC;
    static char before[1 << 18];
    CHECK(p->quotes < sizeof before);
    memcpy(before, p, p->quotes); /* all but the scratch */
    CHECK_EQ(lb_lease_explain(p, &ask, quotes, 8, now), 3);
    CHECK_EQ(lb_lease_explain(p, &ask, quotes, 2, now), 2);
    CHECK_EQ(lb_lease_explain(p, &ask, quotes, 8, now), 3);
    CHECK(memcmp(before, p, p->quotes) == 0);
    CHECK_EQ(quotes[0].reason, LB_ELIGIBLE); /* it would be a probe */
    CHECK_EQ(quotes[2].reason, LB_NO_ORDER);
}

int
main(void)
{
    CHECK_RUN(a_pick_reserves_everything_and_a_settle_gives_it_back);
    CHECK_RUN(the_record_says_who_competed_and_why_others_did_not);
    CHECK_RUN(when_nothing_fits_the_shortest_wait_is_told);
    CHECK_RUN(lower_orders_are_used_up_first);
    CHECK_RUN(an_account_admits_as_many_calls_as_it_says_over_all_its_backends);
    CHECK_RUN(the_call_may_ask_for_another_rule_and_value);
    CHECK_RUN(the_last_resort_is_the_breaker_that_opens_first);
    CHECK_RUN(a_probe_is_marked_and_closes_the_breaker);
    CHECK_RUN(the_chosen_one_is_always_on_the_record);
    CHECK_RUN(every_rule_gives_a_share_that_it_would_not_give);
    CHECK_RUN(a_share_is_a_floor_and_what_the_rule_gives_counts);
    CHECK_RUN(shares_of_several_are_all_kept);
    CHECK_RUN(who_is_refused_is_owed_nothing);
    CHECK_RUN(p2c_looks_at_two_of_many);
    CHECK_RUN(p2c_looks_at_all_of_few);
    CHECK_RUN(p2c_of_many_bounds_the_worst_and_follows_weights);
    CHECK_RUN(p2c_takes_a_single_find_and_looks_at_all_when_there_is_none);
    CHECK_RUN(p2c_looks_at_all_when_orders_differ);
    CHECK_RUN(a_session_draws_the_same_two_of_many);
    CHECK_RUN(a_session_returns_to_the_cache_it_filled);
    CHECK_RUN(sessions_are_not_kept_where_there_is_no_cache);
    CHECK_RUN(one_session_spills_over_its_bounded_share);
    CHECK_RUN(a_limit_gets_a_price_when_it_is_scarce_for_the_first_time);
    CHECK_RUN(a_price_does_not_wind_up_while_everything_is_in_use);
    CHECK_RUN(a_price_that_has_fallen_to_nothing_begins_anew);
    CHECK_RUN(a_limit_in_debt_makes_its_price_rise_no_faster_than_a_full_one);
    CHECK_RUN(where_nothing_is_saved_no_limit_gets_a_price);
    CHECK_RUN(who_stalls_yields_while_somebody_else_is_free);
    CHECK_RUN(who_stalls_gives_way_to_a_later_order_too);
    CHECK_RUN(explaining_changes_nothing);
    lb_pool_free(p);
    return CHECK_DONE();
}

/* Every rule of lb_pick on hand-made quotes; numbers from nginx's own example and the
 * definition of two choices. */
#include "lb_pick.h"

#include <math.h>
#include <string.h>

#include "check.h"

enum { MOST = 16 };

static lb_quote q[MOST];
static double smooth[MOST];
static uint32_t cursor;
static lb_rng rng;
static lb_taste taste;

/* n equal candidates: $1, 1 s, weight 1, nothing in flight. */
static void
equal(int n, enum lb_strategy strategy)
{
    memset(q, 0, sizeof q);
    memset(smooth, 0, sizeof smooth);
    cursor = 0;
    rng.state = 7;
    taste = (lb_taste){
        .strategy = (uint8_t)strategy, .value = -1, .shift = 0.8, .stop = 0.95};
    for (int i = 0; i < n; i++)
        q[i] = (lb_quote){.backend = i,
                          .weight = 1,
                          .ease = 1,
                          .seconds = 1,
                          .cost = 1000000000,
                          .id = (uint64_t)i + 100};
}

static int
pick(int n)
{
    return lb_pick(q, n, &taste, &rng, &cursor, smooth);
}

/* How often each of n is picked in `times` picks. */
static void
tally(int n, int times, int *count)
{
    memset(count, 0, MOST * sizeof *count);
    for (int i = 0; i < times; i++) {
        int best = pick(n);
        CHECK(best >= 0 && best < n);
        if (best >= 0)
            count[best]++;
    }
}

static void
strategies_have_names(void)
{
    CHECK(strcmp(lb_strategy_name(LB_ROUND_ROBIN), "round_robin") == 0);
    CHECK(strcmp(lb_strategy_name(LB_PREDICTIVE), "predictive") == 0);
    CHECK(lb_strategy_name(-1) == NULL);
    CHECK(lb_strategy_name(LB_NSTRATEGIES) == NULL);
}

static void
without_an_eligible_candidate_nobody_wins(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++) {
        equal(3, (enum lb_strategy)s);
        CHECK_EQ(pick(0), -1);
        for (int i = 0; i < 3; i++)
            q[i].reason = 1;
        CHECK_EQ(pick(3), -1);
        taste.value = 0.5;
        CHECK_EQ(pick(3), -1);
        taste.session = 9;
        CHECK_EQ(pick(3), -1);
    }
}

static void
the_only_eligible_candidate_wins_under_every_rule(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++)
        for (uint64_t session = 0; session < 2; session++) {
            equal(4, (enum lb_strategy)s);
            taste.session = session;
            for (int i = 0; i < 4; i++)
                q[i].reason = i != 2;
            for (int k = 0; k < 5; k++)
                CHECK_EQ(pick(4), 2);
        }
}

static void
equal_candidates_share_equally_under_every_rule(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++) {
        int count[MOST];
        equal(4, (enum lb_strategy)s);
        tally(4, 4000, count);
        for (int i = 0; i < 4; i++)
            CHECK(count[i] > 850 && count[i] < 1150);
    }
}

static void
shares_follow_weights_where_the_rule_draws_by_weight(void)
{
    static const enum lb_strategy by_weight[] = {
        LB_WEIGHTED, LB_LEAST_BUSY, LB_LATENCY, LB_COST, LB_P2C, LB_COMPOSITE};
    for (size_t s = 0; s < sizeof by_weight / sizeof *by_weight; s++) {
        int count[MOST];
        equal(3, by_weight[s]);
        q[0].weight = 6;
        q[1].weight = 3;
        tally(3, 10000, count);
        CHECK(count[0] > 5800 && count[0] < 6200);
        CHECK(count[1] > 2800 && count[1] < 3200);
        CHECK(count[2] > 800 && count[2] < 1200);
    }
}

static void
round_robin_takes_turns_and_skips_who_may_not(void)
{
    equal(3, LB_ROUND_ROBIN);
    for (int i = 0; i < 7; i++)
        CHECK_EQ(pick(3), i % 3);
    q[1].reason = 1;
    CHECK_EQ(pick(3), 2);
    CHECK_EQ(pick(3), 0);
    CHECK_EQ(pick(3), 2);
    CHECK_EQ(pick(2), 0); /* the list became shorter than the cursor */
}

static void
round_robin_passes_over_who_starts_slowly(void)
{
    int count[MOST];
    equal(2, LB_ROUND_ROBIN);
    q[1].ease = 0.1F;
    tally(2, 4000, count);
    /* one turn in two comes to it, a tenth of them is taken: 0.1 / 1.1 */
    CHECK(count[1] > 300 && count[1] < 430);
    q[0].ease = 0.1F;
    tally(2, 1000, count); /* somebody has to */
    CHECK(count[0] > 400 && count[1] > 400);
    q[1].reason = 1;
    tally(2, 10, count);
    CHECK_EQ(count[0], 10);
}

static void
weighted_is_the_published_smooth_round_robin(void)
{
    static const struct {
        int n, period;
        float weight[4];
        const char *sequence;
    } cases[] = {
        {3, 7, {5, 1, 1}, "0010200"},    {3, 3, {1, 1, 1}, "012"},
        {2, 6, {4, 2}, "010010"},        {4, 10, {4, 3, 2, 1}, "0120130210"},
        {2, 11, {10, 1}, "00000100000"}, {4, 16, {7, 5, 3, 1}, "0120103012010210"},
    };
    static const double after[7][3] = {{-2, 1, 1},  {-4, 2, 2},  {1, -4, 3},
                                       {-1, -3, 4}, {4, -2, -2}, {2, -1, -1},
                                       {0, 0, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        equal(cases[c].n, LB_WEIGHTED);
        for (int i = 0; i < cases[c].n; i++)
            q[i].weight = cases[c].weight[i];
        for (int k = 0; k < 3 * cases[c].period; k++)
            CHECK_EQ(pick(cases[c].n), cases[c].sequence[k % cases[c].period] - '0');
    }
    equal(3, LB_WEIGHTED);
    q[0].weight = 5;
    for (int k = 0; k < 7; k++) {
        (void)pick(3);
        for (int i = 0; i < 3; i++)
            CHECK(smooth[i] == after[k][i]);
    }
}

static void
weighted_owes_nobody_more_than_a_round_when_a_heavy_one_leaves(void)
{
    int turns[3] = {0};
    equal(3, LB_WEIGHTED);
    q[0].weight = 1000;
    for (int k = 0; k < 501; k++)
        (void)pick(3);
    q[0].reason = 1;
    for (int k = 0; k < 100; k++)
        turns[pick(3)]++;
    CHECK_EQ(turns[0], 0);
    CHECK(turns[1] >= 48 && turns[2] >= 48);
}

static void
least_busy_counts_calls_per_weight(void)
{
    equal(3, LB_LEAST_BUSY);
    q[0].calls = 2;
    q[1].calls = 1;
    q[2].calls = 3;
    q[2].weight = 4; /* 0.75 a unit of weight */
    q[1].reason = 0;
    for (int k = 0; k < 10; k++)
        CHECK_EQ(pick(3), 2);
    q[2].reason = 1;
    CHECK_EQ(pick(3), 1);
    CHECK(q[0].score == 2);
}

static void
latency_treats_a_fifth_as_equal(void)
{
    int count[MOST];
    equal(3, LB_LATENCY);
    q[1].seconds = 1.19;
    q[2].seconds = 1.21;
    tally(3, 1000, count);
    CHECK(count[0] > 400 && count[1] > 400);
    CHECK_EQ(count[2], 0);
}

static void
cost_takes_the_cheapest_and_among_those_the_fastest(void)
{
    int count[MOST];
    equal(4, LB_COST);
    q[0].cost = 1011000000; /* 1.1 % dearer: out, however fast */
    q[0].seconds = 0.1;
    q[1].cost = 1009000000;
    q[1].seconds = 1.1;
    q[3].seconds = 1.3; /* 1.3 / 1.0 is beyond the latency band */
    tally(4, 1000, count);
    CHECK_EQ(count[0] + count[3], 0);
    CHECK(count[1] > 400 && count[2] > 400);
    CHECK(q[0].score == 1011000000);
}

static void
free_backends_beat_cheap_ones(void)
{
    equal(2, LB_COST);
    q[1].cost = 0;
    CHECK_EQ(pick(2), 1);
    q[0].cost = 1;
    CHECK_EQ(pick(2), 1);
}

static void
composite_takes_the_cheapest_band_then_the_fastest(void)
{
    int count[MOST];
    equal(4, LB_COMPOSITE);
    q[0].cost = 1110000000;
    q[0].seconds = 0.1;
    q[1].cost = 1090000000;
    q[1].seconds = 0.8;
    q[3].seconds = 0.7;
    tally(4, 1000, count);
    CHECK_EQ(count[0] + count[2], 0);
    CHECK(count[1] > 400 && count[3] > 400);
}

static void
composite_draws_by_headroom(void)
{
    int count[MOST];
    equal(2, LB_COMPOSITE);
    q[0].used = 0.75F; /* 0.25 against 1: a fifth */
    tally(2, 5000, count);
    CHECK(count[0] > 900 && count[0] < 1100);
    q[0].used = q[1].used = 1.5F; /* nothing is left: equal again */
    tally(2, 5000, count);
    CHECK(count[0] > 2300 && count[0] < 2700);
}

static void
composite_gets_dearer_from_shift_and_costs_twice_at_stop(void)
{
    equal(2, LB_COMPOSITE);
    q[0].used = 0.8F;
    (void)pick(2);
    CHECK(fabs(q[0].score / q[1].score - 1) < 1e-6);
    q[0].used = 0.875F;
    (void)pick(2);
    CHECK(fabs(q[0].score / q[1].score - 1.25) < 1e-6);
    q[0].used = 0.95F;
    (void)pick(2);
    CHECK(fabs(q[0].score / q[1].score - 2) < 1e-6);
    for (int k = 0; k < 50; k++)
        CHECK_EQ(pick(2), 1);
    q[0].cost = q[1].cost = 0; /* free ones too */
    for (int k = 0; k < 50; k++)
        CHECK_EQ(pick(2), 1);
}

static void
composite_adds_what_a_scarce_limit_is_worth_to_others(void)
{
    equal(2, LB_COMPOSITE);
    q[0].cost = 500000000;
    for (int k = 0; k < 10; k++)
        CHECK_EQ(pick(2), 0);
    q[0].rent = 7e8F; /* it saves 0.50 here, others save 0.70 by these units */
    for (int k = 0; k < 10; k++)
        CHECK_EQ(pick(2), 1);
    CHECK(fabs(q[0].score - 1.2e9) < 100);
    taste.value = 0;
    q[0].fail = 0.5F; /* paid again when it fails; a rent is not */
    (void)pick(2);
    CHECK(fabs(q[0].score - 1.45e9) < 100);
}

static void
a_value_turns_seconds_and_failures_into_dollars(void)
{
    equal(2, LB_COMPOSITE);
    taste.value = 0.5; /* a second is worth 50 cents */
    q[0].cost = 1200000000;
    q[1].seconds = 2;
    CHECK_EQ(pick(2), 0); /* 1.20 + 0.50 against 1.00 + 1.00 */
    CHECK(fabs(q[0].score - 1.7e9) < 2 && fabs(q[1].score - 2e9) < 2);
    q[0].fail = 0.5F;
    CHECK_EQ(pick(2), 1); /* 1.70 * 1.5 = 2.55 */
    CHECK(fabs(q[0].score - 2.55e9) < 2);
    taste.value = 0; /* money alone, though still what failures cost */
    q[0].fail = 0;
    CHECK_EQ(pick(2), 1);
    taste.strategy = LB_PREDICTIVE;
    CHECK_EQ(pick(2), 1);
}

static void
p2c_keeps_the_first_unless_the_second_is_much_faster(void)
{
    equal(2, LB_P2C);
    CHECK_EQ(lb_pick_two(q, 0, 1), 0);
    CHECK_EQ(lb_pick_two(q, 1, 0), 1);
    q[0].seconds = 1.19;
    CHECK_EQ(lb_pick_two(q, 0, 1), 0);
    q[0].seconds = 1.21;
    CHECK_EQ(lb_pick_two(q, 0, 1), 1);
    CHECK_EQ(lb_pick_two(q, 1, 0), 1);
    q[0].bound = 1; /* the cache, but much slower */
    CHECK_EQ(lb_pick_two(q, 1, 0), 1);
    q[0].seconds = 1.19;
    CHECK_EQ(lb_pick_two(q, 1, 0), 0);
    q[0].full = 1;
    CHECK_EQ(lb_pick_two(q, 1, 0), 1);
}

/* A backend that looks fast but is a black hole gets all pairs it is in: 2 / N, never
 * more; one that is slow only ever loses. */
static void
p2c_bounds_the_share_of_the_worst(void)
{
    for (int n = 2; n <= 10; n++) {
        int count[MOST];
        equal(n, LB_P2C);
        q[n / 2].seconds = 0.001;
        tally(n, 20000, count);
        double share = count[n / 2] / 20000.0, bound = 2.0 / n;
        CHECK(share <= bound + 0.012 && share >= bound - 0.012);
        q[n / 2].seconds = 1000;
        tally(n, 1000, count);
        CHECK_EQ(count[n / 2], 0);
    }
}

static void
a_session_stays_where_rendezvous_puts_it(void)
{
    static const enum lb_strategy hashed[] = {LB_LEAST_BUSY, LB_LATENCY, LB_COST,
                                              LB_P2C, LB_COMPOSITE};
    for (size_t s = 0; s < sizeof hashed / sizeof *hashed; s++) {
        int homes[MOST] = {0};
        equal(4, hashed[s]);
        for (uint64_t session = 1; session <= 400; session++) {
            taste.session = session * UINT64_C(0x9e3779b97f4a7c15);
            int home = pick(4);
            CHECK_EQ(pick(4), home);
            int other = (home + 1) % 4;
            q[other].reason = 1; /* removing another one moves nobody */
            CHECK_EQ(pick(4), home);
            q[other].reason = 0;
            homes[home]++;
        }
        for (int i = 0; i < 4; i++)
            CHECK(homes[i] > 60 && homes[i] < 140);
    }
}

static void
rendezvous_goes_by_identity_not_by_place(void)
{
    equal(4, LB_LATENCY);
    taste.session = 12345;
    uint64_t home = q[pick(4)].id;
    for (int shift = 1; shift < 4; shift++) {
        for (int i = 0; i < 4; i++)
            q[i].id = 100 + (uint64_t)((i + shift) % 4);
        CHECK_EQ((int64_t)q[pick(4)].id, (int64_t)home);
    }
}

static void
the_holder_of_the_cache_is_preferred_by_every_rule(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++)
        for (int holder = 0; holder < 4; holder++) {
            equal(4, (enum lb_strategy)s);
            taste.session = 77;
            q[holder].bound = 1;
            for (int k = 0; k < 5; k++)
                CHECK_EQ(pick(4), holder);
        }
}

static void
a_crowded_or_refused_holder_is_left_by_the_rules_that_go_home_first(void)
{
    for (int s = LB_ROUND_ROBIN; s <= LB_LEAST_BUSY; s++) {
        equal(3, (enum lb_strategy)s);
        taste.session = 77;
        q[1].bound = 1;
        q[1].used = 0.96F;
        int others = 0;
        for (int k = 0; k < 3; k++)
            others += pick(3) != 1;
        CHECK(others > 0 || s == LB_LEAST_BUSY);
        q[1].reason = 1;
        for (int k = 0; k < 3; k++)
            CHECK(pick(3) != 1);
    }
}

/* 40 calls run, 14 of them at the holder: its share of 41 is 10.25, 1.25 times that
 * rounded up is 13. */
static void
a_session_spills_from_a_holder_over_its_bounded_share(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++) {
        equal(4, (enum lb_strategy)s);
        taste.session = 77;
        q[2].bound = 1;
        q[2].calls = 12;
        q[0].calls = 28;
        CHECK_EQ(pick(4), 2);
        CHECK_EQ(q[2].full, 0);
        CHECK_EQ(q[0].full, 1);
        q[2].calls = 13;
        q[0].calls = 27;
        for (int k = 0; k < 4; k++) {
            int best = pick(4);
            bool in_turn = s == LB_ROUND_ROBIN || s == LB_WEIGHTED;
            CHECK(in_turn || (best != 2 && best != 0));
        }
        CHECK_EQ(q[2].full, 1);
        q[1].reason = q[3].reason = 1; /* only full ones are left */
        CHECK(pick(4) >= 0);
    }
}

static void
few_calls_are_no_reason_to_spill(void)
{
    equal(4, LB_LATENCY);
    taste.session = 77;
    q[2].bound = 1;
    q[2].calls = 3; /* all that run: three times the fair share */
    CHECK_EQ(pick(4), 2);
    q[2].calls = 4;
    CHECK(pick(4) != 2);
}

static void
the_same_seed_makes_the_same_choices(void)
{
    int first[50];
    for (int round = 0; round < 2; round++) {
        equal(5, LB_COMPOSITE);
        for (int k = 0; k < 50; k++) {
            int best = pick(5);
            if (round == 0)
                first[k] = best;
            CHECK_EQ(best, first[k]);
        }
    }
}

int
main(void)
{
    CHECK_RUN(strategies_have_names);
    CHECK_RUN(without_an_eligible_candidate_nobody_wins);
    CHECK_RUN(the_only_eligible_candidate_wins_under_every_rule);
    CHECK_RUN(equal_candidates_share_equally_under_every_rule);
    CHECK_RUN(shares_follow_weights_where_the_rule_draws_by_weight);
    CHECK_RUN(round_robin_takes_turns_and_skips_who_may_not);
    CHECK_RUN(round_robin_passes_over_who_starts_slowly);
    CHECK_RUN(weighted_is_the_published_smooth_round_robin);
    CHECK_RUN(weighted_owes_nobody_more_than_a_round_when_a_heavy_one_leaves);
    CHECK_RUN(least_busy_counts_calls_per_weight);
    CHECK_RUN(latency_treats_a_fifth_as_equal);
    CHECK_RUN(cost_takes_the_cheapest_and_among_those_the_fastest);
    CHECK_RUN(free_backends_beat_cheap_ones);
    CHECK_RUN(composite_takes_the_cheapest_band_then_the_fastest);
    CHECK_RUN(composite_draws_by_headroom);
    CHECK_RUN(composite_gets_dearer_from_shift_and_costs_twice_at_stop);
    CHECK_RUN(composite_adds_what_a_scarce_limit_is_worth_to_others);
    CHECK_RUN(a_value_turns_seconds_and_failures_into_dollars);
    CHECK_RUN(p2c_keeps_the_first_unless_the_second_is_much_faster);
    CHECK_RUN(p2c_bounds_the_share_of_the_worst);
    CHECK_RUN(a_session_stays_where_rendezvous_puts_it);
    CHECK_RUN(rendezvous_goes_by_identity_not_by_place);
    CHECK_RUN(the_holder_of_the_cache_is_preferred_by_every_rule);
    CHECK_RUN(a_crowded_or_refused_holder_is_left_by_the_rules_that_go_home_first);
    CHECK_RUN(a_session_spills_from_a_holder_over_its_bounded_share);
    CHECK_RUN(few_calls_are_no_reason_to_spill);
    CHECK_RUN(the_same_seed_makes_the_same_choices);
    return CHECK_DONE();
}

/* What a conversation will read again: how it is learned, and what it is worth. */
#include "lease_kit.h"

#include <math.h>

static const lb_ns LIFE = 300 * LB_NS_PER_S;

/* ---- the share ----------------------------------------------------------- */

static void
a_share_is_what_came_again_of_what_was_sent(void)
{
    lb_reuse r = {0};
    CHECK(lb_reuse_share(&r) == 0);
    lb_reuse_sent(&r, 1000);
    CHECK(lb_reuse_share(&r) == 0);
    lb_reuse_came(&r, 800, 0);
    CHECK(fabsf(lb_reuse_share(&r) - 0.8F) < 1e-6F);
    lb_reuse_sent(&r, 1000); /* the first counts 255/256 by now, in both sums */
    CHECK(fabsf(lb_reuse_share(&r) - 800 * 255.0F / (1000 * 511.0F)) < 1e-6F);
}

static void
what_was_learned_fades_when_nobody_comes_back(void)
{
    lb_reuse r = {0};
    lb_reuse_sent(&r, 1000);
    lb_reuse_came(&r, 1000, 0);
    for (int k = 0; k < 256 * 5; k++)
        lb_reuse_sent(&r, 1000);
    CHECK(lb_reuse_share(&r) > 0 && lb_reuse_share(&r) < 1e-4F);
}

/* Each goes on with probability p: p + p^2 + ... = p / (1 - p) more, discounted
 * p / (1 - 0.95 p). */
static void
a_share_counts_all_the_calls_to_come(void)
{
    for (int percent = 0; percent <= 100; percent += 25) {
        lb_reuse r = {0};
        for (int k = 0; k < 100000; k++) {
            float later = 1000 * lb_reuse_share(&r);
            lb_reuse_sent(&r, 1000);
            if (k % 4 < percent / 25)
                lb_reuse_came(&r, 1000, later);
        }
        float p_on = (float)percent / 100, expected = p_on / (1 - 0.95F * p_on);
        CHECK(fabsf(lb_reuse_share(&r) - expected) <= 0.02F * expected);
    }
}

/* ---- learning ------------------------------------------------------------ */

/* Two backends at $2.50 that keep prompts: 0 sells them at half the price, 1 at a
 * tenth, but is a little dearer for the rest. */
static void
two_caches(void)
{
    fresh(2, LB_COMPOSITE);
    for (uint32_t i = 0; i < 2; i++) {
        lb_price price = kit_price(i == 0 ? 2.5 : 2.6, 10);
        price.pico[LB_CACHE_READ] = i == 0 ? 1250000 : 260000;
        CHECK_EQ(lb_pool_set_price(p, i, &price), LB_OK);
        lb_pool_backend(p, i)->terms.cache_life = LIFE;
    }
    ask.max_tokens = 10;
}

/* A call of `tokens` that comes at `now` and takes a second; where it went. */
static int
call(uint64_t session, int64_t tokens, lb_ns now)
{
    ask.session = session;
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        ask.tokens[f] = tokens;
    int i = pick(now);
    lb_result r = kit_done(tokens, 10, 0.1, 1);
    (void)lb_lease_settle(p, &lease, &r, now + SEC);
    return i;
}

static const lb_reuse *
learned(int64_t tokens)
{
    return &lb_pool_group(p, group)->reuse[lb_pool_size_class(tokens)];
}

static void
a_call_that_comes_back_counts_for_the_one_before(void)
{
    two_caches();
    (void)call(7, 1000, 0);
    CHECK(learned(1000)->sent == 1000 && learned(1000)->again == 0);
    (void)call(7, 3000, 10 * SEC);
    CHECK(learned(1000)->again == 1010); /* the answer is known as well */
    CHECK(learned(3000)->sent == 3000 && learned(3000)->again == 0);
    (void)call(7, 400, 20 * SEC); /* known is no more than there is */
    CHECK(learned(3000)->again == 400);
    (void)call(8, 1000, 30 * SEC);
    CHECK(learned(400)->again == 0);
}

static void
what_is_expected_of_the_next_call_counts_for_the_one_before(void)
{
    two_caches();
    (void)call(7, 3000, 0);
    (void)call(7, 3000, 10 * SEC);
    float share = lb_reuse_share(learned(3000));
    CHECK(share > 0.4F && share < 0.6F);
    (void)call(9, 1000, 20 * SEC);
    (void)call(9, 3000, 30 * SEC);
    CHECK(fabsf(learned(1000)->again - (1010 + 0.95F * 3000 * share)) < 1);
}

static void
calls_that_leave_together_find_nothing_of_each_other(void)
{
    two_caches();
    ask.session = 7;
    (void)pick(0);
    lb_lease first = lease;
    (void)pick(0);
    lb_result r = kit_done(1000, 10, 0.1, 1);
    (void)lb_lease_settle(p, &first, &r, SEC);
    (void)lb_lease_settle(p, &lease, &r, 2 * SEC);
    CHECK(learned(1000)->sent > 1990 && learned(1000)->again == 0);
}

static void
who_comes_back_too_late_finds_nothing(void)
{
    two_caches();
    (void)call(7, 1000, 0);
    (void)call(7, 1000, LIFE + SEC);
    CHECK(learned(1000)->again == 0);
}

static void
nothing_is_learned_without_a_session_or_a_cache(void)
{
    two_caches();
    (void)call(0, 1000, 0);
    lb_pool_backend(p, 0)->terms.cache_life = 0;
    lb_pool_backend(p, 1)->terms.cache_life = 0;
    (void)call(7, 1000, 0);
    lb_pool_backend(p, 0)->terms.cache_life = LIFE;
    lb_pool_backend(p, 1)->terms.cache_life = LIFE;
    p->size.sessions = 0;
    (void)call(7, 1000, 0);
    p->size.sessions = 64;
    CHECK(learned(1000)->sent == 0);
}

/* ---- choosing ------------------------------------------------------------ */

static void
expect_again(float share)
{
    for (int k = 0; k < LB_SIZES; k++)
        lb_pool_group(p, group)->reuse[k] = (lb_reuse){.sent = 1, .again = share};
}

/* Nano-USD that will be paid later at backend `i`, for a prompt of 1,000. */
static float
later(uint32_t i)
{
    lb_outlook o;
    ask.session = 7;
    lb_outlook_init(p, &ask, &o, 0);
    lb_quote q = kit_quote(p, i, &ask, 0);
    return lb_gate_again(p, &o, &q);
}

static void
reading_again_is_priced_as_the_cache_is(void)
{
    two_caches();
    CHECK(later(0) == 0);
    expect_again(2);
    CHECK(later(0) == 2 * 1000 * 1250);
    CHECK(later(1) == 2 * 1000 * 260);
    lb_pool_backend(p, 0)->terms.cache_life = 0; /* sent again, in full */
    CHECK(later(0) == 2 * 1000 * 2500);
    lb_price unknown;
    lb_price_init(&unknown);
    CHECK_EQ(lb_pool_set_price(p, 0, &unknown), LB_OK);
    CHECK(later(0) == 0);
}

static void
limits_that_count_prompts_count_them_again(void)
{
    two_caches();
    for (int unit = 0; unit < LB_NUNITS; unit++)
        CHECK_EQ(limit(0, (enum lb_unit)unit, LB_CHARGE_ACTUAL, 10000), unit);
    expect_again(2);
    for (uint32_t k = 0; k < LB_NUNITS; k++) {
        lb_limit_charge(lb_pool_limit(p, k), 5000, 0);
        CHECK_EQ(spent((int)k), 5000);
        lb_pool_limit(p, k)->rent = 100; /* half in use: 50 a token */
    }
    float both = 2 * 1000 * (1250 + 50 + 50);
    CHECK(fabsf(later(0) - both) < 1e-4F * both);
}

static void
the_first_call_goes_where_the_others_will_be_cheap(void)
{
    two_caches();
    expect_again(2);
    for (uint64_t session = 1; session <= 20; session++) {
        ask.session = session;
        CHECK_EQ(pick(0), 1);
        settle_as(LB_CANCELLED, 0);
        double score = 1000 * 2600 + 10 * 10000 + 2 * 1000 * 260;
        CHECK(fabs((double)lease.decision.line[1].score / score - 1) < 1e-5);
    }
}

/* How many of 40 go to backend 0, where both are within 10 %. */
static int
first_of_forty(enum lb_strategy strategy, uint64_t session)
{
    int count = 0;
    two_caches();
    expect_again(2);
    ask.strategy = (int8_t)strategy;
    for (int k = 0; k < 40; k++) {
        ask.session = session * (uint64_t)(k + 1);
        count += pick(0) == 0;
        settle_as(LB_CANCELLED, 0);
    }
    return count;
}

static void
who_is_alone_and_other_rules_look_no_further(void)
{
    CHECK_EQ(first_of_forty(LB_COMPOSITE, 77), 0);
    CHECK_EQ(first_of_forty(LB_PREDICTIVE, 77), 0);
    CHECK(first_of_forty(LB_COMPOSITE, 0) > 0);
    CHECK_EQ(first_of_forty(LB_COST, 77), 40);
}

static void
who_cannot_take_the_call_is_not_asked_what_comes_later(void)
{
    two_caches();
    expect_again(2);
    lb_pool_backend(p, 1)->terms.max_calls = 1;
    ask.session = 7;
    CHECK_EQ(pick(0), 1);
    lb_lease first = lease;
    CHECK_EQ(pick(0), 0);
    settle_as(LB_CANCELLED, 0);
    lease = first;
    settle_as(LB_CANCELLED, 0);
    nothing_is_left_reserved();
}

static void
long_conversations_move_to_where_they_are_cheap(void)
{
    two_caches();
    int last = 0;
    for (uint64_t session = 1; session <= 30; session++)
        for (int turn = 0; turn < 8; turn++)
            last = call(session, 1000 * (turn + 1),
                        (lb_ns)(8 * session) * MIN + turn * 10 * SEC);
    CHECK_EQ(last, 1);
    int home = call(99, 1000, 400 * MIN);
    CHECK_EQ(home, 1);
    nothing_is_left_reserved();
}

int
main(void)
{
    CHECK_RUN(a_share_is_what_came_again_of_what_was_sent);
    CHECK_RUN(what_was_learned_fades_when_nobody_comes_back);
    CHECK_RUN(a_share_counts_all_the_calls_to_come);
    CHECK_RUN(a_call_that_comes_back_counts_for_the_one_before);
    CHECK_RUN(what_is_expected_of_the_next_call_counts_for_the_one_before);
    CHECK_RUN(calls_that_leave_together_find_nothing_of_each_other);
    CHECK_RUN(who_comes_back_too_late_finds_nothing);
    CHECK_RUN(nothing_is_learned_without_a_session_or_a_cache);
    CHECK_RUN(reading_again_is_priced_as_the_cache_is);
    CHECK_RUN(limits_that_count_prompts_count_them_again);
    CHECK_RUN(the_first_call_goes_where_the_others_will_be_cheap);
    CHECK_RUN(who_is_alone_and_other_rules_look_no_further);
    CHECK_RUN(who_cannot_take_the_call_is_not_asked_what_comes_later);
    CHECK_RUN(long_conversations_move_to_where_they_are_cheap);
    lb_pool_free(p);
    return CHECK_DONE();
}

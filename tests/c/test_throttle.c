/* What is worked with of a limit that its provider does not keep to. */
#include "check.h"
#include "pool_kit.h"

#include "lb_throttle.h"

#include <math.h>

static lb_pool *p;
static lb_ask ask;
static lb_lease lease;

/* One backend under 600 requests a minute, of which the headers tell nothing. */
static lb_limit *
fresh(void)
{
    lb_pool_free(p);
    p = kit_pool(1);
    ask = kit_ask(kit_group(p, LB_COST), 1000);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 600, MIN, 0), 0);
    return lb_pool_limit(p, 0);
}

/* A call that leaves at `now`, pauses or not, and ends at once. */
static void
call(enum lb_outcome outcome, lb_ns now)
{
    lb_pool_backend(p, 0)->not_before = 0;
    CHECK_EQ(lb_lease_pick(p, &ask, &lease, now), 0);
    lb_result r = kit_ended(outcome);
    (void)lb_lease_settle(p, &lease, &r, now);
}

static void
refuse(int times, lb_ns now)
{
    for (int k = 0; k < times; k++)
        call(LB_RATE_LIMITED, now + k * SEC);
}

static void
every_third_refusal_in_a_row_halves_what_is_worked_with(void)
{
    lb_limit *l = fresh();
    refuse(2, 0);
    CHECK_EQ(l->working, 100);
    call(LB_DONE, 3 * SEC); /* so they were not in a row */
    refuse(2, 4 * SEC);
    CHECK_EQ(l->working, 100);
    refuse(1, 7 * SEC);
    CHECK_EQ(l->working, 50);
    CHECK_EQ(l->rate.limit, 300);
    CHECK_EQ(l->rate.burst, 600); /* the whole; of which half is let through */
    refuse(3, 8 * SEC);
    CHECK_EQ(l->working, 25);
    refuse(30, 20 * SEC);
    CHECK_EQ(l->working, LB_THROTTLE_LEAST);
    CHECK_EQ(l->rate.limit, 60);
}

static void
half_a_limit_admits_half_as_many(void)
{
    lb_limit *l = fresh();
    refuse(3, 0);
    lb_pool_backend(p, 0)->not_before = 0;
    lb_rate_charge(&l->rate, -3, 2 * SEC); /* refused requests were counted too */
    int admitted = 0;
    while (lb_lease_pick(p, &ask, &lease, 2 * SEC) == 0)
        admitted++;
    CHECK_EQ(admitted, 300);
    CHECK_EQ(lease.decision.wait, SEC / 5);
    CHECK(fabs((double)lb_limit_used(l, 2 * SEC) - 1) < 1e-6);
}

static void
calls_that_left_before_a_cut_do_not_cut_again(void)
{
    lb_limit *l = fresh();
    lb_lease held[9];
    for (int k = 0; k < 9; k++) {
        CHECK_EQ(lb_lease_pick(p, &ask, &lease, 0), 0);
        held[k] = lease;
    }
    for (int k = 0; k < 9; k++) {
        lb_result r = kit_ended(LB_RATE_LIMITED);
        (void)lb_lease_settle(p, &held[k], &r, SEC);
    }
    CHECK_EQ(l->working, 50);
    refuse(3, 100 * SEC);
    CHECK_EQ(l->working, 25);
}

static void
answers_bring_back_five_hundredths_a_window(void)
{
    lb_limit *l = fresh();
    refuse(3, 0); /* cut at 2 s */
    call(LB_DONE, 61 * SEC);
    CHECK_EQ(l->working, 50);
    call(LB_DONE, 62 * SEC);
    CHECK_EQ(l->working, 55);
    CHECK_EQ(l->rate.limit, 330);
    call(LB_DONE, 121 * SEC);
    CHECK_EQ(l->working, 55);
    call(LB_SLOW, 270 * SEC); /* three more, and half of the next */
    CHECK_EQ(l->working, 70);
    call(LB_DONE, 302 * SEC);
    CHECK_EQ(l->working, 75);
    call(LB_DONE, 24 * 60 * MIN);
    CHECK_EQ(l->working, 100);
    CHECK_EQ(l->rate.limit, 600);
    CHECK_EQ(l->rate.burst, 600);
    call(LB_DONE, 25 * 60 * MIN);
    CHECK_EQ(l->working, 100);
}

static void
what_headers_tell_is_believed(void)
{
    lb_limit *l = fresh();
    refuse(3, 0);
    CHECK_EQ(l->working, 50);
    lb_pool_backend(p, 0)->not_before = 0;
    CHECK_EQ(lb_lease_pick(p, &ask, &lease, 10 * SEC), 0);
    lb_result r = kit_ended(LB_RATE_LIMITED);
    r.told[r.ntold++] =
        (lb_told){LB_PER_REQUEST, {.limit = 400, .remaining = 100, .reset = 45 * SEC}};
    (void)lb_lease_settle(p, &lease, &r, 10 * SEC);
    CHECK_EQ(l->working, 100);
    CHECK_EQ(l->rate.limit, 400);
    CHECK_EQ(l->rate.burst, 400);
    refuse(9, 60 * SEC);
    CHECK_EQ(l->working, 100);
}

static void
headers_that_speak_of_another_window_lift_no_cut(void)
{
    lb_limit *l = fresh();
    for (int k = 0; k < 6; k++) {
        lb_pool_backend(p, 0)->not_before = 0;
        CHECK_EQ(lb_lease_pick(p, &ask, &lease, k * SEC), 0);
        lb_result r = kit_ended(LB_RATE_LIMITED);
        r.told[r.ntold++] = (lb_told){
            LB_PER_REQUEST,
            {.limit = 10000, .remaining = 9000, .reset = 8640 * SEC}}; /* of a day */
        (void)lb_lease_settle(p, &lease, &r, k * SEC);
    }
    CHECK_EQ(l->working, 25);
    CHECK_EQ(l->rate.limit, 150);
}

static void
a_limit_learned_from_headers_is_never_cut(void)
{
    lb_limit *l = fresh();
    l->learned = 1;
    l->rate.ceiling = INT64_MAX;
    refuse(9, 0);
    CHECK_EQ(l->working, 100);
}

static void
what_our_own_count_explains_is_no_news(void)
{
    lb_limit *l = fresh();
    lb_limit_charge(l, 500, 0);
    refuse(3, 0);
    CHECK_EQ(l->working, 100);
    refuse(3, 50 * SEC); /* by now it is free again */
    CHECK_EQ(l->working, 50);
}

static void
only_the_limits_of_the_shortest_window_are_cut(void)
{
    lb_limit *l = fresh();
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_TOKEN, LB_CHARGE_ACTUAL, 10000000, MIN, 0),
             1);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 50000,
                               24 * 60 * MIN, 0),
             2);
    refuse(3, 0);
    CHECK_EQ(l->working, 50);
    CHECK_EQ(lb_pool_limit(p, 1)->working, 50);
    CHECK_EQ(lb_pool_limit(p, 2)->working, 100);
    CHECK_EQ(lb_pool_set_limit(p, 0, 0, MIN, 0, 10 * SEC), LB_OK); /* no limit */
    CHECK_EQ(l->working, 100);
    refuse(3, 20 * SEC);
    CHECK_EQ(l->working, 100);
    CHECK_EQ(lb_pool_limit(p, 1)->working, 25);
    CHECK_EQ(lb_pool_set_limit(p, 1, 20000000, MIN, 0, 30 * SEC), LB_OK);
    CHECK_EQ(lb_pool_limit(p, 1)->working, 100); /* the user knows better */
}

static void
a_call_larger_than_what_is_left_goes_alone(void)
{
    (void)fresh();
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_INPUT, LB_CHARGE_ACTUAL, 1500, MIN, 0), 1);
    lb_limit *l = lb_pool_limit(p, 1);
    refuse(3, 0);
    CHECK_EQ(l->working, 50);
    CHECK_EQ(kit_quote(p, 0, &ask, 100 * SEC).reason, LB_ELIGIBLE); /* 1,000 of 750 */
    lb_limit_charge(l, 15, 100 * SEC);
    CHECK_EQ(kit_quote(p, 0, &ask, 100 * SEC).reason, LB_NO_RATE);
    CHECK_EQ(kit_quote(p, 0, &ask, 100 * SEC).wait, SEC * 15 / 12 - SEC / 20);
    ask.tokens[0] = 1501;
    CHECK_EQ(kit_quote(p, 0, &ask, 100 * SEC).reason, LB_NO_BURST);
}

int
main(void)
{
    CHECK_RUN(every_third_refusal_in_a_row_halves_what_is_worked_with);
    CHECK_RUN(half_a_limit_admits_half_as_many);
    CHECK_RUN(calls_that_left_before_a_cut_do_not_cut_again);
    CHECK_RUN(answers_bring_back_five_hundredths_a_window);
    CHECK_RUN(what_headers_tell_is_believed);
    CHECK_RUN(headers_that_speak_of_another_window_lift_no_cut);
    CHECK_RUN(a_limit_learned_from_headers_is_never_cut);
    CHECK_RUN(what_our_own_count_explains_is_no_news);
    CHECK_RUN(only_the_limits_of_the_shortest_window_are_cut);
    CHECK_RUN(a_call_larger_than_what_is_left_goes_alone);
    lb_pool_free(p);
    return CHECK_DONE();
}

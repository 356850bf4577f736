#include "check.h"
#include "lb_budget.h"
#include "lb_rng.h"

static const int64_t USD = INT64_C(1000000000);
static const lb_ns HOUR = 3600 * LB_NS_PER_S;
static const lb_ns DAY = 24 * 3600 * LB_NS_PER_S;

static void
what_is_promised_cannot_be_promised_again(void)
{
    lb_budget b;
    CHECK_EQ(lb_budget_init(&b, LB_TOTAL, true, 10 * USD, 0, 0, 0), LB_OK);
    CHECK_EQ(lb_budget_free(&b, 0), 10 * USD);
    lb_budget_reserve(&b, 4 * USD);
    lb_budget_reserve(&b, 6 * USD);
    CHECK_EQ(lb_budget_free(&b, 0), 0);
    lb_budget_settle(&b, 4 * USD, 1 * USD, 0);
    CHECK_EQ(lb_budget_free(&b, 0), 3 * USD);
    lb_budget_settle(&b, 6 * USD, 0, 0);
    CHECK_EQ(lb_budget_free(&b, 0), 9 * USD);
    CHECK_EQ(b.reserved, 0);
    CHECK_EQ(b.lifetime, 1 * USD);
}

static void
a_call_dearer_than_its_promise_is_booked_all_the_same(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_TOTAL, true, USD, 0, 0, 0);
    lb_budget_reserve(&b, USD);
    lb_budget_settle(&b, USD, 3 * USD, 0);
    CHECK_EQ(lb_budget_free(&b, 0), 0);
    CHECK_EQ(b.spent, 3 * USD);
    CHECK_EQ(lb_budget_wait(&b, 1, 0), LB_FOREVER);
    lb_budget_roll(&b, LB_FOREVER);
    CHECK_EQ(b.spent, 3 * USD);
    CHECK_EQ(b.rolls, 0);
}

static void
a_soft_budget_counts_but_never_refuses(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_FIXED, false, USD, DAY, DAY, 0);
    lb_budget_settle(&b, 0, 5 * USD, 1);
    CHECK_EQ(lb_budget_free(&b, 1), INT64_MAX);
    CHECK_EQ(lb_budget_wait(&b, 9 * USD, 1), 0);
    CHECK_EQ(b.spent, 5 * USD);
    lb_budget_roll(&b, DAY);
    CHECK_EQ(b.spent, 0);
    CHECK_EQ(b.lifetime, 5 * USD);
}

static void
a_fixed_window_empties_at_its_end_and_every_period_after(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_FIXED, true, 10 * USD, DAY, 6 * HOUR, 0);
    lb_budget_settle(&b, 0, 10 * USD, 0);
    CHECK_EQ(lb_budget_free(&b, 6 * HOUR - 1), 0);
    CHECK_EQ(lb_budget_wait(&b, USD, HOUR), 5 * HOUR);
    CHECK_EQ(lb_budget_free(&b, 6 * HOUR), 10 * USD);
    CHECK_EQ(b.ends, 30 * HOUR);
    CHECK_EQ(b.rolls, 1);
    lb_budget_roll(&b, 6 * HOUR + 3 * DAY);
    CHECK_EQ(b.ends, 6 * HOUR + 4 * DAY);
    CHECK_EQ(b.rolls, 4);
}

static void
promises_survive_the_end_of_a_window(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_FIXED, true, 10 * USD, DAY, DAY, 0);
    lb_budget_settle(&b, 0, 3 * USD, 0);
    lb_budget_reserve(&b, 7 * USD);
    CHECK_EQ(lb_budget_wait(&b, 3 * USD, 0), DAY);
    CHECK_EQ(lb_budget_wait(&b, 4 * USD, 0), 2 * DAY);
    CHECK_EQ(lb_budget_wait(&b, 10 * USD + 1, 0), LB_FOREVER);
    CHECK_EQ(lb_budget_free(&b, DAY), 3 * USD);
    lb_budget_settle(&b, 7 * USD, 7 * USD, DAY);
    CHECK_EQ(lb_budget_free(&b, DAY), 3 * USD);
}

static void
a_rolling_window_forgets_slot_by_slot(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_ROLLING, true, 32 * USD, 32 * HOUR, 0, 0);
    for (int i = 0; i < 32; i++)
        lb_budget_settle(&b, 0, USD, i * HOUR);
    CHECK_EQ(lb_budget_free(&b, 32 * HOUR - 1), 0);
    CHECK_EQ(lb_budget_wait(&b, 1, 32 * HOUR - 1), 1);
    CHECK_EQ(lb_budget_wait(&b, 3 * USD, 31 * HOUR), 3 * HOUR);
    CHECK_EQ(lb_budget_wait(&b, 32 * USD, 31 * HOUR), 32 * HOUR);
    CHECK_EQ(lb_budget_free(&b, 32 * HOUR), USD);
    CHECK_EQ(lb_budget_free(&b, 40 * HOUR), 9 * USD);
    CHECK_EQ(lb_budget_free(&b, 999 * HOUR), 32 * USD);
    CHECK_EQ(b.lifetime, 32 * USD);
}

static void
arguments_out_of_range_are_refused(void)
{
    lb_budget b;
    CHECK_EQ(lb_budget_init(&b, LB_TOTAL, true, -1, 0, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_budget_init(&b, LB_TOTAL, true, 0, -7, 0, 0), LB_OK);
    CHECK_EQ(lb_budget_init(&b, LB_FIXED, true, 1, 0, 1, 0), LB_EINVAL);
    CHECK_EQ(lb_budget_init(&b, LB_FIXED, true, 1, 1, 5, 5), LB_EINVAL);
    CHECK_EQ(lb_budget_init(&b, LB_FIXED, true, 1, 1, 6, 5), LB_OK);
    CHECK_EQ(lb_budget_init(&b, LB_ROLLING, true, 1, 31, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_budget_init(&b, LB_ROLLING, true, 1, 32, 0, 0), LB_OK);
}

static void
amounts_stop_at_the_largest_number(void)
{
    lb_budget b;
    lb_budget_init(&b, LB_ROLLING, true, INT64_MAX, 32 * HOUR, 0, 0);
    for (int i = 0; i < 3; i++) {
        lb_budget_reserve(&b, INT64_MAX);
        lb_budget_settle(&b, 0, INT64_MAX - 5, 0);
    }
    CHECK_EQ(lb_budget_free(&b, 0), 0);
    lb_budget_settle(&b, INT64_MAX, 0, 0);
    lb_budget_settle(&b, INT64_MAX, 0, 0);
    CHECK_EQ(b.reserved, 0);
    CHECK_EQ(lb_budget_free(&b, 99 * HOUR), INT64_MAX);
    CHECK_EQ(b.lifetime, INT64_MAX);

    lb_budget_init(&b, LB_FIXED, true, INT64_MAX, DAY, DAY, 0);
    for (int i = 0; i < 3; i++)
        lb_budget_settle(&b, 0, INT64_MAX - 5, i * DAY);
    CHECK_EQ(lb_budget_free(&b, 2 * DAY), 5);
    CHECK_EQ(b.lifetime, INT64_MAX);
}

/* Brute force: settle what is live, then look at the end of every slot. */
static lb_ns
patient_wait(lb_budget b, int64_t nano, lb_ns now)
{
    if (nano <= lb_budget_free(&b, now))
        return 0;
    lb_budget_settle(&b, b.reserved, b.reserved, now);
    for (int i = 0; i <= LB_BUDGET_SLOTS; i++) {
        lb_ns later = b.ends;
        if (nano <= lb_budget_free(&b, later))
            return later - now;
    }
    return LB_FOREVER;
}

/* Every cost is kept with its time; the window is summed anew each time. */
static void
it_equals_a_log_of_all_costs_in_every_step(void)
{
    enum { STEPS = 300 };
    static int64_t cost[STEPS], at[STEPS];
    lb_rng rng = {9};
    for (int run = 0; run < 400; run++) {
        enum lb_budget_kind kind = (enum lb_budget_kind)lb_rng_below(&rng, 3);
        lb_ns now = (lb_ns)lb_rng_below(&rng, 1000000);
        lb_ns period = 3200, born = now, width = kind == LB_ROLLING ? 100 : period;
        int64_t cap = 1000, reserved = 0, live[STEPS];
        lb_budget b;
        CHECK_EQ(lb_budget_init(&b, kind, true, cap, period, now + period, now), LB_OK);
        int n = 0, calls = 0;
        for (int step = 0; step < STEPS; step++) {
            now += (lb_ns)lb_rng_below(&rng, lb_rng_below(&rng, 20) ? 60 : 5000);
            int64_t spent = 0, nano = (int64_t)lb_rng_below(&rng, 300);
            for (int i = 0; i < n; i++) {
                int64_t age = (now - born) / width - (at[i] - born) / width;
                if (kind == LB_TOTAL || age < (kind == LB_FIXED ? 1 : LB_BUDGET_SLOTS))
                    spent += cost[i];
            }
            int64_t unspent = lb_max(cap - spent - reserved, 0);
            CHECK_EQ(lb_budget_free(&b, now), unspent);
            CHECK_EQ(b.spent, spent);
            CHECK_EQ(b.reserved, reserved);
            if (kind == LB_ROLLING)
                CHECK_EQ(lb_budget_wait(&b, nano, now), patient_wait(b, nano, now));
            if (nano <= unspent && lb_rng_below(&rng, 2)) {
                lb_budget_reserve(&b, nano);
                reserved += live[calls++] = nano;
            } else if (calls > 0) {
                int64_t promise = live[--calls];
                cost[n] = (int64_t)lb_rng_below(&rng, 2 * (uint32_t)promise + 1);
                at[n] = now;
                lb_budget_settle(&b, promise, cost[n++], now);
                reserved -= promise;
            }
        }
    }
}

int
main(void)
{
    CHECK_RUN(what_is_promised_cannot_be_promised_again);
    CHECK_RUN(a_call_dearer_than_its_promise_is_booked_all_the_same);
    CHECK_RUN(a_soft_budget_counts_but_never_refuses);
    CHECK_RUN(a_fixed_window_empties_at_its_end_and_every_period_after);
    CHECK_RUN(promises_survive_the_end_of_a_window);
    CHECK_RUN(a_rolling_window_forgets_slot_by_slot);
    CHECK_RUN(arguments_out_of_range_are_refused);
    CHECK_RUN(amounts_stop_at_the_largest_number);
    CHECK_RUN(it_equals_a_log_of_all_costs_in_every_step);
    return CHECK_DONE();
}

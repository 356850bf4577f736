#include "check.h"
#include "lb_rate.h"
#include "lb_rng.h"

#include <math.h>

static const lb_ns SEC = LB_NS_PER_S;
static const lb_ns MIN = 60 * LB_NS_PER_S;
static const lb_ns DAY = 86400 * LB_NS_PER_S;

static bool
take(lb_rate *r, int64_t units, lb_ns now)
{
    bool fits = lb_rate_wait(r, units, 1.0, now) == 0;
    if (fits)
        lb_rate_charge(r, units, now);
    return fits;
}

static void
whole_burst_is_free_at_once_then_refills_evenly(void)
{
    lb_rate r;
    CHECK_EQ(lb_rate_init(&r, 60, MIN, 0), LB_OK);
    CHECK(take(&r, 60, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 0);
    CHECK_EQ(lb_rate_wait(&r, 1, 1.0, 0), SEC);
    CHECK_EQ(lb_rate_wait(&r, 60, 1.0, 0), MIN);
    CHECK_EQ(lb_rate_free(&r, 30 * SEC), 30);
    CHECK(take(&r, 30, 30 * SEC));
    CHECK_EQ(lb_rate_free(&r, 200 * SEC), 60);
}

static void
the_published_table_of_other_limiters_is_reproduced(void)
{
    /* redis-cell and throttled test the same rows: capacity 5, one a second. */
    static const struct {
        int ms, units;
        bool limited;
        int remaining, reset_ms, retry_ms;
    } rows[] = {
        {0, 6, true, 5, 0, -1},         {0, 1, false, 4, 1000, -1},
        {0, 1, false, 3, 2000, -1},     {0, 1, false, 2, 3000, -1},
        {0, 1, false, 1, 4000, -1},     {0, 1, false, 0, 5000, -1},
        {0, 1, true, 0, 5000, 1000},    {3000, 1, false, 2, 3000, -1},
        {3100, 1, false, 1, 3900, -1},  {4000, 1, false, 1, 4000, -1},
        {8000, 1, false, 4, 1000, -1},  {9500, 1, false, 4, 1000, -1},
        {9500, 0, false, 4, 1000, -1},  {9500, 2, false, 2, 3000, -1},
        {9500, 5, true, 2, 3000, 3000},
    };
    lb_rate r;
    lb_rate_init(&r, 1, SEC, 5);
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        lb_ns now = rows[i].ms * LB_NS_PER_MS;
        lb_ns wait = lb_rate_wait(&r, rows[i].units, 1.0, now);
        CHECK(take(&r, rows[i].units, now) == !rows[i].limited);
        CHECK_EQ(lb_rate_free(&r, now), rows[i].remaining);
        CHECK(lb_rate_used(&r, now) == rows[i].reset_ms / 5000.0);
        if (rows[i].retry_ms >= 0)
            CHECK_EQ(wait, rows[i].retry_ms * LB_NS_PER_MS);
    }
}

static void
more_than_the_burst_never_fits(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 100);
    CHECK_EQ(lb_rate_wait(&r, 101, 1.0, 0), LB_FOREVER);
    CHECK_EQ(lb_rate_wait(&r, 100, 1.0, 0), 0);
    CHECK_EQ(lb_rate_free(&r, 0), 100);
}

static void
a_share_holds_the_rest_back_but_always_leaves_one_unit(void)
{
    lb_rate r;
    lb_rate_init(&r, 100, MIN, 0);
    CHECK_EQ(lb_rate_wait(&r, 95, 0.95, 0), 0);
    CHECK_EQ(lb_rate_wait(&r, 96, 0.95, 0), 0); /* nothing is spent */
    CHECK_EQ(lb_rate_wait(&r, 101, 0.95, 0), LB_FOREVER);
    lb_rate_charge(&r, 1, 0);
    CHECK_EQ(lb_rate_wait(&r, 94, 0.95, 0), 0);
    CHECK_EQ(lb_rate_wait(&r, 96, 0.95, 0), 600 * LB_NS_PER_MS);
    lb_rate_charge(&r, -1, 0);
    lb_rate_charge(&r, 95, 0);
    CHECK_EQ(lb_rate_wait(&r, 5, 1.0, 0), 0);
    CHECK_EQ(lb_rate_wait(&r, 1, 0.95, 0), 600 * LB_NS_PER_MS);
    lb_rate_init(&r, 1, MIN, 0);
    CHECK_EQ(lb_rate_wait(&r, 1, 0.95, 0), 0);
    lb_rate_init(&r, 15, MIN, 0);
    CHECK_EQ(lb_rate_wait(&r, 15, 0.95, 0), 0);
}

static void
nothing_asked_always_fits(void)
{
    lb_rate r;
    lb_rate_init(&r, 10, MIN, 0);
    lb_rate_charge(&r, 50, 0);
    CHECK_EQ(lb_rate_wait(&r, 0, 0.5, 0), 0);
}

static void
all_zero_is_no_limit_but_still_counts(void)
{
    lb_rate r = {0};
    CHECK_EQ(lb_rate_wait(&r, INT64_MAX, 1.0, 5), 0);
    lb_rate_charge(&r, 7, 5);
    lb_rate_block(&r, MIN, 5);
    CHECK_EQ(r.charged, 7);
    CHECK_EQ(lb_rate_free(&r, 5), INT64_MAX);
    CHECK(lb_rate_used(&r, 5) == 0.0);
    lb_reading h = {60, 30, 30 * SEC, MIN};
    CHECK(!lb_rate_sync(&r, &h, 1, 0, 0, 5));
    CHECK_EQ(lb_rate_resize(&r, 60, MIN, 0, 5), LB_OK);
    CHECK_EQ(lb_rate_free(&r, 5), 60);
}

static void
a_wrong_estimate_is_corrected_both_ways(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_rate_charge(&r, 400, 0);
    lb_rate_charge(&r, -150, 0);
    CHECK_EQ(lb_rate_free(&r, 0), 750);
    lb_rate_charge(&r, 5000, 0);
    CHECK_EQ(lb_rate_free(&r, 0), 0);
    CHECK(lb_rate_used(&r, 0) == 5.25);
    lb_rate_charge(&r, -5000, 0);
    CHECK_EQ(lb_rate_free(&r, 0), 750);
    lb_rate_charge(&r, -9999, 0);
    CHECK_EQ(lb_rate_free(&r, 0), 1000);
    CHECK_EQ(r.charged, 400 - 150 - 9999);
}

static void
the_whole_burst_fits_whatever_the_rounding(void)
{
    for (int64_t limit = 1; limit < 200000; limit += 7) {
        lb_rate r;
        lb_rate_init(&r, limit, MIN, limit / 3 + 1);
        CHECK_EQ(lb_rate_wait(&r, r.burst, 1.0, 0), 0);
        lb_rate_charge(&r, r.burst, 0);
        CHECK_EQ(lb_rate_free(&r, 0), 0);
        lb_ns wait = lb_rate_wait(&r, 1, 1.0, 0);
        CHECK(wait > 0 && lb_rate_wait(&r, 1, 1.0, wait) == 0);
        CHECK(wait == 1 || lb_rate_wait(&r, 1, 1.0, wait - 1) == 1);
    }
}

static void
limits_out_of_range_are_refused(void)
{
    lb_rate r;
    CHECK_EQ(lb_rate_init(&r, 0, MIN, 0), LB_EINVAL);
    CHECK_EQ(lb_rate_init(&r, 10, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_rate_init(&r, 10, MIN, -1), LB_EINVAL);
    CHECK_EQ(lb_rate_init(&r, 1, 30 * DAY, 0), LB_OK);
    CHECK_EQ(lb_rate_init(&r, 1, 30 * DAY + 1, 0), LB_EINVAL);
    CHECK_EQ(lb_rate_init(&r, 1, 30 * DAY, 365), LB_OK);
    CHECK_EQ(lb_rate_init(&r, 1, 30 * DAY, 366), LB_EINVAL);
    CHECK_EQ(lb_rate_init(&r, INT64_MAX, SEC, 0), LB_OK);
    CHECK_EQ(lb_rate_init(&r, INT64_C(1) << 50, MIN, 0), LB_OK);
}

/* A token bucket by its definition: tokens and a stamp, tokens kept in
 * 1/window of a unit so that nothing is ever rounded. */
__extension__ typedef __int128 wide;

typedef struct bucket {
    wide tokens, cap, limit, window;
    lb_ns stamp;
} bucket;

static void
bucket_refill(bucket *b, lb_ns now)
{
    b->tokens += (now - b->stamp) * b->limit;
    if (b->tokens > b->cap)
        b->tokens = b->cap;
    b->stamp = now;
}

static lb_ns
bucket_wait(const bucket *b, int64_t units)
{
    wide lack = units * b->window - b->tokens;
    return lack <= 0 ? 0 : (lb_ns)((lack + b->limit - 1) / b->limit);
}

static void
bucket_charge(bucket *b, int64_t units)
{
    b->tokens -= units * b->window;
    if (b->tokens > b->cap)
        b->tokens = b->cap;
}

/* Random operations on both; `drift` counts what rounding may make them part. */
static void
walk(lb_rng *rng, int64_t limit, lb_ns window, int64_t burst, bool exact)
{
    lb_rate r;
    CHECK_EQ(lb_rate_init(&r, limit, window, burst), LB_OK);
    bucket b = {(wide)burst * window, (wide)burst * window, limit, window, 0};
    lb_ns now = 0, drift = 0;
    for (int step = 0; step < 400; step++) {
        now += (lb_ns)(lb_rng_unit(rng) * 0.2 * (double)window * (double)burst /
                       (double)limit);
        bucket_refill(&b, now);
        int64_t units = (int64_t)lb_rng_below(rng, (uint32_t)burst + 1);
        lb_ns want = bucket_wait(&b, units), got = lb_rate_wait(&r, units, 1.0, now);
        if (units == 0)
            CHECK_EQ(got, 0);
        else if (exact)
            CHECK_EQ(got, want);
        else
            CHECK(got >= want && got <= want + 1 + drift / 4096);
        if (exact && b.tokens >= 0)
            CHECK_EQ(lb_rate_free(&r, now), (int64_t)(b.tokens / window));
        uint32_t kind = lb_rng_below(rng, 8);
        if (kind == 0) /* settled for less */
            units = -units;
        else if (kind > 1 && got > 0) /* refused; kind 1 spends all the same */
            units = 0;
        lb_rate_charge(&r, units, now);
        bucket_charge(&b, units);
        drift += units > 0 ? units : 0;
    }
}

static void
it_equals_an_exact_token_bucket_in_every_step(void)
{
    lb_rng rng = {7};
    static const int64_t even[] = {1, 2, 60, 96, 125, 4096, 30000, 2000000};
    for (int round = 0; round < 40; round++)
        for (int i = 0; i < 8; i++) /* a unit is a whole number of 1/4096 ns */
            walk(&rng, even[i], MIN, 1 + (int64_t)lb_rng_below(&rng, 5000), true);
    for (int round = 0; round < 400; round++)
        walk(&rng, 1 + (int64_t)lb_rng_below(&rng, 4000000), MIN,
             1 + (int64_t)lb_rng_below(&rng, 5000), false);
}

static void
debts_without_bound_stop_at_the_end_of_time(void)
{
    lb_rate r;
    lb_rate_init(&r, 1, 30 * DAY, 0);
    for (int i = 0; i < 5; i++)
        lb_rate_charge(&r, INT64_MAX, DAY);
    CHECK(lb_rate_wait(&r, 1, 1.0, DAY) > 100 * 365 * DAY);
    CHECK_EQ(lb_rate_free(&r, DAY), 0);
    CHECK_EQ(lb_rate_resize(&r, 10, MIN, 0, DAY), LB_OK);
    CHECK_EQ(lb_rate_free(&r, DAY), 0);
    lb_rate_charge(&r, INT64_MIN, DAY);
    CHECK_EQ(lb_rate_free(&r, DAY), 10);
    lb_rate_init(&r, INT64_C(1) << 47, SEC, 0); /* so cheap that debts count > 2^63 */
    for (int i = 0; i < 3; i++)
        lb_rate_charge(&r, INT64_MAX, 0);
    CHECK_EQ(lb_rate_resize(&r, 1000, MIN, 0, 0), LB_OK);
    CHECK_EQ(lb_rate_free(&r, 0), 0);
}

static void
a_resize_keeps_what_is_spent_in_units(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_rate_charge(&r, 300, 0);
    CHECK_EQ(lb_rate_resize(&r, 500, MIN, 0, 0), LB_OK);
    CHECK_EQ(lb_rate_free(&r, 0), 200);
    CHECK_EQ(lb_rate_resize(&r, 86400, DAY, 1000, 0), LB_OK);
    CHECK_EQ(lb_rate_free(&r, 0), 700);
    CHECK_EQ(lb_rate_wait(&r, 701, 1.0, 0), SEC);
    lb_rate before = r;
    CHECK_EQ(lb_rate_resize(&r, -1, DAY, 0, 0), LB_EINVAL);
    CHECK(before.unit_q12 == r.unit_q12 && before.full_at == r.full_at);
}

static void
the_window_is_read_from_recorded_headers(void)
{
    static const struct {
        int64_t limit, remaining;
        lb_ns reset_ms, window_s;
    } rows[] = {
        {5000, 4999, 12, 0}, /* below 20 ms: cannot tell */
        {800000, 795890, 308, 60},
        {10000, 9524, 4105745, 86400},
        {200, 199, 432000, 86400},
        {100000, 88447, 299439057, 2592000},
        {14400, 14399, 6000, 86400},
        {14400, 14397, 17400, 86400},
        {30000, 29987, 26, 60},
        {100, 50, 500, 1},
        {100, 50, 1800000, 3600},
        {100, 50, 7000, 0},     /* 14 s: no window of anybody */
        {5000, 5000, 0, 0},     /* nothing spent */
        {5000, 5000, 60000, 0}, /* nothing spent, fixed window */
        {5000, -1, 60000, 0},   /* not said */
        {-1, 10, 60000, 0},
        {100, 50, -1, 0},
    };
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        lb_reading h = {rows[i].limit, rows[i].remaining,
                        rows[i].reset_ms < 0 ? -1 : rows[i].reset_ms * LB_NS_PER_MS,
                        -1};
        CHECK_EQ(lb_reading_window(&h), rows[i].window_s * SEC);
    }
    lb_reading named = {100, 50, -1, 10 * SEC};
    CHECK_EQ(lb_reading_window(&named), 10 * SEC);
}

static void
a_header_corrects_the_local_view_both_ways(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_rate_charge(&r, 500, SEC);
    lb_reading h = {1000, 900, 6 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, 1, r.charged, SEC, SEC));
    CHECK_EQ(lb_rate_free(&r, SEC), 900);
    h = (lb_reading){1000, 100, 54 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, 2, r.charged, SEC, SEC));
    CHECK_EQ(lb_rate_free(&r, SEC), 100);
    h = (lb_reading){1000, 100, 54 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, 3, r.charged, SEC, 31 * SEC));
    CHECK_EQ(lb_rate_free(&r, 31 * SEC), 600);
}

static void
charges_after_the_header_was_written_are_not_forgotten(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_rate_charge(&r, 100, 0);
    int64_t mark = r.charged;
    lb_rate_charge(&r, 300, 0);
    lb_reading h = {1000, 950, 3 * SEC, MIN};
    CHECK(lb_rate_sync(&r, &h, 9, mark, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 650);
    lb_rate_charge(&r, -300, 0); /* refunds count as well */
    CHECK(lb_rate_sync(&r, &h, 10, mark + 20, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 970);
    CHECK(lb_rate_sync(&r, &h, 11, mark + 200, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 1000);
}

static void
an_old_header_moves_the_view_only_into_what_is_possible(void)
{
    lb_rate r;
    lb_rate_init(&r, 60, MIN, 0);
    lb_rate_charge(&r, 10, 0);
    int64_t mark = r.charged;
    lb_rate_charge(&r, 20, 50 * SEC);
    lb_reading h = {60, 50, 10 * SEC, MIN};
    CHECK(lb_rate_sync(&r, &h, 1, mark, 0, 50 * SEC)); /* within 0..20: kept */
    CHECK_EQ(lb_rate_free(&r, 50 * SEC), 40);
    h = (lb_reading){60, 0, 60 * SEC, MIN}; /* others had spent it all */
    CHECK(lb_rate_sync(&r, &h, 2, mark, 0, 50 * SEC));
    CHECK_EQ(lb_rate_free(&r, 50 * SEC), 30);
}

static void
older_readings_are_ignored_even_when_serials_wrap(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_reading h = {1000, 900, 6 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, UINT32_MAX, 0, 0, 0));
    CHECK(!lb_rate_sync(&r, &h, UINT32_MAX, 0, 0, 0));
    CHECK(!lb_rate_sync(&r, &h, UINT32_MAX - 1, 0, 0, 0));
    CHECK(lb_rate_sync(&r, &h, 3, 0, 0, 0));
}

static void
readings_of_another_window_or_without_news_are_ignored(void)
{
    static const lb_reading bad[] = {
        {1000, 900, 8640 * LB_NS_PER_S, -1},       /* a day */
        {1000, 900, 6 * LB_NS_PER_S, LB_NS_PER_S}, /* named otherwise */
        {1000, 900, 6 * LB_NS_PER_S, 3600 * LB_NS_PER_S},
        {1000, 1000, 0, -1}, /* nothing spent */
        {1000, 1000, 0, 60 * LB_NS_PER_S},
        {1000, -1, 6 * LB_NS_PER_S, -1}, /* which window? */
        {1000, 900, -1, -1},
        {1000, 900, 100 * LB_NS_PER_MS, -1}, /* a fixed window's end */
        {-1, -1, -1, 60 * LB_NS_PER_S},      /* nothing said */
        {2000, -1, 6 * LB_NS_PER_S, 60 * LB_NS_PER_S},
    };
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        lb_rate r;
        lb_rate_init(&r, 1000, MIN, 0);
        lb_rate_charge(&r, 10, 0);
        CHECK(!lb_rate_sync(&r, &bad[i], 1, 10, 0, 0));
        CHECK_EQ(lb_rate_free(&r, 0), 990);
        CHECK_EQ(r.synced, 0);
    }
}

static void
a_named_window_may_say_only_one_of_count_and_reset(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 0);
    lb_reading h = {1000, 400, -1, MIN};
    CHECK(lb_rate_sync(&r, &h, 1, 0, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 400);
    h = (lb_reading){-1, -1, 15 * SEC, MIN};
    CHECK(lb_rate_sync(&r, &h, 2, 0, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 750);
    h = (lb_reading){1000, 0, 5 * SEC, MIN}; /* fixed window, five seconds to go */
    CHECK(lb_rate_sync(&r, &h, 3, 0, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 0);
}

static void
a_lower_limit_is_learned_and_given_back_but_never_passed(void)
{
    lb_rate r;
    lb_rate_init(&r, 1000, MIN, 2000);
    lb_reading h = {500, 400, 12 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, 1, 0, 0, 0));
    CHECK_EQ(r.limit, 500);
    CHECK_EQ(r.burst, 1000);
    CHECK_EQ(lb_rate_free(&r, 0), 900);
    h = (lb_reading){4000, 3990, 150 * LB_NS_PER_MS, -1};
    CHECK(lb_rate_sync(&r, &h, 2, 0, 0, 0));
    CHECK_EQ(r.limit, 1000);
    CHECK_EQ(r.burst, 2000);
    CHECK_EQ(lb_rate_free(&r, 0), 1900); /* theirs is larger: nothing given back */
    h = (lb_reading){4000, 40, 59400 * LB_NS_PER_MS, -1};
    CHECK(lb_rate_sync(&r, &h, 3, 0, 0, 0));
    CHECK_EQ(lb_rate_free(&r, 0), 40);
    lb_rate_init(&r, 1000, MIN, 1);
    h = (lb_reading){100, 90, 6 * SEC, -1};
    CHECK(lb_rate_sync(&r, &h, 4, 0, 0, 0));
    CHECK_EQ(r.burst, 1);
}

static void
absurd_headers_do_no_harm(void)
{
    static const int64_t odd[] = {-1, 0, 1, 2, 1000, INT64_C(1) << 40, INT64_MAX};
    for (int i = 0; i < 7 * 7 * 7 * 7; i++) {
        lb_rate r;
        lb_rate_init(&r, 1000, MIN, 2000);
        r.ceiling = INT64_MAX;
        lb_reading h = {odd[i % 7], odd[i / 7 % 7], odd[i / 49 % 7], odd[i / 343]};
        (void)lb_reading_window(&h);
        (void)lb_rate_sync(&r, &h, 1, INT64_MIN, 0, SEC);
        h.window = MIN;
        (void)lb_rate_sync(&r, &h, 2, INT64_MAX, SEC, 0);
        CHECK(r.limit > 0 && r.burst > 0 && r.unit_q12 > 0);
        CHECK(lb_rate_wait(&r, 1, 1.0, SEC) >= 0);
        CHECK(lb_rate_free(&r, SEC) >= 0 && lb_rate_free(&r, SEC) <= r.burst);
    }
}

static void
synchronising_never_moves_away_from_the_truth(void)
{
    lb_rng rng = {11};
    for (int round = 0; round < 2000; round++) {
        lb_rate local, truth;
        lb_rate_init(&local, 600, MIN, 0);
        lb_rate_init(&truth, 600, MIN, 0);
        lb_rate_charge(&truth, 1 + (int64_t)lb_rng_below(&rng, 600), 0);
        lb_rate_charge(&local, (int64_t)lb_rng_below(&rng, 900), 0);
        int64_t mark = local.charged, remaining = lb_rate_free(&truth, 0);
        lb_reading h = {600, remaining, truth.full_at, MIN};
        lb_ns now = 0;
        for (int i = (int)lb_rng_below(&rng, 6); i > 0; i--) {
            now += (lb_ns)(lb_rng_unit(&rng) * 2e10);
            int64_t units = (int64_t)lb_rng_below(&rng, 200);
            lb_rate_charge(&local, units, now);
            lb_rate_charge(&truth, units, now);
        }
        now += (lb_ns)(lb_rng_unit(&rng) * 2e10);
        double want = lb_rate_used(&truth, now), before = lb_rate_used(&local, now);
        CHECK(lb_rate_sync(&local, &h, 1, mark, 0, now));
        CHECK(fabs(lb_rate_used(&local, now) - want) <= fabs(before - want) + 1e-12);
    }
}

static void
a_refusal_admits_nothing_for_the_asked_time(void)
{
    lb_rate r;
    lb_rate_init(&r, 60, MIN, 0);
    lb_rate_block(&r, 20 * SEC, SEC);
    CHECK_EQ(lb_rate_wait(&r, 1, 1.0, SEC), 20 * SEC);
    CHECK_EQ(lb_rate_free(&r, 21 * SEC - 1), 0);
    CHECK_EQ(lb_rate_free(&r, 21 * SEC), 1);
    lb_rate_block(&r, 2 * SEC, SEC);
    CHECK_EQ(lb_rate_wait(&r, 1, 1.0, SEC), 20 * SEC);
    lb_rate_block(&r, LB_FOREVER, SEC);
    CHECK(lb_rate_wait(&r, 1, 1.0, SEC) > 36500 * DAY);
}

int
main(void)
{
    CHECK_RUN(whole_burst_is_free_at_once_then_refills_evenly);
    CHECK_RUN(the_published_table_of_other_limiters_is_reproduced);
    CHECK_RUN(more_than_the_burst_never_fits);
    CHECK_RUN(a_share_holds_the_rest_back_but_always_leaves_one_unit);
    CHECK_RUN(nothing_asked_always_fits);
    CHECK_RUN(all_zero_is_no_limit_but_still_counts);
    CHECK_RUN(a_wrong_estimate_is_corrected_both_ways);
    CHECK_RUN(the_whole_burst_fits_whatever_the_rounding);
    CHECK_RUN(limits_out_of_range_are_refused);
    CHECK_RUN(it_equals_an_exact_token_bucket_in_every_step);
    CHECK_RUN(debts_without_bound_stop_at_the_end_of_time);
    CHECK_RUN(a_resize_keeps_what_is_spent_in_units);
    CHECK_RUN(the_window_is_read_from_recorded_headers);
    CHECK_RUN(a_header_corrects_the_local_view_both_ways);
    CHECK_RUN(charges_after_the_header_was_written_are_not_forgotten);
    CHECK_RUN(an_old_header_moves_the_view_only_into_what_is_possible);
    CHECK_RUN(older_readings_are_ignored_even_when_serials_wrap);
    CHECK_RUN(readings_of_another_window_or_without_news_are_ignored);
    CHECK_RUN(a_named_window_may_say_only_one_of_count_and_reset);
    CHECK_RUN(a_lower_limit_is_learned_and_given_back_but_never_passed);
    CHECK_RUN(absurd_headers_do_no_harm);
    CHECK_RUN(synchronising_never_moves_away_from_the_truth);
    CHECK_RUN(a_refusal_admits_nothing_for_the_asked_time);
    return CHECK_DONE();
}

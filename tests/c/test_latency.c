#include "check.h"
#include "lb_latency.h"
#include "lb_rng.h"

#include <math.h>

static const lb_ns SEC = LB_NS_PER_S;
static const lb_latency_prior prior = {0.5F, 0.02F};

static bool
near(double got, double want, double relative)
{
    return fabs(got - want) <= relative * fabs(want) + 1e-9;
}

/* One call's way: what is expected without asking whether the backend stalls. */
static double
expect(const lb_latency *l, int64_t input, int64_t output, lb_ns now)
{
    bool stalls;
    return lb_latency_expect(l, &prior, input, output, now, &stalls);
}

static bool
stalls(const lb_latency *l, lb_ns now)
{
    bool it;
    (void)lb_latency_expect(l, &prior, 100, 100, now, &it);
    return it;
}

/* An answer that was made with `load` calls in flight. */
static void
answer(lb_latency *l, int64_t input, int64_t output, double ttft, double total,
       double load, lb_ns now)
{
    lb_answer a = {input, output, ttft, total, load};
    lb_latency_learn(l, &prior, &a, now);
}

/* The same while nothing else was in flight. */
static void
learn(lb_latency *l, int64_t input, int64_t output, double ttft, double total,
      lb_ns now)
{
    answer(l, input, output, ttft, total, 1, now);
}

/* Learn `n` answers of a backend that obeys ttft = a + b * input, itl = c. */
static lb_latency
taught(int n, double a, double b, double c)
{
    lb_latency l = {0};
    for (int i = 0; i < n; i++) {
        int64_t input = 100 + 937 * i % 4000, output = 50 + 31 * i % 200;
        double ttft = a + b * (double)input;
        learn(&l, input, output, ttft, ttft + c * (double)(output - 1), SEC);
    }
    return l;
}

static void
the_prior_answers_for_a_backend_nobody_has_called(void)
{
    lb_latency l = {0};
    CHECK(near(lb_latency_ttft(&l, &prior, 5000, SEC), 0.5, 1e-6));
    CHECK(near(expect(&l, 5000, 100, SEC), 2.5, 1e-6));
}

static void
a_line_in_the_input_tokens_is_found(void)
{
    lb_latency l = taught(40, 0.3, 0.0002, 0.015);
    CHECK(near(lb_latency_ttft(&l, &prior, 500, SEC), 0.4, 0.05));
    CHECK(near(lb_latency_ttft(&l, &prior, 4000, SEC), 1.1, 0.02));
    CHECK(near(expect(&l, 500, 200, SEC), 3.4, 0.02));
}

static void
inputs_that_hardly_differ_give_no_slope(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++)
        learn(&l, 1000 + i % 2, 10, 0.5 + 0.2 * (i % 2), 1.0, SEC);
    CHECK(near(lb_latency_ttft(&l, &prior, 10000, SEC), 0.6, 0.1));
}

static void
longer_inputs_are_never_expected_to_be_faster(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++)
        learn(&l, 1000 * (i % 4), 10, 2.0 - 0.5 * (i % 4), 3.0, SEC);
    CHECK(l.slope == 0.0F);
    CHECK(lb_latency_ttft(&l, &prior, 100000, SEC) > 0.9);
}

static void
no_line_promises_an_answer_before_a_millisecond(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++) {
        int64_t input = 10000 + 1000 * (i % 5);
        learn(&l, input, 10, 0.001 * (double)(input - 9999), 9.0, SEC);
    }
    CHECK(lb_latency_ttft(&l, &prior, 0, SEC) == (double)1e-3F);
}

/* Until loads have differed: with one more in flight everything takes twice as long. */
static void
calls_in_flight_count_at_the_moment_of_choice(void)
{
    lb_latency l = taught(40, 0.3, 0, 0.02), new = {0};
    double idle = expect(&l, 100, 100, SEC);
    CHECK(near(idle, 2.3, 0.01));
    lb_latency_start(&l, 500, SEC);
    CHECK(near(expect(&l, 100, 100, SEC), 4.6, 0.01));
    lb_latency_start(&new, 500, SEC);
    CHECK(near(expect(&new, 100, 100, SEC), 5.0, 1e-6));
    lb_latency_end(&l, 500, SEC, SEC);
    CHECK(near(expect(&l, 100, 100, SEC), idle, 1e-9));
    CHECK_EQ(l.calls, 0);
    CHECK_EQ(l.tokens, 0);
    CHECK(l.starts == 0);
}

/* The area under the calls in flight: 2 for 3 s, then 1 for 2 s, then 0. */
static void
the_mean_load_of_a_call_is_the_area_over_its_time(void)
{
    lb_latency l = {0};
    lb_ns late = INT64_MAX - 100 * SEC; /* the sums wrap, their difference does not */
    uint64_t start = lb_latency_area(&l, late);
    lb_latency_start(&l, 1, late);
    lb_latency_start(&l, 1, late);
    CHECK(lb_latency_area(&l, late + SEC) - start == 2 * (uint64_t)SEC);
    lb_latency_end(&l, 1, late, late + 3 * SEC);
    CHECK(lb_latency_area(&l, late + 3 * SEC) - start == 6 * (uint64_t)SEC);
    lb_latency_end(&l, 1, late, late + 5 * SEC);
    CHECK(lb_latency_area(&l, late + 9 * SEC) - start == 8 * (uint64_t)SEC);
}

/* Answers of a host of which each call takes alone + crowd * calls seconds. */
static lb_latency
crowded(double alone, double crowd, double mean, double noise)
{
    lb_latency l = {0};
    lb_rng rng = {11};
    for (int i = 0; i < 400; i++) {
        double load = 1 + (mean - 1) * 2 * lb_rng_unit(&rng);
        double total = (alone + crowd * load) * (1 + noise * (lb_rng_unit(&rng) - 0.5));
        answer(&l, 100, 101, total / 5, total, load, SEC);
    }
    return l;
}

static void
what_one_call_costs_the_others_is_found(void)
{
    static const double cases[][2] = {
        {3.0, 0.03}, {1.0, 0.2}, {0.01, 0.4}, {2.0, 0.1}, {0.001, 0.0002}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double alone = cases[c][0], crowd = cases[c][1];
        lb_latency l = crowded(alone, crowd, 20, 0.1);
        for (int n = 5; n < 35; n++) {
            l.calls = n;
            l.starts = (uint64_t)n * (uint64_t)SEC;
            CHECK(near(expect(&l, 100, 100, SEC), alone + crowd * (n + 1), 0.15));
        }
    }
}

/* A hundredth for each call is as much as is said of a host that does not mind. */
static void
a_host_that_does_not_mind_is_nearly_as_fast_when_full(void)
{
    lb_latency l = crowded(2, 0, 20, 0.1);
    double idle = expect(&l, 100, 100, SEC);
    for (int n = 0; n < 20; n++)
        lb_latency_start(&l, 1, SEC);
    double full = expect(&l, 100, 100, SEC);
    CHECK(full > 1.1 * idle && full < 1.4 * idle);
    CHECK(near(full, 2, 0.1));
}

static void
more_than_proportionally_slower_is_taken_as_proportionally(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 400; i++) {
        double load = 5 + i % 11;
        answer(&l, 100, 101, 0.1, 0.1 + (load - 4) * (load - 4), load, SEC);
    }
    CHECK(near((double)l.steep, 1 / (double)l.load, 1e-6));
    CHECK(expect(&l, 100, 1000, SEC) > 0);
}

static void
loads_that_hardly_differ_leave_the_machine_shared(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 400; i++) /* slower by chance when there were fewer */
        answer(&l, 100, 101, 0.5, 2.5 - 0.1 * (i % 2), 10 + 0.1 * (i % 2), SEC);
    CHECK(near((double)l.steep, 0.1, 0.2));
}

/* One call of a hundred takes a thousand times as long, whatever the load. */
static void
a_heavy_tail_is_not_taken_for_the_load(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 400; i++)
        answer(&l, 100, 101, 0.5, i % 100 == 99 ? 2500 : 2.5, 10 + i % 10, SEC);
    CHECK((double)l.nk < 0.5 && (double)l.nk > -0.5);
}

static void
an_idle_backend_drifts_to_the_prior_and_never_to_the_best(void)
{
    for (int fast = 0; fast < 2; fast++) {
        lb_latency l = taught(40, fast ? 0.1 : 5.0, 0, fast ? 0.001 : 0.2);
        double before = expect(&l, 100, 100, SEC);
        for (int minute = 1; minute <= 12; minute++) {
            lb_ns now = SEC + minute * 60 * SEC;
            double after = expect(&l, 100, 100, now);
            CHECK(minute > 10 || (fast ? after > before : after < before));
            before = after;
        }
        CHECK(near(before, 2.5, 1e-6));
    }
}

static void
after_a_long_pause_one_sample_is_believed_at_once(void)
{
    lb_latency l = taught(40, 5.0, 0, 0.2);
    lb_ns later = 700 * SEC;
    learn(&l, 100, 101, 0.2, 1.2, later);
    CHECK(near(expect(&l, 100, 100, later), 1.2, 0.01));
}

static void
unary_answers_are_split_as_the_prior_would_split_them(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 30; i++)
        learn(&l, 100, 101, 0, 5.0, SEC);
    CHECK(near(lb_latency_ttft(&l, &prior, 100, SEC), 1.0, 1e-5));
    CHECK(near((double)l.itl, 0.04, 1e-5));
    lb_latency one = {0};
    learn(&one, 100, 0, 0, 2.0, SEC);
    CHECK(near(lb_latency_ttft(&one, &prior, 100, SEC), 2.0, 1e-6));
}

static void
answers_of_one_token_leave_the_pace_unknown(void)
{
    lb_latency l = {0};
    learn(&l, 100, 1, 0.3, 0.3, SEC);
    learn(&l, 100, 40, 0.3, 0.3, SEC);
    CHECK(l.itl == 0.0F);
    CHECK(near(expect(&l, 100, 100, SEC), 2.3, 1e-5));
}

static void
hanging_calls_make_it_look_slower_the_longer_they_hang(void)
{
    lb_latency l = taught(40, 0.5, 0, 0.02);
    double e2e = (double)l.seconds;
    for (int i = 0; i < 3; i++)
        lb_latency_start(&l, 100, 10 * SEC);
    double calm = expect(&l, 100, 100, 11 * SEC);
    double limit = 2.5 * (e2e > 2.5 ? e2e : 2.5);
    lb_ns edge = 10 * SEC + (lb_ns)(limit * 1e9);
    CHECK(near(expect(&l, 100, 100, edge - SEC), calm, 0.02));
    double ten = expect(&l, 100, 100, edge + 10 * SEC);
    CHECK(near(ten - calm, 40.0, 0.03)); /* 10 s for each of three and the newcomer */
    CHECK(expect(&l, 100, 100, edge + 20 * SEC) > ten + 35);
    CHECK(!stalls(&l, edge - SEC) && stalls(&l, edge + SEC));
    lb_latency_end(&l, 100, 10 * SEC, edge);
    CHECK(!stalls(&l, edge + 20 * SEC)); /* two slow ones may just be long */
}

static void
sums_of_start_times_survive_a_late_clock(void)
{
    lb_latency l = {0};
    lb_ns late = INT64_MAX - 100 * SEC;
    for (int i = 0; i < 1000; i++)
        lb_latency_start(&l, 10, late + i);
    CHECK(near(expect(&l, 0, 0, late + SEC), 500.5, 1e-6)); /* 1001 times 0.5 */
    CHECK(expect(&l, 0, 0, late + 99 * SEC) > 600);
    for (int i = 0; i < 1000; i++)
        lb_latency_end(&l, 10, late + i, late + SEC);
    CHECK(l.starts == 0);
}

static void
the_trend_tells_getting_slower_from_getting_faster(void)
{
    lb_latency l = {0};
    lb_ns now = SEC;
    CHECK(lb_latency_slowing(&l, now) == 0);
    for (int i = 0; i < 60; i++)
        learn(&l, 100, 10, 0.5, 1.0 + 0.1 * i, now);
    CHECK(l.trend > 0.1F);
    CHECK(lb_latency_slowing(&l, now) == (double)l.trend);
    double half = lb_latency_slowing(&l, now + 300 * SEC);
    CHECK(fabs(half - 0.5 * (double)l.trend) < 1e-6);
    CHECK(lb_latency_slowing(&l, now + 601 * SEC) == 0);
    for (int i = 0; i < 60; i++)
        learn(&l, 100, 10, 0.5, 6.0 - 0.09 * i, now);
    CHECK(l.trend < -0.1F);
    CHECK(lb_latency_slowing(&l, now) == 0);
    l.samples = INT32_MAX;
    learn(&l, 100, 10, 0.5, 1.0, SEC);
    CHECK_EQ(l.samples, INT32_MAX);
}

/* Answers of 10 and of 1,000 tokens by turns take 0.6 and 20.5 s: no trend. */
static void
long_answers_after_short_ones_are_no_trend(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 400; i++) {
        int64_t output = i % 2 == 0 ? 11 : 1001;
        learn(&l, 100, output, 0.5, 0.5 + 0.02 * (double)(output - 1), SEC);
    }
    CHECK(fabs((double)l.trend) < 0.01);
}

/* All samples are kept with their weights; the line is fitted anew each time. */
static void
it_equals_a_weighted_least_squares_fit_of_all_samples(void)
{
    enum { N = 200 };
    double x[N], y[N], w[N];
    lb_rng rng = {3};
    for (int run = 0; run < 50; run++) {
        lb_latency l = {0};
        for (int n = 0; n < N; n++) {
            double share = n < 10 ? 1.0 / (n + 1) : 0.1;
            int64_t input = (int64_t)lb_rng_below(&rng, 8000);
            x[n] = (double)input / 1000;
            y[n] = 0.2 + 0.1 * x[n] + 0.3 * lb_rng_unit(&rng);
            for (int i = 0; i < n; i++)
                w[i] *= 1 - share;
            w[n] = share;
            learn(&l, input, 10, y[n], 20.0, SEC);
            double mx = 0, my = 0, xx = 0, xy = 0;
            for (int i = 0; i <= n; i++) {
                mx += w[i] * x[i];
                my += w[i] * y[i];
            }
            for (int i = 0; i <= n; i++) {
                xx += w[i] * (x[i] - mx) * (x[i] - mx);
                xy += w[i] * (x[i] - mx) * (y[i] - my);
            }
            double slope = xy > 0 ? xy / (xx + 0.01 * (1 + mx * mx)) : 0;
            double want = my + slope * (3.0 - mx);
            CHECK(fabs(lb_latency_ttft(&l, &prior, 3000, SEC) - want) < 1e-4);
        }
    }
}

int
main(void)
{
    CHECK_RUN(the_prior_answers_for_a_backend_nobody_has_called);
    CHECK_RUN(a_line_in_the_input_tokens_is_found);
    CHECK_RUN(inputs_that_hardly_differ_give_no_slope);
    CHECK_RUN(longer_inputs_are_never_expected_to_be_faster);
    CHECK_RUN(no_line_promises_an_answer_before_a_millisecond);
    CHECK_RUN(calls_in_flight_count_at_the_moment_of_choice);
    CHECK_RUN(the_mean_load_of_a_call_is_the_area_over_its_time);
    CHECK_RUN(what_one_call_costs_the_others_is_found);
    CHECK_RUN(a_host_that_does_not_mind_is_nearly_as_fast_when_full);
    CHECK_RUN(more_than_proportionally_slower_is_taken_as_proportionally);
    CHECK_RUN(loads_that_hardly_differ_leave_the_machine_shared);
    CHECK_RUN(a_heavy_tail_is_not_taken_for_the_load);
    CHECK_RUN(an_idle_backend_drifts_to_the_prior_and_never_to_the_best);
    CHECK_RUN(after_a_long_pause_one_sample_is_believed_at_once);
    CHECK_RUN(unary_answers_are_split_as_the_prior_would_split_them);
    CHECK_RUN(answers_of_one_token_leave_the_pace_unknown);
    CHECK_RUN(hanging_calls_make_it_look_slower_the_longer_they_hang);
    CHECK_RUN(sums_of_start_times_survive_a_late_clock);
    CHECK_RUN(the_trend_tells_getting_slower_from_getting_faster);
    CHECK_RUN(long_answers_after_short_ones_are_no_trend);
    CHECK_RUN(it_equals_a_weighted_least_squares_fit_of_all_samples);
    return CHECK_DONE();
}

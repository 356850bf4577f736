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

/* Learn `n` answers of a backend that obeys ttft = a + b * input, itl = c. */
static lb_latency
taught(int n, double a, double b, double c)
{
    lb_latency l = {0};
    for (int i = 0; i < n; i++) {
        int64_t input = 100 + 937 * i % 4000, output = 50 + 31 * i % 200;
        double ttft = a + b * (double)input;
        lb_latency_learn(&l, &prior, input, output, ttft,
                         ttft + c * (double)(output - 1), SEC);
    }
    return l;
}

static void
the_prior_answers_for_a_backend_nobody_has_called(void)
{
    lb_latency l = {0};
    CHECK(near(lb_latency_ttft(&l, &prior, 5000, SEC), 0.5, 1e-6));
    CHECK(near(lb_latency_expect(&l, &prior, 5000, 100, SEC), 2.5, 1e-6));
}

static void
a_line_in_the_input_tokens_is_found(void)
{
    lb_latency l = taught(40, 0.3, 0.0002, 0.015);
    CHECK(near(lb_latency_ttft(&l, &prior, 500, SEC), 0.4, 0.05));
    CHECK(near(lb_latency_ttft(&l, &prior, 4000, SEC), 1.1, 0.02));
    CHECK(near(lb_latency_expect(&l, &prior, 500, 200, SEC), 3.4, 0.02));
}

static void
inputs_that_hardly_differ_give_no_slope(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++)
        lb_latency_learn(&l, &prior, 1000 + i % 2, 10, 0.5 + 0.2 * (i % 2), 1.0, SEC);
    CHECK(near(lb_latency_ttft(&l, &prior, 10000, SEC), 0.6, 0.1));
}

static void
longer_inputs_are_never_expected_to_be_faster(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++)
        lb_latency_learn(&l, &prior, 1000 * (i % 4), 10, 2.0 - 0.5 * (i % 4), 3.0, SEC);
    CHECK(l.slope == 0.0F);
    CHECK(lb_latency_ttft(&l, &prior, 100000, SEC) > 0.9);
}

static void
no_line_promises_an_answer_before_a_millisecond(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 50; i++) {
        int64_t input = 10000 + 1000 * (i % 5);
        lb_latency_learn(&l, &prior, input, 10, 0.001 * (double)(input - 9999), 9.0,
                         SEC);
    }
    CHECK(lb_latency_ttft(&l, &prior, 0, SEC) == 1e-3);
}

static void
tokens_in_flight_count_at_the_moment_of_choice(void)
{
    lb_latency l = taught(40, 0.3, 0, 0.02);
    double idle = lb_latency_expect(&l, &prior, 100, 100, SEC);
    lb_latency_start(&l, 500, SEC);
    CHECK(near(lb_latency_expect(&l, &prior, 100, 100, SEC) - idle, 10.0, 0.01));
    lb_latency_end(&l, 500, SEC);
    CHECK(near(lb_latency_expect(&l, &prior, 100, 100, SEC), idle, 1e-9));
    CHECK_EQ(l.calls, 0);
    CHECK_EQ(l.tokens, 0);
    CHECK(l.starts == 0);
}

static void
an_idle_backend_drifts_to_the_prior_and_never_to_the_best(void)
{
    for (int fast = 0; fast < 2; fast++) {
        lb_latency l = taught(40, fast ? 0.1 : 5.0, 0, fast ? 0.001 : 0.2);
        double before = lb_latency_expect(&l, &prior, 100, 100, SEC);
        for (int minute = 1; minute <= 12; minute++) {
            lb_ns now = SEC + minute * 60 * SEC;
            double after = lb_latency_expect(&l, &prior, 100, 100, now);
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
    lb_latency_learn(&l, &prior, 100, 101, 0.2, 1.2, later);
    CHECK(near(lb_latency_expect(&l, &prior, 100, 100, later), 1.2, 0.01));
}

static void
unary_answers_are_split_as_the_prior_would_split_them(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 30; i++)
        lb_latency_learn(&l, &prior, 100, 101, 0, 5.0, SEC);
    CHECK(near(lb_latency_ttft(&l, &prior, 100, SEC), 1.0, 1e-5));
    CHECK(near((double)l.itl, 0.04, 1e-5));
    lb_latency one = {0};
    lb_latency_learn(&one, &prior, 100, 0, 0, 2.0, SEC);
    CHECK(near(lb_latency_ttft(&one, &prior, 100, SEC), 2.0, 1e-6));
}

static void
answers_of_one_token_leave_the_pace_unknown(void)
{
    lb_latency l = {0};
    lb_latency_learn(&l, &prior, 100, 1, 0.3, 0.3, SEC);
    lb_latency_learn(&l, &prior, 100, 40, 0.3, 0.3, SEC);
    CHECK(l.itl == 0.0F);
    CHECK(near(lb_latency_expect(&l, &prior, 100, 100, SEC), 2.3, 1e-5));
}

static void
hanging_calls_make_it_look_slower_the_longer_they_hang(void)
{
    lb_latency l = taught(40, 0.5, 0, 0.02);
    double e2e = (double)l.seconds;
    for (int i = 0; i < 3; i++)
        lb_latency_start(&l, 100, 10 * SEC);
    double calm = lb_latency_expect(&l, &prior, 100, 100, 11 * SEC);
    double limit = 2.5 * (e2e > 2.5 ? e2e : 2.5);
    lb_ns edge = 10 * SEC + (lb_ns)(limit * 1e9);
    CHECK(near(lb_latency_expect(&l, &prior, 100, 100, edge - SEC), calm, 0.02));
    double ten = lb_latency_expect(&l, &prior, 100, 100, edge + 10 * SEC);
    CHECK(near(ten - calm, 40.0, 0.03)); /* 10 s for each of three and the newcomer */
    CHECK(lb_latency_expect(&l, &prior, 100, 100, edge + 20 * SEC) > ten + 35);
}

static void
sums_of_start_times_survive_a_late_clock(void)
{
    lb_latency l = {0};
    lb_ns late = INT64_MAX - 100 * SEC;
    for (int i = 0; i < 1000; i++)
        lb_latency_start(&l, 10, late + i);
    CHECK(lb_latency_expect(&l, &prior, 0, 0, late + SEC) < 201);
    CHECK(lb_latency_expect(&l, &prior, 0, 0, late + 99 * SEC) > 300);
    for (int i = 0; i < 1000; i++)
        lb_latency_end(&l, 10, late + i);
    CHECK(l.starts == 0);
}

static void
the_trend_tells_getting_slower_from_getting_faster(void)
{
    lb_latency l = {0};
    for (int i = 0; i < 60; i++)
        lb_latency_learn(&l, &prior, 100, 10, 0.5, 1.0 + 0.1 * i, SEC);
    CHECK(l.trend > 0.5F);
    for (int i = 0; i < 60; i++)
        lb_latency_learn(&l, &prior, 100, 10, 0.5, 6.0 - 0.09 * i, SEC);
    CHECK(l.trend < -0.5F);
    l.samples = INT32_MAX;
    lb_latency_learn(&l, &prior, 100, 10, 0.5, 1.0, SEC);
    CHECK_EQ(l.samples, INT32_MAX);
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
            lb_latency_learn(&l, &prior, input, 10, y[n], 20.0, SEC);
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
    CHECK_RUN(tokens_in_flight_count_at_the_moment_of_choice);
    CHECK_RUN(an_idle_backend_drifts_to_the_prior_and_never_to_the_best);
    CHECK_RUN(after_a_long_pause_one_sample_is_believed_at_once);
    CHECK_RUN(unary_answers_are_split_as_the_prior_would_split_them);
    CHECK_RUN(answers_of_one_token_leave_the_pace_unknown);
    CHECK_RUN(hanging_calls_make_it_look_slower_the_longer_they_hang);
    CHECK_RUN(sums_of_start_times_survive_a_late_clock);
    CHECK_RUN(the_trend_tells_getting_slower_from_getting_faster);
    CHECK_RUN(it_equals_a_weighted_least_squares_fit_of_all_samples);
    return CHECK_DONE();
}

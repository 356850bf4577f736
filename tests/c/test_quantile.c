#include "check.h"
#include "lb_quantile.h"
#include "lb_rng.h"

#include <math.h>
#include <stdlib.h>

static lb_rng rng = {5};

/* Lognormal by the sum of twelve uniforms. */
static double
lognormal(double median, double sigma)
{
    double z = -6;
    for (int i = 0; i < 12; i++)
        z += lb_rng_unit(&rng);
    return median * exp(sigma * z);
}

static void
an_empty_histogram_answers_zero(void)
{
    lb_hist h = {0};
    CHECK(lb_hist_quantile(&h, 0.5) == 0);
}

static void
one_sample_is_every_quantile_within_its_bucket(void)
{
    for (double seconds = 0.00101; seconds < 828; seconds *= 1.017) {
        lb_hist h = {0};
        lb_hist_add(&h, seconds);
        for (double p = 0.01; p < 1; p += 0.14)
            CHECK(fabs(lb_hist_quantile(&h, p) / seconds - 1) < 0.07);
    }
}

static void
samples_out_of_range_go_to_the_outermost_buckets(void)
{
    static const double low[] = {-1, 0, 1e-9, 1e-3};
    for (int i = 0; i < 4; i++) {
        lb_hist h = {0};
        lb_hist_add(&h, low[i]);
        CHECK(h.weight[0] == 1.0F);
    }
    static const double high[] = {1000, 1e9, INFINITY};
    for (int i = 0; i < 3; i++) {
        lb_hist h = {0};
        lb_hist_add(&h, high[i]);
        CHECK(h.weight[LB_HIST_BUCKETS - 1] == 1.0F);
    }
}

enum { SAMPLES = 9000 };

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The p-quantile of samples that weigh 1.002 to the power of their index. */
static double
weighted_quantile(const double *sample, int n, double p)
{
    static double pair[SAMPLES][2];
    double total = 0, below = 0;
    for (int i = 0; i < n; i++) {
        pair[i][0] = sample[i];
        pair[i][1] = pow(1.002, i - n);
        total += pair[i][1];
    }
    qsort(pair, (size_t)n, sizeof pair[0], ascending);
    for (int i = 0; i < n; i++) {
        below += pair[i][1];
        if (below >= p * total)
            return pair[i][0];
    }
    return pair[n - 1][0];
}

static void
it_equals_the_weighted_quantile_of_all_samples_through_shift_and_rescale(void)
{
    static double sample[SAMPLES];
    lb_hist h = {0};
    for (int n = 0; n < SAMPLES; n++) {
        sample[n] = lognormal(n < SAMPLES / 2 ? 1.0 : 3.0, 0.5);
        lb_hist_add(&h, sample[n]);
        if (n % 500 != 499)
            continue;
        for (int p = 50; p < 100; p += 45) {
            double want = weighted_quantile(sample, n + 1, p / 100.0);
            CHECK(fabs(lb_hist_quantile(&h, p / 100.0) / want - 1) < 0.075);
        }
    }
    CHECK(h.unit < 1e6F);
    CHECK(fabs(lb_hist_quantile(&h, 0.5) / 3.0 - 1) < 0.1); /* the shift is forgotten */
}

static void
the_total_is_the_sum_of_the_weights_after_a_million_samples(void)
{
    lb_hist h = {0};
    for (int i = 0; i < 1000000; i++)
        lb_hist_add(&h, 0.1 + lb_rng_unit(&rng));
    float sum = 0;
    for (int i = 0; i < LB_HIST_BUCKETS; i++)
        sum += h.weight[i];
    CHECK(fabsf(sum / h.total - 1) < 1e-3F);
    CHECK(lb_hist_quantile(&h, 0.9999) > 1.0);
}

static void
the_highest_quantile_is_the_highest_bucket_in_use(void)
{
    lb_hist h = {0};
    lb_hist_add(&h, 0.1);
    lb_hist_add(&h, 10);
    CHECK(fabs(lb_hist_quantile(&h, 1 - 1e-12) / 10 - 1) < 0.065);
    h.total *= 1.01F; /* as rounding might leave it */
    CHECK(fabs(lb_hist_quantile(&h, 1 - 1e-12) / 10 - 1) < 0.065);
}

static void
an_empty_track_answers_zero_and_one_sample_itself(void)
{
    lb_track t = {0};
    CHECK(lb_track_value(&t) == 0);
    lb_track_add(&t, 0.8, 250);
    CHECK(fabs(lb_track_value(&t) - 250) < 0.01);
    lb_track odd = {0};
    lb_track_add(&odd, 0.8, -3);
    CHECK(lb_track_value(&odd) == 1);
}

static void
the_track_covers_the_share_it_was_asked_for(void)
{
    static const double shares[] = {0.5, 0.8, 0.95};
    for (int k = 0; k < 3; k++) {
        lb_track t = {0};
        int covered = 0, n = 50000;
        for (int i = 0; i < n; i++) {
            double x = lognormal(i < n / 2 ? 200 : 900, 0.8);
            covered += x <= lb_track_value(&t);
            lb_track_add(&t, shares[k], x);
        }
        CHECK(fabs((double)covered / n - shares[k]) < 0.005);
    }
}

static void
a_track_that_starts_far_off_is_home_within_thirty_samples(void)
{
    lb_track t = {0};
    lb_track_add(&t, 0.8, 1);
    for (int i = 0; i < 30; i++)
        lb_track_add(&t, 0.8, 100);
    CHECK(lb_track_value(&t) > 80 && lb_track_value(&t) < 125);
}

static void
the_count_of_a_track_stops_at_a_million(void)
{
    lb_track t = {0};
    for (int i = 0; i < 1000010; i++)
        lb_track_add(&t, 0.5, 10);
    CHECK(t.seen == 1e6F);
}

int
main(void)
{
    CHECK_RUN(an_empty_histogram_answers_zero);
    CHECK_RUN(one_sample_is_every_quantile_within_its_bucket);
    CHECK_RUN(samples_out_of_range_go_to_the_outermost_buckets);
    CHECK_RUN(it_equals_the_weighted_quantile_of_all_samples_through_shift_and_rescale);
    CHECK_RUN(the_total_is_the_sum_of_the_weights_after_a_million_samples);
    CHECK_RUN(the_highest_quantile_is_the_highest_bucket_in_use);
    CHECK_RUN(an_empty_track_answers_zero_and_one_sample_itself);
    CHECK_RUN(the_track_covers_the_share_it_was_asked_for);
    CHECK_RUN(a_track_that_starts_far_off_is_home_within_thirty_samples);
    CHECK_RUN(the_count_of_a_track_stops_at_a_million);
    return CHECK_DONE();
}

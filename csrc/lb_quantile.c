#include "lb_quantile.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const double LOG_RATIO = 0.131028262406404; /* ln 1.14 */
static const double LN2 = 0.69314718055994531;
static const float GROWTH = 1.002F;     /* 1/500 per sample */
static const float LARGEST_UNIT = 1e6F; /* reached every 6900 samples; 2^24 is far */

static const float STEP = 0.1F; /* of the track, in natural logs, once it is warm */

/* ln x to eight digits, for 1 <= x < 2^63, at half the price of the library's: the
 * exponent, and of the rest m within 1/sqrt(2) .. sqrt(2) the series of the inverse
 * hyperbolic tangent, ln m = 2 artanh((m - 1) / (m + 1)). */
static double
natural_log(double x)
{
    const uint64_t least = UINT64_C(0x3fe6a09e667f3bcd); /* 1/sqrt(2) */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t exponent = (bits - least) >> 52;
    bits -= exponent << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), z = s * s;
    double series = 1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9))));
    return (double)(int64_t)exponent * LN2 + 2 * s * series;
}

/* NaN, zero and below count as the shortest. */
static int
bucket_of(double seconds)
{
    const double longest = 1e6;
    if (!(seconds > 1e-3))
        return 0;
    if (seconds >= longest)
        return LB_HIST_BUCKETS - 1;
    int i = (int)(natural_log(seconds * 1e3) * (1 / LOG_RATIO));
    return i < LB_HIST_BUCKETS ? i : LB_HIST_BUCKETS - 1;
}

/* Divide everything by the unit; the sum is taken anew, so its rounding errors
 * do not add up either. */
static void
rescale(lb_hist *h)
{
    h->total = 0;
    for (int i = 0; i < LB_HIST_BUCKETS; i++) {
        h->weight[i] /= h->unit;
        h->total += h->weight[i];
    }
    h->unit = 1;
}

void
lb_hist_add(lb_hist *h, double seconds)
{
    if (h->unit == 0)
        h->unit = 1;
    h->weight[bucket_of(seconds)] += h->unit;
    h->total += h->unit;
    h->unit *= GROWTH;
    if (h->unit > LARGEST_UNIT)
        rescale(h);
}

double
lb_hist_quantile(const lb_hist *h, double p)
{
    assert(p > 0 && p < 1);
    if (h->unit == 0)
        return 0;
    float below = 0, want = (float)p * h->total;
    int last = 0;
    for (int i = 0; i < LB_HIST_BUCKETS; i++) {
        if (h->weight[i] == 0)
            continue;
        below += h->weight[i];
        last = i;
        if (below >= want)
            break;
    }
    return exp((last + 0.5) * LOG_RATIO) * 1e-3;
}

/* e^x; for the small steps of a warm track by the series, to seven digits. */
static float
exponential(float x)
{
    if (fabsf(x) > 0.125F)
        return expf(x);
    return 1 +
           x * (1 + x * (0.5F + x * (1.0F / 6 + x * (1.0F / 24 + x * (1.0F / 120)))));
}

void
lb_track_add(lb_track *t, double p, double x)
{
    assert(p > 0 && p < 1);
    float sample = x > 0 ? (float)x : 1;
    if (t->seen == 0) {
        t->value = sample;
    } else {
        float step = STEP + (1 - STEP) / t->seen; /* far from home at first */
        t->value *= exponential(step * (float)(sample > t->value ? p : p - 1));
    }
    if (t->seen < 1e6F)
        t->seen++;
}

double
lb_track_value(const lb_track *t)
{
    return t->seen == 0 ? 0 : (double)t->value;
}

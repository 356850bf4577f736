#include "lb_quantile.h"

#include <assert.h>
#include <math.h>

static const double LOG_RATIO = 0.12221763272424911; /* ln 1.13 */
static const float GROWTH = 1.002F;                  /* 1/500 per sample */
static const float LARGEST_UNIT = 1e6F; /* reached every 6900 samples; 2^24 is far */

static const float STEP = 0.1F; /* of the track, in natural logs, once it is warm */

static int
bucket_of(double seconds)
{
    double i = ceil(log(seconds * 1e3) / LOG_RATIO) - 1;
    if (!(i > 0)) /* NaN as well: zero and below count as the shortest */
        return 0;
    return i < LB_HIST_BUCKETS ? (int)i : LB_HIST_BUCKETS - 1;
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

void
lb_track_add(lb_track *t, double p, double x)
{
    assert(p > 0 && p < 1);
    float log_x = x > 0 ? (float)log(x) : 0;
    if (t->seen == 0) {
        t->log = log_x;
    } else {
        float step = STEP + (1 - STEP) / t->seen; /* far from home at first */
        t->log += step * (float)(log_x > t->log ? p : p - 1);
    }
    if (t->seen < 1e6F)
        t->seen++;
}

double
lb_track_value(const lb_track *t)
{
    return t->seen == 0 ? 0 : exp((double)t->log);
}

#include "lb_pick.h"

#include <math.h>
#include <stddef.h>

#include "lb_affinity.h"

enum { BAND_LATENCY = 20, BAND_COST = 1, BAND_COMPOSITE = 10 }; /* percent */

static const char *const names[LB_NSTRATEGIES] = {
    "round_robin", "weighted", "least_busy", "latency",
    "cost",        "p2c",      "composite",  "predictive",
};

const char *
lb_strategy_name(int strategy)
{
    return strategy >= 0 && strategy < LB_NSTRATEGIES ? names[strategy] : NULL;
}

/* A running choice among equals: each newcomer wins with the share its weight
 * has in the weights so far (reservoir sampling), or by rendezvous score. */
typedef struct lb_draw {
    int best;
    double total, score;
} lb_draw;

static void
draw(lb_draw *d, const lb_quote *q, int i, double weight, const lb_taste *taste,
     lb_rng *rng)
{
    if (q[i].bound) {
        d->best = i;
        d->score = HUGE_VAL;
        d->total = HUGE_VAL;
        return;
    }
    if (taste->session != 0) {
        double s = lb_affinity_score(taste->session, (uint64_t)q[i].backend, weight);
        if (d->best < 0 || s > d->score) {
            d->best = i;
            d->score = s;
        }
        return;
    }
    d->total += weight;
    if (d->best < 0 || lb_rng_unit(rng) * d->total < weight)
        d->best = i;
}

static int
round_robin(const lb_quote *q, int n, uint32_t *cursor)
{
    for (int k = 0; k < n; k++) {
        int i = (int)((*cursor + (uint32_t)k) % (uint32_t)n);
        if (q[i].reason == 0) {
            *cursor = (uint32_t)i + 1;
            return i;
        }
    }
    return -1;
}

static int
weighted(lb_quote *q, int n, double *smooth)
{
    int best = -1;
    double total = 0;
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0)
            continue;
        smooth[i] += q[i].weight;
        total += q[i].weight;
        q[i].score = smooth[i];
        if (best < 0 || smooth[i] > smooth[best])
            best = i;
    }
    if (best >= 0)
        smooth[best] -= total;
    return best;
}

/* The least score, then a draw among all within `band` percent of it. */
static int
least(const lb_quote *q, int n, int band, bool headroom, const lb_taste *taste,
      lb_rng *rng)
{
    double limit = HUGE_VAL;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0 && q[i].score < limit)
            limit = q[i].score;
    limit += fabs(limit) * band * 0.01;
    lb_draw d = {.best = -1};
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0 || q[i].score > limit)
            continue;
        double w = q[i].weight;
        if (headroom)
            w *= fmax(1 - (double)q[i].used, 0.01);
        draw(&d, q, i, w, taste, rng);
    }
    return d.best;
}

/* Candidates beyond the band of the cheapest leave the race: their score
 * becomes infinite, that of the others their expected seconds. */
static void
keep_cheapest(lb_quote *q, int n, int band)
{
    double limit = HUGE_VAL;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0 && q[i].score < limit)
            limit = q[i].score;
    limit += fabs(limit) * band * 0.01;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0)
            q[i].score = q[i].score <= limit ? q[i].seconds : HUGE_VAL;
}

/* 1 up to `shift`, 2 at `stop`, growing with the square in between and on. */
static double
crowding(double used, const lb_taste *taste)
{
    if (used <= taste->shift)
        return 1;
    double x = (used - taste->shift) / (taste->stop - taste->shift);
    return 1 + x * x;
}

static int
composite(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    double v = taste->value * 1e9; /* nano-USD a second */
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0)
            continue;
        double u = (double)q[i].cost;
        if (taste->value >= 0)
            u = (u + v * q[i].seconds) * (1 + (double)q[i].fail);
        /* a free backend must get dearer too when it fills up */
        q[i].score = (u + 1) * crowding(q[i].used, taste);
    }
    if (taste->value < 0) {
        keep_cheapest(q, n, BAND_COMPOSITE);
        return least(q, n, BAND_LATENCY, true, taste, rng);
    }
    return least(q, n, BAND_COMPOSITE, true, taste, rng);
}

int
lb_pick_two(lb_quote *q, int a, int b, lb_rng *rng)
{
    q[a].score = q[a].seconds / (double)q[a].weight;
    q[b].score = q[b].seconds / (double)q[b].weight;
    double lo = fmin(q[a].score, q[b].score), hi = fmax(q[a].score, q[b].score);
    if (hi > lo * (1 + BAND_LATENCY * 0.01))
        return q[a].score < q[b].score ? a : b;
    double wa = q[a].weight, wb = q[b].weight;
    return lb_rng_unit(rng) * (wa + wb) < wa ? a : b;
}

/* Two distinct eligible candidates by weight, the better of them. */
static int
two_choices(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    int pair[2] = {-1, -1};
    for (int k = 0; k < 2; k++) {
        lb_draw d = {.best = -1};
        for (int i = 0; i < n; i++)
            if (q[i].reason == 0 && i != pair[0])
                draw(&d, q, i, q[i].weight, taste, rng);
        pair[k] = d.best;
    }
    return pair[1] < 0 ? pair[0] : lb_pick_two(q, pair[0], pair[1], rng);
}

/* The session's own backend, when it is a candidate and not crowded. */
static int
bound(const lb_quote *q, int n, const lb_taste *taste)
{
    if (taste->session != 0)
        for (int i = 0; i < n; i++)
            if (q[i].bound && q[i].reason == 0 && q[i].used < taste->stop)
                return i;
    return -1;
}

int
lb_pick(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng, uint32_t *cursor,
        double *smooth)
{
    switch ((enum lb_strategy)taste->strategy) {
    case LB_COMPOSITE:
    case LB_PREDICTIVE:
        return composite(q, n, taste, rng);
    case LB_COST:
        for (int i = 0; i < n; i++)
            q[i].score = (double)q[i].cost;
        keep_cheapest(q, n, BAND_COST);
        return least(q, n, BAND_LATENCY, false, taste, rng);
    default:
        break;
    }
    int best = bound(q, n, taste);
    if (best >= 0)
        return best;
    switch ((enum lb_strategy)taste->strategy) {
    case LB_ROUND_ROBIN:
        return round_robin(q, n, cursor);
    case LB_WEIGHTED:
        return weighted(q, n, smooth);
    case LB_LEAST_BUSY:
        for (int i = 0; i < n; i++)
            q[i].score = q[i].calls / (double)q[i].weight;
        return least(q, n, 0, false, taste, rng);
    case LB_LATENCY:
        for (int i = 0; i < n; i++)
            q[i].score = q[i].seconds;
        return least(q, n, BAND_LATENCY, false, taste, rng);
    default:
        return two_choices(q, n, taste, rng);
    }
}

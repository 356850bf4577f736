#include "lb_pick.h"

#include <math.h>
#include <stddef.h>

#include "lb_affinity.h"

static const double BAND_LATENCY = 1.20, BAND_COST = 1.01, BAND_COMPOSITE = 1.10;
static const double LOAD_BOUND = 1.25; /* times the fair share of a session's calls */
static const int64_t LOAD_FREE = 4;    /* calls nobody spills from */
static const double LEAST_HEADROOM = 0.01;

static const char *const names[LB_NSTRATEGIES] = {
    "round_robin", "weighted", "least_busy", "latency",
    "cost",        "p2c",      "composite",  "predictive",
};

const char *
lb_strategy_name(int strategy)
{
    return strategy >= 0 && strategy < LB_NSTRATEGIES ? names[strategy] : NULL;
}

/* ---- sessions ------------------------------------------------------------ */

/* Mark who carries so much already that sessions go elsewhere. */
static void
bound_load(lb_quote *q, int n)
{
    int64_t calls = 0;
    double weights = 0;
    for (int i = 0; i < n; i++) {
        if (q[i].reason == 0) {
            calls += q[i].calls;
            weights += (double)q[i].weight;
        }
    }
    for (int i = 0; i < n; i++) {
        if (q[i].reason == 0) {
            int64_t cap =
                lb_affinity_cap(LOAD_BOUND, calls, (double)q[i].weight, weights);
            q[i].full = q[i].calls >= lb_max(cap, LOAD_FREE);
        }
    }
}

/* The one that holds the session's cache, when it is free to take the call. */
static int
holder(const lb_quote *q, int n, const lb_taste *taste)
{
    if (taste->session != 0)
        for (int i = 0; i < n; i++)
            if (q[i].bound && q[i].reason == 0)
                return q[i].full || (double)q[i].used >= taste->stop ? -1 : i;
    return -1;
}

/* ---- draws --------------------------------------------------------------- */

/* A running choice among equals: each newcomer wins with the share its weight
 * has in the weights so far (reservoir sampling), or by rendezvous score.  The
 * best so far, with `total` behind it, stays with probability total / T until T
 * is behind all: so one random number u says how long, until T > total / u
 * (exponential jumps: Efraimidis, Spirakis 2006). */
typedef struct lb_draw {
    int best;
    double total, until, score;
} lb_draw;

static void
draw(lb_draw *d, const lb_quote *q, int i, double weight, const lb_taste *taste,
     lb_rng *rng)
{
    if (taste->session == 0) {
        d->total += weight;
        if (d->total > d->until) {
            d->best = i;
            d->until = d->total / (1 - lb_rng_unit(rng));
        }
        return;
    }
    double score =
        q[i].bound ? HUGE_VAL : lb_affinity_score(taste->session, q[i].id, weight);
    if (q[i].full) /* behind all others, in the same order */
        score = -1 / score;
    if (d->best < 0 || score > d->score) {
        d->best = i;
        d->score = score;
    }
}

/* A draw among the candidates that are good enough by both figures. */
static int
draw_among(const lb_quote *q, int n, double score, double seconds, bool headroom,
           const lb_taste *taste, lb_rng *rng)
{
    lb_draw d = {.best = -1};
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0 || q[i].score > score || q[i].seconds > seconds)
            continue;
        double weight = (double)q[i].weight;
        if (headroom) {
            double left = 1 - (double)q[i].used;
            weight *= left > LEAST_HEADROOM ? left : LEAST_HEADROOM;
        }
        draw(&d, q, i, weight, taste, rng);
    }
    return d.best;
}

static double
least_score(const lb_quote *q, int n)
{
    double least = HUGE_VAL;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0 && q[i].score < least)
            least = q[i].score;
    return least;
}

static double
least_seconds(const lb_quote *q, int n, double score)
{
    double least = HUGE_VAL;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0 && q[i].score <= score && q[i].seconds < least)
            least = q[i].seconds;
    return least;
}

/* Among the cheapest, those that are about as fast as the fastest of them; `least`
 * is the least score. */
static int
cheap_then_fast(const lb_quote *q, int n, double least, double band, bool headroom,
                const lb_taste *taste, lb_rng *rng)
{
    double score = least * band;
    double seconds = least_seconds(q, n, score) * BAND_LATENCY;
    return draw_among(q, n, score, seconds, headroom, taste, rng);
}

/* ---- rules --------------------------------------------------------------- */

/* Who is in its slow start is passed over as often as it asks for. */
static int
round_robin(const lb_quote *q, int n, lb_rng *rng, uint32_t *cursor)
{
    int best = -1;
    for (int k = 0, i = (int)*cursor; k < n; k++, i++) {
        if (i >= n)
            i = 0;
        if (q[i].reason != 0)
            continue;
        bool eased = q[i].ease >= 1 || lb_rng_unit(rng) < (double)q[i].ease;
        if (eased || best < 0)
            best = i;
        if (eased)
            break;
    }
    if (best >= 0)
        *cursor = (uint32_t)best + 1;
    return best;
}

static int
weighted(lb_quote *q, int n, double *smooth)
{
    int best = -1;
    double total = 0;
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0)
            total += (double)q[i].weight;
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0)
            continue;
        /* What is owed beyond one round is of others that have left since. */
        smooth[i] = lb_greater(lb_lesser(smooth[i], total), -total);
        smooth[i] += (double)q[i].weight;
        q[i].score = smooth[i];
        if (best < 0 || smooth[i] > smooth[best])
            best = i;
    }
    if (best >= 0)
        smooth[best] -= total;
    return best;
}

static int
least_busy(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    for (int i = 0; i < n; i++)
        if (q[i].reason == 0)
            q[i].score = q[i].calls / (double)q[i].weight;
    return draw_among(q, n, least_score(q, n), HUGE_VAL, false, taste, rng);
}

static int
latency(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    for (int i = 0; i < n; i++)
        q[i].score = q[i].seconds;
    double score = least_score(q, n) * BAND_LATENCY;
    return draw_among(q, n, score, HUGE_VAL, false, taste, rng);
}

static int
cost(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    for (int i = 0; i < n; i++)
        q[i].score = (double)q[i].cost;
    return cheap_then_fast(q, n, least_score(q, n), BAND_COST, false, taste, rng);
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
    double least = HUGE_VAL;
    for (int i = 0; i < n; i++) {
        if (q[i].reason != 0)
            continue;
        double u = (double)q[i].cost;
        if (v >= 0)
            u = (u + v * q[i].seconds) * (1 + (double)q[i].fail);
        u += (double)q[i].rent;
        if (taste->lasting)
            u += (double)q[i].later;
        /* a free backend must get dearer too when it fills up */
        double score = (u + 1) * crowding((double)q[i].used, taste);
        q[i].score = score;
        least = score < least ? score : least;
    }
    if (v < 0)
        return cheap_then_fast(q, n, least, BAND_COMPOSITE, true, taste, rng);
    return draw_among(q, n, least * BAND_COMPOSITE, HUGE_VAL, true, taste, rng);
}

int
lb_pick_two(lb_quote *q, int a, int b)
{
    q[a].score = q[a].seconds;
    q[b].score = q[b].seconds;
    if (q[b].bound && !q[b].full)
        return q[b].seconds > q[a].seconds * BAND_LATENCY ? a : b;
    return q[a].seconds > q[b].seconds * BAND_LATENCY ? b : a;
}

static int
two_choices(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng)
{
    int pair[2] = {-1, -1};
    for (int k = 0; k < 2; k++) {
        lb_draw d = {.best = -1};
        for (int i = 0; i < n; i++)
            if (q[i].reason == 0 && i != pair[0])
                draw(&d, q, i, (double)q[i].weight, taste, rng);
        pair[k] = d.best;
    }
    return pair[1] < 0 ? pair[0] : lb_pick_two(q, pair[0], pair[1]);
}

int
lb_pick(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng, uint32_t *cursor,
        double *smooth)
{
    if (taste->session != 0)
        bound_load(q, n);
    int home = taste->strategy <= LB_LEAST_BUSY ? holder(q, n, taste) : -1;
    if (home >= 0)
        return home;
    switch ((enum lb_strategy)taste->strategy) {
    case LB_ROUND_ROBIN:
        return round_robin(q, n, rng, cursor);
    case LB_WEIGHTED:
        return weighted(q, n, smooth);
    case LB_LEAST_BUSY:
        return least_busy(q, n, taste, rng);
    case LB_LATENCY:
        return latency(q, n, taste, rng);
    case LB_COST:
        return cost(q, n, taste, rng);
    case LB_P2C:
        return two_choices(q, n, taste, rng);
    default:
        return composite(q, n, taste, rng);
    }
}

#include "lb_latency.h"

#include <assert.h>

static const double WEIGHT = 0.1;     /* of a sample, once there are ten */
static const double AGE_FACTOR = 2.5; /* 1 reacts sooner, but costs 13-24 % */
static const double SOONEST = 1e-3;   /* no line may promise an answer earlier */
static const double PER_TEN_MINUTES = 1.0 / (600.0 * 1e9);

/* Inputs that hardly differ say nothing of the slope: a tenth of their mean and
 * a hundred tokens (squared) stand beside their variance and pull it to 0.  Loads
 * likewise, but they pull to a shared machine. */
static const double TENTH_SQUARED = 0.01;

static const double STEEPNESS_WEIGHT = 0.02; /* loads take longer to differ */
static const double LEAST_STEEP = 0.01;      /* per call, so that nobody herds */
static const double LONGEST = 3;             /* a heavy tail is not the load's */

/* One long answer is no sign yet, nor are two. */
enum { STALLING_CALLS = 3 };

/* How far what was learned still holds: 1 fresh .. 0 after ten minutes. */
static double
trust(const lb_latency *l, lb_ns now)
{
    if (l->samples == 0)
        return 0;
    double rest = 1.0 - (double)(now - l->learned) * PER_TEN_MINUTES;
    return rest > 0 ? rest : 0;
}

static double
blend(double own, double prior, double share)
{
    return prior + (own - prior) * share;
}

static double
ttft_at(const lb_latency *l, const lb_latency_prior *prior, int64_t input, double share)
{
    double own = (double)l->base + (double)l->slope * (double)input * 1e-3;
    double ttft = blend(own, (double)prior->ttft, share);
    return ttft > SOONEST ? ttft : SOONEST;
}

static double
itl_at(const lb_latency *l, const lb_latency_prior *prior, double share)
{
    return blend((double)l->itl, (double)prior->itl, l->itl > 0 ? share : 0);
}

/* What the newcomer's time is multiplied with.  Of the prior's machine nothing is
 * known but that it may be shared. */
static double
crowd_at(const lb_latency *l, double share)
{
    double calls = (double)l->calls + 1;
    return blend(1 + (double)l->steep * (calls - (double)l->load), calls, share);
}

void
lb_latency_start(lb_latency *l, int64_t tokens, lb_ns now)
{
    l->calls++;
    l->tokens += tokens;
    l->starts += (uint64_t)now;
}

void
lb_latency_end(lb_latency *l, int64_t tokens, lb_ns started, lb_ns now)
{
    assert(l->calls > 0 && l->tokens >= tokens);
    l->calls--;
    l->tokens -= tokens;
    l->starts -= (uint64_t)started;
    l->spent += (uint64_t)now - (uint64_t)started;
}

/* Welford's running moments with a constant weight: no sum of squares that
 * would cancel in a float. */
static void
fit(lb_latency *l, double x, double y, double w)
{
    double dx = x - (double)l->x, dy = y - (double)l->y;
    double xx = (1 - w) * ((double)l->xx + w * dx * dx);
    double xy = (1 - w) * ((double)l->xy + w * dx * dy);
    double mean_x = (double)l->x + w * dx, mean_y = (double)l->y + w * dy;
    double ridge = TENTH_SQUARED * (1 + mean_x * mean_x);
    double slope = xy > 0 ? xy / (xx + ridge) : 0;
    l->x = (float)mean_x;
    l->y = (float)mean_y;
    l->xx = (float)xx;
    l->xy = (float)xy;
    l->slope = (float)slope;
    l->base = (float)(mean_y - slope * mean_x);
}

/* `longer`: the share by which an answer took longer than one at the mean load. */
static void
learn_load(lb_latency *l, double load, double longer, double w)
{
    double dn = load - (double)l->load;
    l->nn += (float)(STEEPNESS_WEIGHT * (dn * dn - (double)l->nn));
    l->nk += (float)(STEEPNESS_WEIGHT * (dn * longer - (double)l->nk));
    l->load += (float)(w * dn);
    double mean = (double)l->load, ridge = TENTH_SQUARED * mean * mean;
    double steep = ((double)l->nk + ridge / mean) / ((double)l->nn + ridge);
    l->steep = (float)lb_lesser(lb_greater(steep, LEAST_STEEP), 1 / mean);
}

static void
learn_itl(lb_latency *l, const lb_answer *answer, double ttft, double w)
{
    if (answer->output <= 1 || answer->total <= ttft)
        return;
    double itl = (answer->total - ttft) / (double)(answer->output - 1);
    l->itl = (float)(l->itl > 0 ? (double)l->itl + w * (itl - (double)l->itl) : itl);
}

/* By what is known of this backend alone. */
static double
at_mean_load(const lb_latency *l, const lb_latency_prior *prior, const lb_answer *a)
{
    double body = (double)lb_max(a->output - 1, 0) * itl_at(l, prior, 1);
    return ttft_at(l, prior, a->input, 1) + body;
}

void
lb_latency_learn(lb_latency *l, const lb_latency_prior *prior, const lb_answer *answer,
                 lb_ns now)
{
    double total = answer->total, ttft = answer->ttft;
    if (ttft <= 0) {
        double body = (double)lb_max(answer->output - 1, 0) * (double)prior->itl;
        ttft = total * (double)prior->ttft / ((double)prior->ttft + body);
    }
    double fading = 1 - (1 - WEIGHT) * trust(l, now);
    double first = 1.0 / ((double)l->samples + 1);
    double w = first > fading ? first : fading;

    double load = lb_greater(answer->load, 1), longer = 0, slower = 0;
    if (l->samples == 0) {
        l->load = (float)load;
    } else {
        longer = lb_lesser(total / at_mean_load(l, prior, answer) - 1, LONGEST);
        slower = longer - (double)l->steep * (load - (double)l->load);
    }
    learn_load(l, load, longer, w);
    fit(l, (double)answer->input * 1e-3, ttft, w);
    learn_itl(l, answer, ttft, w);
    l->trend = (float)blend(slower, (double)l->trend, w);
    l->seconds = (float)((double)l->seconds + w * (total - (double)l->seconds));
    l->samples += l->samples < INT32_MAX;
    l->learned = now;
}

double
lb_latency_ttft(const lb_latency *l, const lb_latency_prior *prior, int64_t input,
                lb_ns now)
{
    return ttft_at(l, prior, input, trust(l, now));
}

double
lb_latency_slowing(const lb_latency *l, lb_ns now)
{
    return l->trend > 0 ? (double)l->trend * trust(l, now) : 0;
}

double
lb_latency_expect(const lb_latency *l, const lb_latency_prior *prior, int64_t input,
                  int64_t output, lb_ns now, bool *stalls)
{
    double share = trust(l, now);
    double ttft = ttft_at(l, prior, input, share), itl = itl_at(l, prior, share);
    double seconds = (ttft + (double)output * itl) * crowd_at(l, share);
    *stalls = false;
    if (l->calls == 0)
        return seconds;
    /* Both sums wrap modulo 2^64; their difference is the small, true one. */
    int64_t age_ns = (int64_t)((uint64_t)l->calls * (uint64_t)now - l->starts);
    double ages = (double)age_ns * 1e-9;
    double calls = (double)l->calls;
    double typical = calls * ttft + (double)l->tokens * itl;
    if (typical < calls * (double)l->seconds)
        typical = calls * (double)l->seconds;
    double excess = ages - AGE_FACTOR * typical;
    if (excess <= 0)
        return seconds;
    *stalls = l->calls >= STALLING_CALLS;
    return seconds + excess * (calls + 1) / calls;
}

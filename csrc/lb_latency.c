#include "lb_latency.h"

#include <assert.h>

static const float WEIGHT = 0.1F;     /* of a sample, once there are ten */
static const double AGE_FACTOR = 2.5; /* 1 reacts sooner, but costs 13-24 % */
static const float SOONEST = 1e-3F;   /* no line may promise an answer earlier */
static const float PER_TEN_MINUTES = 1.0F / (600.0F * 1e9F);

/* Inputs that hardly differ say nothing of the slope: a tenth of their mean and
 * a hundred tokens (squared) stand beside their variance and pull it to 0.  Loads
 * likewise, but they pull to a shared machine. */
static const float TENTH_SQUARED = 0.01F;

static const float STEEPNESS_WEIGHT = 0.02F; /* loads take longer to differ */
static const float LEAST_STEEP = 0.01F;      /* per call, so that nobody herds */
static const float LONGEST = 3;              /* a heavy tail is not the load's */

/* One long answer is no sign yet, nor are two. */
enum { STALLING_CALLS = 3 };

/* How far what was learned still holds: 1 fresh .. 0 after ten minutes. */
static float
trust(const lb_latency *l, lb_ns now)
{
    float rest = 1 - (float)(now - l->learned) * PER_TEN_MINUTES;
    return l->samples > 0 && rest > 0 ? rest : 0;
}

static float
least(float a, float b)
{
    return a < b ? a : b;
}

static float
most(float a, float b)
{
    return a > b ? a : b;
}

static float
blend(float own, float prior, float share)
{
    return prior + (own - prior) * share;
}

static float
ttft_at(const lb_latency *l, const lb_latency_prior *prior, int64_t input, float share)
{
    float own = l->base + l->slope * ((float)input * 1e-3F);
    float ttft = blend(own, prior->ttft, share);
    return ttft > SOONEST ? ttft : SOONEST;
}

static float
itl_at(const lb_latency *l, const lb_latency_prior *prior, float share)
{
    return blend(l->itl, prior->itl, l->itl > 0 ? share : 0);
}

/* What the newcomer's time is multiplied with.  Of the prior's machine nothing is
 * known but that it may be shared. */
static float
crowd_at(const lb_latency *l, float share)
{
    float calls = (float)l->calls + 1;
    return blend(1 + l->steep * (calls - l->load), calls, share);
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
fit(lb_latency *l, float x, float y, float w)
{
    float dx = x - l->x, dy = y - l->y;
    l->xx = (1 - w) * (l->xx + w * dx * dx);
    l->xy = (1 - w) * (l->xy + w * dx * dy);
    l->x += w * dx;
    l->y += w * dy;
    float ridge = TENTH_SQUARED * (1 + l->x * l->x);
    l->slope = l->xy > 0 ? l->xy / (l->xx + ridge) : 0;
    l->base = l->y - l->slope * l->x;
}

/* `longer`: the share by which an answer took longer than one at the mean load. */
static void
learn_load(lb_latency *l, float load, float longer, float w)
{
    float dn = load - l->load;
    l->nn += STEEPNESS_WEIGHT * (dn * dn - l->nn);
    l->nk += STEEPNESS_WEIGHT * (dn * longer - l->nk);
    l->load += w * dn;
    float ridge = TENTH_SQUARED * l->load * l->load;
    float steep = (l->nk + TENTH_SQUARED * l->load) / (l->nn + ridge);
    l->steep = least(most(steep, LEAST_STEEP), 1 / l->load);
}

static void
learn_itl(lb_latency *l, const lb_answer *answer, float ttft, float w)
{
    float rest = (float)answer->total - ttft;
    if (answer->output <= 1 || !(rest > 0))
        return;
    float itl = rest / (float)(answer->output - 1);
    l->itl = l->itl > 0 ? l->itl + w * (itl - l->itl) : itl;
}

/* By what is known of this backend alone. */
static float
at_mean_load(const lb_latency *l, const lb_latency_prior *prior, const lb_answer *a)
{
    float body = (float)lb_max(a->output - 1, 0) * itl_at(l, prior, 1);
    return ttft_at(l, prior, a->input, 1) + body;
}

void
lb_latency_learn(lb_latency *l, const lb_latency_prior *prior, const lb_answer *answer,
                 lb_ns now)
{
    float total = (float)answer->total, ttft = (float)answer->ttft;
    if (!(ttft > 0)) {
        float body = (float)lb_max(answer->output - 1, 0) * prior->itl;
        ttft = total * prior->ttft / (prior->ttft + body);
    }
    float fading = 1 - (1 - WEIGHT) * trust(l, now);
    float first = 1 / ((float)l->samples + 1);
    float w = first > fading ? first : fading;

    float load = most((float)answer->load, 1), longer = 0, slower = 0;
    if (l->samples == 0) {
        l->load = load;
    } else {
        longer = least(total / at_mean_load(l, prior, answer) - 1, LONGEST);
        slower = longer - l->steep * (load - l->load);
    }
    learn_load(l, load, longer, w);
    fit(l, (float)answer->input * 1e-3F, ttft, w);
    learn_itl(l, answer, ttft, w);
    l->trend = blend(slower, l->trend, w);
    l->seconds += w * (total - l->seconds);
    l->samples += l->samples < INT32_MAX;
    l->learned = now;
}

double
lb_latency_ttft(const lb_latency *l, const lb_latency_prior *prior, int64_t input,
                lb_ns now)
{
    return (double)ttft_at(l, prior, input, trust(l, now));
}

double
lb_latency_slowing(const lb_latency *l, lb_ns now)
{
    return l->trend > 0 ? (double)(l->trend * trust(l, now)) : 0;
}

double
lb_latency_expect(const lb_latency *l, const lb_latency_prior *prior, int64_t input,
                  int64_t output, lb_ns now, bool *stalls)
{
    float share = trust(l, now);
    float ttft = ttft_at(l, prior, input, share), itl = itl_at(l, prior, share);
    double seconds = (double)((ttft + (float)output * itl) * crowd_at(l, share));
    *stalls = false;
    if (l->calls == 0)
        return seconds;
    /* Both sums wrap modulo 2^64; their difference is the small, true one. */
    int64_t age_ns = (int64_t)((uint64_t)l->calls * (uint64_t)now - l->starts);
    double ages = (double)age_ns * 1e-9;
    double calls = (double)l->calls;
    double typical = calls * (double)ttft + (double)l->tokens * (double)itl;
    if (typical < calls * (double)l->seconds)
        typical = calls * (double)l->seconds;
    double excess = ages - AGE_FACTOR * typical;
    if (excess <= 0)
        return seconds;
    *stalls = l->calls >= STALLING_CALLS;
    return seconds + excess * (calls + 1) / calls;
}

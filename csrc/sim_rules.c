#include "sim_rules.h"

#include <math.h>
#include <stddef.h>

static const lb_ns COOLDOWN = 5 * LB_NS_PER_S, MINUTE = 60 * LB_NS_PER_S;
static const double DECAY = 10e9; /* ns, of peak-EWMA */
static const double UNKNOWN = 1;  /* s, of a peer nobody has called */
static const double NEWEST = 0.1; /* weight of a sample in lowest_average */

static const char *const names[SIM_NRULES] = {
    "litellm_simple_shuffle", "litellm_usage_based", "litellm_latency_based",
    "litellm_cost_based",     "p2c_least_busy",      "p2c_peak_ewma",
    "lowest_average",
};

const char *
sim_rule_name(int rule)
{
    return rule >= 0 && rule < SIM_NRULES ? names[rule] : NULL;
}

static void
turn_minute(sim_peer *p, lb_ns now)
{
    if (now / MINUTE == p->minute)
        return;
    p->minute = now / MINUTE;
    p->requests = p->tokens = p->good = p->bad = 0;
}

/* Decays towards 0 while nobody asks: the published rule. */
static double
peak(const sim_peer *p, lb_ns now)
{
    if (p->ewma == 0)
        return UNKNOWN;
    return p->ewma * exp(-(double)(now - p->stamp) / DECAY);
}

static double
mean(const sim_peer *p)
{
    double sum = 0;
    for (int i = 0; i < p->nlast; i++)
        sum += p->last[i];
    return p->nlast > 0 ? sum / p->nlast : 0;
}

static double
score(enum sim_rule rule, const sim_peer *p, lb_ns now)
{
    switch (rule) {
    case SIM_USAGE:
        return (double)p->tokens;
    case SIM_LATENCY:
        return mean(p);
    case SIM_COST:
        return p->price;
    case SIM_LEAST_BUSY:
        return p->calls;
    case SIM_PEAK_EWMA:
        return peak(p, now) * (p->calls + 1);
    default:
        return p->ewma;
    }
}

static bool
listed(const uint16_t *tried, int ntried, uint32_t i)
{
    for (int k = 0; k < ntried; k++)
        if (tried[k] == i)
            return true;
    return false;
}

static bool
available(enum sim_rule rule, sim_peer *p, int64_t tokens, lb_ns now)
{
    turn_minute(p, now);
    if (p->cool > now)
        return false;
    if (rule == SIM_USAGE || rule == SIM_LATENCY || rule == SIM_COST)
        return p->requests < p->rpm && tokens <= p->tpm - p->tokens;
    return true;
}

/* A random one by weight, `but` left out; -1 when there is no other. */
static int
lot(const sim_peer *peers, const uint32_t *from, uint32_t n, int but, lb_rng *rng)
{
    double total = 0;
    int best = -1;
    for (uint32_t k = 0; k < n; k++) {
        if ((int)from[k] == but)
            continue;
        total += peers[from[k]].weight;
        if (best < 0 || lb_rng_unit(rng) * total < peers[from[k]].weight)
            best = (int)from[k];
    }
    return best;
}

static int
choose(enum sim_rule rule, const sim_peer *peers, const uint32_t *from, uint32_t n,
       lb_rng *rng, lb_ns now)
{
    int best = lot(peers, from, n, -1, rng);
    if (rule == SIM_SHUFFLE || n < 2)
        return best;
    if (rule == SIM_PEAK_EWMA || rule == SIM_LEAST_BUSY) {
        int other = lot(peers, from, n, best, rng);
        return score(rule, &peers[other], now) < score(rule, &peers[best], now) ? other
                                                                                : best;
    }
    double least = HUGE_VAL;
    uint32_t equal = 0;
    for (uint32_t k = 0; k < n; k++) {
        double s = score(rule, &peers[from[k]], now);
        equal = s < least ? 1 : equal + (s == least);
        if (s < least || (s == least && lb_rng_below(rng, equal) == 0))
            best = (int)from[k];
        least = fmin(least, s);
    }
    return best;
}

int
sim_rule_pick(enum sim_rule rule, sim_peer *peers, const uint32_t *members, uint32_t n,
              const uint16_t *tried, int ntried, int64_t tokens, lb_rng *rng, lb_ns now,
              lb_ns *wait)
{
    enum { MOST = 256 };
    uint32_t fresh[MOST], stale[MOST], nfresh = 0, nstale = 0;
    bool shy = rule >= SIM_LEAST_BUSY; /* not LiteLLM's */
    *wait = MINUTE - now % MINUTE;
    for (uint32_t k = 0; k < n; k++) {
        sim_peer *p = &peers[members[k]];
        if (!available(rule, p, tokens, now)) {
            if (p->cool > now)
                *wait = lb_min(*wait, p->cool - now);
        } else if (shy && listed(tried, ntried, members[k])) {
            if (nstale < MOST)
                stale[nstale++] = members[k];
        } else if (nfresh < MOST) {
            fresh[nfresh++] = members[k];
        }
    }
    if (nfresh > 0)
        return choose(rule, peers, fresh, nfresh, rng, now);
    return nstale > 0 ? choose(rule, peers, stale, nstale, rng, now) : -1;
}

void
sim_rule_start(sim_peer *p, lb_ns now)
{
    turn_minute(p, now);
    p->calls++;
    p->requests++;
}

static void
learn(enum sim_rule rule, sim_peer *p, double seconds, int64_t output, lb_ns now)
{
    p->last[p->oldest] = seconds / (double)lb_max(output, 1);
    p->oldest = (p->oldest + 1) % SIM_LAST;
    p->nlast += p->nlast < SIM_LAST;
    if (rule == SIM_PEAK_EWMA) {
        double keep = exp(-(double)(now - p->stamp) / DECAY);
        double settled = p->ewma * keep + seconds * (1 - keep);
        p->ewma = p->ewma == 0 || seconds > p->ewma ? seconds : settled;
    } else {
        p->ewma = p->ewma == 0 ? seconds : p->ewma + NEWEST * (seconds - p->ewma);
    }
    p->stamp = now;
}

void
sim_rule_end(enum sim_rule rule, sim_peer *p, enum lb_outcome outcome, double seconds,
             int64_t input, int64_t output, lb_ns now)
{
    turn_minute(p, now);
    p->calls--;
    if (outcome == LB_DONE) {
        p->good++;
        p->in_a_row = 0;
        p->tokens += input + output;
        learn(rule, p, seconds, output, now);
        return;
    }
    p->bad++;
    p->in_a_row++;
    bool trips = outcome == LB_RATE_LIMITED || 2 * p->bad > p->good + p->bad;
    if (rule >= SIM_LEAST_BUSY)
        trips = p->in_a_row >= 5;
    if (trips)
        p->cool = now + COOLDOWN;
}

/* sim_rules.h - how others choose, for comparison in the simulator only.
 *
 *   rule                    picks                                     memory
 *   ----------------------  ----------------------------------------  -----------
 *   litellm_simple_shuffle  random by weight, else rpm, else tpm      none
 *   litellm_usage_based     fewest tokens this minute                 clock minute
 *   litellm_latency_based   least mean of the last 10 of seconds per  last 10
 *                           output token; unknown first
 *   litellm_cost_based      least input + output price                none
 *   p2c_least_busy          of two random ones the one with fewer calls   in flight
 *   p2c_peak_ewma           of two random ones the lower              EWMA 10 s
 *                           peak-EWMA(seconds) * (in flight + 1)
 *   lowest_average          least EWMA of seconds, in flight unseen   EWMA .1
 *
 * The LiteLLM rules follow that router's documented definitions: deployments
 * over their rpm or tpm of the clock minute are left out (except by
 * simple-shuffle), so are those cooling down: 5 s after any 429, and after more
 * than half of a minute's calls failed.  A call is tried 3 times, then its
 * fallback groups; tried ones are not left out.  Two choices among calls in flight
 * are Envoy's and nginx's; Peak-EWMA is Finagle's and tower's (decay 10 s, also
 * while nobody asks; unknown ones count as 1 s).  These and lowest_average cool
 * down for 5 s after 5 failures in a row and prefer the untried.
 */
#ifndef SIM_RULES_H
#define SIM_RULES_H

#include "lb_lease.h"

enum sim_rule {
    SIM_SHUFFLE,
    SIM_USAGE,
    SIM_LATENCY,
    SIM_COST,
    SIM_LEAST_BUSY,
    SIM_PEAK_EWMA,
    SIM_AVERAGE,
    SIM_NRULES,
};

enum { SIM_RULE_TRIES = 3, SIM_LAST = 10 };

/* What a rule knows of a backend. */
typedef struct sim_peer {
    double weight;    /* > 0 */
    double price;     /* USD of an input and an output token together */
    int64_t rpm, tpm; /* INT64_MAX: none */
    int64_t minute;   /* the clock minute of the four below */
    int64_t requests, tokens, good, bad;
    double last[SIM_LAST]; /* seconds per output token */
    int32_t nlast, oldest;
    double ewma; /* seconds; 0: unknown */
    lb_ns stamp; /* of ewma */
    int32_t calls, in_a_row;
    lb_ns cool; /* cooling down until then */
} sim_peer;

/* One of `members`, or -1 when all cool down or are over their limits; then
 * *wait says when to look again (> 0). */
int sim_rule_pick(enum sim_rule rule, sim_peer *peers, const uint32_t *members,
                  uint32_t n, const uint16_t *tried, int ntried, int64_t tokens,
                  lb_rng *rng, lb_ns now, lb_ns *wait);

/* A call left; it came back.  seconds and output of complete answers. */
void sim_rule_start(sim_peer *p, lb_ns now);
void sim_rule_end(enum sim_rule rule, sim_peer *p, enum lb_outcome outcome,
                  double seconds, int64_t input, int64_t output, lb_ns now);

/* "litellm_simple_shuffle", ...; NULL outside 0..SIM_NRULES-1. */
const char *sim_rule_name(int rule);

#endif /* SIM_RULES_H */

/* lb_pick.h - one of these candidates, by this rule.
 *
 * The gates (lb_gate.h) have turned every backend of a group into a quote: is
 * it eligible, what would this call cost there, how long would it take, how
 * full is it.  Here quotes go in and an index comes out; nothing else is read.
 *
 *   rule          best is                               among equals
 *   ------------  ------------------------------------  ------------------------
 *   round_robin   next in the list                      -
 *   weighted      smooth weighted round robin (nginx)   first in the list
 *   least_busy    fewest calls in flight per weight     random by weight
 *   latency       fewest expected seconds, 20 % band    random by weight
 *   cost          cheapest, 1 % band                    latency rule
 *   p2c           two drawn by weight, the faster       the first drawn
 *   composite     cheapest, 10 % band                   latency rule x headroom
 *    (with v)     least U, 10 % band                    random by weight x headroom
 *   predictive    composite on forecast figures         same
 *
 * U = (cost + v * seconds) * (1 + share of calls that fail), in dollars: a call
 * that fails is paid again elsewhere, in money and in time.  Composite and
 * predictive add the rent of scarce limits (lb_rent.h) and, for a session, what the
 * rest of it will read from the cache (lb_reuse.h), with or without v, and raise their
 * figure from `shift` on, to the double at `stop`.
 *
 * "Random" needs no luck to spread load: every reservation makes its backend
 * look slower or fuller before the next choice.  The bands keep differences
 * that are smaller than the noise of their estimates from deciding alone.
 *
 * A call of a session prefers the backend that holds its prompt cache:
 * round_robin, weighted and least_busy go there, the others do when it is among
 * their equals, and what the cache saves is in its cost and seconds already.  A
 * session without one goes by rendezvous hash instead of chance.  Both spill
 * from a backend that carries its bounded share: 1.25 times the fair one
 * (Mirrokni, Thorup, Zadimoghaddam 2016) and at least four calls.
 *
 * Power of two choices: Mitzenmacher 2001, drawn without replacement, so that the
 * worst of N gets at most 2 / N of the calls.
 */
#ifndef LB_PICK_H
#define LB_PICK_H

#include "lb_base.h"
#include "lb_rng.h"

enum lb_strategy {
    LB_ROUND_ROBIN,
    LB_WEIGHTED,
    LB_LEAST_BUSY,
    LB_LATENCY,
    LB_COST,
    LB_P2C,
    LB_COMPOSITE,
    LB_PREDICTIVE,
    LB_NSTRATEGIES,
};

/* A candidate as the gates have priced it. */
typedef struct lb_quote {
    int32_t backend; /* index in the pool */
    uint8_t reason;  /* enum lb_reason; 0: eligible */
    uint8_t order;   /* only the lowest order among the eligible competes */
    uint8_t bound;   /* this session's prompt cache lies here */
    uint8_t full;    /* carries its bounded share; set by lb_pick for sessions */
    uint8_t stalls;  /* its calls in flight take much longer than they should */
    int32_t calls;   /* in flight */
    float weight;    /* > 0, slow start included */
    float ease;      /* of that the slow start alone: 0.1..1 */
    float used;      /* share of its fullest limit, 0..1 and above */
    float fail;      /* share of recent calls that failed, 0..1 */
    float rent;      /* nano-USD: what its use of scarce limits is worth to others */
    float later;     /* nano-USD: what its conversation will pay to read it again */
    double seconds;  /* expected duration of this call */
    int64_t cost;    /* expected nano-USD, cache savings included */
    double score;    /* what the rule compared first; set by lb_pick */
    int64_t wait;    /* ns until it might be eligible; 0 when it is */
    int64_t input;   /* prompt tokens by this backend's tokenizer */
    int64_t hold;    /* nano-USD to hold against budgets; 0 when there are none */
    uint64_t id;     /* stable identity, for rendezvous */
} lb_quote;

/* The dials of a choice. */
typedef struct lb_taste {
    uint8_t strategy; /* enum lb_strategy */
    double value;     /* v: USD a second is worth; negative: unset */
    double shift;     /* used share from which a candidate gets dearer, 0..1 */
    double stop;      /* used share at which it costs twice, > shift */
    bool lasting;     /* the quotes say what is paid later */
    uint64_t session; /* not 0: equals are told apart by rendezvous, not chance */
} lb_taste;

/* The index of the best of q[0..n), or -1 when none is eligible.  `cursor`
 * belongs to the group (round_robin); `smooth[i]` to member i (weighted). */
int lb_pick(lb_quote *q, int n, const lb_taste *taste, lb_rng *rng, uint32_t *cursor,
            double *smooth);

/* Of two candidates, `a` drawn first, the one that p2c takes: `b` when it is more
 * than 20 % faster, or within 20 % and holds the session's cache. */
int lb_pick_two(lb_quote *q, int a, int b);

/* "round_robin", "weighted", ...; NULL outside 0..LB_NSTRATEGIES-1. */
const char *lb_strategy_name(int strategy);

#endif /* LB_PICK_H */

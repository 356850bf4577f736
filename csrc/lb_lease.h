/* lb_lease.h - choose a backend, reserve what the call will use, settle it.
 *
 *   ask --pick--> lease (live) --settle--> what it cost
 *                   |
 *      reserved: one request, tokens on every limit, a place in the
 *      concurrency, money in every budget; all of it or nothing
 *
 * A lease is settled exactly once with what really happened; a second settle
 * changes nothing.  A lease that is dropped must be settled as LB_CANCELLED by
 * whoever drops it.  There is no other bookkeeping: what stands reserved in a
 * pool is the sum of its live leases.
 *
 * The lease also carries the record of the decision: who competed, at what
 * price and speed, and why the others did not.
 *
 * Choosing and reserving are in lb_lease.c, settling and what it teaches in
 * lb_lease_settle.c.
 */
#ifndef LB_LEASE_H
#define LB_LEASE_H

#include "lb_gate.h"

enum { LB_CANDIDATES = 16, LB_READINGS = 8, LB_LEASE_BUDGETS = 20 };

/* One line of a decision record. */
typedef struct lb_candidate {
    uint16_t backend;
    uint8_t reason; /* enum lb_reason */
    uint8_t bound;  /* held the session's prompt cache */
    float cost;     /* USD; negative: unknown */
    float seconds;
    float used;  /* share of its fullest limit */
    float score; /* what the rule compared: less is better, except `weighted` */
} lb_candidate;

typedef struct lb_decision {
    uint32_t members;  /* backends of the group */
    uint16_t looked;   /* of them, looked at (power of two choices looks at few) */
    uint8_t listed;    /* lines below: the first of them, the chosen among them */
    uint8_t strategy;  /* enum lb_strategy */
    uint8_t probe;     /* the chosen breaker was half-open: this call is a probe */
    uint8_t owed;      /* chosen for its min_share, not by the rule */
    uint8_t desperate; /* all breakers were open: the one that opens first */
    lb_ns wait;        /* when nothing fits: until something may; LB_FOREVER never */
    uint32_t refused[LB_NREASONS]; /* of those looked at, by reason */
    lb_candidate line[LB_CANDIDATES];
} lb_decision;

/* What a call holds.  All zero: nothing. */
typedef struct lb_lease {
    bool live;
    uint8_t nbudgets;
    uint8_t nlimits; /* of the backend when it was chosen; it may learn more */
    uint8_t size;    /* input-size class */
    int32_t backend;
    uint32_t group;
    uint32_t serial;     /* grows from lease to lease of a pool */
    uint32_t generation; /* of the breaker it entered */
    bool captive;        /* paid more rent than it could save: had no choice */
    lb_ns started;
    uint64_t session;
    uint64_t area;    /* of its backend's calls when it left (lb_latency_area) */
    int64_t estimate; /* prompt tokens before calibration, for learning the ratio */
    lb_load load;     /* reserved on the limits */
    int64_t expected; /* output tokens expected */
    int64_t ahead;    /* of them still to come, as counted in the load estimate */
    int64_t cost;     /* nano-USD expected */
    double seconds;   /* duration expected */
    int64_t hold;     /* nano-USD held against each of its budgets */
    uint16_t budget[LB_LEASE_BUDGETS];
    int64_t mark[LB_LIMITS]; /* lb_rate.charged after its own charge */
    lb_decision decision;
} lb_lease;

/* Limits as the response headers told them. */
typedef struct lb_told {
    uint8_t unit; /* enum lb_unit */
    lb_reading reading;
} lb_told;

/* What really happened. */
typedef struct lb_result {
    enum lb_outcome outcome;
    bool sent;         /* false: nothing left this process, everything is refunded */
    bool metered;      /* usage is what the provider billed, not a guess; counts
                        * although the call was refused */
    lb_usage usage;    /* tokens seen; with metered, tokens billed */
    int64_t cost;      /* nano-USD; LB_UNKNOWN: by price and usage */
    double ttft;       /* s to the first token; 0, or no time at all: not measured */
    double seconds;    /* s in all; of a cancelled call: s it was overtaken after, 0: it
                        * was not, and its ttft then is > 0 if it waited for that */
    lb_ns retry_after; /* asked for by the provider; 0: nothing */
    uint8_t ntold;
    lb_told told[LB_READINGS];
} lb_result;

enum { LB_NOTHING = -1 }; /* pick: no backend; lease->decision says why */

/* A result with nothing in it: not sent, cancelled, cost by usage. */
void lb_result_init(lb_result *r);

/* Choose and reserve.  Members with a min_share come before the rule: every choice
 * in which one is eligible adds its share to its credit, every call it gets takes 1
 * off, and who is owed a whole call is chosen (the most is owed first).  It owes no
 * more than one call itself, so that a rule that likes it does not starve it later.
 * Returns the backend's index and fills the lease, or
 * LB_NOTHING with the lease not live and only its decision filled. */
int lb_lease_pick(lb_pool *p, const lb_ask *ask, lb_lease *lease, lb_ns now);

/* Settle a live lease; one that is not live is left alone.  Returns the nano-USD
 * billed (0 when unknown).  What stays charged on the token limits:
 *
 *   not sent                                    nothing, the request neither
 *   refused (429, quota, key, 404, 400)         nothing
 *   failed, timed out, broken, cancelled        the prompt, and output that was seen
 *   answered                                    what was used or billed
 *
 * On limits charged by `chars4` the prompt stays as it was charged, and what was
 * read from a cache is free on those charged as `actual`. */
int64_t lb_lease_settle(lb_pool *p, lb_lease *lease, const lb_result *result,
                        lb_ns now);

/* A stream has brought `output_tokens` so far: they no longer lie ahead of others. */
void lb_lease_progress(lb_pool *p, lb_lease *lease, int64_t output_tokens);

/* How long calls as large as that of a live lease take at its backend, in s. */
typedef struct lb_tail {
    double p50, p95, p99;
} lb_tail;

/* Fill `t` with the backend's learned quantiles, to the first token or in all, times
 * what this call is expected to take of a usual one (1/8 .. 8).  False: fewer than 20
 * answers are known, or none with a first token. */
bool lb_lease_tail(const lb_pool *p, const lb_lease *lease, bool first, lb_tail *t);

/* What pick would see, for every member of the group, without reserving or
 * counting anything; `score` is left out.  Fills at most max quotes; returns how
 * many.  Budgets whose window has ended by `now` are emptied. */
int lb_lease_explain(lb_pool *p, const lb_ask *ask, lb_quote *out, int max, lb_ns now);

#endif /* LB_LEASE_H */

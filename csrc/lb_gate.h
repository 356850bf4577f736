/* lb_gate.h - may this backend serve that call, and what would it cost there?
 *
 * The gates stand in three rows: what the backend can do and the user allows,
 * what the call would cost and take, and whether limits, budgets and breaker have
 * room now.  The first that is shut names the reason.  Time opens only those of
 * the last row, and of these the longest wait is reported, so that nobody has to
 * come back twice.
 *
 *   ask ->  tags  abilities  context  quality  tried  weight
 *        -> price  max_cost  max_latency
 *        -> concurrency  rate limits  budgets  breaker      -> quote
 *
 * Where only calls in flight stand in the way (concurrency, money promised to
 * others), the wait is 1 ns, "soon": no clock tells when one of them ends.
 *
 * Nothing is reserved here; but a half-open breaker counts who asks, if no other
 * gate is shut.
 *
 * What the call asks for, and what it comes to in tokens and money: lb_gate_load.h.
 */
#ifndef LB_GATE_H
#define LB_GATE_H

#include "lb_gate_load.h"

/* Why a backend is not a candidate.  Up to LB_NO_BURST nothing but another
 * request or configuration helps; after that, time does. */
enum lb_reason {
    LB_ELIGIBLE,
    LB_NO_TAG,         /* lacks a tag that was asked for */
    LB_NO_ABILITY,     /* cannot do what the request needs (tools, vision, ...) */
    LB_NO_CONTEXT,     /* the prompt does not fit its context window */
    LB_NO_QUALITY,     /* below the asked quality */
    LB_NO_RETRY,       /* was tried already for this call */
    LB_NO_WEIGHT,      /* drained: weight 0 */
    LB_NO_PRICE,       /* its price is unknown */
    LB_NO_COST,        /* dearer than max_cost */
    LB_NO_LATENCY,     /* slower than max_latency */
    LB_NO_BURST,       /* larger than a limit allows at once: never fits */
    LB_NO_CONCURRENCY, /* too many calls in flight */
    LB_NO_RATE,        /* a rate limit is used up, or a Retry-After runs */
    LB_NO_BUDGET,      /* a budget is used up */
    LB_NO_BREAKER,     /* its breaker is open */
    LB_NO_ORDER,       /* a backend of a lower order is still free */
    LB_NO_STALL,       /* calls hang there, and another backend is free */
    LB_NREASONS,
};

/* Fill `q` for backend `i`.  q->reason says whether it may compete. */
void lb_gate(lb_pool *p, uint32_t i, const lb_ask *ask, lb_outlook *o, lb_quote *q);

/* Nano-USD that the rest of the call's conversation will pay at the backend of `q`, >=
 * 0, for reading its prompt again: from the cache, where there is one, and in full by
 * what limits count. */
float lb_gate_again(const lb_pool *p, const lb_outlook *o, const lb_quote *q);

/* "eligible", "no_tag", ...; NULL outside 0..LB_NREASONS-1. */
const char *lb_reason_name(int reason);

#endif /* LB_GATE_H */

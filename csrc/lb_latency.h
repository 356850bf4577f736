/* lb_latency.h - how long would this backend take for this request, now?
 *
 *     seconds = ttft(input) + (tokens in flight + expected output) * itl
 *
 * Time to first token and time per output token (itl) are learned apart, from
 * complete answers only: a backend that fails fast never looks fast.  The
 * tokens already in flight make the estimate move at the moment of choice, not
 * of completion, which is what keeps simultaneous requests from herding.
 *
 * ttft is a line in the uncached input tokens, fitted by decayed least squares
 * on five moments; itl is an EWMA per sample (weight 0.1).  An estimate that is
 * not renewed drifts to the prior (the pool's own average) within ten minutes,
 * never to "best".  Requests that hang make a backend look slower the longer
 * they hang: once the mean age in flight exceeds 2.5 times the expected
 * duration, the excess is added per request (age guard).
 *
 * All zero is "nothing known yet": the prior answers.
 */
#ifndef LB_LATENCY_H
#define LB_LATENCY_H

#include "lb_base.h"

typedef struct lb_latency {
    float n, x, y, xx, xy; /* decayed moments: x input tokens / 1000, y ttft in s */
    float itl;             /* seconds per output token */
    float seconds;         /* EWMA of whole calls, for the age guard and display */
    float trend;           /* EWMA of (newest - average) whole-call seconds */
    lb_ns learned;         /* time of the newest sample; 0 never */
    int64_t tokens;        /* output tokens expected from calls in flight */
    int32_t calls;         /* calls in flight */
    int32_t samples;       /* complete answers seen, stops at INT32_MAX */
    int64_t started_us;    /* sum over calls in flight of their start, in us */
} lb_latency;

/* What is assumed of a backend nobody has called yet. */
typedef struct lb_latency_prior {
    float ttft; /* seconds [0.5] */
    float itl;  /* seconds per output token [0.02] */
} lb_latency_prior;

/* A call left at `now`, expected to yield `tokens` output tokens (>= 0). */
void lb_latency_start(lb_latency *l, int64_t tokens, lb_ns now);

/* A call that left at `started` is over, however it ended. */
void lb_latency_end(lb_latency *l, int64_t tokens, lb_ns started);

/* Learn from a complete answer: ttft and total in seconds (> 0), input and
 * output tokens (>= 0).  ttft 0: not measured (unary calls), then it is split
 * off by the prior's ratio. */
void lb_latency_learn(lb_latency *l, const lb_latency_prior *prior, int64_t input,
                      int64_t output, double ttft, double total, lb_ns now);

/* Expected time to first token in seconds for `input` uncached tokens. */
double lb_latency_ttft(const lb_latency *l, const lb_latency_prior *prior,
                       int64_t input, lb_ns now);

/* Expected seconds of a call with `input` and `output` tokens sent at `now`,
 * load and age guard included. */
double lb_latency_expect(const lb_latency *l, const lb_latency_prior *prior,
                         int64_t input, int64_t output, lb_ns now);

#endif /* LB_LATENCY_H */

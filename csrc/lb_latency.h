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
 * over running means; itl is an EWMA.  Every sample weighs 0.1, the first ones
 * 1, 1/2, 1/3 ...  Decay goes by samples, not by time (Peak-EWMA's 10 s are
 * shorter than one generation).  What is not renewed drifts in a straight line
 * to the prior (the pool's own average) within ten minutes, never to "best",
 * and the next sample then weighs that much more.
 *
 * Requests that hang make a backend look slower the longer they hang (age
 * guard): of calls in flight, with sums over them,
 *
 *      excess = sum of ages - 2.5 * sum of expected durations
 *
 * is shared out, excess / calls for each of them and one more for the newcomer.
 *
 * All zero is "nothing known yet": the prior answers.
 */
#ifndef LB_LATENCY_H
#define LB_LATENCY_H

#include "lb_base.h"

typedef struct lb_latency {
    float x, y;      /* means: uncached input in 1000 tokens, ttft in s */
    float xx, xy;    /* variance of x, covariance of x and y */
    float base;      /* ttft = base + slope * x; slope >= 0 */
    float slope;     /* seconds per 1000 input tokens */
    float itl;       /* seconds per output token; 0: not known yet */
    float seconds;   /* EWMA of whole calls, for the age guard and display */
    float trend;     /* EWMA of (newest - average) whole-call seconds */
    int32_t samples; /* complete answers seen, stops at INT32_MAX */
    lb_ns learned;   /* time of the newest sample; 0 never */
    int64_t tokens;  /* output tokens expected from calls in flight */
    uint64_t starts; /* sum of the start times of calls in flight, modulo 2^64 */
    int32_t calls;   /* calls in flight */
} lb_latency;

/* What is assumed of a backend nobody has called yet; both > 0. */
typedef struct lb_latency_prior {
    float ttft; /* seconds [0.5] */
    float itl;  /* seconds per output token [0.02] */
} lb_latency_prior;

/* A call left at `now`, expected to yield `tokens` output tokens (>= 0). */
void lb_latency_start(lb_latency *l, int64_t tokens, lb_ns now);

/* A call that left at `started` is over, however it ended; `tokens` as then. */
void lb_latency_end(lb_latency *l, int64_t tokens, lb_ns started);

/* Learn from a complete answer: ttft and total in seconds (> 0), input and
 * output tokens (>= 0).  ttft 0: not measured (unary calls), then `total`
 * is split as the prior would split it.  An answer of one token says nothing
 * about itl. */
void lb_latency_learn(lb_latency *l, const lb_latency_prior *prior, int64_t input,
                      int64_t output, double ttft, double total, lb_ns now);

/* Expected time to first token in seconds (> 0) for `input` uncached tokens. */
double lb_latency_ttft(const lb_latency *l, const lb_latency_prior *prior,
                       int64_t input, lb_ns now);

/* Expected seconds (> 0) of a call with `input` and `output` tokens sent at `now`,
 * load and age guard included. */
double lb_latency_expect(const lb_latency *l, const lb_latency_prior *prior,
                         int64_t input, int64_t output, lb_ns now);

#endif /* LB_LATENCY_H */

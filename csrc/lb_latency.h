/* lb_latency.h - how long would this backend take for this request, now?
 *
 *     seconds = (ttft(input) + expected output * itl) * (1 + steep * (calls - load))
 *
 * Time to first token and time per output token (itl) are learned apart, from
 * complete answers only: a backend that fails fast never looks fast.  ttft is a
 * line in the uncached input tokens, fitted by decayed least squares over running
 * means; itl is an EWMA.  Both hold at the mean load, the calls in flight while
 * answers were made, their own included.  How much longer everything takes with
 * each call more, or shorter with one less, is the steepness:
 *
 *      time                               steep = 0: a host that does not mind
 *       |              , *  *             steep = 1 / load: all calls share one
 *       |        *  ,*  *                          machine or stand in one line,
 *       |  * ,  *                                  twice the calls take twice the
 *       |,                                         time each
 *       +-----------|------- calls        The newcomer sees the calls in flight at
 *                 load                    the moment of choice, plus itself.
 *
 * It is the ratio of two averages over answers: of (their load - the mean)
 * squared, and times (their time / the expected - 1).  Until loads have differed
 * by more than a tenth the machine is taken as shared, the worst that is believed:
 * so the estimate moves when a call is sent, not when it comes back, which keeps
 * simultaneous calls from herding.  For the same reason steep is 0.01 at least.
 *
 * Every sample weighs 0.1, the first ones 1, 1/2, 1/3 ...; 0.02 in the steepness.
 * Decay goes by samples, not by time (Peak-EWMA's 10 s are shorter than one
 * generation).  What is not renewed drifts in a straight line to the prior (the
 * pool's own average, on a shared machine) within ten minutes, never to "best",
 * and the next sample then weighs that much more.
 *
 * Requests that hang make a backend look slower the longer they hang (age
 * guard): of calls in flight, with sums over them,
 *
 *      excess = sum of ages - 2.5 * sum of their durations at the mean load
 *
 * is shared out, excess / calls for each of them and one more for the newcomer.
 * A backend with an excess and three calls in flight is said to stall.
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
    float itl;       /* seconds per output token, at the mean load; 0: not known */
    float load;      /* mean calls in flight while answers were made, >= 1 */
    float nn, nk;    /* variance of the load, covariance with time / expected */
    float steep;     /* share of the time that one call more adds: 0 .. 1 / load */
    float seconds;   /* EWMA of whole calls, for the age guard and display */
    float trend;     /* EWMA of time / expected - 1 beyond what the load explains */
    int32_t samples; /* complete answers seen, stops at INT32_MAX */
    int32_t calls;   /* calls in flight */
    lb_ns learned;   /* time of the newest sample; 0 never */
    int64_t tokens;  /* output tokens expected from calls in flight */
    uint64_t starts; /* sum of the start times of calls in flight, modulo 2^64 */
    uint64_t spent;  /* sum of the durations of calls that are over, likewise */
} lb_latency;

/* What is assumed of a backend nobody has called yet; both > 0. */
typedef struct lb_latency_prior {
    float ttft; /* seconds [0.5] */
    float itl;  /* seconds per output token [0.02] */
} lb_latency_prior;

/* One complete answer. */
typedef struct lb_answer {
    int64_t input;  /* uncached prompt tokens, >= 0 */
    int64_t output; /* tokens, >= 0; one token says nothing about itl */
    double ttft;    /* s, > 0; 0: not measured (unary calls), then `total` is split
                     * as the prior would split it */
    double total;   /* s, > 0 */
    double load;    /* mean number of calls in flight meanwhile; below 1 counts as 1 */
} lb_answer;

/* A call left at `now`, expected to yield `tokens` output tokens (>= 0). */
void lb_latency_start(lb_latency *l, int64_t tokens, lb_ns now);

/* A call that left at `started` is over, however it ended; `tokens` as then. */
void lb_latency_end(lb_latency *l, int64_t tokens, lb_ns started, lb_ns now);

/* Calls in flight, summed over all time until `now` (call-nanoseconds, modulo
 * 2^64): of two readings the difference counts, divided by the time between. */
static inline uint64_t
lb_latency_area(const lb_latency *l, lb_ns now)
{
    return l->spent + (uint64_t)l->calls * (uint64_t)now - l->starts;
}

void lb_latency_learn(lb_latency *l, const lb_latency_prior *prior,
                      const lb_answer *answer, lb_ns now);

/* Expected time to first token in seconds (> 0) for `input` uncached tokens. */
double lb_latency_ttft(const lb_latency *l, const lb_latency_prior *prior,
                       int64_t input, lb_ns now);

/* Expected seconds (> 0) of a call with `input` and `output` tokens sent at `now`,
 * load and age guard included; *stalls is set to whether the backend does. */
double lb_latency_expect(const lb_latency *l, const lb_latency_prior *prior,
                         int64_t input, int64_t output, lb_ns now, bool *stalls);

/* The share (>= 0) by which answers took longer of late than those before them,
 * whatever their length; it fades as everything does that is not renewed. */
double lb_latency_slowing(const lb_latency *l, lb_ns now);

#endif /* LB_LATENCY_H */

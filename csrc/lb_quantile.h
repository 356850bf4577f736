/* lb_quantile.h - quantiles that forget: a decayed histogram, and one number.
 *
 * lb_hist: log-linear buckets of ratio 1.14 from 1 ms to about 14 min.  New
 * samples weigh ever more (1/500 per sample) instead of old ones being scaled
 * down; a rescale every few thousand samples keeps the floats small.  Answers
 * are within 7 % of the true quantile of the recent past.  P2 (Jain, Chlamtac
 * 1985) never forgets: long after a shift its median is still 36 % off.
 *
 * lb_track: a single quantile in eight bytes by stochastic gradient in the log
 * domain ("frugal" streaming): up by step*p when the sample is above, down by
 * step*(1-p) when it is not; coverage is exact in the long run.  The step is
 * 0.1, after the first sample more: 0.1 + 0.9 / samples.
 */
#ifndef LB_QUANTILE_H
#define LB_QUANTILE_H

#include "lb_base.h"

enum { LB_HIST_BUCKETS = 104 };

/* Embed by value; all zero is empty. */
typedef struct lb_hist {
    float weight[LB_HIST_BUCKETS]; /* bucket i: 1.14^i .. 1.14^(i+1) ms */
    float total;                   /* sum of weight[] */
    float unit;                    /* weight of the next sample; 0: empty */
} lb_hist;

/* Add a sample; clamped to 1 ms .. 1.14^104 ms (14 min). */
void lb_hist_add(lb_hist *h, double seconds);

/* The p-quantile in seconds, 0 < p < 1; 0 when empty. */
double lb_hist_quantile(const lb_hist *h, double p);

/* All zero: nothing seen, value 0. */
typedef struct lb_track {
    float value; /* the quantile */
    float seen;  /* samples, stops counting at 1e6 */
} lb_track;

/* Follow the p-quantile (0 < p < 1) of positive samples; x <= 0 counts as 1. */
void lb_track_add(lb_track *t, double p, double x);

/* The quantile; 0 when nothing was seen. */
double lb_track_value(const lb_track *t);

#endif /* LB_QUANTILE_H */

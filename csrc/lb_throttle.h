/* lb_throttle.h - work with less of a limit that its provider does not keep to.
 *
 * A limit is configured, the provider refuses below it (429), and its headers do
 * not say what would be right: a shared account, a tier that changed, an hour of
 * scarcity.  Asking for as much again each time a pause is over would only be
 * refused again.  So what is worked with is halved, and comes back slowly: additive
 * increase, multiplicative decrease, which is fair among those who share something
 * that none of them can see (Chiu, Jain 1989).
 *
 *   100 % ----+                                          +--- 5 % a window
 *             |                                   +------+
 *    50 %     +-----+                  +----+-----+
 *    25 %           +---+------+-------+         time ->
 *             ^     ^   10 % at least
 *        every third refusal in a row
 *
 * Of the limits of the backend those of its shortest window are cut, that no header
 * has ever told, and of which at least a fifth should still have been free: what our
 * own count explains is no news.  Calls that left before the last cut do not count
 * against the smaller one.
 */
#ifndef LB_THROTTLE_H
#define LB_THROTTLE_H

#include "lb_pool.h"

enum {
    LB_THROTTLE_EVERY = 3,  /* refusals in a row for a cut */
    LB_THROTTLE_LEAST = 10, /* % of a limit that always stay */
    LB_THROTTLE_STEP = 5,   /* % that come back in a window */
};

/* A call that left at `started` was refused, the b->refusals-th in a row. */
void lb_throttle_refused(lb_pool *p, const lb_backend *b, lb_ns started, lb_ns now);

/* A call was answered: give back what the time since the last change allows. */
void lb_throttle_answered(lb_pool *p, const lb_backend *b, lb_ns now);

/* The whole limit again: its headers have begun to tell it. */
void lb_throttle_lift(lb_limit *l, lb_ns now);

#endif /* LB_THROTTLE_H */

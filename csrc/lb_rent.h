/* lb_rent.h - what a unit of a scarce limit is worth to the calls that come after.
 *
 * A cheap backend with a small limit is used up by whoever comes first, and later
 * calls pay more elsewhere, also those that would have saved most by it.  So a call
 * pays, in the comparison only, a rent for what it uses of a limit:
 *
 *      rent = units it will use * price of a unit * share of the limit in use
 *
 *      bargain (half in use, 0.40 a million)   0.23 + 0.20 = 0.43 \ goes elsewhere: it
 *      quick   (idle)                          0.35               / saves little here
 *
 * and goes elsewhere when it saves less here than that.  The price is the dual
 * variable of the limit, followed by multiplicative steps: it rises while more than
 * half of the limit is in use and falls while less is, by a factor of e at most in
 * six refill times; it begins, when the limit first gets scarce, at 0.3 of what the
 * call in question saves here against the next cheapest.  At rest all of the limit
 * is used, by the calls that save most per unit.
 *
 * Calls that have no other place to go raise no price, or it would rise without end
 * while everything is in use; and one below a thousandth begins anew when it is next
 * needed, instead of climbing back for hours.
 *
 * Source: dual descent on a resource constraint, the used share being the queue of
 * drift-plus-penalty (Neely 2010).
 */
#ifndef LB_RENT_H
#define LB_RENT_H

#include "lb_base.h"

/* The used share at rest, and that beyond which a limit is scarce for the first time
 * (clearly, so that the rounding of a half does not decide). */
#define LB_RENT_REST   0.5F
#define LB_RENT_SCARCE 0.501F

/* The next price (nano-USD a unit, > 0) when `used` of the limit was in use for the
 * last `refills` (>= 0) times of refilling all of it; at most half of one counts. */
static inline float
lb_rent_move(float price, float used, float refills)
{
    const float gain = 0.3F, most = 0.5F;
    float x = gain * refills;
    return price * (1 + (x < most ? x : most) * (used - LB_RENT_REST));
}

/* The first price: a call that would use `units` saves so many nano-USD; 0 unless both
 * are more than 0. */
static inline float
lb_rent_begin(double saves, double units)
{
    return saves > 0 && units > 0 ? (float)(0.3 * saves / units) : 0;
}

#endif /* LB_RENT_H */

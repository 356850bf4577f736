/* lb_rate.h - how much of a limit is left, and when there will be more.
 *
 * A limit of `limit` units per `window` with room for `burst` units at once is
 * kept as one number, the time at which the whole burst will be free again
 * (`full_at`).  Spending moves it into the future; waiting lets `now` catch
 * up.  Nothing is refilled by a timer.
 *
 *      now                    full_at      now + burst * unit
 *   ----|------------------------|--------------------|----> time
 *       |<------- spent -------->|<------ free ------>|
 *
 * This is GCRA (ITU-T I.371), which equals a token bucket operation for
 * operation, refunds and debts included.  One unit costs window/limit, kept in
 * 1/4096 ns and rounded up, so that rounding never admits too much; fractions
 * are carried, so that nothing drifts.  A wait may be 1 ns longer than that of
 * an exact bucket.
 *
 * Providers tell their own view in response headers.  It is old when it comes:
 * a lease remembers as its mark what `charged` was when it left, so `since` =
 * charged - mark is what the header cannot know of.  The truth now lies between
 *
 *      read + since - elapsed     the burst was never whole in between, and
 *      max(read - elapsed, 0) + since       all of `since` was charged just now
 *
 * and `sync` moves the local view into that range, by no more than it must.
 */
#ifndef LB_RATE_H
#define LB_RATE_H

#include "lb_base.h"

/* Embed by value; owns nothing, needs no free.  All zero means "no limit". */
typedef struct lb_rate {
    uint64_t unit_q12; /* one unit in 1/4096 ns; 0: no limit */
    lb_ns full_at;     /* when the burst is whole; in the past: it is whole now */
    uint32_t frac;     /* 1/4096 ns beyond full_at, 0..4095 */
    uint32_t synced;   /* serial of the newest lease whose headers were adopted */
    int64_t burst;     /* units that may go at once when nothing is spent */
    int64_t charged;   /* units charged since init, refunds subtracted; wraps */
    int64_t limit;     /* units per window, as configured or learned */
    int64_t ceiling;   /* as configured, never learned above; INT64_MAX: by nobody */
    lb_ns window;
} lb_rate;

/* What the headers of one response say; negative: not said. */
typedef struct lb_reading {
    int64_t limit;     /* units per window */
    int64_t remaining; /* units free when the header was written */
    lb_ns reset;       /* time until the burst is whole again */
    lb_ns window;      /* if the header's name tells it */
} lb_reading;

/* Start with nothing spent.  limit, window > 0; burst > 0, or 0 for `limit`.
 * Returns LB_EINVAL outside these, when a unit takes longer than 30 days or the
 * burst longer than 30 years to come back. */
enum lb_status lb_rate_init(lb_rate *r, int64_t limit, lb_ns window, int64_t burst);

/* Configure anew, or for the first time; the ranges of init.  What is spent
 * stays spent (in units). */
enum lb_status lb_rate_resize(lb_rate *r, int64_t limit, lb_ns window, int64_t burst,
                              lb_ns now);

/* Let only `percent` (1..100) of the configured limit come back in a window, at least
 * one unit; 100 is the whole again.  Burst and spent units stay. */
void lb_rate_scale(lb_rate *r, int percent, lb_ns now);

/* How long until `units` (>= 0) fit into `share` (0..1] of the burst, rounded up
 * to whole units: 0 now, LB_FOREVER never.  A request of 0 units always fits; one
 * that is larger than the share, but not than the burst, waits until nothing is
 * spent. */
lb_ns lb_rate_wait(const lb_rate *r, int64_t units, double share, lb_ns now);

/* Spend `units` whatever is free (> 0, the provider has counted them already)
 * or give them back (< 0).  No debt lasts beyond 2^62 ns of the clock (146 years). */
void lb_rate_charge(lb_rate *r, int64_t units, lb_ns now);

/* Units free at `now`, never negative; INT64_MAX when there is no limit. */
int64_t lb_rate_free(const lb_rate *r, lb_ns now);

/* Spent share of the burst: 0 nothing, 1 all, above 1 in debt; 0 without limit. */
double lb_rate_used(const lb_rate *r, lb_ns now);

/* Adopt the headers of the lease `serial` (> 0, may wrap), sent at `sent` when
 * `charged` stood at `mark`: its own charge included, and with it whatever has
 * corrected that charge until now.
 *
 * A reading is ignored when it is older than the newest adopted one, when it
 * finds nothing spent (providers round `remaining`), and when it speaks of
 * another window: a header "limit 10000" may mean a day.  A window that is not
 * named must agree with reset = (limit - remaining) * window / limit.  Another
 * limit than ours is learned, but never above the configured one; a provider
 * who allows more than that can only lower what is free here.
 * Returns whether the reading was adopted. */
bool lb_rate_sync(lb_rate *r, const lb_reading *h, uint32_t serial, int64_t mark,
                  lb_ns sent, lb_ns now);

/* The window a reading speaks of: as named, else inferred as reset * limit /
 * (limit - remaining) and snapped to {1 s, 1 min, 1 h, 1 d, 30 d} when within
 * 10 % of one; 0 when it cannot be told (reset below 20 ms, nothing spent). */
lb_ns lb_reading_window(const lb_reading *h);

/* Refused by the provider: admit nothing for `wait` (>= 0) from now, one unit
 * then.  Never shortens an earlier refusal. */
void lb_rate_block(lb_rate *r, lb_ns wait, lb_ns now);

#endif /* LB_RATE_H */

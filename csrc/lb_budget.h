/* lb_budget.h - money that may be spent in a window, and what is promised of it.
 *
 *     committed = spent + reserved <= cap        at every admission
 *
 * A call reserves its estimated cost before it is sent and settles the real
 * one afterwards, so concurrent calls cannot overspend together.  The only way
 * past the cap is a call that costs more than it reserved.
 *
 * Fixed windows (LB_FIXED) empty at `ends` and then every `period`; who wants
 * calendar days sets `ends` to the next midnight, and again after each roll
 * (`rolls` counts them).  Rolling windows (LB_ROLLING) hold 32 slots of
 * period/32 and forget one slot at a time.  Reservations belong to live calls
 * and survive a roll; costs are booked at the time of settling.
 *
 * Amounts are int64 nano-USD: 9.2e9 USD at most.
 */
#ifndef LB_BUDGET_H
#define LB_BUDGET_H

#include "lb_base.h"

enum lb_budget_kind { LB_TOTAL, LB_FIXED, LB_ROLLING };
enum { LB_BUDGET_SLOTS = 32 };

typedef struct lb_budget {
    int64_t cap;      /* nano-USD in a window, >= 0 */
    int64_t spent;    /* in the current window */
    int64_t reserved; /* by live calls */
    lb_ns period;     /* length of the window; 0 for LB_TOTAL */
    lb_ns ends;       /* LB_FIXED: when it empties; LB_ROLLING: end of the slot;
                       * LB_TOTAL: LB_FOREVER */
    uint8_t kind;     /* enum lb_budget_kind */
    uint8_t hard;     /* refuse beyond the cap; soft budgets only tell */
    uint16_t head;    /* LB_ROLLING: the current slot */
    uint32_t rolls;   /* windows (slots) that ended since init */
    int64_t lifetime; /* spent since init */
    int64_t slot[LB_BUDGET_SLOTS]; /* LB_ROLLING: the parts of `spent` */
} lb_budget;

/* cap >= 0; period > 0 for LB_FIXED, >= 32 ns for LB_ROLLING, unused for
 * LB_TOTAL; ends > now for LB_FIXED, unused otherwise.  Else LB_EINVAL. */
enum lb_status lb_budget_init(lb_budget *b, enum lb_budget_kind kind, bool hard,
                              int64_t cap, lb_ns period, lb_ns ends, lb_ns now);

/* Let time pass: empty what has ended.  Cheap when nothing has. */
void lb_budget_roll(lb_budget *b, lb_ns now);

/* Nano-USD that may still be promised at `now`, never negative; INT64_MAX for a
 * soft budget. */
int64_t lb_budget_free(lb_budget *b, lb_ns now);

/* Promise `nano` (>= 0).  The caller has asked free(). */
void lb_budget_reserve(lb_budget *b, int64_t nano);

/* A promise of `reserved` became a cost of `spent` (both >= 0); counters stop
 * at INT64_MAX. */
void lb_budget_settle(lb_budget *b, int64_t reserved, int64_t spent, lb_ns now);

/* How long until `nano` (>= 0) fits, if every live call costs what it reserved?
 * 0 now (soft budgets: always); LB_FOREVER when it never will (above the cap, or
 * LB_TOTAL).  Live calls are taken to settle at once when the window rolls, after
 * its end when it is fixed. */
lb_ns lb_budget_wait(lb_budget *b, int64_t nano, lb_ns now);

#endif /* LB_BUDGET_H */

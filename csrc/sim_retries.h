/* sim_retries.h - how much of the load may be retries, as the Router counts it.
 *
 *      deposit    every call                       share
 *      withdraw   another backend                  1
 *                 the same backends once more      2, only while the balance covers it
 *
 * The balance runs over the last ten seconds and begins at 3.  Going on to another
 * backend is never refused; it only leaves less for repetition.
 */
#ifndef SIM_RETRIES_H
#define SIM_RETRIES_H

#include "lb_base.h"

typedef struct sim_retries {
    double share;    /* of a call; negative: repeat as often as you like */
    double slot[10]; /* of a second each */
    int64_t second;  /* of the newest slot */
} sim_retries;

/* The slot of this second; those that have passed are emptied. */
static inline double *
sim_retries_slot(sim_retries *r, lb_ns now)
{
    int64_t second = now / LB_NS_PER_S;
    for (int64_t s = lb_max(r->second, second - 10) + 1; s <= second; s++)
        r->slot[s % 10] = 0;
    r->second = second;
    return &r->slot[second % 10];
}

/* A call begins. */
static inline void
sim_retries_deposit(sim_retries *r, lb_ns now)
{
    *sim_retries_slot(r, now) += r->share;
}

/* A call goes on to another backend. */
static inline void
sim_retries_withdraw(sim_retries *r, lb_ns now)
{
    *sim_retries_slot(r, now) -= 1;
}

/* Whether a call may ask the same backends once more; that is withdrawn. */
static inline bool
sim_retries_allow(sim_retries *r, lb_ns now)
{
    const double floor = 3, again = 2, dust = 1e-9; /* ten times 0.2 is 2 */
    double *slot = sim_retries_slot(r, now), balance = floor + dust;
    if (r->share < 0)
        return true;
    for (int k = 0; k < 10; k++)
        balance += r->slot[k];
    if (balance < again)
        return false;
    *slot -= again;
    return true;
}

#endif /* SIM_RETRIES_H */

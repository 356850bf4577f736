/* lease_kit.h - one pool, one ask and one lease of it, for tests of what a call does.
 *
 *     fresh(2, LB_COST);       two backends of pool_kit.h, a prompt of 1,000 tokens
 *     CHECK_EQ(pick(0), 0);    backend 0 is chosen, and `lease` holds it
 *     settle_as(LB_DONE, SEC);
 *     nothing_is_left_reserved();
 */
#ifndef LEASE_KIT_H
#define LEASE_KIT_H

#include "check.h"
#include "pool_kit.h"

static lb_pool *p;
static uint32_t group; /* all backends of the pool */
static lb_ask ask;
static lb_lease lease;

/* A new pool of `n`, with an ask for its group. */
static void
fresh(uint32_t n, enum lb_strategy strategy)
{
    lb_pool_free(p);
    p = kit_pool(n);
    group = (uint32_t)kit_group(p, strategy);
    ask = kit_ask((int)group, 1000);
    lease = (lb_lease){.live = false};
}

static int
pick(lb_ns now)
{
    return lb_lease_pick(p, &ask, &lease, now);
}

static void
settle_as(enum lb_outcome outcome, lb_ns now)
{
    lb_result r = kit_ended(outcome);
    (void)lb_lease_settle(p, &lease, &r, now);
}

static int
limit(uint32_t backend, enum lb_unit unit, enum lb_charge charge, int64_t amount)
{
    return lb_pool_add_limit(p, backend, unit, charge, amount, MIN, 0);
}

/* Units spent of limit `i`; the time stands still, so nothing comes back. */
static int64_t
spent(int i)
{
    const lb_limit *l = lb_pool_limit(p, (uint32_t)i);
    return l->rate.burst - lb_rate_free(&l->rate, 0);
}

static void
nothing_is_left_reserved(void)
{
    CHECK_EQ(p->calls, 0);
    for (uint32_t i = 0; i < p->used.backends; i++) {
        CHECK_EQ(lb_pool_backend(p, i)->latency.calls, 0);
        CHECK_EQ(lb_pool_backend(p, i)->latency.tokens, 0);
    }
    for (uint32_t i = 0; i < p->used.budgets; i++)
        CHECK_EQ(lb_pool_budget(p, i)->reserved, 0);
}

#endif /* LEASE_KIT_H */

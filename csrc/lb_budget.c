#include "lb_budget.h"

#include <assert.h>

enum lb_status
lb_budget_init(lb_budget *b, enum lb_budget_kind kind, bool hard, int64_t cap,
               lb_ns period, lb_ns ends, lb_ns now)
{
    bool timed = kind == LB_TOTAL || period >= (kind == LB_FIXED ? 1 : LB_BUDGET_SLOTS);
    if (cap < 0 || !timed || (kind == LB_FIXED && ends <= now))
        return LB_EINVAL;
    *b = (lb_budget){.cap = cap, .kind = (uint8_t)kind, .hard = hard};
    b->period = kind == LB_TOTAL ? 0 : period;
    if (kind == LB_TOTAL)
        b->ends = LB_FOREVER;
    else if (kind == LB_FIXED)
        b->ends = ends;
    else
        b->ends = lb_add_capped(now, period / LB_BUDGET_SLOTS);
    return LB_OK;
}

static void
forget_slots(lb_budget *b, int64_t slots)
{
    for (; slots > 0; slots--) {
        b->head = (uint16_t)((b->head + 1) % LB_BUDGET_SLOTS);
        b->spent -= b->slot[b->head];
        b->slot[b->head] = 0;
    }
}

void
lb_budget_roll(lb_budget *b, lb_ns now)
{
    if (now < b->ends || b->kind == LB_TOTAL)
        return;
    lb_ns width = b->kind == LB_FIXED ? b->period : b->period / LB_BUDGET_SLOTS;
    int64_t ended = (now - b->ends) / width + 1;
    b->ends = lb_add_capped(b->ends, ended * width);
    b->rolls += (uint32_t)ended;
    if (b->kind == LB_FIXED)
        b->spent = 0;
    else
        forget_slots(b, lb_min(ended, LB_BUDGET_SLOTS));
}

static int64_t
committed(const lb_budget *b)
{
    return lb_add_capped(b->spent, b->reserved);
}

int64_t
lb_budget_free(lb_budget *b, lb_ns now)
{
    if (!b->hard)
        return INT64_MAX;
    if (now >= b->ends)
        lb_budget_roll(b, now);
    return lb_max(b->cap - committed(b), 0);
}

void
lb_budget_reserve(lb_budget *b, int64_t nano)
{
    assert(nano >= 0);
    b->reserved = lb_add_capped(b->reserved, nano);
}

void
lb_budget_settle(lb_budget *b, int64_t reserved, int64_t spent, lb_ns now)
{
    assert(reserved >= 0 && spent >= 0);
    lb_budget_roll(b, now);
    b->reserved = lb_max(b->reserved - reserved, 0);
    spent = lb_min(spent, INT64_MAX - b->spent); /* so that slots still add up */
    b->spent += spent;
    if (b->kind == LB_ROLLING)
        b->slot[b->head] += spent;
    b->lifetime = lb_add_capped(b->lifetime, spent);
}

/* The oldest slot ends first, the current one, where live calls will be booked,
 * last: walk until enough has been forgotten. */
static lb_ns
rolling_wait(const lb_budget *b, int64_t excess, lb_ns now)
{
    lb_ns width = b->period / LB_BUDGET_SLOTS, wait = b->ends - now;
    for (int i = 1; i < LB_BUDGET_SLOTS; i++) {
        excess -= b->slot[(b->head + i) % LB_BUDGET_SLOTS];
        if (excess <= 0)
            return wait;
        wait = lb_add_capped(wait, width);
    }
    return wait;
}

lb_ns
lb_budget_wait(lb_budget *b, int64_t nano, lb_ns now)
{
    assert(nano >= 0);
    if (nano <= lb_budget_free(b, now))
        return 0;
    if (b->kind == LB_TOTAL || nano > b->cap)
        return LB_FOREVER;
    int64_t room = b->cap - nano;
    if (b->kind == LB_ROLLING)
        return rolling_wait(b, committed(b) - room, now);
    lb_ns wait = b->ends - now;
    return b->reserved <= room ? wait : lb_add_capped(wait, b->period);
}

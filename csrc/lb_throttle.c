#include "lb_throttle.h"

static void
work_with(lb_limit *l, int working, lb_ns now)
{
    l->working = (uint8_t)working;
    l->changed = now;
    lb_rate_scale(&l->rate, working, now);
    lb_limit_tuned(l);
}

void
lb_throttle_lift(lb_limit *l, lb_ns now)
{
    if (l->working < LB_WHOLE)
        work_with(l, LB_WHOLE, now);
}

/* What headers tell is known; and where there is no limit, nothing is to be cut. */
static bool
is_known(const lb_limit *l)
{
    return l->learned || l->rate.synced != 0 || l->rate.unit_q12 == 0;
}

/* Less than a fifth of what is worked with was free by our own count. */
static bool
is_full(const lb_limit *l, lb_ns now)
{
    double spent = (double)(l->rate.burst - lb_rate_free(&l->rate, now));
    return 1.25 * LB_WHOLE * spent > (double)l->rate.burst * l->working;
}

static lb_ns
shortest_window(const lb_pool *p, const lb_backend *b)
{
    lb_ns shortest = LB_FOREVER;
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        if (!is_known(l))
            shortest = lb_min(shortest, l->rate.window);
    }
    return shortest;
}

void
lb_throttle_refused(lb_pool *p, const lb_backend *b, lb_ns started, lb_ns now)
{
    if (b->refusals % LB_THROTTLE_EVERY != 0)
        return;
    lb_ns shortest = shortest_window(p, b);
    for (int k = 0; k < b->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        bool knew = l->working < LB_WHOLE && started < l->changed;
        if (is_known(l) || l->rate.window > shortest || knew || is_full(l, now))
            continue;
        work_with(l, (int)lb_max(l->working / 2, LB_THROTTLE_LEAST), now);
    }
}

void
lb_throttle_answered(lb_pool *p, const lb_backend *b, lb_ns now)
{
    for (int k = 0; k < b->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        if (l->working >= LB_WHOLE)
            continue;
        int64_t windows = (now - l->changed) / l->rate.window;
        if (windows <= 0)
            continue;
        lb_ns at = l->changed + windows * l->rate.window;
        int64_t working = l->working + LB_THROTTLE_STEP * lb_min(windows, LB_WHOLE);
        work_with(l, (int)lb_min(working, LB_WHOLE), now);
        l->changed = at; /* what is left of the present window counts on */
    }
}

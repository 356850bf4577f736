#include "net_timer.h"

static void
place(net_timers *ts, uint32_t i, net_timer *t)
{
    ts->heap[i] = t;
    t->slot = i + 1;
}

static void
sift_up(net_timers *ts, uint32_t i, net_timer *t)
{
    while (i > 0) {
        uint32_t up = (i - 1) / 2;
        if (ts->heap[up]->at <= t->at)
            break;
        place(ts, i, ts->heap[up]);
        i = up;
    }
    place(ts, i, t);
}

static void
sift_down(net_timers *ts, uint32_t i, net_timer *t)
{
    for (;;) {
        uint32_t kid = 2 * i + 1;
        if (kid >= ts->len)
            break;
        if (kid + 1 < ts->len && ts->heap[kid + 1]->at < ts->heap[kid]->at)
            kid++;
        if (t->at <= ts->heap[kid]->at)
            break;
        place(ts, i, ts->heap[kid]);
        i = kid;
    }
    place(ts, i, t);
}

static void
settle(net_timers *ts, uint32_t i, net_timer *t)
{
    sift_up(ts, i, t);
    sift_down(ts, t->slot - 1, t);
}

bool
net_timers_set(net_timers *ts, net_timer *t, lb_ns at)
{
    t->at = at;
    if (t->slot != 0) {
        settle(ts, t->slot - 1, t);
        return true;
    }
    if (ts->len == ts->cap) {
        uint32_t cap = ts->cap == 0 ? 64 : ts->cap * 2;
        net_timer **heap = realloc(ts->heap, cap * sizeof(net_timer *));
        if (heap == NULL)
            return false;
        ts->heap = heap;
        ts->cap = cap;
    }
    sift_up(ts, ts->len++, t);
    return true;
}

void
net_timers_clear(net_timers *ts, net_timer *t)
{
    if (t->slot == 0)
        return;
    uint32_t i = t->slot - 1;
    net_timer *last = ts->heap[--ts->len];
    t->slot = 0;
    if (last != t)
        settle(ts, i, last);
}

net_timer *
net_timers_due(const net_timers *ts, lb_ns now)
{
    return ts->len > 0 && ts->heap[0]->at <= now ? ts->heap[0] : NULL;
}

lb_ns
net_timers_wait(const net_timers *ts, lb_ns now)
{
    return ts->len == 0 ? LB_FOREVER : lb_max(ts->heap[0]->at - now, 0);
}

void
net_timers_free(net_timers *ts)
{
    free(ts->heap);
    *ts = (net_timers){0};
}

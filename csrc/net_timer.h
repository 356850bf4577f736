/* net_timer.h - deadlines in order: a binary heap of timers that live elsewhere.
 *
 * Each timer knows its place in the heap, so moving or removing one costs
 * O(log n) without a search.  A deadline that is only pushed back may stay
 * where it is: when it fires too early, its owner looks at what is really due
 * and sets it again.  That keeps the idle timer of a stream, which every byte
 * moves, out of the heap's way.
 */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include "net_base.h"

/* Embed by value; all zero is "not set". */
typedef struct net_timer {
    lb_ns at;      /* when it is due */
    uint32_t slot; /* 1 + index in the heap; 0: not set */
    uint8_t kind;  /* the owner's mark: what to do when it fires */
} net_timer;

/* All zero is an empty heap. */
typedef struct net_timers {
    net_timer **heap;
    uint32_t len;
    uint32_t cap;
} net_timers;

/* Set, or set anew, to `at`.  false: out of memory, and it is not set. */
bool net_timers_set(net_timers *ts, net_timer *t, lb_ns at);

/* Take it out; harmless if it is not set. */
void net_timers_clear(net_timers *ts, net_timer *t);

/* The earliest one, left in the heap, if it is due at `now`; else NULL. */
net_timer *net_timers_due(const net_timers *ts, lb_ns now);

/* How long until the earliest is due: >= 0, LB_FOREVER when there is none. */
lb_ns net_timers_wait(const net_timers *ts, lb_ns now);

void net_timers_free(net_timers *ts);

#endif /* NET_TIMER_H */

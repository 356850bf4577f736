/* net_wake.h - a bell one thread rings and another can poll for.
 *
 * An eventfd on Linux, a pipe elsewhere; both ends never block.  Rings that
 * come before the bell is read are one.
 */
#ifndef NET_WAKE_H
#define NET_WAKE_H

#include "net_base.h"

typedef struct net_wake {
    int read_fd;  /* readable once the bell has been rung; -1: not open */
    int write_fd; /* the same descriptor for an eventfd */
} net_wake;

bool net_wake_open(net_wake *w); /* false: no descriptor to be had */
void net_wake_ring(const net_wake *w);
void net_wake_clear(const net_wake *w);
void net_wake_close(net_wake *w);

/* Wait up to `wait` ns (LB_FOREVER: no limit) for a ring.
 * 1: rung; 0: time is up; -1: interrupted by a signal. */
int net_wake_wait(const net_wake *w, lb_ns wait);

#endif /* NET_WAKE_H */

/* net_poll.h - which of many sockets are ready: epoll, kqueue, or poll.
 *
 * One table, indexed by descriptor, says who waits for what; the kernel's own
 * set follows it.  libcurl closes and reopens sockets between its calls, so a
 * descriptor may have left the kernel's set behind our back: a change that
 * finds it missing adds it, a removal that finds it gone is content.
 */
#ifndef NET_POLL_H
#define NET_POLL_H

#include "net_base.h"

enum {
    NET_IN = 1,    /* readable, or broken */
    NET_OUT = 2,   /* writable, or broken */
    NET_ERROR = 4, /* reported only */
};

typedef struct net_ready {
    int fd;
    int what;    /* NET_IN | NET_OUT | NET_ERROR */
    void *owner; /* as given to net_poll_set() */
} net_ready;

typedef struct net_poll net_poll;

/* NULL: the kernel gives no queue, or out of memory. */
net_poll *net_poll_new(void);
void net_poll_free(net_poll *p); /* NULL is fine */

/* Wait for `want` on `fd` on behalf of `owner`; 0 forgets it.
 * false: out of memory, or the kernel refused the descriptor. */
bool net_poll_set(net_poll *p, int fd, int want, void *owner);

/* Fill at most `max` entries; sleep up to `wait` ns (LB_FOREVER: until one is
 * ready) unless something is ready now.  Returns how many, 0 on a signal. */
int net_poll_wait(net_poll *p, net_ready *out, int max, lb_ns wait);

/* The kernel queue's own descriptor, or -1: a forked child closes its copy. */
int net_poll_fd(const net_poll *p);

#endif /* NET_POLL_H */

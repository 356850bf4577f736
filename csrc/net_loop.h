/* net_loop.h - the world of the I/O thread: sockets, timers, transfers in flight.
 *
 * Nothing here is shared; every function runs on the I/O thread.  One turn:
 *
 *     net_loop_poll()   sleep; tell libcurl which sockets are ready
 *     (the engine's queue: submit, cancel, resume, ...)
 *     net_loop_settle() fire what is due; fetch every result libcurl has
 *
 * libcurl may finish a transfer inside any call made to it, so results are
 * fetched after every one: an origin that was called is "touched" until then.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "net_base.h"

#include <stdatomic.h>

#include "net_origin.h"
#include "net_poll.h"
#include "net_request.h"
#include "net_timer.h"
#include "net_wake.h"

enum { NET_TIMER_ORIGIN, NET_TIMER_TRANSFER };

enum { NET_SLOTS = 4096 }; /* of the id table; ids are dense, so chains stay short */

typedef struct net_loop {
    net_poll *poll;
    net_timers timers;
    const net_wake *bell; /* rung by submitters */
    uint64_t engine;      /* number of this engine, for origins to recognise it */
    net_request *in_flight[NET_SLOTS];
    net_origin *touched;
    net_origin *live;            /* all with a multi */
    _Atomic uint64_t *completed; /* the engine's counters */
    _Atomic uint64_t *connected;
    _Atomic uint64_t *origins;
} net_loop;

bool net_loop_open(net_loop *l, const net_wake *bell);

/* End every transfer with NET_ENGINE and release everything. */
void net_loop_close(net_loop *l);

void net_loop_poll(net_loop *l, lb_ns wait);
void net_loop_settle(net_loop *l);

/* Start a request; if it cannot be started, its end is delivered at once. */
void net_loop_begin(net_loop *l, net_request *r);

/* The request in flight with that id, or NULL. */
net_request *net_loop_find(const net_loop *l, uint64_t id);

/* End all that belongs to `port` with NET_CANCELLED. */
void net_loop_abandon(net_loop *l, const struct net_port *port);

/* Give back the origin's handles, its connections, and itself. */
void net_loop_drop(net_loop *l, net_origin *o);

/* For net_transfer.c: the origin's CURLM, made if need be (NULL: cannot). */
void *net_loop_multi(net_loop *l, net_origin *o);

/* For net_transfer.c: libcurl was called for `o`; look for results. */
void net_loop_touch(net_loop *l, net_origin *o);

/* For net_transfer.c: it has ended; forget it and deliver `reply`. */
void net_loop_end(net_loop *l, net_request *r, net_buf *events, uint32_t n_events);

/* For net_transfer.c: let the handle open and close its sockets through us. */
void net_loop_socket_options(net_loop *l, void *easy);

#endif /* NET_LOOP_H */

/* net_loop.h - the world of the I/O thread: what it watches, what is in flight.
 *
 * Nothing here is shared; every function runs on the I/O thread.  One turn:
 *
 *     net_watch_poll()    sleep; tell libcurl which sockets are ready
 *     (the engine's queue: submit, cancel, resume, ...)
 *     net_loop_settle()   fire what is due; fetch every result libcurl has
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "net_base.h"
#include "net_flight.h"
#include "net_origin.h"
#include "net_watch.h"

typedef struct net_loop {
    net_watch watch;
    net_flights flights;
} net_loop;

/* Fire every timer that is due, and end what libcurl says is over. */
void net_loop_settle(net_loop *l);

/* Give back the origin's handles, its connections, and itself. */
void net_loop_drop(net_loop *l, net_origin *o);

/* End every transfer with NET_ENGINE and release everything. */
void net_loop_close(net_loop *l);

#endif /* NET_LOOP_H */

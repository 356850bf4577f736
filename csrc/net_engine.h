/* net_engine.h - the I/O thread of the process: started when needed, stopped once.
 *
 * The life of a request, and the files in which it happens:
 *
 *    any thread              the I/O thread                       the port's thread
 *
 *    net_request_new()
 *    net_engine_submit() --> net_order.h: a queue
 *                            net_flight_start()
 *                            |  net_handle.h   set for the request
 *                            |  net_watch.h    sockets, libcurl's deadline
 *                            |  net_receive.h  headers, events -> net_port_take()
 *    net_engine_cancel() --> net_order.h
 *                            net_flight_result(), net_flight_end()
 *                            |  net_failure.h  what went wrong
 *                            '--------------------- its end ----> net_port_take()
 *                                                                 net_parcel_free(),
 *                                                                 and the request too
 *
 * Every function here may be called from any thread and returns at once, but
 * for net_engine_stop().  Only the I/O thread touches libcurl's handles, and it
 * never touches the interpreter.  A forked child starts with no engine and
 * begins one of its own at its first request; the parent's is not disturbed.
 */
#ifndef NET_ENGINE_H
#define NET_ENGINE_H

#include "net_base.h"
#include "net_origin.h"
#include "net_port.h"
#include "net_request.h"

typedef struct net_stats {
    uint64_t threads;     /* 1 while the I/O thread runs */
    uint64_t submitted;   /* requests accepted since the process began */
    uint64_t completed;   /* of these, how many have ended, well or not */
    uint64_t connections; /* sockets open now */
    uint64_t connected;   /* sockets opened since the process began */
    uint64_t origins;     /* origins with a connection pool now */
} net_stats;

/* Hand over a request; its end will arrive at its port, whatever happens.
 * LB_OK; LB_ENOMEM; LB_EFULL while the engine is being stopped.  Otherwise than
 * LB_OK the request stays the caller's. */
enum lb_status net_engine_submit(net_request *r);

/* End a request with NET_CANCELLED; harmless if it has already ended. */
void net_engine_cancel(uint64_t id);

/* The consumer is late: stop reading a stream, and go on reading it. */
void net_engine_pause(uint64_t id);
void net_engine_resume(uint64_t id);

/* A parcel said that its stream waits for room, and it has been fetched. */
void net_engine_room(uint64_t id);

/* Cancel what is in flight for a closed port; takes over one reference. */
void net_engine_abandon(net_port *p);

/* End all transfers with NET_ENGINE, close all connections, join the thread.
 * false: it did not end within `wait` ns.  A later submit starts a new one. */
bool net_engine_stop(lb_ns wait);

net_stats net_engine_stats(void);

#endif /* NET_ENGINE_H */

/* net_flight.h - the requests in flight: put on the wire, found by id, ended.
 *
 *     net_flight_start() --> libcurl --> net_flight_result()   it says that it is over
 *                                    --> net_flight_end()      limit, cancel, or stop
 *
 * Each ends exactly once, and its end is delivered to its port.  A request that found
 * its kept connection dead before any byte of a reply is sent once more on a fresh one,
 * but only soon after it was sent: a server that works for a while and then closes has
 * failed, and may have billed.
 */
#ifndef NET_FLIGHT_H
#define NET_FLIGHT_H

#include "net_base.h"
#include "net_port.h"
#include "net_request.h"
#include "net_transfer.h"
#include "net_watch.h"

enum { NET_SLOTS = 4096 }; /* of the id table; ids are dense, so chains stay short */

typedef struct net_flights {
    net_transfer *by_id[NET_SLOTS];
    _Atomic uint64_t *completed; /* the engine's counter */
} net_flights;

/* Put a request on the wire; if it cannot be started, its end is delivered at once. */
void net_flight_start(net_flights *f, net_watch *w, net_request *r);

/* libcurl says that it is over, with a CURLcode. */
void net_flight_result(net_flights *f, net_transfer *t, int result);

/* End it now, for a reason of ours. */
void net_flight_end(net_flights *f, net_transfer *t, enum net_error e);

/* End all whose port it is; NULL: all. */
void net_flight_end_all(net_flights *f, const net_port *port, enum net_error e);

/* The one with that id, or NULL: it has ended. */
net_transfer *net_flight_find(const net_flights *f, uint64_t id);

/* Go on reading a stream, if it had stopped and nothing else holds it. */
void net_flight_resume(net_transfer *t);

#endif /* NET_FLIGHT_H */

/* net_port.h - the mailbox through which the I/O thread reaches one event loop.
 *
 *   I/O thread                      |  the loop's thread
 *   net_port_give(head/events/end)  |
 *      parcel waits --- bell rings --> readable descriptor
 *                                   |  net_port_take(): all parcels that wait
 *
 * What one request has to say before anybody looks is gathered in one parcel,
 * in the order head, events, end: a loop that is late gets fewer and larger
 * deliveries, not more.  The bell is rung only when the mailbox was empty.
 *
 * Events are packed one after the other, lengths in the machine's byte order:
 *
 *     | name length u32 | data length u32 | name | data |
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include "net_base.h"

#include <pthread.h>
#include <stdatomic.h>

#include "net_request.h"
#include "net_wake.h"

typedef struct net_port {
    _Atomic uint32_t refs; /* the owner's and one of each request */
    unsigned epoch;        /* net_fork_epoch() of the process it belongs to */
    net_wake bell;
    pthread_mutex_t lock; /* guards what follows and the requests' parcels */
    net_parcel *first;
    net_parcel *last;
    bool closed; /* nobody listens: what is given is dropped */
} net_port;

net_port *net_port_new(void); /* NULL: out of memory or descriptors */
net_port *net_port_ref(net_port *p);
void net_port_unref(net_port *p);

/* In a forked child, before first use: forget the parent's parcels and take a
 * bell of its own.  false: no descriptor to be had.  Harmless elsewhere. */
bool net_port_renew(net_port *p);

/* I/O thread: deliver any of the three; what is not NULL becomes the port's,
 * and `events` is left empty.  After an `end` the request is not ours any more.
 * Returns the bytes of events that wait for this request, SIZE_MAX when out of
 * memory (never for an end alone). */
size_t net_port_give(net_request *r, net_reply *head, net_buf *events,
                     uint32_t n_events, net_reply *end);

/* I/O thread: are at least `high` bytes of events still waiting?  If so, the
 * parcel that is fetched next says `room`. */
bool net_port_full(net_request *r, size_t high);

/* Everything that waits, in order of first arrival; NULL for nothing.  Free
 * each with net_parcel_free(), which also frees a request that has ended. */
net_parcel *net_port_take(net_port *p);
void net_parcel_free(net_parcel *parcel);

/* Walk packed events: start with *at = 0; false at the end. */
bool net_parcel_event(const net_parcel *parcel, size_t *at, net_text *name,
                      net_text *data);

/* Pack one event at the end of `b`; false: out of memory, nothing added. */
bool net_parcel_pack(net_buf *b, net_text name, net_text data);

/* Drop what waits and whatever comes later. */
void net_port_close(net_port *p);

#endif /* NET_PORT_H */

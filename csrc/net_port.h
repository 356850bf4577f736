/* net_port.h - the mailbox through which the I/O thread reaches one event loop.
 *
 *   I/O thread                      |  the loop's thread
 *   net_port_give(head/events/end)  |
 *      parcel waits --- bell rings --> readable descriptor
 *                                   |  net_port_take(): all parcels that wait
 *
 * What one sender has to say before anybody looks is gathered in one parcel,
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

#include "net_reply.h"
#include "net_wake.h"

/* One delivery: what a sender had to say until somebody looked. */
typedef struct net_parcel {
    struct net_parcel *next;
    struct net_sender *from; /* alive until its end has been freed */
    net_reply *head;         /* headers of a stream, or NULL */
    net_buf events;          /* packed, see above */
    uint32_t n_events;
    net_reply *end; /* the last thing a sender gives, or NULL */
    bool room;      /* its stream stopped until this was fetched: net_engine_room() */
} net_parcel;

typedef struct net_port {
    _Atomic uint32_t refs; /* the owner's and one of each sender */
    unsigned epoch;        /* net_fork_epoch() of the process it belongs to */
    net_wake bell;
    pthread_mutex_t lock; /* guards what follows and the senders' parcels */
    net_parcel *first;
    net_parcel *last;
    bool closed; /* nobody listens: what is given is dropped */
} net_port;

/* Who gives parcels to a port; embedded in each request. */
typedef struct net_sender {
    uint64_t id; /* never 0, never reused */
    void *token; /* the listener's own mark */
    net_port *port;
    void (*over)(struct net_sender *); /* its end was freed or dropped: free it too */

    net_parcel *parcel; /* port's lock: the delivery that waits, or NULL */
    bool want_room;     /* port's lock: resume once that one is fetched */
    net_parcel last;    /* reserved for the end, which therefore cannot fail */
} net_sender;

net_port *net_port_new(void); /* NULL: out of memory or descriptors */
net_port *net_port_ref(net_port *p);
void net_port_unref(net_port *p);

/* In a forked child, before first use: forget the parent's parcels and take a
 * bell of its own.  false: no descriptor to be had.  Harmless elsewhere. */
bool net_port_renew(net_port *p);

/* I/O thread: deliver any of the three; what is not NULL becomes the port's,
 * and `events` is left empty.  After an `end` the sender is not ours any more.
 * Returns the bytes of its events that wait, SIZE_MAX when out of memory (never for
 * an end alone). */
size_t net_port_give(net_sender *from, net_reply *head, net_buf *events,
                     uint32_t n_events, net_reply *end);

/* I/O thread: are at least `high` bytes of events still waiting?  If so, the
 * parcel that is fetched next says `room`. */
bool net_port_full(net_sender *from, size_t high);

/* Everything that waits, in order of first arrival; NULL for nothing.  Free
 * each with net_parcel_free(), which frees a sender together with its end. */
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

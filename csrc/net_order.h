/* net_order.h - what other threads want of the I/O thread, in the order they said it.
 *
 *     any thread                        the I/O thread
 *     net_orders_add(), _drop()  --->   net_orders_run() on what has gathered
 *
 * Two queues take turns: one is filled under the engine's lock while the other is being
 * worked off, and then they are exchanged.
 */
#ifndef NET_ORDER_H
#define NET_ORDER_H

#include "net_base.h"
#include "net_loop.h"
#include "net_origin.h"
#include "net_port.h"
#include "net_request.h"

enum net_order_kind {
    NET_ORDER_SUBMIT,  /* request: put it on the wire */
    NET_ORDER_CANCEL,  /* id: end it */
    NET_ORDER_PAUSE,   /* id: its consumer is late, stop reading */
    NET_ORDER_RESUME,  /* id: go on reading */
    NET_ORDER_ROOM,    /* id: go on reading, unless its consumer has paused it */
    NET_ORDER_ABANDON, /* port: end all that reports to it; takes over one reference */
};

typedef struct net_order {
    enum net_order_kind kind;
    union {
        uint64_t id; /* may have ended meanwhile */
        net_request *request;
        net_port *port;
    };
} net_order;

/* All zero is an empty queue. */
typedef struct net_orders {
    net_order *item;
    size_t len;
    size_t cap;
    net_origin *dropped; /* linked through themselves: letting go cannot fail */
} net_orders;

/* false: out of memory, nothing added. */
bool net_orders_add(net_orders *q, net_order o);

/* Let go of an origin that nobody refers to any more, after all that was ordered. */
void net_orders_drop(net_orders *q, net_origin *o);

static inline bool
net_orders_none(const net_orders *q)
{
    return q->len == 0 && q->dropped == NULL;
}

/* I/O thread: do what was ordered, and empty the queue. */
void net_orders_run(net_orders *q, net_loop *l);

#endif /* NET_ORDER_H */

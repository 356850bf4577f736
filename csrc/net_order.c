#include "net_order.h"

bool
net_orders_add(net_orders *q, net_order o)
{
    if (q->len == q->cap) {
        size_t cap = q->cap == 0 ? 256 : q->cap * 2;
        net_order *item = realloc(q->item, cap * sizeof *item);
        if (item == NULL)
            return false;
        q->item = item;
        q->cap = cap;
    }
    q->item[q->len++] = o;
    return true;
}

void
net_orders_drop(net_orders *q, net_origin *o)
{
    o->dropped = q->dropped;
    q->dropped = o;
}

/* What is said to one that may have ended meanwhile. */
static void
tell(net_flights *f, enum net_order_kind what, uint64_t id)
{
    net_transfer *t = net_flight_find(f, id);
    if (t == NULL)
        return;
    if (what == NET_ORDER_CANCEL) {
        net_flight_end(f, t, NET_CANCELLED);
        return;
    }
    if (what != NET_ORDER_ROOM)
        t->held = what == NET_ORDER_PAUSE;
    net_flight_resume(t);
}

static void
run(net_loop *l, net_order o)
{
    switch (o.kind) {
    case NET_ORDER_SUBMIT:
        net_flight_start(&l->flights, &l->watch, o.request);
        return;
    case NET_ORDER_ABANDON:
        net_flight_end_all(&l->flights, o.port, NET_CANCELLED);
        net_port_unref(o.port);
        return;
    case NET_ORDER_CANCEL:
    case NET_ORDER_PAUSE:
    case NET_ORDER_RESUME:
    case NET_ORDER_ROOM:
        tell(&l->flights, o.kind, o.id);
        return;
    }
}

void
net_orders_run(net_orders *q, net_loop *l)
{
    for (size_t i = 0; i < q->len; i++)
        run(l, q->item[i]);
    q->len = 0;
    for (net_origin *o; (o = q->dropped) != NULL;) {
        q->dropped = o->dropped;
        net_loop_drop(l, o);
    }
}

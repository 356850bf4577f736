#include "net_port.h"

#include "net_fork.h"

net_port *
net_port_new(void)
{
    net_port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    if (!net_wake_open(&p->bell)) {
        free(p);
        return NULL;
    }
    atomic_init(&p->refs, 1);
    p->epoch = net_fork_epoch();
    (void)pthread_mutex_init(&p->lock, NULL);
    return p;
}

net_port *
net_port_ref(net_port *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void
net_port_unref(net_port *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    net_wake_close(&p->bell);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* The lock may have been held at the fork by a thread that no longer exists,
 * and the list may be half changed: neither is looked at. */
bool
net_port_renew(net_port *p)
{
    if (p->epoch == net_fork_epoch())
        return true;
    net_wake old = p->bell;
    if (!net_wake_open(&p->bell)) {
        p->bell = old;
        return false;
    }
    net_wake_close(&old);
    (void)pthread_mutex_init(&p->lock, NULL);
    p->first = p->last = NULL;
    p->epoch = net_fork_epoch();
    return true;
}

/* The sender's waiting parcel, or a fresh one put in line. */
static net_parcel *
waiting_parcel(net_port *p, net_sender *from, bool end)
{
    if (from->parcel != NULL)
        return from->parcel;
    net_parcel *parcel = end ? &from->last : malloc(sizeof *parcel);
    if (parcel == NULL)
        return NULL;
    *parcel = (net_parcel){.from = from};
    if (p->last != NULL)
        p->last->next = parcel;
    else
        p->first = parcel;
    p->last = parcel;
    from->parcel = parcel;
    return parcel;
}

static bool
put_events(net_parcel *parcel, net_buf *events, uint32_t n)
{
    if (parcel->events.len == 0) {
        net_buf spare = parcel->events;
        parcel->events = *events;
        *events = spare;
    } else if (!net_buf_add(&parcel->events, events->data, events->len)) {
        return false;
    }
    events->len = 0;
    parcel->n_events += n;
    return true;
}

size_t
net_port_give(net_sender *from, net_reply *head, net_buf *events, uint32_t n_events,
              net_reply *end)
{
    net_port *p = from->port;
    size_t waiting = SIZE_MAX;
    bool ring = false;
    (void)pthread_mutex_lock(&p->lock);
    bool closed = p->closed;
    if (!closed) {
        bool empty = p->first == NULL;
        net_parcel *parcel = waiting_parcel(p, from, end != NULL);
        ring = empty && parcel != NULL;
        if (parcel != NULL) {
            parcel->head = head != NULL ? head : parcel->head;
            parcel->end = end;
            if (n_events == 0 || put_events(parcel, events, n_events))
                waiting = parcel->events.len;
            else if (end != NULL && end->error == NET_OK)
                end->error = NET_ENGINE;
            head = NULL;
        }
    }
    if (ring) /* inside the lock: after an end, the port may vanish outside it */
        net_wake_ring(&p->bell);
    (void)pthread_mutex_unlock(&p->lock);
    net_reply_free(head);
    if (closed && end != NULL) {
        net_reply_free(end);
        from->over(from);
    }
    if (closed && events != NULL)
        events->len = 0;
    return closed ? 0 : waiting;
}

bool
net_port_full(net_sender *from, size_t high)
{
    net_port *p = from->port;
    (void)pthread_mutex_lock(&p->lock);
    bool full = from->parcel != NULL && from->parcel->events.len >= high;
    from->want_room = full;
    (void)pthread_mutex_unlock(&p->lock);
    return full;
}

net_parcel *
net_port_take(net_port *p)
{
    net_wake_clear(&p->bell);
    (void)pthread_mutex_lock(&p->lock);
    net_parcel *first = p->first;
    p->first = p->last = NULL;
    for (net_parcel *parcel = first; parcel != NULL; parcel = parcel->next) {
        net_sender *from = parcel->from;
        from->parcel = NULL;
        parcel->room = from->want_room && parcel->end == NULL;
        from->want_room = false;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return first;
}

void
net_parcel_free(net_parcel *parcel)
{
    net_sender *from = parcel->from;
    bool reserved = parcel == &from->last;
    bool ended = parcel->end != NULL;
    net_reply_free(parcel->head);
    net_reply_free(parcel->end);
    net_buf_free(&parcel->events);
    if (!reserved)
        free(parcel);
    if (ended)
        from->over(from);
}

bool
net_parcel_event(const net_parcel *parcel, size_t *at, net_text *name, net_text *data)
{
    if (*at >= parcel->events.len)
        return false;
    const char *p = parcel->events.data + *at;
    uint32_t len[2];
    memcpy(len, p, sizeof len);
    *name = (net_text){p + sizeof len, len[0]};
    *data = (net_text){name->p + name->n, len[1]};
    *at += sizeof len + name->n + data->n;
    return true;
}

bool
net_parcel_pack(net_buf *b, net_text name, net_text data)
{
    uint32_t len[2] = {(uint32_t)name.n, (uint32_t)data.n};
    size_t size = sizeof len + name.n + data.n;
    if (size > b->cap - b->len && !net_buf_room(b, size))
        return false;
    return net_buf_add(b, len, sizeof len) && net_buf_add(b, name.p, name.n) &&
           net_buf_add(b, data.p, data.n);
}

void
net_port_close(net_port *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->closed = true;
    (void)pthread_mutex_unlock(&p->lock);
    net_parcel *parcel = net_port_take(p);
    while (parcel != NULL) {
        net_parcel *next = parcel->next;
        net_parcel_free(parcel);
        parcel = next;
    }
}

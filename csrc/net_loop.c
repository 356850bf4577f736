#include "net_loop.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_fork.h"
#include "net_port.h"
#include "net_transfer.h"

enum { MAX_KEPT = 4096 }; /* idle connections of one origin */

/* Sockets are opened here rather than in libcurl so that children of a fork can
 * close their copies, and children of an exec never see them. */
static curl_socket_t
on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    net_loop *l = ctx;
    (void)purpose;
#ifdef SOCK_CLOEXEC
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
#else
    int fd = socket(a->family, a->socktype, a->protocol);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    if (fd < 0)
        return CURL_SOCKET_BAD;
    net_fork_own(fd);
    atomic_fetch_add(l->connected, 1);
    return fd;
}

static int
on_close(void *ctx, curl_socket_t fd)
{
    (void)ctx;
    net_fork_disown(fd);
    return close(fd);
}

void
net_loop_socket_options(net_loop *l, void *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, l);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
}

static net_loop *
loop_of(const net_origin *o)
{
    return o->loop;
}

/* libcurl must not be called from in here; a failure to watch a socket leaves
 * the transfer to its timers. */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    (void)easy;
    (void)unused;
    net_origin *o = ctx;
    int want = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        want |= NET_IN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        want |= NET_OUT;
    (void)net_poll_set(loop_of(o)->poll, fd, want, o);
    return 0;
}

/* 0 means soon, but not from in here: a deadline is all that is kept. */
static int
on_timer(CURLM *multi, long ms, void *ctx)
{
    (void)multi;
    net_origin *o = ctx;
    net_timers *timers = &loop_of(o)->timers;
    if (ms < 0)
        net_timers_clear(timers, &o->timer);
    else
        (void)net_timers_set(timers, &o->timer, net_now() + ms * LB_NS_PER_MS);
    return 0;
}

void *
net_loop_multi(net_loop *l, net_origin *o)
{
    if (o->multi != NULL && o->engine == l->engine && o->epoch == net_fork_epoch())
        return o->multi;
    /* What another process left here must not be touched, so it is forgotten. */
    o->spare = NULL;
    o->n_spare = 0;
    o->timer = (net_timer){.kind = NET_TIMER_ORIGIN};
    o->touched = false;
    CURLM *m = o->multi = curl_multi_init();
    if (m == NULL)
        return NULL;
    o->loop = l;
    o->engine = l->engine;
    o->epoch = net_fork_epoch();
    (void)curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(m, CURLMOPT_SOCKETDATA, o);
    (void)curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(m, CURLMOPT_TIMERDATA, o);
    (void)curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)MAX_KEPT);
#if LIBCURL_VERSION_NUM >= 0x081400
    (void)curl_multi_setopt(m, CURLMOPT_QUICK_EXIT, 1L);
#endif
    o->live_prev = NULL;
    o->live_next = l->live;
    if (l->live != NULL)
        l->live->live_prev = o;
    l->live = o;
    atomic_fetch_add(l->origins, 1);
    return m;
}

void
net_loop_touch(net_loop *l, net_origin *o)
{
    if (o->touched)
        return;
    o->touched = true;
    o->next = l->touched;
    l->touched = o;
}

bool
net_loop_open(net_loop *l, const net_wake *bell)
{
    l->poll = net_poll_new();
    if (l->poll == NULL)
        return false;
    l->bell = bell;
    net_fork_own(net_poll_fd(l->poll));
    return net_poll_set(l->poll, bell->read_fd, NET_IN, l);
}

void
net_loop_poll(net_loop *l, lb_ns wait)
{
    net_ready ready[64];
    int n = net_poll_wait(l->poll, ready, 64,
                          lb_min(wait, net_timers_wait(&l->timers, net_now())));
    for (int i = 0; i < n; i++) {
        if (ready[i].owner == l) {
            net_wake_clear(l->bell);
            continue;
        }
        int mask = (ready[i].what & NET_IN ? CURL_CSELECT_IN : 0) |
                   (ready[i].what & NET_OUT ? CURL_CSELECT_OUT : 0) |
                   (ready[i].what & NET_ERROR ? CURL_CSELECT_ERR : 0);
        net_origin *o = ready[i].owner;
        int running;
        net_loop_touch(l, o);
        (void)curl_multi_socket_action(o->multi, ready[i].fd, mask, &running);
    }
}

/* libcurl tells the next timeout only when it changes, and not always then. */
static void
origin_timer(net_loop *l, net_origin *o)
{
    int running;
    long ms = -1;
    net_timers_clear(&l->timers, &o->timer);
    net_loop_touch(l, o);
    (void)curl_multi_socket_action(o->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    if (o->timer.slot == 0 && curl_multi_timeout(o->multi, &ms) == CURLM_OK)
        (void)on_timer(o->multi, ms, o);
}

#define OWNER(type, field, ptr) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

static void
fire_timers(net_loop *l)
{
    lb_ns now = net_now();
    for (net_timer *t; (t = net_timers_due(&l->timers, now)) != NULL;) {
        if (t->kind == NET_TIMER_ORIGIN)
            origin_timer(l, OWNER(net_origin, timer, t));
        else
            net_transfer_timer(OWNER(net_transfer, timer, t), now);
    }
}

static void
fetch_results(net_loop *l)
{
    for (net_origin *o; (o = l->touched) != NULL;) {
        l->touched = o->next;
        o->touched = false;
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(o->multi, &left)) != NULL;) {
            if (m->msg != CURLMSG_DONE)
                continue;
            CURLcode code = m->data.result;
            char *t = NULL;
            (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
            net_transfer_result((net_transfer *)(void *)t, (int)code);
        }
    }
}

void
net_loop_settle(net_loop *l)
{
    fire_timers(l);
    fetch_results(l);
}

static net_request **
slot_of(net_loop *l, uint64_t id)
{
    return &l->in_flight[id % NET_SLOTS];
}

net_request *
net_loop_find(const net_loop *l, uint64_t id)
{
    net_request *r = l->in_flight[id % NET_SLOTS];
    while (r != NULL && r->id != id)
        r = r->same_slot;
    return r;
}

static void
deliver_end(net_loop *l, net_request *r, net_buf *events, uint32_t n_events)
{
    net_reply *end = r->reply;
    r->reply = NULL;
    atomic_fetch_add_explicit(l->completed, 1, memory_order_relaxed);
    (void)net_port_give(r, NULL, events, n_events, end);
}

void
net_loop_begin(net_loop *l, net_request *r)
{
    if (net_transfer_start(l, r) != NULL) {
        net_request **slot = slot_of(l, r->id);
        r->same_slot = *slot;
        *slot = r;
        return;
    }
    net_reply_explain(r->reply, "the transport could not start the request");
    r->reply->error = NET_ENGINE;
    r->reply->done = true;
    r->reply->started = r->reply->ended = net_now();
    deliver_end(l, r, NULL, 0);
}

void
net_loop_end(net_loop *l, net_request *r, net_buf *events, uint32_t n_events)
{
    net_request **slot = slot_of(l, r->id);
    while (*slot != r)
        slot = &(*slot)->same_slot;
    *slot = r->same_slot;
    deliver_end(l, r, events, n_events);
}

static void
abort_all(net_loop *l, const net_port *port, enum net_error e)
{
    for (int i = 0; i < NET_SLOTS; i++) {
        for (net_request *r = l->in_flight[i], *next; r != NULL; r = next) {
            next = r->same_slot;
            if (port == NULL || r->port == port)
                net_transfer_abort(r->transfer, e);
        }
    }
}

void
net_loop_abandon(net_loop *l, const net_port *port)
{
    abort_all(l, port, NET_CANCELLED);
}

static void
release(net_loop *l, net_origin *o)
{
    if (o->live_prev != NULL)
        o->live_prev->live_next = o->live_next;
    else
        l->live = o->live_next;
    if (o->live_next != NULL)
        o->live_next->live_prev = o->live_prev;
    while (o->spare != NULL) {
        net_transfer *t = o->spare;
        o->spare = t->next;
        net_transfer_free(t);
    }
    o->n_spare = 0;
    (void)curl_multi_cleanup(o->multi);
    o->multi = NULL;
    net_timers_clear(&l->timers, &o->timer);
    atomic_fetch_sub(l->origins, 1);
}

void
net_loop_drop(net_loop *l, net_origin *o)
{
    fetch_results(l); /* so that it is in no list of touched ones */
    if (o->multi != NULL)
        release(l, o);
    net_origin_free(o);
}

void
net_loop_close(net_loop *l)
{
    abort_all(l, NULL, NET_ENGINE);
    fetch_results(l);
    while (l->live != NULL)
        release(l, l->live);
    if (l->poll != NULL)
        net_fork_disown(net_poll_fd(l->poll));
    net_poll_free(l->poll);
    net_timers_free(&l->timers);
}

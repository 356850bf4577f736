#include "net_flight.h"

#include <curl/curl.h>

#include "net_failure.h"
#include "net_handle.h"
#include "net_receive.h"

static net_transfer **
slot_of(net_flights *f, const net_transfer *t)
{
    return &f->by_id[t->request->sender.id % NET_SLOTS];
}

net_transfer *
net_flight_find(const net_flights *f, uint64_t id)
{
    net_transfer *t = f->by_id[id % NET_SLOTS];
    while (t != NULL && t->request->sender.id != id)
        t = t->same_slot;
    return t;
}

/* The port may free the request at any moment from here on. */
static void
deliver_end(net_flights *f, net_request *r, net_buf *events, uint32_t n_events)
{
    net_reply *end = r->reply;
    r->reply = NULL;
    atomic_fetch_add_explicit(f->completed, 1, memory_order_relaxed);
    (void)net_port_give(&r->sender, NULL, events, n_events, end);
}

static void
refuse(net_flights *f, net_request *r)
{
    net_reply_explain(r->reply, "the transport could not start the request");
    r->reply->error = NET_ENGINE;
    r->reply->done = true;
    r->reply->started = r->reply->ended = net_now();
    deliver_end(f, r, NULL, 0);
}

static bool
go(net_transfer *t)
{
    t->attempt = net_now();
    t->reply->connected = t->reply->first_byte = t->reply->first_token = 0;
    t->first_use = 0;
    t->why[0] = '\0';
    net_receive_reset(t);
    net_transfer_arm(t);
    net_watch_touch(t->watch, &t->origin->host);
    return curl_multi_add_handle(t->origin->host.multi, t->easy) == CURLM_OK;
}

void
net_flight_start(net_flights *f, net_watch *w, net_request *r)
{
    net_transfer *t = net_handle_take(w, r);
    if (t == NULL) {
        refuse(f, r);
        return;
    }
    if (!go(t)) {
        net_timers_clear(&w->timers, &t->timer);
        net_receive_free(t);
        net_handle_return(t);
        refuse(f, r);
        return;
    }
    net_transfer **slot = slot_of(f, t);
    t->same_slot = *slot;
    *slot = t;
}

static void
fill_end(net_transfer *t, enum net_error e, CURLcode code)
{
    net_reply *reply = t->reply;
    long written = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &written);
    reply->done = true;
    reply->error = e;
    reply->sent = written > 0;
    reply->reused = reply->connected != 0 && net_transfer_reused(t);
    reply->version = net_transfer_version(t);
    if (e != NET_OK)
        net_failure_explain(t, e, (int)code);
    reply->ended = net_now();
}

static void
forget(net_flights *f, const net_transfer *t)
{
    net_transfer **slot = slot_of(f, t);
    while (*slot != t)
        slot = &(*slot)->same_slot;
    *slot = t->same_slot;
}

static void
finish(net_flights *f, net_transfer *t, enum net_error e, CURLcode code)
{
    net_host *host = &t->origin->host;
    fill_end(t, e, code);
    net_timers_clear(&t->watch->timers, &t->timer);
    net_watch_touch(t->watch, host);
    (void)curl_multi_remove_handle(host->multi, t->easy);
    if (t->again)
        (void)curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 0L);
    net_receive_free(t);
    forget(f, t);
    deliver_end(f, t->request, &t->batch, t->n_batch);
    t->n_batch = 0;
    net_handle_return(t);
}

/* A kept connection that the server had closed meanwhile is nobody's failure. */
static bool
try_again(net_transfer *t, CURLcode code)
{
    bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
                 code == CURLE_GOT_NOTHING;
    if (!broke || t->again || !net_transfer_reused(t) || t->first_use == 0 ||
        t->reply->headers.seen > 0 || net_now() - t->first_use > NET_STALE_NS)
        return false;
    t->again = true;
    (void)curl_multi_remove_handle(t->origin->host.multi, t->easy);
    (void)curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    return go(t);
}

void
net_flight_result(net_flights *f, net_transfer *t, int result)
{
    CURLcode code = (CURLcode)result;
    if (t->verdict == NET_OK && try_again(t, code))
        return;
    enum net_error e = t->verdict != NET_OK ? t->verdict : net_failure_kind(t, result);
    if (e == NET_OK)
        e = net_receive_finish(t);
    if (code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM)
        t->origin->no_http2 = true;
    finish(f, t, e, code);
}

void
net_flight_end(net_flights *f, net_transfer *t, enum net_error e)
{
    finish(f, t, e, CURLE_OK);
}

void
net_flight_end_all(net_flights *f, const net_port *port, enum net_error e)
{
    for (int i = 0; i < NET_SLOTS; i++) {
        for (net_transfer *t = f->by_id[i], *next; t != NULL; t = next) {
            next = t->same_slot;
            if (port == NULL || t->request->sender.port == port)
                net_flight_end(f, t, e);
        }
    }
}

void
net_flight_resume(net_transfer *t)
{
    if (t->paused_at == 0 || t->held)
        return;
    t->paused_at = 0;
    t->last_byte = net_now();
    net_transfer_arm(t);
    net_watch_touch(t->watch, &t->origin->host);
    (void)curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

#include "net_transfer.h"

#include <curl/curl.h>

static void
earlier(lb_ns *due, enum net_error *what, lb_ns from, lb_ns limit, enum net_error e)
{
    lb_ns at = lb_add_capped(from, limit);
    if (limit > 0 && at < *due) {
        *due = at;
        *what = e;
    }
}

/* The earliest limit that now applies. */
static enum net_error
next_limit(const net_transfer *t, lb_ns *due)
{
    const net_reply *r = t->reply;
    const net_limits *limits = &t->request->limits;
    enum net_error what = NET_OK;
    *due = LB_FOREVER;
    earlier(due, &what, r->started, limits->total, NET_TOTAL_TIMEOUT);
    if (r->connected == 0)
        earlier(due, &what, t->attempt, limits->connect, NET_CONNECT_TIMEOUT);
    else if (r->first_byte == 0)
        earlier(due, &what, r->connected, limits->first_byte, NET_FIRST_BYTE_TIMEOUT);
    else if (t->paused_at == 0)
        earlier(due, &what, t->last_byte, limits->idle, NET_IDLE_TIMEOUT);
    bool maybe = t->request->stream != NET_UNARY && (t->streaming || !r->headers.done);
    if (maybe && r->first_token == 0)
        earlier(due, &what, r->started, limits->first_token, NET_FIRST_TOKEN_TIMEOUT);
    return what;
}

void
net_transfer_arm(net_transfer *t)
{
    lb_ns due;
    if (next_limit(t, &due) == NET_OK)
        return;
    if (t->timer.slot != 0 && t->timer.at <= due)
        return;
    if (!net_timers_set(&t->watch->timers, &t->timer, due))
        t->verdict = NET_ENGINE;
}

enum net_error
net_transfer_late(net_transfer *t, lb_ns now)
{
    lb_ns due;
    enum net_error what = next_limit(t, &due);
    if (what != NET_OK && due <= now)
        return what;
    if (what == NET_OK || !net_timers_set(&t->watch->timers, &t->timer, due))
        net_timers_clear(&t->watch->timers, &t->timer);
    return NET_OK;
}

const char *
net_transfer_version(const net_transfer *t)
{
    long v = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &v);
    switch (v) {
    case CURL_HTTP_VERSION_1_0:
        return "1.0";
    case CURL_HTTP_VERSION_1_1:
        return "1.1";
    case CURL_HTTP_VERSION_2_0:
        return "2";
    case CURL_HTTP_VERSION_3:
        return "3";
    default:
        return "";
    }
}

bool
net_transfer_reused(const net_transfer *t)
{
    long connects = 1;
    (void)curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    return connects == 0;
}

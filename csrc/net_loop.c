#include "net_loop.h"

#include <curl/curl.h>

#include "net_handle.h"

static void
fire_transfer(net_flights *f, net_transfer *t, lb_ns now)
{
    enum net_error e = net_transfer_late(t, now);
    if (e != NET_OK)
        net_flight_end(f, t, e);
}

static void
fire_timers(net_loop *l)
{
    lb_ns now = net_now();
    for (net_timer *t; (t = net_timers_due(&l->watch.timers, now)) != NULL;) {
        if (t->kind == NET_TIMER_HOST)
            net_watch_deadline(&l->watch, NET_OWNER(net_host, timer, t));
        else
            fire_transfer(&l->flights, NET_OWNER(net_transfer, timer, t), now);
    }
}

static void
fetch_results(net_loop *l)
{
    for (net_host *h; (h = net_watch_touched(&l->watch)) != NULL;) {
        int left;
        for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left)) != NULL;) {
            if (m->msg != CURLMSG_DONE)
                continue;
            CURLcode code = m->data.result;
            char *t = NULL;
            (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
            net_flight_result(&l->flights, (net_transfer *)(void *)t, (int)code);
        }
    }
}

void
net_loop_settle(net_loop *l)
{
    fire_timers(l);
    fetch_results(l);
}

void
net_loop_drop(net_loop *l, net_origin *o)
{
    fetch_results(l); /* so that it is in no list of touched ones */
    if (o->host.multi != NULL)
        net_handle_release(&l->watch, o);
    net_origin_free(o);
}

void
net_loop_close(net_loop *l)
{
    net_flight_end_all(&l->flights, NULL, NET_ENGINE);
    fetch_results(l);
    while (l->watch.live != NULL)
        net_handle_release(&l->watch, NET_OWNER(net_origin, host, l->watch.live));
    net_watch_close(&l->watch);
}

#include "net_transfer.h"

#include <curl/curl.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_failure.h"
#include "net_receive.h"

enum { MAX_SPARE = 256 };

/* Options of every request alike. */
static void
set_once(net_transfer *t)
{
    CURL *e = t->easy;
    const net_origin *o = t->origin;
    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->why);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 30L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, 10L);
    (void)curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, 300L);
    (void)curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, 90L);
    (void)curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    /* Even without a proxy this must be said, or libcurl asks the environment. */
    (void)curl_easy_setopt(e, CURLOPT_PROXY, o->proxy != NULL ? o->proxy : "");
    (void)curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, o->unix_socket);
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS,
                           (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
    (void)curl_easy_setopt(e, CURLOPT_PIPEWAIT, o->http2 ? 1L : 0L);
}

static const char *
path_or_off(const char *path)
{
    return path[0] != '\0' ? path : NULL;
}

static void
set_tls(net_transfer *t)
{
    CURL *e = t->easy;
    const net_origin *o = t->origin;
    if (o->secure_proxy) {
        (void)curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, path_or_off(o->trust.file));
        (void)curl_easy_setopt(e, CURLOPT_PROXY_CAPATH, path_or_off(o->trust.dir));
    }
    if (!o->secure)
        return;
    (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, o->verify ? 1L : 0L);
    (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, o->verify ? 2L : 0L);
    (void)curl_easy_setopt(e, CURLOPT_CAINFO, path_or_off(o->trust.file));
    (void)curl_easy_setopt(e, CURLOPT_CAPATH, path_or_off(o->trust.dir));
    (void)curl_easy_setopt(e, CURLOPT_SSLCERT, o->cert);
    (void)curl_easy_setopt(e, CURLOPT_SSLKEY, o->key);
}

static net_transfer *
take_handle(net_loop *l, net_origin *o)
{
    net_transfer *t = o->spare;
    if (t != NULL) {
        o->spare = t->next;
        o->n_spare--;
        return t;
    }
    t = calloc(1, sizeof *t);
    if (t == NULL || (t->easy = curl_easy_init()) == NULL) {
        free(t);
        return NULL;
    }
    t->loop = l;
    t->origin = o;
    t->timer.kind = NET_TIMER_TRANSFER;
    t->has_stream = t->has_http = -1;
    t->has_connect_ms = -1;
    set_once(t);
    set_tls(t);
    net_receive_setup(t);
    net_loop_socket_options(l, t->easy);
    return t;
}

void
net_transfer_free(net_transfer *t)
{
    curl_easy_cleanup(t->easy);
    net_buf_free(&t->batch);
    free(t);
}

static void
give_back(net_transfer *t)
{
    net_origin *o = t->origin;
    if (t->batch.cap > 65536)
        net_buf_free(&t->batch);
    t->request = NULL;
    t->reply = NULL;
    if (o->n_spare >= MAX_SPARE) {
        net_transfer_free(t);
        return;
    }
    t->next = o->spare;
    o->spare = t;
    o->n_spare++;
}

static void
set_method(net_transfer *t, const net_request *r)
{
    CURL *e = t->easy;
    const char *plain = "GET";
    if (r->body != NULL || strcmp(r->method, "POST") == 0) {
        plain = "POST";
        (void)curl_easy_setopt(e, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body != NULL ? r->body : "");
    } else if (strcmp(r->method, "HEAD") == 0) {
        plain = "HEAD";
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else {
        (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    bool custom = strcmp(r->method, plain) != 0;
    if (custom || t->has_custom)
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, custom ? r->method : NULL);
    t->has_custom = custom;
}

/* Given to libcurl as well, because it shares the time among the addresses of a
 * host; a little more than ours, so that ours speaks first. */
static long
connect_ms(const net_limits *limits)
{
    lb_ns ms = limits->connect / LB_NS_PER_MS + 20;
    return limits->connect == 0 || ms > INT_MAX ? INT_MAX : (long)ms;
}

static void
set_request(net_transfer *t, const net_request *r)
{
    CURL *e = t->easy;
    const net_origin *o = t->origin;
    (void)curl_easy_setopt(e, CURLOPT_URL, r->url);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->lines);
    set_method(t, r);
    int http = o->http2 && !o->no_http2 ? (int)CURL_HTTP_VERSION_2TLS
                                        : (int)CURL_HTTP_VERSION_1_1;
    if (t->has_http != http)
        (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)http);
    t->has_http = http;
    /* A compressed stream would wait for whole blocks.  "identity" still lets
     * libcurl undo what a server compresses unasked. */
    int stream = r->stream != NET_UNARY;
    if (t->has_stream != stream)
        (void)curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, stream ? "identity" : "");
    t->has_stream = stream;
    long ms = connect_ms(&r->limits);
    if (t->has_connect_ms != ms)
        (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, ms);
    t->has_connect_ms = ms;
}

static bool
go(net_transfer *t, void *multi)
{
    t->attempt = net_now();
    t->reply->connected = t->reply->first_byte = t->reply->first_token = 0;
    t->first_use = 0;
    t->why[0] = '\0';
    net_receive_reset(t);
    net_transfer_arm(t);
    net_loop_touch(t->loop, t->origin);
    return curl_multi_add_handle(multi, t->easy) == CURLM_OK;
}

net_transfer *
net_transfer_start(net_loop *l, net_request *r)
{
    void *multi = net_loop_multi(l, r->origin);
    net_transfer *t = multi == NULL ? NULL : take_handle(l, r->origin);
    if (t == NULL)
        return NULL;
    t->request = r;
    t->reply = r->reply;
    t->reply->started = net_now();
    t->again = t->held = false;
    set_request(t, r);
    if (go(t, multi)) {
        r->transfer = t;
        return t;
    }
    net_timers_clear(&l->timers, &t->timer);
    net_receive_free(t);
    give_back(t);
    return NULL;
}

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
    if (!net_timers_set(&t->loop->timers, &t->timer, due))
        t->verdict = NET_ENGINE;
}

void
net_transfer_timer(net_transfer *t, lb_ns now)
{
    lb_ns due;
    enum net_error what = next_limit(t, &due);
    if (what != NET_OK && due <= now)
        net_transfer_abort(t, what);
    else if (what == NET_OK || !net_timers_set(&t->loop->timers, &t->timer, due))
        net_timers_clear(&t->loop->timers, &t->timer);
}

void
net_transfer_resume(net_transfer *t)
{
    if (t->paused_at == 0 || t->held)
        return;
    t->paused_at = 0;
    t->last_byte = net_now();
    net_transfer_arm(t);
    net_loop_touch(t->loop, t->origin);
    (void)curl_easy_pause(t->easy, CURLPAUSE_CONT);
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

static void
finish(net_transfer *t, enum net_error e, CURLcode code)
{
    net_loop *l = t->loop;
    net_request *r = t->request;
    net_reply *reply = t->reply;
    long written = 0;
    long connects = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &written);
    (void)curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    reply->done = true;
    reply->error = e;
    reply->sent = written > 0;
    reply->reused = reply->connected != 0 && connects == 0;
    reply->version = net_transfer_version(t);
    if (e != NET_OK)
        net_failure_explain(t, e, (int)code);
    reply->ended = net_now();
    r->transfer = NULL;
    net_timers_clear(&l->timers, &t->timer);
    net_loop_touch(l, t->origin);
    (void)curl_multi_remove_handle(t->origin->multi, t->easy);
    if (t->again)
        (void)curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 0L);
    net_receive_free(t); /* what follows may free the request at any moment */
    net_loop_end(l, r, &t->batch, t->n_batch);
    t->n_batch = 0;
    give_back(t);
}

/* A kept connection that the server had closed meanwhile is nobody's failure. */
static bool
try_again(net_transfer *t, CURLcode code)
{
    long connects = 1;
    (void)curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
                 code == CURLE_GOT_NOTHING;
    if (!broke || t->again || connects != 0 || t->first_use == 0 ||
        t->reply->headers.seen > 0 || net_now() - t->first_use > NET_STALE_NS)
        return false;
    t->again = true;
    (void)curl_multi_remove_handle(t->origin->multi, t->easy);
    (void)curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    return go(t, t->origin->multi);
}

void
net_transfer_result(net_transfer *t, int result)
{
    CURLcode code = (CURLcode)result;
    if (t->verdict == NET_OK && try_again(t, code))
        return;
    enum net_error e = t->verdict != NET_OK ? t->verdict : net_failure_kind(t, result);
    if (e == NET_OK)
        e = net_receive_finish(t);
    if (code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM)
        t->origin->no_http2 = true;
    finish(t, e, code);
}

void
net_transfer_abort(net_transfer *t, enum net_error e)
{
    finish(t, e, CURLE_OK);
}

#include "net_handle.h"

#include <curl/curl.h>
#include <limits.h>

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
make(net_watch *w, net_origin *o)
{
    net_transfer *t = calloc(1, sizeof *t);
    if (t == NULL || (t->easy = curl_easy_init()) == NULL) {
        free(t);
        return NULL;
    }
    t->watch = w;
    t->origin = o;
    t->timer.kind = NET_TIMER_TRANSFER;
    t->has_stream = t->has_http = -1;
    t->has_connect_ms = -1;
    set_once(t);
    set_tls(t);
    net_receive_setup(t);
    net_watch_sockets(w, t->easy);
    return t;
}

static void
destroy(net_transfer *t)
{
    curl_easy_cleanup(t->easy);
    net_buf_free(&t->batch);
    free(t);
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

/* What another process left in an origin must not be touched, so it is forgotten. */
static bool
host_ready(net_watch *w, net_origin *o)
{
    if (net_watch_has(w, &o->host))
        return true;
    o->spare = NULL;
    o->n_spare = 0;
    return net_watch_join(w, &o->host);
}

net_transfer *
net_handle_take(net_watch *w, net_request *r)
{
    net_origin *o = r->origin;
    if (!host_ready(w, o))
        return NULL;
    net_transfer *t = o->spare;
    if (t != NULL) {
        o->spare = t->next;
        o->n_spare--;
    } else if ((t = make(w, o)) == NULL) {
        return NULL;
    }
    t->request = r;
    t->reply = r->reply;
    t->reply->started = net_now();
    t->again = t->held = false;
    set_request(t, r);
    return t;
}

void
net_handle_return(net_transfer *t)
{
    net_origin *o = t->origin;
    if (t->batch.cap > 65536)
        net_buf_free(&t->batch);
    t->request = NULL;
    t->reply = NULL;
    if (o->n_spare >= MAX_SPARE) {
        destroy(t);
        return;
    }
    t->next = o->spare;
    o->spare = t;
    o->n_spare++;
}

void
net_handle_release(net_watch *w, net_origin *o)
{
    while (o->spare != NULL) {
        net_transfer *t = o->spare;
        o->spare = t->next;
        destroy(t);
    }
    o->n_spare = 0;
    net_watch_leave(w, &o->host);
}

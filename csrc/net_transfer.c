#include "net_transfer.h"

#include <curl/curl.h>
#include <limits.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_fork.h"
#include "net_receive.h"

enum { MAX_SPARE = 256 };

/* Options of every request alike; see the list in docs/architecture.md. */
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

/* Broken chunks have no code of their own before 8.x: only the text tells. */
static bool
text_has(const net_transfer *t, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = t->why; *p != '\0'; p++)
        if (strncasecmp(p, word, n) == 0)
            return true;
    return false;
}

static enum net_error
lost(const net_transfer *t)
{
    long proxy_status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (t->origin->proxy != NULL && t->reply->connected == 0)
        return NET_PROXY;
    if (text_has(t, "chunk"))
        return NET_PROTOCOL;
    if (text_has(t, "too large response headers"))
        return NET_TOO_LARGE;
    return NET_RESET;
}

static enum net_error
classify(const net_transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return NET_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
        return NET_DNS;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return NET_PROXY;
    case CURLE_COULDNT_CONNECT:
        return t->origin->proxy != NULL ? NET_PROXY : NET_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return t->reply->connected == 0 ? NET_CONNECT_TIMEOUT : NET_TOTAL_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED:
        return NET_TLS;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_ABORTED_BY_CALLBACK: /* ours, see NET_STALE_NS */
        return lost(t);
    case CURLE_PARTIAL_FILE:
        return NET_TRUNCATED;
    case CURLE_BAD_CONTENT_ENCODING:
        return NET_ENCODING;
    case CURLE_FILESIZE_EXCEEDED:
        return NET_TOO_LARGE;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return NET_PROTOCOL;
    case CURLE_OUT_OF_MEMORY: /* a header line above libcurl's own cap, if any came */
        return t->reply->connected != 0 && !t->reply->headers.done ? NET_TOO_LARGE
                                                                   : NET_ENGINE;
    default:
#if LIBCURL_VERSION_NUM >= 0x080600
        if (code == CURLE_TOO_LARGE)
            return NET_TOO_LARGE;
#endif
        return NET_ENGINE;
    }
}

static void
explain(net_transfer *t, enum net_error e, CURLcode code)
{
    static const char *const ours[NET_NERRORS] = {
        [NET_CANCELLED] = "cancelled by the caller",
        [NET_CONNECT_TIMEOUT] = "no connection within the connect timeout",
        [NET_FIRST_BYTE_TIMEOUT] = "no reply within the first-byte timeout",
        [NET_FIRST_TOKEN_TIMEOUT] = "no content within the first-token timeout",
        [NET_IDLE_TIMEOUT] = "no byte within the idle timeout",
        [NET_TOTAL_TIMEOUT] = "not finished within the total timeout",
        [NET_RESET] = "the connection closed without a reply",
        [NET_TRUNCATED] = "the connection closed in mid-reply",
        [NET_PROTOCOL] = "the reply breaks the protocol",
        [NET_TOO_LARGE] = "the reply exceeds a size limit of the backend",
        [NET_ENGINE] = "the transport stopped or ran out of memory",
    };
    bool heard = code != CURLE_OK && code != CURLE_WRITE_ERROR &&
                 code != CURLE_ABORTED_BY_CALLBACK;
    const char *text = heard && t->why[0] != '\0' ? t->why
                       : heard                    ? curl_easy_strerror(code)
                       : ours[e] != NULL          ? ours[e]
                                                  : "";
    net_reply_explain(t->reply, text);
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
        explain(t, e, code);
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
    enum net_error e = t->verdict != NET_OK ? t->verdict : classify(t, code);
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

#include "net_receive.h"

#include <curl/curl.h>

/* memmem() is not in every libc; marks are short and mostly found early. */
static bool
contains(const char *p, size_t n, net_text mark)
{
    if (mark.n == 0)
        return true;
    while (n >= mark.n) {
        const char *hit = memchr(p, mark.p[0], n - mark.n + 1);
        if (hit == NULL)
            return false;
        if (memcmp(hit, mark.p, mark.n) == 0)
            return true;
        n -= (size_t)(hit + 1 - p);
        p = hit + 1;
    }
    return false;
}

static bool
is_content(const net_request *r, const char *data, size_t len)
{
    for (size_t i = 0; i < r->n_marks; i++)
        if (contains(data, len, r->marks[i]))
            return true;
    return r->n_marks == 0;
}

static void
on_event(void *ctx, const char *name, size_t name_len, const char *data, size_t len)
{
    net_transfer *t = ctx;
    if (t->reply->first_token == 0 && is_content(t->request, data, len))
        t->reply->first_token = t->last_byte;
    if (net_parcel_pack(&t->batch, (net_text){name, name_len}, (net_text){data, len})) {
        t->n_batch++;
        t->reply->events++;
    } else {
        t->verdict = NET_ENGINE;
    }
}

static enum net_error
decode(net_transfer *t, const char *p, size_t n)
{
    switch (t->request->stream) {
    case NET_SSE:
        return net_sse_feed(&t->decode.sse, p, n, on_event, t);
    case NET_LINES:
        return net_lines_feed(&t->decode.lines, p, n, on_event, t);
    default:
        return net_aws_feed(&t->decode.aws, p, n, on_event, t);
    }
}

/* The reply to a stream goes on after its headers: give a copy of them ahead. */
static enum net_error
give_head(net_transfer *t)
{
    net_reply *head = net_reply_new();
    if (head == NULL)
        return NET_ENGINE;
    *head = *t->reply;
    head->body = (net_buf){0};
    head->sent = true;
    head->reused = net_transfer_reused(t);
    head->version = net_transfer_version(t);
    head->ended = net_now();
    if (!net_headers_copy(&head->headers, &t->reply->headers)) {
        net_reply_free(head);
        return NET_ENGINE;
    }
    return net_port_give(&t->request->sender, head, NULL, 0, NULL) == SIZE_MAX
               ? NET_ENGINE
               : NET_OK;
}

static enum net_error
headers_complete(net_transfer *t)
{
    net_request *r = t->request;
    unsigned status = t->reply->headers.status;
    t->streaming = r->stream != NET_UNARY && status >= 200 && status < 300;
    if (t->streaming)
        return give_head(t);
    const char *length = net_headers_get(&t->reply->headers, "content-length");
    if (length == NULL || strcmp(r->method, "HEAD") == 0)
        return NET_OK;
    unsigned long long size = strtoull(length, NULL, 10);
    if (size > t->origin->max_body)
        return NET_TOO_LARGE;
    bool room = net_buf_room(&t->reply->body, size < 65536 ? (size_t)size : 65536);
    return room ? NET_OK : NET_ENGINE;
}

static size_t
break_off(net_transfer *t, enum net_error e)
{
    t->verdict = e;
    return 0; /* anything but the full size ends the transfer with WRITE_ERROR */
}

static size_t
on_header(char *p, size_t one, size_t n, void *ctx)
{
    (void)one;
    net_transfer *t = ctx;
    net_headers *h = &t->reply->headers;
    bool was_done = h->done;
    t->last_byte = net_now();
    enum net_error e = net_headers_line(h, p, n);
    if (e == NET_OK && t->reply->first_byte == 0 && h->status >= 200) {
        t->reply->first_byte = t->last_byte;
        net_transfer_arm(t);
    }
    if (e == NET_OK && h->done && !was_done)
        e = headers_complete(t);
    return e == NET_OK ? n : break_off(t, e);
}

/* A stream that answers without one event answered something else: keep how it
 * began, so that whoever asked can read the error in it. */
static bool
keep_raw(net_transfer *t, const char *p, size_t n)
{
    net_buf *body = &t->reply->body;
    if (t->reply->events > 0) {
        net_buf_free(body);
        return true;
    }
    size_t left = NET_RAW_KEPT - body->len;
    return net_buf_add(body, p, n < left ? n : left);
}

static enum net_error
on_stream(net_transfer *t, const char *p, size_t n)
{
    enum net_error e = decode(t, p, n);
    if (e == NET_OK)
        e = t->verdict;
    if ((t->reply->events == 0 || t->reply->body.cap > 0) && !keep_raw(t, p, n))
        e = NET_ENGINE;
    if (t->n_batch > 0) {
        t->waiting =
            net_port_give(&t->request->sender, NULL, &t->batch, t->n_batch, NULL);
        t->n_batch = 0;
        if (t->waiting == SIZE_MAX)
            e = NET_ENGINE;
    }
    return e;
}

static bool
must_wait(net_transfer *t)
{
    if (t->held)
        return true;
    if (t->waiting < NET_HIGH_WATER)
        return false;
    return net_port_full(&t->request->sender, NET_HIGH_WATER);
}

static size_t
on_body(char *p, size_t one, size_t n, void *ctx)
{
    (void)one;
    net_transfer *t = ctx;
    net_reply *reply = t->reply;
    t->last_byte = net_now();
    if (!reply->headers.done)
        return break_off(t, NET_PROTOCOL);
    if (t->streaming && must_wait(t)) {
        t->paused_at = t->last_byte;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (n > t->origin->max_body - reply->offset)
        return break_off(t, NET_TOO_LARGE);
    reply->offset += n;
    enum net_error e = NET_OK;
    if (t->streaming)
        e = on_stream(t, p, n);
    else if (!net_buf_add(&reply->body, p, n))
        e = NET_ENGINE;
    return e == NET_OK ? n : break_off(t, e);
}

/* The connection is ready and the request about to be written. */
static int /* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type */
on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    net_transfer *t = ctx;
    lb_ns now = net_now();
    if (t->first_use == 0)
        t->first_use = now;
    else if (now - t->first_use > NET_STALE_NS)
        return CURL_PREREQFUNC_ABORT; /* libcurl would try again by itself */
    t->reply->connected = now;
    net_transfer_arm(t);
    return CURL_PREREQFUNC_OK;
}

void
net_receive_setup(net_transfer *t)
{
    (void)curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, on_connected);
    (void)curl_easy_setopt(t->easy, CURLOPT_PREREQDATA, t);
}

void
net_receive_reset(net_transfer *t)
{
    net_receive_free(t);
    size_t max = t->origin->max_event;
    if (t->request->stream == NET_SSE)
        t->decode.sse.max_event = max;
    else if (t->request->stream == NET_LINES)
        t->decode.lines.max_event = max;
    else if (t->request->stream == NET_AWS)
        t->decode.aws.max_event = max;
    net_headers_free(&t->reply->headers);
    t->reply->headers = (net_headers){.max = t->origin->max_header};
    t->verdict = NET_OK;
    t->streaming = false;
    t->waiting = 0;
    t->paused_at = 0;
    t->n_batch = 0;
    t->batch.len = 0;
}

enum net_error
net_receive_finish(net_transfer *t)
{
    if (!t->reply->headers.done)
        return NET_TRUNCATED;
    if (!t->streaming)
        return NET_OK;
    if (t->request->stream == NET_SSE)
        net_sse_finish(&t->decode.sse, on_event, t);
    if (t->request->stream == NET_LINES)
        net_lines_finish(&t->decode.lines, on_event, t);
    if (t->request->stream == NET_AWS)
        return net_aws_finish(&t->decode.aws);
    return t->verdict;
}

void
net_receive_free(net_transfer *t)
{
    if (t->request == NULL)
        return;
    if (t->request->stream == NET_SSE)
        net_sse_free(&t->decode.sse);
    else if (t->request->stream == NET_LINES)
        net_lines_free(&t->decode.lines);
    else if (t->request->stream == NET_AWS)
        net_aws_free(&t->decode.aws);
    memset(&t->decode, 0, sizeof t->decode);
}

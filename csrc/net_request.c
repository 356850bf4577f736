#include "net_request.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "net_origin.h"
#include "net_port.h"

static bool
is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
same_name(const char *p, size_t n, const char *name)
{
    if (strlen(name) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 32) != (name[i] | 32))
            return false;
    return true;
}

bool
net_request_line_ok(const char *p, size_t n, char why[200])
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "expect",
                                       "connection"};
    size_t name = 0;
    while (name < n && is_token_char((unsigned char)p[name]))
        name++;
    if (name == 0 || name == n || p[name] != ':') {
        /* Without a name it may be a bare key: nothing of it is shown. */
        (void)snprintf(why, 200,
                       "headers: each line must be 'Name: value', the name of "
                       "letters, digits and -");
        return false;
    }
    int shown = (int)(name < 60 ? name : 60);
    size_t blank = name + 1;
    while (blank < n && (p[blank] == ' ' || p[blank] == '\t'))
        blank++;
    if (blank == n) {
        (void)snprintf(why, 200, "header %.*s: has no value; leave it out", shown, p);
        return false;
    }
    for (size_t i = name + 1; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < 32 && c != '\t') || c == 127) {
            (void)snprintf(why, 200,
                           "header %.*s: the value has a line break or control "
                           "character; remove it",
                           shown, p);
            return false;
        }
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (same_name(p, name, ours[i])) {
            (void)snprintf(why, 200, "header %.*s: is set by the transport itself",
                           shown, p);
            return false;
        }
    }
    return true;
}

static bool
ask_ok(const net_ask *ask, char why[200])
{
    const char *m = ask->method;
    size_t len = strlen(m);
    bool ok = len > 0 && len < 20;
    for (size_t i = 0; i < len; i++)
        ok = ok && m[i] >= 'A' && m[i] <= 'Z';
    if (!ok) {
        (void)snprintf(why, 200, "method: must be capital letters, such as POST");
        return false;
    }
    ok = ask->target[0] == '/';
    for (const char *p = ask->target; *p != '\0'; p++)
        ok = ok && (unsigned char)*p > 32 && (unsigned char)*p < 127 && *p != '#';
    if (!ok) {
        (void)snprintf(why, 200,
                       "target: must start with / and be percent-encoded ASCII "
                       "without blanks or #");
        return false;
    }
    if (ask->stream < NET_UNARY || ask->stream > NET_AWS) {
        (void)snprintf(why, 200, "stream: must be 0, 1, 2 or 3");
        return false;
    }
    for (size_t i = 0; i < ask->n_lines; i++)
        if (!net_request_line_ok(ask->lines[i].p, ask->lines[i].n, why))
            return false;
    return true;
}

static size_t
block_size(const net_ask *ask, const net_origin *origin)
{
    size_t size = sizeof(net_request);
    size += ask->n_lines * sizeof(struct curl_slist) + ask->n_marks * sizeof(net_text);
    size += strlen(origin->base) + strlen(ask->target) + strlen(ask->method) + 2;
    for (size_t i = 0; i < ask->n_lines; i++)
        size += ask->lines[i].n + 1;
    for (size_t i = 0; i < ask->n_marks; i++)
        size += ask->marks[i].n + 1;
    return size + ask->body_len;
}

/* Append a text and its closing zero to what is already in the block. */
static char *
put(char **at, const char *p, size_t n)
{
    char *start = *at;
    memcpy(start, p, n);
    start[n] = '\0';
    *at = start + n + 1;
    return start;
}

static void
fill(net_request *r, const net_ask *ask, const net_origin *origin)
{
    struct curl_slist *node = (struct curl_slist *)(void *)(r + 1);
    net_text *marks = (net_text *)(void *)(node + ask->n_lines);
    char *at = (char *)(marks + ask->n_marks);

    r->lines = ask->n_lines > 0 ? node : origin->lines;
    for (size_t i = 0; i < ask->n_lines; i++) {
        node[i].data = put(&at, ask->lines[i].p, ask->lines[i].n);
        node[i].next = i + 1 < ask->n_lines ? &node[i + 1] : origin->lines;
    }
    r->marks = marks;
    r->n_marks = ask->n_marks;
    for (size_t i = 0; i < ask->n_marks; i++)
        marks[i] =
            (net_text){put(&at, ask->marks[i].p, ask->marks[i].n), ask->marks[i].n};
    r->method = put(&at, ask->method, strlen(ask->method));
    r->url = at;
    size_t base = strlen(origin->base);
    memcpy(at, origin->base, base);
    at += base;
    (void)put(&at, ask->target, strlen(ask->target));
    if (ask->body != NULL) {
        r->body = memcpy(at, ask->body, ask->body_len);
        r->body_len = ask->body_len;
    }
}

static net_request *
build(const net_ask *ask, net_origin *origin, net_port *port, char why[200])
{
    static _Atomic uint64_t ids;
    net_request *r = malloc(block_size(ask, origin));
    net_reply *reply = net_reply_new();
    if (r == NULL || reply == NULL) {
        free(r);
        net_reply_free(reply);
        (void)snprintf(why, 200, "out of memory");
        return NULL;
    }
    *r = (net_request){
        .id = atomic_fetch_add(&ids, 1) + 1,
        .token = ask->token,
        .origin = net_origin_ref(origin),
        .port = net_port_ref(port),
        .limits = ask->limits,
        .stream = ask->stream,
        .reply = reply,
    };
    fill(r, ask, origin);
    return r;
}

/* The same ask with its signature among the header lines. */
static net_request *
build_signed(const net_ask *ask, net_origin *origin, net_port *port, char why[200])
{
    char date[NET_SIGN_DATE];
    char auth[NET_SIGN_AUTH];
    const char *host = strstr(origin->base, "://") + 3;
    if (!net_sign(&origin->signer, ask, host, origin->lines, time(NULL), date, auth)) {
        (void)snprintf(why, 200,
                       "headers: cannot be signed; at most 13 x-amz-* lines and 32 "
                       "parts of a query are supported");
        return NULL;
    }
    net_text *lines = malloc((ask->n_lines + 2) * sizeof *lines);
    if (lines == NULL) {
        (void)snprintf(why, 200, "out of memory");
        return NULL;
    }
    if (ask->n_lines > 0)
        memcpy(lines, ask->lines, ask->n_lines * sizeof *lines);
    lines[ask->n_lines] = (net_text){date, strlen(date)};
    lines[ask->n_lines + 1] = (net_text){auth, strlen(auth)};
    net_ask with = *ask;
    with.lines = lines;
    with.n_lines = ask->n_lines + 2;
    net_request *r = build(&with, origin, port, why);
    free(lines);
    return r;
}

net_request *
net_request_new(const net_ask *ask, net_origin *origin, net_port *port, char why[200])
{
    if (!ask_ok(ask, why))
        return NULL;
    return origin->signer.access == NULL ? build(ask, origin, port, why)
                                         : build_signed(ask, origin, port, why);
}

void
net_request_free(net_request *r)
{
    net_reply_free(r->reply);
    net_origin_unref(r->origin);
    net_port_unref(r->port);
    free(r);
}

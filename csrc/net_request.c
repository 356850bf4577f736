#include "net_request.h"

#include <curl/curl.h>
#include <stdio.h>
#include <time.h>

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

/* The port has no more use for it. */
static void
over(net_sender *sender)
{
    net_request_free(NET_OWNER(net_request, sender, sender));
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
        .sender = {.id = atomic_fetch_add(&ids, 1) + 1,
                   .token = ask->token,
                   .port = net_port_ref(port),
                   .over = over},
        .origin = net_origin_ref(origin),
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
    if (!net_ask_ok(ask, why))
        return NULL;
    return origin->signer.access == NULL ? build(ask, origin, port, why)
                                         : build_signed(ask, origin, port, why);
}

void
net_request_free(net_request *r)
{
    net_reply_free(r->reply);
    net_origin_unref(r->origin);
    net_port_unref(r->sender.port);
    free(r);
}

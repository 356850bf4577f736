/* net_ask.h - one thing asked, in the caller's own memory: words, body, patience.
 *
 *     POST /v1/chat/completions      method, target
 *     X-Request-Id: 7                lines, added to the origin's own
 *     {"model": ...}                 body
 *
 * Whatever reaches the wire is checked here first, so that no text can smuggle in a
 * header or a second request.
 */
#ifndef NET_ASK_H
#define NET_ASK_H

#include "net_base.h"

enum net_stream {
    NET_UNARY, /* one body */
    NET_SSE,   /* net_sse.h */
    NET_LINES, /* net_frames.h, JSON lines */
    NET_AWS,   /* net_frames.h, AWS event stream */
};

/* Limits in ns, 0: none. */
typedef struct net_limits {
    lb_ns connect;     /* until a connection is ready: DNS, TCP, proxy, TLS */
    lb_ns first_byte;  /* from there to the final status line */
    lb_ns first_token; /* from the start to the first event with content */
    lb_ns idle;        /* between two bytes of the reply */
    lb_ns total;       /* from the start to the end */
} net_limits;

/* What the caller wants; every pointer is only borrowed for the call. */
typedef struct net_ask {
    void *token;           /* comes back with every parcel; never looked into */
    const char *method;    /* "GET", "POST", ... */
    const char *target;    /* "/v1/models?x=y" */
    const net_text *lines; /* "Name: value", added to the origin's own */
    size_t n_lines;
    const char *body; /* NULL: none */
    size_t body_len;
    net_limits limits;
    enum net_stream stream; /* a reply that is not 2xx is unary all the same */
    const net_text *marks;  /* an event that contains one is content; none: all are */
    size_t n_marks;
} net_ask;

/* Method, target, stream and every line.  false and a sentence in `why` that names
 * the bad part but never a value. */
bool net_ask_ok(const net_ask *ask, char why[200]);

/* One header line: "Name: value", token and visible characters only.  false and a
 * sentence in `why`; the name is told, the value never. */
bool net_ask_line_ok(const char *p, size_t n, char why[200]);

#endif /* NET_ASK_H */

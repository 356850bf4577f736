/* net_request.h - one thing asked: everything a transfer needs, in one block.
 *
 *      submitter            I/O thread                     submitter
 *   net_request_new() --> in flight, read-only --> end delivered --> freed
 *
 * All texts and the body are copied, so that nothing of the caller's has to
 * outlive the call and the I/O thread can let go of a request by itself.
 */
#ifndef NET_REQUEST_H
#define NET_REQUEST_H

#include "net_base.h"
#include "net_reply.h"

struct curl_slist;
struct net_origin;
struct net_port;
struct net_transfer;

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

typedef struct net_text {
    const char *p;
    size_t n;
} net_text;

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

/* A parcel is one delivery; see net_port.h. */
typedef struct net_parcel {
    struct net_parcel *next;
    struct net_request *request; /* alive until its end has been delivered */
    net_reply *head;             /* headers of a stream, or NULL */
    net_buf events;              /* packed, see net_port.h */
    uint32_t n_events;
    net_reply *end; /* the last thing a request gives, or NULL */
    bool room;      /* the stream waits for room: tell net_engine_room() */
} net_parcel;

typedef struct net_request {
    uint64_t id; /* never 0, never reused */
    void *token;
    struct net_origin *origin; /* one reference each */
    struct net_port *port;
    const char *url;
    const char *method;
    const char *body; /* NULL: none */
    size_t body_len;
    struct curl_slist *lines; /* ours, ending in the origin's fixed ones */
    net_limits limits;
    enum net_stream stream;
    const net_text *marks;
    size_t n_marks;

    struct net_transfer *transfer; /* I/O thread: while in flight */
    struct net_request *same_slot; /* I/O thread: chain of the id table */
    net_reply *reply;              /* made early, so that an end cannot fail */

    net_parcel *parcel; /* port's lock: the delivery that waits, or NULL */
    bool want_room;     /* port's lock: resume once that one is fetched */
    net_parcel last;    /* reserved for the end */
} net_request;

/* Checks the texts, so that none can smuggle a header or a second request.
 * NULL and a sentence in `why` that names the bad part but never a value. */
net_request *net_request_new(const net_ask *ask, struct net_origin *origin,
                             struct net_port *port, char why[200]);

/* Gives both references back. */
void net_request_free(net_request *r);

/* One header line: "Name: value", token and visible characters only.  false
 * and a sentence in `why`; the name is told, the value never. */
bool net_request_line_ok(const char *p, size_t n, char why[200]);

#endif /* NET_REQUEST_H */

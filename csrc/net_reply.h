/* net_reply.h - what came back: the headers of a stream, or the end of a transfer. */
#ifndef NET_REPLY_H
#define NET_REPLY_H

#include "net_base.h"
#include "net_headers.h"

/* Owned by whoever holds it; free with net_reply_free().  Times are ns on
 * net_now()'s clock, taken in the I/O thread: a busy interpreter shifts none. */
typedef struct net_reply {
    net_headers headers;  /* status 0: no response line was seen */
    net_buf body;         /* whole body; of a stream without events, how it began */
    bool done;            /* false: the headers of a stream that goes on */
    bool sent;            /* some byte of the request was written */
    bool reused;          /* on a connection that had served before */
    enum net_error error; /* NET_OK, or what ended it */
    char detail[200];     /* printable ASCII, for people; no header, body or secret */
    const char *version;  /* "1.0" "1.1" "2" "3", or "" */
    uint64_t offset;      /* body bytes received, after decoding */
    uint64_t events;      /* events handed on */
    lb_ns started;        /* the I/O thread took the request up */
    lb_ns connected;      /* connection ready, about to send; 0: never */
    lb_ns first_byte;     /* final status line; 0: never */
    lb_ns first_token;    /* first event with content; 0: never */
    lb_ns ended;          /* this reply was made */
} net_reply;

net_reply *net_reply_new(void);    /* all zero; NULL: out of memory */
void net_reply_free(net_reply *r); /* NULL is fine */

/* Keep `text` as the detail: control and non-ASCII bytes become '?'. */
void net_reply_explain(net_reply *r, const char *text);

#endif /* NET_REPLY_H */

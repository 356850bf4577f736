/* net_base.h - what every file of the transport shares: errors, bytes, events.
 *
 * The transport knows no Python and nothing of the decision core except its
 * time type: it moves requests out and replies in, and says what went wrong.
 */
#ifndef NET_BASE_H
#define NET_BASE_H

/* -std=c11 hides POSIX; so this header comes first in every file of the layer. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb_base.h"

/* What ended a transfer early.  The names Python sees are in net_error_name(). */
enum net_error {
    NET_OK = 0,
    NET_CANCELLED,           /* the caller asked for it */
    NET_DNS,                 /* the host has no address */
    NET_CONNECT,             /* no connection: refused, unreachable */
    NET_TLS,                 /* handshake or certificate refused */
    NET_CONNECT_TIMEOUT,     /* no usable connection in time (DNS, TCP, TLS) */
    NET_FIRST_BYTE_TIMEOUT,  /* connected, but no final status line in time */
    NET_FIRST_TOKEN_TIMEOUT, /* no content-bearing event in time */
    NET_IDLE_TIMEOUT,        /* a gap between two bytes was too long */
    NET_TOTAL_TIMEOUT,       /* the whole took too long */
    NET_RESET,               /* the connection broke: reset, or closed unanswered */
    NET_TRUNCATED, /* closed in mid-reply: headers, body or frame incomplete */
    NET_PROTOCOL,  /* bytes that are no HTTP, no chunk, no frame */
    NET_TOO_LARGE, /* headers, body or event above the origin's caps */
    NET_ENCODING,  /* Content-Encoding unknown or broken */
    NET_PROXY,     /* the proxy could not be found, reached or refused us */
    NET_ENGINE,    /* our own side: stopped, out of memory, misconfigured */
    NET_NERRORS
};

/* "" for NET_OK, else the kind's name: "dns", "first_byte_timeout", ... */
const char *net_error_name(enum net_error e);

/* CLOCK_MONOTONIC in ns: the clock of Python's time.monotonic(). */
lb_ns net_now(void);

/* Bytes that grow.  All zero is an empty buffer; free with net_buf_free(). */
typedef struct net_buf {
    char *data;
    size_t len;
    size_t cap;
} net_buf;

/* Make room for `more` bytes after len.  false: out of memory, nothing changed. */
bool net_buf_room(net_buf *b, size_t more);

static inline bool
net_buf_add(net_buf *b, const void *p, size_t n)
{
    if (n > b->cap - b->len && !net_buf_room(b, n))
        return false;
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    return true;
}

static inline void
net_buf_free(net_buf *b)
{
    free(b->data);
    *b = (net_buf){0};
}

/* Bytes of somebody else's, only borrowed. */
typedef struct net_text {
    const char *p;
    size_t n;
} net_text;

/* What a stream decoder calls for each complete event.  Both texts are only
 * borrowed.  `name` is empty where the stream named none. */
typedef void net_on_event(void *ctx, const char *name, size_t name_len,
                          const char *data, size_t len);

/* The struct that embeds what `ptr` points at as its `field`. */
#define NET_OWNER(type, field, ptr) \
    ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

#endif /* NET_BASE_H */

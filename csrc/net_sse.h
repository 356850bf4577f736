/* net_sse.h - server-sent events, cut from bytes that arrive in any pieces.
 *
 *      event: delta\n                 name  "delta"
 *      data: {"a":1,\r\n              data  {"a":1,\n"b":2}
 *      data: "b":2}\r
 *      : keep-alive\n                 a comment: life, but no event
 *      \n                             the empty line dispatches
 *
 * The rules are WHATWG HTML, "event stream": one leading BOM is dropped; a
 * line ends with LF, CR or CRLF, wherever the pieces are cut; one space after
 * the colon is dropped; data lines are joined with LF; an event without a data
 * line, and one that the end of the stream cuts off, are not dispatched.  `id`
 * and `retry` are for reconnecting, which a paid reply never does: skipped.
 * One addition: after the first event a line that opens with `{` is no field.  Google
 * reports an error amid a stream so, as a bare JSON object over several lines; it is
 * handed on as an event without a name, up to the `}` in the first column or on its
 * only line.
 *
 * Bytes stay bytes: no UTF-8 is decoded, so no piece can cut a character.
 *
 * An event whose bytes lie in one piece is handed on without a copy.
 */
#ifndef NET_SSE_H
#define NET_SSE_H

#include "net_base.h"

#define NET_SSE_NAME 128 /* longest event name; a longer one is NET_TOO_LARGE */

/* Embed by value; all zero plus `max_event` is a fresh parser. */
typedef struct net_sse {
    size_t max_event; /* most bytes of one line and of one event's data */
    net_buf line;     /* the start of a line whose end has not come yet */
    net_buf data;     /* data lines so far, joined; empty while `view` is used */
    const char *view; /* the only data line so far, inside the current piece */
    size_t view_len;
    bool has_data; /* a data line was seen since the last dispatch */
    bool begun;    /* an event was dispatched: this is a stream of events */
    bool bare;     /* inside a JSON object that stands without "data:" */
    bool after_cr; /* the last piece ended with CR: an LF next belongs to it */
    uint8_t bom;   /* bytes of a leading BOM matched, 3 once that is settled */
    uint8_t name_len;
    char name[NET_SSE_NAME];
} net_sse;

/* Take `n` bytes; call `on(ctx, ...)` for every event they complete.
 * NET_OK, NET_TOO_LARGE, or NET_ENGINE (out of memory); after an error the
 * parser may only be freed. */
enum net_error net_sse_feed(net_sse *s, const char *p, size_t n, net_on_event *on,
                            void *ctx);

/* The stream is over: a bare object needs no line end, all else is cut off. */
void net_sse_finish(net_sse *s, net_on_event *on, void *ctx);

/* Release the buffers and start afresh with the same cap. */
void net_sse_free(net_sse *s);

#endif /* NET_SSE_H */

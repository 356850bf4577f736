/* net_headers.h - the headers of one response, kept in a single block.
 *
 *     "HTTP/1.1 429 Too Many\r\n"      status 429, an interim 1xx block is dropped
 *     "Retry-After:  2 \r\n"           "retry-after\0" "2\0"
 *     "X-A: one\r\n" " two\r\n"        "x-a\0" "one two\0"     (an old folded line)
 *     "\r\n"                           done
 *
 * Fed line by line as they come off the wire; names are lower-cased, blanks
 * around values dropped, repeats kept apart in their order.  Lines after the
 * empty one are trailers and are kept like headers.
 */
#ifndef NET_HEADERS_H
#define NET_HEADERS_H

#include "net_base.h"

/* Embed by value; all zero plus `max` is an empty block. */
typedef struct net_headers {
    net_buf block;   /* name\0value\0 name\0value\0 ... */
    size_t max;      /* most bytes of header lines in all, interim ones included */
    size_t seen;     /* bytes of header lines so far */
    uint32_t count;  /* pairs in the block */
    uint16_t status; /* of the last status line, 0 before the first */
    bool in_block;   /* between a status line and its empty line */
    bool done;       /* the final block is complete */
} net_headers;

/* Take one line, with or without its line end.  NET_OK, NET_TOO_LARGE,
 * NET_PROTOCOL (no status line first, no colon, NUL in it), NET_ENGINE. */
enum net_error net_headers_line(net_headers *h, const char *p, size_t n);

/* Walk the pairs: start with *at = 0; false at the end. */
bool net_headers_next(const net_headers *h, size_t *at, const char **name,
                      const char **value);

/* First value of `name` (in lower case), or NULL. */
const char *net_headers_get(const net_headers *h, const char *name);

/* A second block with the same contents; false: out of memory. */
bool net_headers_copy(net_headers *to, const net_headers *from);

void net_headers_free(net_headers *h);

#endif /* NET_HEADERS_H */

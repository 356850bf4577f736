/* net_frames.h - the two other streams models speak: JSON lines, AWS frames.
 *
 * JSON lines (Ollama): one event a line, LF or CRLF, blank lines skipped.  A
 * last line without its end counts: JSON itself tells whether it is whole.
 *
 * AWS event stream (Bedrock; Smithy "application/vnd.amazon.eventstream"):
 *
 *     | total u32 | headers u32 | crc of these 8 | headers | payload | crc of all |
 *       big-endian                                 `headers` bytes
 *     one header:  name length u8, name, type u8, value (size by type)
 *
 * The event's name is its `:event-type`.  Where `:message-type` says that it
 * is no event, the name is "exception:" and its `:exception-type`, or "error:"
 * and its `:error-code`.  Both checksums (CRC-32, ISO-HDLC) are checked.
 */
#ifndef NET_FRAMES_H
#define NET_FRAMES_H

#include "net_base.h"

/* Embed by value; all zero plus `max_event` is a fresh splitter. */
typedef struct net_lines {
    size_t max_event; /* most bytes of one line */
    net_buf line;     /* the start of a line whose end has not come yet */
} net_lines;

/* NET_OK, NET_TOO_LARGE, or NET_ENGINE (out of memory). */
enum net_error net_lines_feed(net_lines *s, const char *p, size_t n, net_on_event *on,
                              void *ctx);

/* The stream has ended: hand on a last line without its line end. */
void net_lines_finish(net_lines *s, net_on_event *on, void *ctx);

void net_lines_free(net_lines *s);

/* Embed by value; all zero plus `max_event` is a fresh splitter. */
typedef struct net_aws {
    size_t max_event; /* most bytes of one frame */
    net_buf frame;    /* the start of a frame whose end has not come yet */
} net_aws;

/* NET_OK, NET_TOO_LARGE, NET_PROTOCOL (checksum, impossible lengths, headers
 * that overrun), or NET_ENGINE (out of memory). */
enum net_error net_aws_feed(net_aws *s, const char *p, size_t n, net_on_event *on,
                            void *ctx);

/* The stream has ended: NET_OK, or NET_TRUNCATED inside a frame. */
enum net_error net_aws_finish(const net_aws *s);

void net_aws_free(net_aws *s);

/* CRC-32 of zlib, gzip and Ethernet; "123456789" gives 0xCBF43926. */
uint32_t net_crc32(const void *p, size_t n);

#endif /* NET_FRAMES_H */

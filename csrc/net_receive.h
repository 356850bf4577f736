/* net_receive.h - what libcurl hears, turned into headers, bodies and events.
 *
 *     connected    the connect timer stops, the first-byte timer starts
 *     header line  kept (net_headers.h); after the last, a stream's head is delivered
 *     body bytes   a body grows, or a decoder cuts events out: net_sse.h, net_frames.h
 *                  what came at once is delivered at once; above NET_HIGH_WATER
 *                  undelivered bytes the stream stops until there is room
 *
 * libcurl calls in here from within any call made to it.  A callback cannot end the
 * transfer: it notes a verdict and breaks off, and the result comes with the rest.
 */
#ifndef NET_RECEIVE_H
#define NET_RECEIVE_H

#include "net_transfer.h"

/* Set the callbacks of the handle; once in its life. */
void net_receive_setup(net_transfer *t);

/* A new attempt begins: forget what was heard. */
void net_receive_reset(net_transfer *t);

/* libcurl saw a good end: was the reply whole?  Hands on a last event. */
enum net_error net_receive_finish(net_transfer *t);

/* Release the decoder's buffers. */
void net_receive_free(net_transfer *t);

#endif /* NET_RECEIVE_H */

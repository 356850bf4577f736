/* net_receive.h - what libcurl hears, turned into headers, bodies and events. */
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

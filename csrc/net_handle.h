/* net_handle.h - libcurl's handles: made for an origin, set for a request, kept.
 *
 *     origin's stock --> net_handle_take() --> a transfer --> net_handle_return()
 *           ^                                                      |
 *           '------------------------------------------------------'
 *
 * To make a handle costs dozens of options; most are alike for all requests of an
 * origin and are set once, of the rest only those that change.  All on the I/O thread.
 */
#ifndef NET_HANDLE_H
#define NET_HANDLE_H

#include "net_transfer.h"

/* A transfer whose handle says all that the request asks for, not yet on the wire.
 * NULL: out of memory. */
net_transfer *net_handle_take(net_watch *w, net_request *r);

/* It is off the wire: back into the stock. */
void net_handle_return(net_transfer *t);

/* Release the origin's stock, and then its connections. */
void net_handle_release(net_watch *w, net_origin *o);

#endif /* NET_HANDLE_H */

/* net_failure.h - libcurl's ninety results as the few kinds a caller can act on.
 *
 * Its codes do not tell all: a broken chunk and a reset are both RECV_ERROR, an
 * empty reply may be the proxy's.  Where the code is not enough, the phase of
 * the transfer and, last, the words of the error text decide.
 */
#ifndef NET_FAILURE_H
#define NET_FAILURE_H

#include "net_base.h"
#include "net_transfer.h"

/* The kind of a CURLcode; NET_OK for CURLE_OK. */
enum net_error net_failure_kind(const net_transfer *t, int result);

/* Fill in the reply's detail: libcurl's words where it has spoken, else ours. */
void net_failure_explain(net_transfer *t, enum net_error e, int result);

#endif /* NET_FAILURE_H */

/* net_request.h - an ask on its way: a copy of all that a transfer needs, in one block.
 *
 *      submitter            I/O thread                     submitter
 *   net_request_new() --> in flight, read-only --> end delivered --> freed
 *
 * All texts and the body are copied, so that nothing of the caller's has to
 * outlive the call and the I/O thread can let go of a request by itself.
 */
#ifndef NET_REQUEST_H
#define NET_REQUEST_H

#include "net_ask.h"
#include "net_base.h"
#include "net_origin.h"
#include "net_port.h"
#include "net_reply.h"

typedef struct net_request {
    net_sender sender;  /* its id, its token, and the port it reports to */
    net_origin *origin; /* one reference */
    const char *url;
    const char *method;
    const char *body; /* NULL: none */
    size_t body_len;
    struct curl_slist *lines; /* ours, ending in the origin's fixed ones */
    net_limits limits;
    enum net_stream stream;
    const net_text *marks;
    size_t n_marks;
    net_reply *reply; /* made early, so that an end cannot fail */
} net_request;

/* Checks the ask, signs it where the origin does, and copies it.
 * NULL and a sentence in `why` that names the bad part but never a value. */
net_request *net_request_new(const net_ask *ask, net_origin *origin, net_port *port,
                             char why[200]);

/* For a request that was never submitted; afterwards its port frees it.  Gives the
 * references to origin and port back. */
void net_request_free(net_request *r);

#endif /* NET_REQUEST_H */

/* net_origin.h - one backend as the transport sees it: where, how, with what keys.
 *
 * The settings are read-only after creation; any thread may read them.  What the
 * engine makes of them (the host's connections, a stock of handles whose options are
 * set once) is touched by the I/O thread alone.  References are counted: the owner's,
 * and one of each request in flight.
 */
#ifndef NET_ORIGIN_H
#define NET_ORIGIN_H

#include "net_base.h"

#include <stdatomic.h>

#include "net_sign.h"
#include "net_tls.h"
#include "net_watch.h"

struct curl_slist;
struct net_transfer;

enum net_http {
    NET_HTTP_AUTO, /* 2 over TLS where libcurl is >= 8.5.0, else 1.1 */
    NET_HTTP_1,
    NET_HTTP_2, /* asked for by name: needs libcurl >= 8.5.0 */
};

/* Every text is only borrowed for the call; NULL leaves a setting out. */
typedef struct net_settings {
    const char *url;         /* scheme://host[:port] */
    const net_text *headers; /* "Name: value", credentials included */
    size_t n_headers;
    enum net_http http;
    bool verify;             /* false: accept any certificate */
    const char *ca;          /* file or directory to trust instead of the system's */
    const char *cert;        /* client certificate, PEM */
    const char *key;         /* its key, PEM */
    const char *proxy;       /* URL; NULL: none (the environment is not consulted) */
    const char *unix_socket; /* path */
    const char *sigv4;       /* "aws:amz:region:service" */
    const char *sigv4_key;   /* "access:secret" or "access:secret:session-token" */
    size_t max_body;         /* bytes of a body, or of a whole stream */
    size_t max_event;        /* bytes of one event */
    size_t max_header;       /* bytes of all header lines */
} net_settings;

typedef struct net_origin {
    _Atomic uint32_t refs;
    char *base; /* "https://host:port", normalised: safe to show */
    struct curl_slist *lines;
    bool secure;       /* https */
    bool secure_proxy; /* https to the proxy */
    bool verify;
    bool http2;
    net_trust trust;
    char *cert, *key, *proxy, *unix_socket;
    net_signer signer;
    size_t max_body, max_event, max_header;

    /* How to release it once an engine has had it; NULL: none has. */
    void (*drop)(struct net_origin *);
    struct net_origin *dropped; /* in the engine's list of those to release */

    /* I/O thread */
    net_host host;
    struct net_transfer *spare; /* handles that wait for work */
    uint32_t n_spare;
    bool no_http2; /* stepped down after a broken HTTP/2 exchange */
} net_origin;

/* NULL and a sentence in `why` that names the setting, never a secret. */
net_origin *net_origin_new(const net_settings *s, char why[200]);

net_origin *net_origin_ref(net_origin *o);

/* The last reference frees it, by way of the engine that has connections for it. */
void net_origin_unref(net_origin *o);

/* Release the settings; the engine has let go of the rest. */
void net_origin_free(net_origin *o);

#endif /* NET_ORIGIN_H */

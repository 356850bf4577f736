/* net_origin.h - one backend as the transport sees it: where, how, with what keys.
 *
 * An origin owns the connections to its host (one CURLM) and a stock of handles
 * whose options are set once.  The settings are read-only after creation; what
 * is marked "I/O thread" is touched by no other thread.  References are counted:
 * the owner's, and one of each request in flight.
 */
#ifndef NET_ORIGIN_H
#define NET_ORIGIN_H

#include "net_base.h"

#include <stdatomic.h>

#include "net_sign.h"
#include "net_timer.h"
#include "net_tls.h"

struct curl_slist;
struct net_loop;
struct net_transfer;

enum net_http {
    NET_HTTP_AUTO, /* 2 over TLS where libcurl is >= 8.5.0, else 1.1 */
    NET_HTTP_1,
    NET_HTTP_2, /* asked for by name: needs libcurl >= 8.5.0 */
};

/* Every text is only borrowed for the call; NULL leaves a setting out. */
typedef struct net_settings {
    const char *url;                /* scheme://host[:port] */
    const struct net_text *headers; /* "Name: value", credentials included */
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

    /* I/O thread */
    unsigned epoch;             /* of the process whose engine made what follows */
    uint64_t engine;            /* which engine of that process */
    void *multi;                /* CURLM, made at the first transfer */
    struct net_loop *loop;      /* where its sockets and timer are watched */
    struct net_transfer *spare; /* handles that wait for work */
    uint32_t n_spare;
    net_timer timer;            /* when libcurl wants to be called */
    bool touched;               /* libcurl was called: results may be waiting */
    bool no_http2;              /* stepped down after a broken HTTP/2 exchange */
    struct net_origin *next;    /* in the loop's list of touched ones */
    struct net_origin *dropped; /* in the engine's list of those to release */
    struct net_origin *live_next, *live_prev; /* all that have a multi */
} net_origin;

/* NULL and a sentence in `why` that names the setting, never a secret. */
net_origin *net_origin_new(const net_settings *s, char why[200]);

net_origin *net_origin_ref(net_origin *o);

/* The last reference gives what the engine made to the engine to release. */
void net_origin_unref(net_origin *o);

/* Release the settings; the engine has let go of the rest. */
void net_origin_free(net_origin *o);

#endif /* NET_ORIGIN_H */

/* net_tls.h - which certificates to trust, at which price.
 *
 * Left alone, libcurl with OpenSSL parses the whole bundle (140 certificates,
 * 22 ms of CPU) for every new connection whenever a directory is configured
 * too, which is how distributions build it.  Measured remedies:
 *
 *   a directory hashed by c_rehash   CAINFO off, CAPATH = it     1.4 ms
 *   a bundle file                    CAINFO = it, CAPATH off     0.9 ms (cached)
 *
 * From 8.17 on an absent CAINFO or CAPATH is refilled with the built-in one, so
 * there one small certificate of the directory itself stands in as the CAINFO.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "net_base.h"

/* Paths to give to libcurl; "" means: switch this one off. */
typedef struct net_trust {
    char file[512]; /* CURLOPT_CAINFO */
    char dir[512];  /* CURLOPT_CAPATH */
} net_trust;

/* The rule above.  `ca` is a file or a directory chosen by the user, or NULL
 * for the system's own.  false: nothing found, or `ca` is not there. */
bool net_tls_trust(net_trust *t, const char *ca);

#endif /* NET_TLS_H */

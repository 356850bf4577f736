/* net_sha256.h - SHA-256 (FIPS 180-4) and HMAC over it (RFC 2104), to sign with.
 *
 * About 4 ns a byte: a 1 kB request costs 4 us.  Not for secrets compared in
 * constant time: nothing here compares.
 */
#ifndef NET_SHA256_H
#define NET_SHA256_H

#include "net_base.h"

enum { NET_SHA256 = 32 };

/* Embed by value; start with net_sha256_init(). */
typedef struct net_sha256 {
    uint32_t state[8];
    uint64_t bytes;    /* taken so far */
    uint8_t block[64]; /* the first bytes % 64 wait here */
} net_sha256;

void net_sha256_init(net_sha256 *s);
void net_sha256_add(net_sha256 *s, const void *p, size_t n);
void net_sha256_end(net_sha256 *s, uint8_t out[NET_SHA256]);

/* HMAC-SHA256 of one text; `out` may be the key itself. */
void net_hmac(const void *key, size_t key_len, const void *p, size_t n,
              uint8_t out[NET_SHA256]);

/* 64 lower-case digits and a closing zero. */
void net_sha256_hex(const uint8_t raw[NET_SHA256], char out[2 * NET_SHA256 + 1]);

#endif /* NET_SHA256_H */

/* net_sign.h - AWS Signature Version 4, as Bedrock checks it.
 *
 *   canonical request          string to sign             signature
 *   POST                       AWS4-HMAC-SHA256           HMAC(key of the day, ...)
 *   /model/a%253A0/converse    20150830T123600Z
 *   (sorted query)             20150830/region/service/aws4_request
 *   host:...                   sha256(canonical)
 *   x-amz-...
 *   sha256(body)
 *
 * libcurl signs too, but not alike in every version: measured, 7.88.1 leaves the
 * path as it is sent, where AWS encodes it once more (model names hold a colon),
 * and 8.14.1 did not send what 7.88.1 did.  So it is done here, once.
 * Source: "Create a signed AWS API request", AWS General Reference.
 */
#ifndef NET_SIGN_H
#define NET_SIGN_H

#include "net_ask.h"
#include "net_base.h"

struct curl_slist;

enum { NET_SIGN_DATE = 64, NET_SIGN_AUTH = 1024 };

/* All zero: do not sign.  The texts are owned by whoever embeds it. */
typedef struct net_signer {
    char *access;  /* access key id */
    char *secret;  /* secret key */
    char *token;   /* of a session, or NULL */
    char *region;  /* "us-east-1" */
    char *service; /* "bedrock" */
} net_signer;

/* Read "aws:amz:region:service" and "access:secret" or "access:secret:token".
 * NULL, or a sentence that names the setting. */
const char *net_signer_read(net_signer *s, const char *scope, const char *key);

/* Wipe and release. */
void net_signer_free(net_signer *s);

/* Write the header lines "X-Amz-Date: ..." and "Authorization: ..." for what is
 * asked of `host` (as the Host header says it) at `unix_time`.  Signed are host,
 * the date, and every x-amz-* line of the ask and of `fixed`.  The query, if
 * any, must be encoded as RFC 3986 wants it.  false: out of memory, or more
 * than 16 such lines, or names too long. */
bool net_sign(const net_signer *s, const net_ask *ask, const char *host,
              const struct curl_slist *fixed, int64_t unix_time,
              char date_line[NET_SIGN_DATE], char auth_line[NET_SIGN_AUTH]);

#endif /* NET_SIGN_H */

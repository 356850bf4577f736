#include "net_failure.h"

#include <curl/curl.h>
#include <strings.h>

/* Broken chunks have no code of their own before 8.x: only the text tells. */
static bool
text_has(const net_transfer *t, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = t->why; *p != '\0'; p++)
        if (strncasecmp(p, word, n) == 0)
            return true;
    return false;
}

static enum net_error
lost(const net_transfer *t)
{
    long proxy_status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (t->origin->proxy != NULL && t->reply->connected == 0)
        return NET_PROXY;
    if (text_has(t, "chunk"))
        return NET_PROTOCOL;
    if (text_has(t, "too large response headers"))
        return NET_TOO_LARGE;
    return NET_RESET;
}

enum net_error
net_failure_kind(const net_transfer *t, int result)
{
    CURLcode code = (CURLcode)result;
    switch (code) {
    case CURLE_OK:
        return NET_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
        return NET_DNS;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return NET_PROXY;
    case CURLE_COULDNT_CONNECT:
        return t->origin->proxy != NULL ? NET_PROXY : NET_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return t->reply->connected == 0 ? NET_CONNECT_TIMEOUT : NET_TOTAL_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED:
        return NET_TLS;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_ABORTED_BY_CALLBACK: /* ours, see NET_STALE_NS */
        return lost(t);
    case CURLE_PARTIAL_FILE:
        return NET_TRUNCATED;
    case CURLE_BAD_CONTENT_ENCODING:
        return NET_ENCODING;
    case CURLE_FILESIZE_EXCEEDED:
        return NET_TOO_LARGE;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return NET_PROTOCOL;
    case CURLE_OUT_OF_MEMORY: /* a header line above libcurl's own cap, if any came */
        return t->reply->connected != 0 && !t->reply->headers.done ? NET_TOO_LARGE
                                                                   : NET_ENGINE;
    default:
#if LIBCURL_VERSION_NUM >= 0x080600
        if (code == CURLE_TOO_LARGE)
            return NET_TOO_LARGE;
#endif
        return NET_ENGINE;
    }
}

void
net_failure_explain(net_transfer *t, enum net_error e, int result)
{
    static const char *const ours[NET_NERRORS] = {
        [NET_CANCELLED] = "cancelled by the caller",
        [NET_CONNECT_TIMEOUT] = "no connection within the connect timeout",
        [NET_FIRST_BYTE_TIMEOUT] = "no reply within the first-byte timeout",
        [NET_FIRST_TOKEN_TIMEOUT] = "no content within the first-token timeout",
        [NET_IDLE_TIMEOUT] = "no byte within the idle timeout",
        [NET_TOTAL_TIMEOUT] = "not finished within the total timeout",
        [NET_RESET] = "the connection closed without a reply",
        [NET_TRUNCATED] = "the connection closed in mid-reply",
        [NET_PROTOCOL] = "the reply breaks the protocol",
        [NET_TOO_LARGE] = "the reply exceeds a size limit of the backend",
        [NET_ENGINE] = "the transport stopped or ran out of memory",
    };
    CURLcode code = (CURLcode)result;
    bool heard = code != CURLE_OK && code != CURLE_WRITE_ERROR &&
                 code != CURLE_ABORTED_BY_CALLBACK;
    const char *text = heard && t->why[0] != '\0' ? t->why
                       : heard                    ? curl_easy_strerror(code)
                       : ours[e] != NULL          ? ours[e]
                                                  : "";
    net_reply_explain(t->reply, text);
}

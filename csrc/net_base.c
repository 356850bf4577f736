#include "net_base.h"

#include <time.h>

const char *
net_error_name(enum net_error e)
{
    static const char *const names[NET_NERRORS] = {
        [NET_OK] = "",
        [NET_CANCELLED] = "cancelled",
        [NET_DNS] = "dns",
        [NET_CONNECT] = "connect",
        [NET_TLS] = "tls",
        [NET_CONNECT_TIMEOUT] = "connect_timeout",
        [NET_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
        [NET_FIRST_TOKEN_TIMEOUT] = "first_token_timeout",
        [NET_IDLE_TIMEOUT] = "idle_timeout",
        [NET_TOTAL_TIMEOUT] = "total_timeout",
        [NET_RESET] = "reset",
        [NET_TRUNCATED] = "truncated",
        [NET_PROTOCOL] = "protocol",
        [NET_TOO_LARGE] = "too_large",
        [NET_ENCODING] = "encoding",
        [NET_PROXY] = "proxy",
        [NET_ENGINE] = "engine",
    };
    return names[e];
}

lb_ns
net_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (lb_ns)ts.tv_sec * LB_NS_PER_S + ts.tv_nsec;
}

bool
net_buf_room(net_buf *b, size_t more)
{
    if (more > SIZE_MAX / 2 - b->len)
        return false;
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap < b->len + more)
        cap += cap;
    char *data = realloc(b->data, cap);
    if (data == NULL)
        return false;
    b->data = data;
    b->cap = cap;
    return true;
}

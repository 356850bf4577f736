/* sse.c - nanoseconds the event parser takes an event, by size of the pieces.
 *
 *     sse PIECE_BYTES
 *
 * Events are as OpenAI sends them, about 290 bytes; 0 means one large piece.
 */
#include <stdio.h>

#include "net_sse.h"

enum { EVENTS = 1000, ROUNDS = 300 };

static void
count(void *ctx, const char *name, size_t name_len, const char *data, size_t len)
{
    (void)name;
    (void)name_len;
    (void)data;
    *(size_t *)ctx += len;
}

int
main(int argc, char **argv)
{
    net_buf text = {0};
    char data[260];
    memset(data, 'x', sizeof data);
    for (int i = 0; i < EVENTS; i++)
        if (!net_buf_add(&text, "data: {\"choices\":[{\"d\":\"", 24) ||
            !net_buf_add(&text, data, sizeof data) ||
            !net_buf_add(&text, "\"}]}\n\n", 6))
            return 1;
    size_t piece = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    size_t seen = 0;
    if (piece == 0)
        piece = text.len;
    net_sse s = {.max_event = 1 << 20};
    lb_ns begun = net_now();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t at = 0; at < text.len; at += piece) {
            size_t n = text.len - at < piece ? text.len - at : piece;
            if (net_sse_feed(&s, text.data + at, n, count, &seen) != NET_OK)
                return 1;
        }
    }
    double ns = (double)(net_now() - begun);
    printf("%.1f\n", ns / ROUNDS / EVENTS);
    net_sse_free(&s);
    net_buf_free(&text);
    return seen == (size_t)ROUNDS * EVENTS * (sizeof data + 22) ? 0 : 1;
}

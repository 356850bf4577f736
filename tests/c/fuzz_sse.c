/* fuzz_sse.c - any bytes in any pieces: no crash, bounded events, and the same
 * events whether they come at once or cut in two. */
#include <stdio.h>

#include "net_frames.h"
#include "net_sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_EVENT = 512 };

static void
note(void *ctx, const char *name, size_t name_len, const char *data, size_t len)
{
    net_buf *log = ctx;
    if (len > MAX_EVENT || name_len >= NET_SSE_NAME)
        abort();
    if (!net_buf_add(log, name, name_len) || !net_buf_add(log, "=", 1) ||
        !net_buf_add(log, data, len) || !net_buf_add(log, "|", 1))
        abort();
}

static enum net_error
events_of(net_buf *log, const char *p, size_t n, size_t cut)
{
    net_sse s = {.max_event = MAX_EVENT};
    enum net_error e = net_sse_feed(&s, p, cut, note, log);
    if (e == NET_OK)
        e = net_sse_feed(&s, p + cut, n - cut, note, log);
    if (e == NET_OK)
        net_sse_finish(&s, note, log);
    net_sse_free(&s);
    return e;
}

static enum net_error
lines_of(net_buf *log, const char *p, size_t n, size_t cut)
{
    net_lines s = {.max_event = MAX_EVENT};
    enum net_error e = net_lines_feed(&s, p, cut, note, log);
    if (e == NET_OK)
        e = net_lines_feed(&s, p + cut, n - cut, note, log);
    if (e == NET_OK)
        net_lines_finish(&s, note, log);
    net_lines_free(&s);
    return e;
}

static void
same(enum net_error (*parse)(net_buf *, const char *, size_t, size_t), const char *p,
     size_t n, size_t cut)
{
    net_buf whole = {0};
    net_buf pieces = {0};
    enum net_error e = parse(&whole, p, n, n);
    if (parse(&pieces, p, n, cut) != e || pieces.len != whole.len ||
        (whole.len > 0 && memcmp(pieces.data, whole.data, whole.len) != 0))
        abort();
    net_buf_free(&whole);
    net_buf_free(&pieces);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t cut = data[0] % size;
    same(events_of, (const char *)data + 1, size - 1, cut);
    same(lines_of, (const char *)data + 1, size - 1, cut);
    return 0;
}

/* fuzz_frames.c - any bytes as AWS frames, in two pieces; one time in two the
 * checksums are put right first, so that the headers are reached. */
#include <stdio.h>

#include "net_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
note(void *ctx, const char *name, size_t name_len, const char *data, size_t len)
{
    net_buf *log = ctx;
    if (!net_buf_add(log, name, name_len) || !net_buf_add(log, data, len))
        abort();
}

static void
put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void
put_right(uint8_t *frame, size_t n)
{
    put_be32(frame, (uint32_t)n);
    put_be32(frame + 8, net_crc32(frame, 8));
    put_be32(frame + n - 4, net_crc32(frame, n - 4));
}

static enum net_error
frames_of(net_buf *log, const char *p, size_t n, size_t cut)
{
    net_aws s = {.max_event = 4096};
    enum net_error e = net_aws_feed(&s, p, cut, note, log);
    if (e == NET_OK)
        e = net_aws_feed(&s, p + cut, n - cut, note, log);
    if (e == NET_OK)
        e = net_aws_finish(&s);
    net_aws_free(&s);
    return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 17)
        return 0;
    size_t n = size - 1;
    uint8_t *copy = malloc(n);
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, n);
    if (data[0] & 1)
        put_right(copy, n);
    net_buf whole = {0};
    net_buf pieces = {0};
    const char *p = (const char *)copy;
    if (frames_of(&whole, p, n, n) != frames_of(&pieces, p, n, data[0] % n) ||
        whole.len != pieces.len)
        abort();
    net_buf_free(&whole);
    net_buf_free(&pieces);
    free(copy);
    return 0;
}

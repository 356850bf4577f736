#include "net_frames.h"

#include <pthread.h>
#include <stdio.h>

static void
give_line(const char *p, size_t n, net_on_event *on, void *ctx)
{
    if (n > 0 && p[n - 1] == '\r')
        n--;
    if (n > 0)
        on(ctx, "", 0, p, n);
}

enum net_error
net_lines_feed(net_lines *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    const char *end = p + n;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((lf != NULL ? lf : end) - p);
        if (len > s->max_event - s->line.len)
            return NET_TOO_LARGE;
        if (lf != NULL && s->line.len == 0) {
            give_line(p, len, on, ctx);
        } else {
            if (!net_buf_add(&s->line, p, len))
                return NET_ENGINE;
            if (lf != NULL)
                net_lines_finish(s, on, ctx);
        }
        p += len + 1;
    }
    return NET_OK;
}

void
net_lines_finish(net_lines *s, net_on_event *on, void *ctx)
{
    give_line(s->line.data, s->line.len, on, ctx);
    s->line.len = 0;
}

void
net_lines_free(net_lines *s)
{
    net_buf_free(&s->line);
}

/* Four tables, so that four bytes are folded in at once. */
static uint32_t crc_table[4][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (c & 1 ? UINT32_C(0xEDB88320) : 0);
        crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 4; t++) {
            uint32_t c = crc_table[t - 1][i];
            crc_table[t][i] = (c >> 8) ^ crc_table[0][c & 255];
        }
    }
}

uint32_t
net_crc32(const void *data, size_t n)
{
    (void)pthread_once(&crc_once, crc_fill);
    const uint8_t *p = data;
    uint32_t c = UINT32_MAX;
    for (; n >= 4; n -= 4, p += 4) {
        c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
             (uint32_t)p[3] << 24;
        c = crc_table[3][c & 255] ^ crc_table[2][c >> 8 & 255] ^
            crc_table[1][c >> 16 & 255] ^ crc_table[0][c >> 24];
    }
    while (n-- > 0)
        c = (c >> 8) ^ crc_table[0][(c ^ *p++) & 255];
    return ~c;
}

#define PRELUDE   12
#define MIN_FRAME 16 /* prelude and the closing checksum */

static uint32_t
be32(const char *p)
{
    const uint8_t *u = (const uint8_t *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* Bytes that a header value of `type` takes at p, or SIZE_MAX if `left` is too
 * few; *skip is how many of them are its length field. */
static size_t
value_size(int type, const char *p, size_t left, size_t *skip)
{
    static const uint8_t fixed[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    *skip = 0;
    if (type < 0 || type > 9)
        return SIZE_MAX;
    size_t size = fixed[type];
    if (type == 6 || type == 7) {
        if (left < 2)
            return SIZE_MAX;
        *skip = 2;
        size = 2 + (size_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
    }
    return size <= left ? size : SIZE_MAX;
}

typedef struct text {
    const char *p;
    size_t n;
} text;

static bool
text_is(text t, const char *s)
{
    return t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

typedef struct frame_head {
    text message, event, exception, error;
} frame_head;

static bool
read_headers(const char *p, size_t n, frame_head *h)
{
    while (n > 0) {
        size_t name_len = (uint8_t)*p;
        if (n < name_len + 2)
            return false;
        text name = {p + 1, name_len};
        int type = (uint8_t)p[1 + name_len];
        p += name_len + 2;
        n -= name_len + 2;
        size_t skip;
        size_t size = value_size(type, p, n, &skip);
        if (size == SIZE_MAX)
            return false;
        text value = {p + skip, size - skip};
        if (text_is(name, ":message-type"))
            h->message = value;
        else if (text_is(name, ":event-type"))
            h->event = value;
        else if (text_is(name, ":exception-type"))
            h->exception = value;
        else if (text_is(name, ":error-code"))
            h->error = value;
        p += size;
        n -= size;
    }
    return true;
}

static enum net_error
one_frame(const char *p, size_t total, net_on_event *on, void *ctx)
{
    uint32_t headers = be32(p + 4);
    if (net_crc32(p, total - 4) != be32(p + total - 4))
        return NET_PROTOCOL;
    frame_head h = {.exception.p = "", .error.p = ""};
    if (!read_headers(p + PRELUDE, headers, &h))
        return NET_PROTOCOL;
    const char *payload = p + PRELUDE + headers;
    size_t len = total - MIN_FRAME - headers;
    const char *kind = text_is(h.message, "exception") ? "exception:"
                       : text_is(h.message, "error")   ? "error:"
                                                       : NULL;
    if (kind == NULL) {
        on(ctx, h.event.n > 0 ? h.event.p : "", h.event.n, payload, len);
        return NET_OK;
    }
    text why = kind[1] == 'x' ? h.exception : h.error;
    char name[128];
    int n = snprintf(name, sizeof name, "%s%.*s", kind, (int)why.n, why.p);
    if (n < 0 || (size_t)n >= sizeof name)
        return NET_PROTOCOL;
    on(ctx, name, (size_t)n, payload, len);
    return NET_OK;
}

/* Size of the frame that begins at p, 0 when too little of it is here. */
static enum net_error
frame_size(const net_aws *s, const char *p, size_t n, size_t *total)
{
    *total = 0;
    if (n < PRELUDE)
        return NET_OK;
    if (net_crc32(p, 8) != be32(p + 8))
        return NET_PROTOCOL;
    uint32_t size = be32(p);
    if (size < MIN_FRAME || be32(p + 4) > size - MIN_FRAME)
        return NET_PROTOCOL;
    if (size > s->max_event)
        return NET_TOO_LARGE;
    *total = n < size ? 0 : size;
    return NET_OK;
}

/* Whole frames at p are handed on; *used says how many bytes that were. */
static enum net_error
frames_at(net_aws *s, const char *p, size_t n, size_t *used, net_on_event *on,
          void *ctx)
{
    enum net_error e = NET_OK;
    *used = 0;
    while (e == NET_OK) {
        size_t total;
        e = frame_size(s, p + *used, n - *used, &total);
        if (e != NET_OK || total == 0)
            break;
        e = one_frame(p + *used, total, on, ctx);
        *used += total;
    }
    return e;
}

enum net_error
net_aws_feed(net_aws *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    size_t used;
    enum net_error e;
    if (s->frame.len == 0) {
        e = frames_at(s, p, n, &used, on, ctx);
        if (e == NET_OK && !net_buf_add(&s->frame, p + used, n - used))
            e = NET_ENGINE;
        return e;
    }
    if (!net_buf_add(&s->frame, p, n))
        return NET_ENGINE;
    e = frames_at(s, s->frame.data, s->frame.len, &used, on, ctx);
    s->frame.len -= used;
    memmove(s->frame.data, s->frame.data + used, s->frame.len);
    return e;
}

enum net_error
net_aws_finish(const net_aws *s)
{
    return s->frame.len == 0 ? NET_OK : NET_TRUNCATED;
}

void
net_aws_free(net_aws *s)
{
    net_buf_free(&s->frame);
}

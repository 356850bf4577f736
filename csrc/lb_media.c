#include "lb_media.h"

#include <string.h>

/* A base64 payload, read as the bytes it stands for. */
typedef struct payload {
    const uint8_t *s;
    size_t n;     /* characters */
    size_t bytes; /* decoded size */
} payload;

static payload
payload_of(const uint8_t *s, size_t n)
{
    while (n > 0 && s[n - 1] == '=')
        n--;
    return (payload){s, n, n / 4 * 3 + (n % 4) * 3 / 4};
}

static uint32_t
sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' || c == '-' ? 62 : 63;
}

/* The byte at `k`; 0 past the end, which no format takes for a size. */
static uint32_t
byte_at(const payload *p, size_t k)
{
    if (k >= p->bytes)
        return 0;
    size_t c = k / 3 * 4 + k % 3;
    uint32_t pair = sextet(p->s[c]) << 6 | sextet(p->s[c + 1]);
    return pair >> (4 - 2 * (k % 3)) & 0xFF;
}

static uint32_t
big_endian(const payload *p, size_t k, int width)
{
    uint32_t v = 0;
    for (int i = 0; i < width; i++)
        v = v << 8 | byte_at(p, k + (size_t)i);
    return v;
}

static uint32_t
little_endian(const payload *p, size_t k, int width)
{
    uint32_t v = 0;
    for (int i = width; i-- > 0;)
        v = v << 8 | byte_at(p, k + (size_t)i);
    return v;
}

static bool
has(const payload *p, size_t k, const char *tag)
{
    for (; *tag != '\0'; tag++, k++)
        if (byte_at(p, k) != (uint8_t)*tag)
            return false;
    return true;
}

static void
set_size(lb_media *m, uint32_t w, uint32_t h)
{
    const uint32_t most = 1 << 20;
    m->w = (int32_t)(w < most ? w : most);
    m->h = (int32_t)(h < most ? h : most);
}

/* Segments before the frame header may hold profiles and thumbnails; no honest
 * file has hundreds of them, so the walk stops there. */
static void
jpeg_size(const payload *p, lb_media *m)
{
    size_t k = 2;
    for (int hop = 0; hop < 300 && byte_at(p, k) == 0xFF; hop++) {
        uint32_t marker = byte_at(p, k + 1);
        /* of C0 to CF every fourth is a table, the first excepted */
        bool frame =
            marker == 0xC0 || (marker > 0xC0 && marker <= 0xCF && marker % 4 != 0);
        if (frame) {
            set_size(m, big_endian(p, k + 7, 2), big_endian(p, k + 5, 2));
            return;
        }
        if (marker == 0xFF) /* fill byte */
            k += 1;
        else
            k += 2 + big_endian(p, k + 2, 2);
    }
}

static void
webp_size(const payload *p, lb_media *m)
{
    if (has(p, 12, "VP8X")) {
        set_size(m, little_endian(p, 24, 3) + 1, little_endian(p, 27, 3) + 1);
    } else if (has(p, 12, "VP8L")) {
        uint32_t bits = little_endian(p, 21, 4);
        set_size(m, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
    } else if (has(p, 12, "VP8 ")) {
        set_size(m, little_endian(p, 26, 2) & 0x3FFF, little_endian(p, 28, 2) & 0x3FFF);
    }
}

static void
image_size(const payload *p, lb_media *m)
{
    if (has(p, 0, "\x89PNG"))
        set_size(m, big_endian(p, 16, 4), big_endian(p, 20, 4));
    else if (has(p, 0, "GIF8"))
        set_size(m, little_endian(p, 6, 2), little_endian(p, 8, 2));
    else if (has(p, 0, "\xFF\xD8"))
        jpeg_size(p, m);
    else if (has(p, 0, "RIFF") && has(p, 8, "WEBP"))
        webp_size(p, m);
    if (m->w == 0 || m->h == 0)
        m->w = m->h = 0;
}

static int64_t
sound_ms(const payload *p)
{
    int64_t rate = LB_MEDIA_SOUND_BPS;
    if (has(p, 0, "RIFF") && has(p, 8, "WAVEfmt "))
        rate = lb_max(little_endian(p, 28, 4), 1);
    return (int64_t)(p->bytes / (uint64_t)rate) * 1000 +
           (int64_t)(p->bytes % (uint64_t)rate) * 1000 / rate;
}

lb_media
lb_media_base64(enum lb_media_kind kind, const uint8_t *s, size_t n)
{
    payload p = payload_of(s, n);
    lb_media m = {.kind = kind, .bytes = (int64_t)p.bytes};
    if (kind == LB_MEDIA_IMAGE)
        image_size(&p, &m);
    else if (kind == LB_MEDIA_AUDIO)
        m.ms = sound_ms(&p);
    else if (kind == LB_MEDIA_PDF)
        m.pages = lb_max((m.bytes + LB_MEDIA_PAGE_BYTES - 1) / LB_MEDIA_PAGE_BYTES, 1);
    return m;
}

static bool
starts(const uint8_t *s, size_t n, const char *with)
{
    size_t len = strlen(with);
    return n >= len && memcmp(s, with, len) == 0;
}

static enum lb_media_kind
kind_of(const uint8_t *type, size_t n)
{
    if (starts(type, n, "image/"))
        return LB_MEDIA_IMAGE;
    if (starts(type, n, "audio/"))
        return LB_MEDIA_AUDIO;
    if (starts(type, n, "application/pdf"))
        return LB_MEDIA_PDF;
    if (starts(type, n, "text/") || starts(type, n, "application/json"))
        return LB_MEDIA_TEXT;
    return LB_MEDIA_OTHER;
}

lb_media
lb_media_uri(const uint8_t *s, size_t n)
{
    const uint8_t *comma = NULL;
    if (starts(s, n, "data:"))
        comma = memchr(s, ',', n < 256 ? n : 256);
    if (comma == NULL)
        return (lb_media){.kind = LB_MEDIA_NONE};
    size_t head = (size_t)(comma - s) + 1;
    return lb_media_base64(kind_of(s + 5, head - 5), s + head, n - head);
}

#include "check.h"
#include "lb_media.h"

#include <stdlib.h>
#include <string.h>

/* Base64 of `n` bytes with padding, NUL-terminated; the caller frees it. */
static char *
base64(const uint8_t *s, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc(n / 3 * 4 + 8), *o = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)s[i] << 16;
        v |= i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0;
        v |= i + 2 < n ? s[i + 2] : 0U;
        *o++ = digits[v >> 18];
        *o++ = digits[v >> 12 & 63];
        *o++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *o++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *o = '\0';
    return out;
}

static lb_media
read_as(enum lb_media_kind kind, const void *s, size_t n)
{
    char *text = base64(s, n);
    lb_media m = lb_media_base64(kind, (const uint8_t *)text, strlen(text));
    free(text);
    return m;
}

static lb_media
uri(const char *s)
{
    return lb_media_uri((const uint8_t *)s, strlen(s));
}

static void
size_is(lb_media m, int32_t w, int32_t h)
{
    CHECK_EQ(m.w, w);
    CHECK_EQ(m.h, h);
}

static void
png_and_gif_say_their_size_at_the_start(void)
{
    const uint8_t png[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xE0\x08\x06";
    size_is(read_as(LB_MEDIA_IMAGE, png, sizeof png - 1), 640, 480);
    const uint8_t gif[] = "GIF89a\x40\x01\xC8\0\xF7";
    size_is(read_as(LB_MEDIA_IMAGE, gif, sizeof gif - 1), 320, 200);
}

static void
jpeg_says_it_after_any_number_of_segments(void)
{
    uint8_t s[70000] = {0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0xFF}; /* EXIF of 65,535 */
    size_t k = 4 + 0xFFFF;
    const uint8_t rest[] = {0xFF, 0xC4, 0, 4,    1,    2,    0xFF, 0xFF, 0xC2, 0,
                            17,   8,    4, 0x38, 0x07, 0x80, 3,    1,    0x22};
    memcpy(s + k, rest, sizeof rest);
    size_is(read_as(LB_MEDIA_IMAGE, s, k + sizeof rest), 1920, 1080);
    size_is(read_as(LB_MEDIA_IMAGE, s, k), 0, 0);
}

/* Markers that look like frame headers, and a file of nothing but fill bytes. */
static void
jpeg_walks_past_what_is_no_frame_but_not_for_ever(void)
{
    const uint8_t odd[] = {0xFF, 0xD8, 0xFF, 0xC8, 0,    2,    0xFF, 0xCC, 0,    2,
                           0xFF, 0xD0, 0,    2,    0xFF, 0x01, 0,    2,    0xFF, 0xFF,
                           0xC0, 0,    17,   8,    0,    9,    0,    7,    3};
    size_is(read_as(LB_MEDIA_IMAGE, odd, sizeof odd), 7, 9);
    uint8_t fill[2000];
    memset(fill, 0xFF, sizeof fill);
    fill[1] = 0xD8;
    size_is(read_as(LB_MEDIA_IMAGE, fill, sizeof fill), 0, 0);
}

static void
webp_has_three_layouts(void)
{
    uint8_t s[40] = "RIFF\0\0\0\0WEBPVP8X";
    memcpy(s + 24, "\x7F\x07\0\x37\x04\0", 6);
    size_is(read_as(LB_MEDIA_IMAGE, s, sizeof s), 1920, 1080);
    uint8_t l[40] = "RIFF\0\0\0\0WEBPVP8L";
    uint32_t bits = (800 - 1) | (600 - 1) << 14;
    for (int i = 0; i < 4; i++)
        l[21 + i] = (uint8_t)(bits >> 8 * i);
    size_is(read_as(LB_MEDIA_IMAGE, l, sizeof l), 800, 600);
    uint8_t y[40] = "RIFF\0\0\0\0WEBPVP8 ";
    memcpy(y + 26, "\x20\x03\x58\x02", 4);
    size_is(read_as(LB_MEDIA_IMAGE, y, sizeof y), 800, 600);
    y[15] = '?';
    size_is(read_as(LB_MEDIA_IMAGE, y, sizeof y), 0, 0);
}

static void
a_wave_file_says_how_long_it_plays(void)
{
    uint8_t s[48000 + 44] = "RIFF\0\0\0\0WAVEfmt ";
    s[28] = 0x80; /* 48,000 bytes a second */
    s[29] = 0xBB;
    CHECK_EQ(read_as(LB_MEDIA_AUDIO, s, sizeof s).ms, 1000);
    s[28] = s[29] = 0;
    CHECK_EQ(read_as(LB_MEDIA_AUDIO, s, sizeof s).ms, (48000 + 44) * 1000);
    s[0] = 0;
    CHECK_EQ(read_as(LB_MEDIA_AUDIO, s, sizeof s).ms, 48044 * 1000 / 16000);
}

static void
a_data_uri_tells_its_kind_and_size(void)
{
    CHECK_EQ(uri("data:image/png;base64,AAAA").kind, LB_MEDIA_IMAGE);
    CHECK_EQ(uri("data:audio/mp3;base64,AAAA").kind, LB_MEDIA_AUDIO);
    CHECK_EQ(uri("data:application/pdf;base64,AAAA").pages, 1);
    CHECK_EQ(uri("data:text/plain;base64,AAAAAA==").bytes, 4);
    CHECK_EQ(uri("data:application/json;base64,AAA=").kind, LB_MEDIA_TEXT);
    CHECK_EQ(uri("data:font/woff;base64,AAAA").kind, LB_MEDIA_OTHER);
    CHECK_EQ(uri("https://example.org/a.png").kind, LB_MEDIA_NONE);
    CHECK_EQ(uri("data:image/png;base64").kind, LB_MEDIA_NONE);
    CHECK_EQ(uri("").kind, LB_MEDIA_NONE);
}

static void
what_is_no_picture_has_no_size(void)
{
    size_is(read_as(LB_MEDIA_IMAGE, "", 0), 0, 0);
    size_is(read_as(LB_MEDIA_IMAGE, "GIF89a", 6), 0, 0);
    size_is(uri("data:image/png;base64,!!!!"), 0, 0);
    size_is(uri("data:image/png;base64,-_-_"), 0, 0);
    const uint8_t huge[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xFF\xFF\xFF\xFF\0\0\0\x01\x08";
    size_is(read_as(LB_MEDIA_IMAGE, huge, sizeof huge - 1), 1 << 20, 1);
    const uint8_t flat[] = "GIF89a\x40\x01\0\0\xF7";
    size_is(read_as(LB_MEDIA_IMAGE, flat, sizeof flat - 1), 0, 0);
    const uint8_t wave[] = "RIFF\0\0\0\0WAVEfmt ";
    size_is(read_as(LB_MEDIA_IMAGE, wave, sizeof wave - 1), 0, 0);
    const uint8_t film[] = "RIFF\0\0\0\0AVI LIST";
    CHECK_EQ(read_as(LB_MEDIA_AUDIO, film, sizeof film - 1).ms, 1);
    size_is(uri("data:image/png;base64,+{+{"), 0, 0);
}

int
main(void)
{
    CHECK_RUN(png_and_gif_say_their_size_at_the_start);
    CHECK_RUN(jpeg_says_it_after_any_number_of_segments);
    CHECK_RUN(jpeg_walks_past_what_is_no_frame_but_not_for_ever);
    CHECK_RUN(webp_has_three_layouts);
    CHECK_RUN(a_wave_file_says_how_long_it_plays);
    CHECK_RUN(a_data_uri_tells_its_kind_and_size);
    CHECK_RUN(what_is_no_picture_has_no_size);
    return CHECK_DONE();
}

#include "check.h"
#include "event_log.h"
#include "net_frames.h"

#include <string.h>

static void
put_be32(net_buf *b, uint32_t v)
{
    uint8_t raw[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                      (uint8_t)v};
    CHECK(net_buf_add(b, raw, 4));
}

static void
put_text_header(net_buf *b, const char *name, const char *value)
{
    uint8_t n = (uint8_t)strlen(name);
    uint8_t v[3] = {7, 0, (uint8_t)strlen(value)};
    CHECK(net_buf_add(b, &n, 1) && net_buf_add(b, name, n) && net_buf_add(b, v, 3) &&
          net_buf_add(b, value, v[2]));
}

static void
put_frame(net_buf *out, const net_buf *headers, const char *payload)
{
    net_buf f = {0};
    put_be32(&f, (uint32_t)(16 + headers->len + strlen(payload)));
    put_be32(&f, (uint32_t)headers->len);
    put_be32(&f, net_crc32(f.data, 8));
    CHECK(net_buf_add(&f, headers->data, headers->len));
    CHECK(net_buf_add(&f, payload, strlen(payload)));
    put_be32(&f, net_crc32(f.data, f.len));
    CHECK(net_buf_add(out, f.data, f.len));
    net_buf_free(&f);
}

static void
put_typed_frame(net_buf *out, const char *kind, const char *of, const char *type,
                const char *payload)
{
    net_buf h = {0};
    put_text_header(&h, ":message-type", kind);
    put_text_header(&h, of, type);
    put_frame(out, &h, payload);
    net_buf_free(&h);
}

static enum net_error
feed_all(const net_buf *b, size_t cut, size_t cut2, size_t max, event_log *l)
{
    net_aws s = {.max_event = max};
    *l = (event_log){0};
    enum net_error e = net_aws_feed(&s, b->data, cut, note, l);
    if (e == NET_OK)
        e = net_aws_feed(&s, b->data + cut, cut2 - cut, note, l);
    if (e == NET_OK)
        e = net_aws_feed(&s, b->data + cut2, b->len - cut2, note, l);
    if (e == NET_OK)
        e = net_aws_finish(&s);
    net_aws_free(&s);
    return e;
}

static net_buf
three_frames(void)
{
    net_buf b = {0};
    put_typed_frame(&b, "event", ":event-type", "messageStart", "{}");
    put_typed_frame(&b, "event", ":event-type", "contentBlockDelta", "{\"t\":1}");
    put_typed_frame(&b, "exception", ":exception-type", "throttlingException", "{}");
    return b;
}

static void
the_checksum_is_the_common_one(void)
{
    CHECK_EQ(net_crc32("123456789", 9), 0xCBF43926);
    CHECK_EQ(net_crc32("", 0), 0);
}

static void
a_frame_of_the_smithy_test_suite_is_read(void)
{
    /* "payload_no_headers": 29 bytes, payload {'foo':'bar'}. */
    static const char frame[] = "\0\0\0\x1d\0\0\0\0\xfd\x52\x8c\x5a{'foo':'bar'}"
                                "\xc3\x65\x39\x36";
    net_buf b = {0};
    event_log l;
    CHECK(net_buf_add(&b, frame, 29));
    CHECK_EQ(feed_all(&b, 29, 29, 1000, &l), NET_OK);
    CHECK(strcmp(l.text, "={'foo':'bar'}|") == 0);
    net_buf_free(&b);
}

static void
no_cut_changes_the_frames(void)
{
    net_buf b = three_frames();
    for (size_t i = 0; i <= b.len; i++) {
        for (size_t j = i; j <= b.len; j += 3) {
            event_log l;
            CHECK_EQ(feed_all(&b, i, j, 1000, &l), NET_OK);
            CHECK(strcmp(l.text, "messageStart={}|contentBlockDelta={\"t\":1}|"
                                 "exception:throttlingException={}|") == 0);
        }
    }
    net_buf_free(&b);
}

static void
every_flipped_bit_is_found(void)
{
    net_buf b = {0};
    put_typed_frame(&b, "event", ":event-type", "x", "{}");
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] = (char)(b.data[i / 8] ^ (1 << (i % 8)));
        event_log l;
        CHECK(feed_all(&b, b.len, b.len, 1000, &l) != NET_OK);
        CHECK(l.len == 0);
        b.data[i / 8] = (char)(b.data[i / 8] ^ (1 << (i % 8)));
    }
    net_buf_free(&b);
}

static void
a_cut_frame_is_truncated(void)
{
    net_buf b = three_frames();
    size_t whole = b.len;
    event_log l;
    for (b.len = 1; b.len < whole; b.len++) {
        bool boundary = b.len == 67 || b.len == 67 + 77;
        enum net_error e = feed_all(&b, b.len, b.len, 1000, &l);
        CHECK_EQ(e, boundary ? NET_OK : NET_TRUNCATED);
    }
    b.len = whole;
    CHECK_EQ(feed_all(&b, whole, whole, 60, &l), NET_TOO_LARGE);
    net_buf_free(&b);
}

static void
headers_that_overrun_are_refused(void)
{
    static const char *const bad[] = {"\x05"
                                      "a",
                                      "\x01"
                                      "a\x0a",
                                      "\x01"
                                      "a\x07\x01\x00",
                                      "\x01"
                                      "a\x09"
                                      "123",
                                      "\x01"
                                      "a\x04\x00"};
    static const size_t len[] = {2, 3, 5, 6, 4};
    for (int i = 0; i < 5; i++) {
        net_buf h = {0};
        net_buf b = {0};
        event_log l;
        CHECK(net_buf_add(&h, bad[i], len[i]));
        put_frame(&b, &h, "{}");
        CHECK_EQ(feed_all(&b, b.len, b.len, 1000, &l), NET_PROTOCOL);
        net_buf_free(&h);
        net_buf_free(&b);
    }
}

static void
every_type_of_header_is_skipped(void)
{
    static const char all[] = "\x01"
                              "a\x00\x01"
                              "b\x01\x01"
                              "c\x02"
                              "1\x01"
                              "d\x03"
                              "12"
                              "\x01"
                              "e\x04"
                              "1234\x01"
                              "f\x05"
                              "12345678\x01"
                              "g\x06\x00"
                              "\x02"
                              "12\x01"
                              "h\x08"
                              "12345678\x01"
                              "i\x09"
                              "1234567812345678";
    net_buf h = {0};
    net_buf b = {0};
    event_log l;
    CHECK(net_buf_add(&h, all, sizeof all - 1));
    put_text_header(&h, ":event-type", "last");
    put_frame(&b, &h, "p");
    CHECK_EQ(feed_all(&b, 1, 2, 1000, &l), NET_OK);
    CHECK(strcmp(l.text, "last=p|") == 0);
    net_buf_free(&h);
    net_buf_free(&b);
}

static const char *
lines_of(event_log *l, const char *text, size_t cut)
{
    net_lines s = {.max_event = 100};
    *l = (event_log){0};
    CHECK_EQ(net_lines_feed(&s, text, cut, note, l), NET_OK);
    CHECK_EQ(net_lines_feed(&s, text + cut, strlen(text) - cut, note, l), NET_OK);
    net_lines_finish(&s, note, l);
    net_lines_free(&s);
    return l->text;
}

static void
json_lines_are_cut_at_line_ends(void)
{
    static const char text[] = "{\"a\":1}\n\r\n\n{\"b\":2}\r\n{\"c\":3}";
    for (size_t i = 0; i < sizeof text; i++) {
        event_log l;
        CHECK(strcmp(lines_of(&l, text, i), "={\"a\":1}|={\"b\":2}|={\"c\":3}|") == 0);
    }
    net_lines s = {.max_event = 10};
    event_log l = {0};
    CHECK_EQ(net_lines_feed(&s, "1234567890\n12345678901", 22, note, &l),
             NET_TOO_LARGE);
    net_lines_free(&s);
}

int
main(void)
{
    CHECK_RUN(the_checksum_is_the_common_one);
    CHECK_RUN(a_frame_of_the_smithy_test_suite_is_read);
    CHECK_RUN(no_cut_changes_the_frames);
    CHECK_RUN(every_flipped_bit_is_found);
    CHECK_RUN(a_cut_frame_is_truncated);
    CHECK_RUN(headers_that_overrun_are_refused);
    CHECK_RUN(every_type_of_header_is_skipped);
    CHECK_RUN(json_lines_are_cut_at_line_ends);
    return CHECK_DONE();
}

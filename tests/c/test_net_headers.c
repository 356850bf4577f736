#include "check.h"
#include "net_headers.h"

#include <string.h>

static enum net_error
line(net_headers *h, const char *text)
{
    return net_headers_line(h, text, strlen(text));
}

static void
names_are_lowered_and_values_trimmed(void)
{
    net_headers h = {.max = 1000};
    CHECK_EQ(line(&h, "HTTP/1.1 429 Too Many Requests\r\n"), NET_OK);
    CHECK_EQ(line(&h, "Retry-After: \t 2 \t\r\n"), NET_OK);
    CHECK_EQ(line(&h, "X-Empty:\r\n"), NET_OK);
    CHECK(!h.done);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK(h.done);
    CHECK_EQ(h.status, 429);
    CHECK_EQ(h.count, 2);
    CHECK(strcmp(net_headers_get(&h, "retry-after"), "2") == 0);
    CHECK(strcmp(net_headers_get(&h, "x-empty"), "") == 0);
    CHECK(net_headers_get(&h, "x-none") == NULL);
    net_headers_free(&h);
}

static void
interim_replies_leave_nothing_behind(void)
{
    net_headers h = {.max = 1000};
    CHECK_EQ(line(&h, "HTTP/1.1 103 Early Hints\r\n"), NET_OK);
    CHECK_EQ(line(&h, "Link: x\r\n"), NET_OK);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK(!h.done);
    CHECK_EQ(line(&h, "HTTP/2 200 \r\n"), NET_OK);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK(h.done);
    CHECK_EQ(h.status, 200);
    CHECK(net_headers_get(&h, "link") == NULL);
    net_headers_free(&h);
}

static void
folded_lines_and_trailers_are_kept(void)
{
    net_headers h = {.max = 1000};
    const char *name;
    const char *value;
    size_t at = 0;
    CHECK_EQ(line(&h, "HTTP/1.1 200 OK\r\n"), NET_OK);
    CHECK_EQ(line(&h, "A: one\r\n"), NET_OK);
    CHECK_EQ(line(&h, "\t two\r\n"), NET_OK);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK_EQ(line(&h, "Trailer-B: HTTP/1.1 500\n"), NET_OK);
    CHECK(net_headers_next(&h, &at, &name, &value));
    CHECK(strcmp(name, "a") == 0 && strcmp(value, "one two") == 0);
    CHECK(net_headers_next(&h, &at, &name, &value));
    CHECK(strcmp(name, "trailer-b") == 0);
    CHECK(!net_headers_next(&h, &at, &name, &value));
    CHECK_EQ(h.status, 200);
    net_headers copy;
    CHECK(net_headers_copy(&copy, &h));
    net_headers_free(&h);
    CHECK(strcmp(net_headers_get(&copy, "a"), "one two") == 0);
    net_headers_free(&copy);
}

static enum net_error
after_status(const char *text, size_t n)
{
    net_headers h = {.max = 100};
    CHECK_EQ(line(&h, "HTTP/1.1 200\r\n"), NET_OK);
    enum net_error e = net_headers_line(&h, text, n);
    net_headers_free(&h);
    return e;
}

static void
garbage_is_refused(void)
{
    static const char *const bad[] = {"",
                                      "\r\n",
                                      "HTTP/1.1",
                                      "HTTP/1.1 ",
                                      "HTTP/1.1 20",
                                      "HTTP/1.1 2000",
                                      "HTTP/1.1 abc",
                                      "A: b",
                                      "http/1.1 200",
                                      "HTTP/1.1\t200 OK"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        net_headers h = {.max = 100};
        CHECK_EQ(line(&h, bad[i]), NET_PROTOCOL);
        net_headers_free(&h);
    }
    CHECK_EQ(after_status("no colon\r\n", 10), NET_PROTOCOL);
    CHECK_EQ(after_status(": no name\r\n", 11), NET_PROTOCOL);
    CHECK_EQ(after_status(" folded first\r\n", 15), NET_PROTOCOL);
    CHECK_EQ(after_status("a: b\0c\r\n", 8), NET_PROTOCOL);
}

static void
too_many_bytes_are_refused(void)
{
    net_headers h = {.max = 50};
    CHECK_EQ(line(&h, "HTTP/1.1 100\r\n"), NET_OK);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK_EQ(line(&h, "HTTP/1.1 100\r\n"), NET_OK);
    CHECK_EQ(line(&h, "\r\n"), NET_OK);
    CHECK_EQ(line(&h, "HTTP/1.1 200\r\n"), NET_OK);
    CHECK_EQ(line(&h, "A: 12345678\r\n"), NET_TOO_LARGE);
    net_headers_free(&h);
}

int
main(void)
{
    CHECK_RUN(names_are_lowered_and_values_trimmed);
    CHECK_RUN(interim_replies_leave_nothing_behind);
    CHECK_RUN(folded_lines_and_trailers_are_kept);
    CHECK_RUN(garbage_is_refused);
    CHECK_RUN(too_many_bytes_are_refused);
    return CHECK_DONE();
}

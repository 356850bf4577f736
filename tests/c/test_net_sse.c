#include "check.h"
#include "event_log.h"
#include "net_sse.h"

#include <string.h>

static const char *
events_of(event_log *l, const char *stream, size_t n, size_t cut, size_t cut2)
{
    net_sse s = {.max_event = 1 << 20};
    *l = (event_log){0};
    CHECK_EQ(net_sse_feed(&s, stream, cut, note, l), NET_OK);
    CHECK_EQ(net_sse_feed(&s, stream + cut, cut2 - cut, note, l), NET_OK);
    CHECK_EQ(net_sse_feed(&s, stream + cut2, n - cut2, note, l), NET_OK);
    net_sse_finish(&s, note, l);
    net_sse_free(&s);
    return l->text;
}

static void
expect(const char *stream, const char *want)
{
    event_log l;
    size_t n = strlen(stream);
    const char *got = events_of(&l, stream, n, n, n);
    CHECK(strcmp(got, want) == 0);
    if (strcmp(got, want) != 0)
        printf("    got  %s\n    want %s\n", got, want);
}

static void
the_rules_of_the_standard_hold(void)
{
    expect("data: a\n\n", "=a|");
    expect("data:a\n\n", "=a|");
    expect("data:  a\n\n", "= a|");
    expect("data: a\ndata: b\n\n", "=a\nb|");
    expect("data\n\n", "=|");
    expect("data:\n\n", "=|");
    expect("data\ndata\n\n", "=\n|");
    expect("event: x\ndata: a\n\ndata: b\n\n", "x=a|=b|");
    expect("event:x\nevent: y\ndata: a\n\n", "y=a|");
    expect("event: x\nevent\ndata: a\n\n", "=a|");
    expect("event: x\n\ndata: a\n\n", "=a|");
    expect("id: 7\nretry: 10\ndata: a\n\n", "=a|");
    expect(": comment\n\n:\n\ndata: a\n\n", "=a|");
    expect("data: a\n", "");
    expect("data: a", "");
    expect("datab: a\ndata : b\n Data: c\nDATA: d\n\n", "");
    expect("data: a: b\n\n", "=a: b|");
    expect("\n\n\n", "");
}

static void
every_line_end_works(void)
{
    expect("data: a\r\n\r\ndata: b\r\n\r\n", "=a|=b|");
    expect("data: a\r\rdata: b\r\r", "=a|=b|");
    expect("data: a\rdata: b\n\r\n", "=a\nb|");
    expect("data: a\r\n\rdata: b\n\r", "=a|=b|");
}

static void
other_separators_are_text(void)
{
    expect("data: a\xE2\x80\xA8"
           "b\xC2\x85"
           "c\v\f\x1c\n\n",
           "=a\xE2\x80\xA8"
           "b\xC2\x85"
           "c\v\f\x1c|");
}

static void
a_byte_order_mark_is_dropped_at_the_start_only(void)
{
    expect("\xEF\xBB\xBF"
           "data: a\n\n",
           "=a|");
    expect("\xEF\xBB"
           "data: a\n\ndata: b\n\n",
           "=b|");
    expect("\xEF\n\ndata: b\n\n", "=b|");
    expect("data: a\n\n\xEF\xBB\xBF"
           "data: b\n\n",
           "=a|");
}

static void
an_object_without_a_field_is_an_event(void)
{
    expect("data: a\n\n{\n  \"error\": {\n  }\n}\n", "=a|={\n  \"error\": {\n  }\n}|");
    expect("data\n\n{\"error\": {}}\ndata: a\n\n", "=|={\"error\": {}}|=a|");
    expect("data\n\n{\r\n \"a\": 1\r\n}", "=|={\n \"a\": 1\n}|");
    expect("data\n\n{\"a\": 1}", "=|={\"a\": 1}|");
    expect("data\n\n{\n \"cut\":", "=|={\n \"cut\":|");
    expect("data\n\n{\n\n", "=|={|");
    expect("data\n\ndata: a\n{\"no\": 1}\n\n", "=|=a|");
    expect("data\n\n}\n  {\n[{}]\n", "=|");
    expect("{\"no\": \"stream at all\"}\n", "");
}

static void
no_cut_changes_the_events(void)
{
    static const char stream[] =
        "\xEF\xBB\xBF: hi\r\nevent: one\r\ndata: {\"a\":\r\ndata:  1}\r\n\r\n"
        "data: \xF0\x9F\x98\x80\xE2\x80\xA8\n\ndata\rdata\r\r:c\n"
        "event: two\ndata: x\n\nevent: lost\n\ndata: [DONE]\n\n"
        "{\r\n \"bare\": {\n }\n}\n{\"one\": 1}\ndata: y\n\n{\n \"end\": 1\n}";
    size_t n = sizeof stream - 1;
    event_log want;
    (void)events_of(&want, stream, n, n, n);
    CHECK(strcmp(want.text, "one={\"a\":\n 1}|=\xF0\x9F\x98\x80\xE2\x80\xA8|=\n|two=x|"
                            "=[DONE]|={\n \"bare\": {\n }\n}|={\"one\": 1}|=y|"
                            "={\n \"end\": 1\n}|") == 0);
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = i; j <= n; j++) {
            event_log got;
            CHECK(strcmp(events_of(&got, stream, n, i, j), want.text) == 0);
        }
    }
    net_sse s = {.max_event = 1 << 20};
    event_log got = {0};
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(net_sse_feed(&s, stream + i, 1, note, &got), NET_OK);
    net_sse_finish(&s, note, &got);
    CHECK(strcmp(got.text, want.text) == 0);
    net_sse_free(&s);
}

static enum net_error
fed_with(const char *unit, int times, size_t max)
{
    net_sse s = {.max_event = max};
    event_log l = {0};
    enum net_error e = NET_OK;
    for (int i = 0; i < times && e == NET_OK; i++)
        e = net_sse_feed(&s, unit, strlen(unit), note, &l);
    net_sse_free(&s);
    return e;
}

static void
what_never_ends_is_refused(void)
{
    CHECK_EQ(fed_with("data: endless", 100, 1000), NET_TOO_LARGE);
    CHECK_EQ(fed_with("data: more\n", 100, 498), NET_TOO_LARGE);
    CHECK_EQ(fed_with("data: more\n\n", 100, 20), NET_OK);
    CHECK_EQ(fed_with(": comment\n", 100, 20), NET_OK);
    CHECK_EQ(fed_with("\xEF\xBB", 1, 1), NET_OK);
    char name[300] = "event: ";
    memset(name + 7, 'x', 200);
    strcpy(name + 207, "\ndata: a\n\n");
    CHECK_EQ(fed_with(name, 1, 1000), NET_TOO_LARGE);
    CHECK_EQ(fed_with("data: 123456789\n\n", 1, 8), NET_TOO_LARGE);
}

int
main(void)
{
    CHECK_RUN(the_rules_of_the_standard_hold);
    CHECK_RUN(every_line_end_works);
    CHECK_RUN(other_separators_are_text);
    CHECK_RUN(a_byte_order_mark_is_dropped_at_the_start_only);
    CHECK_RUN(an_object_without_a_field_is_an_event);
    CHECK_RUN(no_cut_changes_the_events);
    CHECK_RUN(what_never_ends_is_refused);
    return CHECK_DONE();
}

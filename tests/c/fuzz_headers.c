/* fuzz_headers.c - any bytes as header lines of a response, and as a line that a
 * caller wants to send: no crash, caps kept, nothing smuggled. */
#include "net_ask.h"
#include "net_headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_HEADER = 1000 };

static void
walk(const net_headers *h)
{
    const char *name;
    const char *value;
    uint32_t n = 0;
    for (size_t at = 0; net_headers_next(h, &at, &name, &value); n++)
        for (const char *c = name; *c != '\0'; c++)
            if (*c >= 'A' && *c <= 'Z')
                abort();
    if (n != h->count || h->block.len > MAX_HEADER + 2 * n)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    const char *end = p + size;
    char why[200];
    if (net_ask_line_ok(p, size, why) &&
        (memchr(p, '\n', size) != NULL || memchr(p, '\r', size) != NULL ||
         memchr(p, ':', size) == NULL))
        abort();
    net_headers h = {.max = MAX_HEADER};
    enum net_error e = NET_OK;
    while (p < end && e == NET_OK) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((lf != NULL ? lf + 1 : end) - p);
        e = net_headers_line(&h, p, n);
        if (e == NET_OK)
            walk(&h);
        p += n;
    }
    net_headers_free(&h);
    return 0;
}

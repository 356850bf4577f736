#include "net_headers.h"

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" or "HTTP/2 200": a new block replaces an interim one. */
static enum net_error
status_line(net_headers *h, const char *p, size_t n)
{
    const char *sp = n > 5 && memcmp(p, "HTTP/", 5) == 0 ? memchr(p, ' ', n) : NULL;
    size_t left = sp == NULL ? 0 : n - (size_t)(sp - p);
    if (left < 4 || !is_digit(sp[1]) || !is_digit(sp[2]) || !is_digit(sp[3]) ||
        (left > 4 && sp[4] != ' '))
        return NET_PROTOCOL;
    h->status = (uint16_t)((sp[1] - '0') * 100 + (sp[2] - '0') * 10 + (sp[3] - '0'));
    h->block.len = 0;
    h->count = 0;
    h->in_block = true;
    return NET_OK;
}

static enum net_error
folded_line(net_headers *h, const char *p, size_t n)
{
    if (h->count == 0)
        return NET_PROTOCOL;
    h->block.data[h->block.len - 1] = ' ';
    if (net_buf_add(&h->block, p, n) && net_buf_add(&h->block, "", 1))
        return NET_OK;
    return NET_ENGINE;
}

static enum net_error
field_line(net_headers *h, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);
    if (colon == NULL || colon == p)
        return NET_PROTOCOL;
    size_t name_len = (size_t)(colon - p);
    const char *value = colon + 1;
    size_t left = n - name_len - 1;
    while (left > 0 && is_blank(*value)) {
        value++;
        left--;
    }
    size_t at = h->block.len;
    if (!net_buf_add(&h->block, p, name_len) || !net_buf_add(&h->block, "", 1) ||
        !net_buf_add(&h->block, value, left) || !net_buf_add(&h->block, "", 1))
        return NET_ENGINE;
    for (char *c = h->block.data + at; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    h->count++;
    return NET_OK;
}

enum net_error
net_headers_line(net_headers *h, const char *p, size_t n)
{
    if (n > h->max - h->seen)
        return NET_TOO_LARGE;
    h->seen += n;
    while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r'))
        n--;
    if (n > 0 && memchr(p, '\0', n) != NULL)
        return NET_PROTOCOL;
    if (!h->in_block && !h->done)
        return status_line(h, p, n);
    if (n == 0) {
        h->in_block = false;
        h->done = h->status >= 200;
        return NET_OK;
    }
    bool folded = is_blank(*p);
    while (n > 0 && is_blank(p[n - 1]))
        n--;
    while (folded && n > 0 && is_blank(*p)) {
        p++;
        n--;
    }
    return folded ? folded_line(h, p, n) : field_line(h, p, n);
}

bool
net_headers_next(const net_headers *h, size_t *at, const char **name,
                 const char **value)
{
    if (*at >= h->block.len)
        return false;
    *name = h->block.data + *at;
    *value = *name + strlen(*name) + 1;
    *at = (size_t)(*value - h->block.data) + strlen(*value) + 1;
    return true;
}

const char *
net_headers_get(const net_headers *h, const char *wanted)
{
    const char *name;
    const char *value;
    for (size_t at = 0; net_headers_next(h, &at, &name, &value);)
        if (strcmp(name, wanted) == 0)
            return value;
    return NULL;
}

bool
net_headers_copy(net_headers *to, const net_headers *from)
{
    *to = *from;
    to->block = (net_buf){0};
    return net_buf_add(&to->block, from->block.data, from->block.len);
}

void
net_headers_free(net_headers *h)
{
    net_buf_free(&h->block);
}

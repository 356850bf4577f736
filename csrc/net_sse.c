#include "net_sse.h"

static enum net_error
grow(net_buf *b, const char *p, size_t n, size_t max)
{
    if (n > max - b->len)
        return NET_TOO_LARGE;
    return net_buf_add(b, p, n) ? NET_OK : NET_ENGINE;
}

/* The view points into a piece that is about to go away, or a second data line
 * has come: from here on the event's data is our own copy. */
static enum net_error
own_data(net_sse *s)
{
    if (s->view == NULL)
        return NET_OK;
    enum net_error e = grow(&s->data, s->view, s->view_len, s->max_event);
    s->view = NULL;
    return e;
}

static enum net_error
data_line(net_sse *s, const char *value, size_t n)
{
    if (!s->has_data) {
        s->has_data = true;
        s->view = value;
        s->view_len = n;
        return NET_OK;
    }
    enum net_error e = own_data(s);
    if (e == NET_OK)
        e = grow(&s->data, "\n", 1, s->max_event);
    return e == NET_OK ? grow(&s->data, value, n, s->max_event) : e;
}

static void
dispatch(net_sse *s, net_on_event *on, void *ctx)
{
    if (s->has_data) {
        const char *data = s->view != NULL ? s->view : s->data.data;
        size_t len = s->view != NULL ? s->view_len : s->data.len;
        on(ctx, s->name, s->name_len, len == 0 ? "" : data, len);
    }
    s->begun |= s->has_data;
    s->has_data = false;
    s->bare = false;
    s->view = NULL;
    s->data.len = 0;
    s->name_len = 0;
}

static enum net_error
bare_line(net_sse *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    bool only = !s->bare && p[n - 1] == '}';
    bool last = s->bare && n == 1 && p[0] == '}';
    s->bare = true;
    enum net_error e = data_line(s, p, n);
    if (e == NET_OK && (only || last))
        dispatch(s, on, ctx);
    return e;
}

static enum net_error
one_line(net_sse *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    if (n > s->max_event)
        return NET_TOO_LARGE;
    if (n == 0) {
        dispatch(s, on, ctx);
        return NET_OK;
    }
    if (s->bare || (p[0] == '{' && s->begun && !s->has_data))
        return bare_line(s, p, n, on, ctx);
    if (p[0] == 'd' && n >= 4 && memcmp(p, "data", 4) == 0) {
        if (n == 4)
            return data_line(s, p + 4, 0);
        if (p[4] != ':')
            return NET_OK;
        size_t skip = n > 5 && p[5] == ' ' ? 6 : 5;
        return data_line(s, p + skip, n - skip);
    }
    if (p[0] == 'e' && n >= 5 && memcmp(p, "event", 5) == 0 &&
        (n == 5 || p[5] == ':')) {
        size_t skip = n > 6 && p[6] == ' ' ? 7 : n > 5 ? 6 : 5;
        if (n - skip >= NET_SSE_NAME)
            return NET_TOO_LARGE;
        memcpy(s->name, p + skip, n - skip);
        s->name_len = (uint8_t)(n - skip);
    }
    return NET_OK;
}

/* Swallow a BOM at the very start, even in pieces; bytes that only began like
 * one are the start of the first line.  Returns how many of `p` are settled. */
static size_t
skip_bom(net_sse *s, const char *p, size_t n, enum net_error *e)
{
    static const char bom[] = "\xEF\xBB\xBF";
    size_t at = 0;
    while (s->bom < 3 && at < n) {
        if (p[at] != bom[s->bom]) {
            *e = grow(&s->line, bom, s->bom, s->max_event);
            s->bom = 3;
            return at;
        }
        s->bom++;
        at++;
    }
    return at;
}

/* The end of a line begun in an earlier piece. */
static enum net_error
carried_line(net_sse *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    enum net_error e = grow(&s->line, p, n, s->max_event);
    if (e == NET_OK)
        e = one_line(s, s->line.data, s->line.len, on, ctx);
    if (e == NET_OK)
        e = own_data(s);
    s->line.len = 0;
    return e;
}

enum net_error
net_sse_feed(net_sse *s, const char *p, size_t n, net_on_event *on, void *ctx)
{
    const char *end = p + n;
    enum net_error e = NET_OK;
    if (s->bom < 3)
        p += skip_bom(s, p, n, &e);
    if (s->after_cr && p < end) {
        p += *p == '\n';
        s->after_cr = false;
    }
    const char *lf = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    while (p < end && e == NET_OK) {
        if (lf != NULL && lf < p)
            lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf != NULL ? lf : end;
        const char *eol = memchr(p, '\r', (size_t)(stop - p));
        if (eol == NULL)
            eol = lf;
        if (eol == NULL) {
            e = grow(&s->line, p, (size_t)(end - p), s->max_event);
            break;
        }
        size_t len = (size_t)(eol - p);
        e = s->line.len > 0 ? carried_line(s, p, len, on, ctx)
                            : one_line(s, p, len, on, ctx);
        p = eol + 1;
        if (*eol == '\r') {
            s->after_cr = p == end;
            p += p < end && *p == '\n';
        }
    }
    return e == NET_OK ? own_data(s) : e;
}

void
net_sse_finish(net_sse *s, net_on_event *on, void *ctx)
{
    bool opens = s->begun && !s->has_data && s->line.len > 0 && s->line.data[0] == '{';
    if (!s->bare && !opens)
        return;
    enum net_error e = NET_OK;
    if (s->line.len > 0)
        e = one_line(s, s->line.data, s->line.len, on, ctx);
    if (e == NET_OK && s->bare)
        dispatch(s, on, ctx);
    s->line.len = 0;
}

void
net_sse_free(net_sse *s)
{
    net_buf_free(&s->line);
    net_buf_free(&s->data);
    *s = (net_sse){.max_event = s->max_event};
}

#include "net_reply.h"

net_reply *
net_reply_new(void)
{
    net_reply *r = calloc(1, sizeof *r);
    if (r != NULL)
        r->version = "";
    return r;
}

void
net_reply_free(net_reply *r)
{
    if (r == NULL)
        return;
    net_headers_free(&r->headers);
    net_buf_free(&r->body);
    free(r);
}

void
net_reply_explain(net_reply *r, const char *text)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < sizeof r->detail; i++)
        r->detail[i] = (char)(text[i] >= 32 && text[i] < 127 ? text[i] : '?');
    r->detail[i] = '\0';
}

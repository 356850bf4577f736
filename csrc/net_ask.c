#include "net_ask.h"

#include <stdio.h>

static bool
is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
same_name(const char *p, size_t n, const char *name)
{
    if (strlen(name) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 32) != (name[i] | 32))
            return false;
    return true;
}

bool
net_ask_line_ok(const char *p, size_t n, char why[200])
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "expect",
                                       "connection"};
    size_t name = 0;
    while (name < n && is_token_char((unsigned char)p[name]))
        name++;
    if (name == 0 || name == n || p[name] != ':') {
        /* Without a name it may be a bare key: nothing of it is shown. */
        (void)snprintf(why, 200,
                       "headers: each line must be 'Name: value', the name of "
                       "letters, digits and -");
        return false;
    }
    int shown = (int)(name < 60 ? name : 60);
    size_t blank = name + 1;
    while (blank < n && (p[blank] == ' ' || p[blank] == '\t'))
        blank++;
    if (blank == n) {
        (void)snprintf(why, 200, "header %.*s: has no value; leave it out", shown, p);
        return false;
    }
    for (size_t i = name + 1; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < 32 && c != '\t') || c == 127) {
            (void)snprintf(why, 200,
                           "header %.*s: the value has a line break or control "
                           "character; remove it",
                           shown, p);
            return false;
        }
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (same_name(p, name, ours[i])) {
            (void)snprintf(why, 200, "header %.*s: is set by the transport itself",
                           shown, p);
            return false;
        }
    }
    return true;
}

bool
net_ask_ok(const net_ask *ask, char why[200])
{
    const char *m = ask->method;
    size_t len = strlen(m);
    bool ok = len > 0 && len < 20;
    for (size_t i = 0; i < len; i++)
        ok = ok && m[i] >= 'A' && m[i] <= 'Z';
    if (!ok) {
        (void)snprintf(why, 200, "method: must be capital letters, such as POST");
        return false;
    }
    ok = ask->target[0] == '/';
    for (const char *p = ask->target; *p != '\0'; p++)
        ok = ok && (unsigned char)*p > 32 && (unsigned char)*p < 127 && *p != '#';
    if (!ok) {
        (void)snprintf(why, 200,
                       "target: must start with / and be percent-encoded ASCII "
                       "without blanks or #");
        return false;
    }
    if (ask->stream < NET_UNARY || ask->stream > NET_AWS) {
        (void)snprintf(why, 200, "stream: must be 0, 1, 2 or 3");
        return false;
    }
    for (size_t i = 0; i < ask->n_lines; i++)
        if (!net_ask_line_ok(ask->lines[i].p, ask->lines[i].n, why))
            return false;
    return true;
}

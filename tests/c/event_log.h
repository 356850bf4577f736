/* event_log.h - the events of a stream as one text: "name=data|name=data|". */
#ifndef EVENT_LOG_H
#define EVENT_LOG_H

#include "check.h"

typedef struct event_log {
    char text[4096];
    size_t len;
} event_log;

/* A net_on_event whose context is an event_log. */
static inline void
note(void *ctx, const char *name, size_t name_len, const char *data, size_t len)
{
    event_log *l = ctx;
    l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "%.*s=%.*s|",
                               (int)name_len, name, (int)len, data);
}

#endif /* EVENT_LOG_H */

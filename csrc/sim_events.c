#include "sim_events.h"

#include <assert.h>
#include <stdlib.h>

void
sim_events_free(sim_events *q)
{
    free(q->heap);
    *q = (sim_events){0};
}

static inline bool
before(const sim_event *a, const sim_event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static bool
grow(sim_events *q)
{
    uint32_t room = q->room > 0 ? 2 * q->room : 256;
    sim_event *heap = realloc(q->heap, room * sizeof *heap);
    if (heap == NULL) {
        q->lost = true;
        return false;
    }
    q->heap = heap;
    q->room = room;
    return true;
}

void
sim_events_push(sim_events *q, lb_ns at, uint32_t kind, uint32_t id, uint32_t stamp)
{
    if (q->n == q->room && !grow(q))
        return;
    sim_event e = {
        .at = at, .order = q->order++, .id = id, .stamp = stamp, .kind = kind};
    uint32_t i = q->n++;
    while (i > 0 && before(&e, &q->heap[(i - 1) / 2])) {
        q->heap[i] = q->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->heap[i] = e;
}

sim_event
sim_events_pop(sim_events *q)
{
    assert(q->n > 0);
    sim_event first = q->heap[0], last = q->heap[--q->n];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!before(&q->heap[child], &last))
            break;
        q->heap[i] = q->heap[child];
        i = child;
    }
    q->heap[i] = last;
    return first;
}

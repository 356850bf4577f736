/* sim_events.h - what happens next in a simulated world.
 *
 * A binary heap of future events.  Equal times keep the order in which they
 * were announced, so a run can be repeated to the last bit.
 *
 * Nothing is ever taken out early: an event carries the stamp of whom it
 * concerns, and who has moved on since has another stamp.
 *
 *      push(t=9, call 4, stamp 17)       call 4 times out at t=5, tries again,
 *      pop at t=9: stamp 17, but         and is stamped 23 from then on
 *      call 4 now says 23: stale
 */
#ifndef SIM_EVENTS_H
#define SIM_EVENTS_H

#include "lb_base.h"

typedef struct sim_event {
    lb_ns at;
    uint32_t order; /* among equals, first come first served */
    uint32_t id;    /* of a call, a station or a change; `kind` tells which */
    uint32_t stamp;
    uint32_t kind; /* enum sim_kind of sim_world.h */
} sim_event;

/* Embed by value; all zero is empty. */
typedef struct sim_events {
    sim_event *heap;
    uint32_t n, room;
    uint32_t order;
    bool lost; /* memory ran out and an event was dropped: the run is void */
} sim_events;

void sim_events_free(sim_events *q);

void sim_events_push(sim_events *q, lb_ns at, uint32_t kind, uint32_t id,
                     uint32_t stamp);

/* When the first one is due; LB_FOREVER when there is none. */
static inline lb_ns
sim_events_next(const sim_events *q)
{
    return q->n > 0 ? q->heap[0].at : LB_FOREVER;
}

/* Take the first one; there must be one. */
sim_event sim_events_pop(sim_events *q);

#endif /* SIM_EVENTS_H */

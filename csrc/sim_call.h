/* sim_call.h - one request on its way through attempts, for sim_world.c alone.
 *
 *      sim_aim.c    down: its next attempt, a pause, or its end
 *      sim_wait.c   nothing fits: its place in line
 *      sim_terms.c  what it may spend in a group, and where long prompts go
 *      sim_call.c   up: an attempt is over, settled and counted
 */
#ifndef SIM_CALL_H
#define SIM_CALL_H

#include "sim_line.h"
#include "sim_retries.h"
#include "sim_world.h"

enum {
    SIM_MOST_ATTEMPTS = 16, /* of one call */
    SIM_LINKS = 16          /* groups of a chain for prompts that are too long */
};

/* What a call has spent in a group that bounds it. */
typedef struct sim_visit {
    uint32_t group;
    uint8_t attempts;
    uint8_t kind; /* enum sim_kind_of_failure, of its first one there */
    lb_ns since;  /* its first attempt there */
} sim_visit;

/* A request between its arrival and its end; its attempt is the job of the same
 * index. */
typedef struct sim_call {
    uint64_t request; /* index in the trace */
    uint32_t next;    /* free list */
    uint8_t attempts, round, tried;
    uint8_t link;    /* others' rules: place in the chain ... */
    uint8_t tries;   /* ... and tries in that group */
    uint8_t nvisits; /* groups it has been to, of those that bound calls */
    uint8_t nwalk;   /* groups of a special chain; 0: it walks the usual one */
    uint8_t ngone;   /* groups it has left for a special chain */
    bool rough;      /* some attempt failed */
    int16_t backend; /* of the attempt */
    lb_ns arrived, deadline, sent;
    lb_ns back_at; /* when the first that failed in this round may be asked again */
    int64_t cost;  /* nano-USD so far */
    lb_ask ask;
    lb_lease lease;
    sim_visit visit[SIM_MOST_ATTEMPTS];
    uint32_t walk[SIM_LINKS], gone[SIM_LINKS];
} sim_call;

struct sim_world {
    lb_pool *pool;
    sim_trace trace;
    sim_plan plan;
    sim_station *station;
    sim_peer *peer;
    uint32_t nstations, ngroups;
    uint32_t *chain, *link; /* groups to walk for each group */
    sim_terms *terms;       /* of each group, or NULL: none has any */
    sim_patience *patience; /* with each backend */
    sim_price *price;
    uint32_t nprices;
    sim_floor floor;
    sim_call *call;
    sim_ticket *ticket;   /* of each call */
    sim_line *line;       /* of each group */
    uint32_t waiting;     /* calls in all lines */
    uint32_t calls, free; /* room; head of the free list, NONE when empty */
    uint32_t stamp;       /* of the newest attempt */
    uint64_t next;        /* request to come */
    int32_t *home;        /* by session: 1 + backend of its last request */
    uint32_t sessions;
    lb_rng rng;
    sim_retries retries;
    sim_tally tally;
    bool lost;
};

/* ---- sim_call.c --------------------------------------------------------- */

/* Its attempt is over: settle, and end or aim again. */
void sim_call_land(sim_world *w, uint32_t id, lb_ns now);

/* It is over, in this way. */
void sim_call_end(sim_world *w, uint32_t id, enum sim_end end, lb_ns now);

/* ---- sim_aim.c ---------------------------------------------------------- */

/* Find it its next attempt, or let it wait, or end it. */
void sim_call_aim(sim_world *w, uint32_t id, lb_ns now);

/* It is over without an answer. */
void sim_call_stop(sim_world *w, uint32_t id, lb_ns now);

/* Let it aim again then, if nothing wakes it before. */
void sim_call_sleep(sim_world *w, uint32_t id, lb_ns then);

/* ---- sim_wait.c --------------------------------------------------------- */

/* Whether it has to let others ask first, or was sent away; that is seen to. */
bool sim_call_stands_back(sim_world *w, uint32_t id, lb_ns left, lb_ns now);

/* Nothing fits for `wait`: a place in line, if that may help. */
void sim_call_wait(sim_world *w, uint32_t id, lb_ns wait, lb_ns left, lb_ns now);

/* It gives up its place in line, served or not; the next may ask. */
void sim_call_leave_line(sim_world *w, uint32_t id, bool served, lb_ns now);

/* An attempt is over, which may have made room: the heads of lines may ask. */
void sim_call_room(sim_world *w, lb_ns now);

/* ---- sim_terms.c -------------------------------------------------------- */

/* Count an attempt in the group of its lease. */
void sim_call_visits(const sim_world *w, sim_call *call, lb_ns now);

/* Attempts that it may make in a group; 0: nobody says. */
int sim_call_most(const sim_world *w, sim_call *call, uint32_t group);

/* Whether it has spent its time or its attempts in a group. */
bool sim_call_exhausted(const sim_world *w, sim_call *call, uint32_t group, lb_ns now);

/* Go where a group sends prompts that are too long for it: the usual chain is left at
 * once, another special one is gone on with.  False: nowhere. */
bool sim_call_divert(const sim_world *w, sim_call *call, uint32_t group);

/* Whether it sends them elsewhere at all. */
bool sim_call_diverts(const sim_world *w, const sim_call *call, uint32_t group);

/* The group that its request asked for. */
static inline uint32_t
sim_call_group(const sim_world *w, const sim_call *call)
{
    return w->trace.group != NULL ? w->trace.group[call->request] : 0;
}

/* What it has spent in a group; NULL: nothing that counts. */
static inline sim_visit *
sim_call_visit(sim_call *call, uint32_t group)
{
    for (int k = 0; k < call->nvisits; k++)
        if (call->visit[k].group == group)
            return &call->visit[k];
    return NULL;
}

#endif /* SIM_CALL_H */

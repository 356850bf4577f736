/* sim_call.h - one request on its way through attempts, for sim_world.c alone. */
#ifndef SIM_CALL_H
#define SIM_CALL_H

#include "sim_world.h"

/* A request between its arrival and its end; its attempt is the job of the same
 * index. */
typedef struct sim_call {
    uint64_t request; /* index in the trace */
    uint32_t next;    /* free list */
    uint8_t attempts, round, tried;
    uint8_t link;    /* others' rules: place in the chain ... */
    uint8_t tries;   /* ... and tries in that group */
    bool rough;      /* some attempt failed */
    int16_t backend; /* of the attempt */
    lb_ns arrived, deadline, sent;
    lb_ns back_at; /* when the first that failed in this round may be asked again */
    int64_t cost;  /* nano-USD so far */
    lb_ask ask;
    lb_lease lease;
} sim_call;

/* How much of the load may be retries: 0.2 of all calls over ten seconds, and 3.
 * Another backend costs 1 and is never refused, asking the same again costs 2. */
typedef struct sim_retries {
    double slot[10]; /* of a second each */
    int64_t second;  /* of the newest slot */
} sim_retries;

struct sim_world {
    lb_pool *pool;
    sim_trace trace;
    sim_plan plan;
    sim_station *station;
    sim_peer *peer;
    uint32_t nstations;
    uint32_t *chain, *link; /* groups to walk for each group */
    sim_price *price;
    uint32_t nprices;
    sim_floor floor;
    sim_call *call;
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

/* Find the request its next attempt, or let it wait, or end it. */
void sim_call_aim(sim_world *w, uint32_t id, lb_ns now);

/* Its attempt is over: settle, and end or aim again. */
void sim_call_land(sim_world *w, uint32_t id, lb_ns now);

#endif /* SIM_CALL_H */

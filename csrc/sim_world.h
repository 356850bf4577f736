/* sim_world.h - a day of calls in a second: the router's pool on a virtual clock.
 *
 *      trace --arrive--> call --lb_lease_pick--> job at a station
 *                         ^                          |
 *                         |  failed: next backend    |  answer, 5xx, 429, time-out
 *                         +---- lb_lease_settle <----+
 *
 * The decisions are those of production: the same pool, the same picks, leases
 * and settlements, only that `now` comes from a queue of events.  What the
 * Router does around a pick is repeated here in its simplest faithful form:
 *
 *   - the call's group, then its fallbacks; a tried backend comes last
 *   - all breakers open: the one that opens first
 *   - nothing free: a place in the line of those who wait (sim_line.h), whose head
 *     waits as long as the pool says (at least 5 ms, and up to a tenth more) or until
 *     a call ends, if that fits into the call's time-out
 *   - everything tried: the same again after a random pause up to 1, then 2 s,
 *     but not before somebody can help again; three rounds, 16 attempts at most, and
 *     no more of it than the retry budget allows (sim_retries.h)
 *   - while others could help, an attempt gets half of the time that is left,
 *     or three times what it is expected to take
 *   - no more time and attempts in a group than that allows, and elsewhere with a
 *     prompt that is too long for all of it
 *
 * A stream is not restarted after its first token.  What a router cannot know
 * it does not know here either: prompts are measured with an error, durations
 * and limits are the station's secret until it answers.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim_rules.h"
#include "sim_station.h"
#include "sim_tally.h"

/* The clock's first instant: no event lies at 0, which means "never" elsewhere. */
#define SIM_DAWN LB_NS_PER_S

enum { SIM_TERMS_LINKS = 8 };

/* What comes in: columns of `n` requests, ascending in time.  NULL columns:
 * all 0.  Borrowed; must outlive the world. */
typedef struct sim_trace {
    uint64_t n;
    const int64_t *at;       /* ns since the start */
    const int32_t *input;    /* tokens, >= 1 */
    const int32_t *output;   /* tokens, >= 0 */
    const uint16_t *group;   /* index of the pool's groups */
    const int32_t *most;     /* max_tokens; 0: not given */
    const uint32_t *session; /* 0: none */
    const uint64_t *block;   /* hashes of prompt blocks, none of them 0 */
    const uint64_t *blocks;  /* n + 1 offsets into them */
} sim_trace;

typedef struct sim_plan {
    uint64_t seed;
    int rule;          /* enum sim_rule; negative: the pool decides */
    lb_ns timeout;     /* of a request, > 0 */
    bool stream;       /* the router hears first tokens; time-outs end with them */
    double mismeasure; /* sigma of the logarithm of estimated / true input */
    lb_ns slice;       /* width of the time slices */
    uint32_t slices;
    bool samples; /* keep what became of every request */
    int32_t block_tokens;
    bool impatient;       /* what nobody can take at once is refused */
    int64_t most_waiting; /* calls in line; negative: as many as come */
    double retry_share;   /* of a call, that may be repeated; negative: no bound */
} sim_plan;

/* The kind of a call's first failure in a group. */
enum sim_kind_of_failure {
    SIM_ANY, /* none yet, or one that the group says nothing of */
    SIM_FAILURE,
    SIM_REFUSAL,
    SIM_LATENESS,
    SIM_NFAILURES,
};

/* What a group allows its calls; all zero: everything. */
typedef struct sim_terms {
    bool any;                    /* anything below is set */
    lb_ns timeout;               /* from the first attempt there; 0: none */
    uint8_t most[SIM_NFAILURES]; /* attempts there, by the first failure; 0: no bound */
    uint8_t nlonger;
    uint32_t longer[SIM_TERMS_LINKS]; /* groups for prompts that are too long here */
} sim_terms;

/* How long an attempt at a backend may take at most, in ns; 0: no bound. */
typedef struct sim_patience {
    lb_ns first_token; /* of a stream */
    lb_ns total;       /* of an answer in one piece */
} sim_patience;

/* From `at` on a backend has another price, and the router knows. */
typedef struct sim_price {
    lb_ns at;
    uint32_t backend;
    lb_price price;
} sim_price;

typedef struct sim_world sim_world;

/* A world with a station behind each of the pool's backends: same price, no
 * limits, no faults, answers at once.  `chain`: for each group of the pool, the
 * groups to walk, as slices of `links` that begin at chain[g] and end at
 * chain[g + 1]; copied.  NULL: out of memory. */
sim_world *sim_world_new(lb_pool *pool, const sim_trace *trace, const sim_plan *plan,
                         const uint32_t *chain, const uint32_t *links);
void sim_world_free(sim_world *w);

/* Set-up, before the first step. */
sim_station *sim_world_station(sim_world *w, uint32_t backend);
sim_peer *sim_world_peer(sim_world *w, uint32_t backend);
int sim_world_add_limit(sim_world *w, uint32_t backend, const sim_limit *l); /* index */
enum lb_status sim_world_share_limit(sim_world *w, uint32_t backend, uint32_t limit);
enum lb_status sim_world_add_fault(sim_world *w, uint32_t backend, const sim_fault *f);
enum lb_status sim_world_add_price(sim_world *w, const sim_price *p);
enum lb_status sim_world_set_terms(sim_world *w, uint32_t group, const sim_terms *t);
enum lb_status sim_world_set_patience(sim_world *w, uint32_t backend,
                                      const sim_patience *p);

/* Let at most `requests` more come in and as much happen as that takes; once all
 * are in, everything.  LB_OK: go on; 1: over; LB_ENOMEM: the run is void. */
int sim_world_run(sim_world *w, uint64_t requests);

const sim_tally *sim_world_tally(const sim_world *w);

#endif /* SIM_WORLD_H */

/* sim_station.h - a provider as it really is, which no router can see.
 *
 * One station stands behind one backend.  An attempt (sim_job) that arrives
 * there meets, in this order:
 *
 *      arrive -> fault? -> rate limits -> bad luck -> slot free? -> service -> end
 *                 |            |             |            |
 *                5xx,         429           5xx         waits in a queue,
 *              hang, 429                                or 429 when that is full
 *
 * Service is a wait for the first token and then one time per output token:
 *
 *      first = tail(ttft * L1) + prefill * uncached input     L: lognormal around 1,
 *      end   = first + (output - 1) * token * L2                 or exponential
 *      token = alone + crowd * n                              n: calls in service
 *
 * With crowd > 0 all calls share the machine: whenever somebody comes or goes,
 * everybody's pace changes.  The station then keeps one clock of tokens that
 * runs at the common pace, and a call ends when that clock has advanced by its
 * own length (egalitarian processor sharing, exact, O(log n) per event):
 *
 *      clock  ----+--------+------------+----------->   pace 1 / (alone + crowd * n)
 *             A arrives  B arrives   A leaves at clock = its start + its tokens
 *
 * A serial prefill (one prompt at a time, first come first served) adds the wait
 * for those before.  Source of the form and of the coefficients people use for
 * it: splitwise-sim's measured model (prefill .1-.3 ms a token, decode 30-43 ms
 * + .3-.4 ms a call).
 *
 * What is drawn for an attempt depends on the seed, the request and the number
 * of the attempt only, so strategies are compared under the same luck.
 */
#ifndef SIM_STATION_H
#define SIM_STATION_H

#include "lb_lease.h"
#include "sim_events.h"

enum sim_shape { SIM_LOGNORMAL, SIM_EXPONENTIAL, SIM_NSHAPES };

/* The configuration; all zero is a provider that answers at once. */
typedef struct sim_service {
    double ttft;          /* s to the first token at no load: median (mean, for
                           * exponential) */
    double ttft_spread;   /* sigma of its logarithm */
    double tail_share;    /* share of calls whose ttft is ... */
    double tail_factor;   /* ... so many times longer */
    double prefill;       /* s per uncached input token */
    double token;         /* s per output token, alone */
    double token_crowd;   /* s more for each call in service */
    double token_spread;  /* sigma of the logarithm of a call's own pace */
    double failure;       /* share of calls that end in a 5xx ... */
    double failure_after; /* ... so many seconds after they were sent */
    double refusal_after; /* s until a 429 is heard */
    int32_t slots;        /* calls in service at once; 0: no bound */
    int32_t queue;        /* calls waiting for one; negative: no bound */
    int32_t most_output;  /* charged by `max` limits when max_tokens is not given */
    int32_t cache_least;  /* shorter prompts are not cached, tokens */
    lb_ns cache_life;     /* after the last use; 0: no cache */
    uint8_t shape;        /* enum sim_shape, of both draws */
    bool serial;          /* prompts are read one after the other */
    bool headers;         /* answers carry limit, remaining, reset */
    bool retry_after;     /* refusals carry Retry-After */
} sim_service;

enum sim_trouble { SIM_FAIL, SIM_HANG, SIM_SLOW, SIM_REFUSE, SIM_NTROUBLES };

/* A spell of trouble: calls sent within it are hit with probability `share`. */
typedef struct sim_fault {
    lb_ns from, until;
    uint8_t trouble; /* enum sim_trouble */
    double share;    /* 0..1 */
    double factor;   /* SIM_SLOW: everything takes so many times longer;
                      * SIM_REFUSE: the Retry-After in s, 0: none */
} sim_fault;

/* A limit of an account, as the provider keeps it. */
typedef struct sim_limit {
    lb_rate rate;
    uint8_t unit, charge; /* enum lb_unit, enum lb_charge */
} sim_limit;

/* One attempt, as the provider sees it.  The world fills in the first part. */
typedef struct sim_job {
    uint32_t stamp; /* of the attempt; 0: nobody waits for it any more */
    uint64_t luck;  /* seed of its draws */
    int32_t input;  /* tokens, true ones */
    int32_t output;
    int32_t max_tokens;    /* 0: not given */
    uint32_t session;      /* 0: none */
    const uint64_t *block; /* hashes of the prompt's blocks, or NULL */
    uint32_t nblocks;
    lb_ns until; /* the client gives up */
    bool stream; /* ... unless the first token came before */
    /* what the station makes of it */
    bool inside; /* holds a slot */
    bool queued;
    uint8_t outcome;     /* enum lb_outcome it will end with */
    int32_t cached;      /* input tokens from the prompt cache */
    lb_ns first;         /* its first token; 0: none yet */
    lb_ns retry_after;   /* 0: not told */
    double wait, length; /* drawn: s to the first token, tokens at the common pace */
    uint8_t ntold;
    lb_told told[LB_READINGS];
} sim_job;

/* A place in a queue, or on the clock of tokens. */
typedef struct sim_place {
    double ends; /* clock at which it is through */
    uint32_t id, stamp;
} sim_place;

typedef struct sim_prompt {
    uint64_t key;
    lb_ns expires;
    int64_t tokens;
} sim_prompt;

typedef struct sim_station {
    sim_service service;
    uint32_t index;
    lb_price price; /* what is billed */
    uint8_t nlimits;
    uint16_t limit[LB_LIMITS]; /* indices of the floor's limits */
    sim_fault *fault;
    uint32_t nfaults;
    /* state */
    int32_t serving;
    lb_ns reader_free;  /* serial prefill: when the next prompt may be read */
    sim_place *waiting; /* ring: first come, first served */
    uint32_t head, nwaiting, room;
    int32_t live;       /* of them not given up */
    sim_place *sharing; /* heap on the clock of tokens */
    uint32_t nsharing, places;
    double clock;       /* tokens since the start at the common pace ... */
    lb_ns set;          /* ... as of this time */
    uint32_t turn;      /* stamp of the newest announcement of the next to end */
    sim_prompt *prompt; /* the prompt cache: open addressing, doubling */
    uint32_t nprompts, prompts;
    bool lost; /* memory ran out: the run is void */
} sim_station;

/* What stations and the world share. */
typedef struct sim_floor {
    sim_events events;
    sim_job *job;     /* by id of the call */
    sim_limit *limit; /* of all accounts; stations of one account share them */
    uint32_t nlimits;
    int32_t block_tokens;
} sim_floor;

/* Kinds of events that stations announce. */
enum sim_kind {
    SIM_END,     /* a call's answer, failure or time-out is there */
    SIM_FIRST,   /* a prompt has been read: tokens from now on */
    SIM_TURN,    /* the first on a station's clock of tokens is through */
    SIM_GIVE_UP, /* a call's time-out, for those whose end is not known yet */
    SIM_RETRY,   /* a call looks again; the world's own */
    SIM_PRICE,   /* a price changes; the world's own */
};

void sim_station_free(sim_station *s);

/* The attempt of call `id` arrives.  Sooner or later exactly one SIM_END with its
 * stamp is due, or a SIM_FIRST, SIM_TURN or SIM_GIVE_UP that leads to its end. */
void sim_station_arrive(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now);

/* A SIM_FIRST of this call. */
void sim_station_first(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now);

/* A SIM_TURN of this station: the id of the call that is through, or -1. */
int64_t sim_station_turn(sim_station *s, sim_floor *floor, uint32_t stamp, lb_ns now);

/* The call is over for the client: free its slot, count its tokens, remember its
 * prompt, let the next one in. */
void sim_station_leave(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now);

#endif /* SIM_STATION_H */

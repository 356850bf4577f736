/* lb_breaker.h - stop calling what fails, and find out cheaply when it is back.
 *
 *            5 in a row, or half of >= 10 in the window
 *    CLOSED ------------------------------------------> OPEN  (5 s, doubling
 *      ^                                               |   ^   to 60 s, +-10 %)
 *      | ramp over            cooldown over            |   |
 *      |                                               v   | a probe failed,
 *    RAMP <------------------------------------- HALF_OPEN-+ or any trip in RAMP
 *      (slow start: 10 % -> 100 %)  3 probes succeeded    (lets 10 % through)
 *
 * Transitions happen when somebody looks, never by a timer.  Each entry carries
 * the breaker's generation; results of an older generation are ignored (the
 * rule of sony/gobreaker), so a slow call from before the trip cannot close it.
 * The end of a ramp is no new generation: its calls go on counting.
 *
 * Half-open admits by deterministic credit, a request being let in while
 *
 *      admitted <= seen * probe_share
 *
 * so the first one that wants in is a probe, then every tenth.  A probe that says
 * nothing (cancelled, its own fault) gives its credit back, one that is not back
 * after cooldown_max as well; and where hardly anybody asks, one request passes
 * once no probe went for a cooldown.  What was opened by a time-out sends only those
 * until a probe has succeeded: a tenth of the calls would wait as long as the first.
 *
 * What counts how (lb_outcome) is one table in lb_breaker.c.  Only a bad result
 * trips; a good one that makes the tenth call of the window does not.
 */
#ifndef LB_BREAKER_H
#define LB_BREAKER_H

#include "lb_base.h"
#include "lb_rng.h"

/* How a call ended, as far as the health of its backend is concerned. */
enum lb_outcome {
    LB_DONE,         /* complete answer */
    LB_SLOW,         /* complete, but far slower than expected */
    LB_FAILED,       /* 5xx, overload, connect, TLS, DNS, garbage */
    LB_BROKEN,       /* stream broke after content was delivered */
    LB_TIMED_OUT,    /* no byte, or no end, in time */
    LB_RATE_LIMITED, /* 429: the limiter's business; fails a probe only */
    LB_QUOTA,        /* quota or credit used up: out for >= 5 min */
    LB_AUTH,         /* key refused: out for >= 5 min */
    LB_MISSING,      /* no such model or deployment: out for >= 5 min */
    LB_REJECTED,     /* the request was at fault: no failure, no proof of health */
    LB_CANCELLED,    /* the caller left: says nothing */
    LB_NOUTCOMES,
};

enum lb_breaker_state { LB_CLOSED, LB_OPEN, LB_HALF_OPEN, LB_RAMP };

/* What the user ordered; LB_AUTO lets the breaker decide. */
enum lb_breaker_order { LB_AUTO, LB_FORCED_OPEN, LB_FORCED_CLOSED };

/* Thresholds; lb_breaker_default() gives the values in brackets. */
typedef struct lb_breaker_rules {
    int32_t in_a_row;          /* consecutive failures that trip [5]; 0: rule off */
    int32_t min_calls;         /* calls in the window before its rate counts [10] */
    float failure_rate;        /* failing share that trips, above 0, to 1 [0.5] */
    float slow_rate;           /* slow share of >= 2 * min_calls, above 0, to 1 [0.8] */
    float probe_share;         /* admitted share while half-open, 0..1 [0.1] */
    int16_t probes_to_close;   /* successful probes that end half-open, 1..255 [3] */
    int16_t timeouts_in_a_row; /* instead, if the newest timed out; 0: as others [0] */
    lb_ns window;              /* length of the window, 10 buckets [30 s] */
    lb_ns cooldown;            /* first open time [5 s] */
    lb_ns cooldown_max;        /* >= cooldown [60 s] */
    lb_ns ramp;                /* length of the slow start; 0: none [30 s] */
} lb_breaker_rules;

enum { LB_BREAKER_BUCKETS = 10 };

/* Embed by value; all zero is a closed breaker with an empty window. */
typedef struct lb_breaker {
    uint8_t state;       /* enum lb_breaker_state as of the last look */
    uint8_t order;       /* enum lb_breaker_order */
    uint8_t reason;      /* enum lb_outcome that tripped it last */
    uint8_t probes_ok;   /* successful probes of this half-open spell */
    uint32_t generation; /* bumped by every transition but the end of a ramp */
    int32_t consecutive; /* failures in a row */
    int32_t trips;       /* trips since it last was closed for a whole window: each
                          * doubles the cooldown */
    int32_t seen;        /* requests that wanted in while half-open */
    int32_t admitted;    /* of them let in, cancelled ones subtracted */
    int32_t probing;     /* probes in flight */
    int32_t total_trips; /* since init, for statistics */
    lb_ns until;         /* OPEN: end of the cooldown; RAMP: end of the ramp */
    lb_ns since;         /* time of the last transition */
    lb_ns probed;        /* last time a probe was let in, or half-open began */
    lb_ns edge;          /* when the newest bucket is full and the oldest forgotten */
    struct {
        uint16_t ok, failed, slow; /* slow ones are among the other two */
    } bucket[LB_BREAKER_BUCKETS];
    uint32_t newest; /* index of the newest bucket */
} lb_breaker;

/* Fill with the defaults above. */
void lb_breaker_default(lb_breaker_rules *rules);

/* The first rule that is outside its range, and the range ("window must be ..."), or
 * NULL; times must be > 0 and at most ten years, the window at least 10 ns. */
const char *lb_breaker_flaw(const lb_breaker_rules *rules);

/* LB_EINVAL when there is one. */
enum lb_status lb_breaker_check(const lb_breaker_rules *rules);

/* The state at `now`; carries out transitions that time alone has brought. */
enum lb_breaker_state lb_breaker_at(lb_breaker *b, const lb_breaker_rules *rules,
                                    lb_ns now);

/* Could a request enter at `now`?  0 yes; otherwise the wait until it might
 * (LB_FOREVER: forced open).  While half-open it counts one request that wants
 * in, so call it once per request. */
lb_ns lb_breaker_wait(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now);

/* A request goes: returns the generation to hand to leave.  Total: it also
 * lets in what wait() would refuse (the pool's last resort); while open, the
 * result of such a call changes nothing. */
uint32_t lb_breaker_enter(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now);

/* It came back.  retry_after: what the provider asked for, 0 if nothing; when
 * this result trips, the open time is at least that, up to one hour for quota,
 * key and missing models, cooldown_max otherwise. */
void lb_breaker_leave(lb_breaker *b, const lb_breaker_rules *rules, uint32_t generation,
                      enum lb_outcome outcome, lb_ns retry_after, lb_rng *rng,
                      lb_ns now);

/* Share of its normal weight in 0.1..1: below 1 only during the slow start, which
 * ends as it began when the rules are changed meanwhile. */
double lb_breaker_share(const lb_breaker *b, lb_ns now);

/* Obey the user until told LB_AUTO again.  Every order starts closed and empty;
 * while forced, results are counted but trip nothing. */
void lb_breaker_order(lb_breaker *b, enum lb_breaker_order order, lb_ns now);

/* Calls and failures in the window up to `now`. */
void lb_breaker_window(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now,
                       int32_t *calls, int32_t *failed);

#endif /* LB_BREAKER_H */

/* lb_pool.h - the backends, their groups, limits and budgets, in one block.
 *
 * A pool is one block of memory without a pointer in it: a head, then tables
 * of fixed-size records that refer to each other by index.
 *
 *   head | backends | records | limits | budgets | groups | members | sessions | quotes
 *          hot        cold      shared   shared              slices    affinity scratch
 *
 * What every choice reads about a backend lies in lb_backend; its price, rules
 * and history lie apart in lb_record.  Limits and budgets are tables of their
 * own, so that two keys of one organisation can share a limit and a tag can
 * have a budget.  Adding happens at set-up; afterwards numbers change, places
 * do not, and nothing is allocated.
 *
 * The block, limits and budgets are in lb_pool.c, backends and groups in
 * lb_pool_members.c.
 *
 * The caller holds one lock for the whole block (lb_base.h).
 */
#ifndef LB_POOL_H
#define LB_POOL_H

#include "lb_affinity.h"
#include "lb_base.h"
#include "lb_breaker.h"
#include "lb_budget.h"
#include "lb_latency.h"
#include "lb_pick.h"
#include "lb_price.h"
#include "lb_quantile.h"
#include "lb_rate.h"
#include "lb_rent.h"
#include "lb_reuse.h"
#include "lb_rng.h"
#include "lb_tokens.h"

enum {
    LB_LIMITS = 8,     /* limits one backend can be under */
    LB_BUDGETS = 4,    /* budgets one backend, group or the pool can be under */
    LB_SIZES = 24,     /* input-size classes of output statistics: log2(input) */
    LB_SHARES = 10000, /* a share of 1 */
    LB_NAMES_MAX = 0xffff,
};

/* What a limit counts. */
enum lb_unit { LB_PER_REQUEST, LB_PER_TOKEN, LB_PER_INPUT, LB_PER_OUTPUT, LB_NUNITS };

/* How a provider charges a token limit at admission. */
enum lb_charge {
    LB_CHARGE_ACTUAL, /* input at once, output as it comes: expected, then settled */
    LB_CHARGE_CHARS4, /* ceil(chars / 4) + 2 per message, output never (OpenAI) */
    LB_CHARGE_MAX,    /* input + max_tokens until the request ends (Azure, Bedrock) */
    LB_NCHARGES,
};

typedef struct lb_limit {
    float per_ns;    /* share of the working burst that comes back in a nanosecond */
    float per_unit;  /* share of the working burst that one unit is */
    uint8_t unit;    /* enum lb_unit */
    uint8_t charge;  /* enum lb_charge */
    uint8_t learned; /* told by headers, not configured */
    uint8_t working; /* % of it that are worked with, see lb_throttle.h */
    float pace;      /* units a second of late, for the forecast */
    float rent;      /* nano-USD a unit, see lb_rent.h; 0: not scarce of late */
    uint32_t begun;  /* newest lease when it was set after being lifted; 0: never */
    lb_rate rate;  /* its burst is the whole one, its limit that which is worked with */
    lb_ns paced;   /* time of the newest charge in `pace` */
    lb_ns changed; /* time of the newest change of `working` */
} lb_limit;

enum { LB_WHOLE = 100 };

/* A price in short, so that a choice need not look at the whole of it: what plain
 * tokens cost while the prompt has at most `flat` of them. */
typedef struct lb_fare {
    int32_t flat;  /* input tokens; negative: ask lb_price itself */
    int32_t in;    /* pico-USD a token; rates end at 1e9 */
    int32_t out;   /* pico-USD a token */
    int32_t write; /* pico-USD a token, `in` or what writing it to a cache costs */
} lb_fare;

/* Nano-USD by it, for input <= flat and output < 2^31 tokens; `in` is the rate of the
 * input.  Unsigned halves the work of rounding. */
static inline int64_t
lb_fare_cost(const lb_fare *fare, int32_t in, int64_t input, int64_t output)
{
    return (int64_t)(((uint64_t)(in * input + fare->out * output) + 500) / 1000);
}

/* What a backend is and may do; the part the user configures. */
typedef struct lb_terms {
    uint64_t id;        /* stable identity, for rendezvous hashing */
    uint64_t tags;      /* bit set of labels */
    uint32_t can;       /* bit set of abilities (tools, vision, ...) */
    int32_t context;    /* most input + output tokens; 0: unknown */
    int32_t max_output; /* most output tokens; 0: unknown */
    int32_t max_calls;  /* most calls in flight; 0: no limit */
    float weight;       /* relative share, 1e-6 to 1e6; 0: drained */
    uint8_t order;      /* lower orders are used up first */
    uint8_t quality;    /* tier of quality, higher is better */
    uint8_t family;     /* tokenizer family, < LB_TOK_NFAMILIES */
    lb_ns cache_life;   /* how long its prompt cache keeps; 0: has none */
} lb_terms;

/* The first term that is outside its range, and the range ("weight must be ..."), or
 * NULL. */
const char *lb_terms_flaw(const lb_terms *terms);

/* The hot half of a backend: what a choice reads and a call moves. */
typedef struct lb_backend {
    lb_terms terms;
    uint8_t nlimits, nbudgets;
    uint16_t limit[LB_LIMITS];   /* indices of limits */
    uint16_t budget[LB_BUDGETS]; /* indices of budgets */
    uint16_t min_share;          /* of the calls it could take, 0..LB_SHARES */
    float per_call;              /* share of max_calls that a call is; 0: no limit */
    int32_t held;                /* calls in flight of the account that it leads */
    uint16_t account;            /* the backend that leads its account: itself, ... */
    float ratio;                 /* billed / estimated prompt tokens; 1: no bill yet */
    float fail;                  /* share of late calls that failed, 0..1 */
    int32_t refusals;            /* 429s in a row */
    uint16_t usual_ttft;         /* at this time of day, in 2 ms; 0: not known */
    uint16_t usual_itl;          /* the same of a token, in 20 us; 0: not known */
    lb_ns not_before;            /* asked to be left alone until then */
    lb_fare fare;
    lb_latency latency;
    lb_breaker breaker;
} lb_backend;

/* Everything that happened, for reports; never read by a choice. */
typedef struct lb_tally {
    int64_t outcome[LB_NOUTCOMES]; /* leases settled, by enum lb_outcome */
    int64_t tokens[LB_NTOKENS];    /* billed, by enum lb_kind */
    int64_t cost;                  /* nano-USD billed */
    int64_t micros;                /* sum of the durations of complete answers */
} lb_tally;

/* Leases settled. */
static inline int64_t
lb_tally_calls(const lb_tally *t)
{
    int64_t calls = 0;
    for (int k = 0; k < LB_NOUTCOMES; k++)
        calls += t->outcome[k];
    return calls;
}

/* The cold half. */
typedef struct lb_record {
    lb_price price;
    lb_breaker_rules rules; /* its window widened to twice the p99 of durations */
    lb_ns window;           /* the window as configured */
    lb_tally tally;
    lb_hist seconds; /* durations of complete answers */
    lb_hist ttft;    /* their times to first token */
} lb_record;

/* Expected output of a group for one input size. */
typedef struct lb_output {
    float mean;     /* tokens, EWMA; 0: nothing seen */
    lb_track track; /* of the 0.8-quantile */
    int64_t high;   /* the quantile in tokens, for reservations; >= 1 */
} lb_output;

/* A logical model: who serves it and by which rule. */
typedef struct lb_group {
    uint32_t first, count; /* slice of the member table */
    uint32_t room;         /* places in that slice */
    uint32_t cursor;       /* round robin */
    uint8_t strategy;      /* enum lb_strategy */
    uint8_t mixed;         /* its members have different orders */
    uint8_t shared;        /* some member has a min_share */
    uint8_t nbudgets;
    uint16_t budget[LB_BUDGETS];
    double value;           /* v, USD a second; negative: unset */
    int32_t answers;        /* complete ones, stops at INT32_MAX */
    lb_latency_prior prior; /* of backends not known yet: the group's average */
    lb_output output[LB_SIZES];
    lb_reuse reuse[LB_SIZES]; /* by the size of the prompt that was sent */
} lb_group;

typedef struct lb_pool_size {
    uint32_t backends, limits, budgets, groups, members;
    uint32_t sessions; /* a power of two, or 0 for no affinity */
} lb_pool_size;

typedef struct lb_pool {
    lb_pool_size size; /* places */
    lb_pool_size used; /* of them taken */
    uint64_t backends, records, limits, budgets, groups, members, smooth, credit,
        sessions, quotes, bytes; /* offsets from the head; bytes: the whole block */
    lb_rng rng;
    uint32_t serial; /* of the newest lease */
    int64_t calls;   /* in flight over all backends */
    lb_ns latest;    /* newest time it was told */
    uint8_t nbudgets;
    uint16_t budget[LB_BUDGETS];   /* budgets every call is under */
    float ratio[LB_TOK_NFAMILIES]; /* billed / estimated, over all of a family */
    double shift, stop;            /* crowding, see lb_taste */
    double ceiling;                /* share of a limit ordinary traffic may use */
    lb_ns horizon;                 /* how far `predictive` looks ahead */
} lb_pool;

/* The tables. */
static inline void *
lb_pool_at(const lb_pool *p, uint64_t offset)
{
    return (void *)((uintptr_t)p + (uintptr_t)offset);
}

static inline lb_backend *
lb_pool_backend(const lb_pool *p, uint32_t i)
{
    return (lb_backend *)lb_pool_at(p, p->backends) + i;
}

static inline lb_record *
lb_pool_record(const lb_pool *p, uint32_t i)
{
    return (lb_record *)lb_pool_at(p, p->records) + i;
}

static inline lb_limit *
lb_pool_limit(const lb_pool *p, uint32_t i)
{
    return (lb_limit *)lb_pool_at(p, p->limits) + i;
}

static inline lb_budget *
lb_pool_budget(const lb_pool *p, uint32_t i)
{
    return (lb_budget *)lb_pool_at(p, p->budgets) + i;
}

static inline lb_group *
lb_pool_group(const lb_pool *p, uint32_t i)
{
    return (lb_group *)lb_pool_at(p, p->groups) + i;
}

static inline uint32_t *
lb_pool_members(const lb_pool *p, const lb_group *g)
{
    return (uint32_t *)lb_pool_at(p, p->members) + g->first;
}

static inline double *
lb_pool_smooth(const lb_pool *p, const lb_group *g)
{
    return (double *)lb_pool_at(p, p->smooth) + g->first;
}

/* What each member is owed of its min_share: -1 .. 2 calls, in 1/LB_SHARES. */
static inline int32_t *
lb_pool_credit(const lb_pool *p, const lb_group *g)
{
    return (int32_t *)lb_pool_at(p, p->credit) + g->first;
}

static inline lb_session *
lb_pool_sessions(const lb_pool *p)
{
    return lb_pool_at(p, p->sessions);
}

static inline lb_quote *
lb_pool_quotes(const lb_pool *p)
{
    return lb_pool_at(p, p->quotes);
}

/* A pool with room for `size`, all of it empty.  NULL: out of memory, or a size
 * of 0 backends, more than 65,535 of anything but sessions and members, or
 * sessions that are no power of two. */
lb_pool *lb_pool_new(const lb_pool_size *size, uint64_t seed);

/* NULL is fine. */
void lb_pool_free(lb_pool *p);

/* Set-up.  Each returns the new index (>= 0) or a negative enum lb_status:
 * LB_EFULL without a free place, LB_EINVAL for values out of range (a member that
 * is listed twice is one; shares of members that add up to more than 1 are one). */
int lb_pool_add_backend(lb_pool *p, const lb_terms *terms, const lb_price *price,
                        const lb_breaker_rules *rules);
int lb_pool_add_limit(lb_pool *p, uint32_t backend, enum lb_unit unit,
                      enum lb_charge charge, int64_t limit, lb_ns window,
                      int64_t burst);
int lb_pool_add_budget(lb_pool *p, enum lb_budget_kind kind, bool hard, int64_t cap,
                       lb_ns period, lb_ns ends, lb_ns now);
int lb_pool_add_group(lb_pool *p, enum lb_strategy strategy, double value,
                      const uint32_t *members, uint32_t n);

/* Put a backend under a limit that another one already has. */
enum lb_status lb_pool_share_limit(lb_pool *p, uint32_t backend, uint32_t limit);

/* Put a backend under the account of another one, and with it those whose account it
 * leads: the calls in flight of all that do so count against the max_calls of each.
 * LB_EINVAL: no such backend, or it or one it leads has calls in flight. */
enum lb_status lb_pool_share_calls(lb_pool *p, uint32_t backend, uint32_t with);

/* Calls in flight that count against the max_calls of a backend. */
static inline int32_t *
lb_pool_held(const lb_pool *p, const lb_backend *b)
{
    return &lb_pool_backend(p, b->account)->held;
}

/* Put every call, or those of a group or a backend, under a budget.  A call that
 * is under one budget for two reasons is charged once. */
enum lb_status lb_pool_charge_all(lb_pool *p, uint32_t budget);
enum lb_status lb_pool_charge_group(lb_pool *p, uint32_t group, uint32_t budget);
enum lb_status lb_pool_charge_backend(lb_pool *p, uint32_t backend, uint32_t budget);

/* Changes while running.  set_share: of the calls that a backend could take it gets
 * at least so many in each of its groups, whatever their rule (0..1, kept to four
 * decimals): it stays warm. */
enum lb_status lb_pool_set_share(lb_pool *p, uint32_t backend, double min_share);
enum lb_status lb_pool_set_terms(lb_pool *p, uint32_t backend, const lb_terms *terms);
enum lb_status lb_pool_set_price(lb_pool *p, uint32_t backend, const lb_price *price);
enum lb_status lb_pool_set_rules(lb_pool *p, uint32_t backend,
                                 const lb_breaker_rules *rules);
enum lb_status lb_pool_set_members(lb_pool *p, uint32_t group, const uint32_t *members,
                                   uint32_t n);

/* Configure a limit anew, in the ranges of lb_rate_resize: what is spent stays spent
 * in units, and leases in flight settle as ever.  One that was learned counts as
 * configured from now on.  `limit` 0 lifts it: it keeps its place and admits
 * everything, and what it had counted is forgotten; when it is set again, calls that
 * left before give nothing back. */
enum lb_status lb_pool_set_limit(lb_pool *p, uint32_t i, int64_t limit, lb_ns window,
                                 int64_t burst, lb_ns now);

/* What history says of a backend at this time of day, seconds to the first token and
 * of a token: while no answers come its estimates fade to that, not to its group's
 * average.  Kept to 2 ms (at most 131 s) and 20 us (1.3 s); 0: not known. */
enum lb_status lb_pool_set_usual(lb_pool *p, uint32_t backend, double ttft, double itl);

/* What to assume of a backend of which nothing fresh is known, in a group. */
lb_latency_prior lb_pool_prior(const lb_backend *b, lb_latency_prior group);

/* Another cap (>= 0) of a budget, hard or not; spent and reserved stay as they are. */
enum lb_status lb_pool_set_budget(lb_pool *p, uint32_t i, int64_t cap, bool hard);

/* Billed prompt tokens to expect of an estimated one.  Backends of one tokenizer
 * family bill alike: what sets one apart from it by less than 5 % is the noise of
 * its prompts, and must not make it look cheaper than the others. */
#define LB_RATIO_NOISE 0.05F

static inline float
lb_pool_ratio(const lb_pool *p, const lb_backend *b)
{
    float family = p->ratio[b->terms.family];
    float apart = b->ratio > family ? b->ratio - family : family - b->ratio;
    return b->ratio != 1.0F && apart > LB_RATIO_NOISE * family ? b->ratio : family;
}

/* Learn from a prompt estimated at `estimate` and billed as `billed` tokens. */
void lb_pool_learn_ratio(lb_pool *p, lb_backend *b, int64_t estimate, int64_t billed);

/* An answered call of a session. */
typedef struct lb_turn {
    uint64_t session; /* hash, != 0 */
    lb_ns sent;
    int64_t input, output; /* tokens */
    int32_t backend;
    uint8_t size; /* input-size class */
} lb_turn;

/* Remember where the session's prompt is kept, if it is, and learn from its coming back
 * how much of such prompts will be read again. */
void lb_pool_follow(lb_pool *p, lb_group *g, const lb_turn *turn, lb_ns now);

/* The input-size class of `tokens`: 0 .. LB_SIZES - 1. */
int lb_pool_size_class(int64_t tokens);

/* Share of a limit that is used up: 0 nothing, 1 all, above 1 in debt; as
 * lb_rate_used, to six digits and without its division. */
static inline float
lb_limit_used(const lb_limit *l, lb_ns now)
{
    float used = (float)(l->rate.full_at - now) * l->per_ns;
    return used > 0 ? used : 0;
}

/* Units a second that were charged of late, at `now`. */
float lb_limit_pace(const lb_limit *l, lb_ns now);

/* Charge `units` (< 0: give back) and follow the pace and the rent. */
void lb_limit_charge(lb_limit *l, int64_t units, lb_ns now);

/* The same for a call that no price could send elsewhere: the rent may fall but not
 * rise by it, or it would wind up without end while everything is in use. */
void lb_limit_charge_captive(lb_limit *l, int64_t units, lb_ns now);

/* To be called when the rate of a limit has been tuned. */
void lb_limit_tuned(lb_limit *l);

#endif /* LB_POOL_H */

/* lb_gate_load.h - what a call asks for, and what it weighs at a backend.
 *
 *   ask                      tokens by family, max_tokens, limits of cost and time
 *    -> outlook, a choice    expected output, money left, the session's backend
 *    -> figures, a family    what limits count of it, what is reserved
 *    -> own figures          of a backend that bills or answers in another way
 *
 * The gates (lb_gate.h) compare these with what a backend has room for, the lease
 * reserves them.
 */
#ifndef LB_GATE_LOAD_H
#define LB_GATE_LOAD_H

#include "lb_pool.h"

enum { LB_TRIED = 16, LB_ASK_BUDGETS = 8 };

/* The ability that a measured prompt itself can ask for; the other bits are the
 * caller's to name. */
#define LB_CAN_VISION UINT32_C(2)

/* Among the tags of an ask: one of them is enough.  No backend has this bit. */
#define LB_ANY_TAG (UINT64_C(1) << 63)

/* What a call needs.  All zero is a call without needs in group 0, except
 * max_cost and max_latency, whose "no limit" is INT64_MAX; see lb_ask_init. */
typedef struct lb_ask {
    uint32_t group;
    uint32_t needs;                   /* abilities, bit set */
    uint64_t tags;                    /* labels, bit set; all, or LB_ANY_TAG */
    uint64_t session;                 /* hash of the conversation; 0: none */
    int64_t tokens[LB_TOK_NFAMILIES]; /* prompt tokens by each family's tokenizer */
    int64_t chars;                    /* characters of the prompt */
    int32_t messages;
    int64_t max_tokens; /* most output tokens; 0: not said */
    int64_t max_cost;   /* nano-USD */
    lb_ns max_latency;
    double value;     /* v in USD a second; negative: the group's */
    int8_t strategy;  /* enum lb_strategy; negative: the group's */
    uint8_t quality;  /* least quality */
    bool priority;    /* may use the share of limits kept for priority traffic */
    bool last_resort; /* if all breakers are open, take the one that opens first */
    uint8_t ntried, nbudgets;
    uint16_t tried[LB_TRIED];
    uint16_t budget[LB_ASK_BUDGETS]; /* budgets of this call (tags, user, task) */
} lb_ask;

/* No needs, no limits, the group's own strategy. */
void lb_ask_init(lb_ask *ask, uint32_t group);

/* More tokens than anybody has: larger counts are taken as this, so that sums of
 * counts never overflow. */
#define LB_TOKENS_MOST (INT64_C(1) << 40)

/* What a call weighs at one backend: as estimated before, as reserved while it
 * runs, as billed afterwards. */
typedef struct lb_load {
    int64_t input;  /* prompt tokens, those read from a cache included */
    int64_t output; /* output tokens, expected or seen */
    int64_t most;   /* longest answer: max_tokens, or without it `output` */
    int64_t chars;  /* of the prompt */
    int32_t messages;
} lb_load;

/* What a call comes to at backends of one tokenizer family, unless they differ. */
typedef struct lb_figures {
    lb_load load;           /* reserved */
    int64_t expected;       /* output tokens, mean */
    int64_t padded;         /* prompt tokens to hold money for */
    int64_t reach;          /* the same for fares: INT64_MAX where they do not reach */
    float ratio;            /* billed / estimated prompt tokens of the family */
    float noise;            /* its own ratio may be so far from it; < 0: not made yet */
    float units[LB_NUNITS]; /* that a limit counts at most, by enum lb_unit */
    float use[LB_NUNITS];   /* the same, as expected */
} lb_figures;

/* What is the same for all backends of one choice; made once per choice. */
typedef struct lb_outlook {
    lb_ns now;
    int64_t room;           /* nano-USD the budgets of the call, group and pool leave */
    int64_t expected;       /* output tokens, mean; at most max_tokens */
    int64_t reserve;        /* output tokens, 0.8-quantile; at most max_tokens */
    int64_t most;           /* max_tokens; 0: not said */
    int64_t longest;        /* the greatest of these three, >= 1 */
    float clear;            /* used share up to which no gate that counts is near */
    double share;           /* of every limit that this call may use */
    int64_t cached;         /* prompt tokens cached at `bound` */
    float again;            /* that its conversation reads again of each, expected */
    int32_t bound;          /* backend that holds the session's cache; -1 none */
    uint8_t strategy;       /* enum lb_strategy */
    uint8_t size;           /* input-size class */
    bool metered;           /* some budget applies: money must be reserved */
    bool forecast;          /* strategy looks ahead */
    bool picky;             /* tags, abilities, quality or tried ones matter */
    lb_latency_prior prior; /* of the group */
    lb_figures figures[LB_TOK_NFAMILIES];
} lb_outlook;

void lb_outlook_init(lb_pool *p, const lb_ask *ask, lb_outlook *o, lb_ns now);

/* Of so many output tokens those that the model of this backend gives at most. */
static inline int64_t
lb_gate_output(const lb_backend *b, int64_t tokens)
{
    int64_t most = b->terms.max_output;
    return most > 0 && most < tokens ? most : tokens;
}

/* What the call comes to at this backend: of its family, or `own` where it differs. */
const lb_figures *lb_gate_figures(const lb_pool *p, const lb_ask *ask, lb_outlook *o,
                                  const lb_backend *b, lb_figures *own);

/* Units of `limit` that a load charges. */
int64_t lb_gate_units(const lb_limit *limit, const lb_load *load);

/* Nano-USD that backend `i` makes budgets hold: the longest answer and the prompt,
 * nothing of it cached, all of it written to a cache where that is dearer, with a
 * margin of a quarter and 16 tokens for the estimate.
 *
 * A bill is larger only if the prompt is billed at more than 5/4 of the estimate
 * and 16 tokens (the byte table is off by 8 % on average and calibrated by each
 * bill), if the answer is longer than max_tokens (without max_tokens: than the
 * 0.8-quantile), or if it holds what costs more than plain tokens: caches kept for
 * an hour, sound, pictures made, searches. */
int64_t lb_gate_hold(const lb_pool *p, uint32_t i, int64_t input, int64_t most);

#endif /* LB_GATE_LOAD_H */

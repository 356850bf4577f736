/* lb_price.h - what one call of one model costs, exactly.
 *
 * A price is a row of integer rates in pico-dollars (1e-12 USD), one for each
 * kind of thing a provider counts.  A cost is the sum of count times rate, in
 * 128 bits, rounded half up once, to nano-dollars (1e-9 USD):
 *
 *      kind            count      rate                        pico-dollars
 *      input           1,808  x  2,500,000  ($2.50 / 1M)     4,520,000,000
 *      cache_read      8,192  x  1,250,000  ($1.25 / 1M)    10,240,000,000
 *      output            300  x 10,000,000  ($10   / 1M)     3,000,000,000
 *                                                           --------------
 *      $0.01776  =  17,760,000 nano-dollars                 17,760,000,000
 *
 * Published prices are whole multiples of 1e-12 USD a token, so the sum has no
 * error at all and the rounding costs at most half a nano-dollar a call.
 *
 * Free and unknown are different: a rate of 0 is a price, LB_UNKNOWN is none.
 *
 * Long prompts.  Providers publish further rows that hold above a number of
 * input tokens.  Two rules exist:
 *
 *      whole request (usual)                 marginal (graduated)
 *      rate |      ________ every token      rate |      ________ only tokens
 *           |     |         pays the row          |     |         beyond the
 *           |_____|         that the total        |_____|         threshold
 *           +-----+------   input selects         +-----+------   pay more
 *                above                                 above
 *
 * For a marginal price the input kinds are laid end to end, caches first since
 * they are prefixes, and cut at the thresholds; so are the output kinds, on an
 * axis of their own.
 *
 * One row is one service tier (standard, batch, flex, ...) in one region at
 * one time; whoever builds rows knows calendars and names.
 */
#ifndef LB_PRICE_H
#define LB_PRICE_H

#include "lb_base.h"

#define LB_UNKNOWN     INT64_MIN /* no price is known; never the same as free */
#define LB_PRICE_TIERS 3         /* rows for long prompts, beyond the base row */

/* The dearest rate that is believed.  Published tables contain rows that are
 * wrong by a factor of a million; the dearest real token costs 6e-4 USD. */
#define LB_PRICE_MAX_TOKEN INT64_C(1000000000)      /* 1e-3 USD a token */
#define LB_PRICE_MAX_UNIT  INT64_C(100000000000000) /* 100 USD a request, ... */

/* What is counted.  Kinds are disjoint: `input` excludes what was read from or
 * written to a cache and what was audio or image; `output` excludes reasoning. */
enum lb_kind {
    LB_INPUT = 0,
    LB_CACHE_READ,
    LB_CACHE_WRITE,    /* kept for the provider's short time (5 minutes) */
    LB_CACHE_WRITE_1H, /* kept for an hour */
    LB_AUDIO_IN,
    LB_IMAGE_IN,
    LB_OUTPUT, /* first kind of the output side */
    LB_REASONING,
    LB_AUDIO_OUT,
    LB_IMAGE_OUT,
    LB_NTOKENS,               /* kinds below are tokens and follow the tiers */
    LB_REQUESTS = LB_NTOKENS, /* a fee per call */
    LB_IMAGES,                /* pictures made, where priced by the piece */
    LB_MILLISECONDS,          /* sound or film, where priced by its length */
    LB_SEARCHES,              /* searches the provider ran for the answer */
    LB_NKINDS,
};

/* What one call used: counts >= 0 (a negative count is taken as 0). */
typedef struct lb_usage {
    int64_t count[LB_NKINDS];
} lb_usage;

/* Bit k: some of kind k was used.  Most calls have used input and output alone. */
static inline uint32_t
lb_usage_kinds(const lb_usage *u)
{
    const uint32_t common = UINT32_C(1) << LB_INPUT | UINT32_C(1) << LB_OUTPUT;
    int64_t other = 0;
    uint32_t kinds = 0;
    for (int k = 0; k < LB_NKINDS; k++)
        other |= common >> k & 1 ? 0 : u->count[k];
    if (other == 0)
        return (uint32_t)(u->count[LB_INPUT] > 0) << LB_INPUT |
               (uint32_t)(u->count[LB_OUTPUT] > 0) << LB_OUTPUT;
    for (int k = 0; k < LB_NKINDS; k++)
        kinds |= (uint32_t)(u->count[k] > 0) << k;
    return kinds;
}

/* The rates that hold above a number of input tokens. */
typedef struct lb_price_tier {
    int64_t above;            /* tokens; > 0, ascending from tier to tier */
    int64_t pico[LB_NTOKENS]; /* pico-USD a token, or LB_UNKNOWN */
} lb_price_tier;

/* One price.  No pointers: embed, copy, share.  All zero means "free". */
typedef struct lb_price {
    int64_t pico[LB_NKINDS]; /* pico-USD for one of a kind, or LB_UNKNOWN */
    int32_t uplift_ppm;      /* onto every line: 100,000 is +10 %; >= -1,000,000 */
    uint32_t borrowed;       /* bit k: kind k has no rate of its own */
    uint8_t ntiers;          /* 0..LB_PRICE_TIERS */
    bool inclusive;          /* a tier holds from `above` on, not only beyond it */
    bool marginal;           /* only tokens beyond `above` pay the tier's rate */
    lb_price_tier tier[LB_PRICE_TIERS];
} lb_price;

/* Sums of count x rate: 2^31 tokens at the dearest rate, a million times over,
 * need 81 bits. */
__extension__ typedef __int128 lb_pico;

/* Read an amount of dollars exactly, by its decimal digits: "2.50", "1e-06".
 * *out = text x 10^shift, rounded half up; shift 12 makes pico-USD of USD, and
 * 6 makes pico-USD a token of USD per million tokens.  No sign but '+', no
 * spaces.  LB_EINVAL for anything else and beyond INT64_MAX. */
enum lb_status lb_price_parse(const char *text, int shift, int64_t *out);

/* A price of which nothing is known yet: fill in rates, then complete it. */
void lb_price_init(lb_price *p);

/* Check every rate and borrow the missing ones, once, when a price is made:
 *
 *      cache_read      <- input           cache_write     <- input
 *      cache_write_1h  <- cache_write     reasoning       <- output
 *      audio_in        <- input           image_in        <- input
 *      audio_out       <- output          image_out       <- output
 *
 * A tier takes what it lacks from the base row, if that row has a rate of its
 * own; otherwise it borrows within the tier.  Reasoning follows the tier's
 * output.  Nobody lends to input, output or the kinds that are not tokens; a
 * fee per request that is not given is 0.
 * Returns LB_EINVAL, with *bad (if not NULL) set to the kind, for a rate below
 * 0 or above LB_PRICE_MAX_*; bad is LB_NKINDS for tiers that do not ascend and
 * an uplift below -1,000,000. */
enum lb_status lb_price_complete(lb_price *p, int *bad);

/* The cost of a call in nano-USD: >= 0, stops at INT64_MAX; LB_UNKNOWN when
 * something was used for which no rate is known. */
int64_t lb_price_cost(const lb_price *p, const lb_usage *u);

/* The same in pico-USD before rounding to nano (an uplift still rounds, half
 * up); stops at 2^95 before the uplift; negative when unknown. */
lb_pico lb_price_cost_pico(const lb_price *p, const lb_usage *u);

/* The cost of one kind of the call alone, in pico-USD, before any uplift. */
lb_pico lb_price_line(const lb_price *p, const lb_usage *u, enum lb_kind kind);

/* The hot path: what a call is expected to cost, in nano-USD, from a prompt of
 * `input` tokens of which `cached` are read from a cache, and `output` tokens.
 * Counts above 2^31 - 1 are taken as that.  LB_UNKNOWN as above. */
int64_t lb_price_estimate(const lb_price *p, int64_t input, int64_t cached,
                          int64_t output);

/* Whether a rate that `u` needs was borrowed, so that its cost is an estimate.
 * Reasoning is billed as output everywhere and does not count. */
bool lb_price_is_guess(const lb_price *p, const lb_usage *u);

/* "input", "cache_read", ...; NULL outside 0..LB_NKINDS-1. */
const char *lb_kind_name(int kind);

#endif /* LB_PRICE_H */

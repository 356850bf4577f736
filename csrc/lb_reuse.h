/* lb_reuse.h - what the rest of a conversation will read from a prompt cache.
 *
 * Where its first call goes, there the others find what was said before.  So the
 * choice of a backend is a choice for all of them:
 *
 *      USD a million        this call   read again, 2 of each   in all
 *      a   2.50, cached 1.25     2.50        + 2 * 1.25          5.00
 *      b   2.60, cached 0.26     2.60        + 2 * 0.26          3.12  <- goes here
 *
 * and one with a scarce limit, which counts cached tokens in full, is kept for the
 * calls that nobody will follow (lb_rent.h).  How often a token of a prompt will be
 * read again is learned, for prompts of about the same length, as
 *
 *      share = tokens that came again, with those expected after that
 *              ------------------------------------------------------
 *                            tokens that were sent
 *
 * of about the last 256 prompts.  What comes after the next call counts 0.95 of it, and
 * so on, so that a conversation without end has a share of at most 20 or so.
 *
 * Source: temporal differences of a discounted sum (Sutton 1988), as a ratio of sums,
 * since who does not come back never says so.
 */
#ifndef LB_REUSE_H
#define LB_REUSE_H

#include "lb_base.h"

/* All zero: nothing is known, nothing expected. */
typedef struct lb_reuse {
    float sent;  /* tokens of prompts that a backend keeps, of late */
    float again; /* tokens read again of their conversations, seen and expected */
} lb_reuse;

/* Tokens that the rest of its conversation will read again for each of a prompt's,
 * >= 0. */
static inline float
lb_reuse_share(const lb_reuse *r)
{
    return r->sent > 0 ? r->again / r->sent : 0;
}

/* A prompt of `tokens` (>= 0) was sent where it will be kept. */
static inline void
lb_reuse_sent(lb_reuse *r, float tokens)
{
    const float forget = 1.0F / 256;
    r->sent += tokens - forget * r->sent;
    r->again -= forget * r->again;
}

/* After a prompt that `r` counts came the next of its conversation: `found` (>= 0)
 * tokens of it were known, and it is expected to be read again `later` (>= 0) tokens.
 */
static inline void
lb_reuse_came(lb_reuse *r, float found, float later)
{
    r->again += found + 0.95F * later;
}

#endif /* LB_REUSE_H */

/* pool_kit.h - pools for tests, short to write down.
 *
 *     lb_pool *p = kit_pool(4);           four backends at $2.50 in, $10 out / 1M
 *     int g = kit_group(p, LB_COST);      all of them in one group
 *     lb_ask ask = kit_ask(g, 1000);      a prompt of 1,000 tokens, no needs
 */
#ifndef POOL_KIT_H
#define POOL_KIT_H

#include "lb_lease.h"

#include <assert.h>

enum { KIT_ROOM = 8 };

static const lb_ns SEC = LB_NS_PER_S;
static const lb_ns MIN = 60 * LB_NS_PER_S;

/* `in`, `out` in micro-USD a token, that is USD a million tokens. */
static inline lb_price
kit_price(double in, double out)
{
    lb_price price;
    lb_price_init(&price);
    price.pico[LB_INPUT] = (int64_t)(in * 1e6);
    price.pico[LB_OUTPUT] = (int64_t)(out * 1e6);
    enum lb_status st = lb_price_complete(&price, NULL);
    assert(st == LB_OK);
    (void)st;
    return price;
}

/* Change backend `i` to that price. */
static inline void
kit_reprice(lb_pool *p, uint32_t i, double in, double out)
{
    lb_price price = kit_price(in, out);
    (void)lb_pool_set_price(p, i, &price);
}

static inline int
kit_add(lb_pool *p, double in, double out, float weight)
{
    lb_price price = kit_price(in, out);
    lb_breaker_rules rules;
    lb_breaker_default(&rules);
    lb_terms terms = {.id = p->used.backends + UINT64_C(1000), .weight = weight};
    return lb_pool_add_backend(p, &terms, &price, &rules);
}

static inline lb_pool *
kit_pool(uint32_t n)
{
    lb_pool_size size = {.backends = n + KIT_ROOM,
                         .limits = 4 * n + KIT_ROOM,
                         .budgets = KIT_ROOM,
                         .groups = KIT_ROOM,
                         .members = 8 * n + 4 * KIT_ROOM,
                         .sessions = 64};
    lb_pool *p = lb_pool_new(&size, 1);
    assert(p != NULL);
    for (uint32_t i = 0; i < n; i++)
        (void)kit_add(p, 2.5, 10, 1);
    return p;
}

/* All backends there are, up to 300. */
static inline int
kit_group(lb_pool *p, enum lb_strategy strategy)
{
    uint32_t members[300];
    assert(p->used.backends <= 300);
    for (uint32_t i = 0; i < p->used.backends; i++)
        members[i] = i;
    return lb_pool_add_group(p, strategy, -1, members, p->used.backends);
}

static inline lb_ask
kit_ask(int group, int64_t tokens)
{
    lb_ask ask;
    lb_ask_init(&ask, (uint32_t)group);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        ask.tokens[f] = tokens;
    ask.chars = 4 * tokens;
    ask.messages = 1;
    return ask;
}

/* What the gates say of backend `i`. */
static inline lb_quote
kit_quote(lb_pool *p, uint32_t i, const lb_ask *ask, lb_ns now)
{
    lb_outlook o;
    lb_quote q;
    lb_outlook_init(p, ask, &o, now);
    lb_gate(p, i, ask, &o, &q);
    return q;
}

/* An answer of so many billed tokens after so many seconds. */
static inline lb_result
kit_done(int64_t input, int64_t output, double ttft, double seconds)
{
    lb_result r;
    lb_result_init(&r);
    r.outcome = LB_DONE;
    r.sent = r.metered = true;
    r.usage.count[LB_INPUT] = input;
    r.usage.count[LB_OUTPUT] = output;
    r.ttft = ttft;
    r.seconds = seconds;
    return r;
}

static inline lb_result
kit_ended(enum lb_outcome outcome)
{
    lb_result r;
    lb_result_init(&r);
    r.outcome = outcome;
    r.sent = true;
    return r;
}

#endif /* POOL_KIT_H */

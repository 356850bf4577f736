#include "lb_pool.h"

#include <stddef.h>

const char *
lb_terms_flaw(const lb_terms *t)
{
    if (t->context < 0)
        return "context must be 0 to 2147483647 tokens";
    if (t->max_output < 0)
        return "max_output must be 0 to 2147483647 tokens";
    if (t->max_calls < 0)
        return "max_calls must be 0 to 2147483647";
    if (!(t->weight >= 0 && t->weight <= 1e6F) || (t->weight > 0 && t->weight < 1e-6F))
        return "weight must be 0, or 0.000001 to 1000000";
    if (t->family >= LB_TOK_NFAMILIES)
        return "family must be 0 to 5";
    return t->cache_life < 0 ? "cache_life must be 0 to 9e9 seconds" : NULL;
}

_Static_assert(LB_TOK_NFAMILIES == 6, "the message above says so");

static void
take_terms(lb_backend *b, const lb_terms *terms)
{
    b->terms = *terms;
    b->per_call = terms->max_calls > 0 ? 1.0F / (float)terms->max_calls : 0;
}

int
lb_pool_add_backend(lb_pool *p, const lb_terms *terms, const lb_price *price,
                    const lb_breaker_rules *rules)
{
    if (lb_terms_flaw(terms) != NULL || lb_breaker_check(rules) != LB_OK)
        return LB_EINVAL;
    if (p->used.backends == p->size.backends)
        return LB_EFULL;
    uint32_t i = p->used.backends++;
    lb_backend *b = lb_pool_backend(p, i);
    take_terms(b, terms);
    b->account = (uint16_t)i;
    b->ratio = 1;
    (void)lb_pool_set_price(p, i, price);
    (void)lb_pool_set_rules(p, i, rules);
    return (int)i;
}

int
lb_pool_add_group(lb_pool *p, enum lb_strategy strategy, double value,
                  const uint32_t *members, uint32_t n)
{
    if ((unsigned)strategy >= LB_NSTRATEGIES)
        return LB_EINVAL;
    if (p->used.groups == p->size.groups)
        return LB_EFULL;
    uint32_t i = p->used.groups++;
    lb_group *g = lb_pool_group(p, i);
    g->strategy = (uint8_t)strategy;
    g->value = value;
    g->prior = (lb_latency_prior){.ttft = 0.5F, .itl = 0.02F};
    enum lb_status st = lb_pool_set_members(p, i, members, n);
    if (st == LB_OK)
        return (int)i;
    p->used.groups--;
    return st;
}

/* Are all indices those of backends, each there once, and their shares there? */
static bool
members_ok(const lb_pool *p, const uint32_t *members, uint32_t n)
{
    uint64_t seen[LB_NAMES_MAX / 64 + 1] = {0};
    uint32_t shares = 0;
    if (n > p->used.backends)
        return false;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = members[k];
        if (i >= p->used.backends || (seen[i / 64] >> i % 64 & 1) != 0)
            return false;
        seen[i / 64] |= UINT64_C(1) << i % 64;
        shares += lb_pool_backend(p, i)->min_share;
    }
    return shares <= LB_SHARES;
}

static void
look_at_members(const lb_pool *p, lb_group *g)
{
    const uint32_t *members = lb_pool_members(p, g);
    g->mixed = g->shared = 0;
    for (uint32_t k = 0; k < g->count; k++) {
        const lb_backend *b = lb_pool_backend(p, members[k]);
        g->mixed |= b->terms.order != lb_pool_backend(p, members[0])->terms.order;
        g->shared |= b->min_share > 0;
    }
}

enum lb_status
lb_pool_set_members(lb_pool *p, uint32_t group, const uint32_t *members, uint32_t n)
{
    if (group >= p->used.groups || !members_ok(p, members, n))
        return LB_EINVAL;
    lb_group *g = lb_pool_group(p, group);
    if (n > g->room) { /* a longer list moves to the end of the table */
        if (n > p->size.members - p->used.members)
            return LB_EFULL;
        g->first = p->used.members;
        g->room = n;
        p->used.members += n;
    }
    g->count = n;
    for (uint32_t k = 0; k < n; k++) {
        lb_pool_members(p, g)[k] = members[k];
        lb_pool_smooth(p, g)[k] = 0;
        lb_pool_credit(p, g)[k] = 0;
    }
    look_at_members(p, g);
    return LB_OK;
}

/* What `weighted` owes counts in the weights of then: in others it would be a run of
 * calls to one member. */
static void
forget_turns(lb_pool *p, const lb_group *g, uint32_t backend)
{
    bool member = false;
    for (uint32_t k = 0; k < g->count; k++)
        member |= lb_pool_members(p, g)[k] == backend;
    for (uint32_t k = 0; member && k < g->count; k++)
        lb_pool_smooth(p, g)[k] = 0;
}

enum lb_status
lb_pool_set_terms(lb_pool *p, uint32_t backend, const lb_terms *terms)
{
    if (backend >= p->used.backends || lb_terms_flaw(terms) != NULL)
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    bool moved = b->terms.order != terms->order;
    bool weighs = b->terms.weight != terms->weight;
    take_terms(b, terms);
    for (uint32_t g = 0; weighs && g < p->used.groups; g++)
        forget_turns(p, lb_pool_group(p, g), backend);
    for (uint32_t g = 0; moved && g < p->used.groups; g++)
        look_at_members(p, lb_pool_group(p, g));
    return LB_OK;
}

enum lb_status
lb_pool_set_share(lb_pool *p, uint32_t backend, double min_share)
{
    if (backend >= p->used.backends || !(min_share >= 0 && min_share <= 1))
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    uint16_t before = b->min_share;
    b->min_share = (uint16_t)(min_share * LB_SHARES + 0.5);
    for (uint32_t g = 0; b->min_share != before && g < p->used.groups; g++)
        look_at_members(p, lb_pool_group(p, g));
    return LB_OK;
}

/* Steps of `unit` in `seconds`, at least one of what is more than 0. */
static uint16_t
steps(double seconds, double unit)
{
    double n = seconds / unit + 0.5;
    if (seconds > 0 && n < 1)
        n = 1;
    return (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX);
}

enum lb_status
lb_pool_set_usual(lb_pool *p, uint32_t backend, double ttft, double itl)
{
    if (backend >= p->used.backends || !(ttft >= 0) || !(itl >= 0))
        return LB_EINVAL;
    lb_pool_backend(p, backend)->usual_ttft = steps(ttft, 0.002);
    lb_pool_backend(p, backend)->usual_itl = steps(itl, 0.00002);
    return LB_OK;
}

lb_latency_prior
lb_pool_prior(const lb_backend *b, lb_latency_prior group)
{
    if (b->usual_ttft != 0)
        group.ttft = 0.002F * (float)b->usual_ttft;
    if (b->usual_itl != 0)
        group.itl = 0.00002F * (float)b->usual_itl;
    return group;
}

static lb_fare
fare_of(const lb_price *price)
{
    const int64_t *pico = price->pico;
    bool plain = !price->marginal && price->uplift_ppm == 0 && pico[LB_REQUESTS] <= 0 &&
                 pico[LB_INPUT] >= 0 && pico[LB_OUTPUT] >= 0;
    lb_fare fare = {.flat = plain ? INT32_MAX : -1,
                    .in = (int32_t)pico[LB_INPUT],
                    .out = (int32_t)pico[LB_OUTPUT],
                    .write = (int32_t)lb_max(pico[LB_INPUT], pico[LB_CACHE_WRITE])};
    if (plain && price->ntiers > 0)
        fare.flat = (int32_t)lb_min(price->tier[0].above - 1, INT32_MAX);
    return fare;
}

enum lb_status
lb_pool_set_price(lb_pool *p, uint32_t backend, const lb_price *price)
{
    if (backend >= p->used.backends)
        return LB_EINVAL;
    lb_pool_record(p, backend)->price = *price;
    lb_pool_backend(p, backend)->fare = fare_of(price);
    return LB_OK;
}

enum lb_status
lb_pool_set_rules(lb_pool *p, uint32_t backend, const lb_breaker_rules *rules)
{
    if (backend >= p->used.backends || lb_breaker_check(rules) != LB_OK)
        return LB_EINVAL;
    lb_record *r = lb_pool_record(p, backend);
    r->rules = *rules;
    r->window = rules->window;
    return LB_OK;
}

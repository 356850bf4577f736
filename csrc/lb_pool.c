#include "lb_pool.h"

#include <stdlib.h>
#include <string.h>

/* Place a table of n records behind what is there, on a cache line. */
static uint64_t
place(uint64_t *end, uint64_t n, uint64_t record)
{
    uint64_t at = (*end + 63) & ~UINT64_C(63);
    *end = at + n * record;
    return at;
}

static void
lay_out(lb_pool *p, const lb_pool_size *size)
{
    uint64_t end = sizeof *p;
    p->size = *size;
    p->backends = place(&end, size->backends, sizeof(lb_backend));
    p->records = place(&end, size->backends, sizeof(lb_record));
    p->limits = place(&end, size->limits, sizeof(lb_limit));
    p->budgets = place(&end, size->budgets, sizeof(lb_budget));
    p->groups = place(&end, size->groups, sizeof(lb_group));
    p->members = place(&end, size->members, sizeof(uint32_t));
    p->smooth = place(&end, size->members, sizeof(double));
    p->sessions = place(&end, size->sessions, sizeof(lb_session));
    p->quotes = place(&end, size->backends, sizeof(lb_quote));
    p->bytes = (end + 63) & ~UINT64_C(63);
}

static bool
sane(const lb_pool_size *s)
{
    return s->backends > 0 && s->backends <= LB_NAMES_MAX &&
           s->limits <= LB_NAMES_MAX && s->budgets <= LB_NAMES_MAX &&
           s->groups <= LB_NAMES_MAX && (s->sessions & (s->sessions - 1)) == 0;
}

lb_pool *
lb_pool_new(const lb_pool_size *size, uint64_t seed)
{
    lb_pool head;
    if (!sane(size))
        return NULL;
    memset(&head, 0, sizeof head);
    lay_out(&head, size);
    lb_pool *p = aligned_alloc(64, head.bytes);
    if (p == NULL)
        return NULL;
    memset(p, 0, head.bytes);
    *p = head;
    p->rng.state = seed;
    p->shift = 0.80;
    p->stop = 0.95;
    p->ceiling = 1.0;
    p->horizon = 10 * LB_NS_PER_S;
    return p;
}

void
lb_pool_free(lb_pool *p)
{
    free(p);
}

static bool
terms_ok(const lb_terms *t)
{
    return t->context >= 0 && t->max_output >= 0 && t->max_calls >= 0 &&
           t->weight >= 0 && t->weight <= 1e6F && t->family < LB_TOK_NFAMILIES &&
           t->cache_life >= 0;
}

int
lb_pool_add_backend(lb_pool *p, const lb_terms *terms, const lb_price *price,
                    const lb_breaker_rules *rules)
{
    if (!terms_ok(terms) || lb_breaker_check(rules) != LB_OK)
        return LB_EINVAL;
    if (p->used.backends == p->size.backends)
        return LB_EFULL;
    uint32_t i = p->used.backends++;
    lb_backend *b = lb_pool_backend(p, i);
    lb_record *r = lb_pool_record(p, i);
    b->terms = *terms;
    b->ratio = 1;
    r->price = *price;
    r->rules = *rules;
    return (int)i;
}

int
lb_pool_add_limit(lb_pool *p, uint32_t backend, enum lb_unit unit,
                  enum lb_charge charge, int64_t limit, lb_ns window, int64_t burst)
{
    lb_rate rate;
    if (backend >= p->used.backends || lb_rate_init(&rate, limit, window, burst))
        return LB_EINVAL;
    if (p->used.limits == p->size.limits)
        return LB_EFULL;
    if (lb_pool_backend(p, backend)->nlimits == LB_LIMITS)
        return LB_EFULL;
    uint32_t i = p->used.limits++;
    lb_limit *l = lb_pool_limit(p, i);
    l->rate = rate;
    l->unit = (uint8_t)unit;
    l->charge = (uint8_t)charge;
    (void)lb_pool_share_limit(p, backend, i);
    return (int)i;
}

enum lb_status
lb_pool_share_limit(lb_pool *p, uint32_t backend, uint32_t limit)
{
    if (backend >= p->used.backends || limit >= p->used.limits)
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    if (b->nlimits == LB_LIMITS)
        return LB_EFULL;
    b->limit[b->nlimits++] = (uint16_t)limit;
    return LB_OK;
}

int
lb_pool_add_budget(lb_pool *p, enum lb_budget_kind kind, bool hard, int64_t cap,
                   lb_ns period, lb_ns ends, lb_ns now)
{
    if (p->used.budgets == p->size.budgets)
        return LB_EFULL;
    uint32_t i = p->used.budgets;
    enum lb_status st =
        lb_budget_init(lb_pool_budget(p, i), kind, hard, cap, period, ends, now);
    if (st != LB_OK)
        return st;
    p->used.budgets++;
    return (int)i;
}

static enum lb_status
attach(const lb_pool *p, uint16_t *list, uint8_t *n, uint32_t budget)
{
    if (budget >= p->used.budgets)
        return LB_EINVAL;
    if (*n == LB_BUDGETS)
        return LB_EFULL;
    list[(*n)++] = (uint16_t)budget;
    return LB_OK;
}

enum lb_status
lb_pool_charge_all(lb_pool *p, uint32_t budget)
{
    return attach(p, p->budget, &p->nbudgets, budget);
}

enum lb_status
lb_pool_charge_group(lb_pool *p, uint32_t group, uint32_t budget)
{
    if (group >= p->used.groups)
        return LB_EINVAL;
    lb_group *g = lb_pool_group(p, group);
    return attach(p, g->budget, &g->nbudgets, budget);
}

enum lb_status
lb_pool_charge_backend(lb_pool *p, uint32_t backend, uint32_t budget)
{
    if (backend >= p->used.backends)
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    return attach(p, b->budget, &b->nbudgets, budget);
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

enum lb_status
lb_pool_set_members(lb_pool *p, uint32_t group, const uint32_t *members, uint32_t n)
{
    if (group >= p->used.groups || n > p->size.backends)
        return LB_EINVAL;
    for (uint32_t k = 0; k < n; k++)
        if (members[k] >= p->used.backends)
            return LB_EINVAL;
    lb_group *g = lb_pool_group(p, group);
    if (n > g->count) { /* a longer list moves to the end of the table */
        if (n > p->size.members - p->used.members)
            return LB_EFULL;
        g->first = p->used.members;
        p->used.members += n;
    }
    g->count = n;
    for (uint32_t k = 0; k < n; k++) {
        lb_pool_members(p, g)[k] = members[k];
        lb_pool_smooth(p, g)[k] = 0;
    }
    return LB_OK;
}

enum lb_status
lb_pool_set_terms(lb_pool *p, uint32_t backend, const lb_terms *terms)
{
    if (backend >= p->used.backends || !terms_ok(terms))
        return LB_EINVAL;
    lb_pool_backend(p, backend)->terms = *terms;
    return LB_OK;
}

int
lb_pool_size_class(int64_t tokens)
{
    int k = 0;
    while (tokens > 1 && k < LB_SIZES - 1) {
        tokens >>= 1;
        k++;
    }
    return k;
}

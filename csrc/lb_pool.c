#include "lb_pool.h"

#include <stdlib.h>
#include <string.h>

static const float FAMILY_WEIGHT = 0.1F; /* of a backend's ratio in its family's */
static const float PACE_SECONDS = 10;    /* memory of a limit's pace */
static const float LEAST_RENT = 1e-3F;   /* below, it begins anew: no long way back */

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
    p->credit = place(&end, size->members, sizeof(int32_t));
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
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        p->ratio[f] = 1;
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

/* Hyperbolic memory: no exponential where it is charged, and calls that come
 * less often than it lasts are not forgotten at once. */
float
lb_limit_pace(const lb_limit *l, lb_ns now)
{
    float age = (float)lb_max(now - l->paced, 0) * 1e-9F;
    return l->pace * (PACE_SECONDS / (PACE_SECONDS + age));
}

static __attribute__((noinline)) void
move_rent(lb_limit *l, lb_ns now)
{
    float since = (float)lb_max(now - l->paced, 0) * l->per_ns;
    float used = lb_limit_used(l, now);
    float rent = lb_rent_move(l->rent, used < 1 ? used : 1, since);
    l->rent = rent > LEAST_RENT ? rent : 0;
}

void
lb_limit_charge(lb_limit *l, int64_t units, lb_ns now)
{
    if (units > 0) {
        if (l->rent > 0)
            move_rent(l, now);
        l->pace = lb_limit_pace(l, now) + (float)units / PACE_SECONDS;
        l->paced = now;
    }
    if (units != 0)
        lb_rate_charge(&l->rate, units, now);
}

void
lb_limit_charge_captive(lb_limit *l, int64_t units, lb_ns now)
{
    float rent = l->rent;
    lb_limit_charge(l, units, now);
    l->rent = l->rent < rent ? l->rent : rent;
}

void
lb_limit_tuned(lb_limit *l)
{
    double burst = (double)l->rate.burst * l->working / LB_WHOLE;
    l->per_unit = (float)(1.0 / burst);
    l->per_ns = (float)(4096.0 / (burst * (double)l->rate.unit_q12));
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
    l->working = LB_WHOLE;
    lb_limit_tuned(l);
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

enum lb_status
lb_pool_share_calls(lb_pool *p, uint32_t backend, uint32_t with)
{
    if (backend >= p->used.backends || with >= p->used.backends)
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    if (b->held != 0 || b->latency.calls != 0)
        return LB_EINVAL;
    uint16_t account = lb_pool_backend(p, with)->account;
    for (uint32_t i = 0; i < p->used.backends; i++)
        if (lb_pool_backend(p, i)->account == backend)
            lb_pool_backend(p, i)->account = account;
    b->account = account;
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

enum lb_status
lb_pool_set_limit(lb_pool *p, uint32_t i, int64_t limit, lb_ns window, int64_t burst,
                  lb_ns now)
{
    if (i >= p->used.limits)
        return LB_EINVAL;
    lb_limit *l = lb_pool_limit(p, i);
    if (limit == 0) {
        l->rate = (lb_rate){.charged = l->rate.charged,
                            .synced = l->rate.synced,
                            .burst = INT64_MAX}; /* a forecast divides by it */
        l->per_unit = l->per_ns = 0;
        l->working = LB_WHOLE;
        return LB_OK;
    }
    bool lifted = l->rate.unit_q12 == 0;
    enum lb_status st = lb_rate_resize(&l->rate, limit, window, burst, now);
    if (st == LB_OK) {
        l->begun = lifted ? p->serial : l->begun;
        l->learned = 0;
        l->working = LB_WHOLE;
        lb_limit_tuned(l);
    }
    return st;
}

enum lb_status
lb_pool_set_budget(lb_pool *p, uint32_t i, int64_t cap, bool hard)
{
    if (i >= p->used.budgets || cap < 0)
        return LB_EINVAL;
    lb_budget *b = lb_pool_budget(p, i);
    b->cap = cap;
    b->hard = hard;
    return LB_OK;
}

void
lb_pool_learn_ratio(lb_pool *p, lb_backend *b, int64_t estimate, int64_t billed)
{
    if (b->ratio == 1.0F)
        b->ratio = p->ratio[b->terms.family];
    float own = lb_tokens_calibrate(&b->ratio, estimate, billed);
    float *family = &p->ratio[b->terms.family];
    *family += FAMILY_WEIGHT * (own - *family);
}

/* Was the session's cache there when the call left?  One that left together with it
 * came too early to find anything. */
static bool
was_there(const lb_pool *p, const lb_session *s, lb_ns sent)
{
    return s->expires - lb_pool_backend(p, s->backend)->terms.cache_life <= sent;
}

void
lb_pool_follow(lb_pool *p, lb_group *g, const lb_turn *turn, lb_ns now)
{
    lb_session *table = lb_pool_sessions(p);
    uint32_t slots = p->size.sessions;
    lb_ns life = lb_pool_backend(p, (uint32_t)turn->backend)->terms.cache_life;
    if (life == 0 || slots == 0)
        return;
    lb_reuse *own = &g->reuse[turn->size];
    float input = (float)turn->input;
    const lb_session *was = lb_affinity_find(table, slots, turn->session, now);
    if (was != NULL && was_there(p, was, turn->sent))
        lb_reuse_came(&g->reuse[was->note], (float)lb_min(was->tokens, turn->input),
                      input * lb_reuse_share(own));
    lb_reuse_sent(own, input);
    int32_t tokens = (int32_t)lb_min(turn->input + turn->output, INT32_MAX);
    lb_session *s =
        lb_affinity_bind(table, slots, turn->session, turn->backend, tokens, life, now);
    s->note = turn->size;
}

int
lb_pool_size_class(int64_t tokens)
{
    if (tokens < 2)
        return 0;
    return (int)lb_min(63 - __builtin_clzll((unsigned long long)tokens), LB_SIZES - 1);
}

#include "lb_lease.h"

#include <stddef.h>
#include <string.h>

/* Above this many members `p2c` samples two instead of looking at all. */
enum { SCAN_MOST = 16, SAMPLE_TRIES = 16 };

enum { CREDIT_MOST = 2 * LB_SHARES, CREDIT_LEAST = -LB_SHARES };

/* ---- the record ---------------------------------------------------------- */

static void
start_record(lb_decision *d)
{
    memset(d, 0, offsetof(lb_decision, line));
    d->wait = LB_FOREVER;
}

/* Returns whether it is eligible. */
static inline bool
note(lb_decision *d, const lb_quote *q)
{
    if (q->reason == LB_ELIGIBLE)
        return true;
    d->refused[q->reason]++;
    if (q->wait > 0 && q->wait < d->wait)
        d->wait = q->wait;
    return false;
}

static void
list_one(lb_candidate *line, const lb_quote *q)
{
    *line = (lb_candidate){
        .backend = (uint16_t)q->backend,
        .reason = q->reason,
        .bound = q->bound,
        .cost = (float)q->cost * 1e-9F,
        .seconds = (float)q->seconds,
        .used = q->used,
        .score = (float)q->score,
    };
}

static void
list(lb_decision *d, const lb_quote *q, int n, int best)
{
    d->listed = (uint8_t)lb_min(n, LB_CANDIDATES);
    for (int i = 0; i < d->listed; i++)
        list_one(&d->line[i], &q[i]);
    if (best >= LB_CANDIDATES)
        list_one(&d->line[LB_CANDIDATES - 1], &q[best]);
}

/* ---- the choice ---------------------------------------------------------- */

/* Only the lowest order among the eligible competes. */
static void
drop_later_orders(lb_quote *q, int n)
{
    int first = UINT8_MAX;
    for (int i = 0; i < n; i++)
        if (q[i].reason == LB_ELIGIBLE && q[i].order < first)
            first = q[i].order;
    for (int i = 0; i < n; i++)
        if (q[i].reason == LB_ELIGIBLE && q[i].order > first)
            q[i].reason = LB_NO_ORDER;
}

/* Every breaker is open: better one call to the likeliest than none at all. */
static int
desperate(const lb_pool *p, const lb_quote *q, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        const lb_backend *b = lb_pool_backend(p, (uint32_t)q[i].backend);
        if (q[i].reason == LB_NO_BREAKER && b->breaker.order == LB_AUTO &&
            (best < 0 || q[i].wait < q[best].wait))
            best = i;
    }
    return best;
}

static void
taste_of(const lb_pool *p, const lb_ask *ask, const lb_outlook *o, lb_taste *taste)
{
    taste->strategy = o->strategy;
    taste->value = ask->value >= 0 ? ask->value : lb_pool_group(p, ask->group)->value;
    taste->shift = p->shift;
    taste->stop = p->stop;
    taste->lasting = o->again > 0;
    taste->session = ask->session;
}

/* A rule that counts seconds sees in them who stalls. */
static bool
counts_seconds(const lb_taste *taste)
{
    return taste->strategy == LB_LATENCY || taste->strategy == LB_P2C ||
           (taste->strategy >= LB_COMPOSITE && taste->value >= 0);
}

/* For the others who stalls does not compete while somebody else is free. */
static void
drop_stalled(lb_quote *q, int n, const lb_taste *taste)
{
    int sound = 0, stalled = 0;
    for (int i = 0; i < n; i++) {
        sound += q[i].reason == LB_ELIGIBLE && !q[i].stalls;
        stalled += q[i].reason == LB_ELIGIBLE && q[i].stalls;
    }
    if (stalled == 0 || sound == 0 || counts_seconds(taste))
        return;
    for (int i = 0; i < n; i++)
        if (q[i].reason == LB_ELIGIBLE && q[i].stalls)
            q[i].reason = LB_NO_STALL;
}

/* Two random members that pass the gates, at q; 1 or 0 when so many tries find no
 * more.  A session always draws the same ones. */
static int
sample(lb_pool *p, const lb_group *g, const lb_ask *ask, lb_outlook *o, lb_quote *q,
       lb_decision *d)
{
    const uint32_t *members = lb_pool_members(p, g);
    lb_rng own = {ask->session}, *rng = ask->session != 0 ? &own : &p->rng;
    int n = 0;
    for (int k = 0; k < SAMPLE_TRIES && n < 2; k++) {
        uint32_t i = members[lb_rng_below(rng, g->count)];
        if (n == 1 && q[0].backend == (int32_t)i)
            continue;
        lb_gate(p, i, ask, o, &q[n]);
        d->looked++;
        n += note(d, &q[n]);
    }
    d->refused[LB_ELIGIBLE] = (uint32_t)n;
    if (n < 2)
        return n;
    double a = (double)q[0].weight, b = (double)q[1].weight;
    if (a != b && lb_rng_unit(rng) * (a + b) >= a) {
        lb_quote first = q[0];
        q[0] = q[1];
        q[1] = first;
    }
    return n;
}

/* Who is owed a whole call of its share, or -1. */
static int
owed(const lb_pool *p, const lb_quote *q, int n, int32_t *credit)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        int32_t share = lb_pool_backend(p, (uint32_t)q[i].backend)->min_share;
        if (share == 0 || q[i].reason != LB_ELIGIBLE)
            continue;
        credit[i] = (int32_t)lb_min(credit[i] + share, CREDIT_MOST);
        if (credit[i] >= LB_SHARES && (best < 0 || credit[i] > credit[best]))
            best = i;
    }
    return best;
}

static __attribute__((noinline)) void
look_beyond(const lb_pool *p, const lb_outlook *o, lb_quote *q, int n)
{
    for (int i = 0; i < n; i++)
        if (q[i].reason == LB_ELIGIBLE)
            q[i].later = lb_gate_again(p, o, &q[i]);
}

/* With the gates written out in the loop, a choice among many takes 6 % less time. */
__attribute__((flatten)) static int
scan(lb_pool *p, lb_group *g, const lb_ask *ask, lb_outlook *o, lb_quote *q,
     lb_decision *d)
{
    const uint32_t *members = lb_pool_members(p, g);
    lb_taste taste;
    int n = (int)g->count;
    unsigned stalls = 0;
    for (int i = 0; i < n; i++) {
        lb_gate(p, members[i], ask, o, &q[i]);
        stalls |= q[i].stalls;
    }
    taste_of(p, ask, o, &taste);
    if (taste.lasting)
        look_beyond(p, o, q, n);
    if (stalls != 0)
        drop_stalled(q, n, &taste);
    if (g->mixed)
        drop_later_orders(q, n);
    uint32_t eligible = 0;
    for (int i = 0; i < n; i++)
        eligible += note(d, &q[i]);
    d->looked = (uint16_t)n;
    d->refused[LB_ELIGIBLE] = eligible;
    int32_t *credit = lb_pool_credit(p, g);
    int best = g->shared ? owed(p, q, n, credit) : -1;
    d->owed = best >= 0;
    if (best < 0)
        best = lb_pick(q, n, &taste, &p->rng, &g->cursor, lb_pool_smooth(p, g));
    if (best >= 0 && g->shared)
        credit[best] = (int32_t)lb_max(credit[best] - LB_SHARES, CREDIT_LEAST);
    if (best < 0 && ask->last_resort) {
        best = desperate(p, q, n);
        d->desperate = best >= 0;
    }
    list(d, q, n, best);
    return best;
}

/* Index into the scratch quotes of the chosen one, or -1. */
static int
choose(lb_pool *p, const lb_ask *ask, lb_outlook *o, lb_decision *d)
{
    lb_group *g = lb_pool_group(p, ask->group);
    lb_quote *q = lb_pool_quotes(p);
    start_record(d);
    d->strategy = o->strategy;
    d->members = g->count;
    if (o->strategy == LB_P2C && g->count > SCAN_MOST && !g->mixed && !g->shared) {
        int n = sample(p, g, ask, o, q, d);
        int best = n == 2 ? lb_pick_two(q, 0, 1) : n - 1;
        list(d, q, n, best);
        if (best >= 0)
            return best;
        start_record(d);
        d->strategy = o->strategy;
        d->members = g->count;
    }
    return scan(p, g, ask, o, q, d);
}

/* ---- the reservation ----------------------------------------------------- */

/* A budget that is met twice is charged once. */
static void
hold(lb_pool *p, const uint16_t *list_of, int n, lb_lease *lease)
{
    for (int k = 0; k < n; k++) {
        bool known = false;
        for (int i = 0; i < lease->nbudgets; i++)
            known |= lease->budget[i] == list_of[k];
        if (known)
            continue;
        lb_budget_reserve(lb_pool_budget(p, list_of[k]), lease->hold);
        lease->budget[lease->nbudgets++] = list_of[k];
    }
}

static void
hold_all(lb_pool *p, const lb_backend *b, const lb_ask *ask, lb_lease *lease)
{
    const lb_group *g = lb_pool_group(p, ask->group);
    hold(p, p->budget, p->nbudgets, lease);
    hold(p, g->budget, g->nbudgets, lease);
    hold(p, ask->budget, ask->nbudgets, lease);
    hold(p, b->budget, b->nbudgets, lease);
}

/* What the call saves where it goes against the next cheapest; 0 or less: nothing. */
static double
saved(const lb_pool *p, const lb_ask *ask, const lb_quote *chosen)
{
    const lb_quote *q = lb_pool_quotes(p);
    uint32_t n = lb_pool_group(p, ask->group)->count;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (&q[i] != chosen && q[i].reason == LB_ELIGIBLE && q[i].cost < least)
            least = q[i].cost;
    return least < INT64_MAX ? (double)(least - chosen->cost) : 0;
}

/* The rent is more than the call could save, even against the dearest: it is here
 * because all others are busy or its rule asks for no rent.  A price that rises by such
 * calls diverts nobody, and would have to fall as far when they are over. */
static bool
is_captive(const lb_pool *p, const lb_ask *ask, const lb_outlook *o,
           const lb_quote *chosen)
{
    if (!(chosen->rent > 0) || o->strategy < LB_COMPOSITE)
        return chosen->rent > 0;
    const lb_group *g = lb_pool_group(p, ask->group);
    const lb_quote *q = lb_pool_quotes(p);
    double value = lb_greater(ask->value >= 0 ? ask->value : g->value, 0) * 1e9;
    double own = (double)chosen->cost + value * chosen->seconds, most = own;
    for (uint32_t i = 0; i < g->count; i++)
        if (q[i].cost != LB_UNKNOWN)
            most = lb_greater(most, (double)q[i].cost + value * q[i].seconds);
    return (double)chosen->rent > most - own;
}

/* Scarce for the first time: from now on it has a price.  These rules look at all of
 * a group, so that all quotes are there. */
static void
begin_rent(const lb_pool *p, const lb_ask *ask, const lb_outlook *o, const lb_quote *q,
           const lb_figures *f, lb_limit *l)
{
    double units = (double)f->use[l->unit];
    if (o->strategy >= LB_COMPOSITE && l->rent == 0 &&
        lb_limit_used(l, o->now) > LB_RENT_SCARCE)
        l->rent = lb_rent_begin(saved(p, ask, q), units);
}

static void
reserve(lb_pool *p, const lb_ask *ask, lb_outlook *o, const lb_quote *q,
        lb_lease *lease)
{
    uint32_t i = (uint32_t)q->backend;
    lb_backend *b = lb_pool_backend(p, i);
    lb_figures own;
    lease->live = true;
    lease->nbudgets = 0;
    lease->nlimits = b->nlimits;
    lease->size = o->size;
    lease->backend = q->backend;
    lease->group = ask->group;
    lease->serial = ++p->serial;
    lease->started = o->now;
    lease->session = ask->session;
    lease->estimate = ask->tokens[b->terms.family];
    const lb_figures *f = lb_gate_figures(p, ask, o, b, &own);
    lease->load = f->load;
    lease->expected = f->expected;
    lease->ahead = lease->expected;
    lease->cost = q->cost;
    lease->seconds = q->seconds;
    lease->hold = q->hold;
    lease->captive = is_captive(p, ask, o, q);
    for (int k = 0; k < b->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        begin_rent(p, ask, o, q, f, l);
        int64_t units = lb_gate_units(l, &lease->load);
        if (lease->captive)
            lb_limit_charge_captive(l, units, o->now);
        else
            lb_limit_charge(l, units, o->now);
        lease->mark[k] = l->rate.charged;
    }
    if (o->metered || b->nbudgets > 0)
        hold_all(p, b, ask, lease);
    lease->area = lb_latency_area(&b->latency, o->now);
    lb_latency_start(&b->latency, lease->ahead, o->now);
    *lb_pool_held(p, b) += 1;
    p->calls++;
    lease->generation =
        lb_breaker_enter(&b->breaker, &lb_pool_record(p, i)->rules, o->now);
    lease->decision.probe = b->breaker.state == LB_HALF_OPEN;
}

int
lb_lease_pick(lb_pool *p, const lb_ask *ask, lb_lease *lease, lb_ns now)
{
    lb_outlook o;
    lease->live = false;
    p->latest = lb_max(p->latest, now);
    lb_outlook_init(p, ask, &o, now);
    int best = choose(p, ask, &o, &lease->decision);
    if (best < 0)
        return LB_NOTHING;
    lease->decision.wait = 0;
    const lb_quote *q = &lb_pool_quotes(p)[best];
    reserve(p, ask, &o, q, lease);
    return q->backend;
}

int
lb_lease_explain(lb_pool *p, const lb_ask *ask, lb_quote *out, int max, lb_ns now)
{
    lb_outlook o;
    const lb_group *g = lb_pool_group(p, ask->group);
    const uint32_t *members = lb_pool_members(p, g);
    int n = (int)lb_min(g->count, max);
    lb_outlook_init(p, ask, &o, now);
    for (int i = 0; i < n; i++) {
        lb_breaker *b = &lb_pool_backend(p, members[i])->breaker;
        lb_breaker before = *b; /* asking must not count as wanting in */
        lb_gate(p, members[i], ask, &o, &out[i]);
        *b = before;
    }
    lb_taste taste;
    taste_of(p, ask, &o, &taste);
    drop_stalled(out, n, &taste);
    drop_later_orders(out, n);
    return n;
}

#include "lb_gate.h"

#include <stddef.h>

enum { SOON = 1 }; /* ns: when a call in flight ends */

static const char *const names[LB_NREASONS] = {
    "eligible", "tag",    "ability",  "context",     "quality", "tried",
    "drained",  "price",  "max_cost", "max_latency", "burst",   "concurrency",
    "rate",     "budget", "breaker",  "order",       "stalled",
};

const char *
lb_reason_name(int reason)
{
    return reason >= 0 && reason < LB_NREASONS ? names[reason] : NULL;
}

/* What the request or the configuration rules out for good. */
static __attribute__((noinline)) enum lb_reason
fixed_gates(const lb_terms *t, uint32_t i, const lb_ask *ask, int64_t input)
{
    if ((ask->tags & ~t->tags) != 0 &&
        ((ask->tags & LB_ANY_TAG) == 0 || (ask->tags & t->tags) == 0))
        return LB_NO_TAG;
    if ((ask->needs & ~t->can) != 0)
        return LB_NO_ABILITY;
    if (t->context > 0 && input >= t->context)
        return LB_NO_CONTEXT;
    if (t->quality < ask->quality)
        return LB_NO_QUALITY;
    for (int k = 0; k < ask->ntried; k++)
        if (ask->tried[k] == i)
            return LB_NO_RETRY;
    return t->weight > 0 ? LB_ELIGIBLE : LB_NO_WEIGHT;
}

/* May fixed_gates refuse?  An unknown context, 0, becomes the largest. */
static inline bool
is_doubtful(const lb_terms *t, const lb_outlook *o, int64_t input)
{
    return o->picky || input > (int64_t)(uint32_t)(t->context - 1) || !(t->weight > 0);
}

/* The cost where the fare does not reach or a part of the prompt is cached. */
static __attribute__((noinline)) int64_t
cost_of(const lb_pool *p, uint32_t i, int64_t input, int64_t cached, int64_t output)
{
    return lb_price_estimate(&lb_pool_record(p, i)->price, input, cached, output);
}

/* What the call allows; max_cost counts the longest answer. */
static enum lb_reason
cap_gates(const lb_pool *p, const lb_ask *ask, const lb_load *load, int64_t cached,
          const lb_quote *q)
{
    if (q->cost == LB_UNKNOWN)
        return LB_NO_PRICE;
    if (ask->max_cost != INT64_MAX && cost_of(p, (uint32_t)q->backend, load->input,
                                              cached, load->most) > ask->max_cost)
        return LB_NO_COST;
    if (ask->max_latency != LB_FOREVER && q->seconds * 1e9 > (double)ask->max_latency)
        return LB_NO_LATENCY;
    return LB_ELIGIBLE;
}

/* The first gate that is shut gives the reason, the slowest to open the wait. */
static void
shut(lb_quote *q, enum lb_reason why, lb_ns wait)
{
    if (q->reason == LB_ELIGIBLE)
        q->reason = (uint8_t)why;
    q->wait = lb_max(q->wait, wait);
}

/* How full a limit will be at the horizon if the pace of late goes on. */
static float
ahead(const lb_limit *l, float used, lb_ns horizon, lb_ns now)
{
    float units = lb_limit_pace(l, now) * ((float)horizon * 1e-9F);
    float back = (float)horizon * l->per_ns;
    float later = used + units * l->per_unit - back;
    return later > used ? later : used;
}

/* The share of the fullest limit, *with this call in it that of the one that will be
 * nearest to its end, and what all of them are worth to others. */
static inline float
fullest(const lb_pool *p, const lb_backend *b, const lb_outlook *o, const lb_figures *f,
        int32_t held, float *with, float *rent)
{
    float most = (float)held * b->per_call;
    *with = *rent = 0;
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        float used = lb_limit_used(l, o->now);
        float then = used + f->units[l->unit] * l->per_unit;
        *with = then > *with ? then : *with;
        if (o->forecast)
            used = ahead(l, used, p->horizon, o->now);
        *rent += f->use[l->unit] * l->rent * used;
        most = used > most ? used : most;
    }
    return most;
}

static void
rate_gate(const lb_pool *p, const lb_backend *b, const lb_outlook *o,
          const lb_load *load, lb_quote *q)
{
    lb_ns wait = lb_max(b->not_before - o->now, 0);
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t units = lb_gate_units(l, load);
        double share =
            l->working < LB_WHOLE ? o->share * l->working / LB_WHOLE : o->share;
        wait = lb_max(wait, lb_rate_wait(&l->rate, units, share, o->now));
    }
    if (wait > 0)
        shut(q, wait == LB_FOREVER ? LB_NO_BURST : LB_NO_RATE, wait);
}

static lb_ns
budgets_wait(lb_pool *p, const uint16_t *list, int n, int64_t hold, lb_ns now)
{
    lb_ns wait = 0;
    for (int k = 0; k < n; k++) {
        lb_budget *b = lb_pool_budget(p, list[k]);
        if (hold <= lb_budget_free(b, now))
            continue;
        bool promised = hold <= b->cap - b->spent; /* to calls that may end sooner */
        wait = lb_max(wait, promised ? SOON : lb_budget_wait(b, hold, now));
    }
    return wait;
}

static void
budget_gate(lb_pool *p, const lb_backend *b, const lb_ask *ask, const lb_outlook *o,
            lb_quote *q)
{
    lb_ns wait = budgets_wait(p, b->budget, b->nbudgets, q->hold, o->now);
    if (q->hold > o->room) {
        const lb_group *g = lb_pool_group(p, ask->group);
        wait = lb_max(wait, budgets_wait(p, p->budget, p->nbudgets, q->hold, o->now));
        wait = lb_max(wait, budgets_wait(p, g->budget, g->nbudgets, q->hold, o->now));
        wait =
            lb_max(wait, budgets_wait(p, ask->budget, ask->nbudgets, q->hold, o->now));
    }
    if (wait > 0)
        shut(q, LB_NO_BUDGET, wait);
}

/* Who is refused anyhow does not want in: a half-open breaker must not count it. */
static void
breaker_gate(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now, lb_quote *q)
{
    if (q->reason != LB_ELIGIBLE && lb_breaker_at(b, rules, now) != LB_OPEN)
        return;
    lb_ns wait = lb_breaker_wait(b, rules, now);
    if (wait != 0)
        shut(q, LB_NO_BREAKER, wait);
    if (b->state == LB_RAMP) {
        q->ease = (float)lb_breaker_share(b, now);
        q->weight *= q->ease;
    }
}

/* One by one, what the call allows and what time opens. */
static __attribute__((noinline)) void
ask_gates(lb_pool *p, const lb_ask *ask, const lb_outlook *o, const lb_load *load,
          int64_t cached, lb_quote *q)
{
    uint32_t i = (uint32_t)q->backend;
    lb_backend *b = lb_pool_backend(p, i);
    q->reason = (uint8_t)cap_gates(p, ask, load, cached, q);
    if (q->reason != LB_ELIGIBLE)
        return;
    if (b->terms.max_calls > 0 && *lb_pool_held(p, b) >= b->terms.max_calls)
        shut(q, LB_NO_CONCURRENCY, SOON);
    rate_gate(p, b, o, load, q);
    if (q->hold == LB_UNKNOWN)
        shut(q, LB_NO_PRICE, 0);
    else
        budget_gate(p, b, ask, o, q);
    breaker_gate(&b->breaker, &lb_pool_record(p, i)->rules, o->now, q);
}

/* What the call would take here, into the quote; returns what it holds. */
static inline int64_t
price(lb_pool *p, uint32_t i, const lb_backend *b, const lb_outlook *o,
      const lb_figures *f, int64_t cached, lb_quote *q)
{
    bool metered = o->metered || b->nbudgets > 0, plain = f->reach <= b->fare.flat;
    int64_t input = f->load.input, cost, hold = 0;
    lb_latency_prior prior = o->prior;
    if ((b->usual_ttft | b->usual_itl) != 0)
        prior = lb_pool_prior(b, prior);
    bool stalls;
    double seconds = lb_latency_expect(&b->latency, &prior, input - cached, f->expected,
                                       o->now, &stalls);
    if (o->forecast)
        seconds *= 1 + lb_latency_slowing(&b->latency, o->now);
    if (plain && cached == 0)
        cost = lb_fare_cost(&b->fare, b->fare.in, input, f->expected);
    else
        cost = cost_of(p, i, input, cached, f->expected);
    if (metered && plain)
        hold = lb_fare_cost(&b->fare, b->fare.write, f->padded, f->load.most);
    else if (metered)
        hold = lb_gate_hold(p, i, input, f->load.most);
    q->seconds = seconds;
    q->stalls = stalls;
    q->cost = cost;
    q->hold = hold;
    return hold;
}

/* Nothing but who it is: what is refused for good is not looked at any more. */
static __attribute__((noinline)) void
refuse(enum lb_reason why, lb_quote *q)
{
    q->reason = (uint8_t)why;
    q->used = q->rent = 0;
    q->stalls = 0;
    q->seconds = 0;
    q->cost = LB_UNKNOWN;
    q->hold = 0;
}

/* Everything is said in one pass over what a choice reads of a backend; only where
 * a gate is, or may be, shut are they asked one by one. */
void
lb_gate(lb_pool *p, uint32_t i, const lb_ask *ask, lb_outlook *o, lb_quote *q)
{
    lb_backend *b = lb_pool_backend(p, i);
    lb_figures own;
    const lb_figures *f = lb_gate_figures(p, ask, o, b, &own);
    bool bound = o->bound == (int32_t)i;
    /* One by one: zeroing it first, as an initializer does, takes longer. */
    q->backend = (int32_t)i;
    q->reason = LB_ELIGIBLE;
    q->order = b->terms.order;
    q->bound = bound;
    q->full = 0;
    q->calls = b->latency.calls;
    q->weight = b->terms.weight;
    q->ease = 1;
    q->fail = b->fail;
    q->score = 0;
    q->wait = 0;
    q->input = f->load.input;
    q->id = b->terms.id;
    if (is_doubtful(&b->terms, o, f->load.input)) {
        enum lb_reason why = fixed_gates(&b->terms, i, ask, f->load.input);
        if (why != LB_ELIGIBLE) {
            refuse(why, q);
            return;
        }
    }
    int64_t cached = bound ? lb_min(o->cached, f->load.input) : 0;
    int64_t hold = price(p, i, b, o, f, cached, q);
    float with;
    int32_t held = *lb_pool_held(p, b);
    q->used = fullest(p, b, o, f, held, &with, &q->rent);
    bool busy = (uint32_t)held > (uint32_t)(b->terms.max_calls - 1);
    bool unwell = (b->breaker.order | b->breaker.state) != 0;
    bool unknown = (q->cost | hold) < 0;
    if (with > o->clear || b->not_before > o->now || hold > o->room || busy || unwell ||
        unknown || b->nbudgets > 0)
        ask_gates(p, ask, o, &f->load, cached, q);
}

float
lb_gate_again(const lb_pool *p, const lb_outlook *o, const lb_quote *q)
{
    const lb_backend *b = lb_pool_backend(p, (uint32_t)q->backend);
    int64_t cached = b->terms.cache_life > 0 ? q->input : 0;
    int64_t cost = cost_of(p, (uint32_t)q->backend, q->input, cached, 0);
    float rent = 0;
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        if (l->unit == LB_PER_TOKEN || l->unit == LB_PER_INPUT)
            rent += l->rent * lb_limit_used(l, o->now);
    }
    return o->again * ((float)lb_max(cost, 0) + (float)q->input * rent);
}

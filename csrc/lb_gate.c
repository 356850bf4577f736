#include "lb_gate.h"

#include <stddef.h>
#include <string.h>

/* Until a group has answers to learn from. */
enum { FIRST_EXPECTED = 256, FIRST_RESERVE = 1024 };

static const double SURELY = 0.999; /* beyond all rounding of a share */

enum { SOON = 1 }; /* ns: when a call in flight ends */

static const char *const names[LB_NREASONS] = {
    "eligible", "tag",    "ability",  "context",     "quality", "tried",
    "drained",  "price",  "max_cost", "max_latency", "burst",   "concurrency",
    "rate",     "budget", "breaker",  "order",
};

const char *
lb_reason_name(int reason)
{
    return reason >= 0 && reason < LB_NREASONS ? names[reason] : NULL;
}

void
lb_ask_init(lb_ask *ask, uint32_t group)
{
    memset(ask, 0, sizeof *ask);
    ask->group = group;
    ask->max_cost = INT64_MAX;
    ask->max_latency = LB_FOREVER;
    ask->value = -1;
    ask->strategy = -1;
}

static void
look_at_budgets(lb_pool *p, const uint16_t *list, int n, lb_outlook *o)
{
    for (int k = 0; k < n; k++)
        o->room = lb_min(o->room, lb_budget_free(lb_pool_budget(p, list[k]), o->now));
    o->metered |= n > 0;
}

/* Who holds the session's prompt cache, and how much of it. */
static void
look_at_session(const lb_pool *p, uint64_t session, lb_outlook *o)
{
    if (session == 0 || p->size.sessions == 0)
        return;
    const lb_session *s =
        lb_affinity_find(lb_pool_sessions(p), p->size.sessions, session, o->now);
    if (s != NULL) {
        o->bound = s->backend;
        o->cached = s->tokens;
    }
}

void
lb_outlook_init(lb_pool *p, const lb_ask *ask, lb_outlook *o, lb_ns now)
{
    const lb_group *g = lb_pool_group(p, ask->group);
    o->now = now;
    o->room = INT64_MAX;
    o->cached = 0;
    o->bound = -1;
    o->metered = false;
    o->prior = g->prior;
    o->strategy = ask->strategy >= 0 ? (uint8_t)ask->strategy : g->strategy;
    o->forecast = o->strategy == LB_PREDICTIVE;
    o->size = (uint8_t)lb_pool_size_class(ask->tokens[0]);
    const lb_output *out = &g->output[o->size];
    o->expected = out->mean > 0 ? (int64_t)out->mean + 1 : FIRST_EXPECTED;
    o->reserve = out->mean > 0 ? out->high : FIRST_RESERVE;
    o->most = lb_min(lb_max(ask->max_tokens, 0), LB_TOKENS_MOST);
    if (o->most > 0) {
        o->expected = lb_min(o->expected, o->most);
        o->reserve = lb_min(o->reserve, o->most);
    }
    o->share = ask->priority ? 1 : p->ceiling;
    o->full = SURELY * o->share;
    look_at_budgets(p, p->budget, p->nbudgets, o);
    look_at_budgets(p, g->budget, g->nbudgets, o);
    look_at_budgets(p, ask->budget, ask->nbudgets, o);
    look_at_session(p, ask->session, o);
}

/* ---- amounts ------------------------------------------------------------- */

void
lb_gate_load(const lb_pool *p, const lb_ask *ask, const lb_outlook *o,
             const lb_backend *b, lb_load *load)
{
    int64_t input = lb_min(ask->tokens[b->terms.family], LB_TOKENS_MOST);
    float ratio = lb_pool_ratio(p, b);
    if (ratio != 1.0F)
        input = (int64_t)((double)input * (double)ratio);
    int64_t output = lb_gate_output(b, o->reserve);
    load->input = input;
    load->output = output;
    load->most = o->most > 0 ? lb_gate_output(b, o->most) : output;
    load->chars = lb_min(ask->chars, LB_TOKENS_MOST);
    load->messages = ask->messages;
}

int64_t
lb_gate_units(const lb_limit *limit, const lb_load *load)
{
    int64_t output = limit->charge == LB_CHARGE_MAX ? load->most : load->output;
    switch ((enum lb_unit)limit->unit) {
    case LB_PER_REQUEST:
        return 1;
    case LB_PER_INPUT:
        return load->input;
    case LB_PER_OUTPUT:
        return output;
    default:
        break;
    }
    if (limit->charge == LB_CHARGE_CHARS4)
        return (load->chars + 3) / 4 + 2 * (int64_t)load->messages;
    return load->input + output;
}

/* What lb_price_estimate says of a plain call, or LB_UNKNOWN when it must be asked. */
static int64_t
plain_cost(const lb_fare *fare, int32_t pico, int64_t input, int64_t output)
{
    if (input > fare->flat || output > INT32_MAX)
        return LB_UNKNOWN;
    uint64_t sum = (uint64_t)(pico * input + (int64_t)fare->out * output);
    return (int64_t)((sum + 500) / 1000); /* unsigned: half of the work */
}

int64_t
lb_gate_hold(const lb_pool *p, uint32_t i, int64_t input, int64_t most)
{
    const lb_fare *fare = &lb_pool_backend(p, i)->fare;
    int64_t padded = input + input / 4 + 16;
    int64_t cost = plain_cost(fare, fare->write, padded, most);
    if (cost != LB_UNKNOWN)
        return cost;
    const lb_price *price = &lb_pool_record(p, i)->price;
    if (price->pico[LB_CACHE_WRITE] <= price->pico[LB_INPUT])
        return lb_price_estimate(price, padded, 0, most);
    lb_usage dearest = {0};
    dearest.count[LB_CACHE_WRITE] = padded;
    dearest.count[LB_OUTPUT] = most;
    dearest.count[LB_REQUESTS] = 1;
    return lb_price_cost(price, &dearest);
}

/* ---- gates --------------------------------------------------------------- */

/* What the request or the configuration rules out for good. */
static enum lb_reason
fixed_gates(const lb_terms *t, uint32_t i, const lb_ask *ask, int64_t input)
{
    if ((ask->tags & ~t->tags) != 0)
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

static int64_t
cost_of(const lb_pool *p, uint32_t i, int64_t input, int64_t cached, int64_t output)
{
    const lb_fare *fare = &lb_pool_backend(p, i)->fare;
    int64_t cost = LB_UNKNOWN;
    if (cached == 0)
        cost = plain_cost(fare, fare->in, input, output);
    if (cost != LB_UNKNOWN)
        return cost;
    return lb_price_estimate(&lb_pool_record(p, i)->price, input, cached, output);
}

/* Cost and duration of the call here; max_cost counts the longest answer. */
static enum lb_reason
price_gate(const lb_pool *p, uint32_t i, const lb_ask *ask, const lb_outlook *o,
           const lb_load *load, lb_quote *q)
{
    const lb_backend *b = lb_pool_backend(p, i);
    int64_t cached = q->bound ? lb_min(o->cached, load->input) : 0;
    int64_t expected = lb_gate_output(b, o->expected);
    q->cost = cost_of(p, i, load->input, cached, expected);
    q->seconds = lb_latency_expect(&b->latency, &o->prior, load->input - cached,
                                   expected, o->now);
    if (o->forecast && b->latency.trend > 0)
        q->seconds += (double)b->latency.trend;
    if (q->cost == LB_UNKNOWN)
        return LB_NO_PRICE;
    if (ask->max_cost != INT64_MAX &&
        cost_of(p, i, load->input, cached, load->most) > ask->max_cost)
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

static void
concurrency_gate(const lb_backend *b, lb_quote *q)
{
    if (b->terms.max_calls == 0)
        return;
    q->used = (float)b->latency.calls / (float)b->terms.max_calls;
    if (b->latency.calls >= b->terms.max_calls)
        shut(q, LB_NO_CONCURRENCY, SOON);
}

/* How full a limit will be at the horizon if the pace of late goes on. */
static double
ahead(const lb_limit *l, double used, lb_ns horizon, lb_ns now)
{
    double seconds = (double)horizon * 1e-9;
    double back = (double)l->per_ns * (double)horizon;
    double units = (double)lb_limit_pace(l, now) * seconds;
    double later = used + units / (double)l->rate.burst - back;
    return later > used ? later : used;
}

static void
rate_gate(const lb_pool *p, const lb_backend *b, const lb_outlook *o,
          const lb_load *load, lb_quote *q)
{
    double fullest = (double)q->used;
    lb_ns wait = lb_max(b->not_before - o->now, 0);
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t units = lb_gate_units(l, load);
        double used = lb_limit_used(l, o->now);
        /* Far from full there is no need to count exactly. */
        if (used + (double)units * (double)l->per_unit > o->full)
            wait = lb_max(wait, lb_rate_wait(&l->rate, units, o->share, o->now));
        if (o->forecast)
            used = ahead(l, used, p->horizon, o->now);
        if (used > fullest)
            fullest = used;
    }
    q->used = (float)fullest;
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
budget_gate(lb_pool *p, uint32_t i, const lb_ask *ask, const lb_outlook *o,
            const lb_load *load, lb_quote *q)
{
    const lb_backend *b = lb_pool_backend(p, i);
    if (!o->metered && b->nbudgets == 0)
        return;
    q->hold = lb_gate_hold(p, i, load->input, load->most);
    if (q->hold == LB_UNKNOWN) {
        shut(q, LB_NO_PRICE, 0);
        return;
    }
    lb_ns wait = 0;
    if (b->nbudgets > 0)
        wait = budgets_wait(p, b->budget, b->nbudgets, q->hold, o->now);
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
        q->ease = (float)lb_breaker_share(b, rules, now);
        q->weight *= q->ease;
    }
}

void
lb_gate(lb_pool *p, uint32_t i, const lb_ask *ask, const lb_outlook *o, lb_quote *q)
{
    lb_backend *b = lb_pool_backend(p, i);
    lb_load load;
    lb_gate_load(p, ask, o, b, &load);
    /* One by one: zeroing it first, as an initializer does, takes longer. */
    q->backend = (int32_t)i;
    q->order = b->terms.order;
    q->bound = o->bound == (int32_t)i;
    q->full = 0;
    q->calls = b->latency.calls;
    q->weight = b->terms.weight;
    q->ease = 1;
    q->used = 0;
    q->fail = b->fail;
    q->seconds = 0;
    q->cost = LB_UNKNOWN;
    q->score = 0;
    q->wait = 0;
    q->input = load.input;
    q->hold = 0;
    q->id = b->terms.id;
    q->reason = (uint8_t)fixed_gates(&b->terms, i, ask, load.input);
    if (q->reason != LB_ELIGIBLE)
        return;
    q->reason = (uint8_t)price_gate(p, i, ask, o, &load, q);
    if (q->reason != LB_ELIGIBLE)
        return;
    concurrency_gate(b, q);
    rate_gate(p, b, o, &load, q);
    budget_gate(p, i, ask, o, &load, q);
    breaker_gate(&b->breaker, &lb_pool_record(p, i)->rules, o->now, q);
}

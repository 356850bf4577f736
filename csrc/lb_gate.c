#include "lb_gate.h"

#include <stddef.h>
#include <string.h>

/* Until a group has answers to learn from. */
enum { FIRST_EXPECTED = 256, FIRST_RESERVE = 1024 };

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
look_at_budget(lb_pool *p, uint32_t i, lb_outlook *o)
{
    lb_budget *b = lb_pool_budget(p, i);
    int64_t room = lb_budget_free(b, o->now);
    o->metered = true;
    if (room < o->room) {
        o->room = room;
        o->room_wait = lb_budget_wait(b, b->cap > 0 ? 1 : 0, o->now);
    }
}

void
lb_outlook_init(lb_pool *p, const lb_ask *ask, lb_outlook *o, lb_ns now)
{
    const lb_group *g = lb_pool_group(p, ask->group);
    o->now = now;
    o->room = INT64_MAX;
    o->room_wait = 0;
    o->metered = false;
    for (int k = 0; k < p->nbudgets; k++)
        look_at_budget(p, p->budget[k], o);
    for (int k = 0; k < g->nbudgets; k++)
        look_at_budget(p, g->budget[k], o);
    for (int k = 0; k < ask->nbudgets; k++)
        look_at_budget(p, ask->budget[k], o);
    const lb_output *out = &g->output[lb_pool_size_class(ask->tokens[0])];
    o->expected = out->mean > 0 ? (int64_t)out->mean + 1 : FIRST_EXPECTED;
    o->reserve =
        out->mean > 0 ? (int64_t)lb_track_value(&out->high) + 1 : FIRST_RESERVE;
    o->bound = -1;
    o->cached = 0;
    if (ask->session != 0 && p->size.sessions != 0) {
        const lb_session *s =
            lb_affinity_find(lb_pool_sessions(p), p->size.sessions, ask->session, now);
        if (s != NULL) {
            o->bound = s->backend;
            o->cached = s->tokens;
        }
    }
    int strategy = ask->strategy >= 0 ? ask->strategy : g->strategy;
    o->forecast = strategy == LB_PREDICTIVE;
}

int64_t
lb_gate_output(const lb_ask *ask, const lb_backend *b, int64_t tokens)
{
    if (ask->max_tokens > 0 && ask->max_tokens < tokens)
        tokens = ask->max_tokens;
    if (b->terms.max_output > 0 && b->terms.max_output < tokens)
        tokens = b->terms.max_output;
    return tokens;
}

int64_t
lb_gate_units(const lb_limit *limit, const lb_ask *ask, int64_t input, int64_t output,
              int64_t max_output)
{
    switch ((enum lb_unit)limit->unit) {
    case LB_PER_REQUEST:
        return 1;
    case LB_PER_INPUT:
        return input;
    case LB_PER_OUTPUT:
        return limit->charge == LB_CHARGE_MAX ? max_output : output;
    default:
        break;
    }
    if (limit->charge == LB_CHARGE_CHARS4)
        return (ask->chars + 3) / 4 + 2 * (int64_t)ask->messages;
    return input + (limit->charge == LB_CHARGE_MAX ? max_output : output);
}

int64_t
lb_gate_hold(const lb_record *r, int64_t input, int64_t max_output)
{
    return lb_price_estimate(&r->price, input + input / 4 + 16, 0, max_output);
}

/* What the request or the configuration rules out for good. */
static enum lb_reason
fixed_gates(const lb_backend *b, uint32_t i, const lb_ask *ask, int64_t input)
{
    const lb_terms *t = &b->terms;
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

/* How full a limit will be at the horizon if the pace of late goes on. */
static double
ahead(const lb_limit *l, double used, const lb_pool *p, lb_ns now)
{
    double horizon = (double)p->horizon * 1e-9;
    double age = (double)lb_max(now - l->paced, 0) * 1e-9;
    double pace = (double)l->pace * horizon / (horizon + age);
    double unit = (double)l->rate.unit_q12 / 4096e9; /* seconds a unit */
    double depth = unit * (double)l->rate.burst;
    double later = used + (pace * unit - 1) * horizon / depth;
    return later > used ? later : used;
}

/* All rate limits: the longest wait and the fullest share. */
static void
rate_gate(const lb_pool *p, const lb_backend *b, const lb_ask *ask, const lb_outlook *o,
          int64_t reserve, int64_t most, lb_quote *q)
{
    double share = ask->priority ? 1 : p->ceiling;
    for (int k = 0; k < b->nlimits; k++) {
        const lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t units = lb_gate_units(l, ask, q->input, reserve, most);
        lb_ns wait = lb_rate_wait(&l->rate, units, share, o->now);
        double used = lb_rate_used(&l->rate, o->now);
        if (o->forecast)
            used = ahead(l, used, p, o->now);
        if (used > (double)q->used)
            q->used = (float)used;
        if (wait > q->wait) {
            q->wait = wait;
            q->limit = (uint8_t)k;
            q->reason = wait == LB_FOREVER ? LB_NO_BURST : LB_NO_RATE;
        }
    }
    if (b->not_before > o->now && b->not_before - o->now > q->wait) {
        q->wait = b->not_before - o->now;
        q->reason = LB_NO_RATE;
    }
}

static enum lb_reason
budget_gate(lb_pool *p, const lb_backend *b, const lb_record *r, const lb_outlook *o,
            int64_t most, lb_quote *q)
{
    if (!o->metered && b->nbudgets == 0)
        return LB_ELIGIBLE;
    int64_t hold = lb_gate_hold(r, q->input, most);
    if (hold > o->room) {
        q->wait = lb_max(o->room_wait, 1);
        return LB_NO_BUDGET;
    }
    for (int k = 0; k < b->nbudgets; k++) {
        lb_budget *budget = lb_pool_budget(p, b->budget[k]);
        if (hold > lb_budget_free(budget, o->now)) {
            q->wait = lb_max(lb_budget_wait(budget, hold, o->now), 1);
            return LB_NO_BUDGET;
        }
    }
    return LB_ELIGIBLE;
}

/* Cost and duration of the call here; max_cost counts the longest answer. */
static enum lb_reason
price_gate(const lb_pool *p, const lb_backend *b, const lb_record *r, const lb_ask *ask,
           const lb_outlook *o, int64_t most, lb_quote *q)
{
    int64_t cached = q->bound ? lb_min(o->cached, q->input) : 0;
    int64_t expected = lb_gate_output(ask, b, o->expected);
    const lb_group *g = lb_pool_group(p, ask->group);
    q->cost = lb_price_estimate(&r->price, q->input, cached, expected);
    q->seconds =
        lb_latency_expect(&b->latency, &g->prior, q->input - cached, expected, o->now);
    if (o->forecast && b->latency.trend > 0)
        q->seconds += (double)b->latency.trend;
    if (q->cost == LB_UNKNOWN)
        return LB_NO_PRICE;
    if (ask->max_cost != INT64_MAX &&
        lb_price_estimate(&r->price, q->input, cached, most) > ask->max_cost)
        return LB_NO_COST;
    if (ask->max_latency != LB_FOREVER && q->seconds * 1e9 > (double)ask->max_latency)
        return LB_NO_LATENCY;
    return LB_ELIGIBLE;
}

void
lb_gate(lb_pool *p, uint32_t i, const lb_ask *ask, const lb_outlook *o, lb_quote *q)
{
    lb_backend *b = lb_pool_backend(p, i);
    const lb_record *r = lb_pool_record(p, i);
    int64_t input = ask->tokens[b->terms.family];
    if (b->ratio != 1.0F)
        input = (int64_t)((double)input * (double)b->ratio);
    *q = (lb_quote){.backend = (int32_t)i,
                    .order = b->terms.order,
                    .bound = o->bound == (int32_t)i,
                    .calls = b->latency.calls,
                    .weight = b->terms.weight,
                    .fail = b->fail,
                    .input = input};
    enum lb_reason no = fixed_gates(b, i, ask, input);
    int64_t reserve = lb_gate_output(ask, b, o->reserve);
    int64_t most =
        ask->max_tokens > 0 ? lb_gate_output(ask, b, ask->max_tokens) : reserve;
    if (no == LB_ELIGIBLE)
        no = price_gate(p, b, r, ask, o, most, q);
    if (no == LB_ELIGIBLE && b->terms.max_calls > 0) {
        q->used = (float)b->latency.calls / (float)b->terms.max_calls;
        if (b->latency.calls >= b->terms.max_calls) {
            no = LB_NO_CONCURRENCY;
            q->wait = 1;
        }
    }
    if (no == LB_ELIGIBLE) {
        rate_gate(p, b, ask, o, reserve, most, q);
        no = (enum lb_reason)q->reason;
    }
    if (no == LB_ELIGIBLE)
        no = budget_gate(p, b, r, o, most, q);
    if (no == LB_ELIGIBLE) {
        q->wait = lb_breaker_wait(&b->breaker, &r->rules, o->now);
        if (q->wait != 0)
            no = LB_NO_BREAKER;
        else if (b->breaker.state == LB_RAMP)
            q->weight *= (float)lb_breaker_share(&b->breaker, &r->rules, o->now);
    }
    q->reason = (uint8_t)no;
}

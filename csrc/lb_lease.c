#include "lb_lease.h"

#include <math.h>
#include <string.h>

/* Above this many members `p2c` samples two instead of looking at all. */
enum { SCAN_MOST = 16, SAMPLE_TRIES = 16 };

static const double SLOW_SECONDS = 60, SLOW_FACTOR = 4;

static const double FAIL_WEIGHT = 0.05; /* of the newest call in lb_backend.fail */
static const float OUTPUT_WEIGHT = 0.05F;
static const double PRIOR_WEIGHT = 0.02;
static const double PACE_SECONDS = 10; /* memory of a limit's pace */

static void
note(lb_decision *d, const lb_quote *q)
{
    d->looked++;
    d->refused[q->reason]++;
    if (q->reason != LB_ELIGIBLE && q->wait > 0 && q->wait < d->wait)
        d->wait = q->wait;
}

static void
list(lb_decision *d, const lb_quote *q, int n)
{
    d->listed = (uint8_t)(n < LB_CANDIDATES ? n : LB_CANDIDATES);
    for (int i = 0; i < d->listed; i++)
        d->line[i] = (lb_candidate){
            .backend = (uint16_t)q[i].backend,
            .reason = q[i].reason,
            .bound = q[i].bound,
            .cost = q[i].cost == LB_UNKNOWN ? -1.0F : (float)((double)q[i].cost * 1e-9),
            .seconds = (float)q[i].seconds,
            .used = q[i].used,
            .score = (float)q[i].score,
        };
}

/* Only the lowest order among the eligible competes. */
static void
drop_later_orders(lb_quote *q, int n, lb_decision *d)
{
    int first = UINT8_MAX;
    bool mixed = false;
    for (int i = 0; i < n; i++) {
        if (q[i].reason != LB_ELIGIBLE)
            continue;
        mixed |= first != UINT8_MAX && q[i].order != first;
        if (q[i].order < first)
            first = q[i].order;
    }
    if (!mixed)
        return;
    for (int i = 0; i < n; i++)
        if (q[i].reason == LB_ELIGIBLE && q[i].order > first) {
            q[i].reason = LB_NO_ORDER;
            d->refused[LB_ELIGIBLE]--;
            d->refused[LB_NO_ORDER]++;
        }
}

/* Every breaker is open: better one call to the likeliest than none at all. */
static int
desperate(lb_pool *p, const lb_quote *q, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        if (q[i].reason == LB_ELIGIBLE)
            return -1;
        if (q[i].reason == LB_NO_BREAKER && q[i].wait != LB_FOREVER &&
            lb_pool_backend(p, (uint32_t)q[i].backend)->breaker.order == LB_AUTO &&
            (best < 0 || q[i].wait < q[best].wait))
            best = i;
    }
    return best;
}

static void
taste_of(const lb_pool *p, const lb_ask *ask, lb_taste *taste)
{
    const lb_group *g = lb_pool_group(p, ask->group);
    taste->strategy = ask->strategy >= 0 ? (uint8_t)ask->strategy : g->strategy;
    taste->value = ask->value >= 0 ? ask->value : g->value;
    taste->shift = p->shift;
    taste->stop = p->stop;
    taste->session = ask->session;
}

/* Two random members that pass the gates; 2 quotes at q, or fewer. */
static int
sample(lb_pool *p, const lb_group *g, const lb_ask *ask, const lb_outlook *o,
       lb_quote *q, lb_decision *d)
{
    const uint32_t *members = lb_pool_members(p, g);
    int n = 0;
    for (int k = 0; k < SAMPLE_TRIES && n < 2; k++) {
        uint32_t i = members[lb_rng_below(&p->rng, g->count)];
        if (n == 1 && q[0].backend == (int32_t)i)
            continue;
        lb_gate(p, i, ask, o, &q[n]);
        note(d, &q[n]);
        if (q[n].reason == LB_ELIGIBLE)
            n++;
    }
    return n;
}

/* Index into the scratch quotes of the chosen one, or -1. */
static int
choose(lb_pool *p, const lb_ask *ask, const lb_outlook *o, lb_decision *d)
{
    lb_group *g = lb_pool_group(p, ask->group);
    lb_quote *q = lb_pool_quotes(p);
    lb_taste taste;
    taste_of(p, ask, &taste);
    d->strategy = taste.strategy;
    d->members = g->count;
    if (taste.strategy == LB_P2C && g->count > SCAN_MOST && ask->session == 0) {
        int two = sample(p, g, ask, o, q, d);
        if (two == 2 && q[0].order == q[1].order) {
            int best = lb_pick_two(q, 0, 1, &p->rng);
            list(d, q, 2);
            return best;
        }
        memset(d->refused, 0, sizeof d->refused);
        d->looked = 0;
    }
    int n = (int)g->count;
    const uint32_t *members = lb_pool_members(p, g);
    for (int i = 0; i < n; i++) {
        lb_gate(p, members[i], ask, o, &q[i]);
        note(d, &q[i]);
    }
    drop_later_orders(q, n, d);
    int best = lb_pick(q, n, &taste, &p->rng, &g->cursor, lb_pool_smooth(p, g));
    if (best < 0 && ask->last_resort) {
        best = desperate(p, q, n);
        d->desperate = best >= 0;
    }
    list(d, q, n);
    return best;
}

static void
charge(lb_limit *l, int64_t units, lb_ns now)
{
    if (units == 0)
        return;
    lb_rate_charge(&l->rate, units, now);
    if (units > 0) {
        double age = (double)lb_max(now - l->paced, 0) * 1e-9;
        double keep = PACE_SECONDS / (PACE_SECONDS + age);
        l->pace = (float)((double)l->pace * keep + (double)units / PACE_SECONDS);
        l->paced = now;
    }
}

static void
hold(lb_pool *p, lb_lease *lease, const uint16_t *list_of, int n)
{
    for (int k = 0; k < n; k++) {
        lb_budget_reserve(lb_pool_budget(p, list_of[k]), lease->hold);
        lease->budget[lease->nbudgets++] = list_of[k];
    }
}

static void
reserve(lb_pool *p, const lb_ask *ask, const lb_outlook *o, const lb_quote *q,
        lb_lease *lease)
{
    uint32_t i = (uint32_t)q->backend;
    lb_backend *b = lb_pool_backend(p, i);
    const lb_record *r = lb_pool_record(p, i);
    const lb_group *g = lb_pool_group(p, ask->group);
    lease->live = true;
    lease->backend = q->backend;
    lease->group = ask->group;
    lease->serial = ++p->serial;
    lease->started = o->now;
    lease->session = ask->session;
    lease->estimate = ask->tokens[b->terms.family];
    lease->input = q->input;
    lease->output = lb_gate_output(ask, b, o->reserve);
    lease->expected = lb_gate_output(ask, b, o->expected);
    lease->most =
        ask->max_tokens > 0 ? lb_gate_output(ask, b, ask->max_tokens) : lease->output;
    lease->chars = ask->chars;
    lease->messages = ask->messages;
    lease->cost = q->cost;
    lease->seconds = q->seconds;
    for (int k = 0; k < b->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t units = lb_gate_units(l, ask, lease->input, lease->output, lease->most);
        charge(l, units, o->now);
        lease->mark[k] = l->rate.charged;
    }
    if (o->metered || b->nbudgets > 0) {
        lease->hold = lb_gate_hold(r, lease->input, lease->most);
        hold(p, lease, p->budget, p->nbudgets);
        hold(p, lease, g->budget, g->nbudgets);
        hold(p, lease, ask->budget, ask->nbudgets);
        hold(p, lease, b->budget, b->nbudgets);
    }
    lb_latency_start(&b->latency, lease->expected, o->now);
    p->calls++;
    lease->decision.probe = b->breaker.state == LB_HALF_OPEN;
    lease->generation = lb_breaker_enter(&b->breaker, &r->rules, o->now);
}

static void
start_decision(lb_decision *d)
{
    d->looked = 0;
    d->listed = 0;
    d->probe = 0;
    d->desperate = 0;
    d->wait = LB_FOREVER;
    memset(d->refused, 0, sizeof d->refused);
}

int
lb_lease_pick(lb_pool *p, const lb_ask *ask, lb_lease *lease, lb_ns now)
{
    lb_outlook o;
    lease->live = false;
    lease->nbudgets = 0;
    lease->hold = 0;
    start_decision(&lease->decision);
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
    lb_outlook_init(p, ask, &o, now);
    int n = 0;
    for (; n < (int)g->count && n < max; n++) {
        lb_breaker *b = &lb_pool_backend(p, members[n])->breaker;
        lb_breaker before = *b; /* asking must not count as wanting in */
        lb_gate(p, members[n], ask, &o, &out[n]);
        *b = before;
    }
    return n;
}

void
lb_lease_progress(lb_pool *p, lb_lease *lease, int64_t output_tokens)
{
    if (!lease->live)
        return;
    lb_latency *l = &lb_pool_backend(p, (uint32_t)lease->backend)->latency;
    int64_t left = lb_max(lease->expected - output_tokens, 0);
    int64_t counted = lb_max(lease->expected, 0);
    l->tokens -= counted - left;
    lease->expected = left;
}

void
lb_result_init(lb_result *r)
{
    memset(r, 0, sizeof *r);
    r->outcome = LB_CANCELLED;
    r->cost = LB_UNKNOWN;
}

static int64_t
sum(const lb_usage *u, int from, int to)
{
    int64_t n = 0;
    for (int k = from; k < to; k++)
        n += lb_max(u->count[k], 0);
    return n;
}

/* Tokens that count for a limit after the call, by what is known of it. */
static void
settled_tokens(const lb_lease *lease, const lb_result *r, int64_t *input,
               int64_t *output)
{
    *input = r->metered ? sum(&r->usage, 0, LB_OUTPUT) : lease->input;
    *output = sum(&r->usage, LB_OUTPUT, LB_NTOKENS);
    if (!r->sent || r->outcome == LB_RATE_LIMITED || r->outcome == LB_AUTH ||
        r->outcome == LB_MISSING || r->outcome == LB_REJECTED ||
        r->outcome == LB_QUOTA) {
        *input = 0;
        *output = 0;
    }
}

static void
settle_limits(lb_pool *p, const lb_backend *b, lb_lease *lease, const lb_result *r,
              lb_ns now)
{
    lb_ask ask = {.chars = lease->chars, .messages = lease->messages};
    int64_t input, output;
    settled_tokens(lease, r, &input, &output);
    for (int k = 0; k < b->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t was = lb_gate_units(l, &ask, lease->input, lease->output, lease->most);
        int64_t is = r->sent ? lb_gate_units(l, &ask, input, output, output) : 0;
        if (l->charge == LB_CHARGE_CHARS4 && l->unit == LB_PER_TOKEN && input == 0)
            is = 0;
        charge(l, is - was, now);
        lease->mark[k] += is - was; /* still its own charge, now corrected */
    }
}

/* A limit nobody configured, told by the provider: from now on it is tracked. */
static void
learn_limit(lb_pool *p, const lb_lease *lease, const lb_told *told, lb_ns now)
{
    lb_ns window = lb_reading_window(&told->reading);
    if (told->reading.limit <= 0 || window == 0)
        return;
    int i = lb_pool_add_limit(p, (uint32_t)lease->backend, (enum lb_unit)told->unit,
                              LB_CHARGE_ACTUAL, told->reading.limit, window, 0);
    if (i < 0)
        return;
    lb_limit *l = lb_pool_limit(p, (uint32_t)i);
    l->learned = 1;
    (void)lb_rate_sync(&l->rate, &told->reading, lease->serial, 0, lease->started, now);
}

static void
hear_limits(lb_pool *p, const lb_backend *b, const lb_lease *lease, const lb_result *r,
            lb_ns now)
{
    for (int t = 0; t < r->ntold; t++) {
        const lb_told *told = &r->told[t];
        lb_ns window = lb_reading_window(&told->reading);
        bool known = false;
        int n = b->nlimits;
        for (int k = 0; k < n; k++) {
            lb_limit *l = lb_pool_limit(p, b->limit[k]);
            if (l->unit != told->unit)
                continue;
            known |= window == 0 || l->rate.window == window;
            (void)lb_rate_sync(&l->rate, &told->reading, lease->serial, lease->mark[k],
                               lease->started, now);
        }
        if (!known)
            learn_limit(p, lease, told, now);
    }
}

/* What one backend of a group shows is assumed of those nobody has called yet. */
static void
teach_prior(lb_group *g, const lb_backend *b, int64_t input, lb_ns now)
{
    double ttft = lb_latency_ttft(&b->latency, &g->prior, input, now);
    double itl = b->latency.itl > 0 ? (double)b->latency.itl : (double)g->prior.itl;
    g->answers += g->answers < INT32_MAX;
    double w = fmax(PRIOR_WEIGHT, 1.0 / g->answers);
    g->prior.ttft += (float)(w * (fmax(ttft, 1e-6) - (double)g->prior.ttft));
    g->prior.itl += (float)(w * (fmax(itl, 1e-7) - (double)g->prior.itl));
}

static void
learn(lb_pool *p, lb_backend *b, lb_record *rec, const lb_lease *lease,
      const lb_result *r, lb_ns now)
{
    lb_group *g = lb_pool_group(p, lease->group);
    int64_t input = sum(&r->usage, 0, LB_OUTPUT);
    int64_t output = sum(&r->usage, LB_OUTPUT, LB_NTOKENS);
    int64_t fresh = input - lb_max(r->usage.count[LB_CACHE_READ], 0);
    if (r->metered) {
        (void)lb_tokens_calibrate(&b->ratio, lease->estimate, input);
        lb_output *o = &g->output[lb_pool_size_class(lease->estimate)];
        o->mean = o->mean > 0 ? o->mean + OUTPUT_WEIGHT * ((float)output - o->mean)
                              : (float)lb_max(output, 1);
        lb_track_add(&o->high, 0.8, (double)output);
    }
    if (r->seconds <= 0)
        return;
    lb_latency_learn(&b->latency, &g->prior, fresh, output, r->ttft, r->seconds, now);
    lb_hist_add(&rec->seconds, r->seconds);
    if (r->ttft > 0)
        lb_hist_add(&rec->ttft, r->ttft);
    teach_prior(g, b, fresh, now);
    rec->tally.micros += (int64_t)(r->seconds * 1e6);
    if (lease->session != 0 && b->terms.cache_life > 0 && p->size.sessions != 0)
        lb_affinity_bind(lb_pool_sessions(p), p->size.sessions, lease->session,
                         lease->backend, (int32_t)lb_min(input + output, INT32_MAX),
                         b->terms.cache_life, now);
}

/* A 429 without a time: 1 s, doubling with each in a row, at most a minute. */
static void
back_off(lb_pool *p, lb_backend *b, const lb_result *r, lb_ns now)
{
    lb_ns wait = r->retry_after;
    if (r->outcome == LB_RATE_LIMITED) {
        int doublings = b->refusals < 6 ? b->refusals : 6;
        b->refusals++;
        if (wait <= 0) {
            wait = lb_min(LB_NS_PER_S << doublings, 60 * LB_NS_PER_S);
            wait = (lb_ns)((double)wait * (0.75 + 0.5 * lb_rng_unit(&p->rng)));
        }
    } else if (r->outcome == LB_DONE || r->outcome == LB_SLOW) {
        b->refusals = 0;
        return;
    }
    if (wait > 0)
        b->not_before = lb_max(b->not_before, now + wait);
}

static enum lb_outcome
outcome_of(const lb_lease *lease, const lb_result *r)
{
    bool slow = r->seconds > SLOW_SECONDS && r->seconds > SLOW_FACTOR * lease->seconds;
    return r->outcome == LB_DONE && slow ? LB_SLOW : r->outcome;
}

static bool
failed(enum lb_outcome o)
{
    return o == LB_FAILED || o == LB_BROKEN || o == LB_TIMED_OUT;
}

int64_t
lb_lease_settle(lb_pool *p, lb_lease *lease, const lb_result *r, lb_ns now)
{
    if (!lease->live)
        return 0;
    lease->live = false;
    lb_backend *b = lb_pool_backend(p, (uint32_t)lease->backend);
    lb_record *rec = lb_pool_record(p, (uint32_t)lease->backend);
    enum lb_outcome outcome = outcome_of(lease, r);
    int64_t cost = r->cost;
    if (cost == LB_UNKNOWN)
        cost = r->sent ? lb_price_cost(&rec->price, &r->usage) : 0;
    if (cost == LB_UNKNOWN)
        cost = 0;
    settle_limits(p, b, lease, r, now);
    hear_limits(p, b, lease, r, now);
    for (int k = 0; k < lease->nbudgets; k++)
        lb_budget_settle(lb_pool_budget(p, lease->budget[k]), lease->hold, cost, now);
    lb_latency_end(&b->latency, lease->expected, lease->started);
    p->calls--;
    lb_breaker_leave(&b->breaker, &rec->rules, lease->generation, outcome,
                     r->retry_after, &p->rng, now);
    back_off(p, b, r, now);
    if (outcome == LB_DONE || outcome == LB_SLOW)
        learn(p, b, rec, lease, r, now);
    if (outcome != LB_CANCELLED)
        b->fail += (float)(FAIL_WEIGHT * ((failed(outcome) ? 1 : 0) - (double)b->fail));
    rec->tally.calls++;
    rec->tally.outcome[outcome]++;
    rec->tally.cost += cost;
    for (int k = 0; k < LB_NTOKENS; k++)
        rec->tally.tokens[k] += lb_max(r->usage.count[k], 0);
    return cost;
}

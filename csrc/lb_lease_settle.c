#include "lb_lease.h"

#include <stddef.h>
#include <string.h>

#include "lb_throttle.h"

static const double SLOW_SECONDS = 60, SLOW_FACTOR = 4;
static const double FAIL_WEIGHT = 0.05; /* of the newest call in lb_backend.fail */
static const float OUTPUT_WEIGHT = 0.05F;
static const double PRIOR_WEIGHT = 0.02;
static const double OUTPUT_SHARE = 0.8; /* of answers fit into what is reserved */
static const int32_t WINDOW_EVERY = 16; /* answers between looks at the p99 */
static const double WINDOW_FACTOR = 2;
static const uint32_t ALL_INPUT = (UINT32_C(1) << LB_OUTPUT) - 1;
static const uint32_t ALL_TOKENS = (UINT32_C(1) << LB_NTOKENS) - 1;
static const uint32_t PLAIN = UINT32_C(1) << LB_INPUT | UINT32_C(1) << LB_OUTPUT;
static const double BOUND_FACTOR = 1.1;
static const double LONGEST_CALL = 1e6; /* s */
static const double TAIL_SIZE = 8;      /* no call is taken to be so much larger */
enum { LONGEST_DOUBLING = 6, TAIL_LEAST = 20 };

void
lb_result_init(lb_result *r)
{
    memset(r, 0, offsetof(lb_result, told)); /* ntold says how many of these */
    r->outcome = LB_CANCELLED;
    r->cost = LB_UNKNOWN;
}

void
lb_lease_progress(lb_pool *p, lb_lease *lease, int64_t output_tokens)
{
    if (!lease->live)
        return;
    int64_t ahead = lb_max(lease->expected - lb_max(output_tokens, 0), 0);
    lb_pool_backend(p, (uint32_t)lease->backend)->latency.tokens +=
        ahead - lease->ahead;
    lease->ahead = ahead;
}

/* ---- what stays charged -------------------------------------------------- */

/* What the usage of a call comes to, for limits and for learning. */
typedef struct seen {
    int64_t input, cached, output;
} seen;

/* The tokens of those `kinds` that were used. */
static int64_t
sum(const lb_usage *u, uint32_t kinds)
{
    int64_t n = 0;
    for (; kinds != 0; kinds &= kinds - 1)
        n = lb_min(n + lb_min(u->count[__builtin_ctz(kinds)], LB_TOKENS_MOST),
                   LB_TOKENS_MOST);
    return n;
}

static bool
is_refusal(enum lb_outcome o)
{
    return o == LB_RATE_LIMITED || o == LB_QUOTA || o == LB_AUTH || o == LB_MISSING ||
           o == LB_REJECTED;
}

static int64_t
settled_units(const lb_limit *l, const lb_lease *lease, const lb_result *r,
              const seen *s)
{
    if (!r->sent)
        return 0;
    if (l->unit != LB_PER_REQUEST && is_refusal(r->outcome) && !r->metered)
        return 0;
    lb_load load = lease->load;
    load.output = load.most = s->output;
    if (r->metered)
        load.input = s->input - (l->charge == LB_CHARGE_ACTUAL ? s->cached : 0);
    return lb_gate_units(l, &load);
}

/* Its charge was forgotten when the limit was lifted.  Serials wrap, and leases do not
 * live for a million others: hence the bound. */
static bool
is_forgotten(const lb_limit *l, const lb_lease *lease)
{
    return l->begun != 0 && l->begun - lease->serial < UINT32_C(1) << 20;
}

static void
settle_limits(lb_pool *p, const lb_backend *b, lb_lease *lease, const lb_result *r,
              const seen *s, lb_ns now)
{
    for (int k = 0; k < lease->nlimits; k++) {
        lb_limit *l = lb_pool_limit(p, b->limit[k]);
        int64_t more = settled_units(l, lease, r, s) - lb_gate_units(l, &lease->load);
        if (more < 0 && is_forgotten(l, lease))
            more = 0;
        if (lease->captive)
            lb_limit_charge_captive(l, more, now);
        else
            lb_limit_charge(l, more, now);
        lease->mark[k] += more; /* still its own charge, now corrected */
    }
}

/* ---- what the headers told ----------------------------------------------- */

/* A limit nobody configured, told by the provider: from now on it is tracked. */
static void
learn_limit(lb_pool *p, const lb_lease *lease, const lb_told *told, lb_ns now)
{
    lb_ns window = lb_reading_window(&told->reading);
    if (told->reading.limit <= 0 || window == 0)
        return;
    int i = lb_pool_add_limit(p, (uint32_t)lease->backend, (enum lb_unit)told->unit,
                              LB_CHARGE_ACTUAL, told->reading.limit, window, 0);
    if (i < 0) /* no place is left: the provider will say when it is too much */
        return;
    lb_limit *l = lb_pool_limit(p, (uint32_t)i);
    l->learned = 1;
    l->rate.ceiling = INT64_MAX;
    (void)lb_rate_sync(&l->rate, &told->reading, lease->serial, 0, lease->started, now);
}

/* A limit of which its headers tell is whole again; those that speak of another window
 * leave it as it is. */
static void
hear_one(lb_limit *l, const lb_told *told, const lb_lease *lease, int k, lb_ns now)
{
    lb_limit next = *l;
    lb_throttle_lift(&next, now);
    if (!lb_rate_sync(&next.rate, &told->reading, lease->serial, lease->mark[k],
                      lease->started, now))
        return;
    *l = next;
    lb_limit_tuned(l);
}

static void
hear_limits(lb_pool *p, const lb_backend *b, const lb_lease *lease, const lb_result *r,
            lb_ns now)
{
    for (int t = 0; t < r->ntold; t++) {
        const lb_told *told = &r->told[t];
        lb_ns window = lb_reading_window(&told->reading);
        bool known = false;
        for (int k = 0; k < b->nlimits; k++) {
            lb_limit *l = lb_pool_limit(p, b->limit[k]);
            if (l->unit != told->unit)
                continue;
            known |= window == 0 || l->rate.window == window;
            if (k < lease->nlimits)
                hear_one(l, told, lease, k, now);
        }
        if (!known)
            learn_limit(p, lease, told, now);
    }
}

/* A 429 without a time: 1 s, doubling with each in a row, at most about a minute. */
static void
back_off(lb_pool *p, lb_backend *b, const lb_lease *lease, const lb_result *r,
         lb_ns now)
{
    lb_ns wait = r->retry_after;
    if (r->outcome == LB_RATE_LIMITED) {
        int doublings = (int)lb_min(b->refusals, LONGEST_DOUBLING);
        b->refusals += b->refusals < INT32_MAX;
        lb_throttle_refused(p, b, lease->started, now);
        if (wait <= 0)
            wait = (lb_ns)((double)(LB_NS_PER_S << doublings) *
                           (0.75 + 0.5 * lb_rng_unit(&p->rng)));
    } else if (r->outcome == LB_DONE || r->outcome == LB_SLOW) {
        b->refusals = 0;
        lb_throttle_answered(p, b, now);
        return;
    }
    if (wait > 0)
        b->not_before = lb_max(b->not_before, lb_add_capped(now, wait));
}

/* ---- what is learned ----------------------------------------------------- */

static void
learn_usage(lb_pool *p, lb_backend *b, lb_group *g, const lb_lease *lease,
            int64_t input, int64_t output)
{
    lb_output *o = &g->output[lease->size];
    float tokens = (float)lb_max(output, 1);
    lb_pool_learn_ratio(p, b, lease->estimate, input);
    o->mean = o->mean > 0 ? o->mean + OUTPUT_WEIGHT * (tokens - o->mean) : tokens;
    lb_track_add(&o->track, OUTPUT_SHARE, (double)output);
    o->high = (int64_t)lb_track_value(&o->track) + 1;
}

/* A window shorter than a call would judge by the fast ones alone. */
static void
widen_window(lb_record *rec, int32_t samples)
{
    if (samples % WINDOW_EVERY != 0)
        return;
    double p99 = lb_hist_quantile(&rec->seconds, 0.99);
    rec->rules.window = lb_max(rec->window, (lb_ns)(p99 * WINDOW_FACTOR * 1e9));
}

/* What one backend of a group shows is assumed of those nobody has called yet. */
static void
teach_prior(lb_group *g, const lb_backend *b, int64_t input, lb_ns now)
{
    double ttft = lb_latency_ttft(&b->latency, &g->prior, input, now);
    double itl = b->latency.itl > 0 ? (double)b->latency.itl : (double)g->prior.itl;
    g->answers += g->answers < INT32_MAX;
    double w = lb_greater(PRIOR_WEIGHT, 1.0 / g->answers);
    g->prior.ttft += (float)(w * (lb_greater(ttft, 1e-6) - (double)g->prior.ttft));
    g->prior.itl += (float)(w * (lb_greater(itl, 1e-7) - (double)g->prior.itl));
}

/* Calls in flight while the lease was live, on average. */
static double
load_of(const lb_latency *l, const lb_lease *lease, lb_ns now)
{
    double area = (double)(lb_latency_area(l, now) - lease->area);
    return now > lease->started ? area / (double)(now - lease->started) : 0;
}

/* Seconds that somebody measured, or 0: what is not a number, or longer than any call,
 * would stay in every average. */
static double
measured(double seconds)
{
    return seconds > 0 && seconds < LONGEST_CALL ? seconds : 0;
}

static void
learn_times(lb_group *g, lb_backend *b, lb_record *rec, const lb_answer *answer,
            lb_ns now)
{
    lb_latency_learn(&b->latency, &g->prior, answer, now);
    lb_hist_add(&rec->seconds, answer->total);
    widen_window(rec, b->latency.samples);
    rec->tally.micros += (int64_t)(answer->total * 1e6);
    if (answer->ttft > 0)
        lb_hist_add(&rec->ttft, answer->ttft);
    teach_prior(g, b, answer->input, now);
}

/* Another attempt was faster: this one would have taken longer still, how much longer
 * nobody knows.  It teaches only where that alone is clearly more than expected. */
static void
learn_bound(lb_pool *p, lb_backend *b, lb_record *rec, const lb_lease *lease,
            const lb_result *r, lb_ns now)
{
    lb_group *g = lb_pool_group(p, lease->group);
    double itl = b->latency.itl > 0 ? (double)b->latency.itl : (double)g->prior.itl;
    double seconds = measured(r->seconds), ttft = measured(r->ttft);
    double total = ttft > 0 ? ttft + itl * (double)lease->expected : seconds;
    if (seconds == 0 || total <= BOUND_FACTOR * lease->seconds)
        return;
    lb_answer answer = {.input = lease->load.input,
                        .output = lease->expected,
                        .ttft = ttft,
                        .total = total,
                        .load = load_of(&b->latency, lease, now)};
    lb_latency_learn(&b->latency, &g->prior, &answer, now);
    lb_hist_add(ttft > 0 ? &rec->ttft : &rec->seconds, seconds);
}

static void
learn(lb_pool *p, lb_backend *b, lb_record *rec, const lb_lease *lease,
      const lb_result *r, seen s, lb_ns now)
{
    lb_group *g = lb_pool_group(p, lease->group);
    if (r->metered)
        learn_usage(p, b, g, lease, s.input, s.output);
    else if (s.output == 0) { /* nobody counted: the estimate must do */
        s.input = lb_max(s.input, lease->load.input);
        s.output = lease->expected;
    }
    lb_answer answer = {.input = s.input - s.cached,
                        .output = s.output,
                        .ttft = measured(r->ttft),
                        .total = measured(r->seconds),
                        .load = load_of(&b->latency, lease, now)};
    if (answer.total > 0)
        learn_times(g, b, rec, &answer, now);
    lb_turn turn = {lease->session, lease->started, s.input,
                    s.output,       lease->backend, lease->size};
    if (turn.session != 0)
        lb_pool_follow(p, g, &turn, now);
}

/* ---- settling ------------------------------------------------------------ */

static enum lb_outcome
outcome_of(const lb_lease *lease, const lb_result *r)
{
    bool slow = r->seconds > SLOW_SECONDS && r->seconds > SLOW_FACTOR * lease->seconds;
    return r->outcome == LB_DONE && slow ? LB_SLOW : r->outcome;
}

/* Only answers and failures say how likely the next call fails. */
static void
count_failure(lb_backend *b, enum lb_outcome o)
{
    if (o == LB_FAILED || o == LB_BROKEN || o == LB_TIMED_OUT)
        b->fail += (float)(FAIL_WEIGHT * (1 - (double)b->fail));
    else if (o == LB_DONE || o == LB_SLOW)
        b->fail -= (float)(FAIL_WEIGHT * (double)b->fail);
}

/* What the provider says it costs, else by the price: in short where plain tokens are
 * all there is. */
static int64_t
cost_of(const lb_fare *fare, const lb_price *price, const lb_result *r, uint32_t kinds,
        const seen *s)
{
    int64_t cost = r->cost;
    if (cost != LB_UNKNOWN)
        return lb_max(cost, 0);
    if (!r->sent)
        return 0;
    if ((kinds & ~PLAIN) == 0 && s->input <= fare->flat && s->output <= INT32_MAX)
        return lb_fare_cost(fare, fare->in, s->input, s->output);
    return lb_max(lb_price_cost(price, &r->usage), 0);
}

static void
count(lb_tally *t, enum lb_outcome outcome, const lb_usage *usage, uint32_t kinds,
      int64_t cost)
{
    t->outcome[outcome]++;
    t->cost = lb_add_capped(t->cost, cost);
    for (kinds &= ALL_TOKENS; kinds != 0; kinds &= kinds - 1) {
        int k = __builtin_ctz(kinds);
        t->tokens[k] = lb_add_capped(t->tokens[k], usage->count[k]);
    }
}

int64_t
lb_lease_settle(lb_pool *p, lb_lease *lease, const lb_result *r, lb_ns now)
{
    if (!lease->live)
        return 0;
    lease->live = false;
    p->latest = lb_max(p->latest, now);
    lb_backend *b = lb_pool_backend(p, (uint32_t)lease->backend);
    lb_record *rec = lb_pool_record(p, (uint32_t)lease->backend);
    enum lb_outcome outcome = outcome_of(lease, r);
    uint32_t kinds = lb_usage_kinds(&r->usage);
    seen s = {.input = sum(&r->usage, kinds & ALL_INPUT),
              .cached = sum(&r->usage, kinds & UINT32_C(1) << LB_CACHE_READ),
              .output = sum(&r->usage, kinds & ALL_TOKENS & ~ALL_INPUT)};
    int64_t cost = cost_of(&b->fare, &rec->price, r, kinds, &s);
    settle_limits(p, b, lease, r, &s, now);
    hear_limits(p, b, lease, r, now);
    for (int k = 0; k < lease->nbudgets; k++)
        lb_budget_settle(lb_pool_budget(p, lease->budget[k]), lease->hold, cost, now);
    lb_latency_end(&b->latency, lease->ahead, lease->started, now);
    *lb_pool_held(p, b) -= 1;
    p->calls--;
    lb_breaker_leave(&b->breaker, &rec->rules, lease->generation, outcome,
                     r->retry_after, &p->rng, now);
    back_off(p, b, lease, r, now);
    if (outcome == LB_DONE || outcome == LB_SLOW)
        learn(p, b, rec, lease, r, s, now);
    else if (outcome == LB_CANCELLED && r->sent)
        learn_bound(p, b, rec, lease, r, now);
    count_failure(b, outcome);
    count(&rec->tally, outcome, &r->usage, kinds, cost);
    return cost;
}

/* ---- looking ahead ------------------------------------------------------- */

bool
lb_lease_tail(const lb_pool *p, const lb_lease *lease, bool first, lb_tail *t)
{
    const lb_latency *l = &lb_pool_backend(p, (uint32_t)lease->backend)->latency;
    const lb_record *rec = lb_pool_record(p, (uint32_t)lease->backend);
    const lb_latency_prior *prior = &lb_pool_group(p, lease->group)->prior;
    const lb_hist *h = first ? &rec->ttft : &rec->seconds;
    lb_ns now = lease->started;
    if (l->samples < TAIL_LEAST || h->total <= 0)
        return false;
    double mine = lb_latency_ttft(l, prior, lease->load.input, now), usual;
    if (first) {
        usual = lb_latency_ttft(l, prior, (int64_t)((double)l->x * 1000), now);
    } else {
        mine += (double)lease->expected * (double)l->itl;
        usual = (double)l->seconds;
    }
    double size = lb_lesser(lb_greater(mine / usual, 1 / TAIL_SIZE), TAIL_SIZE);
    t->p50 = size * lb_hist_quantile(h, 0.50);
    t->p95 = size * lb_hist_quantile(h, 0.95);
    t->p99 = size * lb_hist_quantile(h, 0.99);
    return true;
}

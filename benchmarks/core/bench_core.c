/* bench_core.c - what one call of each hot function of the core costs.
 *
 * Every case runs its function over 64 backends in turn, as a pool would meet
 * them, in rounds of some milliseconds; the row is the median round, in ns per
 * call, with the empty loop of the same shape as the first row.
 *
 *      cc -std=c11 -O3 -Icsrc benchmarks/core/bench_core.c csrc/lb_*.c -lm
 *
 * Rows: bench,case,subject,metric,value,unit.  For instruction counts, which do
 * not depend on the machine's mood, name one case and its number of calls and
 * count only them:
 *
 *      valgrind --tool=callgrind --toggle-collect=run_calls ./a.out rate_wait 1000000
 *
 * and divide the "Collected" number by the calls.  To add a case, write a function
 * of the shape below and one row of cases[].
 */
#include "lb_affinity.h"
#include "lb_breaker.h"
#include "lb_budget.h"
#include "lb_latency.h"
#include "lb_lease.h"
#include "lb_quantile.h"
#include "lb_rate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BACKENDS = 64, ROUNDS = 21, CANDIDATES = 5, SESSIONS = 1024 };

/* The parts that a pool keeps for one backend. */
typedef struct backend {
    lb_rate requests, tokens;
    lb_budget budget;
    lb_breaker breaker;
    lb_latency latency;
    lb_hist seconds;
    lb_track output;
} backend;

static backend backends[BACKENDS];
static lb_session sessions[SESSIONS];
static lb_breaker_rules rules;
static const lb_latency_prior prior = {0.5F, 0.02F};
static lb_rng rng = {1};
static lb_ns now;

/* Whole pools: every backend under two limits, a concurrency and a breaker, every
 * call under a budget. */
static lb_pool *five, *many, *sixteen, *crowd;
static lb_ask ask;
static lb_result answer, unsent;

/* One call; what it returns is summed, so that no call can be left out. */
typedef int64_t call(backend *b, int64_t i);

static int64_t
empty(backend *b, int64_t i)
{
    return b->breaker.state + i;
}

static int64_t
rate_wait(backend *b, int64_t i)
{
    return lb_rate_wait(&b->tokens, 500 + (i & 7), 0.95, now);
}

static int64_t
rate_charge(backend *b, int64_t i)
{
    lb_rate_charge(&b->tokens, i & 1 ? 500 : -500, now);
    return b->tokens.full_at;
}

static int64_t
rate_used(backend *b, int64_t i)
{
    return (int64_t)(lb_rate_used(&b->tokens, now) * 1e6) + i;
}

static int64_t
rate_sync(backend *b, int64_t i)
{
    lb_reading h = {2000000, 1000000, 30 * LB_NS_PER_S, -1};
    static uint32_t serial; /* never one that came before: it would be ignored */
    return lb_rate_sync(&b->tokens, &h, ++serial, b->tokens.charged + (i & 1), now,
                        now);
}

static int64_t
breaker_wait(backend *b, int64_t i)
{
    return lb_breaker_wait(&b->breaker, &rules, now) + i;
}

static int64_t
breaker_enter_leave(backend *b, int64_t i)
{
    uint32_t generation = lb_breaker_enter(&b->breaker, &rules, now);
    lb_breaker_leave(&b->breaker, &rules, generation, LB_DONE, 0, &rng, now);
    return generation + i;
}

static int64_t
latency_start_end(backend *b, int64_t i)
{
    lb_latency_start(&b->latency, 200, now + i);
    lb_latency_end(&b->latency, 200, now + i, now + i + 1);
    return b->latency.calls;
}

static int64_t
latency_expect(backend *b, int64_t i)
{
    bool stalls;
    double seconds = lb_latency_expect(&b->latency, &prior, 900 + i, 200, now, &stalls);
    return (int64_t)(seconds * 1e6) + stalls;
}

static int64_t
latency_learn(backend *b, int64_t i)
{
    lb_answer a = {500 + (i & 1023), 200, 0.4, 4.0, (double)(1 + (i & 3))};
    lb_latency_learn(&b->latency, &prior, &a, now);
    return b->latency.samples;
}

static int64_t
budget_free(backend *b, int64_t i)
{
    return lb_budget_free(&b->budget, now) + i;
}

static int64_t
budget_reserve_settle(backend *b, int64_t i)
{
    lb_budget_reserve(&b->budget, 5000 + (i & 7));
    lb_budget_settle(&b->budget, 5000 + (i & 7), 1, now);
    return b->budget.spent;
}

static int64_t
hist_add(backend *b, int64_t i)
{
    lb_hist_add(&b->seconds, 1e-3 * (double)(1 + (i * 7919 & 4095)));
    return (int64_t)b->seconds.unit;
}

static int64_t
hist_quantile(backend *b, int64_t i)
{
    return (int64_t)(lb_hist_quantile(&b->seconds, 0.95) * 1e6) + i;
}

static int64_t
track_add(backend *b, int64_t i)
{
    lb_track_add(&b->output, 0.8, (double)(1 + (i * 7919 & 511)));
    return (int64_t)b->output.seen;
}

static int64_t
track_value(backend *b, int64_t i)
{
    return (int64_t)lb_track_value(&b->output) + i;
}

static int64_t
affinity_find(backend *b, int64_t i)
{
    uint64_t hash = lb_mix((uint64_t)(i & 511) + 1);
    return lb_affinity_find(sessions, SESSIONS, hash, now) != NULL ? 1
                                                                   : b->latency.calls;
}

static int64_t
affinity_score(backend *b, int64_t i)
{
    double score = lb_affinity_score((uint64_t)i, (uint64_t)(b - backends), 1.0);
    return (int64_t)(score * 1e6);
}

/* Everything a choice among five asks of its candidates, without the choice. */
static int64_t
five_candidates(backend *b, int64_t i)
{
    int64_t best = 0;
    int at = (int)(b - backends);
    for (int k = 0; k < CANDIDATES; k++) {
        backend *c = &backends[(at + k) % BACKENDS];
        if (lb_breaker_wait(&c->breaker, &rules, now) != 0 ||
            lb_rate_wait(&c->requests, 1, 1.0, now) != 0 ||
            lb_rate_wait(&c->tokens, 500, 1.0, now) != 0 ||
            lb_budget_free(&c->budget, now) < 5000)
            continue;
        bool stalls;
        double seconds =
            lb_latency_expect(&c->latency, &prior, 900 + i, 200, now, &stalls);
        if (stalls)
            continue;
        double used = lb_rate_used(&c->requests, now) + lb_rate_used(&c->tokens, now);
        best += (int64_t)(seconds * 1e6 * (1 + used));
    }
    return best;
}

/* A whole decision: choose, reserve, settle with a bill. */
static int64_t
decide(lb_pool *p, int64_t i)
{
    static lb_lease lease;
    (void)lb_lease_pick(p, &ask, &lease, now);
    (void)lb_lease_settle(p, &lease, &answer, now);
    return lease.backend + i;
}

static int64_t
decide_5(backend *b, int64_t i)
{
    (void)b;
    return decide(five, i);
}

static int64_t
decide_200(backend *b, int64_t i)
{
    (void)b;
    return decide(many, i);
}

static int64_t
decide_p2c_16(backend *b, int64_t i)
{
    (void)b;
    return decide(sixteen, i);
}

static int64_t
decide_p2c_10000(backend *b, int64_t i)
{
    (void)b;
    return decide(crowd, i);
}

static int64_t
pick_cancel_5(backend *b, int64_t i)
{
    static lb_lease lease;
    (void)b;
    (void)lb_lease_pick(five, &ask, &lease, now);
    (void)lb_lease_settle(five, &lease, &unsent, now);
    return lease.backend + i;
}

static const struct {
    const char *name;
    call *call;
} cases[] = {
    {"empty_loop", empty},
    {"rate_wait", rate_wait},
    {"rate_charge", rate_charge},
    {"rate_used", rate_used},
    {"rate_sync", rate_sync},
    {"breaker_wait_closed", breaker_wait},
    {"breaker_enter_leave", breaker_enter_leave},
    {"latency_start_end", latency_start_end},
    {"latency_expect", latency_expect},
    {"latency_learn", latency_learn},
    {"budget_free", budget_free},
    {"budget_reserve_settle", budget_reserve_settle},
    {"hist_add", hist_add},
    {"hist_quantile", hist_quantile},
    {"track_add", track_add},
    {"track_value", track_value},
    {"affinity_find", affinity_find},
    {"affinity_score", affinity_score},
    {"five_candidates", five_candidates},
    {"decide_5", decide_5},
    {"decide_200", decide_200},
    {"decide_p2c_16", decide_p2c_16},
    {"decide_p2c_10000", decide_p2c_10000},
    {"pick_cancel_5", pick_cancel_5},
};

static lb_pool *
make_pool(uint32_t n, enum lb_strategy strategy)
{
    lb_pool_size size = {n, 2 * n, 1, 1, n, 0};
    lb_pool *p = lb_pool_new(&size, 1);
    uint32_t *members = malloc(n * sizeof *members);
    if (p == NULL || members == NULL)
        exit(1);
    lb_price price;
    lb_price_init(&price);
    price.pico[LB_INPUT] = 2500000;
    price.pico[LB_OUTPUT] = 10000000;
    (void)lb_price_complete(&price, NULL);
    lb_terms terms = {.context = 128000, .max_calls = 100000, .weight = 1};
    for (uint32_t i = 0; i < n; i++) {
        members[i] = i;
        (void)lb_pool_add_backend(p, &terms, &price, &rules);
        (void)lb_pool_add_limit(p, i, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10000000,
                                60 * LB_NS_PER_S, 0);
        (void)lb_pool_add_limit(p, i, LB_PER_TOKEN, LB_CHARGE_ACTUAL, 2000000000,
                                60 * LB_NS_PER_S, 0);
    }
    (void)lb_pool_add_budget(p, LB_FIXED, true, INT64_MAX, 86400 * LB_NS_PER_S,
                             86400 * LB_NS_PER_S, 0);
    (void)lb_pool_charge_all(p, 0);
    (void)lb_pool_add_group(p, strategy, -1, members, n);
    free(members);
    return p;
}

static void
set_up_pools(void)
{
    five = make_pool(5, LB_COMPOSITE);
    many = make_pool(200, LB_COMPOSITE);
    sixteen = make_pool(16, LB_P2C);
    crowd = make_pool(10000, LB_P2C);
    lb_ask_init(&ask, 0);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        ask.tokens[f] = 250;
    ask.max_tokens = 500;
    lb_result_init(&unsent);
    lb_result_init(&answer);
    answer.outcome = LB_DONE;
    answer.sent = answer.metered = true;
    answer.usage.count[LB_INPUT] = 250;
    answer.usage.count[LB_OUTPUT] = 100;
    answer.ttft = 0.2;
    answer.seconds = 1;
}

static void
set_up(void)
{
    now = 1000 * LB_NS_PER_S;
    lb_breaker_default(&rules);
    if (five == NULL)
        set_up_pools();
    memset(backends, 0, sizeof backends);
    for (int i = 0; i < BACKENDS; i++) {
        backend *b = &backends[i];
        lb_rate_init(&b->requests, 10000, 60 * LB_NS_PER_S, 0);
        lb_rate_init(&b->tokens, 2000000, 60 * LB_NS_PER_S, 0);
        lb_rate_charge(&b->requests, 40 * i, now);
        lb_rate_charge(&b->tokens, 9000 * i, now);
        lb_budget_init(&b->budget, LB_ROLLING, true, INT64_MAX, 3600 * LB_NS_PER_S, 0,
                       now);
        for (int k = 0; k < 40; k++) {
            double ttft = 0.2 + 0.01 * i + 0.05 * (k % 7);
            lb_answer a = {300 * (k % 7), 100, ttft, 3, 1 + k % 3};
            lb_latency_learn(&b->latency, &prior, &a, now);
            lb_hist_add(&b->seconds, 3 + 0.1 * k);
            lb_track_add(&b->output, 0.8, 100 + 10 * (k % 9));
        }
        for (int k = 0; k < i % 4; k++)
            lb_latency_start(&b->latency, 200, now);
    }
    for (uint64_t i = 1; i <= SESSIONS / 2; i++)
        lb_affinity_bind(sessions, SESSIONS, lb_mix(i), 1, 2048, LB_FOREVER, now);
}

/* Not inlined: callgrind collects between its entry and its return. */
__attribute__((noinline)) static int64_t
run_calls(call *f, int64_t calls)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < calls; i++)
        sum ^= f(&backends[i % BACKENDS], i);
    return sum;
}

static double
clock_ns(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
    int64_t calls = argc > 2 ? strtoll(argv[2], NULL, 10) : 1000000;
    volatile int64_t sink = 0; /* or the loops would be left out */
    printf("bench,case,subject,metric,value,unit\n");
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) != 0)
            continue;
        int rounds = argc > 2 ? 1 : ROUNDS; /* counting, not timing */
        double ns[ROUNDS];
        set_up();
        for (int round = 0; round < rounds; round++) {
            double start = clock_ns();
            sink ^= run_calls(cases[i].call, calls);
            ns[round] = (clock_ns() - start) / (double)calls;
        }
        qsort(ns, (size_t)rounds, sizeof *ns, ascending);
        printf("core,%s,c,time,%.2f,ns\n", cases[i].name, ns[rounds / 2]);
    }
    return 0;
}

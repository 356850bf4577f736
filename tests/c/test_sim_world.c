/* Whole simulated worlds: whatever happens, nothing gets lost. */
#include "check.h"

#include <string.h>

#include "sim_world.h"

enum { N = 1000, BACKENDS = 4 };

static int64_t at[N];
static int32_t input[N], output[N], most[N];
static uint16_t group[N];
static uint32_t session[N];

static void
make_trace(lb_rng *rng)
{
    lb_ns now = 0;
    for (int i = 0; i < N; i++) {
        now += (lb_ns)lb_rng_below(rng, 40000000);
        at[i] = now;
        input[i] = 1 + (int32_t)lb_rng_below(rng, 4000);
        output[i] = (int32_t)lb_rng_below(rng, 300);
        most[i] = lb_rng_below(rng, 2) == 0 ? 0 : 400;
        group[i] = (uint16_t)lb_rng_below(rng, 2);
        session[i] = lb_rng_below(rng, 50);
    }
}

static lb_pool *
make_pool(int strategy, bool budget)
{
    lb_pool_size size = {.backends = BACKENDS,
                         .limits = 4 * BACKENDS,
                         .budgets = 1,
                         .groups = 2,
                         .members = 2 * BACKENDS,
                         .sessions = 64};
    lb_pool *p = lb_pool_new(&size, 9);
    lb_breaker_rules rules;
    lb_breaker_default(&rules);
    lb_price price;
    lb_price_init(&price);
    price.pico[LB_INPUT] = 1000000;
    price.pico[LB_OUTPUT] = 4000000;
    CHECK_EQ(lb_price_complete(&price, NULL), LB_OK);
    for (uint32_t i = 0; i < BACKENDS; i++) {
        lb_terms terms = {.id = i + 1,
                          .weight = 1,
                          .cache_life = 60 * LB_NS_PER_S,
                          .max_calls = 100,
                          .context = i < 2 ? 3000 : 0};
        CHECK_EQ(lb_pool_add_backend(p, &terms, &price, &rules), (int64_t)i);
        CHECK(lb_pool_add_limit(p, i, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 900,
                                60 * LB_NS_PER_S, 0) >= 0);
    }
    const uint32_t first[] = {0, 1}, second[] = {2, 3};
    CHECK_EQ(lb_pool_add_group(p, (enum lb_strategy)strategy, -1, first, 2), 0);
    CHECK_EQ(lb_pool_add_group(p, (enum lb_strategy)strategy, 1e-3, second, 2), 1);
    if (budget) {
        int i = lb_pool_add_budget(p, LB_FIXED, true, INT64_C(5000000000),
                                   60 * LB_NS_PER_S, 60 * LB_NS_PER_S, 0);
        CHECK_EQ(lb_pool_charge_all(p, (uint32_t)i), LB_OK);
    }
    return p;
}

/* A fast one with hidden limits, a shared machine, a queue, and one that fails. */
static void
furnish(sim_world *w)
{
    const sim_service services[BACKENDS] = {
        {.ttft = 0.2,
         .ttft_spread = 0.5,
         .token = 0.005,
         .token_spread = 0.2,
         .headers = true,
         .retry_after = true,
         .cache_life = 60 * LB_NS_PER_S},
        {.ttft = 0.1,
         .prefill = 1e-4,
         .token = 0.002,
         .token_crowd = 0.002,
         .serial = true},
        {.ttft = 1, .slots = 8, .queue = 5, .shape = SIM_EXPONENTIAL},
        {.ttft = 0.3,
         .failure = 0.2,
         .failure_after = 0.1,
         .tail_share = 0.1,
         .tail_factor = 100},
    };
    for (uint32_t i = 0; i < BACKENDS; i++) {
        sim_fault f = {.from = SIM_DAWN + (lb_ns)(10 + 5 * i) * LB_NS_PER_S,
                       .until = SIM_DAWN + (lb_ns)(15 + 5 * i) * LB_NS_PER_S,
                       .trouble = (uint8_t)i,
                       .share = 0.8,
                       .factor = 3};
        sim_world_station(w, i)->service = services[i];
        CHECK_EQ(sim_world_add_fault(w, i, &f), LB_OK);
    }
    sim_limit l = {.unit = LB_PER_TOKEN, .charge = LB_CHARGE_ACTUAL};
    CHECK_EQ(lb_rate_init(&l.rate, 2000000, 60 * LB_NS_PER_S, 0), LB_OK);
    CHECK_EQ(sim_world_add_limit(w, 0, &l), 0);
    CHECK_EQ(sim_world_share_limit(w, 3, 0), LB_OK);
    sim_price change = {.at = SIM_DAWN + 20 * LB_NS_PER_S, .backend = 1};
    change.price = sim_world_station(w, 1)->price;
    change.price.pico[LB_INPUT] *= 3;
    CHECK_EQ(sim_world_add_price(w, &change), LB_OK);
}

static void
hold(const sim_world *w, const lb_pool *p)
{
    const sim_totals *t = &sim_world_tally(w)->total;
    int64_t ended = 0, done = 0, sent = 0, cost = 0;
    for (int e = 0; e < SIM_NENDS; e++)
        ended += t->end[e];
    CHECK_EQ(t->requests, N);
    CHECK_EQ(ended, N);
    CHECK_EQ(t->attempts, t->end[SIM_DONE] + t->limited + t->failed + t->timed_out);
    CHECK_EQ(sim_world_tally(w)->seconds.n, t->end[SIM_DONE]);
    const sim_tally *y = sim_world_tally(w);
    for (uint32_t i = 0; i < y->slices * y->backends; i++) {
        done += y->cell[i].done;
        sent += y->cell[i].sent;
        cost += y->cell[i].cost;
    }
    CHECK_EQ(done, t->end[SIM_DONE]);
    CHECK_EQ(sent, t->attempts);
    CHECK_EQ(cost, t->cost);
    CHECK_EQ(p->calls, 0);
    for (uint32_t i = 0; i < BACKENDS; i++)
        CHECK_EQ(lb_pool_backend(p, i)->latency.calls, 0);
}

/* What the router and the first group allow, with nine sorts of them. */
static void
allow(sim_world *w, sim_plan *plan, int sort)
{
    if (w == NULL) {
        plan->impatient = sort == 1;
        plan->most_waiting = sort == 2 ? 3 : sort == 3 ? 0 : -1;
        plan->retry_share = sort == 4 ? -1 : sort == 5 ? 0 : 0.2;
        return;
    }
    sim_terms terms = {.timeout = sort == 6 ? LB_NS_PER_S / 2 : 0,
                       .most = {(uint8_t)(sort >= 7 ? 5 : 0), 1, 2, 3},
                       .nlonger = sort == 8 ? 2 : 0,
                       .longer = {1, 0}};
    const sim_patience patience = {.first_token = LB_NS_PER_S, .total = LB_NS_PER_S};
    if (sort >= 6)
        CHECK_EQ(sim_world_set_terms(w, 0, &terms), LB_OK);
    if (sort == 7)
        CHECK_EQ(sim_world_set_patience(w, 2, &patience), LB_OK);
}

static void
live(int strategy, int rule, bool stream, bool budget, int sort)
{
    const sim_trace trace = {.n = N,
                             .at = at,
                             .input = input,
                             .output = output,
                             .group = group,
                             .most = most,
                             .session = session};
    sim_plan plan = {.seed = 5,
                     .rule = rule,
                     .timeout = 8 * LB_NS_PER_S,
                     .stream = stream,
                     .mismeasure = 0.1,
                     .slice = LB_NS_PER_S,
                     .slices = 30,
                     .samples = true,
                     .block_tokens = 512};
    allow(NULL, &plan, sort);
    const uint32_t chain[] = {0, 2, 3}, links[] = {0, 1, 1};
    lb_pool *p = make_pool(strategy, budget);
    sim_world *w = sim_world_new(p, &trace, &plan, chain, links);
    furnish(w);
    allow(w, &plan, sort);
    int state;
    while ((state = sim_world_run(w, 150)) == LB_OK)
        continue;
    CHECK_EQ(state, 1);
    hold(w, p);
    for (uint32_t i = 0; i < BACKENDS; i++) {
        CHECK_EQ(sim_world_station(w, i)->serving, 0);
        CHECK_EQ(sim_world_station(w, i)->live, 0);
    }
    sim_world_free(w);
    lb_pool_free(p);
}

static void
nothing_gets_lost_under_any_strategy(void)
{
    for (int s = 0; s < LB_NSTRATEGIES; s++)
        for (int k = 0; k < 4; k++)
            live(s, -1, k % 2 == 1, k / 2 == 1, 0);
}

static void
nothing_gets_lost_under_the_rules_of_others(void)
{
    for (int r = 0; r < SIM_NRULES; r++) {
        CHECK(sim_rule_name(r) != NULL);
        live(LB_COMPOSITE, r, r % 2 == 1, false, 0);
    }
    CHECK(sim_rule_name(SIM_NRULES) == NULL && sim_rule_name(-1) == NULL);
}

static void
nothing_gets_lost_whatever_groups_and_the_router_allow(void)
{
    for (int sort = 0; sort < 9; sort++)
        for (int k = 0; k < 4; k++)
            live(LB_COMPOSITE, -1, k % 2 == 1, k / 2 == 1, sort);
}

static void
set_up_refuses_what_makes_no_sense(void)
{
    lb_pool *p = make_pool(LB_COST, false);
    const sim_trace none = {.n = 0};
    const sim_plan plan = {.rule = -1, .timeout = 1, .slice = 1, .slices = 1};
    const uint32_t chain[] = {0, 0, 0}, links[] = {0};
    sim_world *w = sim_world_new(p, &none, &plan, chain, links);
    sim_fault f = {.from = 5, .until = 5};
    sim_price price = {.at = 0};
    sim_limit l = {.unit = LB_NUNITS};
    CHECK_EQ(sim_world_add_fault(w, 0, &f), LB_EINVAL);
    CHECK_EQ(sim_world_add_price(w, &price), LB_EINVAL);
    CHECK_EQ(sim_world_add_limit(w, 0, &l), LB_EINVAL);
    CHECK_EQ(sim_world_share_limit(w, 0, 0), LB_EINVAL);
    const sim_terms fine = {0}, back = {.timeout = -1};
    const sim_terms nowhere = {.nlonger = 1, .longer = {2}};
    const sim_terms many = {.nlonger = SIM_TERMS_LINKS + 1};
    const sim_patience none_left = {.total = -1}, any = {0};
    CHECK_EQ(sim_world_set_terms(w, 2, &fine), LB_EINVAL);
    CHECK_EQ(sim_world_set_terms(w, 0, &back), LB_EINVAL);
    CHECK_EQ(sim_world_set_terms(w, 0, &nowhere), LB_EINVAL);
    CHECK_EQ(sim_world_set_terms(w, 0, &many), LB_EINVAL);
    CHECK_EQ(sim_world_set_patience(w, BACKENDS, &any), LB_EINVAL);
    CHECK_EQ(sim_world_set_patience(w, 0, &none_left), LB_EINVAL);
    CHECK(sim_world_station(w, BACKENDS) == NULL);
    CHECK(sim_world_peer(w, BACKENDS) == NULL);
    CHECK_EQ(sim_world_run(w, 10), 1); /* an empty day is over at once */
    sim_world_free(w);
    sim_world_free(NULL);
    lb_pool_free(p);
}

int
main(void)
{
    lb_rng rng = {7};
    make_trace(&rng);
    CHECK_RUN(nothing_gets_lost_under_any_strategy);
    CHECK_RUN(nothing_gets_lost_under_the_rules_of_others);
    CHECK_RUN(nothing_gets_lost_whatever_groups_and_the_router_allow);
    CHECK_RUN(set_up_refuses_what_makes_no_sense);
    return CHECK_DONE();
}

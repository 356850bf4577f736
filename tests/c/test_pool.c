/* The block of a pool: its places, what it refuses, what changes while it runs. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */

#include "check.h"
#include "pool_kit.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int32_t allocations_left = INT32_MAX;

/* Stands in front of the library's: the pool's one allocation can be made to fail. */
void *
aligned_alloc(size_t alignment, size_t size)
{
    void *block = NULL;
    if (allocations_left-- <= 0)
        return NULL;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

static void
a_size_out_of_range_makes_no_pool(void)
{
    static const lb_pool_size bad[] = {
        {.backends = 0},
        {.backends = LB_NAMES_MAX + 1},
        {.backends = 1, .limits = LB_NAMES_MAX + 1},
        {.backends = 1, .budgets = LB_NAMES_MAX + 1},
        {.backends = 1, .groups = LB_NAMES_MAX + 1},
        {.backends = 1, .sessions = 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(lb_pool_new(&bad[i], 1) == NULL);
    lb_pool_free(NULL);
}

static void
tables_lie_behind_one_another_on_cache_lines(void)
{
    lb_pool *p = kit_pool(3);
    const uint64_t at[] = {p->backends, p->records, p->limits, p->budgets,
                           p->groups,   p->members, p->smooth, p->credit,
                           p->sessions, p->quotes,  p->bytes};
    uint64_t last = sizeof *p - 1;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        CHECK(at[i] > last && at[i] % 64 == 0);
        last = at[i];
    }
    CHECK_EQ((int64_t)((uintptr_t)p % 64), 0);
    CHECK(sizeof(lb_backend) + sizeof(lb_record) + 2 * sizeof(lb_limit) <= 2048);
    lb_pool_free(p);
}

static void
a_failed_allocation_makes_no_pool(void)
{
    const lb_pool_size size = {.backends = 1};
    allocations_left = 0;
    CHECK(lb_pool_new(&size, 1) == NULL);
    allocations_left = 1;
    lb_pool *p = lb_pool_new(&size, 1);
    CHECK(p != NULL);
    lb_pool_free(p);
    allocations_left = INT32_MAX;
}

static void
terms_and_rules_out_of_range_are_refused(void)
{
    lb_pool *p = kit_pool(1);
    lb_price price = kit_price(1, 1);
    lb_breaker_rules rules;
    lb_breaker_default(&rules);
    lb_terms good = {.weight = 1}, bad[9];
    static const char *const fields[9] = {"context",    "max_output", "max_calls",
                                          "weight",     "weight",     "family",
                                          "cache_life", "weight",     "weight"};
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].context = -1;
    bad[1].max_output = -1;
    bad[2].max_calls = -1;
    bad[3].weight = -1;
    bad[4].weight = 1.1e6F;
    bad[5].family = LB_TOK_NFAMILIES;
    bad[6].cache_life = -1;
    bad[7].weight = NAN;
    bad[8].weight = 1e-7F;
    for (int i = 0; i < 9; i++) {
        CHECK_EQ(lb_pool_add_backend(p, &bad[i], &price, &rules), LB_EINVAL);
        CHECK_EQ(lb_pool_set_terms(p, 0, &bad[i]), LB_EINVAL);
        CHECK(strncmp(lb_terms_flaw(&bad[i]), fields[i], strlen(fields[i])) == 0);
    }
    CHECK(lb_terms_flaw(&good) == NULL);
    good.weight = 0;
    CHECK(lb_terms_flaw(&good) == NULL);
    rules.min_calls = 0;
    CHECK_EQ(lb_pool_add_backend(p, &good, &price, &rules), LB_EINVAL);
    CHECK_EQ(lb_pool_set_rules(p, 0, &rules), LB_EINVAL);
    lb_breaker_default(&rules);
    rules.window = 7 * SEC;
    CHECK_EQ(lb_pool_set_rules(p, 0, &rules), LB_OK);
    CHECK_EQ(lb_pool_record(p, 0)->window, 7 * SEC);
    CHECK_EQ(lb_pool_set_rules(p, 1, &rules), LB_EINVAL);
    CHECK_EQ(lb_pool_set_price(p, 1, &price), LB_EINVAL);
    CHECK_EQ(lb_pool_set_terms(p, 1, &good), LB_EINVAL);
    CHECK_EQ(lb_pool_set_terms(p, 0, &good), LB_OK);
    lb_pool_free(p);
}

static void
a_full_table_of_backends_says_so(void)
{
    lb_pool *p = kit_pool(1);
    for (int i = 0; i < KIT_ROOM; i++)
        CHECK_EQ(kit_add(p, 1, 1, 1), i + 1);
    CHECK_EQ(kit_add(p, 1, 1, 1), LB_EFULL);
    lb_pool_free(p);
}

static void
backends_of_one_account_count_their_calls_together(void)
{
    lb_pool *p = kit_pool(3);
    CHECK_EQ(lb_pool_share_calls(p, 9, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_share_calls(p, 0, 9), LB_EINVAL);
    CHECK_EQ(lb_pool_share_calls(p, 1, 0), LB_OK);
    CHECK_EQ(lb_pool_share_calls(p, 2, 1), LB_OK);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(lb_pool_held(p, lb_pool_backend(p, i)) == &lb_pool_backend(p, 0)->held);
    lb_pool_backend(p, 1)->latency.calls = 1;
    CHECK_EQ(lb_pool_share_calls(p, 1, 2), LB_EINVAL);
    lb_pool_backend(p, 0)->held = 1;
    CHECK_EQ(lb_pool_share_calls(p, 0, 2), LB_EINVAL);
    lb_pool_free(p);
}

static void
who_leads_an_account_takes_it_along(void)
{
    lb_pool *p = kit_pool(4);
    CHECK_EQ(lb_pool_share_calls(p, 2, 0), LB_OK);
    CHECK_EQ(lb_pool_share_calls(p, 0, 1), LB_OK);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(lb_pool_held(p, lb_pool_backend(p, i)) == &lb_pool_backend(p, 1)->held);
    CHECK(lb_pool_held(p, lb_pool_backend(p, 3)) == &lb_pool_backend(p, 3)->held);
    lb_pool_free(p);
}

/* Calls to each of the first two members of group 0 in `n` picks by their weights. */
static void
count_turns(lb_pool *p, int n, int64_t turns[2])
{
    lb_ask ask = kit_ask(0, 10);
    lb_lease lease;
    turns[0] = turns[1] = 0;
    for (int k = 0; k < n; k++)
        turns[lb_lease_pick(p, &ask, &lease, 0)]++;
}

static void
weights_that_change_begin_a_new_round(void)
{
    lb_pool *p = kit_pool(3);
    uint32_t two[2] = {0, 1}, third = 2;
    int64_t turns[2];
    CHECK_EQ(lb_pool_add_group(p, LB_WEIGHTED, -1, two, 2), 0);
    CHECK_EQ(lb_pool_add_group(p, LB_WEIGHTED, -1, &third, 1), 1);
    lb_terms terms = lb_pool_backend(p, 0)->terms;
    for (float weight = 1000; weight >= 1; weight /= 1000) {
        terms.weight = weight;
        for (uint32_t i = 0; i < 2; i++)
            CHECK_EQ(lb_pool_set_terms(p, i, &terms), LB_OK);
        lb_pool_smooth(p, lb_pool_group(p, 1))[0] = 7;
        count_turns(p, 11, turns);
        CHECK(turns[0] >= 5 && turns[1] >= 5);
    }
    CHECK(lb_pool_smooth(p, lb_pool_group(p, 1))[0] == 7); /* it has no part in it */
    lb_pool_free(p);
}

static int
add_limit(lb_pool *p, uint32_t backend, int64_t limit)
{
    return lb_pool_add_limit(p, backend, LB_PER_REQUEST, LB_CHARGE_ACTUAL, limit, MIN,
                             0);
}

static void
limits_are_added_shared_and_refused(void)
{
    lb_pool *p = kit_pool(2);
    CHECK_EQ(add_limit(p, 9, 10), LB_EINVAL);
    CHECK_EQ(add_limit(p, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_share_limit(p, 1, 0), LB_EINVAL);
    for (int i = 0; i < LB_LIMITS; i++)
        CHECK_EQ(add_limit(p, 0, 10), i);
    CHECK_EQ(add_limit(p, 0, 10), LB_EFULL);
    CHECK_EQ(lb_pool_share_limit(p, 0, 0), LB_EFULL);
    CHECK_EQ(lb_pool_share_limit(p, 9, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_share_limit(p, 1, 7), LB_OK);
    CHECK_EQ(lb_pool_backend(p, 1)->limit[0], 7);
    for (uint32_t b = 2; b < 4; b++)
        (void)kit_add(p, 1, 1, 1);
    while (p->used.limits < p->size.limits)
        CHECK(add_limit(p, 1 + p->used.limits % 3, 10) >= 0);
    CHECK_EQ(add_limit(p, 3, 10), LB_EFULL);
    lb_pool_free(p);
}

static void
the_share_of_a_limit_needs_no_division(void)
{
    lb_pool *p = kit_pool(1);
    CHECK_EQ(add_limit(p, 0, 7), 0);
    lb_limit *l = lb_pool_limit(p, 0);
    for (lb_ns now = SEC; now < 100 * SEC; now += 3 * SEC) {
        lb_limit_charge(l, now / SEC % 3, now);
        double apart = lb_limit_used(l, now) - lb_rate_used(&l->rate, now);
        CHECK(apart < 1e-6 && apart > -1e-6);
    }
    lb_pool_free(p);
}

static void
the_pace_of_a_limit_follows_what_is_charged_and_fades(void)
{
    lb_pool *p = kit_pool(1);
    CHECK_EQ(add_limit(p, 0, 6000), 0);
    lb_limit *l = lb_pool_limit(p, 0);
    lb_ns now = 0;
    for (int i = 0; i < 2000; i++, now += SEC / 10)
        lb_limit_charge(l, 2, now);
    float pace = lb_limit_pace(l, now);
    CHECK(pace > 18 && pace < 22); /* 20 units a second */
    CHECK(lb_limit_pace(l, now + 10 * SEC) < 0.52F * pace);
    lb_limit_charge(l, 0, now + 10 * SEC); /* nothing was charged: no new time */
    lb_limit_charge(l, -50, now + 10 * SEC);
    CHECK(lb_limit_pace(l, now) == pace);
    lb_pool_free(p);
}

static void
budgets_are_attached_where_they_belong(void)
{
    lb_pool *p = kit_pool(2);
    int g = kit_group(p, LB_COST);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, -1, 0, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_charge_all(p, 0), LB_EINVAL);
    for (int i = 0; i < KIT_ROOM; i++)
        CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 100, 0, 0, 0), i);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 100, 0, 0, 0), LB_EFULL);
    CHECK_EQ(lb_pool_charge_group(p, 9, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_charge_backend(p, 9, 0), LB_EINVAL);
    for (uint32_t i = 0; i < LB_BUDGETS; i++) {
        CHECK_EQ(lb_pool_charge_all(p, i), LB_OK);
        CHECK_EQ(lb_pool_charge_group(p, (uint32_t)g, i), LB_OK);
        CHECK_EQ(lb_pool_charge_backend(p, 1, i), LB_OK);
    }
    CHECK_EQ(lb_pool_charge_all(p, 5), LB_EFULL);
    CHECK_EQ(lb_pool_charge_group(p, (uint32_t)g, 5), LB_EFULL);
    CHECK_EQ(lb_pool_charge_backend(p, 1, 5), LB_EFULL);
    lb_pool_free(p);
}

static void
groups_take_known_backends_once_each(void)
{
    lb_pool *p = kit_pool(3);
    const uint32_t good[] = {2, 0}, unknown[] = {0, 3}, twice[] = {1, 1};
    CHECK_EQ(lb_pool_add_group(p, LB_NSTRATEGIES, -1, good, 2), LB_EINVAL);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, unknown, 2), LB_EINVAL);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, twice, 2), LB_EINVAL);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, good, 99), LB_EINVAL);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, good, 2), 0);
    CHECK_EQ(lb_pool_members(p, lb_pool_group(p, 0))[0], 2);
    CHECK_EQ(lb_pool_set_members(p, 1, good, 2), LB_EINVAL);
    for (int i = 1; i < KIT_ROOM; i++)
        CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, good, 1), i);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, good, 1), LB_EFULL);
    lb_pool_free(p);
}

static void
a_group_grows_and_shrinks_in_its_place(void)
{
    lb_pool_size size = {.backends = 4, .groups = 2, .members = 7};
    lb_pool *p = lb_pool_new(&size, 1);
    const uint32_t all[] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        (void)kit_add(p, 1, 1, 1);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, all, 2), 0);
    lb_group *g = lb_pool_group(p, 0);
    CHECK_EQ(lb_pool_set_members(p, 0, all, 4), LB_OK); /* moved */
    CHECK_EQ(g->first, 2);
    CHECK_EQ(lb_pool_set_members(p, 0, all, 1), LB_OK);
    CHECK_EQ(lb_pool_set_members(p, 0, all, 4), LB_OK); /* its places are still its */
    CHECK_EQ(g->first, 2);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, all, 2), LB_EFULL);
    CHECK_EQ(p->used.groups, 1);
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, all, 1), 1);
    CHECK_EQ(lb_pool_set_members(p, 1, all, 0), LB_OK);
    lb_pool_free(p);
}

static void
a_group_knows_whether_its_members_have_one_order(void)
{
    lb_pool *p = kit_pool(3);
    int g = kit_group(p, LB_COST);
    CHECK_EQ(lb_pool_group(p, (uint32_t)g)->mixed, 0);
    lb_terms terms = lb_pool_backend(p, 1)->terms;
    terms.order = 2;
    CHECK_EQ(lb_pool_set_terms(p, 1, &terms), LB_OK);
    CHECK_EQ(lb_pool_group(p, (uint32_t)g)->mixed, 1);
    terms.weight = 3;
    CHECK_EQ(lb_pool_set_terms(p, 1, &terms), LB_OK);
    CHECK_EQ(lb_pool_group(p, (uint32_t)g)->mixed, 1);
    const uint32_t same[] = {0, 2};
    CHECK_EQ(lb_pool_set_members(p, (uint32_t)g, same, 2), LB_OK);
    CHECK_EQ(lb_pool_group(p, (uint32_t)g)->mixed, 0);
    lb_pool_free(p);
}

static void
backends_of_one_family_bill_alike_until_one_is_clearly_apart(void)
{
    lb_pool *p = kit_pool(3);
    lb_backend *a = lb_pool_backend(p, 0), *b = lb_pool_backend(p, 1);
    CHECK(lb_pool_ratio(p, a) == 1);
    for (int i = 0; i < 100; i++)
        lb_pool_learn_ratio(p, a, 1000, 1100);
    CHECK(fabsf(lb_pool_ratio(p, a) - 1.1F) < 0.001F);
    CHECK(lb_pool_ratio(p, b) == lb_pool_ratio(p, a)); /* nobody has called it */
    lb_pool_learn_ratio(p, b, 1000, 1600); /* 4 % higher than the rest now */
    CHECK(lb_pool_ratio(p, b) == p->ratio[0]);
    for (int i = 0; i < 3; i++) {
        lb_pool_learn_ratio(p, b, 1000, 1800);
        for (int k = 0; k < 20; k++)
            lb_pool_learn_ratio(p, a, 1000, 1100);
    }
    CHECK(lb_pool_ratio(p, b) == b->ratio && b->ratio > 1.2F);
    CHECK(lb_pool_ratio(p, a) == p->ratio[0]);
    b->ratio = 0.9F;
    CHECK(lb_pool_ratio(p, b) == 0.9F);
    lb_pool_free(p);
}

static void
shares_add_up_to_one_at_most(void)
{
    lb_pool *p = kit_pool(3);
    const uint32_t all[] = {0, 1, 2};
    CHECK_EQ(lb_pool_set_share(p, 3, 0.5), LB_EINVAL);
    CHECK_EQ(lb_pool_set_share(p, 0, 1.01), LB_EINVAL);
    CHECK_EQ(lb_pool_set_share(p, 0, -0.01), LB_EINVAL);
    CHECK_EQ(lb_pool_set_share(p, 0, 0.0 / 0.0), LB_EINVAL);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(lb_pool_set_share(p, i, i < 2 ? 0.3 : 0.4), LB_OK);
    int g = lb_pool_add_group(p, LB_COST, -1, all, 3);
    CHECK(g >= 0 && lb_pool_group(p, (uint32_t)g)->shared);
    CHECK_EQ(lb_pool_set_share(p, 2, 0.5), LB_OK);
    CHECK_EQ(lb_pool_set_share(p, 2, 0.5), LB_OK); /* nothing new */
    CHECK_EQ(lb_pool_add_group(p, LB_COST, -1, all, 3), LB_EINVAL);
    CHECK_EQ(lb_pool_set_members(p, (uint32_t)g, all, 3), LB_EINVAL);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(lb_pool_set_share(p, i, 0), LB_OK);
    CHECK(!lb_pool_group(p, (uint32_t)g)->shared);
    lb_pool_free(p);
}

static void
a_limit_changes_and_what_is_spent_stays_spent(void)
{
    lb_pool *p = kit_pool(1);
    int g = kit_group(p, LB_PREDICTIVE);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_REQUEST, LB_CHARGE_ACTUAL, 10, MIN, 0), 0);
    lb_limit *l = lb_pool_limit(p, 0);
    lb_ask ask = kit_ask(g, 10);
    lb_lease lease[11];
    for (int k = 0; k < 10; k++)
        CHECK_EQ(lb_lease_pick(p, &ask, &lease[k], 0), 0);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[10], 0), LB_NOTHING);

    CHECK_EQ(lb_pool_set_limit(p, 0, 11, MIN, 0, 0), LB_OK);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[10], 0), 0);
    CHECK_EQ(lb_rate_free(&l->rate, 0), 0);
    CHECK(lb_limit_used(l, 0) > 0.999 && lb_limit_used(l, 0) < 1.001);
    lb_result back;
    lb_result_init(&back); /* not sent: given back under the new limit */
    for (int k = 0; k < 5; k++)
        (void)lb_lease_settle(p, &lease[k], &back, 0);
    CHECK_EQ(lb_rate_free(&l->rate, 0), 5);
    CHECK_EQ(lb_pool_set_limit(p, 0, 3, MIN, 0, 0), LB_OK); /* 6 are spent */
    CHECK_EQ(lb_rate_wait(&l->rate, 1, 1, 0), 4 * MIN / 3);

    CHECK_EQ(lb_pool_set_limit(p, 0, 0, MIN, 0, 0), LB_OK);
    lb_lease more;
    CHECK_EQ(lb_lease_pick(p, &ask, &more, 0), 0); /* its forecast has no end */
    CHECK(lb_limit_used(l, 0) == 0);
    for (int k = 5; k < 11; k++)
        (void)lb_lease_settle(p, &lease[k], &back, 0);
    CHECK_EQ(lb_pool_set_limit(p, 0, 1, MIN, 0, 1), LB_OK);
    CHECK_EQ(lb_rate_free(&l->rate, 1), 1);

    CHECK_EQ(lb_pool_set_limit(p, 0, -1, MIN, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_set_limit(p, 0, 1, 0, 0, 0), LB_EINVAL);
    CHECK_EQ(lb_pool_set_limit(p, 1, 1, MIN, 0, 0), LB_EINVAL);
    CHECK_EQ(l->rate.limit, 1);
    lb_pool_free(p);
}

static void
calls_from_before_a_limit_was_lifted_give_nothing_back(void)
{
    lb_pool *p = kit_pool(1);
    lb_ask ask = kit_ask(kit_group(p, LB_COST), 1000);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_INPUT, LB_CHARGE_ACTUAL, 10000, MIN, 0), 0);
    const lb_rate *r = &lb_pool_limit(p, 0)->rate;
    lb_lease lease[4];
    lb_result back, more = kit_done(1500, 1, 0.1, 0.2);
    lb_result_init(&back);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[0], 0), 0);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[1], 0), 0);
    CHECK_EQ(lb_pool_set_limit(p, 0, 0, MIN, 0, 0), LB_OK);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[2], 0), 0);
    CHECK_EQ(lb_pool_set_limit(p, 0, 10000, MIN, 0, 0), LB_OK);
    CHECK_EQ(lb_lease_pick(p, &ask, &lease[3], 0), 0);
    CHECK_EQ(lb_rate_free(r, 0), 9000);
    (void)lb_lease_settle(p, &lease[0], &back, 0);
    (void)lb_lease_settle(p, &lease[2], &back, 0);
    CHECK_EQ(lb_rate_free(r, 0), 9000);
    (void)lb_lease_settle(p, &lease[1], &more, 0); /* what it used beyond is used now */
    CHECK_EQ(lb_rate_free(r, 0), 8500);
    CHECK_EQ(lb_pool_set_limit(p, 0, 20000, MIN, 0, 0), LB_OK); /* not lifted before */
    (void)lb_lease_settle(p, &lease[3], &back, 0);
    CHECK_EQ(lb_rate_free(r, 0), 19500);
    lb_pool_free(p);
}

static void
a_learned_limit_that_is_set_is_configured_from_then_on(void)
{
    lb_pool *p = kit_pool(1);
    CHECK_EQ(lb_pool_add_limit(p, 0, LB_PER_TOKEN, LB_CHARGE_ACTUAL, 10, MIN, 0), 0);
    lb_pool_limit(p, 0)->learned = 1;
    CHECK_EQ(lb_pool_set_limit(p, 0, 20, MIN, 5, 0), LB_OK);
    CHECK_EQ(lb_pool_limit(p, 0)->learned, 0);
    CHECK_EQ(lb_pool_limit(p, 0)->rate.ceiling, 20);
    CHECK_EQ(lb_pool_limit(p, 0)->rate.burst, 5);
    lb_pool_free(p);
}

static void
a_budget_changes_and_what_is_spent_stays_spent(void)
{
    lb_pool *p = kit_pool(1);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 100, 0, 0, 0), 0);
    lb_budget *b = lb_pool_budget(p, 0);
    lb_budget_reserve(b, 30);
    lb_budget_settle(b, 30, 60, 0);
    CHECK_EQ(lb_pool_set_budget(p, 0, 50, true), LB_OK);
    CHECK_EQ(lb_budget_free(b, 0), 0);
    CHECK_EQ(lb_pool_set_budget(p, 0, 70, true), LB_OK);
    CHECK_EQ(lb_budget_free(b, 0), 10);
    CHECK_EQ(lb_pool_set_budget(p, 0, 0, false), LB_OK);
    CHECK_EQ(lb_budget_free(b, 0), INT64_MAX);
    CHECK_EQ(b->spent, 60);
    CHECK_EQ(lb_pool_set_budget(p, 0, -1, true), LB_EINVAL);
    CHECK_EQ(lb_pool_set_budget(p, 1, 1, true), LB_EINVAL);
    lb_pool_free(p);
}

static void
size_classes_are_powers_of_two(void)
{
    static const int64_t cases[][2] = {
        {-5, 0}, {0, 0},    {1, 0},     {2, 1},        {3, 1},
        {4, 2},  {1023, 9}, {1024, 10}, {8 << 20, 23}, {INT64_MAX, 23}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(lb_pool_size_class(cases[i][0]), cases[i][1]);
}

int
main(void)
{
    CHECK_RUN(a_size_out_of_range_makes_no_pool);
    CHECK_RUN(tables_lie_behind_one_another_on_cache_lines);
    CHECK_RUN(a_failed_allocation_makes_no_pool);
    CHECK_RUN(terms_and_rules_out_of_range_are_refused);
    CHECK_RUN(a_full_table_of_backends_says_so);
    CHECK_RUN(backends_of_one_account_count_their_calls_together);
    CHECK_RUN(who_leads_an_account_takes_it_along);
    CHECK_RUN(weights_that_change_begin_a_new_round);
    CHECK_RUN(limits_are_added_shared_and_refused);
    CHECK_RUN(the_share_of_a_limit_needs_no_division);
    CHECK_RUN(the_pace_of_a_limit_follows_what_is_charged_and_fades);
    CHECK_RUN(budgets_are_attached_where_they_belong);
    CHECK_RUN(groups_take_known_backends_once_each);
    CHECK_RUN(a_group_grows_and_shrinks_in_its_place);
    CHECK_RUN(a_group_knows_whether_its_members_have_one_order);
    CHECK_RUN(backends_of_one_family_bill_alike_until_one_is_clearly_apart);
    CHECK_RUN(shares_add_up_to_one_at_most);
    CHECK_RUN(a_limit_changes_and_what_is_spent_stays_spent);
    CHECK_RUN(calls_from_before_a_limit_was_lifted_give_nothing_back);
    CHECK_RUN(a_learned_limit_that_is_set_is_configured_from_then_on);
    CHECK_RUN(a_budget_changes_and_what_is_spent_stays_spent);
    CHECK_RUN(size_classes_are_powers_of_two);
    return CHECK_DONE();
}

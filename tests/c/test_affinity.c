#include "check.h"
#include "lb_affinity.h"
#include "lb_rng.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const lb_ns LIFE = 300 * LB_NS_PER_S;

static void
a_session_is_found_until_its_cache_life_is_over(void)
{
    lb_session table[16] = {{0}};
    CHECK(lb_affinity_find(table, 16, 77, 0) == NULL);
    lb_affinity_bind(table, 16, 77, 3, 2048, LIFE, 0);
    lb_session *s = lb_affinity_find(table, 16, 77, LIFE - 1);
    CHECK(s != NULL && s->backend == 3 && s->tokens == 2048);
    CHECK(lb_affinity_find(table, 16, 77, LIFE) == NULL);
    CHECK(lb_affinity_find(table, 16, 78, 0) == NULL);
}

static void
using_a_session_again_prolongs_and_moves_it(void)
{
    lb_session table[16] = {{0}};
    lb_affinity_bind(table, 16, 77, 3, 2048, LIFE, 0);
    lb_affinity_bind(table, 16, 77, 5, 4096, LIFE, LIFE / 2);
    lb_session *s = lb_affinity_find(table, 16, 77, LIFE);
    CHECK(s != NULL && s->backend == 5 && s->tokens == 4096);
    CHECK_EQ(s - table, 77 % 16);
    lb_affinity_bind(table, 16, 77, 6, 1, LIFE, 9 * LIFE); /* long expired: same slot */
    CHECK(lb_affinity_find(table, 16, 77, 9 * LIFE) == s);
}

static void
a_life_without_end_never_expires(void)
{
    lb_session table[2] = {{0}};
    lb_affinity_bind(table, 2, 1, 0, 0, LB_FOREVER, LIFE);
    CHECK(lb_affinity_find(table, 2, 1, LB_FOREVER - 1) != NULL);
}

static void
in_a_full_neighbourhood_the_next_to_expire_makes_room(void)
{
    lb_session table[32] = {{0}};
    for (int i = 0; i < LB_AFFINITY_PROBES; i++) /* all of them want slot 4 */
        lb_affinity_bind(table, 32, 4 + 32 * (uint64_t)i, i, 0, LIFE + (i != 5), 0);
    lb_affinity_bind(table, 32, 4 + 32 * 100, 99, 0, LIFE, 1);
    CHECK(lb_affinity_find(table, 32, 4 + 32 * 5, 2) == NULL);
    CHECK(lb_affinity_find(table, 32, 4 + 32 * 100, 2) == &table[4 + 5]);
    for (int i = 0; i < LB_AFFINITY_PROBES; i++)
        CHECK((lb_affinity_find(table, 32, 4 + 32 * (uint64_t)i, 2) != NULL) ==
              (i != 5));
}

static void
expired_entries_are_used_before_live_ones_are_forgotten(void)
{
    lb_session table[8] = {{0}};
    for (uint64_t i = 1; i <= 8; i++)
        lb_affinity_bind(table, 8, i, 0, 0, i == 3 || i == 6 ? 5 : LIFE, 0);
    lb_affinity_bind(table, 8, 100, 0, 0, LIFE, 10);
    lb_affinity_bind(table, 8, 101, 0, 0, LIFE, 10);
    int live = 0;
    for (uint64_t hash = 1; hash <= 101; hash++)
        live += lb_affinity_find(table, 8, hash, 10) != NULL;
    CHECK_EQ(live, 8);
}

static void
tables_smaller_than_a_neighbourhood_and_none_at_all_work(void)
{
    lb_affinity_bind(NULL, 0, 5, 1, 1, LIFE, 0);
    CHECK(lb_affinity_find(NULL, 0, 5, 0) == NULL);
    for (uint32_t slots = 1; slots <= 4; slots *= 2) {
        lb_session table[4] = {{0}};
        for (uint64_t hash = 1; hash <= 20; hash++) {
            lb_affinity_bind(table, slots, hash, 1, 1, LIFE, (lb_ns)hash);
            CHECK(lb_affinity_find(table, slots, hash, (lb_ns)hash) != NULL);
        }
        CHECK(lb_affinity_find(table, slots, 999, 20) == NULL);
    }
}

/* Against a plain list: what the table knows is always the newest truth. */
static void
what_is_found_is_always_what_was_bound_last(void)
{
    enum { KEYS = 300, SLOTS = 64 };
    static lb_session table[SLOTS];
    static lb_session list[KEYS];
    lb_rng rng = {4};
    lb_ns now = 0;
    int hits = 0;
    memset(table, 0, sizeof table);
    for (int step = 0; step < 200000; step++) {
        now += (lb_ns)lb_rng_below(&rng, 5);
        uint32_t key = lb_rng_below(&rng, lb_rng_below(&rng, KEYS) + 1);
        uint64_t hash = lb_mix(key + 1);
        lb_session *s = lb_affinity_find(table, SLOTS, hash, now);
        if (s != NULL) {
            hits++;
            CHECK(s->hash == hash && s->expires == list[key].expires);
            CHECK(s->backend == list[key].backend && s->tokens == list[key].tokens);
            CHECK(s->note == key);
        }
        if (lb_rng_below(&rng, 3) == 0) {
            lb_ns life = 1 + (lb_ns)lb_rng_below(&rng, 400);
            int backend = step % 60000;
            s = lb_affinity_bind(table, SLOTS, hash, backend, step / 2, life, now);
            CHECK(s->note == 0);
            s->note = (uint16_t)key; /* gone with the next call */
            list[key] = *s;
            CHECK(lb_affinity_find(table, SLOTS, hash, now) != NULL);
        }
    }
    CHECK(hits > 20000);
}

static int
rendezvous(uint64_t hash, const double *weight, int n, int absent)
{
    int best = -1;
    double score = -1;
    for (int i = 0; i < n; i++) {
        double s = lb_affinity_score(hash, (uint64_t)i, weight[i]);
        if (i != absent && s > score) {
            score = s;
            best = i;
        }
    }
    return best;
}

static void
sessions_spread_by_weight(void)
{
    static const double weight[] = {1, 2, 3, 0.5, 3.5};
    int count[5] = {0}, n = 100000;
    for (int i = 0; i < n; i++)
        count[rendezvous(lb_mix((uint64_t)i), weight, 5, -1)]++;
    for (int i = 0; i < 5; i++)
        CHECK(fabs((double)count[i] / n - weight[i] / 10) < 0.006);
}

static void
removing_a_backend_moves_only_its_own_sessions(void)
{
    static const double weight[] = {1, 1, 2, 1};
    int moved[4] = {0};
    for (int i = 0; i < 20000; i++) {
        int before = rendezvous(lb_mix((uint64_t)i), weight, 4, -1);
        int after = rendezvous(lb_mix((uint64_t)i), weight, 4, 2);
        CHECK(before == 2 || before == after);
        moved[after] += before == 2;
    }
    CHECK(moved[0] > 2500 && moved[1] > 2500 && moved[3] > 2500); /* and evenly */
}

static void
the_cap_is_the_fair_share_with_some_air_rounded_up(void)
{
    CHECK_EQ(lb_affinity_cap(1.25, 0, 1, 4), 1);
    CHECK_EQ(lb_affinity_cap(1.25, 3, 1, 4), 2);
    CHECK_EQ(lb_affinity_cap(1.25, 99, 1, 4), 32);
    CHECK_EQ(lb_affinity_cap(1.25, 99, 2, 5), 50);
    CHECK_EQ(lb_affinity_cap(1.25, 3, 0.2, 1),
             1); /* 1.25 * 4 / 5, whatever floats say */
    CHECK_EQ(lb_affinity_cap(1.1, 9, 1, 1), 11);
    CHECK_EQ(lb_affinity_cap(1.1, 9, 1e-12, 1), 1);
}

int
main(void)
{
    CHECK_RUN(a_session_is_found_until_its_cache_life_is_over);
    CHECK_RUN(using_a_session_again_prolongs_and_moves_it);
    CHECK_RUN(a_life_without_end_never_expires);
    CHECK_RUN(in_a_full_neighbourhood_the_next_to_expire_makes_room);
    CHECK_RUN(expired_entries_are_used_before_live_ones_are_forgotten);
    CHECK_RUN(tables_smaller_than_a_neighbourhood_and_none_at_all_work);
    CHECK_RUN(what_is_found_is_always_what_was_bound_last);
    CHECK_RUN(sessions_spread_by_weight);
    CHECK_RUN(removing_a_backend_moves_only_its_own_sessions);
    CHECK_RUN(the_cap_is_the_fair_share_with_some_air_rounded_up);
    return CHECK_DONE();
}

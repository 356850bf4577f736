#include "check.h"
#include "lb_learn.h"

#include <math.h>

static const lb_ns S = LB_NS_PER_S;
static const lb_ns HOUR = 3600 * LB_NS_PER_S;

/* One backend in one group, and a budget of each kind. */
static lb_pool *
small_pool(lb_ns now)
{
    lb_pool_size size = {.backends = 1, .budgets = 3, .groups = 1, .members = 1};
    lb_pool *p = lb_pool_new(&size, 1);
    lb_terms terms = {.weight = 1};
    lb_price price = {.pico = {0}};
    lb_breaker_rules rules;
    lb_breaker_default(&rules);
    CHECK_EQ(lb_pool_add_backend(p, &terms, &price, &rules), 0);
    CHECK_EQ(lb_pool_add_group(p, LB_COMPOSITE, -1, (uint32_t[]){0}, 1), 0);
    CHECK_EQ(lb_pool_add_budget(p, LB_TOTAL, true, 1000, 0, 0, now), 0);
    CHECK_EQ(lb_pool_add_budget(p, LB_FIXED, true, 1000, HOUR, now + HOUR, now), 1);
    CHECK_EQ(lb_pool_add_budget(p, LB_ROLLING, true, 1000, 32 * S, 0, now), 2);
    return p;
}

static void
a_lesson_taught_to_a_new_pool_predicts_the_same(void)
{
    lb_ns now = 1000 * S, later = 5 * S; /* another machine, another clock */
    lb_pool *old = small_pool(now), *new = small_pool(later);
    lb_backend *b = lb_pool_backend(old, 0);
    lb_latency_prior *prior = &lb_pool_group(old, 0)->prior;
    for (int i = 0; i < 50; i++)
        lb_latency_learn(&b->latency, prior,
                         &(lb_answer){.input = 500 + 100 * i,
                                      .output = 100,
                                      .ttft = 0.2 + 0.01 * i,
                                      .total = 1.2 + 0.01 * i,
                                      .load = 1 + i % 5},
                         now);
    b->ratio = 1.25F;
    b->fail = 0.125F;
    lb_lesson lesson;
    lb_learn_backend(old, 0, &lesson, now + 60 * S);
    CHECK_EQ(lesson.age, 60 * S);
    CHECK_EQ(lb_teach_backend(new, 0, &lesson, later), LB_OK);
    const lb_backend *c = lb_pool_backend(new, 0);
    CHECK(c->ratio == 1.25F && c->fail == 0.125F);
    CHECK(new->ratio[0] == 1.25F && lb_pool_ratio(new, c) == 1.25F);
    lesson.ratio = 1.3F; /* near enough to the family's to be its noise */
    CHECK_EQ(lb_teach_backend(new, 0, &lesson, later), LB_OK);
    CHECK(fabsf(new->ratio[0] - 1.275F) < 1e-6F);
    lesson.ratio = 1; /* without a bill of its own it follows the family */
    CHECK_EQ(lb_teach_backend(new, 0, &lesson, later), LB_OK);
    CHECK(fabsf(lb_pool_ratio(new, c) - 1.275F) < 1e-6F);
    for (int input = 0; input < 5000; input += 700) {
        bool stalls;
        double was =
            lb_latency_expect(&b->latency, prior, input, 80, now + 60 * S, &stalls);
        double is = lb_latency_expect(&c->latency, prior, input, 80, later, &stalls);
        CHECK(was > 0 && fabs(was - is) < 1e-9);
    }
    lesson.load = 0; /* written before loads were learned */
    CHECK_EQ(lb_teach_backend(new, 0, &lesson, later), LB_OK);
    CHECK(c->latency.load == 1 && c->latency.steep == 1);
    lb_pool_free(old);
    lb_pool_free(new);
}

static void
a_group_goes_on_with_the_lengths_it_knows(void)
{
    lb_pool *old = small_pool(0), *new = small_pool(0);
    lb_group *g = lb_pool_group(old, 0);
    g->prior = (lb_latency_prior){.ttft = 0.25F, .itl = 0.01F};
    g->answers = 40;
    g->output[9].mean = 300;
    for (int i = 0; i < 200; i++)
        lb_track_add(&g->output[9].track, 0.8, 200 + i);
    lb_group_lesson lesson;
    lb_learn_group(old, 0, &lesson);
    CHECK_EQ(lb_teach_group(new, 0, &lesson), LB_OK);
    const lb_group *h = lb_pool_group(new, 0);
    CHECK_EQ(h->answers, 40);
    CHECK(h->prior.ttft == 0.25F && h->output[9].mean == 300);
    double was = lb_track_value(&g->output[9].track);
    CHECK(was > 300 && fabs(lb_track_value(&h->output[9].track) - was) < 0.01);
    CHECK_EQ(h->output[9].high, (int64_t)lb_track_value(&h->output[9].track) + 1);
    CHECK_EQ((int64_t)h->output[9].track.seen, 200);
    CHECK(h->output[3].mean == 0 && lb_track_value(&h->output[3].track) == 0);
    lb_pool_free(old);
    lb_pool_free(new);
}

static void
what_no_pool_can_have_learned_changes_nothing(void)
{
    lb_pool *p = small_pool(0);
    lb_lesson good, bad;
    lb_learn_backend(p, 0, &good, 0);
    float *fields[] = {&bad.ratio, &bad.fail,  &bad.x,    &bad.y,
                       &bad.xx,    &bad.slope, &bad.itl,  &bad.seconds,
                       &bad.load,  &bad.nn,    &bad.steep};
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        const float wrong[] = {-1, NAN, INFINITY};
        for (int w = 0; w < 3; w++) {
            bad = good;
            *fields[k] = wrong[w];
            CHECK_EQ(lb_teach_backend(p, 0, &bad, 0), LB_EINVAL);
        }
    }
    float *wide[] = {&bad.xy, &bad.base, &bad.trend, &bad.nk};
    for (int k = 0; k < 4; k++) {
        bad = good;
        *wide[k] = NAN;
        CHECK_EQ(lb_teach_backend(p, 0, &bad, 0), LB_EINVAL);
    }
    bad = good;
    bad.samples = -1;
    CHECK_EQ(lb_teach_backend(p, 0, &bad, 0), LB_EINVAL);
    bad = good;
    bad.age = -1;
    CHECK_EQ(lb_teach_backend(p, 0, &bad, 0), LB_EINVAL);
    bad = good;
    bad.ratio = 0;
    CHECK_EQ(lb_teach_backend(p, 0, &bad, 0), LB_EINVAL);
    CHECK_EQ(lb_teach_backend(p, 1, &good, 0), LB_EINVAL);
    CHECK_EQ(lb_teach_backend(p, 0, &good, 0), LB_OK);
    CHECK(lb_pool_backend(p, 0)->ratio == 1);
    lb_pool_free(p);
}

static void
a_group_refuses_numbers_out_of_range(void)
{
    lb_pool *p = small_pool(0);
    lb_group_lesson good, bad;
    lb_learn_group(p, 0, &good);
    float *fields[] = {&bad.prior.ttft, &bad.prior.itl, &bad.output[5].mean,
                       &bad.output[5].high, &bad.output[5].seen};
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        const float wrong[] = {-1, NAN, INFINITY};
        for (int w = 0; w < 3; w++) {
            bad = good;
            *fields[k] = wrong[w];
            CHECK_EQ(lb_teach_group(p, 0, &bad), LB_EINVAL);
        }
    }
    bad = good;
    bad.answers = -1;
    CHECK_EQ(lb_teach_group(p, 0, &bad), LB_EINVAL);
    CHECK_EQ(lb_teach_group(p, 1, &good), LB_EINVAL);
    CHECK_EQ(lb_teach_group(p, 0, &good), LB_OK);
    lb_pool_free(p);
}

static void
earlier_spending_stands_where_it_will_be_forgotten(void)
{
    lb_ns now = 100 * S;
    lb_pool *p = small_pool(now);
    for (uint32_t i = 0; i < 3; i++) {
        lb_teach_spent(p, i, 10, 0, now);
        lb_teach_spent(p, i, 20, 5 * S + S / 2, now); /* six slots ago */
        lb_teach_spent(p, i, 40, 30 * S + S / 2, now);
    }
    CHECK_EQ(lb_pool_budget(p, 0)->spent, 70);
    CHECK_EQ(lb_pool_budget(p, 1)->spent, 70);
    lb_budget *rolling = lb_pool_budget(p, 2);
    CHECK_EQ(rolling->spent, 70);
    lb_teach_spent(p, 2, 80, 31 * S + 1, now); /* older than the window */
    CHECK_EQ(rolling->spent, 70);
    lb_budget_roll(rolling, now + S); /* the oldest slot is given up */
    CHECK_EQ(rolling->spent, 30);
    lb_budget_roll(rolling, now + 25 * S);
    CHECK_EQ(rolling->spent, 30);
    lb_budget_roll(rolling, now + 26 * S);
    CHECK_EQ(rolling->spent, 10);
    lb_budget_roll(rolling, now + 32 * S);
    CHECK_EQ(rolling->spent, 0);
    lb_budget_roll(lb_pool_budget(p, 1), now + HOUR);
    CHECK_EQ(lb_pool_budget(p, 1)->spent, 0);
    CHECK_EQ(lb_pool_budget(p, 0)->lifetime, 70);
    lb_pool_free(p);
}

static void
a_counter_that_is_full_stays_full(void)
{
    lb_pool *p = small_pool(0);
    lb_teach_spent(p, 0, INT64_MAX, 0, 0);
    lb_teach_spent(p, 0, 5, 0, 0);
    CHECK_EQ(lb_pool_budget(p, 0)->spent, INT64_MAX);
    lb_teach_spent(p, 2, INT64_MAX, 0, 0);
    lb_teach_spent(p, 2, 5, 3 * S, 0);
    lb_budget_roll(lb_pool_budget(p, 2), 60 * S);
    CHECK_EQ(lb_pool_budget(p, 2)->spent, 0);
    lb_pool_free(p);
}

int
main(void)
{
    CHECK_RUN(a_lesson_taught_to_a_new_pool_predicts_the_same);
    CHECK_RUN(a_group_goes_on_with_the_lengths_it_knows);
    CHECK_RUN(what_no_pool_can_have_learned_changes_nothing);
    CHECK_RUN(a_group_refuses_numbers_out_of_range);
    CHECK_RUN(earlier_spending_stands_where_it_will_be_forgotten);
    CHECK_RUN(a_counter_that_is_full_stays_full);
    return CHECK_DONE();
}

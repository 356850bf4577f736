#include "check.h"
#include "net_timer.h"

enum { MANY = 500 };

static uint32_t
draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)(*seed >> 33);
}

/* Random sets, moves and removals against the plain minimum of an array. */
static void
the_earliest_is_always_on_top(void)
{
    net_timers ts = {0};
    net_timer all[MANY] = {0};
    uint64_t seed = 7;
    for (int step = 0; step < 20000; step++) {
        net_timer *t = &all[draw(&seed) % MANY];
        if (draw(&seed) % 3 == 0)
            net_timers_clear(&ts, t);
        else
            CHECK(net_timers_set(&ts, t, draw(&seed) % 1000));
        lb_ns least = LB_FOREVER;
        for (int i = 0; i < MANY; i++)
            if (all[i].slot != 0)
                least = lb_min(least, all[i].at);
        CHECK_EQ(net_timers_wait(&ts, 0), least);
        const net_timer *due = net_timers_due(&ts, least == LB_FOREVER ? 0 : least);
        CHECK(least == LB_FOREVER ? due == NULL : due->at == least);
        CHECK(net_timers_due(&ts, least - 1) == NULL);
    }
    net_timers_free(&ts);
}

static void
what_is_overdue_waits_for_nothing(void)
{
    net_timers ts = {0};
    net_timer t = {0};
    CHECK_EQ(net_timers_wait(&ts, 5), LB_FOREVER);
    CHECK(net_timers_set(&ts, &t, 10));
    CHECK_EQ(net_timers_wait(&ts, 4), 6);
    CHECK_EQ(net_timers_wait(&ts, 40), 0);
    net_timers_clear(&ts, &t);
    net_timers_clear(&ts, &t);
    CHECK_EQ(net_timers_wait(&ts, 40), LB_FOREVER);
    net_timers_free(&ts);
}

int
main(void)
{
    CHECK_RUN(the_earliest_is_always_on_top);
    CHECK_RUN(what_is_overdue_waits_for_nothing);
    return CHECK_DONE();
}

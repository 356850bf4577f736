/* money.c - what the price of a call costs in C; run by money.py. */
#include "lb_price.h"

#include <stdio.h>
#include <time.h>

enum { CALLS = 20 * 1000 * 1000, REPEATS = 5 };

static double
seconds(void)
{
    struct timespec ts;
    timespec_get(&ts, TIME_UTC);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int64_t
estimates(const lb_price *p)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < CALLS; i++)
        sum += lb_price_estimate(p, 1000 + (i & 255), i & 511, 300);
    return sum;
}

static int64_t
costs(const lb_price *p)
{
    lb_usage u = {{0}};
    int64_t sum = 0;
    for (int64_t i = 0; i < CALLS; i++) {
        u.count[LB_INPUT] = 1000 + (i & 255);
        u.count[LB_CACHE_READ] = i & 511;
        u.count[LB_OUTPUT] = 300;
        u.count[LB_REASONING] = i & 127;
        u.count[LB_REQUESTS] = 1;
        sum += lb_price_cost(p, &u);
    }
    return sum;
}

static void
best_of(const char *name, int64_t (*work)(const lb_price *), const lb_price *p)
{
    double best = 1e9;
    volatile int64_t sink = 0;
    for (int i = 0; i < REPEATS; i++) {
        double start = seconds();
        sink = work(p);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    (void)sink;
    printf("%s %.3f\n", name, best * 1e9 / CALLS);
}

int
main(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 2500000;
    p.pico[LB_CACHE_READ] = 250000;
    p.pico[LB_OUTPUT] = 15000000;
    p.ntiers = 1;
    p.tier[0].above = 272000;
    p.tier[0].pico[LB_INPUT] = 5000000;
    p.tier[0].pico[LB_OUTPUT] = 22500000;
    if (lb_price_complete(&p, NULL) != LB_OK)
        return 1;
    best_of("lb_price_estimate", estimates, &p);
    best_of("lb_price_cost", costs, &p);
    return 0;
}

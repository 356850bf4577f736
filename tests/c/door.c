/* door.c - the way in for Python's ctypes: new leaves, and their fields as numbers.
 *
 * Compiled together with lb_*.c into a shared object by tests/test_model.py, which
 * then calls the functions of the headers themselves.
 */
#include "lb_breaker.h"
#include "lb_budget.h"
#include "lb_quantile.h"
#include "lb_rate.h"

#include <stdlib.h>

lb_rate *door_rate(void);
lb_breaker *door_breaker(void);
lb_budget *door_budget(void);
lb_hist *door_hist(void);
lb_breaker_rules *door_rules(const int32_t counts[4], const float shares[3],
                             const lb_ns times[4]);
bool door_sync(lb_rate *r, int64_t limit, int64_t remaining, lb_ns reset, lb_ns window,
               uint32_t serial, int64_t mark, lb_ns sent, lb_ns now);
void door_rate_fields(const lb_rate *r, int64_t out[4]);
void door_breaker_fields(const lb_breaker *b, int64_t out[11]);
void door_budget_fields(const lb_budget *b, int64_t out[4]);

lb_rate *
door_rate(void)
{
    return calloc(1, sizeof(lb_rate));
}

lb_breaker *
door_breaker(void)
{
    return calloc(1, sizeof(lb_breaker));
}

lb_budget *
door_budget(void)
{
    return calloc(1, sizeof(lb_budget));
}

lb_hist *
door_hist(void)
{
    return calloc(1, sizeof(lb_hist));
}

lb_breaker_rules *
door_rules(const int32_t counts[4], const float shares[3], const lb_ns times[4])
{
    lb_breaker_rules *rules = malloc(sizeof *rules);
    if (rules != NULL)
        *rules = (lb_breaker_rules){
            .in_a_row = counts[0],
            .min_calls = counts[1],
            .probes_to_close = (int16_t)counts[2],
            .timeouts_in_a_row = (int16_t)counts[3],
            .failure_rate = shares[0],
            .slow_rate = shares[1],
            .probe_share = shares[2],
            .window = times[0],
            .cooldown = times[1],
            .cooldown_max = times[2],
            .ramp = times[3],
        };
    return rules;
}

bool
door_sync(lb_rate *r, int64_t limit, int64_t remaining, lb_ns reset, lb_ns window,
          uint32_t serial, int64_t mark, lb_ns sent, lb_ns now)
{
    lb_reading h = {limit, remaining, reset, window};
    return lb_rate_sync(r, &h, serial, mark, sent, now);
}

void
door_rate_fields(const lb_rate *r, int64_t out[4])
{
    out[0] = r->limit;
    out[1] = r->burst;
    out[2] = r->ceiling;
    out[3] = r->charged;
}

void
door_breaker_fields(const lb_breaker *b, int64_t out[11])
{
    out[0] = b->state;
    out[1] = b->generation;
    out[2] = b->since;
    out[3] = b->until;
    out[4] = b->trips;
    out[5] = b->total_trips;
    out[6] = b->probed;
    out[7] = b->seen;
    out[8] = b->admitted;
    out[9] = b->probing;
    out[10] = b->probes_ok;
}

void
door_budget_fields(const lb_budget *b, int64_t out[4])
{
    out[0] = b->cap;
    out[1] = b->spent;
    out[2] = b->reserved;
    out[3] = b->lifetime;
}

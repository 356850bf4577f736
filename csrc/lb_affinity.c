#include "lb_affinity.h"
#include "lb_rng.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

lb_session *
lb_affinity_find(lb_session *table, uint32_t slots, uint64_t hash, lb_ns now)
{
    for (uint32_t i = 0; i < LB_AFFINITY_PROBES && i < slots; i++) {
        lb_session *s = &table[(hash + i) & (slots - 1)];
        if (s->hash == hash)
            return s->expires > now ? s : NULL;
        if (s->hash == 0) /* slots never become free again, only expired */
            return NULL;
    }
    return NULL;
}

/* Its own slot, else the first free or expired one, else the next to expire. */
static lb_session *
slot_for(lb_session *table, uint32_t slots, uint64_t hash, lb_ns now)
{
    lb_session *best = NULL;
    for (uint32_t i = 0; i < LB_AFFINITY_PROBES && i < slots; i++) {
        lb_session *s = &table[(hash + i) & (slots - 1)];
        if (s->hash == hash)
            return s;
        bool best_is_dead = best != NULL && best->expires <= now;
        if (best == NULL || (!best_is_dead && s->expires < best->expires))
            best = s;
        if (s->hash == 0)
            break;
    }
    return best;
}

lb_session *
lb_affinity_bind(lb_session *table, uint32_t slots, uint64_t hash, int32_t backend,
                 int32_t tokens, lb_ns life, lb_ns now)
{
    assert(hash != 0);
    lb_session *s = slot_for(table, slots, hash, now);
    if (s != NULL)
        *s = (lb_session){.hash = hash,
                          .expires = lb_add_capped(now, life),
                          .tokens = tokens,
                          .backend = (uint16_t)backend};
    return s;
}

double
lb_affinity_score(uint64_t hash, uint64_t backend, double weight)
{
    uint64_t mixed = lb_mix(hash ^ lb_mix(backend + UINT64_C(0x9e3779b97f4a7c15)));
    double unit = ((double)(mixed >> 11) + 0.5) * 0x1p-53; /* never 0, never 1 */
    return -weight / log(unit);
}

int64_t
lb_affinity_cap(double c, int64_t total, double weight, double sum)
{
    double cap = c * ((double)total + 1) * weight / sum;
    return lb_max((int64_t)ceil(cap - 1e-9),
                  1); /* 1.25 * 4 * 0.2 is 1, not 1 and a dirt */
}

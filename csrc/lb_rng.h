/* lb_rng.h - a small seeded generator: every choice of a pool can be replayed.
 *
 * SplitMix64 (Steele, Lea, Flood 2014): one addition and one mix a number, no
 * bad seeds, and the state is one word inside the pool's block.  Not for keys.
 */
#ifndef LB_RNG_H
#define LB_RNG_H

#include "lb_base.h"

typedef struct lb_rng {
    uint64_t state; /* any value, zero included, is a good seed */
} lb_rng;

/* Mix 64 bits so that every input bit moves every output bit. */
static inline uint64_t
lb_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t
lb_rng_next(lb_rng *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return lb_mix(r->state);
}

/* Uniform in [0, n), n >= 1.  The bias of the multiply is below n / 2^32. */
static inline uint32_t
lb_rng_below(lb_rng *r, uint32_t n)
{
    return (uint32_t)(((lb_rng_next(r) >> 32) * n) >> 32);
}

/* Uniform in [0, 1). */
static inline double
lb_rng_unit(lb_rng *r)
{
    return (double)(lb_rng_next(r) >> 11) * 0x1p-53;
}

#endif /* LB_RNG_H */

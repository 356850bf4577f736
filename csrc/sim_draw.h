/* sim_draw.h - random durations, from a generator that each attempt seeds anew. */
#ifndef SIM_DRAW_H
#define SIM_DRAW_H

#include <math.h>

#include "lb_rng.h"

/* A standard normal number (Box, Muller 1958; the second one is thrown away). */
static inline double
sim_draw_normal(lb_rng *r)
{
    double u = 1.0 - lb_rng_unit(r); /* (0, 1]: no logarithm of 0 */
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * lb_rng_unit(r));
}

/* Lognormal with median 1; sigma 0 draws nothing. */
static inline double
sim_draw_lognormal(lb_rng *r, double sigma)
{
    return sigma > 0 ? exp(sigma * sim_draw_normal(r)) : 1.0;
}

/* Exponential with mean 1. */
static inline double
sim_draw_exponential(lb_rng *r)
{
    return -log(1.0 - lb_rng_unit(r));
}

#endif /* SIM_DRAW_H */

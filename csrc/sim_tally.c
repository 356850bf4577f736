#include "sim_tally.h"

#include <stdlib.h>
#include <string.h>

/* Sign, exponent and the seven leading bits of the fraction of a double. */
enum { CUT = 52 - 7, FIRST = (1023 - 20) << 7, NBUCKETS = SIM_PARTS * SIM_DOUBLINGS };

static uint64_t
bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double
lower_end(int64_t bucket)
{
    uint64_t bits = (uint64_t)(bucket + FIRST) << CUT;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void
sim_hist_add(sim_hist *h, double seconds)
{
    if (!(seconds > 0))
        seconds = 0;
    int64_t i = (int64_t)(bits_of(seconds) >> CUT) - FIRST;
    h->count[i < 0 ? 0 : i >= NBUCKETS ? NBUCKETS - 1 : i]++;
    h->n++;
    h->sum += seconds;
    if (seconds > h->most)
        h->most = seconds;
}

double
sim_hist_quantile(const sim_hist *h, double p)
{
    if (h->n == 0)
        return 0;
    double want = p * (double)h->n;
    int64_t below = 0, last = 0;
    for (int64_t i = 0; i < NBUCKETS; i++) {
        if (h->count[i] == 0)
            continue;
        last = i;
        if ((double)(below + h->count[i]) >= want)
            break;
        below += h->count[i];
    }
    double part = (want - (double)below) / (double)h->count[last];
    double from = lower_end(last), to = lower_end(last + 1);
    double at = from + (to - from) * (part < 1 ? part : 1);
    return at < h->most ? at : h->most;
}

enum lb_status
sim_tally_init(sim_tally *t, lb_ns width, uint32_t slices, uint32_t backends,
               uint64_t samples)
{
    memset(t, 0, sizeof *t);
    t->width = width;
    t->slices = slices;
    t->backends = backends;
    t->cell = calloc((size_t)slices * backends, sizeof *t->cell);
    if (samples > 0)
        t->sample = calloc(samples, sizeof *t->sample);
    if (t->cell != NULL && (samples == 0 || t->sample != NULL))
        return LB_OK;
    sim_tally_free(t);
    return LB_ENOMEM;
}

void
sim_tally_free(sim_tally *t)
{
    free(t->cell);
    free(t->sample);
    memset(t, 0, sizeof *t);
}

/* sim_tally.h - what a simulated run delivered, in memory that does not grow.
 *
 * Three views of the same run: totals, two histograms (time to first token and
 * whole duration as the caller saw them, waits and failed attempts included),
 * and one cell for each backend and slice of time.
 *
 * The histograms cut every doubling of time into 128 equal parts, straight from
 * the bits of the double: a quantile is within 0.4 % of the true one.
 *
 *      seconds   1       1.0078   ...   1.9922   2       2.0156  ...
 *      bucket    2560    2561           2687     2688    2689
 */
#ifndef SIM_TALLY_H
#define SIM_TALLY_H

#include "lb_base.h"

enum {
    SIM_PARTS = 128,   /* of a doubling */
    SIM_DOUBLINGS = 38 /* 2^-20 s (1 us) to 2^18 s (three days) */
};

typedef struct sim_hist {
    int64_t n;
    double sum, most;
    int64_t count[SIM_PARTS * SIM_DOUBLINGS];
} sim_hist;

/* Count a duration; beyond the range it counts as the nearest bucket. */
void sim_hist_add(sim_hist *h, double seconds);

/* The p-quantile in seconds, 0 <= p <= 1; 0 when empty, never above `most`. */
double sim_hist_quantile(const sim_hist *h, double p);

/* How a request ended for its caller. */
enum sim_end {
    SIM_DONE,
    SIM_FAILED,    /* every attempt failed */
    SIM_TIMED_OUT, /* its own time-out passed */
    SIM_REFUSED,   /* no backend could take it in time */
    SIM_NENDS,
};

typedef struct sim_totals {
    int64_t requests;       /* that came in */
    int64_t end[SIM_NENDS]; /* of them ended, by enum sim_end */
    int64_t attempts;       /* calls sent to providers */
    int64_t limited;        /* of them answered 429 */
    int64_t failed;         /* 5xx and the like */
    int64_t timed_out;
    int64_t absorbed; /* requests that met a 429 or a failure and succeeded */
    int64_t waits;    /* pauses because nothing was free */
    double waited;    /* seconds of them */
    int64_t cost;     /* nano-USD billed */
    int64_t wasted;   /* of it for attempts that failed */
    int64_t input;    /* tokens of complete answers */
    int64_t cached;   /* of the input read from a prompt cache */
    int64_t output;
    int64_t follow_ups; /* requests of a session seen before */
    int64_t sticky;     /* of them served where the one before was */
    lb_ns last;         /* end of the last request */
} sim_totals;

/* One backend in one slice of time. */
typedef struct sim_cell {
    int64_t sent, done, limited, failed, timed_out;
    int64_t cost;                  /* nano-USD */
    int64_t input, cached, output; /* tokens of complete answers */
    double busy;                   /* calls in flight x seconds */
    float used;                    /* share of its fullest limit at the end */
    int32_t breaker;               /* enum lb_breaker_state at the end */
} sim_cell;

/* What became of one request; kept only on demand. */
typedef struct sim_sample {
    int64_t cost; /* nano-USD, all attempts */
    float ttft;   /* s from arrival; 0: none came */
    float seconds;
    int16_t backend; /* that answered; -1 none */
    uint8_t attempts;
    uint8_t end;    /* enum sim_end */
    int32_t cached; /* tokens */
} sim_sample;

typedef struct sim_tally {
    sim_totals total;
    sim_hist ttft, seconds;
    lb_ns width; /* of a slice */
    uint32_t slices, backends;
    uint32_t slice;     /* the current one */
    sim_cell *cell;     /* slices x backends */
    sim_sample *sample; /* one for each request, or NULL */
} sim_tally;

/* width > 0, slices and backends >= 1; samples: how many, 0 for none.
 * LB_ENOMEM leaves it empty. */
enum lb_status sim_tally_init(sim_tally *t, lb_ns width, uint32_t slices,
                              uint32_t backends, uint64_t samples);
void sim_tally_free(sim_tally *t);

/* The cell of a backend in the current slice. */
static inline sim_cell *
sim_tally_cell(sim_tally *t, uint32_t backend)
{
    return &t->cell[(uint64_t)t->slice * t->backends + backend];
}

#endif /* SIM_TALLY_H */

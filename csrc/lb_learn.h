/* lb_learn.h - what outlives the process: lessons of one pool, taught to the next.
 *
 *   pool --lb_learn_*--> lesson --> file ... file --> lesson --lb_teach_*--> pool
 *
 * A lesson is what a backend or a group showed: how its tokens are counted, how
 * fast it answers, how long its answers are.  Its age counts on while nobody
 * runs: latency drifts to the prior by it, as it would have in one process
 * (lb_latency.h).  What only the present can say (breakers, limits, calls in
 * flight) is no lesson.  Budgets are taught what their windows have seen.
 *
 * A lesson comes from a file, so it is checked like any input.
 */
#ifndef LB_LEARN_H
#define LB_LEARN_H

#include "lb_pool.h"

/* Of a backend; the fields are those of lb_backend and lb_latency. */
typedef struct lb_lesson {
    float ratio; /* billed / estimated prompt tokens, > 0 */
    float fail;  /* share of late calls that failed, 0..1 */
    float x, y, xx, xy, base, slope, itl, load, nn, nk, steep, seconds, trend;
    int32_t samples; /* complete answers behind it, >= 0 */
    lb_ns age;       /* since the newest of them, >= 0 */
} lb_lesson;

/* Of a group. */
typedef struct lb_group_lesson {
    lb_latency_prior prior;
    int32_t answers; /* complete ones behind it, >= 0 */
    struct {
        float mean; /* output tokens; 0: nothing seen */
        float high; /* 0.8-quantile in tokens */
        float seen; /* answers behind it */
    } output[LB_SIZES];
} lb_group_lesson;

void lb_learn_backend(const lb_pool *p, uint32_t backend, lb_lesson *out, lb_ns now);
void lb_learn_group(const lb_pool *p, uint32_t group, lb_group_lesson *out);

/* LB_EINVAL, and nothing changed, for numbers that no pool can have learned.  The
 * ratio of a tokenizer family begins with those of its backends. */
enum lb_status lb_teach_backend(lb_pool *p, uint32_t backend, const lb_lesson *in,
                                lb_ns now);
enum lb_status lb_teach_group(lb_pool *p, uint32_t group, const lb_group_lesson *in);

/* Book `nano` (>= 0) that was spent `ago` (>= 0) before `now`.  A rolling window
 * puts it where it will be forgotten in time, a fixed or total one takes it as
 * spent in the present window: the caller asks for nothing older. */
void lb_teach_spent(lb_pool *p, uint32_t budget, int64_t nano, lb_ns ago, lb_ns now);

#endif /* LB_LEARN_H */

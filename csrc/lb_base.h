/* lb_base.h - what every core module shares: time, status, small arithmetic.
 *
 * The core is plain C11.  It knows no Python, no sockets and no clock: every
 * function that needs the time is handed it, so tests never sleep and the
 * simulator runs the very same code.
 *
 * Nothing here is thread-safe.  A pool is one block of memory guarded by one
 * lock of its owner (py_module.h); a decision must see the limits, the breaker
 * and the load of one instant.
 */
#ifndef LB_BASE_H
#define LB_BASE_H

#include <stdbool.h>
#include <stdint.h>

/* Monotonic nanoseconds, never negative: at 0 everything is new.  Never wall-clock
 * time. */
typedef int64_t lb_ns;

#define LB_NS_PER_MS INT64_C(1000000)
#define LB_NS_PER_S  INT64_C(1000000000)
#define LB_FOREVER   INT64_MAX /* a wait that no amount of time will end */

/* Why a call could not do what it was asked; set-up paths only.  The hot path
 * (take, enter, pick, settle) cannot fail: its return value is the answer. */
enum lb_status {
    LB_OK = 0,
    LB_ENOMEM = -1, /* an allocation failed; nothing was changed */
    LB_EINVAL = -2, /* an argument is outside its documented range */
    LB_EFULL = -3,  /* a fixed table has no free slot */
};

static inline int64_t
lb_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t
lb_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The same of floats, neither of which is NaN: what the library does about that costs
 * a call. */
static inline double
lb_greater(double a, double b)
{
    return a > b ? a : b;
}

static inline double
lb_lesser(double a, double b)
{
    return a < b ? a : b;
}

/* a + b, stopping at INT64_MAX; both must be >= 0. */
static inline int64_t
lb_add_capped(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

#endif /* LB_BASE_H */

#include "lb_rate.h"

#include <assert.h>

/* Time in 1/4096 ns, wide enough for every product of a count and a unit. */
__extension__ typedef unsigned __int128 q12;

#define FAR_AWAY (INT64_C(1) << 62) /* full_at stops here, so sums cannot overflow */
#define DAY      (INT64_C(86400) * LB_NS_PER_S)

static const lb_ns LONGEST_UNIT = 30 * DAY;
static const lb_ns LONGEST_BURST = DAY * 365 * 30;

static q12
spent_at(const lb_rate *r, lb_ns now)
{
    if (r->full_at < now)
        return 0;
    return ((q12)((uint64_t)r->full_at - (uint64_t)now) << 12) + r->frac;
}

static void
set_spent(lb_rate *r, q12 spent, lb_ns now)
{
    q12 most = (q12)(uint64_t)(FAR_AWAY - now) << 12;
    if (spent > most)
        spent = most;
    r->full_at = now + (lb_ns)(spent >> 12);
    r->frac = (uint32_t)(spent & 4095);
}

/* Two's complement without the overflow: `charged` may wrap, differences hold. */
static int64_t
wrap_add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static uint64_t
magnitude(int64_t x)
{
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

/* Set limit, window and burst; keep what is spent, counted in units. */
static enum lb_status
tune(lb_rate *r, int64_t limit, lb_ns window, int64_t burst, lb_ns now)
{
    if (limit <= 0 || window <= 0 || burst < 0)
        return LB_EINVAL;
    if (burst == 0)
        burst = limit;
    q12 whole = (q12)(uint64_t)window << 12;
    q12 unit = (whole + (uint64_t)limit - 1) / (uint64_t)limit;
    if (unit > (q12)(uint64_t)LONGEST_UNIT << 12 ||
        unit * (uint64_t)burst > (q12)(uint64_t)LONGEST_BURST << 12)
        return LB_EINVAL;
    if (r->unit_q12 != 0) {
        q12 spent = spent_at(r, now), units = spent / r->unit_q12;
        q12 part = (spent % r->unit_q12) * unit;
        if (units > INT64_MAX)
            units = INT64_MAX;
        part = (part + r->unit_q12 - 1) / r->unit_q12;
        set_spent(r, units * unit + part, now);
    }
    r->unit_q12 = (uint64_t)unit;
    r->limit = limit;
    r->window = window;
    r->burst = burst;
    return LB_OK;
}

enum lb_status
lb_rate_init(lb_rate *r, int64_t limit, lb_ns window, int64_t burst)
{
    *r = (lb_rate){0};
    return lb_rate_resize(r, limit, window, burst, 0);
}

enum lb_status
lb_rate_resize(lb_rate *r, int64_t limit, lb_ns window, int64_t burst, lb_ns now)
{
    enum lb_status status = tune(r, limit, window, burst, now);
    if (status == LB_OK)
        r->ceiling = limit;
    return status;
}

void
lb_rate_scale(lb_rate *r, int percent, lb_ns now)
{
    int64_t limit = r->ceiling / 100 * percent + r->ceiling % 100 * percent / 100;
    (void)tune(r, lb_max(limit, 1), r->window, r->burst, now);
}

lb_ns
lb_rate_wait(const lb_rate *r, int64_t units, double share, lb_ns now)
{
    assert(units >= 0);
    if (r->unit_q12 == 0 || units == 0)
        return 0;
    int64_t room = r->burst;
    if (share < 1.0) {
        double part = (double)room * share;
        room = (int64_t)part;
        room += (double)room < part;
    }
    if (units > room && units <= r->burst)
        room = units;
    if (units > room)
        return LB_FOREVER;
    q12 spent = spent_at(r, now),
        may = (q12)((uint64_t)room - (uint64_t)units) * r->unit_q12;
    return spent <= may ? 0 : (lb_ns)((spent - may + 4095) >> 12);
}

/* The same within 64 bits, where neither what is spent nor the charge takes longer
 * than a day to come back; false and nothing done where one does. */
static bool
charge_briefly(lb_rate *r, int64_t units, lb_ns now)
{
    uint64_t cost;
    int64_t gap = r->full_at - now;
    if (gap > DAY || __builtin_mul_overflow(magnitude(units), r->unit_q12, &cost) ||
        cost > (uint64_t)DAY << 12)
        return false;
    uint64_t spent = gap < 0 ? 0 : ((uint64_t)gap << 12) + r->frac;
    if (units >= 0)
        spent += cost;
    else
        spent = spent > cost ? spent - cost : 0;
    r->full_at = now + (lb_ns)(spent >> 12);
    r->frac = (uint32_t)(spent & 4095);
    return true;
}

static __attribute__((noinline)) void
charge_widely(lb_rate *r, int64_t units, lb_ns now)
{
    q12 spent = spent_at(r, now), cost = (q12)magnitude(units) * r->unit_q12;
    if (units >= 0)
        spent += cost;
    else
        spent = spent > cost ? spent - cost : 0;
    set_spent(r, spent, now);
}

void
lb_rate_charge(lb_rate *r, int64_t units, lb_ns now)
{
    r->charged = wrap_add(r->charged, units);
    if (r->unit_q12 != 0 && !charge_briefly(r, units, now))
        charge_widely(r, units, now);
}

int64_t
lb_rate_free(const lb_rate *r, lb_ns now)
{
    if (r->unit_q12 == 0)
        return INT64_MAX;
    q12 units = (spent_at(r, now) + r->unit_q12 - 1) / r->unit_q12;
    return units >= (q12)(uint64_t)r->burst ? 0 : r->burst - (int64_t)units;
}

double
lb_rate_used(const lb_rate *r, lb_ns now)
{
    if (r->unit_q12 == 0 || r->full_at < now)
        return 0;
    double spent = (double)(r->full_at - now) * 4096.0 + (double)r->frac;
    return spent / ((double)r->burst * (double)r->unit_q12);
}

static bool
near(double x, lb_ns window)
{
    return x >= 0.9 * (double)window && x <= 1.1 * (double)window;
}

lb_ns
lb_reading_window(const lb_reading *h)
{
    static const lb_ns known[] = {LB_NS_PER_S, 60 * LB_NS_PER_S, 3600 * LB_NS_PER_S,
                                  DAY, 30 * DAY};
    if (h->window > 0)
        return h->window;
    if (h->reset < 20 * LB_NS_PER_MS)
        return 0; /* headers count milliseconds: too coarse to divide */
    if (h->remaining < 0 || h->remaining >= h->limit)
        return 0;
    double window =
        (double)h->reset * (double)h->limit / (double)(h->limit - h->remaining);
    for (int i = 0; i < (int)(sizeof known / sizeof *known); i++)
        if (near(window, known[i]))
            return known[i];
    return 0;
}

/* Is `reset` what the spent units of this window need?  `remaining` is rounded
 * down, so one unit spent may be half one; reset counts milliseconds. */
static bool
resets_like(const lb_reading *h, int64_t limit, lb_ns window)
{
    double whole = (double)(limit - h->remaining) * (double)window / (double)limit;
    double slack = (double)LB_NS_PER_MS, reset = (double)h->reset;
    return reset >= 0.5 * whole - slack && reset <= 1.1 * whole + slack;
}

/* What the reading says was spent when the lease left, in our units and against
 * our burst; false when it says nothing about this limit. */
static bool
read_spent(const lb_rate *r, const lb_reading *h, int64_t limit, q12 *spent)
{
    bool named = h->window > 0, counted = h->remaining >= 0;
    if (named && !near((double)h->window, r->window))
        return false;
    if (counted && h->remaining >= limit)
        return false;
    bool refills = counted && h->reset >= 0 && resets_like(h, limit, r->window);
    if (!refills && !named)
        return false;
    if (limit > r->limit) { /* theirs is larger: ours has no more free than theirs */
        int64_t missing = counted ? lb_max(r->burst - h->remaining, 0) : 0;
        *spent = (q12)(uint64_t)missing * r->unit_q12;
        return counted;
    }
    if (refills || (!counted && h->reset >= 0)) { /* finer than whole units */
        *spent = (q12)(uint64_t)h->reset << 12;
        return true;
    }
    /* A fixed window resets all at once; the count is what must be honoured. */
    *spent = counted ? (q12)(uint64_t)(limit - h->remaining) * r->unit_q12 : 0;
    return counted;
}

static void
learn_limit(lb_rate *r, int64_t limit, lb_ns now)
{
    if (limit > r->ceiling)
        limit = r->ceiling;
    if (limit == r->limit)
        return;
    double burst = (double)r->burst * (double)limit / (double)r->limit;
    if (burst > 0x1p62) /* nonsense; and no integer could hold it */
        return;
    tune(r, limit, r->window, lb_max((int64_t)(burst + 0.5), 1), now);
}

bool
lb_rate_sync(lb_rate *r, const lb_reading *h, uint32_t serial, int64_t mark, lb_ns sent,
             lb_ns now)
{
    if (r->unit_q12 == 0)
        return false;
    if (r->synced != 0 && (int32_t)(serial - r->synced) <= 0)
        return false;
    int64_t limit = h->limit > 0 ? h->limit : r->limit;
    lb_rate next = *r;
    learn_limit(&next, limit, now);
    q12 read;
    if (!read_spent(&next, h, limit, &read))
        return false;
    next.synced = serial;

    int64_t since = wrap_add(r->charged, (int64_t)(0 - (uint64_t)mark));
    q12 moved = (q12)magnitude(since) * next.unit_q12;
    q12 passed = (q12)(uint64_t)lb_max(now - sent, 0) << 12;
    q12 rest = read > passed ? read - passed : 0;
    q12 low, high;
    if (since >= 0) {
        low = read + moved > passed ? read + moved - passed : 0;
        high = rest + moved;
    } else {
        low = rest > moved ? rest - moved : 0;
        high = low;
    }
    q12 ours = spent_at(&next, now);
    if (ours < low)
        set_spent(&next, low, now);
    else if (ours > high && limit <= next.limit)
        set_spent(&next, high, now);
    *r = next;
    return true;
}

void
lb_rate_block(lb_rate *r, lb_ns wait, lb_ns now)
{
    if (r->unit_q12 == 0)
        return;
    q12 blocked =
        ((q12)(uint64_t)wait << 12) + (q12)(uint64_t)(r->burst - 1) * r->unit_q12;
    if (blocked > spent_at(r, now))
        set_spent(r, blocked, now);
}

#include "lb_breaker.h"

#include <assert.h>
#include <stddef.h>

static const lb_ns LONGEST = INT64_C(86400) * 3650 * LB_NS_PER_S;
static const lb_ns HOUR = 3600 * LB_NS_PER_S;
static const lb_ns GRAVE = 300 * LB_NS_PER_S; /* time for somebody to mend it */

/* What an outcome does to the failures in a row, and to a probe. */
enum streak { KEEPS, RESETS, GROWS };
enum verdict { SAYS_NOTHING, PASSES, FAILS };

/* One row per outcome: the rules of the breaker in one place. */
static const struct effect {
    uint8_t streak;  /* enum streak */
    uint8_t ok;      /* window: one more good call */
    uint8_t failed;  /* window: one more failure */
    uint8_t slow;    /* window: one of them slow */
    uint8_t trips;   /* trips at once, whatever the counts */
    uint8_t verdict; /* enum verdict on a probe */
} effects[LB_NOUTCOMES] = {
    [LB_DONE] = {RESETS, 1, 0, 0, 0, PASSES},
    [LB_SLOW] = {RESETS, 1, 0, 1, 0, PASSES},
    [LB_FAILED] = {GROWS, 0, 1, 0, 0, FAILS},
    [LB_BROKEN] = {GROWS, 0, 1, 0, 0, FAILS},
    [LB_TIMED_OUT] = {GROWS, 0, 1, 1, 0, FAILS},
    [LB_RATE_LIMITED] = {KEEPS, 0, 0, 0, 0, FAILS},
    [LB_QUOTA] = {KEEPS, 0, 0, 0, 1, FAILS},
    [LB_AUTH] = {KEEPS, 0, 0, 0, 1, FAILS},
    [LB_MISSING] = {KEEPS, 0, 0, 0, 1, FAILS},
    [LB_REJECTED] = {RESETS, 0, 0, 0, 0, SAYS_NOTHING},
    [LB_CANCELLED] = {KEEPS, 0, 0, 0, 0, SAYS_NOTHING},
};

void
lb_breaker_default(lb_breaker_rules *rules)
{
    *rules = (lb_breaker_rules){
        .in_a_row = 5,
        .min_calls = 10,
        .failure_rate = 0.5F,
        .slow_rate = 0.8F,
        .probe_share = 0.1F,
        .probes_to_close = 3,
        .window = 30 * LB_NS_PER_S,
        .cooldown = 5 * LB_NS_PER_S,
        .cooldown_max = 60 * LB_NS_PER_S,
        .ramp = 30 * LB_NS_PER_S,
    };
}

static bool
within(lb_ns x, lb_ns low, lb_ns high)
{
    return x >= low && x <= high;
}

const char *
lb_breaker_flaw(const lb_breaker_rules *rules)
{
    if (!within(rules->in_a_row, 0, INT32_MAX))
        return "in_a_row must be 0 or more";
    if (!within(rules->timeouts_in_a_row, 0, INT16_MAX))
        return "timeouts_in_a_row must be 0 to 32767";
    if (!within(rules->min_calls, 1, INT32_MAX / 2))
        return "min_calls must be 1 to 1073741823";
    if (!(rules->failure_rate > 0 && rules->failure_rate <= 1))
        return "failure_rate must be above 0 and at most 1";
    if (!(rules->slow_rate > 0 && rules->slow_rate <= 1))
        return "slow_rate must be above 0 and at most 1";
    if (!(rules->probe_share >= 0 && rules->probe_share <= 1))
        return "probe_share must be 0 to 1";
    if (!within(rules->probes_to_close, 1, UINT8_MAX))
        return "probes_to_close must be 1 to 255";
    if (!within(rules->window, LB_BREAKER_BUCKETS, LONGEST))
        return "window must be above 0 and at most ten years";
    if (!within(rules->cooldown, 1, LONGEST))
        return "cooldown must be above 0 and at most ten years";
    if (!within(rules->cooldown_max, rules->cooldown, LONGEST))
        return "cooldown_max must be at least cooldown and at most ten years";
    if (!within(rules->ramp, 0, LONGEST))
        return "ramp must be 0 to ten years";
    return NULL;
}

enum lb_status
lb_breaker_check(const lb_breaker_rules *rules)
{
    return lb_breaker_flaw(rules) == NULL ? LB_OK : LB_EINVAL;
}

static void
enter_state(lb_breaker *b, enum lb_breaker_state state, lb_ns since, lb_ns until)
{
    b->state = (uint8_t)state;
    b->generation++;
    b->since = since;
    b->until = until;
    b->probed = since;
    b->consecutive = b->seen = b->admitted = b->probing = 0;
    b->probes_ok = 0;
    for (int i = 0; i < LB_BREAKER_BUCKETS; i++)
        b->bucket[i].ok = b->bucket[i].failed = b->bucket[i].slow = 0;
}

enum lb_breaker_state
lb_breaker_at(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now)
{
    if (b->order != LB_AUTO)
        return b->order == LB_FORCED_OPEN ? LB_OPEN : LB_CLOSED;
    if (b->state == LB_OPEN && now >= b->until) {
        enter_state(b, LB_HALF_OPEN, b->until, 0);
    } else if (b->state == LB_RAMP && now >= b->until) {
        b->state = LB_CLOSED;
        b->since = b->until;
    } else if (b->state == LB_HALF_OPEN && b->probing > 0 &&
               now - b->probed >= rules->cooldown_max) {
        b->admitted -= b->probing;
        b->probing = 0;
    }
    return (enum lb_breaker_state)b->state;
}

/* share * n as a float: rounding turns 0.8F * 20 back into the 16 that 0.8 means. */
static float
part(float share, int32_t n)
{
    return share * (float)n;
}

/* Whether it timed out and nobody knows yet that it does so no more: each further
 * probe would keep its caller waiting as long as the first one. */
static bool
may_hang(const lb_breaker *b)
{
    return b->reason == LB_TIMED_OUT && b->probing > 0 && b->probes_ok == 0;
}

lb_ns
lb_breaker_wait(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now)
{
    if ((b->order | b->state) == 0) /* LB_AUTO and LB_CLOSED */
        return 0;
    switch (lb_breaker_at(b, rules, now)) {
    case LB_OPEN:
        return b->order == LB_FORCED_OPEN ? LB_FOREVER : b->until - now;
    case LB_HALF_OPEN:
        if (!may_hang(b)) {
            if (b->seen < INT32_MAX)
                b->seen++;
            if ((float)b->admitted <= part(rules->probe_share, b->seen))
                return 0;
        }
        return lb_max(b->probed + rules->cooldown - now, 0);
    default:
        return 0;
    }
}

uint32_t
lb_breaker_enter(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now)
{
    if (b->state != LB_CLOSED && lb_breaker_at(b, rules, now) == LB_HALF_OPEN) {
        b->admitted++;
        b->probing++;
        b->probed = now;
    }
    return b->generation;
}

/* Forget the buckets that have left the window.  Widths follow the rules of the
 * moment, so a window that is adapted while it runs keeps what it holds. */
static void
forget(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now)
{
    if (now < b->edge)
        return;
    lb_ns width = rules->window / LB_BREAKER_BUCKETS;
    int64_t ended = (now - b->edge) / width + 1;
    for (int64_t i = lb_min(ended, LB_BREAKER_BUCKETS); i > 0; i--) {
        b->newest = (b->newest + 1) % LB_BREAKER_BUCKETS;
        b->bucket[b->newest].ok = 0;
        b->bucket[b->newest].failed = 0;
        b->bucket[b->newest].slow = 0;
    }
    b->edge += ended * width;
}

static void
record(lb_breaker *b, const struct effect *e)
{
    uint16_t *ok = &b->bucket[b->newest].ok;
    uint16_t *failed = &b->bucket[b->newest].failed;
    uint16_t *slow = &b->bucket[b->newest].slow;
    if (*ok == UINT16_MAX || *failed == UINT16_MAX) {
        *ok /= 2; /* shares survive, and shares are what the rules ask for */
        *failed /= 2;
        *slow /= 2;
    }
    *ok = (uint16_t)(*ok + e->ok);
    *failed = (uint16_t)(*failed + e->failed);
    *slow = (uint16_t)(*slow + e->slow);
    if (e->streak == RESETS)
        b->consecutive = 0;
    else if (e->streak == GROWS && b->consecutive < INT32_MAX)
        b->consecutive++;
}

static bool
over_the_limit(const lb_breaker *b, const lb_breaker_rules *rules,
               enum lb_outcome newest)
{
    bool late = newest == LB_TIMED_OUT && rules->timeouts_in_a_row > 0;
    int32_t row = late ? rules->timeouts_in_a_row : rules->in_a_row;
    if (row > 0 && b->consecutive >= row)
        return true;
    int32_t calls = 0, failed = 0, slow = 0;
    for (int i = 0; i < LB_BREAKER_BUCKETS; i++) {
        calls += b->bucket[i].ok + b->bucket[i].failed;
        failed += b->bucket[i].failed;
        slow += b->bucket[i].slow;
    }
    if (calls >= rules->min_calls && (float)failed >= part(rules->failure_rate, calls))
        return true;
    return calls >= 2 * rules->min_calls &&
           (float)slow >= part(rules->slow_rate, calls);
}

static void
trip(lb_breaker *b, const lb_breaker_rules *rules, enum lb_outcome why,
     lb_ns retry_after, lb_rng *rng, lb_ns now)
{
    if (b->state == LB_CLOSED && now - b->since >= rules->window)
        b->trips = 0;
    lb_ns open = rules->cooldown;
    for (int32_t i = 0; i < b->trips && open < rules->cooldown_max; i++)
        open = lb_min(2 * open, rules->cooldown_max);
    open = (lb_ns)((double)open * (0.9 + 0.2 * lb_rng_unit(rng)));

    lb_ns most = rules->cooldown_max;
    if (effects[why].trips) {
        open = lb_max(open, GRAVE);
        most = HOUR;
    }
    open = lb_max(open, lb_min(retry_after, most));
    b->trips += b->trips < INT32_MAX;
    b->total_trips += b->total_trips < INT32_MAX;
    b->reason = (uint8_t)why;
    enter_state(b, LB_OPEN, now, now + open);
}

/* The verdict of one probe; true: it was one failure too many. */
static bool
probe_fails(lb_breaker *b, const lb_breaker_rules *rules, enum verdict verdict,
            lb_ns now)
{
    bool known = b->probing > 0; /* else it had been given up */
    b->probing -= known;
    if (verdict == SAYS_NOTHING)
        b->admitted -= known;
    else if (verdict == PASSES && ++b->probes_ok >= rules->probes_to_close)
        enter_state(b, LB_RAMP, now, now + rules->ramp);
    return verdict == FAILS;
}

void
lb_breaker_leave(lb_breaker *b, const lb_breaker_rules *rules, uint32_t generation,
                 enum lb_outcome outcome, lb_ns retry_after, lb_rng *rng, lb_ns now)
{
    assert(outcome >= 0 && outcome < LB_NOUTCOMES);
    const struct effect *e = &effects[outcome];
    enum lb_breaker_state state = lb_breaker_at(b, rules, now);
    if (generation != b->generation)
        return;
    if (b->order == LB_AUTO && state == LB_OPEN)
        return;
    bool trips;
    if (state == LB_HALF_OPEN) {
        trips = probe_fails(b, rules, (enum verdict)e->verdict, now);
    } else {
        forget(b, rules, now);
        record(b, e);
        bool bad = e->failed || e->slow;
        trips = b->order == LB_AUTO &&
                (e->trips || (bad && over_the_limit(b, rules, outcome)));
    }
    if (trips)
        trip(b, rules, outcome, retry_after, rng, now);
}

double
lb_breaker_share(const lb_breaker *b, lb_ns now)
{
    if (b->state != LB_RAMP || now >= b->until)
        return 1.0;
    double share = (double)(now - b->since) / (double)(b->until - b->since);
    return share < 0.1 ? 0.1 : share;
}

void
lb_breaker_order(lb_breaker *b, enum lb_breaker_order order, lb_ns now)
{
    enter_state(b, LB_CLOSED, now, 0);
    b->order = (uint8_t)order;
    b->reason = LB_DONE;
    b->trips = 0;
}

void
lb_breaker_window(lb_breaker *b, const lb_breaker_rules *rules, lb_ns now,
                  int32_t *calls, int32_t *failed)
{
    forget(b, rules, now);
    *calls = *failed = 0;
    for (int i = 0; i < LB_BREAKER_BUCKETS; i++) {
        *calls += b->bucket[i].ok + b->bucket[i].failed;
        *failed += b->bucket[i].failed;
    }
}

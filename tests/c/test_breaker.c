#include "check.h"
#include "lb_breaker.h"

#include <math.h>
#include <string.h>

static const lb_ns SEC = LB_NS_PER_S;

static lb_breaker_rules rules;
static lb_rng rng;

/* One call that begins and ends at `now`. */
static void
call(lb_breaker *b, enum lb_outcome outcome, lb_ns now)
{
    uint32_t generation = lb_breaker_enter(b, &rules, now);
    lb_breaker_leave(b, &rules, generation, outcome, 0, &rng, now);
}

static lb_breaker
tripped(lb_ns now)
{
    lb_breaker b = {0};
    for (int i = 0; i < 5; i++)
        call(&b, LB_FAILED, now);
    return b;
}

static lb_breaker
half_open(lb_ns *now)
{
    lb_breaker b = tripped(*now);
    *now = b.until;
    CHECK_EQ(lb_breaker_at(&b, &rules, *now), LB_HALF_OPEN);
    return b;
}

static lb_breaker
ramping(lb_ns *now)
{
    lb_breaker b = half_open(now);
    for (int i = 0; i < 3; i++)
        call(&b, LB_DONE, *now);
    return b;
}

static void
the_defaults_are_valid_and_all_zero_is_closed(void)
{
    CHECK_EQ(lb_breaker_check(&rules), LB_OK);
    lb_breaker b = {0};
    CHECK_EQ(lb_breaker_at(&b, &rules, 0), LB_CLOSED);
    CHECK_EQ(lb_breaker_wait(&b, &rules, 0), 0);
    CHECK(lb_breaker_share(&b, 0) == 1.0);
    CHECK(sizeof b <= 128);
}

static void
rules_out_of_range_are_refused(void)
{
#define REFUSED(field, value)                                   \
    do {                                                        \
        lb_breaker_rules bad = rules;                           \
        bad.field = (value);                                    \
        CHECK_EQ(lb_breaker_check(&bad), LB_EINVAL);            \
        CHECK(strncmp(lb_breaker_flaw(&bad), #field " must be", \
                      sizeof #field " must be" - 1) == 0);      \
    } while (0)
    REFUSED(in_a_row, -1);
    REFUSED(timeouts_in_a_row, -1);
    REFUSED(min_calls, 0);
    REFUSED(min_calls, INT32_MAX);
    REFUSED(probes_to_close, 0);
    REFUSED(probes_to_close, 256);
    REFUSED(failure_rate, 0.0F);
    REFUSED(failure_rate, 1.1F);
    REFUSED(failure_rate, NAN);
    REFUSED(slow_rate, 0.0F);
    REFUSED(slow_rate, 1.1F);
    REFUSED(probe_share, -0.1F);
    REFUSED(probe_share, 1.1F);
    REFUSED(window, 9);
    REFUSED(window, LB_FOREVER);
    REFUSED(cooldown, 0);
    REFUSED(cooldown_max, 4 * LB_NS_PER_S);
    REFUSED(ramp, -1);
#undef REFUSED
}

static void
five_failures_in_a_row_open_it(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 4; i++)
        call(&b, LB_FAILED, SEC);
    CHECK_EQ(lb_breaker_wait(&b, &rules, SEC), 0);
    call(&b, LB_TIMED_OUT, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_OPEN);
    CHECK_EQ(b.reason, LB_TIMED_OUT);
    CHECK_EQ(b.total_trips, 1);
    lb_ns wait = lb_breaker_wait(&b, &rules, SEC);
    CHECK(wait >= 45 * SEC / 10 && wait <= 55 * SEC / 10);
    CHECK_EQ(lb_breaker_wait(&b, &rules, SEC + wait - 1), 1);
    CHECK_EQ(lb_breaker_wait(&b, &rules, SEC + wait), 0);
    CHECK_EQ(b.state, LB_HALF_OPEN);
}

static void
a_success_or_a_fault_of_the_request_ends_a_run_of_failures(void)
{
    static const enum lb_outcome ends[] = {LB_DONE, LB_SLOW, LB_REJECTED};
    for (int k = 0; k < 3; k++) {
        lb_breaker b = {0};
        for (int i = 0; i < 4; i++)
            call(&b, LB_BROKEN, SEC);
        call(&b, ends[k], SEC);
        for (int i = 0; i < 4; i++)
            call(&b, LB_BROKEN, SEC);
        CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_CLOSED);
        CHECK_EQ(b.consecutive, 4);
    }
}

static void
refusals_by_rate_and_cancellations_say_nothing_while_closed(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 4; i++)
        call(&b, LB_FAILED, SEC);
    for (int i = 0; i < 50; i++)
        call(&b, i % 2 ? LB_RATE_LIMITED : LB_CANCELLED, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_CLOSED);
    int32_t calls, failed;
    lb_breaker_window(&b, &rules, SEC, &calls, &failed);
    CHECK_EQ(calls, 4);
    CHECK_EQ(failed, 4);
    CHECK_EQ(b.consecutive, 4);
}

static void
half_of_ten_calls_failing_opens_it(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 9; i++)
        call(&b, i % 2 ? LB_FAILED : LB_DONE, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_CLOSED);
    call(&b, LB_FAILED, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_OPEN);
}

static void
failures_older_than_the_window_are_forgotten(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 8; i++)
        call(&b, i % 2 ? LB_FAILED : LB_DONE, SEC);
    int32_t calls, failed;
    lb_breaker_window(&b, &rules, 30 * SEC - 1, &calls, &failed);
    CHECK_EQ(calls, 8);
    CHECK_EQ(failed, 4);
    lb_breaker_window(&b, &rules, 30 * SEC, &calls, &failed);
    CHECK_EQ(calls, 0);
    for (int i = 0; i < 8; i++)
        call(&b, i % 2 ? LB_FAILED : LB_DONE, 31 * SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, 31 * SEC), LB_CLOSED);
}

static void
eight_of_ten_slow_answers_open_it_after_twenty_calls(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 19; i++)
        call(&b, i % 5 ? LB_SLOW : LB_DONE, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_CLOSED);
    call(&b, LB_SLOW, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_OPEN);
    CHECK_EQ(b.reason, LB_SLOW);
}

static void
a_run_of_k_failures_trips_as_often_as_theory_says(void)
{
    /* E[calls until k failures in a row] = (p^-k - 1) / (1 - p). */
    static const struct {
        double p;
        int k;
        double calls;
    } rows[] = {{0.2, 3, 155.0}, {0.5, 3, 14.0}, {0.5, 5, 62.0}, {0.9, 5, 6.935}};
    lb_breaker_rules row = rules;
    row.min_calls = INT32_MAX / 2;
    for (int i = 0; i < 4; i++) {
        row.in_a_row = rows[i].k;
        int64_t calls = 0, runs = 4000;
        for (int64_t run = 0; run < runs; run++) {
            lb_breaker b = {0};
            for (; b.state == LB_CLOSED; calls++) {
                bool fails = lb_rng_unit(&rng) < rows[i].p;
                uint32_t g = lb_breaker_enter(&b, &row, 0);
                lb_breaker_leave(&b, &row, g, fails ? LB_FAILED : LB_DONE, 0, &rng, 0);
            }
        }
        CHECK(fabs((double)calls / (double)runs / rows[i].calls - 1) < 0.08);
    }
}

static void
the_rule_of_consecutive_failures_can_be_off(void)
{
    lb_breaker_rules off = rules;
    off.in_a_row = 0;
    lb_breaker b = {0};
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(lb_breaker_wait(&b, &off, 0), 0);
        uint32_t g = lb_breaker_enter(&b, &off, 0);
        lb_breaker_leave(&b, &off, g, LB_FAILED, 0, &rng, 0);
    }
    CHECK_EQ(lb_breaker_at(&b, &off, 0), LB_OPEN);
}

static void
time_outs_can_have_a_shorter_run_than_other_failures(void)
{
    const struct {
        int32_t all;
        int16_t late;
        enum lb_outcome last;
        int failures; /* until it opens, all but the last LB_FAILED */
    } rows[] = {
        {5, 2, LB_TIMED_OUT, 2}, {5, 2, LB_FAILED, 5},    {5, 0, LB_TIMED_OUT, 5},
        {2, 4, LB_TIMED_OUT, 4}, {0, 3, LB_TIMED_OUT, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lb_breaker_rules row = rules;
        row.in_a_row = rows[i].all;
        row.timeouts_in_a_row = rows[i].late;
        row.min_calls = 1000;
        lb_breaker b = {0};
        for (int n = 1; n <= rows[i].failures; n++) {
            CHECK_EQ(b.state, LB_CLOSED);
            bool early = rows[i].late > rows[i].all && rows[i].all > 0;
            enum lb_outcome one =
                n == rows[i].failures || early ? rows[i].last : LB_FAILED;
            uint32_t g = lb_breaker_enter(&b, &row, 0);
            lb_breaker_leave(&b, &row, g, one, 0, &rng, 0);
        }
        CHECK_EQ(b.state, LB_OPEN);
    }
}

static void
quota_key_and_missing_model_open_it_at_once_for_five_minutes(void)
{
    for (int outcome = LB_QUOTA; outcome <= LB_MISSING; outcome++) {
        lb_breaker b = {0};
        call(&b, (enum lb_outcome)outcome, SEC);
        CHECK_EQ(lb_breaker_wait(&b, &rules, SEC), 300 * SEC);
        CHECK_EQ(b.reason, outcome);
    }
}

static void
retry_after_lengthens_the_open_time_within_reason(void)
{
    static const struct {
        enum lb_outcome outcome;
        lb_ns asked, open;
    } rows[] = {
        {LB_FAILED, 40 * LB_NS_PER_S, 40 * LB_NS_PER_S},
        {LB_FAILED, 900 * LB_NS_PER_S, 60 * LB_NS_PER_S},
        {LB_QUOTA, 900 * LB_NS_PER_S, 900 * LB_NS_PER_S},
        {LB_QUOTA, 9000 * LB_NS_PER_S, 3600 * LB_NS_PER_S},
        {LB_QUOTA, LB_NS_PER_S, 300 * LB_NS_PER_S},
    };
    for (int i = 0; i < 5; i++) {
        lb_breaker b = {0};
        b.consecutive = 4;
        uint32_t g = lb_breaker_enter(&b, &rules, SEC);
        lb_breaker_leave(&b, &rules, g, rows[i].outcome, rows[i].asked, &rng, SEC);
        CHECK_EQ(lb_breaker_wait(&b, &rules, SEC), rows[i].open);
    }
}

static void
the_open_time_doubles_up_to_the_maximum(void)
{
    lb_ns now = 0;
    lb_breaker b = tripped(now);
    double want = 5.0;
    for (int i = 0; i < 12; i++) {
        double open = (double)(b.until - now) / 1e9;
        CHECK(open >= 0.9 * want - 1e-6 && open <= 1.1 * want + 1e-6);
        now = b.until;
        call(&b, LB_FAILED, now);
        CHECK_EQ(b.state, LB_OPEN);
        want = want * 2 < 60 ? want * 2 : 60;
    }
    CHECK_EQ(b.total_trips, 13);
}

static void
a_whole_window_closed_forgets_earlier_trips(void)
{
    for (int early = 0; early < 2; early++) {
        lb_ns now = 0;
        lb_breaker b = ramping(&now);
        CHECK_EQ(lb_breaker_at(&b, &rules, now), LB_RAMP);
        now = b.until + (early ? rules.window - 1 : rules.window);
        CHECK_EQ(lb_breaker_at(&b, &rules, now), LB_CLOSED);
        for (int i = 0; i < 5; i++)
            call(&b, LB_FAILED, now);
        double open = (double)(b.until - now) / 1e9;
        CHECK(early ? open >= 9 : open <= 5.5);
    }
}

static void
half_open_lets_the_first_and_then_every_tenth_in(void)
{
    lb_ns now = 0;
    lb_breaker b = half_open(&now);
    for (int i = 1; i <= 100; i++) {
        bool in = lb_breaker_wait(&b, &rules, now) == 0;
        CHECK(in == (i == 1 || i % 10 == 0));
        if (in)
            lb_breaker_enter(&b, &rules, now);
    }
    CHECK_EQ(b.admitted, 11);
    CHECK_EQ(b.probing, 11);
}

static void
after_a_time_out_one_probe_at_a_time_is_kept_waiting(void)
{
    lb_ns now = 0;
    lb_breaker b = {0};
    for (int i = 0; i < 5; i++)
        call(&b, LB_TIMED_OUT, now);
    now = b.until;
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    uint32_t first = lb_breaker_enter(&b, &rules, now);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(lb_breaker_wait(&b, &rules, now), rules.cooldown);
    now += rules.cooldown; /* nobody hears of the first one: another may find out */
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    lb_breaker_enter(&b, &rules, now);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), rules.cooldown);
    lb_breaker_leave(&b, &rules, first, LB_DONE, 0, &rng, now);
    int in = 0;
    for (int i = 0; i < 100; i++) {
        if (lb_breaker_wait(&b, &rules, now) == 0) {
            in++;
            lb_breaker_enter(&b, &rules, now);
        }
    }
    CHECK(in >= 8 && in <= 10); /* a tenth, and no burst for those before */
}

static void
a_probe_that_left_its_call_lets_the_next_one_in_after_a_time_out(void)
{
    lb_ns now = 0;
    lb_breaker b = {0};
    for (int i = 0; i < 5; i++)
        call(&b, LB_TIMED_OUT, now);
    now = b.until;
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    uint32_t left = lb_breaker_enter(&b, &rules, now);
    lb_breaker_leave(&b, &rules, left, LB_CANCELLED, 0, &rng, now);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
}

static void
who_may_enter_but_does_not_takes_nobodys_place(void)
{
    lb_ns now = 0;
    lb_breaker b = half_open(&now);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    CHECK_EQ(b.admitted, 0);
}

static void
a_probe_that_says_nothing_gives_its_credit_back(void)
{
    static const enum lb_outcome mute[] = {LB_CANCELLED, LB_REJECTED};
    for (int k = 0; k < 2; k++) {
        lb_ns now = 0;
        lb_breaker b = half_open(&now);
        CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
        call(&b, mute[k], now);
        CHECK_EQ(b.state, LB_HALF_OPEN);
        CHECK_EQ(b.admitted, 0);
        CHECK_EQ(b.probing, 0);
        CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    }
}

static void
one_request_passes_each_cooldown_when_hardly_anybody_asks(void)
{
    lb_ns now = 0;
    lb_breaker b = half_open(&now);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    lb_breaker_enter(&b, &rules, now);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now + SEC), 4 * SEC);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now + 5 * SEC), 0);
    lb_breaker_enter(&b, &rules, now + 5 * SEC);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now + 5 * SEC), 5 * SEC);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now + 20 * SEC), 0);
}

static void
probes_that_never_come_back_are_given_up(void)
{
    lb_ns now = 0;
    lb_breaker b = half_open(&now);
    uint32_t generation = lb_breaker_enter(&b, &rules, now);
    CHECK_EQ(lb_breaker_at(&b, &rules, now + 59 * SEC), LB_HALF_OPEN);
    CHECK_EQ(b.probing, 1);
    CHECK_EQ(lb_breaker_at(&b, &rules, now + 60 * SEC), LB_HALF_OPEN);
    CHECK_EQ(b.probing, 0);
    CHECK_EQ(b.admitted, 0);
    lb_breaker_leave(&b, &rules, generation, LB_CANCELLED, 0, &rng, now + 61 * SEC);
    CHECK_EQ(b.probing, 0);
    CHECK_EQ(b.admitted, 0);
    lb_breaker_leave(&b, &rules, generation, LB_DONE, 0, &rng, now + 301 * SEC);
    CHECK_EQ(b.probes_ok, 1);
}

static void
any_failing_probe_opens_it_again(void)
{
    for (int outcome = 0; outcome < LB_NOUTCOMES; outcome++) {
        lb_ns now = 0;
        lb_breaker b = half_open(&now);
        call(&b, LB_DONE, now);
        call(&b, (enum lb_outcome)outcome, now);
        bool fails = outcome >= LB_FAILED && outcome <= LB_MISSING;
        CHECK_EQ(b.state, fails ? LB_OPEN : LB_HALF_OPEN);
        if (fails)
            CHECK_EQ(b.reason, outcome);
    }
}

static void
three_good_probes_start_a_ramp_from_a_tenth_to_all(void)
{
    /* Envoy's slow start with aggression 1: max(10 %, t / window). */
    static const double rows[][2] = {{0, 0.1},     {0.05, 0.1}, {0.1, 0.1},
                                     {0.25, 0.25}, {0.5, 0.5},  {1, 1}};
    lb_ns now = 0;
    lb_breaker b = ramping(&now);
    CHECK_EQ(b.state, LB_RAMP);
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    for (int i = 0; i < 6; i++) {
        lb_ns at = now + (lb_ns)(rows[i][0] * (double)rules.ramp);
        CHECK(fabs(lb_breaker_share(&b, at) - rows[i][1]) < 1e-9);
    }
    CHECK_EQ(lb_breaker_at(&b, &rules, now + 30 * SEC - 1), LB_RAMP);
    CHECK_EQ(lb_breaker_at(&b, &rules, now + 30 * SEC), LB_CLOSED);
    CHECK_EQ(b.since, now + 30 * SEC);
}

static void
a_ramp_ends_as_it_began_under_other_rules(void)
{
    lb_ns now = 0;
    lb_breaker b = ramping(&now);
    lb_breaker_rules flat = rules;
    flat.ramp = 0;
    CHECK_EQ(lb_breaker_at(&b, &flat, now + 15 * SEC), LB_RAMP);
    CHECK(fabs(lb_breaker_share(&b, now + 15 * SEC) - 0.5) < 1e-9);
    CHECK_EQ(lb_breaker_at(&b, &flat, now + 30 * SEC), LB_CLOSED);
}

static void
a_trip_in_the_ramp_doubles_the_open_time(void)
{
    lb_ns now = 0;
    lb_breaker b = ramping(&now);
    for (int i = 0; i < 5; i++)
        call(&b, LB_FAILED, now + SEC);
    CHECK_EQ(b.state, LB_OPEN);
    CHECK(b.until - now - SEC >= 9 * SEC);
}

static void
calls_of_the_ramp_still_count_after_it(void)
{
    lb_ns now = 0;
    lb_breaker b = ramping(&now);
    uint32_t generation = lb_breaker_enter(&b, &rules, now);
    CHECK_EQ(lb_breaker_at(&b, &rules, now + 31 * SEC), LB_CLOSED);
    lb_breaker_leave(&b, &rules, generation, LB_AUTH, 0, &rng, now + 31 * SEC);
    CHECK_EQ(b.state, LB_OPEN);
}

static void
without_a_ramp_good_probes_close_it(void)
{
    lb_breaker_rules flat = rules;
    flat.ramp = 0;
    CHECK_EQ(lb_breaker_check(&flat), LB_OK);
    lb_ns now = 0;
    lb_breaker b = half_open(&now);
    for (int i = 0; i < 3; i++) {
        uint32_t g = lb_breaker_enter(&b, &flat, now);
        lb_breaker_leave(&b, &flat, g, LB_DONE, 0, &rng, now);
    }
    CHECK(lb_breaker_share(&b, now) == 1.0);
    CHECK_EQ(lb_breaker_at(&b, &flat, now), LB_CLOSED);
}

static void
results_of_an_older_generation_are_ignored(void)
{
    lb_breaker b = {0};
    uint32_t before = lb_breaker_enter(&b, &rules, 0);
    b = tripped(0);
    lb_ns now = b.until;
    lb_breaker_leave(&b, &rules, before, LB_DONE, 0, &rng, now);
    CHECK_EQ(b.state, LB_HALF_OPEN);
    CHECK_EQ(b.probes_ok, 0);
    lb_breaker_leave(&b, &rules, before, LB_AUTH, 0, &rng, now);
    CHECK_EQ(b.state, LB_HALF_OPEN);
}

static void
a_last_resort_call_through_an_open_breaker_changes_nothing(void)
{
    lb_breaker b = tripped(0);
    lb_ns until = b.until;
    call(&b, LB_DONE, SEC);
    call(&b, LB_FAILED, SEC);
    CHECK_EQ(b.state, LB_OPEN);
    CHECK_EQ(b.until, until);
}

static void
orders_hold_until_they_are_lifted(void)
{
    lb_breaker b = {0};
    lb_breaker_order(&b, LB_FORCED_OPEN, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_OPEN);
    CHECK_EQ(lb_breaker_wait(&b, &rules, 900 * SEC), LB_FOREVER);
    lb_breaker_order(&b, LB_FORCED_CLOSED, SEC);
    for (int i = 0; i < 50; i++)
        call(&b, i % 2 ? LB_FAILED : LB_QUOTA, SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, SEC), LB_CLOSED);
    CHECK_EQ(lb_breaker_wait(&b, &rules, SEC), 0);
    int32_t calls, failed;
    lb_breaker_window(&b, &rules, SEC, &calls, &failed);
    CHECK_EQ(failed, 25);
    uint32_t forced = lb_breaker_enter(&b, &rules, SEC);
    lb_breaker_order(&b, LB_AUTO, 2 * SEC);
    lb_breaker_leave(&b, &rules, forced, LB_AUTH, 0, &rng, 2 * SEC);
    CHECK_EQ(lb_breaker_at(&b, &rules, 2 * SEC), LB_CLOSED);
    lb_breaker_window(&b, &rules, 2 * SEC, &calls, &failed);
    CHECK_EQ(calls, 0);
}

static void
counters_stop_instead_of_overflowing(void)
{
    lb_breaker b = {0};
    for (int i = 0; i < 100000; i++)
        call(&b, i % 4 ? LB_DONE : LB_FAILED, SEC);
    int32_t calls, failed;
    lb_breaker_window(&b, &rules, SEC, &calls, &failed);
    CHECK(calls > 30000 && fabs(4.0 * failed / calls - 1) < 0.01);
    CHECK_EQ(b.state, LB_CLOSED);

    lb_breaker_order(&b, LB_FORCED_CLOSED, SEC);
    b.consecutive = INT32_MAX - 1;
    for (int i = 0; i < 70000; i++)
        call(&b, LB_FAILED, SEC);
    CHECK_EQ(b.consecutive, INT32_MAX);

    b = tripped(0);
    b.trips = b.total_trips = INT32_MAX;
    lb_ns now = b.until;
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    b.seen = INT32_MAX;
    CHECK_EQ(lb_breaker_wait(&b, &rules, now), 0);
    call(&b, LB_FAILED, now);
    CHECK_EQ(b.trips, INT32_MAX);
    CHECK_EQ(b.total_trips, INT32_MAX);
}

/* Every call of a run is kept; the window is counted anew each time. */
static void
it_trips_exactly_when_a_log_of_all_calls_says_so(void)
{
    enum { STEPS = 300 };
    static struct {
        lb_ns bucket;
        int failed, slow;
    } log[STEPS];
    lb_ns width = rules.window / LB_BREAKER_BUCKETS;
    int trips = 0;
    for (int run = 0; run < 400; run++) {
        lb_breaker b = {0};
        lb_ns now = 0;
        double p = lb_rng_unit(&rng) * 0.6;
        int n = 0, in_a_row = 0;
        for (bool open = false; n < STEPS && !open;) {
            now += (lb_ns)(lb_rng_unit(&rng) * 2e9);
            enum lb_outcome outcome = LB_DONE;
            if (lb_rng_unit(&rng) < p)
                outcome = lb_rng_below(&rng, 2) ? LB_TIMED_OUT : LB_SLOW;
            log[n].bucket = now / width;
            log[n].failed = outcome == LB_TIMED_OUT;
            log[n].slow = outcome != LB_DONE;
            in_a_row = log[n].failed ? in_a_row + 1 : 0;
            n++;
            int calls = 0, failed = 0, slow = 0;
            for (int i = 0; i < n; i++) {
                if (now / width - log[i].bucket >= LB_BREAKER_BUCKETS)
                    continue;
                calls++;
                failed += log[i].failed;
                slow += log[i].slow;
            }
            open = log[n - 1].slow &&
                   (in_a_row >= 5 || (calls >= 10 && 2 * failed >= calls) ||
                    (calls >= 20 && 10 * slow >= 8 * calls));
            call(&b, outcome, now);
            CHECK_EQ(b.state, open ? LB_OPEN : LB_CLOSED);
            trips += open;
        }
    }
    CHECK(trips > 40 && trips < 360);
}

static void
a_window_that_grows_keeps_what_it_holds(void)
{
    lb_breaker b = {0};
    lb_breaker_rules wide = rules;
    wide.window = 10 * rules.window;
    for (int i = 0; i < 4; i++)
        call(&b, LB_FAILED, 100 * SEC);
    int32_t calls, failed;
    lb_breaker_window(&b, &wide, 120 * SEC, &calls, &failed);
    CHECK_EQ(failed, 4);
    lb_breaker_window(&b, &wide, 500 * SEC, &calls, &failed);
    CHECK_EQ(failed, 0);
}

int
main(void)
{
    lb_breaker_default(&rules);
    CHECK_RUN(the_defaults_are_valid_and_all_zero_is_closed);
    CHECK_RUN(rules_out_of_range_are_refused);
    CHECK_RUN(five_failures_in_a_row_open_it);
    CHECK_RUN(a_success_or_a_fault_of_the_request_ends_a_run_of_failures);
    CHECK_RUN(refusals_by_rate_and_cancellations_say_nothing_while_closed);
    CHECK_RUN(half_of_ten_calls_failing_opens_it);
    CHECK_RUN(failures_older_than_the_window_are_forgotten);
    CHECK_RUN(eight_of_ten_slow_answers_open_it_after_twenty_calls);
    CHECK_RUN(a_run_of_k_failures_trips_as_often_as_theory_says);
    CHECK_RUN(the_rule_of_consecutive_failures_can_be_off);
    CHECK_RUN(time_outs_can_have_a_shorter_run_than_other_failures);
    CHECK_RUN(quota_key_and_missing_model_open_it_at_once_for_five_minutes);
    CHECK_RUN(retry_after_lengthens_the_open_time_within_reason);
    CHECK_RUN(the_open_time_doubles_up_to_the_maximum);
    CHECK_RUN(a_whole_window_closed_forgets_earlier_trips);
    CHECK_RUN(half_open_lets_the_first_and_then_every_tenth_in);
    CHECK_RUN(after_a_time_out_one_probe_at_a_time_is_kept_waiting);
    CHECK_RUN(a_probe_that_left_its_call_lets_the_next_one_in_after_a_time_out);
    CHECK_RUN(who_may_enter_but_does_not_takes_nobodys_place);
    CHECK_RUN(a_probe_that_says_nothing_gives_its_credit_back);
    CHECK_RUN(one_request_passes_each_cooldown_when_hardly_anybody_asks);
    CHECK_RUN(probes_that_never_come_back_are_given_up);
    CHECK_RUN(any_failing_probe_opens_it_again);
    CHECK_RUN(three_good_probes_start_a_ramp_from_a_tenth_to_all);
    CHECK_RUN(a_ramp_ends_as_it_began_under_other_rules);
    CHECK_RUN(a_trip_in_the_ramp_doubles_the_open_time);
    CHECK_RUN(calls_of_the_ramp_still_count_after_it);
    CHECK_RUN(without_a_ramp_good_probes_close_it);
    CHECK_RUN(results_of_an_older_generation_are_ignored);
    CHECK_RUN(a_last_resort_call_through_an_open_breaker_changes_nothing);
    CHECK_RUN(orders_hold_until_they_are_lifted);
    CHECK_RUN(counters_stop_instead_of_overflowing);
    CHECK_RUN(it_trips_exactly_when_a_log_of_all_calls_says_so);
    CHECK_RUN(a_window_that_grows_keeps_what_it_holds);
    return CHECK_DONE();
}

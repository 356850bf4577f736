/* A provider's truth: order of events, limits, queues, sharing, caches. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim_station.h"
#include "sim_tally.h"

static sim_job jobs[64];
static sim_limit limits[2];
static sim_floor stage = {.job = jobs, .limit = limits, .block_tokens = 512};

/* A fresh stage; calls wait for `patience` seconds. */
static void
set(double patience)
{
    sim_events_free(&stage.events);
    memset(jobs, 0, sizeof jobs);
    for (uint32_t i = 0; i < 64; i++)
        jobs[i] = (sim_job){.stamp = i + 1,
                            .luck = i,
                            .input = 1000,
                            .output = 101,
                            .until = LB_NS_PER_S + (lb_ns)(patience * 1e9)};
}

static lb_ns
at(double seconds)
{
    return LB_NS_PER_S + (lb_ns)llround(seconds * 1e9);
}

/* Let everything happen; the time at which `id` ended, or 0. */
static lb_ns
ended(sim_station *s, uint32_t id)
{
    lb_ns when = 0;
    while (stage.events.n > 0) {
        sim_event e = sim_events_pop(&stage.events);
        int64_t over = -1;
        if (e.kind == SIM_TURN) {
            over = sim_station_turn(s, &stage, e.stamp, e.at);
            if (over >= 0)
                jobs[over].outcome = LB_DONE;
        } else if (jobs[e.id].stamp == e.stamp && e.kind == SIM_FIRST) {
            sim_station_first(s, &stage, e.id, e.at);
        } else if (jobs[e.id].stamp == e.stamp) {
            over = e.id;
            if (e.kind == SIM_GIVE_UP)
                jobs[over].outcome = LB_TIMED_OUT;
        }
        if (over < 0)
            continue;
        sim_station_leave(s, &stage, (uint32_t)over, e.at);
        jobs[over].stamp = 0;
        if (over == (int64_t)id)
            when = e.at;
    }
    return when;
}

static void
events_come_in_the_order_of_time_and_of_announcement(void)
{
    sim_events q = {0};
    uint32_t seed = 1;
    for (uint32_t i = 0; i < 5000; i++) {
        seed = seed * 1664525 + 1013904223;
        sim_events_push(&q, seed >> 24, 0, i, 0);
    }
    sim_event last = sim_events_pop(&q);
    while (q.n > 0) {
        sim_event e = sim_events_pop(&q);
        CHECK(e.at > last.at || (e.at == last.at && e.id > last.id));
        last = e;
    }
    CHECK_EQ(sim_events_next(&q), LB_FOREVER);
    sim_events_free(&q);
}

static void
a_histogram_knows_quantiles_to_four_tenths_of_a_percent(void)
{
    sim_hist *h = calloc(1, sizeof *h);
    for (int i = 1; i <= 100000; i++)
        sim_hist_add(h, i * 1e-3);
    for (int p = 1; p < 100; p++)
        CHECK(fabs(sim_hist_quantile(h, p / 100.0) / p - 1) < 0.004);
    CHECK(fabs(sim_hist_quantile(h, 1) - 100) < 1e-9);
    sim_hist_add(h, 0);
    sim_hist_add(h, 1e9);
    CHECK_EQ(h->n, 100002);
    CHECK(sim_hist_quantile(h, 0) < 1e-5);
    free(h);
}

static void
an_answer_takes_its_first_token_and_its_tokens(void)
{
    sim_station s = {.service = {.ttft = 0.5, .prefill = 1e-4, .token = 0.01}};
    set(60);
    sim_station_arrive(&s, &stage, 0, at(0));
    CHECK_EQ(ended(&s, 0), at(0.5 + 0.1 + 1.0));
    CHECK_EQ(jobs[0].first, at(0.6));
    CHECK_EQ(jobs[0].outcome, LB_DONE);
    sim_station_free(&s);
}

static void
serial_prompts_are_read_one_after_the_other(void)
{
    sim_station s = {
        .service = {.ttft = 0.5, .prefill = 1e-4, .token = 0.01, .serial = true}};
    set(60);
    for (uint32_t i = 0; i < 3; i++)
        sim_station_arrive(&s, &stage, i, at(0));
    CHECK_EQ(jobs[2].first, at(0.3 + 0.5));
    (void)ended(&s, 0);
    sim_station_free(&s);
}

static void
who_comes_too_late_times_out(void)
{
    sim_station s = {.service = {.ttft = 0.5, .token = 0.01}};
    set(1);
    sim_station_arrive(&s, &stage, 0, at(0));
    jobs[1].stream = true;
    sim_station_arrive(&s, &stage, 1, at(0));
    CHECK_EQ(jobs[0].outcome, LB_TIMED_OUT);
    CHECK_EQ(jobs[1].outcome, LB_DONE); /* its first token came in time */
    CHECK_EQ(ended(&s, 0), at(1));
    CHECK_EQ(s.serving, 0);
    sim_station_free(&s);
}

static void
slots_make_a_line_and_a_full_line_refuses(void)
{
    sim_station s = {.service = {.ttft = 1, .slots = 1, .queue = 2}};
    set(60);
    for (uint32_t i = 0; i < 4; i++)
        sim_station_arrive(&s, &stage, i, at(0));
    CHECK_EQ(jobs[3].outcome, LB_RATE_LIMITED);
    CHECK_EQ(ended(&s, 2), at(3));
    set(1.5);
    for (uint32_t i = 0; i < 3; i++)
        sim_station_arrive(&s, &stage, i, at(0));
    CHECK_EQ(ended(&s, 2), at(1.5)); /* gave up in the line */
    CHECK_EQ(s.serving, 0);
    CHECK_EQ(s.live, 0);
    sim_station_free(&s);
}

static void
limits_refuse_with_the_time_to_come_back(void)
{
    sim_station s = {.service = {.ttft = 1, .headers = true, .retry_after = true},
                     .nlimits = 1,
                     .limit = {0}};
    set(60);
    limits[0] = (sim_limit){.unit = LB_PER_REQUEST};
    CHECK_EQ(lb_rate_init(&limits[0].rate, 2, 60 * LB_NS_PER_S, 0), LB_OK);
    for (uint32_t i = 0; i < 3; i++)
        sim_station_arrive(&s, &stage, i, at(0));
    CHECK_EQ(jobs[1].outcome, LB_DONE);
    CHECK_EQ(jobs[1].told[0].reading.remaining, 0);
    CHECK_EQ(jobs[1].told[0].reading.reset, 60 * LB_NS_PER_S);
    CHECK_EQ(jobs[2].outcome, LB_RATE_LIMITED);
    CHECK_EQ(jobs[2].retry_after, 30 * LB_NS_PER_S);
    (void)ended(&s, 0);
    sim_station_free(&s);
}

/* The exact bucket counts in ns: a request is worth 600 ms. */
static void
a_limit_admits_what_an_exact_bucket_admits(void)
{
    sim_station s = {.service = {.ttft = 1e-6}, .nlimits = 1};
    const int64_t refill = 600000000, burst = 7;
    int64_t full = burst * refill, level = full, refused = 0;
    lb_ns now = LB_NS_PER_S, before = now;
    uint64_t seed = 5;
    limits[0] = (sim_limit){.unit = LB_PER_REQUEST};
    CHECK_EQ(lb_rate_init(&limits[0].rate, 100, 60 * LB_NS_PER_S, burst), LB_OK);
    for (int i = 0; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        now += (lb_ns)(seed >> 33) % (2 * refill);
        level = lb_min(full, level + now - before);
        before = now;
        set(1e9);
        jobs[0].luck = seed;
        sim_station_arrive(&s, &stage, 0, now);
        CHECK_EQ(jobs[0].outcome, level >= refill ? LB_DONE : LB_RATE_LIMITED);
        refused += level < refill;
        level -= level >= refill ? refill : 0;
        (void)ended(&s, 0);
    }
    CHECK(refused > 100 && refused < 10000);
    sim_station_free(&s);
}

static void
a_charge_of_the_longest_answer_is_given_back(void)
{
    sim_station s = {.service = {.ttft = 1, .most_output = 4000}, .nlimits = 1};
    set(60);
    limits[0] = (sim_limit){.unit = LB_PER_TOKEN, .charge = LB_CHARGE_MAX};
    CHECK_EQ(lb_rate_init(&limits[0].rate, 60000, 60 * LB_NS_PER_S, 0), LB_OK);
    sim_station_arrive(&s, &stage, 0, at(0));
    CHECK_EQ(limits[0].rate.charged, 5000);
    (void)ended(&s, 0);
    CHECK_EQ(limits[0].rate.charged, 1101);
    limits[0].charge = LB_CHARGE_ACTUAL;
    jobs[1].stamp = 2;
    sim_station_arrive(&s, &stage, 1, at(10));
    CHECK_EQ(limits[0].rate.charged, 2101);
    (void)ended(&s, 1);
    CHECK_EQ(limits[0].rate.charged, 2202);
    sim_station_free(&s);
}

/* 100 tokens at .01 s a call in service: alone 1 s, two together 2 s. */
static void
calls_share_the_machine(void)
{
    sim_station s = {.service = {.token_crowd = 0.01}};
    set(60);
    sim_station_arrive(&s, &stage, 0, at(0));
    CHECK(llabs(ended(&s, 0) - at(1)) <= 2);
    set(60);
    sim_station_arrive(&s, &stage, 0, at(0));
    sim_station_arrive(&s, &stage, 1, at(0));
    CHECK(llabs(ended(&s, 1) - at(2)) <= 2);
    set(0.5);
    jobs[1].until = at(60);
    sim_station_arrive(&s, &stage, 0, at(0)); /* leaves half-way: 1 works on alone */
    sim_station_arrive(&s, &stage, 1, at(0));
    CHECK(llabs(ended(&s, 1) - at(0.5 + 0.75)) <= 2);
    CHECK_EQ(jobs[0].outcome, LB_TIMED_OUT);
    CHECK_EQ(s.serving, 0);
    sim_station_free(&s);
}

static void
prompts_are_cached_by_blocks_or_by_session(void)
{
    static const uint64_t blocks[] = {7, 8, 9, 7, 8, 5};
    sim_station s = {.service = {.ttft = 1,
                                 .prefill = 1e-3,
                                 .cache_life = 300 * LB_NS_PER_S,
                                 .cache_least = 512}};
    set(60);
    for (uint32_t i = 0; i < 2; i++) {
        jobs[i].input = 1536;
        jobs[i].block = blocks + 3 * i;
        jobs[i].nblocks = 3;
    }
    sim_station_arrive(&s, &stage, 0, at(0));
    CHECK_EQ(jobs[0].cached, 0);
    (void)ended(&s, 0);
    sim_station_arrive(&s, &stage, 1, at(10));
    CHECK_EQ(jobs[1].cached, 1024);
    CHECK_EQ(jobs[1].first, at(10 + 1 + 0.512));
    (void)ended(&s, 1);
    jobs[2].session = jobs[3].session = jobs[4].session = 3;
    jobs[3].input = 2000;
    sim_station_arrive(&s, &stage, 2, at(20));
    (void)ended(&s, 2);
    jobs[3].until = jobs[4].until = at(1000);
    sim_station_arrive(&s, &stage, 3, at(30));
    CHECK_EQ(jobs[3].cached, 1101);
    (void)ended(&s, 3);
    sim_station_arrive(&s, &stage, 4, at(700)); /* forgotten by then */
    CHECK_EQ(jobs[4].cached, 0);
    (void)ended(&s, 4);
    sim_station_free(&s);
}

static void
a_cache_grows_and_forgets_what_has_expired(void)
{
    sim_station s = {.service = {.ttft = 1e-9, .cache_life = LB_NS_PER_S}};
    for (uint32_t i = 0; i < 5000; i++) {
        set(1e6);
        jobs[0].session = i + 1;
        sim_station_arrive(&s, &stage, 0, at(i * 0.01));
        (void)ended(&s, 0);
    }
    CHECK_EQ(s.lost, false);
    CHECK(s.prompts <= 2048);
    sim_station_free(&s);
}

static void
trouble_hits_those_sent_meanwhile(void)
{
    static sim_fault faults[] = {
        {.from = 1, .until = LB_FOREVER, .trouble = SIM_FAIL, .share = 1, .factor = 3}};
    sim_station s = {.service = {.ttft = 1, .failure_after = 0.2, .refusal_after = 0.1},
                     .nfaults = 1};
    s.fault = faults;
    const struct {
        uint8_t trouble, outcome;
        double ends;
    } want[] = {{SIM_FAIL, LB_FAILED, 0.2},
                {SIM_HANG, LB_TIMED_OUT, 60},
                {SIM_SLOW, LB_DONE, 3},
                {SIM_REFUSE, LB_RATE_LIMITED, 0.1}};
    for (int k = 0; k < 4; k++) {
        set(60);
        faults[0].trouble = want[k].trouble;
        sim_station_arrive(&s, &stage, 0, at(0));
        CHECK_EQ(jobs[0].outcome, want[k].outcome);
        CHECK_EQ(ended(&s, 0), at(want[k].ends));
    }
    CHECK_EQ(jobs[0].retry_after, 3 * LB_NS_PER_S);
    s.fault = NULL;
    sim_station_free(&s);
}

int
main(void)
{
    CHECK_RUN(events_come_in_the_order_of_time_and_of_announcement);
    CHECK_RUN(a_histogram_knows_quantiles_to_four_tenths_of_a_percent);
    CHECK_RUN(an_answer_takes_its_first_token_and_its_tokens);
    CHECK_RUN(serial_prompts_are_read_one_after_the_other);
    CHECK_RUN(who_comes_too_late_times_out);
    CHECK_RUN(slots_make_a_line_and_a_full_line_refuses);
    CHECK_RUN(limits_refuse_with_the_time_to_come_back);
    CHECK_RUN(a_limit_admits_what_an_exact_bucket_admits);
    CHECK_RUN(a_charge_of_the_longest_answer_is_given_back);
    CHECK_RUN(calls_share_the_machine);
    CHECK_RUN(prompts_are_cached_by_blocks_or_by_session);
    CHECK_RUN(a_cache_grows_and_forgets_what_has_expired);
    CHECK_RUN(trouble_hits_those_sent_meanwhile);
    sim_events_free(&stage.events);
    return CHECK_DONE();
}

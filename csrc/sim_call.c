#include "sim_call.h"

#include <string.h>

#include "sim_draw.h"

enum { MOST_ATTEMPTS = 16, ROUNDS = 3 };

static const lb_ns BUSY_WAIT = 5 * LB_NS_PER_MS;
static const double FIRST_PAUSE = 0.5, LONGEST_PAUSE = 8; /* s between rounds */

/* ---- ends --------------------------------------------------------------- */

static void
follow(sim_world *w, const sim_job *job, const sim_call *call)
{
    int32_t *home = &w->home[job->session];
    if (*home != 0) {
        w->tally.total.follow_ups++;
        w->tally.total.sticky += *home == call->backend + 1;
    }
    *home = call->backend + 1;
}

static void
end_call(sim_world *w, uint32_t id, enum sim_end end, lb_ns now)
{
    sim_call *call = &w->call[id];
    sim_job *job = &w->floor.job[id];
    sim_totals *total = &w->tally.total;
    double seconds = (double)(now - call->arrived) * 1e-9, ttft = 0;
    total->end[end]++;
    total->last = now;
    if (end == SIM_DONE) {
        ttft = (double)(job->first - call->arrived) * 1e-9;
        sim_hist_add(&w->tally.seconds, seconds);
        sim_hist_add(&w->tally.ttft, ttft);
        total->absorbed += call->rough;
        if (job->session != 0)
            follow(w, job, call);
    }
    if (w->tally.sample != NULL)
        w->tally.sample[call->request] = (sim_sample){
            .cost = call->cost,
            .ttft = (float)ttft,
            .seconds = (float)seconds,
            .backend = (int16_t)(end == SIM_DONE ? call->backend : -1),
            .attempts = call->attempts,
            .end = (uint8_t)end,
            .cached = end == SIM_DONE ? job->cached : 0,
        };
    job->stamp = 0;
    call->next = w->free;
    w->free = id;
}

static void
stop(sim_world *w, uint32_t id, lb_ns now)
{
    end_call(w, id, w->call[id].attempts > 0 ? SIM_FAILED : SIM_REFUSED, now);
}

/* ---- the retry budget --------------------------------------------------- */

static const double DEPOSIT = 0.2, FLOOR = 3, ELSEWHERE = 1, AGAIN = 2;

/* The slot of this second; those that have passed are emptied. */
static double *
retry_slot(sim_retries *r, lb_ns now)
{
    int64_t second = now / LB_NS_PER_S;
    for (int64_t s = lb_max(r->second, second - 10) + 1; s <= second; s++)
        r->slot[s % 10] = 0;
    r->second = second;
    return &r->slot[second % 10];
}

static bool
may_repeat(sim_retries *r, lb_ns now)
{
    double *slot = retry_slot(r, now), balance = FLOOR + 1e-9;
    for (int k = 0; k < 10; k++)
        balance += r->slot[k];
    if (balance < AGAIN)
        return false;
    *slot -= AGAIN;
    return true;
}

/* ---- the way down ------------------------------------------------------- */

static void
look_again(sim_world *w, uint32_t id, lb_ns wait, lb_ns now)
{
    sim_job *job = &w->floor.job[id];
    job->stamp = ++w->stamp;
    w->tally.total.waits++;
    w->tally.total.waited += (double)wait * 1e-9;
    sim_events_push(&w->floor.events, now + wait, SIM_RETRY, id, job->stamp);
}

static void
send(sim_world *w, uint32_t id, uint32_t backend, lb_ns share, lb_ns now)
{
    sim_call *call = &w->call[id];
    sim_job *job = &w->floor.job[id];
    call->backend = (int16_t)backend;
    call->sent = now;
    call->tried++;
    if (call->tried > 1)
        *retry_slot(&w->retries, now) -= ELSEWHERE;
    else if (call->round == 0)
        *retry_slot(&w->retries, now) += DEPOSIT;
    call->attempts++;
    job->stamp = ++w->stamp;
    job->luck = lb_mix(w->plan.seed ^ (call->request << 8)) + call->attempts;
    job->until = now + share;
    job->stream = w->plan.stream;
    w->tally.total.attempts++;
    sim_tally_cell(&w->tally, backend)->sent++;
    sim_station_arrive(&w->station[backend], &w->floor, id, now);
}

/* Half of what is left while somebody else could help. */
static lb_ns
time_share(const sim_call *call, bool others, lb_ns left)
{
    const lb_decision *d = &call->lease.decision;
    uint32_t eligible =
        d->refused[LB_ELIGIBLE] + d->refused[LB_NO_ORDER] + d->refused[LB_NO_STALL];
    if (eligible <= 1 && d->looked >= d->members && !others)
        return left;
    lb_ns expected = (lb_ns)(3e9 * call->lease.seconds);
    return lb_max(left / 2, lb_min(expected, left / 4 * 3));
}

/* Nothing fits now: wait, begin another round, or give up. */
static void
pause_call(sim_world *w, uint32_t id, lb_ns wait, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    if (call->tried == 0) {
        if (wait >= left) {
            stop(w, id, now);
            return;
        }
        double longer = 1 + 0.1 * lb_rng_unit(&w->rng);
        wait = (lb_ns)((double)lb_max(wait, BUSY_WAIT) * longer);
        look_again(w, id, lb_min(wait, left), now);
        return;
    }
    call->round++;
    if (call->round >= ROUNDS) {
        stop(w, id, now);
        return;
    }
    double most = fmin(LONGEST_PAUSE, FIRST_PAUSE * (double)(1 << call->round));
    lb_ns rest = (lb_ns)(most * lb_rng_unit(&w->rng) * 1e9);
    rest = lb_max(rest, lb_min(wait, call->back_at - now));
    call->back_at = 0;
    if (rest >= left || !may_repeat(&w->retries, now)) {
        stop(w, id, now);
        return;
    }
    call->tried = 0;
    call->ask.ntried = 0;
    look_again(w, id, rest, now);
}

static void
aim_by_pool(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    uint32_t group = w->trace.group != NULL ? w->trace.group[call->request] : 0;
    const uint32_t *link = &w->link[w->chain[group]];
    uint32_t n = w->chain[group + 1] - w->chain[group];
    lb_ns wait = LB_FOREVER;
    uint64_t dark = 0; /* links whose breakers are open */
    for (uint32_t k = 0; k < n; k++) {
        call->ask.group = link[k];
        int i = lb_lease_pick(w->pool, &call->ask, &call->lease, now);
        if (i >= 0) {
            send(w, id, (uint32_t)i, time_share(call, n > 1, left), now);
            return;
        }
        wait = lb_min(wait, call->lease.decision.wait);
        if (call->lease.decision.refused[LB_NO_BREAKER] > 0)
            dark |= UINT64_C(1) << (k & 63);
    }
    for (uint32_t k = 0; k < n && dark != 0; k++) {
        if ((dark >> (k & 63) & 1) == 0)
            continue;
        call->ask.group = link[k];
        call->ask.last_resort = true;
        int i = lb_lease_pick(w->pool, &call->ask, &call->lease, now);
        call->ask.last_resort = false;
        if (i >= 0) {
            send(w, id, (uint32_t)i, time_share(call, n > 1, left), now);
            return;
        }
    }
    pause_call(w, id, wait, left, now);
}

/* Three tries in a group, then the next one. */
static void
aim_by_rule(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    uint32_t group = w->trace.group != NULL ? w->trace.group[call->request] : 0;
    uint32_t n = w->chain[group + 1] - w->chain[group];
    for (; call->link < n; call->link++, call->tries = 0) {
        if (call->tries >= SIM_RULE_TRIES)
            continue;
        const lb_group *g =
            lb_pool_group(w->pool, w->link[w->chain[group] + call->link]);
        lb_ns wait;
        int64_t tokens = call->ask.tokens[0];
        int i = sim_rule_pick((enum sim_rule)w->plan.rule, w->peer,
                              lb_pool_members(w->pool, g), g->count, call->ask.tried,
                              call->ask.ntried, tokens, &w->rng, now, &wait);
        call->tries++;
        if (i >= 0) {
            sim_rule_start(&w->peer[i], now);
            send(w, id, (uint32_t)i, left, now);
            return;
        }
        if (call->link + 1U < n)
            continue; /* a fallback is nearer than the end of a cooldown */
        if (wait < left && call->tries < SIM_RULE_TRIES) {
            look_again(w, id, wait, now);
            return;
        }
    }
    stop(w, id, now);
}

void
sim_call_aim(sim_world *w, uint32_t id, lb_ns now)
{
    const sim_call *call = &w->call[id];
    lb_ns left = call->deadline - now;
    if (call->attempts >= MOST_ATTEMPTS)
        stop(w, id, now);
    else if (left <= 0)
        end_call(w, id, SIM_TIMED_OUT, now);
    else if (w->plan.rule >= 0)
        aim_by_rule(w, id, left, now);
    else
        aim_by_pool(w, id, left, now);
}

/* ---- the way back ------------------------------------------------------- */

/* What the attempt used and what it cost; a late one has its prompt billed. */
static int64_t
bill(const sim_world *w, const sim_call *call, const sim_job *job, lb_usage *used)
{
    memset(used, 0, sizeof *used);
    if (job->outcome == LB_DONE) {
        used->count[LB_INPUT] = job->input - job->cached;
        used->count[LB_CACHE_READ] = job->cached;
        used->count[LB_OUTPUT] = job->output;
        used->count[LB_REQUESTS] = 1;
    } else if (job->outcome == LB_TIMED_OUT) {
        used->count[LB_INPUT] = job->input;
    } else {
        return 0;
    }
    return lb_max(lb_price_cost(&w->station[call->backend].price, used), 0);
}

static void
settle(sim_world *w, sim_call *call, const sim_job *job, const lb_usage *used,
       int64_t cost, lb_ns now)
{
    double seconds = (double)(now - call->sent) * 1e-9;
    if (w->plan.rule >= 0) {
        sim_rule_end((enum sim_rule)w->plan.rule, &w->peer[call->backend],
                     (enum lb_outcome)job->outcome, seconds, job->input, job->output,
                     now);
        return;
    }
    bool done = job->outcome == LB_DONE;
    lb_result result = {
        .outcome = (enum lb_outcome)job->outcome,
        .sent = true,
        .metered = done,
        .usage = *used,
        .cost = cost,
        /* An answer in one piece does not tell when its first token came. */
        .ttft = done && job->stream ? (double)(job->first - call->sent) * 1e-9 : 0,
        .seconds = done ? seconds : 0,
        .retry_after = job->retry_after,
        .ntold = job->ntold,
    };
    memcpy(result.told, job->told, job->ntold * sizeof *job->told);
    (void)lb_lease_settle(w->pool, &call->lease, &result, now);
}

static void
count_failure(sim_world *w, sim_cell *cell, const sim_job *job, int64_t cost)
{
    sim_totals *total = &w->tally.total;
    total->wasted += cost;
    if (job->outcome == LB_RATE_LIMITED) {
        total->limited++;
        cell->limited++;
    } else if (job->outcome == LB_TIMED_OUT) {
        total->timed_out++;
        cell->timed_out++;
    } else {
        total->failed++;
        cell->failed++;
    }
}

static void
count_answer(sim_world *w, sim_cell *cell, const sim_job *job)
{
    sim_totals *total = &w->tally.total;
    total->input += job->input;
    total->cached += job->cached;
    total->output += job->output;
    cell->done++;
    cell->input += job->input;
    cell->cached += job->cached;
    cell->output += job->output;
}

void
sim_call_land(sim_world *w, uint32_t id, lb_ns now)
{
    sim_call *call = &w->call[id];
    sim_job *job = &w->floor.job[id];
    uint32_t backend = (uint32_t)call->backend;
    lb_usage used;
    int64_t cost = bill(w, call, job, &used);
    sim_station_leave(&w->station[backend], &w->floor, id, now);
    settle(w, call, job, &used, cost, now);
    call->cost += cost;
    w->tally.total.cost += cost;
    sim_cell *cell = sim_tally_cell(&w->tally, backend);
    cell->cost += cost;
    cell->busy += (double)(now - call->sent) * 1e-9;
    if (job->outcome == LB_DONE) {
        count_answer(w, cell, job);
        end_call(w, id, SIM_DONE, now);
        return;
    }
    count_failure(w, cell, job, cost);
    call->rough = true;
    lb_ns back_at = lb_add_capped(now, job->retry_after);
    call->back_at = lb_min(back_at, call->back_at > 0 ? call->back_at : back_at);
    if (call->ask.ntried < LB_TRIED)
        call->ask.tried[call->ask.ntried++] = (uint16_t)backend;
    sim_call_aim(w, id, now);
}

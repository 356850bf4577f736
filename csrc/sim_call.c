#include "sim_call.h"

#include <string.h>

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

void
sim_call_end(sim_world *w, uint32_t id, enum sim_end end, lb_ns now)
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
    if (w->ticket[id].waiting)
        sim_call_leave_line(w, id, false, now);
    w->ticket[id].shed = false;
    job->stamp = 0;
    call->next = w->free;
    w->free = id;
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

static uint8_t
kind_of(enum lb_outcome outcome)
{
    if (outcome == LB_RATE_LIMITED)
        return SIM_REFUSAL;
    return outcome == LB_TIMED_OUT ? SIM_LATENESS : SIM_FAILURE;
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
    sim_call_room(w, now);
    call->cost += cost;
    w->tally.total.cost += cost;
    sim_cell *cell = sim_tally_cell(&w->tally, backend);
    cell->cost += cost;
    cell->busy += (double)(now - call->sent) * 1e-9;
    if (job->outcome == LB_DONE) {
        count_answer(w, cell, job);
        sim_call_end(w, id, SIM_DONE, now);
        return;
    }
    count_failure(w, cell, job, cost);
    call->rough = true;
    lb_ns back_at = lb_add_capped(now, job->retry_after);
    call->back_at = lb_min(back_at, call->back_at > 0 ? call->back_at : back_at);
    if (call->ask.ntried < LB_TRIED)
        call->ask.tried[call->ask.ntried++] = (uint16_t)backend;
    sim_visit *visit = sim_call_visit(call, call->lease.group);
    if (visit != NULL && visit->kind == SIM_ANY)
        visit->kind = kind_of((enum lb_outcome)job->outcome);
    sim_call_aim(w, id, now);
}

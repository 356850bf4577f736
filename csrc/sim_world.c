#include "sim_world.h"

#include <stdlib.h>
#include <string.h>

#include "sim_call.h"
#include "sim_draw.h"

enum { NONE = UINT32_MAX, FIRST_ROOM = 64 };

/* ---- making ------------------------------------------------------------- */

static uint32_t
count_sessions(const sim_trace *t)
{
    uint32_t most = 0;
    for (uint64_t i = 0; t->session != NULL && i < t->n; i++)
        if (t->session[i] > most)
            most = t->session[i];
    return most + 1;
}

static void *
copy(const void *from, size_t bytes)
{
    void *to = malloc(bytes > 0 ? bytes : 1);
    if (to != NULL)
        memcpy(to, from, bytes);
    return to;
}

static void
fill(sim_world *w)
{
    for (uint32_t i = 0; i < w->nstations; i++) {
        w->station[i].index = i;
        w->station[i].price = lb_pool_record(w->pool, i)->price;
        w->peer[i].weight = 1;
        w->peer[i].rpm = w->peer[i].tpm = INT64_MAX;
    }
}

sim_world *
sim_world_new(lb_pool *pool, const sim_trace *trace, const sim_plan *plan,
              const uint32_t *chain, const uint32_t *links)
{
    sim_world *w = malloc(sizeof *w);
    if (w == NULL)
        return NULL;
    *w = (sim_world){
        .pool = pool,
        .trace = *trace,
        .plan = *plan,
        .nstations = pool->used.backends,
        .ngroups = pool->used.groups,
        .sessions = count_sessions(trace),
        .free = NONE,
        .floor = {.block_tokens = plan->block_tokens},
        .rng = {lb_mix(plan->seed + 1)},
        .retries = {.share = plan->retry_share},
    };
    uint32_t groups = w->ngroups;
    w->station = calloc(w->nstations, sizeof *w->station);
    w->peer = calloc(w->nstations, sizeof *w->peer);
    w->patience = calloc(w->nstations, sizeof *w->patience);
    w->line = calloc(groups, sizeof *w->line);
    w->home = calloc(w->sessions, sizeof *w->home);
    w->chain = copy(chain, (groups + 1) * sizeof *chain);
    w->link = copy(links, chain[groups] * sizeof *links);
    enum lb_status st = sim_tally_init(&w->tally, plan->slice, plan->slices,
                                       w->nstations, plan->samples ? trace->n : 0);
    if (w->station == NULL || w->peer == NULL || w->patience == NULL ||
        w->line == NULL || w->home == NULL || w->chain == NULL || w->link == NULL ||
        st != LB_OK) {
        w->nstations = w->station == NULL ? 0 : w->nstations;
        sim_world_free(w);
        return NULL;
    }
    fill(w);
    return w;
}

void
sim_world_free(sim_world *w)
{
    if (w == NULL)
        return;
    for (uint32_t i = 0; i < w->nstations; i++)
        sim_station_free(&w->station[i]);
    free(w->station);
    free(w->peer);
    free(w->home);
    free(w->chain);
    free(w->link);
    free(w->patience);
    free(w->terms);
    free(w->line);
    free(w->price);
    free(w->call);
    free(w->ticket);
    free(w->floor.job);
    free(w->floor.limit);
    sim_events_free(&w->floor.events);
    sim_tally_free(&w->tally);
    free(w);
}

sim_station *
sim_world_station(sim_world *w, uint32_t backend)
{
    return backend < w->nstations ? &w->station[backend] : NULL;
}

sim_peer *
sim_world_peer(sim_world *w, uint32_t backend)
{
    return backend < w->nstations ? &w->peer[backend] : NULL;
}

int
sim_world_add_limit(sim_world *w, uint32_t backend, const sim_limit *l)
{
    uint32_t n = w->floor.nlimits;
    if (backend >= w->nstations || n > UINT16_MAX || l->unit >= LB_NUNITS ||
        l->charge >= LB_NCHARGES)
        return LB_EINVAL;
    sim_limit *list = realloc(w->floor.limit, (n + 1) * sizeof *list);
    if (list == NULL)
        return LB_ENOMEM;
    w->floor.limit = list;
    w->floor.limit[n] = *l;
    w->floor.nlimits++;
    enum lb_status st = sim_world_share_limit(w, backend, n);
    return st == LB_OK ? (int)n : st;
}

enum lb_status
sim_world_share_limit(sim_world *w, uint32_t backend, uint32_t limit)
{
    if (backend >= w->nstations || limit >= w->floor.nlimits)
        return LB_EINVAL;
    sim_station *s = &w->station[backend];
    if (s->nlimits == LB_LIMITS)
        return LB_EFULL;
    s->limit[s->nlimits++] = (uint16_t)limit;
    return LB_OK;
}

enum lb_status
sim_world_add_fault(sim_world *w, uint32_t backend, const sim_fault *f)
{
    if (backend >= w->nstations || f->trouble >= SIM_NTROUBLES || f->until <= f->from ||
        !(f->share >= 0 && f->share <= 1) || !(f->factor >= 0))
        return LB_EINVAL;
    sim_station *s = &w->station[backend];
    sim_fault *list = realloc(s->fault, (s->nfaults + 1) * sizeof *list);
    if (list == NULL)
        return LB_ENOMEM;
    s->fault = list;
    s->fault[s->nfaults++] = *f;
    return LB_OK;
}

enum lb_status
sim_world_add_price(sim_world *w, const sim_price *p)
{
    if (p->backend >= w->nstations || p->at < SIM_DAWN)
        return LB_EINVAL;
    sim_price *list = realloc(w->price, (w->nprices + 1) * sizeof *list);
    if (list == NULL)
        return LB_ENOMEM;
    w->price = list;
    w->price[w->nprices] = *p;
    sim_events_push(&w->floor.events, p->at, SIM_PRICE, w->nprices++, 0);
    return w->floor.events.lost ? LB_ENOMEM : LB_OK;
}

/* ---- running ------------------------------------------------------------ */

static bool
more_calls(sim_world *w)
{
    uint32_t room = w->calls > 0 ? 2 * w->calls : FIRST_ROOM;
    sim_call *call = realloc(w->call, room * sizeof *call);
    if (call != NULL)
        w->call = call;
    sim_job *job = realloc(w->floor.job, room * sizeof *job);
    if (job != NULL)
        w->floor.job = job;
    sim_ticket *ticket = realloc(w->ticket, room * sizeof *ticket);
    if (ticket != NULL)
        w->ticket = ticket;
    if (call == NULL || job == NULL || ticket == NULL) {
        w->lost = true;
        return false;
    }
    memset(call + w->calls, 0, (room - w->calls) * sizeof *call);
    memset(job + w->calls, 0, (room - w->calls) * sizeof *job);
    memset(ticket + w->calls, 0, (room - w->calls) * sizeof *ticket);
    for (uint32_t i = room; i-- > w->calls;) {
        call[i].next = w->free;
        w->free = i;
    }
    w->calls = room;
    return true;
}

/* The prompt as the router measures it: not quite as long as it is. */
static int64_t
measured(const sim_world *w, uint64_t request, int32_t input)
{
    if (w->plan.mismeasure <= 0)
        return input;
    lb_rng luck = {lb_mix(w->plan.seed ^ (request << 8)) + 255};
    double off = sim_draw_lognormal(&luck, w->plan.mismeasure);
    return lb_max((int64_t)((double)input * off + 0.5), 1);
}

static void
arrive(sim_world *w, lb_ns now)
{
    if (w->free == NONE && !more_calls(w))
        return;
    const sim_trace *t = &w->trace;
    uint64_t i = w->next++;
    uint32_t id = w->free;
    sim_call *call = &w->call[id];
    sim_job *job = &w->floor.job[id];
    w->free = call->next;
    call->request = i;
    call->attempts = call->round = call->tried = call->link = call->tries = 0;
    call->nvisits = call->nwalk = call->ngone = 0;
    call->rough = false;
    call->arrived = now;
    call->deadline = lb_add_capped(now, w->plan.timeout);
    call->back_at = 0;
    call->cost = 0;
    job->input = t->input[i];
    job->output = t->output[i];
    job->max_tokens = t->most != NULL ? t->most[i] : 0;
    job->session = t->session != NULL ? t->session[i] : 0;
    job->nblocks = 0;
    job->block = NULL;
    if (t->block != NULL) {
        job->block = t->block + t->blocks[i];
        job->nblocks = (uint32_t)(t->blocks[i + 1] - t->blocks[i]);
    }
    lb_ask_init(&call->ask, 0);
    int64_t tokens = measured(w, i, job->input);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        call->ask.tokens[f] = tokens;
    call->ask.chars = 4 * (int64_t)job->input;
    call->ask.max_tokens = job->max_tokens;
    call->ask.session = job->session != 0 ? lb_mix(job->session) | 1 : 0;
    w->tally.total.requests++;
    sim_call_aim(w, id, now);
}

/* How full and how healthy the backends are at the end of a slice. */
static void
close_slice(sim_world *w, lb_ns now)
{
    for (uint32_t i = 0; i < w->nstations; i++) {
        sim_cell *cell = sim_tally_cell(&w->tally, i);
        const sim_station *s = &w->station[i];
        double used = 0;
        for (int k = 0; k < s->nlimits; k++)
            used = fmax(used, lb_rate_used(&w->floor.limit[s->limit[k]].rate, now));
        if (s->service.slots > 0)
            used = fmax(used, (double)s->serving / s->service.slots);
        cell->used = (float)used;
        cell->breaker = (int32_t)lb_breaker_at(&lb_pool_backend(w->pool, i)->breaker,
                                               &lb_pool_record(w->pool, i)->rules, now);
    }
}

static void
turn_slices(sim_world *w, lb_ns now)
{
    sim_tally *t = &w->tally;
    while (t->slice + 1 < t->slices) {
        lb_ns ends = SIM_DAWN + (lb_ns)(t->slice + 1) * t->width;
        if (now < ends)
            return;
        close_slice(w, ends);
        t->slice++;
    }
}

static void
change_price(sim_world *w, const sim_price *p)
{
    w->station[p->backend].price = p->price;
    (void)lb_pool_set_price(w->pool, p->backend, &p->price);
}

static void
happen(sim_world *w, const sim_event *e)
{
    if (e->kind == SIM_PRICE) {
        change_price(w, &w->price[e->id]);
        return;
    }
    if (e->kind == SIM_TURN) {
        int64_t id = sim_station_turn(&w->station[e->id], &w->floor, e->stamp, e->at);
        if (id >= 0) {
            w->floor.job[id].outcome = LB_DONE;
            sim_call_land(w, (uint32_t)id, e->at);
        }
        return;
    }
    sim_job *job = &w->floor.job[e->id];
    if (job->stamp != e->stamp)
        return;
    switch ((enum sim_kind)e->kind) {
    case SIM_FIRST:
        sim_station_first(&w->station[w->call[e->id].backend], &w->floor, e->id, e->at);
        break;
    case SIM_GIVE_UP:
        if (job->stream && job->inside && job->first <= job->until)
            break;
        job->outcome = LB_TIMED_OUT;
        sim_call_land(w, e->id, e->at);
        break;
    case SIM_RETRY:
        sim_call_aim(w, e->id, e->at);
        break;
    default:
        sim_call_land(w, e->id, e->at);
        break;
    }
}

static bool
memory_lost(const sim_world *w)
{
    bool lost = w->lost || w->floor.events.lost;
    for (uint32_t i = 0; i < w->nstations; i++)
        lost |= w->station[i].lost;
    return lost;
}

int
sim_world_run(sim_world *w, uint64_t requests)
{
    uint64_t left = w->trace.n - w->next;
    uint64_t stop = w->next + (requests < left ? requests : left);
    bool last = stop == w->trace.n;
    for (;;) {
        lb_ns due = sim_events_next(&w->floor.events);
        lb_ns comes = w->next < stop ? SIM_DAWN + w->trace.at[w->next] : LB_FOREVER;
        if (comes == LB_FOREVER && (!last || due == LB_FOREVER))
            break;
        turn_slices(w, lb_min(due, comes));
        if (comes <= due) {
            arrive(w, comes);
            if (w->lost)
                break;
        } else {
            sim_event e = sim_events_pop(&w->floor.events);
            happen(w, &e);
        }
    }
    if (memory_lost(w))
        return LB_ENOMEM;
    if (!last)
        return LB_OK;
    lb_ns ends = SIM_DAWN + (lb_ns)(w->tally.slice + 1) * w->tally.width;
    close_slice(w, lb_max(ends, w->tally.total.last));
    return 1;
}

const sim_tally *
sim_world_tally(const sim_world *w)
{
    return &w->tally;
}

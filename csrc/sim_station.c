#include "sim_station.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim_cache.h"
#include "sim_draw.h"

void
sim_station_free(sim_station *s)
{
    free(s->fault);
    free(s->waiting);
    free(s->sharing);
    free(s->prompt);
    memset(s, 0, sizeof *s);
}

static lb_ns
after(lb_ns now, double seconds)
{
    return now + (lb_ns)(seconds * 1e9);
}

/* The attempt ends at `at` in this way, or earlier by the client's time-out. */
static void
announce(sim_floor *floor, uint32_t id, lb_ns at, enum lb_outcome outcome)
{
    sim_job *job = &floor->job[id];
    bool late =
        at > job->until && !(job->stream && job->first > 0 && job->first <= job->until);
    job->outcome = (uint8_t)(late ? LB_TIMED_OUT : outcome);
    sim_events_push(&floor->events, late ? job->until : at, SIM_END, id, job->stamp);
}

/* ---- admission ---------------------------------------------------------- */

/* Units a limit charges: at admission with output 0, in the end with the true
 * one.  A `max` limit holds the longest answer until then. */
static int64_t
units(const sim_limit *l, const sim_service *service, const sim_job *job, bool ended)
{
    int64_t most = job->max_tokens > 0 ? job->max_tokens : service->most_output;
    int64_t output = ended ? job->output : l->charge == LB_CHARGE_MAX ? most : 0;
    switch ((enum lb_unit)l->unit) {
    case LB_PER_REQUEST:
        return 1;
    case LB_PER_INPUT:
        return job->input;
    case LB_PER_OUTPUT:
        return output;
    default:
        return l->charge == LB_CHARGE_CHARS4 ? job->input : job->input + output;
    }
}

/* What an answer's headers say.  A burst below the limit is not told: `remaining`
 * counts down from the limit all the same. */
static void
tell(const sim_limit *l, sim_job *job, lb_ns now)
{
    int64_t spent = l->rate.burst - lb_rate_free(&l->rate, now);
    job->told[job->ntold++] = (lb_told){
        .unit = l->unit,
        .reading = {.limit = l->rate.limit,
                    .remaining = lb_max(l->rate.limit - spent, 0),
                    .reset = lb_max(l->rate.full_at - now, 0),
                    .window = l->rate.window},
    };
}

/* All limits or none: 0, or the wait until they would admit the job. */
static lb_ns
admit(const sim_station *s, const sim_floor *floor, sim_job *job, lb_ns now)
{
    lb_ns wait = 0;
    for (int k = 0; k < s->nlimits; k++) {
        const sim_limit *l = &floor->limit[s->limit[k]];
        int64_t need = lb_min(units(l, &s->service, job, false), l->rate.burst);
        wait = lb_max(wait, lb_rate_wait(&l->rate, need, 1, now));
    }
    for (int k = 0; k < s->nlimits; k++) {
        sim_limit *l = &floor->limit[s->limit[k]];
        if (wait == 0)
            lb_rate_charge(&l->rate, units(l, &s->service, job, false), now);
        if (s->service.headers && job->ntold < LB_READINGS)
            tell(l, job, now);
    }
    return wait;
}

static void
refuse(sim_station *s, sim_floor *floor, uint32_t id, lb_ns wait, lb_ns now)
{
    floor->job[id].retry_after = s->service.retry_after ? wait : 0;
    announce(floor, id, after(now, s->service.refusal_after), LB_RATE_LIMITED);
}

/* ---- service ------------------------------------------------------------ */

static double
vary(const sim_service *service, double spread, lb_rng *luck)
{
    if (service->shape == SIM_EXPONENTIAL)
        return sim_draw_exponential(luck);
    return sim_draw_lognormal(luck, spread);
}

static void
draw(const sim_service *service, sim_job *job, double slow, lb_rng *luck)
{
    job->wait = service->ttft * vary(service, service->ttft_spread, luck) * slow;
    if (service->tail_share > 0 && lb_rng_unit(luck) < service->tail_share)
        job->wait *= service->tail_factor;
    double pace = vary(service, service->token_spread, luck) * slow;
    job->length = (double)lb_max(job->output - 1, 0) * pace;
}

/* Bring the clock of tokens up to now, at the pace that held until now. */
static void
wind(sim_station *s, lb_ns now)
{
    double pace = s->service.token + s->service.token_crowd * s->serving;
    if (pace > 0)
        s->clock += (double)(now - s->set) * 1e-9 / pace;
    s->set = now;
}

/* Say when the first on the clock will be through, if nobody comes or goes. */
static void
announce_turn(sim_station *s, sim_floor *floor)
{
    if (s->nsharing == 0)
        return;
    double pace = s->service.token + s->service.token_crowd * s->serving;
    double left = fmax(s->sharing[0].ends - s->clock, 0) * pace;
    sim_events_push(&floor->events, s->set + (lb_ns)ceil(left * 1e9), SIM_TURN,
                    s->index, ++s->turn);
}

static void
begin(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now)
{
    const sim_service *service = &s->service;
    sim_job *job = &floor->job[id];
    bool shared = service->token_crowd > 0;
    if (shared)
        wind(s, now);
    s->serving++;
    job->inside = true;
    job->cached = sim_cache_find(s, job, floor->block_tokens, now);
    double read = service->prefill * (double)(job->input - job->cached);
    lb_ns start = service->serial ? lb_max(s->reader_free, now) : now;
    s->reader_free = after(start, read);
    job->first = after(start, read + job->wait);
    if (!shared) {
        announce(floor, id, after(job->first, job->length * service->token), LB_DONE);
        return;
    }
    sim_events_push(&floor->events, job->first, SIM_FIRST, id, job->stamp);
    if (!job->stream || job->first > job->until)
        sim_events_push(&floor->events, job->until, SIM_GIVE_UP, id, job->stamp);
    announce_turn(s, floor);
}

/* ---- the queue ---------------------------------------------------------- */

static void
wait_in_line(sim_station *s, sim_floor *floor, uint32_t id)
{
    if (s->nwaiting == s->room) {
        uint32_t room = s->room > 0 ? 2 * s->room : 64;
        sim_place *ring = malloc(room * sizeof *ring);
        if (ring == NULL) {
            s->lost = true;
            return;
        }
        for (uint32_t i = 0; i < s->nwaiting; i++)
            ring[i] = s->waiting[(s->head + i) % s->room];
        free(s->waiting);
        s->waiting = ring;
        s->head = 0;
        s->room = room;
    }
    sim_job *job = &floor->job[id];
    s->waiting[(s->head + s->nwaiting++) % s->room] =
        (sim_place){.id = id, .stamp = job->stamp};
    s->live++;
    job->queued = true;
    sim_events_push(&floor->events, job->until, SIM_GIVE_UP, id, job->stamp);
}

static void
let_in(sim_station *s, sim_floor *floor, lb_ns now)
{
    while (s->nwaiting > 0 && s->serving < s->service.slots) {
        sim_place next = s->waiting[s->head];
        s->head = (s->head + 1) % s->room;
        s->nwaiting--;
        sim_job *job = &floor->job[next.id];
        if (job->stamp != next.stamp || !job->queued)
            continue; /* gave up */
        job->queued = false;
        s->live--;
        begin(s, floor, next.id, now);
    }
}

/* ---- what the world calls ----------------------------------------------- */

static const sim_fault *
trouble_at(const sim_station *s, lb_rng *luck, lb_ns now)
{
    for (uint32_t k = 0; k < s->nfaults; k++) {
        const sim_fault *f = &s->fault[k];
        if (now >= f->from && now < f->until && lb_rng_unit(luck) < f->share)
            return f;
    }
    return NULL;
}

void
sim_station_arrive(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now)
{
    const sim_service *service = &s->service;
    sim_job *job = &floor->job[id];
    lb_rng luck = {lb_mix(job->luck)};
    double slow = 1;
    job->inside = job->queued = false;
    job->cached = 0;
    job->first = 0;
    job->retry_after = 0;
    job->ntold = 0;
    const sim_fault *f = s->nfaults > 0 ? trouble_at(s, &luck, now) : NULL;
    if (f != NULL && f->trouble == SIM_SLOW)
        slow = f->factor;
    else if (f != NULL && f->trouble == SIM_REFUSE) {
        job->retry_after = after(0, f->factor);
        announce(floor, id, after(now, service->refusal_after), LB_RATE_LIMITED);
        return;
    } else if (f != NULL) {
        lb_ns ends =
            f->trouble == SIM_HANG ? LB_FOREVER : after(now, service->failure_after);
        announce(floor, id, ends, LB_FAILED);
        return;
    }
    lb_ns wait = admit(s, floor, job, now);
    if (wait > 0) {
        refuse(s, floor, id, wait, now);
        return;
    }
    if (service->failure > 0 && lb_rng_unit(&luck) < service->failure) {
        announce(floor, id, after(now, service->failure_after), LB_FAILED);
        return;
    }
    draw(service, job, slow, &luck);
    if (service->slots == 0 || s->serving < service->slots)
        begin(s, floor, id, now);
    else if (service->queue < 0 || s->live < service->queue)
        wait_in_line(s, floor, id);
    else
        refuse(s, floor, id, 0, now);
}

void
sim_station_first(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now)
{
    if (s->nsharing == s->places) {
        uint32_t places = s->places > 0 ? 2 * s->places : 64;
        sim_place *sharing = realloc(s->sharing, places * sizeof *sharing);
        if (sharing == NULL) {
            s->lost = true;
            return;
        }
        s->sharing = sharing;
        s->places = places;
    }
    wind(s, now);
    sim_place p = {.ends = s->clock + floor->job[id].length,
                   .id = id,
                   .stamp = floor->job[id].stamp};
    uint32_t i = s->nsharing++;
    for (; i > 0 && p.ends < s->sharing[(i - 1) / 2].ends; i = (i - 1) / 2)
        s->sharing[i] = s->sharing[(i - 1) / 2];
    s->sharing[i] = p;
    if (i == 0)
        announce_turn(s, floor);
}

static sim_place
take_first(sim_station *s)
{
    sim_place first = s->sharing[0], last = s->sharing[--s->nsharing];
    uint32_t i = 0;
    for (uint32_t child = 1; child < s->nsharing; child = 2 * i + 1) {
        if (child + 1 < s->nsharing &&
            s->sharing[child + 1].ends < s->sharing[child].ends)
            child++;
        if (!(s->sharing[child].ends < last.ends))
            break;
        s->sharing[i] = s->sharing[child];
        i = child;
    }
    s->sharing[i] = last;
    return first;
}

int64_t
sim_station_turn(sim_station *s, sim_floor *floor, uint32_t stamp, lb_ns now)
{
    if (stamp != s->turn || s->nsharing == 0)
        return -1;
    wind(s, now);
    sim_place first = take_first(s);
    s->clock = fmax(s->clock, first.ends); /* what rounding kept back */
    const sim_job *job = &floor->job[first.id];
    if (job->stamp == first.stamp && job->inside)
        return first.id;
    announce_turn(s, floor);
    return -1;
}

void
sim_station_leave(sim_station *s, sim_floor *floor, uint32_t id, lb_ns now)
{
    sim_job *job = &floor->job[id];
    if (job->queued) {
        job->queued = false;
        s->live--;
        return;
    }
    if (!job->inside)
        return;
    if (s->service.token_crowd > 0)
        wind(s, now);
    s->serving--;
    job->inside = false;
    for (int k = 0; k < s->nlimits; k++) {
        sim_limit *l = &floor->limit[s->limit[k]];
        int64_t more =
            units(l, &s->service, job, true) - units(l, &s->service, job, false);
        if (more != 0)
            lb_rate_charge(&l->rate, more, now);
    }
    if (job->outcome == LB_DONE)
        sim_cache_store(s, job, now);
    if (s->service.token_crowd > 0)
        announce_turn(s, floor);
    if (s->service.slots > 0)
        let_in(s, floor, now);
}

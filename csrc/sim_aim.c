#include <math.h>
#include <string.h>

#include "sim_call.h"

enum { ROUNDS = 3, SHORTEST_SHARE = LB_NS_PER_MS };

static const double FIRST_PAUSE = 0.5, LONGEST_PAUSE = 8; /* s between rounds */
static const double LONGEST_ANSWER = 6;                   /* times the expected time */

void
sim_call_stop(sim_world *w, uint32_t id, lb_ns now)
{
    sim_call_end(w, id, w->call[id].attempts > 0 ? SIM_FAILED : SIM_REFUSED, now);
}

void
sim_call_sleep(sim_world *w, uint32_t id, lb_ns then)
{
    sim_job *job = &w->floor.job[id];
    job->stamp = ++w->stamp;
    sim_events_push(&w->floor.events, then, SIM_RETRY, id, job->stamp);
}

static void
pause_for(sim_world *w, uint32_t id, lb_ns wait, lb_ns now)
{
    w->tally.total.waits++;
    w->tally.total.waited += (double)wait * 1e-9;
    sim_call_sleep(w, id, now + wait);
}

/* Whether nothing but the length of the prompt spoke against all of a group. */
static bool
too_long(const lb_decision *d)
{
    uint32_t all = 0;
    for (int r = LB_ELIGIBLE + 1; r < LB_NREASONS; r++)
        all += d->refused[r];
    return all > 0 && all == d->refused[LB_NO_CONTEXT];
}

/* ---- the way down -------------------------------------------------------- */

static void
send(sim_world *w, uint32_t id, uint32_t backend, lb_ns share, lb_ns now)
{
    sim_call *call = &w->call[id];
    sim_job *job = &w->floor.job[id];
    call->backend = (int16_t)backend;
    call->sent = now;
    call->tried++;
    if (call->tried > 1)
        sim_retries_withdraw(&w->retries, now);
    else if (call->round == 0)
        sim_retries_deposit(&w->retries, now);
    call->attempts++;
    job->stamp = ++w->stamp;
    job->luck = lb_mix(w->plan.seed ^ (call->request << 8)) + call->attempts;
    job->until = now + share;
    job->stream = w->plan.stream;
    w->tally.total.attempts++;
    sim_tally_cell(&w->tally, backend)->sent++;
    sim_station_arrive(&w->station[backend], &w->floor, id, now);
}

/* Half of what is left while somebody else could help; no more than the group has, and
 * than an attempt may take there. */
static lb_ns
time_share(const sim_world *w, sim_call *call, bool others, lb_ns left, lb_ns now)
{
    const lb_decision *d = &call->lease.decision;
    const sim_patience *most = &w->patience[call->lease.backend];
    lb_ns share = left, bound = w->plan.stream ? most->first_token : most->total;
    uint32_t eligible =
        d->refused[LB_ELIGIBLE] + d->refused[LB_NO_ORDER] + d->refused[LB_NO_STALL];
    if (eligible > 1 || d->looked < d->members || others) {
        lb_ns longest = (lb_ns)(LONGEST_ANSWER * 1e9 * call->lease.seconds);
        share = lb_max(left / 2, lb_min(longest, left / 4 * 3));
    }
    const sim_visit *visit = sim_call_visit(call, call->lease.group);
    if (visit != NULL && w->terms[visit->group].timeout > 0) {
        lb_ns rest = visit->since + w->terms[visit->group].timeout - now;
        share = lb_min(share, lb_max(rest, SHORTEST_SHARE));
    }
    return bound > 0 ? lb_min(share, bound) : share;
}

static void
take(sim_world *w, uint32_t id, int backend, bool others, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    if (w->ticket[id].waiting)
        sim_call_leave_line(w, id, true, now);
    sim_call_visits(w, call, now);
    send(w, id, (uint32_t)backend, time_share(w, call, others, left, now), now);
}

/* Everything was tried: the same again after a pause, if that may help. */
static void
next_round(sim_world *w, uint32_t id, int rounds, lb_ns wait, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    call->round++;
    if (call->round >= rounds) {
        sim_call_stop(w, id, now);
        return;
    }
    double most = fmin(LONGEST_PAUSE, FIRST_PAUSE * (double)(1 << call->round));
    lb_ns rest = (lb_ns)(most * lb_rng_unit(&w->rng) * 1e9);
    rest = lb_max(rest, lb_min(wait, call->back_at - now));
    call->back_at = 0;
    if (rest >= left || !sim_retries_allow(&w->retries, now)) {
        sim_call_stop(w, id, now);
        return;
    }
    call->tried = 0;
    call->ask.ntried = 0;
    pause_for(w, id, rest, now);
}

/* What the groups of a walk answered. */
typedef struct search {
    const uint32_t *link;
    uint32_t n;     /* groups to walk */
    uint32_t asked; /* of them not exhausted */
    uint64_t dark;  /* of these whose breakers are open */
    lb_ns wait;
    int64_t narrow; /* the group that sends a prompt so long elsewhere; -1: none */
} search;

static int
walk_groups(sim_world *w, sim_call *call, search *s, lb_ns now)
{
    for (uint32_t k = 0; k < s->n; k++) {
        const lb_decision *d = &call->lease.decision;
        if (call->nvisits > 0 && sim_call_exhausted(w, call, s->link[k], now))
            continue;
        s->asked++;
        call->ask.group = s->link[k];
        int i = lb_lease_pick(w->pool, &call->ask, &call->lease, now);
        if (i >= 0)
            return i;
        s->wait = lb_min(s->wait, d->wait);
        if (d->refused[LB_NO_BREAKER] > 0)
            s->dark |= UINT64_C(1) << (k & 63);
        if (too_long(d) && sim_call_diverts(w, call, s->link[k])) {
            s->narrow = s->link[k];
            break;
        }
    }
    return LB_NOTHING;
}

/* All breakers are open: better a try than none. */
static int
walk_dark(sim_world *w, sim_call *call, const search *s, lb_ns now)
{
    for (uint32_t k = 0; k < s->n && s->dark != 0; k++) {
        if ((s->dark >> (k & 63) & 1) == 0)
            continue;
        call->ask.group = s->link[k];
        call->ask.last_resort = true;
        int i = lb_lease_pick(w->pool, &call->ask, &call->lease, now);
        call->ask.last_resort = false;
        if (i >= 0)
            return i;
    }
    return LB_NOTHING;
}

static int
most_rounds(const sim_world *w, sim_call *call, const search *s)
{
    int rounds = ROUNDS;
    for (uint32_t k = 0; k < s->n; k++) {
        int most = sim_call_most(w, call, s->link[k]);
        rounds = most > rounds ? most : rounds;
    }
    return rounds;
}

static void
aim_by_pool(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    if (sim_call_stands_back(w, id, left, now))
        return;
    uint32_t group = sim_call_group(w, call);
    search s = {.link = &w->link[w->chain[group]],
                .n = w->chain[group + 1] - w->chain[group],
                .wait = LB_FOREVER,
                .narrow = -1};
    if (call->nwalk > 0) {
        s.link = call->walk;
        s.n = call->nwalk;
    }
    int backend = walk_groups(w, call, &s, now);
    if (backend < 0 && s.narrow >= 0 && sim_call_divert(w, call, (uint32_t)s.narrow)) {
        sim_call_sleep(w, id, now); /* and walk the other chain at once */
        return;
    }
    if (backend < 0)
        backend = walk_dark(w, call, &s, now);
    if (backend >= 0)
        take(w, id, backend, s.n > 1, left, now);
    else if (s.asked == 0)
        sim_call_stop(w, id, now);
    else if (call->tried > 0)
        next_round(w, id, most_rounds(w, call, &s),
                   w->plan.impatient ? LB_FOREVER : s.wait, left, now);
    else
        sim_call_wait(w, id, s.wait, left, now);
}

/* Three tries in a group, then the next one. */
static void
aim_by_rule(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    sim_call *call = &w->call[id];
    uint32_t group = sim_call_group(w, call);
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
            pause_for(w, id, wait, now);
            return;
        }
    }
    sim_call_stop(w, id, now);
}

void
sim_call_aim(sim_world *w, uint32_t id, lb_ns now)
{
    const sim_call *call = &w->call[id];
    lb_ns left = call->deadline - now;
    if (call->attempts >= SIM_MOST_ATTEMPTS)
        sim_call_stop(w, id, now);
    else if (left <= 0)
        sim_call_end(w, id, w->ticket[id].waiting ? SIM_REFUSED : SIM_TIMED_OUT, now);
    else if (w->plan.rule >= 0)
        aim_by_rule(w, id, left, now);
    else
        aim_by_pool(w, id, left, now);
}

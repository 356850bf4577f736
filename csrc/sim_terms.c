#include <stdlib.h>
#include <string.h>

#include "sim_call.h"

enum lb_status
sim_world_set_terms(sim_world *w, uint32_t group, const sim_terms *t)
{
    if (group >= w->ngroups || t->timeout < 0 || t->nlonger > SIM_TERMS_LINKS)
        return LB_EINVAL;
    for (int k = 0; k < t->nlonger; k++)
        if (t->longer[k] >= w->ngroups)
            return LB_EINVAL;
    if (w->terms == NULL)
        w->terms = calloc(w->ngroups, sizeof *w->terms);
    if (w->terms == NULL)
        return LB_ENOMEM;
    w->terms[group] = *t;
    w->terms[group].any = true;
    return LB_OK;
}

enum lb_status
sim_world_set_patience(sim_world *w, uint32_t backend, const sim_patience *p)
{
    if (backend >= w->nstations || p->first_token < 0 || p->total < 0)
        return LB_EINVAL;
    w->patience[backend] = *p;
    return LB_OK;
}

/* ---- what a call has spent ---- */

int
sim_call_most(const sim_world *w, sim_call *call, uint32_t group)
{
    if (w->terms == NULL)
        return 0;
    const sim_visit *visit = sim_call_visit(call, group);
    return w->terms[group].most[visit != NULL ? visit->kind : SIM_ANY];
}

bool
sim_call_exhausted(const sim_world *w, sim_call *call, uint32_t group, lb_ns now)
{
    const sim_visit *visit = sim_call_visit(call, group);
    if (visit == NULL)
        return false;
    const sim_terms *terms = &w->terms[group];
    int most = terms->most[visit->kind];
    if (most > 0 && visit->attempts >= most)
        return true;
    return terms->timeout > 0 && now - visit->since >= terms->timeout;
}

void
sim_call_visits(const sim_world *w, sim_call *call, lb_ns now)
{
    uint32_t group = call->lease.group;
    if (w->terms == NULL || !w->terms[group].any)
        return;
    sim_visit *visit = sim_call_visit(call, group);
    if (visit == NULL) {
        visit = &call->visit[call->nvisits++];
        *visit = (sim_visit){.group = group, .since = now};
    }
    visit->attempts++;
}

static bool
listed(const uint32_t *list, int n, uint32_t group)
{
    for (int k = 0; k < n; k++)
        if (list[k] == group)
            return true;
    return false;
}

bool
sim_call_diverts(const sim_world *w, const sim_call *call, uint32_t group)
{
    return w->terms != NULL && w->terms[group].nlonger > 0 && call->ngone < SIM_LINKS;
}

bool
sim_call_divert(const sim_world *w, sim_call *call, uint32_t group)
{
    if (!sim_call_diverts(w, call, group))
        return false;
    const sim_terms *terms = &w->terms[group];
    uint32_t old[SIM_LINKS];
    int rest = call->nwalk, n = 0;
    memcpy(old, call->walk, sizeof old);
    call->gone[call->ngone++] = group;
    for (int k = 0; k < terms->nlonger + rest && n < SIM_LINKS; k++) {
        uint32_t g = k < terms->nlonger ? terms->longer[k] : old[k - terms->nlonger];
        if (!listed(call->gone, call->ngone, g) && !listed(call->walk, n, g))
            call->walk[n++] = g;
    }
    call->nwalk = (uint8_t)n;
    return n > 0;
}

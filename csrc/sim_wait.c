#include "sim_call.h"

static const lb_ns BUSY_WAIT = 5 * LB_NS_PER_MS;

static sim_line *
line_of(const sim_world *w, uint32_t id)
{
    return &w->line[sim_call_group(w, &w->call[id])];
}

void
sim_call_leave_line(sim_world *w, uint32_t id, bool served, lb_ns now)
{
    sim_line *line = line_of(w, id);
    w->tally.total.waited += (double)(now - w->ticket[id].joined) * 1e-9;
    sim_line_leave(line, w->ticket, id, served, now);
    w->waiting--;
    uint32_t parted = served ? sim_line_part(line, w->ticket, now) : 0;
    for (; parted != 0; parted = w->ticket[parted - 1].behind) {
        w->waiting--;
        sim_call_sleep(w, parted - 1, now);
    }
    if (line->first != 0)
        sim_call_sleep(w, line->first - 1, now);
}

void
sim_call_room(sim_world *w, lb_ns now)
{
    for (uint32_t g = 0; w->waiting > 0 && g < w->ngroups; g++)
        if (w->line[g].first != 0)
            sim_call_sleep(w, w->line[g].first - 1, now);
}

/* False: there are too many before it, and it has ended. */
static bool
join_line(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    sim_line *line = line_of(w, id);
    bool full = w->plan.most_waiting >= 0 && w->waiting >= w->plan.most_waiting;
    if (full || sim_line_least(line, line->length) > left) {
        sim_call_stop(w, id, now);
        return false;
    }
    sim_line_join(line, w->ticket, id, w->call[id].deadline, now);
    w->waiting++;
    w->tally.total.waits++;
    return true;
}

bool
sim_call_stands_back(sim_world *w, uint32_t id, lb_ns left, lb_ns now)
{
    if (w->ticket[id].shed) {
        sim_call_stop(w, id, now);
        return true;
    }
    if (w->waiting == 0 || w->call[id].tried > 0 || w->plan.impatient)
        return false;
    const sim_line *line = line_of(w, id);
    if (line->length == 0 || line->first == id + 1)
        return false;
    if (w->ticket[id].waiting || join_line(w, id, left, now))
        sim_call_sleep(w, id, now + left);
    return true;
}

void
sim_call_wait(sim_world *w, uint32_t id, lb_ns wait, lb_ns left, lb_ns now)
{
    if (w->plan.impatient || wait >= left) {
        sim_call_stop(w, id, now);
        return;
    }
    double longer = 1 + 0.1 * lb_rng_unit(&w->rng);
    wait = lb_min((lb_ns)((double)lb_max(wait, BUSY_WAIT) * longer), left);
    if (!w->ticket[id].waiting && !join_line(w, id, left, now))
        return;
    bool head = line_of(w, id)->first == id + 1;
    sim_call_sleep(w, id, now + (head ? wait : left));
}

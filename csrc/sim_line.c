#include "sim_line.h"

#include <math.h>
#include <string.h>

enum { KNOWN = 5 }; /* gaps, before anybody is sent away for them */

static const lb_ns LOOK = LB_NS_PER_S / 10;

/* Half way between the middle two when their number is even. */
static double
median(const sim_line *l)
{
    lb_ns sorted[SIM_PACES];
    for (uint32_t i = 0; i < l->ngaps; i++) {
        uint32_t k = i;
        for (; k > 0 && sorted[k - 1] > l->gap[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = l->gap[i];
    }
    uint32_t half = l->ngaps / 2;
    if (l->ngaps % 2 == 1)
        return (double)sorted[half];
    return (double)(sorted[half - 1] + sorted[half]) / 2;
}

/* How many of `place` calls will be served before, however lucky the last one is. */
static double
surely(uint32_t place)
{
    return fmax((double)place - 2 * sqrt((double)place), 0);
}

lb_ns
sim_line_least(const sim_line *l, uint32_t place)
{
    return l->ngaps < KNOWN ? 0 : (lb_ns)(surely(place) * median(l));
}

void
sim_line_join(sim_line *l, sim_ticket *tickets, uint32_t id, lb_ns deadline, lb_ns now)
{
    tickets[id] = (sim_ticket){
        .waiting = true, .before = l->last, .joined = now, .deadline = deadline};
    if (l->last != 0)
        tickets[l->last - 1].behind = id + 1;
    else
        l->first = id + 1;
    l->last = id + 1;
    l->length++;
}

static void
serve(sim_line *l, lb_ns now)
{
    if (l->served != 0) {
        l->gap[l->oldest] = now - l->served;
        l->oldest = (l->oldest + 1) % SIM_PACES;
        l->ngaps += l->ngaps < SIM_PACES;
    }
    l->served = now;
}

static void
take_out(sim_line *l, sim_ticket *tickets, uint32_t id)
{
    sim_ticket *t = &tickets[id];
    if (t->before != 0)
        tickets[t->before - 1].behind = t->behind;
    else
        l->first = t->behind;
    if (t->behind != 0)
        tickets[t->behind - 1].before = t->before;
    else
        l->last = t->before;
    l->length--;
    *t = (sim_ticket){0};
}

void
sim_line_leave(sim_line *l, sim_ticket *tickets, uint32_t id, bool served, lb_ns now)
{
    if (served)
        serve(l, now);
    take_out(l, tickets, id);
    if (l->length == 0)
        memset(l, 0, sizeof *l);
}

uint32_t
sim_line_part(sim_line *l, sim_ticket *tickets, lb_ns now)
{
    if (l->ngaps < KNOWN || now - l->looked < LOOK)
        return 0;
    l->looked = now;
    double pace = median(l);
    uint32_t kept = 0, parted = 0;
    for (uint32_t next = l->first; next != 0;) {
        uint32_t id = next - 1;
        next = tickets[id].behind;
        if (surely(kept) * pace <= (double)(tickets[id].deadline - now)) {
            kept++;
            continue;
        }
        take_out(l, tickets, id);
        tickets[id].shed = true;
        tickets[id].behind = parted;
        parted = id + 1;
    }
    return parted;
}

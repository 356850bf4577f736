/* sim_line.h - the line in which calls wait for room, as the Router lets them stand.
 *
 *      call -- nothing fits --> the line of its group, by arrival
 *                               the head asks again when a call ends or when its own
 *                               wait is over; the others sleep
 *
 * Nobody overtakes: who comes while others wait joins them.  The line is left by who
 * is served, by who has no more time, and by who surely will not be served in time:
 * once five gaps between two that were served are known, a call with n before it
 * takes (n - 2 sqrt n) times the median of the last fifteen.  A line that gets empty
 * is forgotten with its pace.
 *
 * All calls of a trace are of one priority and have the same time-out, so a line is
 * in the order of arrival and of deadlines alike.  Calls are numbers; each has its
 * ticket in an array that grows with them.
 */
#ifndef SIM_LINE_H
#define SIM_LINE_H

#include "lb_base.h"

enum { SIM_PACES = 15 };

/* The place of one call; all zero: not in line. */
typedef struct sim_ticket {
    bool waiting;
    bool shed;               /* sent away: too many before it for the time it has */
    uint32_t before, behind; /* in line: 1 + number of the call; 0: nobody */
    lb_ns joined, deadline;
} sim_ticket;

/* All zero is empty. */
typedef struct sim_line {
    uint32_t first, last; /* 1 + number of the call; 0: nobody */
    uint32_t length;
    uint32_t ngaps, oldest;
    lb_ns gap[SIM_PACES]; /* between two that were served */
    lb_ns served;         /* when the last one was; 0: nobody yet */
    lb_ns looked;         /* when those without a chance were last looked for */
} sim_line;

/* Ns that the first `place` calls will surely take, 0 while too little is known. */
lb_ns sim_line_least(const sim_line *l, uint32_t place);

/* Put call `id` at the end. */
void sim_line_join(sim_line *l, sim_ticket *tickets, uint32_t id, lb_ns deadline,
                   lb_ns now);

/* Take call `id` out; its ticket is void. */
void sim_line_leave(sim_line *l, sim_ticket *tickets, uint32_t id, bool served,
                    lb_ns now);

/* Take out all that will surely not be served in time, marked as shed; ten times a
 * second at most.  The first of them, 1 + number, its `behind` the next; 0: nobody. */
uint32_t sim_line_part(sim_line *l, sim_ticket *tickets, lb_ns now);

#endif /* SIM_LINE_H */

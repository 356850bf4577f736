/* The line of waiting calls and the retry budget of simulated worlds. */
#include "check.h"

#include "sim_line.h"
#include "sim_retries.h"

enum { CALLS = 64 };

static sim_ticket tickets[CALLS];

static lb_ns
at(double seconds)
{
    return (lb_ns)(seconds * 1e9);
}

static void
the_first_to_come_is_the_first_and_anybody_may_leave(void)
{
    sim_line l = {0};
    for (uint32_t i = 0; i < 4; i++)
        sim_line_join(&l, tickets, i, at(60), at(i));
    CHECK_EQ(l.first, 1);
    CHECK_EQ(l.length, 4);
    sim_line_leave(&l, tickets, 2, false, at(5)); /* from the middle */
    sim_line_leave(&l, tickets, 3, false, at(5)); /* from the end */
    sim_line_leave(&l, tickets, 0, true, at(6));  /* from the front */
    CHECK_EQ(l.first, 2);
    CHECK_EQ(l.last, 2);
    CHECK_EQ(l.length, 1);
    CHECK(tickets[1].waiting && !tickets[0].waiting && !tickets[2].waiting);
    CHECK_EQ(tickets[1].before, 0);
    CHECK_EQ(tickets[1].behind, 0);
    sim_line_leave(&l, tickets, 1, true, at(7));
    CHECK_EQ(l.first, 0);
    CHECK_EQ(l.served, 0); /* an empty line is forgotten */
}

/* Twenty calls wait; six are served, `gap` seconds apart. */
static void
fill(sim_line *l, double gap, double deadline)
{
    *l = (sim_line){0};
    for (uint32_t i = 0; i < 26; i++)
        sim_line_join(l, tickets, i, at(deadline), 0);
    for (uint32_t i = 0; i < 6; i++)
        sim_line_leave(l, tickets, i, true, at(1 + gap * i));
}

static void
a_line_knows_how_long_those_before_will_surely_take(void)
{
    sim_line l;
    fill(&l, 0.5, 100);
    CHECK_EQ(l.length, 20);
    CHECK_EQ(sim_line_least(&l, 16), at(0.5 * (16 - 2 * 4)));
    CHECK_EQ(sim_line_least(&l, 3), 0);
    /* An even number of gaps: half way between the middle two. */
    sim_line_leave(&l, tickets, 6, true, at(1 + 0.5 * 5 + 7));
    CHECK_EQ(l.ngaps, 6);
    CHECK_EQ(sim_line_least(&l, 16), at(4));
    sim_line few = {0};
    sim_line_join(&few, tickets, 40, at(9), 0);
    CHECK_EQ(sim_line_least(&few, 50), 0);
    CHECK_EQ(sim_line_part(&few, tickets, at(5)), 0);
}

static void
who_will_surely_not_be_served_in_time_is_sent_away(void)
{
    sim_line l;
    fill(&l, 0.5, 7); /* it is 3.5 s: 3.5 s are left, seven calls' worth */
    uint32_t parted = sim_line_part(&l, tickets, at(3.5)), n = 0;
    for (; parted != 0; parted = tickets[parted - 1].behind, n++)
        CHECK(tickets[parted - 1].shed && !tickets[parted - 1].waiting);
    /* Kept while k - 2 sqrt k <= 7: the first with k = 15 before it is too late. */
    CHECK_EQ(l.length, 15);
    CHECK_EQ(n, 5);
    CHECK_EQ(l.first, 7);
    CHECK_EQ(sim_line_part(&l, tickets, at(3.55)), 0); /* looked at just now */
}

static void
gaps_are_remembered_fifteen_deep(void)
{
    sim_line l = {0};
    for (uint32_t i = 0; i < 40; i++)
        sim_line_join(&l, tickets, i, at(1000), 0);
    for (uint32_t i = 0; i < 20; i++)
        sim_line_leave(&l, tickets, i, true, at(1 + i));
    for (uint32_t i = 20; i < 39; i++)
        sim_line_leave(&l, tickets, i, true, at(20 + 0.25 * (i - 19)));
    CHECK_EQ(l.ngaps, SIM_PACES);
    CHECK_EQ(sim_line_least(&l, 4), 0);
    CHECK_EQ(sim_line_least(&l, 9), at(0.25 * 3));
}

static void
repetitions_cost_what_calls_have_paid_in(void)
{
    sim_retries r = {.share = 0.2};
    CHECK(sim_retries_allow(&r, at(1))); /* of the 3 it begins with */
    CHECK(!sim_retries_allow(&r, at(1)));
    for (int i = 0; i < 5; i++)
        sim_retries_deposit(&r, at(2));
    CHECK(sim_retries_allow(&r, at(2)));
    sim_retries_withdraw(&r, at(2));
    CHECK(!sim_retries_allow(&r, at(3)));
    CHECK(sim_retries_allow(&r, at(13))); /* all of it is ten seconds ago */
    sim_retries any = {.share = -1};
    for (int i = 0; i < 100; i++)
        CHECK(sim_retries_allow(&any, at(1)));
}

int
main(void)
{
    CHECK_RUN(the_first_to_come_is_the_first_and_anybody_may_leave);
    CHECK_RUN(a_line_knows_how_long_those_before_will_surely_take);
    CHECK_RUN(who_will_surely_not_be_served_in_time_is_sent_away);
    CHECK_RUN(gaps_are_remembered_fifteen_deep);
    CHECK_RUN(repetitions_cost_what_calls_have_paid_in);
    return CHECK_DONE();
}

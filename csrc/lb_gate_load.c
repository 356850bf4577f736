#include "lb_gate_load.h"

#include <math.h>
#include <string.h>

/* Until a group has answers to learn from. */
enum { FIRST_EXPECTED = 256, FIRST_RESERVE = 1024 };

static const float NOT_MADE = -1;   /* as a noise: nobody's ratio is within that */
static const double SURELY = 0.999; /* beyond all rounding of a share */

void
lb_ask_init(lb_ask *ask, uint32_t group)
{
    memset(ask, 0, sizeof *ask);
    ask->group = group;
    ask->max_cost = INT64_MAX;
    ask->max_latency = LB_FOREVER;
    ask->value = -1;
    ask->strategy = -1;
}

static void
look_at_budgets(lb_pool *p, const uint16_t *list, int n, lb_outlook *o)
{
    for (int k = 0; k < n; k++)
        o->room = lb_min(o->room, lb_budget_free(lb_pool_budget(p, list[k]), o->now));
    o->metered |= n > 0;
}

/* Who holds the session's prompt cache, and how much of it. */
static void
look_at_session(const lb_pool *p, uint64_t session, lb_outlook *o)
{
    if (session == 0 || p->size.sessions == 0)
        return;
    const lb_session *s =
        lb_affinity_find(lb_pool_sessions(p), p->size.sessions, session, o->now);
    if (s != NULL) {
        o->bound = s->backend;
        o->cached = s->tokens;
    }
}

void
lb_outlook_init(lb_pool *p, const lb_ask *ask, lb_outlook *o, lb_ns now)
{
    const lb_group *g = lb_pool_group(p, ask->group);
    o->now = now;
    o->room = INT64_MAX;
    o->cached = 0;
    o->bound = -1;
    o->metered = false;
    o->prior = g->prior;
    o->strategy = ask->strategy >= 0 ? (uint8_t)ask->strategy : g->strategy;
    o->forecast = o->strategy == LB_PREDICTIVE;
    o->size = (uint8_t)lb_pool_size_class(ask->tokens[0]);
    o->again = 0;
    if (ask->session != 0 && o->strategy >= LB_COMPOSITE)
        o->again = lb_reuse_share(&g->reuse[o->size]);
    const lb_output *out = &g->output[o->size];
    o->expected = out->mean > 0 ? (int64_t)out->mean + 1 : FIRST_EXPECTED;
    o->reserve = out->mean > 0 ? out->high : FIRST_RESERVE;
    o->most = lb_min(lb_max(ask->max_tokens, 0), LB_TOKENS_MOST);
    if (o->most > 0) {
        o->expected = lb_min(o->expected, o->most);
        o->reserve = lb_min(o->reserve, o->most);
    }
    o->longest = o->most > 0 ? o->most : lb_max(o->expected, o->reserve);
    o->share = ask->priority ? 1 : p->ceiling;
    o->picky = (ask->tags | ask->needs | ask->quality | ask->ntried) != 0;
    bool capped = ask->max_cost != INT64_MAX || ask->max_latency != LB_FOREVER;
    o->clear = capped ? -1 : (float)(SURELY * o->share);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        o->figures[f].noise = NOT_MADE;
    look_at_budgets(p, p->budget, p->nbudgets, o);
    look_at_budgets(p, g->budget, g->nbudgets, o);
    look_at_budgets(p, ask->budget, ask->nbudgets, o);
    look_at_session(p, ask->session, o);
}

/* ---- amounts ------------------------------------------------------------- */

/* As OpenAI's limiter charges at admission. */
static int64_t
by_chars(const lb_load *load)
{
    return (load->chars + 3) / 4 + 2 * (int64_t)load->messages;
}

static void
figure(const lb_ask *ask, const lb_outlook *o, const lb_backend *b, float ratio,
       lb_figures *f)
{
    int64_t input = lb_min(ask->tokens[b->terms.family], LB_TOKENS_MOST);
    if (ratio != 1.0F)
        input = (int64_t)((double)input * (double)ratio);
    lb_load *load = &f->load;
    load->input = input;
    load->output = lb_gate_output(b, o->reserve);
    load->most = o->most > 0 ? lb_gate_output(b, o->most) : load->output;
    load->chars = lb_min(ask->chars, LB_TOKENS_MOST);
    load->messages = ask->messages;
    f->expected = lb_gate_output(b, o->expected);
    f->padded = input + input / 4 + 16;
    f->reach = o->longest <= INT32_MAX ? f->padded : INT64_MAX;
    f->ratio = ratio;
    f->noise = LB_RATIO_NOISE * ratio;
    f->use[LB_PER_REQUEST] = 1;
    f->use[LB_PER_TOKEN] = (float)(input + f->expected);
    f->use[LB_PER_INPUT] = (float)input;
    f->use[LB_PER_OUTPUT] = (float)f->expected;
    f->units[LB_PER_REQUEST] = 1;
    f->units[LB_PER_TOKEN] = (float)lb_max(input + load->most, by_chars(load));
    f->units[LB_PER_INPUT] = (float)input;
    f->units[LB_PER_OUTPUT] = (float)load->most;
}

static bool
caps_output(const lb_backend *b, const lb_outlook *o)
{
    /* an unknown maximum, 0, becomes the largest */
    return (uint64_t)(uint32_t)(b->terms.max_output - 1) < (uint64_t)(o->longest - 1);
}

static __attribute__((noinline)) const lb_figures *
new_figures(const lb_pool *p, const lb_ask *ask, lb_outlook *o, const lb_backend *b,
            lb_figures *own)
{
    float ratio = lb_pool_ratio(p, b);
    if (caps_output(b, o) || ratio != p->ratio[b->terms.family]) {
        figure(ask, o, b, ratio, own);
        return own;
    }
    lb_figures *f = &o->figures[b->terms.family];
    if (f->noise < 0)
        figure(ask, o, b, ratio, f);
    return f;
}

const lb_figures *
lb_gate_figures(const lb_pool *p, const lb_ask *ask, lb_outlook *o, const lb_backend *b,
                lb_figures *own)
{
    const lb_figures *f = &o->figures[b->terms.family];
    if (!caps_output(b, o) && fabsf(b->ratio - f->ratio) <= f->noise)
        return f;
    return new_figures(p, ask, o, b, own);
}

int64_t
lb_gate_units(const lb_limit *limit, const lb_load *load)
{
    int64_t output = limit->charge == LB_CHARGE_MAX ? load->most : load->output;
    switch ((enum lb_unit)limit->unit) {
    case LB_PER_REQUEST:
        return 1;
    case LB_PER_INPUT:
        return load->input;
    case LB_PER_OUTPUT:
        return output;
    default:
        break;
    }
    if (limit->charge == LB_CHARGE_CHARS4)
        return by_chars(load);
    return load->input + output;
}

int64_t
lb_gate_hold(const lb_pool *p, uint32_t i, int64_t input, int64_t most)
{
    const lb_fare *fare = &lb_pool_backend(p, i)->fare;
    int64_t padded = input + input / 4 + 16;
    if (padded <= fare->flat && most <= INT32_MAX)
        return lb_fare_cost(fare, fare->write, padded, most);
    const lb_price *price = &lb_pool_record(p, i)->price;
    if (price->pico[LB_CACHE_WRITE] <= price->pico[LB_INPUT])
        return lb_price_estimate(price, padded, 0, most);
    lb_usage dearest = {0};
    dearest.count[LB_CACHE_WRITE] = padded;
    dearest.count[LB_OUTPUT] = most;
    dearest.count[LB_REQUESTS] = 1;
    return lb_price_cost(price, &dearest);
}

#include "lb_learn.h"

#include <math.h>

static const float RATIO_MAX = 100; /* beyond that no estimator errs */

void
lb_learn_backend(const lb_pool *p, uint32_t backend, lb_lesson *out, lb_ns now)
{
    const lb_backend *b = lb_pool_backend(p, backend);
    const lb_latency *l = &b->latency;
    *out = (lb_lesson){.ratio = b->ratio,
                       .fail = b->fail,
                       .x = l->x,
                       .y = l->y,
                       .xx = l->xx,
                       .xy = l->xy,
                       .base = l->base,
                       .slope = l->slope,
                       .itl = l->itl,
                       .load = l->load,
                       .nn = l->nn,
                       .nk = l->nk,
                       .steep = l->steep,
                       .seconds = l->seconds,
                       .trend = l->trend,
                       .samples = l->samples,
                       .age = l->samples > 0 ? lb_max(now - l->learned, 0) : 0};
}

void
lb_learn_group(const lb_pool *p, uint32_t group, lb_group_lesson *out)
{
    const lb_group *g = lb_pool_group(p, group);
    out->prior = g->prior;
    out->answers = g->answers;
    for (int k = 0; k < LB_SIZES; k++) {
        const lb_track *track = &g->output[k].track;
        out->output[k].mean = g->output[k].mean;
        out->output[k].high = (float)lb_track_value(track);
        out->output[k].seen = track->seen;
    }
}

static bool
within(float value, float low, float high)
{
    return value >= low && value <= high; /* false for NaN */
}

static bool
plausible(const lb_lesson *in)
{
    const float most = 1e9F;
    return in->ratio > 0 && within(in->ratio, 0, RATIO_MAX) && within(in->fail, 0, 1) &&
           within(in->x, 0, most) && within(in->y, 0, most) &&
           within(in->xx, 0, most * most) &&
           within(in->xy, -most * most, most * most) && within(in->base, -most, most) &&
           within(in->slope, 0, most) && within(in->itl, 0, most) &&
           within(in->load, 0, most) && within(in->nn, 0, most * most) &&
           within(in->nk, -most * most, most * most) && within(in->steep, 0, 1) &&
           within(in->seconds, 0, most) && within(in->trend, -most, most) &&
           in->samples >= 0 && in->age >= 0;
}

enum lb_status
lb_teach_backend(lb_pool *p, uint32_t backend, const lb_lesson *in, lb_ns now)
{
    if (backend >= p->used.backends || !plausible(in))
        return LB_EINVAL;
    lb_backend *b = lb_pool_backend(p, backend);
    lb_latency *l = &b->latency;
    float *family = &p->ratio[b->terms.family];
    if (*family == 1.0F)
        *family = in->ratio;
    else if (in->ratio != 1.0F)
        *family = (*family + in->ratio) / 2;
    b->ratio = in->ratio;
    b->fail = in->fail;
    l->x = in->x;
    l->y = in->y;
    l->xx = in->xx;
    l->xy = in->xy;
    l->base = in->base;
    l->slope = in->slope;
    l->itl = in->itl;
    l->load = in->load;
    l->nn = in->nn;
    l->nk = in->nk;
    l->steep = in->steep;
    if (in->load < 1) { /* from before loads were learned: a shared machine */
        l->load = 1;
        l->steep = 1;
    }
    l->seconds = in->seconds;
    l->trend = in->trend;
    l->samples = in->samples;
    l->learned = now - in->age;
    return LB_OK;
}

enum lb_status
lb_teach_group(lb_pool *p, uint32_t group, const lb_group_lesson *in)
{
    bool good = in->prior.ttft > 0 && in->prior.ttft < 1e6F && in->prior.itl > 0 &&
                in->prior.itl < 1e6F && in->answers >= 0;
    for (int k = 0; k < LB_SIZES; k++)
        good = good && within(in->output[k].mean, 0, 1e9F) &&
               within(in->output[k].high, 0, 1e9F) &&
               within(in->output[k].seen, 0, 1e6F);
    if (group >= p->used.groups || !good)
        return LB_EINVAL;
    lb_group *g = lb_pool_group(p, group);
    g->prior = in->prior;
    g->answers = in->answers;
    for (int k = 0; k < LB_SIZES; k++) {
        float high = fmaxf(in->output[k].high, 1);
        lb_output *o = &g->output[k];
        o->mean = in->output[k].mean;
        o->track = (lb_track){.value = high, .seen = in->output[k].seen};
        o->high = (int64_t)high + 1;
    }
    return LB_OK;
}

void
lb_teach_spent(lb_pool *p, uint32_t budget, int64_t nano, lb_ns ago, lb_ns now)
{
    lb_budget *b = lb_pool_budget(p, budget);
    lb_budget_roll(b, now);
    nano = lb_min(nano, INT64_MAX - b->spent); /* so that slots still add up */
    if (b->kind == LB_ROLLING) {
        lb_ns width = b->period / LB_BUDGET_SLOTS;
        lb_ns late = ago - (now - (b->ends - width)); /* before this slot began */
        int64_t slots = late > 0 ? (late - 1) / width + 1 : 0;
        if (slots >= LB_BUDGET_SLOTS)
            return;
        b->slot[(b->head + LB_BUDGET_SLOTS - slots) % LB_BUDGET_SLOTS] += nano;
    }
    b->spent += nano;
    b->lifetime = lb_add_capped(b->lifetime, nano);
}

#include "sim_cache.h"

#include <stdlib.h>

/* The slot of `key`, or the free one where it belongs; the table is never full. */
static sim_prompt *
slot_of(sim_prompt *table, uint32_t size, uint64_t key)
{
    uint64_t i = lb_mix(key);
    while (table[i & (size - 1)].key != 0 && table[i & (size - 1)].key != key)
        i++;
    return &table[i & (size - 1)];
}

static const sim_prompt *
look_up(const sim_station *s, uint64_t key, lb_ns now)
{
    if (s->prompts == 0)
        return NULL;
    const sim_prompt *p = slot_of(s->prompt, s->prompts, key);
    return p->key != 0 && p->expires > now ? p : NULL;
}

int32_t
sim_cache_find(const sim_station *s, const sim_job *job, int32_t block_tokens,
               lb_ns now)
{
    if (s->service.cache_life == 0 || job->input < s->service.cache_least)
        return 0;
    int64_t hit = 0;
    if (job->block != NULL) {
        for (uint32_t k = 0; k < job->nblocks; k++) {
            if (look_up(s, job->block[k], now) == NULL)
                break;
            hit += block_tokens;
        }
    } else if (job->session != 0) {
        const sim_prompt *p = look_up(s, job->session, now);
        hit = p != NULL ? p->tokens : 0;
    }
    hit = lb_min(hit, job->input - 1);
    return hit < s->service.cache_least ? 0 : (int32_t)hit;
}

/* A table without the expired ones, at most half full. */
static bool
renew(sim_station *s, lb_ns now)
{
    uint32_t size = 1024, kept = 0, live = 0;
    for (uint32_t i = 0; i < s->prompts; i++)
        live += s->prompt[i].key != 0 && s->prompt[i].expires > now;
    while (size < 2 * (live + 1))
        size *= 2;
    sim_prompt *table = calloc(size, sizeof *table);
    if (table == NULL) {
        s->lost = true;
        return false;
    }
    for (uint32_t i = 0; i < s->prompts; i++)
        if (s->prompt[i].key != 0 && s->prompt[i].expires > now) {
            *slot_of(table, size, s->prompt[i].key) = s->prompt[i];
            kept++;
        }
    free(s->prompt);
    s->prompt = table;
    s->prompts = size;
    s->nprompts = kept;
    return true;
}

static void
remember(sim_station *s, uint64_t key, int64_t tokens, lb_ns now)
{
    if (4 * (s->nprompts + 1) > 3 * s->prompts && !renew(s, now))
        return;
    sim_prompt *p = slot_of(s->prompt, s->prompts, key);
    s->nprompts += p->key == 0;
    *p = (sim_prompt){
        .key = key, .expires = now + s->service.cache_life, .tokens = tokens};
}

void
sim_cache_store(sim_station *s, const sim_job *job, lb_ns now)
{
    if (s->service.cache_life == 0 || job->input < s->service.cache_least)
        return;
    if (job->block != NULL)
        for (uint32_t k = 0; k < job->nblocks; k++)
            remember(s, job->block[k], 0, now);
    else if (job->session != 0)
        remember(s, job->session, (int64_t)job->input + job->output, now);
}

/* sim_cache.h - the prompt cache a provider really has.
 *
 * Prompts are remembered by what they have in common: traces with block hashes
 * by every block of the prompt (a hit is the unbroken run of known blocks from
 * the start, so different conversations share a system prompt), other traces by
 * their session, of which the last prompt and answer are known.
 *
 *      known      s s a a a              s: system prompt, a: conversation
 *      prompt     s s a b b b            hit: s s a
 *
 * Every use prolongs life; what has expired is as good as absent.
 */
#ifndef SIM_CACHE_H
#define SIM_CACHE_H

#include "sim_station.h"

/* Input tokens of the job that need not be read again, 0..input - 1. */
int32_t sim_cache_find(const sim_station *s, const sim_job *job, int32_t block_tokens,
                       lb_ns now);

/* The job was answered: its prompt is known from now on. */
void sim_cache_store(sim_station *s, const sim_job *job, lb_ns now);

#endif /* SIM_CACHE_H */

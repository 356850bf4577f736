/* lb_affinity.h - which backend holds the prompt cache of this conversation?
 *
 * A table of sessions remembers where a conversation was served last and how
 * many prompt tokens that backend has cached.  Entries expire with the
 * provider's cache life, counted from the last use.  The table is open
 * addressing over a power of two; when a neighbourhood is full, the entry that
 * expires first makes room: forgetting costs a cache miss, never an error.
 *
 * A session without an entry goes to its rendezvous backend: the one with the
 * highest weighted hash (Thaler, Ravishankar 1996; -w/ln(u)).  Removing a
 * backend moves only its own sessions.  A bound on the load (Mirrokni et al.
 * 2016: c times the fair share) keeps a popular one from drowning.
 */
#ifndef LB_AFFINITY_H
#define LB_AFFINITY_H

#include "lb_base.h"

enum { LB_AFFINITY_PROBES = 8 };

/* One remembered session; hash 0: free slot. */
typedef struct lb_session {
    uint64_t hash;
    lb_ns expires;
    int32_t tokens; /* prompt tokens its cache is believed to hold */
    uint16_t backend;
    uint16_t note; /* the caller's own; 0 when bound */
} lb_session;

/* The live entry of `hash` (!= 0, well mixed: its low bits choose the slot) among
 * `slots` (a power of two, or 0) entries of a table that began all zero; NULL
 * when there is none. */
lb_session *lb_affinity_find(lb_session *table, uint32_t slots, uint64_t hash,
                             lb_ns now);

/* Remember that `backend` served the session and caches `tokens` for `life`.  The
 * entry; NULL when there are no slots. */
lb_session *lb_affinity_bind(lb_session *table, uint32_t slots, uint64_t hash,
                             int32_t backend, int32_t tokens, lb_ns life, lb_ns now);

/* Rendezvous score of `backend` (its stable id) for a session: the highest of
 * all candidates wins; weight > 0. */
double lb_affinity_score(uint64_t hash, uint64_t backend, double weight);

/* The bounded-load cap: calls in flight a backend of `weight` may have when
 * `total` are in flight over all weights: ceil(c * (total + 1) * weight / sum), at
 * least 1. */
int64_t lb_affinity_cap(double c, int64_t total, double weight, double sum);

#endif /* LB_AFFINITY_H */

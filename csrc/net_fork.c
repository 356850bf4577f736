#include "net_fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WORDS = 65536 / 64 };

/* Static and atomic, because the child reads it while nobody can finish what
 * another thread had begun. */
static _Atomic uint64_t owned[WORDS];
static _Atomic unsigned epoch;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
in_child(void)
{
    atomic_fetch_add(&epoch, 1);
    for (int w = 0; w < WORDS; w++) {
        uint64_t bits = atomic_exchange(&owned[w], 0);
        for (int b = 0; bits != 0; b++, bits >>= 1)
            if (bits & 1)
                (void)close(w * 64 + b);
    }
}

static void
watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, in_child);
}

unsigned
net_fork_epoch(void)
{
    (void)pthread_once(&once, watch_forks);
    return atomic_load_explicit(&epoch, memory_order_relaxed);
}

void
net_fork_own(int fd)
{
    if (fd >= 0 && fd < WORDS * 64)
        atomic_fetch_or(&owned[fd / 64], UINT64_C(1) << (fd % 64));
}

void
net_fork_disown(int fd)
{
    if (fd >= 0 && fd < WORDS * 64)
        atomic_fetch_and(&owned[fd / 64], ~(UINT64_C(1) << (fd % 64)));
}

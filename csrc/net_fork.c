#include "net_fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUMBERS = 65536 };

/* Inode + 1 by descriptor, 0: not ours.  Static and atomic, because the child
 * reads it while nobody can finish what another thread had begun. */
static _Atomic uint64_t owned[NUMBERS];
static _Atomic int highest;
static _Atomic unsigned epoch;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The mark of what is open as `fd` now, 0 if nothing is. */
static uint64_t
mark_of(int fd, bool *is_socket)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return 0;
    *is_socket = S_ISSOCK(st.st_mode);
    return (uint64_t)st.st_ino + 1;
}

static void
in_child(void)
{
    bool is_socket;
    atomic_fetch_add(&epoch, 1);
    for (int fd = atomic_exchange(&highest, 0); fd >= 0; fd--) {
        uint64_t mark = atomic_exchange(&owned[fd], 0);
        if (mark != 0 && mark == mark_of(fd, &is_socket))
            (void)close(fd);
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
    bool is_socket;
    if (fd < 0 || fd >= NUMBERS)
        return;
    atomic_store(&owned[fd], mark_of(fd, &is_socket));
    int most = atomic_load(&highest);
    while (most < fd && !atomic_compare_exchange_weak(&highest, &most, fd))
        continue;
}

void
net_fork_disown(int fd)
{
    if (fd >= 0 && fd < NUMBERS)
        atomic_store(&owned[fd], 0);
}

uint64_t
net_fork_sockets(void)
{
    uint64_t n = 0;
    for (int fd = atomic_load(&highest); fd >= 0; fd--) {
        bool is_socket = false;
        uint64_t mark = atomic_load(&owned[fd]);
        n += mark != 0 && mark == mark_of(fd, &is_socket) && is_socket;
    }
    return n;
}

#include "net_wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/eventfd.h>
#endif

bool
net_wake_open(net_wake *w)
{
#ifdef __linux__
    w->read_fd = w->write_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->read_fd >= 0;
#else
    int fd[2];
    if (pipe(fd) < 0) {
        w->read_fd = w->write_fd = -1;
        return false;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fd[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd[i], F_SETFL, O_NONBLOCK);
    }
    w->read_fd = fd[0];
    w->write_fd = fd[1];
    return true;
#endif
}

/* A full pipe or counter means that the bell already rings. */
void
net_wake_ring(const net_wake *w)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(w->write_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

void
net_wake_clear(const net_wake *w)
{
    uint64_t sink[64];
    while (read(w->read_fd, sink, sizeof sink) == (ssize_t)sizeof sink)
        continue;
}

void
net_wake_close(net_wake *w)
{
    if (w->read_fd >= 0)
        (void)close(w->read_fd);
    if (w->write_fd >= 0 && w->write_fd != w->read_fd)
        (void)close(w->write_fd);
    w->read_fd = w->write_fd = -1;
}

int
net_wake_wait(const net_wake *w, lb_ns wait)
{
    struct pollfd p = {.fd = w->read_fd, .events = POLLIN};
    lb_ns ms = wait / LB_NS_PER_MS + (wait % LB_NS_PER_MS != 0);
    int n = poll(&p, 1, wait == LB_FOREVER ? -1 : (int)lb_min(ms, INT_MAX));
    return n > 0 ? 1 : n == 0 ? 0 : -1;
}

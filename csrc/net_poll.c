#include "net_poll.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#if defined(NET_USE_POLL)
#include <poll.h>
#elif defined(__linux__)
#define NET_USE_EPOLL
#include <sys/epoll.h>
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || \
    defined(__NetBSD__) || defined(NET_USE_KQUEUE)
#undef NET_USE_KQUEUE
#define NET_USE_KQUEUE
#include <sys/event.h>
#include <sys/time.h>
#else
#define NET_USE_POLL
#include <poll.h>
#endif

typedef struct watch {
    void *owner;
    int want; /* 0: not watched */
} watch;

struct net_poll {
    int kernel;   /* epoll or kqueue descriptor, -1 with poll */
    int len;      /* descriptors 0..len-1 have a row in the table */
    watch *table; /* by descriptor */
#ifdef NET_USE_POLL
    struct pollfd *set; /* scratch for the call */
#endif
};

static bool
table_reaches(net_poll *p, int fd)
{
    if (fd < p->len)
        return true;
    int len = p->len == 0 ? 64 : p->len;
    while (len <= fd)
        len *= 2;
    watch *table = realloc(p->table, (size_t)len * sizeof *table);
    if (table == NULL)
        return false;
    memset(table + p->len, 0, (size_t)(len - p->len) * sizeof *table);
    p->table = table;
#ifdef NET_USE_POLL
    struct pollfd *set = realloc(p->set, (size_t)len * sizeof *set);
    if (set == NULL)
        return false;
    p->set = set;
#endif
    p->len = len;
    return true;
}

#ifndef NET_USE_POLL
static void
report(const net_poll *p, net_ready *out, int *n, int fd, int what)
{
    if (fd < p->len && p->table[fd].want != 0)
        out[(*n)++] = (net_ready){.fd = fd, .what = what, .owner = p->table[fd].owner};
}
#endif

#ifndef NET_USE_KQUEUE
/* Rounded up: waking a little late is right, waking early spins. */
static int
milliseconds(lb_ns wait)
{
    if (wait >= (lb_ns)INT_MAX * LB_NS_PER_MS)
        return -1;
    return (int)((wait + LB_NS_PER_MS - 1) / LB_NS_PER_MS);
}
#endif

#ifdef NET_USE_EPOLL

static int
kernel_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static bool
kernel_set(net_poll *p, int fd, int had, int want)
{
    struct epoll_event ev = {.data.fd = fd};
    ev.events = (want & NET_IN ? (uint32_t)EPOLLIN : 0) |
                (want & NET_OUT ? (uint32_t)EPOLLOUT : 0);
    if (want == 0) {
        (void)epoll_ctl(p->kernel, EPOLL_CTL_DEL, fd, &ev);
        return true;
    }
    int op = had != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(p->kernel, op, fd, &ev) == 0)
        return true;
    if (errno == ENOENT)
        return epoll_ctl(p->kernel, EPOLL_CTL_ADD, fd, &ev) == 0;
    return errno == EEXIST && epoll_ctl(p->kernel, EPOLL_CTL_MOD, fd, &ev) == 0;
}

int
net_poll_wait(net_poll *p, net_ready *out, int max, lb_ns wait)
{
    struct epoll_event ev[128];
    if (max > 128)
        max = 128;
    int got = epoll_wait(p->kernel, ev, max, milliseconds(wait));
    int n = 0;
    for (int i = 0; i < got; i++) {
        int what = (ev[i].events & EPOLLIN ? NET_IN : 0) |
                   (ev[i].events & EPOLLOUT ? NET_OUT : 0) |
                   (ev[i].events & (EPOLLERR | EPOLLHUP) ? NET_ERROR : 0);
        report(p, out, &n, ev[i].data.fd, what);
    }
    return n;
}

#elif defined(NET_USE_KQUEUE)

static int
kernel_open(void)
{
    return kqueue();
}

static bool
kernel_filter(net_poll *p, int fd, int16_t filter, bool had, bool want)
{
    struct kevent ev;
    if (had == want && !want)
        return true;
    EV_SET(&ev, (uintptr_t)fd, filter, want ? EV_ADD : EV_DELETE, 0, 0, NULL);
    return kevent(p->kernel, &ev, 1, NULL, 0, NULL) == 0 || !want;
}

static bool
kernel_set(net_poll *p, int fd, int had, int want)
{
    bool in = kernel_filter(p, fd, EVFILT_READ, had & NET_IN, want & NET_IN);
    bool out = kernel_filter(p, fd, EVFILT_WRITE, had & NET_OUT, want & NET_OUT);
    return in && out;
}

int
net_poll_wait(net_poll *p, net_ready *out, int max, lb_ns wait)
{
    struct kevent ev[128];
    struct timespec ts = {.tv_sec = (time_t)(wait / LB_NS_PER_S),
                          .tv_nsec = (long)(wait % LB_NS_PER_S)};
    if (max > 128)
        max = 128;
    int got = kevent(p->kernel, NULL, 0, ev, max, wait == LB_FOREVER ? NULL : &ts);
    int n = 0;
    for (int i = 0; i < got; i++) {
        int what = (ev[i].filter == EVFILT_READ ? NET_IN : NET_OUT) |
                   (ev[i].flags & EV_ERROR ? NET_ERROR : 0);
        report(p, out, &n, (int)ev[i].ident, what);
    }
    return n;
}

#else

static int
kernel_open(void)
{
    return -1;
}

static bool
kernel_set(net_poll *p, int fd, int had, int want)
{
    (void)p;
    (void)fd;
    (void)had;
    (void)want;
    return true;
}

int
net_poll_wait(net_poll *p, net_ready *out, int max, lb_ns wait)
{
    nfds_t len = 0;
    for (int fd = 0; fd < p->len; fd++) {
        int want = p->table[fd].want;
        if (want == 0)
            continue;
        short events =
            (short)((want & NET_IN ? POLLIN : 0) | (want & NET_OUT ? POLLOUT : 0));
        p->set[len++] = (struct pollfd){.fd = fd, .events = events};
    }
    int n = 0;
    if (poll(p->set, len, milliseconds(wait)) <= 0)
        return 0;
    for (nfds_t i = 0; i < len && n < max; i++) {
        short got = p->set[i].revents;
        int what = (got & POLLIN ? NET_IN : 0) | (got & POLLOUT ? NET_OUT : 0) |
                   (got & (POLLERR | POLLHUP | POLLNVAL) ? NET_ERROR : 0);
        int fd = p->set[i].fd;
        if (what != 0)
            out[n++] = (net_ready){.fd = fd, .what = what, .owner = p->table[fd].owner};
    }
    return n;
}

#endif

net_poll *
net_poll_new(void)
{
    net_poll *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->kernel = kernel_open();
#ifndef NET_USE_POLL
    if (p->kernel < 0) {
        free(p);
        return NULL;
    }
#endif
    return p;
}

void
net_poll_free(net_poll *p)
{
    if (p == NULL)
        return;
    if (p->kernel >= 0)
        (void)close(p->kernel);
    free(p->table);
#ifdef NET_USE_POLL
    free(p->set);
#endif
    free(p);
}

bool
net_poll_set(net_poll *p, int fd, int want, void *owner)
{
    if (fd < 0 || !table_reaches(p, fd))
        return false;
    int had = p->table[fd].want;
    p->table[fd] = (watch){.owner = want != 0 ? owner : NULL, .want = want};
    return kernel_set(p, fd, had, want);
}

int
net_poll_fd(const net_poll *p)
{
    return p->kernel;
}

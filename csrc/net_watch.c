#include "net_watch.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_fork.h"

enum { MAX_KEPT = 4096 }; /* idle connections of one host */

static curl_socket_t
on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    net_watch *w = ctx;
    (void)purpose;
#ifdef SOCK_CLOEXEC
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
#else
    int fd = socket(a->family, a->socktype, a->protocol);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    if (fd < 0)
        return CURL_SOCKET_BAD;
    net_fork_own(fd);
    atomic_fetch_add(w->connected, 1);
    return fd;
}

static int
on_close(void *ctx, curl_socket_t fd)
{
    (void)ctx;
    net_fork_disown(fd);
    return close(fd);
}

void
net_watch_sockets(net_watch *w, void *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, w);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
}

/* libcurl must not be called from in here; a failure to watch a socket leaves
 * the transfer to its timers. */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    (void)easy;
    (void)unused;
    net_host *h = ctx;
    int want = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        want |= NET_IN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        want |= NET_OUT;
    (void)net_poll_set(h->watch->poll, fd, want, h);
    return 0;
}

/* 0 means soon, but not from in here: a deadline is all that is kept. */
static int
on_timer(CURLM *multi, long ms, void *ctx)
{
    (void)multi;
    net_host *h = ctx;
    net_timers *timers = &h->watch->timers;
    if (ms < 0)
        net_timers_clear(timers, &h->timer);
    else
        (void)net_timers_set(timers, &h->timer, net_now() + ms * LB_NS_PER_MS);
    return 0;
}

bool
net_watch_has(const net_watch *w, const net_host *h)
{
    return h->multi != NULL && h->engine == w->engine && h->epoch == net_fork_epoch();
}

bool
net_watch_join(net_watch *w, net_host *h)
{
    CURLM *m = curl_multi_init();
    *h = (net_host){
        .epoch = net_fork_epoch(),
        .engine = w->engine,
        .multi = m,
        .watch = w,
        .timer.kind = NET_TIMER_HOST,
    };
    if (m == NULL)
        return false;
    (void)curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(m, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(m, CURLMOPT_TIMERDATA, h);
    (void)curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)MAX_KEPT);
#if LIBCURL_VERSION_NUM >= 0x081400
    (void)curl_multi_setopt(m, CURLMOPT_QUICK_EXIT, 1L);
#endif
    h->later = w->live;
    if (w->live != NULL)
        w->live->earlier = h;
    w->live = h;
    atomic_fetch_add(w->hosts, 1);
    return true;
}

void
net_watch_leave(net_watch *w, net_host *h)
{
    if (h->earlier != NULL)
        h->earlier->later = h->later;
    else
        w->live = h->later;
    if (h->later != NULL)
        h->later->earlier = h->earlier;
    (void)curl_multi_cleanup(h->multi);
    h->multi = NULL;
    net_timers_clear(&w->timers, &h->timer);
    atomic_fetch_sub(w->hosts, 1);
}

void
net_watch_touch(net_watch *w, net_host *h)
{
    if (h->touched)
        return;
    h->touched = true;
    h->next = w->touched;
    w->touched = h;
}

net_host *
net_watch_touched(net_watch *w)
{
    net_host *h = w->touched;
    if (h != NULL) {
        w->touched = h->next;
        h->touched = false;
    }
    return h;
}

bool
net_watch_open(net_watch *w, const net_wake *bell)
{
    w->poll = net_poll_new();
    if (w->poll == NULL)
        return false;
    w->bell = bell;
    net_fork_own(net_poll_fd(w->poll));
    return net_poll_set(w->poll, bell->read_fd, NET_IN, w);
}

void
net_watch_close(net_watch *w)
{
    if (w->poll != NULL)
        net_fork_disown(net_poll_fd(w->poll));
    net_poll_free(w->poll);
    net_timers_free(&w->timers);
}

void
net_watch_poll(net_watch *w, lb_ns wait)
{
    net_ready ready[64];
    int n = net_poll_wait(w->poll, ready, 64,
                          lb_min(wait, net_timers_wait(&w->timers, net_now())));
    for (int i = 0; i < n; i++) {
        if (ready[i].owner == w) {
            net_wake_clear(w->bell);
            continue;
        }
        int mask = (ready[i].what & NET_IN ? CURL_CSELECT_IN : 0) |
                   (ready[i].what & NET_OUT ? CURL_CSELECT_OUT : 0) |
                   (ready[i].what & NET_ERROR ? CURL_CSELECT_ERR : 0);
        net_host *h = ready[i].owner;
        int running;
        net_watch_touch(w, h);
        (void)curl_multi_socket_action(h->multi, ready[i].fd, mask, &running);
    }
}

/* libcurl tells the next timeout only when it changes, and not always then. */
void
net_watch_deadline(net_watch *w, net_host *h)
{
    int running;
    long ms = -1;
    net_timers_clear(&w->timers, &h->timer);
    net_watch_touch(w, h);
    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    if (h->timer.slot == 0 && curl_multi_timeout(h->multi, &ms) == CURLM_OK)
        (void)on_timer(h->multi, ms, h);
}

/* The engine without Python, for the sanitizers of memory and of threads: a small
 * server thread, several submitting threads, cancels at random, stop and restart. */
#include "check.h"
#include "net_engine.h"
#include "net_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char base_url[64];
static int listener;
static _Atomic bool serving;

static const char plain[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
static const char events[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "9\r\ndata: a\n\n\r\n"
                             "12\r\ndata: b\n\ndata: c\n\n\r\n0\r\n\r\n";

static void
say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* One request has come in whole (they are all small); "hang" gets no answer. */
static bool
answer(int fd)
{
    char in[2048];
    ssize_t n = recv(fd, in, sizeof in - 1, 0);
    if (n <= 0)
        return false;
    in[n] = '\0';
    if (strstr(in, "/events") != NULL)
        say(fd, events);
    else if (strstr(in, "/cut") != NULL)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    else if (strstr(in, "/hang") == NULL)
        say(fd, plain);
    return strstr(in, "/cut") == NULL;
}

static void *
serve(void *unused)
{
    (void)unused;
    struct pollfd set[512] = {{.fd = listener, .events = POLLIN}};
    nfds_t n = 1;
    while (atomic_load(&serving)) {
        (void)poll(set, n, 20);
        if (set[0].revents & POLLIN && n < 512) {
            int fd = accept(listener, NULL, NULL);
            int one = 1;
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            set[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
        for (nfds_t i = 1; i < n; i++) {
            if (set[i].revents == 0 || answer(set[i].fd))
                continue;
            (void)close(set[i].fd);
            set[i--] = set[--n];
        }
    }
    while (n > 1)
        (void)close(set[--n].fd);
    return NULL;
}

static pthread_t
start_server(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    pthread_t thread;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(listen(listener, 512) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
    (void)snprintf(base_url, sizeof base_url, "http://127.0.0.1:%d", ntohs(a.sin_port));
    atomic_store(&serving, true);
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    return thread;
}

static net_origin *
origin_new(void)
{
    char why[200] = "";
    net_settings s = {.url = base_url,
                      .verify = true,
                      .max_body = 1 << 20,
                      .max_event = 1 << 16,
                      .max_header = 1 << 16};
    net_origin *o = net_origin_new(&s, why);
    CHECK(o != NULL);
    return o;
}

static uint64_t
submit(net_port *port, net_origin *o, const char *target, enum net_stream stream)
{
    char why[200] = "";
    net_text line = {"X-A: b", 6};
    net_ask ask = {.token = port,
                   .method = "POST",
                   .target = target,
                   .lines = &line,
                   .n_lines = 1,
                   .body = "{}",
                   .body_len = 2,
                   .stream = stream,
                   .limits.total = 20 * LB_NS_PER_S};
    net_request *r = net_request_new(&ask, o, port, why);
    CHECK(r != NULL);
    uint64_t id = r->sender.id;
    CHECK_EQ(net_engine_submit(r), LB_OK);
    return id;
}

/* Fetch until `n` ends have come; counts them by kind, and the events. */
static int
collect(net_port *port, int n, int kinds[NET_NERRORS])
{
    int seen = 0;
    while (n > 0) {
        CHECK(net_wake_wait(&port->bell, 30 * LB_NS_PER_S) == 1);
        for (net_parcel *p = net_port_take(port), *next; p != NULL; p = next) {
            next = p->next;
            seen += (int)p->n_events;
            if (p->end != NULL) {
                kinds[p->end->error]++;
                n--;
            }
            if (p->room)
                net_engine_room(p->from->id);
            net_parcel_free(p);
        }
    }
    return seen;
}

static void
replies_and_events_arrive(void)
{
    net_port *port = net_port_new();
    net_origin *o = origin_new();
    int kinds[NET_NERRORS] = {0};
    for (int i = 0; i < 20; i++) {
        (void)submit(port, o, "/x", NET_UNARY);
        (void)submit(port, o, "/events", NET_SSE);
        (void)submit(port, o, "/cut", NET_UNARY);
    }
    CHECK_EQ(collect(port, 60, kinds), 60);
    CHECK_EQ(kinds[NET_OK], 40);
    CHECK_EQ(kinds[NET_TRUNCATED], 20);
    net_origin_unref(o);
    net_port_unref(port);
}

enum { THREADS = 4, ROUNDS = 30, BURST = 8 };

static void *
storm(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    net_port *port = net_port_new();
    net_origin *o = origin_new();
    int kinds[NET_NERRORS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t id[BURST];
        for (int i = 0; i < BURST; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            const char *target = seed >> 62 == 0 ? "/hang" : "/events";
            id[i] = submit(port, o, target, NET_SSE);
            if (seed >> 62 <= 1)
                net_engine_cancel(id[i]);
            if (seed >> 60 & 1) {
                net_engine_pause(id[i]);
                net_engine_resume(id[i]);
            }
        }
        (void)collect(port, BURST, kinds);
    }
    CHECK_EQ(kinds[NET_OK] + kinds[NET_CANCELLED], ROUNDS * BURST);
    for (int i = 0; i < BURST; i++)
        (void)submit(port, o, "/hang", NET_UNARY);
    net_port_close(port);
    net_engine_abandon(net_port_ref(port));
    net_port_unref(port);
    net_origin_unref(o);
    return NULL;
}

static void
many_threads_may_submit_and_cancel(void)
{
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, storm, (void *)(intptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(thread[i], NULL);
}

static void
a_stop_ends_everything_and_a_submit_starts_again(void)
{
    net_port *port = net_port_new();
    net_origin *o = origin_new();
    for (int turn = 0; turn < 5; turn++) {
        int kinds[NET_NERRORS] = {0};
        for (int i = 0; i < 10; i++)
            (void)submit(port, o, "/hang", NET_UNARY);
        CHECK(net_engine_stop(5 * LB_NS_PER_S));
        (void)collect(port, 10, kinds);
        CHECK_EQ(kinds[NET_ENGINE], 10);
        net_stats s = net_engine_stats();
        CHECK(s.submitted == s.completed && s.threads == 0 && s.origins == 0);
        CHECK(s.connections == 0);
    }
    CHECK(net_engine_stop(0));
    net_origin_unref(o);
    net_port_unref(port);
}

#if !defined(__SANITIZE_THREAD__)
static void
a_forked_child_has_an_engine_of_its_own(void)
{
    net_port *port = net_port_new();
    net_origin *o = origin_new();
    int kinds[NET_NERRORS] = {0};
    (void)submit(port, o, "/x", NET_UNARY);
    (void)collect(port, 1, kinds);
    (void)submit(port, o, "/hang", NET_UNARY);
    pid_t pid = fork();
    if (pid == 0) {
        check_failed = 0;
        CHECK(net_port_renew(port));
        (void)submit(port, o, "/x", NET_UNARY);
        (void)collect(port, 1, kinds);
        CHECK_EQ(kinds[NET_OK], 2);
        CHECK(net_engine_stop(5 * LB_NS_PER_S));
        _exit(check_failed);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    (void)submit(port, o, "/x", NET_UNARY);
    (void)collect(port, 1, kinds);
    CHECK_EQ(kinds[NET_OK], 2);
    net_port_close(port);
    net_engine_abandon(net_port_ref(port));
    net_port_unref(port);
    net_origin_unref(o);
}
#endif

int
main(void)
{
    pthread_t server = start_server();
    CHECK_RUN(replies_and_events_arrive);
    CHECK_RUN(many_threads_may_submit_and_cancel);
    CHECK_RUN(a_stop_ends_everything_and_a_submit_starts_again);
#if !defined(__SANITIZE_THREAD__)
    CHECK_RUN(a_forked_child_has_an_engine_of_its_own);
#endif
    CHECK(net_engine_stop(5 * LB_NS_PER_S));
    atomic_store(&serving, false);
    (void)pthread_join(server, NULL);
    (void)close(listener);
    return CHECK_DONE();
}

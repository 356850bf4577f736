/* server.c - a loopback LLM server that costs next to nothing, to measure clients.
 *
 *     server DELAY_MS EVENTS GAP_MS
 *
 * Prints its port, serves HTTP/1.1 with keep-alive on one thread, ends when its
 * standard input closes.  A request whose body has "stream":true gets EVENTS
 * server-sent events of about 290 bytes, GAP_MS apart, then the finish reason, the
 * usage when it was asked for, and [DONE]; any other gets an OpenAI chat completion
 * of 723 bytes after DELAY_MS.  Both delays are the same for all, so what is due lies
 * in order in one queue.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, MAX_IN = 1 << 16 };

typedef struct peer {
    char *in;
    size_t len;
    uint32_t epoch; /* differs once the descriptor is somebody else's */
    int events_left;
    bool streaming;
    bool wants_usage;
} peer;

typedef struct due {
    int64_t at;
    int fd;
    uint32_t epoch;
} due;

static peer peers[MAX_FD];
static due *queue;
static size_t head, tail, cap;
static int64_t delay_ns, gap_ns;
static int n_events;
static char reply[1400], event[512], finish[512], usage[512];
static size_t reply_len, event_len, finish_len, usage_len;
static int epoll;

static int64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void
make_reply(void)
{
    char body[724];
    int n =
        snprintf(body, sizeof body,
                 "{\"id\":\"chatcmpl-b\",\"object\":\"chat.completion\",\"created\":"
                 "1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
                 "\"message\":{\"role\":\"assistant\",\"content\":\"");
    static const char end[] =
        "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":120,"
        "\"completion_tokens\":90,\"total_tokens\":210}}";
    int fill = 723 - n - (int)strlen(end);
    memset(body + n, 'x', (size_t)fill);
    strcpy(body + n + fill, end);
    reply_len = (size_t)snprintf(reply, sizeof reply,
                                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                 "x-ratelimit-limit-requests: 100000000\r\n"
                                 "x-ratelimit-remaining-requests: 99999999\r\n"
                                 "x-ratelimit-reset-requests: 1ms\r\n"
                                 "x-ratelimit-limit-tokens: 1000000000\r\n"
                                 "x-ratelimit-remaining-tokens: 999999000\r\n"
                                 "x-ratelimit-reset-tokens: 1ms\r\n"
                                 "Content-Length: 723\r\n\r\n%s",
                                 body);
}

/* One event as a piece of a chunked answer; *rest* is what differs. */
static size_t
make_event(char *to, size_t room, const char *rest)
{
    char data[400];
    int size = snprintf(data, sizeof data,
                        "data: {\"id\":\"chatcmpl-b\",\"object\":"
                        "\"chat.completion.chunk\",\"created\":1700000000,\"model\":"
                        "\"bench\",%s}\n\n",
                        rest);
    return (size_t)snprintf(to, room, "%x\r\n%s\r\n", (unsigned)size, data);
}

static void
make_events(void)
{
    char rest[300];
    char filler[85];
    memset(filler, 'x', 84);
    filler[84] = '\0';
    (void)snprintf(rest, sizeof rest,
                   "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
                   "\"logprobs\":null,\"finish_reason\":null}],\"obfuscation\":\"%s\"",
                   filler);
    event_len = make_event(event, sizeof event, rest);
    finish_len = make_event(finish, sizeof finish,
                            "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                            "\"finish_reason\":\"stop\"}]");
    (void)snprintf(rest, sizeof rest,
                   "\"choices\":[],\"usage\":{\"prompt_tokens\":120,"
                   "\"completion_tokens\":%d,\"total_tokens\":%d}",
                   n_events, n_events + 120);
    usage_len = make_event(usage, sizeof usage, rest);
}

static void
say(int fd, const char *p, size_t n)
{
    (void)!send(fd, p, n, MSG_NOSIGNAL); /* small enough for the socket's buffer */
}

static void
put_due(int fd, int64_t at)
{
    if (tail - head == cap) {
        size_t more = cap == 0 ? 4096 : cap * 2;
        due *fresh = malloc(more * sizeof *fresh);
        if (fresh == NULL)
            exit(1);
        for (size_t i = 0; i < tail - head; i++)
            fresh[i] = queue[(head + i) % cap];
        free(queue);
        queue = fresh;
        tail -= head;
        head = 0;
        cap = more;
    }
    queue[tail++ % cap] = (due){at, fd, peers[fd].epoch};
}

static void
one_event(int fd)
{
    peer *p = &peers[fd];
    if (p->events_left-- > 0) {
        say(fd, event, event_len);
        put_due(fd, now_ns() + gap_ns);
        return;
    }
    static const char done[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    p->streaming = false;
    say(fd, finish, finish_len);
    if (p->wants_usage)
        say(fd, usage, usage_len);
    say(fd, done, sizeof done - 1);
}

static void
answer(int fd, bool stream)
{
    static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n";
    peer *p = &peers[fd];
    if (stream) {
        p->streaming = true;
        p->events_left = n_events;
        say(fd, start, sizeof start - 1);
        put_due(fd, now_ns() + gap_ns);
    } else if (delay_ns > 0) {
        put_due(fd, now_ns() + delay_ns);
    } else {
        say(fd, reply, reply_len);
    }
}

static void
drop(int fd)
{
    peers[fd].epoch++;
    peers[fd].len = 0;
    peers[fd].streaming = false;
    (void)close(fd);
}

static void
hear(int fd)
{
    peer *p = &peers[fd];
    if (p->in == NULL && (p->in = malloc(MAX_IN)) == NULL)
        exit(1);
    ssize_t n = recv(fd, p->in + p->len, MAX_IN - 1 - p->len, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    p->len += (size_t)n;
    p->in[p->len] = '\0';
    char *body = strstr(p->in, "\r\n\r\n");
    if (body == NULL)
        return;
    body += 4;
    const char *field = strcasestr(p->in, "content-length:");
    size_t length = field != NULL && field < body ? strtoul(field + 15, NULL, 10) : 0;
    if (p->len - (size_t)(body - p->in) < length)
        return;
    bool stream = strstr(body, "\"stream\":true") != NULL ||
                  strstr(body, "\"stream\": true") != NULL;
    p->wants_usage = strstr(body, "\"include_usage\":true") != NULL ||
                     strstr(body, "\"include_usage\": true") != NULL;
    p->len = 0;
    answer(fd, stream);
}

static int
fire(void)
{
    while (head < tail) {
        due d = queue[head % cap];
        int64_t wait = d.at - now_ns();
        if (wait > 0)
            return (int)(wait / 1000000);
        head++;
        if (peers[d.fd].epoch != d.epoch)
            continue;
        if (peers[d.fd].streaming)
            one_event(d.fd);
        else
            say(d.fd, reply, reply_len);
    }
    return -1;
}

static int
listen_somewhere(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 4096) < 0)
        exit(1);
    (void)getsockname(fd, (struct sockaddr *)&a, &len);
    printf("%d\n", ntohs(a.sin_port));
    (void)fflush(stdout);
    return fd;
}

static void
watch(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    (void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

int
main(int argc, char **argv)
{
    delay_ns = argc > 1 ? strtoll(argv[1], NULL, 10) * 1000000 : 0;
    n_events = argc > 2 ? atoi(argv[2]) : 0;
    gap_ns = argc > 3 ? strtoll(argv[3], NULL, 10) * 1000000 : 0;
    make_reply();
    make_events();
    epoll = epoll_create1(0);
    int listener = listen_somewhere();
    watch(listener);
    watch(STDIN_FILENO);
    for (;;) {
        struct epoll_event ev[256];
        int n = epoll_wait(epoll, ev, 256, fire());
        for (int i = 0; i < n; i++) {
            int fd = ev[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd != listener) {
                hear(fd);
                continue;
            }
            int peer_fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            int one = 1;
            if (peer_fd < 0 || peer_fd >= MAX_FD)
                continue;
            (void)setsockopt(peer_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(peer_fd);
        }
    }
}

/* curl_loop.c - the least a client on libcurl can do: one thread, one multi handle,
 * curl_multi_poll and perform, no Python.  What it costs is the yardstick.
 *
 *     curl_loop URL CONCURRENT SECONDS
 *
 * Prints: requests, CPU microseconds a request, p50 and p99 in microseconds.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_SAMPLES = 1 << 22 };

static double started[4096];
static float samples[MAX_SAMPLES];
static char body[601];

static double
now(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t
swallow(char *p, size_t one, size_t n, void *ctx)
{
    (void)p;
    (void)ctx;
    return one * n;
}

static CURL *
handle(const char *url, struct curl_slist *lines, size_t number)
{
    CURL *e = curl_easy_init();
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, 600L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, swallow);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_PRIVATE, (void *)number);
    return e;
}

static int
by_size(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t n = strtoul(argv[2], NULL, 10);
    double seconds = strtod(argv[3], NULL);
    size_t count = 0;
    memset(body, ' ', 600);
    struct curl_slist *lines =
        curl_slist_append(NULL, "Content-Type: application/json");
    CURLM *m = curl_multi_init();
    for (size_t i = 0; i < n && i < 4096; i++) {
        started[i] = now(CLOCK_MONOTONIC);
        curl_multi_add_handle(m, handle(argv[1], lines, i));
    }
    double end = now(CLOCK_MONOTONIC) + seconds;
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    while (now(CLOCK_MONOTONIC) < end) {
        int left;
        curl_multi_perform(m, &left);
        for (CURLMsg *msg; (msg = curl_multi_info_read(m, &left)) != NULL;) {
            CURL *e = msg->easy_handle;
            char *number = NULL;
            if (msg->data.result != CURLE_OK)
                return 1;
            curl_easy_getinfo(e, CURLINFO_PRIVATE, &number);
            double t = now(CLOCK_MONOTONIC);
            samples[count++ % MAX_SAMPLES] = (float)(t - started[(size_t)number]);
            started[(size_t)number] = t;
            curl_multi_remove_handle(m, e);
            curl_multi_add_handle(m, e);
        }
        curl_multi_poll(m, NULL, 0, 100, NULL);
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    size_t kept = count < MAX_SAMPLES ? count : MAX_SAMPLES;
    qsort(samples, kept, sizeof *samples, by_size);
    printf("%zu %.2f %.1f %.1f\n", count, cpu / (double)count * 1e6,
           samples[kept / 2] * 1e6, samples[kept * 99 / 100] * 1e6);
    return 0;
}

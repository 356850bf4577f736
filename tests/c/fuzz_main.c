/* Drives a fuzz target where no fuzzer of the compiler is at hand: random inputs,
 * many of them short and made of few different bytes, for a bounded time.
 * Understands -max_total_time=SECONDS and -seed=N, as libFuzzer does. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lb_rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
random_input(lb_rng *rng, uint8_t *data, uint32_t most)
{
    static const char alphabet[] =
        "\r\n\n :{}[],\"\\\0data:event:id:retry:0123456789-+eE";
    uint32_t longest = lb_rng_below(rng, 4) == 0 ? most : 64;
    uint32_t size = lb_rng_below(rng, longest + 1);
    bool plain = lb_rng_below(rng, 2) == 0;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t at = lb_rng_below(rng, sizeof alphabet);
        data[i] = plain ? (uint8_t)alphabet[at] : (uint8_t)lb_rng_below(rng, 256);
    }
    return size;
}

int
main(int argc, char **argv)
{
    long seconds = 10;
    lb_rng rng = {(uint64_t)time(NULL)};
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-max_total_time=", 16) == 0)
            seconds = strtol(argv[i] + 16, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            rng.state = strtoull(argv[i] + 6, NULL, 10);
    }
    printf("-seed=%llu\n", (unsigned long long)rng.state);
    fflush(stdout);
    time_t end = time(NULL) + seconds;
    unsigned long runs = 0;
    do {
        for (int i = 0; i < 1000; i++, runs++) {
            uint8_t buffer[4096];
            size_t size = random_input(&rng, buffer, sizeof buffer);
            /* A block of its own lets the sanitizer see one byte too far. */
            uint8_t *data = malloc(size > 0 ? size : 1);
            if (data == NULL)
                return 1;
            memcpy(data, buffer, size);
            (void)LLVMFuzzerTestOneInput(data, size);
            free(data);
        }
    } while (time(NULL) < end);
    printf("%lu inputs\n", runs);
    return 0;
}

#include "check.h"
#include "lb_rng.h"

#include <math.h>

static void
it_gives_the_published_numbers_of_splitmix64(void)
{
    lb_rng zero = {0}, other = {1234567};
    CHECK(lb_rng_next(&zero) == UINT64_C(0xe220a8397b1dcdaf));
    CHECK(lb_rng_next(&zero) == UINT64_C(0x6e789e6aa1b965f4));
    CHECK(lb_rng_next(&zero) == UINT64_C(0x06c45d188009454f));
    CHECK(lb_rng_next(&other) == UINT64_C(6457827717110365317));
    CHECK(lb_rng_next(&other) == UINT64_C(3203168211198807973));
    CHECK(lb_rng_next(&other) == UINT64_C(9817491932198370423));
}

static void
the_same_seed_gives_the_same_choices(void)
{
    lb_rng a = {42}, b = {42};
    for (int i = 0; i < 1000; i++)
        CHECK(lb_rng_below(&a, 1 + (uint32_t)i) == lb_rng_below(&b, 1 + (uint32_t)i));
}

static void
below_stays_below_and_is_even(void)
{
    lb_rng r = {1};
    for (uint32_t n = 1; n < 3000; n++)
        CHECK(lb_rng_below(&r, n) < n);
    CHECK_EQ(lb_rng_below(&r, 1), 0);
    CHECK(lb_rng_below(&r, UINT32_MAX) < UINT32_MAX);
    int count[7] = {0};
    for (int i = 0; i < 700000; i++)
        count[lb_rng_below(&r, 7)]++;
    double chi = 0; /* 6 degrees of freedom: 22.5 is passed once in a thousand */
    for (int i = 0; i < 7; i++)
        chi += (count[i] - 1e5) * (count[i] - 1e5) / 1e5;
    CHECK(chi < 22.5);
}

static void
unit_numbers_lie_between_zero_and_one(void)
{
    lb_rng r = {1};
    double sum = 0;
    for (int i = 0; i < 1000000; i++) {
        double u = lb_rng_unit(&r);
        CHECK(u >= 0 && u < 1);
        sum += u;
    }
    CHECK(fabs(sum / 1e6 - 0.5) < 0.002);
}

static void
mixing_is_one_to_one_and_moves_every_bit(void)
{
    CHECK(lb_mix(0) == 0);
    for (int bit = 0; bit < 64; bit++) {
        int flips = 0;
        for (uint64_t x = 1; x <= 256; x++) {
            uint64_t change = lb_mix(x) ^ lb_mix(x ^ (UINT64_C(1) << bit));
            CHECK(change != 0);
            for (; change != 0; change &= change - 1)
                flips++;
        }
        CHECK(flips > 256 * 28 && flips < 256 * 36);
    }
}

int
main(void)
{
    CHECK_RUN(it_gives_the_published_numbers_of_splitmix64);
    CHECK_RUN(the_same_seed_gives_the_same_choices);
    CHECK_RUN(below_stays_below_and_is_even);
    CHECK_RUN(unit_numbers_lie_between_zero_and_one);
    CHECK_RUN(mixing_is_one_to_one_and_moves_every_bit);
    return CHECK_DONE();
}

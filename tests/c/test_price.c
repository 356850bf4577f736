#include "lb_price.h"

#include <string.h>

#include "check.h"

static const int64_t MILLION = 1000000;

/* Input $2.50, cached input $1.25, output $10 per million tokens. */
static lb_price
three_rates(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 2500000;
    p.pico[LB_CACHE_READ] = 1250000;
    p.pico[LB_OUTPUT] = 10000000;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    return p;
}

/* $1 in, $4 out; beyond 200,000 input tokens $2 in, $6 out. */
static lb_price
long_prompts(bool marginal)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 1000000;
    p.pico[LB_OUTPUT] = 4000000;
    p.ntiers = 1;
    p.marginal = marginal;
    p.tier[0].above = 200000;
    p.tier[0].pico[LB_INPUT] = 2000000;
    p.tier[0].pico[LB_OUTPUT] = 6000000;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    return p;
}

static int64_t
cost_of(const lb_price *p, int64_t input, int64_t cached, int64_t output)
{
    lb_usage u = {{0}};
    u.count[LB_INPUT] = input;
    u.count[LB_CACHE_READ] = cached;
    u.count[LB_OUTPUT] = output;
    return lb_price_cost(p, &u);
}

static void
the_example_of_the_header_holds(void)
{
    lb_price p = three_rates();
    CHECK_EQ(cost_of(&p, 1808, 8192, 300), 17760000);
    lb_usage u = {{0}};
    u.count[LB_INPUT] = 1808;
    u.count[LB_CACHE_READ] = 8192;
    u.count[LB_OUTPUT] = 300;
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_INPUT), 4520 * MILLION);
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_CACHE_READ), 10240 * MILLION);
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_OUTPUT), 3000 * MILLION);
    CHECK_EQ((int64_t)lb_price_cost_pico(&p, &u), 17760 * MILLION);
    CHECK(!lb_price_is_guess(&p, &u));
}

static void
free_and_unknown_are_different(void)
{
    lb_price nothing = {0};
    CHECK_EQ(cost_of(&nothing, 5000, 5000, 5000), 0);
    CHECK_EQ(lb_price_estimate(&nothing, 5000, 0, 5000), 0);

    lb_price p;
    lb_price_init(&p);
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    CHECK_EQ(cost_of(&p, 1, 0, 0), LB_UNKNOWN);
    CHECK_EQ(cost_of(&p, 0, 0, 0), 0);
    CHECK_EQ(lb_price_estimate(&p, 1, 0, 0), LB_UNKNOWN);
    CHECK_EQ(lb_price_estimate(&p, 0, 0, 1), LB_UNKNOWN);
    CHECK_EQ(lb_price_estimate(&p, 1, 1, 0), LB_UNKNOWN);
    lb_usage u = {{0}};
    u.count[LB_REQUESTS] = 1;
    CHECK_EQ(lb_price_cost(&p, &u), 0);
    u.count[LB_SEARCHES] = 1;
    CHECK_EQ(lb_price_cost(&p, &u), LB_UNKNOWN);
    CHECK(lb_price_cost_pico(&p, &u) < 0);
}

static void
half_a_nano_dollar_rounds_up_once(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 499;
    p.pico[LB_OUTPUT] = 1;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    CHECK_EQ(cost_of(&p, 1, 0, 0), 0);
    CHECK_EQ(cost_of(&p, 1, 0, 1), 1); /* 499 + 1 pico: rounded as one sum */
    CHECK_EQ(lb_price_estimate(&p, 1, 0, 1), 1);
}

static void
missing_rates_are_borrowed_and_say_so(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 3;
    p.pico[LB_OUTPUT] = 15;
    p.pico[LB_CACHE_WRITE] = 4;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    CHECK_EQ(p.pico[LB_CACHE_READ], 3);
    CHECK_EQ(p.pico[LB_CACHE_WRITE], 4);
    CHECK_EQ(p.pico[LB_CACHE_WRITE_1H], 4);
    CHECK_EQ(p.pico[LB_REASONING], 15);
    CHECK_EQ(p.pico[LB_AUDIO_IN], 3);
    CHECK_EQ(p.pico[LB_AUDIO_OUT], 15);
    CHECK_EQ(p.pico[LB_IMAGE_IN], 3);
    CHECK_EQ(p.pico[LB_IMAGE_OUT], 15);
    CHECK_EQ(p.pico[LB_SEARCHES], LB_UNKNOWN);
    lb_usage u = {{0}};
    u.count[LB_REASONING] = u.count[LB_CACHE_WRITE] = 1;
    CHECK(!lb_price_is_guess(&p, &u));
    u.count[LB_CACHE_WRITE_1H] = 1;
    CHECK(lb_price_is_guess(&p, &u));
}

static void
a_long_prompt_moves_the_whole_request(void)
{
    lb_price p = long_prompts(false);
    CHECK_EQ(cost_of(&p, 200000, 0, 1000), 204 * MILLION);
    CHECK_EQ(cost_of(&p, 200001, 0, 1000), 406002000);
    CHECK_EQ(cost_of(&p, 1, 200000, 1000), 406002000); /* cached input counts */
    CHECK_EQ(lb_price_estimate(&p, 200001, 200000, 1000), 406002000);
    p.inclusive = true;
    CHECK_EQ(cost_of(&p, 199999, 0, 0), 199999000);
    CHECK_EQ(cost_of(&p, 200000, 0, 0), 400000000);
}

static void
a_marginal_price_is_dearer_only_beyond_the_threshold(void)
{
    lb_price p = long_prompts(true);
    CHECK_EQ(cost_of(&p, 200000, 0, 1000), 204 * MILLION);
    CHECK_EQ(cost_of(&p, 200001, 0, 1000), 204 * MILLION + 2000);
    CHECK_EQ(cost_of(&p, 50000, 200000, 1000), 304 * MILLION);
    CHECK_EQ(cost_of(&p, 0, 0, 300000), 1400 * MILLION);
    CHECK_EQ(lb_price_estimate(&p, 250000, 200000, 1000), 304 * MILLION);
}

static void
a_tier_takes_what_it_lacks_from_the_base_row(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 10;
    p.pico[LB_OUTPUT] = 40;
    p.pico[LB_CACHE_READ] = 1;
    p.pico[LB_REASONING] = 50;
    p.ntiers = 2;
    p.tier[0].above = 100;
    p.tier[0].pico[LB_INPUT] = 20;
    p.tier[1].above = 1000;
    p.tier[1].pico[LB_OUTPUT] = 80;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    CHECK_EQ(p.tier[0].pico[LB_CACHE_READ], 1);   /* the base row's own */
    CHECK_EQ(p.tier[0].pico[LB_CACHE_WRITE], 20); /* borrowed within the tier */
    CHECK_EQ(p.tier[0].pico[LB_OUTPUT], 40);
    CHECK_EQ(p.tier[0].pico[LB_REASONING], 50);
    CHECK_EQ(p.tier[1].pico[LB_INPUT], 10);
    CHECK_EQ(p.tier[1].pico[LB_REASONING], 80); /* follows the tier's output */
}

static void
an_uplift_raises_every_line(void)
{
    lb_price p = three_rates();
    p.uplift_ppm = 100000;
    CHECK_EQ(cost_of(&p, 1808, 8192, 300), 19536000);
    CHECK_EQ(lb_price_estimate(&p, 10000, 8192, 300), 19536000);
    p.uplift_ppm = -1000000;
    CHECK_EQ(cost_of(&p, 1808, 8192, 300), 0);
}

static void
fees_beside_tokens_are_added(void)
{
    lb_price p = three_rates();
    p.pico[LB_REQUESTS] = 5000 * MILLION; /* $0.005 */
    p.pico[LB_IMAGES] = 40000 * MILLION;
    p.pico[LB_MILLISECONDS] = 100000; /* $0.0001 a second */
    p.pico[LB_SEARCHES] = 10000 * MILLION;
    lb_usage u = {{0}};
    u.count[LB_REQUESTS] = 1;
    u.count[LB_IMAGES] = 2;
    u.count[LB_MILLISECONDS] = 1500;
    u.count[LB_SEARCHES] = 3;
    CHECK_EQ(lb_price_cost(&p, &u), (5000 + 80000 + 30000) * 1000 + 150000);
    CHECK_EQ(lb_price_estimate(&p, 0, 0, 0), 5 * MILLION);
}

static void
bad_rates_are_refused_by_kind(void)
{
    int bad = -1;
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_OUTPUT] = LB_PRICE_MAX_TOKEN + 1;
    CHECK_EQ(lb_price_complete(&p, &bad), LB_EINVAL);
    CHECK_EQ(bad, LB_OUTPUT);
    p.pico[LB_OUTPUT] = -1;
    CHECK_EQ(lb_price_complete(&p, &bad), LB_EINVAL);
    CHECK_EQ(bad, LB_OUTPUT);
    p.pico[LB_OUTPUT] = LB_PRICE_MAX_TOKEN;
    p.ntiers = 2;
    p.tier[0].above = p.tier[1].above = 1000;
    CHECK_EQ(lb_price_complete(&p, &bad), LB_EINVAL);
    CHECK_EQ(bad, LB_NKINDS);
    p.tier[1].above = 2000;
    p.tier[1].pico[LB_AUDIO_IN] = -7;
    CHECK_EQ(lb_price_complete(&p, &bad), LB_EINVAL);
    CHECK_EQ(bad, LB_AUDIO_IN);
    p.tier[1].pico[LB_AUDIO_IN] = 7;
    p.uplift_ppm = -1000001;
    CHECK_EQ(lb_price_complete(&p, &bad), LB_EINVAL);
    CHECK_EQ(bad, LB_NKINDS);
}

/* Every corner is asked for what 128-bit arithmetic could get wrong. */
static void
the_dearest_call_a_million_times_over_does_not_overflow(void)
{
    lb_price p;
    lb_price_init(&p);
    for (int k = 0; k < LB_NTOKENS; k++)
        p.pico[k] = LB_PRICE_MAX_TOKEN;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    const int64_t most = INT64_C(1) << 31;
    CHECK_EQ(cost_of(&p, most, 0, 0), most * MILLION);
    lb_usage u = {{0}};
    u.count[LB_INPUT] = most;
    lb_pico million = lb_price_cost_pico(&p, &u) * 1000000;
    CHECK_EQ((int64_t)(million >> 31), 1000 * MILLION * MILLION);

    for (int k = 0; k < LB_NKINDS; k++)
        u.count[k] = INT64_MAX;
    for (int k = LB_NTOKENS; k < LB_NKINDS; k++)
        p.pico[k] = LB_PRICE_MAX_UNIT;
    p.uplift_ppm = INT32_MAX;
    CHECK_EQ(lb_price_cost(&p, &u), INT64_MAX);
    CHECK(lb_price_cost_pico(&p, &u) > 0);
    p.marginal = true;
    p.ntiers = 1;
    p.tier[0].above = INT64_MAX;
    CHECK_EQ(lb_price_cost(&p, &u), INT64_MAX);
    p = (lb_price){.ntiers = 0};
    for (int k = 0; k < LB_NTOKENS; k++)
        p.pico[k] = LB_PRICE_MAX_TOKEN;
    CHECK_EQ(lb_price_estimate(&p, INT64_MAX, 5, INT64_MAX), 2 * MILLION * INT32_MAX);
}

static void
a_line_is_one_kind_of_the_bill(void)
{
    lb_price p = long_prompts(true);
    lb_usage u = {{0}};
    u.count[LB_INPUT] = 50000;
    u.count[LB_CACHE_READ] = 200000;
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_INPUT), 100000 * MILLION);
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_CACHE_READ), 200000 * MILLION);
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_OUTPUT), 0);
    p.marginal = false;
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_INPUT), 100000 * MILLION);
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_CACHE_READ), 400000 * MILLION);
    p.pico[LB_IMAGES] = 7;
    u.count[LB_IMAGES] = u.count[LB_SEARCHES] = 2;
    CHECK_EQ((int64_t)lb_price_line(&p, &u, LB_IMAGES), 14);
    CHECK(lb_price_line(&p, &u, LB_SEARCHES) < 0);
}

static void
an_unknown_rate_is_unknown_in_every_tier(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = 1;
    p.ntiers = 1;
    p.tier[0].above = 100;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    for (int marginal = 0; marginal < 2; marginal++) {
        p.marginal = marginal != 0;
        CHECK_EQ(cost_of(&p, 50, 0, 1), LB_UNKNOWN);
        CHECK_EQ(cost_of(&p, 150, 0, 101), LB_UNKNOWN);
        CHECK_EQ(lb_price_estimate(&p, 150, 0, 1), LB_UNKNOWN);
        CHECK_EQ(cost_of(&p, 499, 0, 0), 0);
    }
}

static void
negative_counts_cost_nothing(void)
{
    lb_price p = long_prompts(true);
    CHECK_EQ(cost_of(&p, -5, -5, -5), 0);
    p.marginal = false;
    CHECK_EQ(cost_of(&p, -5, -5, -5), 0);
    CHECK_EQ(lb_price_estimate(&p, -5, -5, -5), 0);
}

static int64_t
parsed(const char *text, int shift)
{
    int64_t pico = -2;
    return lb_price_parse(text, shift, &pico) == LB_OK ? pico : -1;
}

static void
dollars_are_read_by_their_digits(void)
{
    CHECK_EQ(parsed("2.50", 6), 2500000);
    CHECK_EQ(parsed("0.075", 6), 75000);
    CHECK_EQ(parsed("0.0013", 6), 1300);
    CHECK_EQ(parsed("15", 6), 15000000);
    CHECK_EQ(parsed("2.5e-06", 12), 2500000);
    CHECK_EQ(parsed("2.5E-06", 12), 2500000);
    CHECK_EQ(parsed("2.9999900000000002e-06", 12), 2999990);
    CHECK_EQ(parsed("0.00000000000000000000000015e+14", 12), 15);
    CHECK_EQ(parsed("+.5", 0), 1);
    CHECK_EQ(parsed("0.49999", 0), 0);
    CHECK_EQ(parsed("5.", 0), 5);
    CHECK_EQ(parsed("0e999999999", 12), 0);
    CHECK_EQ(parsed("9e-999999999", 12), 0);
    CHECK_EQ(parsed("9223372036854775807", 0), INT64_MAX);
    CHECK_EQ(parsed("123456789012345678901234567890e-20", 0), 1234567890);
}

static void
what_is_no_amount_is_refused(void)
{
    static const char *const wrong[] = {"",      "-1",  ".",   "+",     "1e",
                                        "1e+",   "1 ",  " 1",  "1.2.3", "$3",
                                        "1,000", "nan", "inf", "0x10",  "1e19"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQ(parsed(wrong[i], 0), -1);
    CHECK_EQ(parsed("10000000", 12), -1);
    CHECK_EQ(parsed("9223372036854775808", 0), -1);
}

static void
an_estimate_needs_only_the_rates_that_its_counts_meet(void)
{
    lb_price p;
    lb_price_init(&p);
    CHECK_EQ(lb_price_estimate(&p, 0, 0, 0), 0);
    CHECK_EQ(lb_price_estimate(&p, 1, 0, 0), LB_UNKNOWN);
    CHECK_EQ(lb_price_estimate(&p, 1, 1, 0), LB_UNKNOWN);
    CHECK_EQ(lb_price_estimate(&p, 0, 0, 1), LB_UNKNOWN);
    p.pico[LB_CACHE_READ] = 1000;
    CHECK_EQ(lb_price_estimate(&p, 7, 7, 0), 7);
    lb_usage u = {.count = {[LB_INPUT] = 1}};
    CHECK(lb_price_line(&p, &u, LB_INPUT) < 0);
}

static void
a_price_is_checked_and_completed_without_a_place_for_the_flaw(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = -5;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_EINVAL);
    p.pico[LB_INPUT] = 1;
    p.pico[LB_REQUESTS] = 3;
    p.ntiers = LB_PRICE_TIERS + 1;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_EINVAL);
    p.ntiers = 1;
    p.tier[0].above = 10;
    p.tier[0].pico[LB_OUTPUT] = -5;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_EINVAL);
    p.pico[LB_INPUT] = -5; /* and the base row as well */
    CHECK_EQ(lb_price_complete(&p, NULL), LB_EINVAL);
    p.pico[LB_INPUT] = 1;
    p.ntiers = 0;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    CHECK_EQ(p.pico[LB_REQUESTS], 3);
}

static void
a_bill_beyond_all_measure_stops_at_the_most(void)
{
    lb_price p;
    lb_price_init(&p);
    p.pico[LB_INPUT] = LB_PRICE_MAX_TOKEN;
    CHECK_EQ(lb_price_complete(&p, NULL), LB_OK);
    lb_usage u = {.count = {[LB_INPUT] = INT64_MAX / 1000}};
    CHECK_EQ(lb_price_cost(&p, &u), INT64_MAX);
}

static void
kinds_have_names(void)
{
    for (int k = 0; k < LB_NKINDS; k++)
        CHECK(lb_kind_name(k) != NULL && strlen(lb_kind_name(k)) > 0);
    CHECK(lb_kind_name(-1) == NULL);
    CHECK(lb_kind_name(LB_NKINDS) == NULL);
}

int
main(void)
{
    CHECK_RUN(the_example_of_the_header_holds);
    CHECK_RUN(free_and_unknown_are_different);
    CHECK_RUN(half_a_nano_dollar_rounds_up_once);
    CHECK_RUN(missing_rates_are_borrowed_and_say_so);
    CHECK_RUN(a_long_prompt_moves_the_whole_request);
    CHECK_RUN(a_marginal_price_is_dearer_only_beyond_the_threshold);
    CHECK_RUN(a_tier_takes_what_it_lacks_from_the_base_row);
    CHECK_RUN(an_uplift_raises_every_line);
    CHECK_RUN(fees_beside_tokens_are_added);
    CHECK_RUN(bad_rates_are_refused_by_kind);
    CHECK_RUN(the_dearest_call_a_million_times_over_does_not_overflow);
    CHECK_RUN(a_line_is_one_kind_of_the_bill);
    CHECK_RUN(an_unknown_rate_is_unknown_in_every_tier);
    CHECK_RUN(negative_counts_cost_nothing);
    CHECK_RUN(dollars_are_read_by_their_digits);
    CHECK_RUN(what_is_no_amount_is_refused);
    CHECK_RUN(an_estimate_needs_only_the_rates_that_its_counts_meet);
    CHECK_RUN(a_price_is_checked_and_completed_without_a_place_for_the_flaw);
    CHECK_RUN(a_bill_beyond_all_measure_stops_at_the_most);
    CHECK_RUN(kinds_have_names);
    return CHECK_DONE();
}

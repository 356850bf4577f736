#include "check.h"
#include "lb_tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *
bytes(const char *s)
{
    return (const uint8_t *)s;
}

static double
full(enum lb_tok_family f, const char *s)
{
    return (double)lb_tokens_full(f, bytes(s), strlen(s)) / LB_TOK_ONE;
}

static double
table(enum lb_tok_family f, const char *s)
{
    return (double)lb_tokens_bytes(f, bytes(s), strlen(s)) / LB_TOK_ONE;
}

static void
no_text_has_no_tokens(void)
{
    uint64_t out[LB_TOK_LANES];
    memset(out, 0xFF, sizeof out);
    lb_tokens_bytes_all(NULL, 0, out);
    for (int k = 0; k < LB_TOK_LANES; k++)
        CHECK_EQ((int64_t)out[k], 0);
    CHECK_EQ((int64_t)lb_tokens_full(LB_TOK_O200K, NULL, 0), 0);
    CHECK_EQ((int64_t)lb_tokens_chars(NULL, 0), 0);
}

static void
every_weight_fits_fourteen_bits_and_the_spare_lanes_stay_empty(void)
{
    for (int b = 0; b < 256; b++) {
        uint8_t one = (uint8_t)b;
        uint64_t out[LB_TOK_LANES];
        lb_tokens_bytes_all(&one, 1, out);
        for (int k = 0; k < LB_TOK_LANES; k++)
            CHECK(out[k] < 1 << 14);
        for (int k = LB_TOK_NFAMILIES; k < LB_TOK_LANES; k++)
            CHECK_EQ((int64_t)out[k], 0);
    }
}

static void
the_byte_table_is_the_sum_of_its_bytes_whatever_the_length(void)
{
    const size_t n = 3 * 65536 + 7; /* several blocks and a ragged end */
    uint8_t *s = malloc(n);
    CHECK(s != NULL);
    uint64_t sum[LB_TOK_LANES] = {0}, out[LB_TOK_LANES];
    for (size_t i = 0; i < n; i++) {
        s[i] = (uint8_t)(i * 2654435761U >> 13);
        lb_tokens_bytes_all(s + i, 1, out);
        for (int k = 0; k < LB_TOK_LANES; k++)
            sum[k] += out[k];
        if (i < 40 || i == 65535 || i == 65536 || i == n - 1) {
            lb_tokens_bytes_all(s, i + 1, out);
            CHECK(memcmp(out, sum, sizeof out) == 0);
        }
    }
    CHECK_EQ((int64_t)lb_tokens_bytes(LB_TOK_LLAMA, s, n), (int64_t)sum[LB_TOK_LLAMA]);
    free(s);
}

static void
a_block_of_the_heaviest_bytes_does_not_overflow(void)
{
    const size_t n = 1 << 17;
    uint8_t *s = malloc(n);
    CHECK(s != NULL);
    for (int b = 0; b < 256; b++) {
        uint64_t one[LB_TOK_LANES], all[LB_TOK_LANES];
        memset(s, b, n);
        lb_tokens_bytes_all(s, 1, one);
        lb_tokens_bytes_all(s, n, all);
        for (int k = 0; k < LB_TOK_LANES; k++)
            CHECK(all[k] == one[k] * n);
    }
    free(s);
}

/* Exact counts by the vocabularies themselves, for texts written here. */
static void
the_full_model_is_close_on_plain_texts(void)
{
    static const struct {
        const char *text;
        double o200k, cl100k;
    } known[] = {
        {"The quick brown fox jumps over the lazy dog.", 10, 10},
        {"Please summarise the following article in three short sentences and "
         "explain why it matters to a small company.",
         20, 20},
        {"def add(a, b):\n    return a + b\n", 12, 12},
        {"1234567890 1234567890", 9, 9},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CHECK(fabs(full(LB_TOK_O200K, known[i].text) / known[i].o200k - 1) < 0.25);
        CHECK(fabs(full(LB_TOK_CL100K, known[i].text) / known[i].cl100k - 1) < 0.25);
    }
}

static void
families_differ_where_their_vocabularies_do(void)
{
    const char *hindi = "नमस्ते दुनिया, आप कैसे हैं? यह एक लंबा वाक्य है।";
    const char *english = "Explain the difference between a process and a thread.";
    CHECK(table(LB_TOK_CL100K, hindi) > 1.7 * table(LB_TOK_O200K, hindi));
    CHECK(full(LB_TOK_CL100K, hindi) > 1.7 * full(LB_TOK_O200K, hindi));
    CHECK(fabs(full(LB_TOK_CL100K, english) / full(LB_TOK_O200K, english) - 1) < 0.1);
    CHECK(full(LB_TOK_CLAUDE_NEW, english) > 1.2 * full(LB_TOK_CLAUDE, english));
    CHECK(full(LB_TOK_GEMINI, "1234567890") > 1.8 * full(LB_TOK_O200K, "1234567890"));
}

static void
every_kind_of_run_adds_something(void)
{
    static const char *pairs[][2] = {
        {"word", "word word"},
        {"Word", "Word Word"},
        {"WORD", "WORD WORD"},
        {"x1", "x1 1"},
        {"a.", "a.b."},
        {"a ", "a  "},
        {"a", "a\n"},
        {"a\n", "a\n\t"},
        {"12", "1234"},
        {"exampl", "examples"},
        {"examplesof", "examplesofit"},
        {"été", "été été"},
        {"grün word", "grün word word"},
        {"grün Wo", "grün Wo Wo"},
        {"abcDe", "abcDeABCDEF"},
        {"x1a", "x1aÀàb"},
        {"a", " 1"},
        {"x-", "x-1"},
        {"\n", "\n\n  "},

        {"é", "é中"},
        {"a. b", "a.\nb"},
        {"a; b", "a;\n    b"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        CHECK(full(LB_TOK_O200K, pairs[i][1]) > full(LB_TOK_O200K, pairs[i][0]));
}

static void
an_accent_is_forgotten_after_a_while_and_a_lone_capital_is_a_shout(void)
{
    const char *gap = "1234567 1234567 1234567 1234567 1234567 1234567 1234567 12345 ";
    char near[128], far[160];
    (void)snprintf(near, sizeof near, "é %sWort", "");
    (void)snprintf(far, sizeof far, "é 1234567 %sWort", gap);
    double tail_near = full(LB_TOK_O200K, near) - full(LB_TOK_O200K, "é ");
    double tail_far = full(LB_TOK_O200K, far);
    far[strlen(far) - 4] = '\0';
    tail_far -= full(LB_TOK_O200K, far);
    CHECK(fabs(tail_near - tail_far) > 0.01);
    CHECK(full(LB_TOK_O200K, "A") != full(LB_TOK_O200K, "Aa"));
    CHECK(full(LB_TOK_O200K, "\xC2\xAB") > 0);
    CHECK(full(LB_TOK_O200K, "中") > 0);
}

static void
characters_are_counted_not_bytes(void)
{
    const char *s = "aé中😀";
    CHECK_EQ((int64_t)strlen(s), 10);
    CHECK_EQ((int64_t)lb_tokens_chars(bytes(s), strlen(s)), 4);
}

static void
chat_format_costs_by_request_and_message(void)
{
    CHECK_EQ(lb_tokens_whole(lb_tokens_overhead(LB_TOK_O200K, 1)), 7);
    CHECK_EQ(lb_tokens_whole(lb_tokens_overhead(LB_TOK_CL100K, 3)), 15);
    CHECK_EQ(lb_tokens_whole(lb_tokens_overhead(LB_TOK_CLAUDE, 1)), 7);
    CHECK_EQ(lb_tokens_whole(lb_tokens_overhead(LB_TOK_GEMINI, 2)), 2);
    CHECK_EQ(lb_tokens_whole(lb_tokens_overhead(LB_TOK_LLAMA, 0)), 0);
    CHECK_EQ(lb_tokens_tools(LB_TOK_CLAUDE_NEW), 346);
    CHECK_EQ(lb_tokens_tools(LB_TOK_CLAUDE), 346);
    CHECK_EQ(lb_tokens_tools(LB_TOK_O200K), 0);
}

static void
whole_tokens_are_the_nearest(void)
{
    CHECK_EQ(lb_tokens_whole(0), 0);
    CHECK_EQ(lb_tokens_whole(LB_TOK_ONE / 2 - 1), 0);
    CHECK_EQ(lb_tokens_whole(LB_TOK_ONE / 2), 1);
    CHECK_EQ(lb_tokens_whole(UINT64_MAX), INT64_C(1) << 52);
}

static void
pictures_cost_by_their_vendors_formulas(void)
{
    enum lb_tok_detail high = LB_DETAIL_HIGH, low = LB_DETAIL_LOW;
    CHECK_EQ(lb_tokens_image(LB_TOK_O200K, 1024, 1024, high), 765);
    CHECK_EQ(lb_tokens_image(LB_TOK_O200K, 2048, 4096, high), 1105);
    CHECK_EQ(lb_tokens_image(LB_TOK_CL100K, 4096, 8192, low), 85);
    CHECK_EQ(lb_tokens_image(LB_TOK_CLAUDE, 512, 512, high), 361);
    CHECK_EQ(lb_tokens_image(LB_TOK_CLAUDE, 1280, 720, high), 1196);
    CHECK_EQ(lb_tokens_image(LB_TOK_CLAUDE, 4032, 3024, high), 1568);
    CHECK_EQ(lb_tokens_image(LB_TOK_CLAUDE_NEW, 1920, 1080, high), 2691);
    CHECK_EQ(lb_tokens_image(LB_TOK_GEMINI, 384, 384, high), 258);
    CHECK_EQ(lb_tokens_image(LB_TOK_GEMINI, 960, 540, high), 6 * 258);
    CHECK_EQ(lb_tokens_image(LB_TOK_GEMINI, 960, 540, low), 258);
    CHECK_EQ(lb_tokens_image(LB_TOK_LLAMA, 336, 336, high), 288);
}

static void
absurd_pictures_stay_in_range(void)
{
    static const int32_t sides[] = {INT32_MIN, -1, 0, 1, 384, 1 << 20, INT32_MAX};
    const int64_t most = INT64_C(258) << 32; /* 2^20 by 1: thin crops of 256 */
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        for (int i = 0; i < 7; i++)
            for (int j = 0; j < 7; j++) {
                int64_t t = lb_tokens_image((enum lb_tok_family)f, sides[i], sides[j],
                                            LB_DETAIL_AUTO);
                CHECK(t >= 1 && t < most);
            }
}

static void
sound_and_pages_cost_where_they_are_taken(void)
{
    CHECK_EQ(lb_tokens_audio(LB_TOK_O200K, 1000), 10);
    CHECK_EQ(lb_tokens_audio(LB_TOK_CL100K, 1), 1);
    CHECK_EQ(lb_tokens_audio(LB_TOK_GEMINI, 60000), 1920);
    CHECK_EQ(lb_tokens_audio(LB_TOK_CLAUDE, 60000), 0);
    CHECK_EQ(lb_tokens_audio(LB_TOK_GEMINI, -5), 0);
    CHECK_EQ(lb_tokens_audio(LB_TOK_GEMINI, INT64_MAX), INT64_C(32) * 86400);
    CHECK_EQ(lb_tokens_page(LB_TOK_GEMINI), 258);
    CHECK_EQ(lb_tokens_page(LB_TOK_CLAUDE), 2000);
    CHECK_EQ(lb_tokens_page(LB_TOK_CLAUDE_NEW), 2000);
    CHECK_EQ(lb_tokens_page(LB_TOK_LLAMA), 1000);
}

static void
the_ratio_settles_on_what_is_billed(void)
{
    float ratio = 0;
    CHECK(lb_tokens_calibrate(&ratio, 1000, 1000) == 1.0F);
    for (int i = 0; i < 60; i++)
        (void)lb_tokens_calibrate(&ratio, 1000, 1300);
    CHECK(fabsf(ratio - 1.3F) < 0.01F);
    (void)lb_tokens_calibrate(&ratio, 1000, 100000);
    CHECK(ratio > 1.3F && ratio < 2.1F);
}

static void
the_ratio_is_clamped_and_learns_nothing_from_nothing(void)
{
    float ratio = 1;
    for (int i = 0; i < 500; i++)
        (void)lb_tokens_calibrate(&ratio, 1, INT64_MAX);
    CHECK(ratio == 4.0F);
    for (int i = 0; i < 500; i++)
        (void)lb_tokens_calibrate(&ratio, INT64_MAX, 1);
    CHECK(ratio == 0.25F);
    CHECK(lb_tokens_calibrate(&ratio, 0, 10) == 0.25F);
    CHECK(lb_tokens_calibrate(&ratio, 10, 0) == 0.25F);
    CHECK(lb_tokens_calibrate(&ratio, -1, -1) == 0.25F);
    ratio = NAN;
    CHECK(lb_tokens_calibrate(&ratio, 0, 0) == 1.0F);
}

int
main(void)
{
    CHECK_RUN(no_text_has_no_tokens);
    CHECK_RUN(every_weight_fits_fourteen_bits_and_the_spare_lanes_stay_empty);
    CHECK_RUN(the_byte_table_is_the_sum_of_its_bytes_whatever_the_length);
    CHECK_RUN(a_block_of_the_heaviest_bytes_does_not_overflow);
    CHECK_RUN(the_full_model_is_close_on_plain_texts);
    CHECK_RUN(families_differ_where_their_vocabularies_do);
    CHECK_RUN(every_kind_of_run_adds_something);
    CHECK_RUN(an_accent_is_forgotten_after_a_while_and_a_lone_capital_is_a_shout);
    CHECK_RUN(characters_are_counted_not_bytes);
    CHECK_RUN(chat_format_costs_by_request_and_message);
    CHECK_RUN(whole_tokens_are_the_nearest);
    CHECK_RUN(pictures_cost_by_their_vendors_formulas);
    CHECK_RUN(absurd_pictures_stay_in_range);
    CHECK_RUN(sound_and_pages_cost_where_they_are_taken);
    CHECK_RUN(the_ratio_settles_on_what_is_billed);
    CHECK_RUN(the_ratio_is_clamped_and_learns_nothing_from_nothing);
    return CHECK_DONE();
}

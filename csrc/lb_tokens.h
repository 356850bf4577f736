/* lb_tokens.h - how many tokens a text will be billed as, without a vocabulary.
 *
 * A tokenizer's vocabulary is megabytes and its merge loop runs at 4 MB/s.  A
 * router only has to know whether a prompt fits a limit and which backend is
 * cheaper for it, so a weight per byte is enough: rare letters and the lead
 * bytes of dense scripts weigh more, the letters inside words less.
 *
 *     text     H     e    l    l    o    ,         w    o    r    l    d
 *     weight   1.07  .17  .19  .19  .05  .27  .09  .24  .05  .02  .19  .42
 *                                              sum 2.92; truth 3
 *
 * Two models, both integer sums in units of 1/4096 token:
 *
 *   byte table  sum of byte[b]; all families in one pass, about a cycle a byte
 *   full        sum of weight[b] + run[r] for every run of letters, digits,
 *               punctuation or space, which is where tokenizers really cut
 *
 * Each family has its own table, because scripts differ two- to threefold
 * between vocabularies.  How the tables were fitted, and how far they are off,
 * stands in lb_tokens_tables.h.  What remains (tools, private renderings, a
 * model's own tokenizer) is learned per backend from billed usage by
 * lb_tokens_calibrate().
 *
 * Pictures, sound and pages cost tokens by their vendors' published formulas;
 * those marked "assumed" are not documented anywhere we could check.
 *
 * Texts are weighed in lb_tokens.c, all else is counted in lb_tokens_parts.c.
 */
#ifndef LB_TOKENS_H
#define LB_TOKENS_H

#include <stddef.h>

#include "lb_base.h"

enum lb_tok_family {
    LB_TOK_O200K,      /* OpenAI since gpt-4o; also the default for the unknown */
    LB_TOK_CL100K,     /* OpenAI gpt-3.5, gpt-4, text-embedding-3 */
    LB_TOK_CLAUDE,     /* Anthropic up to 4.6 */
    LB_TOK_CLAUDE_NEW, /* Anthropic from 4.7: 1.0 to 1.35 times as many */
    LB_TOK_GEMINI,     /* Google Gemini and Gemma */
    LB_TOK_LLAMA,      /* Llama 3 and later, and what is served like it */
    LB_TOK_NFAMILIES,
};

#define LB_TOK_ONE   4096 /* one token in the units of every text estimate */
#define LB_TOK_LANES 8    /* families, padded to one vector register */

enum lb_tok_detail {
    LB_DETAIL_AUTO, /* what the provider does when nothing is asked: high */
    LB_DETAIL_LOW,
    LB_DETAIL_HIGH,
};

/* Estimate `n` bytes of UTF-8 by the byte table for every family at once:
 * out[f] is set to the sum in 1/4096 token, the spare lanes to 0.  Any bytes
 * are fine, n 0 too; exact for n < 2^50. */
void lb_tokens_bytes_all(const uint8_t *s, size_t n, uint64_t out[LB_TOK_LANES]);

/* The same for one family; it costs as much as all of them. */
uint64_t lb_tokens_bytes(enum lb_tok_family f, const uint8_t *s, size_t n);

/* Estimate by the full model, in 1/4096 token: a third closer on average, and
 * ten times slower or more. */
uint64_t lb_tokens_full(enum lb_tok_family f, const uint8_t *s, size_t n);

/* Code points in `n` bytes of valid UTF-8 (bytes that do not continue one).
 * OpenAI's limiter charges ceil(chars / 4) at admission, not true tokens. */
size_t lb_tokens_chars(const uint8_t *s, size_t n);

/* What the chat format adds, in 1/4096 token: so much a request plus so much a
 * message.  `messages` 0 (an embedding, a bare completion) adds nothing. */
uint64_t lb_tokens_overhead(enum lb_tok_family f, uint32_t messages);

/* Tokens of the text a provider puts before the prompt when tools are offered:
 * Claude 346 (published for tool_choice auto), others 0 (private). */
int64_t lb_tokens_tools(enum lb_tok_family f);

/* 1/4096 tokens to whole ones, to the nearest; at most INT64_MAX. */
int64_t lb_tokens_whole(uint64_t q12);

/* Tokens of one picture of `w` by `h` pixels; both in [1, 2^20], else clipped.
 *   o200k, cl100k  85 + 170 a 512-pixel tile, after fitting into 2048 and the
 *                  short side into 768; low detail 85
 *   claude         one a 28-pixel patch after fitting into 1568 pixels and
 *                  1568 patches (from 4.7: 2576 and 4784); detail is ignored
 *   gemini         258 if both sides <= 384, else 258 a tile of a crop of
 *                  two thirds of the short side, 256 to 768; low detail 258
 *   llama          144 a 336-pixel tile, at most 16, and 144 more (assumed)
 * OpenAI's mini, nano and newest models count 32-pixel patches by a factor of
 * each model instead; for them the learned ratio has to make up the difference. */
int64_t lb_tokens_image(enum lb_tok_family f, int32_t w, int32_t h,
                        enum lb_tok_detail detail);

/* Tokens of `ms` milliseconds of sound: OpenAI 10 a second, Gemini 32, others
 * (which take none) 0. */
int64_t lb_tokens_audio(enum lb_tok_family f, int64_t ms);

/* Tokens of one page of a PDF: Gemini 258; Claude 2,000 (text and picture, the
 * middle of the published 1,500 to 3,000 for the text); others 1,000 (assumed). */
int64_t lb_tokens_page(enum lb_tok_family f);

/* Pull `*ratio` (billed tokens per estimated one) towards the truth of a call
 * that was estimated at `est` and billed `billed` tokens:
 *
 *     ratio <- ratio * (billed / (est * ratio)) ^ 0.1,  kept in [0.25, 4]
 *
 * so that one odd prompt moves it a tenth of the way and thirty calls settle
 * it.  `est` or `billed` <= 0 teaches nothing.  A ratio of 0 counts as 1, so
 * that an all-zero record is a fresh one.  Returns the new ratio. */
float lb_tokens_calibrate(float *ratio, int64_t est, int64_t billed);

#endif /* LB_TOKENS_H */

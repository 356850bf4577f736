/* fuzz_tokens.c - any bytes are a text and any bytes are a picture: no estimate
 * may read out of bounds, overflow or contradict its own sum. */
#include "lb_media.h"
#include "lb_tokens.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *s, size_t n);

static void
require(bool holds)
{
    if (!holds)
        abort();
}

static void
check_media(lb_media m)
{
    require(m.w >= 0 && m.h >= 0 && m.w <= 1 << 20 && m.h <= 1 << 20);
    require((m.w == 0) == (m.h == 0));
    require(m.ms >= 0 && m.pages >= 0 && m.bytes >= 0);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++) {
        enum lb_tok_family family = (enum lb_tok_family)f;
        require(lb_tokens_image(family, m.w, m.h, LB_DETAIL_AUTO) > 0);
        require(lb_tokens_audio(family, m.ms) >= 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *s, size_t n)
{
    uint64_t all[LB_TOK_LANES], head[LB_TOK_LANES], tail[LB_TOK_LANES];
    size_t half = n / 2;
    lb_tokens_bytes_all(s, n, all);
    lb_tokens_bytes_all(s, half, head);
    lb_tokens_bytes_all(s + half, n - half, tail);
    for (int f = 0; f < LB_TOK_LANES; f++)
        require(all[f] == head[f] + tail[f]);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++) {
        uint64_t full = lb_tokens_full((enum lb_tok_family)f, s, n);
        require(full <= (uint64_t)n * 8 * LB_TOK_ONE);
    }
    require(lb_tokens_chars(s, n) <= n);
    check_media(lb_media_uri(s, n));
    for (int kind = LB_MEDIA_NONE; kind <= LB_MEDIA_OTHER; kind++)
        check_media(lb_media_base64((enum lb_media_kind)kind, s, n));
    return 0;
}

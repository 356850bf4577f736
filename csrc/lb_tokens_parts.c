#include "lb_tokens.h"

#include <math.h>

uint64_t
lb_tokens_overhead(enum lb_tok_family f, uint32_t messages)
{
    static const struct {
        uint8_t request, message;
    } chat[LB_TOK_NFAMILIES] = {
        [LB_TOK_O200K] = {3, 4},  [LB_TOK_CL100K] = {3, 4},
        [LB_TOK_CLAUDE] = {5, 2}, [LB_TOK_CLAUDE_NEW] = {7, 2},
        [LB_TOK_GEMINI] = {0, 1}, [LB_TOK_LLAMA] = {5, 5},
    };
    if (messages == 0)
        return 0;
    return LB_TOK_ONE * (chat[f].request + (uint64_t)chat[f].message * messages);
}

int64_t
lb_tokens_tools(enum lb_tok_family f)
{
    return f == LB_TOK_CLAUDE || f == LB_TOK_CLAUDE_NEW ? 346 : 0;
}

int64_t
lb_tokens_whole(uint64_t q12)
{
    return (int64_t)(q12 / LB_TOK_ONE + (q12 % LB_TOK_ONE >= LB_TOK_ONE / 2));
}

/* ---- pictures, sound, pages ---------------------------------------------- */

typedef struct size {
    double w, h;
} size;

static int64_t
tiles(double length, double tile)
{
    return (int64_t)ceil(length / tile);
}

static size
clipped(int32_t w, int32_t h)
{
    const double most = 1 << 20;
    return (size){fmin(fmax(w, 1), most), fmin(fmax(h, 1), most)};
}

/* Scale down, never up, until the long side is at most `edge`. */
static size
fit_long(size p, double edge)
{
    double k = fmin(1, edge / fmax(p.w, p.h));
    return (size){p.w * k, p.h * k};
}

static int64_t
openai_image(size p, enum lb_tok_detail detail)
{
    if (detail == LB_DETAIL_LOW)
        return 85;
    p = fit_long(p, 2048);
    double k = fmin(1, 768 / fmin(p.w, p.h));
    return 85 + 170 * tiles(p.w * k, 512) * tiles(p.h * k, 512);
}

static int64_t
patched(size p, double side, int64_t most)
{
    int64_t n = tiles(p.w, side) * tiles(p.h, side);
    return n < most ? n : most;
}

static int64_t
gemini_image(size p, enum lb_tok_detail detail)
{
    const int64_t tile = 258;
    if (detail == LB_DETAIL_LOW || (p.w <= 384 && p.h <= 384))
        return tile;
    double crop = fmin(fmax(floor(fmin(p.w, p.h) / 1.5), 256), 768);
    return tile * tiles(p.w, crop) * tiles(p.h, crop);
}

int64_t
lb_tokens_image(enum lb_tok_family f, int32_t w, int32_t h, enum lb_tok_detail detail)
{
    size p = clipped(w, h);
    switch (f) {
    case LB_TOK_CLAUDE:
        return patched(fit_long(p, 1568), 28, 1568);
    case LB_TOK_CLAUDE_NEW:
        return patched(fit_long(p, 2576), 28, 4784);
    case LB_TOK_GEMINI:
        return gemini_image(p, detail);
    case LB_TOK_LLAMA:
        return 144 + 144 * patched(p, 336, 16);
    default:
        return openai_image(p, detail);
    }
}

int64_t
lb_tokens_audio(enum lb_tok_family f, int64_t ms)
{
    const int64_t day = 86400000; /* longer is a bad header, not a recording */
    int64_t t = lb_min(lb_max(ms, 0), day);
    switch (f) {
    case LB_TOK_GEMINI:
        return (t * 32 + 999) / 1000;
    case LB_TOK_O200K:
    case LB_TOK_CL100K:
        return (t * 10 + 999) / 1000;
    default:
        return 0;
    }
}

int64_t
lb_tokens_page(enum lb_tok_family f)
{
    switch (f) {
    case LB_TOK_GEMINI:
        return 258;
    case LB_TOK_CLAUDE:
    case LB_TOK_CLAUDE_NEW:
        return 2000;
    default:
        return 1000;
    }
}

/* ---- calibration --------------------------------------------------------- */

/* x^0.1; near 1, where almost all bills are, by the binomial series to eight digits. */
static double
tenth_root(double x)
{
    double d = x - 1;
    if (fabs(d) > 0.125)
        return pow(x, 0.1);
    return 1 +
           d * (0.1 + d * (-0.045 +
                           d * (0.0285 + d * (-0.0206625 +
                                              d * (0.01611675 - d * 0.0131620125)))));
}

float
lb_tokens_calibrate(float *ratio, int64_t est, int64_t billed)
{
    if (!(*ratio > 0))
        *ratio = 1;
    if (est > 0 && billed > 0) {
        double r = (double)*ratio;
        r *= tenth_root((double)billed / ((double)est * r));
        *ratio = (float)(r < 0.25 ? 0.25 : r > 4 ? 4 : r);
    }
    return *ratio;
}

#include "lb_tokens.h"

#include <math.h>
#include <string.h>

#include "lb_tokens_tables.h"

/* A row of the table is one vector register; compilers that do not see that in loops
 * over its lanes are told by these types. */
typedef uint16_t row __attribute__((vector_size(2 * LB_TOK_LANES)));
typedef uint32_t halves __attribute__((vector_size(2 * LB_TOK_LANES)));

static inline row
row_of(uint8_t byte)
{
    row r;
    memcpy(&r, tok_byte[byte], sizeof r);
    return r;
}

/* Four weights below 2^14 fit 16 bits. */
static inline halves
four(const uint8_t *s)
{
    return (halves)(row_of(s[0]) + row_of(s[1]) + row_of(s[2]) + row_of(s[3]));
}

/* Sixteen bytes a round are a third faster than four.  A block keeps the wide lanes
 * from overflowing: 2^16 bytes of at most 2^14.  Two narrow lanes make a wide one; the
 * order of bytes says which of them is its upper half. */
static void
add_block(const uint8_t *s, size_t n, uint64_t out[LB_TOK_LANES])
{
    const halves mask = {0xffff, 0xffff, 0xffff, 0xffff};
    const int upper = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    halves low = {0}, high = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        halves a = four(s + i), b = four(s + i + 4), c = four(s + i + 8);
        halves d = four(s + i + 12);
        low += ((a & mask) + (b & mask)) + ((c & mask) + (d & mask));
        high += ((a >> 16) + (b >> 16)) + ((c >> 16) + (d >> 16));
    }
    for (; i < n; i++) {
        halves a = (halves)row_of(s[i]);
        low += a & mask;
        high += a >> 16;
    }
    for (int k = 0; k < LB_TOK_LANES / 2; k++) {
        out[2 * k + upper] += high[k];
        out[2 * k + !upper] += low[k];
    }
}

void
lb_tokens_bytes_all(const uint8_t *s, size_t n, uint64_t out[LB_TOK_LANES])
{
    const size_t block = (size_t)1 << 16;
    memset(out, 0, LB_TOK_LANES * sizeof out[0]);
    for (; n > block; n -= block, s += block)
        add_block(s, block, out);
    add_block(s, n, out);
}

uint64_t
lb_tokens_bytes(enum lb_tok_family f, const uint8_t *s, size_t n)
{
    uint64_t out[LB_TOK_LANES];
    lb_tokens_bytes_all(s, n, out);
    return out[f];
}

/* ---- the full model: runs ------------------------------------------------ */

/* Absent entries are 0: everything from 0x80 on is HIGH. */
enum byte_class { HIGH, LOWER, UPPER, DIGIT, SPACE, NEWLINE, TAB, PUNCT };

/* clang-format off */
static const uint8_t class_of[256] = {
    7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 5, 6, 6, 5, 7, 7, /* \t \n \v \f \r */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    4, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* space ! " # */
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 7, 7, 7, 7, 7, 7, /* 0 - 9 : ; < */
    7, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* @ A - O */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 7, 7, 7, 7, 7, /* P - Z [ \ ] */
    7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* ` a - o */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, /* p - z { | } ~ */
};
/* clang-format on */

typedef struct scan {
    const uint16_t *byte; /* weight of each byte */
    const uint16_t *run;  /* weight of each kind of run */
    const uint16_t *more; /* weight of a word's letters beyond the fifth */
    const uint8_t *s;
    size_t n;
    size_t i;      /* where the run under the cursor starts */
    uint64_t sum;  /* 1/4096 token */
    bool glued;    /* a letter or digit stands right before the cursor */
    size_t accent; /* one past the last byte of a letter outside ASCII */
} scan;

static size_t
skip(scan *c, size_t j, enum byte_class k)
{
    while (j < c->n && class_of[c->s[j]] == k)
        c->sum += c->byte[c->s[j++]];
    return j;
}

static enum byte_class
before(const scan *c)
{
    return c->i == 0 ? SPACE : (enum byte_class)class_of[c->s[c->i - 1]];
}

/* A letter run is capitals, then small letters, as o200k cuts CamelCase.  A
 * word shortly after an accent belongs to a language whose words the vocabulary
 * splits more often than English ones. */
static size_t
letters(scan *c)
{
    const size_t plain = 5, rare = 9; /* letters of a common, of a rare word */
    const size_t near = 64;           /* bytes within which an accent tells */
    size_t small = skip(c, c->i, UPPER);
    size_t j = skip(c, small, LOWER);
    size_t capitals = small - c->i, len = j - c->i;
    bool shout = capitals > 1 || (capitals == 1 && len == 1);
    enum tok_run kind = RUN_LOWER;
    if (c->glued && c->accent == c->i)
        kind = RUN_TAIL;
    else if (c->glued)
        kind = shout ? RUN_GLUED_UPPER : RUN_GLUED;
    else if (shout)
        kind = RUN_UPPER;
    else if (c->accent > 0 && c->i - c->accent < near)
        kind = capitals > 0 ? RUN_FOREIGN_CAPITAL : RUN_FOREIGN;
    else if (capitals > 0)
        kind = RUN_CAPITAL;
    c->sum += c->run[kind];
    if (len > plain)
        c->sum += (uint64_t)c->more[kind] * (len - plain);
    if (len > rare)
        c->sum += (uint64_t)c->run[RUN_RARE] * (len - rare);
    c->glued = true;
    return j;
}

static size_t
digits(scan *c)
{
    size_t j = skip(c, c->i, DIGIT);
    c->sum += (uint64_t)c->run[RUN_DIGITS] * ((j - c->i + 2) / 3);
    if (c->i > 0 && c->s[c->i - 1] == ' ')
        c->sum += c->run[RUN_SPACE_DIGIT];
    c->glued = true;
    return j;
}

static size_t
space(scan *c)
{
    size_t j = c->i, indent = c->i; /* start of what follows the last newline */
    bool newline = false, tab = false;
    for (; j < c->n; j++) {
        enum byte_class k = (enum byte_class)class_of[c->s[j]];
        if (k == NEWLINE) {
            newline = true;
            indent = j + 1;
        } else if (k == TAB) {
            tab = true;
        } else if (k != SPACE) {
            break;
        }
        c->sum += c->byte[c->s[j]];
    }
    if (newline)
        c->sum += c->run[before(c) == PUNCT ? RUN_NEWLINE_PUNCT : RUN_NEWLINE];
    if (j - indent >= 2)
        c->sum += c->run[RUN_SPACES];
    if (tab)
        c->sum += c->run[RUN_TAB];
    c->glued = false;
    return j;
}

static size_t
punctuation(scan *c)
{
    size_t j = skip(c, c->i, PUNCT);
    c->sum += c->run[RUN_PUNCT];
    if (j - c->i == 2)
        c->sum += c->run[RUN_PUNCT2];
    c->glued = false;
    return j;
}

/* Lead bytes of scripts written in words: Latin supplements to Arabic and
 * N'Ko (C3-DF), Indic to Georgian and Khmer (E0, E1).  The rest is CJK, signs
 * and emoji, where the byte weights say it all. */
static size_t
high(scan *c)
{
    uint8_t lead = c->s[c->i];
    size_t j = skip(c, c->i, HIGH);
    bool word = lead >= 0xC3 && lead <= 0xE1;
    if (word) {
        c->sum += c->run[c->glued ? RUN_HIGH_GLUED : RUN_HIGH];
        c->accent = j;
    }
    c->glued = word;
    return j;
}

uint64_t
lb_tokens_full(enum lb_tok_family f, const uint8_t *s, size_t n)
{
    scan c = {.byte = tok_full[f], .run = tok_run[f], .more = tok_long[f]};
    c.s = s;
    c.n = n;
    while (c.i < n) {
        switch ((enum byte_class)class_of[s[c.i]]) {
        case LOWER:
        case UPPER:
            c.i = letters(&c);
            break;
        case DIGIT:
            c.i = digits(&c);
            break;
        case SPACE:
        case NEWLINE:
        case TAB:
            c.i = space(&c);
            break;
        case PUNCT:
            c.i = punctuation(&c);
            break;
        case HIGH:
        default:
            c.i = high(&c);
            break;
        }
    }
    return c.sum;
}

/* ---- counts that are no weights ------------------------------------------ */

size_t
lb_tokens_chars(const uint8_t *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += (s[i] & 0xC0) != 0x80;
    return chars;
}

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

float
lb_tokens_calibrate(float *ratio, int64_t est, int64_t billed)
{
    if (!(*ratio > 0))
        *ratio = 1;
    if (est > 0 && billed > 0) {
        double r = (double)*ratio;
        r *= pow((double)billed / ((double)est * r), 0.1);
        *ratio = (float)fmin(fmax(r, 0.25), 4);
    }
    return *ratio;
}

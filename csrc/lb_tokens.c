#include "lb_tokens.h"

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

size_t
lb_tokens_chars(const uint8_t *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += (s[i] & 0xC0) != 0x80;
    return chars;
}

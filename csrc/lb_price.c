#include "lb_price.h"

#include <assert.h>
#include <stddef.h>

#define PPM INT64_C(1000000)

/* Where sums stop, 4e16 USD: times the largest uplift still below 2^127. */
#define MOST ((lb_pico)1 << 95)

_Static_assert(sizeof(lb_price) <= 512, "a price is a quarter of a backend");

static const char *const kind_names[LB_NKINDS] = {
    [LB_INPUT] = "input",
    [LB_CACHE_READ] = "cache_read",
    [LB_CACHE_WRITE] = "cache_write",
    [LB_CACHE_WRITE_1H] = "cache_write_1h",
    [LB_AUDIO_IN] = "audio_in",
    [LB_IMAGE_IN] = "image_in",
    [LB_OUTPUT] = "output",
    [LB_REASONING] = "reasoning",
    [LB_AUDIO_OUT] = "audio_out",
    [LB_IMAGE_OUT] = "image_out",
    [LB_REQUESTS] = "requests",
    [LB_IMAGES] = "images",
    [LB_MILLISECONDS] = "milliseconds",
    [LB_SEARCHES] = "searches",
};

/* Who lends a rate to whom; a lender stands before its borrowers. */
static const struct {
    uint8_t kind, lender;
} loans[] = {
    {LB_CACHE_READ, LB_INPUT}, {LB_CACHE_WRITE, LB_INPUT},
    {LB_AUDIO_IN, LB_INPUT},   {LB_IMAGE_IN, LB_INPUT},
    {LB_REASONING, LB_OUTPUT}, {LB_CACHE_WRITE_1H, LB_CACHE_WRITE},
    {LB_AUDIO_OUT, LB_OUTPUT}, {LB_IMAGE_OUT, LB_OUTPUT},
};

enum { NLOANS = sizeof loans / sizeof loans[0] };

const char *
lb_kind_name(int kind)
{
    return kind >= 0 && kind < LB_NKINDS ? kind_names[kind] : NULL;
}

static inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* digits x 10^shift; the digit that decides the rounding is the last one cut. */
static enum lb_status
scale_by_ten(uint64_t digits, int shift, int64_t *out)
{
    for (; shift > 0 && digits != 0; shift--) {
        if (digits > INT64_MAX / 10)
            return LB_EINVAL;
        digits *= 10;
    }
    bool up = false;
    for (; shift < 0 && (digits != 0 || up); shift++) {
        up = digits % 10 >= 5;
        digits /= 10;
    }
    if (digits > INT64_MAX) /* not when a digit was cut: it is a tenth by then */
        return LB_EINVAL;
    *out = (int64_t)(digits + up);
    return LB_OK;
}

enum lb_status
lb_price_parse(const char *text, int shift, int64_t *out)
{
    uint64_t digits = 0;
    int seen = 0;
    bool point = false;
    text += *text == '+';
    for (; is_digit(*text) || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        seen++;
        if (digits <= (UINT64_MAX - 9) / 10) {
            digits = digits * 10 + (uint64_t)(*text - '0');
            shift -= point;
        } else {
            shift += !point; /* beyond 19 digits: no price is that exact */
        }
    }
    if (seen == 0)
        return LB_EINVAL;
    if (*text == 'e' || *text == 'E') {
        text++;
        int sign = *text == '-' ? -1 : 1, power = 0;
        text += *text == '-' || *text == '+';
        if (!is_digit(*text))
            return LB_EINVAL;
        for (; is_digit(*text); text++)
            power = power < 1000 ? power * 10 + (*text - '0') : power;
        shift += sign * power;
    }
    return *text == '\0' ? scale_by_ten(digits, shift, out) : LB_EINVAL;
}

void
lb_price_init(lb_price *p)
{
    *p = (lb_price){0};
    for (int k = 0; k < LB_NKINDS; k++)
        p->pico[k] = LB_UNKNOWN;
    for (int t = 0; t < LB_PRICE_TIERS; t++)
        for (int k = 0; k < LB_NTOKENS; k++)
            p->tier[t].pico[k] = LB_UNKNOWN;
}

static int
first_bad(const int64_t *pico, int n)
{
    for (int k = 0; k < n; k++) {
        int64_t most = k < LB_NTOKENS ? LB_PRICE_MAX_TOKEN : LB_PRICE_MAX_UNIT;
        if (pico[k] != LB_UNKNOWN && (pico[k] < 0 || pico[k] > most))
            return k;
    }
    return -1;
}

static int
price_flaw(const lb_price *p)
{
    int flaw = first_bad(p->pico, LB_NKINDS);
    if (p->ntiers > LB_PRICE_TIERS || p->uplift_ppm < -PPM)
        return LB_NKINDS;
    for (int t = 0; t < p->ntiers && flaw < 0; t++) {
        if (p->tier[t].above <= (t == 0 ? 0 : p->tier[t - 1].above))
            return LB_NKINDS;
        flaw = first_bad(p->tier[t].pico, LB_NTOKENS);
    }
    return flaw;
}

static void
fill_tier(lb_price_tier *tier, const lb_price *p)
{
    bool own_output = tier->pico[LB_OUTPUT] != LB_UNKNOWN;
    for (int k = 0; k < LB_NTOKENS; k++) {
        bool follows = k == LB_REASONING && own_output;
        if (tier->pico[k] == LB_UNKNOWN && !follows)
            tier->pico[k] = p->pico[k];
    }
    for (int i = 0; i < NLOANS; i++)
        if (tier->pico[loans[i].kind] == LB_UNKNOWN)
            tier->pico[loans[i].kind] = tier->pico[loans[i].lender];
}

enum lb_status
lb_price_complete(lb_price *p, int *bad)
{
    int flaw = price_flaw(p);
    if (flaw >= 0) {
        if (bad != NULL)
            *bad = flaw;
        return LB_EINVAL;
    }
    /* Tiers first: they must see which base rates are the row's own. */
    for (int t = 0; t < p->ntiers; t++)
        fill_tier(&p->tier[t], p);
    for (int i = 0; i < NLOANS; i++) {
        uint8_t kind = loans[i].kind;
        if (p->pico[kind] != LB_UNKNOWN)
            continue;
        p->pico[kind] = p->pico[loans[i].lender];
        p->borrowed |= UINT32_C(1) << kind;
    }
    if (p->pico[LB_REQUESTS] == LB_UNKNOWN)
        p->pico[LB_REQUESTS] = 0;
    return LB_OK;
}

static inline const int64_t *
row_for(const lb_price *p, int64_t input)
{
    const int64_t *row = p->pico;
    for (int t = 0; t < p->ntiers; t++)
        if (input > p->tier[t].above - (p->inclusive ? 1 : 0))
            row = p->tier[t].pico;
    return row;
}

static int64_t
total_input(const lb_usage *u)
{
    int64_t n = 0;
    for (int k = LB_INPUT; k < LB_OUTPUT; k++)
        n = lb_add_capped(n, lb_max(u->count[k], 0));
    return n;
}

/* Where the tokens of `kind` begin on their axis: caches are prefixes. */
static int64_t
axis_start(const lb_usage *u, int kind)
{
    static const uint8_t order[LB_NTOKENS] = {
        LB_CACHE_READ, LB_CACHE_WRITE_1H, LB_CACHE_WRITE, LB_INPUT,     LB_AUDIO_IN,
        LB_IMAGE_IN,   LB_REASONING,      LB_OUTPUT,      LB_AUDIO_OUT, LB_IMAGE_OUT,
    };
    int64_t at = 0;
    for (int i = kind < LB_OUTPUT ? 0 : LB_OUTPUT; order[i] != kind; i++)
        at = lb_add_capped(at, lb_max(u->count[order[i]], 0));
    return at;
}

static lb_pico
marginal_line(const lb_price *p, const lb_usage *u, int kind)
{
    int64_t from = axis_start(u, kind);
    int64_t to = lb_add_capped(from, u->count[kind]);
    int64_t rate = p->pico[kind];
    lb_pico sum = 0;
    for (int t = 0; t <= p->ntiers && from < to; t++) {
        int64_t end = t < p->ntiers ? lb_min(to, p->tier[t].above) : to;
        if (end > from) {
            if (rate < 0)
                return -1;
            sum += (lb_pico)(end - from) * rate;
            from = end;
        }
        if (t < p->ntiers)
            rate = p->tier[t].pico[kind];
    }
    return sum;
}

lb_pico
lb_price_line(const lb_price *p, const lb_usage *u, enum lb_kind kind)
{
    assert(kind >= 0 && kind < LB_NKINDS);
    int64_t n = u->count[kind];
    if (n <= 0)
        return 0;
    if (kind >= LB_NTOKENS)
        return p->pico[kind] < 0 ? -1 : (lb_pico)n * p->pico[kind];
    if (p->marginal)
        return marginal_line(p, u, kind);
    int64_t rate = row_for(p, total_input(u))[kind];
    return rate < 0 ? -1 : (lb_pico)n * rate;
}

/* The sum of all lines before the uplift; negative when one is unknown. */
static lb_pico
sum_lines(const lb_price *p, const lb_usage *u)
{
    const int64_t *row = row_for(p, p->ntiers == 0 ? 0 : total_input(u));
    lb_pico sum = 0;
    for (uint32_t kinds = lb_usage_kinds(u); kinds != 0; kinds &= kinds - 1) {
        int k = __builtin_ctz(kinds);
        int64_t n = u->count[k];
        if (p->marginal && k < LB_NTOKENS) {
            lb_pico line = marginal_line(p, u, k);
            if (line < 0)
                return -1;
            sum += line;
            continue;
        }
        int64_t rate = k < LB_NTOKENS ? row[k] : p->pico[k];
        if (rate < 0)
            return -1;
        sum += (lb_pico)n * rate;
    }
    return sum < MOST ? sum : MOST;
}

static inline int64_t
nano_from_pico(lb_pico pico, int32_t uplift_ppm)
{
    if (uplift_ppm == 0 && pico <= INT64_MAX - 500)
        return ((int64_t)pico + 500) / 1000; /* a 128-bit division costs 20 ns */
    lb_pico ppm = PPM + uplift_ppm;
    lb_pico nano = (pico * ppm + 500 * (lb_pico)PPM) / (1000 * (lb_pico)PPM);
    return nano > INT64_MAX ? INT64_MAX : (int64_t)nano;
}

int64_t
lb_price_cost(const lb_price *p, const lb_usage *u)
{
    lb_pico sum = sum_lines(p, u);
    return sum < 0 ? LB_UNKNOWN : nano_from_pico(sum, p->uplift_ppm);
}

lb_pico
lb_price_cost_pico(const lb_price *p, const lb_usage *u)
{
    lb_pico sum = sum_lines(p, u);
    if (sum < 0 || p->uplift_ppm == 0)
        return sum;
    return (sum * ((lb_pico)PPM + p->uplift_ppm) + PPM / 2) / PPM;
}

int64_t
lb_price_estimate(const lb_price *p, int64_t input, int64_t cached, int64_t output)
{
    input = lb_min(lb_max(input, 0), INT32_MAX);
    cached = lb_min(lb_max(cached, 0), input);
    output = lb_min(lb_max(output, 0), INT32_MAX);
    if (p->marginal || p->pico[LB_REQUESTS] > 0 || p->uplift_ppm != 0) {
        lb_usage u = {0};
        u.count[LB_INPUT] = input - cached;
        u.count[LB_CACHE_READ] = cached;
        u.count[LB_OUTPUT] = output;
        u.count[LB_REQUESTS] = p->pico[LB_REQUESTS] > 0;
        return lb_price_cost(p, &u);
    }
    const int64_t *row = row_for(p, input);
    int64_t in = row[LB_INPUT], read = row[LB_CACHE_READ], out = row[LB_OUTPUT];
    if ((in < 0 && input > cached) || (read < 0 && cached > 0) ||
        (out < 0 && output > 0))
        return LB_UNKNOWN;
    /* 2 * 2^31 * 1e9 < 2^63, and an unknown rate is only met by a count of 0,
     * whose product must not be formed. */
    int64_t pico = (in < 0 ? 0 : in * (input - cached)) +
                   (read < 0 ? 0 : read * cached) + (out < 0 ? 0 : out * output);
    return (pico + 500) / 1000;
}

bool
lb_price_is_guess(const lb_price *p, const lb_usage *u)
{
    for (int k = 0; k < LB_NTOKENS; k++)
        if (k != LB_REASONING && u->count[k] > 0 && (p->borrowed >> k & 1))
            return true;
    return false;
}

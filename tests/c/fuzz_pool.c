/* Bytes as a history of one pool: picks, settlements of every kind, late and dropped
 * leases, changes of weights and breakers, time that only goes forward.  After every
 * step what stands reserved must be the sum of the live leases. */
#include "lb_lease.h"

#include <stdlib.h>

enum { BACKENDS = 20, BUDGETS = 4, LEASES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct history {
    const uint8_t *data;
    size_t left;
    lb_pool *pool;
    lb_lease lease[LEASES];
    lb_ns now;
} history;

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t
byte(history *h)
{
    if (h->left == 0)
        return 0;
    h->left--;
    return *h->data++;
}

/* 0, small, or of any size up to 2^62. */
static int64_t
amount(history *h)
{
    uint8_t shape = byte(h);
    int64_t n = byte(h) + (int64_t)byte(h) * 256;
    return shape < 200 ? n : n << (shape % 47);
}

static lb_pool *
make_pool(history *h)
{
    lb_pool_size size = {BACKENDS, 40, BUDGETS, 2, 2 * BACKENDS, 16};
    lb_pool *p = lb_pool_new(&size, byte(h));
    if (p == NULL)
        return NULL;
    uint32_t members[BACKENDS];
    uint32_t n = 1 + byte(h) % BACKENDS;
    for (uint32_t i = 0; i < n; i++) {
        lb_price price;
        lb_breaker_rules rules;
        lb_price_init(&price);
        lb_breaker_default(&rules);
        price.pico[LB_INPUT] = byte(h) * 10000;
        price.pico[LB_OUTPUT] = byte(h) * 40000;
        (void)lb_price_complete(&price, NULL);
        lb_terms terms = {.id = i + UINT64_C(1),
                          .weight = (float)(byte(h) % 4),
                          .order = byte(h) % 8 == 0,
                          .max_calls = byte(h) % 8,
                          .family = byte(h) % LB_TOK_NFAMILIES,
                          .cache_life = byte(h) * LB_NS_PER_S};
        must(lb_pool_add_backend(p, &terms, &price, &rules) == (int)i);
        members[i] = i;
        (void)lb_pool_add_limit(p, i, (enum lb_unit)(byte(h) % LB_NUNITS),
                                (enum lb_charge)(byte(h) % LB_NCHARGES),
                                1 + byte(h) * 100, LB_NS_PER_S << byte(h) % 12, 0);
    }
    for (uint32_t k = 0; k < BUDGETS; k++)
        (void)lb_pool_add_budget(p, (enum lb_budget_kind)(k % 3), k != 3,
                                 byte(h) * INT64_C(1000000), 60 * LB_NS_PER_S,
                                 LB_NS_PER_S, 0);
    (void)lb_pool_charge_all(p, byte(h) % BUDGETS);
    (void)lb_pool_charge_backend(p, 0, byte(h) % BUDGETS);
    must(lb_pool_add_group(p, LB_COMPOSITE, -1, members, n) == 0);
    return p;
}

static void
pick(history *h)
{
    lb_lease *lease = &h->lease[byte(h) % LEASES];
    if (lease->live)
        return;
    lb_ask ask;
    lb_ask_init(&ask, 0);
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        ask.tokens[f] = amount(h);
    ask.chars = amount(h);
    ask.messages = byte(h);
    ask.max_tokens = amount(h);
    ask.strategy = (int8_t)(byte(h) % LB_NSTRATEGIES);
    ask.session = byte(h) % 4 * UINT64_C(0x9e3779b97f4a7c15);
    ask.value = byte(h) % 2 ? -1 : byte(h) * 0.001;
    ask.last_resort = byte(h) % 4 == 0;
    ask.budget[0] = byte(h) % BUDGETS;
    ask.nbudgets = byte(h) % 2;
    ask.tried[0] = byte(h) % BACKENDS;
    ask.ntried = byte(h) % 2;
    int backend = lb_lease_pick(h->pool, &ask, lease, h->now);
    must(lease->live == (backend >= 0));
    must(backend >= 0 || lease->decision.wait > 0);
    if (!lease->live)
        return;
    must(lb_pool_backend(h->pool, (uint32_t)backend)->terms.weight > 0);
    for (int k = 0; k < lease->nbudgets; k++) {
        const lb_budget *b = lb_pool_budget(h->pool, lease->budget[k]);
        int64_t committed = lb_add_capped(b->spent, b->reserved);
        must(!b->hard || lease->hold == 0 || committed <= b->cap);
    }
}

static void
settle(history *h)
{
    lb_lease *lease = &h->lease[byte(h) % LEASES];
    lb_result r;
    lb_result_init(&r);
    r.outcome = (enum lb_outcome)(byte(h) % LB_NOUTCOMES);
    r.sent = byte(h) % 4 != 0;
    r.metered = byte(h) % 2 != 0;
    for (int k = 0; k < LB_NTOKENS; k += 1 + byte(h) % 4)
        r.usage.count[k] = amount(h) - 5;
    r.seconds = byte(h) * 0.5;
    r.ttft = byte(h) % 3 * r.seconds * 0.25;
    r.retry_after = amount(h);
    r.ntold = byte(h) % 3;
    for (int t = 0; t < r.ntold; t++)
        r.told[t] = (lb_told){byte(h) % LB_NUNITS,
                              {amount(h) - 1, amount(h) - 1, amount(h) - 1, -1}};
    bool live = lease->live;
    int64_t cost = lb_lease_settle(h->pool, lease, &r, h->now);
    must(cost >= 0 && !lease->live && (live || cost == 0));
}

static void
change(history *h)
{
    uint32_t i = byte(h) % h->pool->used.backends;
    lb_backend *b = lb_pool_backend(h->pool, i);
    lb_terms terms = b->terms;
    if (byte(h) % 2) {
        terms.weight = (float)(byte(h) % 3);
        must(lb_pool_set_terms(h->pool, i, &terms) == LB_OK);
    } else {
        lb_breaker_order(&b->breaker, (enum lb_breaker_order)(byte(h) % 3), h->now);
    }
}

static void
check(const history *h)
{
    const lb_pool *p = h->pool;
    int32_t calls[BACKENDS] = {0};
    int64_t held[BUDGETS] = {0}, ahead[BACKENDS] = {0}, all = 0;
    for (int i = 0; i < LEASES; i++) {
        const lb_lease *lease = &h->lease[i];
        if (!lease->live)
            continue;
        all++;
        calls[lease->backend]++;
        ahead[lease->backend] += lease->ahead;
        for (int k = 0; k < lease->nbudgets; k++)
            held[lease->budget[k]] = lb_add_capped(held[lease->budget[k]], lease->hold);
    }
    must(p->calls == all);
    for (uint32_t i = 0; i < p->used.backends; i++) {
        must(lb_pool_backend(p, i)->latency.calls == calls[i]);
        must(lb_pool_backend(p, i)->latency.tokens == ahead[i]);
    }
    for (uint32_t k = 0; k < p->used.budgets; k++)
        must(held[k] == INT64_MAX || lb_pool_budget(p, k)->reserved == held[k]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static history h;
    h = (history){.data = data, .left = size};
    h.pool = make_pool(&h);
    if (h.pool == NULL)
        return 0;
    while (h.left > 0) {
        uint8_t step = byte(&h) % 8;
        if (step < 3)
            pick(&h);
        else if (step < 5)
            settle(&h);
        else if (step == 5)
            h.now += amount(&h) & ((INT64_C(1) << 40) - 1);
        else if (step == 6)
            lb_lease_progress(h.pool, &h.lease[byte(&h) % LEASES], amount(&h));
        else
            change(&h);
        check(&h);
    }
    lb_result dropped;
    lb_result_init(&dropped);
    for (int i = 0; i < LEASES; i++)
        (void)lb_lease_settle(h.pool, &h.lease[i], &dropped, h.now);
    check(&h);
    lb_pool_free(h.pool);
    return 0;
}

/* py_terms.c - what Pool.add_backend() and Pool.set_terms() are told of a backend. */
#include "py_pool.h"

#include <float.h>
#include <string.h>

#include "py_price.h"

/* Seconds of the configuration as ns; what no clock reaches becomes -1, which the
 * core refuses. */
static lb_ns
duration(double seconds)
{
    return seconds >= 0 && seconds < 9e9 ? (lb_ns)(seconds * 1e9) : -1;
}

float
py_weight(double weight)
{
    return weight > 0 && weight < FLT_MIN ? -1 : (float)weight;
}

/* "weight must be ..., not -1": a flaw begins with its field, a keyword. */
static int
refuse(PyObject *kwargs, const char *flaw)
{
    PyObject *field = PyUnicode_FromStringAndSize(flaw, (Py_ssize_t)strcspn(flaw, " "));
    if (field == NULL)
        return -1;
    PyErr_Format(PyExc_ValueError, "%s, not %R", flaw,
                 PyDict_GetItemWithError(kwargs, field));
    Py_DECREF(field);
    return -1;
}

/* Counts of the configuration; what is too large becomes -1 likewise. */
static int16_t
short_of(int count)
{
    if (count < 0 || count > INT16_MAX)
        return -1;
    return (int16_t)count;
}

static int
read_rules(PyObject *o, lb_breaker_rules *rules)
{
    lb_breaker_default(rules);
    if (o == NULL || o == Py_None)
        return 0;
    double window, cooldown, cooldown_max, ramp;
    int probes, late;
    if (!PyTuple_Check(o)) {
        PyErr_SetString(PyExc_TypeError, "breaker must be a tuple of its eleven rules");
        return -1;
    }
    if (!PyArg_ParseTuple(o, "iifffiddddi:breaker", &rules->in_a_row, &rules->min_calls,
                          &rules->failure_rate, &rules->slow_rate, &rules->probe_share,
                          &probes, &window, &cooldown, &cooldown_max, &ramp, &late))
        return -1;
    rules->probes_to_close = short_of(probes);
    rules->timeouts_in_a_row = short_of(late);
    rules->window = duration(window);
    rules->cooldown = duration(cooldown);
    rules->cooldown_max = duration(cooldown_max);
    rules->ramp = duration(ramp);
    const char *flaw = lb_breaker_flaw(rules);
    if (flaw == NULL)
        return 0;
    PyErr_Format(PyExc_ValueError, "breaker: %s, in %R", flaw, o);
    return -1;
}

/* Whole numbers, before they are cut to the size of their fields. */
typedef struct counts {
    long long context, max_output, max_calls, order, quality, family;
} counts;

static int
take_counts(PyObject *kwargs, const counts *c, lb_terms *t)
{
    const struct {
        const char *field;
        long long value, most;
    } all[] = {
        {"context", c->context, INT32_MAX},
        {"max_output", c->max_output, INT32_MAX},
        {"max_calls", c->max_calls, INT32_MAX},
        {"order", c->order, UINT8_MAX},
        {"quality", c->quality, UINT8_MAX},
        {"family", c->family, LB_TOK_NFAMILIES - 1},
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        if (all[k].value >= 0 && all[k].value <= all[k].most)
            continue;
        PyErr_Format(PyExc_ValueError, "%s must be 0 to %lld, not %R", all[k].field,
                     all[k].most, PyDict_GetItemString(kwargs, all[k].field));
        return -1;
    }
    t->context = (int32_t)c->context;
    t->max_output = (int32_t)c->max_output;
    t->max_calls = (int32_t)c->max_calls;
    t->order = (uint8_t)c->order;
    t->quality = (uint8_t)c->quality;
    t->family = (uint8_t)c->family;
    return 0;
}

static char *const term_names[] = {"price",      "id",         "tags",      "can",
                                   "context",    "max_output", "max_calls", "weight",
                                   "min_share",  "order",      "quality",   "family",
                                   "cache_life", "breaker",    NULL};

int
py_read_terms(pool_object *self, PyObject *args, PyObject *kwargs, lb_terms *t,
              const lb_price **price, lb_breaker_rules *rules, double *min_share)
{
    PyObject *row, *breaker = NULL;
    unsigned long long id = 0, tags = 0;
    double cache_life = 0, weight = 1;
    counts c = {0};
    *t = (lb_terms){0};
    *min_share = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O|$KKILLLddLLLdO:add_backend", (char **)term_names, &row,
            &id, &tags, &t->can, &c.context, &c.max_output, &c.max_calls, &weight,
            min_share, &c.order, &c.quality, &c.family, &cache_life, &breaker))
        return -1;
    t->id = id;
    t->weight = py_weight(weight);
    t->tags = tags;
    t->cache_life = duration(cache_life);
    *price = py_price_of(self->state, row, "price");
    if (*price == NULL || take_counts(kwargs, &c, t) < 0)
        return -1;
    const char *flaw = lb_terms_flaw(t);
    if (flaw != NULL)
        return refuse(kwargs, flaw);
    if (!(*min_share >= 0 && *min_share <= 1))
        return refuse(kwargs, "min_share must be 0 to 1");
    return read_rules(breaker, rules);
}

/* py_change.c - the methods of Pool that change it while it is in use. */
#include "py_pool.h"

#include "py_price.h"

const char py_pool_set_terms_doc[] = PyDoc_STR(
    "set_terms($self, backend, price, *, id=0, tags=0, can=0, context=0,\n"
    "          max_output=0, max_calls=0, weight=1.0, min_share=0.0, order=0,\n"
    "          quality=0, family=0, cache_life=0.0, breaker=None)\n"
    "--\n\n"
    "Change everything add_backend() set, while the pool is in use.");

PyObject *
py_pool_set_terms(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pool_object *self = (pool_object *)op;
    lb_terms terms;
    lb_breaker_rules rules;
    double min_share;
    const lb_price *price;
    if (PyTuple_Size(args) == 0) {
        PyErr_SetString(PyExc_TypeError, "set_terms() needs argument 'backend'");
        return NULL;
    }
    unsigned long i = PyLong_AsUnsignedLong(PyTuple_GetItem(args, 0));
    if (PyErr_Occurred())
        return NULL;
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    if (rest == NULL)
        return NULL;
    int bad = py_read_terms(self, rest, kwargs, &terms, &price, &rules, &min_share);
    Py_DECREF(rest);
    if (bad < 0)
        return NULL;
    PY_LOCK(self);
    enum lb_status st = LB_EINVAL;
    if (i < self->pool->used.backends)
        st = lb_pool_set_terms(self->pool, (uint32_t)i, &terms);
    if (st == LB_OK) {
        (void)lb_pool_set_price(self->pool, (uint32_t)i, price);
        (void)lb_pool_set_rules(self->pool, (uint32_t)i, &rules);
        (void)lb_pool_set_share(self->pool, (uint32_t)i, min_share);
    }
    PY_UNLOCK(self);
    return py_status(st, "set_terms: no such backend");
}

const char py_pool_set_weight_doc[] =
    PyDoc_STR("set_weight($self, backend, weight)\n--\n\n"
              "Change a backend's share: 1e-6 to 1e6; 0 drains it: no new calls.");

PyObject *
py_pool_set_weight(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    double weight;
    if (!PyArg_ParseTuple(args, "Id:set_weight", &i, &weight))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = LB_EINVAL;
    if (i < self->pool->used.backends) {
        lb_terms terms = lb_pool_backend(self->pool, i)->terms;
        terms.weight = py_weight(weight);
        st = lb_pool_set_terms(self->pool, i, &terms);
    }
    PY_UNLOCK(self);
    if (st == LB_OK)
        return Py_NewRef(Py_None);
    PyErr_Format(PyExc_ValueError,
                 "set_weight: no backend %u, or weight not 0 or 1e-6 to 1e6: %R", i,
                 PyTuple_GetItem(args, 1));
    return NULL;
}

const char py_pool_set_price_doc[] =
    PyDoc_STR("set_price($self, backend, price)\n--\n\n"
              "Change a backend's PriceRow from the next call on.");

PyObject *
py_pool_set_price(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    PyObject *row;
    if (!PyArg_ParseTuple(args, "IO:set_price", &i, &row))
        return NULL;
    const lb_price *price = py_price_of(self->state, row, "price");
    if (price == NULL)
        return NULL;
    PY_LOCK(self);
    enum lb_status st = lb_pool_set_price(self->pool, i, price);
    PY_UNLOCK(self);
    return py_status(st, "set_price: no such backend");
}

const char py_pool_set_limit_doc[] = PyDoc_STR(
    "set_limit($self, limit, amount, window=60.0, burst=0, now=None)\n--\n\n"
    "Configure a limit anew: units a window (s), units at once (0: the amount); what\n"
    "is spent stays spent.  Amount 0 lifts it: everything is admitted.");

PyObject *
py_pool_set_limit(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    long long amount, burst = 0;
    double window = 60;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "IL|dLO:set_limit", &i, &amount, &window, &burst,
                          &when) ||
        py_at(when, &now) < 0)
        return NULL;
    enum lb_status st = LB_EINVAL;
    if (window > 0 && window < 9e9) {
        PY_LOCK(self);
        st =
            lb_pool_set_limit(self->pool, i, amount, (lb_ns)(window * 1e9), burst, now);
        PY_UNLOCK(self);
    }
    return py_status(st, "set_limit: no such limit, amount or burst below 0, or more "
                         "than 30 days a unit");
}

const char py_pool_set_budget_doc[] =
    PyDoc_STR("set_budget($self, budget, cap, hard=True)\n--\n\n"
              "Change a budget's cap (nano-USD) and whether it refuses calls; what is\n"
              "spent and reserved stays.");

PyObject *
py_pool_set_budget(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    long long cap;
    int hard = 1;
    if (!PyArg_ParseTuple(args, "IL|p:set_budget", &i, &cap, &hard))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = lb_pool_set_budget(self->pool, i, cap, hard != 0);
    PY_UNLOCK(self);
    return py_status(st, "set_budget: no such budget, or cap below 0");
}

const char py_pool_set_usual_doc[] = PyDoc_STR(
    "set_usual($self, backend, ttft, itl)\n--\n\n"
    "What a backend takes at this time of day, s to the first token and s of\n"
    "a token, where nothing newer is known; 0: the average of its group.");

PyObject *
py_pool_set_usual(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    double ttft, itl;
    if (!PyArg_ParseTuple(args, "Idd:set_usual", &i, &ttft, &itl))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = lb_pool_set_usual(self->pool, i, ttft, itl);
    PY_UNLOCK(self);
    return py_status(st, "set_usual: no such backend, or times below 0");
}

const char py_pool_set_window_doc[] =
    PyDoc_STR("set_window($self, budget, period, ends_in, now=None)\n--\n\n"
              "Say when a budget's fixed window ends and how long the next one is, s;\n"
              "months and days of a calendar are not equally long.");

PyObject *
py_pool_set_window(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    double period, ends_in;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "Idd|O:set_window", &i, &period, &ends_in, &when) ||
        py_at(when, &now) < 0)
        return NULL;
    if (i >= self->pool->used.budgets || !(period > 0 && period < 9e9) ||
        !(ends_in > 0 && ends_in < 9e9))
        return py_raise(LB_EINVAL, "set_window: no such budget, or times not > 0");
    PY_LOCK(self);
    lb_budget *b = lb_pool_budget(self->pool, i);
    lb_budget_roll(b, now);
    b->period = (lb_ns)(period * 1e9);
    b->ends = now + (lb_ns)(ends_in * 1e9);
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
}

const char py_pool_set_group_doc[] =
    PyDoc_STR("set_group($self, group, members, strategy, value=-1.0)\n--\n\n"
              "Change a group while the pool is in use.");

PyObject *
py_pool_set_group(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"group", "members", "strategy", "value", NULL};
    pool_object *self = (pool_object *)op;
    PyObject *list;
    unsigned int group;
    int strategy;
    double value = -1;
    uint32_t n;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IOi|d:set_group", names, &group,
                                     &list, &strategy, &value))
        return NULL;
    uint32_t *members = py_read_members(self, list, &n);
    if (members == NULL)
        return NULL;
    enum lb_status st = LB_EINVAL;
    PY_LOCK(self);
    if (strategy >= 0 && strategy < LB_NSTRATEGIES)
        st = lb_pool_set_members(self->pool, group, members, n);
    if (st == LB_OK) {
        lb_pool_group(self->pool, group)->strategy = (uint8_t)strategy;
        lb_pool_group(self->pool, group)->value = value;
    }
    PY_UNLOCK(self);
    PyMem_Free(members);
    return py_status(st, "set_group: unknown group, strategy or backend, one "
                         "twice, or shares above 1");
}

const char py_pool_order_doc[] =
    PyDoc_STR("order($self, backend, order, now=None)\n--\n\n"
              "Command a breaker: 0 decide yourself, 1 stay open, 2 stay closed.");

PyObject *
py_pool_order(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    int order;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "Ii|O:order", &i, &order, &when) ||
        py_at(when, &now) < 0)
        return NULL;
    if (i >= self->pool->used.backends || order < LB_AUTO || order > LB_FORCED_CLOSED)
        return py_raise(LB_EINVAL, "order: no such backend or order");
    PY_LOCK(self);
    lb_breaker_order(&lb_pool_backend(self->pool, i)->breaker,
                     (enum lb_breaker_order)order, now);
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
}

const char py_pool_set_policy_doc[] =
    PyDoc_STR("set_policy($self, shift=0.8, stop=0.95, ceiling=1.0, horizon=10.0)\n"
              "--\n\n"
              "How limits are approached: from `shift` on a backend gets dearer, at\n"
              "`stop` twice so; ordinary traffic may use `ceiling` of a limit;\n"
              "`predictive` looks `horizon` seconds ahead.");

PyObject *
py_pool_set_policy(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"shift", "stop", "ceiling", "horizon", NULL};
    double shift = 0.8, stop = 0.95, ceiling = 1, horizon = 10;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|dddd:set_policy", names, &shift,
                                     &stop, &ceiling, &horizon))
        return NULL;
    if (!(shift > 0 && shift < stop && stop <= 1 && ceiling > 0 && ceiling <= 1 &&
          horizon > 0 && horizon < 86400))
        return py_raise(LB_EINVAL, "set_policy: 0 < shift < stop <= 1, "
                                   "0 < ceiling <= 1, 0 < horizon < 86400 s");
    pool_object *self = (pool_object *)op;
    PY_LOCK(self);
    self->pool->shift = shift;
    self->pool->stop = stop;
    self->pool->ceiling = ceiling;
    self->pool->horizon = (lb_ns)(horizon * 1e9);
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
}

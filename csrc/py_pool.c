/* py_pool.c - llmbalance._core.Pool: the type and its set-up.  What changes it later
 * is in py_change.c, its choices in py_ask.c, what it shows of itself in py_view.c. */
#include "py_pool.h"

#include <string.h>

#include "py_price.h"

static PyObject *
pool_tp_new(PyTypeObject *tp, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"backends", "limits",   "budgets", "groups",
                            "members",  "sessions", "seed",    NULL};
    lb_pool_size size = {.limits = 0};
    unsigned long long seed = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "IIIII|IK:Pool", names, &size.backends, &size.limits,
            &size.budgets, &size.groups, &size.members, &size.sessions, &seed))
        return NULL;
    pool_object *self = (pool_object *)PyType_GenericAlloc(tp, 0);
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(tp);
    self->pool = lb_pool_new(&size, seed);
    if (self->pool != NULL)
        return (PyObject *)self;
    Py_DECREF((PyObject *)self);
    return py_raise(LB_EINVAL, "Pool: 1 to 65535 backends, at most 65535 limits, "
                               "budgets and groups, sessions a power of two or 0, "
                               "and memory for them");
}

static void
pool_tp_dealloc(PyObject *op)
{
    pool_object *self = (pool_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    while (self->nspare > 0)
        PyObject_Free(self->spare[--self->nspare]);
    lb_pool_free(self->pool);
    PyObject_Free(self);
    Py_DECREF(tp);
}

PyObject *
py_index(int i, const char *what)
{
    return i >= 0 ? PyLong_FromLong(i) : py_raise((enum lb_status)i, what);
}

PyObject *
py_status(enum lb_status st, const char *what)
{
    return st == LB_OK ? Py_NewRef(Py_None) : py_raise(st, what);
}

PyDoc_STRVAR(
    pool_add_backend_doc,
    "add_backend($self, price, *, id=0, tags=0, can=0, context=0, max_output=0,\n"
    "            max_calls=0, weight=1.0, min_share=0.0, order=0, quality=0,\n"
    "            family=0, cache_life=0.0, breaker=None)\n"
    "--\n\n"
    "Add a backend; returns its index.\n\n"
    "price: PriceRow; id: stable 64-bit identity; tags, can: bit sets; context,\n"
    "max_output: tokens, 0 unknown; max_calls: in flight, 0 no limit; weight 0:\n"
    "drained; min_share: of a group's calls at least, 0..1; cache_life: s; breaker: "
    "(in_a_row, min_calls, failure_rate, slow_rate,\n"
    "probe_share, probes_to_close, window s, cooldown s, cooldown_max s, ramp s,\n"
    "timeouts_in_a_row).");

static PyObject *
pool_add_backend(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pool_object *self = (pool_object *)op;
    lb_terms terms;
    lb_breaker_rules rules;
    const lb_price *price;
    double min_share;
    if (py_read_terms(self, args, kwargs, &terms, &price, &rules, &min_share) < 0)
        return NULL;
    PY_LOCK(self);
    int i = lb_pool_add_backend(self->pool, &terms, price, &rules);
    if (i >= 0)
        (void)lb_pool_set_share(self->pool, (uint32_t)i, min_share);
    PY_UNLOCK(self);
    return py_index(i, "add_backend");
}

PyDoc_STRVAR(pool_add_limit_doc,
             "add_limit($self, backend, unit, charge, limit, window, burst=0)\n--\n\n"
             "Put a backend under a rate limit; returns the limit's index.\n\n"
             "unit: index of UNITS; charge: index of CHARGES; limit: units a window;\n"
             "window: s; burst: units that may go at once, 0: the limit.");

static PyObject *
pool_add_limit(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"backend", "unit",  "charge", "limit",
                            "window",  "burst", NULL};
    pool_object *self = (pool_object *)op;
    unsigned int backend;
    int unit, charge;
    long long limit, burst = 0;
    double window;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IiiLd|L:add_limit", names, &backend,
                                     &unit, &charge, &limit, &window, &burst))
        return NULL;
    int i = LB_EINVAL;
    if (unit >= 0 && unit < LB_NUNITS && charge >= 0 && charge < LB_NCHARGES &&
        window > 0 && window < 9e9) {
        PY_LOCK(self);
        i = lb_pool_add_limit(self->pool, backend, (enum lb_unit)unit,
                              (enum lb_charge)charge, limit, (lb_ns)(window * 1e9),
                              burst);
        PY_UNLOCK(self);
    }
    return py_index(i, "add_limit: limit and window must be > 0, burst >= 0, "
                       "at most 30 days a unit, at most 8 limits a backend");
}

PyDoc_STRVAR(pool_share_calls_doc,
             "share_calls($self, backend, other)\n--\n\n"
             "Put a backend under the account of another one: the calls in flight of\n"
             "both count against the max_calls of each.  It has none in flight yet.");

static PyObject *
pool_share_calls(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int backend, other;
    if (!PyArg_ParseTuple(args, "II:share_calls", &backend, &other))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = lb_pool_share_calls(self->pool, backend, other);
    PY_UNLOCK(self);
    return py_status(st, "share_calls: no such backend, or it has calls in flight");
}

PyDoc_STRVAR(pool_share_limit_doc,
             "share_limit($self, backend, limit)\n--\n\n"
             "Put a backend under a limit that another one already has.");

static PyObject *
pool_share_limit(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int backend, limit;
    if (!PyArg_ParseTuple(args, "II:share_limit", &backend, &limit))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = lb_pool_share_limit(self->pool, backend, limit);
    PY_UNLOCK(self);
    return py_status(st, "share_limit: no such backend or limit");
}

PyDoc_STRVAR(
    pool_add_budget_doc,
    "add_budget($self, kind, cap, hard=True, period=0.0, ends_in=0.0, now=None)\n"
    "--\n\n"
    "Add a budget; returns its index.\n\n"
    "kind: 0 total, 1 fixed windows, 2 rolling; cap: nano-USD; period: s; ends_in:\n"
    "s until the current fixed window ends.");

static PyObject *
pool_add_budget(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind", "cap", "hard", "period", "ends_in", "now", NULL};
    pool_object *self = (pool_object *)op;
    int kind, hard = 1;
    long long cap;
    double period = 0, ends_in = 0;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iL|pddO:add_budget", names, &kind,
                                     &cap, &hard, &period, &ends_in, &when))
        return NULL;
    if (py_at(when, &now) < 0)
        return NULL;
    int i = LB_EINVAL;
    if (kind >= LB_TOTAL && kind <= LB_ROLLING && period >= 0 && period < 9e9 &&
        ends_in >= 0 && ends_in < 9e9) {
        PY_LOCK(self);
        i = lb_pool_add_budget(self->pool, (enum lb_budget_kind)kind, hard != 0, cap,
                               (lb_ns)(period * 1e9), now + (lb_ns)(ends_in * 1e9),
                               now);
        PY_UNLOCK(self);
    }
    return py_index(i, "add_budget: cap must be >= 0, period and ends_in > 0 "
                       "where the kind has them");
}

PyDoc_STRVAR(pool_charge_doc,
             "charge($self, scope, index, budget)\n--\n\n"
             "Put calls under a budget: scope 'all' (index 0), 'group' or 'backend'.");

static PyObject *
pool_charge(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    const char *scope;
    unsigned int index, budget;
    if (!PyArg_ParseTuple(args, "sII:charge", &scope, &index, &budget))
        return NULL;
    enum lb_status st;
    PY_LOCK(self);
    if (strcmp(scope, "all") == 0)
        st = lb_pool_charge_all(self->pool, budget);
    else if (strcmp(scope, "group") == 0)
        st = lb_pool_charge_group(self->pool, index, budget);
    else if (strcmp(scope, "backend") == 0)
        st = lb_pool_charge_backend(self->pool, index, budget);
    else
        st = LB_EINVAL;
    PY_UNLOCK(self);
    return py_status(st, "charge: scope must be 'all', 'group' or 'backend', "
                         "and the budget, group or backend be there");
}

uint32_t *
py_read_members(const pool_object *self, PyObject *list, uint32_t *n)
{
    if (!PyList_Check(list) ||
        PyList_Size(list) > (Py_ssize_t)self->pool->size.backends) {
        PyErr_SetString(PyExc_TypeError, "members must be a list of backend indices, "
                                         "each once");
        return NULL;
    }
    *n = (uint32_t)PyList_Size(list);
    uint32_t *members = PyMem_Calloc(*n + 1U, sizeof *members);
    if (members == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (uint32_t k = 0; k < *n; k++) {
        unsigned long i = PyLong_AsUnsignedLong(PyList_GetItem(list, k));
        if (PyErr_Occurred()) {
            PyMem_Free(members);
            return NULL;
        }
        members[k] = (uint32_t)(i < UINT32_MAX ? i : UINT32_MAX);
    }
    return members;
}

PyDoc_STRVAR(pool_add_group_doc,
             "add_group($self, members, strategy, value=-1.0)\n--\n\n"
             "Name a set of backends; returns the group's index.  strategy: index of\n"
             "STRATEGIES; value: USD a second is worth, negative: unset.");

static PyObject *
pool_add_group(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"members", "strategy", "value", NULL};
    pool_object *self = (pool_object *)op;
    PyObject *list;
    int strategy;
    double value = -1;
    uint32_t n;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|d:add_group", names, &list,
                                     &strategy, &value))
        return NULL;
    uint32_t *members = py_read_members(self, list, &n);
    if (members == NULL)
        return NULL;
    PY_LOCK(self);
    int i =
        lb_pool_add_group(self->pool, (enum lb_strategy)strategy, value, members, n);
    PY_UNLOCK(self);
    PyMem_Free(members);
    return py_index(i, "add_group: unknown strategy or backend, or one twice");
}

#define PY_KW(f) PY_FAST(f), METH_VARARGS | METH_KEYWORDS

static PyMethodDef pool_methods[] = {
    {"add_backend", PY_KW(pool_add_backend), pool_add_backend_doc},
    {"set_terms", PY_KW(py_pool_set_terms), py_pool_set_terms_doc},
    {"set_weight", py_pool_set_weight, METH_VARARGS, py_pool_set_weight_doc},
    {"set_price", py_pool_set_price, METH_VARARGS, py_pool_set_price_doc},
    {"add_limit", PY_KW(pool_add_limit), pool_add_limit_doc},
    {"set_limit", py_pool_set_limit, METH_VARARGS, py_pool_set_limit_doc},
    {"share_limit", pool_share_limit, METH_VARARGS, pool_share_limit_doc},
    {"share_calls", pool_share_calls, METH_VARARGS, pool_share_calls_doc},
    {"add_budget", PY_KW(pool_add_budget), pool_add_budget_doc},
    {"set_budget", py_pool_set_budget, METH_VARARGS, py_pool_set_budget_doc},
    {"set_usual", py_pool_set_usual, METH_VARARGS, py_pool_set_usual_doc},
    {"set_window", py_pool_set_window, METH_VARARGS, py_pool_set_window_doc},
    {"charge", pool_charge, METH_VARARGS, pool_charge_doc},
    {"add_group", PY_KW(pool_add_group), pool_add_group_doc},
    {"set_group", PY_KW(py_pool_set_group), py_pool_set_group_doc},
    {"order", py_pool_order, METH_VARARGS, py_pool_order_doc},
    {"set_policy", PY_KW(py_pool_set_policy), py_pool_set_policy_doc},
    {"pick", PY_FAST(py_pool_pick), METH_FASTCALL | METH_KEYWORDS, py_pool_pick_doc},
    {"explain", PY_FAST(py_pool_explain), METH_FASTCALL | METH_KEYWORDS,
     py_pool_explain_doc},
    {"backend", py_pool_backend, METH_VARARGS, py_pool_backend_doc},
    {"budget", py_pool_budget, METH_VARARGS, py_pool_budget_doc},
    {"limit", py_pool_limit, METH_VARARGS, py_pool_limit_doc},
    {"output", py_pool_output, METH_VARARGS, py_pool_output_doc},
    {"usage", py_pool_usage, METH_NOARGS, py_pool_usage_doc},
    {"learned", py_pool_learned, METH_VARARGS, py_pool_learned_doc},
    {"teach", py_pool_teach, METH_VARARGS, py_pool_teach_doc},
    {"book", py_pool_book, METH_VARARGS, py_pool_book_doc},
    {"spent", py_pool_spent, METH_VARARGS, py_pool_spent_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_new, pool_tp_new},
    {Py_tp_dealloc, pool_tp_dealloc},
    {Py_tp_methods, pool_methods},
    {Py_tp_doc,
     (void *)"Pool(backends, limits, budgets, groups, members, sessions=0, seed=0)\n"
             "--\n\n"
             "Backends, groups, limits and budgets in one block of memory; the\n"
             "arguments are how many of each it has room for."},
    {0, NULL},
};

PyType_Spec py_pool_spec = {
    .name = "llmbalance._core.Pool",
    .basicsize = sizeof(pool_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = pool_slots,
};

/* py_pool.c - llmbalance._core.Pool: the type and its set-up.  Its choices are in
 * py_ask.c, what it shows of itself in py_view.c. */
#include "py_pool.h"

#include "py_price.h"

static int
pool_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"backends", "limits",   "budgets", "groups",
                            "members",  "sessions", "seed",    NULL};
    pool_object *self = (pool_object *)op;
    lb_pool_size size = {.limits = 0};
    unsigned long long seed = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "IIIII|IK:Pool", names, &size.backends, &size.limits,
            &size.budgets, &size.groups, &size.members, &size.sessions, &seed))
        return -1;
    if (self->pool != NULL) {
        PyErr_SetString(PyExc_TypeError, "a Pool is made once");
        return -1;
    }
    self->state = PyType_GetModuleState(Py_TYPE(op));
    self->pool = lb_pool_new(&size, seed);
    if (self->pool != NULL)
        return 0;
    (void)py_raise(LB_EINVAL, "Pool: 1 to 65535 backends, at most 65535 limits, "
                              "budgets and groups, sessions a power of two or 0, "
                              "and memory for them");
    return -1;
}

static void
pool_tp_dealloc(PyObject *op)
{
    pool_object *self = (pool_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    while (self->nspare > 0)
        PyObject_Free(self->spare[--self->nspare]);
    lb_pool_free(self->pool);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    tp_free(op);
    Py_DECREF(tp);
}

/* An index or status of the core as a Python int or exception. */
static PyObject *
index_or_raise(int i, const char *what)
{
    return i >= 0 ? PyLong_FromLong(i) : py_raise((enum lb_status)i, what);
}

static PyObject *
none_or_raise(enum lb_status st, const char *what)
{
    return st == LB_OK ? Py_NewRef(Py_None) : py_raise(st, what);
}

static int
read_rules(PyObject *o, lb_breaker_rules *rules)
{
    lb_breaker_default(rules);
    if (o == NULL || o == Py_None)
        return 0;
    double window, cooldown, cooldown_max, ramp;
    if (!PyArg_ParseTuple(o, "iifffidddd", &rules->in_a_row, &rules->min_calls,
                          &rules->failure_rate, &rules->slow_rate, &rules->probe_share,
                          &rules->probes_to_close, &window, &cooldown, &cooldown_max,
                          &ramp))
        return -1;
    rules->window = (lb_ns)(window * 1e9);
    rules->cooldown = (lb_ns)(cooldown * 1e9);
    rules->cooldown_max = (lb_ns)(cooldown_max * 1e9);
    rules->ramp = (lb_ns)(ramp * 1e9);
    return 0;
}

static char *const term_names[] = {
    "price",  "id",    "tags",    "can",    "context",    "max_output", "max_calls",
    "weight", "order", "quality", "family", "cache_life", "breaker",    NULL};

/* The keyword arguments of add_backend: terms, a price row and breaker rules. */
static int
read_terms(pool_object *self, PyObject *args, PyObject *kwargs, lb_terms *t,
           const lb_price **price, lb_breaker_rules *rules)
{
    PyObject *row, *breaker = NULL;
    unsigned long long id = 0, tags = 0;
    double cache_life = 0;
    *t = (lb_terms){.weight = 1};
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O|$KKIiiifbbbdO:add_backend", (char **)term_names, &row, &id,
            &tags, &t->can, &t->context, &t->max_output, &t->max_calls, &t->weight,
            &t->order, &t->quality, &t->family, &cache_life, &breaker))
        return -1;
    t->id = id;
    t->tags = tags;
    t->cache_life = (lb_ns)(cache_life * 1e9);
    *price = py_price_of(self->state, row, "price");
    return *price == NULL ? -1 : read_rules(breaker, rules);
}

PyDoc_STRVAR(
    pool_add_backend_doc,
    "add_backend($self, price, *, id=0, tags=0, can=0, context=0, max_output=0,\n"
    "            max_calls=0, weight=1.0, order=0, quality=0, family=0,\n"
    "            cache_life=0.0, breaker=None)\n"
    "--\n\n"
    "Add a backend; returns its index.\n\n"
    "price: PriceRow; id: stable 64-bit identity; tags, can: bit sets; context,\n"
    "max_output: tokens, 0 unknown; max_calls: in flight, 0 no limit; weight 0:\n"
    "drained; cache_life: s; breaker: (in_a_row, min_calls, failure_rate, slow_rate,\n"
    "probe_share, probes_to_close, window s, cooldown s, cooldown_max s, ramp s).");

static PyObject *
pool_add_backend(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pool_object *self = (pool_object *)op;
    lb_terms terms;
    lb_breaker_rules rules;
    const lb_price *price;
    if (read_terms(self, args, kwargs, &terms, &price, &rules) < 0)
        return NULL;
    PY_LOCK(self);
    int i = lb_pool_add_backend(self->pool, &terms, price, &rules);
    PY_UNLOCK(self);
    return index_or_raise(i, "add_backend: a value is out of range");
}

PyDoc_STRVAR(pool_set_terms_doc,
             "set_terms($self, backend, price, *, id=0, tags=0, can=0, context=0,\n"
             "          max_output=0, max_calls=0, weight=1.0, order=0, quality=0,\n"
             "          family=0, cache_life=0.0, breaker=None)\n"
             "--\n\n"
             "Change everything add_backend() set, while the pool is in use.");

static PyObject *
pool_set_terms(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pool_object *self = (pool_object *)op;
    lb_terms terms;
    lb_breaker_rules rules;
    const lb_price *price;
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_Size(args));
    unsigned long i = PyTuple_Size(args) > 0
                          ? PyLong_AsUnsignedLong(PyTuple_GetItem(args, 0))
                          : ULONG_MAX;
    if (rest == NULL || (PyErr_Occurred() != NULL)) {
        Py_XDECREF(rest);
        return NULL;
    }
    int bad = read_terms(self, rest, kwargs, &terms, &price, &rules);
    Py_DECREF(rest);
    if (bad < 0)
        return NULL;
    PY_LOCK(self);
    enum lb_status st = LB_EINVAL;
    if (i < self->pool->used.backends && lb_breaker_check(&rules) == LB_OK)
        st = lb_pool_set_terms(self->pool, (uint32_t)i, &terms);
    if (st == LB_OK) {
        lb_pool_record(self->pool, (uint32_t)i)->price = *price;
        (void)lb_pool_set_rules(self->pool, (uint32_t)i, &rules);
    }
    PY_UNLOCK(self);
    return none_or_raise(st, "set_terms: a value is out of range");
}

PyDoc_STRVAR(pool_set_weight_doc,
             "set_weight($self, backend, weight)\n--\n\n"
             "Change a backend's share; 0 drains it: no new calls.");

static PyObject *
pool_set_weight(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    float weight;
    if (!PyArg_ParseTuple(args, "If:set_weight", &i, &weight))
        return NULL;
    PY_LOCK(self);
    enum lb_status st = LB_EINVAL;
    if (i < self->pool->used.backends) {
        lb_terms terms = lb_pool_backend(self->pool, i)->terms;
        terms.weight = weight;
        st = lb_pool_set_terms(self->pool, i, &terms);
    }
    PY_UNLOCK(self);
    return none_or_raise(st, "set_weight: weight must be 0 to 1e6");
}

PyDoc_STRVAR(pool_set_price_doc, "set_price($self, backend, price)\n--\n\n"
                                 "Change a backend's PriceRow from the next call on.");

static PyObject *
pool_set_price(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    PyObject *row;
    if (!PyArg_ParseTuple(args, "IO:set_price", &i, &row))
        return NULL;
    const lb_price *price = py_price_of(self->state, row, "price");
    if (price == NULL)
        return NULL;
    if (i >= self->pool->used.backends)
        return py_raise(LB_EINVAL, "set_price: no such backend");
    PY_LOCK(self);
    lb_pool_record(self->pool, i)->price = *price;
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
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
    return index_or_raise(i, "add_limit: limit and window must be > 0, burst >= 0, "
                             "at most 30 days a unit, at most 8 limits a backend");
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
    return none_or_raise(st, "share_limit: no such backend or limit");
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
    if (py_seconds(when, LB_FOREVER, &now) < 0)
        return NULL;
    if (now == LB_FOREVER)
        now = py_now();
    int i = LB_EINVAL;
    if (kind >= LB_TOTAL && kind <= LB_ROLLING && period >= 0 && period < 9e9 &&
        ends_in >= 0 && ends_in < 9e9) {
        PY_LOCK(self);
        i = lb_pool_add_budget(self->pool, (enum lb_budget_kind)kind, hard != 0, cap,
                               (lb_ns)(period * 1e9), now + (lb_ns)(ends_in * 1e9),
                               now);
        PY_UNLOCK(self);
    }
    return index_or_raise(i, "add_budget: cap must be >= 0, period and ends_in > 0 "
                             "where the kind has them");
}

PyDoc_STRVAR(pool_set_window_doc,
             "set_window($self, budget, period, ends_in, now=None)\n--\n\n"
             "Say when a budget's fixed window ends and how long the next one is, s;\n"
             "months and days of a calendar are not equally long.");

static PyObject *
pool_set_window(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    double period, ends_in;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "Idd|O:set_window", &i, &period, &ends_in, &when) ||
        py_seconds(when, LB_FOREVER, &now) < 0)
        return NULL;
    if (now == LB_FOREVER)
        now = py_now();
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
    PY_LOCK(self);
    enum lb_status st = scope[0] == 'a' ? lb_pool_charge_all(self->pool, budget)
                        : scope[0] == 'g'
                            ? lb_pool_charge_group(self->pool, index, budget)
                            : lb_pool_charge_backend(self->pool, index, budget);
    PY_UNLOCK(self);
    return none_or_raise(st, "charge: no such budget, group or backend");
}

/* A list of backend indices into a buffer of the pool's capacity; NULL: raised. */
static uint32_t *
read_members(const pool_object *self, PyObject *list, uint32_t *n)
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
        members[k] = (uint32_t)PyLong_AsUnsignedLong(PyList_GetItem(list, k));
        if (PyErr_Occurred()) {
            PyMem_Free(members);
            return NULL;
        }
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
    uint32_t *members = read_members(self, list, &n);
    if (members == NULL)
        return NULL;
    PY_LOCK(self);
    int i =
        lb_pool_add_group(self->pool, (enum lb_strategy)strategy, value, members, n);
    PY_UNLOCK(self);
    PyMem_Free(members);
    return index_or_raise(i, "add_group: unknown strategy or backend");
}

PyDoc_STRVAR(pool_set_group_doc,
             "set_group($self, group, members, strategy, value=-1.0)\n--\n\n"
             "Change a group while the pool is in use.");

static PyObject *
pool_set_group(PyObject *op, PyObject *args, PyObject *kwargs)
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
    uint32_t *members = read_members(self, list, &n);
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
    return none_or_raise(st, "set_group: unknown group, strategy or backend");
}

PyDoc_STRVAR(pool_order_doc,
             "order($self, backend, order, now=None)\n--\n\n"
             "Command a breaker: 0 decide yourself, 1 stay open, 2 stay closed.");

static PyObject *
pool_order(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    int order;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "Ii|O:order", &i, &order, &when) ||
        py_seconds(when, LB_FOREVER, &now) < 0)
        return NULL;
    if (i >= self->pool->used.backends || order < LB_AUTO || order > LB_FORCED_CLOSED)
        return py_raise(LB_EINVAL, "order: no such backend or order");
    PY_LOCK(self);
    lb_breaker_order(&lb_pool_backend(self->pool, i)->breaker,
                     (enum lb_breaker_order)order, now == LB_FOREVER ? py_now() : now);
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(pool_set_policy_doc,
             "set_policy($self, shift=0.8, stop=0.95, ceiling=1.0, horizon=10.0)\n"
             "--\n\n"
             "How limits are approached: from `shift` on a backend gets dearer, at\n"
             "`stop` twice so; ordinary traffic may use `ceiling` of a limit;\n"
             "`predictive` looks `horizon` seconds ahead.");

static PyObject *
pool_set_policy(PyObject *op, PyObject *args, PyObject *kwargs)
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
    lb_pool *p = ((pool_object *)op)->pool;
    p->shift = shift;
    p->stop = stop;
    p->ceiling = ceiling;
    p->horizon = (lb_ns)(horizon * 1e9);
    return Py_NewRef(Py_None);
}

#define PY_KW(f) PY_FAST(f), METH_VARARGS | METH_KEYWORDS

static PyMethodDef pool_methods[] = {
    {"add_backend", PY_KW(pool_add_backend), pool_add_backend_doc},
    {"set_terms", PY_KW(pool_set_terms), pool_set_terms_doc},
    {"set_weight", pool_set_weight, METH_VARARGS, pool_set_weight_doc},
    {"set_price", pool_set_price, METH_VARARGS, pool_set_price_doc},
    {"add_limit", PY_KW(pool_add_limit), pool_add_limit_doc},
    {"share_limit", pool_share_limit, METH_VARARGS, pool_share_limit_doc},
    {"add_budget", PY_KW(pool_add_budget), pool_add_budget_doc},
    {"set_window", pool_set_window, METH_VARARGS, pool_set_window_doc},
    {"charge", pool_charge, METH_VARARGS, pool_charge_doc},
    {"add_group", PY_KW(pool_add_group), pool_add_group_doc},
    {"set_group", PY_KW(pool_set_group), pool_set_group_doc},
    {"order", pool_order, METH_VARARGS, pool_order_doc},
    {"set_policy", PY_KW(pool_set_policy), pool_set_policy_doc},
    {"pick", PY_FAST(py_pool_pick), METH_FASTCALL | METH_KEYWORDS, py_pool_pick_doc},
    {"explain", PY_FAST(py_pool_explain), METH_FASTCALL | METH_KEYWORDS,
     py_pool_explain_doc},
    {"backend", py_pool_backend, METH_VARARGS, py_pool_backend_doc},
    {"budget", py_pool_budget, METH_VARARGS, py_pool_budget_doc},
    {"limit", py_pool_limit, METH_VARARGS, py_pool_limit_doc},
    {"output", py_pool_output, METH_VARARGS, py_pool_output_doc},
    {"usage", py_pool_usage, METH_NOARGS, py_pool_usage_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, pool_tp_init},
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

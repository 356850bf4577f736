/* py_lease.c - llmbalance._core.Lease, lb_lease.h made visible. */
#include "py_pool.h"

#include <stddef.h>
#include <string.h>

/* With a GIL nobody else can hold or look at the memory of a dead object. */
#ifdef Py_GIL_DISABLED
static const bool KEEPS_SPARES = false;
#else
static const bool KEEPS_SPARES = true;
#endif

lease_object *
py_lease_new(pool_object *owner)
{
    PyTypeObject *tp = owner->state->type[PY_LEASE];
    lease_object *self;
    if (owner->nspare > 0) {
        self = owner->spare[--owner->nspare];
        (void)PyObject_Init((PyObject *)self, tp);
    } else {
        self = PyObject_New(lease_object, tp);
        if (self == NULL)
            return NULL;
    }
    self->owner = (pool_object *)Py_NewRef((PyObject *)owner);
    self->timed = false;
    memset(&self->lease, 0, offsetof(lb_lease, decision));
    return self;
}

PyObject *
py_lease_pick(lease_object *self, lb_ns now)
{
    self->timed = now != LB_FOREVER;
    if (!self->timed)
        now = py_now();
    PY_LOCK(self->owner);
    int backend = lb_lease_pick(self->owner->pool, &self->ask, &self->lease, now);
    PY_UNLOCK(self->owner);
    self->lease.backend = backend;
    return (PyObject *)self;
}

static int64_t
settle(lease_object *self, const lb_result *result, lb_ns now)
{
    PY_LOCK(self->owner);
    int64_t cost = lb_lease_settle(self->owner->pool, &self->lease, result, now);
    PY_UNLOCK(self->owner);
    return cost;
}

/* Nobody said what became of the call: the prompt may have been sent and billed. */
static void
settle_dropped(lease_object *self)
{
    lb_result dropped;
    lb_result_init(&dropped);
    dropped.sent = true;
    dropped.usage.count[LB_INPUT] = self->lease.load.input;
    (void)settle(self, &dropped, self->timed ? self->owner->pool->latest : py_now());
}

static void
lease_tp_dealloc(PyObject *op)
{
    lease_object *self = (lease_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    pool_object *owner = self->owner;
    if (self->lease.live)
        settle_dropped(self);
    if (KEEPS_SPARES && owner->nspare < SPARE_LEASES)
        owner->spare[owner->nspare++] = self;
    else
        PyObject_Free(self);
    Py_DECREF((PyObject *)owner);
    Py_DECREF(tp);
}

/* A tuple of counts in the order of enum lb_kind; shorter is fine. */
static int
read_usage(PyObject *o, lb_usage *u)
{
    if (o == NULL || o == Py_None)
        return 0;
    Py_ssize_t n = PyTuple_Check(o) ? PyTuple_Size(o) : -1;
    if (n < 0 || n > LB_NKINDS) {
        PyErr_Format(PyExc_TypeError, "usage must be a tuple of at most %d counts",
                     (int)LB_NKINDS);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        u->count[i] = PyLong_AsLongLong(PyTuple_GetItem(o, i));
        if (u->count[i] == -1 && PyErr_Occurred())
            return -1;
    }
    return 0;
}

static int
read_told_one(PyObject *o, lb_told *told)
{
    int unit;
    long long limit, remaining;
    double reset, window;
    if (!PyArg_ParseTuple(o,
                          "iLLdd;told must hold tuples (unit, limit, remaining, "
                          "reset seconds, window seconds)",
                          &unit, &limit, &remaining, &reset, &window))
        return -1;
    if (unit < 0 || unit >= LB_NUNITS) {
        PyErr_SetString(PyExc_ValueError, "told: unknown unit");
        return -1;
    }
    told->unit = (uint8_t)unit;
    told->reading = (lb_reading){
        .limit = limit,
        .remaining = remaining,
        .reset = reset < 0 || reset > 9e9 ? -1 : (lb_ns)(reset * 1e9),
        .window = window < 0 || window > 9e9 ? -1 : (lb_ns)(window * 1e9),
    };
    return 0;
}

static int
read_told(PyObject *o, lb_result *r)
{
    if (o == NULL || o == Py_None)
        return 0;
    if (!PyList_Check(o)) {
        PyErr_SetString(PyExc_TypeError, "told must be a list of tuples");
        return -1;
    }
    Py_ssize_t n = PyList_Size(o);
    for (Py_ssize_t i = 0; i < n && r->ntold < LB_READINGS; i++) {
        if (!PyTuple_Check(PyList_GetItem(o, i))) {
            PyErr_SetString(PyExc_TypeError, "told must be a list of tuples");
            return -1;
        }
        if (read_told_one(PyList_GetItem(o, i), &r->told[r->ntold]) < 0)
            return -1;
        r->ntold++;
    }
    return 0;
}

static int
read_seconds(PyObject *o, double *out)
{
    if (o == NULL || o == Py_None)
        return 0;
    *out = PyFloat_AsDouble(o);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(
    lease_settle_doc,
    "settle($self, outcome, usage=None, ttft=None, seconds=None, sent=True,\n"
    "       metered=False, cost=None, retry_after=None, told=None, now=None)\n"
    "--\n\n"
    "Settle the lease with what really happened; a second time changes nothing.\n\n"
    "outcome: an OUTCOMES index; usage: counts in the order of KINDS, billed if\n"
    "metered; ttft, seconds: of a complete answer, or of a cancelled call how long it\n"
    "had taken when another was faster; sent: False refunds everything;\n"
    "cost: nano-USD stated by the provider; retry_after: seconds; told: limits from\n"
    "headers as (unit, limit, remaining, reset s, window s), -1 for what is not said.\n"
    "Returns the nano-USD billed.");

static PyObject *
lease_settle(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"outcome", "usage",   "ttft", "seconds",
                                        "sent",    "metered", "cost", "retry_after",
                                        "told",    "now",     NULL};
    PyObject *a[10];
    lb_result r;
    lb_ns now;
    lb_result_init(&r);
    if (py_args("settle", args, nargs, kwnames, names, 1, a) < 0)
        return NULL;
    long outcome = PyLong_AsLong(a[0]);
    if (outcome == -1 && PyErr_Occurred())
        return NULL;
    if (outcome < 0 || outcome >= LB_NOUTCOMES)
        return py_raise(LB_EINVAL, "outcome must be an index of OUTCOMES");
    r.outcome = (enum lb_outcome)outcome;
    if (read_usage(a[1], &r.usage) < 0 || read_seconds(a[2], &r.ttft) < 0 ||
        read_seconds(a[3], &r.seconds) < 0)
        return NULL;
    r.sent = a[4] == NULL || PyObject_IsTrue(a[4]) == 1;
    r.metered = a[5] != NULL && PyObject_IsTrue(a[5]) == 1;
    if (a[6] != NULL && a[6] != Py_None) {
        r.cost = PyLong_AsLongLong(a[6]);
        if (r.cost == -1 && PyErr_Occurred())
            return NULL;
        if (r.cost < 0)
            return py_raise(LB_EINVAL, "cost must be >= 0 nano-USD");
    }
    if (py_seconds(a[7], 0, &r.retry_after) < 0 || read_told(a[8], &r) < 0)
        return NULL;
    if (py_at(a[9], &now) < 0)
        return NULL;
    return PyLong_FromLongLong(settle((lease_object *)op, &r, now));
}

PyDoc_STRVAR(
    lease_again_doc,
    "again($self, group=None, last_resort=None, now=None)\n--\n\n"
    "The next attempt of the same call: a new Lease that leaves out every backend\n"
    "tried so far.  In another group the list of tried ones goes along.");

static PyObject *
lease_again(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"group", "last_resort", "now", NULL};
    lease_object *self = (lease_object *)op;
    PyObject *a[3];
    lb_ns now;
    if (py_args("again", args, nargs, kwnames, names, 0, a) < 0 ||
        py_moment(a[2], &now) < 0)
        return NULL;
    unsigned long group = self->ask.group;
    if (a[0] != NULL && a[0] != Py_None)
        group = PyLong_AsUnsignedLong(a[0]);
    if (PyErr_Occurred())
        return NULL;
    if (group >= self->owner->pool->used.groups)
        return py_raise(LB_EINVAL, "group: no such index");
    lease_object *next = py_lease_new(self->owner);
    if (next == NULL)
        return NULL;
    lb_ask *ask = &next->ask;
    *ask = self->ask;
    ask->group = (uint32_t)group;
    if (self->lease.backend >= 0 && ask->ntried < LB_TRIED)
        ask->tried[ask->ntried++] = (uint16_t)self->lease.backend;
    if (a[1] != NULL && a[1] != Py_None)
        ask->last_resort = PyObject_IsTrue(a[1]) == 1;
    return py_lease_pick(next, now);
}

PyDoc_STRVAR(
    lease_tail_doc,
    "tail($self, first)\n--\n\n"
    "Seconds that calls of this size take at the backend: (p50, p95, p99), to\n"
    "the first token if *first*; None while too little is known.");

static PyObject *
lease_tail(PyObject *op, PyObject *first)
{
    const lease_object *self = (const lease_object *)op;
    lb_tail t;
    bool known = false;
    if (self->lease.backend >= 0) {
        PY_LOCK(self->owner);
        known = lb_lease_tail(self->owner->pool, &self->lease,
                              PyObject_IsTrue(first) == 1, &t);
        PY_UNLOCK(self->owner);
    }
    if (!known)
        return Py_NewRef(Py_None);
    return Py_BuildValue("(ddd)", t.p50, t.p95, t.p99);
}

PyDoc_STRVAR(lease_progress_doc,
             "progress($self, output_tokens)\n--\n\n"
             "Tell how many output tokens a running stream has brought so far.");

static PyObject *
lease_progress(PyObject *op, PyObject *arg)
{
    lease_object *self = (lease_object *)op;
    long long tokens = PyLong_AsLongLong(arg);
    if (tokens == -1 && PyErr_Occurred())
        return NULL;
    PY_LOCK(self->owner);
    lb_lease_progress(self->owner->pool, &self->lease, tokens);
    PY_UNLOCK(self->owner);
    return Py_NewRef(Py_None);
}

enum field {
    BACKEND,
    LIVE,
    GROUP,
    STARTED,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    COST,
    HOLD,
    SECONDS,
    WAIT,
    RIVALS,
    PROBE,
    DESPERATE,
    DECISION,
};

/* Others that could have taken the call, or would after those. */
static uint32_t
rivals(const lb_decision *d)
{
    uint32_t n =
        d->refused[LB_ELIGIBLE] + d->refused[LB_NO_ORDER] + d->refused[LB_NO_STALL];
    if (d->looked < d->members)
        n += d->members - d->looked;
    return n > 0 ? n - 1 : 0;
}

static PyObject *
lease_get(PyObject *op, void *closure)
{
    const lb_lease *l = &((lease_object *)op)->lease;
    switch ((enum field)(intptr_t)closure) {
    case BACKEND:
        return PyLong_FromLong(l->backend);
    case LIVE:
        return PyBool_FromLong(l->live);
    case GROUP:
        return PyLong_FromUnsignedLong(((lease_object *)op)->ask.group);
    case STARTED:
        return PyFloat_FromDouble((double)l->started / 1e9);
    case INPUT_TOKENS:
        return PyLong_FromLongLong(l->load.input);
    case OUTPUT_TOKENS:
        return PyLong_FromLongLong(l->load.output);
    case COST:
        return PyLong_FromLongLong(l->cost);
    case HOLD:
        return PyLong_FromLongLong(l->hold);
    case SECONDS:
        return PyFloat_FromDouble(l->seconds);
    case RIVALS:
        return PyLong_FromUnsignedLong(rivals(&l->decision));
    case WAIT:
        return py_wait(l->decision.wait);
    case PROBE:
        return PyBool_FromLong(l->decision.probe);
    case DESPERATE:
        return PyBool_FromLong(l->decision.desperate);
    default:
        return py_decision(&l->decision);
    }
}

static PyMethodDef lease_methods[] = {
    {"settle", PY_FAST(lease_settle), METH_FASTCALL | METH_KEYWORDS, lease_settle_doc},
    {"again", PY_FAST(lease_again), METH_FASTCALL | METH_KEYWORDS, lease_again_doc},
    {"progress", lease_progress, METH_O, lease_progress_doc},
    {"tail", lease_tail, METH_O, lease_tail_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lease_getset[] = {
    {"backend", lease_get, NULL, "Index of the chosen backend; -1: none.",
     (void *)BACKEND},
    {"live", lease_get, NULL, "Not settled yet.", (void *)LIVE},
    {"group", lease_get, NULL, "Index of the group it was picked from.", (void *)GROUP},
    {"started", lease_get, NULL, "Time of the pick, monotonic seconds.",
     (void *)STARTED},
    {"input_tokens", lease_get, NULL, "Prompt tokens reserved.", (void *)INPUT_TOKENS},
    {"output_tokens", lease_get, NULL, "Output tokens reserved.",
     (void *)OUTPUT_TOKENS},
    {"cost", lease_get, NULL, "Expected cost, nano-USD.", (void *)COST},
    {"hold", lease_get, NULL, "Held against budgets, nano-USD.", (void *)HOLD},
    {"seconds", lease_get, NULL, "Expected duration, s.", (void *)SECONDS},
    {"rivals", lease_get, NULL, "How many others could have taken the call.",
     (void *)RIVALS},
    {"wait", lease_get, NULL,
     "Without a backend: seconds until one may fit; inf: never.", (void *)WAIT},
    {"probe", lease_get, NULL, "Tests a half-open breaker.", (void *)PROBE},
    {"desperate", lease_get, NULL, "All breakers were open.", (void *)DESPERATE},
    {"decision", lease_get, NULL, "The record of the choice as a dict.",
     (void *)DECISION},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_dealloc, lease_tp_dealloc},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_getset},
    {Py_tp_doc, (void *)"What one call holds of a pool; made by Pool.pick()."},
    {0, NULL},
};

/* No GC: a lease refers to its pool only, and a pool to nothing. */
PyType_Spec py_lease_spec = {
    .name = "llmbalance._core.Lease",
    .basicsize = sizeof(lease_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lease_slots,
};

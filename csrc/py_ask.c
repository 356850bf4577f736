/* py_ask.c - Pool.pick and Pool.explain: from a call's arguments to lb_ask. */
#include "py_pool.h"

#include "py_tokens.h"

/* A number from 0 to `most`. */
static int
read_count(PyObject *o, const char *what, int64_t most, int64_t *out)
{
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (n == -1 && PyErr_Occurred())
        return -1;
    if (overflow != 0 || n < 0 || n > most) {
        PyErr_Format(PyExc_ValueError, "%s must be 0 to %lld, not %R", what,
                     (long long)most, o);
        return -1;
    }
    *out = n;
    return 0;
}

static int
read_indices(PyObject *o, const char *what, uint32_t below, uint16_t *out, uint8_t *n,
             int max)
{
    if (!PyTuple_Check(o) || PyTuple_Size(o) > max) {
        PyErr_Format(PyExc_TypeError, "%s must be a tuple of at most %d indices", what,
                     max);
        return -1;
    }
    *n = 0;
    for (Py_ssize_t k = 0; k < PyTuple_Size(o); k++) {
        unsigned long i = PyLong_AsUnsignedLong(PyTuple_GetItem(o, k));
        if (PyErr_Occurred())
            return -1;
        if (i >= below) {
            PyErr_Format(PyExc_ValueError, "%s: no such index", what);
            return -1;
        }
        out[(*n)++] = (uint16_t)i;
    }
    return 0;
}

enum ask_option {
    NEEDS,
    TAGS,
    SESSION,
    MAX_COST,
    MAX_LATENCY,
    VALUE,
    STRATEGY,
    QUALITY,
    PRIORITY,
    LAST_RESORT,
    TRIED,
    BUDGETS,
    NOPTIONS,
};

/* One option; -1 and an exception when it cannot be read. */
static int
read_option(const pool_object *owner, enum ask_option which, PyObject *o, lb_ask *ask)
{
    int64_t count = 0;
    switch (which) {
    case NEEDS:
        if (read_count(o, "needs", UINT32_MAX, &count) < 0)
            return -1;
        ask->needs |= (uint32_t)count;
        break;
    case TAGS:
        ask->tags = PyLong_AsUnsignedLongLong(o);
        break;
    case SESSION:
        ask->session = PyLong_AsUnsignedLongLong(o);
        break;
    case MAX_COST:
        return read_count(o, "max_cost", INT64_MAX, &ask->max_cost);
    case MAX_LATENCY:
        return py_seconds(o, LB_FOREVER, &ask->max_latency);
    case VALUE:
        ask->value = PyFloat_AsDouble(o);
        break;
    case STRATEGY: {
        long strategy = PyLong_AsLong(o);
        if (strategy < 0 || strategy >= LB_NSTRATEGIES) {
            PyErr_SetString(PyExc_ValueError,
                            "strategy must be an index of STRATEGIES");
            return -1;
        }
        ask->strategy = (int8_t)strategy;
        break;
    }
    case QUALITY:
        if (read_count(o, "quality", UINT8_MAX, &count) < 0)
            return -1;
        ask->quality = (uint8_t)count;
        break;
    case PRIORITY:
        ask->priority = PyObject_IsTrue(o) == 1;
        break;
    case LAST_RESORT:
        ask->last_resort = PyObject_IsTrue(o) == 1;
        break;
    case TRIED:
        return read_indices(o, "tried", owner->pool->used.backends, ask->tried,
                            &ask->ntried, LB_TRIED);
    default:
        return read_indices(o, "budgets", owner->pool->used.budgets, ask->budget,
                            &ask->nbudgets, LB_ASK_BUDGETS);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int
read_options(const pool_object *owner, PyObject *const *a, lb_ask *ask)
{
    for (int k = 0; k < NOPTIONS; k++)
        if (a[k] != NULL && a[k] != Py_None &&
            read_option(owner, (enum ask_option)k, a[k], ask) < 0)
            return -1;
    return 0;
}

enum { GROUP_ARG, PROMPT_ARG, MAX_TOKENS_ARG, TOOLS_ARG, OPTION_ARGS };

/* group, prompt, max_tokens, tools, the options: the arguments of pick. */
static int
read_ask(const pool_object *self, PyObject *const *a, lb_ask *ask)
{
    unsigned long group = PyLong_AsUnsignedLong(a[GROUP_ARG]);
    if (PyErr_Occurred())
        return -1;
    if (group >= self->pool->used.groups) {
        (void)py_raise(LB_EINVAL, "group: no such index");
        return -1;
    }
    lb_ask_init(ask, (uint32_t)group);
    py_prompt prompt;
    if (py_measure(a[PROMPT_ARG], a[TOOLS_ARG], &prompt) < 0)
        return -1;
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        ask->tokens[f] = lb_tokens_whole(prompt.tokens[f]);
    ask->chars = (int64_t)prompt.chars;
    ask->messages = (int32_t)prompt.messages;
    if (prompt.images > 0)
        ask->needs |= LB_CAN_VISION;
    if (a[MAX_TOKENS_ARG] != NULL && a[MAX_TOKENS_ARG] != Py_None &&
        read_count(a[MAX_TOKENS_ARG], "max_tokens", INT64_MAX, &ask->max_tokens) < 0)
        return -1;
    return read_options(self, a + OPTION_ARGS, ask);
}

static const char *const pick_names[] = {
    "group",    "prompt",      "max_tokens",  "tools",   "needs",    "tags",
    "session",  "max_cost",    "max_latency", "value",   "strategy", "quality",
    "priority", "last_resort", "tried",       "budgets", "now",      NULL,
};
enum { NOW_ARG = OPTION_ARGS + NOPTIONS, NPICK_ARGS };

const char py_pool_pick_doc[] = PyDoc_STR(
    "pick($self, group, prompt, max_tokens=None, tools=None, needs=None, tags=None,\n"
    "     session=None, max_cost=None, max_latency=None, value=None, strategy=None,\n"
    "     quality=None, priority=None, last_resort=None, tried=None, budgets=None,\n"
    "     now=None)\n"
    "--\n\n"
    "Measure the prompt, choose a backend of the group and reserve what the call\n"
    "will use.  Returns a Lease; its backend is -1 when none fits now.\n\n"
    "prompt: str or list of messages; max_cost: nano-USD; max_latency: s; value:\n"
    "USD a second; tried, budgets: tuples of indices; now: monotonic s.");

PyObject *
py_pool_pick(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    pool_object *self = (pool_object *)op;
    PyObject *a[NPICK_ARGS];
    lb_ns now;
    if (py_args("pick", args, nargs, kwnames, pick_names, 2, a) < 0 ||
        py_moment(a[NOW_ARG], &now) < 0)
        return NULL;
    lease_object *lease = py_lease_new(self);
    if (lease == NULL)
        return NULL;
    if (read_ask(self, a, &lease->ask) < 0) {
        Py_DECREF((PyObject *)lease);
        return NULL;
    }
    return py_lease_pick(lease, now);
}

const char py_pool_explain_doc[] = PyDoc_STR(
    "explain($self, group, prompt, max_tokens=None, tools=None, needs=None,\n"
    "        tags=None, session=None, max_cost=None, max_latency=None, value=None,\n"
    "        strategy=None, quality=None, priority=None, last_resort=None,\n"
    "        tried=None, budgets=None, now=None)\n"
    "--\n\n"
    "What pick() would see of every member, as dicts; nothing is reserved.");

PyObject *
py_pool_explain(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    pool_object *self = (pool_object *)op;
    PyObject *a[NPICK_ARGS];
    lb_ask ask;
    lb_ns now;
    if (py_args("explain", args, nargs, kwnames, pick_names, 2, a) < 0 ||
        read_ask(self, a, &ask) < 0 || py_moment(a[NOW_ARG], &now) < 0)
        return NULL;
    int max = (int)lb_pool_group(self->pool, ask.group)->count;
    lb_quote *q = PyMem_Calloc((size_t)max + 1, sizeof *q);
    if (q == NULL)
        return PyErr_NoMemory();
    PY_LOCK(self);
    int n =
        lb_lease_explain(self->pool, &ask, q, max, now == LB_FOREVER ? py_now() : now);
    PY_UNLOCK(self);
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < n; i++) {
        PyObject *line = py_quote(&q[i]);
        if (line == NULL || PyList_Append(list, line) < 0)
            Py_CLEAR(list);
        Py_XDECREF(line);
    }
    PyMem_Free(q);
    return list;
}

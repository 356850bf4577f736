/* py_learn.c - lb_learn.h made visible: lessons as dicts, and money of budgets. */
#include "py_pool.h"

#include "lb_learn.h"

/* scope "backend" or "group" and an index of it; 0 group, 1 backend, -1 raised. */
static int
read_scope(const lb_pool *p, const char *scope, unsigned int i)
{
    bool backend = scope[0] == 'b';
    uint32_t n = backend ? p->used.backends : p->used.groups;
    if (i < n)
        return backend;
    PyErr_Format(PyExc_IndexError, "%s %u of %u", scope, i, (unsigned)n);
    return -1;
}

static PyObject *
group_lesson(const lb_group_lesson *in)
{
    PyObject *list = PyList_New(0);
    for (int k = 0; list != NULL && k < LB_SIZES; k++) {
        PyObject *row =
            Py_BuildValue("(ddd)", (double)in->output[k].mean,
                          (double)in->output[k].high, (double)in->output[k].seen);
        if (row == NULL || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    if (list == NULL)
        return NULL;
    return Py_BuildValue("{s:d,s:d,s:i,s:N}", "ttft", (double)in->prior.ttft, "itl",
                         (double)in->prior.itl, "answers", (int)in->answers, "output",
                         list);
}

const char py_pool_learned_doc[] =
    PyDoc_STR("learned($self, scope, index, now=None)\n--\n\n"
              "What a 'backend' or a 'group' has learned, as a dict for teach().");

PyObject *
py_pool_learned(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    const char *scope;
    unsigned int i;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "sI|O:learned", &scope, &i, &when) ||
        py_at(when, &now) < 0)
        return NULL;
    int backend = read_scope(self->pool, scope, i);
    if (backend < 0)
        return NULL;
    lb_lesson b;
    lb_group_lesson g;
    PY_LOCK(self);
    if (backend)
        lb_learn_backend(self->pool, i, &b, now);
    else
        lb_learn_group(self->pool, i, &g);
    PY_UNLOCK(self);
    if (!backend)
        return group_lesson(&g);
    return Py_BuildValue(
        "{s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:i,s:d}",
        "ratio", (double)b.ratio, "fail", (double)b.fail, "x", (double)b.x, "y",
        (double)b.y, "xx", (double)b.xx, "xy", (double)b.xy, "base", (double)b.base,
        "slope", (double)b.slope, "itl", (double)b.itl, "load", (double)b.load, "nn",
        (double)b.nn, "nk", (double)b.nk, "steep", (double)b.steep, "seconds",
        (double)b.seconds, "trend", (double)b.trend, "samples", (int)b.samples, "age",
        (double)b.age / 1e9);
}

/* The number under a key of a lesson; 0, or -1 and raise. */
static int
number(PyObject *state, const char *key, double *out)
{
    PyObject *value = PyDict_GetItemString(state, key);
    if (value == NULL) {
        PyErr_Format(PyExc_ValueError, "teach: '%s' is missing", key);
        return -1;
    }
    *out = PyFloat_AsDouble(value);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int
read_lesson(PyObject *state, lb_lesson *out)
{
    static const char *const keys[] = {"ratio", "fail", "x",     "y",   "xx",
                                       "xy",    "base", "slope", "itl", "seconds",
                                       "trend", "load", "nn",    "nk",  "steep"};
    enum { NEWER = 11 }; /* these and later ones were not written by 0.1.0 */
    float *const to[] = {&out->ratio, &out->fail, &out->x,     &out->y,   &out->xx,
                         &out->xy,    &out->base, &out->slope, &out->itl, &out->seconds,
                         &out->trend, &out->load, &out->nn,    &out->nk,  &out->steep};
    double value, samples, age;
    for (int k = 0; k < (int)(sizeof keys / sizeof *keys); k++) {
        bool left_out = k >= NEWER && PyDict_GetItemString(state, keys[k]) == NULL;
        if (!left_out && number(state, keys[k], &value) < 0)
            return -1;
        *to[k] = left_out ? 0 : (float)value;
    }
    if (number(state, "samples", &samples) < 0 || number(state, "age", &age) < 0)
        return -1;
    if (!(samples >= 0 && samples <= INT32_MAX && age >= 0 && age < 9e9)) {
        PyErr_SetString(PyExc_ValueError, "teach: samples and age must be >= 0");
        return -1;
    }
    out->samples = (int32_t)samples;
    out->age = (lb_ns)(age * 1e9);
    return 0;
}

static int
read_group_lesson(PyObject *state, lb_group_lesson *out)
{
    double ttft, itl, answers;
    PyObject *rows = PyDict_GetItemString(state, "output");
    if (rows == NULL || !PyList_Check(rows) || PyList_Size(rows) != LB_SIZES) {
        PyErr_Format(PyExc_ValueError, "teach: 'output' must be a list of %d rows",
                     (int)LB_SIZES);
        return -1;
    }
    if (number(state, "ttft", &ttft) < 0 || number(state, "itl", &itl) < 0 ||
        number(state, "answers", &answers) < 0)
        return -1;
    out->answers = answers >= 0 && answers <= INT32_MAX ? (int32_t)answers : -1;
    out->prior = (lb_latency_prior){.ttft = (float)ttft, .itl = (float)itl};
    for (int k = 0; k < LB_SIZES; k++) {
        PyObject *row = PySequence_Tuple(PyList_GetItem(rows, k));
        double mean, high, seen;
        int good = row != NULL && PyArg_ParseTuple(row, "ddd", &mean, &high, &seen);
        Py_XDECREF(row);
        if (!good)
            return -1;
        out->output[k].mean = (float)mean;
        out->output[k].high = (float)high;
        out->output[k].seen = (float)seen;
    }
    return 0;
}

const char py_pool_teach_doc[] =
    PyDoc_STR("teach($self, scope, index, lesson, age=0.0, now=None)\n--\n\n"
              "Go on from what learned() returned *age* seconds ago.  ValueError, and\n"
              "nothing changed, for what cannot have been learned.");

PyObject *
py_pool_teach(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    const char *scope;
    unsigned int i;
    PyObject *state, *when = NULL;
    double age = 0;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "sIO|dO:teach", &scope, &i, &state, &age, &when) ||
        py_at(when, &now) < 0)
        return NULL;
    if (!PyDict_Check(state) || !(age >= 0 && age < 4e9))
        return py_raise(LB_EINVAL, "teach: give a dict and an age >= 0");
    int backend = read_scope(self->pool, scope, i);
    lb_lesson b;
    lb_group_lesson g;
    if (backend < 0 ||
        (backend ? read_lesson(state, &b) : read_group_lesson(state, &g)) < 0)
        return NULL;
    PY_LOCK(self);
    enum lb_status st;
    if (backend) {
        b.age = lb_add_capped(b.age, (lb_ns)(age * 1e9));
        st = lb_teach_backend(self->pool, i, &b, now);
    } else {
        st = lb_teach_group(self->pool, i, &g);
    }
    PY_UNLOCK(self);
    if (st != LB_OK)
        return py_raise(st, "teach: a number is out of range");
    return Py_NewRef(Py_None);
}

const char py_pool_book_doc[] =
    PyDoc_STR("book($self, budget, nano, ago=0.0, now=None)\n--\n\n"
              "Book nano-USD that were spent *ago* seconds before now, outside of any\n"
              "lease: by a former process.");

PyObject *
py_pool_book(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    long long nano;
    double ago = 0;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "IL|dO:book", &i, &nano, &ago, &when) ||
        py_at(when, &now) < 0)
        return NULL;
    if (i >= self->pool->used.budgets || nano < 0 || !(ago >= 0 && ago < 9e9))
        return py_raise(LB_EINVAL, "book: no such budget, or nano or ago below 0");
    PY_LOCK(self);
    lb_teach_spent(self->pool, i, nano, (lb_ns)(ago * 1e9), now);
    PY_UNLOCK(self);
    return Py_NewRef(Py_None);
}

const char py_pool_spent_doc[] =
    PyDoc_STR("spent($self, budget, now=None)\n--\n\n"
              "The nano-USD spent in a budget's window and how many windows (of a\n"
              "rolling one: slots) have ended: two ints.");

PyObject *
py_pool_spent(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    unsigned int i;
    PyObject *when = NULL;
    lb_ns now;
    if (!PyArg_ParseTuple(args, "I|O:spent", &i, &when) || py_at(when, &now) < 0)
        return NULL;
    if (i >= self->pool->used.budgets)
        return py_raise(LB_EINVAL, "spent: no such budget");
    PY_LOCK(self);
    lb_budget *b = lb_pool_budget(self->pool, i);
    lb_budget_roll(b, now);
    int64_t spent = b->spent;
    uint32_t rolls = b->rolls;
    PY_UNLOCK(self);
    return Py_BuildValue("(LI)", (long long)spent, (unsigned)rolls);
}

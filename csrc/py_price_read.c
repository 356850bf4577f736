/* py_price_read.c - rates and counts, from Python objects to lb_price and lb_usage. */
#include "py_price.h"

int
py_kind(PyObject *name, int nkinds)
{
    for (int k = 0; k < nkinds; k++)
        if (PyUnicode_Check(name) &&
            PyUnicode_CompareWithASCIIString(name, lb_kind_name(k)) == 0)
            return k;
    PyErr_Format(PyExc_ValueError,
                 nkinds == LB_NTOKENS ? "tiers price tokens only, not %R"
                                      : "%R is no kind of thing that is priced",
                 name);
    return -1;
}

/* Fill pico[] from {kind name: int pico-USD or None}. */
static int
read_rates(PyObject *dict, int64_t *pico, int nkinds)
{
    if (!PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "rates must be a dict, not %R", dict);
        return -1;
    }
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        int kind = py_kind(key, nkinds);
        if (kind < 0)
            return -1;
        if (value == Py_None)
            continue;
        if (!PyLong_Check(value)) { /* nothing may run code while a dict is walked */
            PyErr_Format(PyExc_TypeError, "the rate of %R must be an int, not %R", key,
                         value);
            return -1;
        }
        pico[kind] = PyLong_AsLongLong(value);
        if (pico[kind] == -1 && PyErr_Occurred())
            return -1;
    }
    return 0;
}

static int
read_tier(PyObject *pair, lb_price *p)
{
    PyObject *rates;
    long long above;
    if (p->ntiers == LB_PRICE_TIERS) {
        PyErr_Format(PyExc_ValueError, "a price has at most %d tiers", LB_PRICE_TIERS);
        return -1;
    }
    if (!PyTuple_Check(pair)) {
        PyErr_Format(PyExc_TypeError, "a tier must be a tuple (above, rates), not %R",
                     pair);
        return -1;
    }
    if (!PyArg_ParseTuple(pair, "LO:tier", &above, &rates))
        return -1;
    lb_price_tier *tier = &p->tier[p->ntiers++];
    tier->above = above;
    return read_rates(rates, tier->pico, LB_NTOKENS);
}

static int
read_tiers(PyObject *tiers, lb_price *p)
{
    PyObject *it = PyObject_GetIter(tiers);
    if (it == NULL)
        return -1;
    PyObject *pair;
    int rc = 0;
    while (rc == 0 && (pair = PyIter_Next(it)) != NULL) {
        rc = read_tier(pair, p);
        Py_DECREF(pair);
    }
    Py_DECREF(it);
    return rc < 0 || PyErr_Occurred() ? -1 : 0;
}

int
py_price_fill(PyObject *rates, PyObject *tiers, lb_price *p)
{
    if (read_rates(rates, p->pico, LB_NKINDS) < 0)
        return -1;
    return tiers == NULL ? 0 : read_tiers(tiers, p);
}

static int
read_count(const char *func, PyObject *value, int kind, lb_usage *u)
{
    long long n = PyLong_AsLongLong(value);
    if (n == -1 && PyErr_Occurred())
        return -1;
    if (n < 0) {
        PyErr_Format(PyExc_ValueError, "%s() needs %s >= 0, not %lld", func,
                     lb_kind_name(kind), n);
        return -1;
    }
    u->count[kind] = n;
    return 0;
}

/* Names mostly come in the order of enum lb_kind: each search starts where the
 * last one ended, so that fourteen of them cost fourteen comparisons. */
int
py_usage(const char *func, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
         lb_usage *u)
{
    *u = (lb_usage){{0}};
    if (nargs > LB_NKINDS) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments, %zd given",
                     func, LB_NKINDS, nargs);
        return -1;
    }
    for (int k = 0; k < nargs; k++)
        if (read_count(func, args[k], k, u) < 0)
            return -1;
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_Size(kwnames);
    for (Py_ssize_t i = 0, k = nargs; i < nkw; i++, k++) {
        PyObject *name = PyTuple_GetItem(kwnames, i);
        int tried = 0;
        for (; tried < LB_NKINDS; tried++, k++) {
            k %= LB_NKINDS;
            if (PyUnicode_CompareWithASCIIString(name, lb_kind_name((int)k)) == 0)
                break;
        }
        if (tried == LB_NKINDS || k < nargs) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected or repeated argument %R", func, name);
            return -1;
        }
        if (read_count(func, args[nargs + i], (int)k, u) < 0)
            return -1;
    }
    return 0;
}

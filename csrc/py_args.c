/* py_args.c - what every type file needs: arguments, seconds, exceptions. */
#include "py_module.h"

#include <math.h>
#include <time.h>

lb_ns
py_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (lb_ns)ts.tv_sec * LB_NS_PER_S + ts.tv_nsec;
}

int
py_seconds(PyObject *o, lb_ns absent, lb_ns *out)
{
    if (o == NULL || o == Py_None) {
        *out = absent;
        return 0;
    }
    double s = PyFloat_AsDouble(o);
    if (s == -1.0 && PyErr_Occurred())
        return -1;
    if (!(s > -9e9 && s < 9e9)) {
        PyErr_SetString(PyExc_ValueError, "seconds must be within +-9e9");
        return -1;
    }
    *out = (lb_ns)llround(s * 1e9);
    return 0;
}

int
py_moment(PyObject *o, lb_ns *now)
{
    if (py_seconds(o, LB_FOREVER, now) < 0)
        return -1;
    if (*now >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "now must be 0 or more seconds, not %R", o);
    return -1;
}

int
py_at(PyObject *o, lb_ns *now)
{
    if (py_moment(o, now) < 0)
        return -1;
    if (*now == LB_FOREVER)
        *now = py_now();
    return 0;
}

PyObject *
py_wait(lb_ns wait)
{
    return PyFloat_FromDouble(wait == LB_FOREVER ? (double)INFINITY
                                                 : (double)wait / 1e9);
}

PyObject *
py_raise(enum lb_status why, const char *what)
{
    switch (why) {
    case LB_ENOMEM:
        return PyErr_NoMemory();
    case LB_EFULL:
        PyErr_Format(PyExc_OverflowError, "%s: the table is full", what);
        break;
    default:
        PyErr_SetString(PyExc_ValueError, what);
        break;
    }
    return NULL;
}

int
py_args(const char *func, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
        const char *const *names, int need, PyObject **out)
{
    int max = 0;
    while (names[max] != NULL)
        out[max++] = NULL;
    if (nargs > max) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments, %zd given",
                     func, max, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        out[i] = args[i];
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_Size(kwnames);
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *key = PyTuple_GetItem(kwnames, i);
        int at = 0;
        while (at < max && PyUnicode_CompareWithASCIIString(key, names[at]) != 0)
            at++;
        if (at == max || out[at] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected or repeated argument %R", func, key);
            return -1;
        }
        out[at] = args[nargs + i];
    }
    for (int i = 0; i < need; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() needs argument '%s'", func, names[i]);
            return -1;
        }
    }
    return 0;
}

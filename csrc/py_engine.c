/* py_engine.c - the I/O thread of the process seen from Python: count and stop. */
#include "py_net.h"

#include "net_engine.h"

static int
put_stat(PyObject *dict, const char *name, uint64_t value)
{
    PyObject *n = PyLong_FromUnsignedLongLong(value);
    int failed = n == NULL ? -1 : PyDict_SetItemString(dict, name, n);
    Py_XDECREF(n);
    return failed;
}

static PyObject *
engine_stats(PyObject *mod, PyObject *unused)
{
    (void)mod;
    (void)unused;
    net_stats s = net_engine_stats();
    PyObject *dict = PyDict_New();
    if (dict != NULL && put_stat(dict, "threads", s.threads) == 0 &&
        put_stat(dict, "in_flight", s.submitted - s.completed) == 0 &&
        put_stat(dict, "submitted", s.submitted) == 0 &&
        put_stat(dict, "completed", s.completed) == 0 &&
        put_stat(dict, "connections", s.connections) == 0 &&
        put_stat(dict, "connected", s.connected) == 0 &&
        put_stat(dict, "origins", s.origins) == 0)
        return dict;
    Py_XDECREF(dict);
    return NULL;
}

static PyObject *
engine_stop(PyObject *mod, PyObject *timeout)
{
    (void)mod;
    lb_ns wait;
    bool ended;
    if (py_seconds(timeout, 0, &wait) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS ended = net_engine_stop(lb_max(wait, 0));
    Py_END_ALLOW_THREADS return PyBool_FromLong(ended);
}

PyMethodDef py_engine_functions[] = {
    {"engine_stats", engine_stats, METH_NOARGS,
     "engine_stats()\n--\n\nCounters of the I/O thread of this process."},
    {"engine_stop", engine_stop, METH_O,
     "engine_stop(timeout, /)\n--\n\n"
     "End all transfers and the I/O thread; False if that took longer than "
     "*timeout* seconds.  The next submit starts a new one."},
    {NULL, NULL, 0, NULL},
};

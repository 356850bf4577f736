/* py_request.c - a request as Port.submit() is given it; lists of texts. */
#include "py_net.h"

static int
one_text(PyObject *item, bool bytes, net_text *t)
{
    Py_ssize_t n = 0;
    char *p = NULL;
    if (!bytes && PyUnicode_Check(item)) {
        const char *s = PyUnicode_AsUTF8AndSize(item, &n);
        *t = (net_text){s, (size_t)n};
        return s == NULL ? -1 : 0;
    }
    if (bytes && PyBytes_Check(item) && PyBytes_AsStringAndSize(item, &p, &n) == 0) {
        *t = (net_text){p, (size_t)n};
        return 0;
    }
    return -1;
}

static int
texts_of(PyObject *o, const char *what, bool bytes, net_text **texts, size_t *n)
{
    *texts = NULL;
    *n = 0;
    if (o == NULL || o == Py_None)
        return 0;
    bool list = PyList_Check(o);
    if (!list && !PyTuple_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s must be a list or a tuple", what);
        return -1;
    }
    Py_ssize_t len = list ? PyList_Size(o) : PyTuple_Size(o);
    if (len == 0)
        return 0;
    net_text *all = PyMem_Malloc((size_t)len * sizeof *all);
    if (all == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < len; i++) {
        PyObject *item = list ? PyList_GetItem(o, i) : PyTuple_GetItem(o, i);
        if (item == NULL || one_text(item, bytes, &all[i]) < 0) {
            /* The cause could show the value, which may be a secret. */
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "%s[%zd] must be %s", what, i,
                         bytes ? "bytes" : "a str that UTF-8 can encode");
            PyMem_Free(all);
            return -1;
        }
    }
    *texts = all;
    *n = (size_t)len;
    return 0;
}

int
py_texts(PyObject *o, const char *what, net_text **texts, size_t *n)
{
    return texts_of(o, what, false, texts, n);
}

static int
byte_texts(PyObject *o, const char *what, net_text **texts, size_t *n)
{
    return texts_of(o, what, true, texts, n);
}

static int
read_limits(PyObject *o, net_limits *limits)
{
    lb_ns *const at[] = {&limits->connect, &limits->first_byte, &limits->first_token,
                         &limits->idle, &limits->total};
    if (!PyTuple_Check(o) || PyTuple_Size(o) != 5) {
        PyErr_SetString(PyExc_TypeError,
                        "timeouts must be a tuple of five seconds: connect, "
                        "first_byte, first_token, idle, total");
        return -1;
    }
    for (int i = 0; i < 5; i++) {
        if (py_seconds(PyTuple_GetItem(o, i), 0, at[i]) < 0)
            return -1;
        if (*at[i] < 0) {
            PyErr_SetString(PyExc_ValueError,
                            "timeouts must be seconds >= 0; 0 means none");
            return -1;
        }
    }
    return 0;
}

/* All but the lists of texts. */
static int
read_ask(PyObject *const *a, net_ask *ask)
{
    ask->method = PyUnicode_AsUTF8AndSize(a[PY_METHOD], NULL);
    if (ask->method == NULL)
        return -1;
    ask->target = PyUnicode_AsUTF8AndSize(a[PY_TARGET], NULL);
    if (ask->target == NULL)
        return -1;
    if (a[PY_BODY] != Py_None) {
        char *body;
        Py_ssize_t n;
        if (PyBytes_AsStringAndSize(a[PY_BODY], &body, &n) < 0)
            return -1;
        ask->body = body;
        ask->body_len = (size_t)n;
    }
    long stream = a[PY_STREAM] == NULL ? 0 : PyLong_AsLong(a[PY_STREAM]);
    if (stream == -1 && PyErr_Occurred())
        return -1;
    ask->stream =
        stream < 0 || stream > 3 ? (enum net_stream)99 : (enum net_stream)stream;
    return read_limits(a[PY_TIMEOUTS], &ask->limits);
}

net_request *
py_request_new(py_state *st, PyObject *const *a, net_port *port, void *token)
{
    net_origin *origin = py_origin_get(st, a[PY_ORIGIN_ARG]);
    net_ask ask = {.token = token};
    if (origin == NULL || read_ask(a, &ask) < 0)
        return NULL;
    net_text *lines = NULL;
    net_text *marks = NULL;
    net_request *r = NULL;
    if (py_texts(a[PY_HEADERS], "headers", &lines, &ask.n_lines) == 0 &&
        byte_texts(a[PY_MARKS], "marks", &marks, &ask.n_marks) == 0) {
        char why[200];
        ask.lines = lines;
        ask.marks = marks;
        r = net_request_new(&ask, origin, port, why);
        if (r == NULL)
            PyErr_SetString(PyExc_ValueError, why);
    }
    PyMem_Free(lines);
    PyMem_Free(marks);
    return r;
}

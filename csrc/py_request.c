/* py_request.c - from the arguments of Port.submit() to a net_request. */
#include "py_net.h"

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
        py_byte_texts(a[PY_MARKS], "marks", &marks, &ask.n_marks) == 0) {
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

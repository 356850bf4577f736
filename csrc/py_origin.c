/* py_origin.c - llmbalance._core.Origin: net_origin.h made visible. */
#include "py_net.h"

typedef struct origin_object {
    PyObject_HEAD
    net_origin *origin;
} origin_object;

net_origin *
py_origin_get(py_state *st, PyObject *o)
{
    if (Py_TYPE(o) == st->type[PY_ORIGIN] && ((origin_object *)o)->origin != NULL)
        return ((origin_object *)o)->origin;
    PyErr_SetString(PyExc_TypeError, "origin must be an Origin");
    return NULL;
}

static int
read_http(const char *s, enum net_http *http)
{
    static const char *const names[] = {"auto", "1.1", "2"};
    static const enum net_http values[] = {NET_HTTP_AUTO, NET_HTTP_1, NET_HTTP_2};
    for (int i = 0; i < 3; i++) {
        if (strcmp(s, names[i]) == 0) {
            *http = values[i];
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "http_version: '%s' is not 'auto', '1.1' or '2'", s);
    return -1;
}

/* `verify` is a bool, or in the habit of the field a path: then it is the `ca`. */
static int
read_verify(PyObject *verify, net_settings *s)
{
    s->verify = true;
    if (verify == NULL)
        return 0;
    if (PyUnicode_Check(verify)) {
        if (s->ca != NULL) {
            PyErr_SetString(PyExc_ValueError,
                            "verify: is a path, and so is ca; give one of them");
            return -1;
        }
        s->ca = PyUnicode_AsUTF8AndSize(verify, NULL);
        return s->ca == NULL ? -1 : 0;
    }
    if (!PyBool_Check(verify)) {
        PyErr_SetString(PyExc_TypeError, "verify must be a bool or a path");
        return -1;
    }
    s->verify = verify == Py_True;
    return 0;
}

static int
read_caps(net_settings *s, Py_ssize_t body, Py_ssize_t event, Py_ssize_t header)
{
    Py_ssize_t most = (Py_ssize_t)1 << 31; /* lengths of events are 32 bits */
    if (body < 1 || event < 1 || event >= most || header < 1) {
        PyErr_SetString(PyExc_ValueError,
                        "max_body, max_event and max_header: must be at least 1 "
                        "byte, max_event below 2 GiB");
        return -1;
    }
    s->max_body = (size_t)body;
    s->max_event = (size_t)event;
    s->max_header = (size_t)header;
    return 0;
}

static int
origin_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "url",       "headers",  "http_version", "verify",      "ca",
        "cert",      "key",      "proxy",        "unix_socket", "sigv4",
        "sigv4_key", "max_body", "max_event",    "max_header",  NULL};
    origin_object *self = (origin_object *)op;
    net_settings s = {0};
    PyObject *headers = NULL;
    PyObject *verify = NULL;
    const char *http = "auto";
    Py_ssize_t body = (Py_ssize_t)64 << 20;
    Py_ssize_t event = (Py_ssize_t)4 << 20;
    Py_ssize_t header = (Py_ssize_t)256 << 10;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|$OsOzzzzzzznnn:Origin", names,
                                     &s.url, &headers, &http, &verify, &s.ca, &s.cert,
                                     &s.key, &s.proxy, &s.unix_socket, &s.sigv4,
                                     &s.sigv4_key, &body, &event, &header))
        return -1;
    if (self->origin != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "an Origin is made once");
        return -1;
    }
    if (read_http(http, &s.http) < 0 || read_verify(verify, &s) < 0 ||
        read_caps(&s, body, event, header) < 0)
        return -1;
    net_text *lines;
    if (py_texts(headers, "headers", &lines, &s.n_headers) < 0)
        return -1;
    char why[200];
    s.headers = lines;
    self->origin = net_origin_new(&s, why);
    PyMem_Free(lines);
    if (self->origin == NULL)
        PyErr_SetString(PyExc_ValueError, why);
    return self->origin == NULL ? -1 : 0;
}

static PyObject *
origin_repr(PyObject *op)
{
    const net_origin *o = ((origin_object *)op)->origin;
    return PyUnicode_FromFormat("<Origin %s>", o == NULL ? "" : o->base);
}

static PyObject *
origin_reduce(PyObject *op, PyObject *unused)
{
    (void)op;
    (void)unused;
    PyErr_SetString(PyExc_TypeError,
                    "an Origin holds connections and keys and cannot be pickled");
    return NULL;
}

static void
origin_dealloc(PyObject *op)
{
    origin_object *self = (origin_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    if (self->origin != NULL)
        net_origin_unref(self->origin);
    tp_free(op);
    Py_DECREF(tp);
}

static PyMethodDef origin_methods[] = {
    {"__reduce_ex__", origin_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    origin_doc,
    "Origin(url, *, headers=[], http_version='auto', verify=True, ca=None, "
    "cert=None, key=None, proxy=None, unix_socket=None, sigv4=None, "
    "sigv4_key=None, max_body=67108864, max_event=4194304, max_header=262144)\n"
    "--\n\n"
    "One backend's connections and fixed settings.\n\n"
    "url: scheme://host[:port].  headers: lines 'Name: value' sent with every "
    "request, credentials included.  verify: False accepts any certificate, a "
    "path is the same as ca.  sigv4: 'aws:amz:region:service', signed with "
    "sigv4_key 'access:secret[:token]'.  Sizes in bytes.\n"
    "Raises ValueError naming the argument, never a secret.");

static PyType_Slot origin_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, origin_init},
    {Py_tp_dealloc, origin_dealloc},
    {Py_tp_repr, origin_repr},
    {Py_tp_methods, origin_methods},
    {Py_tp_doc, (void *)origin_doc},
    {0, NULL},
};

PyType_Spec py_origin_spec = {
    .name = "llmbalance._core.Origin",
    .basicsize = sizeof(origin_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = origin_slots,
};

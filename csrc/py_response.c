/* py_response.c - llmbalance._core.Response: a net_reply made visible.
 *
 * Headers and body become Python objects only when somebody asks for them.
 */
#include "py_net.h"

#include "net_reply.h"

typedef struct response_object {
    PyObject_HEAD
    PY_LOCK_FIELD
    net_reply *reply;
    PyObject *headers; /* dict, once asked for */
    PyObject *body;    /* bytes, once asked for */
} response_object;

PyObject *
py_response_new(py_state *st, net_reply *reply)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(st->type[PY_RESPONSE], Py_tp_alloc);
    response_object *self = (response_object *)alloc(st->type[PY_RESPONSE], 0);
    if (self == NULL) {
        net_reply_free(reply);
        return NULL;
    }
    self->reply = reply;
    return (PyObject *)self;
}

static const net_reply *
reply_of(PyObject *op)
{
    return ((response_object *)op)->reply;
}

/* Repeats are joined as RFC 9110 section 5.3 allows.  Bytes above 127 are kept
 * as Latin-1, which no byte can fail. */
static int
add_header(PyObject *dict, const char *name, const char *value)
{
    PyObject *key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)strlen(name), NULL);
    PyObject *text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)strlen(value), NULL);
    int failed = key == NULL || text == NULL ? -1 : 0;
    PyObject *old = failed ? NULL : PyDict_GetItemWithError(dict, key);
    if (old != NULL) {
        PyObject *joined = PyUnicode_FromFormat("%U, %U", old, text);
        Py_DECREF(text);
        text = joined;
        failed = joined == NULL ? -1 : 0;
    }
    if (!failed)
        failed = PyDict_SetItem(dict, key, text);
    Py_XDECREF(key);
    Py_XDECREF(text);
    return failed;
}

static PyObject *
make_headers(const net_reply *r)
{
    PyObject *dict = PyDict_New();
    const char *name;
    const char *value;
    for (size_t at = 0;
         dict != NULL && net_headers_next(&r->headers, &at, &name, &value);)
        if (add_header(dict, name, value) < 0)
            Py_CLEAR(dict);
    return dict;
}

/* Publish a lazily made object; if another thread was faster, take its own. */
static PyObject *
keep_first(response_object *self, PyObject **slot, PyObject *made)
{
    (void)self; /* without the lock, that is */
    if (made == NULL)
        return NULL;
    PY_LOCK(self);
    PyObject *kept = *slot;
    if (kept == NULL)
        kept = *slot = made;
    Py_INCREF(kept);
    PY_UNLOCK(self);
    if (kept != made)
        Py_DECREF(made);
    return kept;
}

static PyObject *
peek(response_object *self, PyObject *const *slot)
{
    (void)self;
    PY_LOCK(self);
    PyObject *o = *slot;
    Py_XINCREF(o);
    PY_UNLOCK(self);
    return o;
}

static PyObject *
response_headers(PyObject *op, void *unused)
{
    (void)unused;
    response_object *self = (response_object *)op;
    PyObject *have = peek(self, &self->headers);
    return have != NULL ? have
                        : keep_first(self, &self->headers, make_headers(self->reply));
}

static PyObject *
response_body(PyObject *op, void *unused)
{
    (void)unused;
    response_object *self = (response_object *)op;
    PyObject *have = peek(self, &self->body);
    if (have != NULL)
        return have;
    const net_buf *b = &self->reply->body;
    return keep_first(self, &self->body,
                      PyBytes_FromStringAndSize(b->data, (Py_ssize_t)b->len));
}

static PyObject *
response_status(PyObject *op, void *unused)
{
    (void)unused;
    return PyLong_FromLong(reply_of(op)->headers.status);
}

static PyObject *
response_error(PyObject *op, void *unused)
{
    (void)unused;
    enum net_error e = reply_of(op)->error;
    if (e == NET_OK)
        Py_RETURN_NONE;
    return PyUnicode_InternFromString(net_error_name(e));
}

static PyObject *
response_detail(PyObject *op, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(reply_of(op)->detail);
}

static PyObject *
response_http_version(PyObject *op, void *unused)
{
    (void)unused;
    return PyUnicode_InternFromString(reply_of(op)->version);
}

enum flag { DONE, SENT, REUSED };

static PyObject *
response_flag(PyObject *op, void *which)
{
    const net_reply *r = reply_of(op);
    switch ((enum flag)(intptr_t)which) {
    case DONE:
        return PyBool_FromLong(r->done);
    case SENT:
        return PyBool_FromLong(r->sent);
    default:
        return PyBool_FromLong(r->reused);
    }
}

static PyObject *
response_offset(PyObject *op, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(reply_of(op)->offset);
}

static PyObject *
response_events(PyObject *op, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(reply_of(op)->events);
}

enum span { CONNECT, TTFB, TTFT, TOTAL, STARTED, ENDED };

static PyObject *
response_seconds(PyObject *op, void *which)
{
    const net_reply *r = reply_of(op);
    lb_ns at = 0;
    switch ((enum span)(intptr_t)which) {
    case STARTED:
        return PyFloat_FromDouble((double)r->started / 1e9);
    case ENDED:
        return PyFloat_FromDouble((double)r->ended / 1e9);
    case CONNECT:
        at = r->connected;
        break;
    case TTFB:
        at = r->first_byte;
        break;
    case TTFT:
        at = r->first_token;
        break;
    case TOTAL:
        at = r->ended;
        break;
    }
    return PyFloat_FromDouble(at == 0 ? 0.0 : (double)(at - r->started) / 1e9);
}

static PyObject *
response_repr(PyObject *op)
{
    const net_reply *r = reply_of(op);
    return PyUnicode_FromFormat(
        "<Response %d%s%s%s>", (int)r->headers.status, r->done ? "" : " headers only",
        r->error == NET_OK ? "" : " ", net_error_name(r->error));
}

static void
response_dealloc(PyObject *op)
{
    response_object *self = (response_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    net_reply_free(self->reply);
    Py_XDECREF(self->headers);
    Py_XDECREF(self->body);
    tp_free(op);
    Py_DECREF(tp);
}

#define SECONDS(name, which, doc)                                    \
    {                                                                \
        name, response_seconds, NULL, doc, (void *)(intptr_t)(which) \
    }
#define FLAG(name, which, doc)                                    \
    {                                                             \
        name, response_flag, NULL, doc, (void *)(intptr_t)(which) \
    }

static PyGetSetDef response_getset[] = {
    {"status", response_status, NULL, "HTTP status, 0 when none arrived.", NULL},
    {"headers", response_headers, NULL,
     "dict: lower-case names, repeated ones joined with ', '.", NULL},
    {"body", response_body, NULL,
     "The body; of a stream without a single event, how it began (64 KiB).", NULL},
    FLAG("done", DONE, "False: the headers of a stream that goes on."),
    {"error", response_error, NULL, "None, or the kind of failure.", NULL},
    {"detail", response_detail, NULL, "The failure in words, without secrets.", NULL},
    {"offset", response_offset, NULL, "Body bytes received, after decoding.", NULL},
    {"events", response_events, NULL, "Events of the stream so far.", NULL},
    FLAG("sent", SENT, "Some byte of the request was written."),
    FLAG("reused", REUSED, "The connection had served before."),
    {"http_version", response_http_version, NULL, "'1.0', '1.1', '2' or ''.", NULL},
    SECONDS("connect", CONNECT, "Seconds until the connection was ready, or 0.0."),
    SECONDS("ttfb", TTFB, "Seconds until the final status line, or 0.0."),
    SECONDS("ttft", TTFT, "Seconds until the first content of a stream, or 0.0."),
    SECONDS("total", TOTAL, "Seconds until this response was made."),
    SECONDS("started", STARTED, "When it began, on time.monotonic()'s clock."),
    SECONDS("ended", ENDED, "When it ended, on time.monotonic()'s clock."),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot response_slots[] = {
    {Py_tp_dealloc, response_dealloc},
    {Py_tp_repr, response_repr},
    {Py_tp_getset, response_getset},
    {Py_tp_doc, (void *)"What came back from one request, timed in the I/O thread."},
    {0, NULL},
};

PyType_Spec py_response_spec = {
    .name = "llmbalance._core.Response",
    .basicsize = sizeof(response_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = response_slots,
};

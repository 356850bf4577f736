/* py_port.c - llmbalance._core.Port: one event loop's mailbox, net_port.h.
 *
 * The I/O thread never touches a Python object, so what it carries as a token is
 * a ticket: a node of a list that only this file reads, under the interpreter.
 * A Port that goes away lets go of its tokens at once; late parcels are dropped
 * by the closed mailbox without looking at the tickets.
 */
#include "py_net.h"

#include "net_engine.h"
#include "net_fork.h"
#include "net_port.h"

typedef struct ticket {
    struct ticket *next, *prev;
    PyObject *token;
} ticket;

typedef struct port_object {
    PyObject_HEAD
    PY_LOCK_FIELD
    net_port *port;
    ticket *tickets; /* of what is in flight */
    bool closed;
} port_object;

static ticket *
ticket_new(port_object *self, PyObject *token)
{
    ticket *t = PyMem_Malloc(sizeof *t);
    if (t == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    Py_INCREF(token);
    PY_LOCK(self);
    *t = (ticket){.token = token, .next = self->tickets};
    if (t->next != NULL)
        t->next->prev = t;
    self->tickets = t;
    PY_UNLOCK(self);
    return t;
}

static void
ticket_free(port_object *self, ticket *t)
{
    PY_LOCK(self);
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        self->tickets = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    PY_UNLOCK(self);
    Py_DECREF(t->token);
    PyMem_Free(t);
}

/* 0, or -1 with an exception when the list `told`, if there is one, could not take
 * all their tokens; they are let go of all the same. */
static int
drop_tickets(port_object *self, PyObject *told)
{
    int failed = 0;
    PY_LOCK(self);
    ticket *t = self->tickets;
    self->tickets = NULL;
    PY_UNLOCK(self);
    while (t != NULL) {
        ticket *next = t->next;
        if (told != NULL && failed == 0)
            failed = PyList_Append(told, t->token);
        Py_DECREF(t->token);
        PyMem_Free(t);
        t = next;
    }
    return failed;
}

/* Open, and of this process: in a forked child it starts afresh, for what was
 * in flight belongs to the parent.  0, or -1 and raise. */
static int
port_ready(port_object *self)
{
    if (self->port == NULL || self->closed) {
        PyErr_SetString(PyExc_RuntimeError, "this Port is closed");
        return -1;
    }
    if (self->port->epoch == net_fork_epoch())
        return 0;
    if (!net_port_renew(self->port)) {
        PyErr_SetString(PyExc_OSError, "no file descriptor left for a Port");
        return -1;
    }
    (void)drop_tickets(self, NULL);
    return 0;
}

static int
port_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    port_object *self = (port_object *)op;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Port", names))
        return -1;
    if (self->port != NULL)
        return 0;
    self->port = net_port_new();
    if (self->port == NULL)
        PyErr_SetString(PyExc_OSError, "no file descriptor or memory left for a Port");
    return self->port == NULL ? -1 : 0;
}

/* As drop_tickets(). */
static int
shut(port_object *self, PyObject *told)
{
    if (self->port == NULL || self->closed)
        return 0;
    self->closed = true;
    if (self->port->epoch == net_fork_epoch()) {
        net_port_close(self->port);
        net_engine_abandon(net_port_ref(self->port));
    }
    return drop_tickets(self, told);
}

PyDoc_STRVAR(port_fileno_doc,
             "fileno($self)\n--\n\nDescriptor that is readable while something waits.");

static PyObject *
port_fileno(PyObject *op, PyObject *unused)
{
    (void)unused;
    port_object *self = (port_object *)op;
    if (port_ready(self) < 0)
        return NULL;
    return PyLong_FromLong(self->port->bell.read_fd);
}

static PyObject *
engine_takes(net_request *r)
{
    unsigned long long id = r->sender.id;
    enum lb_status status = net_engine_submit(r);
    if (status == LB_OK)
        return PyLong_FromUnsignedLongLong(id);
    net_request_free(r);
    PyErr_SetString(PyExc_RuntimeError,
                    status == LB_EFULL
                        ? "the transport is being stopped"
                        : "the transport cannot start: no memory, thread or "
                          "file descriptor left");
    return NULL;
}

PyDoc_STRVAR(
    port_submit_doc,
    "submit($self, token, origin, method, target, headers, body, timeouts, stream=0, "
    "marks=())\n--\n\n"
    "Send a request; return its id at once.  *token* comes back with every item.\n\n"
    "headers: lines 'Name: value' besides the origin's, or None.  body: bytes or "
    "None.  timeouts: seconds (connect, first_byte, first_token, idle, total), 0 "
    "for none.  stream: 0 unary, 1 SSE, 2 JSON lines, 3 AWS event stream; a reply "
    "that is not 2xx is unary all the same.  marks: the first event that contains "
    "one of them is the first content; without marks every event is.\n"
    "Raises ValueError naming the bad part, never a value; RuntimeError when the "
    "Port is closed or the transport cannot run.");

static PyObject *
port_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"token",   "origin", "method",   "target",
                                        "headers", "body",   "timeouts", "stream",
                                        "marks",   NULL};
    port_object *self = (port_object *)op;
    PyObject *a[PY_NARGS];
    if (py_args("submit", args, nargs, kwnames, names, 7, a) < 0 ||
        port_ready(self) < 0)
        return NULL;
    ticket *t = ticket_new(self, a[PY_TOKEN]);
    if (t == NULL)
        return NULL;
    py_state *st = PyType_GetModuleState(Py_TYPE(op));
    net_request *r = py_request_new(st, a, self->port, t);
    PyObject *id = r == NULL ? NULL : engine_takes(r);
    if (id == NULL)
        ticket_free(self, t);
    return id;
}

static PyObject *
by_id(PyObject *o, void (*act)(uint64_t))
{
    unsigned long long id = PyLong_AsUnsignedLongLong(o);
    if (id == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    act(id);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(port_cancel_doc,
             "cancel($self, id, /)\n--\n\n"
             "End a request; its last Response comes with error 'cancelled'.");

static PyObject *
port_cancel(PyObject *op, PyObject *id)
{
    (void)op;
    return by_id(id, net_engine_cancel);
}

PyDoc_STRVAR(port_pause_doc, "pause($self, id, /)\n--\n\n"
                             "Stop reading a stream whose consumer is late.");

static PyObject *
port_pause(PyObject *op, PyObject *id)
{
    (void)op;
    return by_id(id, net_engine_pause);
}

PyDoc_STRVAR(port_resume_doc,
             "resume($self, id, /)\n--\n\nGo on reading a paused stream.");

static PyObject *
port_resume(PyObject *op, PyObject *id)
{
    (void)op;
    return by_id(id, net_engine_resume);
}

PyDoc_STRVAR(
    port_drain_doc,
    "drain($self)\n--\n\n"
    "Fetch what waits: a list of (token, item) in order of arrival.  An item is a "
    "list of (name, data) events, or a Response: headers of a stream (done False) "
    "or the end of a request (done True), which is the last item of its token.");

static PyObject *
port_drain(PyObject *op, PyObject *unused)
{
    (void)unused;
    port_object *self = (port_object *)op;
    py_state *st = PyType_GetModuleState(Py_TYPE(op));
    if (port_ready(self) < 0)
        return NULL;
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return NULL;
    for (net_parcel *parcel = net_port_take(self->port), *next; parcel != NULL;
         parcel = next) {
        next = parcel->next;
        ticket *t = parcel->from->token;
        if (list != NULL && py_parcel_append(st, list, parcel, t->token) < 0)
            Py_CLEAR(list);
        if (parcel->room)
            net_engine_room(parcel->from->id);
        if (parcel->end != NULL)
            ticket_free(self, t);
        net_parcel_free(parcel);
    }
    return list;
}

PyDoc_STRVAR(port_wait_doc,
             "wait($self, timeout=None)\n--\n\n"
             "Block until something waits, at most *timeout* seconds (None: no "
             "limit), with the interpreter released.  True if something waits.");

static PyObject *
port_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    port_object *self = (port_object *)op;
    PyObject *a[1];
    lb_ns wait;
    if (py_args("wait", args, nargs, kwnames, names, 0, a) < 0 ||
        py_seconds(a[0], LB_FOREVER, &wait) < 0 || port_ready(self) < 0)
        return NULL;
    lb_ns until = lb_add_capped(py_now(), lb_max(wait, 0));
    net_port *port = net_port_ref(self->port);
    int rung;
    do {
        lb_ns left = until == LB_FOREVER ? until : lb_max(until - py_now(), 0);
        Py_BEGIN_ALLOW_THREADS rung = net_wake_wait(&port->bell, left);
        Py_END_ALLOW_THREADS
    } while (rung < 0 && PyErr_CheckSignals() == 0);
    net_port_unref(port);
    return rung < 0 ? NULL : PyBool_FromLong(rung);
}

PyDoc_STRVAR(port_close_doc,
             "close($self)\n--\n\n"
             "Cancel what is in flight for this Port and let its tokens go: returns "
             "them, since whoever waits for one waits in vain.");

static PyObject *
port_close(PyObject *op, PyObject *unused)
{
    (void)unused;
    PyObject *told = PyList_New(0);
    if (shut((port_object *)op, told) < 0)
        Py_CLEAR(told);
    return told;
}

static int
port_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    for (const ticket *t = ((port_object *)op)->tickets; t != NULL; t = t->next)
        Py_VISIT(t->token);
    return 0;
}

static int
port_clear(PyObject *op)
{
    (void)shut((port_object *)op, NULL);
    return 0;
}

static void
port_dealloc(PyObject *op)
{
    port_object *self = (port_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)shut(self, NULL);
    if (self->port != NULL)
        net_port_unref(self->port);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    tp_free(op);
    Py_DECREF(tp);
}

static PyMethodDef port_methods[] = {
    {"fileno", port_fileno, METH_NOARGS, port_fileno_doc},
    {"submit", PY_FAST(port_submit), METH_FASTCALL | METH_KEYWORDS, port_submit_doc},
    {"cancel", port_cancel, METH_O, port_cancel_doc},
    {"pause", port_pause, METH_O, port_pause_doc},
    {"resume", port_resume, METH_O, port_resume_doc},
    {"drain", port_drain, METH_NOARGS, port_drain_doc},
    {"wait", PY_FAST(port_wait), METH_FASTCALL | METH_KEYWORDS, port_wait_doc},
    {"close", port_close, METH_NOARGS, port_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot port_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, port_init},
    {Py_tp_dealloc, port_dealloc},
    {Py_tp_traverse, port_traverse},
    {Py_tp_clear, port_clear},
    {Py_tp_methods, port_methods},
    {Py_tp_doc, (void *)"Port()\n--\n\nThe mailbox of one event loop or thread."},
    {0, NULL},
};

PyType_Spec py_port_spec = {
    .name = "llmbalance._core.Port",
    .basicsize = sizeof(port_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = port_slots,
};

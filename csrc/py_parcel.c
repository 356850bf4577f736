/* py_parcel.c - what one delivery of the I/O thread becomes: Response and events. */
#include "py_net.h"

#include "net_port.h"

static PyObject *
make_event(net_text name, net_text data)
{
    PyObject *tuple = PyTuple_New(2);
    PyObject *n = PyUnicode_DecodeUTF8(name.p, (Py_ssize_t)name.n, "replace");
    PyObject *d = PyBytes_FromStringAndSize(data.p, (Py_ssize_t)data.n);
    if (tuple == NULL || n == NULL || d == NULL) {
        Py_XDECREF(tuple);
        Py_XDECREF(n);
        Py_XDECREF(d);
        return NULL;
    }
    (void)PyTuple_SetItem(tuple, 0, n);
    (void)PyTuple_SetItem(tuple, 1, d);
    return tuple;
}

static PyObject *
make_events(const net_parcel *parcel)
{
    PyObject *list = PyList_New(parcel->n_events);
    size_t at = 0;
    net_text name;
    net_text data;
    for (Py_ssize_t i = 0; list != NULL && net_parcel_event(parcel, &at, &name, &data);
         i++) {
        PyObject *event = make_event(name, data);
        if (event == NULL)
            Py_CLEAR(list);
        else
            (void)PyList_SetItem(list, i, event);
    }
    return list;
}

/* Append (token, item); takes over the reference to `item`, which may be NULL
 * with an exception set. */
static int
append_item(PyObject *list, PyObject *token, PyObject *item)
{
    if (item == NULL)
        return -1;
    PyObject *pair = PyTuple_Pack(2, token, item);
    Py_DECREF(item);
    if (pair == NULL)
        return -1;
    int failed = PyList_Append(list, pair);
    Py_DECREF(pair);
    return failed;
}

int
py_parcel_append(py_state *st, PyObject *list, net_parcel *parcel, PyObject *token)
{
    net_reply *head = parcel->head;
    net_reply *end = parcel->end;
    parcel->head = NULL;
    if (head != NULL && append_item(list, token, py_response_new(st, head)) < 0)
        return -1;
    if (parcel->n_events > 0 && append_item(list, token, make_events(parcel)) < 0)
        return -1;
    if (end == NULL)
        return 0;
    net_reply *copy = net_reply_new();
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *copy = *end; /* the parcel's own stays as the mark that this was the end */
    end->headers.block = end->body = (net_buf){0};
    return append_item(list, token, py_response_new(st, copy));
}

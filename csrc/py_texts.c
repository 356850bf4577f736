/* py_texts.c - lists of str and of bytes as texts, borrowed from them. */
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

int
py_byte_texts(PyObject *o, const char *what, net_text **texts, size_t *n)
{
    return texts_of(o, what, true, texts, n);
}

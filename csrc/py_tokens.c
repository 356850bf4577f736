/* py_tokens.c - the token estimator as functions of the module. */
#include "py_tokens.h"

static PyObject *
measured(const char *func, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
         bool full)
{
    static const char *const names[] = {"messages", "tools", "family", NULL};
    PyObject *a[3];
    if (py_args(func, args, nargs, kwnames, names, 1, a) < 0)
        return NULL;
    long f = a[2] == NULL ? LB_TOK_O200K : PyLong_AsLong(a[2]);
    if (f == -1 && PyErr_Occurred())
        return NULL;
    if (f < 0 || f >= LB_TOK_NFAMILIES) {
        PyErr_Format(PyExc_ValueError, "family must be 0 to %d, not %ld",
                     LB_TOK_NFAMILIES - 1, f);
        return NULL;
    }
    py_prompt p;
    enum lb_tok_family family = (enum lb_tok_family)f;
    if ((full ? py_measure_full(a[0], a[1], family, &p) : py_measure(a[0], a[1], &p)) <
        0)
        return NULL;
    return PyLong_FromLongLong(lb_tokens_whole(p.tokens[f]));
}

PyDoc_STRVAR(
    measure_doc,
    "measure($module, messages, tools=None, family=0)\n--\n\n"
    "Estimate the prompt tokens of messages (or of a text) by the byte table.\n\n"
    "family: 0 o200k, 1 cl100k, 2 claude, 3 claude from 4.7, 4 gemini, 5 llama.");

static PyObject *
tokens_measure(PyObject *Py_UNUSED(mod), PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    return measured("measure", args, nargs, kwnames, false);
}

PyDoc_STRVAR(measure_full_doc,
             "measure_full($module, messages, tools=None, family=0)\n--\n\n"
             "Estimate like measure(), by the closer and slower full model.");

static PyObject *
tokens_measure_full(PyObject *Py_UNUSED(mod), PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    return measured("measure_full", args, nargs, kwnames, true);
}

PyMethodDef py_tokens_methods[] = {
    {"measure", PY_FAST(tokens_measure), METH_FASTCALL | METH_KEYWORDS, measure_doc},
    {"measure_full", PY_FAST(tokens_measure_full), METH_FASTCALL | METH_KEYWORDS,
     measure_full_doc},
    {NULL, NULL, 0, NULL},
};

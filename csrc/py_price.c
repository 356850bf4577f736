/* py_price.c - llmbalance._core.PriceRow, lb_price.h made visible. */
#include "py_price.h"

#include <string.h>

#define PRICE(op) (&((price_object *)(op))->price)

static bool
is_fine(int64_t rate, int64_t most)
{
    return rate == LB_UNKNOWN || (rate >= 0 && rate <= most);
}

static void
raise_flaw(const lb_price *p, int bad)
{
    if (bad == LB_NKINDS) {
        PyErr_SetString(PyExc_ValueError,
                        "tiers must rise from above 0 on, and uplift_ppm must be "
                        ">= -1000000");
        return;
    }
    int64_t most = bad < LB_NTOKENS ? LB_PRICE_MAX_TOKEN : LB_PRICE_MAX_UNIT;
    int64_t rate = p->pico[bad];
    for (int t = 0; t < p->ntiers && is_fine(rate, most); t++)
        rate = p->tier[t].pico[bad];
    PyErr_Format(PyExc_ValueError,
                 "%s must cost from 0 to %lld pico-USD (1e-12 USD) apiece, not %lld",
                 lb_kind_name(bad), (long long)most, (long long)rate);
}

static PyObject *
price_tp_new(PyTypeObject *tp, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"rates",    "tiers",      "inclusive",
                            "marginal", "uplift_ppm", NULL};
    PyObject *rates, *tiers = NULL;
    int inclusive = 0, marginal = 0, uplift = 0, bad = LB_NKINDS;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$ppi:PriceRow", names, &rates,
                                     &tiers, &inclusive, &marginal, &uplift))
        return NULL;
    lb_price p;
    lb_price_init(&p);
    p.inclusive = inclusive != 0;
    p.marginal = marginal != 0;
    p.uplift_ppm = uplift;
    if (py_price_fill(rates, tiers, &p) < 0)
        return NULL;
    if (lb_price_complete(&p, &bad) != LB_OK) {
        raise_flaw(&p, bad);
        return NULL;
    }
    allocfunc tp_alloc = (allocfunc)PyType_GetSlot(tp, Py_tp_alloc);
    PyObject *self = tp_alloc(tp, 0);
    if (self != NULL)
        *PRICE(self) = p;
    return self;
}

const lb_price *
py_price_of(const py_state *st, PyObject *o, const char *what)
{
    if (Py_IS_TYPE(o, st->type[PY_PRICE]))
        return PRICE(o);
    PyErr_Format(PyExc_TypeError, "%s must be a PriceRow, not %R", what, o);
    return NULL;
}

static PyObject *
money(int64_t nano)
{
    if (nano == LB_UNKNOWN)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(nano);
}

/* An int of up to 127 bits; None when negative. */
static PyObject *
pico_money(lb_pico pico)
{
    if (pico < 0)
        Py_RETURN_NONE;
    PyObject *high = PyLong_FromLongLong((int64_t)(pico >> 63));
    PyObject *low = PyLong_FromLongLong((int64_t)(pico & INT64_MAX));
    PyObject *bits = PyLong_FromLong(63);
    PyObject *top = NULL, *sum = NULL;
    if (high != NULL && low != NULL && bits != NULL)
        top = PyNumber_Lshift(high, bits);
    if (top != NULL)
        sum = PyNumber_Or(top, low);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(bits);
    Py_XDECREF(top);
    return sum;
}

#define KINDS_SIGNATURE                                                \
    "($self, input=0, cache_read=0, cache_write=0, cache_write_1h=0, " \
    "audio_in=0, image_in=0, output=0, reasoning=0, audio_out=0, "     \
    "image_out=0, requests=0, images=0, milliseconds=0, searches=0)\n--\n\n"

PyDoc_STRVAR(price_cost_doc,
             "cost" KINDS_SIGNATURE
             "What a call costs in nano-USD, rounded once, half up; None when\n"
             "something was used for which no rate is known.");

static PyObject *
price_cost(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    lb_usage u;
    if (py_usage("cost", args, nargs, kwnames, &u) < 0)
        return NULL;
    return money(lb_price_cost(PRICE(op), &u));
}

PyDoc_STRVAR(price_cost_pico_doc,
             "cost_pico" KINDS_SIGNATURE
             "What a call costs in pico-USD before rounding; None when unknown.");

static PyObject *
price_cost_pico(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    lb_usage u;
    if (py_usage("cost_pico", args, nargs, kwnames, &u) < 0)
        return NULL;
    return pico_money(lb_price_cost_pico(PRICE(op), &u));
}

PyDoc_STRVAR(price_is_guess_doc,
             "is_guess" KINDS_SIGNATURE
             "Whether such a call uses a rate that was borrowed from another kind.");

static PyObject *
price_is_guess(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    lb_usage u;
    if (py_usage("is_guess", args, nargs, kwnames, &u) < 0)
        return NULL;
    return PyBool_FromLong(lb_price_is_guess(PRICE(op), &u));
}

static int
append_line(PyObject *list, const lb_price *p, const lb_usage *u, int kind)
{
    PyObject *pico = pico_money(lb_price_line(p, u, (enum lb_kind)kind));
    if (pico == NULL)
        return -1;
    PyObject *line =
        Py_BuildValue("sLN", lb_kind_name(kind), (long long)u->count[kind], pico);
    if (line == NULL)
        return -1;
    int rc = PyList_Append(list, line);
    Py_DECREF(line);
    return rc;
}

PyDoc_STRVAR(price_lines_doc,
             "lines" KINDS_SIGNATURE
             "A list of (kind, count, pico-USD or None) for what was used, before\n"
             "any uplift.");

static PyObject *
price_lines(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    lb_usage u;
    if (py_usage("lines", args, nargs, kwnames, &u) < 0)
        return NULL;
    PyObject *list = PyList_New(0);
    for (int k = 0; list != NULL && k < LB_NKINDS; k++)
        if (u.count[k] > 0 && append_line(list, PRICE(op), &u, k) < 0)
            Py_CLEAR(list);
    return list;
}

PyDoc_STRVAR(price_estimate_doc,
             "estimate($self, input, cached, output)\n--\n\n"
             "Expected nano-USD for *input* prompt tokens, *cached* of them read from\n"
             "a cache, and *output* tokens; None when unknown.");

static PyObject *
price_estimate(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"input", "cached", "output", NULL};
    PyObject *a[3];
    int64_t n[3];
    if (py_args("estimate", args, nargs, kwnames, names, 3, a) < 0)
        return NULL;
    for (int i = 0; i < 3; i++) {
        n[i] = PyLong_AsLongLong(a[i]);
        if (n[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    return money(lb_price_estimate(PRICE(op), n[0], n[1], n[2]));
}

PyDoc_STRVAR(price_pico_doc,
             "pico($self, kind)\n--\n\n"
             "The base rate of *kind* in pico-USD apiece; None when unknown.");

static PyObject *
price_pico(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"kind", NULL};
    PyObject *name;
    if (py_args("pico", args, nargs, kwnames, names, 1, &name) < 0)
        return NULL;
    int kind = py_kind(name, LB_NKINDS);
    return kind < 0 ? NULL : money(PRICE(op)->pico[kind]);
}

PyDoc_STRVAR(price_parse_doc,
             "parse(text, shift)\n--\n\n"
             "*text* x 10**shift as an int, rounded half up: shift 12 makes pico-USD\n"
             "of USD, 6 makes pico-USD a token of USD per million.  ValueError for\n"
             "what is no plain amount.");

static PyObject *
price_parse(PyObject *cls, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"text", "shift", NULL};
    PyObject *a[2];
    (void)cls;
    if (py_args("parse", args, nargs, kwnames, names, 2, a) < 0)
        return NULL;
    Py_ssize_t size;
    if (!PyUnicode_Check(a[0])) {
        PyErr_Format(PyExc_TypeError, "parse() needs a str, not %R", a[0]);
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(a[0], &size);
    long shift = PyLong_AsLong(a[1]);
    if (text == NULL || (shift == -1 && PyErr_Occurred()))
        return NULL;
    int64_t pico;
    if (shift < -100 || shift > 100 || strlen(text) != (size_t)size ||
        lb_price_parse(text, (int)shift, &pico) != LB_OK) {
        PyErr_Format(PyExc_ValueError, "%R is no amount of dollars such as \"2.50\"",
                     a[0]);
        return NULL;
    }
    return PyLong_FromLongLong(pico);
}

static PyObject *
price_tp_repr(PyObject *op)
{
    PyObject *in = money(PRICE(op)->pico[LB_INPUT]);
    PyObject *out = money(PRICE(op)->pico[LB_OUTPUT]);
    PyObject *repr = NULL;
    if (in != NULL && out != NULL)
        repr = PyUnicode_FromFormat(
            "<PriceRow input=%R output=%R pico-USD a token, %d tiers>", in, out,
            PRICE(op)->ntiers);
    Py_XDECREF(in);
    Py_XDECREF(out);
    return repr;
}

static void
price_tp_dealloc(PyObject *op)
{
    PyTypeObject *tp = Py_TYPE(op);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    tp_free(op);
    Py_DECREF(tp);
}

#define FAST (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef price_methods[] = {
    {"cost", PY_FAST(price_cost), FAST, price_cost_doc},
    {"cost_pico", PY_FAST(price_cost_pico), FAST, price_cost_pico_doc},
    {"is_guess", PY_FAST(price_is_guess), FAST, price_is_guess_doc},
    {"lines", PY_FAST(price_lines), FAST, price_lines_doc},
    {"estimate", PY_FAST(price_estimate), FAST, price_estimate_doc},
    {"pico", PY_FAST(price_pico), FAST, price_pico_doc},
    {"parse", PY_FAST(price_parse), FAST | METH_STATIC, price_parse_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(price_doc,
             "PriceRow(rates, tiers=(), *, inclusive=False, marginal=False, "
             "uplift_ppm=0)\n--\n\n"
             "What one model costs: integer pico-USD (1e-12 USD) apiece by kind.\n\n"
             "*rates* maps kinds (input, output, cache_read, ...) to ints, or None\n"
             "for unknown; *tiers* holds up to three (above, rates) for prompts of\n"
             "more than *above* tokens.  Immutable.");

static PyType_Slot price_slots[] = {
    {Py_tp_new, price_tp_new},      {Py_tp_dealloc, price_tp_dealloc},
    {Py_tp_repr, price_tp_repr},    {Py_tp_methods, price_methods},
    {Py_tp_doc, (void *)price_doc}, {0, NULL},
};

PyType_Spec py_price_spec = {
    .name = "llmbalance._core.PriceRow",
    .basicsize = sizeof(price_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = price_slots,
};

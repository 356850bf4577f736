/* py_price.h - the price row as other binding files see it. */
#ifndef PY_PRICE_H
#define PY_PRICE_H

#include "py_module.h"

#include "lb_price.h"

typedef struct price_object {
    PyObject_HEAD
    lb_price price; /* complete, and never changed after it was made */
} price_object;

/* The price inside a PriceRow: valid while `o` lives.  NULL and TypeError,
 * naming `what`, when `o` is something else. */
const lb_price *py_price_of(const py_state *st, PyObject *o, const char *what);

/* The kind below `nkinds` that a str names; -1 and ValueError for others. */
int py_kind(PyObject *name, int nkinds);

/* Fill in rates, {kind: int pico-USD or None}, and tiers, NULL or an iterable of
 * (above, rates).  0, or -1 and raise; the price is not checked yet. */
int py_price_fill(PyObject *rates, PyObject *tiers, lb_price *p);

/* Read the counts of a METH_FASTCALL|METH_KEYWORDS call, by position in the order
 * of enum lb_kind or by name, all >= 0, absent ones 0.  0, or -1 and raise. */
int py_usage(const char *func, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, lb_usage *u);

#endif /* PY_PRICE_H */

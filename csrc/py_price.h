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

#endif /* PY_PRICE_H */

/* py_pool.h - the pool and its leases as Python objects. */
#ifndef PY_POOL_H
#define PY_POOL_H

#include "py_module.h"

#include "lb_lease.h"

enum { SPARE_LEASES = 32 };

typedef struct lease_object lease_object;

typedef struct pool_object {
    PyObject_HEAD
    PY_LOCK_FIELD
    py_state *state;
    lb_pool *pool;
    int nspare; /* memory of dead leases, kept for the next ones */
    lease_object *spare[SPARE_LEASES];
} pool_object;

/* A lease keeps its pool alive and carries the ask it answered, so that the
 * next attempt of the same call need not measure the prompt again. */
struct lease_object {
    PyObject_HEAD
    pool_object *owner;
    bool timed; /* `now` was given: then it is not for the clock to say when it ends */
    lb_ask ask;
    lb_lease lease;
};

/* A Lease that holds nothing yet, its ask to be filled in.  NULL: out of memory. */
lease_object *py_lease_new(pool_object *owner);

/* Let it pick for its ask; `now` is LB_FOREVER to ask the clock. */
PyObject *py_lease_pick(lease_object *self, lb_ns now);

/* Methods of Pool that live in files of their own. */
extern const char py_pool_pick_doc[], py_pool_explain_doc[]; /* py_ask.c */
PyObject *py_pool_pick(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames);
PyObject *py_pool_explain(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames);
extern const char py_pool_backend_doc[], py_pool_budget_doc[], /* py_view.c */
    py_pool_limit_doc[], py_pool_output_doc[], py_pool_usage_doc[];
PyObject *py_pool_backend(PyObject *op, PyObject *args);
PyObject *py_pool_budget(PyObject *op, PyObject *args);
PyObject *py_pool_limit(PyObject *op, PyObject *args);
PyObject *py_pool_output(PyObject *op, PyObject *args);
PyObject *py_pool_usage(PyObject *op, PyObject *ignored);

/* A quote and a decision record as dicts. */
PyObject *py_quote(const lb_quote *q);
PyObject *py_decision(const lb_decision *d);

/* The tuples of names that indices refer to: STRATEGIES, OUTCOMES, KINDS, ... */
int py_add_names(PyObject *mod);

#endif /* PY_POOL_H */

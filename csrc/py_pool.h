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

/* Terms, a price row, breaker rules and a min_share from the keywords of add_backend
 * (py_terms.c), all of them within their ranges: 0, or -1 and raise. */
int py_read_terms(pool_object *self, PyObject *args, PyObject *kwargs, lb_terms *t,
                  const lb_price **price, lb_breaker_rules *rules, double *min_share);

/* A weight as the core has it; one that is not 0 and would drain a backend all the
 * same, because it is too small for a float, becomes -1, which the core refuses. */
float py_weight(double weight);

/* A list of backend indices, to be freed with PyMem_Free; NULL: raised. */
uint32_t *py_read_members(const pool_object *self, PyObject *list, uint32_t *n);

/* An index or a status of the core as int or None, or raise with `what`. */
PyObject *py_index(int i, const char *what);
PyObject *py_status(enum lb_status st, const char *what);

/* Methods of Pool that live in files of their own. */
extern const char py_pool_pick_doc[], py_pool_explain_doc[]; /* py_ask.c */
PyObject *py_pool_pick(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames);
PyObject *py_pool_explain(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames);
extern const char py_pool_set_terms_doc[], py_pool_set_weight_doc[],
    py_pool_set_price_doc[], py_pool_set_window_doc[], py_pool_set_group_doc[],
    py_pool_order_doc[], py_pool_set_policy_doc[], py_pool_set_limit_doc[],
    py_pool_set_usual_doc[], py_pool_set_budget_doc[]; /* py_change.c */
PyObject *py_pool_set_terms(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *py_pool_set_weight(PyObject *op, PyObject *args);
PyObject *py_pool_set_price(PyObject *op, PyObject *args);
PyObject *py_pool_set_window(PyObject *op, PyObject *args);
PyObject *py_pool_set_usual(PyObject *op, PyObject *args);
PyObject *py_pool_set_limit(PyObject *op, PyObject *args);
PyObject *py_pool_set_budget(PyObject *op, PyObject *args);
PyObject *py_pool_set_group(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *py_pool_order(PyObject *op, PyObject *args);
PyObject *py_pool_set_policy(PyObject *op, PyObject *args, PyObject *kwargs);
extern const char py_pool_backend_doc[], py_pool_budget_doc[], /* py_view.c */
    py_pool_limit_doc[], py_pool_output_doc[], py_pool_usage_doc[];
PyObject *py_pool_backend(PyObject *op, PyObject *args);
PyObject *py_pool_budget(PyObject *op, PyObject *args);
PyObject *py_pool_limit(PyObject *op, PyObject *args);
PyObject *py_pool_output(PyObject *op, PyObject *args);
PyObject *py_pool_usage(PyObject *op, PyObject *ignored);

extern const char py_pool_learned_doc[], py_pool_teach_doc[], /* py_learn.c */
    py_pool_book_doc[], py_pool_spent_doc[];
PyObject *py_pool_learned(PyObject *op, PyObject *args);
PyObject *py_pool_teach(PyObject *op, PyObject *args);
PyObject *py_pool_book(PyObject *op, PyObject *args);
PyObject *py_pool_spent(PyObject *op, PyObject *args);

/* A quote and a decision record as dicts. */
PyObject *py_quote(const lb_quote *q);
PyObject *py_decision(const lb_decision *d);

/* The words for an enum lb_outcome, lb_unit, lb_charge. */
const char *py_outcome_name(int i);
const char *py_unit_name(int i);
const char *py_charge_name(int i);

/* The tuples of names that indices refer to: STRATEGIES, OUTCOMES, KINDS, ... */
int py_add_names(PyObject *mod);

#endif /* PY_POOL_H */

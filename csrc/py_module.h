/* py_module.h - the one header of the binding; the only one with Python.h.
 *
 * Rules of this layer: a method parses, locks, calls one lb_ or net_ function,
 * unlocks and converts.  No Python call happens while a lock is held, and no
 * char * borrowed from an argument outlives the call.
 *
 * To add a type: write its py_<name>.c with a `PyType_Spec py_<name>_spec`,
 * declare the spec below and add one line to py_types[] in py_module.c.
 */
#ifndef PY_MODULE_H
#define PY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lb_base.h"

/* One slot per heap type of the module, in the order of py_types[]. */
enum py_type {
    PY_POOL,
    PY_LEASE,
    PY_ORIGIN,
    PY_PORT,
    PY_RESPONSE,
    PY_PRICE,
    PY_SIM,
    PY_NTYPES,
};

typedef struct py_state {
    PyTypeObject *type[PY_NTYPES];
} py_state;

extern PyType_Spec py_pool_spec;   /* py_pool.c: Pool */
extern PyType_Spec py_lease_spec;  /* py_lease.c: Lease */
extern PyType_Spec py_origin_spec; /* py_origin.c: Origin, one backend's connections */
extern PyType_Spec py_port_spec;   /* py_port.c: Port, one event loop's mailbox */
extern PyType_Spec py_response_spec; /* py_response.c: Response */
extern PyType_Spec py_price_spec;    /* py_price.c: Price rows and their arithmetic */
extern PyType_Spec py_sim_spec;      /* py_sim.c: Simulation */

extern PyMethodDef py_tokens_methods[];   /* py_tokens.c: module-level functions */
extern PyMethodDef py_engine_functions[]; /* py_engine.c: module-level functions */

/* With a GIL every method is already atomic, so the lock exists only where
 * there is none.  PyMutex is not a critical section: nothing suspends it. */
#ifdef Py_GIL_DISABLED
#define PY_LOCK_FIELD   PyMutex lock;
#define PY_LOCK(self)   PyMutex_Lock(&(self)->lock)
#define PY_UNLOCK(self) PyMutex_Unlock(&(self)->lock)
#else
#define PY_LOCK_FIELD
#define PY_LOCK(self)   ((void)0)
#define PY_UNLOCK(self) ((void)0)
#endif

#define PY_FAST(f) ((PyCFunction)(void (*)(void))(f)) /* METH_FASTCALL cast */

/* What every type file needs: py_args.c. */

/* CLOCK_MONOTONIC, the clock of time.monotonic_ns(). */
lb_ns py_now(void);

/* Seconds (float or int) to ns; None or NULL gives `absent`.  0, or -1 and raise. */
int py_seconds(PyObject *o, lb_ns absent, lb_ns *out);

/* The time `now` of a call: 0 to 9e9 s of a clock that runs on; None or NULL is the
 * clock's own (py_at), or LB_FOREVER for who must know that it was not given
 * (py_moment).  0, or -1 and raise. */
int py_at(PyObject *o, lb_ns *now);
int py_moment(PyObject *o, lb_ns *now);

/* Seconds as a float; LB_FOREVER becomes inf. */
PyObject *py_wait(lb_ns wait);

/* The one function that turns a status into an exception: ValueError with
 * `what` (which argument, which range), MemoryError.  Always NULL. */
PyObject *py_raise(enum lb_status why, const char *what);

/* Spread METH_FASTCALL|METH_KEYWORDS arguments over `names` (NULL-ended);
 * the first `need` must be given, absent ones stay NULL.  0, or -1 and raise. */
int py_args(const char *func, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames, const char *const *names, int need, PyObject **out);

#endif /* PY_MODULE_H */

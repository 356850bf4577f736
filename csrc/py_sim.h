/* py_sim.h - the simulation as its binding files see it: what it is made of
 * (py_sim_trace.c), how its world is (py_sim_setup.c), what the router allows in it
 * (py_sim_terms.c), the object itself (py_sim.c). */
#ifndef PY_SIM_H
#define PY_SIM_H

#include "py_pool.h"

#include "sim_world.h"

enum py_column { AT, INPUT, OUTPUT, GROUP, MOST, SESSION, BLOCK, BLOCKS, NCOLUMNS };

typedef struct simulation_object {
    PyObject_HEAD
    py_state *state;
    pool_object *owner;
    sim_world *world;
    Py_buffer column[NCOLUMNS]; /* obj NULL: not given */
    sim_plan plan;
    uint64_t requests;
    bool running;
} simulation_object;

/* Borrow the columns (NULL or None: not given) until the simulation goes, and check
 * what the core takes for granted of them.  0, or -1 and ValueError. */
int py_sim_trace(simulation_object *self, PyObject *const *given, uint32_t groups,
                 sim_trace *trace);

/* The world, or NULL and raise while another thread runs it. */
sim_world *py_sim_world(PyObject *op);

/* Methods of Simulation that say how the world is: py_sim_setup.c. */
extern const char py_sim_service_doc[], py_sim_limit_doc[], py_sim_share_doc[],
    py_sim_fault_doc[], py_sim_price_doc[], py_sim_peer_doc[];
PyObject *py_sim_service(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *py_sim_limit(PyObject *op, PyObject *args);
PyObject *py_sim_share(PyObject *op, PyObject *args);
PyObject *py_sim_fault(PyObject *op, PyObject *args);
PyObject *py_sim_price(PyObject *op, PyObject *args);
PyObject *py_sim_peer(PyObject *op, PyObject *args);

/* Methods of Simulation that say what groups and the router allow: py_sim_terms.c. */
extern const char py_sim_terms_doc[], py_sim_patience_doc[];
PyObject *py_sim_terms(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *py_sim_patience(PyObject *op, PyObject *args, PyObject *kwargs);

#endif /* PY_SIM_H */

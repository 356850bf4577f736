/* py_sim_terms.c - what groups and the router allow the calls of a Simulation. */
#include "py_sim.h"

const char py_sim_terms_doc[] = PyDoc_STR(
    "terms($self, group, *, timeout=0.0, most=0, failure=0, refusal=0, lateness=0,\n"
    "      longer=())\n"
    "--\n\n"
    "What a call may spend in a group: seconds from its first attempt there, and\n"
    "attempts, also by the kind of its first failure; 0: no bound. longer: the\n"
    "groups for prompts that are too long for all of it.");

static int
read_longer(PyObject *given, sim_terms *t)
{
    Py_ssize_t n = given == NULL ? 0 : PySequence_Size(given);
    if (n < 0)
        return -1;
    if (n > SIM_TERMS_LINKS) {
        (void)py_raise(LB_EINVAL, "longer: at most 8 groups");
        return -1;
    }
    for (Py_ssize_t k = 0; k < n; k++) {
        PyObject *one = PySequence_GetItem(given, k);
        unsigned long group = one == NULL ? 0 : PyLong_AsUnsignedLong(one);
        Py_XDECREF(one);
        if (PyErr_Occurred())
            return -1;
        t->longer[t->nlonger++] = group < UINT32_MAX ? (uint32_t)group : UINT32_MAX;
    }
    return 0;
}

PyObject *
py_sim_terms(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"group",   "timeout",  "most",   "failure",
                            "refusal", "lateness", "longer", NULL};
    sim_world *w = py_sim_world(op);
    sim_terms t = {.any = true};
    unsigned int group;
    double timeout = 0;
    PyObject *longer = NULL;
    if (w == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "I|$dbbbbO:terms", names, &group,
                                     &timeout, &t.most[SIM_ANY], &t.most[SIM_FAILURE],
                                     &t.most[SIM_REFUSAL], &t.most[SIM_LATENESS],
                                     &longer) ||
        read_longer(longer, &t) < 0)
        return NULL;
    enum lb_status st = LB_EINVAL;
    if (timeout >= 0 && timeout < 9e9) {
        t.timeout = (lb_ns)(timeout * 1e9);
        st = sim_world_set_terms(w, group, &t);
    }
    return st == LB_OK ? Py_NewRef(Py_None)
                       : py_raise(st, "terms: no such group, or timeout not >= 0 s");
}

const char py_sim_patience_doc[] = PyDoc_STR(
    "patience($self, backend, *, first_token=0.0, total=0.0)\n"
    "--\n\n"
    "Seconds that an attempt at a backend may take: of a stream to its first\n"
    "token, of an answer in one piece in all; 0: no bound.");

PyObject *
py_sim_patience(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"backend", "first_token", "total", NULL};
    sim_world *w = py_sim_world(op);
    unsigned int backend;
    double first = 0, total = 0;
    if (w == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "I|$dd:patience", names,
                                                  &backend, &first, &total))
        return NULL;
    enum lb_status st = LB_EINVAL;
    if (first >= 0 && first < 9e9 && total >= 0 && total < 9e9) {
        sim_patience p = {.first_token = (lb_ns)(first * 1e9),
                          .total = (lb_ns)(total * 1e9)};
        st = sim_world_set_patience(w, backend, &p);
    }
    return st == LB_OK ? Py_NewRef(Py_None)
                       : py_raise(st, "patience: no such backend, or a time not >= 0");
}

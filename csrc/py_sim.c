/* py_sim.c - llmbalance._core.Simulation, sim_world.h made visible.
 *
 * It borrows the pool and the columns of the trace.  While it runs the
 * interpreter is free; nobody else may use the pool meanwhile. */
#include "py_sim.h"

#include <string.h>

/* ---- making ------------------------------------------------------------- */

/* chain: a list of lists of group indices, one for each group. */
static int
read_chain(PyObject *chain, uint32_t groups, uint32_t *starts, uint32_t **links)
{
    uint32_t n = 0;
    if (!PyList_Check(chain) || PyList_Size(chain) != (Py_ssize_t)groups) {
        PyErr_SetString(PyExc_ValueError, "chain: one list for each group");
        return -1;
    }
    for (uint32_t g = 0; g < groups; g++) {
        PyObject *one = PyList_GetItem(chain, g);
        starts[g] = n;
        Py_ssize_t length = PyList_Check(one) ? PyList_Size(one) : 0;
        uint32_t *more =
            PyMem_Realloc(*links, (n + (size_t)length) * sizeof **links + 1);
        if (more == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        *links = more;
        for (Py_ssize_t k = 0; k < length; k++) {
            unsigned long link = PyLong_AsUnsignedLong(PyList_GetItem(one, k));
            if (PyErr_Occurred() || link >= groups) {
                PyErr_SetString(PyExc_ValueError, "chain: no such group");
                return -1;
            }
            (*links)[n++] = (uint32_t)link;
        }
    }
    starts[groups] = n;
    return 0;
}

static int
build(simulation_object *self, PyObject *const *given, PyObject *chain)
{
    uint32_t groups = self->owner->pool->used.groups, *links = NULL;
    sim_trace trace;
    if (py_sim_trace(self, given, groups, &trace) < 0)
        return -1;
    uint32_t *starts = PyMem_Calloc(groups + 1U, sizeof *starts);
    if (starts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (read_chain(chain, groups, starts, &links) == 0) {
        self->world =
            sim_world_new(self->owner->pool, &trace, &self->plan, starts, links);
        if (self->world == NULL)
            PyErr_NoMemory();
    }
    PyMem_Free(starts);
    PyMem_Free(links);
    return self->world != NULL ? 0 : -1;
}

static int
read_rule(const char *name, int *rule)
{
    for (*rule = 0; *rule < SIM_NRULES; (*rule)++)
        if (strcmp(sim_rule_name(*rule), name) == 0)
            return 0;
    PyErr_Format(PyExc_ValueError, "rule: there is no '%s'", name);
    return -1;
}

static int
read_plan(sim_plan *plan, const char *rule, double timeout, double slice)
{
    plan->rule = -1;
    if (rule != NULL && read_rule(rule, &plan->rule) < 0)
        return -1;
    if (!(timeout > 0 && timeout < 9e9 && slice > 0 && slice < 9e9) ||
        plan->slices < 1 || plan->block_tokens < 1) {
        PyErr_SetString(PyExc_ValueError,
                        "timeout and slice must be within 0 and 9e9 s, slices and "
                        "block_tokens at least 1");
        return -1;
    }
    plan->timeout = (lb_ns)(timeout * 1e9);
    plan->slice = (lb_ns)(slice * 1e9);
    return 0;
}

static int
simulation_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "pool",         "chain",   "at",          "input",   "output",     "group",
        "most",         "session", "block",       "blocks",  "seed",       "rule",
        "timeout",      "stream",  "slice",       "slices",  "mismeasure", "samples",
        "block_tokens", "wait",    "max_waiting", "retries", NULL};
    simulation_object *self = (simulation_object *)op;
    sim_plan plan = {
        .slices = 100, .block_tokens = 512, .most_waiting = -1, .retry_share = 0.2};
    PyObject *pool, *chain, *given[NCOLUMNS] = {NULL};
    const char *rule = NULL;
    double timeout = 600, slice = 60;
    int stream = 0, samples = 0, wait = 1;
    unsigned long long seed = 0;
    long long most_waiting = -1;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OOOOO|$OOOOOKzdpdIdpipLd:Simulation", names, &pool, &chain,
            &given[AT], &given[INPUT], &given[OUTPUT], &given[GROUP], &given[MOST],
            &given[SESSION], &given[BLOCK], &given[BLOCKS], &seed, &rule, &timeout,
            &stream, &slice, &plan.slices, &plan.mismeasure, &samples,
            &plan.block_tokens, &wait, &most_waiting, &plan.retry_share))
        return -1;
    self->state = PyType_GetModuleState(Py_TYPE(op));
    if (self->world != NULL || !PyObject_TypeCheck(pool, self->state->type[PY_POOL])) {
        PyErr_SetString(PyExc_TypeError, "a Simulation is made once, of a Pool");
        return -1;
    }
    plan.seed = seed;
    plan.stream = stream != 0;
    plan.samples = samples != 0;
    plan.impatient = wait == 0;
    plan.most_waiting = most_waiting;
    if (read_plan(&plan, rule, timeout, slice) < 0)
        return -1;
    self->plan = plan;
    self->owner = (pool_object *)Py_NewRef(pool);
    return build(self, given, chain);
}

static void
simulation_tp_dealloc(PyObject *op)
{
    simulation_object *self = (simulation_object *)op;
    PyTypeObject *tp = Py_TYPE(op);
    sim_world_free(self->world);
    for (int k = 0; k < NCOLUMNS; k++)
        if (self->column[k].obj != NULL)
            PyBuffer_Release(&self->column[k]);
    Py_XDECREF((PyObject *)self->owner);
    freefunc tp_free = (freefunc)PyType_GetSlot(tp, Py_tp_free);
    tp_free(op);
    Py_DECREF(tp);
}

sim_world *
py_sim_world(PyObject *op)
{
    simulation_object *self = (simulation_object *)op;
    if (self->world != NULL && !self->running)
        return self->world;
    PyErr_SetString(PyExc_RuntimeError, "the simulation is running");
    return NULL;
}

/* ---- running and looking ------------------------------------------------ */

PyDoc_STRVAR(simulation_run_doc,
             "run($self, requests)\n--\n\n"
             "Let at most so many more requests come in; True when all are over.");

static PyObject *
simulation_run(PyObject *op, PyObject *args)
{
    simulation_object *self = (simulation_object *)op;
    sim_world *w = py_sim_world(op);
    unsigned long long requests;
    if (w == NULL || !PyArg_ParseTuple(args, "K:run", &requests))
        return NULL;
    int state;
    self->running = true;
    PY_LOCK(self->owner);
    Py_BEGIN_ALLOW_THREADS;
    state = sim_world_run(w, requests);
    Py_END_ALLOW_THREADS;
    PY_UNLOCK(self->owner);
    self->running = false;
    return state < 0 ? PyErr_NoMemory() : PyBool_FromLong(state == 1);
}

PyDoc_STRVAR(simulation_totals_doc,
             "totals($self)\n--\n\n"
             "Counts, nano-USD, tokens and seconds of the run so far, as a dict.");

static PyObject *
simulation_totals(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    const sim_world *w = py_sim_world(op);
    if (w == NULL)
        return NULL;
    const sim_totals *t = &sim_world_tally(w)->total;
    return Py_BuildValue(
        "{sLsLsLsLsLsLsLsLsLsLsLsdsLsLsLsLsLsLsLsd}", "requests",
        (long long)t->requests, "done", (long long)t->end[SIM_DONE], "failed",
        (long long)t->end[SIM_FAILED], "timed_out", (long long)t->end[SIM_TIMED_OUT],
        "refused", (long long)t->end[SIM_REFUSED], "attempts", (long long)t->attempts,
        "attempts_limited", (long long)t->limited, "attempts_failed",
        (long long)t->failed, "attempts_timed_out", (long long)t->timed_out, "absorbed",
        (long long)t->absorbed, "waits", (long long)t->waits, "waited", t->waited,
        "cost_nano_usd", (long long)t->cost, "wasted_nano_usd", (long long)t->wasted,
        "input_tokens", (long long)t->input, "cached_tokens", (long long)t->cached,
        "output_tokens", (long long)t->output, "follow_ups", (long long)t->follow_ups,
        "sticky", (long long)t->sticky, "seconds",
        t->last > 0 ? (double)(t->last - SIM_DAWN) * 1e-9 : 0.0);
}

PyDoc_STRVAR(
    simulation_quantile_doc,
    "quantile($self, what, p)\n--\n\n"
    "The p-quantile (0..1) of 'ttft' or 'seconds' over all requests that were\n"
    "answered, in s; p < 0: the mean.");

static PyObject *
simulation_quantile(PyObject *op, PyObject *args)
{
    const sim_world *w = py_sim_world(op);
    const char *what;
    double p;
    if (w == NULL || !PyArg_ParseTuple(args, "sd:quantile", &what, &p))
        return NULL;
    const sim_tally *t = sim_world_tally(w);
    const sim_hist *h = strcmp(what, "ttft") == 0      ? &t->ttft
                        : strcmp(what, "seconds") == 0 ? &t->seconds
                                                       : NULL;
    if (h == NULL || !(p <= 1))
        return py_raise(LB_EINVAL, "quantile: 'ttft' or 'seconds', p at most 1");
    if (p < 0)
        return PyFloat_FromDouble(h->n > 0 ? h->sum / (double)h->n : 0);
    return PyFloat_FromDouble(sim_hist_quantile(h, p));
}

PyDoc_STRVAR(
    simulation_cells_doc,
    "cells($self)\n--\n\n"
    "One tuple for each slice of time and backend, slice by slice: (sent, done,\n"
    "limited, failed, timed_out, nano-USD, input, cached, output, busy seconds,\n"
    "used share, breaker state).");

static PyObject *
simulation_cells(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    const sim_world *w = py_sim_world(op);
    if (w == NULL)
        return NULL;
    const sim_tally *t = sim_world_tally(w);
    Py_ssize_t n = (Py_ssize_t)t->slices * t->backends;
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list != NULL && i < n; i++) {
        const sim_cell *c = &t->cell[i];
        PyObject *row = Py_BuildValue(
            "(LLLLLLLLLddi)", (long long)c->sent, (long long)c->done,
            (long long)c->limited, (long long)c->failed, (long long)c->timed_out,
            (long long)c->cost, (long long)c->input, (long long)c->cached,
            (long long)c->output, c->busy, (double)c->used, (int)c->breaker);
        if (row == NULL || PyList_SetItem(list, i, row) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyDoc_STRVAR(
    simulation_samples_doc,
    "samples($self)\n--\n\n"
    "What became of every request, as native structs packed like '=qffhBBi':\n"
    "nano-USD, ttft s, seconds, backend (-1 none), attempts, end (0 done,\n"
    "1 failed, 2 timed out, 3 refused), cached tokens; empty unless asked for.");

static PyObject *
simulation_samples(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    const sim_world *w = py_sim_world(op);
    if (w == NULL)
        return NULL;
    const sim_tally *t = sim_world_tally(w);
    uint64_t n = t->sample != NULL ? ((simulation_object *)op)->requests : 0;
    return PyBytes_FromStringAndSize((const char *)t->sample,
                                     (Py_ssize_t)(n * sizeof *t->sample));
}

#define PY_KW(f) PY_FAST(f), METH_VARARGS | METH_KEYWORDS

static PyMethodDef simulation_methods[] = {
    {"service", PY_KW(py_sim_service), py_sim_service_doc},
    {"limit", py_sim_limit, METH_VARARGS, py_sim_limit_doc},
    {"share_limit", py_sim_share, METH_VARARGS, py_sim_share_doc},
    {"fault", py_sim_fault, METH_VARARGS, py_sim_fault_doc},
    {"price", py_sim_price, METH_VARARGS, py_sim_price_doc},
    {"peer", py_sim_peer, METH_VARARGS, py_sim_peer_doc},
    {"terms", PY_KW(py_sim_terms), py_sim_terms_doc},
    {"patience", PY_KW(py_sim_patience), py_sim_patience_doc},
    {"run", simulation_run, METH_VARARGS, simulation_run_doc},
    {"totals", simulation_totals, METH_NOARGS, simulation_totals_doc},
    {"quantile", simulation_quantile, METH_VARARGS, simulation_quantile_doc},
    {"cells", simulation_cells, METH_NOARGS, simulation_cells_doc},
    {"samples", simulation_samples, METH_NOARGS, simulation_samples_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot simulation_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, simulation_tp_init},
    {Py_tp_dealloc, simulation_tp_dealloc},
    {Py_tp_methods, simulation_methods},
    {Py_tp_doc,
     (void
          *)"Simulation(pool, chain, at, input, output, *, group=None, most=None,\n"
            "           session=None, block=None, blocks=None, seed=0, rule=None,\n"
            "           timeout=600.0, stream=False, slice=60.0, slices=100,\n"
            "           mismeasure=0.0, samples=False, block_tokens=512, wait=True,\n"
            "           max_waiting=-1, retries=0.2)\n"
            "--\n\n"
            "A trace sent through a pool on a virtual clock that begins at 1 s. "
            "Columns\n"
            "are buffers: at int64 ns, group uint16, block and blocks uint64, others\n"
            "32 bit. chain: the groups to walk for each group. rule: None, or another\n"
            "router's. max_waiting: calls in line, retries: the share of calls that "
            "may\n"
            "be repeated; negative: no bound."},
    {0, NULL},
};

PyType_Spec py_sim_spec = {
    .name = "llmbalance._core.Simulation",
    .basicsize = sizeof(simulation_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = simulation_slots,
};

/* py_sim_trace.c - the trace of a Simulation: columns of Python, borrowed and checked.
 */
#include "py_sim.h"

static const struct {
    const char *name;
    Py_ssize_t size;
} columns[NCOLUMNS] = {{"at", 8},   {"input", 4},   {"output", 4}, {"group", 2},
                       {"most", 4}, {"session", 4}, {"block", 8},  {"blocks", 8}};

/* Borrow a column of n items (n < 0: as long as it likes); None is no column. */
static int
borrow(simulation_object *self, int k, PyObject *o, Py_ssize_t n)
{
    if (o == NULL || o == Py_None)
        return 0;
    if (PyObject_GetBuffer(o, &self->column[k], PyBUF_SIMPLE) < 0)
        return -1;
    Py_ssize_t want = n * columns[k].size;
    if (n >= 0 ? self->column[k].len == want
               : self->column[k].len % columns[k].size == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: %zd bytes given, %zd expected", columns[k].name,
                 self->column[k].len, want);
    return -1;
}

static int
borrow_all(simulation_object *self, PyObject *const *given)
{
    if (borrow(self, AT, given[AT], -1) < 0)
        return -1;
    Py_ssize_t n = self->column[AT].len / columns[AT].size;
    for (int k = INPUT; k < BLOCK; k++)
        if (borrow(self, k, given[k], n) < 0)
            return -1;
    if (borrow(self, BLOCK, given[BLOCK], -1) < 0 ||
        borrow(self, BLOCKS, given[BLOCKS], n + 1) < 0)
        return -1;
    self->requests = (uint64_t)n;
    return 0;
}

/* What the core takes for granted of a trace.  NULL: fine. */
static const char *
flaw(const sim_trace *t, uint32_t groups, uint64_t nblocks)
{
    if (t->n > 0 && (t->input == NULL || t->output == NULL))
        return "input and output must be given";
    if (t->block != NULL && t->blocks == NULL)
        return "block needs blocks, its offsets";
    for (uint64_t i = 0; i < t->n; i++) {
        if (t->at[i] < (i > 0 ? t->at[i - 1] : 0) || t->at[i] > LB_FOREVER / 4)
            return "at: times must ascend from 0";
        if (t->input[i] < 1 || t->output[i] < 0 || (t->most && t->most[i] < 0))
            return "input must be >= 1, output and most >= 0";
        if (t->group != NULL && t->group[i] >= groups)
            return "group: no such index";
        if (t->session != NULL && t->session[i] > INT32_MAX)
            return "session: numbers must be small";
        if (t->block != NULL && t->blocks[i] > t->blocks[i + 1])
            return "blocks: offsets must ascend";
    }
    if (t->block != NULL && t->blocks[t->n] > nblocks)
        return "blocks: offsets beyond the end";
    return NULL;
}

int
py_sim_trace(simulation_object *self, PyObject *const *given, uint32_t groups,
             sim_trace *trace)
{
    const Py_buffer *c = self->column;
    if (borrow_all(self, given) < 0)
        return -1;
    *trace = (sim_trace){
        .n = self->requests,
        .at = c[AT].buf,
        .input = c[INPUT].buf,
        .output = c[OUTPUT].buf,
        .group = c[GROUP].buf,
        .most = c[MOST].buf,
        .session = c[SESSION].buf,
        .block = c[BLOCK].buf,
        .blocks = c[BLOCKS].buf,
    };
    const char *wrong = flaw(trace, groups, (uint64_t)c[BLOCK].len / sizeof(uint64_t));
    if (wrong == NULL)
        return 0;
    PyErr_SetString(PyExc_ValueError, wrong);
    return -1;
}

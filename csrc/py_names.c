/* py_names.c - the words for what the core numbers, and the tuples that list them. */
#include "py_pool.h"

static const char *const outcomes[] = {
    "done",  "slow", "failed",  "broken",   "timed_out", "rate_limited",
    "quota", "auth", "missing", "rejected", "cancelled",
};
static const char *const units[] = {"requests", "tokens", "input_tokens",
                                    "output_tokens"};
static const char *const charges[] = {"actual", "chars4", "max"};

_Static_assert(sizeof outcomes / sizeof *outcomes == LB_NOUTCOMES, "names");
_Static_assert(sizeof units / sizeof *units == LB_NUNITS, "names");
_Static_assert(sizeof charges / sizeof *charges == LB_NCHARGES, "names");

const char *
py_outcome_name(int i)
{
    return outcomes[i];
}

const char *
py_unit_name(int i)
{
    return units[i];
}

const char *
py_charge_name(int i)
{
    return charges[i];
}

static int
add_tuple(PyObject *mod, const char *name, const char *(*of)(int), int n)
{
    PyObject *t = PyTuple_New(n);
    for (int i = 0; t != NULL && i < n; i++) {
        PyObject *s = PyUnicode_InternFromString(of(i));
        if (s == NULL || PyTuple_SetItem(t, i, s) < 0)
            Py_CLEAR(t);
    }
    int bad = t == NULL ? -1 : PyModule_AddObjectRef(mod, name, t);
    Py_XDECREF(t);
    return bad;
}

int
py_add_names(PyObject *mod)
{
    if (add_tuple(mod, "STRATEGIES", lb_strategy_name, LB_NSTRATEGIES) < 0 ||
        add_tuple(mod, "REASONS", lb_reason_name, LB_NREASONS) < 0 ||
        add_tuple(mod, "OUTCOMES", py_outcome_name, LB_NOUTCOMES) < 0 ||
        add_tuple(mod, "KINDS", lb_kind_name, LB_NKINDS) < 0 ||
        add_tuple(mod, "UNITS", py_unit_name, LB_NUNITS) < 0)
        return -1;
    return add_tuple(mod, "CHARGES", py_charge_name, LB_NCHARGES);
}

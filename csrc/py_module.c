/* py_module.c - llmbalance._core: its types, its functions, its state. */
#include "py_module.h"

#include "py_pool.h"

static PyType_Spec *const py_types[PY_NTYPES] = {
    [PY_POOL] = &py_pool_spec,         [PY_LEASE] = &py_lease_spec,
    [PY_ORIGIN] = &py_origin_spec,     [PY_PORT] = &py_port_spec,
    [PY_RESPONSE] = &py_response_spec, [PY_PRICE] = &py_price_spec,
    [PY_SIM] = &py_sim_spec,
};

static int
core_exec(PyObject *mod)
{
    py_state *st = PyModule_GetState(mod);
    for (int i = 0; i < PY_NTYPES; i++) {
        st->type[i] = (PyTypeObject *)PyType_FromModuleAndSpec(mod, py_types[i], NULL);
        if (st->type[i] == NULL || PyModule_AddType(mod, st->type[i]) < 0)
            return -1;
    }
    if (py_add_names(mod) < 0 || PyModule_AddFunctions(mod, py_tokens_methods) < 0)
        return -1;
    return PyModule_AddFunctions(mod, py_engine_functions);
}

static int
core_traverse(PyObject *mod, visitproc visit, void *arg)
{
    py_state *st = PyModule_GetState(mod);
    for (int i = 0; i < PY_NTYPES; i++)
        Py_VISIT(st->type[i]);
    return 0;
}

static int
core_clear(PyObject *mod)
{
    py_state *st = PyModule_GetState(mod);
    for (int i = 0; i < PY_NTYPES; i++)
        Py_CLEAR(st->type[i]);
    return 0;
}

static void
core_free(void *mod)
{
    (void)core_clear((PyObject *)mod);
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    {0, NULL},
};

static struct PyModuleDef core_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "llmbalance._core",
    .m_size = sizeof(py_state),
    .m_slots = core_slots,
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}

/* py_view.c - what a pool shows of itself: state and records as plain dicts. */
#include "py_pool.h"

static const char *const states[] = {"closed", "open", "half_open", "ramp"};

PyObject *
py_quote(const lb_quote *q)
{
    PyObject *cost = q->cost == LB_UNKNOWN ? Py_NewRef(Py_None)
                                           : PyFloat_FromDouble((double)q->cost * 1e-9);
    PyObject *wait = py_wait(q->wait);
    if (cost == NULL || wait == NULL) {
        Py_XDECREF(cost);
        Py_XDECREF(wait);
        return NULL;
    }
    return Py_BuildValue(
        "{s:i,s:s,s:N,s:d,s:d,s:i,s:L,s:N,s:O}", "backend", (int)q->backend, "reason",
        lb_reason_name(q->reason), "cost", cost, "seconds", q->seconds, "used",
        (double)q->used, "in_flight", (int)q->calls, "input_tokens",
        (long long)q->input, "wait", wait, "bound", q->bound ? Py_True : Py_False);
}

static PyObject *
candidate(const lb_candidate *c)
{
    double cost = c->cost < 0 ? -1 : (double)c->cost;
    return Py_BuildValue("{s:i,s:s,s:d,s:d,s:d,s:d,s:O}", "backend", (int)c->backend,
                         "reason", lb_reason_name(c->reason), "cost", cost, "seconds",
                         (double)c->seconds, "used", (double)c->used, "score",
                         (double)c->score, "bound", c->bound ? Py_True : Py_False);
}

PyObject *
py_decision(const lb_decision *d)
{
    PyObject *refused = PyDict_New(), *lines = PyList_New(0);
    for (int k = 1; refused != NULL && k < LB_NREASONS; k++) {
        if (d->refused[k] == 0)
            continue;
        PyObject *n = PyLong_FromUnsignedLong(d->refused[k]);
        if (n == NULL || PyDict_SetItemString(refused, lb_reason_name(k), n) < 0)
            Py_CLEAR(refused);
        Py_XDECREF(n);
    }
    for (int i = 0; lines != NULL && i < d->listed; i++) {
        PyObject *line = candidate(&d->line[i]);
        if (line == NULL || PyList_Append(lines, line) < 0)
            Py_CLEAR(lines);
        Py_XDECREF(line);
    }
    PyObject *wait = py_wait(d->wait);
    if (refused == NULL || lines == NULL || wait == NULL) {
        Py_XDECREF(refused);
        Py_XDECREF(lines);
        Py_XDECREF(wait);
        return NULL;
    }
    return Py_BuildValue(
        "{s:s,s:I,s:i,s:N,s:O,s:O,s:O,s:N,s:N}", "strategy",
        lb_strategy_name(d->strategy), "members", (unsigned)d->members, "looked",
        (int)d->looked, "wait", wait, "probe", d->probe ? Py_True : Py_False, "owed",
        d->owed ? Py_True : Py_False, "desperate", d->desperate ? Py_True : Py_False,
        "refused", refused, "candidates", lines);
}

/* (index[, now]) of a read-out; -1 and raise when outside [0, n). */
static int
read_index(PyObject *args, uint32_t n, const char *what, uint32_t *i, lb_ns *now)
{
    unsigned int at;
    PyObject *when = NULL;
    if (!PyArg_ParseTuple(args, "I|O", &at, &when) || py_at(when, now) < 0)
        return -1;
    *i = at;
    if (at < n)
        return 0;
    PyErr_Format(PyExc_IndexError, "%s %u of %u", what, at, (unsigned)n);
    return -1;
}

static PyObject *
breaker_view(const lb_pool *p, uint32_t i, lb_ns now)
{
    const lb_breaker_rules *rules = &lb_pool_record(p, i)->rules;
    lb_breaker *b = &lb_pool_backend(p, i)->breaker;
    int32_t calls, failed;
    enum lb_breaker_state state = lb_breaker_at(b, rules, now);
    lb_breaker_window(b, rules, now, &calls, &failed);
    double left = b->until > now ? (double)(b->until - now) / 1e9 : 0;
    const char *order = b->order == LB_FORCED_OPEN     ? "open"
                        : b->order == LB_FORCED_CLOSED ? "closed"
                                                       : "auto";
    return Py_BuildValue(
        "{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:d,s:I}", "state", states[state], "order", order,
        "reason", b->total_trips > 0 ? py_outcome_name(b->reason) : "", "trips",
        (int)b->total_trips, "calls", (int)calls, "failed", (int)failed, "consecutive",
        (int)b->consecutive, "seconds_left",
        state == LB_OPEN || state == LB_RAMP ? left : 0.0, "generation",
        (unsigned)b->generation);
}

static PyObject *
limit_view(const lb_pool *p, uint32_t i, lb_ns now)
{
    const lb_limit *l = lb_pool_limit(p, i);
    return Py_BuildValue(
        "{s:I,s:s,s:s,s:L,s:d,s:L,s:L,s:d,s:O,s:d,s:L}", "index", (unsigned)i, "unit",
        py_unit_name(l->unit), "charge", py_charge_name(l->charge), "limit",
        (long long)l->rate.limit, "window", (double)l->rate.window / 1e9, "burst",
        (long long)l->rate.burst, "free", (long long)lb_rate_free(&l->rate, now),
        "used", lb_rate_used(&l->rate, now), "learned", l->learned ? Py_True : Py_False,
        "working", l->working / 100.0, "charged", (long long)l->rate.charged);
}

static PyObject *
limits_view(const lb_pool *p, const lb_backend *b, lb_ns now)
{
    PyObject *list = PyList_New(0);
    for (int k = 0; list != NULL && k < b->nlimits; k++) {
        PyObject *l = limit_view(p, b->limit[k], now);
        if (l == NULL || PyList_Append(list, l) < 0)
            Py_CLEAR(list);
        Py_XDECREF(l);
    }
    return list;
}

static PyObject *
counts_view(const char *(*name)(int), const int64_t *count, int n)
{
    PyObject *d = PyDict_New();
    for (int k = 0; d != NULL && k < n; k++) {
        PyObject *v = PyLong_FromLongLong(count[k]);
        if (v == NULL || PyDict_SetItemString(d, name(k), v) < 0)
            Py_CLEAR(d);
        Py_XDECREF(v);
    }
    return d;
}

static PyObject *
latency_view(const lb_pool *p, uint32_t i)
{
    const lb_latency *l = &lb_pool_backend(p, i)->latency;
    const lb_record *r = lb_pool_record(p, i);
    int64_t good = r->tally.outcome[LB_DONE] + r->tally.outcome[LB_SLOW];
    double mean = good > 0 ? (double)r->tally.micros / 1e6 / (double)good : 0;
    return Py_BuildValue(
        "{s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:i}", "mean", mean, "p50",
        lb_hist_quantile(&r->seconds, 0.5), "p95", lb_hist_quantile(&r->seconds, 0.95),
        "p99", lb_hist_quantile(&r->seconds, 0.99), "ttft_p50",
        lb_hist_quantile(&r->ttft, 0.5), "ttft_p95", lb_hist_quantile(&r->ttft, 0.95),
        "ttft_p99", lb_hist_quantile(&r->ttft, 0.99), "seconds_per_token",
        (double)l->itl, "samples", (int)l->samples);
}

const char py_pool_backend_doc[] =
    PyDoc_STR("backend($self, index, now=None)\n--\n\n"
              "State and history of a backend as a dict: weight, in_flight, breaker,\n"
              "limits, latency (s), outcomes, tokens, cost (nano-USD), ratio, fail.");

PyObject *
py_pool_backend(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    const lb_pool *p = self->pool;
    uint32_t i;
    lb_ns now;
    if (read_index(args, p->used.backends, "backend", &i, &now) < 0)
        return NULL;
    const lb_backend *b = lb_pool_backend(p, i);
    const lb_tally *t = &lb_pool_record(p, i)->tally;
    double pause = b->not_before > now ? (double)(b->not_before - now) / 1e9 : 0;
    return Py_BuildValue(
        "{s:d,s:i,s:L,s:d,s:d,s:d,s:L,s:L,s:N,s:N,s:N,s:N,s:N}", "weight",
        (double)b->terms.weight, "in_flight", (int)b->latency.calls, "tokens_in_flight",
        (long long)b->latency.tokens, "ratio", (double)lb_pool_ratio(p, b), "fail",
        (double)b->fail, "paused", pause, "calls", (long long)lb_tally_calls(t), "cost",
        (long long)t->cost, "breaker", breaker_view(p, i, now), "limits",
        limits_view(p, b, now), "latency", latency_view(p, i), "outcomes",
        counts_view(py_outcome_name, t->outcome, LB_NOUTCOMES), "tokens",
        counts_view(lb_kind_name, t->tokens, LB_NTOKENS));
}

const char py_pool_limit_doc[] =
    PyDoc_STR("limit($self, index, now=None)\n--\n\n"
              "A rate limit as a dict: unit, charge, limit, window (s), burst, free,\n"
              "used (share), learned, working (share of it), charged (units since the\n"
              "start).");

PyObject *
py_pool_limit(PyObject *op, PyObject *args)
{
    const lb_pool *p = ((pool_object *)op)->pool;
    uint32_t i;
    lb_ns now;
    if (read_index(args, p->used.limits, "limit", &i, &now) < 0)
        return NULL;
    return limit_view(p, i, now);
}

const char py_pool_budget_doc[] =
    PyDoc_STR("budget($self, index, now=None)\n--\n\n"
              "A budget as a dict of nano-USD: cap, spent, reserved, free, lifetime;\n"
              "rolls, hard, and ends_in (s) for windows.");

PyObject *
py_pool_budget(PyObject *op, PyObject *args)
{
    pool_object *self = (pool_object *)op;
    const lb_pool *p = self->pool;
    uint32_t i;
    lb_ns now;
    if (read_index(args, p->used.budgets, "budget", &i, &now) < 0)
        return NULL;
    lb_budget *b = lb_pool_budget(p, i);
    PY_LOCK(self);
    lb_budget_roll(b, now);
    lb_budget copy = *b;
    PY_UNLOCK(self);
    int64_t left = lb_max(copy.cap - copy.spent - copy.reserved, 0);
    return Py_BuildValue(
        "{s:L,s:L,s:L,s:L,s:L,s:I,s:O,s:d}", "cap", (long long)copy.cap, "spent",
        (long long)copy.spent, "reserved", (long long)copy.reserved, "free",
        (long long)left, "lifetime", (long long)copy.lifetime, "rolls",
        (unsigned)copy.rolls, "hard", copy.hard ? Py_True : Py_False, "ends_in",
        copy.kind == LB_TOTAL ? 0.0 : (double)(copy.ends - now) / 1e9);
}

const char py_pool_output_doc[] =
    PyDoc_STR("output($self, group)\n--\n\n"
              "What a group learned of its answers: a list of (mean, 0.8-quantile) in\n"
              "tokens, one for each power of two of the input; (0, 0): nothing seen.");

PyObject *
py_pool_output(PyObject *op, PyObject *args)
{
    const lb_pool *p = ((pool_object *)op)->pool;
    uint32_t i;
    lb_ns now;
    if (read_index(args, p->used.groups, "group", &i, &now) < 0)
        return NULL;
    PyObject *list = PyList_New(0);
    for (int k = 0; list != NULL && k < LB_SIZES; k++) {
        const lb_output *o = &lb_pool_group(p, i)->output[k];
        PyObject *pair = Py_BuildValue("(dd)", (double)o->mean, (double)o->high);
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

const char py_pool_usage_doc[] =
    PyDoc_STR("usage($self)\n--\n\n"
              "Size of the pool as a dict: bytes, backends, limits, budgets, groups,\n"
              "bytes_per_backend, in_flight.");

PyObject *
py_pool_usage(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const lb_pool *p = ((pool_object *)op)->pool;
    return Py_BuildValue(
        "{s:K,s:I,s:I,s:I,s:I,s:n,s:L}", "bytes", (unsigned long long)p->bytes,
        "backends", (unsigned)p->used.backends, "limits", (unsigned)p->used.limits,
        "budgets", (unsigned)p->used.budgets, "groups", (unsigned)p->used.groups,
        "bytes_per_backend", (Py_ssize_t)(sizeof(lb_backend) + sizeof(lb_record)),
        "in_flight", (long long)p->calls);
}

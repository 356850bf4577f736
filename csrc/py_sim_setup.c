/* py_sim_setup.c - how the providers of a simulated world really are. */
#include "py_sim.h"

#include <string.h>

#include "py_price.h"

const char py_sim_service_doc[] = PyDoc_STR(
    "service($self, backend, *, ttft=0.0, ttft_spread=0.0, tail_share=0.0,\n"
    "        tail_factor=1.0, prefill=0.0, token=0.0, token_crowd=0.0,\n"
    "        token_spread=0.0, failure=0.0, failure_after=0.0, refusal_after=0.0,\n"
    "        slots=0, queue=-1, most_output=0, cache_least=0, cache_life=0.0,\n"
    "        exponential=False, serial=False, headers=False, retry_after=False)\n"
    "--\n\n"
    "Say how a backend really answers; the fields of sim_service, times in s.");

static int
service_ok(const sim_service *s, double life)
{
    const double times[] = {
        s->ttft,        s->ttft_spread,  s->tail_factor,   s->prefill,       s->token,
        s->token_crowd, s->token_spread, s->failure_after, s->refusal_after, life};
    for (size_t k = 0; k < sizeof times / sizeof *times; k++)
        if (!(times[k] >= 0 && times[k] < 9e9))
            return 0;
    return s->failure >= 0 && s->failure <= 1 && s->tail_share >= 0 &&
           s->tail_share <= 1 && s->slots >= 0 && s->most_output >= 0 &&
           s->cache_least >= 0;
}

PyObject *
py_sim_service(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "backend",      "ttft",        "ttft_spread",   "tail_share",
        "tail_factor",  "prefill",     "token",         "token_crowd",
        "token_spread", "failure",     "failure_after", "refusal_after",
        "slots",        "queue",       "most_output",   "cache_least",
        "cache_life",   "exponential", "serial",        "headers",
        "retry_after",  NULL};
    sim_world *w = py_sim_world(op);
    unsigned int backend;
    sim_service s = {.tail_factor = 1, .queue = -1};
    int exponential = 0, serial = 0, headers = 0, retry_after = 0;
    double life = 0;
    if (w == NULL ||
        !PyArg_ParseTupleAndKeywords(
            args, kwargs, "I|$dddddddddddiiiidpppp:service", names, &backend, &s.ttft,
            &s.ttft_spread, &s.tail_share, &s.tail_factor, &s.prefill, &s.token,
            &s.token_crowd, &s.token_spread, &s.failure, &s.failure_after,
            &s.refusal_after, &s.slots, &s.queue, &s.most_output, &s.cache_least, &life,
            &exponential, &serial, &headers, &retry_after))
        return NULL;
    sim_station *station = sim_world_station(w, backend);
    if (station == NULL || !service_ok(&s, life))
        return py_raise(LB_EINVAL, "service: no such backend, or a negative value");
    s.shape = exponential ? SIM_EXPONENTIAL : SIM_LOGNORMAL;
    s.serial = serial != 0;
    s.headers = headers != 0;
    s.retry_after = retry_after != 0;
    s.cache_life = (lb_ns)(life * 1e9);
    station->service = s;
    return Py_NewRef(Py_None);
}

const char py_sim_limit_doc[] =
    PyDoc_STR("limit($self, backend, unit, charge, limit, window, burst=0)\n--\n\n"
              "Put a station under a rate limit of the provider's; arguments as\n"
              "Pool.add_limit() takes them.  Returns the limit's index.");

PyObject *
py_sim_limit(PyObject *op, PyObject *args)
{
    sim_world *w = py_sim_world(op);
    unsigned int backend;
    sim_limit l;
    long long limit, burst = 0;
    double window;
    if (w == NULL || !PyArg_ParseTuple(args, "IbbLd|L:limit", &backend, &l.unit,
                                       &l.charge, &limit, &window, &burst))
        return NULL;
    int i = LB_EINVAL;
    if (window > 0 && window < 9e9)
        i = (int)lb_rate_init(&l.rate, limit, (lb_ns)(window * 1e9), burst);
    if (i == LB_OK)
        i = sim_world_add_limit(w, backend, &l);
    return i >= 0 ? PyLong_FromLong(i)
                  : py_raise((enum lb_status)i,
                             "limit: no such backend, unit or charge; limit or window "
                             "not > 0, burst < 0, or more than 8 limits");
}

const char py_sim_share_doc[] =
    PyDoc_STR("share_limit($self, backend, limit)\n--\n\n"
              "Put a station under the limit of another one.");

PyObject *
py_sim_share(PyObject *op, PyObject *args)
{
    sim_world *w = py_sim_world(op);
    unsigned int backend, limit;
    if (w == NULL || !PyArg_ParseTuple(args, "II:share_limit", &backend, &limit))
        return NULL;
    enum lb_status st = sim_world_share_limit(w, backend, limit);
    return st == LB_OK ? Py_NewRef(Py_None)
                       : py_raise(st, "share_limit: no such backend or limit");
}

static lb_ns
moment(double seconds)
{
    return SIM_DAWN + (lb_ns)(seconds * 1e9);
}

const char py_sim_fault_doc[] = PyDoc_STR(
    "fault($self, backend, trouble, start, end, share=1.0, factor=1.0)\n"
    "--\n\n"
    "A spell of trouble from start to end (s): 'fail', 'hang', 'slow' (factor:\n"
    "times longer) or 'refuse' (factor: Retry-After in s) for a share of calls.");

PyObject *
py_sim_fault(PyObject *op, PyObject *args)
{
    static const char *const troubles[SIM_NTROUBLES] = {"fail", "hang", "slow",
                                                        "refuse"};
    sim_world *w = py_sim_world(op);
    unsigned int backend;
    const char *name;
    double start, end;
    sim_fault f = {.trouble = SIM_NTROUBLES, .share = 1, .factor = 1};
    if (w == NULL || !PyArg_ParseTuple(args, "Isdd|dd:fault", &backend, &name, &start,
                                       &end, &f.share, &f.factor))
        return NULL;
    for (int k = 0; k < SIM_NTROUBLES; k++)
        if (strcmp(troubles[k], name) == 0)
            f.trouble = (uint8_t)k;
    enum lb_status st = LB_EINVAL;
    if (start >= 0 && end > start && end < 9e9 && f.factor < 9e9) {
        f.from = moment(start);
        f.until = moment(end);
        st = sim_world_add_fault(w, backend, &f);
    }
    return st == LB_OK ? Py_NewRef(Py_None)
                       : py_raise(st, "fault: no such backend or trouble, end not "
                                      "after start, share not in 0..1, or factor < 0");
}

const char py_sim_price_doc[] = PyDoc_STR(
    "price($self, backend, at, price)\n--\n\n"
    "From `at` (s) on the backend costs this PriceRow, and the router knows.");

PyObject *
py_sim_price(PyObject *op, PyObject *args)
{
    sim_world *w = py_sim_world(op);
    sim_price p;
    double at;
    PyObject *row;
    if (w == NULL || !PyArg_ParseTuple(args, "IdO:price", &p.backend, &at, &row))
        return NULL;
    const lb_price *price = py_price_of(((simulation_object *)op)->state, row, "price");
    if (price == NULL)
        return NULL;
    if (!(at >= 0 && at < 9e9))
        return py_raise(LB_EINVAL, "price: at must be >= 0");
    p.at = moment(at);
    p.price = *price;
    enum lb_status st = sim_world_add_price(w, &p);
    return st == LB_OK ? Py_NewRef(Py_None) : py_raise(st, "price: no such backend");
}

const char py_sim_peer_doc[] =
    PyDoc_STR("peer($self, backend, weight, price, rpm=0, tpm=0)\n--\n\n"
              "What the rules of others are told of a backend: weight > 0, USD of an\n"
              "input and an output token together, requests and tokens a minute (0:\n"
              "none).");

PyObject *
py_sim_peer(PyObject *op, PyObject *args)
{
    sim_world *w = py_sim_world(op);
    unsigned int backend;
    double weight, price;
    long long rpm = 0, tpm = 0;
    if (w == NULL ||
        !PyArg_ParseTuple(args, "Idd|LL:peer", &backend, &weight, &price, &rpm, &tpm))
        return NULL;
    sim_peer *p = sim_world_peer(w, backend);
    if (p == NULL || !(weight > 0) || !(price >= 0) || rpm < 0 || tpm < 0)
        return py_raise(LB_EINVAL, "peer: no such backend, weight not > 0, or a "
                                   "negative value");
    p->weight = weight;
    p->price = price;
    p->rpm = rpm > 0 ? rpm : INT64_MAX;
    p->tpm = tpm > 0 ? tpm : INT64_MAX;
    return Py_NewRef(Py_None);
}

/* py_net.h - what the files of the transport's binding share. */
#ifndef PY_NET_H
#define PY_NET_H

#include "py_module.h"

#include "net_origin.h"
#include "net_reply.h"
#include "net_request.h"

/* A Response that owns `reply`; NULL and an exception set (reply is freed). */
PyObject *py_response_new(py_state *st, net_reply *reply);

/* Append (token, item) pairs for all that a parcel brings: headers, events, end.
 * 0, or -1 and an exception. */
int py_parcel_append(py_state *st, PyObject *list, net_parcel *parcel, PyObject *token);

/* The origin inside an Origin, borrowed; NULL and TypeError for anything else. */
net_origin *py_origin_get(py_state *st, PyObject *o);

/* A list or tuple of str as texts borrowed from it; None or NULL is empty.
 * *texts is to be freed with PyMem_Free.  0, or -1 and an exception that names
 * the argument `what` but no element. */
int py_texts(PyObject *o, const char *what, net_text **texts, size_t *n);

/* The same for a sequence of bytes. */
int py_byte_texts(PyObject *o, const char *what, net_text **texts, size_t *n);

/* The arguments of Port.submit(), in their order. */
enum {
    PY_TOKEN,
    PY_ORIGIN_ARG,
    PY_METHOD,
    PY_TARGET,
    PY_HEADERS,
    PY_BODY,
    PY_TIMEOUTS,
    PY_STREAM,
    PY_MARKS,
    PY_NARGS
};

/* A request made of these (NULL: not given), to be submitted or freed.  NULL and
 * ValueError or TypeError, which name the bad part but never a value. */
net_request *py_request_new(py_state *st, PyObject *const *a, net_port *port,
                            void *token);

#endif /* PY_NET_H */

/* py_walk.h - the leaves of a prompt, each added to what was counted before it.
 *
 *     py_walk w = {.out = &prompt, .family = PY_ALL_FAMILIES, .message = 3, .part = 1};
 *     py_walk_text(&w, "text", s)        its tokens, bytes and characters
 *     py_walk_any(&w, "tools", o, 0)     a schema: all its keys, strings and numbers
 *
 * Whoever walks (py_prompt.c) keeps `message` and `part`, so that an error tells where
 * it was met, "messages[3].content[1]", and never a word of what stands there.
 */
#ifndef PY_WALK_H
#define PY_WALK_H

#include "py_tokens.h"

#include "lb_media.h"

enum { PY_ALL_FAMILIES = -1 };

typedef struct py_walk {
    py_prompt *out;
    int family;         /* the one to measure in full, or PY_ALL_FAMILIES */
    Py_ssize_t message; /* where we are, for errors; -1: not in a message */
    Py_ssize_t part;    /* -1: not in a part */
} py_walk;

/* Whether tokens of that family are wanted. */
static inline bool
py_walk_measures(const py_walk *w, int family)
{
    return w->family == PY_ALL_FAMILIES || w->family == family;
}

static inline bool
py_is_sequence(PyObject *o)
{
    return PyList_Check(o) || PyTuple_Check(o);
}

/* Of a list or tuple; borrowed. */
static inline PyObject *
py_item(PyObject *seq, Py_ssize_t i)
{
    return PyList_Check(seq) ? PyList_GetItem(seq, i) : PyTuple_GetItem(seq, i);
}

/* Raise TypeError "<where> must be <want>, not <type of got>".  Always -1. */
int py_walk_wrong(const py_walk *w, const char *field, const char *want, PyObject *got);

/* The text's bytes, borrowed from it; NULL and ValueError where it is not Unicode. */
const uint8_t *py_walk_utf8(const py_walk *w, const char *field, PyObject *s,
                            size_t *n);

/* One entry of a dict; `done` is PyDict_Next's own cursor.  Returns 1, 0 at the
 * end, -1 and raise when a key is no string. */
int py_walk_next(const py_walk *w, PyObject *dict, Py_ssize_t *done, PyObject **key,
                 PyObject **value);

/* Add a string; a string or None; anything JSON-like, `depth` levels down.  0, or -1
 * and raise. */
int py_walk_text(py_walk *w, const char *field, PyObject *s);
int py_walk_optional(py_walk *w, const char *field, PyObject *s);
int py_walk_any(py_walk *w, const char *field, PyObject *o, int depth);

/* Add a picture, sound or document. */
void py_walk_media(py_walk *w, lb_media m, enum lb_tok_detail detail);

#endif /* PY_WALK_H */

#include "py_walk.h"

enum {
    MAX_DEPTH = 64,      /* of a tool schema */
    LINKED_IMAGE = 1024, /* pixels a side of a picture we cannot see */
};

/* "messages[3].content[1]": never a word of what stands there. */
static PyObject *
position(const py_walk *w, const char *field)
{
    if (w->message < 0)
        return PyUnicode_FromString(field);
    if (w->part < 0)
        return PyUnicode_FromFormat("messages[%zd]%s%s", w->message, *field ? "." : "",
                                    field);
    return PyUnicode_FromFormat("messages[%zd].content[%zd]%s%s", w->message, w->part,
                                *field ? "." : "", field);
}

int
py_walk_wrong(const py_walk *w, const char *field, const char *want, PyObject *got)
{
    PyObject *where = position(w, field);
    PyObject *type = PyType_GetName(Py_TYPE(got));
    if (where != NULL && type != NULL)
        PyErr_Format(PyExc_TypeError, "%U must be %s, not %U", where, want, type);
    Py_XDECREF(where);
    Py_XDECREF(type);
    return -1;
}

static int
not_unicode(const py_walk *w, const char *field)
{
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear(); /* its message would quote the text */
    PyObject *where = position(w, field);
    if (where != NULL)
        PyErr_Format(PyExc_ValueError,
                     "%U holds half of a surrogate pair, which cannot be sent; "
                     "repair it with text.encode('utf-16', 'surrogatepass')"
                     ".decode('utf-16', 'replace')",
                     where);
    Py_XDECREF(where);
    return -1;
}

const uint8_t *
py_walk_utf8(const py_walk *w, const char *field, PyObject *s, size_t *n)
{
    Py_ssize_t len;
    const char *bytes = PyUnicode_AsUTF8AndSize(s, &len);
    if (bytes == NULL) {
        (void)not_unicode(w, field);
        return NULL;
    }
    *n = (size_t)len;
    return (const uint8_t *)bytes;
}

int
py_walk_text(py_walk *w, const char *field, PyObject *s)
{
    size_t n;
    const uint8_t *bytes = py_walk_utf8(w, field, s, &n);
    if (bytes == NULL)
        return -1;
    w->out->bytes += n;
    w->out->chars += (uint64_t)PyUnicode_GetLength(s);
    if (w->family != PY_ALL_FAMILIES) {
        enum lb_tok_family f = (enum lb_tok_family)w->family;
        w->out->tokens[f] += lb_tokens_full(f, bytes, n);
        return 0;
    }
    uint64_t sum[LB_TOK_LANES];
    lb_tokens_bytes_all(bytes, n, sum);
    for (int f = 0; f < LB_TOK_LANES; f++)
        w->out->tokens[f] += sum[f];
    return 0;
}

int
py_walk_optional(py_walk *w, const char *field, PyObject *s)
{
    if (s == Py_None)
        return 0;
    if (!PyUnicode_Check(s))
        return py_walk_wrong(w, field, "a string", s);
    return py_walk_text(w, field, s);
}

void
py_walk_media(py_walk *w, lb_media m, enum lb_tok_detail detail)
{
    if (m.kind == LB_MEDIA_TEXT) {
        w->out->bytes += (uint64_t)m.bytes;
        w->out->chars += (uint64_t)m.bytes;
    }
    if (m.w == 0)
        m.w = m.h = LINKED_IMAGE;
    w->out->images += m.kind == LB_MEDIA_IMAGE;
    for (int i = 0; i < LB_TOK_NFAMILIES; i++) {
        enum lb_tok_family f = (enum lb_tok_family)i;
        int64_t tokens = 0;
        if (m.kind == LB_MEDIA_IMAGE)
            tokens = lb_tokens_image(f, m.w, m.h, detail);
        else if (m.kind == LB_MEDIA_AUDIO)
            tokens = lb_tokens_audio(f, m.ms);
        else if (m.kind == LB_MEDIA_PDF)
            tokens = lb_tokens_page(f) * m.pages;
        else if (m.kind == LB_MEDIA_TEXT)
            tokens = m.bytes / 4;
        if (py_walk_measures(w, i))
            w->out->tokens[i] += LB_TOK_ONE * (uint64_t)tokens;
    }
}

int
py_walk_next(const py_walk *w, PyObject *dict, Py_ssize_t *done, PyObject **key,
             PyObject **value)
{
    if (!PyDict_Next(dict, done, key, value))
        return 0;
    if (PyUnicode_Check(*key))
        return 1;
    return py_walk_wrong(w, "a key", "a string", *key);
}

static int
add_one_token(py_walk *w)
{
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        w->out->tokens[f] += py_walk_measures(w, f) ? LB_TOK_ONE : 0;
    return 0;
}

/* An entry's quotes, colon and comma make about a token. */
int
/* NOLINTNEXTLINE(misc-no-recursion): MAX_DEPTH bounds it */
py_walk_any(py_walk *w, const char *field, PyObject *o, int depth)
{
    if (PyUnicode_Check(o))
        return py_walk_text(w, field, o);
    if (depth > MAX_DEPTH) {
        PyErr_Format(PyExc_ValueError, "%s is nested deeper than %d levels", field,
                     MAX_DEPTH);
        return -1;
    }
    if (PyDict_Check(o)) {
        PyObject *key, *value;
        Py_ssize_t done = 0;
        int more;
        while ((more = py_walk_next(w, o, &done, &key, &value)) > 0) {
            if (py_walk_text(w, field, key) < 0 || add_one_token(w) < 0 ||
                py_walk_any(w, field, value, depth + 1) < 0)
                return -1;
        }
        return more;
    }
    if (py_is_sequence(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Size(o); i++)
            if (py_walk_any(w, field, py_item(o, i), depth + 1) < 0)
                return -1;
        return 0;
    }
    if (o == Py_None || PyLong_Check(o) || PyFloat_Check(o))
        return add_one_token(w);
    return py_walk_wrong(w, field, "made of JSON types", o);
}

/* py_prompt.c - walks a prompt and its tools, and adds up what they cost. */
#include "py_tokens.h"

#include <string.h>

#include "lb_media.h"
#include "py_word.h"

enum {
    MAX_DEPTH = 64,      /* of a tool schema */
    LINKED_IMAGE = 1024, /* pixels a side of a picture we cannot see */
    ALL_FAMILIES = -1,
};

typedef struct walk {
    py_prompt *out;
    int family;         /* the one to measure in full, or ALL_FAMILIES */
    Py_ssize_t message; /* where we are, for errors; -1: not in a message */
    Py_ssize_t part;    /* -1: not in a part */
} walk;

/* ---- errors -------------------------------------------------------------- */

/* "messages[3].content[1]": never a word of what stands there. */
static PyObject *
position(const walk *w, const char *field)
{
    if (w->message < 0)
        return PyUnicode_FromString(field);
    if (w->part < 0)
        return PyUnicode_FromFormat("messages[%zd]%s%s", w->message, *field ? "." : "",
                                    field);
    return PyUnicode_FromFormat("messages[%zd].content[%zd]%s%s", w->message, w->part,
                                *field ? "." : "", field);
}

static int
wrong_type(const walk *w, const char *field, const char *want, PyObject *got)
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
not_unicode(const walk *w, const char *field)
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

/* ---- leaves -------------------------------------------------------------- */

static const uint8_t *
utf8(const walk *w, const char *field, PyObject *s, size_t *n)
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

static int
add_text(walk *w, const char *field, PyObject *s)
{
    size_t n;
    const uint8_t *bytes = utf8(w, field, s, &n);
    if (bytes == NULL)
        return -1;
    w->out->bytes += n;
    w->out->chars += (uint64_t)PyUnicode_GetLength(s);
    if (w->family != ALL_FAMILIES) {
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

static int
add_optional_text(walk *w, const char *field, PyObject *s)
{
    if (s == Py_None)
        return 0;
    if (!PyUnicode_Check(s))
        return wrong_type(w, field, "a string", s);
    return add_text(w, field, s);
}

static bool
measures(const walk *w, int family)
{
    return w->family == ALL_FAMILIES || w->family == family;
}

static void
add_media(walk *w, lb_media m, enum lb_tok_detail detail)
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
        if (measures(w, i))
            w->out->tokens[i] += LB_TOK_ONE * (uint64_t)tokens;
    }
}

/* ---- dicts --------------------------------------------------------------- */

/* One entry of a dict; `done` is PyDict_Next's own cursor.  Returns 1, 0 at the
 * end, -1 and raise when a key is no string. */
static int
next_entry(const walk *w, PyObject *dict, Py_ssize_t *done, PyObject **key,
           PyObject **value)
{
    if (!PyDict_Next(dict, done, key, value))
        return 0;
    if (PyUnicode_Check(*key))
        return 1;
    return wrong_type(w, "a key", "a string", *key);
}

static int
add_one_token(walk *w)
{
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        w->out->tokens[f] += measures(w, f) ? LB_TOK_ONE : 0;
    return 0;
}

static PyObject *
item_of(PyObject *seq, Py_ssize_t i)
{
    return PyList_Check(seq) ? PyList_GetItem(seq, i) : PyTuple_GetItem(seq, i);
}

static bool
is_sequence(PyObject *o)
{
    return PyList_Check(o) || PyTuple_Check(o);
}

/* Anything JSON-like; an entry's quotes, colon and comma make about a token. */
static int
/* NOLINTNEXTLINE(misc-no-recursion): MAX_DEPTH bounds it */
add_any(walk *w, const char *field, PyObject *o, int depth)
{
    if (PyUnicode_Check(o))
        return add_text(w, field, o);
    if (depth > MAX_DEPTH) {
        PyErr_Format(PyExc_ValueError, "%s is nested deeper than %d levels", field,
                     MAX_DEPTH);
        return -1;
    }
    if (PyDict_Check(o)) {
        PyObject *key, *value;
        Py_ssize_t done = 0;
        int more;
        while ((more = next_entry(w, o, &done, &key, &value)) > 0) {
            if (add_text(w, field, key) < 0 || add_one_token(w) < 0 ||
                add_any(w, field, value, depth + 1) < 0)
                return -1;
        }
        return more;
    }
    if (is_sequence(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Size(o); i++)
            if (add_any(w, field, item_of(o, i), depth + 1) < 0)
                return -1;
        return 0;
    }
    if (o == Py_None || PyLong_Check(o) || PyFloat_Check(o))
        return add_one_token(w);
    return wrong_type(w, field, "made of JSON types", o);
}

/* ---- parts --------------------------------------------------------------- */

static int
add_image(walk *w, PyObject *o)
{
    PyObject *url = o, *key, *value;
    enum lb_tok_detail detail = LB_DETAIL_AUTO;
    Py_ssize_t done = 0;
    int more = 0;
    if (PyDict_Check(o)) {
        url = Py_None;
        while ((more = next_entry(w, o, &done, &key, &value)) > 0) {
            py_word k = py_word_of(key);
            if (py_is(k, "url"))
                url = value;
            else if (py_is(k, "detail") && PyUnicode_Check(value) &&
                     py_is(py_word_of(value), "low"))
                detail = LB_DETAIL_LOW;
        }
    }
    if (more < 0)
        return -1;
    if (!PyUnicode_Check(url))
        return wrong_type(w, "image_url", "a URL or a dict with a string \"url\"", url);
    size_t n;
    const uint8_t *s = utf8(w, "image_url", url, &n);
    if (s == NULL)
        return -1;
    lb_media m = lb_media_uri(s, n);
    m.kind = LB_MEDIA_IMAGE;
    add_media(w, m, detail);
    return 0;
}

/* input_audio: {"data": base64, ...}; file: {"file_data": data URI, ...}. */
static int
add_payload(walk *w, const char *field, const char *name, PyObject *o)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more;
    if (!PyDict_Check(o))
        return wrong_type(w, field, "a dict", o);
    while ((more = next_entry(w, o, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (!py_is(k, name) || value == Py_None)
            continue;
        if (!PyUnicode_Check(value))
            return wrong_type(w, field, "a dict with a string payload", value);
        size_t n;
        const uint8_t *s = utf8(w, field, value, &n);
        if (s == NULL)
            return -1;
        lb_media m = lb_media_uri(s, n);
        if (m.kind == LB_MEDIA_NONE && py_is(k, "data"))
            m = lb_media_base64(LB_MEDIA_AUDIO, s, n);
        add_media(w, m, LB_DETAIL_AUTO);
    }
    return more;
}

static int
add_part(walk *w, PyObject *part)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more, ok = 0;
    if (!PyDict_Check(part))
        return wrong_type(w, "", "a dict such as {\"type\": \"text\", ...}", part);
    while ((more = next_entry(w, part, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (py_is(k, "type") || py_is(k, "cache_control"))
            continue;
        if (py_is(k, "text"))
            ok = add_optional_text(w, "text", value);
        else if (py_is(k, "image_url"))
            ok = add_image(w, value);
        else if (py_is(k, "input_audio"))
            ok = add_payload(w, "input_audio", "data", value);
        else if (py_is(k, "file"))
            ok = add_payload(w, "file", "file_data", value);
        else
            ok = add_any(w, "part", value, 0);
        if (ok < 0)
            return -1;
    }
    return more;
}

/* ---- messages ------------------------------------------------------------ */

static int
add_content(walk *w, PyObject *content)
{
    if (PyUnicode_Check(content))
        return add_text(w, "content", content);
    if (content == Py_None) /* an assistant that only called tools */
        return 0;
    if (!is_sequence(content))
        return wrong_type(w, "content", "a string or a list of parts", content);
    for (w->part = 0; w->part < PySequence_Size(content); w->part++)
        if (add_part(w, item_of(content, w->part)) < 0)
            return -1;
    w->part = -1;
    return 0;
}

static int
add_message(walk *w, PyObject *message)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more, ok = 0;
    if (!PyDict_Check(message))
        return wrong_type(w, "", "a dict with \"role\" and \"content\"", message);
    while ((more = next_entry(w, message, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (py_is(k, "content"))
            ok = add_content(w, value);
        else if (py_is(k, "tool_calls") || py_is(k, "function_call"))
            ok = value == Py_None ? 0 : add_any(w, "tool_calls", value, 0);
        else if (py_is(k, "name"))
            ok = add_optional_text(w, "name", value);
        else if (py_is(k, "refusal"))
            ok = add_optional_text(w, "refusal", value);
        if (ok < 0)
            return -1;
    }
    w->out->messages++;
    return more;
}

/* A text that was cut into tokens already: who counts by the character gets four of
 * each. */
static int
add_tokens(walk *w, PyObject *ids)
{
    Py_ssize_t n = PyLong_Check(ids) ? 1 : PySequence_Size(ids);
    for (Py_ssize_t i = 0; is_sequence(ids) && i < n; i++)
        if (!PyLong_Check(item_of(ids, i)))
            return wrong_type(w, "", "a text or a list of token numbers",
                              item_of(ids, i));
    w->out->bytes += 4 * (uint64_t)n;
    w->out->chars += 4 * (uint64_t)n;
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        w->out->tokens[f] += measures(w, f) ? LB_TOK_ONE * (uint64_t)n : 0;
    return 0;
}

/* An item of a prompt: a message, or a text to embed, as text or as its tokens. */
static int
add_item(walk *w, PyObject *item)
{
    if (PyUnicode_Check(item))
        return add_text(w, "", item);
    if (PyLong_Check(item) || is_sequence(item))
        return add_tokens(w, item);
    return add_message(w, item);
}

static int
add_prompt(walk *w, PyObject *prompt)
{
    if (PyUnicode_Check(prompt))
        return add_text(w, "prompt", prompt);
    if (!is_sequence(prompt))
        return wrong_type(w, "messages", "a string or a list of messages", prompt);
    for (Py_ssize_t i = 0; i < PySequence_Size(prompt); i++) {
        w->message = i;
        if (add_item(w, item_of(prompt, i)) < 0)
            return -1;
    }
    w->message = -1;
    return 0;
}

static int
measure(PyObject *prompt, PyObject *tools, int family, py_prompt *out)
{
    walk w = {.out = out, .family = family, .message = -1, .part = -1};
    memset(out, 0, sizeof *out);
    if (add_prompt(&w, prompt) < 0)
        return -1;
    bool offered = false;
    if (tools != NULL && tools != Py_None) {
        if (!is_sequence(tools))
            return wrong_type(&w, "tools", "a list of dicts", tools);
        offered = PySequence_Size(tools) > 0;
        if (add_any(&w, "tools", tools, 0) < 0)
            return -1;
    }
    for (int i = 0; i < LB_TOK_NFAMILIES; i++) {
        enum lb_tok_family f = (enum lb_tok_family)i;
        if (!measures(&w, i))
            continue;
        out->tokens[i] += lb_tokens_overhead(f, out->messages);
        if (offered)
            out->tokens[i] += LB_TOK_ONE * (uint64_t)lb_tokens_tools(f);
    }
    return 0;
}

int
py_measure(PyObject *messages, PyObject *tools, py_prompt *out)
{
    return measure(messages, tools, ALL_FAMILIES, out);
}

int
py_measure_full(PyObject *messages, PyObject *tools, enum lb_tok_family f,
                py_prompt *out)
{
    return measure(messages, tools, (int)f, out);
}

/* py_prompt.c - walks a prompt and its tools, and adds up what they cost. */
#include "py_walk.h"

#include <string.h>

#include "py_word.h"

/* ---- parts --------------------------------------------------------------- */

static int
add_image(py_walk *w, PyObject *o)
{
    PyObject *url = o, *key, *value;
    enum lb_tok_detail detail = LB_DETAIL_AUTO;
    Py_ssize_t done = 0;
    int more = 0;
    if (PyDict_Check(o)) {
        url = Py_None;
        while ((more = py_walk_next(w, o, &done, &key, &value)) > 0) {
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
        return py_walk_wrong(w, "image_url", "a URL or a dict with a string \"url\"",
                             url);
    size_t n;
    const uint8_t *s = py_walk_utf8(w, "image_url", url, &n);
    if (s == NULL)
        return -1;
    lb_media m = lb_media_uri(s, n);
    m.kind = LB_MEDIA_IMAGE;
    py_walk_media(w, m, detail);
    return 0;
}

/* input_audio: {"data": base64, ...}; file: {"file_data": data URI, ...}. */
static int
add_payload(py_walk *w, const char *field, const char *name, PyObject *o)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more;
    if (!PyDict_Check(o))
        return py_walk_wrong(w, field, "a dict", o);
    while ((more = py_walk_next(w, o, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (!py_is(k, name) || value == Py_None)
            continue;
        if (!PyUnicode_Check(value))
            return py_walk_wrong(w, field, "a dict with a string payload", value);
        size_t n;
        const uint8_t *s = py_walk_utf8(w, field, value, &n);
        if (s == NULL)
            return -1;
        lb_media m = lb_media_uri(s, n);
        if (m.kind == LB_MEDIA_NONE && py_is(k, "data"))
            m = lb_media_base64(LB_MEDIA_AUDIO, s, n);
        py_walk_media(w, m, LB_DETAIL_AUTO);
    }
    return more;
}

static int
add_part(py_walk *w, PyObject *part)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more, ok = 0;
    if (!PyDict_Check(part))
        return py_walk_wrong(w, "", "a dict such as {\"type\": \"text\", ...}", part);
    while ((more = py_walk_next(w, part, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (py_is(k, "type") || py_is(k, "cache_control"))
            continue;
        if (py_is(k, "text"))
            ok = py_walk_optional(w, "text", value);
        else if (py_is(k, "image_url"))
            ok = add_image(w, value);
        else if (py_is(k, "input_audio"))
            ok = add_payload(w, "input_audio", "data", value);
        else if (py_is(k, "file"))
            ok = add_payload(w, "file", "file_data", value);
        else
            ok = py_walk_any(w, "part", value, 0);
        if (ok < 0)
            return -1;
    }
    return more;
}

/* ---- messages ------------------------------------------------------------ */

static int
add_content(py_walk *w, PyObject *content)
{
    if (PyUnicode_Check(content))
        return py_walk_text(w, "content", content);
    if (content == Py_None) /* an assistant that only called tools */
        return 0;
    if (!py_is_sequence(content))
        return py_walk_wrong(w, "content", "a string or a list of parts", content);
    for (w->part = 0; w->part < PySequence_Size(content); w->part++)
        if (add_part(w, py_item(content, w->part)) < 0)
            return -1;
    w->part = -1;
    return 0;
}

static int
add_message(py_walk *w, PyObject *message)
{
    PyObject *key, *value;
    Py_ssize_t done = 0;
    int more, ok = 0;
    if (!PyDict_Check(message))
        return py_walk_wrong(w, "", "a dict with \"role\" and \"content\"", message);
    while ((more = py_walk_next(w, message, &done, &key, &value)) > 0) {
        py_word k = py_word_of(key);
        if (py_is(k, "content"))
            ok = add_content(w, value);
        else if (py_is(k, "tool_calls") || py_is(k, "function_call"))
            ok = value == Py_None ? 0 : py_walk_any(w, "tool_calls", value, 0);
        else if (py_is(k, "name"))
            ok = py_walk_optional(w, "name", value);
        else if (py_is(k, "refusal"))
            ok = py_walk_optional(w, "refusal", value);
        if (ok < 0)
            return -1;
    }
    w->out->messages++;
    return more;
}

/* A text that was cut into tokens already: who counts by the character gets four of
 * each. */
static int
add_tokens(py_walk *w, PyObject *ids)
{
    Py_ssize_t n = PyLong_Check(ids) ? 1 : PySequence_Size(ids);
    for (Py_ssize_t i = 0; py_is_sequence(ids) && i < n; i++)
        if (!PyLong_Check(py_item(ids, i)))
            return py_walk_wrong(w, "", "a text or a list of token numbers",
                                 py_item(ids, i));
    w->out->bytes += 4 * (uint64_t)n;
    w->out->chars += 4 * (uint64_t)n;
    for (int f = 0; f < LB_TOK_NFAMILIES; f++)
        w->out->tokens[f] += py_walk_measures(w, f) ? LB_TOK_ONE * (uint64_t)n : 0;
    return 0;
}

/* An item of a prompt: a message, or a text to embed, as text or as its tokens. */
static int
add_item(py_walk *w, PyObject *item)
{
    if (PyUnicode_Check(item))
        return py_walk_text(w, "", item);
    if (PyLong_Check(item) || py_is_sequence(item))
        return add_tokens(w, item);
    return add_message(w, item);
}

static int
add_prompt(py_walk *w, PyObject *prompt)
{
    if (PyUnicode_Check(prompt))
        return py_walk_text(w, "prompt", prompt);
    if (!py_is_sequence(prompt))
        return py_walk_wrong(w, "messages", "a string or a list of messages", prompt);
    for (Py_ssize_t i = 0; i < PySequence_Size(prompt); i++) {
        w->message = i;
        if (add_item(w, py_item(prompt, i)) < 0)
            return -1;
    }
    w->message = -1;
    return 0;
}

static int
measure(PyObject *prompt, PyObject *tools, int family, py_prompt *out)
{
    py_walk w = {.out = out, .family = family, .message = -1, .part = -1};
    memset(out, 0, sizeof *out);
    if (add_prompt(&w, prompt) < 0)
        return -1;
    bool offered = false;
    if (tools != NULL && tools != Py_None) {
        if (!py_is_sequence(tools))
            return py_walk_wrong(&w, "tools", "a list of dicts", tools);
        offered = PySequence_Size(tools) > 0;
        if (py_walk_any(&w, "tools", tools, 0) < 0)
            return -1;
    }
    for (int i = 0; i < LB_TOK_NFAMILIES; i++) {
        enum lb_tok_family f = (enum lb_tok_family)i;
        if (!py_walk_measures(&w, i))
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
    return measure(messages, tools, PY_ALL_FAMILIES, out);
}

int
py_measure_full(PyObject *messages, PyObject *tools, enum lb_tok_family f,
                py_prompt *out)
{
    return measure(messages, tools, (int)f, out);
}

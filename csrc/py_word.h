/* py_word.h - the keys of a dict, read once and compared with many names.
 *
 *     py_word k = py_word_of(key);
 *     if (py_is(k, "content"))              one comparison of lengths each,
 *     else if (py_is(k, "tool_calls"))      of letters only where these agree
 */
#ifndef PY_WORD_H
#define PY_WORD_H

#include "py_module.h"

#include <string.h>

/* The UTF-8 of a string; lives as long as the string. */
typedef struct py_word {
    const char *s;
    size_t n; /* bytes */
} py_word;

/* What is not Unicode is nobody's name: a word of no letters.  Never raises. */
static inline py_word
py_word_of(PyObject *key)
{
    Py_ssize_t n = 0;
    const char *s = PyUnicode_AsUTF8AndSize(key, &n);
    if (s != NULL)
        return (py_word){s, (size_t)n};
    PyErr_Clear();
    return (py_word){"", 0};
}

static inline bool
py_is(py_word word, const char *name)
{
    return word.n == strlen(name) && memcmp(word.s, name, word.n) == 0;
}

#endif /* PY_WORD_H */

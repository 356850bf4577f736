/* py_tokens.h - a prompt as Python holds it, measured in one walk (py_prompt.c).
 *
 *     [{"role": "user", "content": "Hi"}]     a chat: messages, in OpenAI's shape
 *     "Hi"   ["a", "b"]                        bare texts: no chat format is added
 *
 * Of a message the walk counts `content` (a string, or a list of parts: text,
 * image_url, input_audio, file), `name`, `refusal` and the names and arguments
 * of tool calls; of tools every key, string, number and flag, since providers
 * render schemas as text of their own.  A picture given as an http address
 * counts as 1024 x 1024.
 */
#ifndef PY_TOKENS_H
#define PY_TOKENS_H

#include "py_module.h"

#include "lb_tokens.h"

typedef struct py_prompt {
    uint64_t bytes;    /* UTF-8 bytes of all counted text */
    uint64_t chars;    /* code points of it, which OpenAI's limiter divides by 4 */
    uint32_t messages; /* 0 for bare texts */
    uint32_t images;
    uint64_t tokens[LB_TOK_LANES]; /* by family in 1/4096 token, chat format,
                                    * tools, pictures and sound included */
} py_prompt;

/* Measure by the byte table, for every family at once.  `tools` may be NULL or
 * None.  0, or -1 and raise: TypeError naming the position
 * ("messages[3].content must be ..."), ValueError for text that is not Unicode
 * and for nesting deeper than 64. */
int py_measure(PyObject *messages, PyObject *tools, py_prompt *out);

/* The same by the full model, for one family; tokens of the others are 0. */
int py_measure_full(PyObject *messages, PyObject *tools, enum lb_tok_family f,
                    py_prompt *out);

#endif /* PY_TOKENS_H */

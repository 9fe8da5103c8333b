/* What the texts of the scenario files stand for. */

#ifndef TEXT_H
#define TEXT_H

#include <jansson.h>

#include "failure.h"
#include "queue_runtime.h"

/* `10s`, `250ms`: in milliseconds. */
bool text_span(const json_t *value, int64_t *ms, struct failure *failure);

/* As text_span; a value that is not there keeps what is in its place. */
bool text_some_span(const json_t *value, int64_t *ms, struct failure *failure);

/* The bytes of a body: the text's own, or after `hex:` those it names. The caller frees them. */
bool text_body(const json_t *value, qrt_bytes_t *body, struct failure *failure);

/* The bytes of a text; of none, the empty value. Borrows from the value. */
qrt_bytes_t text_bytes(const json_t *value);

qrt_bytes_t text_of(const char *text);

bool text_equal(qrt_bytes_t left, qrt_bytes_t right);

/* The value with `{1..3}` and `{x*3}` written out: a new reference, or NULL. */
json_t *text_expand(const json_t *value, struct failure *failure);

#endif

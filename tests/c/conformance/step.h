/* The steps of a scenario: which keys each may have. */

#ifndef STEP_H
#define STEP_H

#include <jansson.h>

#include "failure.h"

/* The scenario's steps with all short forms written out and each `join` made whole: a new
 * reference, or NULL. An unknown key, anywhere, is a failure. */
json_t *step_read_all(const json_t *scenario, struct failure *failure);

/* One step as it stands in the file: a new reference, or NULL. `started` keeps the started ones for
 * their join. */
json_t *step_read(const json_t *written, json_t *started, struct failure *failure);

/* The verb of a step that was read. */
const char *step_verb(const json_t *step);

/* A key of a step, or NULL. */
json_t *step_get(const json_t *step, const char *key);

/* Checks that a table has these keys only, named with blanks between them. */
bool step_check_keys(const json_t *table, const char *keys, struct failure *failure);

#endif

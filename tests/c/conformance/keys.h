/* Which session a key finds in headers: the table that every language runs. */

#ifndef KEYS_H
#define KEYS_H

#include <jansson.h>
#include <stddef.h>

/* Prints a line for each case of `session_keys.json`; answers how many are not as they should be. */
size_t keys_run(const json_t *table);

#endif

/* What ran, as a table for people and as rows that the runners of all languages share. */

#ifndef REPORT_H
#define REPORT_H

#include <jansson.h>

/* Adds a row; `result` is `pass`, `fail` or `skip`, and `reason` NULL or why. */
void report_add(json_t *rows, const char *provider, const char *theme, const char *scenario,
                const char *result, const char *reason);

/* Prints how many passed, failed and were skipped; answers how many did as `result` says. */
size_t report_print(const json_t *rows);

/* Writes the rows into a shared file, in place of those of the same providers and language; 0 when
 * that went well. */
int report_merge(const json_t *rows, const char *path);

#endif

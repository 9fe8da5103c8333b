/* Producers: their verbs, and what must come of them. */

#ifndef PRODUCER_H
#define PRODUCER_H

#include "verb.h"

/* Whether a step is about a producer. */
bool producer_has(const json_t *step);

/* As verb_begin, for those steps. */
bool producer_begin(struct world *world, const json_t *step, struct going *going);

/* As verb_finish, but for what was sent. */
bool producer_finish(struct world *world, const json_t *step, struct going *going);

/* Frees the producers of a world. */
void producer_close(struct world *world);

#endif

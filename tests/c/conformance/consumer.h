/* Consumers: their verbs, and what must come of them. */

#ifndef CONSUMER_H
#define CONSUMER_H

#include "verb.h"

/* Whether a verb is about a consumer, or what it handed over. */
bool consumer_has(const char *verb);

/* Sets the options of a consumer, or of a worker, that a step says. */
bool consumer_options(struct world *world, const json_t *step, qrt_consumer_options_t *options);

/* As verb_begin, for those verbs. */
bool consumer_begin(struct world *world, const json_t *step, struct going *going);

/* Takes the result of an operation that has ended. */
void consumer_take(const json_t *step, struct going *going);

/* As verb_finish, but for the deliveries of `next`. */
bool consumer_finish(struct world *world, const json_t *step, struct going *going);

/* Forgets the consumer of a step, as a program does that loses it. */
bool consumer_drop(struct world *world, const json_t *step);

#endif

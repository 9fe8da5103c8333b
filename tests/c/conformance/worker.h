/* Workers, which in C are consumers that call back: their calls are seen by the scenario, which says
 * how each ends. */

#ifndef WORKER_H
#define WORKER_H

#include "verb.h"

/* Whether a verb is about a worker, or its calls. */
bool worker_has(const char *verb);

/* As verb_begin, for those verbs. */
bool worker_begin(struct world *world, const json_t *step, struct going *going);

/* Whether nothing has come for who waits for a call. */
bool worker_pends(const struct going *going);

/* Waits for the call that a step waits for, if it does. */
bool worker_wait(struct world *world, struct going *going);

/* As verb_finish, for those verbs. */
bool worker_finish(struct world *world, const json_t *step, struct going *going);

/* Frees what came of those verbs and was not kept. */
void worker_free(struct going *going);

/* Frees the calls that go on, and the workers' ends of what comes. */
void worker_close(struct world *world);

#endif

/* Taking the steps of a scenario. */

#ifndef TAKE_H
#define TAKE_H

#include "world.h"

/* Takes a step that was read, with a view to the one after it, which may be NULL. */
bool take_step(struct world *world, const json_t *step, const json_t *next);

/* Lets so many milliseconds pass. */
bool take_advance(struct world *world, int64_t by);

/* Ends what goes on, whatever became of it, and closes the world. */
void take_end(struct world *world);

#endif

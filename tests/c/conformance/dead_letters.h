/* What must come of counting dead letters. */

#ifndef DEAD_LETTERS_H
#define DEAD_LETTERS_H

#include "world.h"

/* Whether the statistics are as expected, as far as something is expected of them. */
bool dead_letters_counted(struct world *world, const json_t *wanted,
                          const qrt_dead_letter_statistics_t *got);

#endif

/* Messages as the scenario files write them. */

#ifndef MESSAGE_H
#define MESSAGE_H

#include "world.h"

/* The message of an entry: a body, or a table with it and the arguments of `send`. An error of the
 * library goes to `error`; false is a mistake of the scenario. */
bool message_make(struct world *world, const json_t *entry, qrt_message_t **message,
                  qrt_error_t **error);

#endif

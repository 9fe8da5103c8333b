/* What a step expects, beside what came. */

#ifndef CHECK_H
#define CHECK_H

#include "world.h"

/* A delivery, a peeked message or a dead letter, as far as it can be looked at. What it does not
 * have is -1, or the empty value. */
struct sight {
    const qrt_message_t *message;
    qrt_bytes_t id;
    int64_t attempt, attempts, state;
    int64_t enqueued_at, locked_until;
    bool is_dead;
    qrt_bytes_t reason, description, source;
    int64_t first_delivered_at, dead_lettered_at;
};

struct sight sight_of_delivery(const qrt_delivery_t *delivery);
struct sight sight_of_peeked(const qrt_peeked_t *peeked, size_t index);
struct sight sight_of_dead_letter(const qrt_dead_letters_t *letters, size_t index);

/* Whether these came, in this order or in any. */
bool check_seen(struct world *world, const json_t *wanted, const struct sight *got, size_t count,
                bool any_order);

/* Whether a verb ended as it must: with no error, or with the wanted one. `wanted` is NULL, a kind
 * or a table; `error` is NULL or borrowed. */
bool check_end(struct world *world, const json_t *wanted, const qrt_error_t *error);

/* Whether a number is as expected, if something is expected of it. */
bool check_number(struct world *world, const char *name, const json_t *wanted, int64_t got);

/* Whether a moment is as expected, if something is expected of it; `none` is -1. */
bool check_moment(struct world *world, const char *name, const json_t *wanted, int64_t got);

/* Whether a text is as expected, if something is expected of it. */
bool check_text(struct world *world, const char *name, const json_t *wanted, qrt_bytes_t got);

/* As check_text, of the name of a queue, which has what this world puts before it. */
bool check_queue(struct world *world, const char *name, const json_t *wanted, qrt_bytes_t got);

#endif

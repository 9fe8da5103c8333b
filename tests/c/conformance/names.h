/* Things that later steps call by a name: bytes to a pointer. */

#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>

#include "queue_runtime.h"

struct name {
    struct name *next;
    void *thing;
    size_t len;
    uint8_t name[];
};

struct names {
    struct name *first;
};

/* The thing of this name, or NULL. */
void *names_get(const struct names *names, qrt_bytes_t name);

/* Names a thing that has no name of it yet. */
void names_add(struct names *names, qrt_bytes_t name, void *thing);

/* Forgets a name, and answers what it named, or NULL. */
void *names_remove(struct names *names, qrt_bytes_t name);

/* Forgets a name of this thing, any; false when it has none. */
bool names_remove_thing(struct names *names, const void *thing);

/* Forgets one name, any, and answers what it named; NULL when there is none. */
void *names_pop(struct names *names);

#endif

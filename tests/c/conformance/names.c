#include "names.h"

#include <stdlib.h>
#include <string.h>

static struct name **find(const struct names *names, qrt_bytes_t name) {
    struct name **at = (struct name **)&names->first;
    while (*at != NULL &&
           ((*at)->len != name.len || memcmp((*at)->name, name.data, name.len) != 0))
        at = &(*at)->next;
    return at;
}

static void *take(struct name **at) {
    struct name *found = *at;
    void *thing;
    if (found == NULL) return NULL;
    thing = found->thing;
    *at = found->next;
    free(found);
    return thing;
}

void *names_get(const struct names *names, qrt_bytes_t name) {
    struct name *found = *find(names, name);
    return found == NULL ? NULL : found->thing;
}

void names_add(struct names *names, qrt_bytes_t name, void *thing) {
    struct name *added = malloc(sizeof *added + name.len);
    if (added == NULL) abort();
    added->next = names->first;
    added->thing = thing;
    added->len = name.len;
    memcpy(added->name, name.data, name.len);
    names->first = added;
}

void *names_remove(struct names *names, qrt_bytes_t name) { return take(find(names, name)); }

bool names_remove_thing(struct names *names, const void *thing) {
    struct name **at = &names->first;
    while (*at != NULL && (*at)->thing != thing) at = &(*at)->next;
    return take(at) != NULL;
}

void *names_pop(struct names *names) { return take(&names->first); }

#include "follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "step.h"
#include "take.h"

/* The next order: a new reference, or NULL at the end. */
static json_t *told(void) {
    char *line = NULL;
    size_t room = 0;
    json_t *order = NULL;
    json_error_t unread;
    if (getline(&line, &room, stdin) >= 0) {
        order = json_loads(line, JSON_ALLOW_NUL, &unread);
        if (order == NULL) {
            fprintf(stderr, "%s: %s", unread.text, line);
            exit(2);
        }
    }
    free(line);
    return order;
}

/* What a name is, as far as it is text. */
static json_t *text_of_name(const struct name *name) {
    return json_stringn((const char *)name->name, name->len);
}

static json_t *id_of(const struct name *name) {
    return json_pack("[o, s]", text_of_name(name), name->thing);
}

static json_t *cursor_of(const struct name *name) {
    json_t *body = text_of_name(name);
    const uint64_t *cursor = name->thing;
    return body == NULL ? NULL : json_pack("[o, I]", body, (json_int_t)*cursor);
}

static json_t *list(const struct names *names, json_t *(*entry_of)(const struct name *)) {
    json_t *all = json_array();
    for (const struct name *at = names->first; at != NULL; at = at->next) {
        json_t *entry = entry_of(at);
        if (entry != NULL) json_array_append_new(all, entry);
    }
    return all;
}

/* Says what came of an order, and what there is. */
static void say(const struct world *world, bool good) {
    json_t *names = json_pack("{s:o, s:o, s:o, s:o}", "deliveries",
                              list(&world->deliveries, text_of_name), "sessions",
                              list(&world->sessions, text_of_name), "consumers",
                              list(&world->consumers, text_of_name), "background",
                              list(&world->background, text_of_name));
    json_t *known = json_pack("{s:o, s:o, s:o}", "ids", list(&world->ids, id_of), "made",
                              list(&world->made, text_of_name), "cursors",
                              list(&world->cursors, cursor_of));
    json_t *answer = json_pack("{s:s?, s:b, s:o, s:o}", "error", good ? NULL : world->failure.text,
                               "too_late", world->too_late, "names", names, "known", known);
    json_dumpf(answer, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(answer);
}

static void forget(struct world *world, const json_t *names) {
    const json_t *deliveries = step_get(names, "deliveries");
    const json_t *sessions = step_get(names, "sessions");
    for (size_t i = 0; i < json_array_size(deliveries); i++)
        qrt_delivery_free(
            names_remove(&world->deliveries, text_bytes(json_array_get(deliveries, i))));
    for (size_t i = 0; i < json_array_size(sessions); i++)
        qrt_session_free(names_remove(&world->sessions, text_bytes(json_array_get(sessions, i))));
}

/* Keeps a copy of a thing under a name, in place of the one before it. */
static void keep(struct names *names, const json_t *name, const void *thing, size_t size) {
    void *kept = malloc(size);
    if (kept == NULL) abort();
    memcpy(kept, thing, size);
    free(names_remove(names, text_bytes(name)));
    names_add(names, text_bytes(name), kept);
}

/* Takes in what the other process may speak of. */
static void learn(struct world *world, const json_t *known) {
    const json_t *ids = step_get(known, "ids"), *made = step_get(known, "made");
    const json_t *cursors = step_get(known, "cursors");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *pair = json_array_get(ids, i), *id = json_array_get(pair, 1);
        keep(&world->ids, json_array_get(pair, 0), json_string_value(id),
             json_string_length(id) + 1);
    }
    for (size_t i = 0; i < json_array_size(made); i++)
        keep(&world->made, json_array_get(made, i), "made", sizeof "made");
    for (size_t i = 0; i < json_array_size(cursors); i++) {
        const json_t *pair = json_array_get(cursors, i);
        uint64_t cursor = (uint64_t)json_integer_value(json_array_get(pair, 1));
        keep(&world->cursors, json_array_get(pair, 0), &cursor, sizeof cursor);
    }
}

static bool obey(struct world *world, const json_t *order, json_t *started) {
    const json_t *take = step_get(order, "take"), *advance = step_get(order, "advance");
    json_t *step;
    bool good;
    if (advance != NULL) return take_advance(world, json_integer_value(advance));
    forget(world, step_get(take, "forget"));
    learn(world, step_get(take, "known"));
    step = step_read(step_get(take, "step"), started, &world->failure);
    good = step != NULL && take_step(world, step, NULL);
    json_decref(step);
    return good;
}

/* Makes the world in which the steps are taken, and learns what its target can do. */
static bool begin(struct world *world, struct target *target, const json_t *said, json_t **can) {
    bool virtual_clock = json_is_true(step_get(said, "virtual_clock"));
    target->url = json_string_value(step_get(said, "url"));
    if (!world_open(world, target, said, virtual_clock) ||
        (virtual_clock && !take_advance(world, json_integer_value(step_get(said, "now_ms")))))
        return false;
    *can = world_capabilities(world);
    target->support = json_object_get(*can, "support");
    return *can != NULL;
}

int follow(void) {
    json_t *first = told(), *started = json_object(), *can = NULL, *order;
    struct target target = {.server = false};
    struct world world;
    bool good;
    if (step_get(first, "begin") == NULL) {
        fprintf(stderr, "a scenario has to begin first\n");
        return 2;
    }
    good = begin(&world, &target, step_get(first, "begin"), &can);
    say(&world, good);
    while (good && (order = told()) != NULL) {
        bool done = obey(&world, order, started);
        /* What was let go, or is due, is done before the other process goes on. */
        good = world_turn(&world);
        say(&world, done && good);
        json_decref(order);
    }
    take_end(&world);
    json_decref(can);
    json_decref(started);
    json_decref(first);
    return good ? 0 : 1;
}

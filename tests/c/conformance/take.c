#include "take.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consumer.h"
#include "producer.h"
#include "step.h"
#include "worker.h"

bool take_advance(struct world *world, int64_t by) {
    struct timespec pause;
    if (world->virtual_clock) {
        if (qrt_runtime_advance(world->runtime, by, NULL) != QRT_OK)
            return fail(&world->failure, "the clock did not move");
        /* Locks that are due are renewed before more time passes. */
        return world->consumers.first == NULL || world_turn(world);
    }
    pause.tv_sec = by / 1000;
    pause.tv_nsec = by % 1000 * 1000000;
    nanosleep(&pause, NULL);
    return true;
}

static bool take_advances(struct world *world, const json_t *step) {
    const json_t *said = step_get(step, "times");
    json_int_t times = said == NULL ? 1 : json_integer_value(said);
    int64_t by;
    bool good = text_span(step_get(step, "advance"), &by, &world->failure);
    while (good && times-- > 0) good = take_advance(world, by);
    return good;
}

static bool take_pending(struct world *world, const json_t *step) {
    const struct going *going =
        names_get(&world->background, text_bytes(step_get(step, "pending")));
    if (!world_turn(world)) return false;
    if (worker_pends(going)) return true;
    if (going->op != NULL && qrt_op_wait(going->op, 0, NULL) == QRT_ERR_TIMEOUT) return true;
    return fail(&world->failure, "it has ended");
}

/* What came in the background goes, as if its program had lost it. */
static void forget(struct going *going) {
    verb_free(going);
    free(going);
}

static bool take_cancel(struct world *world, const json_t *step) {
    struct going *going =
        names_remove(&world->background, text_bytes(step_get(step, "cancel")));
    bool ended = going->op == NULL || (qrt_op_cancel(going->op, NULL) == QRT_OK &&
                                       qrt_op_wait(going->op, PATIENCE_MS, NULL) == QRT_OK);
    if (ended && going->is_send && going->op != NULL)
        world->too_late |= qrt_op_take_send_results(going->op, &going->sent, NULL) == QRT_OK;
    forget(going);
    if (!ended) return fail(&world->failure, "it did not end");
    /* What it brought meanwhile goes back on the runtime's thread. */
    return world->target->server || world_turn(world);
}

static bool take_drop(struct world *world, const json_t *step) {
    qrt_delivery_t *dropped = names_get(&world->deliveries, text_bytes(step_get(step, "drop")));
    if (dropped == NULL) return fail(&world->failure, "there is no such delivery");
    /* Its other names would keep it. */
    while (names_remove_thing(&world->deliveries, dropped)) qrt_delivery_free(dropped);
    return true;
}

static bool take_drop_session(struct world *world, const json_t *step) {
    qrt_session_t *dropped =
        names_remove(&world->sessions, text_bytes(step_get(step, "drop_session")));
    if (dropped == NULL) return fail(&world->failure, "there is no such session");
    qrt_session_free(dropped);
    return true;
}

/* A step that is no verb of a provider. */
static bool is_aside(const char *verb) {
    static const char *const verbs[] = {"advance", "pending", "cancel",
                                        "drop", "drop_session", "drop_consumer",
                                        "configure"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i]) == 0) return true;
    return false;
}

static bool take_aside(struct world *world, const char *verb, const json_t *step) {
    if (strcmp(verb, "advance") == 0) return take_advances(world, step);
    if (strcmp(verb, "pending") == 0) return take_pending(world, step);
    if (strcmp(verb, "cancel") == 0) return take_cancel(world, step);
    if (strcmp(verb, "drop") == 0) return take_drop(world, step);
    if (strcmp(verb, "drop_session") == 0) return take_drop_session(world, step);
    if (strcmp(verb, "drop_consumer") == 0) return consumer_drop(world, step);
    world_configure(world, step);
    return true;
}

/* Keeps a verb that was begun under its name. */
static bool keep(struct world *world, const json_t *name, const struct going *going) {
    struct going *kept = malloc(sizeof *kept);
    if (kept == NULL) abort();
    *kept = *going;
    names_add(&world->background, text_bytes(name), kept);
    return true;
}

/* What was kept, which is no longer. */
static bool take_back(struct world *world, const json_t *name, struct going *going) {
    struct going *kept = names_remove(&world->background, text_bytes(name));
    if (kept == NULL) return fail(&world->failure, "it was not started");
    *going = *kept;
    free(kept);
    return true;
}

/* What is cancelled next is cancelled before what this step woke has its turn. */
static void cancel_ahead(struct world *world, const json_t *next) {
    const json_t *name = step_get(next, "cancel");
    struct going *going = name == NULL ? NULL : names_get(&world->background, text_bytes(name));
    if (going != NULL && going->op != NULL) qrt_op_cancel(going->op, NULL);
}

bool take_step(struct world *world, const json_t *step, const json_t *next) {
    const char *verb = step_verb(step);
    const json_t *start = step_get(step, "start"), *join = step_get(step, "join");
    struct going going = {0};
    bool good;
    if (is_aside(verb)) return take_aside(world, verb, step);
    good = join != NULL ? take_back(world, join, &going) : verb_begin(world, step, &going);
    cancel_ahead(world, next);
    if (good && start != NULL) return keep(world, start, &going);
    good = good && verb_wait(world, step, &going) && verb_finish(world, step, &going);
    verb_free(&going);
    return good;
}

void take_end(struct world *world) {
    struct going *left;
    while ((left = names_pop(&world->background)) != NULL) forget(left);
    worker_close(world);
    producer_close(world);
    world_close(world);
}

#include "producer.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "message.h"
#include "step.h"

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

/* A producer, and how its sends are flagged: `on_full` is said with each in C. */
struct producer {
    qrt_producer_t *handle;
    uint32_t flags;
};

static bool is(const json_t *step, const char *key) { return step_get(step, key) != NULL; }

bool producer_has(const json_t *step) {
    return is(step, "produce") || is(step, "by") || is(step, "flush") ||
           is(step, "close_producer");
}

static void set_number(const json_t *value, uint64_t *place) {
    if (value != NULL) *place = (uint64_t)json_integer_value(value);
}

static bool begin_produce(struct world *world, const json_t *step, struct going *going) {
    qrt_producer_options_t options = QRT_PRODUCER_OPTIONS_INIT;
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    uint64_t size = options.batch_size;
    set_number(step_get(step, "batch_size"), &size);
    options.batch_size = (uint32_t)size;
    set_number(step_get(step, "batch_bytes"), &options.batch_bytes);
    set_number(step_get(step, "max_pending"), &options.max_pending);
    set_number(step_get(step, "max_pending_bytes"), &options.max_pending_bytes);
    if (!text_some_span(step_get(step, "linger"), &options.linger_ms, &world->failure))
        return false;
    if (queue != NULL) qrt_producer_start(queue, &options, &going->producer, &going->error);
    return true;
}

static struct producer *named(struct world *world, const json_t *name) {
    struct producer *producer = names_get(&world->producers, text_bytes(name));
    if (producer == NULL)
        fail(&world->failure, "there is no producer %s", json_string_value(name));
    return producer;
}

static bool begin_send(struct world *world, const json_t *step, struct going *going) {
    const struct producer *producer = named(world, step_get(step, "by"));
    qrt_message_t *message = NULL;
    if (producer == NULL || !message_make(world, step, &message, &going->error)) return false;
    if (going->error == NULL)
        qrt_producer_send(producer->handle, message, producer->flags, NOBODY, &going->sent,
                          &going->op, &going->error);
    qrt_message_free(message);
    return true;
}

bool producer_begin(struct world *world, const json_t *step, struct going *going) {
    const char *verb = step_verb(step);
    const struct producer *producer;
    int64_t deadline;
    if (is(step, "produce")) return begin_produce(world, step, going);
    if (is(step, "by")) return begin_send(world, step, going);
    producer = named(world, step_get(step, verb));
    if (producer == NULL) return false;
    if (strcmp(verb, "flush") == 0) {
        qrt_producer_flush(producer->handle, NOBODY, &going->op, &going->error);
        return true;
    }
    if (!text_span(step_get(step, "deadline"), &deadline, &world->failure)) return false;
    qrt_producer_close(producer->handle, deadline, NOBODY, &going->produced, &going->op,
                       &going->error);
    return true;
}

static void keep(struct world *world, const json_t *step, struct going *going) {
    const char *on_full = json_string_value(step_get(step, "on_full"));
    struct producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL) abort();
    producer->handle = going->producer;
    going->producer = NULL;
    if (on_full != NULL && strcmp(on_full, "error") == 0) producer->flags = QRT_NO_WAIT;
    names_add(&world->producers, text_bytes(step_get(step, "produce")), producer);
}

static bool finish_close(struct world *world, const json_t *expect, const struct going *going) {
    const json_t *unsent = step_get(expect, "unsent");
    size_t count = qrt_producer_report_unsent_count(going->produced);
    bool good = check_number(world, "sent", step_get(expect, "sent"),
                             (int64_t)qrt_producer_report_sent(going->produced)) &&
                check_number(world, "failed", step_get(expect, "failed"),
                             (int64_t)qrt_producer_report_failed(going->produced));
    if (good && count != json_array_size(unsent))
        return fail(&world->failure, "%zu are unsent", count);
    for (size_t i = 0; good && i < count; i++)
        good = check_text(world, "what is unsent", json_array_get(unsent, i),
                          qrt_message_body(qrt_producer_report_unsent(going->produced, i)));
    return good;
}

bool producer_finish(struct world *world, const json_t *step, struct going *going) {
    if (is(step, "produce")) keep(world, step, going);
    if (is(step, "close_producer")) return finish_close(world, step_get(step, "expect"), going);
    return true;
}

void producer_close(struct world *world) {
    struct producer *producer;
    while ((producer = names_pop(&world->producers)) != NULL) {
        qrt_producer_free(producer->handle);
        free(producer);
    }
}

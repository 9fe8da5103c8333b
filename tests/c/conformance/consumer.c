#include "consumer.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "step.h"

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

/* How often one looks whether something has come to be, within half of all patience. */
enum { LOOK_NS = 1000000, LOOKS = PATIENCE_MS / 2 };

/* The options, by their names in the scenarios: one line for each. */
static const struct {
    const char *name;
    enum { COUNT, BYTES, SPAN, TEXT } kind;
    size_t at;
} OPTIONS[] = {
    {"concurrency", COUNT, offsetof(qrt_consumer_options_t, credits)},
    {"min_concurrency", COUNT, offsetof(qrt_consumer_options_t, min_concurrency)},
    {"scale_cooldown", SPAN, offsetof(qrt_consumer_options_t, scale_cooldown_ms)},
    {"prefetch", COUNT, offsetof(qrt_consumer_options_t, prefetch)},
    {"prefetch_bytes", BYTES, offsetof(qrt_consumer_options_t, prefetch_bytes)},
    {"max_messages", COUNT, offsetof(qrt_consumer_options_t, max_messages)},
    {"wait", SPAN, offsetof(qrt_consumer_options_t, wait_ms)},
    {"lock", SPAN, offsetof(qrt_consumer_options_t, lock_ms)},
    {"max_lock_renewal", SPAN, offsetof(qrt_consumer_options_t, max_lock_renewal_ms)},
    {"reconnect", TEXT, offsetof(qrt_consumer_options_t, reconnect)},
    {"idle", SPAN, offsetof(qrt_consumer_options_t, idle_ms)},
    {"breaker", TEXT, offsetof(qrt_consumer_options_t, breaker)},
    {"max_sessions", COUNT, offsetof(qrt_consumer_options_t, max_sessions)},
    {"session_idle", SPAN, offsetof(qrt_consumer_options_t, session_idle_ms)},
    {"session_max_messages", COUNT, offsetof(qrt_consumer_options_t, session_max_messages)},
    {"session_max_time", SPAN, offsetof(qrt_consumer_options_t, session_max_time_ms)},
    {"batch_size", COUNT, offsetof(qrt_consumer_options_t, batch_size)},
    {"batch_bytes", BYTES, offsetof(qrt_consumer_options_t, batch_bytes)},
    {"batch_linger", SPAN, offsetof(qrt_consumer_options_t, batch_linger_ms)},
    {"min_batch_size", COUNT, offsetof(qrt_consumer_options_t, min_batch_size)},
    {"target_batch_duration", SPAN, offsetof(qrt_consumer_options_t, target_batch_duration_ms)},
    {"max_in_flight_per_group", COUNT, offsetof(qrt_consumer_options_t, max_in_flight_per_group)},
};

enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS };

/* What every step may say. */
static bool is_common(const char *key) {
    /* How many batches there are at one time is what credits say. */
    static const char *const keys[] = {"consume", "from",  "work", "batch_concurrency",
                                       "client",  "queue", "error"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static bool set_option(struct world *world, const char *key, const json_t *value,
                       qrt_consumer_options_t *options) {
    size_t i = 0;
    char *place;
    while (i < OPTION_COUNT && strcmp(OPTIONS[i].name, key) != 0) i++;
    if (i == OPTION_COUNT) return fail(&world->failure, "unknown field %s", key);
    place = (char *)options + OPTIONS[i].at;
    switch (OPTIONS[i].kind) {
    case COUNT:
        *(uint32_t *)place = (uint32_t)json_integer_value(value);
        return true;
    case BYTES:
        *(uint64_t *)place = (uint64_t)json_integer_value(value);
        return true;
    case SPAN:
        return text_span(value, (int64_t *)place, &world->failure);
    default:
        *(qrt_bytes_t *)place = text_bytes(value);
        return true;
    }
}

bool consumer_options(struct world *world, const json_t *step, qrt_consumer_options_t *options) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)step, key, value) {
        if (!is_common(key) && !set_option(world, key, value, options)) return false;
    }
    return true;
}

static bool begin_consume(struct world *world, const json_t *step, struct going *going) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    const json_t *from = step_get(step, "from");
    qrt_queue_t *queue;
    if (!consumer_options(world, step, &options)) return false;
    if (from != NULL) {
        qrt_session_t *session = names_get(&world->sessions, text_bytes(from));
        if (session == NULL) return fail(&world->failure, "there is no such session");
        qrt_session_consume(session, &options, &going->consumer, &going->error);
        return true;
    }
    queue = world_queue(world, step, &going->error);
    if (queue != NULL) qrt_consumer_start(queue, &options, &going->consumer, &going->error);
    return true;
}

static bool is(const json_t *step, const char *verb) { return step_get(step, verb) != NULL; }

bool consumer_has(const char *verb) {
    static const char *const verbs[] = {"consume",   "next",  "consumer_status",
                                        "cancelled", "drain", "stop",
                                        "pause",     "resume", "reset_breaker"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i]) == 0) return true;
    return false;
}

static qrt_consumer_t *consumer_of(struct world *world, const json_t *name) {
    qrt_consumer_t *consumer = names_get(&world->consumers, text_bytes(name));
    if (consumer == NULL)
        fail(&world->failure, "there is no consumer %s", json_string_value(name));
    return consumer;
}

static const qrt_delivery_t *delivery_of(struct world *world, const json_t *name) {
    const qrt_delivery_t *delivery = names_get(&world->deliveries, text_bytes(name));
    if (delivery == NULL)
        fail(&world->failure, "there is no delivery %s", json_string_value(name));
    return delivery;
}

static bool begin_cancelled(struct world *world, const json_t *step, struct going *going) {
    const qrt_delivery_t *delivery = delivery_of(world, step_get(step, "cancelled"));
    const char *cause = json_string_value(step_get(step, "cause"));
    if (delivery == NULL) return false;
    if (cause == NULL) return fail(&world->failure, "it must say the cause");
    if (strcmp(cause, "none") == 0) return world_turn(world);
    qrt_delivery_wait_cancelled(delivery, NOBODY, &going->op, &going->error);
    return true;
}

bool consumer_begin(struct world *world, const json_t *step, struct going *going) {
    const char *verb = step_verb(step);
    qrt_consumer_t *consumer;
    int64_t deadline;
    if (strcmp(verb, "consume") == 0) return begin_consume(world, step, going);
    if (strcmp(verb, "cancelled") == 0) return begin_cancelled(world, step, going);
    consumer = consumer_of(world, step_get(step, verb));
    if (consumer == NULL) return false;
    if (strcmp(verb, "next") == 0)
        qrt_consumer_next(consumer, 1, NOBODY, &going->batch, &going->op, &going->error);
    if (strcmp(verb, "pause") == 0) qrt_consumer_pause(consumer, &going->error);
    if (strcmp(verb, "resume") == 0) qrt_consumer_resume(consumer, &going->error);
    if (strcmp(verb, "reset_breaker") == 0) qrt_consumer_reset_breaker(consumer, &going->error);
    if (strcmp(verb, "stop") == 0)
        qrt_consumer_stop(consumer, NOBODY, &going->op, &going->error);
    if (strcmp(verb, "drain") == 0) {
        if (!text_span(step_get(step, "deadline"), &deadline, &world->failure)) return false;
        qrt_consumer_drain(consumer, deadline, NOBODY, &going->drained, &going->op,
                           &going->error);
    }
    return true;
}

void consumer_take(const json_t *step, struct going *going) {
    if (is(step, "next"))
        qrt_op_take_batch(going->op, &going->batch, &going->error);
    else if (is(step, "drain"))
        qrt_op_take_drain_report(going->op, &going->drained, &going->error);
    else
        qrt_op_take_unit(going->op, &going->error);
}

static bool check_status(struct world *world, const json_t *wanted, qrt_consumer_t *consumer) {
    qrt_buffer_t *buffer = NULL;
    qrt_bytes_t text;
    json_t *got;
    const char *key;
    json_t *value;
    bool good = true;
    if (qrt_consumer_status(consumer, &buffer, NULL) != QRT_OK)
        return fail(&world->failure, "there is no status");
    text = qrt_buffer_bytes(buffer);
    got = json_loadb((const char *)text.data, text.len, 0, NULL);
    json_object_foreach((json_t *)wanted, key, value) {
        if (good && !json_equal(value, json_object_get(got, key)))
            good = fail(&world->failure, "%s is not as expected: %.*s", key, (int)text.len,
                        (const char *)text.data);
    }
    json_decref(got);
    qrt_buffer_free(buffer);
    return good;
}

/* It gets there in the background; what it must not be is seen by who asks. */
static bool finish_status(struct world *world, const json_t *step) {
    qrt_consumer_t *consumer = consumer_of(world, step_get(step, "consumer_status"));
    const struct timespec look = {0, LOOK_NS};
    bool good = false;
    if (consumer == NULL || !world_turn(world)) return false;
    for (int i = 0; i < LOOKS && !good; i++) {
        good = check_status(world, step_get(step, "expect"), consumer);
        if (!good) nanosleep(&look, NULL);
    }
    return good;
}

static bool finish_cancelled(struct world *world, const json_t *step) {
    static const char *const causes[] = {"none", "lock_lost", "stalled", "drained"};
    const qrt_delivery_t *delivery = delivery_of(world, step_get(step, "cancelled"));
    uint32_t cause = qrt_delivery_cancelled(delivery);
    return check_text(world, "the cause", step_get(step, "cause"),
                      text_of(cause < 4 ? causes[cause] : "unknown"));
}

static bool finish_drain(struct world *world, const json_t *expect, const struct going *going) {
    return expect == NULL ||
           (check_number(world, "finished", step_get(expect, "finished"),
                         (int64_t)qrt_drain_report_finished(going->drained)) &&
            check_number(world, "released", step_get(expect, "released"),
                         (int64_t)qrt_drain_report_released(going->drained)) &&
            check_number(world, "abandoned", step_get(expect, "abandoned"),
                         (int64_t)qrt_drain_report_abandoned(going->drained)));
}

bool consumer_finish(struct world *world, const json_t *step, struct going *going) {
    if (is(step, "consume")) {
        names_add(&world->consumers, text_bytes(step_get(step, "consume")), going->consumer);
        going->consumer = NULL;
    }
    if (is(step, "consumer_status")) return finish_status(world, step);
    if (is(step, "cancelled")) return finish_cancelled(world, step);
    if (is(step, "drain")) return finish_drain(world, step_get(step, "expect"), going);
    return true;
}

bool consumer_drop(struct world *world, const json_t *step) {
    const json_t *name = step_get(step, "drop_consumer");
    qrt_consumer_t *dropped = names_remove(&world->consumers, text_bytes(name));
    if (dropped == NULL) return fail(&world->failure, "there is no such consumer");
    qrt_consumer_free(dropped);
    return true;
}

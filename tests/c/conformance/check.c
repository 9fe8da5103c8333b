#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "step.h"

static const struct sight NOTHING = {.attempt = -1,
                                     .attempts = -1,
                                     .state = -1,
                                     .enqueued_at = -1,
                                     .locked_until = -1,
                                     .first_delivered_at = -1,
                                     .dead_lettered_at = -1};

struct sight sight_of_delivery(const qrt_delivery_t *delivery) {
    struct sight sight = NOTHING;
    sight.message = qrt_delivery_message(delivery);
    sight.id = qrt_delivery_id(delivery);
    sight.attempt = qrt_delivery_attempt(delivery);
    sight.enqueued_at = qrt_delivery_enqueued_at(delivery);
    sight.locked_until = qrt_delivery_locked_until(delivery);
    return sight;
}

struct sight sight_of_peeked(const qrt_peeked_t *peeked, size_t index) {
    struct sight sight = NOTHING;
    sight.message = qrt_peeked_message(peeked, index);
    sight.id = qrt_peeked_id(peeked, index);
    sight.attempts = qrt_peeked_attempts(peeked, index);
    sight.state = qrt_peeked_state(peeked, index);
    sight.enqueued_at = qrt_peeked_enqueued_at(peeked, index);
    return sight;
}

struct sight sight_of_dead_letter(const qrt_dead_letters_t *letters, size_t index) {
    struct sight sight = NOTHING;
    sight.message = qrt_dead_letters_message(letters, index);
    sight.id = qrt_dead_letters_id(letters, index);
    sight.attempts = qrt_dead_letters_attempts(letters, index);
    sight.enqueued_at = qrt_dead_letters_enqueued_at(letters, index);
    sight.is_dead = true;
    sight.reason = qrt_dead_letters_reason(letters, index);
    sight.description = qrt_dead_letters_description(letters, index);
    sight.source = qrt_dead_letters_source(letters, index);
    sight.first_delivered_at = qrt_dead_letters_first_delivered_at(letters, index);
    sight.dead_lettered_at = qrt_dead_letters_dead_lettered_at(letters, index);
    return sight;
}

/* For printf's `%.*s`: the beginning of a text. */
static int shown(qrt_bytes_t text) { return text.len > 60 ? 60 : (int)text.len; }

bool check_text(struct world *world, const char *name, const json_t *wanted, qrt_bytes_t got) {
    qrt_bytes_t expected = text_bytes(wanted);
    if (wanted == NULL || text_equal(expected, got)) return true;
    return fail(&world->failure, "%s is %.*s, expected %.*s", name, shown(got),
                (const char *)got.data, shown(expected), (const char *)expected.data);
}

bool check_queue(struct world *world, const char *name, const json_t *wanted, qrt_bytes_t got) {
    size_t len = strlen(world->prefix);
    if (got.len >= len && memcmp(got.data, world->prefix, len) == 0) {
        got.data += len;
        got.len -= len;
    }
    return check_text(world, name, wanted, got);
}

bool check_number(struct world *world, const char *name, const json_t *wanted, int64_t got) {
    if (wanted == NULL) return true;
    if (!json_is_integer(wanted)) return fail(&world->failure, "%s is no number", name);
    if (json_integer_value(wanted) == got) return true;
    return fail(&world->failure, "%s is %lld, expected %lld", name, (long long)got,
                (long long)json_integer_value(wanted));
}

bool check_moment(struct world *world, const char *name, const json_t *wanted, int64_t got) {
    int64_t moment = -1;
    if (wanted == NULL) return true;
    if (strcmp(json_string_value(wanted), "none") != 0 && !world_moment(world, wanted, &moment))
        return false;
    if (moment == got) return true;
    return fail(&world->failure, "%s is %lld ms after the start, expected %s", name,
                (long long)(got - world->start), json_string_value(wanted));
}

static bool check_body(struct world *world, const json_t *wanted, qrt_bytes_t got) {
    qrt_bytes_t body;
    bool equal;
    if (!text_body(wanted, &body, &world->failure)) return false;
    equal = text_equal(body, got);
    free((void *)body.data);
    if (equal) return true;
    return fail(&world->failure, "body is %.*s, expected %.60s", shown(got),
                (const char *)got.data, json_string_value(wanted));
}

static bool check_headers(struct world *world, const json_t *wanted, const qrt_message_t *message) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)wanted, name, value) {
        if (!check_text(world, name, value, qrt_message_header(message, text_of(name))))
            return fail_at(&world->failure, "header");
    }
    return true;
}

static bool check_state(struct world *world, const json_t *wanted, int64_t got) {
    static const char *const names[] = {"ready", "delayed", "in_flight"};
    qrt_bytes_t state = text_of(got >= 0 && got < 3 ? names[got] : "unknown");
    return check_text(world, "state", wanted, state);
}

static bool check_id_of(struct world *world, const json_t *wanted, qrt_bytes_t got) {
    const char *id;
    if (wanted == NULL) return true;
    id = names_get(&world->ids, text_bytes(wanted));
    if (id == NULL)
        return fail(&world->failure, "nothing was sent with the body %s",
                    json_string_value(wanted));
    if (text_equal(text_of(id), got)) return true;
    return fail(&world->failure, "id is %.*s, expected %s", shown(got), (const char *)got.data, id);
}

static bool check_one(struct world *w, const json_t *wanted, const struct sight *got) {
    const qrt_message_t *message = got->message;
    if (json_is_string(wanted)) return check_body(w, wanted, qrt_message_body(message));
    return check_body(w, step_get(wanted, "body"), qrt_message_body(message)) &&
           check_text(w, "id", step_get(wanted, "id"), got->id) &&
           check_id_of(w, step_get(wanted, "id_of"), got->id) &&
           check_text(w, "session", step_get(wanted, "session"), qrt_message_session(message)) &&
           check_text(w, "correlation_id", step_get(wanted, "correlation_id"),
                      qrt_message_correlation_id(message)) &&
           check_text(w, "content_type", step_get(wanted, "content_type"),
                      qrt_message_content_type(message)) &&
           check_headers(w, step_get(wanted, "headers"), message) &&
           check_number(w, "attempt", step_get(wanted, "attempt"), got->attempt) &&
           check_number(w, "attempts", step_get(wanted, "attempts"), got->attempts) &&
           check_state(w, step_get(wanted, "state"), got->state) &&
           check_moment(w, "enqueued_at", step_get(wanted, "enqueued_at"), got->enqueued_at) &&
           check_moment(w, "locked_until", step_get(wanted, "locked_until"), got->locked_until) &&
           (!got->is_dead ||
            (check_text(w, "reason", step_get(wanted, "reason"), got->reason) &&
             check_text(w, "description", step_get(wanted, "description"), got->description) &&
             check_queue(w, "source", step_get(wanted, "source"), got->source) &&
             check_moment(w, "first_delivered_at", step_get(wanted, "first_delivered_at"),
                          got->first_delivered_at) &&
             check_moment(w, "dead_lettered_at", step_get(wanted, "dead_lettered_at"),
                          got->dead_lettered_at)));
}

static bool check_in_any_order(struct world *world, const json_t *wanted, const struct sight *got,
                               size_t count) {
    bool *used = calloc(count + 1, sizeof *used);
    bool all = true;
    for (size_t i = 0; all && i < count; i++) {
        size_t at = 0;
        while (at < count && (used[at] || !check_one(world, json_array_get(wanted, i), &got[at])))
            at++;
        all = at < count;
        if (all) used[at] = true;
        if (!all) fail(&world->failure, "expected message %zu is not among those that came", i + 1);
    }
    free(used);
    return all;
}

bool check_seen(struct world *world, const json_t *wanted, const struct sight *got, size_t count,
                bool any_order) {
    if (json_array_size(wanted) != count)
        return fail(&world->failure, "got %zu, expected %zu", count, json_array_size(wanted));
    if (any_order) return check_in_any_order(world, wanted, got, count);
    for (size_t i = 0; i < count; i++) {
        if (!check_one(world, json_array_get(wanted, i), &got[i]))
            return fail_at(&world->failure, "message %zu", i + 1);
    }
    return true;
}

/* A lost lock also makes a receipt invalid, and says more. */
static bool satisfies(qrt_status_t got, const char *wanted) {
    bool lost = got == QRT_ERR_LOCK_LOST || got == QRT_ERR_SESSION_LOCK_LOST;
    return text_equal(qrt_status_name(got), text_of(wanted)) ||
           (lost && strcmp(wanted, "invalid_receipt") == 0);
}

bool check_end(struct world *world, const json_t *wanted, const qrt_error_t *error) {
    const char *kind = json_string_value(
        json_is_object(wanted) ? step_get(wanted, "kind") : wanted);
    qrt_bytes_t message = qrt_error_message(error);
    uint64_t size = 0, limit = 0;
    if (wanted == NULL && error == NULL) return true;
    if (wanted == NULL)
        return fail(&world->failure, "failed: %.*s", (int)message.len, (const char *)message.data);
    if (kind == NULL) return fail(&world->failure, "the expected error has no kind");
    if (error == NULL) return fail(&world->failure, "succeeded, expected %s", kind);
    qrt_error_sizes(error, &size, &limit);
    if (!satisfies(qrt_error_status(error), kind))
        return fail(&world->failure, "the error is %.*s, expected %s", (int)message.len,
                    (const char *)message.data, kind);
    if (json_is_string(wanted)) return true;
    return check_text(world, "its field", step_get(wanted, "field"),
                      qrt_error_field(error)) &&
           check_text(world, "its capability", step_get(wanted, "capability"),
                      qrt_error_capability(error)) &&
           check_queue(world, "its queue", step_get(wanted, "queue"),
                       qrt_error_queue(error)) &&
           check_number(world, "its size", step_get(wanted, "size"), (int64_t)size) &&
           check_number(world, "its limit", step_get(wanted, "limit"), (int64_t)limit);
}

#include "verb.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "consumer.h"
#include "dead_letters.h"
#include "message.h"
#include "producer.h"
#include "step.h"
#include "worker.h"

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

static bool is(const json_t *step, const char *verb) { return step_get(step, verb) != NULL; }

static void *named(struct world *world, const struct names *names, const json_t *name) {
    void *thing = names_get(names, text_bytes(name));
    if (thing == NULL) fail(&world->failure, "nothing is named %s", json_string_value(name));
    return thing;
}

/* A settlement's verb, as a table says it. */
static const char *settlement_of(const json_t *entry) {
    static const char *const verbs[] = {"ack", "nack", "release", "dead_letter"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (is(entry, verbs[i])) return verbs[i];
    return NULL;
}

static bool add_settlement(struct world *world, const json_t *entry, qrt_settlements_t *list,
                           qrt_error_t **error) {
    const char *verb = settlement_of(entry);
    const qrt_delivery_t *delivery;
    int64_t delay = -1;
    if (verb == NULL) return fail(&world->failure, "exactly one of ack, nack, release, dead_letter");
    delivery = named(world, &world->deliveries, step_get(entry, verb));
    if (delivery == NULL) return false;
    if (!text_some_span(step_get(entry, "delay"), &delay, &world->failure)) return false;
    if (strcmp(verb, "ack") == 0) qrt_settlements_ack(list, delivery, error);
    if (strcmp(verb, "nack") == 0)
        qrt_settlements_nack(list, delivery, text_bytes(step_get(entry, "reason")), delay, error);
    if (strcmp(verb, "release") == 0) qrt_settlements_release(list, delivery, delay, error);
    if (strcmp(verb, "dead_letter") == 0)
        qrt_settlements_dead_letter(list, delivery, text_bytes(step_get(entry, "reason")),
                                    text_bytes(step_get(entry, "description")), error);
    return true;
}

/* Settles entries of a list by the queue of the step. */
static bool begin_settle_many(struct world *world, const json_t *step, const json_t *entries,
                              struct going *going) {
    qrt_settlements_t *list = NULL;
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    bool good = qrt_settlements_new(&list, NULL) == QRT_OK;
    for (size_t i = 0; good && i < json_array_size(entries); i++)
        good = add_settlement(world, json_array_get(entries, i), list, &going->error);
    if (good && going->error == NULL)
        qrt_settle(queue, list, 0, NOBODY, &going->settled, &going->op, &going->error);
    qrt_settlements_free(list);
    return good;
}

static bool begin_settle(struct world *world, const json_t *step, struct going *going) {
    const char *verb = settlement_of(step);
    const qrt_delivery_t *delivery = named(world, &world->deliveries, step_get(step, verb));
    qrt_bytes_t reason = text_bytes(step_get(step, "reason"));
    qrt_bytes_t description = text_bytes(step_get(step, "description"));
    int64_t delay = -1;
    if (delivery == NULL) return false;
    if (!text_some_span(step_get(step, "delay"), &delay, &world->failure)) return false;
    /* Through a queue that the step names, instead of the delivery's own. */
    if (is(step, "client") || is(step, "queue")) {
        json_t *one = json_pack("[O]", step);
        bool good = begin_settle_many(world, step, one, going);
        json_decref(one);
        return good;
    }
    if (strcmp(verb, "ack") == 0) qrt_delivery_ack(delivery, 0, NOBODY, &going->op, &going->error);
    if (strcmp(verb, "nack") == 0)
        qrt_delivery_nack(delivery, reason, delay, 0, NOBODY, &going->op, &going->error);
    if (strcmp(verb, "release") == 0)
        qrt_delivery_release(delivery, delay, 0, NOBODY, &going->op, &going->error);
    if (strcmp(verb, "dead_letter") == 0)
        qrt_delivery_dead_letter(delivery, reason, description, 0, NOBODY, &going->op,
                                 &going->error);
    return true;
}

static bool begin_send(struct world *world, const json_t *step, const json_t *entries,
                       struct going *going) {
    size_t count = json_array_size(entries), made = 0;
    qrt_message_t **messages = calloc(count + 1, sizeof *messages);
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    bool good = true;
    while (good && made < count) {
        good = message_make(world, json_array_get(entries, made), &messages[made], &going->error);
        made++;
    }
    if (good && going->error == NULL)
        qrt_queue_send(queue, (const qrt_message_t *const *)messages, count, 0, NOBODY,
                       &going->sent, &going->op, &going->error);
    while (made > 0) qrt_message_free(messages[--made]);
    free(messages);
    return good;
}

/* Begins to receive up to so many, for so long. */
static bool begin_receive_of(struct world *world, const json_t *step, uint32_t max, int64_t wait,
                             struct going *going) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    const json_t *from = step_get(step, "from");
    options.max_messages = max;
    options.wait_ms = wait;
    if (!text_some_span(step_get(step, "lock"), &options.lock_ms, &world->failure)) return false;
    if (from != NULL) {
        qrt_session_t *session = named(world, &world->sessions, from);
        if (session == NULL) return false;
        qrt_session_receive(session, &options, NOBODY, &going->batch, &going->op, &going->error);
    } else {
        qrt_queue_t *queue = world_queue(world, step, &going->error);
        if (queue != NULL)
            qrt_queue_receive(queue, &options, NOBODY, &going->batch, &going->op, &going->error);
    }
    return true;
}

static bool begin_receive(struct world *world, const json_t *step, struct going *going) {
    uint32_t max = (uint32_t)json_integer_value(step_get(step, "receive"));
    int64_t wait = 0;
    return text_some_span(step_get(step, "wait"), &wait, &world->failure) &&
           begin_receive_of(world, step, max, wait, going);
}

static bool begin_extend(struct world *world, const json_t *step, struct going *going) {
    const qrt_delivery_t *delivery = named(world, &world->deliveries, step_get(step, "extend"));
    int64_t lock;
    if (delivery == NULL || !text_span(step_get(step, "lock"), &lock, &world->failure))
        return false;
    qrt_delivery_extend(delivery, lock, NOBODY, &going->op, &going->error);
    return true;
}

static bool begin_extend_many(struct world *world, const json_t *step, struct going *going) {
    const json_t *entries = step_get(step, "extend_many");
    size_t count = json_array_size(entries);
    const qrt_delivery_t **deliveries = calloc(count + 1, sizeof *deliveries);
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    int64_t lock;
    bool good = text_span(step_get(step, "lock"), &lock, &world->failure);
    for (size_t i = 0; good && i < count; i++) {
        const json_t *name = step_get(json_array_get(entries, i), "extend");
        deliveries[i] = named(world, &world->deliveries, name);
        good = deliveries[i] != NULL;
    }
    if (good && queue != NULL)
        qrt_extend(queue, deliveries, count, lock, NOBODY, &going->settled, &going->op,
                   &going->error);
    free(deliveries);
    return good;
}

static bool begin_accept(struct world *world, const json_t *step, struct going *going) {
    qrt_session_options_t options = QRT_SESSION_OPTIONS_INIT;
    const json_t *id = step_get(step, "accept");
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    if (!text_some_span(step_get(step, "accept_next"), &options.wait_ms, &world->failure) ||
        !text_some_span(step_get(step, "lock"), &options.lock_ms, &world->failure))
        return false;
    if (queue != NULL && id != NULL)
        qrt_session_accept(queue, text_bytes(id), &options, NOBODY, &going->session, &going->op,
                           &going->error);
    else if (queue != NULL)
        qrt_session_accept_next(queue, &options, NOBODY, &going->session, &going->op,
                                &going->error);
    return true;
}

static bool begin_set_state(struct world *world, const json_t *step, struct going *going) {
    qrt_session_t *session = named(world, &world->sessions, step_get(step, "set_state"));
    const json_t *to = step_get(step, "to");
    qrt_bytes_t state = {NULL, 0};
    if (session == NULL || (to != NULL && !text_body(to, &state, &world->failure))) return false;
    qrt_session_set_state(session, to == NULL ? NULL : &state, NOBODY, &going->op, &going->error);
    free((void *)state.data);
    return true;
}

static bool begin_of_session(struct world *world, const json_t *step, const char *verb,
                             struct going *going) {
    qrt_session_t *session = named(world, &world->sessions, step_get(step, verb));
    int64_t lock = -1;
    if (session == NULL) return false;
    if (!text_some_span(step_get(step, "lock"), &lock, &world->failure)) return false;
    if (strcmp(verb, "renew") == 0)
        qrt_session_renew(session, lock, NOBODY, &going->op, &going->error);
    if (strcmp(verb, "state") == 0)
        qrt_session_state(session, NOBODY, &going->state, &going->op, &going->error);
    if (strcmp(verb, "close_session") == 0) {
        qrt_session_close(session, NOBODY, &going->op, &going->error);
        names_remove_thing(&world->sessions, session);
        qrt_session_free(session);
    }
    return true;
}

/* Where a listing goes on: 0 from the first. */
static bool cursor(struct world *world, const json_t *step, uint64_t *after) {
    const json_t *body = step_get(step, "after");
    const uint64_t *kept = body == NULL ? NULL : named(world, &world->cursors, body);
    *after = kept == NULL ? 0 : *kept;
    return body == NULL || kept != NULL;
}

static bool filter_of(struct world *world, const json_t *where, qrt_dead_letter_filter_t *filter,
                      qrt_bytes_t *ids) {
    const json_t *ids_of = step_get(where, "ids_of"), *header = step_get(where, "header");
    filter->ids = ids;
    filter->ids_count = json_array_size(ids_of);
    for (size_t i = 0; i < filter->ids_count; i++) {
        const char *id = named(world, &world->ids, json_array_get(ids_of, i));
        if (id == NULL) return false;
        ids[i] = text_of(id);
    }
    filter->reason = text_bytes(step_get(where, "reason"));
    filter->session = text_bytes(step_get(where, "session"));
    filter->header_name = text_bytes(json_array_get(header, 0));
    filter->header_value = text_bytes(json_array_get(header, 1));
    return (!is(where, "since") || world_moment(world, step_get(where, "since"), &filter->since)) &&
           (!is(where, "until") || world_moment(world, step_get(where, "until"), &filter->until));
}

static bool begin_of_dead_letters(struct world *world, const json_t *step, struct going *going) {
    const json_t *where = step_get(step, "where");
    qrt_dead_letter_filter_t filter = QRT_DEAD_LETTER_FILTER_INIT;
    qrt_redrive_options_t redrive = QRT_REDRIVE_OPTIONS_INIT;
    qrt_bytes_t *ids = calloc(json_array_size(step_get(where, "ids_of")) + 1, sizeof *ids);
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    uint64_t after;
    bool good = filter_of(world, where, &filter, ids) && cursor(world, step, &after);
    if (good && queue != NULL && is(step, "dead_letters"))
        qrt_dead_letters_list(queue, &filter, after,
                              (uint32_t)json_integer_value(step_get(step, "dead_letters")), NOBODY,
                              &going->letters, &going->op, &going->error);
    if (good && queue != NULL && is(step, "redrive")) {
        redrive.max = (uint64_t)json_integer_value(step_get(step, "max"));
        redrive.per_second = (uint32_t)json_integer_value(step_get(step, "per_second"));
        redrive.dry_run = json_is_true(step_get(step, "dry_run"));
        redrive.after = after;
        qrt_dead_letters_redrive(queue, &filter, &redrive, NOBODY, &going->report, &going->op,
                                 &going->error);
    }
    if (good && queue != NULL && is(step, "purge"))
        qrt_dead_letters_purge(queue, &filter, NOBODY, &going->count, &going->op, &going->error);
    if (good && queue != NULL && is(step, "dead_letter_statistics"))
        qrt_queue_dead_letter_statistics(queue, &filter, NOBODY, &going->counted, &going->op,
                                         &going->error);
    free(ids);
    return good;
}

static bool begin_peek(struct world *world, const json_t *step, struct going *going) {
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    uint64_t after;
    if (!cursor(world, step, &after)) return false;
    if (queue != NULL)
        qrt_queue_peek(queue, after, (uint32_t)json_integer_value(step_get(step, "peek")), NOBODY,
                       &going->peeked, &going->op, &going->error);
    return true;
}

static bool begin_explain(struct world *world, const json_t *step, struct going *going) {
    const char *id = named(world, &world->ids, step_get(step, "explain"));
    qrt_queue_t *queue = id == NULL ? NULL : world_queue(world, step, &going->error);
    if (queue != NULL)
        qrt_queue_explain(queue, text_of(id), 0, NOBODY, &going->explanation, &going->op,
                          &going->error);
    return id != NULL;
}

bool verb_begin(struct world *world, const json_t *step, struct going *going) {
    const char *verb = step_verb(step);
    memset(going, 0, sizeof *going);
    going->is_send = is(step, "send");
    if (producer_has(step)) return producer_begin(world, step, going);
    if (worker_has(verb)) return worker_begin(world, step, going);
    if (strcmp(verb, "send") == 0) {
        json_t *one = json_pack("[O]", step);
        bool good = begin_send(world, step, one, going);
        json_decref(one);
        return good;
    }
    if (strcmp(verb, "send_many") == 0)
        return begin_send(world, step, step_get(step, verb), going);
    if (strcmp(verb, "receive") == 0) return begin_receive(world, step, going);
    if (settlement_of(step) != NULL) return begin_settle(world, step, going);
    if (strcmp(verb, "settle_many") == 0)
        return begin_settle_many(world, step, step_get(step, verb), going);
    if (strcmp(verb, "extend") == 0) return begin_extend(world, step, going);
    if (strcmp(verb, "extend_many") == 0) return begin_extend_many(world, step, going);
    if (strncmp(verb, "accept", 6) == 0) return begin_accept(world, step, going);
    if (strcmp(verb, "set_state") == 0) return begin_set_state(world, step, going);
    if (strcmp(verb, "renew") == 0 || strcmp(verb, "state") == 0 ||
        strcmp(verb, "close_session") == 0)
        return begin_of_session(world, step, verb, going);
    if (strcmp(verb, "peek") == 0) return begin_peek(world, step, going);
    if (strcmp(verb, "dead_letters") == 0 || strcmp(verb, "redrive") == 0 ||
        strcmp(verb, "purge") == 0 || strcmp(verb, "dead_letter_statistics") == 0)
        return begin_of_dead_letters(world, step, going);
    if (strcmp(verb, "connect") == 0) {
        world_connect(world, step, &going->error);
        return true;
    }
    if (strcmp(verb, "close_client") == 0) {
        qrt_client_t *client =
            world_client(world, text_bytes(step_get(step, verb)), &going->error);
        if (client != NULL) qrt_client_close(client, NOBODY, &going->op, &going->error);
        return true;
    }
    if (strcmp(verb, "statistics") == 0 || strcmp(verb, "create") == 0) {
        qrt_queue_t *queue = world_queue(world, step, &going->error);
        if (queue != NULL && strcmp(verb, "create") == 0)
            qrt_queue_create(queue, NOBODY, &going->op, &going->error);
        else if (queue != NULL)
            qrt_queue_statistics(queue, NOBODY, &going->statistics, &going->op, &going->error);
        return true;
    }
    if (strcmp(verb, "explain") == 0) return begin_explain(world, step, going);
    if (consumer_has(verb)) return consumer_begin(world, step, going);
    return fail(&world->failure, "%s is listed and not begun", verb);
}

/* Takes the result of an operation that has ended, of the kind its verb has. */
static void take(const json_t *step, struct going *g) {
    const char *verb = step_verb(step);
    if (strncmp(verb, "send", 4) == 0)
        qrt_op_take_send_results(g->op, &g->sent, &g->error);
    else if (strcmp(verb, "receive") == 0 || strcmp(verb, "call") == 0)
        qrt_op_take_batch(g->op, &g->batch, &g->error);
    else if (strcmp(verb, "settle_many") == 0 || strcmp(verb, "extend_many") == 0 ||
             strcmp(verb, "return") == 0)
        qrt_op_take_settle_results(g->op, &g->settled, &g->error);
    else if (strncmp(verb, "accept", 6) == 0)
        qrt_op_take_session(g->op, &g->session, &g->error);
    else if (strcmp(verb, "state") == 0)
        qrt_op_take_buffer(g->op, &g->state, &g->error);
    else if (strcmp(verb, "peek") == 0)
        qrt_op_take_peeked(g->op, &g->peeked, &g->error);
    else if (strcmp(verb, "dead_letters") == 0)
        qrt_op_take_dead_letters(g->op, &g->letters, &g->error);
    else if (strcmp(verb, "redrive") == 0)
        qrt_op_take_redrive_report(g->op, &g->report, &g->error);
    else if (strcmp(verb, "purge") == 0)
        qrt_op_take_count(g->op, &g->count, &g->error);
    else if (strcmp(verb, "statistics") == 0)
        qrt_op_take_statistics(g->op, &g->statistics, &g->error);
    else if (strcmp(verb, "dead_letter_statistics") == 0)
        qrt_op_take_dead_letter_statistics(g->op, &g->counted, &g->error);
    else if (strcmp(verb, "explain") == 0)
        qrt_op_take_buffer(g->op, &g->explanation, &g->error);
    else if (strcmp(verb, "close_producer") == 0)
        qrt_op_take_producer_report(g->op, &g->produced, &g->error);
    else if (consumer_has(verb))
        consumer_take(step, g);
    else
        qrt_op_take_unit(g->op, &g->error);
}

static bool wait_once(struct world *world, const json_t *step, struct going *going) {
    if (going->op == NULL) return true;
    if (qrt_op_wait(going->op, PATIENCE_MS, NULL) != QRT_OK)
        return fail(&world->failure, "it did not end");
    take(step, going);
    qrt_op_free(going->op);
    going->op = NULL;
    return true;
}

/* Keeps the deliveries of the batch that came, in place of it. */
static void keep_deliveries(struct going *going) {
    size_t count = qrt_batch_count(going->batch), all = going->received + count;
    going->deliveries = realloc(going->deliveries, (all + 1) * sizeof *going->deliveries);
    if (going->deliveries == NULL) abort();
    for (size_t i = 0; i < count; i++)
        going->deliveries[going->received + i] =
            (qrt_delivery_t *)qrt_delivery_retain(qrt_batch_get(going->batch, i));
    going->received = all;
    qrt_batch_free(going->batch);
    going->batch = NULL;
}

/* Receives what is still missing from a server that may be late. */
static bool collect(struct world *world, const json_t *step, struct going *going) {
    const json_t *expect = step_get(step, "expect"), *count = step_get(step, "count");
    size_t wanted = count == NULL ? json_array_size(expect) : (size_t)json_integer_value(count);
    int64_t end = qrt_runtime_now(world->runtime) + world->target->slack_ms;
    bool late = world->target->slack_ms > 0 && !is(step, "from") && !is(step, "join");
    while (late && going->error == NULL && going->received < wanted &&
           qrt_runtime_now(world->runtime) < end) {
        if (!begin_receive_of(world, step, (uint32_t)(wanted - going->received), 1000, going) ||
            !wait_once(world, step, going))
            return false;
        keep_deliveries(going);
    }
    return true;
}

bool verb_wait(struct world *world, const json_t *step, struct going *going) {
    if (!wait_once(world, step, going) || !worker_wait(world, going)) return false;
    if (!is(step, "receive") && !is(step, "next")) return true;
    keep_deliveries(going);
    return is(step, "next") || collect(world, step, going);
}

/* Each id that is made was not made before in this scenario. */
static bool check_made(struct world *world, qrt_bytes_t id) {
    if (id.len == 0) return fail(&world->failure, "the id is empty");
    if (names_get(&world->made, id) != NULL)
        return fail(&world->failure, "the id %.*s was given before", (int)id.len,
                    (const char *)id.data);
    names_add(&world->made, id, strdup("made"));
    return true;
}

static bool check_stored(struct world *world, const json_t *entry, const struct going *going,
                         size_t index) {
    const json_t *first = step_get(entry, "duplicate_of");
    const json_t *body = json_is_string(entry) ? entry : step_get(entry, "body");
    qrt_bytes_t id = qrt_send_results_id(going->sent, index);
    bool duplicate = qrt_send_results_is_duplicate(going->sent, index) == 1;
    if (body == NULL) body = step_get(entry, "send");
    if (duplicate != (first != NULL))
        return fail(&world->failure, duplicate ? "it is a duplicate" : "it is no duplicate");
    if (first != NULL) {
        const char *kept = named(world, &world->ids, first);
        if (kept == NULL) return false;
        return text_equal(id, text_of(kept)) || fail(&world->failure, "its id is not the first's");
    }
    if (is(entry, "id")) {
        if (!check_text(world, "the id", step_get(entry, "id"), id)) return false;
    } else if (!check_made(world, id)) {
        return false;
    }
    free(names_remove(&world->ids, text_bytes(body)));
    names_add(&world->ids, text_bytes(body), strndup((const char *)id.data, id.len));
    return true;
}

static bool finish_send_many(struct world *world, const json_t *entries,
                             const struct going *going) {
    size_t count = qrt_send_results_count(going->sent);
    if (count != json_array_size(entries)) return fail(&world->failure, "%zu results", count);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(entries, i);
        const qrt_error_t *error = qrt_send_results_error(going->sent, i);
        if ((qrt_send_results_status(going->sent, i) == QRT_OK) != (error == NULL) ||
            !check_end(world, step_get(entry, "error"), error) ||
            (error == NULL && !check_stored(world, entry, going, i)))
            return fail_at(&world->failure, "message %zu", i + 1);
    }
    return true;
}

static bool finish_each(struct world *world, const json_t *entries, const struct going *going) {
    size_t count = qrt_settle_results_count(going->settled);
    if (count != json_array_size(entries)) return fail(&world->failure, "%zu results", count);
    for (size_t i = 0; i < count; i++) {
        const qrt_error_t *error = qrt_settle_results_error(going->settled, i);
        if ((qrt_settle_results_status(going->settled, i) == QRT_OK) != (error == NULL) ||
            !check_end(world, step_get(json_array_get(entries, i), "error"), error))
            return fail_at(&world->failure, "entry %zu", i + 1);
    }
    return true;
}

/* A later delivery of the same name takes the name over. */
static void name_delivery(struct world *world, qrt_bytes_t name, const qrt_delivery_t *delivery) {
    qrt_delivery_free(names_remove(&world->deliveries, name));
    names_add(&world->deliveries, name, (void *)qrt_delivery_retain(delivery));
}

static bool finish_receive(struct world *world, const json_t *step, const struct going *going) {
    const json_t *expect = step_get(step, "expect"), *names = step_get(step, "as");
    size_t count = going->received;
    struct sight *sights = calloc(count + 1, sizeof *sights);
    bool good = check_number(world, "the number of deliveries", step_get(step, "count"),
                             (int64_t)count);
    for (size_t i = 0; i < count; i++)
        sights[i] = sight_of_delivery(going->deliveries[i]);
    if (good && expect != NULL)
        good = check_seen(world, expect, sights, count, json_is_true(step_get(step, "any_order")));
    for (size_t i = 0; good && i < count; i++) {
        const qrt_delivery_t *delivery = going->deliveries[i];
        const json_t *name = json_array_get(names, i);
        if (name != NULL) name_delivery(world, text_bytes(name), delivery);
        name_delivery(world, qrt_message_body(sights[i].message), delivery);
    }
    free(sights);
    return good;
}

static void keep_cursor(struct world *world, const struct sight *sight, uint64_t number) {
    qrt_bytes_t body = qrt_message_body(sight->message);
    uint64_t *kept = malloc(sizeof *kept);
    *kept = number;
    free(names_remove(&world->cursors, body));
    names_add(&world->cursors, body, kept);
}

static bool finish_listing(struct world *world, const json_t *step, const struct going *going) {
    bool peek = going->peeked != NULL;
    size_t count = peek ? qrt_peeked_count(going->peeked) : qrt_dead_letters_count(going->letters);
    struct sight *sights = calloc(count + 1, sizeof *sights);
    bool good;
    for (size_t i = 0; i < count; i++) {
        sights[i] = peek ? sight_of_peeked(going->peeked, i)
                         : sight_of_dead_letter(going->letters, i);
        keep_cursor(world, &sights[i],
                    peek ? qrt_peeked_sequence(going->peeked, i)
                         : qrt_dead_letters_number(going->letters, i));
    }
    good = check_seen(world, step_get(step, "expect"), sights, count, false);
    free(sights);
    return good;
}

static bool finish_accept(struct world *world, const json_t *step, struct going *going) {
    const json_t *expect = step_get(step, "expect"), *name = step_get(step, "as");
    qrt_bytes_t id = qrt_session_id(going->session);
    if (is(step, "accept")) {
        if (going->session == NULL) return fail(&world->failure, "no session came");
        if (!check_text(world, "the session", step_get(step, "accept"), id)) return false;
    } else {
        if (json_array_size(expect) != (going->session != NULL))
            return fail(&world->failure, "%s session came", going->session == NULL ? "no" : "a");
        if (!check_text(world, "the session", json_array_get(expect, 0), id)) return false;
    }
    if (going->session == NULL) return true;
    if (!check_moment(world, "the end of the lock", step_get(step, "locked_until"),
                      qrt_session_locked_until(going->session)))
        return false;
    if (name != NULL) id = text_bytes(name);
    qrt_session_free(names_remove(&world->sessions, id));
    names_add(&world->sessions, id, going->session);
    going->session = NULL;
    return true;
}

static bool finish_state(struct world *world, const json_t *step, const struct going *going) {
    const json_t *expect = step_get(step, "expect");
    qrt_bytes_t wanted, got = qrt_buffer_bytes(going->state);
    bool equal;
    if (json_array_size(expect) != (going->state != NULL))
        return fail(&world->failure, "%s state came", going->state == NULL ? "no" : "a");
    if (going->state == NULL) return true;
    if (!text_body(json_array_get(expect, 0), &wanted, &world->failure)) return false;
    equal = text_equal(wanted, got);
    free((void *)wanted.data);
    return equal || fail(&world->failure, "the state is %.*s", (int)got.len, (const char *)got.data);
}

static bool finish_redrive(struct world *world, const json_t *expect, const struct going *going) {
    json_t *none = json_integer(0);
    const json_t *failed = step_get(expect, "failed");
    size_t count = qrt_redrive_report_failed_count(going->report);
    bool good = expect == NULL ||
                (check_number(world, "matched", step_get(expect, "matched"),
                              (int64_t)qrt_redrive_report_matched(going->report)) &&
                 check_number(world, "redriven", step_get(expect, "redriven"),
                              (int64_t)qrt_redrive_report_redriven(going->report)) &&
                 check_number(world, "failed", failed == NULL ? none : failed, (int64_t)count));
    for (size_t i = 0; good && i < count; i++)
        good = qrt_redrive_report_failed_id(going->report, i).len > 0 &&
               qrt_redrive_report_failed_reason(going->report, i).len > 0;
    json_decref(none);
    return good;
}

static bool finish_statistics(struct world *world, const json_t *wanted, const struct going *going) {
    static const struct {
        const char *name;
        uint64_t (*get)(const qrt_statistics_t *);
    } counts[] = {
        {"ready", qrt_statistics_ready}, {"in_flight", qrt_statistics_in_flight},
        {"delayed", qrt_statistics_delayed}, {"dead", qrt_statistics_dead},
        {"depth", qrt_statistics_depth}, {"bytes", qrt_statistics_bytes},
        {"sessions", qrt_statistics_sessions},
    };
    const json_t *age = step_get(wanted, "oldest_age");
    int64_t oldest = -1, got = qrt_statistics_oldest_age_ms(going->statistics);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!check_number(world, counts[i].name, step_get(wanted, counts[i].name),
                          (int64_t)counts[i].get(going->statistics)))
            return false;
    if (age == NULL) return true;
    if (strcmp(json_string_value(age), "none") != 0 && !text_span(age, &oldest, &world->failure))
        return false;
    return oldest == got || fail(&world->failure, "oldest_age is %lld ms", (long long)got);
}

/* A moment of an explanation; -1 where it has none. */
static int64_t moment_of(const json_t *said, const char *name) {
    const json_t *moment = step_get(said, name);
    return json_is_integer(moment) ? json_integer_value(moment) : -1;
}

static bool check_explained(struct world *world, const json_t *wanted, const json_t *said) {
    const json_t *behind = step_get(wanted, "behind"), *parked = step_get(wanted, "parked");
    const char *id = behind == NULL ? NULL : named(world, &world->ids, behind);
    if (behind != NULL && id == NULL) return false;
    if (id != NULL && !text_equal(text_of(id), text_bytes(step_get(step_get(said, "behind"), "id"))))
        return fail(&world->failure, "it is not behind %s", json_string_value(behind));
    if (parked != NULL && json_is_true(parked) != json_is_true(step_get(said, "parked")))
        return fail(&world->failure, "parked is not as expected");
    return check_text(world, "standing", step_get(wanted, "standing"),
                      text_bytes(step_get(said, "standing"))) &&
           check_number(world, "attempts", step_get(wanted, "attempts"),
                        json_integer_value(step_get(said, "attempts"))) &&
           check_moment(world, "earliest", step_get(wanted, "earliest"),
                        moment_of(said, "earliest")) &&
           check_moment(world, "latest", step_get(wanted, "latest"), moment_of(said, "latest"));
}

static bool finish_explain(struct world *world, const json_t *wanted, const struct going *going) {
    qrt_bytes_t text = qrt_buffer_bytes(going->explanation);
    json_t *said = json_loadb((const char *)text.data, text.len, 0, NULL);
    bool good = said == NULL ? fail(&world->failure, "the explanation is no JSON")
                             : check_explained(world, wanted, said);
    json_decref(said);
    return good;
}

/* The error of a verb: its own, or that of the only result it has. */
static const qrt_error_t *error_of(const json_t *step, const struct going *going) {
    if (going->error != NULL) return going->error;
    if (is(step, "send")) return qrt_send_results_error(going->sent, 0);
    if (settlement_of(step) != NULL) return qrt_settle_results_error(going->settled, 0);
    return NULL;
}

bool verb_finish(struct world *world, const json_t *step, struct going *going) {
    const qrt_error_t *error = error_of(step, going);
    const json_t *until = step_get(step, "locked_until");
    if (!check_end(world, step_get(step, "error"), error)) return false;
    if (error != NULL) return true;
    if (is(step, "send")) return check_stored(world, step, going, 0);
    if (is(step, "send_many")) return finish_send_many(world, step_get(step, "send_many"), going);
    if (is(step, "settle_many")) return finish_each(world, step_get(step, "settle_many"), going);
    if (is(step, "extend_many")) return finish_each(world, step_get(step, "extend_many"), going);
    if (is(step, "receive") || is(step, "next")) return finish_receive(world, step, going);
    if (is(step, "accept") || is(step, "accept_next")) return finish_accept(world, step, going);
    if (is(step, "peek") || is(step, "dead_letters")) return finish_listing(world, step, going);
    if (is(step, "state")) return finish_state(world, step, going);
    if (is(step, "redrive")) return finish_redrive(world, step_get(step, "expect"), going);
    if (is(step, "purge"))
        return check_number(world, "the count", step_get(step, "expect"), (int64_t)going->count);
    if (is(step, "statistics")) return finish_statistics(world, step_get(step, "statistics"), going);
    if (is(step, "dead_letter_statistics"))
        return dead_letters_counted(world, step_get(step, "expect"), going->counted);
    if (is(step, "explain")) return finish_explain(world, step_get(step, "expect"), going);
    if (is(step, "extend"))
        return check_moment(world, "the end of the lock", until,
                            qrt_delivery_locked_until(
                                named(world, &world->deliveries, step_get(step, "extend"))));
    if (is(step, "renew"))
        return check_moment(world, "the end of the lock", until,
                            qrt_session_locked_until(
                                named(world, &world->sessions, step_get(step, "renew"))));
    if (worker_has(step_verb(step))) return worker_finish(world, step, going);
    if (producer_has(step)) return producer_finish(world, step, going);
    return consumer_finish(world, step, going);
}

void verb_free(struct going *going) {
    qrt_op_free(going->op);
    qrt_error_free(going->error);
    qrt_batch_free(going->batch);
    while (going->received > 0) qrt_delivery_free(going->deliveries[--going->received]);
    free(going->deliveries);
    qrt_send_results_free(going->sent);
    qrt_settle_results_free(going->settled);
    qrt_session_free(going->session);
    qrt_buffer_free(going->state);
    qrt_peeked_free(going->peeked);
    qrt_dead_letters_free(going->letters);
    qrt_redrive_report_free(going->report);
    qrt_statistics_free(going->statistics);
    qrt_dead_letter_statistics_free(going->counted);
    qrt_buffer_free(going->explanation);
    qrt_consumer_free(going->consumer);
    qrt_drain_report_free(going->drained);
    worker_free(going);
    qrt_producer_free(going->producer);
    qrt_producer_report_free(going->produced);
}

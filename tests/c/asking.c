/* Consumers that are asked for messages, kept locks, and drains. On a virtual clock. */

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "completion.h"

enum { LOCK_MS = 10000 };

/* A queue of three messages on a runtime of its own. */
struct world {
    qrt_runtime_t *runtime;
    qrt_queue_t *queue;
};

static struct world new_world(void) {
    struct world world;
    qrt_client_t *client;
    world.runtime = new_runtime(1);
    client = new_client(world.runtime, "memory:");
    world.queue = new_queue(client, "{\"lock\": \"10s\", \"retry\": \"none\"}");
    qrt_client_free(client);
    CHECK(send_text(world.queue, "a") == QRT_OK);
    CHECK(send_text(world.queue, "b") == QRT_OK);
    CHECK(send_text(world.queue, "c") == QRT_OK);
    return world;
}

static void free_world(struct world world) {
    qrt_queue_free(world.queue);
    CHECK(qrt_runtime_shutdown(world.runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(world.runtime);
}

static qrt_consumer_t *start(struct world world, uint32_t credits, uint32_t prefetch) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    options.credits = credits;
    options.prefetch = prefetch;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    return consumer;
}

/* Up to `max` messages, waited for. */
static qrt_batch_t *next(qrt_consumer_t *consumer, uint32_t max) {
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    if (qrt_consumer_next(consumer, max, NOBODY, &batch, &op, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK);
    }
    qrt_op_free(op);
    return batch;
}

static void ack(const qrt_batch_t *batch, size_t index) {
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, index), 0, NOBODY, NULL, NULL) == QRT_OK);
}

static qrt_drain_report_t *drain(qrt_consumer_t *consumer, int64_t deadline_ms) {
    qrt_drain_report_t *report = NULL;
    qrt_op_t *op = NULL;
    if (qrt_consumer_drain(consumer, deadline_ms, NOBODY, &report, &op, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_drain_report(op, &report, NULL) == QRT_OK);
    }
    qrt_op_free(op);
    return report;
}

static void stop(qrt_consumer_t *consumer) {
    qrt_op_t *op = NULL;
    if (qrt_consumer_stop(consumer, NOBODY, &op, NULL) == QRT_PENDING)
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    qrt_op_free(op);
}

static void credits_come_back_with_their_deliveries(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 1, 0);
    qrt_batch_t *a = next(consumer, 10), *b = NULL;
    qrt_op_t *op = NULL;
    CHECK(qrt_batch_count(a) == 1 && is(body_of(a, 0), "a"));
    CHECK(qrt_consumer_next(consumer, 10, NOBODY, &b, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 10, NULL) == QRT_ERR_TIMEOUT);
    ack(a, 0);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &b, NULL) == QRT_OK && is(body_of(b, 0), "b"));
    qrt_op_free(op);
    qrt_batch_free(a);
    qrt_batch_free(b); /* not settled: its lock ends some day, its hand is free */
    a = next(consumer, 10);
    CHECK(is(body_of(a, 0), "c"));
    CHECK(qrt_consumer_grant(consumer, 1, NULL) == QRT_ERR_INVALID_ARGUMENT);
    qrt_batch_free(a);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void what_is_asked_for_and_not_taken_goes_back(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 3, 0);
    for (int i = 0; i < 20 * soak(); i++) {
        qrt_batch_t *batch = NULL;
        qrt_op_t *op = NULL;
        if (qrt_consumer_next(consumer, 2, NOBODY, &batch, &op, NULL) == QRT_PENDING) {
            if (i % 2) CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
            CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
        }
        qrt_op_free(op);
        for (size_t k = 0; k < qrt_batch_count(batch); k++)
            CHECK(qrt_delivery_release(qrt_batch_get(batch, k), 0, 0, NOBODY, NULL, NULL) ==
                  QRT_OK);
        qrt_batch_free(batch);
    }
    for (int left = 3; left > 0;) {
        qrt_batch_t *batch = next(consumer, 3);
        for (size_t k = 0; k < qrt_batch_count(batch); k++, left--) {
            CHECK(qrt_delivery_attempt(qrt_batch_get(batch, k)) == 1);
            ack(batch, k);
        }
        qrt_batch_free(batch);
    }
    qrt_consumer_free(consumer);
    free_world(world);
}

static void locks_are_kept_and_their_loss_is_told(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 3, 0);
    qrt_batch_t *batch = next(consumer, 1);
    const qrt_delivery_t *a = qrt_batch_get(batch, 0);
    qrt_op_t *told = NULL;
    for (int i = 0; i < 6; i++) {
        int64_t until;
        CHECK(qrt_runtime_advance(world.runtime, LOCK_MS / 2, NULL) == QRT_OK);
        until = qrt_runtime_now(world.runtime) + LOCK_MS;
        while (qrt_delivery_locked_until(a) != until) {
        }
    }
    CHECK(qrt_delivery_cancelled(a) == QRT_CANCEL_NONE);
    CHECK(qrt_delivery_wait_cancelled(a, NOBODY, &told, NULL) == QRT_PENDING);
    CHECK(qrt_runtime_advance(world.runtime, 3 * LOCK_MS, NULL) == QRT_OK);
    CHECK(qrt_op_wait(told, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_delivery_cancelled(a) == QRT_CANCEL_LOCK_LOST);
    qrt_op_free(told);
    qrt_batch_free(batch);
    qrt_consumer_free(consumer);
    free_world(world);
}

struct alarms {
    struct latch lost, stalled;
};

static void on_lock_lost(void *user_data, qrt_bytes_t id) {
    CHECK(id.len == 36);
    latch_raise(&((struct alarms *)user_data)->lost);
}

static void on_stall(void *user_data, qrt_bytes_t id) {
    CHECK(id.len == 36);
    latch_raise(&((struct alarms *)user_data)->stalled);
}

static void a_stall_and_a_loss_raise_an_alarm(void) {
    struct world world = new_world();
    struct alarms alarms = {LATCH, LATCH};
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch;
    options.prefetch = 0;
    options.max_lock_renewal_ms = LOCK_MS / 2;
    options.on_lock_lost = on_lock_lost;
    options.on_stall = on_stall;
    options.user_data = &alarms;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    batch = next(consumer, 1);
    CHECK(qrt_runtime_advance(world.runtime, LOCK_MS / 2, NULL) == QRT_OK);
    latch_await(&alarms.stalled, 1);
    CHECK(qrt_delivery_cancelled(qrt_batch_get(batch, 0)) == QRT_CANCEL_STALLED);
    qrt_batch_free(batch);
    qrt_consumer_free(consumer);

    options.max_lock_renewal_ms = 100 * LOCK_MS;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    batch = next(consumer, 1);
    CHECK(qrt_runtime_advance(world.runtime, 3 * LOCK_MS, NULL) == QRT_OK);
    latch_await(&alarms.lost, 1);
    CHECK(latch_count(&alarms.stalled) == 1);
    qrt_batch_free(batch);
    {
        qrt_op_t *op = NULL;
        if (qrt_consumer_stop(consumer, NOBODY, &op, NULL) == QRT_PENDING)
            CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        qrt_op_free(op);
    }
    qrt_consumer_free(consumer);
    free_world(world);
}

static void a_receive_keeps_locks_when_asked_to(void) {
    struct world world = new_world();
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *batch = NULL;
    options.flags = QRT_KEEP_LOCK;
    CHECK(qrt_queue_receive(world.queue, &options, NOBODY, &batch, NULL, NULL) == QRT_OK);
    for (int i = 0; i < 4; i++) {
        int64_t until;
        CHECK(qrt_runtime_advance(world.runtime, LOCK_MS / 2, NULL) == QRT_OK);
        until = qrt_runtime_now(world.runtime) + LOCK_MS;
        while (qrt_delivery_locked_until(qrt_batch_get(batch, 0)) != until) {
        }
    }
    ack(batch, 0);
    qrt_batch_free(batch);
    free_world(world);
}

static void a_drain_adds_up(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 1, 3);
    qrt_batch_t *a, *none;
    qrt_drain_report_t *report;
    qrt_buffer_t *status = NULL;
    qrt_bytes_t json;
    for (int ahead = 0; !ahead;) {
        static const char wanted[] = "\"prefetched\":3";
        CHECK(qrt_consumer_status(consumer, &status, NULL) == QRT_OK);
        json = qrt_buffer_bytes(status);
        ahead = memmem(json.data, json.len, wanted, sizeof wanted - 1) != NULL;
        qrt_buffer_free(status);
    }
    a = next(consumer, 1);
    report = drain(consumer, 0);
    CHECK(qrt_drain_report_finished(report) == 0 && qrt_drain_report_abandoned(report) == 0);
    CHECK(qrt_drain_report_released(report) == 3);
    qrt_drain_report_free(report);
    CHECK(qrt_delivery_cancelled(qrt_batch_get(a, 0)) == QRT_CANCEL_DRAINED);
    CHECK(qrt_delivery_ack(qrt_batch_get(a, 0), 0, NOBODY, NULL, NULL) == QRT_ERR_INVALID_RECEIPT);
    none = next(consumer, 1);
    CHECK(qrt_batch_count(none) == 0);
    qrt_batch_free(none);
    qrt_batch_free(a);
    qrt_consumer_free(consumer);

    a = look(world.queue, 3);
    CHECK(qrt_batch_count(a) == 3);
    for (size_t i = 0; i < 3; i++) CHECK(qrt_delivery_attempt(qrt_batch_get(a, i)) == 1);
    qrt_batch_free(a);
    free_world(world);
}

/* Waits for the end of an operation that pends. */
static void finish(qrt_op_t *op, qrt_status_t expected) {
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_unit(op, NULL) == expected);
    qrt_op_free(op);
}

static void one_wait_is_enough_for_all_that_is_in_hand(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 3, 0);
    qrt_batch_t *batch = next(consumer, 3);
    qrt_drain_report_t *report;
    qrt_op_t *op = NULL;
    CHECK(qrt_batch_count(batch) == 3);
    CHECK(qrt_consumer_wait_changed(consumer, NOBODY, &op, NULL) == QRT_PENDING);
    CHECK(qrt_runtime_advance(world.runtime, 3 * LOCK_MS, NULL) == QRT_OK);
    finish(op, QRT_OK);
    for (size_t i = 0; i < 3; i++)
        while (qrt_delivery_cancelled(qrt_batch_get(batch, i)) != QRT_CANCEL_LOCK_LOST) {
        }
    /* What happened after that wait ends the next one; then there is nothing to tell. */
    while (qrt_consumer_wait_changed(consumer, NOBODY, &op, NULL) == QRT_OK) {
    }
    /* What can never be settled is not in hand any more. */
    for (size_t i = 0; i < 3; i++)
        CHECK(qrt_delivery_ack(qrt_batch_get(batch, i), 0, NOBODY, NULL, NULL) ==
              QRT_ERR_LOCK_LOST);
    report = drain(consumer, PATIENCE_MS);
    CHECK(qrt_drain_report_finished(report) == 0 && qrt_drain_report_abandoned(report) == 0);
    qrt_drain_report_free(report);
    finish(op, QRT_ERR_CLOSED);
    qrt_batch_free(batch);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void an_idle_consumer_gives_an_empty_batch(void) {
    struct world world = new_world();
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    options.reconnect = text("fixed:1s");
    options.idle_ms = 5000;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    for (int left = 3; left > 0;) {
        batch = next(consumer, 3);
        for (size_t i = 0; i < qrt_batch_count(batch); i++, left--) ack(batch, i);
        qrt_batch_free(batch);
    }
    CHECK(qrt_consumer_next(consumer, 3, NOBODY, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 10, NULL) == QRT_ERR_TIMEOUT);
    CHECK(qrt_runtime_advance(world.runtime, 5000, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK && qrt_batch_count(batch) == 0);
    qrt_batch_free(batch);
    qrt_op_free(op);
    qrt_consumer_free(consumer);

    options.reconnect = text("now and then");
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    free_world(world);
}

/* What the observer of a breaker was told last. */
struct told {
    atomic_uint state;
    atomic_llong until_ms;
};

static void on_breaker(void *user_data, uint32_t state, int64_t until_ms) {
    struct told *told = user_data;
    atomic_store(&told->until_ms, until_ms);
    atomic_store(&told->state, state);
}

static void until_state(const struct told *told, unsigned state) {
    while (atomic_load(&told->state) != state) sched_yield();
}

static bool says(const qrt_consumer_t *consumer, const char *part) {
    qrt_buffer_t *status = NULL;
    qrt_bytes_t json;
    char copy[1024];
    CHECK(qrt_consumer_status(consumer, &status, NULL) == QRT_OK);
    json = qrt_buffer_bytes(status);
    CHECK(json.len < sizeof copy);
    memcpy(copy, json.data, json.len);
    copy[json.len] = 0;
    qrt_buffer_free(status);
    return strstr(copy, part) != NULL;
}

static void a_breaker_hands_out_one_until_it_is_closed(void) {
    struct world world = new_world();
    struct told told = {QRT_BREAKER_CLOSED, -1};
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    options.breaker = text("1,60s,1");
    options.on_breaker = on_breaker;
    options.user_data = &told;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    batch = next(consumer, 1);
    CHECK(qrt_delivery_nack(qrt_batch_get(batch, 0), text("cold"), -1, 0, NOBODY, NULL, NULL) ==
          QRT_OK);
    qrt_batch_free(batch);
    until_state(&told, QRT_BREAKER_OPEN);
    CHECK(atomic_load(&told.until_ms) == qrt_runtime_now(world.runtime) + 60000);
    CHECK(says(consumer, "\"breaker\":\"open\""));
    CHECK(qrt_consumer_next(consumer, 3, NOBODY, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_runtime_advance(world.runtime, 60000, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK && qrt_batch_count(batch) == 1);
    qrt_op_free(op);
    until_state(&told, QRT_BREAKER_HALF_OPEN);
    CHECK(atomic_load(&told.until_ms) == -1);
    ack(batch, 0);
    qrt_batch_free(batch);
    until_state(&told, QRT_BREAKER_CLOSED);
    CHECK(qrt_consumer_reset_breaker(consumer, NULL) == QRT_OK);
    stop(consumer);
    qrt_consumer_free(consumer);

    options.breaker = text("sometimes");
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_queue_breaker_state(world.queue) == QRT_BREAKER_CLOSED);
    CHECK(qrt_queue_reset_breaker(world.queue, NULL) == QRT_OK);
    free_world(world);
}

static void the_whole_client_has_a_breaker_if_asked(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:?client_breaker=5,30s,3");
    qrt_client_t *none = NULL;
    qrt_error_t *error = NULL;
    CHECK(qrt_client_breaker_state(client) == QRT_BREAKER_CLOSED);
    CHECK(qrt_client_reset_breaker(client, NULL) == QRT_OK);
    qrt_client_free(client);
    CHECK(qrt_client_open(runtime, text("memory:"), text("{\"client_breaker\": \"sometimes\"}"),
                          NOBODY, &none, NULL, &error) == QRT_ERR_INVALID_CONFIG);
    CHECK(is(qrt_error_field(error), "client_breaker"));
    qrt_error_free(error);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

static void a_paused_consumer_gives_back_what_it_fetched(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 3, 3);
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    CHECK(qrt_consumer_pause(consumer, NULL) == QRT_OK);
    CHECK(qrt_consumer_pause(consumer, NULL) == QRT_OK);
    CHECK(says(consumer, "\"paused\":true"));
    CHECK(qrt_consumer_next(consumer, 3, NOBODY, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 10, NULL) == QRT_ERR_TIMEOUT);
    CHECK(qrt_consumer_resume(consumer, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK);
    CHECK(is(body_of(batch, 0), "a") && qrt_delivery_attempt(qrt_batch_get(batch, 0)) == 1);
    CHECK(says(consumer, "\"paused\":false"));
    qrt_op_free(op);
    qrt_batch_free(batch);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void send_to(qrt_queue_t *queue, const char *session, const char *body) {
    qrt_message_t *message = new_message(body);
    CHECK(qrt_message_set_session(message, text(session), NULL) == QRT_OK);
    CHECK(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_message_free(message);
}

static void a_consumer_works_through_held_sessions(void) {
    struct world world = new_world();
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    for (int session = 0; session < 3; session++) {
        const char *const names[] = {"a", "b", "c"};
        send_to(world.queue, names[session], "1");
        send_to(world.queue, names[session], "2");
    }
    options.max_sessions = 1;
    options.prefetch = 1;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    for (int i = 0; i < 6; i++) {
        qrt_batch_t *batch = next(consumer, 1);
        CHECK(is(body_of(batch, 0), i % 2 == 0 ? "1" : "2"));
        ack(batch, 0);
        qrt_batch_free(batch);
    }
    qrt_consumer_free(consumer);

    options.max_sessions = 0;
    options.session_idle_ms = 1;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    free_world(world);
}

static void a_group_has_a_maximum_in_hand(void) {
    struct world world = new_world();
    qrt_client_t *client = new_client(world.runtime, "memory:?fair_groups=true");
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    const char *const expected[] = {"1", "other", "2"};
    qrt_batch_t *hands[3], *third = NULL;
    qrt_op_t *op = NULL;
    options.max_in_flight_per_group = 2;
    options.prefetch = 0;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_UNSUPPORTED);
    qrt_queue_free(world.queue);
    world.queue = new_queue(client, "");
    qrt_client_free(client);
    send_to(world.queue, "a", "1");
    send_to(world.queue, "a", "2");
    send_to(world.queue, "a", "3");
    send_to(world.queue, "b", "other");
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    for (int i = 0; i < 3; i++) {
        hands[i] = next(consumer, 1);
        CHECK(is(body_of(hands[i], 0), expected[i]));
    }
    CHECK(qrt_consumer_next(consumer, 1, NOBODY, &third, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 10, NULL) == QRT_ERR_TIMEOUT);
    ack(hands[0], 0);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &third, NULL) == QRT_OK && is(body_of(third, 0), "3"));
    qrt_op_free(op);
    qrt_batch_free(third);
    for (int i = 0; i < 3; i++) qrt_batch_free(hands[i]);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void nothing_is_taken(void *user_data, qrt_batch_t *batch) {
    (void)user_data;
    qrt_batch_free(batch);
}

static void a_consumer_scales(void) {
    struct world world = new_world();
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *one, *two = NULL;
    qrt_op_t *op = NULL;
    options.min_concurrency = 65;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    options.min_concurrency = 1;
    options.scale_cooldown_ms = 0;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    options.scale_cooldown_ms = 10;
    options.on_batch = nothing_is_taken;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    options.on_batch = NULL;
    options.credits = 2;
    options.prefetch = UINT32_MAX;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    CHECK(says(consumer, "\"concurrency\":1"));
    one = next(consumer, 1);
    CHECK(qrt_consumer_next(consumer, 1, NOBODY, &two, &op, NULL) == QRT_PENDING);
    while (!says(consumer, "\"concurrency\":2")) {
        CHECK(qrt_runtime_advance(world.runtime, 10, NULL) == QRT_OK);
        sched_yield();
    }
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &two, NULL) == QRT_OK && qrt_batch_count(two) == 1);
    qrt_op_free(op);
    qrt_batch_free(one);
    qrt_batch_free(two);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void the_consumer_of_a_session_ends_with_it(void) {
    struct world world = new_world();
    qrt_session_t *session = NULL;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    qrt_status_t status;
    send_to(world.queue, "a", "1");
    CHECK(qrt_session_accept(world.queue, text("a"), NULL, NOBODY, &session, NULL, NULL) == QRT_OK);
    CHECK(qrt_session_consume(session, NULL, &consumer, NULL) == QRT_OK);
    batch = next(consumer, 1);
    CHECK(is(body_of(batch, 0), "1"));
    ack(batch, 0);
    qrt_batch_free(batch);
    CHECK(qrt_session_close(session, NOBODY, NULL, NULL) == QRT_OK);
    status = qrt_consumer_next(consumer, 1, NOBODY, &batch, &op, NULL);
    if (status == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_ERR_SESSION_LOCK_LOST);
        qrt_op_free(op);
    } else {
        CHECK(status == QRT_ERR_SESSION_LOCK_LOST);
    }
    qrt_consumer_free(consumer);
    qrt_session_free(session);
    free_world(world);
}

static void a_freed_consumer_has_given_back_what_it_fetched(void) {
    struct world world = new_world();
    qrt_consumer_t *consumer = start(world, 1, 3);
    qrt_batch_t *a = next(consumer, 1), *rest = NULL;
    size_t back = 0;
    ack(a, 0);
    qrt_batch_free(a);
    qrt_consumer_free(consumer);
    while (back < 2) {
        rest = look(world.queue, 3);
        for (size_t i = 0; i < qrt_batch_count(rest); i++, back++) {
            CHECK(qrt_delivery_attempt(qrt_batch_get(rest, i)) == 1);
            ack(rest, i);
        }
        qrt_batch_free(rest);
    }
    free_world(world);
}

int main(void) {
    RUN(credits_come_back_with_their_deliveries);
    RUN(what_is_asked_for_and_not_taken_goes_back);
    RUN(locks_are_kept_and_their_loss_is_told);
    RUN(a_stall_and_a_loss_raise_an_alarm);
    RUN(a_receive_keeps_locks_when_asked_to);
    RUN(a_drain_adds_up);
    RUN(one_wait_is_enough_for_all_that_is_in_hand);
    RUN(an_idle_consumer_gives_an_empty_batch);
    RUN(a_breaker_hands_out_one_until_it_is_closed);
    RUN(the_whole_client_has_a_breaker_if_asked);
    RUN(a_paused_consumer_gives_back_what_it_fetched);
    RUN(a_consumer_works_through_held_sessions);
    RUN(a_group_has_a_maximum_in_hand);
    RUN(a_consumer_scales);
    RUN(the_consumer_of_a_session_ends_with_it);
    RUN(a_freed_consumer_has_given_back_what_it_fetched);
    return 0;
}

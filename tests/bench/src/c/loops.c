/* The loops of the C area, as a program in C would write them. Each answers how many messages it
 * moved, and fewer than it was asked for when something failed. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"

enum { BATCH = 100, CALLBACK_BATCH = 64 };

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

static uint8_t body_bytes[1024];

static qrt_bytes_t text(const char *value) {
    qrt_bytes_t bytes = {(const uint8_t *)value, strlen(value)};
    return bytes;
}

/* A queue that holds on to a runtime and a client of its own. */
qrt_queue_t *c_open(void) {
    qrt_runtime_t *runtime = NULL;
    qrt_client_t *client = NULL;
    qrt_queue_t *queue = NULL;
    if (qrt_runtime_new(NULL, &runtime, NULL) == QRT_OK &&
        qrt_client_open(runtime, text("memory:"), text(""), NOBODY, &client, NULL, NULL) == QRT_OK)
        qrt_queue_open(client, text("bench"),
                       text("{\"max_messages\": 1000000, \"max_bytes\": 4000000000}"), &queue,
                       NULL);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
    return queue;
}

static qrt_bytes_t body(void) {
    qrt_bytes_t bytes = {body_bytes, sizeof body_bytes};
    return bytes;
}

static qrt_message_t *message(void) {
    qrt_message_t *made = NULL;
    if (qrt_message_new(&made, NULL) != QRT_OK) return NULL;
    if (qrt_message_set_body(made, body(), NULL) != QRT_OK) abort();
    return made;
}

uint64_t c_one_at_a_time(qrt_queue_t *queue, uint64_t count) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    options.wait_ms = 0;
    for (uint64_t moved = 0; moved < count; moved++) {
        qrt_batch_t *batch = NULL;
        qrt_message_t *sent = message();
        const qrt_delivery_t *delivery;
        if (qrt_queue_send_one(queue, sent, 0, NOBODY, NULL, NULL) != QRT_OK) return moved;
        qrt_message_free(sent);
        if (qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, NULL) != QRT_OK) return moved;
        delivery = qrt_batch_get(batch, 0);
        if (qrt_message_body(qrt_delivery_message(delivery)).len != sizeof body_bytes) return moved;
        if (qrt_delivery_ack(delivery, 0, NOBODY, NULL, NULL) != QRT_OK) return moved;
        qrt_batch_free(batch);
    }
    return count;
}

static int send_batch(qrt_queue_t *queue, size_t count) {
    qrt_message_t *messages[BATCH];
    qrt_send_results_t *results = NULL;
    int sent = 1;
    for (size_t i = 0; i < count; i++) messages[i] = message();
    if (qrt_queue_send(queue, (const qrt_message_t *const *)messages, count, 0, NOBODY, &results,
                       NULL, NULL) != QRT_OK)
        return 0;
    for (size_t i = 0; i < count; i++) sent &= qrt_send_results_status(results, i) == QRT_OK;
    qrt_send_results_free(results);
    for (size_t i = 0; i < count; i++) qrt_message_free(messages[i]);
    return sent;
}

static size_t ack_batch(qrt_queue_t *queue, qrt_settlements_t *settlements, qrt_batch_t *batch) {
    qrt_settle_results_t *results = NULL;
    size_t count = qrt_batch_count(batch), settled = 0;
    qrt_settlements_clear(settlements);
    for (size_t i = 0; i < count; i++)
        if (qrt_settlements_ack(settlements, qrt_batch_get(batch, i), NULL) != QRT_OK) return 0;
    if (qrt_settle(queue, settlements, 0, NOBODY, &results, NULL, NULL) != QRT_OK) return 0;
    for (size_t i = 0; i < count; i++)
        settled += qrt_settle_results_status(results, i) == QRT_OK;
    qrt_settle_results_free(results);
    qrt_batch_free(batch);
    return settled;
}

uint64_t c_batches(qrt_queue_t *queue, uint64_t count) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_settlements_t *settlements = NULL;
    uint64_t moved = 0;
    options.wait_ms = 0;
    options.max_messages = BATCH;
    if (qrt_settlements_new(&settlements, NULL) != QRT_OK) return 0;
    while (moved < count) {
        qrt_batch_t *batch = NULL;
        if (!send_batch(queue, BATCH)) break;
        if (qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, NULL) != QRT_OK) break;
        if (ack_batch(queue, settlements, batch) != BATCH) break;
        moved += BATCH;
    }
    qrt_settlements_free(settlements);
    return moved;
}

/* What the rows of callback receive find in their queue. */
uint64_t c_fill(qrt_queue_t *queue, uint64_t count) {
    for (uint64_t sent = 0; sent < count; sent += BATCH)
        if (!send_batch(queue, BATCH)) return sent;
    return count;
}

uint64_t c_receive_by_hand(qrt_queue_t *queue, uint64_t count) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_settlements_t *settlements = NULL;
    uint64_t moved = 0;
    options.wait_ms = 0;
    options.max_messages = CALLBACK_BATCH;
    if (qrt_settlements_new(&settlements, NULL) != QRT_OK) return 0;
    while (moved < count) {
        qrt_batch_t *batch = NULL;
        size_t acked;
        if (qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, NULL) != QRT_OK) break;
        acked = ack_batch(queue, settlements, batch);
        if (acked == 0) break;
        moved += acked;
    }
    qrt_settlements_free(settlements);
    return moved;
}

struct by_callback {
    qrt_queue_t *queue;
    qrt_consumer_t *_Atomic consumer;
    qrt_settlements_t *settlements;
    _Atomic uint64_t moved;
};

static void on_batch(void *user_data, qrt_batch_t *batch) {
    struct by_callback *state = user_data;
    size_t acked = ack_batch(state->queue, state->settlements, batch);
    qrt_consumer_t *consumer;
    while ((consumer = atomic_load(&state->consumer)) == NULL) {
    }
    qrt_consumer_grant(consumer, (uint32_t)acked, NULL);
    atomic_fetch_add(&state->moved, acked);
}

uint64_t c_receive_by_callback(qrt_queue_t *queue, uint64_t count) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    struct by_callback state = {queue, NULL, NULL, 0};
    qrt_consumer_t *consumer = NULL;
    qrt_op_t *op = NULL;
    options.max_messages = CALLBACK_BATCH;
    options.credits = 4 * CALLBACK_BATCH;
    options.on_batch = on_batch;
    options.user_data = &state;
    if (qrt_settlements_new(&state.settlements, NULL) != QRT_OK) return 0;
    if (qrt_consumer_start(queue, &options, &consumer, NULL) != QRT_OK) return 0;
    atomic_store(&state.consumer, consumer);
    while (atomic_load(&state.moved) < count) {
    }
    if (qrt_consumer_stop(consumer, NOBODY, &op, NULL) == QRT_PENDING) qrt_op_wait(op, -1, NULL);
    qrt_op_free(op);
    qrt_consumer_free(consumer);
    qrt_settlements_free(state.settlements);
    return atomic_load(&state.moved);
}

/* Receives that pend, so many at once: each completion takes its message, acks it and begins the
 * next receive; the caller sends. */
struct pending {
    qrt_queue_t *queue;
    _Atomic uint64_t moved;
    _Atomic uint64_t open;
    _Atomic int stop;
};

static void ended(void *user_data, qrt_op_t *op);

static void receive_one(struct pending *state) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_completion_t done = {ended, NULL, NULL};
    qrt_batch_t *batch = NULL;
    done.user_data = state;
    for (;;) {
        if (atomic_load(&state->stop)) break;
        if (qrt_queue_receive(state->queue, &options, done, &batch, NULL, NULL) != QRT_OK) return;
        qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL);
        qrt_batch_free(batch);
        atomic_fetch_add(&state->moved, 1);
    }
    atomic_fetch_sub(&state->open, 1);
}

static void ended(void *user_data, qrt_op_t *op) {
    struct pending *state = user_data;
    qrt_batch_t *batch = NULL;
    if (qrt_op_take_batch(op, &batch, NULL) == QRT_OK && qrt_batch_count(batch) == 1) {
        qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL);
        atomic_fetch_add(&state->moved, 1);
    }
    qrt_batch_free(batch);
    receive_one(state);
}

struct pending *c_pending_begin(qrt_queue_t *queue, uint64_t in_flight) {
    struct pending *state = calloc(1, sizeof *state);
    if (state == NULL) return NULL;
    state->queue = queue;
    state->open = in_flight;
    for (uint64_t i = 0; i < in_flight; i++) receive_one(state);
    return state;
}

void c_pending_send(struct pending *state) {
    qrt_message_t *sent = message();
    qrt_queue_send_one(state->queue, sent, 0, NOBODY, NULL, NULL);
    qrt_message_free(sent);
}

uint64_t c_pending_moved(struct pending *state) { return atomic_load(&state->moved); }

/* Sends until the last receive has seen that it is over. */
void c_pending_end(struct pending *state) {
    atomic_store(&state->stop, 1);
    while (atomic_load(&state->open) > 0) c_pending_send(state);
    free(state);
}

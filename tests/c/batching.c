/* Batches that wait for more, and producers that send in batches. On a virtual clock. */

#include "completion.h"

static qrt_batch_t *next(qrt_consumer_t *consumer) {
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    if (qrt_consumer_next(consumer, 100, NOBODY, &batch, &op, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK);
    }
    qrt_op_free(op);
    return batch;
}

/* A queue on a runtime of its own, which ends with the test. */
struct world {
    qrt_runtime_t *runtime;
    qrt_queue_t *queue;
};

static struct world new_world(const char *config) {
    struct world world;
    qrt_client_t *client;
    world.runtime = new_runtime(1);
    client = new_client(world.runtime, "memory:");
    world.queue = new_queue(client, config);
    qrt_client_free(client);
    return world;
}

static void free_world(struct world world) {
    qrt_queue_free(world.queue);
    CHECK(qrt_runtime_shutdown(world.runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(world.runtime);
}

static void a_batch_waits_until_it_is_whole_or_its_time_is_over(void) {
    struct world world = new_world("{}");
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    for (int i = 0; i < 4; i++) CHECK(send_text(world.queue, "a") == QRT_OK);
    options.batch_size = 3;
    options.batch_linger_ms = 1000;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    batch = next(consumer);
    CHECK(qrt_batch_count(batch) == 3);
    qrt_batch_free(batch);
    CHECK(qrt_consumer_next(consumer, 100, NOBODY, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 10, NULL) == QRT_ERR_TIMEOUT);
    CHECK(qrt_runtime_advance(world.runtime, 1000, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK && qrt_batch_count(batch) == 1);
    qrt_op_free(op);
    qrt_batch_free(batch);
    qrt_consumer_free(consumer);
    options.target_batch_duration_ms = 1000;
    options.min_batch_size = 4;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    free_world(world);
}

struct calls {
    struct latch called;
    size_t size;
};

static void on_batch(void *user_data, qrt_batch_t *batch) {
    struct calls *calls = user_data;
    calls->size = qrt_batch_count(batch);
    for (size_t i = 0; i < calls->size; i++)
        CHECK(qrt_delivery_ack(qrt_batch_get(batch, i), 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
    latch_raise(&calls->called);
}

static void a_callback_gets_whole_batches(void) {
    struct world world = new_world("{}");
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    struct calls calls = {LATCH, 0};
    options.batch_size = 5;
    options.batch_linger_ms = 1000;
    options.on_batch = on_batch;
    options.user_data = &calls;
    CHECK(qrt_consumer_start(world.queue, &options, &consumer, NULL) == QRT_OK);
    for (int i = 0; i < 5; i++) CHECK(send_text(world.queue, "a") == QRT_OK);
    latch_await(&calls.called, 1);
    CHECK(calls.size == 5);
    qrt_consumer_free(consumer);
    free_world(world);
}

static void check_one(qrt_send_results_t *results) {
    CHECK(qrt_send_results_count(results) == 1);
    CHECK(qrt_send_results_status(results, 0) == QRT_OK);
    qrt_send_results_free(results);
}

/* NULL when it was sent before the call returned. */
static qrt_op_t *produce(qrt_producer_t *producer, const char *body) {
    qrt_message_t *message = new_message(body);
    qrt_send_results_t *results = NULL;
    qrt_op_t *op = NULL;
    qrt_status_t status = qrt_producer_send(producer, message, 0, NOBODY, &results, &op, NULL);
    CHECK(status == QRT_OK || status == QRT_PENDING);
    if (status == QRT_OK) check_one(results);
    qrt_message_free(message);
    return op;
}

static void check_sent(qrt_op_t *op) {
    qrt_send_results_t *results = NULL;
    if (op == NULL) return;
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_send_results(op, &results, NULL) == QRT_OK);
    check_one(results);
    qrt_op_free(op);
}

static qrt_producer_report_t *close_producer(qrt_producer_t *producer, int64_t deadline_ms) {
    qrt_producer_report_t *report = NULL;
    qrt_op_t *op = NULL;
    if (qrt_producer_close(producer, deadline_ms, NOBODY, &report, &op, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_producer_report(op, &report, NULL) == QRT_OK);
    }
    qrt_op_free(op);
    return report;
}

static void a_producer_sends_in_batches(void) {
    struct world world = new_world("{}");
    qrt_producer_options_t options = QRT_PRODUCER_OPTIONS_INIT;
    qrt_producer_t *producer = NULL;
    qrt_producer_report_t *report = NULL;
    qrt_op_t *ops[3], *flush = NULL;
    qrt_batch_t *batch = NULL;
    options.batch_size = 2;
    CHECK(qrt_producer_start(world.queue, &options, &producer, NULL) == QRT_OK);
    ops[0] = produce(producer, "a");
    ops[1] = produce(producer, "b");
    check_sent(ops[0]);
    check_sent(ops[1]);
    ops[2] = produce(producer, "c");
    if (qrt_producer_flush(producer, NOBODY, &flush, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(flush, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_unit(flush, NULL) == QRT_OK);
    }
    qrt_op_free(flush);
    check_sent(ops[2]);
    batch = look(world.queue, 3);
    CHECK(is(body_of(batch, 0), "a") && is(body_of(batch, 1), "b") && is(body_of(batch, 2), "c"));
    qrt_batch_free(batch);
    report = close_producer(producer, 0);
    CHECK(qrt_producer_report_sent(report) == 3 && qrt_producer_report_failed(report) == 0);
    CHECK(qrt_producer_report_unsent_count(report) == 0);
    qrt_producer_report_free(report);
    qrt_producer_free(producer);
    options.max_pending = 0;
    CHECK(qrt_producer_start(world.queue, &options, &producer, NULL) == QRT_ERR_INVALID_ARGUMENT);
    free_world(world);
}

static void what_is_not_sent_comes_back(void) {
    struct world world = new_world("{\"max_messages\": 1}");
    qrt_producer_options_t options = QRT_PRODUCER_OPTIONS_INIT;
    qrt_producer_t *producer = NULL;
    qrt_producer_report_t *report = NULL;
    qrt_message_t *message = new_message("d");
    qrt_send_results_t *results = NULL;
    qrt_op_t *ops[3];
    options.batch_size = 1;
    options.max_pending = 2;
    CHECK(qrt_producer_start(world.queue, &options, &producer, NULL) == QRT_OK);
    ops[0] = produce(producer, "a");
    check_sent(ops[0]);
    /* The queue is full. */
    ops[1] = produce(producer, "b");
    ops[2] = produce(producer, "c");
    CHECK(qrt_producer_send(producer, message, QRT_NO_WAIT, NOBODY, &results, NULL, NULL) ==
          QRT_ERR_FULL);
    report = close_producer(producer, 0);
    CHECK(qrt_producer_report_sent(report) == 1 && qrt_producer_report_failed(report) == 0);
    CHECK(qrt_producer_report_unsent_count(report) == 2);
    CHECK(is(qrt_message_body(qrt_producer_report_unsent(report, 0)), "b"));
    CHECK(is(qrt_message_body(qrt_producer_report_unsent(report, 1)), "c"));
    CHECK(qrt_producer_report_unsent(report, 2) == NULL);
    qrt_producer_report_free(report);
    for (int i = 1; i < 3; i++) {
        CHECK(qrt_op_wait(ops[i], PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_send_results(ops[i], &results, NULL) == QRT_ERR_CLOSED);
        qrt_op_free(ops[i]);
    }
    CHECK(qrt_producer_send(producer, message, 0, NOBODY, &results, NULL, NULL) == QRT_ERR_CLOSED);
    qrt_message_free(message);
    qrt_producer_free(producer);
    free_world(world);
}

int main(void) {
    RUN(a_batch_waits_until_it_is_whole_or_its_time_is_over);
    RUN(a_callback_gets_whole_batches);
    RUN(a_producer_sends_in_batches);
    RUN(what_is_not_sent_comes_back);
    return 0;
}

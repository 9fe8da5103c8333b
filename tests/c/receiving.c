/* Consumers, event queues and logs: what calls back, again and again. */

#include <poll.h>
#include <stdatomic.h>

#include "completion.h"

/* A consumer's side, that acks all it gets and writes down what it saw. */
struct intake {
    qrt_queue_t *queue;
    qrt_consumer_t *_Atomic consumer;
    struct latch messages, freed, states;
    atomic_uint largest, running;
    atomic_int last_state;
    /* What to do beside. */
    void (*also)(struct intake *intake);
};

#define INTAKE(queue) {queue, NULL, LATCH, LATCH, LATCH, 0, 0, -1, NULL}

static void on_batch(void *user_data, qrt_batch_t *batch) {
    struct intake *intake = user_data;
    unsigned count = (unsigned)qrt_batch_count(batch);
    CHECK(count > 0 && latch_count(&intake->freed) == 0);
    CHECK(atomic_fetch_add(&intake->running, 1) == 0);
    if (count > atomic_load(&intake->largest)) atomic_store(&intake->largest, count);
    for (unsigned i = 0; i < count; i++)
        CHECK(qrt_delivery_ack(qrt_batch_get(batch, i), 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
    if (intake->also != NULL) intake->also(intake);
    atomic_fetch_sub(&intake->running, 1);
    for (unsigned i = 0; i < count; i++) latch_raise(&intake->messages);
}

static void on_state(void *user_data, qrt_status_t status, const qrt_error_t *error) {
    struct intake *intake = user_data;
    CHECK(qrt_error_status(error) == status);
    atomic_store(&intake->last_state, status);
    latch_raise(&intake->states);
}

static void on_free(void *user_data) { latch_raise(&((struct intake *)user_data)->freed); }

static qrt_consumer_t *start(struct intake *intake, uint32_t max_messages, uint32_t credits) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    options.max_messages = max_messages;
    options.credits = credits;
    options.prefetch = 0; /* what is not handed over stays in the queue, to be counted */
    options.on_batch = on_batch;
    options.on_state = on_state;
    options.user_data = intake;
    options.free = on_free;
    CHECK(qrt_consumer_start(intake->queue, &options, &consumer, NULL) == QRT_OK);
    atomic_store(&intake->consumer, consumer);
    return consumer;
}

static void stop(qrt_consumer_t *consumer) {
    qrt_op_t *op = NULL;
    qrt_status_t status = qrt_consumer_stop(consumer, NOBODY, &op, NULL);
    CHECK(status == QRT_OK || status == QRT_PENDING);
    if (status == QRT_PENDING) CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    qrt_op_free(op);
}

static uint64_t ready(qrt_queue_t *queue) {
    qrt_statistics_t *statistics = NULL;
    uint64_t count;
    CHECK(qrt_queue_statistics(queue, NOBODY, &statistics, NULL, NULL) == QRT_OK);
    count = qrt_statistics_ready(statistics);
    CHECK(qrt_statistics_in_flight(statistics) == 0);
    qrt_statistics_free(statistics);
    return count;
}

static void credits_bound_what_is_handed_over(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct intake intake = INTAKE(queue);
    qrt_consumer_t *consumer;
    for (int i = 0; i < 20; i++) CHECK(send_text(queue, "a") == QRT_OK);
    consumer = start(&intake, 4, 10);
    latch_await(&intake.messages, 10);
    CHECK(atomic_load(&intake.largest) == 4);
    CHECK(ready(queue) == 10);
    CHECK(qrt_consumer_grant(consumer, 3, NULL) == QRT_OK);
    latch_await(&intake.messages, 13);
    stop(consumer);
    CHECK(latch_count(&intake.freed) == 1);
    CHECK(ready(queue) == 7);
    stop(consumer);
    CHECK(qrt_consumer_grant(consumer, 1, NULL) == QRT_OK);
    qrt_consumer_free(consumer);
    CHECK(latch_count(&intake.freed) == 1 && latch_count(&intake.messages) == 13);
    qrt_queue_free(queue);
}

static void stop_own(struct intake *intake) {
    qrt_consumer_t *consumer;
    qrt_op_t *op = NULL;
    while ((consumer = atomic_load(&intake->consumer)) == NULL) {
    }
    CHECK(qrt_consumer_stop(consumer, NOBODY, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_wait(op, 0, NULL) == QRT_ERR_WOULD_DEADLOCK);
    qrt_op_free(op);
}

static void free_own(struct intake *intake) {
    stop_own(intake);
    qrt_consumer_free(atomic_load(&intake->consumer));
}

static void send_more(struct intake *intake) { CHECK(send_text(intake->queue, "more") == QRT_OK); }

static void a_callback_may_stop_its_consumer(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct intake intake = INTAKE(queue);
    qrt_consumer_t *consumer;
    intake.also = stop_own;
    CHECK(send_text(queue, "a") == QRT_OK && send_text(queue, "b") == QRT_OK);
    consumer = start(&intake, 1, 10);
    latch_await(&intake.freed, 1);
    CHECK(latch_count(&intake.messages) == 1 && ready(queue) == 1);
    qrt_consumer_free(consumer);
    qrt_queue_free(queue);
}

static void a_callback_may_free_its_consumer(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct intake intake = INTAKE(queue);
    intake.also = free_own;
    CHECK(send_text(queue, "a") == QRT_OK);
    start(&intake, 1, 10);
    latch_await(&intake.freed, 1);
    CHECK(latch_count(&intake.messages) == 1);
    qrt_queue_free(queue);
}

static void a_callback_may_send(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct intake intake = INTAKE(queue);
    qrt_consumer_t *consumer;
    intake.also = send_more;
    CHECK(send_text(queue, "a") == QRT_OK);
    consumer = start(&intake, 1, 5);
    latch_await(&intake.messages, 5);
    stop(consumer);
    CHECK(ready(queue) == 1);
    qrt_consumer_free(consumer);
    qrt_queue_free(queue);
}

static struct latch held = LATCH, release = LATCH;

static void be_slow(struct intake *intake) {
    (void)intake;
    latch_raise(&held);
    latch_await(&release, 1);
}

static void a_slow_callback_holds_nobody_else(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *slow = new_queue(client, ""), *quick = NULL;
    struct intake one = INTAKE(slow), other = INTAKE(NULL);
    qrt_consumer_t *consumers[2];
    CHECK(qrt_queue_open(client, text("quick"), text(""), &quick, NULL) == QRT_OK);
    other.queue = quick;
    one.also = be_slow;
    consumers[0] = start(&one, 1, 10);
    consumers[1] = start(&other, 1, 10);
    CHECK(send_text(slow, "a") == QRT_OK);
    latch_await(&held, 1);
    for (int i = 0; i < 5; i++) CHECK(send_text(quick, "b") == QRT_OK);
    latch_await(&other.messages, 5);
    CHECK(latch_count(&one.messages) == 0);
    latch_raise(&release);
    stop(consumers[0]);
    stop(consumers[1]);
    qrt_consumer_free(consumers[0]);
    qrt_consumer_free(consumers[1]);
    qrt_queue_free(slow);
    qrt_queue_free(quick);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

static void a_closed_client_ends_its_consumers(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    struct intake intake = INTAKE(queue);
    qrt_consumer_t *consumer = start(&intake, 1, 10);
    CHECK(qrt_client_close(client, NOBODY, NULL, NULL) == QRT_OK);
    latch_await(&intake.freed, 1);
    CHECK(atomic_load(&intake.last_state) == QRT_ERR_CLOSED);
    qrt_consumer_free(consumer);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
}

static void a_shutdown_ends_consumers_that_wait_for_credits(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    struct intake intake = INTAKE(queue);
    qrt_consumer_t *consumer = start(&intake, 1, 0);
    CHECK(send_text(queue, "a") == QRT_OK);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(latch_count(&intake.freed) == 1 && latch_count(&intake.messages) == 0);
    qrt_consumer_free(consumer);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
}

/* --- event queues --- */

static void wake(void *user_data) { latch_raise(user_data); }

static struct latch unused = LATCH;

static void wake_is_free(void *user_data) {
    (void)user_data;
    latch_raise(&unused);
}

static int is_readable(qrt_events_t *events) {
    struct pollfd look_at = {qrt_events_fd(events), POLLIN, 0};
    return poll(&look_at, 1, 0) == 1;
}

static void an_event_queue_wakes_once_and_drains_many(void) {
    enum { OPERATIONS = 5 };
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    struct latch wakes = LATCH;
    qrt_events_t *events = NULL;
    qrt_op_t *ops[OPERATIONS];
    qrt_event_t ended[OPERATIONS + 1];
    size_t drained;
    CHECK(qrt_events_new(runtime, &events, NULL) == QRT_OK);
    CHECK(qrt_events_set_wake(events, wake, &wakes, wake_is_free, NULL) == QRT_OK);
    CHECK(qrt_events_fd(events) >= 0 && !is_readable(events));
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        qrt_batch_t *batch = NULL;
        CHECK(qrt_queue_receive(queue, NULL, NOBODY, &batch, &ops[i], NULL) == QRT_PENDING);
        if (i > 0) CHECK(qrt_events_watch(events, ops[i], 100 + i, NULL) == QRT_OK);
    }
    CHECK(qrt_events_watch(events, ops[1], 7, NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_events_drain(events, ended, OPERATIONS) == 0);
    for (int i = 0; i < OPERATIONS; i++) CHECK(send_text(queue, "a") == QRT_OK);
    for (int i = 0; i < OPERATIONS; i++)
        CHECK(qrt_op_wait(ops[i], PATIENCE_MS, NULL) == QRT_OK);
    /* One that has ended already is there at once. */
    CHECK(qrt_events_watch(events, ops[0], 100, NULL) == QRT_OK);
    for (drained = 0; drained < OPERATIONS;) {
        size_t count;
        count = qrt_events_drain(events, ended + drained, 2);
        CHECK(count <= 2);
        drained += count;
    }
    CHECK(!is_readable(events) && qrt_events_drain(events, ended + drained, 1) == 0);
    /* What is drained may be there before its wake is done. */
    latch_await(&wakes, 1);
    CHECK(latch_count(&wakes) <= OPERATIONS);
    for (size_t i = 0; i < OPERATIONS; i++) {
        qrt_batch_t *batch = NULL;
        CHECK(ended[i].tag >= 100 && ended[i].tag < 100 + OPERATIONS);
        CHECK(qrt_op_take_batch(ended[i].op, &batch, NULL) == QRT_OK);
        CHECK(qrt_batch_count(batch) == 1);
        qrt_batch_free(batch);
        qrt_op_free(ended[i].op);
        qrt_op_free(ops[i]);
    }
    CHECK(latch_count(&unused) == 0);
    qrt_events_free(events);
    latch_await(&unused, 1);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

static void one_wake_for_what_is_not_drained(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    struct latch wakes = LATCH;
    qrt_events_t *events = NULL;
    qrt_event_t event;
    CHECK(qrt_events_new(runtime, &events, NULL) == QRT_OK);
    CHECK(qrt_events_set_wake(events, wake, &wakes, NULL, NULL) == QRT_OK);
    for (unsigned round = 1; round <= 3; round++) {
        for (int i = 0; i < 3; i++) {
            qrt_batch_t *batch = NULL;
            qrt_op_t *op = NULL;
            CHECK(qrt_queue_receive(queue, NULL, NOBODY, &batch, &op, NULL) == QRT_PENDING);
            CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
            CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
            CHECK(qrt_events_watch(events, op, (uint64_t)i, NULL) == QRT_OK);
            qrt_op_free(op);
        }
        CHECK(is_readable(events));
        CHECK(latch_count(&wakes) == round);
        while (qrt_events_drain(events, &event, 1) == 1) qrt_op_free(event.op);
        CHECK(!is_readable(events));
    }
    qrt_events_free(events);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
}

static void an_event_queue_may_be_freed_while_it_waits(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    qrt_events_t *events = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL, *undrained = NULL;
    CHECK(qrt_events_new(runtime, &events, NULL) == QRT_OK);
    CHECK(qrt_queue_receive(queue, NULL, NOBODY, &batch, &undrained, NULL) == QRT_PENDING);
    CHECK(qrt_queue_receive(queue, NULL, NOBODY, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_events_watch(events, undrained, 1, NULL) == QRT_OK);
    CHECK(qrt_events_watch(events, op, 2, NULL) == QRT_OK);
    CHECK(send_text(queue, "a") == QRT_OK);
    CHECK(qrt_op_wait(undrained, PATIENCE_MS, NULL) == QRT_OK);
    qrt_op_free(undrained);
    /* What nobody drains goes back, unblamed: to the one that waits. */
    qrt_events_free(events);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK && is(body_of(batch, 0), "a"));
    CHECK(qrt_delivery_attempt(qrt_batch_get(batch, 0)) == 1);
    qrt_batch_free(batch);
    qrt_op_free(op);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

/* --- logs --- */

static struct latch lines = LATCH;

static void on_line(void *user_data, uint32_t level, qrt_bytes_t target, qrt_bytes_t line) {
    CHECK(user_data == &lines && level >= QRT_LOG_ERROR && level <= QRT_LOG_TRACE);
    CHECK(target.len >= 13 && memcmp(target.data, "queue_runtime", 13) == 0);
    CHECK(line.len > 0);
    CHECK(memmem(line.data, line.len, "a body", 6) == NULL);
    latch_raise(&lines);
}

static void logs_go_to_the_callback(void) {
    qrt_queue_t *queue;
    qrt_batch_t *batch;
    unsigned seen;
    CHECK(qrt_log_set(on_line, &lines, QRT_LOG_TRACE, NULL) == QRT_OK);
    queue = lone_queue(1, "{\"budget\": 1}");
    CHECK(send_text(queue, "a body") == QRT_OK);
    batch = look(queue, 1);
    CHECK(qrt_delivery_nack(qrt_batch_get(batch, 0), text("bad"), -1, 0, NOBODY, NULL, NULL) ==
          QRT_OK);
    qrt_batch_free(batch);
    qrt_queue_free(queue);
    CHECK(qrt_log_set(NULL, NULL, QRT_LOG_TRACE, NULL) == QRT_OK);
    seen = latch_count(&lines);
    printf("# %u lines\n", seen);
    queue = lone_queue(1, "");
    CHECK(send_text(queue, "a body") == QRT_OK);
    qrt_queue_free(queue);
    CHECK(latch_count(&lines) == seen);
}

int main(void) {
    RUN(credits_bound_what_is_handed_over);
    RUN(a_callback_may_stop_its_consumer);
    RUN(a_callback_may_free_its_consumer);
    RUN(a_callback_may_send);
    RUN(a_slow_callback_holds_nobody_else);
    RUN(a_closed_client_ends_its_consumers);
    RUN(a_shutdown_ends_consumers_that_wait_for_credits);
    RUN(an_event_queue_wakes_once_and_drains_many);
    RUN(one_wake_for_what_is_not_drained);
    RUN(an_event_queue_may_be_freed_while_it_waits);
    RUN(logs_go_to_the_callback);
    return 0;
}

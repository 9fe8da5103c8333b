/* Ends of all kinds: close, free in any order, shutdown, cancel, callbacks that do what they must
 * not or what they may. */

#include <stdatomic.h>

#include "completion.h"

static qrt_op_t *begin_receive(qrt_queue_t *queue, struct seen *seen) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    options.wait_ms = 3600000;
    CHECK(qrt_queue_receive(queue, &options, seen == NULL ? NOBODY : tell(seen), &batch, &op,
                            NULL) == QRT_PENDING);
    CHECK(op != NULL && batch == NULL);
    return op;
}

/* One message, as soon as it is there. */
static qrt_batch_t *receive_one(qrt_queue_t *queue) {
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    qrt_status_t status = qrt_queue_receive(queue, NULL, NOBODY, &batch, &op, NULL);
    if (status == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        status = qrt_op_take_batch(op, &batch, NULL);
        qrt_op_free(op);
    }
    CHECK(status == QRT_OK && qrt_batch_count(batch) == 1);
    CHECK(qrt_delivery_attempt(qrt_batch_get(batch, 0)) == 1);
    return batch;
}

static void a_completion_that_ended_at_once_does_not_run(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct seen seen = SEEN;
    qrt_message_t *message = new_message("a");
    qrt_op_t *op = (qrt_op_t *)&op;
    CHECK(qrt_queue_send_one(queue, message, 0, tell(&seen), &op, NULL) == QRT_OK);
    CHECK(op == NULL && latch_count(&seen.ended) == 0 && latch_count(&seen.freed) == 0);
    CHECK(qrt_queue_send_one(queue, NULL, 0, tell(&seen), &op, NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(latch_count(&seen.ended) == 0 && latch_count(&seen.freed) == 0);
    qrt_message_free(message);
    qrt_queue_free(queue);
}

static void use_after_close(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, ""), *other = NULL;
    struct seen seen = SEEN;
    qrt_op_t *op = begin_receive(queue, &seen);
    qrt_statistics_t *statistics = NULL;
    qrt_batch_t *batch = NULL;
    CHECK(qrt_client_close(client, NOBODY, NULL, NULL) == QRT_OK);
    check_ended(&seen, QRT_ERR_CLOSED);
    CHECK(qrt_client_close(client, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(send_text(queue, "a") == QRT_ERR_CLOSED);
    CHECK(qrt_queue_receive(queue, NULL, NOBODY, &batch, NULL, NULL) == QRT_ERR_CLOSED);
    CHECK(qrt_queue_statistics(queue, NOBODY, &statistics, NULL, NULL) == QRT_ERR_CLOSED);
    CHECK(qrt_queue_open(client, text("q"), text(""), &other, NULL) == QRT_ERR_CLOSED);
    qrt_op_free(op);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_client_open(runtime, text("memory:"), text(""), NOBODY, &client, NULL, NULL) ==
          QRT_ERR_CLOSED);
    CHECK(qrt_runtime_advance(runtime, 1, NULL) == QRT_ERR_CLOSED);
    qrt_runtime_free(runtime);
}

static void use_of_a_closed_session(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    qrt_session_t *session = NULL;
    qrt_batch_t *batch = NULL;
    CHECK(qrt_session_accept(queue, text("s"), NULL, NOBODY, &session, NULL, NULL) == QRT_OK);
    CHECK(qrt_session_close(session, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(qrt_session_receive(session, NULL, NOBODY, &batch, NULL, NULL) == QRT_ERR_CLOSED);
    CHECK(qrt_session_renew(session, -1, NOBODY, NULL, NULL) == QRT_ERR_CLOSED);
    qrt_session_close(session, NOBODY, NULL, NULL);
    CHECK(is(qrt_session_id(session), "s"));
    qrt_session_free(session);
    qrt_queue_free(queue);
}

/* Parents before children, and every other order. */
static void free_in_any_order(void) {
    enum { HANDLES = 5 };
    for (unsigned order = 0; order < 120; order++) {
        qrt_runtime_t *runtime = new_runtime(1);
        qrt_client_t *client = new_client(runtime, "memory:");
        qrt_queue_t *queue = new_queue(client, "");
        const qrt_delivery_t *kept;
        qrt_batch_t *batch;
        unsigned left[HANDLES] = {0, 1, 2, 3, 4}, rest = order;
        CHECK(send_text(queue, "a") == QRT_OK);
        batch = look(queue, 1);
        kept = qrt_delivery_retain(qrt_batch_get(batch, 0));
        for (unsigned count = HANDLES; count > 0; count--) {
            unsigned pick = rest % count;
            if (left[pick] == 0) qrt_runtime_free(runtime);
            if (left[pick] == 1) qrt_client_free(client);
            if (left[pick] == 2) qrt_queue_free(queue);
            if (left[pick] == 3) qrt_batch_free(batch);
            if (left[pick] == 4) {
                CHECK(is(qrt_message_body(qrt_delivery_message(kept)), "a"));
                CHECK(qrt_delivery_ack(kept, 0, NOBODY, NULL, NULL) == QRT_OK);
                qrt_delivery_free(kept);
            }
            left[pick] = left[count - 1];
            rest /= count;
        }
    }
}

static void a_shutdown_ends_what_is_in_flight(void) {
    enum { RECEIVES = 50 };
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *empty = new_queue(client, ""), *full = NULL;
    struct seen *seen = calloc(RECEIVES, sizeof *seen), sender = SEEN;
    qrt_message_t *message = new_message("a");
    qrt_op_t *op = NULL;
    CHECK(qrt_queue_open(client, text("full"), text("{\"max_messages\": 1}"), &full, NULL) ==
          QRT_OK);
    for (unsigned i = 0; i < RECEIVES; i++) {
        struct seen fresh = SEEN;
        seen[i] = fresh;
        qrt_op_free(begin_receive(empty, &seen[i]));
    }
    CHECK(qrt_queue_send_one(full, message, 0, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(qrt_queue_send_one(full, message, 0, tell(&sender), &op, NULL) == QRT_PENDING);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    for (unsigned i = 0; i < RECEIVES; i++) check_ended(&seen[i], QRT_ERR_CLOSED);
    check_ended(&sender, QRT_ERR_CLOSED);
    CHECK(qrt_op_wait(op, 0, NULL) == QRT_OK);
    qrt_op_free(op);
    qrt_message_free(message);
    qrt_queue_free(empty);
    qrt_queue_free(full);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
    free(seen);
}

struct hang {
    struct latch begun, released, over;
};

static void hang(void *user_data, qrt_op_t *op) {
    struct hang *state = user_data;
    (void)op;
    latch_raise(&state->begun);
    latch_await(&state->released, 1);
    latch_raise(&state->over);
}

static void a_callback_that_hangs_does_not_hang_the_shutdown(void) {
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    struct hang state = {LATCH, LATCH, LATCH};
    qrt_completion_t done = {hang, NULL, NULL};
    qrt_batch_t *batch = NULL;
    done.user_data = &state;
    CHECK(qrt_queue_receive(queue, NULL, done, &batch, NULL, NULL) == QRT_PENDING);
    CHECK(send_text(queue, "a") == QRT_OK);
    latch_await(&state.begun, 1);
    CHECK(qrt_runtime_shutdown(runtime, 50, NULL) == QRT_ERR_TIMEOUT);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
    latch_raise(&state.released);
    latch_await(&state.over, 1);
}

struct inside {
    qrt_runtime_t *runtime;
    struct latch over;
};

static void wait_inside(void *user_data, qrt_op_t *op) {
    struct inside *state = user_data;
    qrt_error_t *error = NULL;
    CHECK(qrt_runtime_shutdown(state->runtime, 1, &error) == QRT_ERR_WOULD_DEADLOCK);
    CHECK(qrt_error_message(error).len > 0);
    qrt_error_free(error);
    CHECK(qrt_op_wait(op, 0, NULL) == QRT_ERR_WOULD_DEADLOCK);
    CHECK(qrt_op_wait(op, -1, NULL) == QRT_ERR_WOULD_DEADLOCK);
    /* It is the last hold on the runtime but those of its own threads. */
    qrt_runtime_free(state->runtime);
    latch_raise(&state->over);
}

static void to_wait_in_a_callback_is_refused(void) {
    struct inside state = {new_runtime(1), LATCH};
    qrt_client_t *client = new_client(state.runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    qrt_completion_t done = {wait_inside, NULL, NULL};
    qrt_batch_t *batch = NULL;
    done.user_data = &state;
    CHECK(qrt_queue_receive(queue, NULL, done, &batch, NULL, NULL) == QRT_PENDING);
    qrt_client_free(client);
    CHECK(send_text(queue, "a") == QRT_OK);
    qrt_queue_free(queue);
    latch_await(&state.over, 1);
}

static void a_cancelled_receive_takes_nothing(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    struct seen seen = SEEN;
    qrt_op_t *op = begin_receive(queue, &seen);
    qrt_batch_t *batch;
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    check_ended(&seen, QRT_ERR_CANCELLED);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    qrt_op_free(op);
    CHECK(send_text(queue, "a") == QRT_OK);
    batch = look(queue, 1);
    CHECK(qrt_delivery_attempt(qrt_batch_get(batch, 0)) == 1);
    qrt_batch_free(batch);
    qrt_queue_free(queue);
}

static void *send_one(void *queue) {
    CHECK(send_text(queue, "raced") == QRT_OK);
    return NULL;
}

/* Whoever wins, the message is in a batch that was taken, or there again, unblamed. */
static void a_cancel_that_races_a_message_loses_nothing(void) {
    qrt_queue_t *queue = lone_queue(0, "");
    unsigned taken = 0, back = 0;
    for (int i = 0; i < 300 * soak(); i++) {
        qrt_op_t *op = begin_receive(queue, NULL);
        qrt_batch_t *batch = NULL;
        pthread_t sender;
        CHECK(pthread_create(&sender, NULL, send_one, queue) == 0);
        if (i % 3 == 0) qrt_op_cancel(op, NULL);
        if (i % 3 == 1) {
            qrt_op_free(op); /* nobody will take the result */
            op = NULL;
        }
        pthread_join(sender, NULL);
        if (i % 3 == 2) qrt_op_cancel(op, NULL);
        if (op != NULL) {
            qrt_status_t status;
            CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
            status = qrt_op_take_batch(op, &batch, NULL);
            CHECK(status == QRT_OK || status == QRT_ERR_CANCELLED);
            qrt_op_free(op);
        }
        if (batch == NULL) {
            batch = receive_one(queue);
            back++;
        } else {
            taken++;
        }
        CHECK(qrt_batch_count(batch) == 1);
        CHECK(qrt_delivery_attempt(qrt_batch_get(batch, 0)) == 1);
        CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL) == QRT_OK);
        qrt_batch_free(batch);
    }
    CHECK(back > 0);
    printf("# %u were taken, %u came back\n", taken, back);
    qrt_queue_free(queue);
}

static void a_result_nobody_takes_goes_back(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    qrt_op_t *op = begin_receive(queue, NULL);
    qrt_batch_t *batch;
    CHECK(send_text(queue, "a") == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    qrt_op_free(op);
    batch = receive_one(queue);
    qrt_batch_free(batch);
    qrt_queue_free(queue);
}

static void a_result_is_taken_once_and_by_its_kind(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    qrt_op_t *op = begin_receive(queue, NULL);
    qrt_batch_t *batch = NULL;
    qrt_statistics_t *statistics = NULL;
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_PENDING && batch == NULL);
    CHECK(qrt_op_wait(op, 0, NULL) == QRT_ERR_TIMEOUT);
    CHECK(send_text(queue, "a") == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_statistics(op, &statistics, NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK && qrt_batch_count(batch) == 1);
    qrt_batch_free(batch);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_ERR_INVALID_ARGUMENT && batch == NULL);
    qrt_op_free(op);
    qrt_queue_free(queue);
}

static void a_cancelled_send_is_sent_once_or_not_at_all(void) {
    qrt_queue_t *queue = lone_queue(1, "{\"max_messages\": 1}");
    qrt_message_t *message = new_message("second");
    struct seen seen = SEEN;
    qrt_op_t *op = NULL;
    qrt_batch_t *batch;
    CHECK(send_text(queue, "first") == QRT_OK);
    CHECK(qrt_queue_send_one(queue, message, 0, tell(&seen), &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    check_ended(&seen, QRT_ERR_CANCELLED);
    qrt_op_free(op);
    batch = look(queue, 10);
    CHECK(qrt_batch_count(batch) == 1 && is(body_of(batch, 0), "first"));
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
    batch = look(queue, 10);
    CHECK(qrt_batch_count(batch) == 0);
    qrt_batch_free(batch);
    qrt_message_free(message);
    qrt_queue_free(queue);
}

static void a_cancelled_accept_holds_no_session(void) {
    qrt_queue_t *queue = lone_queue(1, "");
    qrt_session_t *session = NULL;
    qrt_message_t *message = new_message("a");
    qrt_op_t *op = NULL;
    CHECK(qrt_message_set_session(message, text("s"), NULL) == QRT_OK);
    CHECK(qrt_session_accept_next(queue, NULL, NOBODY, &session, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    qrt_op_free(op);
    CHECK(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(qrt_session_accept(queue, text("s"), NULL, NOBODY, &session, NULL, NULL) == QRT_OK);
    qrt_session_free(session);
    qrt_message_free(message);
    qrt_queue_free(queue);
}

/* Frees, in the completion, everything it was called for. What it was sent through is another
 * handle: one that a call is using must not be freed. */
struct all {
    qrt_queue_t *queue;
    struct latch over;
};

static void free_all(void *user_data, qrt_op_t *op) {
    struct all *all = user_data;
    qrt_batch_t *batch = NULL;
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK);
    qrt_queue_free(all->queue);
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
    latch_raise(&all->over);
}

static void a_completion_may_free_what_it_was_called_for(void) {
    for (int i = 0; i < 50 * soak(); i++) {
        qrt_runtime_t *runtime = new_runtime(0);
        qrt_client_t *client = new_client(runtime, "memory:");
        qrt_queue_t *sender = new_queue(client, "");
        struct all all = {new_queue(client, ""), LATCH};
        qrt_completion_t done = {free_all, NULL, NULL};
        qrt_batch_t *batch = NULL;
        done.user_data = &all;
        CHECK(qrt_queue_receive(all.queue, NULL, done, &batch, NULL, NULL) == QRT_PENDING);
        qrt_client_free(client);
        qrt_runtime_free(runtime);
        CHECK(send_text(sender, "a") == QRT_OK);
        qrt_queue_free(sender);
        latch_await(&all.over, 1);
    }
}

static void runtimes_side_by_side(void) {
    enum { RUNTIMES = 4 };
    qrt_queue_t *queues[RUNTIMES];
    for (int i = 0; i < RUNTIMES; i++) {
        char body[] = {(char)('a' + i), '\0'};
        queues[i] = lone_queue(i % 2, "");
        CHECK(send_text(queues[i], body) == QRT_OK);
    }
    for (int i = 0; i < RUNTIMES; i++) {
        char body[] = {(char)('a' + i), '\0'};
        qrt_batch_t *batch = look(queues[i], 10);
        CHECK(qrt_batch_count(batch) == 1 && is(body_of(batch, 0), body));
        qrt_batch_free(batch);
        qrt_queue_free(queues[i]);
    }
}

int main(void) {
    RUN(a_completion_that_ended_at_once_does_not_run);
    RUN(use_after_close);
    RUN(use_of_a_closed_session);
    RUN(free_in_any_order);
    RUN(a_shutdown_ends_what_is_in_flight);
    RUN(a_callback_that_hangs_does_not_hang_the_shutdown);
    RUN(to_wait_in_a_callback_is_refused);
    RUN(a_cancelled_receive_takes_nothing);
    RUN(a_cancel_that_races_a_message_loses_nothing);
    RUN(a_result_nobody_takes_goes_back);
    RUN(a_result_is_taken_once_and_by_its_kind);
    RUN(a_cancelled_send_is_sent_once_or_not_at_all);
    RUN(a_cancelled_accept_holds_no_session);
    RUN(a_completion_may_free_what_it_was_called_for);
    RUN(runtimes_side_by_side);
    return 0;
}

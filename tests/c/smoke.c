/* A program as a user would write it: send, receive, settle, at once and with a completion. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"
#include "queue_runtime.h" /* twice does no harm */

static qrt_bytes_t text(const char *s) {
    qrt_bytes_t bytes = {(const uint8_t *)s, strlen(s)};
    return bytes;
}

static int is(qrt_bytes_t bytes, const char *s) {
    return bytes.len == strlen(s) && memcmp(bytes.data, s, bytes.len) == 0;
}

#define CHECK(what)                                                              \
    do {                                                                         \
        if (!(what)) {                                                           \
            printf("not ok - %s:%d %s\n", __FILE__, __LINE__, #what);            \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

static void ended(void *user_data, qrt_op_t *op) {
    qrt_batch_t *batch = NULL;
    int *seen = user_data;
    CHECK(qrt_op_wait(op, 0, NULL) == QRT_ERR_WOULD_DEADLOCK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_OK);
    CHECK(qrt_batch_count(batch) == 1);
    CHECK(is(qrt_message_body(qrt_delivery_message(qrt_batch_get(batch, 0))), "late"));
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, (qrt_completion_t)QRT_COMPLETION_NONE, NULL,
                           NULL) == QRT_OK);
    qrt_batch_free(batch);
    __atomic_fetch_add(seen, 1, __ATOMIC_RELEASE);
}

static void freed(void *user_data) { __atomic_fetch_add((int *)user_data, 10, __ATOMIC_RELEASE); }

static void send_text(qrt_queue_t *queue, const char *body, const char *session) {
    const qrt_completion_t none = QRT_COMPLETION_NONE;
    qrt_message_t *message = NULL;
    CHECK(qrt_message_new(&message, NULL) == QRT_OK);
    CHECK(qrt_message_set_body(message, text(body), NULL) == QRT_OK);
    CHECK(qrt_message_set_header(message, text("kind"), text("test"), NULL) == QRT_OK);
    if (session != NULL) CHECK(qrt_message_set_session(message, text(session), NULL) == QRT_OK);
    CHECK(qrt_queue_send_one(queue, message, 0, none, NULL, NULL) == QRT_OK);
    qrt_message_free(message);
}

/* One dead letter, of two bytes, given up then; there are no groups but its own. */
static void count_dead_letters(const qrt_dead_letter_statistics_t *counted, int64_t then) {
    const char *names[] = {"max_attempts", "orders"};
    const uint32_t by[] = {QRT_BY_REASON, QRT_BY_SOURCE};
    CHECK(qrt_dead_letter_statistics_count(counted) == 1);
    CHECK(qrt_dead_letter_statistics_bytes(counted) == 2);
    CHECK(qrt_dead_letter_statistics_oldest(counted) == then);
    CHECK(qrt_dead_letter_statistics_newest(counted) == then);
    for (int i = 0; i < 2; i++) {
        CHECK(qrt_dead_letter_statistics_groups(counted, by[i]) == 1);
        CHECK(is(qrt_dead_letter_statistics_group_name(counted, by[i], 0), names[i]));
        CHECK(qrt_dead_letter_statistics_group_count(counted, by[i], 0) == 1);
        CHECK(qrt_dead_letter_statistics_group_oldest(counted, by[i], 0) == then);
        CHECK(qrt_dead_letter_statistics_group_newest(counted, by[i], 0) == then);
        CHECK(qrt_dead_letter_statistics_group_name(counted, by[i], 1).len == 0);
        CHECK(qrt_dead_letter_statistics_group_count(counted, by[i], 1) == 0);
        CHECK(qrt_dead_letter_statistics_group_oldest(counted, by[i], 1) == -1);
    }
    CHECK(qrt_dead_letter_statistics_groups(counted, 2) == 0);
    CHECK(qrt_dead_letter_statistics_ages(counted) == 5);
    CHECK(qrt_dead_letter_statistics_age_up_to_ms(counted, 0) == 60000);
    CHECK(qrt_dead_letter_statistics_age_up_to_ms(counted, 3) == 604800000);
    CHECK(qrt_dead_letter_statistics_age_up_to_ms(counted, 4) == -1);
    CHECK(qrt_dead_letter_statistics_age_count(counted, 0) == 1);
    CHECK(qrt_dead_letter_statistics_age_count(counted, 5) == 0);
}

int main(void) {
    const qrt_completion_t none = QRT_COMPLETION_NONE;
    qrt_runtime_options_t options = QRT_RUNTIME_OPTIONS_INIT;
    qrt_receive_options_t receive = QRT_RECEIVE_OPTIONS_INIT;
    qrt_runtime_t *runtime = NULL;
    qrt_client_t *client = NULL;
    qrt_queue_t *queue = NULL;
    qrt_batch_t *batch = NULL;
    qrt_session_t *session = NULL;
    qrt_op_t *op = NULL;
    qrt_error_t *error = NULL;
    qrt_statistics_t *statistics = NULL;
    const qrt_delivery_t *kept;

    CHECK(qrt_check_abi(QRT_ABI_MAJOR, QRT_ABI_MINOR, NULL) == QRT_OK);
    CHECK(qrt_check_abi(QRT_ABI_MAJOR + 1, 0, NULL) == QRT_ERR_UNSUPPORTED);
    options.virtual_clock = 1;
    CHECK(qrt_runtime_new(&options, &runtime, NULL) == QRT_OK);
    CHECK(qrt_client_open(runtime, text("memory:"), text("{\"budget\": 2}"), none, &client, &op,
                          NULL) == QRT_OK);
    CHECK(op == NULL);
    CHECK(qrt_queue_open(client, text("orders"), text(""), &queue, NULL) == QRT_OK);

    /* At once. */
    send_text(queue, "first", NULL);
    CHECK(qrt_queue_receive(queue, &receive, none, &batch, &op, &error) == QRT_OK);
    CHECK(qrt_batch_count(batch) == 1 && op == NULL);
    kept = qrt_delivery_retain(qrt_batch_get(batch, 0));
    qrt_batch_free(batch);
    CHECK(is(qrt_message_body(qrt_delivery_message(kept)), "first"));
    CHECK(is(qrt_message_header(qrt_delivery_message(kept), text("kind")), "test"));
    CHECK(qrt_delivery_id(kept).len == 36);
    CHECK(qrt_delivery_attempt(kept) == 1);
    CHECK(qrt_delivery_ack(kept, 0, none, NULL, NULL) == QRT_OK);
    CHECK(qrt_delivery_is_settled(kept) == 1);
    CHECK(qrt_delivery_ack(kept, 0, none, NULL, &error) == QRT_ERR_INVALID_RECEIPT);
    CHECK(qrt_error_status(error) == QRT_ERR_INVALID_RECEIPT);
    CHECK(is(qrt_error_queue(error), "orders"));
    CHECK(qrt_error_message(error).len > 0);
    qrt_error_free(error);
    error = NULL;
    qrt_delivery_free(kept);

    /* Later: the completion runs once, then its free. */
    {
        int seen = 0;
        qrt_completion_t done = {ended, &seen, freed};
        CHECK(qrt_queue_receive(queue, &receive, done, &batch, &op, NULL) == QRT_PENDING);
        send_text(queue, "late", NULL);
        CHECK(qrt_op_wait(op, 10000, NULL) == QRT_OK);
        qrt_op_free(op);
        /* The operation has ended; its completion may still run. */
        while (__atomic_load_n(&seen, __ATOMIC_ACQUIRE) != 11) {
        }
    }

    /* A cancelled receive gives nothing away. */
    CHECK(qrt_queue_receive(queue, &receive, none, &batch, &op, NULL) == QRT_PENDING);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, 10000, NULL) == QRT_OK);
    CHECK(qrt_op_take_batch(op, &batch, NULL) == QRT_ERR_CANCELLED);
    qrt_op_free(op);

    /* Sessions, and a nack that spends the budget. */
    send_text(queue, "a1", "a");
    CHECK(qrt_session_accept_next(queue, NULL, none, &session, NULL, NULL) == QRT_OK);
    CHECK(is(qrt_session_id(session), "a"));
    for (int i = 0; i < 2; i++) {
        CHECK(qrt_session_receive(session, &receive, none, &batch, NULL, NULL) == QRT_OK);
        CHECK(qrt_delivery_nack(qrt_batch_get(batch, 0), text("bad"), 0, 0, none, NULL, NULL) ==
              QRT_OK);
        qrt_batch_free(batch);
    }
    qrt_session_free(session);
    CHECK(qrt_queue_statistics(queue, none, &statistics, NULL, NULL) == QRT_OK);
    CHECK(qrt_statistics_dead(statistics) == 1 && qrt_statistics_ready(statistics) == 0);
    qrt_statistics_free(statistics);
    {
        qrt_dead_letters_t *letters = NULL;
        qrt_redrive_report_t *report = NULL;
        qrt_dead_letter_statistics_t *counted = NULL;
        CHECK(qrt_dead_letters_list(queue, NULL, 0, 10, none, &letters, NULL, NULL) == QRT_OK);
        CHECK(qrt_dead_letters_count(letters) == 1);
        CHECK(is(qrt_dead_letters_reason(letters, 0), "max_attempts"));
        CHECK(is(qrt_dead_letters_description(letters, 0), "bad"));
        CHECK(qrt_queue_dead_letter_statistics(queue, NULL, none, &counted, NULL, NULL) == QRT_OK);
        count_dead_letters(counted, qrt_dead_letters_dead_lettered_at(letters, 0));
        qrt_dead_letter_statistics_free(counted);
        qrt_dead_letters_free(letters);
        CHECK(qrt_dead_letters_redrive(queue, NULL, NULL, none, &report, NULL, NULL) == QRT_OK);
        CHECK(qrt_redrive_report_redriven(report) == 1);
        qrt_redrive_report_free(report);
    }

    /* Locks end with the clock. */
    receive.wait_ms = 0;
    CHECK(qrt_queue_receive(queue, &receive, none, &batch, NULL, NULL) == QRT_OK);
    CHECK(qrt_batch_count(batch) == 1);
    CHECK(qrt_runtime_advance(runtime, 30000, NULL) == QRT_OK);
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, none, NULL, NULL) == QRT_ERR_LOCK_LOST);
    qrt_batch_free(batch);

    /* Bad manners. */
    CHECK(qrt_queue_receive(NULL, &receive, none, &batch, NULL, NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_queue_receive(queue, &receive, none, NULL, NULL, NULL) == QRT_ERR_INVALID_ARGUMENT);
    receive.flags = 8;
    CHECK(qrt_queue_receive(queue, &receive, none, &batch, NULL, NULL) == QRT_ERR_INVALID_ARGUMENT);

    CHECK(qrt_client_close(client, none, NULL, NULL) == QRT_OK);
    receive.flags = 0;
    CHECK(qrt_queue_receive(queue, &receive, none, &batch, NULL, NULL) == QRT_ERR_CLOSED);
    CHECK(qrt_runtime_shutdown(runtime, 10000, NULL) == QRT_OK);
    qrt_runtime_free(runtime); /* parents before children */
    qrt_queue_free(queue);
    qrt_client_free(client);
    printf("ok - smoke\n");
    return 0;
}

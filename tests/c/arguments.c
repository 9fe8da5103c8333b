/* Values that cannot be: numbers out of range, sizes that overflow, text that is no text, options
 * of another version. Each is refused by name, and changes nothing. */

#include <stddef.h>

#include "check.h"

static qrt_runtime_t *runtime;
static qrt_client_t *client;
static qrt_queue_t *queue;

/* The call fails so, naming the field. */
#define FAILS(status, field, call)                    \
    do {                                              \
        qrt_error_t *error = NULL;                    \
        CHECK((call) == (status));                    \
        CHECK(is(qrt_error_field(error), field));     \
        CHECK(qrt_error_message(error).len > 0);      \
        qrt_error_free(error);                        \
    } while (0)

#define INVALID(field, call) FAILS(QRT_ERR_INVALID_ARGUMENT, field, call)

static const qrt_bytes_t WRONG_TEXT = {(const uint8_t *)"\xff\xfe", 2};
static const qrt_bytes_t NOWHERE = {NULL, 3};
static const qrt_bytes_t ENDLESS = {(const uint8_t *)"x", SIZE_MAX};

static void text_that_is_none(void) {
    const qrt_bytes_t wrong[] = {WRONG_TEXT, NOWHERE, ENDLESS};
    qrt_message_t *message = new_message("kept");
    qrt_session_t *session = NULL;
    qrt_client_t *opened = NULL;
    qrt_queue_t *found = NULL;
    qrt_buffer_t *buffer = NULL;
    qrt_dead_letter_statistics_t *statistics = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        qrt_bytes_t bad = wrong[i];
        qrt_runtime_options_t options = QRT_RUNTIME_OPTIONS_INIT;
        qrt_dead_letter_filter_t filter = QRT_DEAD_LETTER_FILTER_INIT;
        qrt_runtime_t *made = NULL;
        options.config = bad;
        filter.reason = bad;
        INVALID("config", qrt_runtime_new(&options, &made, &error));
        INVALID("url", qrt_client_open(runtime, bad, text(""), NOBODY, &opened, NULL, &error));
        INVALID("config",
                qrt_client_open(runtime, text("memory:"), bad, NOBODY, &opened, NULL, &error));
        INVALID("name", qrt_queue_open(client, bad, text(""), &found, &error));
        INVALID("config", qrt_queue_open(client, text("q"), bad, &found, &error));
        INVALID("id", qrt_message_set_id(message, bad, &error));
        INVALID("session", qrt_message_set_session(message, bad, &error));
        INVALID("key", qrt_message_set_session_by(message, bad, 0, &error));
        INVALID("correlation_id", qrt_message_set_correlation_id(message, bad, &error));
        INVALID("content_type", qrt_message_set_content_type(message, bad, &error));
        INVALID("dedup_id", qrt_message_set_dedup_id(message, bad, &error));
        INVALID("name", qrt_message_set_header(message, bad, text("v"), &error));
        INVALID("value", qrt_message_set_header(message, text("n"), bad, &error));
        INVALID("id", qrt_queue_explain(queue, bad, 0, NOBODY, &buffer, NULL, &error));
        INVALID("reason", qrt_queue_dead_letter_statistics(queue, &filter, NOBODY, &statistics,
                                                           NULL, &error));
        INVALID("id", qrt_session_accept(queue, bad, NULL, NOBODY, &session, NULL, &error));
        CHECK(qrt_message_header(message, bad).len == 0);
        CHECK(made == NULL && opened == NULL && found == NULL && session == NULL);
    }
    /* Bytes need not be text. */
    CHECK(qrt_message_set_body(message, WRONG_TEXT, NULL) == QRT_OK);
    INVALID("body", qrt_message_set_body(message, NOWHERE, &error));
    INVALID("body", qrt_message_set_body(message, ENDLESS, &error));
    CHECK(qrt_message_body(message).len == 2 && qrt_message_header_count(message) == 0);
    qrt_message_free(message);
}

static int freed;

static void count_free(void *user_data) {
    (void)user_data;
    freed++;
}

static void a_body_that_cannot_be_taken_is_freed(void) {
    qrt_message_t *message = new_message("kept");
    INVALID("body", qrt_message_take_body(message, ENDLESS, count_free, NULL, &error));
    CHECK(freed == 1 && is(qrt_message_body(message), "kept"));
    INVALID("message", qrt_message_take_body(NULL, text("x"), count_free, NULL, &error));
    CHECK(freed == 2);
    qrt_message_free(message);
}

static void texts_of_settlements(void) {
    qrt_settlements_t *list = NULL;
    qrt_batch_t *batch;
    const qrt_delivery_t *delivery;
    CHECK(send_text(queue, "a") == QRT_OK);
    batch = look(queue, 1);
    delivery = qrt_batch_get(batch, 0);
    CHECK(qrt_settlements_new(&list, NULL) == QRT_OK);
    INVALID("reason", qrt_delivery_nack(delivery, WRONG_TEXT, -1, 0, NOBODY, NULL, &error));
    INVALID("reason", qrt_delivery_dead_letter(delivery, text(""), text(""), 0, NOBODY, NULL,
                                               &error));
    INVALID("description", qrt_delivery_dead_letter(delivery, text("r"), WRONG_TEXT, 0, NOBODY,
                                                    NULL, &error));
    INVALID("reason", qrt_settlements_nack(list, delivery, NOWHERE, -1, &error));
    INVALID("reason", qrt_settlements_dead_letter(list, delivery, ENDLESS, text(""), &error));
    CHECK(qrt_settlements_count(list) == 0);
    INVALID("delay_ms", qrt_delivery_nack(delivery, text(""), -2, 0, NOBODY, NULL, &error));
    INVALID("delay_ms", qrt_delivery_release(delivery, INT64_MIN, 0, NOBODY, NULL, &error));
    INVALID("lock_ms", qrt_delivery_extend(delivery, -1, NOBODY, NULL, &error));
    INVALID("flags", qrt_delivery_ack(delivery, 2, NOBODY, NULL, &error));
    CHECK(qrt_delivery_is_settled(delivery) == 0);
    CHECK(qrt_delivery_ack(delivery, QRT_MAY_BLOCK, NOBODY, NULL, NULL) == QRT_OK);
    qrt_settlements_free(list);
    qrt_batch_free(batch);
}

static void numbers_out_of_range(void) {
    qrt_runtime_options_t options = QRT_RUNTIME_OPTIONS_INIT;
    qrt_receive_options_t receive = QRT_RECEIVE_OPTIONS_INIT;
    qrt_redrive_options_t redrive = QRT_REDRIVE_OPTIONS_INIT;
    qrt_consumer_options_t consume = QRT_CONSUMER_OPTIONS_INIT;
    qrt_message_t *message = new_message("x");
    const qrt_message_t *messages[] = {message};
    qrt_runtime_t *made = NULL;
    qrt_batch_t *batch = NULL;
    qrt_consumer_t *consumer = NULL;
    qrt_send_results_t *sent = NULL;
    qrt_settle_results_t *settled = NULL;
    qrt_redrive_report_t *report = NULL;
    const qrt_delivery_t *deliveries[] = {NULL};
    options.virtual_clock = 2;
    INVALID("virtual_clock", qrt_runtime_new(&options, &made, &error));
    INVALID("by_ms", qrt_runtime_advance(runtime, -1, &error));
    INVALID("timeout_ms", qrt_runtime_shutdown(runtime, -1, &error));
    INVALID("level", qrt_log_set(NULL, NULL, 0, &error));
    INVALID("level", qrt_log_set(NULL, NULL, 6, &error));
    receive.max_messages = 0;
    INVALID("max_messages", qrt_queue_receive(queue, &receive, NOBODY, &batch, NULL, &error));
    receive.max_messages = 1;
    receive.flags = 0x80000000u;
    INVALID("flags", qrt_queue_receive(queue, &receive, NOBODY, &batch, NULL, &error));
    receive.flags = 0;
    receive.wait_ms = -1;
    INVALID("wait_ms", qrt_queue_receive(queue, &receive, NOBODY, &batch, NULL, &error));
    receive.wait_ms = 0;
    receive.lock_ms = -2;
    INVALID("lock_ms", qrt_queue_receive(queue, &receive, NOBODY, &batch, NULL, &error));
    receive.lock_ms = 0;
    CHECK(qrt_queue_receive(queue, &receive, NOBODY, &batch, NULL, NULL) ==
          QRT_ERR_INVALID_ARGUMENT);
    redrive.dry_run = 2;
    INVALID("dry_run",
            qrt_dead_letters_redrive(queue, NULL, &redrive, NOBODY, &report, NULL, &error));
    INVALID("flags", qrt_queue_send(queue, messages, 1, 4, NOBODY, &sent, NULL, &error));
    INVALID("messages",
            qrt_queue_send(queue, messages, SIZE_MAX, 0, NOBODY, &sent, NULL, &error));
    INVALID("deliveries",
            qrt_extend(queue, deliveries, SIZE_MAX, 1, NOBODY, &settled, NULL, &error));
    INVALID("delay_ms", qrt_message_set_delay_ms(message, -1, &error));
    INVALID("ttl_ms", qrt_message_set_ttl_ms(message, INT64_MIN, &error));
    consume.on_batch = (void (*)(void *, qrt_batch_t *))abort;
    consume.credits = UINT32_MAX;
    INVALID("credits", qrt_consumer_start(queue, &consume, &consumer, &error));
    consume.credits = 1;
    consume.max_messages = 0;
    INVALID("max_messages", qrt_consumer_start(queue, &consume, &consumer, &error));
    CHECK(qrt_message_set_ttl_ms(message, INT64_MAX, NULL) == QRT_OK);
    CHECK(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL) == QRT_ERR_INVALID_MESSAGE);
    CHECK(made == NULL && batch == NULL && consumer == NULL && sent == NULL && report == NULL);
    qrt_message_free(message);
}

/* Options of a later version: the fields of today, and one that today's library does not know. */
struct later_options {
    qrt_receive_options_t today;
    int64_t tomorrow;
};

static void options_of_other_versions(void) {
    struct later_options later = {QRT_RECEIVE_OPTIONS_INIT, 0};
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    const size_t impossible[] = {0, 1, sizeof(size_t) - 1, 1u << 20, SIZE_MAX};
    qrt_batch_t *batch = NULL;
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        options.struct_size = impossible[i];
        INVALID("struct_size", qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, &error));
    }
    later.today.struct_size = sizeof later;
    later.today.wait_ms = 0;
    CHECK(qrt_queue_receive(queue, &later.today, NOBODY, &batch, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
    later.tomorrow = 1;
    INVALID("struct_size",
            qrt_queue_receive(queue, &later.today, NOBODY, &batch, NULL, &error));
    /* Of an earlier version: what it does not have is as if not said. */
    options.struct_size = offsetof(qrt_receive_options_t, lock_ms);
    options.wait_ms = 0;
    options.lock_ms = INT64_MIN;
    CHECK(qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, NULL) == QRT_OK);
    qrt_batch_free(batch);
}

static void success_leaves_the_error_alone(void) {
    qrt_error_t *untouched = (qrt_error_t *)&untouched;
    qrt_statistics_t *statistics = NULL;
    CHECK(qrt_queue_statistics(queue, NOBODY, &statistics, NULL, &untouched) == QRT_OK);
    CHECK(untouched == (qrt_error_t *)&untouched);
    qrt_statistics_free(statistics);
}

static void failure_empties_its_places(void) {
    qrt_batch_t *batch = (qrt_batch_t *)&batch;
    qrt_op_t *op = (qrt_op_t *)&op;
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    options.flags = 8;
    CHECK(qrt_queue_receive(queue, &options, NOBODY, &batch, &op, NULL) ==
          QRT_ERR_INVALID_ARGUMENT);
    CHECK(batch == NULL && op == NULL);
}

static void an_error_says_all(void) {
    qrt_client_t *small = NULL;
    qrt_queue_t *tight;
    qrt_message_t *message = new_message("longer than ten bytes");
    qrt_error_t *error = NULL;
    uint64_t actual = 0, limit = 0;
    CHECK(qrt_client_open(runtime, text("memory:"), text("{\"max_message_bytes\": 10}"), NOBODY,
                          &small, NULL, NULL) == QRT_OK);
    tight = new_queue(small, "");
    CHECK(qrt_queue_send_one(tight, message, 0, NOBODY, NULL, &error) ==
          QRT_ERR_MESSAGE_TOO_LARGE);
    qrt_error_sizes(error, &actual, &limit);
    CHECK(actual == 21 && limit == 10);
    CHECK(is(qrt_error_queue(error), "jobs") && is(qrt_error_operation(error), "send"));
    CHECK(qrt_error_is_retryable(error) == 0 && qrt_error_retry_after_ms(error) == -1);
    CHECK(is(qrt_status_name(qrt_error_status(error)), "message_too_large"));
    qrt_error_free(error);
    qrt_message_free(message);
    qrt_queue_free(tight);
    qrt_client_free(small);
}

int main(void) {
    runtime = new_runtime(1);
    client = new_client(runtime, "memory:");
    queue = new_queue(client, "");
    RUN(text_that_is_none);
    RUN(a_body_that_cannot_be_taken_is_freed);
    RUN(texts_of_settlements);
    RUN(numbers_out_of_range);
    RUN(options_of_other_versions);
    RUN(success_leaves_the_error_alone);
    RUN(failure_empties_its_places);
    RUN(an_error_says_all);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
    return 0;
}

/* Every function with every pointer NULL: an error or a documented answer, never a crash. The
 * table is complete when it names each symbol of the list it is given. */

#include "check.h"

static char covered[320][64];
static size_t covered_count;

static void cover(const char *symbol) {
    for (size_t i = 0; i < covered_count; i++)
        if (strcmp(covered[i], symbol) == 0) return;
    CHECK(covered_count < sizeof covered / sizeof *covered);
    snprintf(covered[covered_count++], sizeof *covered, "%s", symbol);
}

/* A function that answers a status refuses NULL, and says what was NULL. Its last argument, the
 * place of the error, is given here. */
#define REFUSES(field, function, ...)                                       \
    do {                                                                    \
        qrt_error_t *error = NULL;                                          \
        cover(#function);                                                   \
        CHECK(function(__VA_ARGS__, &error) == QRT_ERR_INVALID_ARGUMENT);   \
        CHECK(is(qrt_error_field(error), field));                           \
        qrt_error_free(error);                                              \
        CHECK(function(__VA_ARGS__, NULL) == QRT_ERR_INVALID_ARGUMENT);     \
    } while (0)

/* NULL is fine there. */
#define TAKES(function, ...)                             \
    do {                                                 \
        cover(#function);                                \
        CHECK(function(__VA_ARGS__, NULL) == QRT_OK);    \
    } while (0)

/* A getter of NULL, or of an index there is not, answers this. */
#define ANSWERS(answer, function, ...)                   \
    do {                                                 \
        cover(#function);                                \
        CHECK(function(__VA_ARGS__) == (answer));        \
    } while (0)

#define IS_EMPTY(function, ...)                          \
    do {                                                 \
        cover(#function);                                \
        CHECK(function(__VA_ARGS__).len == 0);           \
    } while (0)

#define DOES_NOTHING(function, ...) \
    do {                            \
        cover(#function);           \
        function(__VA_ARGS__);      \
    } while (0)

static const qrt_bytes_t NONE = {NULL, 0};
static qrt_runtime_t *runtime;
static qrt_client_t *client;
static qrt_queue_t *queue;
static qrt_message_t *message;
static qrt_batch_t *batch;
static const qrt_delivery_t *delivery;
static qrt_settlements_t *settlements;
static qrt_session_t *session;
static qrt_events_t *events;
static qrt_op_t *op;

static void set_up(void) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *none = NULL;
    runtime = new_runtime(1);
    client = new_client(runtime, "memory:");
    queue = new_queue(client, "");
    message = new_message("body");
    CHECK(qrt_message_set_session(message, text("s"), NULL) == QRT_OK);
    CHECK(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(qrt_session_accept(queue, text("s"), NULL, NOBODY, &session, NULL, NULL) == QRT_OK);
    options.wait_ms = 0;
    CHECK(qrt_session_receive(session, &options, NOBODY, &batch, NULL, NULL) == QRT_OK);
    delivery = qrt_batch_get(batch, 0);
    CHECK(qrt_settlements_new(&settlements, NULL) == QRT_OK);
    CHECK(qrt_events_new(runtime, &events, NULL) == QRT_OK);
    CHECK(qrt_queue_receive(queue, NULL, NOBODY, &none, &op, NULL) == QRT_PENDING);
}

static void tear_down(void) {
    qrt_op_free(op);
    qrt_events_free(events);
    qrt_settlements_free(settlements);
    qrt_batch_free(batch);
    qrt_session_free(session);
    qrt_message_free(message);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

static void runtimes_and_clients(void) {
    qrt_runtime_t *made = NULL;
    qrt_client_t *opened = NULL;
    qrt_queue_t *found = NULL;
    qrt_buffer_t *buffer = NULL;
    REFUSES("runtime", qrt_runtime_new, NULL, NULL);
    TAKES(qrt_runtime_new, NULL, &made);
    TAKES(qrt_runtime_shutdown, made, PATIENCE_MS);
    qrt_runtime_free(made);
    REFUSES("runtime", qrt_runtime_shutdown, NULL, 0);
    REFUSES("runtime", qrt_runtime_advance, NULL, 0);
    REFUSES("runtime", qrt_runtime_metrics, NULL, &buffer);
    REFUSES("text", qrt_runtime_metrics, runtime, NULL);
    ANSWERS(0, qrt_runtime_now, NULL);
    DOES_NOTHING(qrt_runtime_free, NULL);
    REFUSES("runtime", qrt_client_open, NULL, text("memory:"), NONE, NOBODY, &opened, NULL);
    REFUSES("client", qrt_client_open, runtime, text("memory:"), NONE, NOBODY, NULL, NULL);
    CHECK(qrt_client_open(runtime, NONE, NONE, NOBODY, &opened, NULL, NULL) ==
          QRT_ERR_INVALID_CONFIG);
    REFUSES("client", qrt_client_capabilities, NULL, &buffer);
    REFUSES("json", qrt_client_capabilities, client, NULL);
    REFUSES("client", qrt_client_reset_breaker, NULL);
    ANSWERS(QRT_BREAKER_CLOSED, qrt_client_breaker_state, NULL);
    REFUSES("client", qrt_client_close, NULL, NOBODY, NULL);
    DOES_NOTHING(qrt_client_free, NULL);
    REFUSES("client", qrt_queue_open, NULL, text("jobs"), NONE, &found);
    REFUSES("queue", qrt_queue_open, client, text("jobs"), NONE, NULL);
    CHECK(qrt_queue_open(client, NONE, NONE, &found, NULL) == QRT_ERR_INVALID_ARGUMENT);
}

static void queues(void) {
    qrt_send_results_t *sent = NULL;
    qrt_batch_t *received = NULL;
    qrt_peeked_t *peeked = NULL;
    qrt_buffer_t *explanation = NULL;
    qrt_statistics_t *statistics = NULL;
    const qrt_message_t *nobody[] = {NULL};
    const qrt_message_t *one[] = {message};
    REFUSES("queue", qrt_queue_send, NULL, one, 1, 0, NOBODY, &sent, NULL);
    REFUSES("messages", qrt_queue_send, queue, NULL, 1, 0, NOBODY, &sent, NULL);
    REFUSES("messages", qrt_queue_send, queue, nobody, 1, 0, NOBODY, &sent, NULL);
    REFUSES("results", qrt_queue_send, queue, one, 1, 0, NOBODY, NULL, NULL);
    TAKES(qrt_queue_send, queue, NULL, 0, 0, NOBODY, &sent, NULL);
    CHECK(qrt_send_results_count(sent) == 0);
    qrt_send_results_free(sent);
    REFUSES("queue", qrt_queue_send_one, NULL, message, 0, NOBODY, NULL);
    REFUSES("message", qrt_queue_send_one, queue, NULL, 0, NOBODY, NULL);
    REFUSES("queue", qrt_queue_receive, NULL, NULL, NOBODY, &received, NULL);
    REFUSES("batch", qrt_queue_receive, queue, NULL, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_queue_peek, NULL, 0, 1, NOBODY, &peeked, NULL);
    REFUSES("peeked", qrt_queue_peek, queue, 0, 1, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_queue_explain, NULL, NONE, 0, NOBODY, &explanation, NULL);
    REFUSES("explanation", qrt_queue_explain, queue, NONE, 0, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_queue_statistics, NULL, NOBODY, &statistics, NULL);
    REFUSES("statistics", qrt_queue_statistics, queue, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_queue_create, NULL, NOBODY, NULL);
    REFUSES("queue", qrt_queue_reset_breaker, NULL);
    ANSWERS(QRT_BREAKER_CLOSED, qrt_queue_breaker_state, NULL);
    DOES_NOTHING(qrt_queue_free, NULL);
    ANSWERS(0, qrt_statistics_ready, NULL);
    ANSWERS(0, qrt_statistics_in_flight, NULL);
    ANSWERS(0, qrt_statistics_delayed, NULL);
    ANSWERS(0, qrt_statistics_depth, NULL);
    ANSWERS(0, qrt_statistics_dead, NULL);
    ANSWERS(0, qrt_statistics_bytes, NULL);
    ANSWERS(0, qrt_statistics_sessions, NULL);
    ANSWERS(-1, qrt_statistics_oldest_age_ms, NULL);
    DOES_NOTHING(qrt_statistics_free, NULL);
}

static void messages(void) {
    qrt_bytes_t name, value;
    REFUSES("message", qrt_message_new, NULL);
    REFUSES("message", qrt_message_set_body, NULL, text("x"));
    TAKES(qrt_message_set_body, message, NONE);
    REFUSES("message", qrt_message_take_body, NULL, text("x"), NULL, NULL);
    TAKES(qrt_message_take_body, message, text("static"), NULL, NULL);
    REFUSES("message", qrt_message_set_header, NULL, text("n"), text("v"));
    REFUSES("message", qrt_message_set_id, NULL, text("x"));
    REFUSES("message", qrt_message_set_session, NULL, text("x"));
    REFUSES("message", qrt_message_set_session_by, NULL, text("\"none\""), 0);
    REFUSES("message", qrt_message_set_correlation_id, NULL, text("x"));
    REFUSES("message", qrt_message_set_content_type, NULL, text("x"));
    REFUSES("message", qrt_message_set_dedup_id, NULL, text("x"));
    REFUSES("message", qrt_message_set_delay_ms, NULL, 1);
    REFUSES("message", qrt_message_set_ttl_ms, NULL, 1);
    IS_EMPTY(qrt_message_body, NULL);
    IS_EMPTY(qrt_message_session, NULL);
    IS_EMPTY(qrt_message_correlation_id, NULL);
    IS_EMPTY(qrt_message_content_type, NULL);
    IS_EMPTY(qrt_message_dedup_id, NULL);
    ANSWERS(-1, qrt_message_delay_ms, NULL);
    ANSWERS(-1, qrt_message_ttl_ms, NULL);
    IS_EMPTY(qrt_message_header, NULL, text("n"));
    IS_EMPTY(qrt_message_header, message, NONE);
    ANSWERS(0, qrt_message_header_count, NULL);
    name = value = text("x");
    DOES_NOTHING(qrt_message_header_at, NULL, 0, &name, &value);
    CHECK(name.len == 0 && value.len == 0);
    DOES_NOTHING(qrt_message_header_at, message, 0, NULL, NULL);
    DOES_NOTHING(qrt_message_free, NULL);
    ANSWERS(0, qrt_send_results_count, NULL);
    ANSWERS(QRT_ERR_INVALID_ARGUMENT, qrt_send_results_status, NULL, 0);
    IS_EMPTY(qrt_send_results_id, NULL, 0);
    ANSWERS(0, qrt_send_results_is_duplicate, NULL, 0);
    ANSWERS(NULL, qrt_send_results_error, NULL, 0);
    DOES_NOTHING(qrt_send_results_free, NULL);
    ANSWERS(0, qrt_peeked_count, NULL);
    ANSWERS(NULL, qrt_peeked_message, NULL, 0);
    IS_EMPTY(qrt_peeked_id, NULL, 0);
    ANSWERS(QRT_STATE_READY, qrt_peeked_state, NULL, 0);
    ANSWERS(0, qrt_peeked_sequence, NULL, 0);
    ANSWERS(0, qrt_peeked_attempts, NULL, 0);
    ANSWERS(0, qrt_peeked_enqueued_at, NULL, 0);
    DOES_NOTHING(qrt_peeked_free, NULL);
}

static void deliveries(void) {
    qrt_settle_results_t *results = NULL;
    const qrt_delivery_t *nobody[] = {NULL};
    ANSWERS(0, qrt_batch_count, NULL);
    ANSWERS(NULL, qrt_batch_get, NULL, 0);
    ANSWERS(NULL, qrt_batch_get, batch, 1);
    DOES_NOTHING(qrt_batch_free, NULL);
    ANSWERS(NULL, qrt_delivery_retain, NULL);
    DOES_NOTHING(qrt_delivery_free, NULL);
    ANSWERS(NULL, qrt_delivery_message, NULL);
    IS_EMPTY(qrt_delivery_id, NULL);
    ANSWERS(0, qrt_delivery_attempt, NULL);
    ANSWERS(0, qrt_delivery_sequence, NULL);
    ANSWERS(0, qrt_delivery_enqueued_at, NULL);
    ANSWERS(0, qrt_delivery_locked_until, NULL);
    ANSWERS(0, qrt_delivery_is_settled, NULL);
    ANSWERS(QRT_CANCEL_NONE, qrt_delivery_cancelled, NULL);
    REFUSES("delivery", qrt_delivery_wait_cancelled, NULL, NOBODY, NULL);
    REFUSES("delivery", qrt_delivery_ack, NULL, 0, NOBODY, NULL);
    REFUSES("delivery", qrt_delivery_nack, NULL, NONE, -1, 0, NOBODY, NULL);
    REFUSES("delivery", qrt_delivery_release, NULL, -1, 0, NOBODY, NULL);
    REFUSES("delivery", qrt_delivery_dead_letter, NULL, text("r"), NONE, 0, NOBODY, NULL);
    REFUSES("delivery", qrt_delivery_extend, NULL, 1, NOBODY, NULL);
    REFUSES("settlements", qrt_settlements_new, NULL);
    REFUSES("settlements", qrt_settlements_ack, NULL, delivery);
    REFUSES("delivery", qrt_settlements_ack, settlements, NULL);
    REFUSES("settlements", qrt_settlements_nack, NULL, delivery, NONE, -1);
    REFUSES("delivery", qrt_settlements_nack, settlements, NULL, NONE, -1);
    REFUSES("settlements", qrt_settlements_release, NULL, delivery, -1);
    REFUSES("delivery", qrt_settlements_release, settlements, NULL, -1);
    REFUSES("settlements", qrt_settlements_dead_letter, NULL, delivery, text("r"), NONE);
    REFUSES("delivery", qrt_settlements_dead_letter, settlements, NULL, text("r"), NONE);
    ANSWERS(0, qrt_settlements_count, NULL);
    DOES_NOTHING(qrt_settlements_clear, NULL);
    DOES_NOTHING(qrt_settlements_free, NULL);
    REFUSES("queue", qrt_settle, NULL, settlements, 0, NOBODY, &results, NULL);
    REFUSES("settlements", qrt_settle, queue, NULL, 0, NOBODY, &results, NULL);
    REFUSES("results", qrt_settle, queue, settlements, 0, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_extend, NULL, &delivery, 1, 1, NOBODY, &results, NULL);
    REFUSES("deliveries", qrt_extend, queue, NULL, 1, 1, NOBODY, &results, NULL);
    REFUSES("deliveries", qrt_extend, queue, nobody, 1, 1, NOBODY, &results, NULL);
    REFUSES("results", qrt_extend, queue, &delivery, 1, 1, NOBODY, NULL, NULL);
    ANSWERS(0, qrt_settle_results_count, NULL);
    ANSWERS(QRT_ERR_INVALID_ARGUMENT, qrt_settle_results_status, NULL, 0);
    ANSWERS(NULL, qrt_settle_results_error, NULL, 0);
    DOES_NOTHING(qrt_settle_results_free, NULL);
}

static void sessions(void) {
    qrt_session_t *taken = NULL;
    qrt_batch_t *received = NULL;
    qrt_buffer_t *state = NULL;
    REFUSES("queue", qrt_session_accept, NULL, text("s"), NULL, NOBODY, &taken, NULL);
    REFUSES("session", qrt_session_accept, queue, text("s"), NULL, NOBODY, NULL, NULL);
    REFUSES("session", qrt_session_accept, queue, NONE, NULL, NOBODY, &taken, NULL);
    REFUSES("queue", qrt_session_accept_next, NULL, NULL, NOBODY, &taken, NULL);
    REFUSES("session", qrt_session_accept_next, queue, NULL, NOBODY, NULL, NULL);
    IS_EMPTY(qrt_session_id, NULL);
    ANSWERS(0, qrt_session_locked_until, NULL);
    REFUSES("session", qrt_session_receive, NULL, NULL, NOBODY, &received, NULL);
    REFUSES("batch", qrt_session_receive, session, NULL, NOBODY, NULL, NULL);
    REFUSES("session", qrt_session_renew, NULL, -1, NOBODY, NULL);
    REFUSES("session", qrt_session_state, NULL, NOBODY, &state, NULL);
    REFUSES("state", qrt_session_state, session, NOBODY, NULL, NULL);
    REFUSES("session", qrt_session_set_state, NULL, NULL, NOBODY, NULL);
    TAKES(qrt_session_set_state, session, NULL, NOBODY, NULL);
    REFUSES("session", qrt_session_close, NULL, NOBODY, NULL);
    DOES_NOTHING(qrt_session_free, NULL);
}

static void on_batch(void *user_data, qrt_batch_t *received) {
    (void)user_data;
    qrt_batch_free(received);
}

static void consumers_and_operations(void) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_consumer_t *consumer = NULL;
    qrt_batch_t *batch = NULL;
    qrt_drain_report_t *drained = NULL;
    qrt_buffer_t *status = NULL;
    qrt_events_t *none = NULL;
    qrt_event_t event;
    TAKES(qrt_consumer_start, queue, NULL, &consumer);
    qrt_consumer_free(consumer);
    options.on_batch = on_batch;
    REFUSES("queue", qrt_consumer_start, NULL, &options, &consumer);
    REFUSES("consumer", qrt_consumer_start, queue, &options, NULL);
    REFUSES("session", qrt_session_consume, NULL, &options, &consumer);
    REFUSES("consumer", qrt_session_consume, session, &options, NULL);
    REFUSES("consumer", qrt_consumer_grant, NULL, 1);
    REFUSES("consumer", qrt_consumer_stop, NULL, NOBODY, NULL);
    REFUSES("consumer", qrt_consumer_pause, NULL);
    REFUSES("consumer", qrt_consumer_resume, NULL);
    REFUSES("consumer", qrt_consumer_reset_breaker, NULL);
    REFUSES("consumer", qrt_consumer_next, NULL, 1, NOBODY, &batch, NULL);
    REFUSES("batch", qrt_consumer_next, NULL, 1, NOBODY, NULL, NULL);
    REFUSES("consumer", qrt_consumer_drain, NULL, 0, NOBODY, &drained, NULL);
    REFUSES("report", qrt_consumer_drain, NULL, 0, NOBODY, NULL, NULL);
    REFUSES("consumer", qrt_consumer_wait_changed, NULL, NOBODY, NULL);
    REFUSES("consumer", qrt_consumer_status, NULL, &status);
    REFUSES("status", qrt_consumer_status, NULL, NULL);
    ANSWERS(0, qrt_drain_report_finished, NULL);
    ANSWERS(0, qrt_drain_report_released, NULL);
    ANSWERS(0, qrt_drain_report_abandoned, NULL);
    DOES_NOTHING(qrt_drain_report_free, NULL);
    DOES_NOTHING(qrt_consumer_free, NULL);
    REFUSES("op", qrt_op_cancel, NULL);
    REFUSES("op", qrt_op_wait, NULL, 0);
    DOES_NOTHING(qrt_op_free, NULL);
    REFUSES("runtime", qrt_events_new, NULL, &none);
    REFUSES("events", qrt_events_new, runtime, NULL);
    ANSWERS(-1, qrt_events_fd, NULL);
    REFUSES("events", qrt_events_set_wake, NULL, NULL, NULL, NULL);
    TAKES(qrt_events_set_wake, events, NULL, NULL, NULL);
    REFUSES("events", qrt_events_watch, NULL, op, 0);
    REFUSES("op", qrt_events_watch, events, NULL, 0);
    ANSWERS(0, qrt_events_drain, NULL, &event, 1);
    ANSWERS(0, qrt_events_drain, events, NULL, 1);
    DOES_NOTHING(qrt_events_free, NULL);
}

/* The take functions, whose results go to a place of their own. */
static void results(void) {
    qrt_client_t *a = NULL;
    qrt_batch_t *b = NULL;
    qrt_send_results_t *c = NULL;
    qrt_settle_results_t *d = NULL;
    qrt_session_t *e = NULL;
    qrt_buffer_t *f = NULL;
    qrt_peeked_t *g = NULL;
    qrt_dead_letters_t *h = NULL;
    qrt_redrive_report_t *i = NULL;
    qrt_drain_report_t *l = NULL;
    qrt_statistics_t *j = NULL;
    qrt_dead_letter_statistics_t *counted = NULL;
    qrt_write_behind_t *m = NULL;
    qrt_write_batch_t *n = NULL;
    qrt_close_report_t *o = NULL;
    qrt_producer_report_t *p = NULL;
    uint64_t k = 0;
    REFUSES("op", qrt_op_take_unit, NULL);
    REFUSES("op", qrt_op_take_client, NULL, &a);
    REFUSES("op", qrt_op_take_batch, NULL, &b);
    REFUSES("op", qrt_op_take_send_results, NULL, &c);
    REFUSES("op", qrt_op_take_settle_results, NULL, &d);
    REFUSES("op", qrt_op_take_session, NULL, &e);
    REFUSES("op", qrt_op_take_buffer, NULL, &f);
    REFUSES("op", qrt_op_take_peeked, NULL, &g);
    REFUSES("op", qrt_op_take_dead_letters, NULL, &h);
    REFUSES("op", qrt_op_take_redrive_report, NULL, &i);
    REFUSES("op", qrt_op_take_drain_report, NULL, &l);
    REFUSES("op", qrt_op_take_statistics, NULL, &j);
    REFUSES("op", qrt_op_take_dead_letter_statistics, NULL, &counted);
    REFUSES("op", qrt_op_take_write_behind, NULL, &m);
    REFUSES("op", qrt_op_take_write_batch, NULL, &n);
    REFUSES("op", qrt_op_take_close_report, NULL, &o);
    REFUSES("op", qrt_op_take_producer_report, NULL, &p);
    REFUSES("op", qrt_op_take_count, NULL, &k);
    REFUSES("result", qrt_op_take_client, op, NULL);
    REFUSES("result", qrt_op_take_batch, op, NULL);
    REFUSES("result", qrt_op_take_send_results, op, NULL);
    REFUSES("result", qrt_op_take_settle_results, op, NULL);
    REFUSES("result", qrt_op_take_session, op, NULL);
    REFUSES("result", qrt_op_take_buffer, op, NULL);
    REFUSES("result", qrt_op_take_peeked, op, NULL);
    REFUSES("result", qrt_op_take_dead_letters, op, NULL);
    REFUSES("result", qrt_op_take_redrive_report, op, NULL);
    REFUSES("result", qrt_op_take_drain_report, op, NULL);
    REFUSES("result", qrt_op_take_statistics, op, NULL);
    REFUSES("result", qrt_op_take_dead_letter_statistics, op, NULL);
    REFUSES("result", qrt_op_take_write_behind, op, NULL);
    REFUSES("result", qrt_op_take_write_batch, op, NULL);
    REFUSES("result", qrt_op_take_close_report, op, NULL);
    REFUSES("result", qrt_op_take_producer_report, op, NULL);
    REFUSES("result", qrt_op_take_count, op, NULL);
}

static void dead_letters(void) {
    qrt_dead_letter_filter_t filter = QRT_DEAD_LETTER_FILTER_INIT;
    qrt_dead_letters_t *letters = NULL;
    qrt_redrive_report_t *report = NULL;
    uint64_t count = 0;
    REFUSES("queue", qrt_dead_letters_list, NULL, NULL, 0, 1, NOBODY, &letters, NULL);
    REFUSES("letters", qrt_dead_letters_list, queue, NULL, 0, 1, NOBODY, NULL, NULL);
    filter.ids_count = 1;
    REFUSES("ids", qrt_dead_letters_list, queue, &filter, 0, 1, NOBODY, &letters, NULL);
    REFUSES("queue", qrt_dead_letters_redrive, NULL, NULL, NULL, NOBODY, &report, NULL);
    REFUSES("report", qrt_dead_letters_redrive, queue, NULL, NULL, NOBODY, NULL, NULL);
    REFUSES("queue", qrt_dead_letters_purge, NULL, NULL, NOBODY, &count, NULL);
    REFUSES("count", qrt_dead_letters_purge, queue, NULL, NOBODY, NULL, NULL);
    ANSWERS(0, qrt_dead_letters_count, NULL);
    ANSWERS(NULL, qrt_dead_letters_message, NULL, 0);
    IS_EMPTY(qrt_dead_letters_id, NULL, 0);
    IS_EMPTY(qrt_dead_letters_reason, NULL, 0);
    IS_EMPTY(qrt_dead_letters_description, NULL, 0);
    IS_EMPTY(qrt_dead_letters_source, NULL, 0);
    ANSWERS(0, qrt_dead_letters_attempts, NULL, 0);
    ANSWERS(0, qrt_dead_letters_number, NULL, 0);
    ANSWERS(0, qrt_dead_letters_enqueued_at, NULL, 0);
    ANSWERS(-1, qrt_dead_letters_first_delivered_at, NULL, 0);
    ANSWERS(0, qrt_dead_letters_dead_lettered_at, NULL, 0);
    DOES_NOTHING(qrt_dead_letters_free, NULL);
    ANSWERS(0, qrt_redrive_report_matched, NULL);
    ANSWERS(0, qrt_redrive_report_redriven, NULL);
    ANSWERS(0, qrt_redrive_report_last, NULL);
    ANSWERS(0, qrt_redrive_report_failed_count, NULL);
    IS_EMPTY(qrt_redrive_report_failed_id, NULL, 0);
    IS_EMPTY(qrt_redrive_report_failed_reason, NULL, 0);
    DOES_NOTHING(qrt_redrive_report_free, NULL);
}

static void dead_letter_statistics(void) {
    qrt_dead_letter_filter_t filter = QRT_DEAD_LETTER_FILTER_INIT;
    qrt_dead_letter_statistics_t *statistics = NULL;
    REFUSES("queue", qrt_queue_dead_letter_statistics, NULL, NULL, NOBODY, &statistics, NULL);
    REFUSES("statistics", qrt_queue_dead_letter_statistics, queue, NULL, NOBODY, NULL, NULL);
    filter.ids_count = 1;
    REFUSES("ids", qrt_queue_dead_letter_statistics, queue, &filter, NOBODY, &statistics, NULL);
    ANSWERS(0, qrt_dead_letter_statistics_count, NULL);
    ANSWERS(0, qrt_dead_letter_statistics_bytes, NULL);
    ANSWERS(-1, qrt_dead_letter_statistics_oldest, NULL);
    ANSWERS(-1, qrt_dead_letter_statistics_newest, NULL);
    ANSWERS(0, qrt_dead_letter_statistics_groups, NULL, QRT_BY_REASON);
    IS_EMPTY(qrt_dead_letter_statistics_group_name, NULL, QRT_BY_REASON, 0);
    ANSWERS(0, qrt_dead_letter_statistics_group_count, NULL, QRT_BY_SOURCE, 0);
    ANSWERS(-1, qrt_dead_letter_statistics_group_oldest, NULL, QRT_BY_SOURCE, 0);
    ANSWERS(-1, qrt_dead_letter_statistics_group_newest, NULL, QRT_BY_SOURCE, 0);
    ANSWERS(0, qrt_dead_letter_statistics_ages, NULL);
    ANSWERS(-1, qrt_dead_letter_statistics_age_up_to_ms, NULL, 0);
    ANSWERS(0, qrt_dead_letter_statistics_age_count, NULL, 0);
    DOES_NOTHING(qrt_dead_letter_statistics_free, NULL);
}

static void producers(void) {
    qrt_producer_t *producer = NULL, *none = NULL;
    qrt_message_t *message = new_message("a"), *copy = NULL;
    qrt_send_results_t *sent = NULL;
    qrt_producer_report_t *report = NULL;
    REFUSES("message", qrt_message_copy, NULL, &copy);
    REFUSES("copy", qrt_message_copy, message, NULL);
    REFUSES("queue", qrt_producer_start, NULL, NULL, &none);
    REFUSES("producer", qrt_producer_start, queue, NULL, NULL);
    TAKES(qrt_producer_start, queue, NULL, &producer);
    REFUSES("producer", qrt_producer_send, NULL, message, 0, NOBODY, &sent, NULL);
    REFUSES("message", qrt_producer_send, producer, NULL, 0, NOBODY, &sent, NULL);
    REFUSES("results", qrt_producer_send, producer, message, 0, NOBODY, NULL, NULL);
    REFUSES("producer", qrt_producer_flush, NULL, NOBODY, NULL);
    REFUSES("producer", qrt_producer_close, NULL, 0, NOBODY, &report, NULL);
    REFUSES("report", qrt_producer_close, producer, 0, NOBODY, NULL, NULL);
    qrt_producer_free(producer);
    DOES_NOTHING(qrt_producer_free, NULL);
    ANSWERS(0, qrt_producer_report_sent, NULL);
    ANSWERS(0, qrt_producer_report_failed, NULL);
    ANSWERS(0, qrt_producer_report_unsent_count, NULL);
    ANSWERS(NULL, qrt_producer_report_unsent, NULL, 0);
    DOES_NOTHING(qrt_producer_report_free, NULL);
    qrt_message_free(message);
}

static void write_behinds(void) {
    const qrt_sink_t sink = QRT_SINK_INIT;
    const qrt_entry_t entry = {{NULL, 1}, {NULL, 0}};
    const qrt_entry_t good = {{NULL, 0}, {NULL, 0}};
    qrt_write_behind_t *opened = NULL;
    qrt_write_batch_t *asked = NULL;
    qrt_close_report_t *report = NULL;
    qrt_rejected_t *rejected = NULL;
    qrt_write_behind_metrics_t *metrics = NULL;
    qrt_settle_results_t *accepted = NULL;
    REFUSES("runtime", qrt_write_behind_open, NULL, NONE, &sink, NOBODY, &opened, NULL);
    REFUSES("write_behind", qrt_write_behind_open, runtime, NONE, &sink, NOBODY, NULL, NULL);
    TAKES(qrt_write_behind_open, runtime, NONE, &sink, NOBODY, &opened, NULL);
    REFUSES("write_behind", qrt_write_behind_enqueue, NULL, &good, 0, NOBODY, NULL);
    REFUSES("entry", qrt_write_behind_enqueue, opened, NULL, 0, NOBODY, NULL);
    REFUSES("entry.body", qrt_write_behind_enqueue, opened, &entry, 0, NOBODY, NULL);
    REFUSES("write_behind", qrt_write_behind_enqueue_many, NULL, &good, 1, 0, NOBODY, &accepted,
            NULL);
    REFUSES("entries", qrt_write_behind_enqueue_many, opened, NULL, 1, 0, NOBODY, &accepted, NULL);
    REFUSES("results", qrt_write_behind_enqueue_many, opened, &good, 1, 0, NOBODY, NULL, NULL);
    TAKES(qrt_write_behind_enqueue_many, opened, NULL, 0, 0, NOBODY, &accepted, NULL);
    CHECK(qrt_settle_results_count(accepted) == 0);
    qrt_settle_results_free(accepted);
    REFUSES("write_behind", qrt_write_behind_next, NULL, NOBODY, &asked, NULL);
    REFUSES("batch", qrt_write_behind_next, opened, NOBODY, NULL, NULL);
    REFUSES("write_behind", qrt_write_behind_flush, NULL, NOBODY, NULL);
    REFUSES("write_behind", qrt_write_behind_feed, NULL, queue, NOBODY, NULL);
    REFUSES("queue", qrt_write_behind_feed, opened, NULL, NOBODY, NULL);
    REFUSES("write_behind", qrt_write_behind_close, NULL, 0, NOBODY, &report, NULL);
    REFUSES("report", qrt_write_behind_close, opened, 0, NOBODY, NULL, NULL);
    REFUSES("write_behind", qrt_write_behind_take_rejected, NULL, &rejected);
    REFUSES("rejected", qrt_write_behind_take_rejected, opened, NULL);
    REFUSES("write_behind", qrt_write_behind_metrics, NULL, &metrics);
    REFUSES("metrics", qrt_write_behind_metrics, opened, NULL);
    ANSWERS(QRT_BREAKER_CLOSED, qrt_write_behind_breaker_state, NULL);
    qrt_write_behind_free(opened);
    DOES_NOTHING(qrt_write_behind_free, NULL);
    ANSWERS(0, qrt_write_batch_count, NULL);
    IS_EMPTY(qrt_write_batch_body, NULL, 0);
    IS_EMPTY(qrt_write_batch_key, NULL, 0);
    REFUSES("batch", qrt_write_batch_refuse, NULL, 0, QRT_ERR_PROVIDER, NONE);
    REFUSES("batch", qrt_write_batch_finish, NULL, QRT_OK, NONE);
    DOES_NOTHING(qrt_write_batch_free, NULL);
    ANSWERS(0, qrt_rejected_count, NULL);
    IS_EMPTY(qrt_rejected_body, NULL, 0);
    IS_EMPTY(qrt_rejected_key, NULL, 0);
    IS_EMPTY(qrt_rejected_reason, NULL, 0);
    IS_EMPTY(qrt_rejected_description, NULL, 0);
    ANSWERS(0, qrt_rejected_attempts, NULL, 0);
    ANSWERS(0, qrt_rejected_enqueued_at, NULL, 0);
    DOES_NOTHING(qrt_rejected_free, NULL);
    ANSWERS(0, qrt_close_report_unwritten_count, NULL);
    IS_EMPTY(qrt_close_report_unwritten_body, NULL, 0);
    IS_EMPTY(qrt_close_report_unwritten_key, NULL, 0);
    ANSWERS(0, qrt_close_report_left_in_journal, NULL);
    ANSWERS(NULL, qrt_close_report_rejected, NULL);
    DOES_NOTHING(qrt_close_report_free, NULL);
    ANSWERS(0, qrt_write_behind_metrics_enqueued, NULL);
    ANSWERS(0, qrt_write_behind_metrics_persisted, NULL);
    ANSWERS(0, qrt_write_behind_metrics_failed, NULL);
    ANSWERS(0, qrt_write_behind_metrics_retries, NULL);
    ANSWERS(0, qrt_write_behind_metrics_batches, NULL);
    ANSWERS(0, qrt_write_behind_metrics_depth, NULL);
    ANSWERS(0, qrt_write_behind_metrics_timestamp, NULL);
    DOES_NOTHING(qrt_write_behind_metrics_free, NULL);
}

static void the_rest(void) {
    uint64_t size = 1, limit = 1;
    IS_EMPTY(qrt_buffer_bytes, NULL);
    REFUSES("report", qrt_store_verify, text("/nowhere"), NULL);
    REFUSES("write", qrt_store_dump, text("/nowhere"), NULL, NULL);
    DOES_NOTHING(qrt_buffer_free, NULL);
    ANSWERS(QRT_OK, qrt_error_status, NULL);
    IS_EMPTY(qrt_error_message, NULL);
    IS_EMPTY(qrt_error_code, NULL);
    IS_EMPTY(qrt_error_queue, NULL);
    IS_EMPTY(qrt_error_operation, NULL);
    IS_EMPTY(qrt_error_field, NULL);
    IS_EMPTY(qrt_error_capability, NULL);
    ANSWERS(0, qrt_error_is_retryable, NULL);
    ANSWERS(-1, qrt_error_retry_after_ms, NULL);
    ANSWERS(-1, qrt_error_until, NULL);
    DOES_NOTHING(qrt_error_sizes, NULL, &size, &limit);
    CHECK(size == 0 && limit == 0);
    DOES_NOTHING(qrt_error_sizes, NULL, NULL, NULL);
    DOES_NOTHING(qrt_error_free, NULL);
    CHECK(is(qrt_status_name(12345), "unknown"));
    cover("qrt_status_name");
    TAKES(qrt_log_set, NULL, NULL, QRT_LOG_ERROR);
    CHECK(qrt_version().len > 0);
    cover("qrt_version");
    CHECK(qrt_abi_version() == (QRT_ABI_MAJOR << 16 | QRT_ABI_MINOR));
    cover("qrt_abi_version");
    TAKES(qrt_check_abi, QRT_ABI_MAJOR, QRT_ABI_MINOR);
}

static const char *symbols_path;

static void the_table_is_whole(void) {
    FILE *symbols = fopen(symbols_path, "r");
    char symbol[64];
    size_t count = 0;
    CHECK(symbols != NULL);
    while (fscanf(symbols, "%63s", symbol) == 1) {
        size_t i = 0;
        while (i < covered_count && strcmp(covered[i], symbol) != 0) i++;
        if (i == covered_count) printf("# %s is missing\n", symbol);
        CHECK(i < covered_count);
        count++;
    }
    fclose(symbols);
    CHECK(count == covered_count);
}

int main(int count, char **arguments) {
    symbols_path = count > 1 ? arguments[1] : "ffi/symbols.txt";
    set_up();
    RUN(runtimes_and_clients);
    RUN(queues);
    RUN(messages);
    RUN(deliveries);
    RUN(sessions);
    RUN(consumers_and_operations);
    RUN(results);
    RUN(dead_letters);
    RUN(dead_letter_statistics);
    RUN(producers);
    RUN(write_behinds);
    RUN(the_rest);
    RUN(the_table_is_whole);
    tear_down();
    return 0;
}

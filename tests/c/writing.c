/* Write-behind from C: into a sink of the program, by callback and asked for, and what comes back. */

#include "check.h"
#include "latch.h"

static qrt_entry_t entry(const char *body, const char *key) {
    qrt_entry_t entry = {text(body), text(key)};
    return entry;
}

static qrt_write_behind_t *open_with(qrt_runtime_t *runtime, const char *config,
                                     const qrt_sink_t *sink) {
    qrt_write_behind_t *opened = NULL;
    CHECK(qrt_write_behind_open(runtime, text(config), sink, NOBODY, &opened, NULL, NULL) ==
          QRT_OK);
    return opened;
}

static void enqueue(qrt_write_behind_t *sut, const char *body, const char *key) {
    qrt_entry_t one = entry(body, key);
    CHECK(qrt_write_behind_enqueue(sut, &one, 0, NOBODY, NULL, NULL) == QRT_OK);
}

/* Waits for an operation that may have ended at once. */
static void await_end(qrt_status_t status, qrt_op_t *op) {
    if (status == QRT_PENDING) CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    else CHECK(status == QRT_OK);
}

static void flush(qrt_write_behind_t *sut) {
    qrt_op_t *op = NULL;
    const qrt_status_t status = qrt_write_behind_flush(sut, NOBODY, &op, NULL);
    await_end(status, op);
    if (op != NULL) CHECK(qrt_op_take_unit(op, NULL) == QRT_OK);
    qrt_op_free(op);
}

static qrt_close_report_t *close_within(qrt_write_behind_t *sut, int64_t deadline_ms) {
    qrt_close_report_t *report = NULL;
    qrt_op_t *op = NULL;
    const qrt_status_t status = qrt_write_behind_close(sut, deadline_ms, NOBODY, &report, &op, NULL);
    await_end(status, op);
    if (op != NULL) CHECK(qrt_op_take_close_report(op, &report, NULL) == QRT_OK);
    qrt_op_free(op);
    return report;
}

static qrt_write_batch_t *ask(qrt_write_behind_t *sut) {
    qrt_write_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    const qrt_status_t status = qrt_write_behind_next(sut, NOBODY, &batch, &op, NULL);
    await_end(status, op);
    if (op != NULL) CHECK(qrt_op_take_write_batch(op, &batch, NULL) == QRT_OK);
    qrt_op_free(op);
    return batch;
}

/* A sink that counts, and refuses what begins with "bad". */
struct seen {
    pthread_mutex_t lock;
    size_t batches, entries;
    struct latch freed;
};

static void seen_batch(void *user_data, qrt_write_batch_t *batch) {
    struct seen *seen = user_data;
    const size_t count = qrt_write_batch_count(batch);
    pthread_mutex_lock(&seen->lock);
    seen->batches++;
    for (size_t i = 0; i < count; i++) {
        const qrt_bytes_t body = qrt_write_batch_body(batch, i);
        if (body.len >= 3 && memcmp(body.data, "bad", 3) == 0)
            CHECK(qrt_write_batch_refuse(batch, i, QRT_ERR_INVALID_MESSAGE, text("no good"),
                                         NULL) == QRT_OK);
        else
            seen->entries++;
    }
    pthread_mutex_unlock(&seen->lock);
    CHECK(qrt_write_batch_finish(batch, QRT_OK, text(""), NULL) == QRT_OK);
}

static void seen_freed(void *user_data) { latch_raise(&((struct seen *)user_data)->freed); }

static void a_callback_gets_the_batches(void) {
    struct seen seen = {PTHREAD_MUTEX_INITIALIZER, 0, 0, LATCH};
    qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_write_behind_t *sut;
    qrt_write_behind_metrics_t *metrics = NULL;
    qrt_rejected_t *rejected = NULL;
    qrt_settle_results_t *results = NULL;
    const qrt_entry_t many[] = {entry("d", ""), entry("e", "")};
    sink.on_batch = seen_batch;
    sink.user_data = &seen;
    sink.free = seen_freed;
    sut = open_with(runtime, "{\"name\": \"prices\"}", &sink);
    enqueue(sut, "a", "k");
    enqueue(sut, "bad", "");
    enqueue(sut, "c", "k");
    CHECK(qrt_write_behind_enqueue_many(sut, many, 2, 0, NOBODY, &results, NULL, NULL) == QRT_OK);
    CHECK(qrt_settle_results_count(results) == 2);
    CHECK(qrt_settle_results_status(results, 1) == QRT_OK);
    qrt_settle_results_free(results);
    flush(sut);
    CHECK(seen.batches == 1 && seen.entries == 3); /* c stands for a */
    CHECK(qrt_write_behind_metrics(sut, &metrics, NULL) == QRT_OK);
    CHECK(qrt_write_behind_metrics_enqueued(metrics) == 5);
    CHECK(qrt_write_behind_metrics_persisted(metrics) == 4);
    CHECK(qrt_write_behind_metrics_failed(metrics) == 1);
    CHECK(qrt_write_behind_metrics_depth(metrics) == 0);
    CHECK(qrt_write_behind_metrics_batches(metrics) == 1);
    CHECK(qrt_write_behind_metrics_retries(metrics) == 0);
    CHECK(qrt_write_behind_metrics_timestamp(metrics) == qrt_runtime_now(runtime));
    qrt_write_behind_metrics_free(metrics);
    CHECK(qrt_write_behind_take_rejected(sut, &rejected, NULL) == QRT_OK);
    CHECK(qrt_rejected_count(rejected) == 1);
    CHECK(is(qrt_rejected_body(rejected, 0), "bad"));
    CHECK(is(qrt_rejected_reason(rejected, 0), "invalid_message"));
    CHECK(is(qrt_rejected_description(rejected, 0), "no good"));
    CHECK(qrt_rejected_attempts(rejected, 0) == 1);
    CHECK(qrt_rejected_enqueued_at(rejected, 0) == qrt_runtime_now(runtime));
    CHECK(qrt_rejected_body(rejected, 1).len == 0);
    qrt_rejected_free(rejected);
    CHECK(qrt_write_behind_breaker_state(sut) == QRT_BREAKER_CLOSED);
    qrt_close_report_free(close_within(sut, 1000));
    qrt_write_behind_free(sut);
    latch_await(&seen.freed, 1);
    qrt_runtime_free(runtime);
}

static void batches_can_be_asked_for(void) {
    const qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_write_behind_t *sut = open_with(runtime, "{\"batch_size\": 2, \"retry\": \"none\"}", &sink);
    qrt_write_batch_t *batch;
    qrt_close_report_t *report;
    enqueue(sut, "a", "k");
    enqueue(sut, "b", "");
    batch = ask(sut);
    CHECK(qrt_write_batch_count(batch) == 2);
    CHECK(is(qrt_write_batch_body(batch, 0), "a"));
    CHECK(is(qrt_write_batch_key(batch, 0), "k"));
    CHECK(qrt_write_batch_key(batch, 1).len == 0);
    CHECK(qrt_write_batch_body(batch, 2).len == 0);
    CHECK(qrt_write_batch_refuse(batch, 2, QRT_ERR_PROVIDER, text(""), NULL) ==
          QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_write_batch_refuse(batch, 0, QRT_OK, text(""), NULL) == QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_write_batch_finish(batch, 12345, text(""), NULL) == QRT_ERR_INVALID_ARGUMENT);
    /* The sink is away, then lets go of the batch, then takes it. */
    CHECK(qrt_write_batch_finish(batch, QRT_ERR_UNAVAILABLE, text("away"), NULL) == QRT_OK);
    batch = ask(sut);
    CHECK(qrt_write_batch_count(batch) == 2);
    qrt_write_batch_free(batch);
    batch = ask(sut);
    CHECK(qrt_write_batch_count(batch) == 2);
    CHECK(qrt_write_batch_finish(batch, QRT_OK, text(""), NULL) == QRT_OK);
    flush(sut);

    enqueue(sut, "bad", "");
    enqueue(sut, "good", "");
    for (int part = 0; part < 3; part++) {
        batch = ask(sut);
        CHECK(qrt_write_batch_count(batch) == (part == 0 ? 2 : 1));
        if (is(qrt_write_batch_body(batch, 0), "bad"))
            CHECK(qrt_write_batch_finish(batch, QRT_ERR_PROVIDER, text("odd"), NULL) == QRT_OK);
        else
            CHECK(qrt_write_batch_finish(batch, QRT_OK, text(""), NULL) == QRT_OK);
    }
    report = close_within(sut, 1000);
    CHECK(qrt_close_report_unwritten_count(report) == 0);
    CHECK(qrt_close_report_left_in_journal(report) == 0);
    CHECK(qrt_rejected_count(qrt_close_report_rejected(report)) == 1);
    CHECK(is(qrt_rejected_body(qrt_close_report_rejected(report), 0), "bad"));
    qrt_close_report_free(report);
    CHECK(ask(sut) == NULL); /* it has closed */
    qrt_write_behind_free(sut);
    qrt_runtime_free(runtime);
}

static void a_full_buffer_waits_or_says_so(void) {
    const qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_write_behind_t *sut = open_with(runtime, "{\"max_entries\": 1, \"batch_size\": 1}", &sink);
    const qrt_entry_t more = entry("more", "");
    qrt_close_report_t *report;
    qrt_op_t *op = NULL;
    enqueue(sut, "first", "key");
    CHECK(qrt_write_behind_enqueue(sut, &more, QRT_NO_WAIT, NOBODY, NULL, NULL) == QRT_ERR_FULL);
    CHECK(qrt_write_behind_enqueue(sut, &more, 1u << 30, NOBODY, NULL, NULL) ==
          QRT_ERR_INVALID_ARGUMENT);
    CHECK(qrt_write_behind_enqueue(sut, &more, 0, NOBODY, &op, NULL) == QRT_PENDING);
    report = close_within(sut, 0);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_unit(op, NULL) == QRT_ERR_CLOSED);
    qrt_op_free(op);
    CHECK(qrt_close_report_unwritten_count(report) == 1);
    CHECK(is(qrt_close_report_unwritten_body(report, 0), "first"));
    CHECK(is(qrt_close_report_unwritten_key(report, 0), "key"));
    CHECK(qrt_close_report_unwritten_body(report, 1).len == 0);
    qrt_close_report_free(report);
    qrt_write_behind_free(sut);
    qrt_runtime_free(runtime);
}

/* Also when it had been handed over already, which threads decide: again and again. */
static void what_was_given_back_is_not_asked_for(void) {
    const qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    for (int round = 0; round < 200; round++) {
        qrt_write_behind_t *sut = open_with(runtime, "{\"batch_size\": 1}", &sink);
        qrt_close_report_t *report;
        for (int i = 0; i < 20; i++) enqueue(sut, "entry", "");
        report = close_within(sut, 0);
        CHECK(qrt_close_report_unwritten_count(report) == 20);
        CHECK(ask(sut) == NULL);
        qrt_close_report_free(report);
        qrt_write_behind_free(sut);
    }
    qrt_runtime_free(runtime);
}

static void a_queue_feeds(void) {
    const qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, "");
    qrt_write_behind_t *sut = open_with(runtime, "{\"batch_size\": 2}", &sink);
    qrt_statistics_t *statistics = NULL;
    qrt_write_batch_t *batch;
    qrt_op_t *feed = NULL;
    CHECK(send_text(queue, "a") == QRT_OK);
    CHECK(send_text(queue, "b") == QRT_OK);
    CHECK(qrt_write_behind_feed(sut, queue, NOBODY, &feed, NULL) == QRT_PENDING);
    batch = ask(sut);
    CHECK(qrt_write_batch_count(batch) == 2);
    CHECK(qrt_queue_statistics(queue, NOBODY, &statistics, NULL, NULL) == QRT_OK);
    CHECK(qrt_statistics_in_flight(statistics) == 2); /* acknowledged after the write */
    qrt_statistics_free(statistics);
    CHECK(qrt_write_batch_finish(batch, QRT_OK, text(""), NULL) == QRT_OK);
    qrt_close_report_free(close_within(sut, 1000));
    CHECK(qrt_op_wait(feed, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_op_take_unit(feed, NULL) == QRT_OK);
    qrt_op_free(feed);
    CHECK(qrt_queue_statistics(queue, NOBODY, &statistics, NULL, NULL) == QRT_OK);
    CHECK(qrt_statistics_depth(statistics) == 0);
    qrt_statistics_free(statistics);
    qrt_write_behind_free(sut);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
}

static void what_does_not_open_frees_its_sink(void) {
    struct seen seen = {PTHREAD_MUTEX_INITIALIZER, 0, 0, LATCH};
    qrt_sink_t sink = QRT_SINK_INIT;
    qrt_runtime_t *runtime = new_runtime(1);
    qrt_write_behind_t *sut = NULL;
    qrt_error_t *error = NULL;
    sink.on_batch = seen_batch;
    sink.user_data = &seen;
    sink.free = seen_freed;
    CHECK(qrt_write_behind_open(runtime, text("{\"table\": \"t\"}"), &sink, NOBODY, &sut, NULL,
                                &error) == QRT_ERR_INVALID_CONFIG);
    CHECK(is(qrt_error_field(error), "table"));
    qrt_error_free(error);
    latch_await(&seen.freed, 1);
    /* Without a sink, configuration names a database. */
    CHECK(qrt_write_behind_open(runtime, text(""), NULL, NOBODY, &sut, NULL, NULL) ==
          QRT_ERR_INVALID_CONFIG);
    CHECK(qrt_write_behind_open(runtime, text("{"), NULL, NOBODY, &sut, NULL, NULL) ==
          QRT_ERR_INVALID_CONFIG);
    qrt_runtime_free(runtime);
}

int main(void) {
    RUN(a_callback_gets_the_batches);
    RUN(batches_can_be_asked_for);
    RUN(a_full_buffer_waits_or_says_so);
    RUN(what_was_given_back_is_not_asked_for);
    RUN(a_queue_feeds);
    RUN(what_does_not_open_frees_its_sink);
    return 0;
}

/* The store of `file:`, in use and looked at from outside. */

#include "completion.h"
#include "folder.h"

/* The folder of the test that runs. */
static char folder[FOLDER_PATH];

static qrt_client_t *open_client(qrt_runtime_t *runtime) {
    char url[2 * FOLDER_PATH];
    qrt_client_t *client = NULL;
    qrt_op_t *op = NULL;
    snprintf(url, sizeof url, "file://%s?segment_bytes=4194304", folder);
    if (qrt_client_open(runtime, text(url), text(""), NOBODY, &client, &op, NULL) == QRT_PENDING) {
        CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
        CHECK(qrt_op_take_client(op, &client, NULL) == QRT_OK);
    }
    qrt_op_free(op);
    CHECK(client != NULL);
    return client;
}

static void send_durably(qrt_queue_t *queue, const char *body) {
    qrt_message_t *message = new_message(body);
    /* Led by this thread: on the disk when it is over. */
    CHECK(qrt_queue_send_one(queue, message, QRT_MAY_BLOCK, NOBODY, NULL, NULL) == QRT_OK);
    qrt_message_free(message);
}

/* A store with three messages, closed again. */
static void fill(void) {
    qrt_runtime_t *runtime = new_runtime(0);
    qrt_client_t *client = open_client(runtime);
    qrt_queue_t *queue = new_queue(client, "");
    send_durably(queue, "first");
    send_durably(queue, "second");
    send_durably(queue, "third");
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
}

static void what_is_sent_outlives_its_runtime(void) {
    qrt_runtime_t *runtime;
    qrt_client_t *client;
    qrt_queue_t *queue;
    qrt_receive_options_t three = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *batch = NULL;
    CHECK(folder_make(folder));
    fill();
    runtime = new_runtime(0);
    client = open_client(runtime);
    queue = new_queue(client, "");
    three.max_messages = 3;
    CHECK(qrt_queue_receive(queue, &three, NOBODY, &batch, NULL, NULL) == QRT_OK);
    CHECK(qrt_batch_count(batch) == 3 && is(body_of(batch, 0), "first"));
    qrt_batch_free(batch);
    qrt_queue_free(queue);
    qrt_client_free(client);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_runtime_free(runtime);
    folder_remove(folder);
}

static int contains(qrt_bytes_t bytes, const char *part) {
    return memmem(bytes.data, bytes.len, part, strlen(part)) != NULL;
}

static void a_store_is_verified_from_outside(void) {
    qrt_buffer_t *report = NULL;
    qrt_bytes_t json;
    CHECK(folder_make(folder));
    fill();
    CHECK(qrt_store_verify(text(folder), &report, NULL) == QRT_OK);
    json = qrt_buffer_bytes(report);
    CHECK(contains(json, "\"name\":\"jobs\",\"messages\":3,\"dead\":0"));
    CHECK(contains(json, "\"damaged\":[]"));
    qrt_buffer_free(report);
    folder_remove(folder);
}

struct lines {
    size_t count, calls;
    int refuse;
};

static int32_t count_lines(void *user_data, qrt_bytes_t more) {
    struct lines *lines = user_data;
    lines->calls++;
    for (size_t i = 0; i < more.len; i++) lines->count += more.data[i] == '\n';
    return lines->refuse;
}

static void a_dump_has_a_line_for_each_record(void) {
    struct lines lines = {0, 0, 0}, refused = {0, 0, 1};
    CHECK(folder_make(folder));
    fill();
    CHECK(qrt_store_dump(text(folder), count_lines, &lines, NULL) == QRT_OK);
    CHECK(lines.count >= 4);
    CHECK(qrt_store_dump(text(folder), count_lines, &refused, NULL) == QRT_ERR_UNAVAILABLE);
    CHECK(refused.calls == 1);
    folder_remove(folder);
}

static void what_is_no_store_is_refused(void) {
    qrt_buffer_t *report = (qrt_buffer_t *)&report;
    qrt_error_t *error = NULL;
    CHECK(folder_make(folder));
    CHECK(qrt_store_verify(text(folder), &report, &error) != QRT_OK && report == NULL);
    CHECK(contains(qrt_error_message(error), folder));
    qrt_error_free(error);
    folder_remove(folder);
}

int main(void) {
    RUN(what_is_sent_outlives_its_runtime);
    RUN(a_store_is_verified_from_outside);
    RUN(a_dump_has_a_line_for_each_record);
    RUN(what_is_no_store_is_refused);
    return 0;
}

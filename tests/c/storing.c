/* The store of `file:`, in use and looked at from outside. */

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "completion.h"

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place) {
    (void)stat, (void)type, (void)place;
    return remove(path);
}

/* A folder of this test's own. */
static char folder[] = "/tmp/queue-runtime-XXXXXX";

static void open_folder(void) {
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

/* Threads of a store may outlive its last client by the work they are at. */
static void remove_folder(void) {
    struct stat found;
    while (stat(folder, &found) == 0) nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static qrt_client_t *open_client(qrt_runtime_t *runtime) {
    char url[128];
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
    open_folder();
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
    remove_folder();
}

static int contains(qrt_bytes_t bytes, const char *part) {
    return memmem(bytes.data, bytes.len, part, strlen(part)) != NULL;
}

static void a_store_is_verified_from_outside(void) {
    qrt_buffer_t *report = NULL;
    qrt_bytes_t json;
    open_folder();
    fill();
    CHECK(qrt_store_verify(text(folder), &report, NULL) == QRT_OK);
    json = qrt_buffer_bytes(report);
    CHECK(contains(json, "\"name\":\"jobs\",\"messages\":3,\"dead\":0"));
    CHECK(contains(json, "\"damaged\":[]"));
    qrt_buffer_free(report);
    remove_folder();
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
    open_folder();
    fill();
    CHECK(qrt_store_dump(text(folder), count_lines, &lines, NULL) == QRT_OK);
    CHECK(lines.count >= 4);
    CHECK(qrt_store_dump(text(folder), count_lines, &refused, NULL) == QRT_ERR_UNAVAILABLE);
    CHECK(refused.calls == 1);
    remove_folder();
}

static void what_is_no_store_is_refused(void) {
    qrt_buffer_t *report = (qrt_buffer_t *)&report;
    qrt_error_t *error = NULL;
    open_folder();
    CHECK(qrt_store_verify(text(folder), &report, &error) != QRT_OK && report == NULL);
    CHECK(contains(qrt_error_message(error), folder));
    qrt_error_free(error);
    remove_folder();
}

int main(void) {
    RUN(what_is_sent_outlives_its_runtime);
    RUN(a_store_is_verified_from_outside);
    RUN(a_dump_has_a_line_for_each_record);
    RUN(what_is_no_store_is_refused);
    return 0;
}

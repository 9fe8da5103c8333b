/* The library loaded by hand: again and again, and twice at once. Not linked to it; takes the paths
 * of two copies. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "queue_runtime.h"

#define CHECK(what)                                                    \
    do {                                                               \
        if (!(what)) {                                                 \
            printf("not ok - %s:%d %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

/* The functions of one copy. */
struct library {
    void *handle;
    __typeof__(&qrt_runtime_new) runtime_new;
    __typeof__(&qrt_runtime_shutdown) runtime_shutdown;
    __typeof__(&qrt_runtime_free) runtime_free;
    __typeof__(&qrt_client_open) client_open;
    __typeof__(&qrt_client_free) client_free;
    __typeof__(&qrt_queue_open) queue_open;
    __typeof__(&qrt_queue_send_one) send_one;
    __typeof__(&qrt_queue_receive) receive;
    __typeof__(&qrt_queue_free) queue_free;
    __typeof__(&qrt_message_new) message_new;
    __typeof__(&qrt_message_set_body) set_body;
    __typeof__(&qrt_message_free) message_free;
    __typeof__(&qrt_batch_count) batch_count;
    __typeof__(&qrt_batch_get) batch_get;
    __typeof__(&qrt_batch_free) batch_free;
    __typeof__(&qrt_delivery_ack) ack;
};

static void load(struct library *library, const char *path, int mode) {
    library->handle = dlopen(path, RTLD_NOW | mode);
    if (library->handle == NULL) printf("# %s\n", dlerror());
    CHECK(library->handle != NULL);
#define FIND(field, name) *(void **)&library->field = dlsym(library->handle, name)
    FIND(runtime_new, "qrt_runtime_new");
    FIND(runtime_shutdown, "qrt_runtime_shutdown");
    FIND(runtime_free, "qrt_runtime_free");
    FIND(client_open, "qrt_client_open");
    FIND(client_free, "qrt_client_free");
    FIND(queue_open, "qrt_queue_open");
    FIND(send_one, "qrt_queue_send_one");
    FIND(receive, "qrt_queue_receive");
    FIND(queue_free, "qrt_queue_free");
    FIND(message_new, "qrt_message_new");
    FIND(set_body, "qrt_message_set_body");
    FIND(message_free, "qrt_message_free");
    FIND(batch_count, "qrt_batch_count");
    FIND(batch_get, "qrt_batch_get");
    FIND(batch_free, "qrt_batch_free");
    FIND(ack, "qrt_delivery_ack");
    CHECK(library->ack != NULL);
}

/* What a program holds of one copy. */
struct program {
    qrt_runtime_t *runtime;
    qrt_client_t *client;
    qrt_queue_t *queue;
};

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

static qrt_bytes_t text(const char *s) {
    qrt_bytes_t bytes = {(const uint8_t *)s, strlen(s)};
    return bytes;
}

static void begin(const struct library *q, struct program *program, const char *url) {
    CHECK(q->runtime_new(NULL, &program->runtime, NULL) == QRT_OK);
    CHECK(q->client_open(program->runtime, text(url), text(""), NOBODY, &program->client,
                         NULL, NULL) == QRT_OK);
    CHECK(q->queue_open(program->client, text("jobs"), text(""), &program->queue, NULL) == QRT_OK);
}

static void send(const struct library *q, const struct program *program) {
    qrt_message_t *message = NULL;
    CHECK(q->message_new(&message, NULL) == QRT_OK);
    CHECK(q->set_body(message, text("a"), NULL) == QRT_OK);
    CHECK(q->send_one(program->queue, message, QRT_MAY_BLOCK, NOBODY, NULL, NULL) == QRT_OK);
    q->message_free(message);
}

static void take(const struct library *q, const struct program *program) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *batch = NULL;
    options.wait_ms = 0;
    CHECK(q->receive(program->queue, &options, NOBODY, &batch, NULL, NULL) == QRT_OK);
    CHECK(q->batch_count(batch) == 1);
    CHECK(q->ack(q->batch_get(batch, 0), QRT_MAY_BLOCK, NOBODY, NULL, NULL) == QRT_OK);
    q->batch_free(batch);
}

static void end(const struct library *q, struct program *program) {
    q->queue_free(program->queue);
    q->client_free(program->client);
    CHECK(q->runtime_shutdown(program->runtime, 30000, NULL) == QRT_OK);
    q->runtime_free(program->runtime);
}

static void again_and_again(const char *path, int mode, int times) {
    for (int i = 0; i < times; i++) {
        struct library library;
        struct program program = {NULL, NULL, NULL};
        load(&library, path, mode);
        begin(&library, &program, "memory:");
        send(&library, &program);
        take(&library, &program);
        end(&library, &program);
        CHECK(dlclose(library.handle) == 0);
    }
}

/* What one of them sends the other one takes, where they share a store. */
static void two_copies_at_once(const char *path, const char *copy, const char *url, bool share) {
    struct library libraries[2];
    struct program programs[2];
    memset(programs, 0, sizeof programs);
    load(&libraries[0], path, RTLD_GLOBAL);
    load(&libraries[1], copy, RTLD_LOCAL);
    CHECK(libraries[0].ack != libraries[1].ack);
    for (int i = 0; i < 2; i++) begin(&libraries[i], &programs[i], url);
    for (int i = 0; i < 100; i++) {
        int sender = i % 2, taker = share ? 1 - sender : sender;
        send(&libraries[sender], &programs[sender]);
        take(&libraries[taker], &programs[taker]);
    }
    for (int i = 0; i < 2; i++) end(&libraries[i], &programs[i]);
}

int main(int count, char **arguments) {
    char folder[FOLDER_PATH], url[FOLDER_PATH + 8];
    if (count != 3) {
        fprintf(stderr, "usage: %s LIBRARY COPY\n", arguments[0]);
        return 2;
    }
    again_and_again(arguments[1], RTLD_LOCAL, 50);
    again_and_again(arguments[1], RTLD_GLOBAL, 50);
    printf("ok - loaded_and_closed_100_times\n");
    two_copies_at_once(arguments[1], arguments[2], "memory:", false);
    printf("ok - two_copies_in_one_process\n");
    CHECK(folder_make(folder));
    snprintf(url, sizeof url, "file://%s", folder);
    two_copies_at_once(arguments[1], arguments[2], url, true);
    folder_remove(folder);
    printf("ok - two_copies_share_a_store\n");
    return 0;
}

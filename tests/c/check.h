/* What the tests in C share: a check that names itself, a line for each test, and the texts and
 * handles they all need. */

#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"

#define CHECK(what)                                                                    \
    do {                                                                               \
        if (!(what)) {                                                                 \
            printf("not ok - %s at %s:%d: %s\n", test_name, __FILE__, __LINE__, #what); \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

/* Runs a test and prints its line. */
#define RUN(test)                        \
    do {                                 \
        test_name = #test;               \
        test();                          \
        printf("ok - %s\n", test_name);  \
        fflush(stdout);                  \
    } while (0)

/* How long a wait in real time may take before it has failed. */
enum { PATIENCE_MS = 30000 };

static const char *test_name = "";

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

static inline qrt_bytes_t text(const char *s) {
    qrt_bytes_t bytes = {(const uint8_t *)s, strlen(s)};
    return bytes;
}

static inline int is(qrt_bytes_t bytes, const char *s) {
    return bytes.len == strlen(s) && (bytes.len == 0 || memcmp(bytes.data, s, bytes.len) == 0);
}

/* How much longer than usual searching tests run. */
static inline int soak(void) {
    const char *factor = getenv("QRT_SOAK");
    int times = factor == NULL ? 1 : atoi(factor);
    return times < 1 ? 1 : times;
}

static inline qrt_runtime_t *new_runtime(int virtual_clock) {
    qrt_runtime_options_t options = QRT_RUNTIME_OPTIONS_INIT;
    qrt_runtime_t *runtime = NULL;
    options.config = text("{\"worker_threads\": 2}");
    options.virtual_clock = (uint32_t)virtual_clock;
    CHECK(qrt_runtime_new(&options, &runtime, NULL) == QRT_OK);
    return runtime;
}

static inline qrt_client_t *new_client(qrt_runtime_t *runtime, const char *url) {
    qrt_client_t *client = NULL;
    CHECK(qrt_client_open(runtime, text(url), text(""), NOBODY, &client, NULL, NULL) == QRT_OK);
    return client;
}

static inline qrt_queue_t *new_queue(qrt_client_t *client, const char *config) {
    qrt_queue_t *queue = NULL;
    CHECK(qrt_queue_open(client, text("jobs"), text(config), &queue, NULL) == QRT_OK);
    return queue;
}

/* A queue that holds on to a runtime and a client of its own. */
static inline qrt_queue_t *lone_queue(int virtual_clock, const char *config) {
    qrt_runtime_t *runtime = new_runtime(virtual_clock);
    qrt_client_t *client = new_client(runtime, "memory:");
    qrt_queue_t *queue = new_queue(client, config);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
    return queue;
}

static inline qrt_message_t *new_message(const char *body) {
    qrt_message_t *message = NULL;
    CHECK(qrt_message_new(&message, NULL) == QRT_OK);
    CHECK(qrt_message_set_body(message, text(body), NULL) == QRT_OK);
    return message;
}

static inline qrt_status_t send_text(qrt_queue_t *queue, const char *body) {
    qrt_message_t *message = new_message(body);
    qrt_status_t status = qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL);
    qrt_message_free(message);
    return status;
}

/* What is there at once, up to `max`. */
static inline qrt_batch_t *look(qrt_queue_t *queue, uint32_t max) {
    qrt_receive_options_t options = QRT_RECEIVE_OPTIONS_INIT;
    qrt_batch_t *batch = NULL;
    options.max_messages = max;
    options.wait_ms = 0;
    CHECK(qrt_queue_receive(queue, &options, NOBODY, &batch, NULL, NULL) == QRT_OK);
    return batch;
}

static inline qrt_bytes_t body_of(const qrt_batch_t *batch, size_t index) {
    return qrt_message_body(qrt_delivery_message(qrt_batch_get(batch, index)));
}

#endif

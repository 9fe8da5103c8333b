/* One thread and its poll(2): receives from many queues are in flight at once, and their ends
 * come through one file descriptor, in batches. The same fits epoll, libuv and glib. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"

enum { QUEUES = 8 };

static const qrt_completion_t nobody = QRT_COMPLETION_NONE;

static qrt_bytes_t text(const char *string) {
    qrt_bytes_t bytes = {(const uint8_t *)string, strlen(string)};
    return bytes;
}

/* Ends the program when something failed. */
static void check(qrt_status_t status, qrt_error_t **error) {
    if (status == QRT_OK || status == QRT_PENDING) return;
    qrt_bytes_t what = qrt_error_message(*error);
    fprintf(stderr, "%.*s\n", (int)what.len, (const char *)what.data);
    exit(1);
}

/* Acks and prints what a receive gave. */
static void handle(unsigned queue, qrt_batch_t *batch) {
    qrt_error_t *error = NULL;
    for (size_t i = 0; i < qrt_batch_count(batch); i++) {
        const qrt_delivery_t *delivery = qrt_batch_get(batch, i);
        qrt_bytes_t body = qrt_message_body(qrt_delivery_message(delivery));
        printf("queue %u: %.*s\n", queue, (int)body.len, (const char *)body.data);
        check(qrt_delivery_ack(delivery, 0, nobody, NULL, &error), &error);
    }
    qrt_batch_free(batch);
}

int main(void) {
    qrt_runtime_t *runtime = NULL;
    qrt_client_t *client = NULL;
    qrt_queue_t *queues[QUEUES];
    qrt_events_t *events = NULL;
    qrt_message_t *message = NULL;
    qrt_error_t *error = NULL;
    unsigned waiting = 0;

    check(qrt_runtime_new(NULL, &runtime, &error), &error);
    check(qrt_client_open(runtime, text("memory:"), text(""), nobody, &client, NULL, &error),
          &error);
    check(qrt_events_new(runtime, &events, &error), &error);

    for (unsigned i = 0; i < QUEUES; i++) {
        char name[16];
        qrt_batch_t *batch = NULL;
        qrt_op_t *op = NULL;
        snprintf(name, sizeof name, "queue-%u", i);
        check(qrt_queue_open(client, text(name), text(""), &queues[i], &error), &error);
        check(qrt_queue_receive(queues[i], NULL, nobody, &batch, &op, &error), &error);
        if (op == NULL) {
            handle(i, batch); /* ended at once */
        } else {
            check(qrt_events_watch(events, op, i, &error), &error); /* the tag says whose it is */
            qrt_op_free(op);
            waiting++;
        }
    }

    check(qrt_message_new(&message, &error), &error);
    check(qrt_message_set_body(message, text("hello"), &error), &error);
    for (unsigned i = 0; i < QUEUES; i++)
        check(qrt_queue_send_one(queues[i], message, 0, nobody, NULL, &error), &error);
    qrt_message_free(message);

    while (waiting > 0) {
        struct pollfd ready = {qrt_events_fd(events), POLLIN, 0};
        qrt_event_t ended[4];
        poll(&ready, 1, -1);
        for (size_t i = qrt_events_drain(events, ended, 4); i-- > 0; waiting--) {
            qrt_batch_t *batch = NULL;
            check(qrt_op_take_batch(ended[i].op, &batch, &error), &error);
            qrt_op_free(ended[i].op);
            handle((unsigned)ended[i].tag, batch);
        }
    }

    for (unsigned i = 0; i < QUEUES; i++) qrt_queue_free(queues[i]);
    qrt_events_free(events);
    qrt_client_free(client);
    check(qrt_runtime_shutdown(runtime, 10000, &error), &error);
    qrt_runtime_free(runtime);
    return 0;
}

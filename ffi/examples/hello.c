/* Thirty seconds in C: send, receive, ack. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"

static qrt_bytes_t text(const char *string) {
    qrt_bytes_t bytes = {(const uint8_t *)string, strlen(string)};
    return bytes;
}

/* Ends the program when something failed. */
static void check(qrt_status_t status, qrt_error_t **error) {
    if (status == QRT_OK) return;
    qrt_bytes_t what = qrt_error_message(*error);
    fprintf(stderr, "%.*s\n", (int)what.len, (const char *)what.data);
    exit(1);
}

/* Waits for a verb that could not end at once, as most cannot that need a disk or a network. */
static void finish(qrt_status_t status, qrt_op_t *op, qrt_error_t **error) {
    if (status == QRT_PENDING) {
        check(qrt_op_wait(op, -1, error), error);
        status = qrt_op_take_unit(op, error);
        qrt_op_free(op);
    }
    check(status, error);
}

int main(void) {
    const qrt_completion_t nobody = QRT_COMPLETION_NONE; /* nobody is called: we wait */
    qrt_runtime_t *runtime = NULL;
    qrt_client_t *client = NULL;
    qrt_queue_t *orders = NULL;
    qrt_message_t *message = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    qrt_error_t *error = NULL;
    qrt_status_t status;

    check(qrt_runtime_new(NULL, &runtime, &error), &error);
    status = qrt_client_open(runtime, text("memory:"), text(""), nobody, &client, &op, &error);
    if (status == QRT_PENDING) {
        check(qrt_op_wait(op, -1, &error), &error);
        status = qrt_op_take_client(op, &client, &error);
        qrt_op_free(op);
    }
    check(status, &error);
    check(qrt_queue_open(client, text("orders"), text(""), &orders, &error), &error);

    /* Messages of one session are handled in order, by one receiver at a time. */
    check(qrt_message_new(&message, &error), &error);
    check(qrt_message_set_body(message, text("two lattes"), &error), &error);
    check(qrt_message_set_session(message, text("table-7"), &error), &error);
    status = qrt_queue_send_one(orders, message, 0, nobody, &op, &error);
    finish(status, op, &error);
    qrt_message_free(message);

    status = qrt_queue_receive(orders, NULL, nobody, &batch, &op, &error);
    if (status == QRT_PENDING) {
        check(qrt_op_wait(op, -1, &error), &error);
        status = qrt_op_take_batch(op, &batch, &error);
        qrt_op_free(op);
    }
    check(status, &error);
    for (size_t i = 0; i < qrt_batch_count(batch); i++) {
        const qrt_delivery_t *order = qrt_batch_get(batch, i);
        qrt_bytes_t body = qrt_message_body(qrt_delivery_message(order));
        printf("attempt %u: %.*s\n", (unsigned)qrt_delivery_attempt(order), (int)body.len,
               (const char *)body.data);
        status = qrt_delivery_ack(order, 0, nobody, &op, &error); /* or nack, release, ... */
        finish(status, op, &error);
    }

    qrt_batch_free(batch);
    qrt_queue_free(orders);
    qrt_client_free(client);
    check(qrt_runtime_shutdown(runtime, 10000, &error), &error);
    qrt_runtime_free(runtime);
    return 0;
}

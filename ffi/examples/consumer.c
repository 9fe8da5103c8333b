/* Receive by callback: batches come on threads of the runtime while the main thread sends. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_runtime.h"

enum { ORDERS = 1000 };

/* What the callback works with. The lock is ours: the library holds none while it calls us. */
struct shop {
    pthread_mutex_t lock;
    pthread_cond_t served_all;
    qrt_consumer_t *consumer;
    unsigned served;
};

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

/* Acks what it got and lets as many more come. The batch is ours to free. */
static void serve(void *user_data, qrt_batch_t *batch) {
    const qrt_completion_t nobody = QRT_COMPLETION_NONE;
    struct shop *shop = user_data;
    unsigned count = (unsigned)qrt_batch_count(batch);
    qrt_error_t *error = NULL;
    for (unsigned i = 0; i < count; i++)
        check(qrt_delivery_ack(qrt_batch_get(batch, i), 0, nobody, NULL, &error), &error);
    qrt_batch_free(batch);

    pthread_mutex_lock(&shop->lock);
    shop->served += count;
    qrt_consumer_grant(shop->consumer, count, NULL);
    if (shop->served == ORDERS) pthread_cond_signal(&shop->served_all);
    pthread_mutex_unlock(&shop->lock);
}

int main(void) {
    const qrt_completion_t nobody = QRT_COMPLETION_NONE;
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    struct shop shop = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0};
    qrt_runtime_t *runtime = NULL;
    qrt_client_t *client = NULL;
    qrt_queue_t *orders = NULL;
    qrt_message_t *message = NULL;
    qrt_op_t *op = NULL;
    qrt_error_t *error = NULL;

    check(qrt_runtime_new(NULL, &runtime, &error), &error);
    check(qrt_client_open(runtime, text("memory:"), text(""), nobody, &client, NULL, &error),
          &error);
    check(qrt_queue_open(client, text("orders"), text(""), &orders, &error), &error);

    options.on_batch = serve;
    options.user_data = &shop;
    pthread_mutex_lock(&shop.lock); /* the first batch may come before the handle */
    check(qrt_consumer_start(orders, &options, &shop.consumer, &error), &error);
    pthread_mutex_unlock(&shop.lock);

    check(qrt_message_new(&message, &error), &error);
    check(qrt_message_set_body(message, text("a coffee"), &error), &error);
    for (int i = 0; i < ORDERS; i++)
        check(qrt_queue_send_one(orders, message, 0, nobody, NULL, &error), &error);
    qrt_message_free(message);

    pthread_mutex_lock(&shop.lock);
    while (shop.served < ORDERS) pthread_cond_wait(&shop.served_all, &shop.lock);
    pthread_mutex_unlock(&shop.lock);
    printf("served %u orders\n", shop.served);

    /* Once the stop has ended, no callback runs any more, and `shop` may go. */
    check(qrt_consumer_stop(shop.consumer, nobody, &op, &error), &error);
    if (op != NULL) check(qrt_op_wait(op, -1, &error), &error);
    qrt_op_free(op);
    qrt_consumer_free(shop.consumer);
    qrt_queue_free(orders);
    qrt_client_free(client);
    check(qrt_runtime_shutdown(runtime, 10000, &error), &error);
    qrt_runtime_free(runtime);
    return 0;
}

/* Forks: a child cannot use what its parent made, is told so, and hangs nowhere; a runtime of its
 * own works. */

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "completion.h"

/* The child's part must end with 0, in time: a child that hangs is ended by its alarm. */
static void in_child(void (*part)(void)) {
    int status = -1;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(PATIENCE_MS / 1000);
        part();
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static qrt_runtime_t *runtime;
static qrt_client_t *client;
static qrt_queue_t *queue;
static qrt_message_t *message;
static qrt_batch_t *batch;
static qrt_session_t *session;
static qrt_settlements_t *settlements;
static qrt_consumer_t *consumer;
static qrt_events_t *events;
static qrt_op_t *op;

static void on_batch(void *user_data, qrt_batch_t *received) {
    (void)user_data;
    qrt_batch_free(received);
}

#define FORKED(call) CHECK((call) == QRT_ERR_FORKED)

static void everything_is_forked(void) {
    const qrt_delivery_t *delivery = qrt_batch_get(batch, 0);
    qrt_consumer_options_t consume = QRT_CONSUMER_OPTIONS_INIT;
    const qrt_message_t *messages[] = {message};
    qrt_client_t *a = NULL;
    qrt_queue_t *b = NULL;
    qrt_send_results_t *c = NULL;
    qrt_batch_t *d = NULL;
    qrt_peeked_t *e = NULL;
    qrt_statistics_t *f = NULL;
    qrt_buffer_t *g = NULL;
    qrt_session_t *h = NULL;
    qrt_settle_results_t *i = NULL;
    qrt_dead_letters_t *j = NULL;
    qrt_redrive_report_t *k = NULL;
    qrt_dead_letter_statistics_t *o = NULL;
    qrt_consumer_t *l = NULL;
    qrt_events_t *m = NULL;
    qrt_event_t event;
    uint64_t n = 0;
    consume.on_batch = on_batch;
    FORKED(qrt_runtime_shutdown(runtime, 1, NULL));
    FORKED(qrt_runtime_advance(runtime, 1, NULL));
    FORKED(qrt_runtime_metrics(runtime, &g, NULL));
    FORKED(qrt_client_open(runtime, text("memory:"), text(""), NOBODY, &a, NULL, NULL));
    FORKED(qrt_client_capabilities(client, &g, NULL));
    FORKED(qrt_client_close(client, NOBODY, NULL, NULL));
    FORKED(qrt_queue_open(client, text("q"), text(""), &b, NULL));
    FORKED(qrt_queue_send(queue, messages, 1, 0, NOBODY, &c, NULL, NULL));
    FORKED(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL));
    FORKED(qrt_queue_receive(queue, NULL, NOBODY, &d, NULL, NULL));
    FORKED(qrt_queue_peek(queue, 0, 1, NOBODY, &e, NULL, NULL));
    FORKED(qrt_queue_statistics(queue, NOBODY, &f, NULL, NULL));
    FORKED(qrt_queue_create(queue, NOBODY, NULL, NULL));
    FORKED(qrt_delivery_ack(delivery, 0, NOBODY, NULL, NULL));
    FORKED(qrt_delivery_nack(delivery, text(""), -1, 0, NOBODY, NULL, NULL));
    FORKED(qrt_delivery_release(delivery, -1, 0, NOBODY, NULL, NULL));
    FORKED(qrt_delivery_dead_letter(delivery, text("r"), text(""), 0, NOBODY, NULL, NULL));
    FORKED(qrt_delivery_extend(delivery, 1, NOBODY, NULL, NULL));
    FORKED(qrt_settlements_ack(settlements, delivery, NULL));
    FORKED(qrt_settle(queue, settlements, 0, NOBODY, &i, NULL, NULL));
    FORKED(qrt_extend(queue, &delivery, 1, 1, NOBODY, &i, NULL, NULL));
    FORKED(qrt_session_accept(queue, text("t"), NULL, NOBODY, &h, NULL, NULL));
    FORKED(qrt_session_accept_next(queue, NULL, NOBODY, &h, NULL, NULL));
    FORKED(qrt_session_receive(session, NULL, NOBODY, &d, NULL, NULL));
    FORKED(qrt_session_renew(session, -1, NOBODY, NULL, NULL));
    FORKED(qrt_session_state(session, NOBODY, &g, NULL, NULL));
    FORKED(qrt_session_set_state(session, NULL, NOBODY, NULL, NULL));
    FORKED(qrt_session_close(session, NOBODY, NULL, NULL));
    FORKED(qrt_consumer_start(queue, &consume, &l, NULL));
    FORKED(qrt_consumer_grant(consumer, 1, NULL));
    FORKED(qrt_consumer_stop(consumer, NOBODY, NULL, NULL));
    FORKED(qrt_op_cancel(op, NULL));
    FORKED(qrt_op_wait(op, -1, NULL));
    FORKED(qrt_op_take_batch(op, &d, NULL));
    FORKED(qrt_events_new(runtime, &m, NULL));
    FORKED(qrt_events_set_wake(events, NULL, NULL, NULL, NULL));
    FORKED(qrt_events_watch(events, op, 1, NULL));
    CHECK(qrt_events_drain(events, &event, 1) == 0);
    FORKED(qrt_dead_letters_list(queue, NULL, 0, 1, NOBODY, &j, NULL, NULL));
    FORKED(qrt_dead_letters_redrive(queue, NULL, NULL, NOBODY, &k, NULL, NULL));
    FORKED(qrt_dead_letters_purge(queue, NULL, NOBODY, &n, NULL, NULL));
    FORKED(qrt_queue_dead_letter_statistics(queue, NULL, NOBODY, &o, NULL, NULL));
    /* What the parent had in hand can be read. */
    CHECK(is(body_of(batch, 0), "a"));
}

static void free_all(void) {
    qrt_events_free(events);
    qrt_op_free(op);
    qrt_consumer_free(consumer);
    qrt_settlements_free(settlements);
    qrt_session_free(session);
    qrt_batch_free(batch);
    qrt_message_free(message);
    qrt_queue_free(queue);
    qrt_client_free(client);
    qrt_runtime_free(runtime);
}

static void a_new_runtime_works(void) {
    qrt_queue_t *own = lone_queue(0, "");
    qrt_batch_t *received;
    CHECK(send_text(own, "child") == QRT_OK);
    received = look(own, 1);
    CHECK(qrt_batch_count(received) == 1 && is(body_of(received, 0), "child"));
    CHECK(qrt_delivery_ack(qrt_batch_get(received, 0), 0, NOBODY, NULL, NULL) == QRT_OK);
    qrt_batch_free(received);
    qrt_queue_free(own);
}

static void child_of_a_used_parent(void) {
    everything_is_forked();
    free_all();
    a_new_runtime_works();
}

static void a_child_is_told(void) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    qrt_batch_t *none = NULL;
    qrt_queue_t *idle = NULL;
    options.on_batch = on_batch;
    runtime = new_runtime(0);
    client = new_client(runtime, "memory:");
    queue = new_queue(client, "");
    CHECK(qrt_queue_open(client, text("idle"), text(""), &idle, NULL) == QRT_OK);
    message = new_message("a");
    CHECK(qrt_queue_send_one(queue, message, 0, NOBODY, NULL, NULL) == QRT_OK);
    batch = look(queue, 1);
    CHECK(qrt_settlements_new(&settlements, NULL) == QRT_OK);
    CHECK(qrt_session_accept(queue, text("s"), NULL, NOBODY, &session, NULL, NULL) == QRT_OK);
    CHECK(qrt_consumer_start(idle, &options, &consumer, NULL) == QRT_OK);
    CHECK(qrt_events_new(runtime, &events, NULL) == QRT_OK);
    CHECK(qrt_queue_receive(idle, NULL, NOBODY, &none, &op, NULL) == QRT_PENDING);
    in_child(child_of_a_used_parent);
    /* The parent is unharmed. */
    CHECK(qrt_delivery_ack(qrt_batch_get(batch, 0), 0, NOBODY, NULL, NULL) == QRT_OK);
    CHECK(qrt_op_cancel(op, NULL) == QRT_OK);
    CHECK(qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK);
    CHECK(qrt_runtime_shutdown(runtime, PATIENCE_MS, NULL) == QRT_OK);
    qrt_queue_free(idle);
    free_all();
}

static atomic_int busy;

static void *keep_busy(void *shared) {
    while (atomic_load(&busy)) {
        qrt_batch_t *received;
        CHECK(send_text(shared, "busy") == QRT_OK);
        received = look(shared, 10);
        for (size_t i = 0; i < qrt_batch_count(received); i++)
            qrt_delivery_ack(qrt_batch_get(received, i), 0, NOBODY, NULL, NULL);
        qrt_batch_free(received);
    }
    return NULL;
}

static qrt_queue_t *shared;

static void child_of_a_busy_parent(void) {
    char body[1024] = {0};
    memset(body, 'x', sizeof body - 1);
    CHECK(send_text(shared, "a") == QRT_ERR_FORKED);
    for (int i = 0; i < 200; i++) qrt_message_free(new_message(body));
    a_new_runtime_works();
    qrt_queue_free(shared);
}

/* Whatever lock another thread holds at the fork, the child needs none of them. */
static void a_child_of_a_busy_parent_hangs_nowhere(void) {
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    shared = lone_queue(0, "");
    atomic_store(&busy, 1);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, keep_busy, shared) == 0);
    for (int i = 0; i < 20 * soak(); i++) in_child(child_of_a_busy_parent);
    atomic_store(&busy, 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    qrt_queue_free(shared);
}

int main(void) {
    RUN(a_child_is_told);
    RUN(a_child_of_a_busy_parent_hangs_nowhere);
    return 0;
}

#include "worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "consumer.h"
#include "step.h"

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

/* A call that goes on. */
struct call {
    struct call *next;
    qrt_batch_t *batch;
};

/* What a consumer calls back. Both the world and the consumer hold it. */
struct worker {
    atomic_int holders;
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct call *first, **last;
    /* Messages of a batch at most, where it is asked for batches instead: one that called back would
     * hand over a small one after the other, as long as there are credits. */
    uint32_t asked;
    /* Borrowed from the world. */
    qrt_consumer_t *consumer;
    qrt_queue_t *queue;
};

static struct worker *worker_new(void) {
    struct worker *worker = calloc(1, sizeof *worker);
    pthread_condattr_t clock;
    if (worker == NULL) abort();
    atomic_init(&worker->holders, 2);
    worker->last = &worker->first;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->came, &clock);
    pthread_condattr_destroy(&clock);
    return worker;
}

static void call_free(struct call *call) {
    if (call != NULL) qrt_batch_free(call->batch);
    free(call);
}

static struct call *take_first(struct worker *worker) {
    struct call *call = worker->first;
    if (call == NULL) return NULL;
    worker->first = call->next;
    if (worker->first == NULL) worker->last = &worker->first;
    return call;
}

static void worker_release(void *user_data) {
    struct worker *worker = user_data;
    struct call *call;
    if (atomic_fetch_sub(&worker->holders, 1) > 1) return;
    while ((call = take_first(worker)) != NULL) call_free(call);
    pthread_cond_destroy(&worker->came);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

static struct call *call_of(qrt_batch_t *batch) {
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL) abort();
    call->batch = batch;
    return call;
}

static void on_batch(void *user_data, qrt_batch_t *batch) {
    struct worker *worker = user_data;
    struct call *call = call_of(batch);
    pthread_mutex_lock(&worker->lock);
    *worker->last = call;
    worker->last = &call->next;
    pthread_cond_signal(&worker->came);
    pthread_mutex_unlock(&worker->lock);
}

/* Of messages one by one, unless an option of batches is said. */
static bool begin_work(struct world *world, const json_t *step, struct going *going) {
    qrt_consumer_options_t options = QRT_CONSUMER_OPTIONS_INIT;
    const json_t *batches = step_get(step, "batch_concurrency");
    qrt_queue_t *queue = world_queue(world, step, &going->error);
    struct worker *worker;
    options.credits = 0;
    if (!consumer_options(world, step, &options)) return false;
    if (options.batch_size == 0 && (step_get(step, "batch_bytes") != NULL ||
                                    step_get(step, "batch_linger") != NULL || batches != NULL))
        options.batch_size = 100;
    if (options.batch_size == 0) options.max_messages = 1;
    if (options.credits == 0 && options.batch_size == 0) options.credits = 16;
    if (options.credits == 0)
        options.credits =
            options.batch_size * (batches == NULL ? 1 : (uint32_t)json_integer_value(batches));
    if (queue == NULL) return true;
    worker = worker_new();
    worker->queue = queue;
    if (options.target_batch_duration_ms >= 0) {
        worker->asked = options.batch_size;
        worker_release(worker);
    } else {
        options.on_batch = on_batch;
        options.user_data = worker;
        options.free = worker_release;
    }
    if (qrt_consumer_start(queue, &options, &going->consumer, &going->error) != QRT_OK) {
        if (worker->asked == 0) worker_release(worker);
        worker_release(worker);
        return true;
    }
    worker->consumer = going->consumer;
    going->worker = worker;
    return true;
}

static bool has(const struct call *call, qrt_bytes_t body) {
    for (size_t i = 0; i < qrt_batch_count(call->batch); i++)
        if (text_equal(qrt_message_body(qrt_delivery_message(qrt_batch_get(call->batch, i))), body))
            return true;
    return false;
}

/* Whether a delivery is among those that the step says failed. */
static bool is_failed(const json_t *failed, const qrt_delivery_t *delivery) {
    qrt_bytes_t body = qrt_message_body(qrt_delivery_message(delivery));
    for (size_t i = 0; i < json_array_size(failed); i++)
        if (text_equal(text_bytes(json_array_get(failed, i)), body)) return true;
    return false;
}

/* Ends a call as its handler does: settles all of it, and lets the next come. */
static bool begin_return(struct world *world, const json_t *step, struct going *going) {
    const json_t *failed = step_get(step, "failed");
    qrt_bytes_t body = text_bytes(step_get(step, "return"));
    struct worker *worker = names_get(&world->callers, body);
    struct call *call = names_get(&world->calls, body);
    qrt_settlements_t *list = NULL;
    if (call == NULL) return fail(&world->failure, "no call has this message");
    for (size_t i = 0; i < json_array_size(failed); i++)
        if (!has(call, text_bytes(json_array_get(failed, i))))
            return fail(&world->failure, "what failed is no message of the call");
    if (qrt_settlements_new(&list, NULL) != QRT_OK) abort();
    for (size_t i = 0; i < qrt_batch_count(call->batch); i++) {
        const qrt_delivery_t *delivery = qrt_batch_get(call->batch, i);
        if (is_failed(failed, delivery))
            qrt_settlements_nack(list, delivery, text_of("as the scenario says"), -1, NULL);
        else
            qrt_settlements_ack(list, delivery, NULL);
    }
    qrt_settle(worker->queue, list, 0, NOBODY, &going->settled, &going->op, &going->error);
    qrt_settlements_free(list);
    return true;
}

static bool is(const char *verb, const char *other) { return strcmp(verb, other) == 0; }

bool worker_has(const char *verb) {
    return is(verb, "work") || is(verb, "call") || is(verb, "return");
}

bool worker_begin(struct world *world, const json_t *step, struct going *going) {
    const char *verb = step_verb(step);
    if (is(verb, "work")) return begin_work(world, step, going);
    if (is(verb, "return")) return begin_return(world, step, going);
    going->caller = names_get(&world->workers, text_bytes(step_get(step, "call")));
    if (going->caller == NULL) return fail(&world->failure, "there is no such worker");
    if (going->caller->asked > 0)
        qrt_consumer_next(going->caller->consumer, going->caller->asked, NOBODY, &going->batch,
                          &going->op, &going->error);
    return true;
}

bool worker_pends(const struct going *going) {
    struct worker *worker = going->caller;
    bool pends;
    if (worker == NULL || worker->asked > 0) return false;
    pthread_mutex_lock(&worker->lock);
    pends = worker->first == NULL;
    pthread_mutex_unlock(&worker->lock);
    return pends;
}

bool worker_wait(struct world *world, struct going *going) {
    struct worker *worker = going->caller;
    struct timespec end;
    int late = 0;
    if (worker == NULL) return true;
    if (worker->asked > 0) {
        if (going->batch != NULL) going->call = call_of(going->batch);
        going->batch = NULL;
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&worker->lock);
    while (worker->first == NULL && late == 0)
        late = pthread_cond_timedwait(&worker->came, &worker->lock, &end);
    going->call = take_first(worker);
    pthread_mutex_unlock(&worker->lock);
    return going->call != NULL || fail(&world->failure, "the handler was not called");
}

static bool finish_call(struct world *world, const json_t *step, struct going *going) {
    const json_t *expect = step_get(step, "expect");
    const qrt_batch_t *batch = going->call->batch;
    size_t count = qrt_batch_count(batch);
    struct sight *sights = calloc(count + 1, sizeof *sights);
    bool good = check_number(world, "the number of messages", step_get(step, "count"),
                             (int64_t)count);
    for (size_t i = 0; i < count; i++) sights[i] = sight_of_delivery(qrt_batch_get(batch, i));
    good = good && (expect == NULL || check_seen(world, expect, sights, count, false));
    for (size_t i = 0; good && i < count; i++) {
        names_add(&world->calls, qrt_message_body(sights[i].message), going->call);
        names_add(&world->callers, qrt_message_body(sights[i].message), going->caller);
    }
    free(sights);
    if (good) going->call = NULL;
    return good;
}

/* Forgets a call under all its messages' names. */
static void forget_call(struct world *world, struct call *call) {
    for (size_t i = 0; i < qrt_batch_count(call->batch); i++)
        names_remove(&world->callers, qrt_message_body(qrt_delivery_message(
                                          qrt_batch_get(call->batch, i))));
    while (names_remove_thing(&world->calls, call)) {
    }
    call_free(call);
}

static bool finish_return(struct world *world, const json_t *step, const struct going *going) {
    qrt_bytes_t body = text_bytes(step_get(step, "return"));
    struct worker *worker = names_get(&world->callers, body);
    struct call *call = names_get(&world->calls, body);
    uint32_t count = (uint32_t)qrt_batch_count(call->batch);
    bool good = true;
    for (size_t i = 0; i < count; i++)
        if (qrt_settle_results_status(going->settled, i) != QRT_OK)
            good = fail(&world->failure, "message %zu was not settled", i + 1);
    forget_call(world, call);
    if (worker->asked > 0) return good;
    return good && (qrt_consumer_grant(worker->consumer, count, NULL) == QRT_OK ||
                    fail(&world->failure, "no grant"));
}

bool worker_finish(struct world *world, const json_t *step, struct going *going) {
    const char *verb = step_verb(step);
    if (is(verb, "call")) return finish_call(world, step, going);
    if (is(verb, "return")) return finish_return(world, step, going);
    names_add(&world->consumers, text_bytes(step_get(step, verb)), going->consumer);
    names_add(&world->workers, text_bytes(step_get(step, verb)), going->worker);
    going->consumer = NULL;
    going->worker = NULL;
    return true;
}

void worker_free(struct going *going) {
    if (going->worker != NULL) worker_release(going->worker);
    call_free(going->call);
}

void worker_close(struct world *world) {
    struct call *call;
    struct worker *worker;
    while (names_pop(&world->callers) != NULL) {
    }
    while ((call = names_pop(&world->calls)) != NULL) {
        while (names_remove_thing(&world->calls, call)) {
        }
        call_free(call);
    }
    while ((worker = names_pop(&world->workers)) != NULL) worker_release(worker);
}

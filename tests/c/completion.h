/* A completion that counts its calls. */

#ifndef COMPLETION_H
#define COMPLETION_H

#include "latch.h"

struct seen {
    struct latch ended, freed;
    /* The status of the end. */
    qrt_status_t status;
};

#define SEEN {LATCH, LATCH, -1}

/* Takes whatever the operation came to, so that only its status is left. */
static void seen_ended(void *user_data, qrt_op_t *op) {
    struct seen *seen = user_data;
    qrt_batch_t *batch = NULL;
    qrt_send_results_t *results = NULL;
    CHECK(latch_count(&seen->freed) == 0);
    seen->status = qrt_op_take_batch(op, &batch, NULL);
    if (seen->status == QRT_ERR_INVALID_ARGUMENT)
        seen->status = qrt_op_take_send_results(op, &results, NULL);
    if (seen->status == QRT_ERR_INVALID_ARGUMENT) seen->status = qrt_op_take_unit(op, NULL);
    qrt_batch_free(batch);
    qrt_send_results_free(results);
    latch_raise(&seen->ended);
}

static void seen_freed(void *user_data) {
    struct seen *seen = user_data;
    CHECK(latch_count(&seen->ended) == 1);
    latch_raise(&seen->freed);
}

static inline qrt_completion_t tell(struct seen *seen) {
    qrt_completion_t done = {seen_ended, seen, seen_freed};
    return done;
}

/* Exactly once each, and so. */
static inline void check_ended(struct seen *seen, qrt_status_t status) {
    latch_await(&seen->freed, 1);
    CHECK(latch_count(&seen->ended) == 1 && latch_count(&seen->freed) == 1);
    CHECK(seen->status == status);
}

#endif

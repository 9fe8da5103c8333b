/* The verbs of a provider: begun here, and what came of them compared with what must. */

#ifndef VERB_H
#define VERB_H

#include "world.h"

/* A verb on its way, and what came of it. */
struct going {
    bool is_send;
    /* Pending, or NULL when it ended at once. */
    qrt_op_t *op;
    /* Why it failed, or NULL. */
    qrt_error_t *error;
    qrt_batch_t *batch;
    /* What came in batches so far, each with a hold of its own. */
    qrt_delivery_t **deliveries;
    size_t received;
    qrt_send_results_t *sent;
    qrt_settle_results_t *settled;
    qrt_session_t *session;
    qrt_buffer_t *state;
    qrt_peeked_t *peeked;
    qrt_dead_letters_t *letters;
    qrt_redrive_report_t *report;
    qrt_statistics_t *statistics;
    qrt_dead_letter_statistics_t *counted;
    qrt_buffer_t *explanation;
    uint64_t count;
    qrt_consumer_t *consumer;
    qrt_drain_report_t *drained;
    /* A worker that was started; the one whose next call is waited for, borrowed; and that call. */
    struct worker *worker, *caller;
    struct call *call;
    qrt_producer_t *producer;
    qrt_producer_report_t *produced;
};

/* Begins the verb of a step. An error of the provider is the verb's; false is a mistake of the
 * scenario. */
bool verb_begin(struct world *world, const json_t *step, struct going *going);

/* Waits for the end of what was begun, if it pends, and takes what came. */
bool verb_wait(struct world *world, const json_t *step, struct going *going);

/* Compares what came of a verb with what must, and keeps what later steps call by name. */
bool verb_finish(struct world *world, const json_t *step, struct going *going);

/* Frees all that came and was not kept. */
void verb_free(struct going *going);

#endif

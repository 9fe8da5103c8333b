/* A count that one thread waits for and others raise. */

#ifndef LATCH_H
#define LATCH_H

#include <pthread.h>
#include <time.h>

#include "check.h"

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t raised;
    unsigned count;
};

#define LATCH {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static inline void latch_raise(struct latch *latch) {
    pthread_mutex_lock(&latch->lock);
    latch->count++;
    pthread_cond_broadcast(&latch->raised);
    pthread_mutex_unlock(&latch->lock);
}

static inline unsigned latch_count(struct latch *latch) {
    unsigned count;
    pthread_mutex_lock(&latch->lock);
    count = latch->count;
    pthread_mutex_unlock(&latch->lock);
    return count;
}

/* Waits until the count is this high. */
static inline void latch_await(struct latch *latch, unsigned count) {
    struct timespec end;
    int waited = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&latch->lock);
    while (latch->count < count && waited == 0)
        waited = pthread_cond_timedwait(&latch->raised, &latch->lock, &end);
    pthread_mutex_unlock(&latch->lock);
    CHECK(waited == 0);
}

#endif

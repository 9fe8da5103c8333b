/* What a scenario failed with: one sentence, in the place of whoever runs it. */

#ifndef FAILURE_H
#define FAILURE_H

#include <stdbool.h>

struct failure {
    char text[2048];
};

/* Keeps the sentence and answers false, so that a check can return it. */
__attribute__((format(printf, 2, 3))) bool fail(struct failure *failure, const char *format, ...);

/* Puts words before the sentence; answers false. */
__attribute__((format(printf, 2, 3))) bool fail_at(struct failure *failure, const char *format, ...);

#endif

/* Being the second process of a scenario: takes the steps of every client but the first, as the
 * standard input says. tests/conformance/README.md describes what is said. */

#ifndef FOLLOW_H
#define FOLLOW_H

/* Follows until the input ends; the status of the process. */
int follow(void);

#endif

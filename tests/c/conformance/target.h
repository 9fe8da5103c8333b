/* What the scenarios run against: one entry of targets.toml. */

#ifndef TARGET_H
#define TARGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Of a path of a folder, and of a URL that has it. */
enum { TARGET_FOLDER = 256, TARGET_URL = 1024 };

struct target {
    const char *url;
    /* Whether it is a server, which is not empty at the start of a scenario. */
    bool server;
    /* How late the server's messages may be. */
    int64_t slack_ms;
    /* `support` of its capabilities. */
    json_t *support;
};

/* Whether this capability is not unsupported. */
bool target_supports(const struct target *target, const char *capability);

/* A new, empty folder for a store; false when there is none. */
bool target_folder(char folder[TARGET_FOLDER]);

/* Removes a folder with all that is in it. */
void target_remove(const char *folder);

/* The URL of the store in this folder. */
void target_url(const struct target *target, const char *folder, char url[TARGET_URL]);

#endif

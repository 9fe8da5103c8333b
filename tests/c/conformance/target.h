/* What the scenarios run against: one entry of targets.toml. */

#ifndef TARGET_H
#define TARGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Of a URL, with the path of a folder in it. */
enum { TARGET_URL = 1024 };

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

/* The URL of the store in this folder. */
void target_url(const struct target *target, const char *folder, char url[TARGET_URL]);

#endif

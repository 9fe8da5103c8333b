/* A scenario while it runs: its clients and queues, and what later steps call by name. */

#ifndef WORLD_H
#define WORLD_H

#include <jansson.h>

#include "../folder.h"
#include "names.h"
#include "target.h"
#include "text.h"

/* How long anything may take in real time before its step has failed. */
enum { PATIENCE_MS = 30000 };

struct world {
    const struct target *target;
    qrt_runtime_t *runtime;
    /* Where the store is, and its URL. */
    char folder[FOLDER_PATH], url[TARGET_URL];
    /* Before the names of all queues: on a server they are the scenario's own. */
    char prefix[32];
    bool virtual_clock;
    /* The start of the scenario, in milliseconds since 1970. */
    int64_t start;
    /* Options of every queue, as JSON. */
    char *options;
    /* Clients, and their options where `configure` gave them own ones. */
    struct names clients, client_options;
    /* Queues, by client and name with a blank between. */
    struct names queues;
    /* Deliveries, each name with a hold of its own; sessions; verbs that were started;
     * consumers. */
    struct names deliveries, sessions, background, consumers;
    /* Workers by their names; calls of them that go on, and whose they are, by their messages. */
    struct names workers, calls, callers;
    struct names producers;
    /* Texts: ids of sent messages by their bodies, and ids that no sender chose. */
    struct names ids, made;
    /* Where listings go on, by the body of what was listed: numbers in memory of their own. */
    struct names cursors;
    /* A send was done before it could be cancelled: what the scenario is about did not come to be. */
    bool too_late;
    struct failure failure;
};

/* A fresh world with an empty store. Closed also when it did not open. */
bool world_open(struct world *world, const struct target *target, const json_t *scenario,
                bool virtual_clock);

/* Frees all of it but verbs that were started. */
void world_close(struct world *world);

/* The client of a name, opened at its first use. */
qrt_client_t *world_client(struct world *world, qrt_bytes_t name, qrt_error_t **error);

/* What a client of it can do: a new reference, or NULL. */
json_t *world_capabilities(struct world *world);

/* The queue of a step, opened at its first use, and created where that does not do it. */
qrt_queue_t *world_queue(struct world *world, const json_t *step, qrt_error_t **error);

/* Opens a client in a way of its own; its queues are opened anew. */
qrt_status_t world_connect(struct world *world, const json_t *step, qrt_error_t **error);

/* From here on this client opens its queues anew, with these options. */
void world_configure(struct world *world, const json_t *step);

/* Lets the runtime do what is due, before anything else is looked at. */
bool world_turn(struct world *world);

/* The moment that a duration since the start of the scenario is. */
bool world_moment(struct world *world, const json_t *value, int64_t *moment);

#endif

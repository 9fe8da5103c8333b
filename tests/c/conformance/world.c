#include "world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const qrt_completion_t NOBODY = QRT_COMPLETION_NONE;

/* Of the runtime, with what the scenario says of it. */
static char *runtime_config(json_t *said) {
    json_t *config = json_pack("{s:i}", "worker_threads", 1);
    char *text;
    if (said != NULL) json_object_update(config, said);
    text = json_dumps(config, 0);
    json_decref(config);
    return text;
}

bool world_open(struct world *world, const struct target *target, const json_t *scenario,
                bool virtual_clock) {
    static atomic_uint worlds;
    const json_t *options = json_object_get(scenario, "options");
    qrt_runtime_options_t runtime = QRT_RUNTIME_OPTIONS_INIT;
    char *config;
    bool made;
    memset(world, 0, sizeof *world);
    world->target = target;
    world->options = options == NULL ? strdup("") : json_dumps(options, 0);
    if (target->server)
        snprintf(world->prefix, sizeof world->prefix, "c%d-%u-", (int)getpid(), worlds++);
    if (!folder_make(world->folder)) return fail(&world->failure, "no folder");
    target_url(target, world->folder, world->url);
    /* Of one thread, background work is done in its order: `pending` sees all that is due. */
    config = runtime_config(json_object_get(scenario, "runtime"));
    runtime.config = text_of(config);
    runtime.virtual_clock = virtual_clock;
    made = qrt_runtime_new(&runtime, &world->runtime, NULL) == QRT_OK;
    free(config);
    if (!made) return fail(&world->failure, "no runtime");
    world->virtual_clock = virtual_clock;
    world->start = qrt_runtime_now(world->runtime);
    return true;
}

void world_close(struct world *world) {
    void *thing;
    while ((thing = names_pop(&world->deliveries)) != NULL) qrt_delivery_free(thing);
    while ((thing = names_pop(&world->sessions)) != NULL) qrt_session_free(thing);
    while ((thing = names_pop(&world->consumers)) != NULL) qrt_consumer_free(thing);
    while ((thing = names_pop(&world->queues)) != NULL) qrt_queue_free(thing);
    while ((thing = names_pop(&world->clients)) != NULL) qrt_client_free(thing);
    while ((thing = names_pop(&world->client_options)) != NULL) free(thing);
    while ((thing = names_pop(&world->ids)) != NULL) free(thing);
    while ((thing = names_pop(&world->made)) != NULL) free(thing);
    while ((thing = names_pop(&world->cursors)) != NULL) free(thing);
    free(world->options);
    qrt_runtime_shutdown(world->runtime, PATIENCE_MS, NULL);
    qrt_runtime_free(world->runtime);
    folder_remove(world->folder);
}

static qrt_status_t open_client(struct world *world, qrt_bytes_t name, qrt_bytes_t url,
                                qrt_bytes_t config, qrt_error_t **error) {
    qrt_client_t *client = NULL;
    qrt_op_t *op = NULL;
    qrt_status_t status =
        qrt_client_open(world->runtime, url, config, NOBODY, &client, &op, error);
    if (status == QRT_PENDING) {
        status = qrt_op_wait(op, PATIENCE_MS, error);
        if (status == QRT_OK) status = qrt_op_take_client(op, &client, error);
        qrt_op_free(op);
    }
    if (status != QRT_OK) return status;
    qrt_client_free(names_remove(&world->clients, name));
    names_add(&world->clients, name, client);
    return QRT_OK;
}

qrt_client_t *world_client(struct world *world, qrt_bytes_t name, qrt_error_t **error) {
    if (names_get(&world->clients, name) == NULL &&
        open_client(world, name, text_of(world->url), text_of(""), error) != QRT_OK)
        return NULL;
    return names_get(&world->clients, name);
}

json_t *world_capabilities(struct world *world) {
    qrt_buffer_t *json = NULL;
    qrt_error_t *error = NULL;
    qrt_client_t *client = world_client(world, text_of("a turn"), &error);
    json_t *all = NULL;
    if (client != NULL && qrt_client_capabilities(client, &json, &error) == QRT_OK) {
        qrt_bytes_t text = qrt_buffer_bytes(json);
        all = json_loadb((const char *)text.data, text.len, 0, NULL);
    } else {
        qrt_bytes_t why = qrt_error_message(error);
        fail(&world->failure, "%.*s", (int)why.len, (const char *)why.data);
    }
    qrt_error_free(error);
    qrt_buffer_free(json);
    return all;
}

/* Queues of a client are named by it and their own name. */
static void forget_queues(struct world *world, const char *client) {
    size_t len = strlen(client);
    struct name *at = world->queues.first;
    while (at != NULL) {
        struct name *next = at->next;
        if (at->len > len && memcmp(at->name, client, len) == 0 && at->name[len] == ' ') {
            qrt_queue_t *queue = at->thing;
            names_remove_thing(&world->queues, queue);
            qrt_queue_free(queue);
        }
        at = next;
    }
}

qrt_status_t world_connect(struct world *world, const json_t *step, qrt_error_t **error) {
    const char *client = json_string_value(json_object_get(step, "connect"));
    const char *url = json_string_value(json_object_get(step, "url"));
    const char *options = json_string_value(json_object_get(step, "url_options"));
    json_t *require = json_object_get(step, "require");
    json_t *config = require == NULL ? NULL : json_pack("{s:O}", "require", require);
    char *json = config == NULL ? strdup("") : json_dumps(config, 0);
    char whole[2 * TARGET_URL];
    qrt_status_t status;
    if (url == NULL) url = world->url;
    snprintf(whole, sizeof whole, "%s%s%s", url,
             options == NULL ? "" : (strchr(url, '?') == NULL ? "?" : "&"),
             options == NULL ? "" : options);
    status = open_client(world, text_of(client), text_of(whole), text_of(json), error);
    if (status == QRT_OK) forget_queues(world, client);
    free(json);
    json_decref(config);
    return status;
}

void world_configure(struct world *world, const json_t *step) {
    const char *client = json_string_value(json_object_get(step, "configure"));
    char *options = json_dumps(json_object_get(step, "options"), 0);
    forget_queues(world, client);
    free(names_remove(&world->client_options, text_of(client)));
    names_add(&world->client_options, text_of(client), options);
}

/* Opens a queue, and creates it where its first use does not. */
static qrt_status_t open_queue(struct world *world, qrt_client_t *client, qrt_bytes_t name,
                               const char *options, qrt_queue_t **queue, qrt_error_t **error) {
    json_t *said = json_loads(options, 0, NULL);
    const char *create = json_string_value(json_object_get(said, "create"));
    bool by_hand = !target_supports(world->target, "create_at_first_use") &&
                   (create == NULL || strcmp(create, "never") != 0);
    char whole[512];
    qrt_op_t *op = NULL;
    qrt_status_t status;
    json_decref(said);
    /* An empty name stays empty: it is a mistake on purpose. */
    if (world->prefix[0] != 0 && name.len > 0) {
        snprintf(whole, sizeof whole, "%s%.*s", world->prefix, (int)name.len,
                 (const char *)name.data);
        name = text_of(whole);
    }
    status = qrt_queue_open(client, name, text_of(options), queue, error);
    if (status != QRT_OK || !by_hand) return status;
    status = qrt_queue_create(*queue, NOBODY, &op, error);
    if (status == QRT_PENDING && (status = qrt_op_wait(op, PATIENCE_MS, error)) == QRT_OK)
        status = qrt_op_take_unit(op, error);
    qrt_op_free(op);
    if (status == QRT_ERR_ALREADY_EXISTS) {
        qrt_error_free(*error);
        *error = NULL;
        return QRT_OK;
    }
    if (status != QRT_OK) {
        qrt_queue_free(*queue);
        *queue = NULL;
    }
    return status;
}

qrt_queue_t *world_queue(struct world *world, const json_t *step, qrt_error_t **error) {
    const json_t *own_client = json_object_get(step, "client");
    const json_t *own_queue = json_object_get(step, "queue");
    qrt_bytes_t client = own_client == NULL ? text_of("a") : text_bytes(own_client);
    qrt_bytes_t name = own_queue == NULL ? text_of("jobs") : text_bytes(own_queue);
    const char *options = names_get(&world->client_options, client);
    json_t *key = json_sprintf("%.*s %.*s", (int)client.len, (const char *)client.data,
                               (int)name.len, (const char *)name.data);
    qrt_queue_t *queue = names_get(&world->queues, text_bytes(key));
    qrt_client_t *opened;
    if (options == NULL) options = world->options;
    if (queue == NULL && (opened = world_client(world, client, error)) != NULL &&
        open_queue(world, opened, name, options, &queue, error) == QRT_OK)
        names_add(&world->queues, text_bytes(key), queue);
    json_decref(key);
    return queue;
}

bool world_turn(struct world *world) {
    /* A wait that is cancelled ends on the runtime's one thread, after all that was woken before. */
    qrt_error_t *error = NULL;
    qrt_client_t *client = world_client(world, text_of("a turn"), &error);
    qrt_queue_t *queue = NULL;
    qrt_batch_t *batch = NULL;
    qrt_op_t *op = NULL;
    /* Of a server's queue, which is not there, a receive may fail at once. */
    bool ended = world->target->server;
    if (client != NULL && qrt_queue_open(client, text_of("turn"), text_of(""), &queue, NULL) == 0 &&
        qrt_queue_receive(queue, NULL, NOBODY, &batch, &op, NULL) == QRT_PENDING) {
        qrt_op_cancel(op, NULL);
        ended = qrt_op_wait(op, PATIENCE_MS, NULL) == QRT_OK;
    }
    qrt_op_free(op);
    qrt_batch_free(batch);
    qrt_queue_free(queue);
    qrt_error_free(error);
    return ended || fail(&world->failure, "the runtime's thread took no turn");
}

bool world_moment(struct world *world, const json_t *value, int64_t *moment) {
    int64_t since = 0;
    if (!text_span(value, &since, &world->failure)) return false;
    *moment = world->start + since;
    return true;
}

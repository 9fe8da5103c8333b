/* Every conformance scenario on `memory:` through the C ABI: all in virtual time, those that make
 * sense there in real time as well. Reads what load.py prints; the rows go into the file named. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report.h"
#include "step.h"
#include "verb.h"

/* In real time scenarios wait most of the time, so they wait together. */
enum { THREADS = 16 };

struct run {
    const json_t *files;
    /* `support` of the provider's capabilities. */
    json_t *support;
    json_t *rows;
    pthread_mutex_t lock;
    /* The next scenario: file and place in it. */
    size_t file, scenario;
    const char *provider;
    bool virtual_clock;
    size_t printed;
};

static bool take_advance(struct world *world, const json_t *step) {
    struct timespec pause;
    int64_t by;
    if (!text_span(step_get(step, "advance"), &by, &world->failure)) return false;
    if (world->virtual_clock)
        return qrt_runtime_advance(world->runtime, by, NULL) == QRT_OK ||
               fail(&world->failure, "the clock did not move");
    pause.tv_sec = by / 1000;
    pause.tv_nsec = by % 1000 * 1000000;
    nanosleep(&pause, NULL);
    return true;
}

static bool take_pending(struct world *world, const json_t *step) {
    const struct going *going =
        names_get(&world->background, text_bytes(step_get(step, "pending")));
    if (!world_turn(world)) return false;
    if (going->op != NULL && qrt_op_wait(going->op, 0, NULL) == QRT_ERR_TIMEOUT) return true;
    return fail(&world->failure, "it has ended");
}

/* What came in the background goes, as if its program had lost it. */
static void forget(struct going *going) {
    verb_free(going);
    free(going);
}

static bool take_cancel(struct world *world, const json_t *step) {
    struct going *going =
        names_remove(&world->background, text_bytes(step_get(step, "cancel")));
    bool ended = going->op == NULL || (qrt_op_cancel(going->op, NULL) == QRT_OK &&
                                       qrt_op_wait(going->op, PATIENCE_MS, NULL) == QRT_OK);
    forget(going);
    return ended || fail(&world->failure, "it did not end");
}

static bool take_drop(struct world *world, const json_t *step) {
    qrt_delivery_t *dropped = names_get(&world->deliveries, text_bytes(step_get(step, "drop")));
    if (dropped == NULL) return fail(&world->failure, "there is no such delivery");
    /* Its other names would keep it. */
    while (names_remove_thing(&world->deliveries, dropped)) qrt_delivery_free(dropped);
    return true;
}

static bool take_drop_session(struct world *world, const json_t *step) {
    qrt_session_t *dropped =
        names_remove(&world->sessions, text_bytes(step_get(step, "drop_session")));
    if (dropped == NULL) return fail(&world->failure, "there is no such session");
    qrt_session_free(dropped);
    return true;
}

/* A step that is no verb of a provider. */
static bool is_aside(const char *verb) {
    static const char *const verbs[] = {"advance", "pending", "cancel",
                                        "drop", "drop_session", "configure"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verb, verbs[i]) == 0) return true;
    return false;
}

static bool take_aside(struct world *world, const char *verb, const json_t *step) {
    if (strcmp(verb, "advance") == 0) return take_advance(world, step);
    if (strcmp(verb, "pending") == 0) return take_pending(world, step);
    if (strcmp(verb, "cancel") == 0) return take_cancel(world, step);
    if (strcmp(verb, "drop") == 0) return take_drop(world, step);
    if (strcmp(verb, "drop_session") == 0) return take_drop_session(world, step);
    world_configure(world, step);
    return true;
}

/* Keeps a verb that was begun under its name. */
static bool keep(struct world *world, const json_t *name, const struct going *going) {
    struct going *kept = malloc(sizeof *kept);
    if (kept == NULL) abort();
    *kept = *going;
    names_add(&world->background, text_bytes(name), kept);
    return true;
}

/* What was kept, which is no longer. */
static bool take_back(struct world *world, const json_t *name, struct going *going) {
    struct going *kept = names_remove(&world->background, text_bytes(name));
    if (kept == NULL) return fail(&world->failure, "it was not started");
    *going = *kept;
    free(kept);
    return true;
}

static bool take_step(struct world *world, const json_t *step) {
    const char *verb = step_verb(step);
    const json_t *start = step_get(step, "start"), *join = step_get(step, "join");
    struct going going = {0};
    bool good;
    if (is_aside(verb)) return take_aside(world, verb, step);
    good = join != NULL ? take_back(world, join, &going) : verb_begin(world, step, &going);
    if (good && start != NULL) return keep(world, start, &going);
    good = good && verb_wait(world, step, &going) && verb_finish(world, step, &going);
    verb_free(&going);
    return good;
}

/* NULL when the scenario passed; else why not, in `failure`. */
static const char *run_scenario(const json_t *scenario, bool virtual_clock,
                                struct failure *failure) {
    json_t *steps = step_read_all(scenario, failure);
    struct world world;
    bool good;
    if (steps == NULL) return failure->text;
    good = world_open(&world, scenario, virtual_clock);
    for (size_t i = 0; good && i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        good = take_step(&world, step);
        if (!good) {
            char *text = json_dumps(step, 0);
            fail_at(&world.failure, "step %zu %.400s", i + 1, text);
            free(text);
        }
    }
    *failure = world.failure;
    for (struct going *left; (left = names_pop(&world.background)) != NULL;) forget(left);
    world_close(&world);
    json_decref(steps);
    return good ? NULL : failure->text;
}

/* Whether every capability of a list is supported, or none is. */
static bool all_are(const json_t *support, const json_t *capabilities, bool supported) {
    for (size_t i = 0; i < json_array_size(capabilities); i++) {
        const char *name = json_string_value(json_array_get(capabilities, i));
        const char *how = json_string_value(json_object_get(support, name));
        if ((how != NULL && strcmp(how, "unsupported") != 0) != supported) return false;
    }
    return true;
}

static bool has_tag(const json_t *scenario, const char *tag) {
    const json_t *tags = json_object_get(scenario, "tags");
    for (size_t i = 0; i < json_array_size(tags); i++)
        if (strcmp(json_string_value(json_array_get(tags, i)), tag) == 0) return true;
    return false;
}

static void run_one(struct run *run, const char *theme, const json_t *scenario) {
    const char *name = json_string_value(json_object_get(scenario, "name"));
    struct failure failure = {""};
    const char *reason = NULL, *result = "pass";
    if (!all_are(run->support, json_object_get(scenario, "needs"), true) ||
        !all_are(run->support, json_object_get(scenario, "lacks"), false)) {
        result = "skip";
        reason = "a capability";
    } else if ((reason = run_scenario(scenario, run->virtual_clock, &failure)) != NULL) {
        result = "fail";
    }
    pthread_mutex_lock(&run->lock);
    report_add(run->rows, run->provider, theme, name, result, reason);
    printf("%sok - %s::%s::%s%s%s\n", strcmp(result, "fail") == 0 ? "not " : "", run->provider,
           theme, name, strcmp(result, "skip") == 0 ? " # SKIP " : (reason == NULL ? "" : ": "),
           reason == NULL ? "" : reason);
    fflush(stdout);
    pthread_mutex_unlock(&run->lock);
}

/* The next scenario to run, or NULL. */
static const json_t *next(struct run *run, const char **theme) {
    const json_t *found = NULL;
    pthread_mutex_lock(&run->lock);
    while (found == NULL && run->file < json_array_size(run->files)) {
        const json_t *file = json_array_get(run->files, run->file);
        const json_t *scenarios = json_object_get(json_array_get(file, 1), "scenario");
        found = json_array_get(scenarios, run->scenario++);
        *theme = json_string_value(json_array_get(file, 0));
        if (found == NULL) {
            run->file++;
            run->scenario = 0;
        } else if (!run->virtual_clock && !has_tag(found, "real_time")) {
            found = NULL;
        }
    }
    pthread_mutex_unlock(&run->lock);
    return found;
}

static void *work(void *argument) {
    struct run *run = argument;
    const json_t *scenario;
    const char *theme;
    while ((scenario = next(run, &theme)) != NULL) run_one(run, theme, scenario);
    return NULL;
}

static void run_all(const json_t *files, json_t *rows, const char *provider, bool virtual_clock,
                    json_t *support) {
    struct run run = {.files = files, .support = support, .rows = rows, .provider = provider};
    pthread_t threads[THREADS];
    run.virtual_clock = virtual_clock;
    pthread_mutex_init(&run.lock, NULL);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &run) != 0) abort();
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&run.lock);
}

/* What the provider can do. */
static json_t *capabilities(void) {
    struct world world;
    qrt_buffer_t *json = NULL;
    qrt_client_t *client;
    qrt_bytes_t text;
    json_t *all;
    if (!world_open(&world, NULL, true)) abort();
    client = world_client(&world, text_of("a"), NULL);
    qrt_client_capabilities(client, &json, NULL);
    text = qrt_buffer_bytes(json);
    all = json_loadb((const char *)text.data, text.len, 0, NULL);
    qrt_buffer_free(json);
    world_close(&world);
    return all;
}

int main(int count, char **arguments) {
    json_t *files, *rows = json_array(), *all;
    json_error_t unread;
    size_t failed = 0, ran;
    int unwritten;
    if (count != 2) {
        fprintf(stderr, "usage: load.py SCENARIOS | %s ROWS.json\n", arguments[0]);
        return 2;
    }
    json_object_seed(0);
    files = json_loadf(stdin, JSON_ALLOW_NUL, &unread);
    if (files == NULL) {
        fprintf(stderr, "the scenarios cannot be read: %s\n", unread.text);
        return 2;
    }
    all = capabilities();
    run_all(files, rows, "memory", true, json_object_get(all, "support"));
    run_all(files, rows, "memory-real-time", false, json_object_get(all, "support"));
    for (size_t i = 0; i < json_array_size(rows); i++)
        failed += strcmp(json_string_value(json_object_get(json_array_get(rows, i), "result")),
                         "fail") == 0;
    ran = report_print(rows);
    unwritten = report_merge(rows, arguments[1]);
    if (ran == 0) fprintf(stderr, "no scenario ran\n");
    if (unwritten) fprintf(stderr, "%s cannot be written\n", arguments[1]);
    json_decref(all);
    json_decref(rows);
    json_decref(files);
    return failed > 0 || ran == 0 || unwritten;
}

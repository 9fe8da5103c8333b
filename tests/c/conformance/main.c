/* Every conformance scenario through the C ABI, on each target: without a server all in virtual
 * time, those that make sense there in real time as well. Reads what load.py prints; the rows go into
 * the file named. With --follow the second process of one scenario. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "follow.h"
#include "keys.h"
#include "report.h"
#include "step.h"
#include "take.h"

/* In real time scenarios wait most of the time, so they wait together. */
enum { THREADS = 16 };
/* How often a scenario is begun anew when the engine's thread was quicker than a cancel. */
enum { TRIES = 1000 };

struct run {
    const json_t *files;
    const struct target *target;
    json_t *rows;
    pthread_mutex_t lock;
    /* The next scenario: file and place in it. */
    size_t file, scenario;
    const char *provider;
    bool virtual_clock;
    size_t printed;
};

/* NULL when the scenario passed; else why not, in `failure`. */
static const char *run_once(const struct run *run, const json_t *scenario,
                            struct failure *failure, bool *too_late) {
    json_t *steps = step_read_all(scenario, failure);
    struct world world;
    bool good;
    if (steps == NULL) return failure->text;
    good = world_open(&world, run->target, scenario, run->virtual_clock);
    for (size_t i = 0; good && !world.too_late && i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        good = take_step(&world, step, json_array_get(steps, i + 1));
        if (!good) {
            char *text = json_dumps(step, 0);
            fail_at(&world.failure, "step %zu %.400s", i + 1, text);
            free(text);
        }
    }
    *failure = world.failure;
    *too_late = world.too_late;
    take_end(&world);
    json_decref(steps);
    return good ? NULL : failure->text;
}

static const char *run_scenario(const struct run *run, const json_t *scenario,
                                struct failure *failure) {
    const char *reason = NULL;
    bool too_late = true;
    for (size_t i = 0; too_late && i < TRIES; i++)
        reason = run_once(run, scenario, failure, &too_late);
    return too_late ? "every cancel came too late" : reason;
}

/* Whether every capability of a list is supported, or none is. */
static bool all_are(const struct target *target, const json_t *capabilities, bool supported) {
    for (size_t i = 0; i < json_array_size(capabilities); i++)
        if (target_supports(target, json_string_value(json_array_get(capabilities, i))) != supported)
            return false;
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
    if (!all_are(run->target, json_object_get(scenario, "needs"), true) ||
        !all_are(run->target, json_object_get(scenario, "lacks"), false)) {
        result = "skip";
        reason = "a capability";
    } else if ((reason = run_scenario(run, scenario, &failure)) != NULL) {
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

static void run_all(const json_t *files, json_t *rows, const struct target *target,
                    const char *provider, bool virtual_clock) {
    struct run run = {.files = files, .target = target, .rows = rows, .provider = provider};
    pthread_t threads[THREADS];
    run.virtual_clock = virtual_clock;
    pthread_mutex_init(&run.lock, NULL);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &run) != 0) abort();
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&run.lock);
}

/* What a target can do; NULL, with the reason, when it does not open. */
static json_t *capabilities(const struct target *target) {
    struct world world;
    json_t *all;
    if (!world_open(&world, target, NULL, !target->server)) abort();
    all = world_capabilities(&world);
    if (all == NULL) fprintf(stderr, "%s: %s\n", target->url, world.failure.text);
    world_close(&world);
    return all;
}

/* Runs an entry of targets.toml; false when it does not open. */
static bool run_target(const json_t *files, json_t *rows, const json_t *entry) {
    const char *provider = json_string_value(json_object_get(entry, "provider"));
    struct target target = {.url = json_string_value(json_object_get(entry, "url"))};
    struct failure failure = {""};
    char in_real_time[64];
    json_t *all;
    target.server = json_object_get(entry, "server") != NULL;
    if (!text_some_span(json_object_get(entry, "slack"), &target.slack_ms, &failure)) abort();
    all = capabilities(&target);
    if (all == NULL) return false;
    target.support = json_object_get(all, "support");
    snprintf(in_real_time, sizeof in_real_time, "%s-real-time", provider);
    if (!target.server) run_all(files, rows, &target, provider, true);
    run_all(files, rows, &target, target.server ? provider : in_real_time, false);
    json_decref(all);
    return true;
}

int main(int count, char **arguments) {
    json_t *loaded, *rows;
    const json_t *files, *targets;
    json_error_t unread;
    size_t failed = 0, ran;
    int unwritten;
    if (count != 2) {
        fprintf(stderr, "usage: load.py SCENARIOS | %s ROWS.json, or %s --follow\n", arguments[0],
                arguments[0]);
        return 2;
    }
    json_object_seed(0);
    if (strcmp(arguments[1], "--follow") == 0) return follow();
    rows = json_array();
    loaded = json_loadf(stdin, JSON_ALLOW_NUL, &unread);
    if (loaded == NULL) {
        fprintf(stderr, "the scenarios cannot be read: %s\n", unread.text);
        return 2;
    }
    files = json_object_get(loaded, "files");
    targets = json_object_get(loaded, "targets");
    failed = keys_run(json_object_get(loaded, "session_keys"));
    for (size_t i = 0; i < json_array_size(targets); i++)
        failed += !run_target(files, rows, json_array_get(targets, i));
    for (size_t i = 0; i < json_array_size(rows); i++)
        failed += strcmp(json_string_value(json_object_get(json_array_get(rows, i), "result")),
                         "fail") == 0;
    ran = report_print(rows);
    unwritten = report_merge(rows, arguments[1]);
    if (ran == 0) fprintf(stderr, "no scenario ran\n");
    if (unwritten) fprintf(stderr, "%s cannot be written\n", arguments[1]);
    json_decref(rows);
    json_decref(loaded);
    return failed > 0 || ran == 0 || unwritten;
}

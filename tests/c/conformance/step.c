#include "step.h"

#include <string.h>

#include "text.h"

#define MESSAGE " id headers session correlation_id content_type ttl delay dedup_id duplicate_of"
#define SEEN                                                                                 \
    "body id id_of session attempt attempts headers correlation_id content_type state reason " \
    "description source enqueued_at locked_until first_delivered_at dead_lettered_at"
#define FILTER "ids_of reason session header since until"
#define GROUP "name count oldest newest"

/* Verbs, with the keys each may have beside those of every step. */
static const struct {
    const char *verb, *keys;
    /* May be begun in the background. */
    bool starts;
    /* Must say what comes. */
    bool expects;
} VERBS[] = {
    {"send", "by" MESSAGE, true, false},
    {"send_many", "", false, false},
    {"receive", "wait lock from as expect count any_order", true, true},
    {"ack", "", false, false},
    {"nack", "reason delay", false, false},
    {"release", "delay", false, false},
    {"dead_letter", "reason description", false, false},
    {"settle_many", "", false, false},
    {"extend", "lock locked_until", false, false},
    {"extend_many", "lock", false, false},
    {"drop", "", false, false},
    {"accept", "lock as locked_until", false, false},
    {"accept_next", "lock as expect", true, true},
    {"renew", "lock locked_until", false, false},
    {"close_session", "", false, false},
    {"drop_session", "", false, false},
    {"state", "expect", false, false},
    {"set_state", "to", false, false},
    {"peek", "after expect", false, true},
    {"dead_letters", "where after expect", false, true},
    {"redrive", "where max per_second dry_run after expect", true, false},
    {"purge", "where expect", false, false},
    {"statistics", "", false, false},
    {"dead_letter_statistics", "where expect", false, true},
    {"explain", "expect", false, true},
    {"create", "", false, false},
    /* Its options are refused or known where they are set. */
    {"consume", NULL, false, false},
    {"next", "as expect count", true, true},
    {"consumer_status", "expect", false, true},
    {"cancelled", "cause", false, false},
    {"drain", "deadline expect", true, false},
    {"stop", "", false, false},
    {"pause", "", false, false},
    {"resume", "", false, false},
    {"reset_breaker", "", false, false},
    {"work", NULL, false, false},
    {"call", "expect count", true, true},
    {"return", "failed", false, false},
    {"produce", "batch_size batch_bytes linger max_pending max_pending_bytes on_full", false, false},
    {"flush", "", false, false},
    {"close_producer", "deadline expect", false, true},
    {"drop_consumer", "", false, false},
    {"advance", "times", false, false},
    {"pending", "", false, false},
    {"cancel", "", false, false},
    {"connect", "url url_options require", false, false},
    {"configure", "options", false, false},
    {"close_client", "", false, false},
};

enum { VERB_COUNT = sizeof VERBS / sizeof *VERBS };

/* Whether a word is among others. */
static bool is_among(const char *word, const char *words) {
    size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += len) {
        bool begins = at == words || at[-1] == ' ';
        if (begins && (at[len] == '\0' || at[len] == ' ')) return true;
    }
    return false;
}

bool step_check_keys(const json_t *table, const char *keys, struct failure *failure) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)table, key, value) {
        if (!is_among(key, keys)) return fail(failure, "unknown field %s", key);
    }
    return true;
}

/* Of every entry of a list that is a table. */
static bool check_each(const json_t *list, const char *keys, struct failure *failure) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        if (json_is_object(entry) && !step_check_keys(entry, keys, failure)) return false;
    }
    return true;
}

static int verb_of(const json_t *step, struct failure *failure) {
    int found = -1;
    for (int i = 0; i < VERB_COUNT; i++) {
        if (json_object_get(step, VERBS[i].verb) == NULL) continue;
        if (found >= 0) {
            fail(failure, "several verbs: %s and %s", VERBS[found].verb, VERBS[i].verb);
            return -1;
        }
        found = i;
    }
    if (found < 0) fail(failure, "no verb");
    return found;
}

const char *step_verb(const json_t *step) {
    struct failure ignored;
    int verb = verb_of(step, &ignored);
    return verb < 0 ? NULL : VERBS[verb].verb;
}

json_t *step_get(const json_t *step, const char *key) { return json_object_get(step, key); }

/* What is expected of verbs whose `expect` is one table. */
static const char *expected_of(const char *verb) {
    if (strcmp(verb, "redrive") == 0) return "matched redriven failed";
    if (strcmp(verb, "explain") == 0) return "standing attempts behind parked earliest latest";
    if (strcmp(verb, "dead_letter_statistics") == 0)
        return "count bytes oldest newest by_reason by_source by_age";
    if (strcmp(verb, "drain") == 0) return "finished released abandoned";
    if (strcmp(verb, "close_producer") == 0) return "sent failed unsent";
    if (strcmp(verb, "consumer_status") == 0)
        return "ready in_hand prefetched concurrency sessions paused over_memory breaker";
    return SEEN;
}

static bool check_nested(const json_t *step, const char *verb, struct failure *failure) {
    const json_t *expect = step_get(step, "expect");
    bool lists = strcmp(verb, "receive") == 0 || strcmp(verb, "next") == 0 ||
                 strcmp(verb, "call") == 0 ||
                 strcmp(verb, "peek") == 0 || strcmp(verb, "dead_letters") == 0;
    const char *expected = expected_of(verb);
    return step_check_keys(step_get(step, "error"), "kind field capability queue size limit",
                           failure) &&
           step_check_keys(step_get(step, "where"), FILTER, failure) &&
           step_check_keys(json_is_object(expect) ? expect : NULL, expected, failure) &&
           check_each(lists ? expect : NULL, SEEN, failure) &&
           check_each(step_get(expect, "by_reason"), GROUP, failure) &&
           check_each(step_get(expect, "by_source"), GROUP, failure) &&
           check_each(step_get(step, "send_many"), "body error" MESSAGE, failure) &&
           check_each(step_get(step, "settle_many"),
                      "ack nack release dead_letter reason description delay error", failure) &&
           check_each(step_get(step, "extend_many"), "extend error", failure) &&
           step_check_keys(step_get(step, "statistics"),
                           "ready in_flight delayed dead depth bytes sessions oldest_age",
                           failure);
}

static bool check(const json_t *step, struct failure *failure) {
    int verb = verb_of(step, failure);
    bool starts = step_get(step, "start") != NULL, fails = step_get(step, "error") != NULL;
    char keys[512] = "client queue start error join ";
    if (verb < 0) return false;
    if (VERBS[verb].keys != NULL) {
        strcat(strcat(strcat(keys, VERBS[verb].verb), " "), VERBS[verb].keys);
        if (!step_check_keys(step, keys, failure)) return false;
    }
    if (!check_nested(step, VERBS[verb].verb, failure)) return false;
    if (starts && !VERBS[verb].starts) return fail(failure, "this verb cannot be started");
    if (VERBS[verb].expects && !starts && !fails && step_get(step, "expect") == NULL &&
        step_get(step, "count") == NULL)
        return fail(failure, "it must say what comes: `expect`, or `count` of deliveries");
    return true;
}

/* The started step with the keys of the join put over its own. */
static bool make_whole(json_t *step, json_t *started, struct failure *failure) {
    const char *name = json_string_value(step_get(step, "join"));
    json_t *whole;
    if (name == NULL) return fail(failure, "join is no name");
    whole = json_incref(json_object_get(started, name));
    if (whole == NULL) return fail(failure, "%s was not started", name);
    json_object_del(started, name);
    json_object_update_missing(step, whole);
    json_object_del(step, "start");
    json_decref(whole);
    return true;
}

static bool read_one(json_t *step, json_t *started, struct failure *failure) {
    const char *name = json_string_value(step_get(step, "start"));
    const char *cancelled = json_string_value(step_get(step, "cancel"));
    if (step_get(step, "join") != NULL && !make_whole(step, started, failure)) return false;
    if (!check(step, failure)) return false;
    if (name != NULL) json_object_set(started, name, step);
    if (cancelled != NULL && json_object_del(started, cancelled) != 0)
        return fail(failure, "%s was not started", cancelled);
    return true;
}

json_t *step_read(const json_t *written, json_t *started, struct failure *failure) {
    json_t *step = text_expand(written, failure);
    if (step == NULL || read_one(step, started, failure)) return step;
    json_decref(step);
    return NULL;
}

json_t *step_read_all(const json_t *scenario, struct failure *failure) {
    const json_t *written = step_get(scenario, "steps");
    json_t *steps = json_array(), *started = json_object();
    bool read =
        step_check_keys(scenario, "name about needs lacks tags runtime options steps", failure) &&
        step_check_keys(step_get(scenario, "runtime"), "memory_limit", failure);
    for (size_t i = 0; read && i < json_array_size(written); i++) {
        json_t *step = step_read(json_array_get(written, i), started, failure);
        read = step != NULL;
        if (read) json_array_append_new(steps, step);
        if (!read) fail_at(failure, "step %zu", i + 1);
    }
    if (read && json_object_size(started) > 0)
        read = fail(failure, "a step is started and neither joined nor cancelled");
    json_decref(started);
    if (read) return steps;
    json_decref(steps);
    return NULL;
}

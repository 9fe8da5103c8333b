#include "keys.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static qrt_message_t *message_with(const json_t *headers) {
    qrt_message_t *message = NULL;
    const char *name;
    json_t *value;
    if (qrt_message_new(&message, NULL) != QRT_OK) abort();
    json_object_foreach((json_t *)headers, name, value)
        if (qrt_message_set_header(message, text_of(name), text_bytes(value), NULL) != QRT_OK)
            abort();
    return message;
}

/* A case that finds a session, or none, and which. */
static bool found(qrt_bytes_t key, const json_t *entry) {
    qrt_message_t *message = message_with(json_object_get(entry, "headers"));
    int64_t now = json_integer_value(json_object_get(entry, "now"));
    bool good = qrt_message_set_session(message, text_of("before"), NULL) == QRT_OK &&
                qrt_message_set_session_by(message, key, now, NULL) == QRT_OK &&
                text_equal(qrt_message_session(message),
                           text_bytes(json_object_get(entry, "session")));
    qrt_message_free(message);
    return good;
}

/* A case that is refused, with what is wrong. */
static bool refused(qrt_bytes_t key, const json_t *entry) {
    qrt_message_t *message = message_with(NULL);
    qrt_error_t *error = NULL;
    qrt_status_t status = qrt_message_set_session_by(message, key, 0, &error);
    qrt_bytes_t said = qrt_error_message(error);
    const char *says = json_string_value(json_object_get(entry, "says"));
    bool good = status == QRT_ERR_INVALID_CONFIG &&
                text_equal(qrt_error_field(error), text_of("session_key")) && said.len > 0 &&
                memmem(said.data, said.len, says, strlen(says)) != NULL;
    qrt_error_free(error);
    qrt_message_free(message);
    return good;
}

static size_t run(const json_t *cases, bool (*holds)(qrt_bytes_t, const json_t *)) {
    size_t failed = json_array_size(cases) == 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i);
        char *key = json_dumps(json_object_get(entry, "key"), JSON_ENCODE_ANY);
        bool good = holds(text_of(key), entry);
        printf("%sok - session_keys::%s\n", good ? "" : "not ",
               json_string_value(json_object_get(entry, "about")));
        failed += !good;
        free(key);
    }
    return failed;
}

size_t keys_run(const json_t *table) {
    return run(json_object_get(table, "found"), found) +
           run(json_object_get(table, "refused"), refused);
}

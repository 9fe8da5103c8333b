#include "message.h"

#include <stdlib.h>
#include <string.h>

#include "step.h"

#define SYMBOL_FOR_NUL "\xe2\x90\x80"

/* Sets a header whose name may hold the symbol for NUL, which stands for NUL. */
static void set_header(qrt_message_t *message, const char *name, const json_t *value,
                       qrt_error_t **error) {
    char *written = strdup(name);
    char *symbol = strstr(written, SYMBOL_FOR_NUL);
    qrt_bytes_t bytes = text_of(written);
    if (symbol != NULL) {
        size_t cut = strlen(SYMBOL_FOR_NUL) - 1;
        *symbol = '\0';
        memmove(symbol + 1, symbol + 1 + cut, strlen(symbol + 1 + cut) + 1);
        bytes.len -= cut;
    }
    qrt_message_set_header(message, bytes, text_bytes(value), error);
    free(written);
}

static void set_texts(const json_t *entry, qrt_message_t *message, qrt_error_t **error) {
    static const struct {
        const char *key;
        qrt_status_t (*set)(qrt_message_t *, qrt_bytes_t, qrt_error_t **);
    } texts[] = {
        {"id", qrt_message_set_id},
        {"session", qrt_message_set_session},
        {"correlation_id", qrt_message_set_correlation_id},
        {"content_type", qrt_message_set_content_type},
        {"dedup_id", qrt_message_set_dedup_id},
    };
    const char *name;
    json_t *value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && *error == NULL; i++) {
        const json_t *text = step_get(entry, texts[i].key);
        if (text != NULL) texts[i].set(message, text_bytes(text), error);
    }
    json_object_foreach(step_get(entry, "headers"), name, value) {
        if (*error == NULL) set_header(message, name, value, error);
    }
}

bool message_make(struct world *world, const json_t *entry, qrt_message_t **message,
                  qrt_error_t **error) {
    const json_t *body = json_is_string(entry) ? entry : step_get(entry, "body");
    qrt_bytes_t bytes;
    int64_t ttl = -1, delay = -1;
    if (body == NULL) body = step_get(entry, "send");
    if (!text_some_span(step_get(entry, "ttl"), &ttl, &world->failure) ||
        !text_some_span(step_get(entry, "delay"), &delay, &world->failure) ||
        !text_body(body, &bytes, &world->failure))
        return false;
    if (qrt_message_new(message, error) == QRT_OK) {
        /* The library takes the body, and frees it when nobody needs it any more. */
        qrt_message_take_body(*message, bytes, free, (void *)bytes.data, error);
        set_texts(entry, *message, error);
        if (ttl >= 0 && *error == NULL) qrt_message_set_ttl_ms(*message, ttl, error);
        if (delay >= 0 && *error == NULL) qrt_message_set_delay_ms(*message, delay, error);
    }
    return true;
}

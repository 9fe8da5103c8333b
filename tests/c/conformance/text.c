#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool text_span(const json_t *value, int64_t *ms, struct failure *failure) {
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    const char *text = json_string_value(value);
    char *unit;
    if (text == NULL) return fail(failure, "a duration is no text");
    *ms = strtoll(text, &unit, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units && isdigit((unsigned char)*text); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            /* What is longer than can be said is as long as can be. */
            if (__builtin_mul_overflow(*ms, units[i].ms, ms)) *ms = INT64_MAX;
            return true;
        }
    }
    return fail(failure, "%s is not a duration", text);
}

bool text_some_span(const json_t *value, int64_t *ms, struct failure *failure) {
    return value == NULL || text_span(value, ms, failure);
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

bool text_body(const json_t *value, qrt_bytes_t *body, struct failure *failure) {
    qrt_bytes_t text = text_bytes(value);
    uint8_t *bytes;
    if (!json_is_string(value)) return fail(failure, "a body is no text");
    bytes = malloc(text.len + 1);
    if (bytes == NULL) return fail(failure, "out of memory");
    body->data = bytes;
    if (text.len < 4 || memcmp(text.data, "hex:", 4) != 0) {
        memcpy(bytes, text.data, text.len);
        body->len = text.len;
        return true;
    }
    body->len = (text.len - 4) / 2;
    for (size_t i = 0; i < body->len; i++) {
        int high = digit((char)text.data[4 + 2 * i]), low = digit((char)text.data[5 + 2 * i]);
        if (high < 0 || low < 0 || text.len % 2 != 0) {
            free(bytes);
            return fail(failure, "%s is not hexadecimal", json_string_value(value));
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

qrt_bytes_t text_bytes(const json_t *value) {
    qrt_bytes_t bytes = {(const uint8_t *)json_string_value(value), json_string_length(value)};
    return bytes;
}

qrt_bytes_t text_of(const char *text) {
    qrt_bytes_t bytes = {(const uint8_t *)text, strlen(text)};
    return bytes;
}

bool text_equal(qrt_bytes_t left, qrt_bytes_t right) {
    return left.len == right.len && (left.len == 0 || memcmp(left.data, right.data, left.len) == 0);
}

/* The first braces of a text, if they hold the mark: `before{left MARK right}after`. */
struct braces {
    const char *open, *close, *mark;
};

static bool braces(const char *text, const char *mark, struct braces *found) {
    found->open = strchr(text, '{');
    found->close = found->open == NULL ? NULL : strchr(found->open, '}');
    if (found->close == NULL) return false;
    found->mark = strstr(found->open, mark);
    return found->mark != NULL && found->mark < found->close;
}

static bool number(const char *first, const char *end, unsigned long *value) {
    char *stop;
    if (first == end || !isdigit((unsigned char)*first)) return false;
    *value = strtoul(first, &stop, 10);
    return stop == end;
}

/* Text that grows. */
struct written {
    char *text;
    size_t len, room;
};

static void append(struct written *written, const char *text, size_t len) {
    if (written->len + len > written->room) {
        written->room = 2 * (written->len + len);
        written->text = realloc(written->text, written->room);
        if (written->text == NULL) abort();
    }
    memcpy(written->text + written->len, text, len);
    written->len += len;
}

/* `a{xy*3}b` is `axyxyxyb`. The caller frees it. */
static struct written repeated(const char *text, size_t len) {
    struct written written = {malloc(len + 1), 0, len + 1};
    const char *end = text + len;
    struct braces at;
    unsigned long times;
    if (written.text == NULL) abort();
    while (memchr(text, '\0', (size_t)(end - text)) == NULL && braces(text, "*", &at) &&
           number(at.mark + 1, at.close, &times)) {
        append(&written, text, (size_t)(at.open - text));
        while (times-- > 0) append(&written, at.open + 1, (size_t)(at.mark - at.open - 1));
        text = at.close + 1;
    }
    append(&written, text, (size_t)(end - text));
    return written;
}

/* `m{1..3}` in a text: the first and the last number. */
static bool range(const char *text, struct braces *at, unsigned long *first, unsigned long *last) {
    return braces(text, "..", at) && number(at->open + 1, at->mark, first) &&
           number(at->mark + 2, at->close, last) && *first <= *last;
}

/* How many entries one stands for; 0 when it has no range. */
static bool length(const json_t *entry, unsigned long *count, struct failure *failure) {
    struct braces at;
    unsigned long first, last;
    const char *key;
    json_t *value;
    *count = 0;
    if (json_is_string(entry) && range(json_string_value(entry), &at, &first, &last))
        *count = last + 1 - first;
    json_object_foreach((json_t *)entry, key, value) {
        unsigned long inner;
        if (!length(value, &inner, failure)) return false;
        if (inner != 0 && *count != 0 && inner != *count)
            return fail(failure, "the ranges of an entry differ in length");
        if (inner != 0) *count = inner;
    }
    return true;
}

/* The entry with number `index` of its ranges in their places: a new reference. */
static json_t *pick(const json_t *entry, unsigned long index) {
    struct braces at;
    unsigned long first, last;
    const char *key;
    json_t *value, *whole;
    if (json_is_string(entry)) {
        const char *text = json_string_value(entry);
        if (!range(text, &at, &first, &last)) return json_copy((json_t *)entry);
        return json_sprintf("%.*s%lu%s", (int)(at.open - text), text, first + index, at.close + 1);
    }
    if (!json_is_object(entry)) return json_copy((json_t *)entry);
    whole = json_object();
    json_object_foreach((json_t *)entry, key, value) {
        json_object_set_new(whole, key, pick(value, index));
    }
    return whole;
}

static json_t *expand_list(const json_t *list, struct failure *failure) {
    json_t *whole = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        unsigned long count;
        bool alone;
        if (!length(entry, &count, failure)) goto failed;
        alone = count == 0;
        for (unsigned long index = 0; index < (alone ? 1 : count); index++) {
            json_t *one = alone ? json_incref((json_t *)entry) : pick(entry, index);
            json_t *expanded = text_expand(one, failure);
            json_decref(one);
            if (expanded == NULL) goto failed;
            json_array_append_new(whole, expanded);
        }
    }
    return whole;
failed:
    json_decref(whole);
    return NULL;
}

json_t *text_expand(const json_t *value, struct failure *failure) {
    struct braces at;
    unsigned long first, last;
    if (json_is_string(value)) {
        struct written written;
        json_t *text;
        if (range(json_string_value(value), &at, &first, &last)) {
            fail(failure, "the range in %s stands outside of a list", json_string_value(value));
            return NULL;
        }
        written = repeated(json_string_value(value), json_string_length(value));
        text = json_stringn(written.text, written.len);
        free(written.text);
        return text;
    }
    if (json_is_array(value)) return expand_list(value, failure);
    if (json_is_object(value)) {
        json_t *whole = json_object(), *inner;
        const char *key;
        json_object_foreach((json_t *)value, key, inner) {
            struct written name = repeated(key, strlen(key));
            json_t *expanded = text_expand(inner, failure);
            if (expanded != NULL) json_object_setn_new(whole, name.text, name.len, expanded);
            free(name.text);
            if (expanded == NULL) {
                json_decref(whole);
                return NULL;
            }
        }
        return whole;
    }
    return json_incref((json_t *)value);
}

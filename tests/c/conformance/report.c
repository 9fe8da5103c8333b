#include "report.h"

#include <stdio.h>
#include <string.h>

static const char *get(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text == NULL ? "" : text;
}

void report_add(json_t *rows, const char *provider, const char *theme, const char *scenario,
                const char *result, const char *reason) {
    const char *kind = strcmp(result, "skip") == 0 ? "capability" : NULL;
    json_array_append_new(
        rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?}", "provider", provider, "language",
                        "c", "theme", theme, "scenario", scenario, "result", result, "kind", kind,
                        "reason", reason));
}

static size_t count(const json_t *rows, const json_t *like, const char *theme, const char *result) {
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        found += strcmp(get(row, "provider"), get(like, "provider")) == 0 &&
                 (theme == NULL || strcmp(get(row, "theme"), theme) == 0) &&
                 (result == NULL || strcmp(get(row, "result"), result) == 0);
    }
    return found;
}

/* Whether no earlier row is of this provider, and of this theme if one is asked for. */
static int is_first(const json_t *rows, size_t index, int of_theme) {
    const json_t *row = json_array_get(rows, index);
    for (size_t i = 0; i < index; i++) {
        const json_t *other = json_array_get(rows, i);
        if (strcmp(get(other, "provider"), get(row, "provider")) == 0 &&
            (!of_theme || strcmp(get(other, "theme"), get(row, "theme")) == 0))
            return 0;
    }
    return 1;
}

static void print_line(const json_t *rows, const json_t *row, const char *theme) {
    printf("# %-18s %-18s %6zu %6zu %6zu\n", get(row, "provider"), theme == NULL ? "all" : theme,
           count(rows, row, theme, "pass"), count(rows, row, theme, "fail"),
           count(rows, row, theme, "skip"));
}

size_t report_print(const json_t *rows) {
    size_t ran = 0;
    printf("# %-18s %-18s %6s %6s %6s\n", "provider", "scenarios about", "passed", "failed",
           "skipped");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        ran += strcmp(get(row, "result"), "skip") != 0;
        if (is_first(rows, i, 0)) print_line(rows, row, NULL);
        if (is_first(rows, i, 1)) print_line(rows, row, get(row, "theme"));
    }
    return ran;
}

int report_merge(const json_t *rows, const char *path) {
    json_t *whole = json_load_file(path, 0, NULL), *merged = json_array();
    char new[4096];
    int failed;
    for (size_t i = 0; i < json_array_size(whole); i++) {
        json_t *row = json_array_get(whole, i);
        int ours = strcmp(get(row, "language"), "c") == 0 && count(rows, row, NULL, NULL) > 0;
        if (!ours) json_array_append(merged, row);
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_copy(json_array_get(rows, i));
        json_object_del(row, "theme");
        json_array_append_new(merged, row);
    }
    /* Renamed into place: whoever reads meanwhile sees the old rows or the new ones. */
    snprintf(new, sizeof new, "%s.new", path);
    failed = json_dump_file(merged, new, JSON_INDENT(2)) != 0 || rename(new, path) != 0;
    json_decref(merged);
    json_decref(whole);
    return failed;
}

#include "dead_letters.h"

#include "check.h"
#include "step.h"

typedef bool check_name(struct world *, const char *, const json_t *, qrt_bytes_t);

static bool check_group(struct world *world, const json_t *wanted, check_name *check,
                        const qrt_dead_letter_statistics_t *got, uint32_t by, size_t index) {
    return check(world, "name", step_get(wanted, "name"),
                 qrt_dead_letter_statistics_group_name(got, by, index)) &&
           check_number(world, "count", step_get(wanted, "count"),
                        (int64_t)qrt_dead_letter_statistics_group_count(got, by, index)) &&
           check_moment(world, "oldest", step_get(wanted, "oldest"),
                        qrt_dead_letter_statistics_group_oldest(got, by, index)) &&
           check_moment(world, "newest", step_get(wanted, "newest"),
                        qrt_dead_letter_statistics_group_newest(got, by, index));
}

/* Whether the groups are these, in this order. */
static bool check_groups(struct world *world, const json_t *wanted, check_name *check,
                         const qrt_dead_letter_statistics_t *got, uint32_t by) {
    size_t count = qrt_dead_letter_statistics_groups(got, by);
    if (wanted == NULL) return true;
    if (json_array_size(wanted) != count) return fail(&world->failure, "got %zu groups", count);
    for (size_t i = 0; i < count; i++)
        if (!check_group(world, json_array_get(wanted, i), check, got, by, i))
            return fail_at(&world->failure, "group %zu", i + 1);
    return true;
}

static bool check_ages(struct world *world, const json_t *wanted,
                       const qrt_dead_letter_statistics_t *got) {
    size_t count = qrt_dead_letter_statistics_ages(got);
    if (wanted == NULL) return true;
    if (json_array_size(wanted) != count) return fail(&world->failure, "got %zu ages", count);
    for (size_t i = 0; i < count; i++)
        if (!check_number(world, "the count", json_array_get(wanted, i),
                          (int64_t)qrt_dead_letter_statistics_age_count(got, i)))
            return fail_at(&world->failure, "age %zu", i + 1);
    return true;
}

bool dead_letters_counted(struct world *world, const json_t *wanted,
                          const qrt_dead_letter_statistics_t *got) {
    return check_number(world, "count", step_get(wanted, "count"),
                        (int64_t)qrt_dead_letter_statistics_count(got)) &&
           check_number(world, "bytes", step_get(wanted, "bytes"),
                        (int64_t)qrt_dead_letter_statistics_bytes(got)) &&
           check_moment(world, "oldest", step_get(wanted, "oldest"),
                        qrt_dead_letter_statistics_oldest(got)) &&
           check_moment(world, "newest", step_get(wanted, "newest"),
                        qrt_dead_letter_statistics_newest(got)) &&
           check_groups(world, step_get(wanted, "by_reason"), check_text, got, QRT_BY_REASON) &&
           check_groups(world, step_get(wanted, "by_source"), check_queue, got, QRT_BY_SOURCE) &&
           check_ages(world, step_get(wanted, "by_age"), got);
}

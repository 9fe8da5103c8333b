#define _XOPEN_SOURCE 700
#include "target.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char FOLDER[] = "{folder}";

bool target_supports(const struct target *target, const char *capability) {
    const char *how = json_string_value(json_object_get(target->support, capability));
    return how != NULL && strcmp(how, "unsupported") != 0;
}

bool target_folder(char folder[TARGET_FOLDER]) {
    const char *parent = getenv("TMPDIR");
    int length = snprintf(folder, TARGET_FOLDER, "%s/queue-runtime-XXXXXX",
                          parent == NULL ? "/tmp" : parent);
    return length < TARGET_FOLDER && mkdtemp(folder) != NULL;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place) {
    (void)stat, (void)type, (void)place;
    return remove(path);
}

void target_remove(const char *folder) {
    struct stat stat_of;
    /* Threads of the store may outlive its last client by the work they are at. */
    while (stat(folder, &stat_of) == 0) nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void target_url(const struct target *target, const char *folder, char url[TARGET_URL]) {
    const char *place = strstr(target->url, FOLDER);
    if (place == NULL)
        snprintf(url, TARGET_URL, "%s", target->url);
    else
        snprintf(url, TARGET_URL, "%.*s%s%s", (int)(place - target->url), target->url, folder,
                 place + sizeof FOLDER - 1);
}

#include "target.h"

#include <stdio.h>
#include <string.h>

static const char FOLDER[] = "{folder}";

bool target_supports(const struct target *target, const char *capability) {
    const char *how = json_string_value(json_object_get(target->support, capability));
    return how != NULL && strcmp(how, "unsupported") != 0;
}

void target_url(const struct target *target, const char *folder, char url[TARGET_URL]) {
    const char *place = strstr(target->url, FOLDER);
    if (place == NULL)
        snprintf(url, TARGET_URL, "%s", target->url);
    else
        snprintf(url, TARGET_URL, "%.*s%s%s", (int)(place - target->url), target->url, folder,
                 place + sizeof FOLDER - 1);
}

/* Folders for stores: new ones, and what becomes of them. */

#ifndef FOLDER_H
#define FOLDER_H

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Of the path of a folder. */
enum { FOLDER_PATH = 256 };

/* Makes a new, empty folder and says where; false when there is none. */
static inline bool folder_make(char path[FOLDER_PATH]) {
    const char *parent = getenv("TMPDIR");
    int length = snprintf(path, FOLDER_PATH, "%s/queue-runtime-XXXXXX",
                          parent == NULL ? "/tmp" : parent);
    return length < FOLDER_PATH && mkdtemp(path) != NULL;
}

static inline int folder_remove_one(const char *path, const struct stat *stat, int type,
                                    struct FTW *place) {
    (void)stat, (void)type, (void)place;
    return remove(path);
}

/* Removes a folder with all that is in it. Threads of a store may outlive its last client by the
 * work they are at, so that there may be more than was seen. */
static inline void folder_remove(const char *path) {
    struct stat found;
    while (stat(path, &found) == 0) nftw(path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif

#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fail(struct failure *failure, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof failure->text, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_at(struct failure *failure, const char *format, ...) {
    struct failure whole;
    va_list arguments;
    size_t used;
    va_start(arguments, format);
    vsnprintf(whole.text, sizeof whole.text / 2, format, arguments);
    va_end(arguments);
    used = strlen(whole.text);
    snprintf(whole.text + used, sizeof whole.text - used, ": %.1000s", failure->text);
    *failure = whole;
    return false;
}

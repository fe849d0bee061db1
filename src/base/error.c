/* See error.h. Without memory there is one immortal error, so that making an error never fails. */
#include "base/error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static char out_of_memory_message[] = "out of memory";
static struct error out_of_memory = {
    .kind = ERROR_INTERNAL,
    .reason = "OutOfMemory",
    .message = out_of_memory_message,
};

struct error *error_out_of_memory(void)
{
    return &out_of_memory;
}

/* What a message quotes may be any bytes (jansson cuts characters in two), but it becomes part of
 * statuses and events, which are UTF-8. */
static void mend(char *message)
{
    size_t length = strlen(message);

    for (size_t at = 0; (at += utf8_valid_prefix(message + at, length - at)) < length;)
        message[at] = '?';
}

/* Takes `message`; NULL stands for a failed allocation. */
static struct error *make(enum error_kind kind, const char *reason, char *message)
{
    struct error *error = message ? calloc(1, sizeof(*error)) : NULL;

    if (!error) {
        free(message);
        return &out_of_memory;
    }
    mend(message);
    error->kind = kind;
    snprintf(error->reason, sizeof(error->reason), "%s", reason);
    error->message = message;
    return error;
}

struct error *error_new_v(enum error_kind kind, const char *reason, const char *format,
                          va_list arguments)
{
    char *message = NULL;

    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
    return make(kind, reason, message);
}

struct error *error_new(enum error_kind kind, const char *reason, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    struct error *error = error_new_v(kind, reason, format, arguments);
    va_end(arguments);
    return error;
}

struct error *error_from_errno(enum error_kind kind, const char *reason, int number,
                               const char *format, ...)
{
    char *context = NULL;
    char *message = NULL;
    char text[128];
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&context, format, arguments) < 0)
        context = NULL;
    va_end(arguments);
    if (context &&
        asprintf(&message, "%s: %s", context, strerror_r(number, text, sizeof(text))) < 0)
        message = NULL;
    free(context);
    return make(kind, reason, message);
}

struct error *error_wrap(struct error *error, const char *format, ...)
{
    char *context = NULL;
    char *message = NULL;
    va_list arguments;

    if (!error || error == &out_of_memory)
        return error;
    va_start(arguments, format);
    if (vasprintf(&context, format, arguments) < 0)
        context = NULL;
    va_end(arguments);
    if (context && asprintf(&message, "%s: %s", context, error->message) >= 0) {
        mend(message);
        free(error->message);
        error->message = message;
    }
    free(context);
    return error;
}

struct error *error_about_field(struct error *error, const char *field)
{
    char *copy = field && error && error != &out_of_memory ? strdup(field) : NULL;

    if (copy) {
        free(error->field);
        error->field = copy;
    }
    return error;
}

bool error_reason_valid(const char *reason, size_t length)
{
    if (length == 0 || length >= sizeof(((struct error *)NULL)->reason) ||
        !isupper((unsigned char)reason[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)reason[i]))
            return false;
    }
    return true;
}

struct error *error_copy(const struct error *error)
{
    if (!error || error == &out_of_memory)
        return (struct error *)error;

    struct error *copy = make(error->kind, error->reason, strdup(error->message));
    if (copy != &out_of_memory)
        copy->retry_after_ms = error->retry_after_ms;
    return error_about_field(copy, error->field);
}

void error_free(struct error *error)
{
    if (!error || error == &out_of_memory)
        return;
    free(error->message);
    free(error->field);
    free(error);
}

const char *error_kind_name(enum error_kind kind)
{
    static const char *const names[] = {
        [ERROR_TRANSIENT] = "transient", [ERROR_CONFIGURATION] = "configuration",
        [ERROR_UPSTREAM] = "upstream",   [ERROR_HOOK] = "hook",
        [ERROR_STORAGE] = "storage",     [ERROR_CONFLICT] = "conflict",
        [ERROR_INTERNAL] = "internal",
    };

    return names[kind];
}

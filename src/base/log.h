/*
 * Logs: one JSON object a line with the keys that Flux's controllers use (level, ts, msg,
 * controller, namespace, name, reconcileID), or lines for people with LOG_CONSOLE. Thread-safe; a
 * line is one write.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_ERROR };
enum log_encoding { LOG_JSON, LOG_CONSOLE };

struct log;

/* What a line is about; any member may be NULL. */
struct log_subject {
    const char *namespace_name;
    const char *name;
    const char *reconcile_id;
};

/* Writes to `descriptor` (not owned). NULL without memory. */
struct log *log_new(int descriptor, enum log_level level, enum log_encoding encoding,
                    const struct clock *clock);
void log_free(struct log *log);

bool log_enabled(const struct log *log, enum log_level level);

/* A line with the message and then pairs of key and value, ended by NULL:
 *     log_info(log, &subject, "artifact stored", "revision", revision, NULL);
 * `subject` may be NULL; so may `log`, which writes nothing. A NULL value is left out. */
void log_debug(struct log *log, const struct log_subject *subject, const char *message, ...)
    __attribute__((sentinel));
void log_info(struct log *log, const struct log_subject *subject, const char *message, ...)
    __attribute__((sentinel));
/* At level error. `error` may be NULL; its message goes to the key "error", its reason to "reason".
 */
void log_error(struct log *log, const struct log_subject *subject, const struct error *error,
               const char *message, ...) __attribute__((sentinel));

/* "debug", "info", "error"; "json", "console". False for anything else. */
bool log_level_parse(const char *text, enum log_level *level);
bool log_encoding_parse(const char *text, enum log_encoding *encoding);

CLEANUP_DEFINE(log, struct log *, log_free)

#endif

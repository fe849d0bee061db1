/* The table of all settings: what each is called as a flag and as a variable. Private to settings.
 */
#ifndef SLUICE_CMD_SETTINGS_TABLE_H
#define SLUICE_CMD_SETTINGS_TABLE_H

#include "cmd/settings.h"

enum setting_type {
    TEXT,
    TEXTS,
    FLAG,
    NUMBER,
    DURATION,
    SIZE,
    LEVEL,
    ENCODING,
    BACKEND,
    PORT,
    ENABLED
};

struct setting {
    const char *flag;     /* also the file's key; NULL for a variable that has no flag */
    const char *variable; /* NULL if there is none */
    enum setting_type type;
    size_t offset;       /* in struct settings */
    size_t count_offset; /* TEXTS: of the count */
    const char *default_text;
    const char *controller_default; /* where it differs */
    const char *argument;           /* how help names the value */
    const char *help;
    enum { BOTH, RUN_ONLY, CONTROLLER_ONLY } of;
};

extern const struct setting settings_table[];
extern const size_t settings_table_count;

#endif

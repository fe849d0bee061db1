/* See settings.h. Values are checked where they are read, so that a wrong one is told with its
 * origin. */
#include "cmd/settings.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/yaml.h"
#include "cmd/settings_table.h"

#define CONFIG_FILE_MAX ((size_t)1 << 20)

bool size_parse(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {{"", 1},          {"k", 1000},      {"M", 1000000},  {"G", 1000000000},
                 {"Ki", 1U << 10}, {"Mi", 1U << 20}, {"Gi", 1U << 30}};
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].suffix) == 0)
            return !__builtin_mul_overflow((uint64_t)number, units[i].factor, bytes);
    }
    return false;
}

static bool number_parse(const char *text, unsigned *number)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *number = (unsigned)value;
    return !errno && *end == '\0' && value > 0 && value <= INT_MAX;
}

static bool append_text(struct settings *settings, const struct setting *setting, const char *text)
{
    const char ***list = (const char ***)((char *)settings + setting->offset);
    size_t *count = (size_t *)((char *)settings + setting->count_offset);
    const char **grown = reallocarray(*list, *count + 1, sizeof(char *));

    if (!grown)
        return false;
    *list = grown;
    grown[(*count)++] = text;
    return true;
}

/* Texts that do not come from argv or the environment live as long as the settings. */
static const char *keep(struct settings *settings, char *text)
{
    json_t *kept = settings->owned ? settings->owned : json_array();
    json_t *value = text ? json_string(text) : NULL;

    settings->owned = kept;
    free(text);
    if (!kept || !value || json_array_append_new(kept, value))
        return NULL;
    return json_string_value(value);
}

/* What a value of the setting may be; for messages. */
static const char *accepted(const struct setting *setting)
{
    static const char *const texts[] = {
        [TEXT] = "a text",
        [TEXTS] = "a text",
        [FLAG] = "true or false",
        [NUMBER] = "a whole number of at least 1",
        [DURATION] = "a duration such as 30s or 1m30s",
        [SIZE] = "a size such as 64Mi, 1Gi or 4096",
        [LEVEL] = "debug, info or error",
        [ENCODING] = "json or console",
        [BACKEND] = "file, pvc (the same) or memory",
        [PORT] = "a port from 1 to 65535",
        [ENABLED] = "true or false",
    };

    return texts[setting->type];
}

static bool set_enabled(struct settings *settings, const struct setting *setting, const char *text)
{
    const char **address = (const char **)((char *)settings + setting->offset);

    if (strcmp(text, "false") == 0)
        *address = "0";
    return strcmp(text, "false") == 0 || strcmp(text, "true") == 0;
}

static bool set_port(struct settings *settings, const struct setting *setting, const char *text)
{
    const char **address = (const char **)((char *)settings + setting->offset);
    unsigned port;

    if (!number_parse(text, &port) || port > 65535)
        return false;
    *address =
        keep(settings,
             format_string("%s:%u", settings->command == COMMAND_RUN ? "127.0.0.1" : "", port));
    return *address != NULL;
}

static bool set(struct settings *settings, const struct setting *setting, const char *text)
{
    void *member = (char *)settings + setting->offset;

    switch (setting->type) {
    case TEXT:
        *(const char **)member = text;
        return *text != '\0';
    case TEXTS:
        return append_text(settings, setting, text);
    case FLAG:
        *(bool *)member = strcmp(text, "true") == 0;
        return *(bool *)member || strcmp(text, "false") == 0;
    case NUMBER:
        return number_parse(text, member);
    case DURATION:
        return duration_parse(text, member) && *(int64_t *)member > 0;
    case SIZE:
        return size_parse(text, member) && *(uint64_t *)member > 0;
    case LEVEL:
        return log_level_parse(text, member);
    case ENCODING:
        return log_encoding_parse(text, member);
    case BACKEND:
        *(const char **)member = text;
        return strcmp(text, "file") == 0 || strcmp(text, "pvc") == 0 || strcmp(text, "memory") == 0;
    case PORT:
        return set_port(settings, setting, text);
    case ENABLED:
        return set_enabled(settings, setting, text);
    }
    return false;
}

/* `origin` is "--flag", "$VARIABLE" or a key of the file. */
static struct error *set_from(struct settings *settings, const struct setting *setting,
                              const char *origin, const char *text)
{
    if (set(settings, setting, text))
        return NULL;
    return error_new(ERROR_CONFIGURATION, "Usage", "%s: found '%s'; accepted: %s", origin, text,
                     accepted(setting));
}

static bool has(enum settings_command command, const struct setting *setting)
{
    return setting->of == BOTH ||
           setting->of == (command == COMMAND_RUN ? RUN_ONLY : CONTROLLER_ONLY);
}

static const char *default_of(enum settings_command command, const struct setting *setting)
{
    return command == COMMAND_CONTROLLER && setting->controller_default
               ? setting->controller_default
               : setting->default_text;
}

static const struct setting *find_flag(enum settings_command command, const char *name,
                                       size_t length)
{
    for (size_t i = 0; i < settings_table_count; i++) {
        if (settings_table[i].flag && has(command, &settings_table[i]) &&
            strlen(settings_table[i].flag) == length &&
            strncmp(settings_table[i].flag, name, length) == 0)
            return &settings_table[i];
    }
    return NULL;
}

static struct error *read_defaults(struct settings *settings)
{
    for (size_t i = 0; i < settings_table_count; i++) {
        const char *text = has(settings->command, &settings_table[i])
                               ? default_of(settings->command, &settings_table[i])
                               : NULL;
        struct error *error =
            text ? set_from(settings, &settings_table[i], settings_table[i].flag, text) : NULL;

        if (error)
            return error;
    }
    return NULL;
}

static struct error *read_environment(struct settings *settings)
{
    for (size_t i = 0; i < settings_table_count; i++) {
        const char *value = settings_table[i].variable ? getenv(settings_table[i].variable) : NULL;

        if (!value || !*value || !has(settings->command, &settings_table[i]))
            continue;
        _cleanup_(free) char *origin = format_string("$%s", settings_table[i].variable);
        struct error *error = set_from(settings, &settings_table[i],
                                       origin ? origin : settings_table[i].variable, value);
        if (error)
            return error;
    }
    return NULL;
}

static struct error *set_from_file(struct settings *settings, const char *key, const json_t *value)
{
    const struct setting *setting = find_flag(settings->command, key, strlen(key));
    char *text = NULL;

    if (!setting)
        return error_new(ERROR_CONFIGURATION, "Usage",
                         "unknown key '%s'; keys are named like the flags of --help", key);
    if (json_is_string(value))
        text = strdup(json_string_value(value));
    else if (json_is_integer(value))
        text = format_string("%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        text = strdup(json_is_true(value) ? "true" : "false");
    else
        return error_new(ERROR_CONFIGURATION, "Usage", "%s: accepted: %s", key, accepted(setting));
    const char *kept = keep(settings, text);
    return kept ? set_from(settings, setting, key, kept) : error_out_of_memory();
}

static struct error *read_document(void *context, const char *json, size_t length, size_t line)
{
    struct settings *settings = context;
    _cleanup_(json) json_t *object = NULL;
    const char *key;
    json_t *value;
    size_t index;

    (void)line;
    struct error *error = json_parse(json, length, &object);
    if (error)
        return error;
    if (!json_is_object(object))
        return error_new(ERROR_CONFIGURATION, "Usage", "accepted: a mapping of flags' names");
    json_object_foreach(object, key, value)
    {
        json_t *item;

        if (!json_is_array(value))
            error = set_from_file(settings, key, value);
        json_array_foreach(value, index, item)
        {
            if (!error)
                error = set_from_file(settings, key, item);
        }
        if (error)
            return error;
    }
    return NULL;
}

static struct error *read_file(struct settings *settings, const char *path)
{
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, CONFIG_FILE_MAX, &text);

    if (error)
        return error_wrap(error, "--config");
    return error_wrap(yaml_read(buffer_string(&text), text.length, read_document, settings), "%s",
                      path);
}

/* One argument of the command line, "--flag", "--flag=value" or a path; *index moves over a value
 * that follows. `config` receives --config; `looking` in the pass that only looks for it. */
static struct error *read_argument(int argc, char **argv, int *index, struct settings *settings,
                                   bool looking, const char **config)
{
    const char *argument = strcmp(argv[*index], "-h") == 0 ? "--help" : argv[*index];

    if (strncmp(argument, "--", 2) != 0) {
        static const struct setting paths = {.type = TEXTS,
                                             .offset = offsetof(struct settings, paths),
                                             .count_offset = offsetof(struct settings, path_count)};

        if (argument[0] == '-' && argument[1])
            return error_new(ERROR_CONFIGURATION, "Usage", "unknown flag '%s'; see --help",
                             argument);
        return !looking && !append_text(settings, &paths, argument) ? error_out_of_memory() : NULL;
    }
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    bool is_config = length == 6 && strncmp(name, "config", 6) == 0;
    const struct setting *setting = find_flag(settings->command, name, length);
    const char *value = equals ? equals + 1 : NULL;

    if (!setting && !is_config)
        return error_new(ERROR_CONFIGURATION, "Usage", "unknown flag '%s'; see --help", argument);
    if (!value && setting && setting->type == FLAG)
        value = "true";
    if (!value && *index + 1 >= argc)
        return error_new(ERROR_CONFIGURATION, "Usage", "%s: needs a value: %s", argument,
                         setting ? accepted(setting) : "a file");
    if (!value)
        value = argv[++*index];
    if (is_config)
        *config = value;
    if (looking || is_config)
        return NULL;
    _cleanup_(free) char *origin = format_string("--%.*s", (int)length, name);
    return set_from(settings, setting, origin ? origin : name, value);
}

static struct error *read_command_line(int argc, char **argv, struct settings *settings,
                                       bool looking, const char **config)
{
    for (int i = 1; i < argc; i++) {
        struct error *error = read_argument(argc, argv, &i, settings, looking, config);

        if (error)
            return error;
    }
    return NULL;
}

struct error *settings_read(int argc, char **argv, enum settings_command command,
                            struct settings *settings)
{
    const char *config = NULL;
    struct error *error = NULL;

    memset(settings, 0, sizeof(*settings));
    settings->command = command;
    error = read_command_line(argc, argv, settings, true, &config);
    if (!error)
        error = read_defaults(settings);
    if (!error && config)
        error = read_file(settings, config);
    if (!error)
        error = read_environment(settings);
    if (!error)
        error = read_command_line(argc, argv, settings, false, &config);
    return error;
}

void settings_help(enum settings_command command)
{
    printf("  %-30s  %s\n", "--config FILE",
           "YAML file of settings, keys named like these flags; flags and environment win");
    for (size_t i = 0; i < settings_table_count; i++) {
        char flag[64];

        const char *default_text = default_of(command, &settings_table[i]);

        if (!settings_table[i].flag || !has(command, &settings_table[i]))
            continue;
        snprintf(flag, sizeof(flag), "--%s%s%s", settings_table[i].flag,
                 settings_table[i].argument ? " " : "",
                 settings_table[i].argument ? settings_table[i].argument : "");
        printf("  %-30s  %s", flag, settings_table[i].help);
        if (default_text)
            printf(" (default %s)", default_text);
        if (settings_table[i].variable)
            printf(" [$%s]", settings_table[i].variable);
        printf("\n");
    }
}

void settings_free(struct settings *settings)
{
    free(settings->lua_paths);
    free(settings->secrets);
    free(settings->paths);
    json_decref(settings->owned);
    memset(settings, 0, sizeof(*settings));
}

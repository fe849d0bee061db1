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

#define CONFIG_FILE_MAX ((size_t)1 << 20)

enum setting_type { TEXT, TEXTS, FLAG, NUMBER, DURATION, SIZE, LEVEL, ENCODING, PORT, ENABLED };

struct setting {
    const char *flag;     /* also the file's key; NULL for a variable that has no flag */
    const char *variable; /* NULL if there is none */
    enum setting_type type;
    size_t offset;       /* in struct settings */
    size_t count_offset; /* TEXTS: of the count */
    const char *default_text;
    const char *argument; /* how help names the value */
    const char *help;
};

#define AT(member) offsetof(struct settings, member)

static const struct setting table[] = {
    {"once", NULL, FLAG, AT(once), 0, NULL, NULL,
     "reconcile every source once, print a table, and exit"},
    {"storage-backend", "STORAGE_BACKEND", TEXT, AT(storage_backend), 0, "file", "NAME",
     "where artifacts are kept: file (alias pvc) or memory"},
    {"storage-path", "PVC_STORAGE_PATH", TEXT, AT(storage_path), 0, "./sluice-data", "DIR",
     "directory of artifacts, status and ExternalArtifacts"},
    {"storage-addr", NULL, TEXT, AT(storage_addr), 0, "127.0.0.1:8080", "ADDR",
     "address of the artifact server; 0 switches it off"},
    {"storage-adv-addr", NULL, TEXT, AT(storage_adv_addr), 0, NULL, "HOST[:PORT]",
     "address in artifacts' URLs (default: the artifact server's)"},
    {"metrics-addr", NULL, TEXT, AT(metrics_addr), 0, "127.0.0.1:8081", "ADDR",
     "address of /metrics; 0 switches it off"},
    {"health-addr", NULL, TEXT, AT(health_addr), 0, "127.0.0.1:9440", "ADDR",
     "address of /healthz and /readyz; 0 switches it off"},
    {NULL, "ARTIFACT_SERVER_PORT", PORT, AT(storage_addr), 0, NULL, NULL, NULL},
    {NULL, "ARTIFACT_SERVER_ENABLED", ENABLED, AT(storage_addr), 0, NULL, NULL, NULL},
    {NULL, "METRICS_ENABLED", ENABLED, AT(metrics_addr), 0, NULL, NULL, NULL},
    {"lua-path", NULL, TEXTS, AT(lua_paths), AT(lua_path_count), NULL, "DIR",
     "directory of Lua modules (generators/, policies/, transforms/, libraries/); may be repeated"},
    {"secret", NULL, TEXTS, AT(secrets), AT(secret_count), NULL, "NS/NAME.KEY=env:VAR|file:PATH",
     "a Secret's key from the environment or a file; may be repeated"},
    {"log-level", NULL, LEVEL, AT(log_level), 0, "info", "LEVEL", "debug, info or error"},
    {"log-encoding", NULL, ENCODING, AT(log_encoding), 0, "json", "ENCODING", "json or console"},
    {"concurrent", NULL, NUMBER, AT(concurrent), 0, "1000", "N", "reconciles at once"},
    {"spool-path", NULL, TEXT, AT(spool_path), 0, NULL, "DIR",
     "directory for large bodies on their way (default: below --storage-path)"},
    {"http-timeout", "HTTP_TIMEOUT", DURATION, AT(http_timeout_ms), 0, "30s", "DURATION",
     "time for a fetch, where spec.timeout does not say"},
    {"http-max-conns-per-host", "HTTP_MAX_CONNS_PER_HOST", NUMBER, AT(http_max_conns_per_host), 0,
     "500", "N", "fetches at once from one host"},
    {"http-user-agent", "HTTP_USER_AGENT", TEXT, AT(http_user_agent), 0, "sluice/" SLUICE_VERSION,
     "TEXT", "User-Agent of fetches"},
    {"max-body-size", NULL, SIZE, AT(max_body_size), 0, "128Mi", "SIZE",
     "largest body that is taken from upstream, decoded"},
    {"retry-max-attempts", "RETRY_MAX_ATTEMPTS", NUMBER, AT(retry_max_attempts), 0, "10", "N",
     "attempts with backoff before the interval counts again"},
    {"retry-base-delay", "RETRY_BASE_DELAY", DURATION, AT(retry_base_delay_ms), 0, "1s", "DURATION",
     "backoff after the first failure"},
    {"retry-max-delay", "RETRY_MAX_DELAY", DURATION, AT(retry_max_delay_ms), 0, "5m", "DURATION",
     "longest backoff"},
    {"help", NULL, FLAG, AT(help), 0, NULL, NULL, "print this help"},
};

static const size_t table_count = sizeof(table) / sizeof(table[0]);

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
    *address = keep(settings, format_string("127.0.0.1:%u", port));
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
    case PORT:
        return set_port(settings, setting, text);
    case ENABLED:
        return set_enabled(settings, setting, text);
    }
    return false;
}

/* `origin` is "--flag", "$VARIABLE" or "FILE: key". */
static struct error *set_from(struct settings *settings, const struct setting *setting,
                              const char *origin, const char *text)
{
    if (set(settings, setting, text))
        return NULL;
    return error_new(ERROR_CONFIGURATION, "Usage", "%s: found '%s'; accepted: %s", origin, text,
                     accepted(setting));
}

static const struct setting *find_flag(const char *name, size_t length)
{
    for (size_t i = 0; i < table_count; i++) {
        if (table[i].flag && strlen(table[i].flag) == length &&
            strncmp(table[i].flag, name, length) == 0)
            return &table[i];
    }
    return NULL;
}

static struct error *read_defaults(struct settings *settings)
{
    for (size_t i = 0; i < table_count; i++) {
        struct error *error = table[i].default_text ? set_from(settings, &table[i], table[i].flag,
                                                               table[i].default_text)
                                                    : NULL;
        if (error)
            return error;
    }
    settings->grace_period_s = 10;
    return NULL;
}

static struct error *read_environment(struct settings *settings)
{
    for (size_t i = 0; i < table_count; i++) {
        const char *value = table[i].variable ? getenv(table[i].variable) : NULL;

        if (!value || !*value)
            continue;
        _cleanup_(free) char *origin = format_string("$%s", table[i].variable);
        struct error *error =
            set_from(settings, &table[i], origin ? origin : table[i].variable, value);
        if (error)
            return error;
    }
    return NULL;
}

struct config_file {
    struct settings *settings;
    const char *path;
};

static struct error *set_from_file(struct config_file *file, const char *key, const json_t *value)
{
    const struct setting *setting = find_flag(key, strlen(key));
    _cleanup_(free) char *origin = format_string("%s: %s", file->path, key);
    char *text = NULL;

    if (!setting)
        return error_new(ERROR_CONFIGURATION, "Usage",
                         "%s: unknown key '%s'; keys are named like the flags of --help",
                         file->path, key);
    if (json_is_string(value))
        text = strdup(json_string_value(value));
    else if (json_is_integer(value))
        text = format_string("%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        text = strdup(json_is_true(value) ? "true" : "false");
    else
        return error_new(ERROR_CONFIGURATION, "Usage", "%s: %s: accepted: %s", file->path, key,
                         accepted(setting));
    const char *kept = keep(file->settings, text);
    return kept && origin ? set_from(file->settings, setting, origin, kept) : error_out_of_memory();
}

static struct error *read_document(void *context, const char *json, size_t length, size_t line)
{
    struct config_file *file = context;
    _cleanup_(json) json_t *object = NULL;
    const char *key;
    json_t *value;
    size_t index;

    (void)line;
    struct error *error = json_parse(json, length, &object);
    if (error)
        return error;
    if (!json_is_object(object))
        return error_new(ERROR_CONFIGURATION, "Usage", "%s: accepted: a mapping of flags' names",
                         file->path);
    json_object_foreach(object, key, value)
    {
        json_t *item;

        if (!json_is_array(value))
            error = set_from_file(file, key, value);
        json_array_foreach(value, index, item)
        {
            if (!error)
                error = set_from_file(file, key, item);
        }
        if (error)
            return error;
    }
    return NULL;
}

static struct error *read_file(struct settings *settings, const char *path)
{
    struct config_file file = {settings, path};
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    struct error *error = file_read(path, CONFIG_FILE_MAX, &text);

    if (error)
        return error_wrap(error, "--config");
    return error_wrap(yaml_read(buffer_string(&text), text.length, read_document, &file), "%s",
                      path);
}

/* One argument of the command line, "--flag", "--flag=value" or a path; *index moves over a value
 * that follows. `config` receives --config; `settings` is NULL in the pass that only looks for it.
 */
static struct error *read_argument(int argc, char **argv, int *index, struct settings *settings,
                                   const char **config)
{
    const char *argument = argv[*index];

    if (strncmp(argument, "--", 2) != 0) {
        static const struct setting paths = {
            .type = TEXTS, .offset = AT(paths), .count_offset = AT(path_count)};

        if (argument[0] == '-' && argument[1])
            return error_new(ERROR_CONFIGURATION, "Usage", "unknown flag '%s'; see --help",
                             argument);
        return settings && !append_text(settings, &paths, argument) ? error_out_of_memory() : NULL;
    }
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    bool is_config = length == 6 && strncmp(name, "config", 6) == 0;
    const struct setting *setting = find_flag(name, length);
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
    if (!settings || is_config)
        return NULL;
    _cleanup_(free) char *origin = format_string("--%.*s", (int)length, name);
    return set_from(settings, setting, origin ? origin : name, value);
}

static struct error *read_command_line(int argc, char **argv, struct settings *settings,
                                       const char **config)
{
    for (int i = 1; i < argc; i++) {
        struct error *error = read_argument(argc, argv, &i, settings, config);

        if (error)
            return error;
    }
    return NULL;
}

struct error *settings_read(int argc, char **argv, struct settings *settings)
{
    const char *config = NULL;
    struct error *error = NULL;

    memset(settings, 0, sizeof(*settings));
    error = read_command_line(argc, argv, NULL, &config);
    if (!error)
        error = read_defaults(settings);
    if (!error && config)
        error = read_file(settings, config);
    if (!error)
        error = read_environment(settings);
    if (!error)
        error = read_command_line(argc, argv, settings, &config);
    return error;
}

void settings_help(void)
{
    printf("  %-30s  %s\n", "--config FILE",
           "YAML file of settings, keys named like these flags; flags and environment win");
    for (size_t i = 0; i < table_count; i++) {
        char flag[64];

        if (!table[i].flag)
            continue;
        snprintf(flag, sizeof(flag), "--%s%s%s", table[i].flag, table[i].argument ? " " : "",
                 table[i].argument ? table[i].argument : "");
        printf("  %-30s  %s", flag, table[i].help);
        if (table[i].default_text)
            printf(" (default %s)", table[i].default_text);
        if (table[i].variable)
            printf(" [$%s]", table[i].variable);
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

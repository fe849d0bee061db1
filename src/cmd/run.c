/*
 * `sluice run`: the whole pipeline without a cluster, over a directory of manifests. With --once it
 * reconciles each source once and prints how each of them stands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "catalog/dir.h"
#include "cmd/cmd.h"
#include "cmd/engine.h"
#include "cmd/settings.h"
#include "source/condition.h"

#define REVISION_DIGITS 8 /* of the digest, as `flux get` shows it */

struct row {
    char *cells[6]; /* NAMESPACE NAME READY REVISION AGE MESSAGE */
};

struct table {
    struct row *rows;
    size_t count;
    bool failed; /* a row is missing for want of memory, or a source is not Ready */
};

static const char *const titles[] = {"NAMESPACE", "NAME", "READY", "REVISION", "AGE", "MESSAGE"};

static void print_help(void)
{
    printf(
        "Usage: sluice run [--once] [FLAG...] PATH...\n\n"
        "Reconciles the ExternalSources in manifests (files and directories of YAML or JSON), with "
        "the\n"
        "Secrets and ConfigMaps beside them; keeps artifacts and status in the data directory and\n"
        "serves the artifacts. With --once: exit 0 when all sources are Ready, else 1; 2 for bad "
        "usage.\n\n"
        "Flags:\n");
    settings_help(COMMAND_RUN);
}

/* "12s", "5m", "3h", "2d": short, as kubectl shows ages. */
static char *age(int64_t from_ms, int64_t now_ms)
{
    int64_t seconds = now_ms > from_ms ? (now_ms - from_ms) / 1000 : 0;

    if (seconds < 120)
        return format_string("%llds", (long long)seconds);
    if (seconds < 120 * 60)
        return format_string("%lldm", (long long)(seconds / 60));
    if (seconds < 48 * 3600)
        return format_string("%lldh", (long long)(seconds / 3600));
    return format_string("%lldd", (long long)(seconds / 86400));
}

/* "latest@sha256:0123abcd": the label and the first digits. */
static char *short_revision(const char *revision)
{
    const char *digest = strrchr(revision, ':');
    size_t length = digest ? (size_t)(digest + 1 - revision) + REVISION_DIGITS : strlen(revision);

    return strndup(revision, length);
}

static const char *ready_text(const struct condition *ready)
{
    if (!ready || ready->status == CONDITION_UNKNOWN)
        return "Unknown";
    return ready->status == CONDITION_TRUE ? "True" : "False";
}

/* Another row, still empty; NULL without memory. */
static struct row *new_row(struct table *table)
{
    struct row *rows = reallocarray(table->rows, table->count + 1, sizeof(*rows));

    if (!rows) {
        table->failed = true;
        return NULL;
    }
    table->rows = rows;
    rows[table->count] = (struct row){0};
    return &rows[table->count++];
}

static void add_row(void *context, const struct source *source, const struct source_status *status)
{
    struct table *table = context;
    const struct condition *ready = condition_find(&status->conditions, CONDITION_READY);
    const struct artifact_record *artifact = status->artifact;
    struct row *row = new_row(table);

    if (!row)
        return;
    row->cells[0] = strdup(source->namespace_name);
    row->cells[1] = strdup(source->name);
    row->cells[2] = strdup(ready_text(ready));
    row->cells[3] =
        artifact && artifact->revision ? short_revision(artifact->revision) : strdup("-");
    row->cells[4] =
        artifact ? age(artifact->last_update_ms, clock_wall_ms(&clock_system)) : strdup("-");
    row->cells[5] = strdup(ready ? ready->message : "");
    for (size_t i = 0; i < 6; i++)
        table->failed |= row->cells[i] == NULL;
    table->failed |= !ready || ready->status != CONDITION_TRUE;
}

/* What stands on disk, if anything, is not this run's outcome. */
static void add_unreported_row(void *context, const char *namespace_name, const char *name,
                               const struct error *error)
{
    struct row *row = new_row(context);
    const char *const texts[] = {namespace_name, name, "False", "-", "-", error->message};

    ((struct table *)context)->failed = true;
    for (size_t i = 0; row && i < 6; i++)
        row->cells[i] = strdup(texts[i]);
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;

    for (size_t i = 0; i < 2; i++) {
        int order = strcmp(a->cells[i] ? a->cells[i] : "", b->cells[i] ? b->cells[i] : "");

        if (order)
            return order;
    }
    return 0;
}

static void print_line(const char *const *cells, const int *widths)
{
    for (size_t i = 0; i < 5; i++)
        printf("%-*s  ", widths[i], cells[i] ? cells[i] : "");
    printf("%s\n", cells[5] ? cells[5] : "");
}

static void print_table(struct table *table)
{
    int widths[5];

    if (table->count > 0)
        qsort(table->rows, table->count, sizeof(struct row), compare_rows);
    for (size_t i = 0; i < 5; i++) {
        widths[i] = (int)strlen(titles[i]);
        for (size_t j = 0; j < table->count; j++) {
            int width = table->rows[j].cells[i] ? (int)strlen(table->rows[j].cells[i]) : 0;

            if (width > widths[i])
                widths[i] = width;
        }
    }
    print_line(titles, widths);
    for (size_t i = 0; i < table->count; i++)
        print_line((const char *const *)table->rows[i].cells, widths);
}

static void free_table(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        for (size_t j = 0; j < 6; j++)
            free(table->rows[i].cells[j]);
    }
    free(table->rows);
}

/* Documents that cannot be used are told and do not stop the others. */
static size_t report_faults(struct engine *engine, struct catalog *catalog)
{
    size_t count;
    const struct dir_catalog_fault *faults = dir_catalog_faults(catalog, &count);

    for (size_t i = 0; i < count; i++)
        log_error(engine->log, NULL, NULL, "manifest cannot be used", "place", faults[i].place,
                  "error", faults[i].message, NULL);
    return count;
}

static struct error *open_catalog(struct engine *engine, const struct settings *settings,
                                  struct catalog **catalog)
{
    struct dir_catalog_options options = {
        .loop = &engine->loop,
        .log = engine->log,
        .clock = &clock_system,
        .data_directory = settings->storage_path,
        .paths = settings->paths,
        .path_count = settings->path_count,
        .secrets = settings->secrets,
        .secret_count = settings->secret_count,
    };

    return dir_catalog_new(&options, catalog);
}

static struct error *run(struct engine *engine, const struct settings *settings, int *exit_code)
{
    struct table table = {NULL, 0, false};
    struct catalog *catalog = NULL;
    struct error *error = engine_init(engine, settings);

    if (!error)
        error = open_catalog(engine, settings, &catalog);
    if (error)
        return error;
    size_t faults = report_faults(engine, catalog);
    if (settings->once) {
        engine->reconciled = add_row;
        engine->unreported = add_unreported_row;
        engine->context = &table;
    }
    engine->leading = true;
    error = engine_start(engine, catalog);
    if (!error)
        engine_run(engine);
    if (!error && settings->once) {
        print_table(&table);
        *exit_code =
            faults > 0 || table.failed || module_loader_refused(engine->modules) || engine->stopping
                ? 1
                : 0;
    }
    if (engine->failed)
        *exit_code = 1;
    free_table(&table);
    return error;
}

int cmd_run(int argc, char **argv)
{
    struct settings settings;
    struct engine engine = {0};
    int exit_code = 0;
    struct error *error = settings_read(argc, argv, COMMAND_RUN, &settings);

    if (!error && settings.help) {
        print_help();
        settings_free(&settings);
        return 0;
    }
    if (!error && settings.path_count == 0)
        error = error_new(ERROR_CONFIGURATION, "Usage",
                          "no PATH given: name a manifest or a directory of manifests");
    if (!error) {
        error = run(&engine, &settings, &exit_code);
        engine_free(&engine);
    }
    if (error) {
        bool usage = error->kind == ERROR_CONFIGURATION;

        fprintf(stderr, "sluice run: %s\n", error->message);
        error_free(error);
        exit_code = usage ? 2 : 1;
    }
    settings_free(&settings);
    return exit_code;
}

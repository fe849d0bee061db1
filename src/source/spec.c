/* See spec.h. Every field is read through field.h, whose first fault becomes the source's. */
#include "source/spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "source/field.h"
#include "source/hook_spec.h"
#include "source/payload.h"

#define TYPE_MAX 63
#define MAX_RETRIES_MAX 100
#define PATH_SHOWN_MAX 100 /* bytes of a bad path that a message shows */

static const char *const spec_fields[] = {"interval", "suspend",   "destinationPath", "maxRetries",
                                          "hooks",    "generator", "timeout",         "allowEmpty"};
static const char *const hooks_fields[] = {"preRequest", "postRequest"};

static bool type_valid(const char *type)
{
    size_t length = strlen(type);

    if (length == 0 || length > TYPE_MAX || type[0] == '-' || type[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!islower((unsigned char)type[i]) && !isdigit((unsigned char)type[i]) && type[i] != '-')
            return false;
    }
    return true;
}

static void read_generator(struct field_reader *reader, struct source_spec *spec)
{
    static const char path[] = "spec.generator";
    const json_t *generator = field_object(reader, spec->object, "spec", "generator");

    if (!generator) {
        field_fault(reader, "spec", "generator", NULL,
                    "an object with 'type' and a section of the same name");
        return;
    }
    spec->generator_type = field_string(reader, generator, path, "type", NULL);
    if (!spec->generator_type || !type_valid(spec->generator_type)) {
        field_fault(reader, path, "type", field_get(generator, "type"),
                    "a generator's type, such as http");
        return;
    }
    const char *const names[] = {"type", spec->generator_type};
    field_check_names(reader, generator, path, names, 2);
    spec->generator_config = field_object(reader, generator, path, spec->generator_type);
    if (!spec->generator_config)
        spec->generator_config = spec->no_config;
}

static void read_destination(struct field_reader *reader, struct source_spec *spec)
{
    const char *path =
        field_string(reader, spec->object, "spec", "destinationPath", SPEC_DESTINATION_PATH);
    const char *fault = strcmp(path, ".") == 0 ? NULL : path_fault(path, strlen(path));

    spec->destination_path = path;
    if (fault) {
        size_t length = strlen(path);
        size_t shown = utf8_clip(path, length, PATH_SHOWN_MAX);

        field_fault_message(
            reader, "spec", "destinationPath",
            "found \"%.*s%s\", which %s; accepted: a relative path within the artifact", (int)shown,
            path, shown < length ? "…" : "", fault);
    }
}

static void read_spec(struct field_reader *reader, struct source_spec *spec)
{
    const json_t *object = spec->object;
    const json_t *hooks;

    field_check_names(reader, object, "spec", spec_fields,
                      sizeof(spec_fields) / sizeof(spec_fields[0]));
    if (!field_get(object, "interval"))
        field_fault(reader, "spec", "interval", NULL,
                    "a duration of at least 1m0s, such as 90s, 5m or 1h30m");
    spec->interval_ms = field_duration(reader, object, "spec", "interval", SPEC_INTERVAL_MIN_MS,
                                       SPEC_INTERVAL_MIN_MS);
    spec->timeout_ms = field_duration(reader, object, "spec", "timeout", 1, 0);
    spec->suspend = field_boolean(reader, object, "spec", "suspend", false);
    spec->allow_empty = field_boolean(reader, object, "spec", "allowEmpty", false);
    spec->max_retries =
        field_count(reader, object, "spec", "maxRetries", MAX_RETRIES_MAX, SPEC_MAX_RETRIES);
    read_destination(reader, spec);
    read_generator(reader, spec);
    hooks = field_object(reader, object, "spec", "hooks");
    field_check_names(reader, hooks, "spec.hooks", hooks_fields, 2);
    hook_list_read(reader, hooks, "preRequest", &spec->pre_request);
    hook_list_read(reader, hooks, "postRequest", &spec->post_request);
}

struct error *source_spec_parse(json_t *object, struct source_spec **spec, char **path)
{
    struct field_reader reader = {NULL, NULL};
    struct source_spec *parsed = calloc(1, sizeof(*parsed));

    *spec = NULL;
    *path = NULL;
    if (!parsed)
        return error_out_of_memory();
    parsed->object = json_incref(object);
    parsed->no_config = json_object();
    if (!parsed->no_config)
        reader.error = error_out_of_memory();
    else if (!json_is_object(object))
        field_fault(&reader, "spec", NULL, json_is_null(object) ? NULL : object, "an object");
    else
        read_spec(&reader, parsed);
    if (reader.error) {
        source_spec_free(parsed);
        *path = reader.path;
        return reader.error;
    }
    *spec = parsed;
    return NULL;
}

void source_spec_free(struct source_spec *spec)
{
    if (!spec)
        return;
    hook_list_free(&spec->pre_request);
    hook_list_free(&spec->post_request);
    json_decref(spec->no_config);
    json_decref(spec->object);
    free(spec);
}

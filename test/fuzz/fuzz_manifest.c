/* Manifests: a fault is worded for people and points to a line; what is accepted keeps its bounds.
 */
#include "fuzz.h"

#include "base/json.h"
#include "base/yaml.h"
#include "source/payload.h"
#include "source/source.h"

struct manifest {
    const char *text;
    size_t length;
    size_t document;
};

static void check_hooks(const struct hook_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct hook_spec *hook = &list->hooks[i];

        CHECK(hook->name && hook->path && hook->timeout_ms > 0);
        CHECK((hook->kind == HOOK_COMMAND) == (hook->command != NULL));
        CHECK((hook->kind == HOOK_LUA) == (hook->lua != NULL));
        CHECK((hook->kind == HOOK_MODULE) == (hook->module != NULL));
        CHECK((hook->kind == HOOK_LUA_FROM) == (hook->config_map && hook->config_map_key));
    }
}

static void check_spec(const struct source_spec *spec)
{
    CHECK(spec->interval_ms >= SPEC_INTERVAL_MIN_MS && spec->timeout_ms >= 0);
    CHECK(!path_fault(spec->destination_path, strlen(spec->destination_path)));
    CHECK(spec->generator_type && json_is_object(spec->generator_config));
    check_hooks(&spec->pre_request);
    check_hooks(&spec->post_request);
}

/* What of a status was understood survives being written and read. */
static void check_status(const struct source_status *status)
{
    _cleanup_(json) json_t *once = source_status_to_json(status);
    _cleanup_(source_status) struct source_status *again = NULL;

    CHECK(once && !source_status_parse(once, &again));
    _cleanup_(json) json_t *twice = source_status_to_json(again);
    CHECK(json_equal(once, twice));
}

static void check_source(const struct manifest *manifest, const struct source *source,
                         const char *fault_path)
{
    _cleanup_(json) json_t *references = source_references(source);

    CHECK(json_is_array(references));
    CHECK(object_name_valid(source->name) && namespace_name_valid(source->namespace_name));
    CHECK(json_is_object(source->labels) && json_is_object(source->annotations));
    check_status(source->status);
    CHECK(!source->spec == !!source->fault);
    if (source->spec) {
        check_spec(source->spec);
        return;
    }
    fuzz_failed(error_copy(source->fault), ERROR_CONFIGURATION, "InvalidSpec");
    if (fault_path)
        CHECK(yaml_locate(manifest->text, manifest->length, manifest->document, fault_path, 1) > 0);
}

static struct error *check_document(void *context, const char *json, size_t length, size_t line)
{
    struct manifest *manifest = context;
    _cleanup_(json) json_t *object = NULL;
    _cleanup_(source) struct source *source = NULL;
    _cleanup_(free) char *fault_path = NULL;

    (void)line;
    if (!fuzz_failed(json_parse(json, length, &object), ERROR_CONFIGURATION, "InvalidJSON") &&
        json_is_object(object) &&
        !fuzz_failed(source_parse(object, &source, &fault_path), ERROR_CONFIGURATION,
                     "InvalidSpec"))
        check_source(manifest, source, fault_path);
    manifest->document++;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    struct manifest manifest = {text, size, 0};

    fuzz_failed(yaml_read(text, size, check_document, &manifest), ERROR_CONFIGURATION,
                "InvalidYAML");
    return 0;
}

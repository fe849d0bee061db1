/* YAML becomes JSON; JSON becomes YAML that reads back as the very same JSON. */
#include "fuzz.h"

#include "base/json_text.h"
#include "base/yaml.h"

struct reading {
    const char *expected; /* what the one document must be; NULL where it may be anything */
    size_t length;
    size_t documents;
    size_t line;
};

static struct error *check_document(void *context, const char *json, size_t length, size_t line);

static void check_json(const char *json, size_t length)
{
    _cleanup_(json_reader) struct json_reader reader =
        JSON_READER_INIT(json, length, YAML_DEPTH_MAX + 1);
    enum json_event event = JSON_EVENT_NULL;

    while (event != JSON_EVENT_END)
        CHECK(!json_reader_next(&reader, &event));
}

static void check_round_trip(const char *json, size_t length)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    struct reading again = {.expected = json, .length = length};

    CHECK(!yaml_from_json(json, length, &yaml));
    _cleanup_(error) struct error *error =
        yaml_read(buffer_string(&yaml), yaml.length, check_document, &again);
    if (error || again.documents != 1)
        fprintf(stderr, "%s\n%s\n", error ? error->message : "no document", buffer_string(&yaml));
    CHECK(!error && again.documents == 1);
}

static struct error *check_document(void *context, const char *json, size_t length, size_t line)
{
    struct reading *reading = context;

    CHECK(line >= 1 && line >= reading->line);
    reading->line = line;
    reading->documents++;
    check_json(json, length);
    if (reading->expected)
        CHECK(length == reading->length && memcmp(json, reading->expected, length) == 0);
    else
        check_round_trip(json, length);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    struct reading reading = {.documents = 0};
    bool failed = fuzz_failed(yaml_read(text, size, check_document, &reading), ERROR_CONFIGURATION,
                              "InvalidYAML");
    size_t line = yaml_locate(text, size, 0, "spec.a[0].b", 1);

    CHECK(line <= size + 2);
    CHECK(failed || reading.documents == 0 || line > 0);
    return 0;
}

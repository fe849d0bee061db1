/* The event reader and jansson agree on what JSON is, and events written out are the same value. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_text.h"

#define DEPTH_MAX 1000
#define FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

static void write_event(struct buffer *out, const struct json_reader *reader, enum json_event event)
{
    static const char *const fixed[] = {
        [JSON_EVENT_OBJECT] = "{",    [JSON_EVENT_OBJECT_END] = "}", [JSON_EVENT_ARRAY] = "[",
        [JSON_EVENT_ARRAY_END] = "]", [JSON_EVENT_TRUE] = "true",    [JSON_EVENT_FALSE] = "false",
        [JSON_EVENT_NULL] = "null",
    };
    char last = '\0';

    if (out->length > 0)
        last = out->bytes[out->length - 1];
    if (last && !strchr("{[:", last) && event != JSON_EVENT_OBJECT_END &&
        event != JSON_EVENT_ARRAY_END)
        buffer_append_byte(out, ',');
    if (event == JSON_EVENT_NUMBER)
        buffer_append(out, reader->value, reader->value_length);
    else if (event == JSON_EVENT_KEY || event == JSON_EVENT_STRING)
        json_text_string(out, reader->value, reader->value_length);
    else
        buffer_append_string(out, fixed[event]);
    if (event == JSON_EVENT_KEY)
        buffer_append_byte(out, ':');
}

static struct error *copy(const char *text, size_t length, struct buffer *out)
{
    _cleanup_(json_reader) struct json_reader reader = JSON_READER_INIT(text, length, DEPTH_MAX);
    enum json_event event = JSON_EVENT_NULL;
    struct error *error;

    while (!(error = json_reader_next(&reader, &event)) && event != JSON_EVENT_END) {
        CHECK(reader.value_position < length);
        write_event(out, &reader, event);
    }
    return error;
}

/* What jansson cannot hold, though it is JSON. */
static bool is_too_much(const json_error_t *fault)
{
    enum json_error_code code = json_error_code(fault);

    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    _cleanup_(buffer) struct buffer once = BUFFER_INIT;
    _cleanup_(buffer) struct buffer twice = BUFFER_INIT;
    json_error_t fault = {0};
    _cleanup_(json) json_t *witness = json_loadb(text, size, FLAGS, &fault);
    struct error *error = copy(text, size, &once);
    bool deep = error && strstr(error->message, "nested");

    if (fuzz_failed(error, ERROR_CONFIGURATION, "InvalidJSON")) {
        CHECK(!witness || deep || memchr(text, '\0', size)); /* jansson stops at a final NUL */
        return 0;
    }
    CHECK(witness || is_too_much(&fault));
    CHECK(!copy(once.bytes, once.length, &twice));
    CHECK(once.length == twice.length && memcmp(once.bytes, twice.bytes, once.length) == 0);
    if (witness) {
        _cleanup_(json) json_t *value = json_loadb(once.bytes, once.length, FLAGS, NULL);

        CHECK(json_equal(witness, value));
    }
    return 0;
}

/* JSON of objects that anybody may have written: no whole JSON text is refused, and what is mended
 * reads back as it is. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_text.h"
#include "kube/api_json.h"

#define DEPTH_MAX 100000

static bool is_json(const char *text, size_t length)
{
    _cleanup_(json_reader) struct json_reader reader = JSON_READER_INIT(text, length, DEPTH_MAX);
    enum json_event event = JSON_EVENT_NULL;
    _cleanup_(error) struct error *error = NULL;

    while (!error && event != JSON_EVENT_END)
        error = json_reader_next(&reader, &event);
    return !error;
}

/* Numbers such as 1e999, which no double holds. */
static bool is_overflow(const struct error *error)
{
    return error && strstr(error->message, "real number overflow");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    _cleanup_(buffer) struct buffer written = BUFFER_INIT;
    _cleanup_(json) json_t *value = NULL;
    _cleanup_(json) json_t *again = NULL;
    struct error *error = api_json_parse(text, size, &value);
    bool overflow = is_overflow(error);

    if (fuzz_failed(error, ERROR_CONFIGURATION, "InvalidJSON")) {
        CHECK(!value && (overflow || !is_json(text, size)));
        return 0;
    }
    CHECK(value);
    json_write(&written, value);
    CHECK(!api_json_parse(written.bytes, written.length, &again));
    CHECK(json_equal(value, again));
    return 0;
}

/* See api_json.h. Mending writes the text anew, event by event, and reads that: rare, so simple. */
#include "kube/api_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_text.h"

#define DEPTH_KEPT 2040   /* jansson reads 2,048 */
#define DEPTH_READ 100000 /* the API server takes 10,000 */

struct mending {
    struct json_reader reader;
    struct buffer text; /* the new one */
    size_t depth;       /* of containers open in the old one */
    bool comma;         /* before the next value or key */
};

static void mending_clear(struct mending *mending)
{
    json_reader_free(&mending->reader);
    buffer_free(&mending->text);
}

static void separate(struct mending *mending)
{
    if (mending->comma)
        buffer_append_byte(&mending->text, ',');
    mending->comma = true;
}

static void begin(struct mending *mending, char bracket)
{
    if (mending->depth < DEPTH_KEPT) {
        separate(mending);
        buffer_append_byte(&mending->text, bracket);
        mending->comma = false;
    } else if (mending->depth == DEPTH_KEPT) {
        separate(mending);
        json_text_string(&mending->text, API_JSON_TOO_DEEP, strlen(API_JSON_TOO_DEEP));
    }
    mending->depth++;
}

static void end(struct mending *mending, char bracket)
{
    mending->depth--;
    if (mending->depth >= DEPTH_KEPT)
        return;
    buffer_append_byte(&mending->text, bracket);
    mending->comma = true;
}

static void write_key(struct mending *mending)
{
    _cleanup_(buffer) struct buffer key = BUFFER_INIT;
    const char *at = mending->reader.value;
    const char *stop = at + mending->reader.value_length;

    for (; at < stop; at++) {
        if (*at)
            buffer_append_byte(&key, *at);
        else
            buffer_append_string(&key, "\xef\xbf\xbd");
    }
    mending->text.failed |= key.failed;
    separate(mending);
    json_text_string(&mending->text, buffer_string(&key), key.length);
    buffer_append_byte(&mending->text, ':');
    mending->comma = false;
}

static void write_number(struct mending *mending)
{
    _cleanup_(free) char *number = strndup(mending->reader.value, mending->reader.value_length);

    if (!number) {
        mending->text.failed = true;
        return;
    }
    separate(mending);
    buffer_append_string(&mending->text, number);
    errno = 0;
    if (!strpbrk(number, ".eE") && (strtoll(number, NULL, 10), errno == ERANGE))
        buffer_append_string(&mending->text, ".0");
}

static void write_scalar(struct mending *mending, enum json_event event)
{
    if (event == JSON_EVENT_NUMBER) {
        write_number(mending);
        return;
    }
    separate(mending);
    if (event == JSON_EVENT_STRING)
        json_text_string(&mending->text, mending->reader.value, mending->reader.value_length);
    else
        buffer_append_string(&mending->text, event == JSON_EVENT_TRUE    ? "true"
                                             : event == JSON_EVENT_FALSE ? "false"
                                                                         : "null");
}

static void write_event(struct mending *mending, enum json_event event)
{
    if (event == JSON_EVENT_OBJECT)
        begin(mending, '{');
    else if (event == JSON_EVENT_ARRAY)
        begin(mending, '[');
    else if (event == JSON_EVENT_OBJECT_END)
        end(mending, '}');
    else if (event == JSON_EVENT_ARRAY_END)
        end(mending, ']');
    else if (mending->depth > DEPTH_KEPT)
        return;
    else if (event == JSON_EVENT_KEY)
        write_key(mending);
    else
        write_scalar(mending, event);
}

static struct error *parse_error(const json_error_t *fault)
{
    if (json_error_code(fault) == json_error_out_of_memory)
        return error_out_of_memory();
    return error_new(ERROR_CONFIGURATION, "InvalidJSON", "line %d column %d: %s", fault->line,
                     fault->column, fault->text);
}

bool api_json_mendable(const json_error_t *fault)
{
    enum json_error_code code = json_error_code(fault);

    return code == json_error_stack_overflow || code == json_error_null_byte_in_key ||
           code == json_error_numeric_overflow;
}

struct error *api_json_mend(const char *text, size_t length, json_t **value)
{
    struct mending mending = {.reader = JSON_READER_INIT(text, length, DEPTH_READ),
                              .text = BUFFER_INIT};
    enum json_event event = JSON_EVENT_NULL;
    json_error_t fault;
    struct error *error = json_reader_next(&mending.reader, &event);

    *value = NULL;
    while (!error && event != JSON_EVENT_END) {
        write_event(&mending, event);
        error = json_reader_next(&mending.reader, &event);
    }
    if (!error)
        error = buffer_error(&mending.text);
    if (!error) {
        *value =
            json_loadb(buffer_string(&mending.text), mending.text.length, API_JSON_FLAGS, &fault);
        if (!*value)
            error = parse_error(&fault);
    }
    mending_clear(&mending);
    return error;
}

struct error *api_json_parse(const char *text, size_t length, json_t **value)
{
    json_error_t fault;

    *value = json_loadb(text, length, API_JSON_FLAGS, &fault);
    if (*value)
        return NULL;
    return api_json_mendable(&fault) ? api_json_mend(text, length, value) : parse_error(&fault);
}

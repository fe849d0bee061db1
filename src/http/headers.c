/*
 * Headers in both directions. The one idea: curl passes on what it is given, also CR LF within a
 * value, so every header is checked here before it gets there; and what comes back is bounded here.
 */
#include "http/headers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buffer.h"
#include "http/client.h"

#define RETRY_AFTER_MS_MAX INT64_C(86400000)

/* token of RFC 9110 */
static bool is_token_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!is_token_byte(text[i]))
            return false;
    }
    return length > 0;
}

/* A name fit for a message: it may come from anywhere. */
static struct error *refuse(const char *name, const char *why)
{
    char shown[65];
    size_t length = strnlen(name, sizeof(shown) - 1);

    for (size_t i = 0; i < length; i++)
        shown[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    shown[length] = '\0';
    return error_new(ERROR_CONFIGURATION, "InvalidHeader", "header '%s' cannot be sent: %s", shown,
                     why);
}

struct error *headers_check(const struct http_header *header)
{
    if (!is_token(header->name, strlen(header->name)))
        return refuse(header->name, "its name may have letters, digits and !#$%&'*+-.^_`|~ only");
    /* Two ideas of where a body ends are how requests get smuggled. */
    if (strcasecmp(header->name, "Content-Length") == 0 ||
        strcasecmp(header->name, "Transfer-Encoding") == 0)
        return refuse(header->name, "it is set from the body");
    for (const char *at = header->value; *at; at++) {
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
            return refuse(header->name, "its value has a line break or another control character "
                                        "(a Secret's value may end in a newline: use `printf` or "
                                        "`echo -n` to make it)");
    }
    return NULL;
}

static bool grow(struct headers *headers)
{
    size_t capacity = headers->capacity ? headers->capacity * 2 : 16;
    struct http_header *items;

    if (headers->count < headers->capacity)
        return true;
    items = reallocarray(headers->items, capacity, sizeof(*items));
    if (!items)
        return false;
    headers->items = items;
    headers->capacity = capacity;
    return true;
}

static struct error *add(struct headers *headers, const char *name, size_t name_length,
                         const char *value, size_t value_length, bool sensitive)
{
    _cleanup_(free) char *own_name = strndup(name, name_length);
    _cleanup_(free) char *own_value = strndup(value, value_length);

    if (!own_name || !own_value || !grow(headers))
        return error_out_of_memory();
    headers->items[headers->count++] =
        (struct http_header){TAKE(own_name), TAKE(own_value), sensitive};
    headers->size += name_length + value_length;
    return NULL;
}

struct error *headers_add(struct headers *headers, const struct http_header *header)
{
    return add(headers, header->name, strlen(header->name), header->value, strlen(header->value),
               header->sensitive);
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Cuts white space off both ends of `*text`. */
static void trim(const char **text, size_t *length)
{
    while (*length > 0 && is_space(**text)) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && is_space((*text)[*length - 1]))
        (*length)--;
}

static struct error *continue_last(struct headers *headers, const char *rest, size_t length)
{
    struct http_header *last = &headers->items[headers->count - 1];
    char *value = format_string("%s %.*s", last->value, (int)length, rest);

    if (!value)
        return error_out_of_memory();
    free((char *)last->value);
    last->value = value;
    headers->size += length + 1;
    return NULL;
}

struct error *headers_add_line(struct headers *headers, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    bool folded = length > 0 && (line[0] == ' ' || line[0] == '\t') && headers->count > 0;
    const char *value = line;
    size_t value_length = length;
    struct error *error;

    if (!folded && (!colon || !is_token(line, (size_t)(colon - line))))
        return NULL;
    if (!folded) {
        value = colon + 1;
        value_length = (size_t)(line + length - value);
    }
    if (headers->count == HEADERS_COUNT_MAX || length > HEADERS_SIZE_MAX - headers->size)
        return error_new(ERROR_UPSTREAM, "OutputLimit",
                         "the answer's headers are more than %d, or more than %d bytes",
                         HEADERS_COUNT_MAX, HEADERS_SIZE_MAX);
    trim(&value, &value_length);
    if (folded)
        return continue_last(headers, value, value_length);
    error = add(headers, line, (size_t)(colon - line), value, value_length, false);
    if (error)
        return error;
    for (char *at = (char *)headers->items[headers->count - 1].name; *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    }
    return NULL;
}

const char *headers_find(const struct http_header *items, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(items[i].name, name) == 0)
            return items[i].value;
    }
    return NULL;
}

const char *http_response_header(const struct http_response *response, const char *name)
{
    return headers_find(response->headers, response->header_count, name);
}

int64_t http_response_retry_after_ms(const struct http_response *response,
                                     const struct clock *clock)
{
    const char *text = http_response_header(response, "retry-after");
    struct tm date = {0};
    int64_t wait;
    char *end;

    if (!text)
        return 0;
    long seconds = strtol(text, &end, 10);
    if (end != text && *end == '\0') {
        if (seconds <= 0)
            return 0;
        wait = seconds < RETRY_AFTER_MS_MAX / 1000 ? seconds * 1000 : RETRY_AFTER_MS_MAX;
    } else {
        end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &date);
        if (!end || *end)
            return 0;
        wait = (int64_t)timegm(&date) * 1000 - clock_wall_ms(clock);
    }
    if (wait > RETRY_AFTER_MS_MAX)
        return RETRY_AFTER_MS_MAX;
    return wait > 0 ? wait : 0;
}

void headers_free(struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        free((char *)headers->items[i].name);
        free((char *)headers->items[i].value);
    }
    free(headers->items);
    *headers = (struct headers){0};
}

/* The head of an answer, line by line: bounds are kept, and what may be sent breaks no line. */
#include "fuzz.h"

#include "base/clock.h"
#include "http/client.h"
#include "http/headers.h"

#define DAY_MS INT64_C(86400000)

static void cleanup_headers_(struct headers *headers)
{
    headers_free(headers);
}

static void check_header(const struct headers *headers, const struct http_header *header)
{
    CHECK(*header->name && !strpbrk(header->name, " \t\r\n:ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    CHECK(headers_find(headers->items, headers->count, header->name));
    if (!fuzz_failed(headers_check(header), ERROR_CONFIGURATION, "InvalidHeader"))
        CHECK(!strpbrk(header->value, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(headers) struct headers headers = {.items = NULL};
    size_t total = 0;
    bool failed = false;

    for (size_t at = 0; at < size && !failed;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at + 1 : size - at;
        _cleanup_(free) char *line = malloc(length); /* of just its size, without a NUL */

        CHECK(line);
        memcpy(line, data + at, length);
        failed =
            fuzz_failed(headers_add_line(&headers, line, length), ERROR_UPSTREAM, "OutputLimit");
        at += length;
    }
    for (size_t i = 0; i < headers.count; i++) {
        total += strlen(headers.items[i].name) + strlen(headers.items[i].value);
        check_header(&headers, &headers.items[i]);
    }
    CHECK(headers.count <= HEADERS_COUNT_MAX);
    CHECK(total <= headers.size && headers.size <= HEADERS_SIZE_MAX);

    struct http_response response = {.headers = headers.items, .header_count = headers.count};
    int64_t wait = http_response_retry_after_ms(&response, &clock_system);

    CHECK(wait >= 0 && wait <= DAY_MS);
    return 0;
}

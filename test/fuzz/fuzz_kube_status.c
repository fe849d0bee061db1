/* An answer of the API server: its code (two bytes), then its body. */
#include "fuzz.h"

#include "base/blob.h"
#include "base/clock.h"
#include "base/json.h"
#include "kube/status.h"

#define MEMORY ((size_t)64 << 20)

static void check_refusal(const struct kube_response *response)
{
    _cleanup_(error) struct error *error = kube_response_error(response, "get");
    size_t length = strlen(error->message);

    CHECK(strcmp(error->reason, "APIServerError") == 0);
    CHECK(strncmp(error->message, "get: ", 5) == 0 && length < 4096);
    CHECK(utf8_valid_prefix(error->message, length) == length);
    CHECK(error->retry_after_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_header json = {"content-type", "application/json", false};
    struct blob_store *blobs = blob_store_new("/nonexistent", MEMORY);
    struct kube_response response = {.code = 0};
    struct http_response answer = {.headers = &json, .header_count = 1};

    if (size >= 2) {
        answer.status = 100 + (data[0] | (unsigned)data[1] << 8) % 500;
        CHECK(!blob_from_bytes(blobs, data + 2, size - 2, &answer.body));
        if (!fuzz_failed(status_read(&answer, &clock_system, &response), ERROR_TRANSIENT,
                         "APIServerError")) {
            CHECK(response.code == answer.status && response.message);
            CHECK((response.reason == KUBE_OK) == (answer.status / 100 == 2));
            if (response.reason == KUBE_OK)
                CHECK(json_is_object(response.object));
            else
                check_refusal(&response);
        }
        CHECK(response.retry_after_ms >= 0);
        kube_status_reason(response.object, 0);
        json_decref(response.object);
        blob_unref(answer.body);
    }
    blob_store_free(blobs);
    return 0;
}

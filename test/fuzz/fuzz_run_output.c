/* The output of a hostile transform: count and one length of its log, then what follows the log. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "lua/run_output.h"

#define LIMIT ((uint64_t)1 << 20)

static void check_result(const struct run_output *output)
{
    CHECK(output->payload && output->payload->count <= RUN_FILES_MAX);
    CHECK(payload_size(output->payload) > 0 && payload_size(output->payload) <= LIMIT);
    for (size_t i = 0; i < output->payload->count; i++) {
        const char *path = output->payload->files[i].path;

        CHECK(output->payload->single ? !path : !path_fault(path, strlen(path)));
    }
    CHECK(!output->metadata || json_is_object(output->metadata));
}

/* A script words its own failures, so the kind and reason may be many; never our own fault. */
static void check_failure(const struct error *error)
{
    size_t length = strlen(error->message);

    CHECK(error->kind != ERROR_INTERNAL);
    CHECK(error_reason_valid(error->reason, strlen(error->reason)));
    CHECK(utf8_valid_prefix(error->message, length) == length);
}

static void check_logs(const struct run_output *output)
{
    CHECK(output->log_count <= RUN_LOGS_MAX);
    for (size_t i = 0; i < output->log_count; i++) {
        size_t length = strlen(output->logs[i]);

        CHECK(utf8_valid_prefix(output->logs[i], length) == length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct run_subject subject = {.label = "h"};
    struct run_logs *logs = calloc(1, sizeof(*logs));
    struct blob_store *blobs = blob_store_new("/nonexistent", (size_t)64 << 20);
    struct run_output output = {.payload = NULL};
    _cleanup_(fd) int file = memfd_create("output", MFD_CLOEXEC);

    CHECK(logs && blobs && file >= 0);
    if (size >= 8) {
        memcpy(&logs->count, data, 4);
        memcpy(&logs->lines[0].length, data + 4, 4);
        memcpy(logs->lines[0].text, data, size < RUN_LOG_LENGTH ? size : RUN_LOG_LENGTH);
        CHECK(file_write_all(file, logs, sizeof(*logs)) == 0);
        data += 8;
        size -= 8;
    }
    CHECK(file_write_all(file, data, size) == 0);
    _cleanup_(error) struct error *error =
        run_output_read(file, NULL, LIMIT, false, blobs, &subject, &output);
    if (error)
        check_failure(error);
    else
        check_result(&output);
    check_logs(&output);
    run_output_release(&output);
    blob_store_free(blobs);
    free(logs);
    return 0;
}

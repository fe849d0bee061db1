/* Writing a run's request. One input is opened where it lies; many are joined in one memfd. */
#include "lua/run_request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/json.h"

static int set_or_empty(json_t *json, const char *key, const json_t *value)
{
    return json_object_set_new(json, key, value ? json_deep_copy(value) : json_object());
}

/* [[path, length], ...] */
static json_t *describe_files(const struct payload *input)
{
    json_t *files = json_array();

    for (size_t i = 0; files && i < input->count; i++) {
        json_t *file = json_pack("[s, I]", input->files[i].path,
                                 (json_int_t)blob_length(input->files[i].blob));

        if (json_array_append_new(files, file) != 0) {
            json_decref(files);
            return NULL;
        }
    }
    return files;
}

static struct error *write_json(struct run_request *request, const struct transform_call *call)
{
    _cleanup_(json) json_t *json = json_object();
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    uint32_t length;

    if (!json || json_set_string(json, "module", call->text ? NULL : call->module) != 0 ||
        set_or_empty(json, "env", call->env) != 0 ||
        set_or_empty(json, "source", call->source) != 0 ||
        set_or_empty(json, "metadata", call->metadata) != 0 ||
        json_object_set_new(json, "single", json_boolean(call->input->single)) != 0 ||
        (!call->input->single &&
         json_object_set_new(json, "files", describe_files(call->input)) != 0))
        return error_out_of_memory();
    json_write(&text, json);
    length = (uint32_t)text.length;
    buffer_append(&request->bytes, &length, sizeof(length));
    buffer_append(&request->bytes, buffer_string(&text), text.length);
    if (call->text)
        buffer_append(&request->bytes, call->text, call->text_length);
    return text.failed ? error_out_of_memory() : buffer_error(&request->bytes);
}

struct error *run_request_init(struct run_request *request, const struct transform_call *call)
{
    *request = (struct run_request){.request = -1, .input = -1};
    request->inputs = calloc(call->input->count + 1, sizeof(struct blob *));
    if (!request->inputs)
        return error_out_of_memory();
    for (size_t i = 0; i < call->input->count; i++)
        request->inputs[request->input_count++] = blob_ref(call->input->files[i].blob);
    return write_json(request, call);
}

static struct error *failed(const char *what)
{
    return error_from_errno(ERROR_TRANSIENT, "SpoolFailed", errno, "input of a transform: %s",
                            what);
}

/* The same file, opened again so that it can only be read and shares no offset. */
static struct error *reopen(int file, int *descriptor)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    *descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return *descriptor < 0 ? failed("open") : NULL;
}

static struct error *open_request(struct run_request *request)
{
    _cleanup_(fd) int file = memfd_create("request", MFD_CLOEXEC);

    if (file < 0)
        return failed("memfd_create");
    errno = file_write_all(file, request->bytes.bytes, request->bytes.length);
    if (errno != 0)
        return failed("write");
    return reopen(file, &request->request);
}

static struct error *open_input(struct run_request *request)
{
    if (request->input_count == 1)
        return blob_open(request->inputs[0], &request->input);
    _cleanup_(fd) int file = memfd_create("input", MFD_CLOEXEC);

    if (file < 0)
        return failed("memfd_create");
    for (size_t i = 0; i < request->input_count; i++) {
        struct error *error = blob_copy(request->inputs[i], file);

        if (error)
            return error_wrap(error, "input of a transform");
    }
    return reopen(file, &request->input);
}

struct error *run_request_open(struct run_request *request)
{
    struct error *error = open_request(request);

    return error ? error : open_input(request);
}

void run_request_release(struct run_request *request)
{
    cleanup_fd_(&request->request);
    cleanup_fd_(&request->input);
    request->request = request->input = -1;
    for (size_t i = 0; i < request->input_count; i++)
        blob_unref(request->inputs[i]);
    free(request->inputs);
    request->inputs = NULL;
    request->input_count = 0;
    buffer_free(&request->bytes);
}

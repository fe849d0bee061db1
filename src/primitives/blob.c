/* blob.read {blob, offset, length}: at most 4 MiB of a blob that the call holds. */
#include <stdlib.h>

#include "base/json.h"
#include "primitives/call.h"

#define READ_MAX ((size_t)4 << 20)

struct error *primitive_blob_read(struct primitive_call *call, const json_t *arguments,
                                  const char *bytes, size_t length)
{
    int64_t offset = json_get_integer(arguments, "offset", -1);
    int64_t wanted = json_get_integer(arguments, "length", -1);
    size_t count = 0;

    (void)bytes;
    (void)length;
    _cleanup_(blob) struct blob *blob =
        primitive_call_blob(call, (uint64_t)json_get_integer(arguments, "blob", 0));
    if (!blob)
        return call_protocol_error("a blob that the call does not hold");
    if (offset < 0 || wanted < 0)
        return call_answer_later(call,
                                 error_new(ERROR_CONFIGURATION, "InvalidRequest",
                                           "blob:read: offset and length must not be negative"),
                                 NULL, NULL, 0);
    size_t room = (uint64_t)wanted < READ_MAX ? (size_t)wanted : READ_MAX;
    if (room > blob_length(blob))
        room = (size_t)blob_length(blob);
    _cleanup_(free) char *read = malloc(room ? room : 1);
    struct error *error =
        read ? blob_read(blob, (uint64_t)offset, read, room, &count) : error_out_of_memory();
    return call_answer_later(call, error, error ? NULL : json_object(), read, count);
}

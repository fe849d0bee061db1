/* See serve.h. A path is a key with a slash before it: there is nothing to map, and so nothing to
 * escape. */
#include "storage/serve.h"

#include "storage/storage.h"

void storage_serve(void *context, const char *path, struct http_answer *answer)
{
    struct blob *blob = NULL;
    struct error *error = path[0] == '/' ? storage_open(context, path + 1, &blob) : NULL;

    if (error) {
        answer->status = 503;
        buffer_append_string(&answer->text, "storage cannot be read\n");
        error_free(error);
        return;
    }
    if (!blob)
        return;
    answer->status = 200;
    answer->content_type = "application/gzip";
    answer->blob = blob;
}

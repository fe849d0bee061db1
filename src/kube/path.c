/* See kube.h. Everything that RFC 3986 does not call unreserved is escaped. */
#include <stddef.h>
#include <string.h>

#include "base/buffer.h"
#include "kube/kube.h"

static void append_segment(struct buffer *path, const char *name)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";

    buffer_append_byte(path, '/');
    /* URL parsers take these away, and another path, such as the whole collection's, is left. With
     * a space before it, it is the name of nothing. */
    if (strcmp(name, "") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        buffer_append_string(path, "%20");
    for (; *name; name++) {
        if (strchr(unreserved, *name))
            buffer_append_byte(path, *name);
        else
            buffer_appendf(path, "%%%02X", (unsigned char)*name);
    }
}

char *kube_path(const struct kube_resource *resource, const char *namespace_name, const char *name,
                const char *subresource)
{
    _cleanup_(buffer) struct buffer path = BUFFER_INIT;

    buffer_append_string(&path, resource->api);
    if (namespace_name) {
        buffer_append_string(&path, "/namespaces");
        append_segment(&path, namespace_name);
    }
    append_segment(&path, resource->plural);
    if (name)
        append_segment(&path, name);
    if (name && subresource)
        append_segment(&path, subresource);
    return buffer_steal(&path);
}

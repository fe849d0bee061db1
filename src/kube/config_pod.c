/* What every pod is given: see config_sources.h. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "kube/config_sources.h"

#define NAMESPACE_MAX 253

static struct error *refuse(struct error *cause, const char *advice)
{
    _cleanup_(error) struct error *taken = cause;

    return error_new(ERROR_CONFIGURATION, "InvalidKubeconfig", "%s; %s", taken->message, advice);
}

static struct error *read_namespace(const char *directory, struct kube_config *config)
{
    _cleanup_(free) char *path = path_join(directory, "namespace");
    _cleanup_(buffer) struct buffer text = BUFFER_INIT;
    _cleanup_(error) struct error *error = NULL;

    if (!path)
        return error_out_of_memory();
    error = file_read(path, NAMESPACE_MAX, &text);
    while (text.length > 0 && strchr(" \r\n", text.bytes[text.length - 1]))
        text.bytes[--text.length] = '\0';
    config->namespace_name = strdup(error || text.length == 0 ? "default" : text.bytes);
    return config->namespace_name ? NULL : error_out_of_memory();
}

struct error *config_read_pod(const char *directory, const char *host, const char *port,
                              struct kube_config *config)
{
    _cleanup_(buffer) struct buffer authority = BUFFER_INIT;
    _cleanup_(buffer) struct buffer token = BUFFER_INIT;
    struct error *error;

    config->server =
        format_string(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    config->ca_name = path_join(directory, "ca.crt");
    config->token_file = path_join(directory, "token");
    if (!config->server || !config->ca_name || !config->token_file)
        return error_out_of_memory();
    error = file_read(config->token_file, KUBE_CONFIG_FILE_MAX, &token);
    if (token.bytes)
        explicit_bzero(token.bytes, token.length);
    if (error)
        return refuse(error, "a pod needs a service account with automountServiceAccountToken");
    error = file_read(config->ca_name, KUBE_CONFIG_FILE_MAX, &authority);
    if (error)
        return refuse(error, "a pod needs its cluster's certificate authority there");
    config->ca_bundle = buffer_steal(&authority);
    return config->ca_bundle ? read_namespace(directory, config) : error_out_of_memory();
}

/* See config.h: which source counts, and the configuration's memory. */
#include "kube/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "kube/config_sources.h"

static bool is_set(const char *text)
{
    return text && *text;
}

static struct error *read_home(struct kube_config *config)
{
    const char *home = getenv("HOME");
    _cleanup_(free) char *path = path_join(is_set(home) ? home : "/", ".kube/config");

    if (!path)
        return error_out_of_memory();
    if (access(path, F_OK) != 0)
        return error_new(ERROR_CONFIGURATION, "InvalidKubeconfig",
                         "no way to the Kubernetes API: no kubeconfig was named, KUBECONFIG is not "
                         "set, this is no pod, and there is no %s",
                         path);
    return config_read_files(path, config);
}

/* kubectl's rule: credentials are for TLS alone. */
static void drop_credentials_without_tls(struct kube_config *config)
{
    if (!config->server || strncasecmp(config->server, "http://", strlen("http://")) != 0)
        return;
    free(TAKE(config->client_certificate));
    free(TAKE(config->client_key));
    free(TAKE(config->token));
    free(TAKE(config->token_file));
}

struct error *kube_config_load(const char *path, struct kube_config **config)
{
    _cleanup_(kube_config) struct kube_config *created = calloc(1, sizeof(*created));
    const char *paths = is_set(path) ? path : getenv("KUBECONFIG");
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    struct error *error;

    if (!created)
        return error_out_of_memory();
    if (is_set(paths))
        error = config_read_files(paths, created);
    else if (is_set(host) && is_set(port))
        error = config_read_pod(KUBE_POD_DIRECTORY, host, port, created);
    else
        error = read_home(created);
    if (error)
        return error;
    drop_credentials_without_tls(created);
    *config = TAKE(created);
    return NULL;
}

static bool copy_text(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

struct kube_config *kube_config_copy(const struct kube_config *config)
{
    _cleanup_(kube_config) struct kube_config *copy = calloc(1, sizeof(*copy));

    if (!copy || !copy_text(&copy->server, config->server) ||
        !copy_text(&copy->ca_bundle, config->ca_bundle) ||
        !copy_text(&copy->ca_name, config->ca_name) ||
        !copy_text(&copy->client_certificate, config->client_certificate) ||
        !copy_text(&copy->client_key, config->client_key) ||
        !copy_text(&copy->token, config->token) ||
        !copy_text(&copy->token_file, config->token_file) ||
        !copy_text(&copy->namespace_name, config->namespace_name))
        return NULL;
    copy->insecure_skip_verify = config->insecure_skip_verify;
    return TAKE(copy);
}

/* Leaves nothing of it in freed memory. */
static void forget(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void kube_config_free(struct kube_config *config)
{
    if (!config)
        return;
    free(config->server);
    free(config->ca_bundle);
    free(config->ca_name);
    free(config->client_certificate);
    forget(config->client_key);
    forget(config->token);
    free(config->token_file);
    free(config->namespace_name);
    free(config);
}

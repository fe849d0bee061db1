/* A kubeconfig: it is refused with words, or gives a server and whole credentials. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "http/url.h"
#include "kube/config.h"

static void check_config(const struct kube_config *config)
{
    _cleanup_(url) struct url url = URL_INIT;
    size_t length = strlen(config->server);

    CHECK(length > 0 && config->server[length - 1] != '/');
    CHECK(!url_parse(config->server, NULL, &url));
    CHECK(!config->client_certificate == !config->client_key);
    CHECK(!config->insecure_skip_verify || !config->ca_bundle);
    CHECK(config->ca_name && config->namespace_name && *config->namespace_name);
    if (strcmp(url.scheme, "http") == 0)
        CHECK(!config->token && !config->token_file && !config->client_key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(fd) int file = memfd_create("kubeconfig", MFD_CLOEXEC);
    _cleanup_(kube_config) struct kube_config *config = NULL;
    char path[64];

    CHECK(file >= 0 && file_write_all(file, data, size) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (!fuzz_failed(kube_config_load(path, &config), ERROR_CONFIGURATION, "InvalidKubeconfig"))
        check_config(config);
    return 0;
}

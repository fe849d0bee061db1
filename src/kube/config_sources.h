/* Where a configuration may come from. Internal to src/kube: config.c decides which. */
#ifndef SLUICE_KUBE_CONFIG_SOURCES_H
#define SLUICE_KUBE_CONFIG_SOURCES_H

#include <stddef.h>

#include "kube/config.h"

#define KUBE_CONFIG_FILE_MAX ((size_t)16 << 20)
#define KUBE_POD_DIRECTORY "/var/run/secrets/kubernetes.io/serviceaccount"

/* The current context of kubeconfigs that count as one, as with kubectl: of two entries of a name,
 * the first file's counts. `paths` are separated by ':'; empty ones are passed over, and missing
 * ones too where there are several. Fills in an empty *config. */
struct error *config_read_files(const char *paths, struct kube_config *config)
    __attribute__((warn_unused_result));

/* The service account whose token, ca.crt and namespace stand in `directory`, and the server at
 * `host` and `port`. Fills in an empty *config. */
struct error *config_read_pod(const char *directory, const char *host, const char *port,
                              struct kube_config *config) __attribute__((warn_unused_result));

#endif

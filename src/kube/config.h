/*
 * How to reach the Kubernetes API: from a kubeconfig, or from what every pod is given.
 *
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
 * https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
#ifndef SLUICE_KUBE_CONFIG_H
#define SLUICE_KUBE_CONFIG_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/error.h"

struct kube_config {
    char *server;             /* "https://10.0.0.1:443", perhaps with a path; no final slash */
    char *ca_bundle;          /* PEM; NULL for the system's roots */
    char *ca_name;            /* where it is from, or would be: for messages */
    char *client_certificate; /* PEM, with `client_key`; NULL for none */
    char *client_key;
    char *token;      /* a fixed bearer token; NULL for none */
    char *token_file; /* one that rotates: to be read again, and wins; NULL for none */
    bool insecure_skip_verify;
    char *namespace_name; /* of the context or the service account; "default" where none is named */
};

/* Reads the current context of the kubeconfig at `path`, or of the files in $KUBECONFIG, or, where
 * neither is given, the pod's service account, or else ~/.kube/config. Relative paths in a file
 * count from its directory. ERROR_CONFIGURATION, InvalidKubeconfig: names the file, the field, what
 * was found and what is accepted; exec and auth-provider plugins, impersonation, basic
 * authentication, tls-server-name and proxy-url are refused by name. Where the server is plain http
 * there are no credentials, as with kubectl. */
struct error *kube_config_load(const char *path, struct kube_config **config)
    __attribute__((warn_unused_result));

/* A copy with a life of its own; NULL without memory. */
struct kube_config *kube_config_copy(const struct kube_config *config)
    __attribute__((warn_unused_result));

void kube_config_free(struct kube_config *config);

CLEANUP_DEFINE(kube_config, struct kube_config *, kube_config_free)

#endif

/*
 * The catalog of `sluice controller`: ExternalSources, ExternalArtifacts, Secrets and ConfigMaps of
 * a Kubernetes cluster.
 *
 * Sources, ExternalArtifacts and the Lua ConfigMaps are followed by list and watch; Secrets and
 * other ConfigMaps are read when they are asked for, and never listed but for the metadata of those
 * with a label. ExternalArtifacts are applied (server-side, field manager MANAGED_BY), because
 * other managers may add to them; our own status and finalizers go by merge patches that name the
 * resourceVersion, because what another manager wrote there by update would survive an apply.
 * compatibility.md, "On the wire".
 */
#ifndef SLUICE_CATALOG_KUBE_H
#define SLUICE_CATALOG_KUBE_H

#include <stdbool.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "kube/client.h"
#include "kube/events.h"
#include "kube/notification.h"

/* All of it outlives the catalog; texts are copied. */
struct kube_catalog_options {
    uv_loop_t *loop;
    struct log *log;
    const struct clock *clock;
    struct kube_client *client;
    struct events *events;
    struct notifier *notifier;          /* NULL: no notification-controller */
    const char *namespace_name;         /* the controller's: Lua ConfigMaps */
    bool all_namespaces;                /* sources everywhere, else in that namespace only */
    const char *label_selector;         /* of sources; NULL for all */
    const char *configs_label_selector; /* of ConfigMaps and Secrets that wake sources */
    uint64_t (*random)(void *context);
    void *random_context;
};

/* NULL without memory. */
struct catalog *kube_catalog_new(const struct kube_catalog_options *options);

#endif

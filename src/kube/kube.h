/*
 * The Kubernetes API, as far as Sluice needs it. This is the folder's door and its explanation.
 *
 * config.h says how to reach a cluster, client.h makes requests, reflector.h keeps a copy of one
 * collection up to date by list and watch, lease.h decides who leads, events.h tells people what
 * happened, notification.h tells Flux's notification-controller. Only the Kubernetes catalog and
 * the controller command know this folder.
 *
 * Here: resources and their paths.
 */
#ifndef SLUICE_KUBE_KUBE_H
#define SLUICE_KUBE_KUBE_H

/* One kind of object, as URLs name it. */
struct kube_resource {
    const char *api;    /* "/api/v1", "/apis/source.flux.oddkin.co/v1alpha1" */
    const char *plural; /* "configmaps" */
};

/* An object that events are about. */
struct kube_reference {
    const char *api_version;
    const char *kind;
    const char *namespace_name;
    const char *name;
    const char *uid;
};

/* "/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE" in fresh memory (free); NULL
 * without memory. `namespace_name`, `name` and `subresource` may be NULL: then the collection, in
 * all namespaces. Names are escaped, so that no name that a manifest gives can make another path;
 * "", "." and "..", which no path can carry, become a name that nothing has. */
char *kube_path(const struct kube_resource *resource, const char *namespace_name, const char *name,
                const char *subresource);

#endif

"""What a service account may do, asked of the API server: every verb on every resource that matters."""

from concurrent.futures import ThreadPoolExecutor

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
OURS, FLUX = "source.flux.oddkin.co", "source.toolkit.fluxcd.io"
# group/resource[/subresource]; the core group is empty.
RESOURCES = [
    f"{OURS}/externalsources", f"{OURS}/externalsources/status", f"{OURS}/externalsources/finalizers",
    f"{FLUX}/externalartifacts", f"{FLUX}/externalartifacts/status", f"{FLUX}/externalartifacts/finalizers",
    f"{FLUX}/gitrepositories", f"{FLUX}/buckets", "kustomize.toolkit.fluxcd.io/kustomizations",
    "/secrets", "/configmaps", "/events", "events.k8s.io/events", "coordination.k8s.io/leases",
    "/pods", "/pods/exec", "/pods/log", "/services", "/endpoints", "/nodes", "/namespaces", "/serviceaccounts",
    "/serviceaccounts/token", "/persistentvolumeclaims", "apps/deployments", "apps/statefulsets", "batch/jobs",
    "rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings",
    "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/clusterrolebindings",
    "apiextensions.k8s.io/customresourcedefinitions", "admissionregistration.k8s.io/validatingwebhookconfigurations",
    "certificates.k8s.io/certificatesigningrequests", "authentication.k8s.io/tokenreviews",
]
# Verbs beyond the usual, each with what it is about.
SPECIAL = [
    ("impersonate", "/users"), ("impersonate", "/groups"), ("impersonate", "/serviceaccounts"),
    ("bind", "rbac.authorization.k8s.io/clusterroles"), ("escalate", "rbac.authorization.k8s.io/clusterroles"),
]


def allowed(cluster, user, namespace, verb, resource):
    group, kind, *rest = resource.split("/")
    attributes = {"group": group, "resource": kind, "verb": verb, "namespace": namespace}
    if rest:
        attributes["subresource"] = rest[0]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups(user), "resourceAttributes": attributes},
    }
    status, answer = cluster.request("POST", REVIEWS, review)
    assert status == 201, answer
    return answer["status"]["allowed"]


def groups(user):
    """What the API server adds for a service account."""
    namespace = user.split(":")[2]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]


def all_rights(cluster, user, namespace):
    """{resource: its verbs} of all that the user may do in a namespace; "" is: in all, and cluster-wide."""
    asked = [(verb, resource) for resource in RESOURCES for verb in VERBS] + SPECIAL
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: allowed(cluster, user, namespace, *one), asked))
    found = {}
    for (verb, resource), answer in zip(asked, answers):
        if answer:
            found.setdefault(resource, set()).add(verb)
    return found

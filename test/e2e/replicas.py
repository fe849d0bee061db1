"""Controllers that a test starts, breaks and loses by itself; at its end they are killed and nothing of them is left.

    first = replicas("first", *FAST)                     # leads
    second = replicas("second", *FAST, leads=False)
"""

import base64
import json

from child import free_port
from controller import ACCOUNT, NAMESPACE, Controller

# A lease that a test can wait for.
FAST = (
    "--leader-election-lease-duration=4s",
    "--leader-election-renew-deadline=3s",
    "--leader-election-retry-period=500ms",
)
SOURCES = "/apis/source.flux.oddkin.co/v1alpha1/externalsources"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
MERGE_PATCH = "application/merge-patch+json"


class Replicas:
    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.directory = directory
        self.started = []

    def __call__(self, name, *options, leads=True, **fields):
        """Starts another one and waits until it leads, unless `leads` is false; fields are Controller's."""
        one = self.prepare(name, *options, **fields)
        return one.start(leads=leads)

    def prepare(self, name, *options, **fields):
        """The same, not yet started."""
        one = Controller(self.cluster, self.directory, *options, instance=name, **fields)
        # Not one that the kernel gives to an outgoing connection while the replica is dead.
        one.addresses["storage"] = f"127.0.0.1:{free_port()}"
        self.started.append(one)
        return one

    def close(self):
        try:
            for one in self.started:
                one.kill()
        finally:
            drop_sources(self.cluster)
            drop_leases(self.cluster)


def drop_sources(cluster):
    """Deletes every source as nobody's: no controller is needed."""
    for one in cluster.request("GET", SOURCES)[1]["items"]:
        metadata = one["metadata"]
        path = SOURCES.replace("/externalsources", f"/namespaces/{metadata['namespace']}/externalsources/{metadata['name']}")
        cluster.request("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
        cluster.request("DELETE", path)


def drop_leases(cluster):
    """Removes the leases of controllers that were killed, so that nobody need wait for them."""
    for one in leases(cluster):
        cluster.request("DELETE", f"{LEASES}/{one}")


def leases(cluster):
    """{name: holder}"""
    found = cluster.request("GET", LEASES)[1]["items"]
    return {one["metadata"]["name"]: one["spec"].get("holderIdentity", "") for one in found}


def credential(controller):
    """What the API server's audit log calls the token that a controller uses now."""
    payload = controller.token_file.read_text().split(".")[1]
    return "JTI=" + json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


def asked(controller, namespace, credentials=None, **options):
    """The audited requests of one replica, told apart by its token."""
    credentials = credentials or {credential(controller)}
    user = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    events = controller.cluster.audited(user, namespace, **options)
    extra = "authentication.kubernetes.io/credential-id"
    return [one for one in events if set(one["user"]["extra"][extra]) & credentials]

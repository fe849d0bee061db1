"""A namespace as a team works in it: its sources, what they ask of them, what came of it."""

import io
import json
import tarfile
import time
import urllib.request

FINALIZER = "source.flux.oddkin.co/externalsource-finalizer"
REQUESTED = "reconcile.fluxcd.io/requestedAt"
FORCED = "reconcile.fluxcd.io/forceAt"
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}


def unpack(artifact):
    """{path: text} of a tar.gz."""
    archive = tarfile.open(fileobj=io.BytesIO(artifact), mode="r:gz")
    return {one.name: archive.extractfile(one).read().decode() for one in archive.getmembers() if one.isfile()}


class Team:
    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace

    # What it writes

    def source(self, name, url=None, hooks=None, generator=None, config=None, labels=None, **spec):
        """Applies an ExternalSource: of type http where there is a URL; `hooks` are those after the request."""
        fields = {"interval": "1m", "generator": generator or {"type": "http", "http": {"url": url, **(config or {})}}}
        if hooks:
            fields["hooks"] = {"postRequest": hooks}
        fields.update(spec)
        metadata = {"name": name, "labels": labels or {}}
        kind = {"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource"}
        self.apply({**kind, "metadata": metadata, "spec": fields})

    def secret(self, name, labels=None, **values):
        metadata = {"name": name, "labels": labels or {}}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})

    def config_map(self, name, data, labels=None):
        metadata = {"name": name, "labels": labels or {}}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def apply(self, *manifests):
        self.cluster.apply(list(manifests), namespace=self.namespace)

    def patch(self, kind, name, patch, *options):
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *options)

    def delete(self, kind, name, *options):
        self.kubectl("delete", kind, name, *options)

    def kubectl(self, *arguments):
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def request(self, name, kind="externalsource", annotation=REQUESTED, token=None):
        """Asks for a reconcile at once; returns the annotation's value."""
        token = token or str(time.time_ns())
        self.kubectl("annotate", "--overwrite", kind, name, f"{annotation}={token}")
        return token

    def reconcile(self, name):
        """Asks, and waits until the request was handled."""
        token = self.request(name)
        self.wait(lambda: self.status(name).get("lastHandledReconcileAt") == token, f"{name} to handle the request")

    # What it sees

    def get(self, name):
        return self.cluster.get("externalsource", name, self.namespace)

    def child(self, name):
        return self.cluster.get("externalartifact", name, self.namespace)

    def status(self, name):
        found = self.get(name)
        return found.get("status", {}) if found else {}

    def conditions(self, name):
        """{type: condition} of the source."""
        return {one["type"]: one for one in self.status(name).get("conditions", [])}

    def condition(self, name, kind="Ready"):
        return self.conditions(name).get(kind)

    def wait(self, predicate, what=None, timeout=30):
        return self.cluster.wait_for(predicate, what, timeout)

    def wait_ready(self, name, status="True", reason=None, contains=""):
        """Waits for Ready to be so, of the present generation; returns the condition."""

        def is_so():
            found = self.get(name)
            ready = {one["type"]: one for one in found["status"].get("conditions", [])}.get("Ready")
            assert ready and ready["status"] == status, found["status"]
            assert ready["observedGeneration"] == found["metadata"]["generation"], found["status"]
            assert reason in (None, ready["reason"]) and contains in ready["message"], ready
            return ready

        return self.wait(is_so, f"{name} to be Ready={status} {reason or ''}")

    def wait_stalled(self, name, reason=None, contains=""):
        ready = self.wait_ready(name, "False", reason, contains)
        found = self.conditions(name)
        assert found["Stalled"]["status"] == "True" and "Reconciling" not in found, found
        return ready

    def wait_gone(self, kind, name):
        self.wait(lambda: self.cluster.get(kind, name, self.namespace) is None, f"{kind} {name} to be gone")

    def artifact(self, name):
        """{path: text} of what the ExternalArtifact's URL serves."""
        with urllib.request.urlopen(self.child(name)["status"]["artifact"]["url"], timeout=10) as answer:
            return unpack(answer.read())

    def events(self, name, kind="ExternalSource", namespace=None):
        """Kubernetes Events about an object, oldest first."""
        found = self.cluster.list("events.events.k8s.io", namespace or self.namespace)
        ours = [one for one in found if (one["regarding"]["kind"], one["regarding"]["name"]) == (kind, name)]
        return sorted(ours, key=lambda one: one["eventTime"] or "")

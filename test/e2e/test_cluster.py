"""The cluster that end-to-end tests use is a real one: each part of it is seen to do its work."""

import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request

import pytest
import yaml

from child import wait_for
from cluster import KubectlError

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"


def config_map(name, owner=None, **data):
    metadata = {"name": name}
    if owner:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def external_artifact(name, artifact=None):
    """As our controller makes it: its spec, or its status where there is an artifact."""
    body = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "metadata": {"name": name}}
    if not artifact:
        reference = {"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource", "name": name}
        return {**body, "spec": {"sourceRef": reference}}
    ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored"}
    ready["lastTransitionTime"] = artifact["lastUpdateTime"]
    return {**body, "status": {"artifact": artifact, "conditions": [ready]}}


def post(url, body):
    data = json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as answer:
        return answer.status


def role(cluster, namespace, account, *rules):
    """A service account that may do what the rules, (verbs, resources) each, say in its namespace; its token."""
    rules = [{"apiGroups": [""], "verbs": verbs.split(), "resources": resources.split()} for verbs, resources in rules]
    api = "rbac.authorization.k8s.io"
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules},
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": account},
                "roleRef": {"apiGroup": api, "kind": "Role", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            },
        ],
        namespace=namespace,
    )
    return cluster.token(account, namespace)


def test_the_api_server_tells_a_version_and_knows_the_kinds_of_flux(cluster):
    status, version = cluster.request("GET", "/version")
    assert status == 200 and version["gitVersion"].startswith("v1.")
    kinds = cluster.kubectl("api-resources", "-o", "name").split()
    for kind in ("externalartifacts.source", "kustomizations.kustomize", "receivers.notification"):
        assert f"{kind}.toolkit.fluxcd.io" in kinds


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(cluster, namespace):
    token = role(cluster, namespace, "reader", ("get list", "configmaps"))
    kubeconfig = cluster.kubeconfig(token=token)
    cluster.apply(config_map("seen", greeting="hello"), namespace=namespace)
    assert "hello" in cluster.kubectl("get", "configmap", "seen", "-n", namespace, "-o", "yaml", kubeconfig=kubeconfig)
    with pytest.raises(KubectlError, match='cannot delete resource "configmaps"'):
        cluster.kubectl("delete", "configmap", "seen", "-n", namespace, kubeconfig=kubeconfig)


def test_a_token_is_read_from_a_file_at_each_use(cluster, namespace, tmp_path):
    token = role(cluster, namespace, "reader", ("get list", "configmaps"))
    path = tmp_path / "token"
    path.write_text(token)
    kubeconfig = cluster.kubeconfig(token_file=path)
    cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig)
    path.write_text("not-a-token")
    with pytest.raises(KubectlError):
        cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig)


def test_blocking_an_owner_needs_the_right_to_its_finalizers(cluster, namespace):
    cluster.apply(config_map("owner"), namespace=namespace)
    child = yaml.safe_dump(config_map("child", cluster.get("configmap", "owner", namespace)))
    create = ("create", "-n", namespace, "-f", "-")
    configmaps, finalizers = ("get create", "configmaps"), ("update", "configmaps/finalizers")
    without = cluster.kubeconfig(token=role(cluster, namespace, "without", configmaps))
    with pytest.raises(KubectlError, match="cannot set blockOwnerDeletion"):
        cluster.kubectl(*create, input=child, kubeconfig=without)
    allowed = cluster.kubeconfig(token=role(cluster, namespace, "allowed", configmaps, finalizers))
    cluster.kubectl(*create, input=child, kubeconfig=allowed)


def test_an_owned_object_is_collected_after_its_owner(cluster, namespace):
    cluster.apply(config_map("owner"), namespace=namespace)
    cluster.apply(config_map("child", cluster.get("configmap", "owner", namespace)), namespace=namespace)
    cluster.kubectl("delete", "configmap", "owner", "-n", namespace)
    cluster.wait_for(lambda: not cluster.get("configmap", "child", namespace), "the child to be collected")


def test_objects_outlive_the_api_server(cluster, namespace):
    cluster.apply(config_map("kept", greeting="hello"), namespace=namespace)
    cluster.stop_api_server(kill=True)
    try:
        with pytest.raises(KubectlError, match="refused"):
            cluster.get("configmap", "kept", namespace)
    finally:
        cluster.start_api_server()
    assert cluster.get("configmap", "kept", namespace)["data"] == {"greeting": "hello"}


def test_a_list_whose_history_was_compacted_in_mid_way_gets_410(cluster, namespace):
    cluster.apply([config_map("first"), config_map("second")], namespace=namespace)
    path = f"/api/v1/namespaces/{namespace}/configmaps?limit=1"
    _, page = cluster.request("GET", path)
    cluster.apply(config_map("third"), namespace=namespace)
    cluster.stop_api_server()
    try:
        cluster.compact()
    finally:
        cluster.start_api_server()
    status, answer = cluster.request("GET", f"{path}&continue={page['metadata']['continue']}")
    assert (status, answer["reason"]) == (410, "Expired")


def test_a_watch_from_before_a_restart_gets_410(cluster, namespace):
    cluster.apply(config_map("first"), namespace=namespace)
    version = cluster.get("configmap", "first", namespace)["metadata"]["resourceVersion"]
    cluster.apply(config_map("second"), namespace=namespace)
    cluster.stop_api_server(kill=True)
    cluster.start_api_server()
    watch = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=5&resourceVersion={version}"
    status, answer = cluster.request("GET", watch)
    assert (status, answer["object"]["code"]) == (200, 410)


def test_kustomize_controller_applies_an_external_artifact(
    cluster, namespace, kustomize_controller, artifact_server
):
    manifest = yaml.safe_dump(config_map("weather", temperature="21"))
    artifact = artifact_server.publish("weather", {"data/weather.yaml": manifest})
    cluster.apply(external_artifact("weather"), namespace=namespace)
    cluster.apply_status(external_artifact("weather", artifact), namespace)
    kustomization = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "weather"},
        "spec": {
            "interval": "10m",
            "prune": True,
            "path": "./data",
            "targetNamespace": namespace,
            "sourceRef": {"kind": "ExternalArtifact", "name": "weather"},
        },
    }
    cluster.apply(kustomization, namespace=namespace)
    applied = cluster.wait_for(lambda: cluster.get("configmap", "weather", namespace), "the ConfigMap")
    assert applied["data"] == {"temperature": "21"}

    changed = yaml.safe_dump(config_map("weather", temperature="22"))
    artifact = artifact_server.publish("weather", {"data/weather.yaml": changed})
    cluster.apply_status(external_artifact("weather", artifact), namespace)
    cluster.wait_for(
        lambda: cluster.get("configmap", "weather", namespace)["data"] == {"temperature": "22"}, "the change"
    )
    cluster.kubectl("delete", "kustomization", "weather", "-n", namespace)


def test_toxiproxy_cuts_connections_and_restores_them(cluster, namespace, api_proxy):
    kubeconfig = cluster.kubeconfig("through-proxy", "system:masters", server=api_proxy.url)
    cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig)
    api_proxy.cut()
    with pytest.raises(KubectlError, match="refused"):
        cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig)
    api_proxy.restore()
    cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=kubeconfig)


def test_a_half_open_connection_through_toxiproxy_answers_nothing(cluster, api_proxy):
    kubeconfig = cluster.kubeconfig("through-proxy", "system:masters", server=api_proxy.url)
    get = ("get", "--raw", "/readyz", "--request-timeout=2s")
    api_proxy.half_open()
    with pytest.raises(KubectlError, match="imeout|deadline exceeded"):
        cluster.kubectl(*get, kubeconfig=kubeconfig)
    api_proxy.restore()
    cluster.kubectl(*get, kubeconfig=kubeconfig)


def test_an_open_connection_through_toxiproxy_is_cut(toxiproxy, artifact_server):
    path = "/" + artifact_server.publish("any", {"a.yaml": "a: 1\n"})["path"]
    with toxiproxy.proxy("artifacts", artifact_server.url.removeprefix("http://")) as proxy:
        connection = http.client.HTTPConnection(proxy.address, timeout=30)
        connection.request("GET", path)
        assert connection.getresponse().read()
        assert connection.sock, "the server keeps the connection"
        proxy.cut()
        assert connection.sock.recv(1) == b"", "the connection ends"


def test_notification_controller_passes_an_event_to_a_provider(cluster, namespace, notification_controller, inbox):
    api = "notification.toolkit.fluxcd.io/v1beta3"
    alert = {"providerRef": {"name": "inbox"}, "eventSources": [{"kind": "ExternalArtifact", "name": "*"}]}
    cluster.apply(
        [
            {
                "apiVersion": api,
                "kind": "Provider",
                "metadata": {"name": "inbox"},
                "spec": {"type": "generic", "address": inbox.url},
            },
            {"apiVersion": api, "kind": "Alert", "metadata": {"name": "all"}, "spec": alert},
            external_artifact("weather"),
        ],
        namespace=namespace,
    )
    uid = cluster.get("externalartifact", "weather", namespace)["metadata"]["uid"]
    event = {
        "involvedObject": {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "ExternalArtifact",
            "namespace": namespace,
            "name": "weather",
            "uid": uid,
        },
        "severity": "info",
        "timestamp": "2026-01-02T03:04:05Z",
        "message": "stored artifact",
        "reason": "NewArtifact",
        "reportingController": "externalsource-controller",
        "reportingInstance": "test",
        "metadata": {"source.toolkit.fluxcd.io/revision": "latest@sha256:1234"},
    }

    def delivered():
        # The controller's cache may not have the Alert yet: then it accepts the event and passes on nothing.
        event["message"] = f"stored artifact, attempt {len(attempts)}"
        attempts.append(post(cluster.notification_events, event))
        return wait_for(lambda: inbox.messages, "a message", timeout=2)

    attempts = []
    (message, *_) = cluster.wait_for(delivered, "the provider to be called")
    assert set(attempts) == {202}
    assert message["involvedObject"]["name"] == "weather"
    assert message["metadata"]["revision"] == "latest@sha256:1234"


def test_a_receiver_asks_for_a_reconcile_of_an_external_artifact(cluster, namespace, notification_controller):
    resource = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "name": "weather"}
    receiver = {"type": "generic", "secretRef": {"name": "webhook"}, "resources": [resource]}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "webhook"}, "stringData": {"token": "any"}},
            {
                "apiVersion": "notification.toolkit.fluxcd.io/v1",
                "kind": "Receiver",
                "metadata": {"name": "weather"},
                "spec": receiver,
            },
            external_artifact("weather"),
        ],
        namespace=namespace,
    )

    def webhook():
        return cluster.get("receiver", "weather", namespace).get("status", {}).get("webhookPath")

    path = cluster.wait_for(webhook, "the webhook's path")
    cluster.wait_for(lambda: post(cluster.notification_receiver + path, {}) == 200, "the webhook to answer")
    annotations = cluster.get("externalartifact", "weather", namespace)["metadata"]["annotations"]
    assert "reconcile.fluxcd.io/requestedAt" in annotations


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_runs_a_cluster_until_it_is_told_to_end(cluster, number):
    program = subprocess.Popen([sys.executable, TOOLS / "cluster.py"], stdout=subprocess.PIPE, text=True)
    with program:
        try:
            kubeconfig = program.stdout.readline().strip().removeprefix("export KUBECONFIG=")
            cluster.kubectl("get", "crd", "externalartifacts.source.toolkit.fluxcd.io", kubeconfig=kubeconfig)
            address = yaml.safe_load(pathlib.Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
        finally:
            program.send_signal(number)
        assert program.wait() == 0
    assert not pathlib.Path(kubeconfig).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


def test_a_killed_owner_leaves_no_child(tmp_path):
    program = f"""
        import pathlib, sys, time
        sys.path.insert(0, {str(TOOLS)!r})
        from child import Child
        print(Child("sleep", ["sleep", "600"], pathlib.Path({str(tmp_path / "log")!r})).pid, flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    with owner:
        child = pathlib.Path("/proc") / owner.stdout.readline().strip()
        wait_for(lambda: (child / "comm").read_text() == "sleep\n", "the child to run")
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text(), "the child's end")

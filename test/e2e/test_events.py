"""What we tell people: Events as a real API server takes them, notifications as Flux's own controller does."""

import json
import os
import pathlib
import subprocess

import pytest

from child import wait_for

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build/release"))
NOTIFICATION = "notification.toolkit.fluxcd.io/v1beta3"


class Teller:
    """An event_teller: tell() gives it a line; close() waits for it to have written all."""

    def __init__(self, kubeconfig, address):
        self.process = subprocess.Popen(
            [str(BUILD / "event_teller"), str(kubeconfig), address], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def tell(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def close(self):
        """Its log; an assertion error where it did not end well."""
        log = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, log
        return log


@pytest.fixture
def teller():
    """teller(KUBECONFIG, EVENTS_ADDR) starts one."""
    started = []

    def start(kubeconfig, address="http://127.0.0.1:1/"):
        started.append(Teller(kubeconfig, address))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def about(cluster, namespace):
    """A ConfigMap that Events are about."""
    cluster.kubectl("create", "configmap", "weather", "-n", namespace)
    uid = cluster.get("configmap", "weather", namespace)["metadata"]["uid"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": "weather", "uid": uid}


def events(cluster, namespace):
    return [one for one in cluster.list("events.events.k8s.io", namespace) if one["regarding"]["kind"] == "ConfigMap"]


def test_an_event_is_accepted_and_described(cluster, namespace, teller, about):
    one = teller(cluster.admin)
    one.tell(about=about, warning=True, reason="FetchFailed", action="Reconcile", note="é" * 1000)
    one.close()
    (event,) = events(cluster, namespace)
    assert event["note"] == "é" * 512
    assert event["type"] == "Warning"
    assert event["reason"] == "FetchFailed"
    assert event["reportingController"] == "source.flux.oddkin.co/externalsource-controller"
    assert "series" not in event
    described = cluster.kubectl("describe", "configmap", "weather", "-n", namespace)
    assert "FetchFailed" in described


def test_a_repeat_becomes_a_series_of_two(cluster, namespace, teller, about):
    one = teller(cluster.admin)
    for _ in range(2):
        one.tell(about=about, warning=True, reason="FetchFailed", action="Reconcile", note="status 500")
    one.tell(about=about, warning=True, reason="FetchFailed", action="Reconcile", note="status 502")
    one.close()
    found = {event["note"]: event for event in events(cluster, namespace)}
    assert set(found) == {"status 500", "status 502"}
    assert found["status 500"]["series"]["count"] == 2
    assert found["status 500"]["series"]["lastObservedTime"] > found["status 500"]["eventTime"]


def test_a_series_whose_event_has_gone_begins_anew(cluster, namespace, teller, about):
    one = teller(cluster.admin)
    for _ in range(2):
        one.tell(about=about, reason="Slow", action="Reconcile", note="status 500")
    wait_for(lambda: [event for event in events(cluster, namespace) if event.get("series")], "a series")
    cluster.kubectl("delete", "events", "--all", "-n", namespace)
    one.tell(about=about, reason="Slow", action="Reconcile", note="status 500")
    one.close()
    (event,) = events(cluster, namespace)
    assert event["series"]["count"] == 3


def test_an_event_for_a_namespace_that_is_gone_is_no_fault(cluster, teller, about):
    one = teller(cluster.admin)
    about["namespace"] = "never-there"
    one.tell(about=about, reason="Slow", action="Reconcile", note="status 500")
    assert one.close() == ""


def test_a_forbidden_event_is_logged_once(cluster, teller, about):
    one = teller(cluster.kubeconfig("nobody", "nothing"))
    for _ in range(2):
        one.tell(about=about, reason="Slow", action="Reconcile", note="status 500")
    (line,) = one.close().splitlines()
    assert json.loads(line)["msg"] == "Kubernetes Events dropped"
    assert json.loads(line)["refused"] == "2"
    assert "forbidden" in line


def test_a_notification_reaches_an_alerts_provider(cluster, namespace, notification_controller, inbox, teller):
    alert = {"providerRef": {"name": "inbox"}, "eventSources": [{"kind": "ExternalArtifact", "name": "*"}]}
    provider = {"type": "generic", "address": inbox.url}
    cluster.apply(
        [
            {"apiVersion": NOTIFICATION, "kind": "Provider", "metadata": {"name": "inbox"}, "spec": provider},
            {"apiVersion": NOTIFICATION, "kind": "Alert", "metadata": {"name": "all"}, "spec": alert},
        ],
        namespace=namespace,
    )
    one = teller(cluster.admin, cluster.notification_events + "/")
    about = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "ExternalArtifact",
        "namespace": namespace,
        "name": "weather",
        "uid": "0b5e4ea8-3a2e-4c2b-9d0a-6a7a2f4e8a11",
    }
    attempts = []

    def delivered():
        # The controller's cache may not have the Alert yet: then it accepts the event and passes on nothing.
        attempts.append(f"stored artifact, attempt {len(attempts)}")
        one.tell(
            about=about,
            reason="NewArtifact",
            message=attempts[-1],
            revision="latest@sha256:1234",
            annotations={"event.toolkit.fluxcd.io/team": "a", "reconcile.fluxcd.io/requestedAt": "now"},
        )
        return wait_for(lambda: inbox.messages, "a message", timeout=2)

    (message, *_) = cluster.wait_for(delivered, "the provider to be called")
    # The same again is answered with 429, which is no fault.
    one.tell(about=about, reason="NewArtifact", message=attempts[-1], revision="latest@sha256:1234")
    assert one.close() == ""
    assert message["message"] in attempts
    assert message["severity"] == "info"
    assert message["reason"] == "NewArtifact"
    assert message["involvedObject"] == about
    assert message["reportingController"] == "externalsource-controller"
    assert message["metadata"]["revision"] == "latest@sha256:1234"
    assert message["metadata"]["team"] == "a"
    assert "requestedAt" not in json.dumps(message)

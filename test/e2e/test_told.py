"""What people are told: Kubernetes Events, Flux's notifications, the columns of kubectl get."""

import re
import time
import urllib.request

import pytest

from controller import Controller, remove_sources

NOTIFICATION = "notification.toolkit.fluxcd.io"


@pytest.fixture(scope="module")
def controller(cluster, notification_controller, tmp_path_factory):
    """One that tells Flux's notification-controller."""
    events = f"--events-addr={cluster.notification_events}/"
    with Controller(cluster, tmp_path_factory.mktemp("controller"), events) as running:
        yield running
        remove_sources(cluster)
        running.stop()


def told(team, name="weather"):
    return [(one["type"], one["reason"]) for one in team.events(name)]


def wait_told(team, *expected):
    team.wait(lambda: told(team) == list(expected), f"the Events {expected}, not {told(team)}")


# Events


def test_an_artifact_a_failure_and_a_recovery_are_told_once_each(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    new, failed = ("Normal", "NewArtifact"), ("Warning", "NotFound")
    wait_told(team, new)
    revision = team.status("weather")["artifact"]["revision"]
    (event,) = team.events("weather")
    assert event["note"] == f"stored artifact for revision '{revision}'"
    assert event["reportingController"] == "source.flux.oddkin.co/externalsource-controller"
    assert event["regarding"]["uid"] == team.get("weather")["metadata"]["uid"]
    team.reconcile("weather")
    upstream.answer("/", b"", status=404)
    for _ in range(3):
        team.reconcile("weather")
    wait_told(team, new, failed)
    assert "404" in team.events("weather")[1]["note"]
    upstream.answer("/", b"sunny")
    team.reconcile("weather")
    wait_told(team, new, failed, ("Normal", "Succeeded"))
    upstream.answer("/", b"rainy")
    team.reconcile("weather")
    wait_told(team, new, failed, ("Normal", "Succeeded"), new)
    assert "NewArtifact" in team.kubectl("describe", "externalsource", "weather")


def test_a_failure_that_is_retried_is_told_once(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"", status=503))
    team.wait(lambda: len(upstream.asked) >= 4, "some retries")
    failures = controller.records(msg="reconciliation failed", namespace=team.namespace)
    assert len(failures) >= 3
    assert told(team) == [("Warning", "HTTPStatus")]
    assert "series" not in team.events("weather")[0]


def test_a_source_that_stalls_is_told_once(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), [{"module": "nowhere"}])
    wait_told(team, ("Warning", "InvalidSpec"))
    team.request("weather")
    time.sleep(1)
    wait_told(team, ("Warning", "InvalidSpec"))
    assert "nowhere" in team.events("weather")[0]["note"]


# Notifications


def test_an_alert_on_the_external_artifact_hears_what_happens(team, upstream, inbox):
    alert = {"providerRef": {"name": "inbox"}, "eventSources": [{"kind": "ExternalArtifact", "name": "*"}]}
    team.apply(
        {"apiVersion": f"{NOTIFICATION}/v1beta3", "kind": "Provider", "metadata": {"name": "inbox"},
         "spec": {"type": "generic", "address": inbox.url}},
        {"apiVersion": f"{NOTIFICATION}/v1beta3", "kind": "Alert", "metadata": {"name": "all"}, "spec": alert},
    )
    upstream.answer("/", b"0")
    team.source("weather", upstream.url + "/", interval="1h")
    team.wait_ready("weather")

    def heard(reason):
        return [one for one in inbox.messages if one["reason"] == reason]

    # The controller's cache may not have the Alert yet: then it takes an event and passes on nothing.
    number = 0
    while not heard("NewArtifact") and number < 20:
        number += 1
        upstream.answer("/", str(number).encode())
        team.reconcile("weather")
        time.sleep(0.3)
    message = team.wait(lambda: heard("NewArtifact"), "the Alert's provider to be called")[-1]
    artifact, made = team.status("weather")["artifact"], team.child("weather")
    assert message["severity"] == "info"
    assert message["message"] == f"stored artifact for revision '{message['metadata']['revision']}'"
    assert re.fullmatch("latest@sha256:[0-9a-f]{64}", message["metadata"]["revision"])
    assert message["involvedObject"] == {
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "name": "weather",
        "namespace": team.namespace, "uid": made["metadata"]["uid"],
    }
    upstream.answer("/", b"", status=404)
    for _ in range(3):
        team.reconcile("weather")
    (failure,) = team.wait(lambda: heard("NotFound"), "the failure")
    assert failure["severity"] == "error"
    assert failure["message"].endswith(f"; serving {artifact['revision']} since {artifact['lastUpdateTime']}")
    upstream.answer("/", str(number).encode())
    team.reconcile("weather")
    (recovery,) = team.wait(lambda: heard("Succeeded"), "the recovery")
    assert recovery["message"] == f"recovered; stored artifact for revision '{artifact['revision']}'"
    assert len(heard("NotFound")) == 1


def test_a_receiver_wakes_a_source_through_its_external_artifact(cluster, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    team.secret("token", token="a-token")
    resource = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "name": "weather"}
    spec = {"type": "generic", "secretRef": {"name": "token"}, "resources": [resource]}
    team.apply({"apiVersion": f"{NOTIFICATION}/v1", "kind": "Receiver", "metadata": {"name": "weather"}, "spec": spec})
    team.kubectl("wait", "--for=condition=Ready", "receiver/weather", "--timeout=30s")
    path = cluster.get("receiver", "weather", team.namespace)["status"]["webhookPath"]
    upstream.answer("/", b"rainy")
    with urllib.request.urlopen(cluster.notification_receiver + path, b"{}", timeout=10) as answer:
        assert answer.status == 200
    team.wait(lambda: team.artifact("weather") == {"data": "rainy"}, "the source to be woken")
    assert team.status("weather")["lastHandledArtifactReconcileAt"]


def test_a_notification_controller_that_is_down_delays_no_reconcile(cluster, team, upstream):
    child = cluster.children["notification-controller"]
    child.kill()
    try:
        team.source("weather", upstream.answer("/", b"sunny"))
        team.wait_ready("weather")
        upstream.answer("/", b"rainy")
        team.reconcile("weather")
        assert team.artifact("weather") == {"data": "rainy"}
    finally:
        cluster.start_notification_controller()


# Columns


def columns(text):
    """The rows of `kubectl get`, by NAME."""
    head, *lines = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+( \S+)*", head)]
    names = head.split()
    rows = {}
    for line in lines:
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])]
        rows[cells[0]] = dict(zip(names, cells))
    return rows


def test_kubectl_get_reads_well(team, upstream):
    team.source("good", upstream.answer("/", b"sunny"), interval="5m")
    team.source("bad", upstream.answer("/bad", b"", status=404), interval="5m")
    team.wait_ready("good")
    team.wait_ready("bad", "False")
    rows = columns(team.kubectl("get", "externalsources"))
    assert list(rows["good"]) == ["NAME", "READY", "STATUS", "AGE", "REVISION", "URL"]
    artifact = team.status("good")["artifact"]
    assert rows["good"]["READY"] == "True"
    assert rows["good"]["STATUS"] == f"stored artifact for revision '{artifact['revision']}'"
    assert rows["good"]["REVISION"] == artifact["revision"]
    assert rows["good"]["URL"] == artifact["url"]
    assert re.fullmatch(r"\d+s", rows["good"]["AGE"])
    assert rows["bad"]["READY"] == "False"
    assert "404" in rows["bad"]["STATUS"]
    assert rows["bad"]["URL"] == ""
    wide = columns(team.kubectl("get", "extsrc", "-o", "wide"))["good"]
    assert (wide["TYPE"], wide["INTERVAL"]) == ("http", "5m")
    assert "externalsource.source.flux.oddkin.co/good" in team.kubectl("get", "all", "-o", "name")


def test_what_the_controller_writes_is_what_the_crd_declares(cluster, team, upstream):
    """Nothing of a status is dropped by the API server, which drops what it does not know."""
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'), interval="1h")
    team.wait_ready("weather")
    team.kubectl("annotate", "externalsource", "weather", "reconcile.fluxcd.io/requestedAt=a", "reconcile.fluxcd.io/forceAt=a")
    team.wait(lambda: team.status("weather").get("lastHandledForceAt") == "a", "the forced request")
    team.kubectl("annotate", "externalartifact", "weather", "reconcile.fluxcd.io/requestedAt=b")
    team.wait(lambda: team.status("weather").get("lastHandledArtifactReconcileAt") == "b", "the other request")
    status = team.status("weather")
    assert status["lastHandledReconcileAt"] == "a" and status["lastHandledETag"] == '"1"' and status["inputsDigest"]
    upstream.answer("/", b"", status=404)
    team.reconcile("weather")
    team.wait_ready("weather", "False")
    retry = team.status("weather")["retry"]
    assert set(retry) == {"count", "notBefore", "inputsDigest"}

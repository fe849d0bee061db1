"""What a reconcile makes in a cluster, and what it does about other hands: finalizer, ExternalArtifact, status."""

import time

import pytest

from team import FINALIZER

OURS, FLUX = "source.flux.oddkin.co/v1alpha1", "source.toolkit.fluxcd.io/v1"
PREDECESSOR = "00000000-0000-0000-0000-000000000001"
LONG_AGO = "2026-01-02T03:04:05Z"


def owner(uid, name="weather"):
    return {"apiVersion": OURS, "kind": "ExternalSource", "name": name, "uid": uid, "controller": True,
            "blockOwnerDeletion": True}


def reference(team, kind="ExternalSource", api_version=OURS):
    return {"apiVersion": api_version, "kind": kind, "name": "weather", "namespace": team.namespace}


def child(team, **metadata):
    """An ExternalArtifact as somebody else makes it."""
    spec = {"sourceRef": reference(team, "Forecast", "example.com/v1")}
    return {"apiVersion": FLUX, "kind": "ExternalArtifact", "metadata": {"name": "weather", **metadata}, "spec": spec}


def children_of(team):
    return f"/apis/{FLUX}/namespaces/{team.namespace}/externalartifacts"


# Beginning


def test_finalizer_and_external_artifact_are_there_before_the_first_answer(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", delay=4))
    team.wait(lambda: upstream.asked, "the fetch to begin")
    source, made = team.get("weather"), team.child("weather")
    assert source["metadata"]["finalizers"] == [FINALIZER]
    assert made["spec"]["sourceRef"] == reference(team)
    assert made["metadata"]["ownerReferences"] == [owner(source["metadata"]["uid"])]
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "externalsource-controller"}
    assert "status" not in made
    team.wait(lambda: "Fetching" in team.conditions("weather"), "the fetch to show")
    shown = team.conditions("weather")
    assert {name: one["status"] for name, one in shown.items()} == {
        "Fetching": "True", "Reconciling": "True", "Ready": "Unknown"
    }
    assert team.status("weather")["observedGeneration"] == -1
    team.wait_ready("weather")
    assert set(team.conditions("weather")) == {"Ready"}


def test_status_and_external_artifact_say_the_same(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'))
    ready = team.wait_ready("weather", reason="Succeeded")
    status, made = team.status("weather"), team.child("weather")["status"]
    assert status["observedGeneration"] == 1
    assert status["lastHandledETag"] == '"1"'
    assert made["artifact"] == status["artifact"]
    assert set(made["artifact"]) == {"digest", "lastUpdateTime", "path", "revision", "size", "url"}
    (condition,) = made["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "True", "Succeeded")
    assert condition["message"] == ready["message"] == f"stored artifact for revision '{status['artifact']['revision']}'"


def test_kubectl_waits_for_it_as_kstatus_would(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", delay=1))
    team.kubectl("wait", "--for=condition=Ready", "externalsource/weather", "--timeout=30s")
    assert len(upstream.asked) == 1
    team.kubectl("wait", "--for=condition=Ready", "externalartifact/weather", "--timeout=30s")


# Who owns what


def test_an_external_artifact_of_another_owner_is_left_alone_until_it_goes(team, upstream):
    team.apply(child(team))
    before = team.child("weather")["metadata"]["resourceVersion"]
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_stalled("weather", "NameConflict", f"there is an ExternalArtifact {team.namespace}/weather that belongs")
    assert team.status("weather")["observedGeneration"] == 1
    team.request("weather")
    time.sleep(1)
    assert team.child("weather")["metadata"]["resourceVersion"] == before
    assert upstream.asked == []
    team.delete("externalartifact", "weather")
    team.wait_ready("weather")
    assert "Stalled" not in team.conditions("weather")
    assert team.artifact("weather") == {"data": "sunny"}


def test_a_source_that_is_in_conflict_is_deleted_without_the_others_artifact(team, upstream):
    team.apply(child(team))
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_stalled("weather", "NameConflict")
    team.delete("externalsource", "weather", "--timeout=30s")
    assert team.child("weather")


@pytest.fixture
def no_garbage_collector(cluster):
    cluster.children["kube-controller-manager"].stop()
    yield
    cluster.start_controller_manager()


def test_the_external_artifact_of_a_predecessor_is_replaced(team, upstream, no_garbage_collector):
    team.apply(child(team, ownerReferences=[owner(PREDECESSOR)]))
    before = team.child("weather")["metadata"]["uid"]
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    now = team.child("weather")
    assert now["metadata"]["uid"] != before
    assert now["metadata"]["ownerReferences"] == [owner(team.get("weather")["metadata"]["uid"])]


def test_a_second_owner_is_left_where_it_is(team, controller, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.config_map("other", {})
    team.wait_ready("weather")
    ours = owner(team.get("weather")["metadata"]["uid"])
    uid = team.cluster.get("configmap", "other", team.namespace)["metadata"]["uid"]
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": uid}
    team.patch("externalartifact", "weather", {"metadata": {"ownerReferences": [ours, other]}})
    written = controller.writes(team.namespace)
    team.reconcile("weather")
    assert team.child("weather")["metadata"]["ownerReferences"] == [ours, other]
    # The request's answer, and no vain attempt upon the ExternalArtifact.
    assert controller.writes(team.namespace)[len(written) :].count("patch externalartifacts") == 0


def put(cluster, path, body):
    status, found = cluster.request("PUT", path + "?fieldManager=manager", body)
    assert status == 200, found
    return found


def test_what_the_reference_wrote_is_adopted_and_deleted(cluster, controller, team, upstream):
    controller.stop()
    sources = f"/apis/{OURS}/namespaces/{team.namespace}/externalsources"
    body = {
        "apiVersion": OURS, "kind": "ExternalSource",
        "metadata": {"name": "weather", "finalizers": [FINALIZER, "example.com/other"]},
        "spec": {"interval": "1h", "generator": {"type": "http", "http": {"url": upstream.answer("/", b"sunny")}}},
    }
    code, source = cluster.request("POST", sources + "?fieldManager=manager", body)
    assert code == 201, source
    # As the reference leaves them: a digest of the raw data, conditions that are no longer so, another's condition.
    condition = {"status": "True", "reason": "Progressing", "message": "", "lastTransitionTime": LONG_AGO,
                 "observedGeneration": 1}
    artifact = {"revision": "0" * 64, "url": "http://artifact-server/x", "lastUpdateTime": LONG_AGO}
    kinds = ["Ready", "Fetching", "Storing", "example.com/Other"]
    source["status"] = {
        "observedGeneration": 1, "lastHandledETag": '"old"', "artifact": {**artifact, "metadata": {"a": "b"}},
        "conditions": [{"type": kind, **condition} for kind in kinds],
    }
    put(cluster, f"{sources}/weather/status", source)
    made = child(team, ownerReferences=[owner(source["metadata"]["uid"])])
    made["spec"]["sourceRef"] = reference(team)
    children = children_of(team)
    code, made = cluster.request("POST", children + "?fieldManager=manager", made)
    assert code == 201, made
    made["status"] = {"artifact": {**artifact, "path": "x", "digest": "sha256:" + "0" * 64, "metadata": {"a": "b"}}}
    put(cluster, f"{children}/weather/status", made)

    controller.start()
    team.wait(lambda: team.status("weather")["artifact"].get("digest"), "the source to be adopted")
    team.wait_ready("weather", reason="Succeeded")
    assert set(team.conditions("weather")) == {"Ready", "example.com/Other"}
    assert upstream.asked[0].headers.get("if-none-match") is None
    assert team.artifact("weather") == {"data": "sunny"}
    now = team.child("weather")
    assert now["metadata"]["uid"] == made["metadata"]["uid"]
    assert now["status"]["artifact"] == team.status("weather")["artifact"]
    assert "metadata" not in now["status"]["artifact"]

    team.delete("externalsource", "weather", "--wait=false")
    team.wait(lambda: team.get("weather")["metadata"]["finalizers"] == ["example.com/other"], "our finalizer to go")
    assert team.child("weather") is None
    time.sleep(1)
    assert len(upstream.asked) == 1 and team.child("weather") is None
    team.patch("externalsource", "weather", {"metadata": {"finalizers": None}})
    team.wait_gone("externalsource", "weather")


def test_a_source_that_is_deleted_and_made_again_at_once_is_as_new(controller, team, upstream):
    for number in range(5):
        url = upstream.answer(f"/{number}", f"weather {number}".encode())
        team.source("weather", url, interval="1h")
        if number % 2:
            team.wait_ready("weather")
        team.delete("externalsource", "weather", "--timeout=30s")
    team.source("weather", url)
    team.wait_ready("weather")
    assert team.artifact("weather") == {"data": "weather 4"}
    assert team.child("weather")["metadata"]["ownerReferences"] == [owner(team.get("weather")["metadata"]["uid"])]
    assert len(controller.files(team.namespace, "weather")) == 1


# By other hands

EDITS = {
    "its labels": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}},
    "its owner": {"metadata": {"ownerReferences": None}},
    "its reference": {"spec": {"sourceRef": {"kind": "Bucket"}}},
    "its artifact": {"status": {"artifact": {"url": "http://elsewhere/x", "digest": "sha256:" + "0" * 64}}},
    "its conditions": {"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "Me", "message": "", "lastTransitionTime": LONG_AGO}]}},
    "its whole status": {"status": None},
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_external_artifact_edited_by_hand_is_put_right_without_a_fetch(team, upstream, edit):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")

    def facts():
        found = team.child("weather")
        metadata = {key: found["metadata"].get(key) for key in ("labels", "ownerReferences", "uid")}
        ready = [(one["type"], one["status"]) for one in found.get("status", {}).get("conditions", [])]
        return metadata, found["spec"], found.get("status", {}).get("artifact"), ready

    before, source = facts(), team.get("weather")
    options = ["--subresource=status"] if "status" in EDITS[edit] else []
    team.kubectl("annotate", "externalartifact", "weather", "example.com/kept=yes")
    team.patch("externalartifact", "weather", EDITS[edit], *options)
    team.wait(lambda: facts() == before, "the ExternalArtifact to be put right")
    assert team.child("weather")["metadata"]["annotations"] == {"example.com/kept": "yes"}
    assert team.get("weather")["metadata"]["resourceVersion"] == source["metadata"]["resourceVersion"]
    assert len(upstream.asked) == 1


def test_an_external_artifact_deleted_by_hand_comes_back_without_a_fetch(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    before = team.child("weather")
    team.delete("externalartifact", "weather")
    team.wait(lambda: (team.child("weather") or {}).get("status"), "the ExternalArtifact to come back")
    now = team.child("weather")
    assert now["metadata"]["uid"] != before["metadata"]["uid"]
    assert now["status"]["artifact"] == before["status"]["artifact"]
    assert len(upstream.asked) == 1


def test_our_finalizer_taken_away_by_hand_comes_back(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    team.patch("externalsource", "weather", {"metadata": {"finalizers": ["example.com/other"]}})
    team.wait(lambda: FINALIZER in team.get("weather")["metadata"]["finalizers"], "our finalizer")
    assert len(upstream.asked) == 1
    team.patch("externalsource", "weather", {"metadata": {"finalizers": [FINALIZER]}})


def test_a_source_edited_again_and_again_ends_with_the_last_edit(team, upstream):
    for number in range(30):
        upstream.answer(f"/{number}", f"weather {number}".encode())
    team.source("weather", upstream.url + "/0")
    for number in range(1, 30):
        url = {"spec": {"generator": {"http": {"url": f"{upstream.url}/{number}"}}}}
        path = f"/apis/{OURS}/namespaces/{team.namespace}/externalsources/weather"
        code, found = team.cluster.request("PATCH", path, url, "application/merge-patch+json")
        assert code == 200, found
        time.sleep(number % 5 / 200)
    team.wait_ready("weather")
    assert team.artifact("weather") == {"data": "weather 29"}

"""When a source in a cluster is reconciled, what its conditions say meanwhile, and what restarts and storage do."""

import time

import pytest

from team import FINALIZER, FORCED, REQUESTED, WATCHED, Team
from upstream import Upstream


@pytest.fixture(scope="module", autouse=True)
def resting(cluster, controller):
    """A source that nobody touches while the others are tested; its interval passes meanwhile."""
    upstream = Upstream()
    cluster.kubectl("create", "namespace", "test-resting")
    team = Team(cluster, "test-resting")
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    team.wait(lambda: team.events("weather"), "the event")
    yield team, upstream, (team.get("weather"), team.child("weather"), controller.writes(team.namespace))
    upstream.close()
    cluster.kubectl("delete", "namespace", "test-resting", "--wait=false")


# Conditions


def test_the_time_of_a_condition_is_that_of_its_last_change(team, upstream):
    upstream.answer("/", b"sunny")
    team.source("weather", upstream.url + "/", interval="1h")
    since = team.wait_ready("weather")["lastTransitionTime"]
    time.sleep(1.1)
    upstream.answer("/", b"rainy")
    team.reconcile("weather")
    assert team.condition("weather")["lastTransitionTime"] == since
    assert team.child("weather")["status"]["conditions"][0]["lastTransitionTime"] == since
    upstream.answer("/", b"", status=404)
    team.reconcile("weather")
    failed = team.wait_ready("weather", "False", "NotFound")["lastTransitionTime"]
    assert failed > since
    time.sleep(1.1)
    upstream.answer("/", b"", status=410)
    team.reconcile("weather")
    assert team.wait_ready("weather", "False", contains="410")["lastTransitionTime"] == failed
    # Its artifact is as good as it was.
    assert team.child("weather")["status"]["conditions"][0]["lastTransitionTime"] == since


def test_an_attempt_that_will_be_retried_is_reconciling_and_not_observed(team, upstream):
    team.source("weather", upstream.answer("/", b"", status=503))
    ready = team.wait_ready("weather", "False", "HTTPStatus", "503")
    assert "serving" not in ready["message"]
    reconciling = team.condition("weather", "Reconciling")
    assert (reconciling["status"], reconciling["reason"]) == ("True", "ProgressingWithRetry")
    assert "Stalled" not in team.conditions("weather")
    assert team.status("weather")["observedGeneration"] == -1
    assert team.status("weather")["retry"]["count"] >= 1
    upstream.answer("/", b"sunny")
    team.wait_ready("weather")
    assert team.status("weather")["observedGeneration"] == 1
    assert "retry" not in team.status("weather")


def test_a_spec_that_is_mended_is_reconciled_at_once(team, upstream):
    url = upstream.answer("/", b"sunny")
    team.source("weather", url, interval="1h", hooks=[{"module": "nowhere"}])
    team.wait_stalled("weather", "InvalidSpec", "nowhere")
    assert team.status("weather")["observedGeneration"] == 1
    team.source("weather", url, interval="1h", hooks=[{"lua": "return function(data) return data end"}])
    team.wait_ready("weather")
    assert team.status("weather")["observedGeneration"] == 2


def test_a_secret_that_appears_wakes_the_source_that_misses_it(team, upstream):
    config = {"headersSecretRef": {"name": "headers"}}
    team.source("weather", upstream.answer("/", b"sunny"), config=config, interval="1h")
    team.wait_stalled("weather", contains="headers")
    assert upstream.asked == []
    team.secret("headers", labels=WATCHED, **{"X-Api-Key": "one"})
    team.wait_ready("weather")
    assert upstream.asked[-1].headers["x-api-key"] == "one"
    team.secret("headers", labels=WATCHED, **{"X-Api-Key": "two"})
    team.wait(lambda: upstream.asked[-1].headers["x-api-key"] == "two", "the new key to be used")


# When


def test_a_request_on_the_source_or_on_its_external_artifact_is_handled_at_once(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    token = team.request("weather")
    team.wait(lambda: team.status("weather").get("lastHandledReconcileAt") == token, "the request to be handled")
    assert len(upstream.asked) == 2
    token = team.request("weather", kind="externalartifact", token="2026-11-25 09:00:00.1 +0000 UTC m=+1.2")
    team.wait(lambda: team.status("weather").get("lastHandledArtifactReconcileAt") == token, "the other to be handled")
    assert len(upstream.asked) == 3
    assert team.child("weather")["metadata"]["annotations"] == {REQUESTED: token}


def test_a_request_is_handled_also_when_the_attempt_fails(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    upstream.answer("/", b"", status=404)
    team.reconcile("weather")
    team.wait_ready("weather", "False", "NotFound")


def test_a_forced_request_asks_without_the_token(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'), interval="1h")
    team.wait_ready("weather")
    team.reconcile("weather")
    assert upstream.asked[-1].status == 304
    team.kubectl("annotate", "--overwrite", "externalsource", "weather", f"{REQUESTED}=now", f"{FORCED}=now")
    team.wait(lambda: team.status("weather").get("lastHandledForceAt") == "now", "the forced request to be handled")
    assert [one.status for one in upstream.asked] == [200, 304, 200]
    team.reconcile("weather")
    assert upstream.asked[-1].status == 304


def test_a_suspended_source_rests_and_stays_ready(team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    ready = team.wait_ready("weather")
    team.patch("externalsource", "weather", {"spec": {"suspend": True}})
    team.request("weather")
    time.sleep(1)
    assert len(upstream.asked) == 1
    assert team.conditions("weather") == {"Ready": ready}
    assert team.artifact("weather") == {"data": "sunny"}
    team.patch("externalsource", "weather", {"spec": {"suspend": None}})
    team.wait(lambda: len(upstream.asked) == 2, "the source to go on")
    team.wait_ready("weather")


def test_a_new_source_costs_four_writes_and_an_event(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    team.wait(lambda: team.events("weather"), "the event")
    assert controller.writes(team.namespace) == [
        "patch externalsources", "patch externalartifacts", "patch externalartifacts/status",
        "patch externalsources/status", "create events",
    ]


def test_what_is_none_of_its_business_wakes_no_source(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    written = controller.writes(team.namespace)
    team.patch("externalsource", "weather", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    team.kubectl("annotate", "externalartifact", "weather", "e=f")
    time.sleep(1)
    assert len(upstream.asked) == 1
    assert [one for one in controller.writes(team.namespace) if one != "create events"] == written[:4]


# Restarts and storage


def test_a_restart_asks_no_upstream_and_writes_nothing(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.source("failing", upstream.answer("/failing", b"", status=404), interval="1h")
    missing = {"luaFrom": {"configMapKeyRef": {"name": "nowhere", "key": "x.lua"}}}
    team.source("stalled", upstream.answer("/stalled", b"x"), interval="1h", hooks=[missing])
    team.wait_ready("weather")
    team.wait_ready("failing", "False")
    team.wait_stalled("stalled")
    team.wait(lambda: len([one for one in controller.writes(team.namespace) if one == "create events"]) == 3, "events")
    asked, written = len(upstream.asked), controller.writes(team.namespace)
    controller.restart()
    team.source("witness", upstream.answer("/witness", b"late"))
    team.wait_ready("witness")
    assert [one.path for one in upstream.asked[asked:]] == ["/witness"]
    # The witness' own.
    assert len(controller.writes(team.namespace)) - len(written) <= 5


def test_a_restart_repairs_what_storage_lost(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'), interval="1h")
    team.wait_ready("weather")
    before = team.status("weather")["artifact"]
    controller.stop()
    (file,) = controller.files(team.namespace, "weather")
    file.unlink()
    controller.start()
    team.wait(lambda: controller.files(team.namespace, "weather"), "the artifact to be made again")
    team.wait_ready("weather")
    assert [one.status for one in upstream.asked] == [200, 200]
    assert team.status("weather")["artifact"]["revision"] == before["revision"]
    assert team.artifact("weather") == {"data": "sunny"}


def test_an_artifact_that_was_damaged_is_made_again_at_the_next_turn(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'), interval="1h")
    team.wait_ready("weather")
    (file,) = controller.files(team.namespace, "weather")
    file.unlink()
    team.reconcile("weather")
    assert [one.status for one in upstream.asked] == [200, 200]
    assert team.artifact("weather") == {"data": "sunny"}


def test_the_artifact_before_the_last_is_kept_and_older_ones_are_not(controller, team, upstream):
    upstream.answer("/", b"0")
    team.source("weather", upstream.url + "/", interval="1h")
    team.wait_ready("weather")
    for text in (b"1", b"2", b"3"):
        upstream.answer("/", text)
        team.reconcile("weather")
    team.wait(lambda: len(controller.files(team.namespace, "weather")) == 2, "old artifacts to go")


class Broken:
    """A storage that is down: its directory is no directory."""

    def __init__(self, controller):
        self.path = controller.storage / "artifacts"
        self.aside = controller.storage / "aside"

    def __enter__(self):
        self.path.rename(self.aside)
        self.path.write_text("")
        return self

    def __exit__(self, *_):
        self.path.unlink()
        self.aside.rename(self.path)


def test_a_storage_that_is_down_delays_a_deletion_and_loses_nothing(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    with Broken(controller):
        team.delete("externalsource", "weather", "--wait=false")
        team.wait(lambda: [one for one in team.events("weather") if one["reason"] == "StorageOperationFailed"], "an event")
        found = team.get("weather")
        assert found["metadata"]["deletionTimestamp"] and found["metadata"]["finalizers"] == [FINALIZER]
        assert team.child("weather") is None
    assert controller.files(team.namespace, "weather")
    team.wait_gone("externalsource", "weather")
    assert controller.files(team.namespace, "weather") == []


def test_a_storage_that_is_down_fails_an_update_and_keeps_what_is_published(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    made = team.child("weather")
    upstream.answer("/", b"rainy")
    with Broken(controller):
        team.request("weather")
        team.wait_ready("weather", "False", "StorageOperationFailed", f"; serving {made['status']['artifact']['revision']}")
        assert team.child("weather") == made
    team.wait(lambda: team.artifact("weather") == {"data": "rainy"}, "the update")
    team.wait_ready("weather")


def test_a_suspended_source_is_deleted_cleanly(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    team.patch("externalsource", "weather", {"spec": {"suspend": True}})
    team.delete("externalsource", "weather", "--timeout=30s")
    assert team.child("weather") is None
    assert controller.files(team.namespace, "weather") == []


def test_a_source_that_is_deleted_in_the_middle_of_a_fetch_goes_at_once(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny", delay=20))
    team.wait(lambda: upstream.asked, "the fetch to begin")
    began = time.monotonic()
    team.delete("externalsource", "weather", "--timeout=30s")
    assert time.monotonic() - began < 15
    assert team.child("weather") is None


def test_one_that_never_was_ready_is_deleted_too(team, upstream):
    team.source("weather", upstream.answer("/", b"", status=500))
    team.wait_ready("weather", "False")
    team.delete("externalsource", "weather", "--timeout=30s")
    assert team.child("weather") is None


def test_a_second_reconcile_that_finds_nothing_new_writes_nothing(controller, resting):
    team, upstream, before = resting
    reconciled = {"namespace": team.namespace, "msg": "reconciliation succeeded"}
    team.wait(lambda: len(controller.records(**reconciled)) > 1, "the interval to pass", timeout=90)
    time.sleep(0.5)
    assert len(upstream.asked) == len(controller.records(**reconciled))
    assert (team.get("weather"), team.child("weather"), controller.writes(team.namespace)) == before

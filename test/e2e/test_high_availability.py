"""More than one controller: who leads, who serves, what a lost lease stops, and shards that share a cluster."""

import hashlib
import time
import urllib.request

import pytest

from child import wait_for
from controller import LEASE, NAMESPACE
from replicas import FAST, Replicas, asked, leases
from team import Team

SHARD = "sharding.fluxcd.io/key"


@pytest.fixture
def team(cluster, namespace):
    return Team(cluster, namespace)


@pytest.fixture
def replicas(cluster, tmp_path):
    made = Replicas(cluster, tmp_path)
    yield made
    made.close()


def reconciled(controller, namespace):
    return controller.records(msg="reconciliation succeeded", namespace=namespace)


def wait_to_lead(controller):
    wait_for(lambda: controller.new_records(msg="this replica leads"), f"{controller.instance} to lead", 30)


def version(team, name):
    return [found["metadata"]["resourceVersion"] for found in (team.get(name), team.child(name))]


def published(team, name):
    """The digests of what the ExternalArtifact's URL serves and of what it says."""
    artifact = team.child(name)["status"]["artifact"]
    with urllib.request.urlopen(artifact["url"], timeout=10) as answer:
        return f"sha256:{hashlib.sha256(answer.read()).hexdigest()}", artifact["digest"]


# Who is ready


def test_a_replica_that_does_not_lead_is_not_ready_with_a_storage_of_its_own(replicas, team, upstream):
    first = replicas("first")
    second = replicas("second", leads=False)
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    assert first.ready()
    assert second.get("health", "/readyz")[0] == 503
    assert second.get("health", "/healthz")[0] == 200
    assert len(reconciled(first, team.namespace)) == 1
    assert reconciled(second, team.namespace) == [] and asked(second, team.namespace) == []
    path = team.child("weather")["status"]["artifact"]["path"]
    assert second.get("storage", f"/{path}")[0] == 404


def test_a_replica_that_does_not_lead_serves_artifacts_of_a_shared_storage(replicas, team, upstream, tmp_path):
    shared = tmp_path / "shared"
    first = replicas("first", "--storage-shared", storage=shared)
    second = replicas("second", "--storage-shared", storage=shared, leads=False)
    wait_for(second.ready, "the second to be ready")
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    path = "/" + team.child("weather")["status"]["artifact"]["path"]
    assert second.get("storage", path) == first.get("storage", path)
    assert second.get("storage", path)[0] == 200
    assert reconciled(second, team.namespace) == [] and asked(second, team.namespace) == []


# Who follows whom


def test_a_leader_that_is_stopped_hands_over_at_once(replicas, team, upstream, cluster):
    # The lease is good for 35 s: nobody waits for that.
    first = replicas("first", "--leader-election-retry-period=500ms")
    second = replicas("second", "--leader-election-retry-period=500ms", leads=False)
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    first.stop()
    assert first.records(msg="lease released")
    wait_for(second.ready, "the second to lead", 10)
    assert leases(cluster)[LEASE].startswith("second_")
    upstream.answer("/", b"rainy")
    team.reconcile("weather")
    assert reconciled(second, team.namespace)
    assert team.artifact("weather") == {"data": "rainy"}


def test_a_leader_that_cannot_reach_the_api_server_stops_all_writes_and_ends(replicas, team, upstream, api_proxy, tmp_path):
    shared = tmp_path / "shared"
    first = replicas("first", *FAST, "--storage-shared", storage=shared, server=api_proxy.url)
    second = replicas("second", *FAST, "--storage-shared", storage=shared, leads=False)
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    before = first.files(team.namespace, "weather")
    # The answer comes when the lease is over: it would be stored at once.
    upstream.answer("/", b"rainy", delay=3.2)
    team.request("weather")
    team.wait(lambda: len(upstream.asked) == 2, "the fetch")
    api_proxy.cut()
    # The leader after it is asked again, and its answer never comes.
    upstream.answer("/", b"rainy", delay=60)
    wait_for(lambda: not first.running(), "the first to end", 20)
    assert first.child.process.returncode == 1
    assert first.records(msg="lease lost")
    wait_to_lead(second)
    assert first.files(team.namespace, "weather") == before
    path = team.child("weather")["status"]["artifact"]["path"]
    assert path.endswith(before[0].name)
    assert second.get("storage", f"/{path}")[0] == 200


class Pair:
    """Two replicas with one storage. The first fetched b"old" and was paused before it could do anything with it;
    the second took over and published b"new"."""

    def __init__(self, replicas, team, upstream, tmp_path, **fields):
        shared = tmp_path / "shared"
        self.first = replicas("first", *FAST, "--storage-shared", storage=shared, **fields)
        self.second = replicas("second", *FAST, "--storage-shared", storage=shared, leads=False)
        self.team, self.upstream = team, upstream
        team.source("weather", upstream.answer("/", b"initial"), interval="1h")
        team.wait_ready("weather")

    def begin(self, **answer):
        """The first one's fetch of b"old"."""
        asked = len(self.upstream.asked)
        self.upstream.answer("/", b"old", **answer)
        self.token = self.team.request("weather")
        self.team.wait(lambda: len(self.upstream.asked) > asked, "the fetch")

    def take_over(self):
        self.upstream.answer("/", b"new")
        wait_to_lead(self.second)
        self.team.wait(lambda: self.team.status("weather").get("lastHandledReconcileAt") == self.token, "the second's status")
        assert self.team.artifact("weather") == {"data": "new"}
        self.files = self.second.files(self.team.namespace, "weather")

    def assert_second_stands(self, before):
        assert version(self.team, "weather") == before
        assert self.team.artifact("weather") == {"data": "new"}
        assert self.second.files(self.team.namespace, "weather") == self.files
        assert self.second.running()


def test_a_leader_that_was_paused_past_its_lease_writes_nothing_and_ends(replicas, team, upstream, tmp_path, cluster):
    pair = Pair(replicas, team, upstream, tmp_path)
    pair.begin(delay=0.4)
    pair.first.pause()
    written = asked(pair.first, team.namespace)
    pair.take_over()
    before = version(team, "weather")
    pair.first.resume()
    wait_for(lambda: not pair.first.running(), "the first to end", 10)
    assert pair.first.child.process.returncode == 1
    assert pair.first.records(msg="lease lost")
    time.sleep(0.5)
    assert asked(pair.first, team.namespace) == written
    assert asked(pair.first, NAMESPACE)[-1]["stageTimestamp"] < asked(pair.second, NAMESPACE)[0]["stageTimestamp"]
    assert leases(cluster)[LEASE].startswith("second_")
    pair.assert_second_stands(before)


def test_a_write_of_a_former_leader_that_was_on_its_way_loses(replicas, team, upstream, tmp_path, api_proxy):
    pair = Pair(replicas, team, upstream, tmp_path, server=api_proxy.url)
    pair.begin(delay=0.4)
    # What it sends now arrives after the second has written.
    api_proxy.toxic("latency", "upstream", latency=9000)
    wait_for(lambda: len(pair.first.files(team.namespace, "weather")) == 2, "the first to store what it fetched")
    time.sleep(0.3)
    pair.first.pause()
    written = len(asked(pair.first, team.namespace))
    pair.take_over()
    before = version(team, "weather")
    late = wait_for(lambda: asked(pair.first, team.namespace)[written:], "the late write to arrive", 20)
    assert {one["responseStatus"]["code"] for one in late} == {409}, late
    pair.assert_second_stands(before)


# Shards


def selector(key):
    return f"{SHARD}={key}"


def shard(replicas, key, **fields):
    return replicas(f"shard-{key}", f"--watch-label-selector={selector(key)}", **fields)


@pytest.mark.parametrize("shared", [False, True], ids=["storages-of-their-own", "one-storage"])
def test_shards_reconcile_their_own_sources_and_hand_them_over(replicas, team, upstream, cluster, tmp_path, shared):
    fields = {"storage": tmp_path / "shared"} if shared else {}
    a, b = shard(replicas, "a", **fields), shard(replicas, "b", **fields)
    names = {f"{LEASE}-{hashlib.sha256(selector(key).encode()).hexdigest()[:8]}": key for key in "ab"}
    assert {names.get(name): holder.split("_")[0] for name, holder in leases(cluster).items() if holder} == {
        "a": "shard-a",
        "b": "shard-b",
    }
    url = upstream.answer("/", b"sunny")
    for key in "ab":
        team.source(f"of-{key}", url, labels={SHARD: key}, interval="1h")
    team.source("of-nobody", url, interval="1h")
    for key in "ab":
        team.wait_ready(f"of-{key}")
        assert team.child(f"of-{key}")["metadata"]["labels"][SHARD] == key
    assert [one["name"] for one in reconciled(a, team.namespace)] == ["of-a"]
    assert [one["name"] for one in reconciled(b, team.namespace)] == ["of-b"]

    upstream.answer("/", b"rainy")
    team.kubectl("label", "--overwrite", "externalsource", "of-a", f"{SHARD}=b")
    team.wait(lambda: team.child("of-a")["metadata"]["labels"][SHARD] == "b", "the other shard to take it")
    team.reconcile("of-a")
    team.wait(lambda: published(team, "of-a")[0] == published(team, "of-a")[1], "its artifact to be served")
    assert team.artifact("of-a") == {"data": "rainy"}
    assert team.child("of-a")["status"]["artifact"]["url"].startswith(f"http://{b.addresses['storage']}/")
    assert [one["name"] for one in reconciled(a, team.namespace)] == ["of-a"]
    assert team.status("of-nobody") == {"observedGeneration": -1}
    team.delete("externalsource", "of-a", "--timeout=30s")
    assert b.files(team.namespace, "of-a") == []


def test_a_controller_may_be_limited_to_its_own_namespace(replicas, team, cluster, upstream):
    controller = replicas("alone", "--watch-all-namespaces=false")
    own = Team(cluster, NAMESPACE)
    url = upstream.answer("/", b"sunny")
    team.source("elsewhere", url)
    own.source("weather", url)
    own.wait_ready("weather")
    assert [one["name"] for one in controller.records(msg="reconciliation succeeded")] == ["weather"]
    assert team.status("elsewhere") == {"observedGeneration": -1}
    own.delete("externalsource", "weather", "--timeout=30s")


# The end


def test_a_stop_in_the_middle_of_a_slow_fetch_ends_in_time_and_a_restart_heals(replicas, team, upstream, cluster):
    controller = replicas("first")
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.source("slow", upstream.answer("/slow", b"late", delay=40), interval="1h")
    team.wait_ready("weather")
    team.wait(lambda: "Fetching" in team.conditions("slow"), "the fetch to show")
    # A pod has 30 s.
    controller.stop(grace=25)
    assert leases(cluster)[LEASE] == ""
    upstream.answer("/slow", b"quick")
    controller.start()
    team.wait_ready("slow")
    assert set(team.conditions("slow")) == {"Ready"}
    assert team.artifact("slow") == {"data": "quick"}
    assert [one.path for one in upstream.asked].count("/") == 1


def test_a_stop_lets_a_fetch_finish_that_is_quick_enough(replicas, team, upstream):
    controller = replicas("first")
    team.source("weather", upstream.answer("/", b"sunny", delay=2), interval="1h")
    team.wait(lambda: upstream.asked, "the fetch to begin")
    controller.stop(grace=25)
    team.wait_ready("weather")
    controller.start()
    assert len(upstream.asked) == 1
    assert team.artifact("weather") == {"data": "sunny"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("renew-deadline=35s", "renew-deadline: 35s is not shorter than --leader-election-lease-duration, 35s"),
        ("retry-period=40s", "retry-period: 40s is not shorter than --leader-election-renew-deadline, 30s"),
    ],
)
def test_times_with_which_two_could_lead_are_refused_at_the_start(replicas, option, message):
    one = replicas.prepare("wrong", f"--leader-election-{option}")
    with pytest.raises(RuntimeError, match=f"--leader-election-{message}"):
        one.start()
    assert one.child.process.returncode == 2

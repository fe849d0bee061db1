"""What breaks between the controller and the API server, and that nothing is lost or hammered by it."""

import http.client
import ssl
import threading
import time

import pytest

from controller import ACCOUNT, NAMESPACE
from replicas import MERGE_PATCH, Replicas, asked
from team import REQUESTED, Team

SOURCE = "/apis/source.flux.oddkin.co/v1alpha1/namespaces/{}/externalsources/{}"
CHILD = "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/externalartifacts/{}"


@pytest.fixture(scope="module")
def replicas(cluster, tmp_path_factory):
    made = Replicas(cluster, tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(cluster, toxiproxy):
    """Between the module's controller and the API server."""
    with cluster.api_proxy("faults") as made:
        yield made


@pytest.fixture(scope="module")
def running(replicas, proxy):
    return replicas("controller", server=proxy.url)


@pytest.fixture
def controller(running, proxy):
    yield running
    proxy.restore()
    assert running.running(), running.child.tail()


@pytest.fixture
def team(cluster, controller, namespace):
    return Team(cluster, namespace)


def text(team, name):
    return team.artifact(name)["data"]


def wait_text(team, name, wanted, timeout=60):
    team.wait(lambda: text(team, name) == wanted, f"the artifact of {name} to say {wanted!r}", timeout)
    team.wait_ready(name)


class Writer:
    """Somebody else, who patches an object 50 times a second: write(number) makes the patch. A context manager."""

    def __init__(self, cluster, path, write, kind=MERGE_PATCH):
        self.cluster, self.path, self.write, self.kind, self.pause = cluster, path, write, kind, 1 / 50
        self.done = 0
        self.faults = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stopped.wait(self.pause):
            status, answer = self.cluster.request("PATCH", self.path, self.write(self.done), content_type=self.kind)
            if status == 200:
                self.done += 1
            else:
                self.faults.append(answer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        assert self.faults == []


# The API server


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_an_api_server_that_goes_away_in_the_middle_of_reconciles_costs_nothing(cluster, team, upstream, kill):
    names = [f"weather-{number}" for number in range(20)]
    for name in names:
        upstream.answer(f"/{name}", b"sunny")
    team.apply(*[source(name, upstream.url) for name in names])
    for name in names:
        team.wait_ready(name)
    for name in names:
        upstream.answer(f"/{name}", b"rainy", delay=0.3)
    team.kubectl("annotate", "--overwrite", "externalsources", "--all", f"{REQUESTED}=now")
    team.wait(lambda: len(upstream.asked) > len(names), "the fetches to begin")
    cluster.stop_api_server(kill=kill)
    try:
        time.sleep(2)
        before = len(upstream.asked)
    finally:
        cluster.start_api_server()
    for name in names:
        wait_text(team, name, "rainy")
    team.wait(lambda: {team.status(name)["lastHandledReconcileAt"] for name in names} == {"now"}, "all to be handled")
    # Once at the beginning, once when asked, and once more each whose outcome could not be written, at most twice.
    assert before <= 3 * len(names)
    assert len(upstream.asked) <= 4 * len(names)


def source(name, url, **fields):
    spec = {"interval": "1h", "generator": {"type": "http", "http": {"url": f"{url}/{name}"}}, **fields}
    return {
        "apiVersion": "source.flux.oddkin.co/v1alpha1",
        "kind": "ExternalSource",
        "metadata": {"name": name},
        "spec": spec,
    }


def test_while_the_api_server_is_away_upstream_is_left_alone(team, upstream, proxy, controller):
    team.source("weather", upstream.answer("/", b"sunny"), interval="1h")
    team.wait_ready("weather")
    upstream.answer("/", b"rainy", delay=0.5)
    team.request("weather")
    team.wait(lambda: len(upstream.asked) == 2, "the fetch to begin")
    proxy.cut()
    time.sleep(8)
    assert len(upstream.asked) <= 3
    proxy.restore()
    wait_text(team, "weather", "rainy")
    assert len(upstream.asked) <= 4


def test_lost_history_is_made_good_by_a_list(cluster, team, upstream, proxy, controller):
    for name in ("changed", "deleted", "same"):
        team.source(name, upstream.answer(f"/{name}", b"sunny"), interval="1h")
    for name in ("changed", "deleted", "same"):
        team.wait_ready(name)
    proxy.cut()
    team.source("changed", upstream.answer("/other", b"rainy"), interval="1h")
    team.source("new", upstream.answer("/new", b"windy"), interval="1h")
    team.delete("externalsource", "deleted", "--wait=false")
    cluster.stop_api_server()
    try:
        cluster.compact()
    finally:
        cluster.start_api_server()
    proxy.restore()
    wait_text(team, "changed", "rainy")
    team.wait_ready("new")
    team.wait_gone("externalsource", "deleted")
    assert [one.path for one in upstream.asked].count("/same") == 1


# The network


def test_changes_are_seen_after_connections_were_cut(team, upstream, proxy):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    for number in range(1, 4):
        proxy.cut()
        upstream.answer("/", str(number).encode())
        team.request("weather")
        proxy.restore()
        wait_text(team, "weather", str(number))
    assert len(upstream.asked) == 4


def test_changes_are_seen_over_a_slow_network(team, upstream, proxy):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    proxy.toxic("latency", "upstream", latency=200, jitter=100)
    proxy.toxic("bandwidth", "downstream", rate=50)
    proxy.toxic("slicer", "downstream", average_size=60, size_variation=30, delay=100)
    for number in range(1, 3):
        upstream.answer("/", str(number).encode())
        team.reconcile("weather")
        assert text(team, "weather") == str(number)
    assert len(upstream.asked) == 3


def test_changes_are_seen_after_connections_were_half_open(team, upstream, proxy):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    proxy.half_open()
    upstream.answer("/", b"1")
    team.source("other", upstream.answer("/other", b"new"), interval="1h")
    team.request("weather")
    time.sleep(6)
    assert len(upstream.asked) == 1
    proxy.restore()
    wait_text(team, "weather", "1")
    team.wait_ready("other")
    assert len(upstream.asked) == 3


def test_a_write_on_a_half_open_connection_is_made_on_another(team, upstream, proxy):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    upstream.answer("/", b"1", delay=0.5)
    team.request("weather")
    team.wait(lambda: len(upstream.asked) == 2, "the fetch to begin")
    proxy.half_open()
    time.sleep(6)
    proxy.restore()
    wait_text(team, "weather", "1")
    assert len(upstream.asked) <= 3


# Other writers


@pytest.mark.parametrize("part", ["annotations", "labels"])
def test_a_source_that_others_write_all_the_time_becomes_ready(cluster, team, upstream, part):
    def write(number):
        return {"metadata": {part: {"example.com/number": str(number)}}}

    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")  # or its first fetch may be the first request's too
    with Writer(cluster, SOURCE.format(team.namespace, "weather"), write) as writer:
        for number in range(1, 6):
            upstream.answer("/", str(number).encode())
            team.reconcile("weather")
            assert text(team, "weather") == str(number)
        team.wait(lambda: writer.done >= 100, "the storm")
    team.wait_ready("weather")
    assert len(upstream.asked) == 6


def condition(number, kind="Other"):
    since = "2026-01-02T03:04:05Z"
    return {"type": kind, "status": "True", "reason": "Test", "message": str(number), "lastTransitionTime": since}


def test_a_source_whose_status_has_a_condition_of_others_becomes_ready(cluster, team, upstream):
    def write(number):
        metadata = {"name": "weather", "namespace": team.namespace}
        kind = {"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource"}
        return {**kind, "metadata": metadata, "status": {"conditions": [condition(number)]}}

    path = SOURCE.format(team.namespace, "weather") + "/status?fieldManager=other&force=true"
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    with Writer(cluster, path, write, "application/apply-patch+yaml") as writer:
        for number in range(1, 6):
            upstream.answer("/", str(number).encode())
            team.reconcile("weather")
            assert text(team, "weather") == str(number)
        team.wait(lambda: writer.done >= 100, "the storm")
    team.wait_ready("weather")
    assert "Other" in team.conditions("weather")
    # What is written of a status that has moved is made anew, from upstream on.
    assert len(upstream.asked) <= 30


def test_a_status_that_others_overwrite_is_whole_again_after_the_next_request(cluster, team, upstream):
    def write(number):
        return {"status": {"conditions": [condition(number)], "lastHandledETag": str(number)}}

    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    with Writer(cluster, SOURCE.format(team.namespace, "weather") + "/status", write) as writer:
        upstream.answer("/", b"1")
        team.request("weather")
        team.wait(lambda: writer.done >= 100, "the storm")
        assert len(upstream.asked) <= 30
    team.reconcile("weather")
    wait_text(team, "weather", "1")


def test_an_external_artifact_that_others_write_all_the_time_is_published(cluster, team, upstream):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")

    def write(number):
        return {"metadata": {"annotations": {"example.com/number": str(number)}}}

    with Writer(cluster, CHILD.format(team.namespace, "weather"), write):
        for number in range(1, 6):
            upstream.answer("/", str(number).encode())
            team.reconcile("weather")
            assert text(team, "weather") == str(number)
    assert len(upstream.asked) == 6


# Too many requests

FLOW = "flowcontrol.apiserver.k8s.io/v1"


class NoRoom:
    """The API server answers 429 to what the controller writes of sources and ExternalArtifacts: there are no seats
    for it, and the one request that is let through even so is ours, which never sends its body."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.sitting = None
        subject = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": NAMESPACE}}
        rule = {
            "verbs": ["patch"],
            "apiGroups": ["source.flux.oddkin.co", "source.toolkit.fluxcd.io"],
            "resources": ["*"],
            "namespaces": ["*"],
        }
        limited = {
            "nominalConcurrencyShares": 0,
            "lendablePercent": 0,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }
        self.objects = [
            {
                "apiVersion": FLOW,
                "kind": "PriorityLevelConfiguration",
                "metadata": {"name": "no-room"},
                "spec": {"type": "Limited", "limited": limited},
            },
            {
                "apiVersion": FLOW,
                "kind": "FlowSchema",
                "metadata": {"name": "no-room"},
                "spec": {
                    "matchingPrecedence": 2,
                    "priorityLevelConfiguration": {"name": "no-room"},
                    "rules": [{"subjects": [subject], "resourceRules": [rule]}],
                },
            },
        ]

    def __enter__(self):
        self.cluster.apply(self.objects)
        self.cluster.wait_for(lambda: 'priority_level="no-room"' in self.cluster.request("GET", "/metrics")[1], "the level")
        self.sit()
        return self

    def sit(self):
        port = self.cluster.ports["kube-apiserver"]
        self.sitting = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cafile=self.cluster.ca_file))
        self.sitting.putrequest("PATCH", SOURCE.format("default", "any"))
        self.sitting.putheader("Authorization", f"Bearer {self.cluster.token(ACCOUNT, NAMESPACE)}")
        self.sitting.putheader("Content-Type", MERGE_PATCH)
        self.sitting.putheader("Content-Length", "100")
        self.sitting.endheaders()

    def __exit__(self, *_):
        self.sitting.close()
        self.cluster.kubectl("delete", "flowschema,prioritylevelconfiguration", "no-room")


def test_too_many_requests_are_waited_out(cluster, controller, team, upstream):
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    upstream.answer("/", b"1")

    def refused():
        return [one for one in asked(controller, team.namespace) if one["responseStatus"]["code"] == 429]

    with NoRoom(cluster):
        team.request("weather")
        team.wait(refused, "a 429")
        time.sleep(6)
        # The server says Retry-After: 1, and the pauses grow.
        assert 2 <= len(refused()) <= 8
        assert len(upstream.asked) == 2
        assert text(team, "weather") == "0"
    wait_text(team, "weather", "1")
    assert len(upstream.asked) == 2
    tried = controller.records(msg="request to the Kubernetes API is tried again")
    assert [one for one in tried if team.namespace in one["error"] and "answered 429" in one["error"]]


# Tokens


def bound_token(cluster, secret):
    """A token that is good while a Secret is there, and no more than that."""
    cluster.kubectl("create", "secret", "generic", secret, "-n", NAMESPACE)
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={secret}")
    return cluster.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, *bound).strip()


def revoke(cluster, secret):
    cluster.kubectl("delete", "secret", secret, "-n", NAMESPACE)


def write_token(controller, token):
    fresh = controller.token_file.with_suffix(".new")
    fresh.write_text(token)
    fresh.rename(controller.token_file)


def good(cluster, token):
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    return cluster.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)[1]["status"].get("authenticated")


def test_a_token_that_is_replaced_before_it_ends_is_not_missed(cluster, controller, team, upstream):
    first, second = (bound_token(cluster, f"{team.namespace}-{number}") for number in (1, 2))
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    write_token(controller, first)
    team.wait(lambda: (team.reconcile("weather"), asked(controller, team.namespace))[1], "the first to be used", 100)
    write_token(controller, second)
    revoke(cluster, f"{team.namespace}-1")
    team.wait(lambda: not good(cluster, first), "the first to end", 30)
    upstream.answer("/", b"1")
    team.reconcile("weather")
    assert text(team, "weather") == "1"
    assert asked(controller, team.namespace)
    controller.renew_token()


def test_a_token_that_ended_is_waited_for_and_then_used(cluster, controller, team, upstream):
    token = bound_token(cluster, team.namespace)
    team.source("weather", upstream.answer("/", b"0"), interval="1h")
    team.wait_ready("weather")
    write_token(controller, token)
    team.wait(lambda: (team.reconcile("weather"), asked(controller, team.namespace))[1], "it to be used", 100)
    revoke(cluster, team.namespace)
    team.wait(lambda: not good(cluster, token), "it to end", 30)
    fetched = len(upstream.asked)
    upstream.answer("/", b"1")
    team.request("weather")
    time.sleep(3)
    assert len(upstream.asked) <= fetched + 1
    controller.renew_token()
    wait_text(team, "weather", "1")
    assert len(upstream.asked) <= fetched + 2

"""A reflector and a real API server: pages, changes, restarts, compacted and restored history, broken networks."""

import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading

import pytest
from cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "release"))


class Reflector:
    """build/reflect, and what it has told so far."""

    def __init__(self, kubeconfig, log, api, plural, *options):
        self.log = log
        self.told = queue.Queue()
        self.process = subprocess.Popen(
            [BUILD / "reflect", kubeconfig, api, plural, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.told.put(json.loads(line))

    def next(self, timeout=60):
        """What is told next."""
        try:
            return self.told.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"nothing was told for {timeout} s; the log:\n{self.log.read_text()}") from None

    def until(self, event):
        """Everything up to an event of this type, without it."""
        seen = []
        while (told := self.next())["event"] != event:
            seen.append(told)
        return seen

    def changes(self, count):
        """The next changes, as (event, name)."""
        return [(told["event"], told["name"]) for told in (self.next() for _ in range(count))]

    def state(self):
        """How many objects it holds; nothing else may have been told since the last look."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        told = self.next()
        assert told["event"] == "state", told
        return told["count"]

    def logged(self, message):
        return message in self.log.read_text()

    def pages(self):
        """How many pages of lists it has asked for."""
        return self.log.read_text().count("asking for a page of a list")

    def close(self):
        """Ends it by the end of its input, which frees everything, and says how that went."""
        self.process.stdin.close()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def reflect(tmp_path):
    """reflect(kubeconfig, api, plural, *options) starts one; it must end well."""
    started = []

    def start(*arguments):
        started.append(Reflector(arguments[0], tmp_path / f"reflect-{len(started)}.log", *arguments[1:]))
        return started[-1]

    yield start
    codes = [reflector.close() for reflector in started]
    assert codes == [0] * len(codes), started[0].log.read_text()[-4000:]


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def path(namespace, name=None):
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def create(cluster, namespace, name, **data):
    status, answer = cluster.request("POST", path(namespace), config_map(name, **data))
    assert status == 201, answer


def change(cluster, namespace, name, **data):
    merge = "application/merge-patch+json"
    status, answer = cluster.request("PATCH", path(namespace, name), {"data": data}, merge)
    assert status == 200, answer


def delete(cluster, namespace, name):
    status, answer = cluster.request("DELETE", path(namespace, name))
    assert status == 200, answer


def proxied(cluster, api_proxy):
    return cluster.kubeconfig("proxied-admin", "system:masters", server=api_proxy.url)


def following(reflect, namespace, kubeconfig, *options):
    """A reflector of the namespace's ConfigMaps that has told all there is."""
    reflector = reflect(kubeconfig, "/api/v1", "configmaps", f"namespace={namespace}", *options)
    return reflector, sorted(told["name"] for told in reflector.until("synced"))


@pytest.fixture
def bare(cluster, namespace):
    """The namespace when the controller-manager has put its own ConfigMap there."""
    cluster.wait_for(lambda: cluster.get("configmap", "kube-root-ca.crt", namespace))
    return namespace


def test_twelve_hundred_objects_come_in_three_pages(cluster, bare, reflect):
    items = [config_map(f"many-{number:04}", number=str(number)) for number in range(1200)]
    cluster.kubectl("create", "-n", bare, "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    reflector, names = following(reflect, bare, cluster.admin)
    assert names == ["kube-root-ca.crt"] + [item["metadata"]["name"] for item in items]
    assert reflector.pages() == 3


def test_changes_are_followed(cluster, bare, reflect):
    create(cluster, bare, "one", greeting="hello")
    reflector, names = following(reflect, bare, cluster.admin)
    assert names == ["kube-root-ca.crt", "one"]
    create(cluster, bare, "two")
    change(cluster, bare, "one", greeting="hi")
    merge = "application/merge-patch+json"
    annotated = {"metadata": {"annotations": {"nobody": "cares"}}}
    assert cluster.request("PATCH", path(bare, "one"), annotated, merge)[0] == 200
    delete(cluster, bare, "two")
    create(cluster, bare, "two")
    told = [reflector.next() for _ in range(4)]
    assert [(each["event"], each["name"]) for each in told] == [
        ("new", "two"),
        ("changed", "one"),
        ("gone", "two"),
        ("new", "two"),
    ]
    assert told[1]["object"]["data"] == {"greeting": "hi"}
    assert "managedFields" not in told[1]["object"]["metadata"]
    assert told[2]["uid"] == told[0]["uid"] != told[3]["uid"]
    assert reflector.state() == 3


def test_a_selector_sees_objects_come_and_go_with_their_labels(cluster, bare, reflect):
    create(cluster, bare, "one")
    reflector, names = following(reflect, bare, cluster.admin, "selector=kind in (lua, yaml)")
    assert names == []
    cluster.kubectl("label", "configmap", "one", "kind=lua", "-n", bare)
    cluster.kubectl("label", "configmap", "one", "kind=yaml", "-n", bare, "--overwrite")
    cluster.kubectl("label", "configmap", "one", "kind-", "-n", bare)
    assert reflector.changes(3) == [("new", "one"), ("changed", "one"), ("gone", "one")]


def test_of_secrets_only_the_metadata_is_seen(cluster, namespace, reflect):
    cluster.kubectl("create", "secret", "generic", "old", "--from-literal=password=hunter2", "-n", namespace)
    reflector = reflect(cluster.admin, "/api/v1", "secrets", f"namespace={namespace}", "metadata")
    told = reflector.until("synced")
    cluster.kubectl("create", "secret", "generic", "fresh", "--from-literal=password=hunter2", "-n", namespace)
    told.append(reflector.next())
    assert [each["name"] for each in told] == ["old", "fresh"]
    for each in told:
        assert sorted(each["object"]) == ["apiVersion", "kind", "metadata"]
        assert each["object"]["kind"] == "PartialObjectMetadata"


def test_strings_with_nul_bytes_hide_nothing(cluster, bare, reflect):
    create(cluster, bare, "listed", text="a\0b")
    reflector, names = following(reflect, bare, cluster.admin)
    assert "listed" in names
    create(cluster, bare, "watched", text="a\0b")
    told = reflector.next()
    assert (told["name"], told["object"]["data"]["text"]) == ("watched", "a\0b")


@pytest.fixture
def things(cluster):
    """A kind that takes anything: plural things.example.com."""
    version = {"name": "v1", "served": True, "storage": True}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": "Thing", "plural": "things"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]},
    }
    cluster.apply(definition)
    cluster.kubectl("wait", "--for=condition=Established", "crd/things.example.com", "--timeout=60s")
    yield "things"
    cluster.kubectl("delete", "crd", "things.example.com", "--wait=false")


def test_no_object_can_hide_the_others(cluster, namespace, things, reflect):
    specs = {
        "deep": '{"a":' * 9000 + "1" + "}" * 9000,
        "huge-number": "99999999999999999999",
        "nul-in-a-key": '{"a\\u0000b":1}',
        "twice": '{"a":1,"a":2}',
        "half-a-surrogate": '"\\ud800"',
        "plain": '"text"',
    }

    def make(prefix):
        for name, spec in specs.items():
            head = f'"apiVersion":"example.com/v1","kind":"Thing","metadata":{{"name":"{prefix}-{name}"}}'
            path = f"/apis/example.com/v1/namespaces/{namespace}/things"
            # By kubectl, since Python's JSON gives up at such a depth.
            cluster.kubectl("create", "--raw", path, "-f", "-", input=f'{{{head},"spec":{spec}}}')

    make("listed")
    reflector = reflect(cluster.admin, "/apis/example.com/v1", things, f"namespace={namespace}", "brief")
    assert {told["name"] for told in reflector.until("synced")} == {f"listed-{name}" for name in specs}
    make("watched")
    assert reflector.changes(len(specs)) == [("new", f"watched-{name}") for name in specs]
    assert reflector.pages() == 1


@pytest.mark.parametrize("kill", [False, True])
def test_an_api_server_that_comes_back_is_followed_again(cluster, bare, reflect, kill):
    create(cluster, bare, "kept")
    reflector, _ = following(reflect, bare, cluster.admin)
    cluster.stop_api_server(kill=kill)
    cluster.start_api_server()
    create(cluster, bare, "after")
    delete(cluster, bare, "kept")
    assert reflector.changes(2) == [("new", "after"), ("gone", "kept")]
    assert reflector.state() == 2


def test_what_was_missed_in_compacted_history_is_told_by_a_list(cluster, bare, api_proxy, reflect):
    for name in ("kept", "moved", "lost", "replaced"):
        create(cluster, bare, name)
    kubeconfig = proxied(cluster, api_proxy)
    reflector, _ = following(reflect, bare, kubeconfig)
    api_proxy.cut()
    change(cluster, bare, "moved", by="hand")
    delete(cluster, bare, "lost")
    delete(cluster, bare, "replaced")
    create(cluster, bare, "replaced")
    create(cluster, bare, "fresh")
    cluster.stop_api_server()
    try:
        cluster.compact()
    finally:
        cluster.start_api_server()
    api_proxy.restore()
    assert sorted(reflector.changes(5)) == [
        ("changed", "moved"),
        ("gone", "lost"),
        ("gone", "replaced"),
        ("new", "fresh"),
        ("new", "replaced"),
    ]
    assert reflector.logged("too old resource version")
    assert reflector.pages() == 2
    create(cluster, bare, "later")
    assert reflector.changes(1) == [("new", "later")]
    assert reflector.state() == 6


def test_a_watch_that_is_cut_misses_nothing(cluster, bare, api_proxy, reflect):
    kubeconfig = proxied(cluster, api_proxy)
    reflector, _ = following(reflect, bare, kubeconfig)
    for number in range(5):
        api_proxy.cut()
        create(cluster, bare, f"missed-{number}")
        api_proxy.restore()
        assert reflector.changes(1) == [("new", f"missed-{number}")]
    assert reflector.pages() == 1


def test_events_arrive_whole_however_the_network_slices_them(cluster, bare, api_proxy, reflect):
    kubeconfig = proxied(cluster, api_proxy)
    api_proxy.toxic("slicer", average_size=50, size_variation=40, delay=10)
    reflector, _ = following(reflect, bare, kubeconfig)
    for number in range(20):
        create(cluster, bare, f"sliced-{number}", text="é" * number)
    assert reflector.changes(20) == [("new", f"sliced-{number}") for number in range(20)]


def test_a_half_open_watch_is_given_up_and_taken_up_on_another_connection(cluster, bare, api_proxy, reflect):
    kubeconfig = proxied(cluster, api_proxy)
    reflector, _ = following(reflect, bare, kubeconfig, "silence=5000")
    api_proxy.half_open()
    create(cluster, bare, "missed")
    cluster.wait_for(lambda: reflector.logged("watch is silent"), "the reflector to notice")
    api_proxy.restore()
    assert reflector.changes(1) == [("new", "missed")]


@pytest.fixture
def own_cluster(tmp_path):
    """An API server and etcd alone, for this test: what it does to them nobody else would survive."""
    running = Cluster(tmp_path / "cluster")
    try:
        running.start_etcd()
        running.start_api_server()
        yield running
    finally:
        running.close()


def test_an_etcd_that_was_restored_from_a_backup_is_noticed(own_cluster, reflect):
    data = own_cluster.directory / "etcd"
    backup = own_cluster.directory / "backup"
    create(own_cluster, "default", "old")
    own_cluster.stop_api_server()
    own_cluster.children["etcd"].stop()
    shutil.copytree(data, backup)
    own_cluster.start_etcd()
    own_cluster.start_api_server()
    reflector, names = following(reflect, "default", own_cluster.admin, "silence=3000")
    assert names == ["old"]
    for number in range(300):
        create(own_cluster, "default", f"future-{number}")
    reflector.changes(300)

    own_cluster.stop_api_server()
    own_cluster.children["etcd"].stop()
    shutil.rmtree(data)
    shutil.move(backup, data)
    own_cluster.start_etcd()
    own_cluster.start_api_server()
    assert {event for event, _ in reflector.changes(300)} == {"gone"}
    assert reflector.state() == 1
    create(own_cluster, "default", "new-past")
    assert reflector.changes(1) == [("new", "new-past")]


def test_a_thousand_events_are_followed_in_order(cluster, bare, reflect):
    reflector, _ = following(reflect, bare, cluster.admin)
    for number in range(1000):
        create(cluster, bare, f"burst-{number}")
    assert reflector.changes(1000) == [("new", f"burst-{number}") for number in range(1000)]

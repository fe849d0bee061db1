"""kill -9 at any moment: what the controller was about to do is done after all, and nothing of it stays behind."""

import hashlib
import http.client
import itertools
import json
import os
import pathlib
import random
import threading
import time
import urllib.request

import pytest

from controller import LEASE
from replicas import LEASES, MERGE_PATCH, Replicas
from team import REQUESTED, Team

SOURCES, KILLS = 100, 50
MOMENT = 0.8  # seconds from when it listens, at most
ALL = "/apis/{}/namespaces/{}/{}"
TRANSFORM = "return function(data) return { ['a/data'] = data, ['b'] = data:upper() } end"


@pytest.fixture
def replicas(cluster, tmp_path):
    made = Replicas(cluster, tmp_path)
    yield made
    made.close()


class Changing:
    """What upstream serves: another text for each request, some of it with an ETag, until it is frozen."""

    def __init__(self, upstream, names):
        self.frozen = False
        self.counter = itertools.count()
        for name in names:
            upstream.answer(f"/{name}", f"{name} at first".encode())
            answer = upstream.answers[f"/{name}"]
            answer.meanwhile = lambda name=name, answer=answer: self.change(name, answer)

    def change(self, name, answer):
        if self.frozen:
            return
        number = next(self.counter)
        answer.body = f"{name} {number} {'x' * 2000}".encode()
        answer.etag = f'"{number}"' if name.endswith("3") else None


class Requests:
    """Somebody who asks for reconciles all the time, of one source after the other. A context manager."""

    def __init__(self, cluster, namespace, names):
        self.connection = http.client.HTTPSConnection("127.0.0.1", cluster.ports["kube-apiserver"], context=cluster.tls)
        self.path = ALL.format("source.flux.oddkin.co/v1alpha1", namespace, "externalsources")
        self.names = names
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.sent = 0

    def run(self):
        for name in itertools.cycle(self.names):
            if self.stopped.wait(0.008):
                return
            self.request(name, str(self.sent))
            self.sent += 1

    def request(self, name, token):
        body = json.dumps({"metadata": {"annotations": {REQUESTED: token}}})
        self.connection.request("PATCH", f"{self.path}/{name}", body, {"Content-Type": MERGE_PATCH})
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 200

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def source(name, url, number):
    spec = {"interval": "1h", "generator": {"type": "http", "http": {"url": f"{url}/{name}"}}}
    if number % 2:
        spec["hooks"] = {"postRequest": [{"lua": TRANSFORM}]}
    kind = {"apiVersion": "source.flux.oddkin.co/v1alpha1", "kind": "ExternalSource"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def listed(cluster, api, namespace, kind):
    items = cluster.request("GET", ALL.format(api, namespace, kind))[1]["items"]
    return {one["metadata"]["name"]: one for one in items}


def fetched(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def processes(directory):
    """{pid: parent} of all that run in a directory."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(directory):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return found


def descends(pid, ancestor, parents):
    while pid in parents and pid != ancestor:
        pid = parents[pid]
    return pid == ancestor


def test_fifty_kills_under_load_lose_nothing_and_leave_nothing(cluster, namespace, replicas, upstream):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    team = Team(cluster, namespace)
    names = [f"source-{number:03}" for number in range(SOURCES)]
    content = Changing(upstream, names)
    controller = replicas("controller")
    team.apply(*[source(name, upstream.url, number) for number, name in enumerate(names)])

    with Requests(cluster, namespace, names) as load:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0, MOMENT))
            controller.kill()
            cluster.request("DELETE", f"{LEASES}/{LEASE}")
            controller.start(leads=False)
    assert load.sent > 10 * KILLS
    content.frozen = True
    for name in names:
        load.request(name, "last")

    def settled():
        found = listed(cluster, "source.flux.oddkin.co/v1alpha1", namespace, "externalsources")
        late = [name for name, one in found.items() if one["status"].get("lastHandledReconcileAt") != "last"]
        assert not late, late
        return found

    found = team.wait(settled, "the last request to be handled", 90)
    children = listed(cluster, "source.toolkit.fluxcd.io/v1", namespace, "externalartifacts")
    assert sorted(children) == sorted(found) == names
    for name, one in found.items():
        conditions = {condition["type"]: condition["status"] for condition in one["status"]["conditions"]}
        assert conditions == {"Ready": "True"}, (name, one["status"])
        artifact = children[name]["status"]["artifact"]
        assert f"sha256:{hashlib.sha256(fetched(artifact['url'])).hexdigest()}" == artifact["digest"]
        assert artifact["revision"] == one["status"]["artifact"]["revision"]
        served = upstream.answers[f"/{name}"].body.decode()
        assert served in team.artifact(name).values()
    check_storage(controller, namespace, names, children)
    parents = processes(controller.directory)
    assert controller.child.pid in parents
    strays = [pid for pid in parents if not descends(pid, controller.child.pid, parents)]
    assert strays == []


def check_storage(controller, namespace, names, children):
    """At most two artifacts of each source, the published one among them, and no other file."""
    files = [path.relative_to(controller.storage) for path in controller.storage.rglob("*") if not path.is_dir()]
    wanted = {}
    for path in files:
        assert path.parts[:2] == ("artifacts", namespace) and path.name.endswith(".tar.gz"), path
        wanted.setdefault(path.parts[2], []).append(str(path))
    assert sorted(wanted) == names
    for name, paths in wanted.items():
        assert len(paths) <= 2, paths
        assert children[name]["status"]["artifact"]["path"] in paths

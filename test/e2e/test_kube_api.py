"""The Kubernetes client against a real API server: its refusals, its connections, its restarts."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import threading

import pytest

from kube_call import KubeCall  # test/tools, by conftest.py

ROOT = pathlib.Path(__file__).resolve().parents[2]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
SOURCES = "/apis/source.toolkit.fluxcd.io/v1"


@pytest.fixture
def program():
    return pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "release")) / "kube_call"


@pytest.fixture
def client(cluster, program):
    with KubeCall(program, cluster.admin) as running:
        yield running


@pytest.fixture
def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def connections(pid, port):
    """Established TCP connections of a process to a port."""
    text = subprocess.run(["ss", "-tnpH", "state", "established", f"dport = :{port}"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [line for line in text.splitlines() if f"pid={pid}," in line]


def test_many_requests_share_one_connection(cluster, client, maps):
    client.request("POST", maps, config_map("it"))
    numbers = [client.send("GET", f"{maps}/it") for _ in range(200)]
    seen = 0
    for number in numbers:
        assert client.outcome(number)["code"] == 200
        seen = max(seen, len(connections(client.pid, cluster.ports["kube-apiserver"])) if number == numbers[100] else 0)
    assert seen == 1


def test_a_watch_tells_what_happens_over_a_connection_of_its_own(cluster, client, maps):
    watch = client.watch(f"{maps}?watch=1&allowWatchBookmarks=true")
    client.request("POST", maps, config_map("watched", a="1"))
    client.request("PATCH", f"{maps}/watched", {"data": {"a": "2"}}, type=MERGE)
    client.request("DELETE", f"{maps}/watched")

    def events():
        parsed = [json.loads(line) for line in client.lines.get(watch, [])]
        return [(e["type"], e["object"]["data"]["a"]) for e in parsed if e["object"]["metadata"].get("name") == "watched"]

    cluster.wait_for(lambda: len(events()) == 3, "three events")
    assert events() == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
    assert len(connections(client.pid, cluster.ports["kube-apiserver"])) == 2
    client.cancel(watch)
    assert client.outcome(watch)["cancelled"]
    cluster.wait_for(lambda: len(connections(client.pid, cluster.ports["kube-apiserver"])) == 1, "its connection's end")


def test_a_watch_that_the_server_ends_is_complete(client, maps):
    assert client.outcome(client.watch(f"{maps}?watch=1&timeoutSeconds=1"))["code"] == 200


def test_server_side_apply_makes_and_changes_an_object(client, maps):
    path = f"{maps}/applied?fieldManager=sluice&force=true"
    first = client.request("PATCH", path, config_map("applied", a="1", b="1"), type=APPLY)
    assert (first["code"], first["reason"]) == (201, "OK")
    second = client.request("PATCH", path, config_map("applied", a="2"), type=APPLY)
    assert second["code"] == 200
    assert second["object"]["data"] == {"a": "2"}
    assert second["object"]["metadata"]["managedFields"][0]["manager"] == "sluice"


def test_a_field_of_another_manager_is_a_conflict_of_managers(client, maps):
    client.request("PATCH", f"{maps}/x?fieldManager=one", config_map("x", a="1"), type=APPLY)
    answer = client.request("PATCH", f"{maps}/x?fieldManager=two", config_map("x", a="2"), type=APPLY)
    assert (answer["code"], answer["reason"]) == (409, "MANAGER_CONFLICT")
    assert 'conflict with "one"' in answer["message"]


def test_a_merge_patch_of_an_old_version_is_a_conflict(client, maps):
    made = client.request("POST", maps, config_map("x", a="1"))["object"]
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    assert client.request("PATCH", f"{maps}/x", patch, type=MERGE)["code"] == 200
    patch["data"]["a"] = "3"
    answer = client.request("PATCH", f"{maps}/x", patch, type=MERGE)
    assert (answer["code"], answer["reason"], answer["error"]["kind"]) == (409, "CONFLICT", "conflict")


def test_a_delete_that_names_another_uid_is_a_conflict(client, maps):
    client.request("POST", maps, config_map("x"))
    answer = client.request("DELETE", f"{maps}/x", {"preconditions": {"uid": "another"}})
    assert (answer["code"], answer["reason"]) == (409, "CONFLICT")
    assert client.request("GET", f"{maps}/x")["code"] == 200


def test_what_exists_is_not_created_again(client, maps):
    client.request("POST", maps, config_map("x"))
    answer = client.request("POST", maps, config_map("x"))
    assert (answer["code"], answer["reason"]) == (409, "ALREADY_EXISTS")


def test_what_is_missing_is_not_found(client, maps):
    answer = client.request("GET", f"{maps}/nothing")
    assert (answer["code"], answer["reason"]) == (404, "NOT_FOUND")


def test_an_invalid_object_is_refused_with_its_field(client, maps):
    answer = client.request("POST", maps, config_map("Not_A_Name"))
    assert (answer["code"], answer["reason"], answer["error"]["kind"]) == (422, "INVALID", "internal")
    assert "metadata.name" in answer["error"]["message"]


def test_a_body_that_is_no_object_of_the_kind_is_a_bad_request(client, maps):
    answer = client.request("POST", maps, {"kind": "ConfigMap", "data": 7})
    assert (answer["code"], answer["reason"]) == (400, "BAD_REQUEST")


def test_a_field_outside_the_schema_is_invalid_and_not_tried_again(client, namespace):
    path = f"{SOURCES}/namespaces/{namespace}/externalartifacts/x?fieldManager=sluice&force=true"
    body = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact", "metadata": {"name": "x"},
            "spec": {"nonsense": 1}}
    answer = client.request("PATCH", path, body, type=APPLY)
    assert (answer["code"], answer["reason"]) == (500, "INVALID")
    assert "field not declared in schema" in answer["error"]["message"]
    assert "tried again" not in client.log


def test_a_version_that_is_not_there_yet_is_too_large(client, maps):
    answer = client.request("GET", f"{maps}?resourceVersion=99999999999&resourceVersionMatch=NotOlderThan", timeout=20000)
    assert (answer["code"], answer["reason"]) == (504, "VERSION_TOO_LARGE")
    assert "tried again" not in client.log


def test_an_old_version_has_expired(cluster, client, maps):
    old = client.request("POST", maps, config_map("x"))["object"]["metadata"]["resourceVersion"]
    client.request("PATCH", f"{maps}/x", {"data": {"a": "2"}}, type=MERGE)
    cluster.stop_api_server()
    try:
        cluster.compact()
    finally:
        cluster.start_api_server()
    answer = client.request("GET", f"{maps}?resourceVersion={old}&resourceVersionMatch=Exact")
    assert (answer["code"], answer["reason"]) == (410, "EXPIRED")
    watch = client.watch(f"{maps}?watch=1&resourceVersion={old}", lines=1)
    outcome = client.outcome(watch)
    if "cancelled" in outcome:
        event = json.loads(client.lines[watch][0])
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    else:
        assert (outcome["code"], outcome["reason"]) == (410, "EXPIRED")


def test_a_namespace_that_ends_takes_nothing_new(cluster, client, namespace, maps):
    client.request("POST", maps, {**config_map("x"), "metadata": {"name": "x", "finalizers": ["sluice.test/held"]}})
    client.request("DELETE", f"/api/v1/namespaces/{namespace}")
    answer = client.request("POST", maps, config_map("y"))
    client.request("PATCH", f"{maps}/x", {"metadata": {"finalizers": None}}, type=MERGE)
    assert (answer["code"], answer["reason"]) == (403, "TERMINATING")


@pytest.fixture
def account(cluster, namespace):
    cluster.kubectl("create", "serviceaccount", "somebody", "-n", namespace)
    return namespace


def test_what_no_role_allows_is_forbidden_and_names_the_way_out(cluster, program, account, maps):
    with KubeCall(program, cluster.kubeconfig(token=cluster.token("somebody", account))) as client:
        answer = client.request("GET", maps)
    assert (answer["code"], answer["reason"], answer["error"]["kind"]) == (403, "FORBIDDEN", "internal")
    assert f"system:serviceaccount:{account}:somebody" in answer["error"]["message"]
    assert "a Role or ClusterRole that allows this" in answer["error"]["message"]


def test_a_token_file_that_becomes_valid_is_read_again(cluster, program, account, maps, tmp_path):
    file = tmp_path / "token"
    file.write_text("not.a.token")
    with KubeCall(program, cluster.kubeconfig(token_file=file)) as client:
        assert client.request("GET", maps)["reason"] == "UNAUTHORIZED"
        token = cluster.token("somebody", account)
        (tmp_path / "next").write_text(token)
        os.replace(tmp_path / "next", file)
        assert client.request("GET", maps)["reason"] == "FORBIDDEN"
        assert token not in client.log + "".join(client.raw)


class Forgetful:
    """A proxy in front of the API server that can forget the connections it has: bytes vanish in both directions,
    nothing is reset, as behind a load balancer that lost its table. New connections pass."""

    def __init__(self, port):
        self.port = port
        self.pairs = []
        self.forgotten = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self):
        self.forgotten.update(self.pairs)

    def close(self):
        self.listener.close()
        for pair in self.pairs:
            for end in pair:
                end.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                pair = (near, socket.create_connection(("127.0.0.1", self.port)))
                self.pairs.append(pair)
                for source, target in (pair, pair[::-1]):
                    threading.Thread(target=self._pass, args=(pair, source, target), daemon=True).start()

    def _pass(self, pair, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if pair not in self.forgotten:
                    target.sendall(data)
            if pair not in self.forgotten:
                target.shutdown(socket.SHUT_WR)


def test_a_half_open_connection_holds_nobody_but_those_already_on_it(cluster, program):
    path = "/api/v1/namespaces/default"
    proxy = Forgetful(cluster.ports["kube-apiserver"])
    config = cluster.kubeconfig("half-open", "system:masters", server=proxy.url)
    with contextlib.closing(proxy), KubeCall(program, config) as client:
        assert client.request("GET", path)["code"] == 200
        proxy.forget()
        stuck = [client.send("GET", path, timeout=50000) for _ in range(8)]
        assert client.request("GET", path, timeout=500)["code"] == 200
        assert client.request("GET", path, patience=-1)["code"] == 200
        assert len(proxy.pairs) == 2
        assert not any(number in client.outcomes for number in stuck)
        for number in stuck:
            client.cancel(number)
            assert client.outcome(number)["cancelled"]
        cluster.wait_for(lambda: len(connections(client.pid, proxy.listener.getsockname()[1])) == 1, "the old one's end")
        assert client.request("GET", path, patience=-1)["code"] == 200
        assert len(proxy.pairs) == 2


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_requests_outlive_a_restart_of_the_server(cluster, client, maps, kill):
    client.request("POST", maps, config_map("x"))
    watch = client.watch(f"{maps}?watch=1")
    client.first_lines(watch, 1)
    numbers = [client.send("GET", f"{maps}/x") for _ in range(300)]
    cluster.stop_api_server(kill=kill)
    try:
        numbers += [client.send("GET", f"{maps}/x") for _ in range(100)]
        client.outcome(watch)
    finally:
        cluster.start_api_server()
    assert {client.outcome(number).get("code") for number in numbers} == {200}

"""`sluice run` as a server: the artifact server, health, metrics, and its end."""

import hashlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest


def get(url, method="GET"):
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


@pytest.fixture(params=["file", "memory"])
def served(request, workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    process, addresses, log = workspace.serve("--storage-backend", request.param)
    wait_for(lambda: workspace.child("app") is not None)
    return workspace, process, addresses, log


def test_an_artifact_is_served_as_it_was_published(served):
    workspace, _, addresses, _ = served
    record = workspace.child("app")["status"]["artifact"]
    assert record["url"] == f"http://{addresses['storage']}/{record['path']}"
    status, headers, body = get(record["url"])
    assert status == 200
    assert "sha256:" + hashlib.sha256(body).hexdigest() == record["digest"]
    assert headers["Content-Type"] == "application/gzip" and "Content-Encoding" not in headers
    status, headers, body = get(record["url"], "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(record["size"]), b"")


def test_nothing_else_is_served(served):
    _, _, addresses, _ = served
    for path in ("/", "/artifacts/", "/artifacts/default/app/", "/status/default/app.yaml", "/artifacts/../key",
                 "/artifacts/%2e%2e/key", "/metrics"):
        assert get(f"http://{addresses['storage']}{path}")[0] == 404
    assert get(f"http://{addresses['storage']}/artifacts/x", "POST")[0] == 405


def test_health_and_metrics_answer(served):
    workspace, _, addresses, _ = served
    wait_for(lambda: (workspace.status("app") or {}).get("status"))
    assert get(f"http://{addresses['health']}/healthz")[0] == 200
    assert get(f"http://{addresses['health']}/readyz")[0] == 200
    text = get(f"http://{addresses['metrics']}/metrics")[2].decode()
    for name in ("reconciliation_total", "reconciliation_duration_seconds", "source_request_total",
                 "source_request_duration_seconds", "artifact_operation_total", "active_reconciliations",
                 "last_success_timestamp_seconds"):
        assert f"\n# TYPE externalsource_{name} " in "\n" + text
    assert 'gotk_reconcile_duration_seconds_count{kind="ExternalSource"' in text


def test_our_own_listeners_are_out_of_reach(served):
    workspace, process, addresses, _ = served
    process.terminate()
    process.wait(20)
    workspace.source("self", f"http://{addresses['storage']}/artifacts/x")
    workspace.serve("--storage-addr", addresses["storage"])
    wait_for(lambda: (workspace.status("self") or {}).get("status", {}).get("observedGeneration") == 1)
    assert workspace.condition("self")["reason"] == "EgressDenied"


def test_sigterm_ends_it_and_every_process_that_it_started(served):
    _, process, _, log = served
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) >= 3
    process.terminate()
    assert process.wait(20) == 0, log.read_text()
    assert subprocess.run(["kill", "-0", *children], capture_output=True).returncode != 0


def test_a_second_signal_does_not_wait_for_what_is_running(workspace, upstream):
    asked = threading.Event()
    answer_now = threading.Event()

    def hang():
        asked.set()
        answer_now.wait(100)

    workspace.source("app", upstream.answer("/a", b"x", meanwhile=hang), timeout="100s")
    process, _, log = workspace.serve()
    try:
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: '"stopping"' in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert '"stopping at once"' in log.read_text()
    finally:
        answer_now.set()


def test_a_source_that_was_deleted_is_gone_from_the_metrics(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    workspace.source("other", upstream.answer("/b", b"x"))
    assert workspace.once().code == 0
    (workspace.manifests / "app.yaml").unlink()
    _, addresses, log = workspace.serve()
    wait_for(lambda: '"source deleted"' in log.read_text() and not workspace.artifacts("app"))
    text = get(f"http://{addresses['metrics']}/metrics")[2].decode()
    assert 'name="other"' in text
    assert 'name="app"' not in text


def test_a_source_that_is_not_due_is_not_fetched_at_a_restart(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    process, addresses, _ = workspace.serve()
    wait_for(lambda: (workspace.status("app") or {}).get("status", {}).get("artifact"))
    process.terminate()
    process.wait(20)
    process, _, _ = workspace.serve("--storage-addr", addresses["storage"])
    time.sleep(1)
    assert len(upstream.asked) == 1


def test_memory_storage_says_that_it_does_not_persist(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    logs = workspace.once("--storage-backend", "memory").logs
    assert any("gone when the program ends" in line["msg"] for line in logs)


def test_a_slow_phase_shows_itself_in_the_status_and_goes_again(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x", delay=1.5))
    workspace.serve()
    wait_for(lambda: (workspace.status("app") or {}).get("status", {}).get("conditions"))
    kinds = {c["type"]: c["status"] for c in workspace.status("app")["status"]["conditions"]}
    assert kinds == {"Fetching": "True", "Reconciling": "True", "Ready": "Unknown"}
    wait_for(lambda: workspace.child("app") is not None and workspace.condition("app")["status"] == "True")
    assert [c["type"] for c in workspace.status("app")["status"]["conditions"]] == ["Ready"]


@pytest.mark.parametrize("kind", ["generator", "policy", "zygote"])
def test_a_lua_process_that_is_killed_is_started_again_and_nothing_is_lost(workspace, upstream, kind):
    lua = "return function(d) return d end"
    workspace.source("slow", upstream.answer("/slow", b"x", delay=1.5), [{"name": "t", "lua": lua}])
    process, _, _ = workspace.serve()
    wait_for(lambda: upstream.asked)
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", f"lua-host {kind}"], capture_output=True, text=True, check=True
    )
    subprocess.run(["kill", "-9", *found.stdout.split()], check=True)
    wait_for(lambda: workspace.child("slow") is not None)
    assert process.poll() is None

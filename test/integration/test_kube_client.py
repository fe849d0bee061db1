"""The Kubernetes client against a scripted API server: what it makes of refusals, faults and silence."""

import gzip
import http.server
import json
import os
import ssl
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
import trustme
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from kube_call import KubeCall  # noqa: E402

TOKEN = "first-token-kept-secret"
JSON = {"Content-Type": "application/json"}


def status(code, reason, message="", **details):
    """An answer with a metav1.Status."""
    return (code, JSON, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                         "message": message, "details": details})


def ok(body=None):
    return 200, JSON, body or {"kind": "Thing"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = 60

    def log_message(self, *_):
        pass

    def answer_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        action = self.server.api.next_action(self, body)
        if callable(action):
            action(self)
            return
        code, headers, content = action
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = answer_any

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def finish_request(self, request, client_address):
        try:
            super().finish_request(self.tls.wrap_socket(request, server_side=True), client_address)
        except OSError:
            pass

    def handle_error(self, *_):
        pass


class Api:
    """Answers each path with its script, the last action again and again; an action is an answer or a function
    of the handler. Keeps what it was asked."""

    def __init__(self, authority):
        self.scripts = {}
        self.requests = defaultdict(list)
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.api = self
        self.server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.server.tls)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def script(self, path, *actions):
        self.scripts[path] = list(actions)

    def next_action(self, handler, body):
        with self.lock:
            self.requests[handler.path].append(
                {"method": handler.command, "headers": handler.headers, "body": body,
                 "connection": handler.client_address[1]})
            actions = self.scripts.get(handler.path, [status(404, "NotFound", "nothing here")])
            return actions.pop(0) if len(actions) > 1 else actions[0]

    def count(self, path):
        return len(self.requests[path])

    def wait_for(self, path, count):
        deadline = time.monotonic() + 60
        while self.count(path) < count:
            assert time.monotonic() < deadline, f"{path} was asked for {self.count(path)} times"
            time.sleep(0.01)

    def hang(self, handler):
        """Says nothing until the test ends."""
        self.released.wait(60)
        handler.close_connection = True

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def api(authority):
    server = Api(authority)
    yield server
    server.close()


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def swap(path, text):
    """As kubelet does."""
    other = path.with_name("next")
    other.write_text(text)
    os.replace(other, path)


@pytest.fixture
def kubeconfig(api, authority, tmp_path, token_file):
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "clusters": [{"name": "it", "cluster": {"server": api.url, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "me", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }))
    return path


@pytest.fixture
def client(build, kubeconfig):
    with KubeCall(build / "kube_call", kubeconfig) as running:
        yield running
    text = "".join(running.raw) + running.log
    assert "kept-secret" not in text, "a token was told"


def test_a_request_carries_the_token_the_types_and_the_body(api, client):
    api.script("/x", ok({"kind": "Thing", "n": 1}))
    answer = client.request("PATCH", "/x", {"b": 1, "a": "ü"}, type="application/apply-patch+yaml")
    assert (answer["code"], answer["reason"], answer["object"]) == (200, "OK", {"kind": "Thing", "n": 1})
    [request] = api.requests["/x"]
    assert request["method"] == "PATCH"
    assert json.loads(request["body"]) == {"a": "ü", "b": 1}
    assert request["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert request["headers"]["Content-Type"] == "application/apply-patch+yaml"
    assert request["headers"]["Accept"] == "application/json"
    assert request["headers"]["User-Agent"].startswith("sluice/v")


def test_a_refusal_is_typed_and_told(api, client):
    api.script("/x", status(409, "Conflict", "the object has been modified"))
    answer = client.request("PATCH", "/x", {})
    assert answer["reason"] == "CONFLICT"
    assert answer["error"]["kind"] == "conflict"
    assert answer["error"]["message"].endswith(": the object has been modified")
    assert api.count("/x") == 1


def test_a_throttled_request_waits_as_long_as_it_is_told_to(api, client):
    api.script("/x", (429, {"Retry-After": "1"}, b""), ok())
    assert client.request("GET", "/x")["code"] == 200
    assert api.count("/x") == 2


def test_a_wait_that_outlasts_the_patience_is_not_begun(api, client):
    api.script("/x", (429, {"Retry-After": "3600"}, b""))
    answer = client.request("GET", "/x")
    assert (answer["reason"], answer["retryAfter"]) == ("THROTTLED", 3600000)
    assert answer["error"]["kind"] == "transient"
    assert answer["error"]["retryAfter"] == 3600000
    assert api.count("/x") == 1


def test_a_date_may_say_when_to_come_back(api, client):
    api.script("/x", (503, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, b""))
    assert client.request("GET", "/x")["retryAfter"] == 86400000


@pytest.mark.parametrize("value", ["Fri, 01 Jan 1999 00:00:00 GMT", "-9223372036854775808", "soon", "1.5", "0"])
def test_what_names_no_time_to_come_is_passed_over(api, client, value):
    api.script("/x", (503, {"Retry-After": value}, b""), ok())
    assert client.request("GET", "/x")["code"] == 200


def test_the_status_may_say_when_to_come_back(api, client):
    api.script("/x", status(504, "ServerTimeout", "busy", retryAfterSeconds=7200))
    assert client.request("GET", "/x")["retryAfter"] == 7200000


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(api, client, code):
    api.script("/x", (code, {"Content-Type": "text/html"}, b"<h1>oh</h1>"), status(code, "InternalError"), ok())
    assert client.request("POST", "/x", {})["code"] == 200
    assert [request["method"] for request in api.requests["/x"]] == ["POST"] * 3


def test_patience_ends_with_the_last_answer(api, client):
    api.script("/x", status(503, "ServiceUnavailable", "shutting down"))
    answer = client.request("GET", "/x", patience=1500)
    assert (answer["code"], answer["reason"], answer["message"]) == (503, "UNAVAILABLE", "shutting down")
    assert api.count("/x") > 1


def test_without_patience_there_is_one_attempt(api, client):
    api.script("/x", status(503, "ServiceUnavailable"))
    assert client.request("GET", "/x", patience=-1)["reason"] == "UNAVAILABLE"
    assert api.count("/x") == 1


@pytest.mark.parametrize("answer", [
    status(500, "InternalError", "failed to create typed patch object: .status.x: field not declared in schema"),
    status(422, "Invalid", "spec.x: Invalid value"),
    status(504, "Timeout", "Too large resource version", causes=[{"reason": "ResourceVersionTooLarge"}]),
])
def test_what_will_not_pass_is_not_tried_again(api, client, answer):
    api.script("/x", answer)
    assert client.request("GET", "/x")["code"] == answer[0]
    assert api.count("/x") == 1


def test_a_token_that_is_no_longer_accepted_is_read_again(api, client, token_file):
    api.script("/warm", ok())
    client.request("GET", "/warm")
    swap(token_file, "second-token-kept-secret")
    api.script("/x", status(401, "Unauthorized", "Unauthorized"), ok())
    assert client.request("GET", "/x")["code"] == 200
    last = api.requests["/x"][-1]["headers"]["Authorization"]
    assert last == "Bearer second-token-kept-secret"


def test_a_token_refused_twice_is_an_answer(api, client):
    api.script("/x", status(401, "Unauthorized", "Unauthorized"))
    answer = client.request("GET", "/x")
    assert answer["reason"] == "UNAUTHORIZED"
    assert "does not accept our token" in answer["error"]["message"]
    assert api.count("/x") == 2


def test_a_rotated_token_is_used_before_the_old_one_is_refused(api, client, token_file):
    api.script("/x", ok())
    client.request("GET", "/x")
    swap(token_file, "second-token-kept-secret")
    deadline = time.monotonic() + 60
    while api.requests["/x"][-1]["headers"]["Authorization"] != "Bearer second-token-kept-secret":
        assert time.monotonic() < deadline
        assert client.request("GET", "/x")["code"] == 200
        time.sleep(0.1)


def test_the_old_token_serves_while_the_file_is_gone(api, client, token_file):
    api.script("/x", ok())
    client.request("GET", "/x")
    token_file.unlink()
    api.script("/y", status(401, "Unauthorized"), ok())
    assert client.request("GET", "/y")["code"] == 200
    assert api.requests["/y"][-1]["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert str(token_file) in client.log


def test_a_silent_server_is_given_up_and_asked_over_another_connection(api, client):
    api.script("/warm", ok())
    client.request("GET", "/warm")
    api.script("/x", api.hang, ok())
    assert client.request("GET", "/x", timeout=300)["code"] == 200
    first, second = (request["connection"] for request in api.requests["/x"])
    assert first == api.requests["/warm"][0]["connection"]
    assert second != first


def test_others_do_not_inherit_a_silent_connection(api, client):
    api.script("/x", api.hang)
    outcome = client.request("GET", "/x", timeout=300, patience=-1)
    assert (outcome["failed"]["kind"], outcome["failed"]["reason"]) == ("transient", "Timeout")
    assert api.url + "/x: no complete answer within 300ms" in outcome["failed"]["message"]
    api.script("/y", ok())
    assert client.request("GET", "/y")["code"] == 200
    assert api.requests["/y"][0]["connection"] != api.requests["/x"][0]["connection"]


def test_patience_bounds_attempts_that_hang(api, client):
    api.script("/x", api.hang)
    assert client.request("GET", "/x", patience=400)["failed"]["reason"] == "Timeout"
    assert api.count("/x") == 1


def test_a_connection_that_breaks_is_replaced(api, client):
    def drop(handler):
        handler.close_connection = True

    api.script("/x", drop, drop, ok())
    assert client.request("GET", "/x")["code"] == 200


@pytest.mark.parametrize("answer, told", [
    ((200, JSON, b'{"kind": "Thi'), "no JSON"),
    ((200, JSON, b"[" * 100000), "no JSON"),
    ((200, JSON, b'{"n": 1e999}'), "no JSON"),
    ((200, JSON, b'{"n": "\xff"}'), "no JSON"),
    ((200, JSON, b"[]"), "answered 200 without a JSON object"),
    ((200, JSON, b""), "no JSON"),
    ((200, {"Content-Type": "text/html"}, b"<h1>Sign in</h1>"), "answered 200 without a JSON object"),
    ((200, {}, b"{}"), "answered 200 without a JSON object"),
    ((200, {**JSON, "Content-Encoding": "gzip"}, b"not gzip"), "compressed body is damaged"),
])
def test_a_success_that_is_no_object_is_a_failure(api, client, answer, told):
    api.script("/x", answer)
    failed = client.request("GET", "/x", patience=-1)["failed"]
    assert failed["kind"] == "transient"
    assert told in failed["message"]
    assert api.url + "/x" in failed["message"]


@pytest.mark.parametrize("content", [
    b"", b"null", b"[1]", b"{", b"[" * 100000, b'{"message": 7, "reason": [], "details": "x"}',
    b'{"details": {"causes": {"reason": "FieldManagerConflict"}}}',
    b'{"details": {"causes": [null, 1, {"reason": 2}], "retryAfterSeconds": 99999999999999}}',
    b'{"code": "409", "reason": null, "message": null}',
])
def test_a_refusal_of_any_shape_is_typed_by_its_code(api, client, content):
    api.script("/x", (403, JSON, content))
    answer = client.request("GET", "/x")
    assert (answer["code"], answer["reason"], answer["message"]) == (403, "FORBIDDEN", "")
    assert "answered 403 without a reason; a Role or ClusterRole" in answer["error"]["message"]


def test_a_long_message_is_cut_between_characters(api, client):
    api.script("/x", status(422, "Invalid", "ü" * 100000))
    message = client.request("GET", "/x")["error"]["message"]
    assert len(message.encode()) < 2200
    assert message.endswith("ü…")


def test_a_large_list_is_read_from_the_spool(api, client):
    items = [{"metadata": {"name": f"thing-{number}"}, "data": "x" * 1000} for number in range(5000)]
    api.script("/x", (200, {**JSON, "Content-Encoding": "gzip"}, gzip.compress(json.dumps({"items": items}).encode(), 1)))
    assert client.request("GET", "/x")["object"]["items"] == items


def test_a_nul_character_hides_nothing(api, client):
    api.script("/x", ok({"items": [{"a": "x\0y"}, {"b": 1}]}))
    assert client.request("GET", "/x")["object"] == {"items": [{"a": "x\0y"}, {"b": 1}]}


def lines_of(*pieces):
    def stream(handler):
        handler.begin()
        for piece in pieces:
            handler.chunk(piece)
            time.sleep(0.01)
        handler.wfile.write(b"0\r\n\r\n")

    return stream


def test_a_watch_puts_torn_lines_together(api, client):
    api.script("/w", lines_of(b'{"a":', b"1}", b"\n", b'{"b":2}\n{"c":3}\n\n{"d"', b":4}\n{", b'"e":5}\n{"torn"'))
    watch = client.watch("/w")
    assert client.outcome(watch)["code"] == 200
    assert client.lines[watch] == ['{"a":1}', '{"b":2}', '{"c":3}', '{"d":4}', '{"e":5}']


def test_a_watch_may_be_cancelled_between_two_lines_of_a_piece(api, client):
    api.script("/w", lines_of(b"1\n2\n3\n"))
    watch = client.watch("/w", lines=2)
    assert client.outcome(watch)["cancelled"]
    api.script("/x", ok())
    client.request("GET", "/x")
    assert client.lines[watch] == ["1", "2"]


def test_a_line_without_end_ends_the_watch(api, client):
    api.script("/w", lines_of(b"first\n", *[b"x" * (1 << 20)] * 9, b"\n"))
    watch = client.watch("/w")
    failed = client.outcome(watch)["failed"]
    assert "an event of more than 8388608 bytes" in failed["message"]
    assert client.lines[watch] == ["first"]


def test_a_line_of_a_few_mebibytes_is_passed_on(api, client):
    api.script("/w", lines_of(*[b"x" * (1 << 20)] * 7, b"\n"))
    watch = client.watch("/w")
    assert client.outcome(watch)["code"] == 200
    assert [len(line) for line in client.lines[watch]] == [7 << 20]


def test_a_watch_that_breaks_is_a_failure(api, client):
    def cut(handler):
        handler.begin()
        handler.chunk(b"first\n")
        handler.close_connection = True

    api.script("/w", cut)
    watch = client.watch("/w")
    assert client.outcome(watch)["failed"]["kind"] == "transient"
    assert client.lines[watch] == ["first"]


def test_a_refused_watch_is_typed_and_not_tried_again(api, client):
    api.script("/w", status(410, "Expired", "too old resource version"))
    answer = client.outcome(client.watch("/w"))
    assert (answer["code"], answer["reason"], answer["message"]) == (410, "EXPIRED", "too old resource version")
    assert api.count("/w") == 1


def test_each_watch_has_a_connection_of_its_own(api, client):
    api.script("/w", lines_of(b"1\n"))
    for _ in range(3):
        client.outcome(client.watch("/w"))
    api.script("/x", ok())
    client.request("GET", "/x")
    connections = {request["connection"] for path in ("/w", "/x") for request in api.requests[path]}
    assert len(connections) == 4


def test_a_request_is_cancelled_while_it_hangs(api, client):
    api.script("/x", api.hang)
    number = client.send("GET", "/x")
    api.wait_for("/x", 1)
    client.cancel(number)
    assert client.outcome(number)["cancelled"]
    api.script("/y", ok())
    assert client.request("GET", "/y")["code"] == 200


def test_a_request_is_cancelled_while_it_pauses(api, client):
    api.script("/x", (503, {"Retry-After": "30"}, b""))
    number = client.send("GET", "/x")
    api.wait_for("/x", 1)
    api.script("/y", ok())
    client.request("GET", "/y")
    client.cancel(number)
    assert client.outcome(number)["cancelled"]
    assert api.count("/x") == 1


def test_no_more_than_64_requests_are_in_flight_and_the_others_wait_in_order(api, client):
    api.script("/x", api.hang)
    api.script("/last", ok())
    hanging = [client.send("GET", "/x") for _ in range(70)]
    last = client.send("GET", "/last")
    api.wait_for("/x", 64)
    for number in hanging[64:]:
        client.cancel(number)
        assert client.outcome(number)["cancelled"]
    assert (api.count("/x"), api.count("/last")) == (64, 0)
    client.cancel(hanging[0])
    assert client.outcome(last)["code"] == 200
    assert api.count("/x") == 64


def test_waiting_for_a_place_ends_with_the_patience(api, client):
    api.script("/x", api.hang)
    for _ in range(64):
        client.send("GET", "/x")
    failed = client.request("GET", "/y", patience=200)["failed"]
    assert failed["reason"] == "Timeout"
    assert "no place among the 64 requests in flight" in failed["message"]
    assert api.count("/y") == 0


def test_the_lease_waits_for_no_place(api, client):
    api.script("/x", api.hang)
    for _ in range(70):
        client.send("GET", "/x")
    api.script("/lease", ok())
    assert client.request("PATCH", "/lease", {}, unfenced=True)["code"] == 200


def test_who_does_not_lead_writes_nothing(api, client):
    api.script("/x", ok())
    client.lead(False)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        failed = client.request(method, "/x")["failed"]
        assert (failed["kind"], failed["reason"]) == ("internal", "NotLeader")
        assert f"{method} /x" in failed["message"]
    assert api.count("/x") == 0
    assert client.request("GET", "/x")["code"] == 200
    assert client.request("PATCH", "/x", {}, unfenced=True)["code"] == 200


def test_a_write_is_not_repeated_once_the_lead_is_lost(api, client):
    def lose(handler):
        client.lead(False)
        client.request("GET", "/told")
        handler.send_response(503)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    api.script("/told", ok())
    api.script("/x", lose, ok())
    assert client.request("PATCH", "/x", {})["failed"]["reason"] == "NotLeader"
    assert api.count("/x") == 1


def test_a_write_that_waits_for_a_place_asks_the_fence_when_it_gets_one(api, client):
    api.script("/x", api.hang)
    api.script("/y", ok())
    hanging = [client.send("GET", "/x") for _ in range(64)]
    write = client.send("PATCH", "/y", {})
    api.wait_for("/x", 64)
    client.lead(False)
    client.cancel(hanging[0])
    assert client.outcome(write)["failed"]["reason"] == "NotLeader"
    assert api.count("/y") == 0


def test_an_unknown_authority_is_told_with_where_to_name_it(build, api, kubeconfig, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    with KubeCall(build / "kube_call", kubeconfig) as client:
        failed = client.request("GET", "/x", patience=-1)["failed"]
    assert "signed by an unknown authority; put the authority's certificate (PEM) into " in failed["message"]
    assert f"certificate-authority-data of cluster 'it' in {kubeconfig}" in failed["message"]
    assert "caBundleSecretRef" not in failed["message"]


def test_an_authority_that_is_no_pem_is_told(build, api, kubeconfig, tmp_path):
    (tmp_path / "ca.crt").write_text("rubbish")
    with KubeCall(build / "kube_call", kubeconfig) as client:
        failed = client.request("GET", "/x", patience=-1)["failed"]
    assert f"of cluster 'it' in {kubeconfig} is not a list of PEM certificates" in failed["message"]


def test_a_server_that_is_not_there_is_asked_until_it_is(build, api, kubeconfig):
    port = api.server.server_address[1]
    api.server.shutdown()
    api.thread.join()
    api.server.server_close()
    with KubeCall(build / "kube_call", kubeconfig) as client:
        number = client.send("GET", "/x")
        while "tried again" not in client.log:
            time.sleep(0.01)
        assert "connection refused" in client.log
        api.script("/x", ok())
        revived = Server(("127.0.0.1", port), Handler)
        revived.api, revived.tls = api, api.server.tls
        api.server = revived
        api.thread = threading.Thread(target=revived.serve_forever)
        api.thread.start()
        assert client.outcome(number)["code"] == 200

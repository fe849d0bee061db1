"""`sluice run --once` over the http generator and a real upstream."""

import gzip
import io
import subprocess
import tarfile

from workspace import COLUMNS, sha256

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def test_a_source_becomes_an_artifact_whose_digest_and_revision_hold(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b'{"a": 1}'), destinationPath="conf/app.json")
    outcome = workspace.once()
    assert outcome.code == 0, outcome.err
    assert outcome.header == COLUMNS
    assert outcome.rows["app"]["READY"] == "True"
    packed = workspace.artifact("app").read_bytes()
    record = workspace.child("app")["status"]["artifact"]
    assert record["digest"] == "sha256:" + sha256(packed)
    assert record["revision"] == "latest@sha256:" + sha256(gzip.decompress(packed))
    assert record["size"] == len(packed)
    assert record["url"].endswith("/" + record["path"])
    assert workspace.status("app")["status"]["artifact"]["digest"] == record["digest"]
    assert workspace.status("app")["status"]["observedGeneration"] == 1
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert [(m.name, m.mode, m.mtime, m.uid, m.gid) for m in archive] == [
            ("conf", 0o755, 0, 0, 0),
            ("conf/app.json", 0o644, 0, 0, 0),
        ]
        assert archive.extractfile("conf/app.json").read() == b'{"a": 1}'
    listing = subprocess.run(["tar", "-tzf", workspace.artifact("app")], capture_output=True, text=True, check=True)
    assert listing.stdout.split() == ["conf/", "conf/app.json"]


def test_the_external_artifact_is_as_flux_expects_it(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    workspace.once()
    child = workspace.child("app")
    owner = child["metadata"]["ownerReferences"][0]
    assert (child["apiVersion"], child["kind"]) == ("source.toolkit.fluxcd.io/v1", "ExternalArtifact")
    assert owner["uid"] == workspace.status("app")["metadata"]["uid"]
    assert owner["controller"] and owner["blockOwnerDeletion"]
    assert child["spec"]["sourceRef"]["kind"] == "ExternalSource"
    assert child["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "externalsource-controller"}
    ready = child["status"]["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Succeeded")


def test_a_second_run_asks_once_with_both_validators_and_writes_nothing(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x", etag='"v1"', last_modified=DATE))
    assert workspace.once().code == 0
    before = {path: path.stat().st_mtime_ns for path in workspace.data.rglob("*.*") if path.is_file()}
    assert workspace.once().code == 0
    assert [asked.status for asked in upstream.asked] == [200, 304]
    assert upstream.asked[1].headers["if-none-match"] == '"v1"'
    assert upstream.asked[1].headers["if-modified-since"] == DATE
    assert {path: path.stat().st_mtime_ns for path in workspace.data.rglob("*.*") if path.is_file()} == before
    assert workspace.status("app")["status"]["lastHandledETag"] == '"v1" ' + DATE


def test_an_upstream_without_validators_is_fetched_again_to_the_same_revision(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    first = workspace.once().rows["app"]["REVISION"]
    assert workspace.once().rows["app"]["REVISION"] == first
    assert [asked.status for asked in upstream.asked] == [200, 200]
    assert len(workspace.artifacts("app")) == 1


def test_new_data_makes_a_new_artifact_and_keeps_the_one_before(workspace, upstream):
    for body in (b"1", b"2", b"3"):
        workspace.source("app", upstream.answer("/a", body))
        assert workspace.once().code == 0
    assert len(workspace.artifacts("app")) == 2
    assert workspace.artifact("app") in workspace.artifacts("app")


def test_an_artifact_that_storage_lost_is_fetched_anew_whatever_upstream_says(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x", etag='"v1"'))
    workspace.once()
    workspace.artifact("app").unlink()
    assert workspace.once().code == 0
    assert [asked.status for asked in upstream.asked] == [200, 200]
    assert workspace.artifact("app").exists()


def test_a_changed_spec_is_a_new_generation_and_fetched_without_the_old_token(workspace, upstream):
    url = upstream.answer("/a", b"x", etag='"v1"')
    workspace.source("app", url)
    workspace.once()
    workspace.source("app", url, destinationPath="other")
    workspace.once()
    assert [asked.status for asked in upstream.asked] == [200, 200]
    assert workspace.status("app")["metadata"]["generation"] == 2


def test_a_changed_secret_is_fetched_without_the_old_token(workspace, upstream):
    url = upstream.answer("/a", b"x", etag='"v1"')
    workspace.source("app", url, config={"headersSecretRef": {"name": "token"}})
    for value in ("one", "one", "two"):
        workspace.secret("token", **{"X-Token": value})
        assert workspace.once().code == 0
    assert [asked.status for asked in upstream.asked] == [200, 304, 200]


def test_a_404_is_not_found_and_leaves_the_last_artifact_served(workspace, upstream):
    url = upstream.answer("/a", b"x")
    workspace.source("app", url)
    workspace.once()
    artifact, child = workspace.artifact("app"), workspace.child("app")
    upstream.answer("/a", b"gone", status=404)
    outcome = workspace.once()
    assert outcome.code == 1
    ready = workspace.condition("app")
    assert (ready["status"], ready["reason"]) == ("False", "NotFound")
    assert f"GET {url} answered 404; serving latest@sha256:" in ready["message"]
    assert ready["message"].split(" since ")[1].endswith("Z")
    assert artifact.exists() and workspace.child("app") == child


def test_a_500_is_tried_again_with_backoff(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"oops", status=500, headers={"Retry-After": "120"}))
    assert workspace.once().code == 1
    status = workspace.status("app")["status"]
    assert workspace.condition("app")["reason"] == "HTTPStatus"
    assert workspace.condition("app", "Reconciling")["reason"] == "ProgressingWithRetry"
    assert workspace.condition("app", "Stalled") is None
    assert status["retry"]["count"] == 1 and status["observedGeneration"] == -1


def test_a_failure_and_the_recovery_from_it_are_told(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"oops", status=500))
    workspace.once()
    upstream.answer("/a", b"x")
    assert workspace.once().code == 0
    assert workspace.condition("app")["status"] == "True"
    assert workspace.condition("app", "Reconciling") is None
    assert "retry" not in workspace.status("app")["status"]


def test_a_private_authority_is_trusted_by_its_bundle_only(workspace, tls_upstream, authority):
    url = tls_upstream.answer("/a", b"secret data")
    workspace.secret("ca", **{"ca.crt": authority.cert_pem.bytes().decode()})
    workspace.source("with", url, config={"caBundleSecretRef": {"name": "ca", "key": "ca.crt"}})
    workspace.source("without", url)
    workspace.source("skipped", url, config={"insecureSkipVerify": True})
    rows = workspace.once().rows
    assert rows["with"]["READY"] == "True"
    assert rows["skipped"]["READY"] == "True"
    assert rows["without"]["READY"] == "False"
    assert "caBundleSecretRef" in rows["without"]["MESSAGE"]


def test_a_secret_header_arrives_upstream_and_nowhere_else(workspace, upstream):
    value = "s3cr3t-value-of-the-header"
    workspace.secret("token", **{"X-Api-Key": value})
    url = upstream.answer("/a", b"x", status=500)
    workspace.source("app", url, config={"headersSecretRef": {"name": "token"}})
    failed = workspace.once("--log-level", "debug")
    upstream.answer("/a", b"x")
    outcome = workspace.once("--log-level", "debug")
    assert outcome.code == 0
    assert {asked.headers["x-api-key"] for asked in upstream.asked} == {value}
    assert value not in failed.err + failed.out + outcome.err + outcome.out
    assert workspace.mentions(value) == []


def test_basic_and_bearer_credentials_of_a_secret_are_sent(workspace, upstream):
    workspace.secret("basic", username="me", password="pass")
    workspace.secret("bearer", bearerToken="tok")
    workspace.source("one", upstream.answer("/one", b"x"), config={"secretRef": {"name": "basic"}})
    workspace.source("two", upstream.answer("/two", b"x"), config={"secretRef": {"name": "bearer"}})
    assert workspace.once().code == 0
    sent = {asked.path: asked.headers["authorization"] for asked in upstream.asked}
    assert sent == {"/one": "Basic bWU6cGFzcw==", "/two": "Bearer tok"}


def test_a_redirect_is_followed_and_its_secret_stays_at_home(workspace, upstream, other_upstream):
    workspace.secret("token", **{"X-Api-Key": "value"})
    target = other_upstream.answer("/b", b"there")
    upstream.answer("/b", b"here")
    refs = {"headersSecretRef": {"name": "token"}}
    workspace.source("away", upstream.answer("/away", status=302, headers={"Location": target}), config=refs)
    workspace.source("near", upstream.answer("/near", status=307, headers={"Location": "/b"}), config=refs)
    assert workspace.once().code == 0
    assert "x-api-key" not in other_upstream.asked[0].headers
    assert [asked.headers["x-api-key"] for asked in upstream.asked if asked.path == "/b"] == ["value"]


def test_a_redirect_to_another_scheme_is_refused(workspace, upstream):
    workspace.source("app", upstream.answer("/a", status=302, headers={"Location": "file:///etc/passwd"}))
    outcome = workspace.once()
    assert outcome.code == 1
    assert workspace.mentions("root:") == []
    assert "file" in outcome.rows["app"]["MESSAGE"]


def test_a_compressed_body_is_unpacked(workspace, upstream):
    url = upstream.answer("/a", gzip.compress(b"plain"), headers={"Content-Encoding": "gzip"})
    workspace.source("app", url)
    assert workspace.once().code == 0
    with tarfile.open(workspace.artifact("app")) as archive:
        assert archive.extractfile("data").read() == b"plain"


def test_a_body_over_the_limit_is_refused_decoded_bytes_counting(workspace, upstream):
    url = upstream.answer("/a", gzip.compress(b"0" * 1000000), headers={"Content-Encoding": "gzip"})
    workspace.source("app", url)
    outcome = workspace.once("--max-body-size", "100k")
    assert outcome.code == 1
    assert workspace.condition("app")["reason"] == "OutputLimit"


def test_a_large_body_goes_through_the_spool(workspace, upstream):
    body = bytes(range(256)) * 20000
    workspace.source("app", upstream.answer("/a", body))
    assert workspace.once().code == 0
    with tarfile.open(workspace.artifact("app")) as archive:
        assert archive.extractfile("data").read() == body
    assert list((workspace.data / "spool").iterdir()) == []


def test_a_body_shorter_than_announced_is_no_artifact(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"short", headers={"Content-Length": "100", "Connection": "close"}))
    assert workspace.once("--http-timeout", "2s").code == 1
    assert workspace.artifacts("app") == []


def test_a_slow_upstream_is_a_timeout_and_holds_up_nobody(workspace, upstream):
    workspace.source("slow", upstream.answer("/slow", b"x", delay=5), timeout="300ms")
    workspace.source("fast", upstream.answer("/fast", b"x"))
    rows = workspace.once().rows
    assert rows["fast"]["READY"] == "True"
    assert workspace.condition("slow")["reason"] == "Timeout"


def test_twenty_processes_make_one_revision(workspace, upstream):
    url = upstream.answer("/a", b'{"b": 1, "a": {"z": [1, 2], "y": null}}')
    hook = {"name": "t", "lua": "return function(d) return yaml.encode(json.decode(d)) end"}
    workspace.source("app", url, [hook])
    revisions = set()
    for number in range(20):
        workspace.data = workspace.path / f"data-{number}"
        revisions.add(workspace.once().rows["app"]["REVISION"])
    assert len(revisions) == 1


def test_a_suspended_source_is_left_alone(workspace, upstream):
    url = upstream.answer("/a", b"x")
    workspace.source("app", url)
    workspace.once()
    workspace.source("app", url, suspend=True)
    outcome = workspace.once()
    assert outcome.code == 0 and outcome.rows["app"]["READY"] == "True"
    assert len(upstream.asked) == 1


def test_a_source_whose_manifest_is_gone_is_withdrawn(workspace, upstream):
    manifest = workspace.source("app", upstream.answer("/a", b"x"))
    workspace.source("stays", upstream.answer("/b", b"x"))
    workspace.once()
    manifest.unlink()
    outcome = workspace.once()
    assert outcome.code == 0 and list(outcome.rows) == ["stays"]
    assert workspace.child("app") is None and workspace.status("app") is None
    assert workspace.artifacts("app") == []


def test_a_request_annotation_is_answered(workspace, upstream):
    path = workspace.source("app", upstream.answer("/a", b"x"))
    text = path.read_text().replace("name: app", "name: app\n  annotations: {reconcile.fluxcd.io/requestedAt: now}")
    path.write_text(text)
    workspace.once()
    assert workspace.status("app")["status"]["lastHandledReconcileAt"] == "now"


def test_our_own_listeners_and_link_local_addresses_are_out_of_reach(workspace, upstream):
    workspace.source("metadata", "http://169.254.169.254/latest")
    workspace.source("mapped", "http://[::ffff:169.254.169.254]/latest")
    workspace.once()
    for name in ("metadata", "mapped"):
        assert workspace.condition(name)["reason"] == "EgressDenied"
        assert workspace.condition(name, "Stalled")["status"] == "True"

"""The kind ExternalSource as the API server knows it: what it admits, tells, keeps and prints."""

import re

import pytest
import trustme
import yaml

from once import ROOT, condition, run_once
from specs import API_VERSION, CASES, LUA, URL, hook, source, spec

CRD = yaml.safe_load((ROOT / "deploy" / "crd" / "externalsources.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
STATUS = SCHEMA["properties"]["status"]["properties"]
SOURCES = f"/apis/{API_VERSION}/namespaces/{{}}/externalsources"
NAMED = {case.name: case for case in CASES}

# What the cases name.
SURROUNDINGS = """
apiVersion: v1
kind: Secret
metadata: {name: headers}
stringData: {X-Api-Key: key}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: station, labels: {source.flux.oddkin.co/lua: generator}}
data:
  station.lua: |
    local schema = require "schema"
    return { type = "station", config = schema.any {}, generate = function() return { data = "x" } end }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tidy, labels: {source.flux.oddkin.co/lua: transform}}
data: {tidy.lua: "return function(data) return data end"}
"""


@pytest.fixture
def created(cluster, namespace):
    """created(name, spec) makes a source and returns it as the API server keeps it."""

    def create(name, wanted):
        status, found = cluster.request("POST", SOURCES.format(namespace), source(name, wanted))
        assert status == 201, found
        return found

    return create


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Every case as `sluice` judges it: None where it goes on to fetch, or why the spec is refused."""
    directory = tmp_path_factory.mktemp("judged")
    authority = trustme.CA()
    client = authority.issue_cert("client.test")
    secret = {
        "username": "x",
        "password": "x",
        "ca.crt": authority.cert_pem.bytes().decode(),
        "tls.crt": client.cert_chain_pems[0].bytes().decode(),
        "tls.key": client.private_key_pem.bytes().decode(),
    }
    manifests = [
        *yaml.safe_load_all(SURROUNDINGS),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": secret},
        *[source(f"case-{index}", case.spec) for index, case in enumerate(CASES)],
    ]
    found = run_once(directory, manifests)

    def refusal(name):
        return condition(found[name], "Ready")["message"] if condition(found[name], "Stalled") else None

    return {case.name: refusal(f"case-{index}") for index, case in enumerate(CASES)}


@pytest.mark.parametrize("name", NAMED)
def test_the_api_server_admits_good_specs_and_tells_what_is_wrong_with_bad_ones(cluster, name):
    wanted = NAMED[name].crd
    status, answer = cluster.request(
        "POST", SOURCES.format("default") + "?dryRun=All&fieldValidation=Strict", source("case", NAMED[name].spec)
    )
    if wanted is None:
        assert status == 201, answer["message"]
    else:
        assert status in (400, 422), answer
        assert wanted in answer["message"]


@pytest.mark.parametrize("name", NAMED)
def test_sluice_agrees_with_the_api_server_but_for_known_differences(judged, name):
    case = NAMED[name]
    if case.sluice is None:
        assert judged[name] is None
    else:
        assert judged[name] and case.sluice in judged[name]
    assert (case.crd is None) == (case.sluice is None) or case.differs


def test_hooks_before_and_after_the_request_have_one_schema():
    hooks = SCHEMA["properties"]["spec"]["properties"]["hooks"]["properties"]
    assert hooks["preRequest"]["items"] == hooks["postRequest"]["items"]


def fields(schema, path="ExternalSource"):
    """Every schema in the CRD's, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from fields(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from fields(schema[key], f"{path}[]")


def test_every_field_has_a_description():
    # The API server forbids one of metadata.
    without = [path for path, schema in fields(SCHEMA) if not schema.get("description", "").endswith(".")]
    assert without == ["ExternalSource.metadata"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "publishes the result as an ExternalArtifact"),
        (".spec.interval", "a Go duration of at least 1m"),
        (".spec.generator", "a section of the same name"),
        (".spec.generator.http.headersSecretRef", "every key is sent as a header"),
        (".spec.hooks.postRequest.retryPolicy", "ENUM: ignore retry fail"),
        (".spec.hooks.preRequest.luaFrom.configMapKeyRef.key", "Key in the ConfigMap's data"),
        (".status.retry.notBefore", "When the next attempt is due"),
    ],
)
def test_kubectl_explains_fields(cluster, path, words):
    text = cluster.kubectl("explain", f"externalsources{path}")
    assert words in re.sub(r"\s+", " ", text)


def test_defaults_are_filled_in(created):
    found = created("weather", hook(lua=LUA))
    assert found["spec"] == {
        "interval": "5m",
        "destinationPath": "data",
        "maxRetries": 3,
        "generator": {"type": "http", "http": {"url": URL, "method": "GET"}},
        "hooks": {"postRequest": [{"lua": LUA, "retryPolicy": "fail"}]},
    }


def test_a_new_source_is_not_taken_for_one_that_was_reconciled(created):
    assert created("weather", spec())["status"] == {"observedGeneration": -1}


def test_the_section_of_a_type_that_does_not_ship_is_kept_as_it_is(created):
    section = {"deep": {"er": [1, {"x": "y"}]}, "list": []}
    found = created("weather", spec(generator={"type": "station", "station": section}))
    assert found["spec"]["generator"] == {"type": "station", "station": section}


@pytest.mark.parametrize("name", ["externalsources", "externalsource", "extsrc", "all", "fluxcd", "fluxcd-sources"])
def test_kubectl_finds_sources_by_kind_short_name_and_categories(cluster, namespace, created, name):
    created("weather", spec())
    assert "weather" in cluster.kubectl("get", name, "-n", namespace, "-o", "name")


def write_status(cluster, namespace, name, status):
    """Writes a status as the controller does, and returns it as the API server keeps it."""
    code, answer = cluster.request(
        "PATCH",
        f"{SOURCES.format(namespace)}/{name}/status?fieldValidation=Strict",
        {"status": status},
        content_type="application/merge-patch+json",
    )
    assert code == 200, answer["message"]
    return answer["status"]


@pytest.fixture
def written(artifact_server, tmp_path):
    """Sources as `sluice run` left them: one Ready, one that is retried, one stalled."""
    artifact_server.artifacts["data.json"] = b"{}"
    url = f"{artifact_server.url}/data.json"
    good = {"type": "http", "http": {"url": url}}
    labelling = "return function(data) return data, { metadata = { station = '7' } } end"
    manifests = [
        source("ready", spec(generator=good, hooks={"postRequest": [{"lua": labelling}]})),
        source("retried", spec()),
        source("stalled", hook(module="missing")),
    ]
    return run_once(tmp_path, manifests)


@pytest.mark.parametrize("name", ["ready", "retried", "stalled"])
def test_a_status_is_kept_as_sluice_writes_it(cluster, namespace, created, written, name):
    status = written[name]["status"]
    created(name, written[name]["spec"])
    assert write_status(cluster, namespace, name, status) == status


def test_the_statuses_that_sluice_writes_have_every_kind_of_content(written):
    assert written["ready"]["status"]["artifact"]["metadata"] == {"station": "7"}
    assert condition(written["ready"], "Ready")["status"] == "True"
    assert written["retried"]["status"]["retry"]["notBefore"]
    assert condition(written["retried"], "Reconciling")["reason"] == "ProgressingWithRetry"
    assert condition(written["stalled"], "Stalled")


def test_every_field_that_the_controller_remembers_is_kept(cluster, namespace, created):
    remembered = {
        "observedGeneration": 3,
        "lastHandledETag": '"v1"',
        "inputsDigest": "ab",
        "lastHandledReconcileAt": "2026-01-02T03:04:05Z",
        "lastHandledForceAt": "2026-01-02 03:04:05.1 +0000 UTC m=+1.5",
        "lastHandledArtifactReconcileAt": "now",
        "retry": {"count": 2, "notBefore": "2026-01-02T03:04:05Z", "inputsDigest": "cd"},
        "conditions": [],
        "artifact": {"revision": "latest@sha256:00"},
    }
    created("weather", spec())
    assert write_status(cluster, namespace, "weather", remembered) == remembered
    assert set(remembered) == set(STATUS)
    assert set(remembered["retry"]) == set(STATUS["retry"]["properties"])


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"token": "x"}, 'unknown field "status.token"'),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].reason: Required value"),
        ({"retry": {"notBefore": "soon"}}, "status.retry.notBefore"),
        ({"artifact": {"url": "http://x"}}, "status.artifact.revision: Required value"),
    ],
)
def test_a_status_that_is_none_is_refused(cluster, namespace, created, status, message):
    created("weather", spec())
    with pytest.raises(AssertionError, match=re.escape(message)):
        write_status(cluster, namespace, "weather", status)


def test_conditions_are_a_map_by_type_for_server_side_apply(cluster, namespace, created):
    def apply(kind, manager):
        since = "2026-01-02T03:04:05Z"
        one = {"type": kind, "status": "True", "reason": "X", "message": "", "lastTransitionTime": since}
        manifest = {"apiVersion": API_VERSION, "kind": "ExternalSource", "metadata": {"name": "weather"}}
        cluster.apply_status({**manifest, "status": {"conditions": [one]}}, namespace, manager)

    created("weather", spec())
    apply("Ready", "first")
    apply("Reconciling", "second")
    found = cluster.get("externalsource", "weather", namespace)["status"]["conditions"]
    assert {one["type"] for one in found} == {"Ready", "Reconciling"}


def table(text):
    """Rows of a kubectl table by column: columns start where their heading does."""
    lines = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", lines[0])]
    ends = [*starts[1:], None]
    return [[line[start:end].strip() for start, end in zip(starts, ends)] for line in lines]


def test_kubectl_get_reads_well(cluster, namespace, created, written):
    for name, found in written.items():
        created(name, found["spec"])
        write_status(cluster, namespace, name, found["status"])
    created("fresh", spec())
    heading, *rows = table(cluster.kubectl("get", "externalsources", "-n", namespace))
    assert heading == ["NAME", "READY", "STATUS", "AGE", "REVISION", "URL"]
    shown = {row[0]: row[1:] for row in rows}
    artifact = written["ready"]["status"]["artifact"]
    ready, message, age, *rest = shown["ready"]
    assert (ready, message) == ("True", f"stored artifact for revision '{artifact['revision']}'")
    assert re.fullmatch(r"\d+s", age)
    assert rest == [artifact["revision"], artifact["url"]]
    assert shown["retried"][:2] == ["False", condition(written["retried"], "Ready")["message"]]
    assert shown["fresh"][:2] == ["", ""]


def test_kubectl_get_wide_adds_type_interval_and_suspension(cluster, namespace, created):
    created("weather", spec(suspend=True))
    heading, row = table(cluster.kubectl("get", "extsrc", "-n", namespace, "-o", "wide"))
    assert heading[-3:] == ["TYPE", "INTERVAL", "SUSPENDED"]
    assert row[-3:] == ["http", "5m", "true"]

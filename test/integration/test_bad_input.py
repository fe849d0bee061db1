"""Bad input: a message that names the object, the field, what was found and what is accepted; the rest goes on."""

import shutil

import pytest
import yaml


@pytest.fixture
def good(workspace, upstream):
    """A source beside the bad one, which must become Ready."""
    url = upstream.answer("/good", b'{"a": 1}')
    workspace.source("good", url)
    return url


def bad_message(workspace, code=1):
    outcome = workspace.once()
    assert outcome.code == code
    assert outcome.rows["good"]["READY"] == "True", outcome.err
    assert outcome.rows["bad"]["READY"] == "False"
    return workspace.condition("bad")["message"]


SPEC_FAULTS = [
    ({"intervall": "5m"}, "bad.yaml:11: spec.intervall: unknown field; did you mean 'interval'? accepted: interval, "),
    ({"suspend": "yes"}, 'spec.suspend: found the string "yes"; accepted: true or false'),
    ({"interval": "30s"}, 'spec.interval: found the string "30s"; accepted: a duration of at least 1m0s, such as 90s'),
    ({"interval": "5 minutes"}, 'spec.interval: found the string "5 minutes"; accepted: a duration of at least'),
    ({"interval": 5}, "spec.interval: found the number 5; accepted: a duration"),
    ({"maxRetries": -1}, "spec.maxRetries: found the number -1; accepted: a whole number from 0 to"),
    ({"destinationPath": "../x"}, 'spec.destinationPath: found "../x", which '),
    ({"destinationPath": "/etc"}, 'spec.destinationPath: found "/etc", which '),
    ({"generator": "x"}, 'spec.generator: found the string "x"; accepted: an object'),
    ({"generator": {"type": "htp", "htp": {}}}, "spec.generator.type: found 'htp'; accepted: http"),
    ({"generator": {"type": "http", "htttp": {}}}, "spec.generator.htttp: unknown field; did you mean 'http'?"),
    ({"generator": {"type": "http"}}, "spec.generator.http.url: missing; accepted: an absolute http or https URL"),
    (
        {"generator": {"type": "http", "http": {"url": "http://127.0.0.1:9", "methd": "GET"}}},
        "spec.generator.http.methd: unknown field; did you mean 'method'? accepted: caBundleSecretRef",
    ),
    (
        {"generator": {"type": "http", "http": {"url": "ftp://x"}}},
        'spec.generator.http.url: found the string "ftp://x"; accepted: an absolute http or https URL',
    ),
    (
        {"hooks": {"postRequest": [{"name": "j", "command": "jq", "args": ["."]}]}},
        "spec.hooks.postRequest[0].command: found the command 'jq', but this version has no hook executor",
    ),
    (
        {"hooks": {"preRequest": [{"name": "j", "lua": "return 1"}]}},
        "spec.hooks.preRequest[0]: found a Lua hook, but before the request only commands can run",
    ),
    (
        {"hooks": {"postRequest": [{"name": "j", "lua": "x", "module": "other"}]}},
        "spec.hooks.postRequest[0]: found more than one of them; accepted: exactly one of 'command'",
    ),
    (
        {"hooks": {"postRequest": [{"name": "j", "lua": "x", "env": [{"name": "A", "valueFrom": {}}]}]}},
        "spec.hooks.postRequest[0].env[0].valueFrom: hooks never see secrets; authenticate in the generator",
    ),
    (
        {"hooks": {"postRequest": [{"name": "j", "lua": "x", "retryPolicy": "never"}]}},
        'spec.hooks.postRequest[0].retryPolicy: found the string "never"; accepted: ignore, retry or fail',
    ),
    (
        {"hooks": {"postRequest": [{"name": "j", "module": "nope"}]}},
        "spec.hooks.postRequest[0].module: found 'nope', but there is no transform module of that name",
    ),
]


@pytest.mark.parametrize("fields, message", SPEC_FAULTS, ids=[message[:40] for _, message in SPEC_FAULTS])
def test_a_fault_of_the_spec_is_named_and_stalls_that_source_alone(workspace, good, upstream, fields, message):
    workspace.source("bad", good, **fields)
    assert message in bad_message(workspace)
    assert workspace.condition("bad", "Stalled")["status"] == "True"
    assert workspace.condition("bad", "Reconciling") is None
    assert workspace.status("bad")["status"]["observedGeneration"] == 1
    assert len(upstream.asked) == 1


def line_of(workspace, text):
    lines = (workspace.manifests / "bad.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


LOCATED = [
    ({"generator": {"type": "htp", "htp": {}}}, "type: htp"),
    ({"generator": {"type": "http", "http": {"url": "http://127.0.0.1:9", "methd": "GET"}}}, "methd:"),
    ({"generator": {"type": "http", "http": {"method": "GET"}}}, "http:"),
    ({"generator": {"type": "http", "http": {"url": "http://127.0.0.1:9", "secretRef": {"name": "nope"}}}}, "http:"),
    ({"generator": {"type": "http", "git": {}}}, "git:"),
    ({"hooks": {"postRequest": [{"name": "j", "command": "jq"}]}}, "command:"),
    ({"hooks": {"preRequest": [{"lua": "return 1", "name": "j"}]}}, "- lua:"),
    ({"hooks": {"postRequest": [{"name": "j", "module": "nope"}]}}, "module:"),
    ({"destinationPath": "."}, "destinationPath:"),
]


@pytest.mark.parametrize("fields, text", LOCATED, ids=[str(fields) for fields, _ in LOCATED])
def test_a_fault_of_the_manifest_begins_with_its_file_and_line(workspace, good, fields, text):
    workspace.source("bad", good, **fields)
    message = bad_message(workspace)
    assert message.startswith(f"{workspace.manifests}/bad.yaml:{line_of(workspace, text)}: "), message


def test_a_module_may_name_the_field_that_its_configuration_error_is_about(workspace, good):
    module = workspace.path / "lua" / "generators" / "picky.lua"
    module.parent.mkdir(parents=True)
    module.write_text(
        "return { type = 'picky', generate = function(ctx, config) error { kind = 'configuration', "
        "reason = 'TooBig', message = 'size: found 9; accepted: 1 to 5', path = 'spec.generator.picky.size' } end }"
    )
    workspace.source("bad", generator={"type": "picky", "picky": {"a": 1, "size": 9}})
    outcome = workspace.once("--lua-path", str(workspace.path / "lua"))
    assert outcome.code == 1
    place = f"{workspace.manifests}/bad.yaml:{line_of(workspace, 'size: 9')}"
    assert outcome.rows["bad"]["MESSAGE"] == f"{place}: generator 'picky': size: found 9; accepted: 1 to 5"
    assert workspace.condition("bad")["reason"] == "TooBig"


def test_a_reason_that_is_none_becomes_generator_failed(workspace, good):
    module = workspace.path / "lua" / "generators" / "odd.lua"
    module.parent.mkdir(parents=True)
    module.write_text("return { type = 'odd', generate = function() error { reason = 'no, sir', message = 'm' } end }")
    workspace.source("bad", generator={"type": "odd"})
    outcome = workspace.once("--lua-path", str(workspace.path / "lua"))
    assert workspace.condition("bad")["reason"] == "GeneratorFailed"
    assert {line["reason"] for line in outcome.logs if line.get("name") == "bad"} == {"GeneratorFailed"}


def test_a_missing_secret_is_named(workspace, good):
    workspace.source("bad", good, config={"headersSecretRef": {"name": "nope"}})
    assert "Secret default/nope: not found; spec.generator.http refers to it" in bad_message(workspace)


def test_a_missing_key_is_named_with_those_that_there_are(workspace, good):
    workspace.secret("ca", one="value-1", two="value-2")
    workspace.source("bad", good, config={"caBundleSecretRef": {"name": "ca", "key": "ca.crt"}})
    message = bad_message(workspace)
    assert "Secret default/ca: has no key 'ca.crt'" in message and "its keys: one, two" in message


def test_an_unreachable_upstream_is_named(workspace, good):
    workspace.source("bad", "http://127.0.0.1:9/x")
    assert "GET http://127.0.0.1:9/x: cannot connect: connection refused" in bad_message(workspace)
    assert workspace.condition("bad")["reason"] == "FetchFailed"


def test_a_host_that_does_not_resolve_is_named(workspace, good):
    workspace.source("bad", "http://no-such-host.invalid/x")
    assert "cannot resolve 'no-such-host.invalid'" in bad_message(workspace)


DOCUMENTS = [
    ("a: [\n", "zz.yaml", "line 2 column"),
    ("a: 1\na: 2\n", "zz.yaml", "a"),
    ("kind: Secret\n", "zz.yaml:1", "without apiVersion and kind"),
    ("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: '%%'}\n", "zz.yaml:1", "Secret default/s: data.k"),
    ("apiVersion: v1\nkind: Secret\nmetadata: {name: S_1}\n", "zz.yaml:1", "metadata.name: found 'S_1'"),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: 1}\n", "zz.yaml:1", "data.k: accepted: a string"),
    (
        "apiVersion: source.flux.oddkin.co/v1alpha1\nkind: ExternalSource\nmetadata: {name: good}\n",
        "zz.yaml:1",
        "ExternalSource default/good is there already",
    ),
]


@pytest.mark.parametrize("text, place, message", DOCUMENTS, ids=[message for _, _, message in DOCUMENTS])
def test_a_document_that_cannot_be_used_is_named_and_the_others_go_on(workspace, good, text, place, message):
    workspace.write("zz.yaml", text)
    outcome = workspace.once()
    assert outcome.code == 1
    assert outcome.rows["good"]["READY"] == "True"
    faults = [line for line in outcome.logs if line["msg"] == "manifest cannot be used"]
    assert len(faults) == 1
    assert faults[0]["place"].endswith(place)
    assert message in faults[0]["error"]


def test_documents_before_and_after_a_bad_one_are_used(workspace, good):
    text = (workspace.manifests / "good.yaml").read_text()
    documents = [text.replace("good", "first"), "apiVersion: v1\nkind: Secret\nmetadata: {name: BAD}\n",
                 text.replace("name: good", "name: last")]
    workspace.write("many.yaml", "---\n".join(documents).replace("/first", "/good"))
    rows = workspace.once().rows
    assert {name: row["READY"] for name, row in rows.items()} == {"good": "True", "first": "True", "last": "True"}


def test_a_typing_error_in_a_manifest_does_not_delete_its_artifact(workspace, good):
    assert workspace.once().code == 0
    manifest = workspace.manifests / "good.yaml"
    text = manifest.read_text()
    artifacts, child = workspace.artifacts("good"), workspace.child("good")
    assert artifacts
    manifest.write_text(text.replace("spec:", "spec: ["))
    outcome = workspace.once()
    assert outcome.code == 1
    assert [line["count"] for line in outcome.logs if "sources without a manifest are kept" in line["msg"]] == ["1"]
    assert workspace.artifacts("good") == artifacts and workspace.child("good") == child
    manifest.unlink()
    assert workspace.once().code == 0
    assert not workspace.artifacts("good")


def test_other_kinds_are_skipped_and_counted_once(workspace, good):
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    workspace.write("pods.yaml", pod + "---\n" + pod)
    outcome = workspace.once()
    assert outcome.code == 0
    skipped = [line for line in outcome.logs if line["msg"] == "manifests of other kinds are skipped"]
    assert [line["count"] for line in skipped] == ["2"]


def test_the_output_of_kubectl_get_is_accepted(workspace, good, upstream):
    source = workspace.manifests / "good.yaml"
    item = yaml.safe_load(source.read_text())
    item["metadata"].update(uid="x", resourceVersion="77", generation=9, creationTimestamp="2026-01-01T00:00:00Z",
                            managedFields=[{"manager": "kubectl"}])
    item["status"] = {"observedGeneration": 9, "conditions": []}
    source.unlink()
    workspace.write("list.yaml", {"apiVersion": "v1", "kind": "List", "items": [item]})
    assert workspace.once().rows["good"]["READY"] == "True"


def test_dot_directories_and_the_data_directory_are_never_read(workspace, good):
    workspace.write(".git/x.yaml", "a: [")
    workspace.data = workspace.manifests / "data"
    assert workspace.once().code == 0
    assert workspace.once().code == 0


def test_what_a_crash_left_in_the_middle_of_a_write_is_removed(workspace, good):
    workspace.once()
    for place in ("status", "externalartifacts"):
        for name in ("good", "other"):
            (workspace.data / place / "default" / f"{name}.yaml.tmp-0123456789abcdef").write_text("half a d")
    assert workspace.once().code == 0
    assert [path.name for path in workspace.data.rglob("*.yaml*")] == ["good.yaml", "good.yaml"]


def test_a_corrupt_status_is_moved_aside(workspace, good):
    workspace.once()
    path = workspace.data / "status" / "default" / "good.yaml"
    path.write_text("a: [")
    assert workspace.once().code == 0
    assert path.with_name("good.yaml.corrupt").read_text() == "a: ["


def test_a_source_whose_outcome_cannot_be_written_is_shown_as_not_ready(workspace, good, upstream):
    directory = workspace.data / "status" / "default"

    def replace_by_a_file():
        shutil.rmtree(directory)
        directory.write_text("in the way")

    workspace.source("lone", upstream.answer("/lone", b"x", meanwhile=replace_by_a_file))
    (workspace.manifests / "good.yaml").unlink()
    outcome = workspace.once()
    assert outcome.code == 1
    row = outcome.rows["lone"]
    assert (row["READY"], row["REVISION"]) == ("False", "-")
    assert row["MESSAGE"] == f"{directory}/lone.yaml: cannot create a temporary file beside it: Not a directory"


GENERATOR_FAULTS = {
    "syntax": ("return {", "weather.lua:1"),
    "no table": ("return 7", "a generator must return a table; found number"),
    "no generate": ("return { type = 'weather' }", "'generate' must be a function; found nil"),
    "run-time": ("local x = nil\nreturn x.y", "weather.lua:2: attempt to index"),
    "same type": ("return { type = 'http', generate = function() end }", "the type 'http' is there already"),
}


@pytest.mark.parametrize("name", GENERATOR_FAULTS)
def test_a_module_that_does_not_load_is_named_and_the_shipped_ones_go_on(workspace, good, name):
    text, message = GENERATOR_FAULTS[name]
    module = workspace.path / "lua" / "generators" / "weather.lua"
    module.parent.mkdir(parents=True)
    module.write_text(text)
    outcome = workspace.once("--lua-path", str(workspace.path / "lua"))
    assert outcome.code == 1
    assert outcome.rows["good"]["READY"] == "True"
    errors = [line["error"] for line in outcome.logs if "does not load" in line["msg"]]
    assert len(errors) == 1 and message in errors[0] and "weather.lua" in errors[0]

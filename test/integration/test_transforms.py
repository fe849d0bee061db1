"""Transforms in a source: what they see, what they may return, and what a failure leaves."""

import tarfile

import pytest


def hook(lua, **fields):
    return {"name": "t", "lua": lua, **fields}


def files(workspace, name="app"):
    with tarfile.open(workspace.artifact(name)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}


@pytest.fixture
def url(upstream):
    return upstream.answer("/a", b'{"n": 1700000000123456, "list": [], "none": null}')


def test_hooks_run_in_order_and_see_their_context(workspace, url):
    first = hook("return function(d, ctx) return d .. ctx.env.WORD, { metadata = { seen = ctx.source.name } } end")
    first["env"] = [{"name": "WORD", "value": "!"}]
    second = hook("return function(d, ctx) return d .. ctx.source.namespace .. ctx.metadata.seen end")
    workspace.source("app", url, [first, second])
    assert workspace.once().code == 0
    assert files(workspace)["data"].endswith(b"}!defaultapp")
    assert workspace.child("app")["status"]["artifact"]["metadata"] == {"seen": "app"}


def test_values_pass_through_unchanged(workspace, url):
    workspace.source("app", url, [hook("return function(d) return json.encode(json.decode(d)) end")])
    workspace.once()
    assert files(workspace)["data"] == b'{"list":[],"n":1700000000123456,"none":null}'


def test_a_table_is_an_artifact_of_many_files_below_the_destination(workspace, url):
    lua = "return function(d) return { ['a/one.yaml'] = 'x: 1\\n', ['two.yaml'] = d } end"
    workspace.source("app", url, [hook(lua)], destinationPath="conf")
    workspace.once()
    assert sorted(files(workspace)) == ["conf/a/one.yaml", "conf/two.yaml"]


def test_a_hook_after_one_that_gave_files_gets_a_table(workspace, url):
    split = hook("return function(d) return { a = '1', b = '2' } end")
    join = hook("return function(d) return d.a .. d.b end")
    workspace.source("app", url, [split, join])
    workspace.once()
    assert files(workspace)["data"] == b"12"


def test_the_event_of_a_failed_run_has_its_last_log_lines(workspace, url):
    lua = "return function(d) log.info('before') print('last words') error('no') end"
    workspace.source("app", url, [hook(lua)])
    events = [line["msg"] for line in workspace.once().logs if line.get("event") == "Warning"]
    assert len(events) == 1 and events[0].endswith("\ninfo: before\ninfo: last words\n")
    assert "last words" not in workspace.condition("app")["message"]


def test_a_module_comes_from_a_labelled_config_map_or_a_directory(workspace, url):
    directory = workspace.path / "lua" / "transforms"
    directory.mkdir(parents=True)
    (directory / "quiet.lua").write_text("return { transform = function(d) return 'quiet' end }")
    shout = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "lua", "labels": {"source.flux.oddkin.co/lua": "transform"}},
        "data": {"shout.lua": "return function(d) return 'SHOUT' end"},
    }
    workspace.write("lua.yaml", shout)
    workspace.source("loud", url, [{"name": "t", "module": "shout"}])
    workspace.source("still", url, [{"name": "t", "module": "quiet"}])
    assert workspace.once("--lua-path", str(workspace.path / "lua")).code == 0
    assert files(workspace, "loud")["data"] == b"SHOUT"
    assert files(workspace, "still")["data"] == b"quiet"


REFUSED = {
    "nothing": ("return function() return nil end", "EmptyResult", "spec.allowEmpty: true"),
    "an empty string": ("return function() return '' end", "EmptyResult", "spec.allowEmpty: true"),
    "an empty table": ("return function() return {} end", "EmptyResult", "spec.allowEmpty: true"),
    "an object": ("return function() return { kind = 'X' } end", "InvalidResult", "use yaml.encode"),
    "a list": ("return function() return { 'a' } end", "InvalidResult", "list"),
    "a number": ("return function() return { a = 1 } end", "InvalidResult", "a"),
    "a path that escapes": ("return function() return { ['../x'] = 'y' } end", "InvalidResult", "../x"),
    "a refusal": ("return function()\n  error { reason = 'NoDays', message = 'no days' }\nend", "NoDays", "no days"),
    "a run-time error": ("return function(d)\n  local x\n  return x.y\nend", "HookFailed", "hook 't' line 3: "),
    "a syntax error": ("return function(d)\n  local =\nend", "HookFailed", "hook 't' line 2: "),
    "no function": ("return 7", "HookFailed", "function"),
    "an endless loop": ("return function() while true do end end", "Timeout", "limit of 500ms"),
    "too much memory": ("return function() local t = {} for i = 1, 1e9 do t[i] = {} end end", "MemoryLimit", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_failure_never_replaces_the_last_good_artifact(workspace, url, name):
    lua, reason, message = REFUSED[name]
    workspace.source("app", url)
    workspace.once()
    child = workspace.child("app")
    timeout = "500ms" if reason == "Timeout" else "20s"
    workspace.source("app", url, [hook(lua, timeout=timeout)])
    workspace.source("beside", url)
    outcome = workspace.once()
    assert outcome.code == 1 and outcome.rows["beside"]["READY"] == "True"
    ready = workspace.condition("app")
    assert (ready["status"], ready["reason"]) == ("False", reason), ready
    assert message in ready["message"]
    assert "; serving latest@sha256:" in ready["message"]
    assert workspace.condition("app", "Stalled") is None
    assert workspace.child("app") == child and workspace.artifact("app").exists()


def test_a_message_about_a_line_names_it_in_the_manifest_too(workspace, url):
    text = f"""\
apiVersion: source.flux.oddkin.co/v1alpha1
kind: ExternalSource
metadata: {{name: app}}
spec:
  interval: 5m
  generator: {{type: http, http: {{url: "{url}"}}}}
  hooks:
    postRequest:
      - name: t
        lua: |
          return function(d)
            local x
            return x.y
          end
"""
    workspace.write("app.yaml", text)
    workspace.once()
    message = workspace.condition("app")["message"]
    assert message.startswith("hook 't' line 3: ")
    assert message.endswith("app.yaml:13)")


def test_refused_data_is_not_taken_for_not_modified(workspace, upstream):
    url = upstream.answer("/a", b"x", etag='"v1"')
    workspace.source("app", url)
    workspace.once()
    refuse = hook("return function(d) if d == 'y' then error { reason = 'No' } end return d end")
    upstream.answer("/a", b"y", etag='"v2"')
    workspace.source("app", url, [refuse])
    workspace.once()
    workspace.once()
    assert [asked.status for asked in upstream.asked] == [200, 200, 200]
    assert workspace.status("app")["status"]["lastHandledETag"] == '"v1"'


@pytest.mark.parametrize("text", ["apiVersion: v1\nkind: ConfigMap\n", '{"kind": "ConfigMap", "apiVersion": "v1"}'])
def test_a_manifest_that_flux_would_ignore_is_told_of(workspace, upstream, text):
    url = upstream.answer("/manifest", text.encode())
    workspace.source("data", url)
    workspace.source("named", url, destinationPath="a.yaml")
    workspace.source("other", upstream.answer("/other", b"kind: of\n"))
    warnings = [line for line in workspace.once().logs if line.get("reason") == "ManifestIgnored"]
    assert [line["name"] for line in warnings] == ["data"]
    assert "the artifact's file 'data' looks like a Kubernetes manifest, but kustomize-controller will ignore it" in (
        warnings[0]["msg"]
    )
    assert f"{workspace.manifests}/data.yaml:" in warnings[0]["msg"]
    assert workspace.once().code == 0


def test_allow_empty_means_it(workspace, url):
    workspace.source("app", url, [hook("return function() return '' end")], allowEmpty=True)
    assert workspace.once().code == 0
    assert files(workspace) == {"data": b""}


def test_ignore_passes_over_a_mistake_and_never_over_a_refusal(workspace, url):
    crash = hook("return function(d) local x return x.y end", retryPolicy="ignore")
    refusal = hook("return function(d) error { reason = 'Meant' } end", retryPolicy="ignore")
    workspace.source("crash", url, [crash])
    workspace.source("refusal", url, [refusal])
    rows = workspace.once().rows
    assert rows["crash"]["READY"] == "True" and files(workspace, "crash")["data"].startswith(b'{"n"')
    assert workspace.condition("refusal")["reason"] == "Meant"


STATION = """\
local http, schema = require "http", require "schema"
local M = { type = "station" }
M.config = schema.object { url = schema.url { required = true }, units = schema.enum { "metric", default = "metric" } }
function M.generate(ctx, config)
  local r = http.get { url = config.url, query = { units = config.units }, if_changed_since = ctx.last_modified }
  if r.not_modified then return ctx.not_modified end
  log.info("fetched", #r.body)
  return { data = { ["a.json"] = r.body, ["b.txt"] = ctx.source.name .. r:no_such() }, last_modified = r.token }
end
return M
"""


def module(workspace, name, text):
    path = workspace.path / "lua" / "generators" / f"{name}.lua"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return ["--lua-path", str(workspace.path / "lua")]


def test_a_generator_of_a_platform_team_fetches_conditionally(workspace, upstream):
    flags = module(workspace, "station", STATION.replace("r:no_such()", "r.body:json().n"))
    url = upstream.answer("/s", b"")
    upstream.answer("/s?units=metric", b'{"n": "-1"}', etag='"v1"')
    workspace.source("app", generator={"type": "station", "station": {"url": url}})
    assert workspace.once(*flags).code == 0
    assert workspace.once(*flags).code == 0
    assert [asked.status for asked in upstream.asked] == [200, 304]
    assert files(workspace) == {"data/a.json": b'{"n": "-1"}', "data/b.txt": b"app-1"}


def test_a_generators_mistake_names_its_file_and_line(workspace, upstream):
    flags = module(workspace, "station", STATION)
    url = upstream.answer("/s", b"")
    upstream.answer("/s?units=metric", b"{}")
    workspace.source("app", generator={"type": "station", "station": {"url": url}})
    assert workspace.once(*flags).code == 1
    ready = workspace.condition("app")
    assert ready["reason"] == "GeneratorFailed"
    assert "station.lua:8: " in ready["message"]


TICKET = """\
local http = require "http"
local M = { type = "ticket" }
function M.get_last_modified(ctx, config) return http.get({ url = config.url .. "/version" }).body:read() end
function M.generate(ctx, config) return { data = http.get({ url = config.url .. "/data" }).body } end
return M
"""


def test_a_module_may_tell_its_token_instead(workspace, upstream):
    flags = module(workspace, "ticket", TICKET)
    upstream.answer("/version", b"7")
    upstream.answer("/data", b"x")
    workspace.source("app", generator={"type": "ticket", "ticket": {"url": upstream.url}})
    for version in (b"7", b"7", b"8"):
        upstream.answer("/version", version)
        assert workspace.once(*flags).code == 0
    assert [asked.path for asked in upstream.asked] == ["/version", "/data", "/version", "/version", "/data"]
    assert workspace.status("app")["status"]["lastHandledETag"] == "8"


def test_a_generator_that_recurses_without_end_says_so(workspace, upstream):
    text = "local function down() return 1 + down() end\nreturn { type = 'deep', generate = down }"
    flags = module(workspace, "deep", text)
    workspace.source("deep", generator={"type": "deep"})
    outcome = workspace.once(*flags)
    assert outcome.rows["deep"]["MESSAGE"].startswith("generator 'deep': ")
    assert "stack overflow" in outcome.rows["deep"]["MESSAGE"]
    assert workspace.condition("deep")["reason"] == "GeneratorFailed"


def test_an_endless_generator_is_stopped_and_the_others_go_on(workspace, upstream):
    flags = module(workspace, "spin", "return { type = 'spin', generate = function() while true do pcall(error) end end }")
    module(workspace, "hang", "return { type = 'hang', generate = function() return ('a'):rep(1e5):find('.-.-.-.-b') end }")
    workspace.source("spin", generator={"type": "spin", "spin": {}})
    workspace.source("hang", generator={"type": "hang", "hang": {}})
    workspace.source("app", upstream.answer("/a", b"x"))
    rows = workspace.once(*flags).rows
    assert rows["app"]["READY"] == "True"
    assert workspace.condition("spin")["reason"] == "Timeout"
    assert workspace.condition("hang")["reason"] == "Timeout"


def test_a_secrets_text_is_denied_until_a_policy_allows_it(workspace, upstream):
    flags = module(workspace, "peek", "return { type = 'peek', generate = function(ctx)\n"
                   "return { data = 'seen ' .. #ctx.secret({ name = 's' }, 'k'):text() } end }")
    workspace.secret("s", k="value")
    workspace.source("app", generator={"type": "peek", "peek": {}})
    assert workspace.once(*flags).code == 1
    assert "a policy of the type 'secrets' must allow it" in workspace.condition("app")["message"]
    policy = workspace.path / "lua" / "policies" / "secrets.lua"
    policy.parent.mkdir()
    policy.write_text("return { type = 'secrets', allow = function(r) return r.secret == 's' and r.key == 'k' end }")
    assert workspace.once(*flags).code == 0
    assert files(workspace)["data"] == b"seen 5"


def test_a_policy_denies_by_host(workspace, upstream):
    flags = module(workspace, "x", "return { type = 'x', generate = function() return { data = 'x' } end }")
    policy = workspace.path / "lua" / "policies" / "hosts.lua"
    policy.parent.mkdir()
    policy.write_text("return { type = 'egress', allow = function(r) return r.host ~= '127.0.0.1', 'not at home' end }")
    workspace.source("app", upstream.answer("/a", b"x"))
    assert workspace.once(*flags).code == 1
    ready = workspace.condition("app")
    assert ready["reason"] == "EgressDenied" and "not at home" in ready["message"]
    assert upstream.asked == []

"""Lua in ConfigMaps: the platform team's modules, live without a restart, and a team's own transforms."""

import time

import pytest

from team import WATCHED, Team, unpack

GENERATOR = """
local schema = require "schema"
return {{
  type = "{name}",
  config = schema.object {{ greeting = schema.string {{ required = true }} }},
  generate = function(ctx, config) return {{ data = config.greeting .. "{mark}" }} end,
}}
"""
BROKEN = 'local x = 1\nreturn { type = "hello"\n  generate = x }\n'
PREFIX = 'return function(data) return "{prefix}" .. data end'


DENY_SECRET = """
return {
  type = "egress",
  allow = function(request)
    if request.url:find("/secret", 1, true) then return false, "not there" end
    return true
  end,
}
"""


class Platform(Team):
    """The controller's namespace, with the platform team's modules."""

    def module(self, kind, name, text, config_map=None):
        """Applies a ConfigMap with one module; returns when that was, on the monotonic clock."""
        labels = {"source.flux.oddkin.co/lua": kind, "test": "lua"}
        self.config_map(config_map or f"{kind}-{name}", {f"{name}.lua": text}, labels)
        return time.monotonic()


@pytest.fixture
def platform(cluster, controller):
    yield Platform(cluster, "flux-system")
    cluster.kubectl("delete", "configmaps", "-n", "flux-system", "-l", "test=lua")


def greeting(team, name="weather", kind="hello", **fields):
    team.source(name, generator={"type": kind, kind: {"greeting": "hi"}}, **fields)


def wait_data(team, text, name="weather"):
    def is_so():
        assert team.child(name) and team.child(name).get("status"), team.status(name)
        return team.artifact(name) == {"data": text}

    team.wait(is_so, f"the artifact to be {text!r}")
    team.wait_ready(name)  # Its status follows the ExternalArtifact.


def test_a_type_that_exists_only_in_a_config_map_works_on_a_running_controller(team, platform):
    greeting(team)
    team.wait_stalled("weather", "InvalidSpec", "found 'hello'")
    applied = platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    wait_data(team, "hi!")
    took = time.monotonic() - applied
    print(f"live after {took:.2f} s")
    assert took < 10


def test_a_changed_module_wakes_the_sources_that_use_it_and_no_others(team, platform, upstream):
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    greeting(team, interval="1h")
    team.source("other", upstream.answer("/", b"sunny"), interval="1h")
    wait_data(team, "hi!")
    team.wait_ready("other")
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="?"))
    wait_data(team, "hi?")
    time.sleep(0.5)
    assert len(upstream.asked) == 1


def test_a_broken_module_changes_nothing_and_says_where_it_is_broken(controller, team, platform, upstream):
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    greeting(team, interval="1h")
    wait_data(team, "hi!")
    platform.module("generator", "hello", BROKEN)
    told = team.wait(lambda: platform.events("generator-hello", "ConfigMap"), "an event on the ConfigMap")[-1]
    assert told["type"] == "Warning"
    assert "ConfigMap flux-system/generator-hello key hello.lua" in told["note"]
    assert "line 3" in told["note"] or ":3:" in told["note"], told["note"]
    assert "'}' expected" in told["note"]
    assert "generator-hello" in str(controller.metrics("externalsource_module_refused_total"))
    # The old one goes on, also for new sources; and other modules are taken up.
    greeting(team, "second")
    wait_data(team, "hi!", "second")
    platform.module("transform", "shout", 'return function(data) return data:upper() end')
    team.source("third", upstream.answer("/", b"sunny"), [{"module": "shout"}])
    wait_data(team, "SUNNY", "third")
    # Mended, it is used.
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="."))
    wait_data(team, "hi.")


def test_a_deleted_module_stalls_the_sources_that_use_it(team, platform):
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    greeting(team, interval="1h")
    wait_data(team, "hi!")
    platform.delete("configmap", "generator-hello")
    ready = team.wait_stalled("weather", "InvalidSpec", "found 'hello'")
    assert "; serving latest@sha256:" in ready["message"]
    assert team.artifact("weather") == {"data": "hi!"}
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    team.wait_ready("weather")


def test_a_transform_of_the_platforms_may_require_a_library_of_its_own(team, platform, upstream):
    platform.module("library", "marks", 'return { mark = "!" }')
    shout = 'local marks = require "marks"\nreturn function(data) return data .. marks.mark end'
    platform.module("transform", "shout", shout)
    team.source("weather", upstream.answer("/", b"sunny"), [{"module": "shout"}], interval="1h")
    wait_data(team, "sunny!")
    platform.module("library", "marks", 'return { mark = "?" }')
    wait_data(team, "sunny?")


def test_an_egress_policy_denies_as_soon_as_it_is_applied_and_no_longer(team, platform, upstream):
    url = upstream.answer("/secret", b"sunny")
    team.source("weather", url, interval="1h")
    team.wait_ready("weather")
    platform.module("policy", "deny", DENY_SECRET)
    team.wait(lambda: team.request("weather") and team.condition("weather")["reason"] == "EgressDenied", "a denial")
    assert "not there" in team.condition("weather")["message"]
    platform.delete("configmap", "policy-deny")
    team.wait(lambda: team.request("weather") and team.condition("weather")["status"] == "True", "it to be allowed again")


def test_of_two_modules_with_one_name_the_older_is_used_and_the_other_told(controller, team, platform, upstream):
    platform.module("transform", "mark", PREFIX.format(prefix="older "), "z-older")
    team.source("weather", upstream.answer("/", b"sunny"), [{"module": "mark"}], interval="1h")
    wait_data(team, "older sunny")
    time.sleep(1.1)  # The time of creation has whole seconds.
    platform.module("transform", "mark", PREFIX.format(prefix="younger "), "a-younger")
    told = team.wait(lambda: platform.events("a-younger", "ConfigMap"), "an event on the younger")[0]
    assert told["reason"] == "InvalidModule"
    assert "there is a transform 'mark' already, from ConfigMap flux-system/z-older key mark.lua" in told["note"]
    controller.restart()
    team.reconcile("weather")
    assert team.artifact("weather") == {"data": "older sunny"}
    platform.delete("configmap", "z-older")
    wait_data(team, "younger sunny")


def test_a_config_map_elsewhere_or_without_the_label_is_no_module(team, platform):
    labels = {"source.flux.oddkin.co/lua": "generator"}
    team.config_map("hello", {"elsewhere.lua": GENERATOR.format(name="elsewhere", mark="!")}, labels)
    platform.config_map("plain", {"elsewhere.lua": GENERATOR.format(name="elsewhere", mark="!")}, {"test": "lua"})
    greeting(team, kind="elsewhere")
    team.wait_stalled("weather", "InvalidSpec", "found 'elsewhere'")


def test_a_call_in_flight_finishes_on_the_old_host(controller, team, platform, upstream):
    text = """
    local http = require "http"
    return {{
      type = "slow", config = require("schema").any {{}},
      generate = function(ctx, config) return {{ data = http.get({{ url = config.url }}).body:read() .. "{mark}" }} end,
    }}
    """
    platform.module("generator", "slow", text.format(mark="old"))
    url = upstream.answer("/", b"body ", delay=3)
    team.source("weather", generator={"type": "slow", "slow": {"url": url}}, interval="1h")
    team.wait(lambda: upstream.asked, "the fetch to begin")
    upstream.answer("/", b"body ")
    platform.module("generator", "slow", text.format(mark="new"))
    # What the old one made is made again by the new one; the artifact before the last is still kept.
    wait_data(team, "body new")
    assert len(upstream.asked) == 2
    texts = [unpack(path.read_bytes())["data"] for path in controller.files(team.namespace, "weather")]
    assert sorted(texts) == ["body new", "body old"]


def test_a_team_keeps_a_transform_in_a_config_map_of_its_own(team, upstream):
    reference = {"luaFrom": {"configMapKeyRef": {"name": "mine", "key": "prefix.lua"}}}
    team.source("weather", upstream.answer("/", b"sunny", etag='"1"'), [reference], interval="1h")
    team.wait_stalled("weather", contains=f"ConfigMap {team.namespace}/mine: not found")
    team.config_map("mine", {"prefix.lua": PREFIX.format(prefix="a ")}, WATCHED)
    wait_data(team, "a sunny")
    team.wait_ready("weather")
    team.config_map("mine", {"prefix.lua": PREFIX.format(prefix="b ")}, WATCHED)
    wait_data(team, "b sunny")
    team.config_map("mine", {"other.lua": ""}, WATCHED)
    team.wait_stalled("weather", contains="has no key 'prefix.lua'")
    assert team.artifact("weather") == {"data": "b sunny"}


def test_a_team_never_reads_another_teams_config_map(team, cluster, upstream):
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {
        "prefix.lua": PREFIX.format(prefix="stolen ")}}, namespace="default")
    try:
        reference = {"luaFrom": {"configMapKeyRef": {"name": "theirs", "key": "prefix.lua"}}}
        team.source("weather", upstream.answer("/", b"sunny"), [reference])
        team.wait_stalled("weather", contains="theirs: not found")
    finally:
        cluster.kubectl("delete", "configmap", "theirs", "-n", "default")


def test_a_broken_transform_of_a_team_names_its_line_and_keeps_the_artifact(team, upstream):
    fine = {"name": "fine", "lua": PREFIX.format(prefix="a ")}
    team.source("weather", upstream.answer("/", b"sunny"), [fine], interval="1h")
    wait_data(team, "a sunny")
    bad = {"name": "bad", "lua": "return function(data)\n  return data.x.y\nend"}
    team.source("weather", upstream.url + "/", [bad], interval="1h")
    ready = team.wait_ready("weather", "False", "HookFailed")
    assert ready["message"].startswith("hook 'bad' line 2:"), ready
    assert "Stalled" not in team.conditions("weather")
    assert team.artifact("weather") == {"data": "a sunny"}


def test_a_field_that_the_modules_schema_refuses_stalls_that_source_and_no_other(team, platform):
    platform.module("generator", "hello", GENERATOR.format(name="hello", mark="!"))
    greeting(team, "good")
    # The CRD admits all of them: it cannot know the type.
    team.source("typo", generator={"type": "hello", "hello": {"greeting": "hi", "gretting": "hi"}})
    team.source("number", generator={"type": "hello", "hello": {"greeting": 1}})
    team.source("missing", generator={"type": "hello", "hello": {}})
    team.source("section", generator={"type": "hello", "hello": {"greeting": "hi"}, "helo": {}})
    wait_data(team, "hi!", "good")
    team.wait_stalled("typo", "InvalidSpec", "spec.generator.hello.gretting")
    team.wait_stalled("number", "InvalidSpec", "spec.generator.hello.greeting")
    team.wait_stalled("missing", "InvalidSpec", "spec.generator.hello.greeting")
    team.wait_stalled("section", "InvalidSpec", "spec.generator.helo")
    team.wait_ready("good")

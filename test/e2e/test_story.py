"""The whole way: an upstream's JSON, a team's transform, an artifact, Flux's own kustomize-controller, a ConfigMap."""

import hashlib
import json
import urllib.error
import urllib.request

import pytest
import trustme

from team import Team
from upstream import Upstream

TO_CONFIG_MAP = """
return function(data)
  local report = json.decode(data)
  return yaml.encode {{
    apiVersion = "v1", kind = "ConfigMap", metadata = {{ name = "weather" }},
    data = {{ sky = {prefix!r} .. report.sky }},
  }}
end
"""


def transform(prefix=""):
    return {"name": "to-configmap", "lua": TO_CONFIG_MAP.format(prefix=prefix)}


def sky(text):
    return json.dumps({"sky": text}).encode()


def weather(team, url, prefix="", **fields):
    """A source of weather, and the Kustomization that applies it."""
    team.source("weather", url, [transform(prefix)], destinationPath="weather.yaml", **fields)
    spec = {
        "interval": "10m",
        "path": "./",
        "prune": True,
        "sourceRef": {"kind": "ExternalArtifact", "name": "weather"},
        "targetNamespace": team.namespace,
        "timeout": "30s",
    }
    kustomization = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    team.apply({**kustomization, "metadata": {"name": "weather"}, "spec": spec})


def applied(team):
    found = team.cluster.get("configmap", "weather", team.namespace)
    return found and found["data"]["sky"]


def wait_applied(team, text, timeout=40):
    team.wait(lambda: applied(team) == text, f"the ConfigMap to say {text!r}", timeout)


@pytest.fixture
def team(cluster, controller, kustomize_controller, namespace):
    yield Team(cluster, namespace)
    # Before its namespace goes: kustomize-controller cannot work in one that is terminating.
    cluster.kubectl("delete", "kustomizations", "--all", "-n", namespace)


def test_an_upstreams_json_becomes_a_config_map_and_follows_upstream(team, upstream):
    url = upstream.answer("/", sky("clear"), etag='"1"')
    weather(team, url)
    wait_applied(team, "clear")
    team.kubectl("wait", "--for=condition=Ready", "externalsource/weather", "kustomization/weather", "--timeout=30s")
    applied_revision = team.cluster.get("kustomization", "weather", team.namespace)["status"]["lastAppliedRevision"]
    assert applied_revision == team.status("weather")["artifact"]["revision"]
    assert len(upstream.asked) == 1
    # Nobody asks: the interval alone brings it.
    upstream.answer("/", sky("rain"), etag='"2"')
    wait_applied(team, "rain", timeout=100)
    assert [one.status for one in upstream.asked] == [200, 200]
    assert upstream.asked[1].headers["if-none-match"] == '"1"'


def test_a_request_brings_a_change_at_once(team, upstream):
    url = upstream.answer("/", sky("clear"))
    weather(team, url, interval="1h")
    wait_applied(team, "clear")
    upstream.answer("/", sky("hail"))
    team.reconcile("weather")
    wait_applied(team, "hail")


def test_the_last_artifact_is_served_while_upstream_is_dead(team, controller):
    dying = Upstream()
    weather(team, dying.answer("/", sky("clear")), interval="1h")
    wait_applied(team, "clear")
    good = team.status("weather")["artifact"]
    dying.close()
    team.request("weather")
    since = f"; serving {good['revision']} since {good['lastUpdateTime']}"
    ready = team.wait_ready("weather", "False", "FetchFailed", since)
    assert ready["message"].endswith(since)
    assert team.condition("weather", "Reconciling")["reason"] == "ProgressingWithRetry"
    assert team.status("weather")["artifact"] == good
    assert team.child("weather")["status"]["conditions"][0]["status"] == "True"
    with urllib.request.urlopen(team.child("weather")["status"]["artifact"]["url"], timeout=10) as answer:
        assert f"sha256:{hashlib.sha256(answer.read()).hexdigest()}" == good["digest"]
    # Upstream comes back where it was, and nobody has to ask for it.
    port = int(dying.url.rsplit(":", 1)[1])
    revived = Upstream(port=port)
    try:
        revived.answer("/", sky("fog"))
        wait_applied(team, "fog")
        team.wait_ready("weather")
    finally:
        revived.close()


def test_two_environments_have_transforms_of_their_own(team, cluster, upstream, controller):
    url = upstream.answer("/", sky("clear"))
    other = Team(cluster, team.namespace + "-other")
    cluster.kubectl("create", "namespace", other.namespace)
    try:
        weather(team, url, "staging: ")
        weather(other, url, "production: ")
        wait_applied(team, "staging: clear")
        wait_applied(other, "production: clear")
    finally:
        cluster.kubectl("delete", "kustomizations", "--all", "-n", other.namespace)
        cluster.kubectl("delete", "namespace", other.namespace, "--wait=false")


def test_a_private_authority_and_a_secret_header_are_used_and_not_told(team, controller):
    authority = trustme.CA()
    secret = "s3cr3t-of-the-weather"
    upstream = Upstream(authority.issue_cert("127.0.0.1"))
    try:
        team.secret("headers", **{"X-Api-Key": secret})
        team.secret("authority", **{"ca.crt": authority.cert_pem.bytes().decode()})
        config = {
            "headersSecretRef": {"name": "headers"},
            "caBundleSecretRef": {"name": "authority", "key": "ca.crt"},
        }
        weather(team, upstream.answer("/", sky("clear")), config=config)
        wait_applied(team, "clear")
        assert upstream.asked[0].headers["x-api-key"] == secret
        told = controller.log.read_text() + json.dumps(team.get("weather")) + json.dumps(team.events("weather"))
        assert secret not in told
    finally:
        upstream.close()


def test_without_its_authority_a_tls_upstream_is_not_trusted(team):
    authority = trustme.CA()
    upstream = Upstream(authority.issue_cert("127.0.0.1"))
    try:
        team.source("weather", upstream.answer("/", sky("clear")))
        team.wait_ready("weather", "False", "FetchFailed", "certificate")
        assert upstream.asked == []
    finally:
        upstream.close()


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_controller_that_was_restarted_goes_on(team, controller, upstream, kill):
    url = upstream.answer("/", sky("clear"), etag='"1"')
    weather(team, url, interval="1h")
    wait_applied(team, "clear")
    before = team.get("weather")
    controller.restart(kill=kill)
    upstream.answer("/", sky("snow"), etag='"2"')
    assert team.get("weather")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    team.reconcile("weather")
    wait_applied(team, "snow")
    assert upstream.asked[-1].headers["if-none-match"] == '"1"'


def test_a_source_that_is_deleted_leaves_nothing(team, controller, upstream):
    weather(team, upstream.answer("/", sky("clear")))
    wait_applied(team, "clear")
    url = team.child("weather")["status"]["artifact"]["url"]
    assert controller.files(team.namespace, "weather")
    team.delete("externalsource", "weather", "--timeout=30s")
    assert team.get("weather") is None
    assert team.child("weather") is None
    assert controller.files(team.namespace, "weather") == []
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url, timeout=10)
    assert not [one for one in controller.metrics("externalsource_reconciliation_total") if team.namespace in one]


def test_a_namespace_that_is_deleted_with_its_sources_goes(team, controller, upstream, cluster):
    team.source("weather", upstream.answer("/", sky("clear")))
    team.wait_ready("weather")
    cluster.kubectl("create", "namespace", team.namespace + "-gone")
    other = Team(cluster, team.namespace + "-gone")
    other.source("weather", upstream.url + "/")
    other.wait_ready("weather")
    cluster.kubectl("delete", "namespace", other.namespace, "--timeout=60s")
    assert controller.files(other.namespace, "weather") == []
    assert team.artifact("weather")

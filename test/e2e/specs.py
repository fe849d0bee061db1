"""Specs of ExternalSources, good and bad, that the CRD and `sluice` must judge alike: test_crd.py.

A case's `crd` and `sluice` are parts of the messages that refuse it; None is: admitted. Where only one of them is
set they differ, and `differs` says why that is meant.
"""

import copy
import dataclasses

API_VERSION = "source.flux.oddkin.co/v1alpha1"
# Nothing listens there; a source that is admitted gets no further than its fetch.
URL = "http://127.0.0.1:9/data.json"
LUA = "return function(data) return data end"
INTERVAL = "a duration of at least 1m"


@dataclasses.dataclass
class Case:
    name: str
    spec: object
    crd: str | None = None
    sluice: str | None = None
    differs: str | None = None


def source(name, spec, **metadata):
    return {"apiVersion": API_VERSION, "kind": "ExternalSource", "metadata": {"name": name, **metadata}, "spec": spec}


def spec(**fields):
    return {"interval": "5m", "generator": {"type": "http", "http": {"url": URL}}, **fields}


def http(**fields):
    return spec(generator={"type": "http", "http": {"url": URL, **fields}})


def without(path):
    """A good spec without one field, given as `generator.http.url`."""
    made = copy.deepcopy(spec())
    *parents, last = path.split(".")
    at = made
    for name in parents:
        at = at[name]
    del at[last]
    return made


def hook(**fields):
    return spec(hooks={"postRequest": [fields]})


def env(*variables):
    return hook(lua=LUA, env=list(variables))


def good(name, value):
    return Case(name, value)


def bad(name, value, crd, sluice):
    return Case(name, value, crd, sluice)


def bad_path(name, path, fault, sluice=None):
    return bad(name, spec(destinationPath=path), fault, sluice or "accepted: a relative path within the artifact")


GOOD = [
    good("the least", spec()),
    good("every field", spec(
        suspend=False, allowEmpty=True, timeout="500ms", destinationPath="a/b.yaml", maxRetries=0,
        hooks={"preRequest": [], "postRequest": [
            {"name": "shape", "lua": LUA, "timeout": "2m", "retryPolicy": "ignore",
             "env": [{"name": "A_1", "value": "x"}, {"name": "_b"}]},
            {"module": "tidy", "retryPolicy": "retry", "args": []}]},
        generator={"type": "http", "http": {
            "url": "https://[::1]:9/@a?b=c#d", "method": "HEAD", "insecureSkipVerify": True,
            "headersSecretRef": {"name": "headers"}, "caBundleSecretRef": {"name": "s", "key": "ca.crt"},
            "secretRef": {"name": "s"}, "certSecretRef": {"name": "s"}}})),
    good("a transform from a ConfigMap", hook(luaFrom={"configMapKeyRef": {"name": "c", "key": "k.lua"}})),
    *[good(f"interval {text}", spec(interval=text))
      for text in ("1m", "60s", "1.5h", "1h30m", "60000ms", "0.5m0.5m", "878400h")],
    *[good(f"a path {path!r}", spec(destinationPath=path))
      for path in (".", "a", "a/b/c.yaml", "..a/b", "a..b/.c", "é/ü.json", "x" * 255, "/".join(["x" * 200] * 5))],
    good("null is: not given", spec(
        suspend=None, timeout=None, destinationPath=None, maxRetries=None, allowEmpty=None, hooks=None)),
    good("null in a hook is: not given", hook(
        lua=LUA, command=None, args=None, env=None, timeout=None, retryPolicy=None, name=None)),
    good("null in the generator's section is: not given", http(method=None, secretRef=None, insecureSkipVerify=None)),
    good("an empty inline transform, which fails when it runs", hook(lua="")),
    good("hooks of neither kind", spec(hooks={})),
    good("another type", spec(generator={"type": "station", "station": {"any": ["thing", {"at": "all"}]}})),
    good("another type without a section", spec(generator={"type": "station"})),
    *[good(f"method {method}", http(method=method)) for method in ("GET", "POST", "PUT", "PATCH", "HEAD")],
]

OF_SPEC = [
    bad("no interval", without("interval"), "spec.interval: Required value", "spec.interval: missing"),
    bad("an interval below a minute", spec(interval="59s"), INTERVAL, INTERVAL),
    *[bad(f"interval {text!r}", spec(interval=text), "spec.interval: Invalid value", INTERVAL)
      for text in ("", "5", "1d", "-5m", "5m ", " 5m", "1e3s", ".5h", "5.m", "60µs", "878401h", "5m\n")],
    bad("an interval that is a number", spec(interval=300), "must be of type string", INTERVAL),
    bad("a misspelt field", spec(intervall="5m"), 'unknown field "spec.intervall"', "did you mean 'interval'?"),
    bad("a timeout of nothing", spec(timeout="0s"), "at least 1ms", "spec.timeout: found"),
    bad("a timeout without unit", spec(timeout="30"), "spec.timeout", "spec.timeout: found"),
    bad("negative retries", spec(maxRetries=-1), "spec.maxRetries", "a whole number from 0 to 100"),
    bad("too many retries", spec(maxRetries=101), "spec.maxRetries", "a whole number from 0 to 100"),
    bad("half a retry", spec(maxRetries=1.5), "spec.maxRetries", "a whole number from 0 to 100"),
    bad("retries as text", spec(maxRetries="3"), "spec.maxRetries", "a whole number from 0 to 100"),
    bad("suspend as text", spec(suspend="yes"), "spec.suspend", "spec.suspend: found"),
    bad("allowEmpty as a number", spec(allowEmpty=1), "spec.allowEmpty", "spec.allowEmpty: found"),
]

OF_PATH = [
    bad_path("an empty path", "", "has an empty"),
    bad_path("an absolute path", "/etc/x", "is absolute"),
    *[bad_path(f"a path {path!r}", path, "has an empty, '.' or '..' segment")
      for path in ("a//b", "a/", "./a", "a/./b", "..", "../a", "a/../b", "a/..", "x../y")],
    bad_path("a path with a backslash", "a\\b", "has a backslash or a control"),
    bad_path("a path with a control character", "a\x01b", "or a control character"),
    bad_path("a path with DEL", "a\x7fb", "or a control character"),
    bad_path("a path with a long segment", "a/" + "x" * 256, "segment longer than 255 bytes"),
    bad_path("a path of 1025 characters", "/".join(["x" * 204] * 5) + "x", "may not be more than 1024",
             "spec.destinationPath: found"),
    bad("a path that is a list", spec(destinationPath=["a"]), "spec.destinationPath", "spec.destinationPath: found"),
]

OF_GENERATOR = [
    bad("no generator", without("generator"), "spec.generator: Required value", "spec.generator: missing"),
    bad("no type", without("generator.type"), "spec.generator.type: Required", "a generator's type, such as http"),
    *[bad(f"type {name!r}", spec(generator={"type": name}), "spec.generator.type", "a generator's type, such as http")
      for name in ("", "HTTP", "-http", "http-", "a_b", "x" * 64)],
    bad("the type 'type'", spec(generator={"type": "type"}), "a generator's type", "spec.generator.type: found"),
    bad("the type http without its section", without("generator.http"),
        "spec.generator.http: Required value", "spec.generator.http.url: missing"),
    bad("another type with the section of http",
        spec(generator={"type": "station", "station": {}, "http": {"url": URL}}),
        "the section http belongs to the type http", "spec.generator.http: unknown field"),
    bad("a section that is a text", spec(generator={"type": "http", "http": URL}),
        "spec.generator.http", "spec.generator.http: found"),
    bad("no url", without("generator.http.url"), "http.url: Required value", "spec.generator.http.url: missing"),
    *[bad(f"url {url!r}", http(url=url), "an absolute http or https URL", "an absolute http or https URL")
      for url in ("", "ftp://host/x", "/data.json", "http://", "http:///x", "http://a b/", "HTTP://host/")],
    bad("a url with a password", http(url="https://user:word@host/"), "put them in a Secret", "put them in a Secret"),
    bad("a url of 16385 characters", http(url=URL + "?" + "x" * (16384 - len(URL))), "may not be more than 16384",
        "longer than"),
    *[bad(f"method {name!r}", http(method=name), "Unsupported value", "one of GET, POST")
      for name in ("DELETE", "get", "")],
    bad("a misspelt field of http", http(metod="GET"), 'unknown field "spec.generator.http.metod"', "did you mean"),
    bad("a reference without a name", http(headersSecretRef={}), "headersSecretRef.name: Required", "headersSecretRef"),
    bad("a reference with an empty name", http(secretRef={"name": ""}), "secretRef.name", "secretRef.name: found"),
    bad("a reference with a key too many", http(certSecretRef={"name": "s", "key": "k"}),
        'certSecretRef.key"', "certSecretRef.key: unknown field"),
    bad("a CA without a key", http(caBundleSecretRef={"name": "s"}),
        "caBundleSecretRef.key: Required", "caBundleSecretRef.key: missing"),
    bad("insecureSkipVerify as text", http(insecureSkipVerify="true"), "insecureSkipVerify", "true or false"),
]

OF_HOOKS = [
    bad("hooks as a list", spec(hooks=[{"lua": LUA}]), "spec.hooks", "spec.hooks: found"),
    bad("a misspelt list of hooks", spec(hooks={"postRequests": []}),
        'unknown field "spec.hooks.postRequests"', "did you mean 'postRequest'?"),
    bad("a list of hooks that is none", spec(hooks={"preRequest": {"lua": LUA}}), "preRequest", "preRequest: found"),
    bad("a hook that is a text", spec(hooks={"postRequest": [LUA]}), "postRequest[0]", "postRequest[0]: found"),
    bad("a hook that does nothing", hook(name="x"), "exactly one of 'command'", "found none of them"),
    bad("a hook before the request that does nothing", spec(hooks={"preRequest": [{}]}),
        "spec.hooks.preRequest[0]", "spec.hooks.preRequest[0]: found none of them"),
    *[bad(f"a hook with {first} and {second}", hook(**{first: "x", second: "x"}),
          "exactly one of", "found more than one")
      for first, second in (("command", "lua"), ("command", "module"), ("lua", "module"))],
    bad("a misspelt field of a hook", hook(lau=LUA), "unknown field", "did you mean 'lua'?"),
    bad("an empty command", hook(command=""), "postRequest[0].command", "a command's name"),
    bad("an empty module", hook(module=""), "postRequest[0].module", "a module's name"),
    bad("lua as a number", hook(lua=1), "postRequest[0].lua", "lua: found"),
    bad("a name that is a number", hook(lua=LUA, name=1), "postRequest[0].name", "name: found"),
    bad("args with lua", hook(lua=LUA, args=["x"]),
        "'args' is accepted with 'command' only", "'args' with 'command' only"),
    bad("args with a module", hook(module="tidy", args=["x"]), "'args' is accepted with", "'args' with 'command' only"),
    bad("args that are numbers", hook(command="jq", args=[1]), "args[0]", "a list of strings"),
    bad("args as a text", hook(command="jq", args="-c"), "postRequest[0].args", "args: found"),
    bad("a hook's timeout of nothing", hook(lua=LUA, timeout="0ms"), "at least 1ms", "timeout: found"),
    bad("a hook's timeout without unit", hook(lua=LUA, timeout="3"), "postRequest[0].timeout", "timeout: found"),
    bad("an unknown retry policy", hook(lua=LUA, retryPolicy="never"), "Unsupported value", "ignore, retry or fail"),
    bad("a variable without a name", env({"value": "x"}), "env[0].name: Required value", "env[0].name: missing"),
    *[bad(f"a variable {name!r}", env({"name": name}), "env[0].name", "a variable's name")
      for name in ("", "1A", "A-B", "Ä")],
    bad("a variable's value that is a number", env({"name": "A", "value": 1}), "env[0].value", "value: found"),
    bad("a variable that is a text", env("A=1"), "env[0]", "an object with 'name' and 'value'"),
    bad("a variable from a Secret", env({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
        "hooks never see secrets", "hooks never see secrets"),
    bad("luaFrom without a reference", hook(luaFrom={}), "configMapKeyRef: Required value", "luaFrom"),
    bad("luaFrom without a key", hook(luaFrom={"configMapKeyRef": {"name": "c"}}), "key: Required value", "luaFrom"),
    bad("luaFrom and lua", hook(lua=LUA, luaFrom={"configMapKeyRef": {"name": "c", "key": "k"}}),
        "exactly one", "luaFrom"),
]

DIFFERENCES = [
    Case("a section that no type of the CRD has",
         spec(generator={"type": "http", "http": {"url": URL}, "station": {}}),
         None, "spec.generator.station: unknown field",
         "CEL cannot see undeclared sections; the controller stalls the source and names the field"),
    Case("a path of 1200 bytes in 600 characters", spec(destinationPath="/".join(["é" * 99] * 6)), None,
         "spec.destinationPath: found", "OpenAPI counts characters, file systems bytes"),
    Case("a segment of 256 bytes in 128 characters", spec(destinationPath="é" * 128), None,
         "has a segment longer than 255 bytes", "OpenAPI counts characters, file systems bytes"),
    Case("retries as 3.0", spec(maxRetries=3.0), None, "a whole number from 0 to 100",
         "the API server stores 3.0 as the integer 3, so the controller never sees it"),
    Case("an interval that rounds up to a minute", spec(interval="59999.6ms"), INTERVAL, None,
         "sluice counts whole milliseconds"),
    Case("an interval of 65 characters", spec(interval="0" * 63 + "5m"), "may not be more than 64", None,
         "a bound that the cost of CEL rules needs"),
    Case("65 hooks", spec(hooks={"postRequest": [{"lua": LUA}] * 65}), "must have at most 64 items", None,
         "a bound that the cost of CEL rules needs"),
    Case("257 variables", env(*[{"name": "A"}] * 257), "must have at most 256 items", None,
         "a bound that the cost of CEL rules needs"),
    Case("a command", hook(command="jq", args=["-c", "."]), None, "no hook executor",
         "`sluice run` has no executor yet"),
]

CASES = GOOD + OF_SPEC + OF_PATH + OF_GENERATOR + OF_HOOKS + DIFFERENCES
